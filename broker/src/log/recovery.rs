//! Opening a log that exists: index and producer state from the batches' headers, a torn tail cut off.

use std::io;
use std::path::{Path, PathBuf};

use aqueduct_protocol::wire::compression::{DEFAULT_DECOMPRESSED_LIMIT, Decompressor};
use aqueduct_protocol::wire::records::{BatchHeader, ControlType, HEADER_LEN, batches, control_record};
use bytes::Bytes;

use super::segment::Segment;
use super::{Log, Marker};

/// Bytes read at a time while scanning a segment.
const SCAN_CHUNK: usize = 1 << 20;

/// Fewest bytes that tell a batch's length: offset and length.
const LENGTH_END: usize = 12;

impl Log {
    /// Opens the log in `dir`. `start_offset` is what DeleteRecords or retention last set. `verify` checks the CRC of the
    /// last segment's batches: after a crash its tail may be torn (older segments were synced when they were rolled).
    pub(crate) fn open(dir: &Path, start_offset: i64, verify: bool, now_ms: i64) -> io::Result<Log> {
        std::fs::create_dir_all(dir)?;
        let files = segment_files(dir)?;
        if files.is_empty() {
            let mut log = Log::create(Some(dir), now_ms)?;
            if start_offset > 0 {
                // Everything before was deleted: offsets go on from there.
                log.segments[0].remove()?;
                log.segments = vec![Segment::create(dir, start_offset, now_ms)?];
                log.start_offset = start_offset;
                log.next_offset = start_offset;
            }
            return Ok(log);
        }
        let mut log = Log {
            dir: Some(dir.to_owned()),
            segments: Vec::with_capacity(files.len()),
            start_offset,
            next_offset: 0,
            producers: super::ProducerStates::default(),
            cleaned_to: 0,
        };
        let last = files.len() - 1;
        for (index, (base_offset, path)) in files.into_iter().enumerate() {
            log.next_offset = log.next_offset.max(base_offset);
            let mut segment = Segment::open(&path, base_offset, now_ms)?;
            let whole = log.scan(&mut segment, verify && index == last, now_ms)?;
            if !whole {
                tracing::warn!(path = %path.display(), end = log.next_offset, "cutting a torn tail off the log");
                segment.truncate_file()?;
            }
            log.segments.push(segment);
        }
        log.start_offset = log.start_offset.max(log.segments[0].base_offset).min(log.next_offset);
        log.producers.trim(log.start_offset);
        Ok(log)
    }

    /// Indexes a segment's batches and replays their producers. False when the file ends with something else.
    fn scan(&mut self, segment: &mut Segment, verify: bool, now_ms: i64) -> io::Result<bool> {
        let length = segment.file_len()?;
        while segment.size < length {
            let position = segment.size;
            let chunk = SCAN_CHUNK.min((length - position) as usize);
            let mut bytes = segment.read_at(position, chunk)?;
            let wanted = batch_length(&bytes);
            if wanted.is_none_or(|n| n < HEADER_LEN as u64 || n > length - position) {
                return Ok(false);
            }
            if let Some(wanted) = wanted
                && wanted > bytes.len() as u64
            {
                bytes = segment.read_at(position, wanted as usize)?;
            }
            if !self.replay(segment, bytes, verify, now_ms) || segment.size == position {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the complete batches at the front of `bytes`. False at the first that is no batch.
    fn replay(&mut self, segment: &mut Segment, bytes: Bytes, verify: bool, now_ms: i64) -> bool {
        for batch in batches(bytes) {
            let Ok(batch) = batch else { return false };
            let header = batch.header;
            let in_order = header.base_offset >= self.next_offset && header.last_offset_delta >= 0;
            if !in_order || (verify && batch.verify_crc().is_err()) {
                return false;
            }
            if header.attributes.is_control() {
                self.replay_control(&batch, now_ms);
            } else if header.producer_id >= 0 {
                // Not checked again: compaction may have taken batches between, and what was accepted stays accepted.
                self.producers.appended(&header, now_ms);
            }
            segment.index_batch(&header, batch.bytes.len() as u32);
            self.next_offset = header.next_offset();
        }
        true
    }

    fn replay_control(&mut self, batch: &aqueduct_protocol::wire::records::RawBatch, now_ms: i64) {
        let header: BatchHeader = batch.header;
        let Ok(set) = batch.records(&mut Decompressor::new(DEFAULT_DECOMPRESSED_LIMIT)) else { return };
        let Some(record) = set.iter().next() else { return };
        let Some(control) = control_record(&record) else { return };
        let commit = match control.kind {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return,
        };
        let marker = Marker {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            coordinator_epoch: control.coordinator_epoch.unwrap_or(0),
            commit,
        };
        self.producers.marked(marker, header.base_offset, header.max_timestamp, now_ms);
    }
}

/// Whole length of the batch at the front, if it can be told.
fn batch_length(bytes: &[u8]) -> Option<u64> {
    let field = bytes.get(8..LENGTH_END)?;
    let length = i32::from_be_bytes(field.try_into().ok()?);
    u64::try_from(length).ok().map(|n| n + LENGTH_END as u64)
}

/// Segment files by base offset; leftovers of an interrupted compaction are removed.
fn segment_files(dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("log") => {
                let stem = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
                if let Some(base_offset) = stem {
                    files.push((base_offset, path));
                }
            }
            Some("cleaned") => std::fs::remove_file(&path)?,
            _ => {}
        }
    }
    files.sort_unstable();
    Ok(files)
}
