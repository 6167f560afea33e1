//! What a partition remembers of its idempotent and transactional producers (KIP-98, KIP-890).

use std::collections::{BTreeMap, HashMap, VecDeque};

use aqueduct_protocol::wire::records::BatchHeader;

use super::AppendError;

/// Batches remembered per producer, as many as a client may have in flight.
const REMEMBERED_BATCHES: usize = 5;

/// A batch that was appended, to recognise it when it is sent again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) timestamp: i64,
}

/// One producer id in one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProducerEntry {
    pub(crate) epoch: i16,
    pub(crate) batches: VecDeque<SeenBatch>,
    /// First offset of the transaction that is open here.
    pub(crate) txn_start: Option<i64>,
    pub(crate) coordinator_epoch: i32,
    pub(crate) last_timestamp: i64,
    /// Wall clock of the last append, for expiry.
    pub(crate) last_seen_ms: i64,
}

impl ProducerEntry {
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |b| b.last_sequence)
    }
}

/// An aborted transaction as Fetch tells it to read_committed consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTxn {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of the abort marker.
    pub(crate) last_offset: i64,
}

/// All producers of one partition, its open transactions and its aborted ones.
#[derive(Debug, Default)]
pub(crate) struct ProducerStates {
    entries: HashMap<i64, ProducerEntry>,
    /// first offset → producer id of open transactions.
    open: BTreeMap<i64, i64>,
    /// Ordered by `last_offset`.
    aborted: Vec<AbortedTxn>,
}

/// Sequence `n` steps after `sequence`, wrapping past the largest to 0.
pub(crate) fn advance_sequence(sequence: i32, n: i32) -> i32 {
    sequence.checked_add(n).unwrap_or_else(|| n - (i32::MAX - sequence) - 1)
}

impl ProducerStates {
    /// Checks a client's batch. `Ok(Some(..))` names the earlier append of the same batch.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Option<SeenBatch>, AppendError> {
        let Some(entry) = self.entries.get(&header.producer_id) else { return Ok(None) };
        let producer_id = header.producer_id;
        if header.producer_epoch < entry.epoch {
            return Err(AppendError::ProducerEpoch {
                producer_id,
                epoch: header.producer_epoch,
                current: entry.epoch,
            });
        }
        if entry.txn_start.is_some() && !header.attributes.is_transactional() {
            return Err(AppendError::TransactionOpen { producer_id });
        }
        let first = header.base_sequence;
        let expected = if header.producer_epoch == entry.epoch {
            let last = advance_sequence(first, header.last_offset_delta);
            let seen = entry.batches.iter().find(|b| b.first_sequence == first && b.last_sequence == last);
            if let Some(seen) = seen {
                return Ok(Some(*seen));
            }
            advance_sequence(entry.last_sequence(), 1)
        } else {
            0
        };
        if first != expected {
            return Err(AppendError::OutOfOrderSequence { producer_id, sequence: first, expected });
        }
        Ok(None)
    }

    /// Notes a batch that is in the log now.
    pub(crate) fn appended(&mut self, header: &BatchHeader, now_ms: i64) {
        let entry = self.entries.entry(header.producer_id).or_default();
        if header.producer_epoch != entry.epoch {
            entry.batches.clear();
            entry.epoch = header.producer_epoch;
        }
        entry.batches.push_back(SeenBatch {
            first_sequence: header.base_sequence,
            last_sequence: advance_sequence(header.base_sequence, header.last_offset_delta),
            base_offset: header.base_offset,
            timestamp: header.max_timestamp,
        });
        if entry.batches.len() > REMEMBERED_BATCHES {
            entry.batches.pop_front();
        }
        entry.last_timestamp = header.max_timestamp;
        entry.last_seen_ms = now_ms;
        if header.attributes.is_transactional() && entry.txn_start.is_none() {
            entry.txn_start = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    /// Refuses a marker of an epoch that was superseded.
    pub(crate) fn check_marker(&self, producer_id: i64, epoch: i16) -> Result<(), AppendError> {
        match self.entries.get(&producer_id) {
            Some(entry) if epoch < entry.epoch => {
                Err(AppendError::ProducerEpoch { producer_id, epoch, current: entry.epoch })
            }
            _ => Ok(()),
        }
    }

    /// Notes a commit or abort marker that is in the log now.
    pub(crate) fn marked(&mut self, marker: Marker, offset: i64, timestamp: i64, now_ms: i64) {
        let entry = self.entries.entry(marker.producer_id).or_default();
        if marker.epoch != entry.epoch {
            entry.batches.clear();
            entry.epoch = marker.epoch;
        }
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = timestamp;
        entry.last_seen_ms = now_ms;
        if let Some(first_offset) = entry.txn_start.take() {
            self.open.remove(&first_offset);
            if !marker.commit {
                self.aborted.push(AbortedTxn {
                    producer_id: marker.producer_id,
                    first_offset,
                    last_offset: offset,
                });
            }
        }
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// Aborted transactions that overlap `from..to`, by first offset.
    pub(crate) fn aborted_in(&self, from: i64, to: i64) -> Vec<AbortedTxn> {
        let start = self.aborted.partition_point(|t| t.last_offset < from);
        self.aborted[start..].iter().filter(|t| t.first_offset < to).copied().collect()
    }

    /// Whether the batch at `offset` of this producer was aborted.
    pub(crate) fn is_aborted(&self, producer_id: i64, offset: i64) -> bool {
        let start = self.aborted.partition_point(|t| t.last_offset < offset);
        self.aborted[start..].iter().any(|t| t.producer_id == producer_id && t.first_offset <= offset)
    }

    /// Forgets what lies before the log's start.
    pub(crate) fn trim(&mut self, log_start: i64) {
        let end = self.aborted.partition_point(|t| t.last_offset < log_start);
        self.aborted.drain(..end);
    }

    /// Forgets producers that were silent since `before_ms` and have nothing open.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.entries.retain(|_, e| e.txn_start.is_some() || e.last_seen_ms >= before_ms);
    }

    /// Base offsets of every producer's last batch: compaction keeps those, so that sequences survive a restart.
    pub(crate) fn last_batches(&self) -> std::collections::HashSet<i64> {
        self.entries.values().filter_map(|e| e.batches.back()).map(|b| b.base_offset).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }
}

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) coordinator_epoch: i32,
    pub(crate) commit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_past_the_largest_to_zero() {
        assert_eq!(advance_sequence(5, 1), 6);
        assert_eq!(advance_sequence(-1, 1), 0);
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn an_aborted_transaction_is_listed_for_every_overlapping_fetch() {
        let mut states = ProducerStates::default();
        states.aborted.push(AbortedTxn { producer_id: 7, first_offset: 10, last_offset: 20 });
        assert!(states.aborted_in(0, 10).is_empty());
        assert_eq!(states.aborted_in(0, 11).len(), 1);
        assert_eq!(states.aborted_in(20, 30).len(), 1);
        assert!(states.aborted_in(21, 30).is_empty());
        assert!(states.is_aborted(7, 15) && !states.is_aborted(8, 15) && !states.is_aborted(7, 21));
        states.trim(21);
        assert!(states.aborted.is_empty());
    }
}
