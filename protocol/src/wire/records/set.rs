//! The records of a batch: one shared buffer and an index into it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::error::RecordError;
use super::header::{Attributes, BatchHeader, TimestampType};
use super::index::{RecordSpan, index};
use crate::wire::varint::get_varint;

/// The records of one batch. The bytes are shared with the frame they came in, or are the decompressed section.
#[derive(Debug, Clone)]
pub struct RecordSet {
    header: BatchHeader,
    body: Bytes,
    spans: Vec<RecordSpan>,
    /// Records before this one have been taken.
    first: usize,
}

impl RecordSet {
    /// A set without records, to be filled by [`Self::parse_into`].
    #[must_use]
    pub fn empty() -> Self {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        Self { header, body: Bytes::new(), spans: Vec::new(), first: 0 }
    }

    /// Checks and indexes `body`, the uncompressed records that belong to `header`, in one pass. The index's memory is
    /// used again. After an error the set is empty.
    ///
    /// # Errors
    /// Whatever [`RecordError`] says about a batch's content.
    pub fn parse_into(&mut self, header: BatchHeader, body: Bytes) -> Result<(), RecordError> {
        self.first = 0;
        self.header = header;
        if let Err(error) = index(&header, &body, &mut self.spans) {
            self.spans.clear();
            self.body = Bytes::new();
            return Err(error);
        }
        self.body = body;
        Ok(())
    }

    /// The batch's header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The uncompressed records, which every range refers to.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Records left in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len() - self.first
    }

    /// Whether no records are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the records left.
    #[must_use]
    pub fn spans(&self) -> &[RecordSpan] {
        &self.spans[self.first..]
    }

    /// The record at `index` of those left.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<RecordView<'_>> {
        let span = self.spans().get(index)?;
        Some(RecordView { header: &self.header, body: &self.body, span })
    }

    /// The records left, in order.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: &self.header, body: &self.body, spans: self.spans().iter() }
    }

    /// Takes the first `count` records off (or all there are).
    pub fn advance(&mut self, count: usize) {
        self.first += count.min(self.len());
    }

    /// Takes off the records before `offset`: a fetch gives whole batches, wherever in one it starts.
    pub fn advance_to(&mut self, offset: i64) {
        let base = self.header.base_offset;
        let before =
            self.spans().partition_point(|span| base.saturating_add(i64::from(span.offset_delta)) < offset);
        self.advance(before);
    }

    /// Keeps only the first `count` of the records left.
    pub fn truncate(&mut self, count: usize) {
        self.spans.truncate(self.first.saturating_add(count));
    }

    /// Takes the first `count` records off as a set of their own (`max.poll.records`). The bytes are shared, only the
    /// index entries are copied.
    #[must_use]
    pub fn split_to(&mut self, count: usize) -> Self {
        let count = count.min(self.len());
        let spans = self.spans()[..count].to_vec();
        self.advance(count);
        Self { header: self.header, body: self.body.clone(), spans, first: 0 }
    }

    /// Removes all records, keeps the index's memory, lets go of the bytes.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.first = 0;
        self.body = Bytes::new();
    }
}

impl Default for RecordSet {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a> IntoIterator for &'a RecordSet {
    type Item = RecordView<'a>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// The records of a [`RecordSet`].
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    body: &'a [u8],
    spans: std::slice::Iter<'a, RecordSpan>,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = RecordView<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordView<'a>> {
        let span = self.spans.next()?;
        Some(RecordView { header: self.header, body: self.body, span })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl DoubleEndedIterator for RecordIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let span = self.spans.next_back()?;
        Some(RecordView { header: self.header, body: self.body, span })
    }
}

impl ExactSizeIterator for RecordIter<'_> {}
impl std::iter::FusedIterator for RecordIter<'_> {}

/// One record, borrowed from its set.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    header: &'a BatchHeader,
    body: &'a [u8],
    span: &'a RecordSpan,
}

impl<'a> RecordView<'a> {
    /// The record's offset in its partition.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> i64 {
        self.header.base_offset.wrapping_add(self.span.offset_delta as i64)
    }

    /// Milliseconds since 1970, -1 without; see [`Self::timestamp_type`].
    #[inline]
    #[must_use]
    pub const fn timestamp(&self) -> i64 {
        match self.header.attributes.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(self.span.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        }
    }

    /// What the timestamp tells.
    #[inline]
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        self.header.attributes.timestamp_type()
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.body.get(self.key_range()?)
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.body.get(self.value_range()?)
    }

    /// Where in the set's body the key is.
    #[inline]
    #[must_use]
    pub fn key_range(&self) -> Option<Range<usize>> {
        range(self.span.key_at, self.span.key_len)
    }

    /// Where in the set's body the value is.
    #[inline]
    #[must_use]
    pub fn value_range(&self) -> Option<Range<usize>> {
        range(self.span.value_at, self.span.value_len)
    }

    /// How many headers the record has.
    #[inline]
    #[must_use]
    pub const fn header_count(&self) -> usize {
        self.span.header_count as usize
    }

    /// The headers in their order; a key may come several times.
    #[inline]
    #[must_use]
    pub const fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { body: self.body, at: self.span.headers_at as usize, left: self.span.header_count }
    }
}

#[inline]
fn range(at: u32, len: i32) -> Option<Range<usize>> {
    (len >= 0).then(|| at as usize..at as usize + len as usize)
}

/// The headers of a record, read as they are asked for.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    body: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        if self.left == 0 {
            return None;
        }
        // Checked when the set was parsed: none of these fail.
        self.left -= 1;
        let len = get_varint(self.body, &mut self.at)?;
        let key = range(self.at as u32, len)?;
        self.at = key.end;
        let len = get_varint(self.body, &mut self.at)?;
        let value = range(self.at as u32, len);
        if let Some(value) = &value {
            self.at = value.end;
        }
        Some(HeaderView { body: self.body, key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}
impl std::iter::FusedIterator for HeaderIter<'_> {}

/// One header.
#[derive(Debug, Clone)]
pub struct HeaderView<'a> {
    body: &'a [u8],
    key: Range<usize>,
    value: Option<Range<usize>>,
}

impl<'a> HeaderView<'a> {
    /// The key as text; bytes that aren't UTF-8 become U+FFFD, as in the JVM.
    #[must_use]
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key_bytes())
    }

    /// The key's bytes.
    #[must_use]
    pub fn key_bytes(&self) -> &'a [u8] {
        self.body.get(self.key.clone()).unwrap_or_default()
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.body.get(self.value.clone()?)
    }

    /// Where in the set's body the key is.
    #[must_use]
    pub fn key_range(&self) -> Range<usize> {
        self.key.clone()
    }

    /// Where in the set's body the value is.
    #[must_use]
    pub fn value_range(&self) -> Option<Range<usize>> {
        self.value.clone()
    }
}
