//! The queue of one partition, filled by sessions and emptied by the sender.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::batch::{Batch, Content};
use super::memory::BufferMemory;
use super::sequence::Sequences;
use super::session::AppendError;
use super::ticket::SessionState;
use crate::Error;
use crate::wire::records::{self, HEADER_LEN, record_size};

/// A partition that somebody produces to.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    pub(super) queue: Mutex<Queue>,
}

impl Partition {
    pub(super) fn new(topic: Arc<str>, index: i32) -> Arc<Self> {
        Arc::new(Self { topic, index, queue: Mutex::default() })
    }
}

/// What waits for one partition, and how far it is.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Oldest first; only the last may be open.
    pub(super) batches: VecDeque<Batch>,
    /// Whether the sender knows of this partition.
    pub(super) listed: bool,
    /// Whether a full batch could not be sent anyway until an answer arrives: then appending doesn't wake the sender.
    pub(super) saturated: bool,
    /// Batches sent and not answered.
    pub(super) on_wire: usize,
    /// Not to be sent before this.
    pub(super) retry_at: Option<Instant>,
    /// Why it was not sent or refused last.
    pub(super) last_error: Option<Error>,
    pub(super) sequences: Sequences,
    /// Whether it has to be numbered anew as soon as nothing is on the wire.
    pub(super) restart: bool,
    /// Number of the transaction that it was last added to.
    pub(super) in_transaction: u64,
    /// Number of the transaction that it was last asked to be added to.
    pub(super) asked_transaction: u64,
}

/// A record as a session gives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRecord<'a> {
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// What appending did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    /// Bytes that the record took.
    pub(super) bytes: usize,
    /// Whether the last batch takes no more records.
    pub(super) full: bool,
    /// Whether the sender has to be told about this partition.
    pub(super) list: bool,
    /// Whether the sender has something new to do.
    pub(super) wake: bool,
}

impl Queue {
    /// Appends a record to the open batch or to a new one.
    #[inline]
    pub(super) fn append(
        &mut self,
        memory: &BufferMemory,
        session: &Arc<SessionState>,
        index: u32,
        record: NewRecord<'_>,
    ) -> Result<Queued, AppendError> {
        if let Some(Batch { content: Content::Open(builder), recipients, urgent: false, .. }) =
            self.batches.back_mut()
        {
            let before = builder.len();
            match builder.append(record.timestamp, record.key, record.value, record.headers) {
                Ok(_) => {
                    recipients.push(session, index);
                    let full = builder.is_full();
                    let bytes = builder.len() - before;
                    return Ok(Queued { bytes, full, list: false, wake: full && !self.saturated });
                }
                Err(records::AppendError::Full) => {}
                Err(error) => return Err(too_large(error)),
            }
        }
        self.append_new(memory, session, index, record)
    }

    #[inline(never)]
    fn append_new(
        &mut self,
        memory: &BufferMemory,
        session: &Arc<SessionState>,
        index: u32,
        record: NewRecord<'_>,
    ) -> Result<Queued, AppendError> {
        let NewRecord { timestamp, key, value, headers } = record;
        let alone = HEADER_LEN + record_size(0, 0, key, value, headers);
        let limit = memory.options().max_record_size;
        if alone > limit {
            return Err(AppendError::TooLarge { size: alone, limit, setting: "max.request.size" });
        }
        let needed = alone.max(memory.options().batch_size);
        if needed > memory.limit() {
            return Err(AppendError::TooLarge {
                size: needed,
                limit: memory.limit(),
                setting: "buffer.memory",
            });
        }
        if !memory.reserve(needed) {
            return Err(AppendError::Full { needed });
        }
        let mut builder = memory.builder();
        if let Err(error) = builder.append(timestamp, key, value, headers) {
            memory.recycle(builder);
            memory.release(needed);
            return Err(too_large(error));
        }
        let (bytes, full) = (builder.len(), builder.is_full());
        let mut batch = Batch::open(builder, needed);
        batch.recipients.push(session, index);
        self.batches.push_back(batch);
        let list = !std::mem::replace(&mut self.listed, true);
        // A second batch means that the one before it is full.
        let wake = list || !self.saturated;
        Ok(Queued { bytes, full, list, wake })
    }

    /// Puts batches that have to be sent again to where they were: before everything younger.
    pub(super) fn requeue(&mut self, batch: Batch) {
        let base = batch.stamp.map(|stamp| stamp.base_sequence);
        let at = base.map_or(0, |base| {
            self.batches
                .iter()
                .position(|other| other.stamp.is_none_or(|stamp| follows(stamp.base_sequence, base)))
                .unwrap_or(self.batches.len())
        });
        self.batches.insert(at, batch);
    }
}

/// Whether the sequence number `a` comes after `b`, in the ring of non-negative `i32`s.
const fn follows(a: i32, b: i32) -> bool {
    let distance = a.wrapping_sub(b) & i32::MAX;
    distance != 0 && distance < i32::MAX / 2
}

const fn too_large(error: records::AppendError) -> AppendError {
    match error {
        records::AppendError::TooLarge { size, limit } => {
            AppendError::TooLarge { size, limit, setting: "max.request.size" }
        }
        _ => AppendError::Full { needed: 0 },
    }
}
