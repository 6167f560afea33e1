//! The messages of the `pgoutput` plugin (PostgreSQL documentation, "Logical Replication Message Formats"), without I/O.

use std::ops::Range;

use super::types::Format;

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {what} message of the replication stream cannot be read")]
pub(super) struct Malformed {
    what: &'static str,
}

/// A column's value in a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TupleCell {
    Null,
    /// TOASTed and not changed: not sent.
    Unchanged,
    /// Its bytes within the message.
    Value {
        format: Format,
        start: u32,
        end: u32,
    },
}

/// What the old tuple of an update or delete holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldTuple {
    /// The columns of the replica identity only.
    Key,
    /// The whole row.
    Full,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationColumn {
    /// Part of the replica identity.
    pub(super) key: bool,
    pub(super) name: String,
    pub(super) type_oid: u32,
    pub(super) modifier: i32,
}

/// A table as the stream announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) replica_identity: u8,
    pub(super) columns: Vec<RelationColumn>,
}

/// How a transaction ended whose changes were streamed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamCommit {
    pub(super) xid: u32,
    pub(super) end_lsn: u64,
    pub(super) commit_micros: i64,
}

/// A message. Tuples are put into the caller's buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Begin {
        commit_micros: i64,
        xid: u32,
    },
    Commit {
        end_lsn: u64,
    },
    /// Changes of a transaction that is not committed yet follow.
    StreamStart {
        xid: u32,
    },
    /// They end here, for now.
    StreamStop,
    /// A streamed transaction is committed.
    StreamCommit(StreamCommit),
    /// A streamed transaction, or a subtransaction of one, is rolled back. For the whole transaction both are the same.
    StreamAbort {
        xid: u32,
        subxid: u32,
    },
    Origin {
        lsn: u64,
        name: &'a str,
    },
    Relation(Relation),
    Insert {
        relation: u32,
    },
    Update {
        relation: u32,
        old: Option<OldTuple>,
    },
    Delete {
        relation: u32,
        old: OldTuple,
    },
    Truncate {
        relations: Vec<u32>,
    },
    Logical {
        transactional: bool,
        prefix: &'a str,
        content: Range<u32>,
    },
    /// Nothing that concerns us.
    Other,
}

/// The tuples of the last message.
#[derive(Debug, Default)]
pub(super) struct Tuples {
    pub(super) old: Vec<TupleCell>,
    pub(super) new: Vec<TupleCell>,
}

struct Input<'a> {
    all: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.at.checked_add(length).and_then(|end| self.all.get(self.at..end));
        let taken = taken.ok_or(Malformed { what: self.what })?;
        self.at += length;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let what = self.what;
        self.take(N)?.try_into().map_err(|_| Malformed { what })
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.number().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.number().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.number().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let what = self.what;
        let rest = self.all.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(0, rest).ok_or(Malformed { what })?;
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| Malformed { what })?;
        self.at += length + 1;
        Ok(text)
    }

    fn tuple(&mut self, into: &mut Vec<TupleCell>) -> Result<(), Malformed> {
        into.clear();
        for _ in 0..self.u16()? {
            let cell = match self.u8()? {
                b'n' => TupleCell::Null,
                b'u' => TupleCell::Unchanged,
                kind @ (b't' | b'b') => {
                    let length = self.u32()? as usize;
                    let start = self.at as u32;
                    self.take(length)?;
                    let format = if kind == b't' { Format::Text } else { Format::Binary };
                    TupleCell::Value { format, start, end: self.at as u32 }
                }
                _ => return Err(Malformed { what: self.what }),
            };
            into.push(cell);
        }
        Ok(())
    }

    fn old_tuple(&mut self, kind: u8, into: &mut Vec<TupleCell>) -> Result<OldTuple, Malformed> {
        let old = match kind {
            b'K' => OldTuple::Key,
            b'O' => OldTuple::Full,
            _ => return Err(Malformed { what: self.what }),
        };
        self.tuple(into)?;
        Ok(old)
    }
}

