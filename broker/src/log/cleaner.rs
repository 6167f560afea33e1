//! Compaction: the last record of every key stays, at its own offset.
//!
//! Closed segments below the last stable offset are rewritten one by one, while the partition's lock is held. Records of
//! aborted transactions go; tombstones, and the markers of transactions of which nothing is left, go when the newest
//! record beside them is older than `delete.retention.ms`. The last batch of every producer stays, emptied if need be, so
//! that its sequence is known after a restart (as Kafka does).

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io;

use aqueduct_protocol::wire::compression::{
    Compression, CompressionLevel, Compressor, DEFAULT_DECOMPRESSED_LIMIT, Decompressor,
};
use aqueduct_protocol::wire::crc::crc32c;
use aqueduct_protocol::wire::records::{BatchHeader, HEADER_LEN, LENGTH_END, RawBatch, RecordSet, batches};
use aqueduct_protocol::wire::varint::get_varint;
use bytes::Bytes;

use super::segment::{Segment, file_name};
use super::{Log, LogConfig, segment_end};

/// Attribute bits that name the codec.
const CODEC_BITS: i16 = 0x07;

/// First byte that a batch's CRC covers.
const CRC_COVERS: usize = 21;

/// Extension of a segment that is being written; recovery removes leftovers.
const UNFINISHED: &str = "cleaned";

/// A key as 128 bits of two independent hashes: no collision to be expected among all keys there can be.
struct Keys(RandomState, RandomState);

impl Keys {
    fn of(&self, key: &[u8]) -> u128 {
        u128::from(self.0.hash_one(key)) << 64 | u128::from(self.1.hash_one(key))
    }
}

/// One run over a partition.
struct Pass<'a> {
    log: &'a Log,
    keys: Keys,
    /// Offset of the last record of every key.
    last: HashMap<u128, i64>,
    producers_last: HashSet<i64>,
    /// Producers with retained data in the transaction that is being read.
    in_txn: HashSet<i64>,
    /// Tombstones and markers that may go are not newer than this.
    horizon_ms: i64,
    /// Whether the segment that is being read was begun before that, whatever timestamps its records claim.
    segment_old: bool,
    decompressor: Decompressor,
    compressor: Compressor,
}

/// What becomes of a batch.
enum Fate {
    Keep,
    Drop,
    Replace(BatchHeader, Bytes),
}

impl Log {
    /// Compacts if enough is dirty; true when something was rewritten.
    pub(crate) fn compact(&mut self, config: &LogConfig, dirty_ratio: f64, now_ms: i64) -> io::Result<bool> {
        if !config.compact {
            return Ok(false);
        }
        let stable = self.last_stable_offset();
        let old_enough = |s: &Segment| now_ms.saturating_sub(s.max_timestamp) >= config.min_compaction_lag_ms;
        let closed = self.segments[..self.segments.len() - 1]
            .iter()
            .take_while(|s| segment_end(s) <= stable && old_enough(s))
            .count();
        let total: u64 = self.segments[..closed].iter().map(|s| s.size).sum();
        let dirty: u64 =
            self.segments[..closed].iter().filter(|s| segment_end(s) > self.cleaned_to).map(|s| s.size).sum();
        if dirty == 0 || (dirty as f64) < total as f64 * dirty_ratio {
            return Ok(false);
        }
        let mut pass = Pass {
            log: self,
            keys: Keys(RandomState::new(), RandomState::new()),
            last: HashMap::new(),
            producers_last: self.producers.last_batches(),
            in_txn: HashSet::new(),
            horizon_ms: now_ms.saturating_sub(config.delete_retention_ms),
            segment_old: false,
            decompressor: Decompressor::new(DEFAULT_DECOMPRESSED_LIMIT),
            compressor: Compressor::new(),
        };
        for segment in &self.segments[..closed] {
            pass.learn(segment)?;
        }
        let mut cleaned = Vec::with_capacity(closed);
        for segment in &self.segments[..closed] {
            cleaned.push(pass.rewrite(segment)?);
        }
        self.cleaned_to = self.segments[..closed].last().map_or(self.cleaned_to, segment_end);
        self.swap(cleaned)?;
        Ok(true)
    }

    /// Puts rewritten segments in the places of the first ones.
    fn swap(&mut self, cleaned: Vec<Segment>) -> io::Result<()> {
        let count = cleaned.len();
        for (index, mut segment) in cleaned.into_iter().enumerate() {
            if let Some(dir) = &self.dir {
                segment.sync()?;
                segment.rename_to(&dir.join(file_name(segment.base_offset)))?;
            }
            self.segments[index] = segment;
        }
        // The first stays even when it is empty: its name is the start of the log.
        for index in (1..count).rev() {
            if self.segments[index].batches.is_empty() {
                self.segments.remove(index).remove()?;
            }
        }
        Ok(())
    }
}

