//! Walks a request or an answer before it is decoded: every count in it must be backed by bytes.
//!
//! The decoder of control messages reserves memory for as many elements as a count says; a few bytes could ask for gigabytes that
//! way. The broker looks at requests, the client at answers.

mod requests;
mod responses;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Decodable;

/// A field of a struct in the versions `from..=to`.
#[derive(Debug)]
struct Field {
    from: i16,
    to: i16,
    kind: Kind,
}

const fn f(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

/// What a field looks like on the wire. All but `Fixed` may be null.
#[derive(Debug)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    Text,
    Blob,
    Array(&'static Kind),
    Structs(&'static [Field]),
    /// A struct after a byte that tells whether it is there.
    Maybe(&'static [Field]),
    /// A struct that is always there.
    Struct(&'static [Field]),
    /// A tagged field that the decoder knows: it is read by its kind, whatever size is given. These come last in a struct.
    Tagged(u32, &'static Kind),
}

/// API, first flexible version, fields.
type Layout = (ApiKey, i16, &'static [Field]);

/// For messages without flexible versions.
const NEVER: i16 = i16::MAX;

/// Which of the two messages of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What a client sends.
    Request,
    /// What a broker answers.
    Response,
}

/// An answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It announces more than it holds, or there is no layout of it.
    #[error("it announces more than it holds")]
    Unbacked,
    /// The decoder refused it.
    #[error("{0}")]
    Refused(String),
}

/// Whether `body` has everything that it announces. Messages without a layout have not.
#[must_use]
pub fn is_backed(direction: Direction, api: ApiKey, version: i16, body: &[u8]) -> bool {
    rest_after(direction, api, version, body).is_some()
}

/// Decodes an answer that has been walked.
///
/// # Errors
/// The answer is cut short or announces more than it holds.
pub fn decode_response<A: Decodable>(api: ApiKey, version: i16, body: &mut Bytes) -> Result<A, Malformed> {
    if !is_backed(Direction::Response, api, version, body) {
        return Err(Malformed::Unbacked);
    }
    A::decode(body, version).map_err(|error| Malformed::Refused(error.to_string()))
}

/// How long the broker wants to be left alone after this answer (KIP-219); none where it does not say so in the first field.
pub(crate) fn throttle_time(api: ApiKey, version: i16, body: &[u8]) -> Option<Duration> {
    let (_, _, fields) = responses::LAYOUTS.iter().find(|(key, ..)| *key == api)?;
    // wherever the first field of an answer is a number of four bytes, it is this one
    let first = fields.first().filter(|field| (field.from..=field.to).contains(&version))?;
    if !matches!(first.kind, Kind::Fixed(4)) {
        return None;
    }
    let millis = i32::from_be_bytes(*body.first_chunk()?);
    u64::try_from(millis).ok().filter(|millis| *millis > 0).map(Duration::from_millis)
}

/// What is left of `body` after the message.
fn rest_after(direction: Direction, api: ApiKey, version: i16, body: &[u8]) -> Option<&[u8]> {
    let layouts = match direction {
        Direction::Request => requests::LAYOUTS,
        Direction::Response => responses::LAYOUTS,
    };
    let (_, flexible, fields) = layouts.iter().find(|(key, ..)| *key == api)?;
    let mut walk = Walk { rest: body, version, flexible: version >= *flexible };
    walk.fields(fields)?;
    Some(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            let present = (field.from..=field.to).contains(&self.version);
            if present && !matches!(field.kind, Kind::Tagged(..)) {
                self.kind(&field.kind)?;
            }
        }
        if self.flexible { self.tags(fields) } else { Some(()) }
    }

    fn kind(&mut self, kind: &Kind) -> Option<()> {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::Text if !self.flexible => {
                let length = i16::from_be_bytes(self.take()?);
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Kind::Text | Kind::Blob => {
                let length = self.count()?;
                self.skip(length)
            }
            Kind::Array(element) => (0..self.count()?).try_for_each(|_| self.kind(element)),
            Kind::Structs(fields) => (0..self.count()?).try_for_each(|_| self.fields(fields)),
            Kind::Struct(fields) => self.fields(fields),
            Kind::Tagged(_, kind) => self.kind(kind),
            Kind::Maybe(fields) => {
                let [there] = self.take()?;
                if there == 1 { self.fields(fields) } else { Some(()) }
            }
        }
    }

    /// A length or count; 0 for null. Nothing has more elements than there are bytes.
    fn count(&mut self) -> Option<usize> {
        let count = if self.flexible {
            (self.varint()? as usize).saturating_sub(1)
        } else {
            usize::try_from(i32::from_be_bytes(self.take()?)).unwrap_or(0)
        };
        (count <= self.rest.len()).then_some(count)
    }

    fn tags(&mut self, fields: &[Field]) -> Option<()> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let content = self.rest.get(..size)?;
            self.skip(size)?;
            let known = fields
                .iter()
                .filter(|field| (field.from..=field.to).contains(&self.version))
                .find_map(|field| match &field.kind {
                    Kind::Tagged(number, kind) if *number == tag => Some(kind),
                    _ => None,
                });
            if let Some(kind) = known {
                // the decoder goes by the kind alone: it has to take exactly the content
                let mut inner = Walk { rest: content, ..*self };
                inner.kind(kind)?;
                if !inner.rest.is_empty() {
                    return None;
                }
            }
        }
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*front)
    }

    fn skip(&mut self, size: usize) -> Option<()> {
        self.rest = self.rest.get(size..)?;
        Some(())
    }
}
