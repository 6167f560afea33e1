//! Commits that nobody waits for: those of `commit_async`, in their order, and those of `enable.auto.commit`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::OffsetAndMetadata;
use super::offsets::Committer;
use crate::wire::TopicPartition;
use crate::{Error, ErrorKind, Result};

/// Most commits that may be under way; a caller that commits faster than the coordinator answers has to wait.
const MAX_UNDER_WAY: usize = 1_000;

/// The outcome of a commit to come. The commit goes on whether or not this is waited for.
#[derive(Debug)]
pub struct CommitTicket(oneshot::Receiver<Result<()>>);

impl Future for CommitTicket {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| {
            outcome.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Closed, "the consumer was closed before its commit"))
            })
        })
    }
}

/// Commits under way, each of which waits for the one before it.
pub(super) struct Commits {
    /// Closes when the newest commit is done.
    newest: Option<watch::Receiver<()>>,
    under_way: Arc<AtomicUsize>,
    interval: Option<Duration>,
    due: Instant,
}

impl Commits {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        let due = Instant::now() + interval.unwrap_or_default();
        Self { newest: None, under_way: Arc::default(), interval, due }
    }

    /// Whether offsets are to be committed by themselves now; counts anew if so.
    pub(super) fn is_due(&mut self) -> bool {
        let Some(interval) = self.interval.filter(|_| self.due <= Instant::now()) else { return false };
        self.due = Instant::now() + interval;
        self.under_way.load(Ordering::Relaxed) == 0
    }

    pub(super) fn start(
        &mut self,
        committer: Committer,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    ) -> CommitTicket {
        let (told, ticket) = oneshot::channel();
        if self.under_way.load(Ordering::Relaxed) >= MAX_UNDER_WAY {
            let message = format!("{MAX_UNDER_WAY} commits wait for the coordinator: wait for some of them");
            let _ = told.send(Err(Error::new(ErrorKind::Timeout, message)));
            return CommitTicket(ticket);
        }
        let (done, newest) = watch::channel(());
        let before = self.newest.replace(newest);
        let under_way = Arc::clone(&self.under_way);
        under_way.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            wait(before).await;
            let outcome = committer.commit(&offsets).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            drop(done);
            let _ = told.send(outcome);
        });
        CommitTicket(ticket)
    }

    /// What a commit that is to come after all of these has to wait for.
    pub(super) fn newest(&self) -> Option<watch::Receiver<()>> {
        self.newest.clone()
    }

    /// Waits until all are done.
    pub(super) async fn settle(&self) {
        wait(self.newest()).await;
    }
}

pub(super) async fn wait(newest: Option<watch::Receiver<()>>) {
    if let Some(mut newest) = newest {
        while newest.changed().await.is_ok() {}
    }
}
