//! How a task learns that it shall end.

use std::time::Duration;

use tokio::sync::watch;

/// Tells a task that it shall end soon.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// A signal and the sender that raises it by `true`; a dropped sender raises it as well.
    pub fn new() -> (watch::Sender<bool>, StopSignal) {
        let (sender, receiver) = watch::channel(false);
        (sender, StopSignal(receiver))
    }

    /// Whether the task shall end.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Resolves when the task shall end.
    pub async fn stopped(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Waits for the time, or less if the task shall end; true if the whole time has passed.
    pub async fn sleep(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stopped()).await.is_err()
    }
}
