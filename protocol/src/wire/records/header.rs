//! The 61 bytes before a batch's records.

use bytes::BytesMut;

use super::error::RecordError;
use crate::wire::compression::Compression;

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;
/// Bytes up to the end of the length field, which counts what follows it.
pub const LENGTH_END: usize = 12;
/// The number of this format.
pub const MAGIC: i8 = 2;

pub(super) const LEADER_EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
/// The checksum covers everything from here.
pub(super) const CHECKED_FROM: usize = 21;
pub(super) const PRODUCER_ID_AT: usize = 43;

/// What a timestamp tells (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// When the producer made the record.
    CreateTime,
    /// When the broker appended it; the same for all records of a batch.
    LogAppendTime,
}

/// A batch's attribute bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION_MASK: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Attributes of a producer's batch.
    #[must_use]
    pub const fn new(compression: Compression, transactional: bool, control: bool) -> Self {
        let mut bits = compression.id() as i16;
        if transactional {
            bits |= Self::TRANSACTIONAL;
        }
        if control {
            bits |= Self::CONTROL;
        }
        Self(bits)
    }

    /// The codec, `None` for an unassigned id.
    #[must_use]
    pub const fn compression(self) -> Option<Compression> {
        Compression::from_id((self.0 & Self::COMPRESSION_MASK) as i8)
    }

    /// What the timestamps tell.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// The same with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, kind: TimestampType) -> Self {
        match kind {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which aren't for applications.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a tombstone's delete horizon (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// The header of a batch, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (as produced; compaction may have removed it).
    pub base_offset: i64,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Leader epoch in which the broker appended the batch.
    pub partition_leader_epoch: i32,
    /// CRC-32C from the attributes to the end.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record less `base_offset`; compaction keeps it.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 that record timestamps are relative to.
    pub base_timestamp: i64,
    /// Greatest timestamp of the batch, or the append time.
    pub max_timestamp: i64,
    /// Id of an idempotent producer, -1 without.
    pub producer_id: i64,
    /// Epoch of an idempotent producer, -1 without.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without.
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header and checks what can be told from it alone: format, length and offsets. Doesn't need the records
    /// to be there.
    ///
    /// # Errors
    /// [`RecordError`] of the kinds `Truncated`, `UnsupportedMagic`, `InvalidLength` and `InvalidOffset`.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let offset = bytes.first_chunk().map_or(-1, |chunk| i64::from_be_bytes(*chunk));
        let available = bytes.len();
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic as i8 != MAGIC
        {
            return Err(RecordError::UnsupportedMagic { offset, magic: magic as i8 });
        }
        let Some(fixed) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(RecordError::Truncated { offset, needed: HEADER_LEN, available });
        };
        let header = Self::read(fixed);
        let smallest = (HEADER_LEN - LENGTH_END) as i32;
        if header.batch_length < smallest || header.batch_length > i32::MAX - LENGTH_END as i32 {
            return Err(RecordError::InvalidLength { offset, length: header.batch_length });
        }
        let delta = header.last_offset_delta;
        // Strictly less than the greatest, for there has to be a next offset.
        if offset < 0 || delta < 0 || offset > i64::MAX - 1 - i64::from(delta) {
            return Err(RecordError::InvalidOffset { offset, delta });
        }
        Ok(header)
    }

    fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        // Fixed places in an array of fixed size: the compiler proves every bound.
        let i16_at = |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let i32_at = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let i64_at = |at: usize| (i64::from(i32_at(at)) << 32) | i64::from(i32_at(at + 4) as u32);
        Self {
            base_offset: i64_at(0),
            batch_length: i32_at(8),
            partition_leader_epoch: i32_at(LEADER_EPOCH_AT),
            crc: i32_at(CRC_AT) as u32,
            attributes: Attributes(i16_at(21)),
            last_offset_delta: i32_at(23),
            base_timestamp: i64_at(27),
            max_timestamp: i64_at(35),
            producer_id: i64_at(PRODUCER_ID_AT),
            producer_epoch: i16_at(51),
            base_sequence: i32_at(53),
            record_count: i32_at(57),
        }
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        bytes[16] = MAGIC as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.batch_length as usize + LENGTH_END
    }

    /// Offset of the last record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta as i64)
    }

    /// Offset after the last record: where to fetch next.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }
}

/// Sets the base offset in place; it lies outside the checksum. Nothing happens if `batch` is shorter than a header.
pub fn set_base_offset(batch: &mut BytesMut, offset: i64) {
    if batch.len() >= HEADER_LEN {
        batch[..8].copy_from_slice(&offset.to_be_bytes());
    }
}

/// Sets the partition leader epoch in place; it lies outside the checksum. Nothing happens if `batch` is shorter than
/// a header.
pub fn set_leader_epoch(batch: &mut BytesMut, epoch: i32) {
    if batch.len() >= HEADER_LEN {
        batch[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.to_be_bytes());
    }
}
