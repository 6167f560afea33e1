//! The one pass over a batch's records that checks them and notes where everything is.

use super::error::{RecordError, RecordProblem};
use super::header::BatchHeader;
use crate::wire::varint::{get_varint, get_varlong, unzigzag};

/// Most records a batch may state; a larger count is taken for corruption.
pub const MAX_RECORDS: usize = 1 << 22;

/// The shortest record: its length, attributes, two deltas, two lengths of -1 and the header count, a byte each.
pub(super) const MIN_RECORD_LEN: usize = 7;
/// What [`usual_record`] looks at at once; a record nearer than this to the end of the body isn't usual.
const HEAD: usize = 16;
/// The shortest header: an empty key and no value, a length byte each.
const MIN_HEADER_LEN: usize = 2;

/// Where a record's parts are, relative to the batch's base and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordSpan {
    /// Milliseconds to add to the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// Where the key starts in the body.
    pub key_at: u32,
    /// Length of the key, -1 for null.
    pub key_len: i32,
    /// Where the value starts in the body.
    pub value_at: u32,
    /// Length of the value, -1 for null.
    pub value_len: i32,
    /// Where the first header starts in the body.
    pub headers_at: u32,
    /// Headers of the record.
    pub header_count: u32,
}

const _: () = assert!(size_of::<RecordSpan>() == 40);

/// Indexes `body` into `spans` in place of what is there. After an error they mean nothing.
pub(super) fn index(
    header: &BatchHeader,
    body: &[u8],
    spans: &mut Vec<RecordSpan>,
) -> Result<(), RecordError> {
    let offset = header.base_offset;
    // No more memory is reserved than records can be in the bytes that are there.
    let limit = (body.len() / MIN_RECORD_LEN).min(MAX_RECORDS);
    let count = usize::try_from(header.record_count).unwrap_or(usize::MAX);
    if count > limit || body.len() > i32::MAX as usize {
        return Err(RecordError::InvalidCount { offset, count: header.record_count, limit });
    }
    // Entries of the batch before are overwritten, not cleared first.
    spans.resize(count, RecordSpan::default());
    let mut at = 0;
    let mut previous = -1;
    for (index, slot) in spans.iter_mut().enumerate() {
        let (span, end) = match usual_record(body, at) {
            Some(usual) => usual,
            None => record(body, at).map_err(|problem| malformed(offset, index, problem))?,
        };
        at = end;
        if span.offset_delta <= previous || span.offset_delta > header.last_offset_delta {
            return Err(malformed(offset, index, RecordProblem::Offset));
        }
        previous = span.offset_delta;
        *slot = span;
    }
    if at != body.len() {
        return Err(RecordError::TrailingBytes { offset, bytes: body.len() - at });
    }
    Ok(())
}

#[cold]
fn malformed(offset: i64, index: usize, problem: RecordProblem) -> RecordError {
    RecordError::Record { offset, index, problem }
}

/// A record as nearly all are: no headers, and none of the numbers before its key takes more than two bytes. `None` for
/// any other, which [`record`] then reads or refuses.
///
/// The head is one array of fixed size, so none of its bytes needs a bounds check of its own.
#[inline(always)]
fn usual_record(body: &[u8], start: usize) -> Option<(RecordSpan, usize)> {
    let head = body.get(start..)?.first_chunk::<HEAD>()?;
    let mut at = 0;
    let length = short(head, &mut at)?;
    let end = start + at + usize::try_from(length).ok()?;
    at += 1;
    let timestamp_delta = i64::from(short(head, &mut at)?);
    let offset_delta = short(head, &mut at)?;
    let key_len = short(head, &mut at)?;
    let key_at = start + at;
    let mut at = key_at + usize::try_from(key_len).or_else(|_| null_length(key_len)).ok()?;
    let value_len = get_varint(body, &mut at)?;
    let value_at = at;
    let value_end = value_at + usize::try_from(value_len).or_else(|_| null_length(value_len)).ok()?;
    // Nothing but the header count, zero, between the value and the end: so every part lies before the end.
    if value_end + 1 != end || *body.get(value_end)? != 0 {
        return None;
    }
    let span = RecordSpan {
        timestamp_delta,
        offset_delta,
        key_at: key_at as u32,
        key_len,
        value_at: value_at as u32,
        value_len,
        headers_at: end as u32,
        header_count: 0,
    };
    Some((span, end))
}

