//! What can be wrong with a batch.

use thiserror::Error;

use crate::wire::compression::CompressionError;

/// A batch that can't be read. `offset` is the base offset that the batch itself states.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// Fewer bytes than the batch needs.
    #[error("the batch at offset {offset} needs {needed} bytes, {available} are there")]
    Truncated {
        /// Base offset, or -1 if not even that is there.
        offset: i64,
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// A message format before v2 (or no batch at all); brokers since 4.0 don't keep those.
    #[error("the batch at offset {offset} has message format {magic}; only format 2 is supported")]
    UnsupportedMagic {
        /// Base offset.
        offset: i64,
        /// The format's number.
        magic: i8,
    },
    /// A length that no batch can have.
    #[error("the batch at offset {offset} states an impossible length of {length} bytes")]
    InvalidLength {
        /// Base offset.
        offset: i64,
        /// The stated length.
        length: i32,
    },
    /// Offsets that no log has: negative, or past the greatest number.
    #[error("a batch states the impossible offsets {offset} and {delta} after it")]
    InvalidOffset {
        /// Base offset.
        offset: i64,
        /// The last offset's distance.
        delta: i32,
    },
    /// The checksum doesn't match: the bytes were changed on their way or on a disk.
    #[error(
        "the batch at offset {offset} is corrupt: its CRC is {stored:08x}, its bytes give {computed:08x}"
    )]
    Checksum {
        /// Base offset.
        offset: i64,
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// A codec id that isn't assigned.
    #[error("the batch at offset {offset} is compressed by an unknown codec, id {id}")]
    UnknownCompression {
        /// Base offset.
        offset: i64,
        /// The id.
        id: i8,
    },
    /// The compressed part can't be read.
    #[error("the batch at offset {offset} can't be decompressed")]
    Decompress {
        /// Base offset.
        offset: i64,
        /// The codec's reason.
        #[source]
        source: CompressionError,
    },
    /// A record count that is negative, or more than the batch's bytes can hold.
    #[error("the batch at offset {offset} states {count} records; at most {limit} are possible")]
    InvalidCount {
        /// Base offset.
        offset: i64,
        /// The stated count.
        count: i32,
        /// What the bytes could hold, or [`MAX_RECORDS`](super::MAX_RECORDS).
        limit: usize,
    },
    /// One record is malformed.
    #[error("record {index} of the batch at offset {offset} is malformed: {problem}")]
    Record {
        /// Base offset.
        offset: i64,
        /// Index of the record in its batch.
        index: usize,
        /// What is wrong.
        problem: RecordProblem,
    },
    /// Bytes after the last record.
    #[error("the batch at offset {offset} has {bytes} bytes after its last record")]
    TrailingBytes {
        /// Base offset.
        offset: i64,
        /// How many.
        bytes: usize,
    },
}

impl RecordError {
    /// This error with the partition it was met in.
    #[must_use]
    pub fn at(self, topic: &str, partition: i32) -> PartitionRecordError {
        PartitionRecordError { topic: topic.to_owned(), partition, source: self }
    }

    /// Base offset of the batch, -1 if unknown.
    #[must_use]
    pub const fn offset(&self) -> i64 {
        match self {
            Self::Truncated { offset, .. }
            | Self::UnsupportedMagic { offset, .. }
            | Self::InvalidLength { offset, .. }
            | Self::InvalidOffset { offset, .. }
            | Self::Checksum { offset, .. }
            | Self::UnknownCompression { offset, .. }
            | Self::Decompress { offset, .. }
            | Self::InvalidCount { offset, .. }
            | Self::Record { offset, .. }
            | Self::TrailingBytes { offset, .. } => *offset,
        }
    }
}

/// A [`RecordError`] with topic and partition.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{topic}-{partition}: {source}; to go on, seek past this batch")]
pub struct PartitionRecordError {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What is wrong with the batch.
    pub source: RecordError,
}

/// What is wrong with one record.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordProblem {
    /// A varint is cut off or too long.
    #[error("its {0} is no varint")]
    Varint(&'static str),
    /// A length reaches past the record or is below -1.
    #[error("its {0} has an impossible length")]
    Length(&'static str),
    /// The record's fields don't add up to its length.
    #[error("its fields don't add up to its length")]
    Size,
    /// Its offset isn't between its predecessor's and the batch's last one.
    #[error("its offset is out of order")]
    Offset,
}
