//! Writing a batch: every record is encoded once, at its final place.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::header::{Attributes, BatchHeader, CHECKED_FROM, CRC_AT, HEADER_LEN, LENGTH_END, PRODUCER_ID_AT};
use super::index::MAX_RECORDS;
use crate::wire::compression::{Compression, CompressionError, CompressionLevel, Compressor};
use crate::wire::crc::crc32c;
use crate::wire::varint::{
    MAX_VARINT_LEN, MAX_VARLONG_LEN, put_unsigned, unsigned_len, varint_len, varlong_len, zigzag, zigzag64,
};

/// What precedes a key at most: length, attributes, both deltas, length of the key.
const RECORD_HEAD: usize = 32;
const _: () = assert!(RECORD_HEAD >= 3 * MAX_VARINT_LEN + 1 + MAX_VARLONG_LEN);

/// A header to append: its UTF-8 key and its value.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// How a batch is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// The codec (`compression.type`).
    pub compression: Compression,
    /// The codec's level.
    pub level: CompressionLevel,
    /// Bytes, header included and before compression, up to which records are taken (`batch.size`). The first record
    /// is taken whatever its size.
    pub batch_size: usize,
    /// Most bytes that one record may take, batch header included (`max.request.size`).
    pub max_record_size: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            level: CompressionLevel::DEFAULT,
            batch_size: 16 * 1024,
            max_record_size: 1024 * 1024,
        }
    }
}

