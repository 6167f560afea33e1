//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a program that a second signal has ended.
const INTERRUPTED: i32 = 130;

/// Resolves at the first signal.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Listens from now on.
    pub(crate) fn listen() -> std::io::Result<Shutdown> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            let _ = sender.send(true);
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            eprintln!(
                "aqueduct: stopped at once by a second signal; what was not committed is read again at the next start"
            );
            std::process::exit(INTERRUPTED);
        });
        Ok(Shutdown(receiver))
    }

    /// Resolves when the program shall end.
    pub(crate) async fn requested(&mut self) {
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}