/// The (sub)transaction that a message of a streamed transaction belongs to; `None` in an inner `Option` for an origin, which
/// belongs to all of it. `None`: nothing that is sent between Stream Start and Stream Stop.
pub(super) fn streamed_xid(bytes: &[u8]) -> Option<Option<u32>> {
    match bytes.first()? {
        b'O' => Some(None),
        b'I' | b'U' | b'D' | b'T' | b'M' | b'R' | b'Y' => {
            Some(Some(u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?)))
        }
        _ => None,
    }
}

/// Reads a message. Offsets of tuples count from the start of `bytes`. `streamed`: it was sent between Stream Start and Stream
/// Stop, where its transaction comes before its content.
///
/// # Errors
/// The message is cut short, or has what the protocol does not know.
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    tuples: &mut Tuples,
    streamed: bool,
) -> Result<Message<'a>, Malformed> {
    let Some(&kind) = bytes.first() else { return Err(Malformed { what: "empty" }) };
    let mut input = Input { all: bytes, at: 1, what: name(kind) };
    if streamed && kind != b'O' {
        input.u32()?;
    }
    Ok(match kind {
        b'I' => {
            let relation = input.u32()?;
            if input.u8()? != b'N' {
                return Err(Malformed { what: input.what });
            }
            input.tuple(&mut tuples.new)?;
            Message::Insert { relation }
        }
        b'U' => {
            let relation = input.u32()?;
            let mut next = input.u8()?;
            let mut old = None;
            if next != b'N' {
                old = Some(input.old_tuple(next, &mut tuples.old)?);
                next = input.u8()?;
            }
            if next != b'N' {
                return Err(Malformed { what: input.what });
            }
            input.tuple(&mut tuples.new)?;
            Message::Update { relation, old }
        }
        b'D' => {
            let relation = input.u32()?;
            let kind = input.u8()?;
            Message::Delete { relation, old: input.old_tuple(kind, &mut tuples.old)? }
        }
        b'B' => {
            input.u64()?;
            let commit_micros = input.u64()? as i64;
            Message::Begin { commit_micros, xid: input.u32()? }
        }
        b'C' => {
            input.u8()?;
            input.u64()?;
            Message::Commit { end_lsn: input.u64()? }
        }
        b'R' => Message::Relation(relation(&mut input)?),
        b'T' => {
            let count = input.u32()?;
            input.u8()?;
            // four bytes each: a count that lies is met before memory is reserved
            let relations = (0..count).map(|_| input.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations }
        }
        b'M' => {
            let transactional = input.u8()? & 1 == 1;
            input.u64()?;
            let prefix = input.text()?;
            let length = input.u32()? as usize;
            let start = input.at as u32;
            input.take(length)?;
            Message::Logical { transactional, prefix, content: start..input.at as u32 }
        }
        b'O' => Message::Origin { lsn: input.u64()?, name: input.text()? },
        b'S' => {
            let xid = input.u32()?;
            input.u8()?;
            Message::StreamStart { xid }
        }
        b'E' => Message::StreamStop,
        b'c' => {
            let xid = input.u32()?;
            input.u8()?;
            input.u64()?;
            Message::StreamCommit(StreamCommit {
                xid,
                end_lsn: input.u64()?,
                commit_micros: input.u64()? as i64,
            })
        }
        // protocol 4 adds where and when
        b'A' => Message::StreamAbort { xid: input.u32()?, subxid: input.u32()? },
        b'Y' => Message::Other,
        _ => return Err(Malformed { what: input.what }),
    })
}

fn relation(input: &mut Input<'_>) -> Result<Relation, Malformed> {
    let oid = input.u32()?;
    let (schema, table) = (input.text()?.to_owned(), input.text()?.to_owned());
    let replica_identity = input.u8()?;
    let mut columns = Vec::new();
    for _ in 0..input.u16()? {
        columns.push(RelationColumn {
            key: input.u8()? & 1 == 1,
            name: input.text()?.to_owned(),
            type_oid: input.u32()?,
            modifier: input.u32()? as i32,
        });
    }
    // an empty name stands for pg_catalog
    let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
    Ok(Relation { oid, schema, table, replica_identity, columns })
}

