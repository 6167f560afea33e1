//! Cutting a run of batches, as a Fetch response or a log segment holds them, into single ones.

use bytes::Bytes;

use super::error::RecordError;
use super::header::{BatchHeader, CHECKED_FROM, HEADER_LEN, LENGTH_END, MAGIC, MAGIC_AT};
use super::set::RecordSet;
use crate::wire::compression::{Compression, Decompressor};
use crate::wire::crc::crc32c;

/// The batches in `records`, one after the other.
///
/// A broker may cut the last batch off anywhere, so a partial one ends the iteration quietly;
/// [`BatchIter::remainder`] tells how many bytes it left. A caller that got no batch from a non-empty input has to treat
/// that as an error, and one that knows its input to be complete asks [`BatchIter::finish`].
#[must_use]
pub fn batches(records: Bytes) -> BatchIter {
    BatchIter { rest: records }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct BatchIter {
    rest: Bytes,
}

impl BatchIter {
    /// Bytes not given as batches: after the end of the iteration, the length of a partial batch.
    #[must_use]
    pub fn remainder(&self) -> usize {
        self.rest.len()
    }

    /// An error if bytes are left.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] with what the partial batch states.
    pub fn finish(&self) -> Result<(), RecordError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let available = self.rest.len();
        let (offset, needed) = match self.rest.first_chunk::<LENGTH_END>() {
            Some(&[a, b, c, d, e, f, g, h, i, j, k, l]) => (
                i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                i32::from_be_bytes([i, j, k, l]).max(0) as usize + LENGTH_END,
            ),
            None => (-1, LENGTH_END),
        };
        Err(RecordError::Truncated { offset, needed, available })
    }

    fn fail(&mut self, error: RecordError) -> Option<Result<RawBatch, RecordError>> {
        // What follows a malformed batch can't be found.
        self.rest.clear();
        Some(Err(error))
    }
}

impl Iterator for BatchIter {
    type Item = Result<RawBatch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = i32::from_be_bytes(*self.rest.get(8..)?.first_chunk()?);
        let offset = i64::from_be_bytes(*self.rest.first_chunk()?);
        match self.rest.get(MAGIC_AT) {
            Some(&magic) if magic as i8 != MAGIC => {
                return self.fail(RecordError::UnsupportedMagic { offset, magic: magic as i8 });
            }
            _ => {}
        }
        if length < (HEADER_LEN - LENGTH_END) as i32 {
            return self.fail(RecordError::InvalidLength { offset, length });
        }
        let total = length as usize + LENGTH_END;
        if total > self.rest.len() {
            return None;
        }
        match BatchHeader::parse(&self.rest) {
            Ok(header) => Some(Ok(RawBatch { header, bytes: self.rest.split_to(total) })),
            Err(error) => self.fail(error),
        }
    }
}

impl std::iter::FusedIterator for BatchIter {}

/// One whole batch, its header read, its records not looked at.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// The header.
    pub header: BatchHeader,
    /// The batch, header included.
    pub bytes: Bytes,
}

impl RawBatch {
    /// The one batch that `bytes` is.
    ///
    /// # Errors
    /// If `bytes` isn't exactly one batch.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(&bytes)?;
        let total = header.total_len();
        if bytes.len() < total {
            let (offset, available) = (header.base_offset, bytes.len());
            return Err(RecordError::Truncated { offset, needed: total, available });
        }
        if bytes.len() > total {
            let (offset, bytes) = (header.base_offset, bytes.len() - total);
            return Err(RecordError::TrailingBytes { offset, bytes });
        }
        Ok(Self { header, bytes })
    }

    /// Compares the checksum with the bytes.
    ///
    /// # Errors
    /// [`RecordError::Checksum`].
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let computed = crc32c(self.bytes.get(CHECKED_FROM..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        Err(RecordError::Checksum { offset: self.header.base_offset, stored: self.header.crc, computed })
    }

    /// Decompresses and indexes the records. Doesn't look at the checksum (`check.crcs`): see [`Self::verify_crc`].
    ///
    /// # Errors
    /// Whatever [`RecordError`] says about a batch's content.
    pub fn records(&self, decompressor: &mut Decompressor) -> Result<RecordSet, RecordError> {
        let mut set = RecordSet::empty();
        self.records_into(decompressor, &mut set)?;
        Ok(set)
    }

    /// As [`Self::records`], with a set whose index is used again: nothing is allocated for an uncompressed batch that
    /// has no more records than an earlier one. After an error `set` is empty.
    ///
    /// # Errors
    /// Whatever [`RecordError`] says about a batch's content.
    pub fn records_into(
        &self,
        decompressor: &mut Decompressor,
        set: &mut RecordSet,
    ) -> Result<(), RecordError> {
        let offset = self.header.base_offset;
        let packed = self.bytes.slice(HEADER_LEN.min(self.bytes.len())..);
        let body = match self.header.attributes.compression() {
            Some(Compression::None) => packed,
            Some(codec) => decompressor
                .decompress(codec, &packed)
                .map_err(|source| RecordError::Decompress { offset, source })?
                .into(),
            None => {
                let id = (self.header.attributes.0 & 0b111) as i8;
                return Err(RecordError::UnknownCompression { offset, id });
            }
        };
        set.parse_into(self.header, body)
    }
}
