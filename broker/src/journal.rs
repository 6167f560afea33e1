//! The broker's own state on disk: topics, committed offsets, transactions, in one append-only file.
//!
//! A record is length, CRC-32C and body. At start, and when it has grown long, it is rewritten with what is still
//! true; a torn tail is ignored. Like the logs it is as durable as the page cache: a killed process loses nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use aqueduct_protocol::wire::crc::crc32c;

/// Largest record taken at replay; a longer length is a torn tail.
const MAX_RECORD: usize = 16 << 20;

/// Below this length it is not worth a rewrite.
const REWRITE_ABOVE: u64 = 16 << 20;

/// Length and CRC before every body.
const FRAME_HEAD: usize = 8;

/// A committed offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetRecord {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) commit_ms: i64,
    /// -1: committed. Otherwise waits for the end of this producer's transaction.
    pub(crate) producer_id: i64,
}

/// A transactional id's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TxnRecord {
    pub(crate) transactional_id: String,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) last_producer_id: i64,
    pub(crate) last_epoch: i16,
    pub(crate) timeout_ms: i32,
    /// `txn::State` as its number.
    pub(crate) state: i8,
    pub(crate) start_ms: i64,
    pub(crate) v2: bool,
    pub(crate) partitions: Vec<(String, i32)>,
    pub(crate) groups: Vec<String>,
}

/// One change of state. Applying all in order gives the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateRecord {
    Cluster {
        id: String,
    },
    Topic {
        name: String,
        id: Uuid,
        partitions: i32,
        configs: Vec<(String, String)>,
    },
    TopicDeleted {
        name: String,
    },
    LogStart {
        topic: String,
        partition: i32,
        offset: i64,
    },
    Offset(OffsetRecord),
    OffsetDeleted {
        group: String,
        topic: String,
        partition: i32,
    },
    /// The pending offsets of a producer's transaction in a group became committed, or were dropped.
    OffsetsDecided {
        group: String,
        producer_id: i64,
        commit: bool,
    },
    GroupDeleted {
        group: String,
    },
    ProducerIds {
        next: i64,
    },
    Transaction(TxnRecord),
    CleanShutdown,
}

/// The open file; `None` inside when the broker keeps everything in memory.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Option<File>,
    /// Length up to the last whole record.
    length: u64,
    /// Length when it was last rewritten.
    rewritten: u64,
    buffer: BytesMut,
}

impl Journal {
    pub(crate) fn in_memory() -> Journal {
        Journal { file: None, length: 0, rewritten: 0, buffer: BytesMut::new() }
    }

