//! Reading Kafka's primitive types from a frame without copying its bytes.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;
use uuid::Uuid;

use super::varint::get_unsigned32;

/// A message that isn't what its API and version say.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ends inside a field.
    #[error("the message ends in the middle of {0}")]
    Truncated(&'static str),
    /// A length or count that the message can't hold.
    #[error("the message states an impossible length for {0}")]
    Length(&'static str),
    /// A string that isn't UTF-8.
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    /// A version that this code doesn't know.
    #[error("version {0} of the message is not supported")]
    Version(i16),
    /// Bytes after the end of the message.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
}

/// A position in a message of a fixed encoding, flexible (KIP-482) or not.
pub(super) struct Reader {
    bytes: Bytes,
    at: usize,
    flexible: bool,
}

impl Reader {
    pub(super) const fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, at: 0, flexible }
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let chunk = rest.first_chunk::<N>().ok_or(DecodeError::Truncated(what))?;
        self.at += N;
        Ok(*chunk)
    }

    pub(super) fn i16(&mut self, what: &'static str) -> Result<i16, DecodeError> {
        self.take(what).map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.take(what).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.take(what).map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self, what: &'static str) -> Result<Uuid, DecodeError> {
        self.take(what).map(Uuid::from_bytes)
    }

    fn unsigned(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        get_unsigned32(&self.bytes, &mut self.at)
            .map(|value| value as usize)
            .ok_or(DecodeError::Truncated(what))
    }

    fn length(&mut self, what: &'static str, short: bool) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return Ok(self.unsigned(what)?.checked_sub(1));
        }
        let length = if short { i32::from(self.i16(what)?) } else { self.i32(what)? };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| DecodeError::Length(what)),
        }
    }

    fn slice(&mut self, length: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated(what));
        }
        let slice = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(slice)
    }

    /// A nullable string, as a slice of the message.
    pub(super) fn string(&mut self, what: &'static str) -> Result<Option<StrBytes>, DecodeError> {
        let Some(length) = self.length(what, true)? else { return Ok(None) };
        let bytes = self.slice(length, what)?;
        StrBytes::from_utf8(bytes).map(Some).map_err(|_| DecodeError::Utf8(what))
    }

    /// Nullable bytes, as a slice of the message.
    pub(super) fn bytes(&mut self, what: &'static str) -> Result<Option<Bytes>, DecodeError> {
        match self.length(what, false)? {
            Some(length) => self.slice(length, what).map(Some),
            None => Ok(None),
        }
    }

    /// The count of a nullable array (null counts 0) whose elements take at least `element` bytes each: never more
    /// than the message can hold.
    pub(super) fn count(&mut self, what: &'static str, element: usize) -> Result<usize, DecodeError> {
        let count = self.length(what, false)?.unwrap_or(0);
        if count > self.remaining() / element.max(1) {
            return Err(DecodeError::Length(what));
        }
        Ok(count)
    }

    /// The tagged fields of a flexible structure: `field` gets each tag with a reader that ends where the field ends.
    pub(super) fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        const WHAT: &str = "tagged fields";
        let count = self.unsigned(WHAT)?;
        if count > self.remaining() {
            return Err(DecodeError::Length(WHAT));
        }
        for _ in 0..count {
            let tag = self.unsigned(WHAT)? as u32;
            let length = self.unsigned(WHAT)?;
            let bytes = self.slice(length, WHAT)?;
            field(tag, &mut Self::new(bytes, true))?;
        }
        Ok(())
    }

    pub(super) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(()))
    }

    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}
