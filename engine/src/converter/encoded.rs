//! What a converter has written: one column of bytes beside the batch.

use crate::data::{Batch, Span};

/// Where a record's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Null: no bytes, a tombstone as a value.
    Null,
    /// In the batch itself: nothing was copied.
    InBatch(Span),
    /// In the column's own buffer.
    Own {
        /// First byte.
        start: u32,
        /// Bytes.
        len: u32,
    },
    /// The record is not live.
    Skipped,
}

/// A slot per record, and the bytes that were made. Reused from batch to batch.
#[derive(Debug, Default)]
pub struct Encoded {
    /// What was written.
    pub buffer: Vec<u8>,
    /// One per record.
    pub slots: Vec<Slot>,
}

impl Encoded {
    /// Empties the column and keeps its memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.slots.clear();
    }

    /// The bytes of record `index`; `None` for null.
    #[inline]
    #[must_use]
    pub fn get<'a>(&'a self, batch: &'a Batch, index: usize) -> Option<&'a [u8]> {
        match *self.slots.get(index)? {
            Slot::Null | Slot::Skipped => None,
            Slot::InBatch(span) => Some(batch.bytes(span)),
            Slot::Own { start, len } => self.buffer.get(start as usize..)?.get(..len as usize),
        }
    }
}