    /// Every record of the file at `path`, in order, until its end or its first torn record.
    pub(crate) fn read(path: &Path) -> io::Result<Vec<StateRecord>> {
        let mut bytes = match std::fs::read(path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        while bytes.len() >= FRAME_HEAD {
            let length = bytes.get_u32() as usize;
            let crc = bytes.get_u32();
            if length > MAX_RECORD || length > bytes.len() {
                break;
            }
            let body = bytes.split_to(length);
            let record = (crc32c(&body) == crc).then(|| decode(body)).flatten();
            let Some(record) = record else { break };
            records.push(record);
        }
        Ok(records)
    }

    /// Replaces the file by `records` and opens it for more.
    pub(crate) fn rewrite(path: &Path, records: impl Iterator<Item = StateRecord>) -> io::Result<Journal> {
        let temporary: PathBuf = path.with_extension("new");
        let mut buffer = BytesMut::new();
        for record in records {
            frame(&record, &mut buffer);
        }
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&temporary)?;
        file.write_all(&buffer)?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)?;
        let length = buffer.len() as u64;
        // The buffer of a large state is not kept.
        Ok(Journal { file: Some(file), length, rewritten: length, buffer: BytesMut::new() })
    }

    /// Appends records in one write.
    pub(crate) fn append(&mut self, records: &[StateRecord]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        self.buffer.clear();
        for record in records {
            frame(record, &mut self.buffer);
        }
        if let Err(error) = file.write_all(&self.buffer) {
            // Half a record (a full disk) would hide everything after it from the next start.
            file.set_len(self.length)?;
            file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Whether most of it is likely to be history.
    pub(crate) fn is_long(&self) -> bool {
        self.length > REWRITE_ABOVE && self.length / 2 > self.rewritten
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

fn frame(record: &StateRecord, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, FRAME_HEAD);
    encode(record, out);
    let length = (out.len() - start - FRAME_HEAD) as u32;
    let crc = crc32c(&out[start + FRAME_HEAD..]);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + FRAME_HEAD].copy_from_slice(&crc.to_be_bytes());
}

fn put_str(out: &mut BytesMut, text: &str) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn encode(record: &StateRecord, out: &mut BytesMut) {
    match record {
        StateRecord::Cluster { id } => {
            out.put_u8(1);
            put_str(out, id);
        }
        StateRecord::Topic { name, id, partitions, configs } => {
            out.put_u8(2);
            put_str(out, name);
            out.put_u128(id.as_u128());
            out.put_i32(*partitions);
            out.put_u32(configs.len() as u32);
            for (key, value) in configs {
                put_str(out, key);
                put_str(out, value);
            }
        }
        StateRecord::TopicDeleted { name } => {
            out.put_u8(3);
            put_str(out, name);
        }
        StateRecord::LogStart { topic, partition, offset } => {
            out.put_u8(4);
            put_str(out, topic);
            out.put_i32(*partition);
            out.put_i64(*offset);
        }
        StateRecord::Offset(o) => {
            out.put_u8(5);
            put_str(out, &o.group);
            put_str(out, &o.topic);
            out.put_i32(o.partition);
            out.put_i64(o.offset);
            out.put_i32(o.leader_epoch);
            put_str(out, &o.metadata);
            out.put_i64(o.commit_ms);
            out.put_i64(o.producer_id);
        }
        StateRecord::OffsetDeleted { group, topic, partition } => {
            out.put_u8(6);
            put_str(out, group);
            put_str(out, topic);
            out.put_i32(*partition);
        }
        StateRecord::OffsetsDecided { group, producer_id, commit } => {
            out.put_u8(7);
            put_str(out, group);
            out.put_i64(*producer_id);
            out.put_u8(u8::from(*commit));
        }
        StateRecord::GroupDeleted { group } => {
            out.put_u8(8);
            put_str(out, group);
        }
        StateRecord::ProducerIds { next } => {
            out.put_u8(9);
            out.put_i64(*next);
        }
        StateRecord::Transaction(t) => encode_txn(t, out),
        StateRecord::CleanShutdown => out.put_u8(11),
    }
}

fn encode_txn(t: &TxnRecord, out: &mut BytesMut) {
    out.put_u8(10);
    put_str(out, &t.transactional_id);
    out.put_i64(t.producer_id);
    out.put_i16(t.epoch);
    out.put_i64(t.last_producer_id);
    out.put_i16(t.last_epoch);
    out.put_i32(t.timeout_ms);
    out.put_i8(t.state);
    out.put_i64(t.start_ms);
    out.put_u8(u8::from(t.v2));
    out.put_u32(t.partitions.len() as u32);
    for (topic, partition) in &t.partitions {
        put_str(out, topic);
        out.put_i32(*partition);
    }
    out.put_u32(t.groups.len() as u32);
    for group in &t.groups {
        put_str(out, group);
    }
}

/// A reader that ends with `None` instead of a panic.
struct Fields(Bytes);

impl Fields {
    fn text(&mut self) -> Option<String> {
        let length = self.0.try_get_u32().ok()? as usize;
        if length > self.0.len() {
            return None;
        }
        String::from_utf8(self.0.split_to(length).to_vec()).ok()
    }

    fn i8(&mut self) -> Option<i8> {
        self.0.try_get_i8().ok()
    }

    fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    fn i64(&mut self) -> Option<i64> {
        self.0.try_get_i64().ok()
    }

    fn flag(&mut self) -> Option<bool> {
        self.0.try_get_u8().ok().map(|b| b != 0)
    }

    /// A counted list; grows only as far as the bytes reach.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Fields) -> Option<T>) -> Option<Vec<T>> {
        let count = self.0.try_get_u32().ok()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }
}