const fn name(kind: u8) -> &'static str {
    match kind {
        b'B' => "Begin",
        b'C' => "Commit",
        b'O' => "Origin",
        b'R' => "Relation",
        b'I' => "Insert",
        b'U' => "Update",
        b'D' => "Delete",
        b'T' => "Truncate",
        b'M' => "logical",
        b'Y' => "Type",
        b'S' => "Stream Start",
        b'E' => "Stream Stop",
        b'c' => "Stream Commit",
        b'A' => "Stream Abort",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert() -> Vec<u8> {
        let mut bytes = b"I".to_vec();
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend(b"N\0\x04");
        bytes.extend(b"nut");
        bytes.extend(2_u32.to_be_bytes());
        bytes.extend(b"hib");
        bytes.extend(1_u32.to_be_bytes());
        bytes.push(9);
        bytes
    }

    #[test]
    fn inserts() {
        let bytes = insert();
        let mut tuples = Tuples::default();
        assert_eq!(parse(&bytes, &mut tuples, false), Ok(Message::Insert { relation: 7 }));
        let text = |cell: TupleCell| match cell {
            TupleCell::Value { start, end, .. } => &bytes[start as usize..end as usize],
            _ => b"",
        };
        assert_eq!(tuples.new[..2], [TupleCell::Null, TupleCell::Unchanged]);
        assert_eq!((text(tuples.new[2]), text(tuples.new[3])), (&b"hi"[..], &[9][..]));
    }

    #[test]
    fn a_streamed_message_tells_its_transaction_first() {
        let plain = insert();
        let mut bytes = plain.clone();
        bytes.splice(1..1, 9_u32.to_be_bytes());
        let (mut tuples, mut same) = (Tuples::default(), Tuples::default());
        assert_eq!(parse(&bytes, &mut tuples, true), Ok(Message::Insert { relation: 7 }));
        assert_eq!(parse(&plain, &mut same, false), Ok(Message::Insert { relation: 7 }));
        let start = |tuples: &Tuples| match tuples.new[2] {
            TupleCell::Value { start, .. } => start,
            _ => 0,
        };
        assert_eq!(start(&tuples), start(&same) + 4);
        assert_eq!(streamed_xid(&bytes), Some(Some(9)));
        assert_eq!(streamed_xid(b"O"), Some(None));
        assert_eq!(streamed_xid(&bytes[..4]), None);
        assert_eq!(streamed_xid(b"B\0\0\0\x01"), None);
        let commit =
            [b"c\0\0\0\x07\0".as_slice(), &[0; 8], &90_u64.to_be_bytes(), &5_u64.to_be_bytes()].concat();
        let expected = StreamCommit { xid: 7, end_lsn: 90, commit_micros: 5 };
        assert_eq!(parse(&commit, &mut tuples, false), Ok(Message::StreamCommit(expected)));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_met() {
        let mut relation = b"R\0\0\0\x07public\0t\0d\0\x01\x01id\0".to_vec();
        relation.extend([0, 0, 0, 23, 255, 255, 255, 255]);
        let mut update = b"U\0\0\0\x07K\0\x01t\0\0\0\x011N\0\x01t\0\0\0\x012".to_vec();
        update[0] = b'U';
        let truncate = b"T\0\0\0\x01\0\0\0\0\x07".to_vec();
        let (mut commit, mut abort) = (b"c\0\0\0\x07\0".to_vec(), b"A\0\0\0\x07".to_vec());
        commit.extend([1; 24]);
        abort.extend([0, 0, 0, 8]);
        let start = b"S\0\0\0\x07\x01".to_vec();
        let logical = b"M\x01\0\0\0\0\0\0\0\x01pfx\0\0\0\0\x02hi".to_vec();
        for message in [insert(), relation, update, truncate, logical, start, commit, abort] {
            let mut tuples = Tuples::default();
            assert!(parse(&message, &mut tuples, false).is_ok(), "{message:?}");
            for cut in 0..message.len() {
                assert!(parse(&message[..cut], &mut tuples, false).is_err(), "{cut} of {message:?}");
            }
            for at in 0..message.len() {
                for bit in 0..8 {
                    let mut flipped = message.clone();
                    flipped[at] ^= 1 << bit;
                    let _ = parse(&flipped, &mut tuples, false);
                    let _ = parse(&flipped, &mut tuples, true);
                }
            }
        }
    }
}
