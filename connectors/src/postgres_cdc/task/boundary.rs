//! `transaction.boundary=connector`: a transaction of the database is within one of Kafka.

use std::sync::Arc;

use aqueduct_engine::data::{Batch, SourcePosition};

use super::Running;
use crate::postgres_cdc::offset::Progress;

/// What the poll under way has seen of the ends of transactions.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    /// Records when the last one ended, and what had been given out.
    pub(super) ended: Option<(usize, Progress)>,
    /// One is given out in part.
    pub(super) within: bool,
    /// It was, when the stream broke: what is missing of it comes with the next one.
    pub(super) broken: bool,
    /// Kafka's transaction is open from an earlier poll.
    pub(super) open: bool,
}

impl Boundaries {
    /// What a poll of the stream has come to.
    pub(super) const fn polled(&mut self, ended: Option<(usize, Progress)>, within: bool) {
        self.broken &= ended.is_none();
        self.within = within || self.broken;
        self.ended = ended;
    }

    /// The stream is gone.
    pub(super) const fn stream_broke(&mut self) {
        self.broken = self.within;
    }
}

impl Running {
    /// Ends Kafka's transaction behind the last one of the database that is whole.
    pub(super) fn end_transaction(&mut self, batch: &mut Batch) {
        let Some(transactions) = self.context.transactions.clone() else { return };
        let ended = self.boundaries.ended.take();
        let total = batch.records.len();
        match ended {
            _ if !self.boundaries.within => {
                transactions.commit();
                self.boundaries.open = false;
            }
            Some((records, _)) if records == total && total > 0 => {
                transactions.commit();
                self.boundaries.open = false;
            }
            Some((records, progress)) if records > 0 => {
                let offset = Arc::new(self.offset(&progress));
                let partition = Arc::clone(&self.positions.partition);
                batch.positions.insert(0, SourcePosition { partition, offset });
                for record in batch.records.iter_mut().skip(records) {
                    record.position = 1;
                }
                transactions.commit_after(records - 1);
                self.boundaries.open = true;
            }
            _ => self.boundaries.open |= total > 0,
        }
    }
}