fn decode(body: Bytes) -> Option<StateRecord> {
    let mut f = Fields(body);
    let record = match f.i8()? {
        1 => StateRecord::Cluster { id: f.text()? },
        2 => StateRecord::Topic {
            name: f.text()?,
            id: Uuid::from_u128(f.0.try_get_u128().ok()?),
            partitions: f.i32()?,
            configs: f.list(|f| Some((f.text()?, f.text()?)))?,
        },
        3 => StateRecord::TopicDeleted { name: f.text()? },
        4 => StateRecord::LogStart { topic: f.text()?, partition: f.i32()?, offset: f.i64()? },
        5 => StateRecord::Offset(OffsetRecord {
            group: f.text()?,
            topic: f.text()?,
            partition: f.i32()?,
            offset: f.i64()?,
            leader_epoch: f.i32()?,
            metadata: f.text()?,
            commit_ms: f.i64()?,
            producer_id: f.i64()?,
        }),
        6 => StateRecord::OffsetDeleted { group: f.text()?, topic: f.text()?, partition: f.i32()? },
        7 => StateRecord::OffsetsDecided { group: f.text()?, producer_id: f.i64()?, commit: f.flag()? },
        8 => StateRecord::GroupDeleted { group: f.text()? },
        9 => StateRecord::ProducerIds { next: f.i64()? },
        10 => StateRecord::Transaction(TxnRecord {
            transactional_id: f.text()?,
            producer_id: f.i64()?,
            epoch: f.i16()?,
            last_producer_id: f.i64()?,
            last_epoch: f.i16()?,
            timeout_ms: f.i32()?,
            state: f.i8()?,
            start_ms: f.i64()?,
            v2: f.flag()?,
            partitions: f.list(|f| Some((f.text()?, f.i32()?)))?,
            groups: f.list(Fields::text)?,
        }),
        11 => StateRecord::CleanShutdown,
        _ => return None,
    };
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<StateRecord> {
        vec![
            StateRecord::Cluster { id: "c".into() },
            StateRecord::Topic {
                name: "t".into(),
                id: Uuid::from_u128(7),
                partitions: 3,
                configs: vec![("cleanup.policy".into(), "compact".into())],
            },
            StateRecord::Offset(OffsetRecord {
                group: "g".into(),
                topic: "t".into(),
                partition: 1,
                offset: 42,
                leader_epoch: 0,
                metadata: "m".into(),
                commit_ms: 5,
                producer_id: -1,
            }),
            StateRecord::Transaction(TxnRecord {
                transactional_id: "x".into(),
                producer_id: 4,
                epoch: 2,
                last_producer_id: 4,
                last_epoch: 1,
                timeout_ms: 60_000,
                state: 1,
                start_ms: 9,
                v2: true,
                partitions: vec![("t".into(), 0)],
                groups: vec!["g".into()],
            }),
        ]
    }

    #[test]
    fn records_come_back_and_every_torn_tail_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut journal = Journal::rewrite(&path, samples().into_iter()).unwrap();
        journal.append(&[StateRecord::CleanShutdown]).unwrap();
        let mut expected = samples();
        expected.push(StateRecord::CleanShutdown);
        assert_eq!(Journal::read(&path).unwrap(), expected);

        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let read = Journal::read(&path).unwrap();
            assert!(read.len() < expected.len());
            assert_eq!(read[..], expected[..read.len()]);
        }
    }
}
