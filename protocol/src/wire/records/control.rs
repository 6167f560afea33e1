//! Control batches, which end transactions, and the filter for what they aborted.

use std::collections::HashSet;

use bytes::Bytes;

use super::builder::seal;
use super::header::{Attributes, BatchHeader, HEADER_LEN, LENGTH_END};
use super::set::RecordView;
use crate::wire::compression::Compression;
use crate::wire::varint::push_unsigned;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;

/// What a control record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlType {
    /// The producer's transaction was aborted.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// A type that isn't about transactions (KRaft's), or one of the future.
    Other(i16),
}

impl ControlType {
    /// The type of this number.
    #[must_use]
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        }
    }

    /// The type's number.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(other) => other,
        }
    }
}

/// A control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    /// What it says.
    pub kind: ControlType,
    /// Epoch of the transaction coordinator, for the two kinds that have one.
    pub coordinator_epoch: Option<i32>,
}

/// Reads a record of a control batch; `None` if its key isn't one of control records.
#[must_use]
pub fn control_record(record: &RecordView<'_>) -> Option<ControlRecord> {
    let key = record.key()?;
    let version = i16::from_be_bytes(*key.first_chunk()?);
    if version < 0 {
        return None;
    }
    let kind = ControlType::from_id(i16::from_be_bytes(*key.get(2..)?.first_chunk()?));
    let coordinator_epoch = match kind {
        ControlType::Other(_) => None,
        _ => record.value().and_then(|value| Some(i32::from_be_bytes(*value.get(2..)?.first_chunk()?))),
    };
    Some(ControlRecord { kind, coordinator_epoch })
}

/// The batch that ends a transaction, as a transaction coordinator has it written to every partition.
#[must_use]
pub fn control_batch(
    producer_id: i64,
    producer_epoch: i16,
    kind: ControlType,
    coordinator_epoch: i32,
    timestamp: i64,
    base_offset: i64,
) -> Bytes {
    let mut record = vec![0, 0, 0];
    let push_field = |record: &mut Vec<u8>, field: &[u8]| {
        push_unsigned(record, field.len() as u64 * 2);
        record.extend_from_slice(field);
    };
    let mut key = [0; 4];
    key[..2].copy_from_slice(&KEY_VERSION.to_be_bytes());
    key[2..].copy_from_slice(&kind.id().to_be_bytes());
    push_field(&mut record, &key);
    let mut value = [0; 6];
    value[..2].copy_from_slice(&VALUE_VERSION.to_be_bytes());
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    push_field(&mut record, &value);
    record.push(0);

    let mut batch = vec![0; HEADER_LEN];
    push_field(&mut batch, &record);
    let header = BatchHeader {
        base_offset,
        batch_length: (batch.len() - LENGTH_END) as i32,
        partition_leader_epoch: -1,
        crc: 0,
        attributes: Attributes::new(Compression::None, true, true),
        last_offset_delta: 0,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        record_count: 1,
    };
    seal(&mut batch, &header);
    batch.into()
}

/// A transaction that a Fetch response declares as aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who aborted it.
    pub producer_id: i64,
    /// Offset of its first record in the partition.
    pub first_offset: i64,
}

/// Tells which batches `isolation.level=read_committed` doesn't show. One for each partition of a Fetch response; it
/// has to see every batch in order.
#[derive(Debug, Default)]
pub struct AbortedTransactions {
    /// Those that haven't begun at the offset reached, the next one last.
    ahead: Vec<AbortedTransaction>,
    /// Producers inside an aborted transaction.
    open: HashSet<i64>,
}

impl AbortedTransactions {
    /// A filter with the transactions that a Fetch response lists, in any order.
    #[must_use]
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { ahead: aborted, open: HashSet::new() }
    }

    /// Whether the batch belongs to an aborted transaction. Control batches are to be skipped in any case; for those,
    /// `control` is what the batch's first record says, and ends the producer's transaction.
    pub fn hides(&mut self, batch: &BatchHeader, control: Option<ControlType>) -> bool {
        if !batch.has_producer_id() {
            return false;
        }
        let last = batch.last_offset();
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= last) {
            self.open.insert(next.producer_id);
        }
        if batch.attributes.is_control() {
            if control == Some(ControlType::Abort) {
                self.open.remove(&batch.producer_id);
            }
            return false;
        }
        batch.attributes.is_transactional() && self.open.contains(&batch.producer_id)
    }
}
