//! A run of record batches, in memory or in one file, with an index entry per batch.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_protocol::wire::records::{BatchHeader, HEADER_LEN};
use bytes::{Bytes, BytesMut};

/// Where one batch lies and what it spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchEntry {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) position: u64,
    pub(crate) length: u32,
    pub(crate) max_timestamp: i64,
}

/// One segment. `batches` is ordered by offset.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) batches: Vec<BatchEntry>,
    pub(crate) size: u64,
    pub(crate) max_timestamp: i64,
    /// Wall clock at the first append, for segment.ms and for retention of records without timestamps.
    pub(crate) created_ms: i64,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<Bytes>),
    File { file: Arc<File>, path: PathBuf },
}

/// A piece to read once the log's lock is released.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Memory(Bytes),
    File { file: Arc<File>, position: u64, length: usize },
}

impl Piece {
    /// The bytes; reads the file when they lie there.
    pub(crate) fn load(self) -> io::Result<Bytes> {
        match self {
            Piece::Memory(bytes) => Ok(bytes),
            Piece::File { file, position, length } => {
                let mut buffer = BytesMut::zeroed(length);
                file.read_exact_at(&mut buffer, position)?;
                Ok(buffer.freeze())
            }
        }
    }
}

/// Kafka's own file name: the base offset in twenty digits.
pub(crate) fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

impl Segment {
    pub(crate) fn in_memory(base_offset: i64, now_ms: i64) -> Segment {
        Segment::with_store(base_offset, now_ms, Store::Memory(Vec::new()))
    }

    pub(crate) fn create(dir: &Path, base_offset: i64, now_ms: i64) -> io::Result<Segment> {
        Segment::create_at(&dir.join(file_name(base_offset)), base_offset, now_ms)
    }

    /// A new segment in a file of any name.
    pub(crate) fn create_at(path: &Path, base_offset: i64, now_ms: i64) -> io::Result<Segment> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        let store = Store::File { file: Arc::new(file), path: path.to_owned() };
        Ok(Segment::with_store(base_offset, now_ms, store))
    }

    /// A segment over an existing file; the caller fills the index with `index_batch`.
    pub(crate) fn open(path: &Path, base_offset: i64, now_ms: i64) -> io::Result<Segment> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let store = Store::File { file: Arc::new(file), path: path.to_owned() };
        Ok(Segment::with_store(base_offset, now_ms, store))
    }

    fn with_store(base_offset: i64, created_ms: i64, store: Store) -> Segment {
        Segment { base_offset, batches: Vec::new(), size: 0, max_timestamp: -1, created_ms, store }
    }

    /// Appends a batch whose first bytes (offset, length, leader epoch, …) are replaced by `head`.
    pub(crate) fn append(
        &mut self,
        header: &BatchHeader,
        head: &[u8; HEADER_LEN],
        rest: &[u8],
    ) -> io::Result<()> {
        let length = HEADER_LEN + rest.len();
        match &mut self.store {
            Store::Memory(batches) => {
                let mut copy = Vec::with_capacity(length);
                copy.extend_from_slice(head);
                copy.extend_from_slice(rest);
                batches.push(Bytes::from(copy));
            }
            Store::File { file, .. } => {
                // Written at the position the index knows, so a failed write leaves nothing behind: the next one covers it.
                file.write_all_at(rest, self.size + HEADER_LEN as u64)?;
                file.write_all_at(head, self.size)?;
            }
        }
        self.index_batch(header, length as u32);
        Ok(())
    }

    /// Adds the index entry of the batch that lies at the end.
    pub(crate) fn index_batch(&mut self, header: &BatchHeader, length: u32) {
        self.batches.push(BatchEntry {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            position: self.size,
            length,
            max_timestamp: header.max_timestamp,
        });
        self.size += u64::from(length);
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// Index of the first batch that has `offset` or something later.
    pub(crate) fn find(&self, offset: i64) -> usize {
        self.batches.partition_point(|b| b.last_offset < offset)
    }

    /// One piece for the batches `first..end` (contiguous in the file), or one for each in memory.
    pub(crate) fn pieces(&self, first: usize, end: usize, out: &mut Vec<Piece>) {
        match &self.store {
            Store::Memory(batches) => {
                out.extend(batches.iter().take(end).skip(first).map(|b| Piece::Memory(b.clone())))
            }
            Store::File { file, .. } => {
                let Some(run) = self.batches.get(first..end).filter(|run| !run.is_empty()) else { return };
                let length = run.iter().map(|b| b.length as usize).sum();
                out.push(Piece::File { file: Arc::clone(file), position: run[0].position, length });
            }
        }
    }

    pub(crate) fn piece(&self, index: usize) -> Option<Piece> {
        let mut out = Vec::with_capacity(1);
        self.pieces(index, (index + 1).min(self.batches.len()), &mut out);
        out.pop()
    }

    /// Cuts a torn tail off the file: everything after the last indexed batch.
    pub(crate) fn truncate_file(&self) -> io::Result<()> {
        match &self.store {
            Store::Memory(_) => Ok(()),
            Store::File { file, .. } => file.set_len(self.size),
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        match &self.store {
            Store::Memory(_) => Ok(()),
            Store::File { file, .. } => file.sync_data(),
        }
    }

    /// Deletes the file. Readers that hold a piece of it finish undisturbed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match &self.store {
            Store::Memory(_) => Ok(()),
            Store::File { path, .. } => std::fs::remove_file(path),
        }
    }

    /// Gives a rewritten segment's file this segment's name (compaction).
    pub(crate) fn rename_to(&mut self, target: &Path) -> io::Result<()> {
        if let Store::File { path, .. } = &mut self.store {
            std::fs::rename(&*path, target)?;
            *path = target.to_owned();
        }
        Ok(())
    }

    pub(crate) fn file_len(&self) -> io::Result<u64> {
        match &self.store {
            Store::Memory(_) => Ok(self.size),
            Store::File { file, .. } => Ok(file.metadata()?.len()),
        }
    }

    /// Reads `length` bytes at `position` of the file (recovery).
    pub(crate) fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        match &self.store {
            Store::Memory(_) => Ok(Bytes::new()),
            Store::File { file, .. } => Piece::File { file: Arc::clone(file), position, length }.load(),
        }
    }
}
