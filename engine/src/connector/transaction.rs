//! How a source says where its transactions end (KIP-618).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ConnectError;

/// Whether a source connector can say where its transactions end, as `transaction.boundary=connector` asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorTransactionBoundaries {
    /// With the given configuration it can.
    Supported,
    /// With the given configuration it cannot.
    Unsupported,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionEnd {
    Commit,
    Abort,
}

/// Where a task's transactions end, which the task tells while it is polled: it has one with `transaction.boundary=connector` on a
/// worker that delivers exactly once. Clones are the same.
///
/// A transaction goes from the end of the one before it over any number of polls. What it commits is its records and the position
/// of its last one; so records of one position belong into one transaction. Aborted records are never seen, but their positions
/// are committed all the same: records that are to be read again are left by an error of `poll` instead.
///
/// What was asked for in a poll that failed is void, as its records are. A transaction that is open when the task stops is
/// aborted, and read again at the next start; one that is open while the task is paused stays so, for as long as the producer's
/// `transaction.timeout.ms` lets it.
#[derive(Debug, Clone, Default)]
pub struct TransactionContext(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    /// At the end of the batch.
    batch: Option<Ends>,
    /// Behind records of the batch.
    records: BTreeMap<usize, Ends>,
}

/// What was asked for at one place.
#[derive(Debug, Clone, Copy)]
enum Ends {
    One(TransactionEnd),
    Both,
}

impl Ends {
    fn with(before: Option<Ends>, end: TransactionEnd) -> Ends {
        match before {
            None => Ends::One(end),
            Some(Ends::One(before)) if before == end => Ends::One(end),
            Some(_) => Ends::Both,
        }
    }
}

impl TransactionContext {
    /// The transaction is committed behind all records of the poll under way, or of the next one; that may be none.
    pub fn commit(&self) {
        self.at_batch(TransactionEnd::Commit);
    }

    /// The transaction is committed behind this record of the batch under way, an index in [`crate::data::Batch::records`].
    pub fn commit_after(&self, record: usize) {
        self.at_record(record, TransactionEnd::Commit);
    }

    /// The transaction is aborted behind all records of the poll under way, or of the next one; that may be none.
    pub fn abort(&self) {
        self.at_batch(TransactionEnd::Abort);
    }

    /// The transaction is aborted behind this record of the batch under way, an index in [`crate::data::Batch::records`].
    pub fn abort_after(&self, record: usize) {
        self.at_record(record, TransactionEnd::Abort);
    }

    fn at_batch(&self, end: TransactionEnd) {
        let mut asked = self.0.lock();
        asked.batch = Some(Ends::with(asked.batch, end));
    }

    fn at_record(&self, record: usize, end: TransactionEnd) {
        let mut asked = self.0.lock();
        let before = asked.records.get(&record).copied();
        asked.records.insert(record, Ends::with(before, end));
    }

    /// What was asked for of a batch of so many records: numbers of records, each with the end behind them, in their order. The
    /// connector may have swallowed an error of its own call, so what cannot be is an error here.
    pub(crate) fn take(&self, records: usize) -> Result<Vec<(usize, TransactionEnd)>, ConnectError> {
        let Asked { batch, records: mut at } = std::mem::take(&mut *self.0.lock());
        if let Some((last, _)) = at.last_key_value()
            && *last >= records
        {
            return Err(ConnectError::fatal(format!(
                "the connector ended a transaction after record {last} of a batch of {records} records"
            )));
        }
        // behind the last record and behind the batch are one place
        let mut ends = Vec::with_capacity(at.len() + 1);
        let batch = match (batch, records.checked_sub(1).and_then(|last| at.remove(&last))) {
            (Some(Ends::One(end)), before) => Some(Ends::with(before, end)),
            (Some(Ends::Both), _) => Some(Ends::Both),
            (None, before) => before,
        };
        let at = at.into_iter().map(|(record, end)| (record + 1, end));
        for (records, end) in at.chain(batch.map(|end| (records, end))) {
            let Ends::One(end) = end else {
                return Err(ConnectError::fatal(
                    "Connector requested both commit and abort of same transaction",
                ));
            };
            ends.push((records, end));
        }
        Ok(ends)
    }

    /// What was asked for after the last poll, when no other comes for now.
    pub(crate) fn take_last(&self) -> Result<Option<TransactionEnd>, ConnectError> {
        self.0.lock().records.clear();
        Ok(self.take(0)?.first().map(|(_, end)| *end))
    }

    /// The poll has failed.
    pub(crate) fn forget(&self) {
        *self.0.lock() = Asked::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransactionEnd::{Abort, Commit};

    #[test]
    fn ends_come_in_order_and_once() {
        let context = TransactionContext::default();
        assert_eq!(context.take(3).unwrap(), []);
        context.abort_after(2);
        context.commit_after(0);
        context.commit_after(0);
        context.clone().commit();
        assert_eq!(context.take(5).unwrap(), [(1, Commit), (3, Abort), (5, Commit)]);
        assert_eq!(context.take(5).unwrap(), []);
        context.commit_after(1);
        context.commit();
        assert_eq!(context.take(2).unwrap(), [(2, Commit)]);
        context.abort();
        assert_eq!(context.take(0).unwrap(), [(0, Abort)], "of transactions whose records came before");
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let context = TransactionContext::default();
        let refused = |records| context.take(records).unwrap_err().to_string();
        context.commit();
        context.abort();
        assert!(refused(1).contains("both commit and abort"));
        context.commit_after(1);
        context.abort_after(1);
        assert!(refused(3).contains("both commit and abort"));
        context.commit_after(1);
        context.abort();
        assert!(refused(2).contains("both commit and abort"));
        context.abort_after(7);
        assert!(refused(7).contains("after record 7 of a batch of 7 records"));
    }

    #[test]
    fn a_failed_poll_and_the_last_one() {
        let context = TransactionContext::default();
        context.commit_after(0);
        context.abort();
        context.forget();
        assert_eq!(context.take_last().unwrap(), None);
        context.commit_after(4);
        context.commit();
        assert_eq!(context.take_last().unwrap(), Some(Commit));
    }
}
