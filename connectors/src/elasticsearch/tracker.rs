//! What has become of a batch whose records went into several requests.

use std::sync::Arc;

use aqueduct_engine::connector::{ConnectError, Durability, FailedRecord, PutOutcome, Ticket};
use aqueduct_engine::data::Batch;
use parking_lot::Mutex;
use tokio::sync::oneshot;

struct State {
    /// Operations without outcome, and one while the batch is still being taken.
    open: usize,
    failed: Vec<FailedRecord>,
    /// The error of the whole task, if this batch has met one.
    error: Option<ConnectError>,
    sender: Option<oneshot::Sender<Result<PutOutcome, ConnectError>>>,
}

/// Counts a batch's operations, and resolves its ticket after the last one.
pub(super) struct Tracker(Mutex<State>);

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tracker")
    }
}

/// A batch with its tracker.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub(super) batch: Arc<Batch>,
    pub(super) tracker: Arc<Tracker>,
}

impl Tracked {
    pub(super) fn new(batch: Arc<Batch>) -> (Tracked, Ticket) {
        let (sender, ticket) = Ticket::pending();
        let state = State { open: 1, failed: Vec::new(), error: None, sender: Some(sender) };
        (Tracked { batch, tracker: Arc::new(Tracker(Mutex::new(state))) }, ticket)
    }
}

impl Tracker {
    /// An operation is on its way.
    pub(super) fn begun(&self) {
        self.0.lock().open += 1;
    }

    /// A record that the worker shall report.
    pub(super) fn failed(&self, failed: FailedRecord) {
        self.0.lock().failed.push(failed);
    }

    /// The task cannot go on; the first error stays.
    pub(super) fn error(&self, error: ConnectError) {
        self.0.lock().error.get_or_insert(error);
    }

    /// So many operations have their outcome. The last one resolves the ticket.
    pub(super) fn done(&self, operations: usize) {
        let mut state = self.0.lock();
        state.open = state.open.saturating_sub(operations);
        if state.open > 0 {
            return;
        }
        let Some(sender) = state.sender.take() else { return };
        let mut failed = std::mem::take(&mut state.failed);
        let outcome = match state.error.take() {
            Some(error) => Err(error),
            None => {
                failed.sort_by_key(|failed| failed.record);
                Ok(PutOutcome { durability: Durability::Accepted, failed })
            }
        };
        // nobody waits any more after a task that ended
        let _ = sender.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_engine::data::{RecordError, Stage};

    use super::*;

    #[tokio::test]
    async fn the_last_operation_resolves() {
        let (tracked, ticket) = Tracked::new(Arc::new(Batch::default()));
        tracked.tracker.begun();
        tracked.tracker.done(1);
        for record in [7, 3] {
            let error = RecordError::data(Stage::TaskPut, "no");
            tracked.tracker.failed(FailedRecord { record, error });
        }
        tracked.tracker.done(1);
        let failed: Vec<usize> = ticket.await.unwrap().failed.iter().map(|failed| failed.record).collect();
        assert_eq!(failed, [3, 7]);
    }
}