/// -1 is null and takes no bytes; less is malformed.
#[inline(always)]
fn null_length(length: i32) -> Result<usize, ()> {
    if length == -1 { Ok(0) } else { Err(()) }
}

/// A varint of one or two bytes.
#[inline(always)]
fn short(head: &[u8; HEAD], at: &mut usize) -> Option<i32> {
    // The mask never changes an index that is in use: four numbers and a byte take nine at most.
    let first = head[*at % HEAD];
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag(u32::from(first)));
    }
    let second = head[(*at + 1) % HEAD];
    if second >= 0x80 {
        return None;
    }
    *at += 2;
    Some(unzigzag(u32::from(first & 0x7f) | u32::from(second) << 7))
}

/// Any record. Kept out of the loop, which is for the usual ones.
#[inline(never)]
fn record(body: &[u8], start: usize) -> Result<(RecordSpan, usize), RecordProblem> {
    let at = &mut { start };
    let length = get_varint(body, at).ok_or(RecordProblem::Varint("length"))?;
    let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
    let bytes = end.and_then(|end| body.get(..end)).ok_or(RecordProblem::Length("length"))?;
    // Record attributes: none are defined.
    *at += 1;
    let timestamp_delta = get_varlong(bytes, at).ok_or(RecordProblem::Varint("timestamp"))?;
    let offset_delta = get_varint(bytes, at).ok_or(RecordProblem::Varint("offset"))?;
    let key_len = get_varint(bytes, at).ok_or(RecordProblem::Varint("key length"))?;
    let key_at = *at;
    *at = skip(bytes, *at, key_len).ok_or(RecordProblem::Length("key"))?;
    let value_len = get_varint(bytes, at).ok_or(RecordProblem::Varint("value length"))?;
    let value_at = *at;
    *at = skip(bytes, *at, value_len).ok_or(RecordProblem::Length("value"))?;
    let header_count = get_varint(bytes, at).ok_or(RecordProblem::Varint("header count"))?;
    let headers_at = *at;
    if header_count != 0 {
        headers(bytes, at, header_count)?;
    }
    if *at != bytes.len() {
        return Err(RecordProblem::Size);
    }
    let span = RecordSpan {
        timestamp_delta,
        offset_delta,
        key_at: key_at as u32,
        key_len,
        value_at: value_at as u32,
        value_len,
        headers_at: headers_at as u32,
        header_count: header_count as u32,
    };
    Ok((span, *at))
}

/// The position after a field of `len` bytes; -1 is null and takes none.
#[inline]
fn skip(bytes: &[u8], at: usize, len: i32) -> Option<usize> {
    if len < 0 {
        return (len == -1).then_some(at);
    }
    let end = at.checked_add(len as usize)?;
    (end <= bytes.len()).then_some(end)
}

/// Checks the headers, so that reading them later can't fail.
#[inline(never)]
fn headers(bytes: &[u8], at: &mut usize, count: i32) -> Result<(), RecordProblem> {
    let most = bytes.len().saturating_sub(*at) / MIN_HEADER_LEN;
    if count < 0 || count as usize > most {
        return Err(RecordProblem::Length("header count"));
    }
    for _ in 0..count {
        let key_len = get_varint(bytes, at).ok_or(RecordProblem::Varint("header key length"))?;
        if key_len < 0 {
            return Err(RecordProblem::Length("header key"));
        }
        *at = skip(bytes, *at, key_len).ok_or(RecordProblem::Length("header key"))?;
        let value_len = get_varint(bytes, at).ok_or(RecordProblem::Varint("header value length"))?;
        *at = skip(bytes, *at, value_len).ok_or(RecordProblem::Length("header value"))?;
    }
    Ok(())
}