impl Pass<'_> {
    /// Notes the last offset of every key in a segment.
    fn learn(&mut self, segment: &Segment) -> io::Result<()> {
        each_batch(segment, |batch| {
            if self.is_gone(&batch) || batch.header.attributes.is_control() {
                return Ok(());
            }
            let records = self.records(&batch)?;
            for record in records.iter() {
                if let Some(key) = record.key() {
                    self.last.insert(self.keys.of(key), record.offset());
                }
            }
            Ok(())
        })
    }

    /// The segment with what stays.
    fn rewrite(&mut self, segment: &Segment) -> io::Result<Segment> {
        self.segment_old = segment.created_ms <= self.horizon_ms;
        let mut cleaned = match &self.log.dir {
            Some(dir) => {
                let name = format!("{:020}.{UNFINISHED}", segment.base_offset);
                Segment::create_at(&dir.join(name), segment.base_offset, segment.created_ms)?
            }
            None => Segment::in_memory(segment.base_offset, segment.created_ms),
        };
        each_batch(segment, |batch| {
            let (header, bytes) = match self.fate(&batch)? {
                Fate::Drop => return Ok(()),
                Fate::Keep => (batch.header, batch.bytes),
                Fate::Replace(header, bytes) => (header, bytes),
            };
            let (head, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(io::ErrorKind::InvalidData)?;
            cleaned.append(&header, head, rest)
        })?;
        Ok(cleaned)
    }

    fn is_gone(&self, batch: &RawBatch) -> bool {
        let header = &batch.header;
        header.attributes.is_transactional()
            && !header.attributes.is_control()
            && self.log.producers.is_aborted(header.producer_id, header.base_offset)
    }

    fn fate(&mut self, batch: &RawBatch) -> io::Result<Fate> {
        let header = &batch.header;
        if header.attributes.is_control() {
            let data_left = self.in_txn.remove(&header.producer_id);
            let old = self.segment_old && header.max_timestamp <= self.horizon_ms;
            return Ok(if data_left || !old { Fate::Keep } else { Fate::Drop });
        }
        let fate = if self.is_gone(batch) { Fate::Drop } else { self.filter(batch)? };
        let fate = match fate {
            Fate::Drop if self.producers_last.contains(&header.base_offset) => {
                self.build(header, 0, header.max_timestamp, &[])?
            }
            other => other,
        };
        if header.attributes.is_transactional() && !matches!(fate, Fate::Drop) {
            self.in_txn.insert(header.producer_id);
        }
        Ok(fate)
    }

    /// Keeps the records that are the last of their key.
    fn filter(&mut self, batch: &RawBatch) -> io::Result<Fate> {
        let records = self.records(batch)?;
        let body = records.body();
        let mut kept = Vec::with_capacity(body.len());
        let (mut count, mut newest, mut position) = (0, -1, 0);
        for record in records.iter() {
            let end = record_end(body, position).ok_or(io::ErrorKind::InvalidData)?;
            let over = self.segment_old && record.timestamp() <= self.horizon_ms;
            let last =
                record.key().is_some_and(|k| self.last.get(&self.keys.of(k)) == Some(&record.offset()));
            if last && !(over && record.value().is_none()) {
                kept.extend_from_slice(body.get(position..end).ok_or(io::ErrorKind::InvalidData)?);
                count += 1;
                newest = newest.max(record.timestamp());
            }
            position = end;
        }
        match count {
            0 if batch.header.record_count > 0 => Ok(Fate::Drop),
            n if n == batch.header.record_count => Ok(Fate::Keep),
            n => self.build(&batch.header, n, newest, &kept),
        }
    }

    /// A batch with the given records and all else as in `header`.
    fn build(&mut self, header: &BatchHeader, count: i32, newest: i64, records: &[u8]) -> io::Result<Fate> {
        let mut header = *header;
        let codec = header.attributes.compression().filter(|_| count > 0).unwrap_or(Compression::None);
        header.attributes.0 = header.attributes.0 & !CODEC_BITS | i16::from(codec.id());
        header.record_count = count;
        header.max_timestamp = newest;
        let records =
            self.compressor.compress(codec, CompressionLevel::DEFAULT, records).map_err(io::Error::other)?;
        header.batch_length = (HEADER_LEN + records.len() - LENGTH_END) as i32;
        let mut bytes = Vec::with_capacity(HEADER_LEN + records.len());
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(records);
        header.crc = crc32c(&bytes[CRC_COVERS..]);
        bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        Ok(Fate::Replace(header, Bytes::from(bytes)))
    }

    fn records(&mut self, batch: &RawBatch) -> io::Result<RecordSet> {
        batch.records(&mut self.decompressor).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

/// Reads a segment batch by batch.
fn each_batch(segment: &Segment, mut work: impl FnMut(RawBatch) -> io::Result<()>) -> io::Result<()> {
    for index in 0..segment.batches.len() {
        let Some(piece) = segment.piece(index) else { continue };
        let Some(batch) = batches(piece.load()?).next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a batch ends early"));
        };
        work(batch.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?)?;
    }
    Ok(())
}

/// End of the record at `position`: its length, then so many bytes.
fn record_end(body: &[u8], position: usize) -> Option<usize> {
    let mut at = position;
    let length = get_varint(body, &mut at)?;
    at.checked_add(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use aqueduct_protocol::wire::records::{BatchBuilder, BatchOptions, NO_PRODUCER, ProducerStamp};

    use super::super::Marker;
    use super::*;

    fn config() -> LogConfig {
        LogConfig { compact: true, delete: false, segment_bytes: 300, ..LogConfig::unlimited() }
    }

    fn batch(codec: Compression, stamp: ProducerStamp, records: &[(&str, Option<&str>)]) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { compression: codec, ..BatchOptions::default() });
        for (key, value) in records {
            builder.append(1000, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
        }
        builder.finish(&mut Compressor::new(), stamp).unwrap()
    }

    fn stamp(producer_id: i64, base_sequence: i32, transactional: bool) -> ProducerStamp {
        ProducerStamp { producer_id, producer_epoch: 0, base_sequence, transactional }
    }

    /// Offset, key and value of every data record.
    fn contents(log: &Log) -> Vec<(i64, String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut all = Vec::new();
        for piece in log.read(log.start_offset(), i64::MAX, usize::MAX, true).pieces {
            for batch in batches(piece.load().unwrap()) {
                let batch = batch.unwrap();
                batch.verify_crc().unwrap();
                if !batch.header.attributes.is_control() {
                    let records = batch.records(&mut Decompressor::new(1 << 20)).unwrap();
                    all.extend(
                        records.iter().map(|r| (r.offset(), text(r.key().unwrap()), r.value().map(text))),
                    );
                }
            }
        }
        all
    }

    fn fill(log: &mut Log) {
        for codec in Compression::ALL {
            let records = [("a", Some("old")), ("b", Some("old")), ("a", Some(codec.name())), ("c", None)];
            log.append(&batch(codec, NO_PRODUCER, &records), &config(), 2000).unwrap();
        }
        log.append(&batch(Compression::None, stamp(7, 0, true), &[("b", Some("aborted"))]), &config(), 2000)
            .unwrap();
        let marker = Marker { producer_id: 7, epoch: 0, coordinator_epoch: 0, commit: false };
        log.append_marker(marker, &config(), 2000).unwrap();
        // Closes the segment before it.
        log.append(&batch(Compression::None, NO_PRODUCER, &[("z", Some(&"x".repeat(300)))]), &config(), 2000)
            .unwrap();
    }

    #[test]
    fn the_last_record_of_every_key_stays_at_its_offset() {
        let dir = tempfile::tempdir().unwrap();
        for dir in [None, Some(dir.path())] {
            let mut log = Log::create(dir, 2000).unwrap();
            fill(&mut log);
            assert!(log.compact(&config(), 0.5, 3000).unwrap());
            let expected = [(17, "b", Some("old")), (18, "a", Some("zstd")), (19, "c", None)];
            let found = contents(&log);
            for (entry, (offset, key, value)) in found.iter().zip(expected) {
                assert_eq!((entry.0, &*entry.1, entry.2.as_deref()), (offset, key, value));
            }
            assert_eq!((found.len(), log.end_offset()), (4, 23));
            assert!(!log.compact(&config(), 0.5, 3000).unwrap(), "nothing is dirty any more");

            // A transaction's producer is still known after a restart, and nothing is left open.
            if let Some(dir) = dir {
                let reopened = Log::open(dir, 0, true, 4000).unwrap();
                assert_eq!(contents(&reopened), found);
                assert_eq!((reopened.end_offset(), reopened.last_stable_offset()), (23, 23));
                let entry = reopened.producers().iter().find(|(id, _)| *id == 7).unwrap().1;
                assert_eq!(entry.last_sequence(), 0);
            }
        }
    }

    #[test]
    fn tombstones_go_when_their_time_is_over() {
        let mut log = Log::create(None, 2000).unwrap();
        fill(&mut log);
        let config = LogConfig { delete_retention_ms: 500, ..config() };
        assert!(log.compact(&config, 0.5, 3000).unwrap());
        assert!(!contents(&log).iter().any(|(_, key, _)| key == "c"));
    }
}