/// Why a record wasn't appended. The batch is as it was.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch has no room for it; the next one will.
    #[error("the batch is full")]
    Full,
    /// No batch can take it.
    #[error("the record takes {size} bytes, more than max.request.size = {limit}")]
    TooLarge {
        /// What it takes, batch header included.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

/// Whose batch it is: the fields of an idempotent or transactional producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    pub base_sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

/// The stamp of a producer that is neither idempotent nor transactional.
pub const NO_PRODUCER: ProducerStamp =
    ProducerStamp { producer_id: -1, producer_epoch: -1, base_sequence: -1, transactional: false };

/// Upper bound of what a record takes in a batch.
#[must_use]
pub fn record_size(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> usize {
    let body = body_size(timestamp_delta, offset_delta, key, value, headers);
    unsigned_len(body as u64 * 2) + body
}

/// Bytes of a record after its length.
#[inline]
fn body_size(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> usize {
    let headers_size =
        if headers.is_empty() { 1 } else { headers_size(headers) + unsigned_len(headers.len() as u64 * 2) };
    1 + varlong_len(timestamp_delta)
        + varint_len(offset_delta)
        + field_size(key)
        + field_size(value)
        + headers_size
}

#[inline]
fn field_size(field: Option<&[u8]>) -> usize {
    // The zig-zag of a length is its double; that of -1 is one byte.
    field.map_or(1, |bytes| unsigned_len(bytes.len() as u64 * 2) + bytes.len())
}

fn headers_size(headers: &[Header<'_>]) -> usize {
    headers.iter().map(|(key, value)| field_size(Some(key)) + field_size(*value)).sum()
}

/// Short varints put together in a register, the first in the lowest bytes.
#[derive(Clone, Copy, Default)]
struct Packed {
    bits: u128,
    len: usize,
}

impl Packed {
    /// Numbers have fewer bits than this, hence three bytes at most; five of them fit.
    const BITS: u32 = 21;

    #[inline(always)]
    fn put(&mut self, number: u64) {
        let (bits, len) = if number < 0x80 {
            (number, 1)
        } else if number < 0x4000 {
            (number & 0x7f | 0x80 | number >> 7 << 8, 2)
        } else {
            (number & 0x7f | 0x80 | (number >> 7 & 0x7f | 0x80) << 8 | number >> 14 << 16, 3)
        };
        self.append(Self { bits: u128::from(bits), len });
    }

    #[inline(always)]
    fn append(&mut self, other: Self) {
        self.bits |= other.bits << (8 * self.len);
        self.len += other.len;
    }
}

/// Builds one batch after the other in the same memory.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records.
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// A builder that has reserved nothing yet.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        Self::with_buffer(options, Vec::new())
    }

    /// A builder that writes into `buffer`'s memory, whatever it holds.
    #[must_use]
    pub fn with_buffer(options: BatchOptions, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { options, buffer, count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Reserves memory for a whole batch.
    pub fn reserve(&mut self) {
        let target = self.options.batch_size.max(HEADER_LEN) + RECORD_HEAD;
        self.buffer.reserve_exact(target.saturating_sub(self.buffer.len()));
    }

    /// How the batch is built.
    #[must_use]
    pub const fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Raises or lowers the size up to which records are taken, as an estimate of the compression ratio allows.
    pub const fn set_batch_size(&mut self, batch_size: usize) {
        self.options.batch_size = batch_size;
    }

    /// Bytes of the batch so far, header included, before compression; 0 while there are no records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that the finished batch will have at most when nothing gets compressed.
    #[must_use]
    pub const fn size_estimate(&self) -> usize {
        if self.buffer.is_empty() { HEADER_LEN } else { self.buffer.len() }
    }

    /// Bytes of memory held.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Records so far.
    #[must_use]
    pub const fn record_count(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no records.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Greatest timestamp so far, -1 without records.
    #[must_use]
    pub const fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Whether no further record would be taken, even the smallest.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count > 0 && self.buffer.len() >= self.options.batch_size
    }

    /// Encodes a record at the end of the batch. `timestamp` is in milliseconds since 1970. Gives the record's offset
    /// relative to the batch.
    ///
    /// # Errors
    /// [`AppendError::Full`] if it is for the next batch, [`AppendError::TooLarge`] if for none.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<i32, AppendError> {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        if !headers.is_empty() || !self.append_usual(timestamp_delta, key, value)? {
            self.append_any(timestamp_delta, key, value, headers)?;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        Ok(self.count - 1)
    }

    /// A record as nearly all are: without headers, and no number in it that takes more than three bytes. Its head is
    /// put together in a register. Gives false, and has done nothing, if the record isn't one of those.
    #[inline]
    fn append_usual(
        &mut self,
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<bool, AppendError> {
        let (key_len, key_number) = key.map_or((0, 1), |key| (key.len(), key.len() as u64 * 2));
        let (value_len, value_number) = value.map_or((0, 1), |value| (value.len(), value.len() as u64 * 2));
        let timestamp_number = zigzag64(timestamp_delta);
        let offset_number = u64::from(zigzag(self.count));
        // The sum of the lengths stays in range if each does with bits to spare.
        if (timestamp_number | offset_number | key_number | value_number) >= 1 << (Packed::BITS - 2) {
            return Ok(false);
        }
        let mut fields = Packed::default();
        // Record attributes: none are defined.
        fields.put(0);
        fields.put(timestamp_number);
        fields.put(offset_number);
        fields.put(key_number);
        let mut value_head = Packed::default();
        value_head.put(value_number);
        let body = fields.len + key_len + value_head.len + value_len + 1;
        let mut head = Packed::default();
        head.put(body as u64 * 2);
        let size = head.len + body;
        self.check(size)?;
        if self.count == 0 {
            self.buffer.resize(HEADER_LEN, 0);
        }
        // Once, with what the heads of fixed size overhang: nothing below has to grow the buffer.
        self.buffer.reserve(size + RECORD_HEAD);
        head.append(fields);
        match key {
            Some(key) => {
                self.write_packed(head);
                self.buffer.extend_from_slice(key);
                self.write_packed(value_head);
            }
            None => {
                head.append(value_head);
                self.write_packed(head);
            }
        }
        self.buffer.extend_from_slice(value.unwrap_or_default());
        self.buffer.push(0);
        Ok(true)
    }

    #[inline]
    fn write_packed(&mut self, packed: Packed) {
        // A copy of fixed size is a store or two, a copy of `len` bytes a call.
        let len = self.buffer.len();
        self.buffer.extend_from_slice(&packed.bits.to_le_bytes());
        self.buffer.truncate(len + packed.len);
    }

    /// Any record.
    #[inline(never)]
    fn append_any(
        &mut self,
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), AppendError> {
        let body = body_size(timestamp_delta, self.count, key, value, headers);
        let size = body + unsigned_len(body as u64 * 2);
        self.check(size)?;
        if self.count == 0 {
            self.buffer.resize(HEADER_LEN, 0);
        }
        self.buffer.reserve(size + RECORD_HEAD);
        self.write_head(body, timestamp_delta, key);
        self.buffer.extend_from_slice(key.unwrap_or_default());
        self.write_length(value);
        self.buffer.extend_from_slice(value.unwrap_or_default());
        self.write_headers(headers);
        Ok(())
    }

    #[inline]
    fn check(&self, size: usize) -> Result<(), AppendError> {
        let alone = size.saturating_add(HEADER_LEN);
        // A batch's length is an i32, whatever the limit says.
        let limit = self.options.max_record_size.min(i32::MAX as usize - RECORD_HEAD);
        if alone > limit {
            return Err(AppendError::TooLarge { size: alone, limit });
        }
        let room = self.options.batch_size.min(i32::MAX as usize - RECORD_HEAD);
        let full = self.buffer.len().saturating_add(size) > room || self.count as usize >= MAX_RECORDS;
        if self.count > 0 && full { Err(AppendError::Full) } else { Ok(()) }
    }

    fn write_head(&mut self, body: usize, timestamp_delta: i64, key: Option<&[u8]>) {
        let mut head = [0; RECORD_HEAD];
        let mut end = put_unsigned(&mut head, 0, body as u64 * 2);
        end += 1;
        end = put_unsigned(&mut head, end, zigzag64(timestamp_delta));
        end = put_unsigned(&mut head, end, u64::from(zigzag(self.count)));
        end = put_unsigned(&mut head, end, key.map_or(1, |key| key.len() as u64 * 2));
        self.buffer.extend_from_slice(&head[..end]);
    }

    fn write_length(&mut self, field: Option<&[u8]>) {
        let mut bytes = [0; 8];
        let end = put_unsigned(&mut bytes, 0, field.map_or(1, |field| field.len() as u64 * 2));
        self.buffer.extend_from_slice(&bytes[..end]);
    }

    fn write_headers(&mut self, headers: &[Header<'_>]) {
        let mut bytes = [0; 8];
        let end = put_unsigned(&mut bytes, 0, headers.len() as u64 * 2);
        self.buffer.extend_from_slice(&bytes[..end]);
        for (key, value) in headers {
            self.write_length(Some(key));
            self.buffer.extend_from_slice(key);
            self.write_length(*value);
            self.buffer.extend_from_slice(value.unwrap_or_default());
        }
    }

    /// Completes the batch and leaves the builder empty. Without compression the batch takes the builder's memory with
    /// it ([`Self::reclaim`] may get it back later); with compression the builder keeps it.
    ///
    /// # Errors
    /// If the codec fails, see [`Compressor::compress`]; the records are then lost to the builder's caller, who has to
    /// report them as failed.
    pub fn finish(
        &mut self,
        compressor: &mut Compressor,
        stamp: ProducerStamp,
    ) -> Result<Bytes, CompressionError> {
        let count = self.count;
        let mut batch = if self.options.compression == Compression::None {
            let mut batch = std::mem::take(&mut self.buffer);
            batch.resize(batch.len().max(HEADER_LEN), 0);
            batch
        } else {
            let records = self.buffer.get(HEADER_LEN..).unwrap_or_default();
            let packed = compressor.compress(self.options.compression, self.options.level, records);
            let batch = packed.map(|packed| {
                let mut batch = Vec::with_capacity(HEADER_LEN + packed.len());
                batch.resize(HEADER_LEN, 0);
                batch.extend_from_slice(packed);
                batch
            });
            self.buffer.clear();
            self.count = 0;
            batch?
        };
        self.count = 0;
        let header = BatchHeader {
            base_offset: 0,
            batch_length: (batch.len() - LENGTH_END) as i32,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: Attributes::new(self.options.compression, stamp.transactional, false),
            last_offset_delta: count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: stamp.producer_id,
            producer_epoch: stamp.producer_epoch,
            base_sequence: stamp.base_sequence,
            record_count: count,
        };
        seal(&mut batch, &header);
        self.base_timestamp = -1;
        self.max_timestamp = -1;
        Ok(batch.into())
    }

    /// Drops the records, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.count = 0;
        self.base_timestamp = -1;
        self.max_timestamp = -1;
    }

    /// Takes back the memory of a batch that nobody else holds any more. Does nothing if somebody does, or if this
    /// builder has memory already.
    pub fn reclaim(&mut self, batch: Bytes) {
        if self.buffer.capacity() == 0
            && let Ok(batch) = batch.try_into_mut()
        {
            self.buffer = batch.into();
            self.buffer.clear();
        }
    }
}

/// Writes `header` with the right checksum to the start of `batch`, which is at least a header long.
pub(super) fn seal(batch: &mut [u8], header: &BatchHeader) {
    batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let crc = crc32c(&batch[CHECKED_FROM..]);
    batch[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// The batch with another producer id, epoch and base sequence, for a retry after the producer's epoch was raised. The
/// checksum is redone; the memory is copied only if somebody else holds it as well. Bytes that are no batch come back
/// as they are.
#[must_use]
pub fn restamp(batch: Bytes, stamp: ProducerStamp) -> Bytes {
    let Ok(mut header) = BatchHeader::parse(&batch) else { return batch };
    let mut batch = batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let codec = header.attributes.compression().unwrap_or_default();
    let control = header.attributes.is_control();
    let kind = header.attributes.timestamp_type();
    header.attributes = Attributes::new(codec, stamp.transactional, control).with_timestamp_type(kind);
    header.producer_id = stamp.producer_id;
    header.producer_epoch = stamp.producer_epoch;
    header.base_sequence = stamp.base_sequence;
    debug_assert_eq!(header.to_bytes()[PRODUCER_ID_AT..][..8], stamp.producer_id.to_be_bytes());
    seal(&mut batch, &header);
    batch.freeze()
}
