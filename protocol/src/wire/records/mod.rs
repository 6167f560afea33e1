//! Record batches of format v2 (KIP-98): read as an index over the received bytes, written in one pass.
//!
//! Reading: [`batches`] cuts the bytes of a Fetch response into [`RawBatch`]es, [`RawBatch::records`] checks and
//! indexes one of them into a [`RecordSet`] of compact [`RecordSpan`]s. Writing: [`BatchBuilder`]. Only the header
//! fields outside the checksum may be changed afterwards, see [`set_base_offset`] and [`set_leader_epoch`].

mod batch;
mod builder;
mod control;
mod error;
mod header;
mod index;
mod set;
#[cfg(test)]
mod tests;

pub use batch::{BatchIter, RawBatch, batches};
pub use builder::{
    AppendError, BatchBuilder, BatchOptions, NO_PRODUCER, ProducerStamp, record_size, restamp,
};
pub use control::{
    AbortedTransaction, AbortedTransactions, ControlRecord, ControlType, control_batch, control_record,
};
pub use error::{PartitionRecordError, RecordError, RecordProblem};
pub use header::{
    Attributes, BatchHeader, HEADER_LEN, LENGTH_END, MAGIC, TimestampType, set_base_offset, set_leader_epoch,
};
pub use index::{MAX_RECORDS, RecordSpan};
pub use set::{HeaderIter, HeaderView, RecordIter, RecordSet, RecordView};
