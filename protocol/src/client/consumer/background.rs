//! Work that goes on between polls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinHandle;

use crate::{Error, ErrorKind, Result};

/// A place for one piece of work, whose outcome is taken when it suits. The work ends with the slot.
pub(super) struct Slot<T> {
    work: Option<JoinHandle<Result<T>>>,
    outcome: Option<Result<T>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { work: None, outcome: None }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<T> Slot<T> {
    fn stop(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
        }
    }

    /// Gives up what is in it.
    pub(super) fn clear(&mut self) {
        self.stop();
        self.outcome = None;
    }

    /// Whether there is neither work nor an outcome.
    pub(super) const fn is_empty(&self) -> bool {
        self.work.is_none() && self.outcome.is_none()
    }

    /// True when the work has ended since it was last looked at; else the context's task is woken then.
    pub(super) fn poll_done(&mut self, context: &mut Context<'_>) -> bool {
        let Some(work) = &mut self.work else { return false };
        let Poll::Ready(outcome) = Pin::new(work).poll(context) else { return false };
        self.work = None;
        self.outcome = Some(outcome.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Closed, "work of the consumer was broken off").with_source(error))
        }));
        true
    }

    /// The outcome, if the work has ended.
    pub(super) fn take(&mut self) -> Option<Result<T>> {
        self.poll_done(&mut Context::from_waker(Waker::noop()));
        self.outcome.take()
    }
}

impl<T: Send + 'static> Slot<T> {
    /// Begins work in place of what was there.
    pub(super) fn start(&mut self, work: impl Future<Output = Result<T>> + Send + 'static) {
        self.clear();
        self.work = Some(tokio::spawn(work));
    }
}
