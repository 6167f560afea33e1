//! The log of one partition: segments of raw batches, offsets, producer state.
//!
//! One replica, so everything appended is committed: the high watermark is the end of the log. An append is a write to
//! the page cache: it survives the death of the process, not of the machine. Segments are synced when they are rolled.

mod cleaner;
mod producers;
mod recovery;
mod segment;

use std::io;
use std::path::{Path, PathBuf};

use aqueduct_protocol::wire::compression::{DEFAULT_DECOMPRESSED_LIMIT, Decompressor};
use aqueduct_protocol::wire::records::{BatchHeader, ControlType, HEADER_LEN, RecordError, control_batch};
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;

pub(crate) use producers::{AbortedTxn, Marker, ProducerEntry, ProducerStates};
pub(crate) use segment::Piece;
use segment::Segment;

/// Leader epoch of every partition: there is one replica and it never loses what it acknowledged.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// The settings of a topic that its logs follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    /// -1 keeps forever.
    pub(crate) retention_ms: i64,
    /// Per partition; -1 keeps everything.
    pub(crate) retention_bytes: i64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    pub(crate) max_message_bytes: usize,
    pub(crate) delete_retention_ms: i64,
    pub(crate) min_compaction_lag_ms: i64,
    /// Whether the broker stamps batches with its own clock (`message.timestamp.type=LogAppendTime`).
    pub(crate) log_append_time: bool,
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("corrupt batch: {0}")]
    Corrupt(#[from] RecordError),
    #[error("batch of {size} bytes is larger than max.message.bytes={limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("{0}")]
    Invalid(&'static str),
    #[error("sequence {sequence} of producer {producer_id} is out of order, expected {expected}")]
    OutOfOrderSequence { producer_id: i64, sequence: i32, expected: i32 },
    #[error("epoch {epoch} of producer {producer_id} is older than {current}")]
    ProducerEpoch { producer_id: i64, epoch: i16, current: i16 },
    #[error("producer {producer_id} has a transaction open and sent a batch outside it")]
    TransactionOpen { producer_id: i64 },
    #[error("storage failed: {0}")]
    Storage(#[from] io::Error),
}

impl AppendError {
    pub(crate) fn code(&self) -> i16 {
        match self {
            AppendError::Corrupt(_) => ResponseError::CorruptMessage,
            AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
            AppendError::Invalid(_) => ResponseError::InvalidRecord,
            AppendError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            AppendError::ProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
            AppendError::TransactionOpen { .. } => ResponseError::InvalidTxnState,
            AppendError::Storage(_) => ResponseError::KafkaStorageError,
        }
        .code()
    }
}

/// Where an appended batch went. A batch sent twice gives the place of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 with CreateTime.
    pub(crate) log_append_time: i64,
}

/// What a fetch got: pieces to load without the lock, and their total size.
#[derive(Debug, Default)]
pub(crate) struct ReadPlan {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) bytes: usize,
}

/// The log of one partition.
#[derive(Debug)]
pub(crate) struct Log {
    dir: Option<PathBuf>,
    /// Never empty; the last one is appended to.
    segments: Vec<Segment>,
    start_offset: i64,
    next_offset: i64,
    producers: ProducerStates,
    /// End of the last compaction; what lies behind it is dirty.
    cleaned_to: i64,
}

impl Log {
    /// An empty log, in `dir` (created) or in memory.
    pub(crate) fn create(dir: Option<&Path>, now_ms: i64) -> io::Result<Log> {
        let segment = match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                Segment::create(dir, 0, now_ms)?
            }
            None => Segment::in_memory(0, now_ms),
        };
        Ok(Log {
            dir: dir.map(Path::to_owned),
            segments: vec![segment],
            start_offset: 0,
            next_offset: 0,
            producers: ProducerStates::default(),
            cleaned_to: 0,
        })
    }

    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    pub(crate) fn end_offset(&self) -> i64 {
        self.next_offset
    }

    /// Everything below is decided: committed, aborted or not transactional.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.producers.first_open().unwrap_or(self.next_offset)
    }

    pub(crate) fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(|s| s.size).sum()
    }

    /// Appends the one batch of a produce request.
    pub(crate) fn append(
        &mut self,
        records: &Bytes,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let mut header = check_batch(records, config)?;
        if header.producer_id >= 0
            && let Some(seen) = self.producers.check(&header)?
        {
            let log_append_time = if config.log_append_time { seen.timestamp } else { -1 };
            return Ok(Appended { base_offset: seen.base_offset, log_append_time });
        }
        let mut head = [0_u8; HEADER_LEN];
        head.copy_from_slice(&records[..HEADER_LEN]);
        header.base_offset = self.next_offset;
        head[..8].copy_from_slice(&header.base_offset.to_be_bytes());
        head[12..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
        if config.log_append_time {
            stamp_append_time(&mut header, &mut head, &records[HEADER_LEN..], now_ms);
        }
        self.write(&header, &head, &records[HEADER_LEN..], config, now_ms)?;
        if header.producer_id >= 0 {
            self.producers.appended(&header, now_ms);
        }
        let log_append_time = if config.log_append_time { now_ms } else { -1 };
        Ok(Appended { base_offset: header.base_offset, log_append_time })
    }

    /// Appends a commit or abort marker and returns its offset.
    pub(crate) fn append_marker(
        &mut self,
        marker: Marker,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<i64, AppendError> {
        self.producers.check_marker(marker.producer_id, marker.epoch)?;
        let kind = if marker.commit { ControlType::Commit } else { ControlType::Abort };
        let batch = control_batch(
            marker.producer_id,
            marker.epoch,
            kind,
            marker.coordinator_epoch,
            now_ms,
            self.next_offset,
        );
        let header = BatchHeader::parse(&batch)?;
        let mut head = [0_u8; HEADER_LEN];
        head.copy_from_slice(&batch[..HEADER_LEN]);
        head[12..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
        self.write(&header, &head, &batch[HEADER_LEN..], config, now_ms)?;
        self.producers.marked(marker, header.base_offset, now_ms, now_ms);
        Ok(header.base_offset)
    }

    fn write(
        &mut self,
        header: &BatchHeader,
        head: &[u8; HEADER_LEN],
        rest: &[u8],
        config: &LogConfig,
        now_ms: i64,
    ) -> io::Result<()> {
        let incoming = (HEADER_LEN + rest.len()) as u64;
        let last = self.active();
        let full = last.size > 0 && last.size + incoming > config.segment_bytes;
        let old = last.size > 0 && now_ms.saturating_sub(last.created_ms) > config.segment_ms;
        if full || old {
            self.roll(now_ms)?;
        }
        let next = header.next_offset();
        self.active_mut().append(header, head, rest)?;
        self.next_offset = next;
        Ok(())
    }

    fn active(&self) -> &Segment {
        // Never empty: `create` and recovery make one, `roll` adds, deletion leaves the last.
        &self.segments[self.segments.len() - 1]
    }

    fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    fn roll(&mut self, now_ms: i64) -> io::Result<()> {
        self.active().sync()?;
        let segment = match &self.dir {
            Some(dir) => Segment::create(dir, self.next_offset, now_ms)?,
            None => Segment::in_memory(self.next_offset, now_ms),
        };
        self.segments.push(segment);
        Ok(())
    }

    /// Bytes from `offset` up to (not including) `limit`, at most `max_bytes`; `at_least_one` gives the first batch
    /// however large. The first batch may begin before `offset`: consumers skip.
    pub(crate) fn read(&self, offset: i64, limit: i64, max_bytes: usize, at_least_one: bool) -> ReadPlan {
        let mut plan = ReadPlan::default();
        let first = self.segments.partition_point(|s| s.base_offset <= offset).saturating_sub(1);
        for segment in &self.segments[first..] {
            let from = segment.find(offset);
            let mut end = from;
            for batch in &segment.batches[from..] {
                let fits =
                    plan.bytes + batch.length as usize <= max_bytes || (at_least_one && plan.bytes == 0);
                if batch.base_offset >= limit || !fits {
                    break;
                }
                plan.bytes += batch.length as usize;
                end += 1;
            }
            segment.pieces(from, end, &mut plan.pieces);
            if end < segment.batches.len() {
                break;
            }
        }
        plan
    }

    /// Bytes that `read` would give, for fetch.min.bytes, counted up to `enough`.
    pub(crate) fn available(&self, offset: i64, limit: i64, enough: usize) -> usize {
        let mut bytes = 0;
        let first = self.segments.partition_point(|s| s.base_offset <= offset).saturating_sub(1);
        for segment in &self.segments[first..] {
            for batch in &segment.batches[segment.find(offset)..] {
                if batch.base_offset >= limit || bytes >= enough {
                    return bytes;
                }
                bytes += batch.length as usize;
            }
        }
        bytes
    }

    /// The first batch whose largest timestamp is at least `timestamp`.
    pub(crate) fn batch_at_time(&self, timestamp: i64, limit: i64) -> Option<Piece> {
        for segment in self.segments.iter().filter(|s| s.max_timestamp >= timestamp) {
            let found = segment.batches.iter().position(|b| {
                b.max_timestamp >= timestamp && b.last_offset >= self.start_offset && b.base_offset < limit
            });
            if let Some(index) = found {
                return segment.piece(index);
            }
        }
        None
    }

    /// The batch with the largest timestamp (ListOffsets -3).
    pub(crate) fn batch_of_max_timestamp(&self) -> Option<(i64, Piece)> {
        let mut best: Option<(i64, &Segment, usize)> = None;
        for segment in &self.segments {
            for (index, batch) in segment.batches.iter().enumerate() {
                let live = batch.last_offset >= self.start_offset && batch.max_timestamp >= 0;
                if live && best.is_none_or(|(timestamp, ..)| batch.max_timestamp > timestamp) {
                    best = Some((batch.max_timestamp, segment, index));
                }
            }
        }
        best.and_then(|(timestamp, segment, index)| Some((timestamp, segment.piece(index)?)))
    }

    /// Moves the start forward (DeleteRecords) and drops segments that lie before it.
    pub(crate) fn delete_before(&mut self, offset: i64, now_ms: i64) -> io::Result<i64> {
        if offset > self.start_offset {
            self.start_offset = offset.min(self.next_offset);
            if self.start_offset == self.next_offset && self.active().size > 0 {
                self.roll(now_ms)?;
            }
            self.drop_segments_before_start()?;
        }
        Ok(self.start_offset)
    }

    /// Applies retention.ms and retention.bytes; true when the start moved.
    pub(crate) fn apply_retention(&mut self, config: &LogConfig, now_ms: i64) -> io::Result<bool> {
        if !config.delete {
            return Ok(false);
        }
        let expired = |s: &Segment| {
            let newest = if s.max_timestamp >= 0 { s.max_timestamp } else { s.created_ms };
            config.retention_ms >= 0 && s.size > 0 && now_ms.saturating_sub(newest) > config.retention_ms
        };
        if expired(self.active()) {
            self.roll(now_ms)?;
        }
        let mut size = self.size();
        let mut drop = 0;
        for segment in &self.segments[..self.segments.len() - 1] {
            let too_much = config.retention_bytes >= 0
                && size.saturating_sub(segment.size) >= config.retention_bytes.unsigned_abs();
            if !(expired(segment) || too_much) || segment_end(segment) > self.last_stable_offset() {
                break;
            }
            size -= segment.size;
            drop += 1;
        }
        if drop == 0 {
            return Ok(false);
        }
        self.start_offset = self.start_offset.max(self.segments[drop].base_offset);
        self.drop_segments_before_start()?;
        Ok(true)
    }

    fn drop_segments_before_start(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].base_offset <= self.start_offset {
            self.segments.remove(0).remove()?;
        }
        self.producers.trim(self.start_offset);
        Ok(())
    }

    /// Forgets producers that were silent for long (`producer.id.expiration.ms`).
    pub(crate) fn expire_producers(&mut self, before_ms: i64) {
        self.producers.expire(before_ms);
    }

    /// Writes everything down before a clean shutdown.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.active().sync()
    }

    /// Deletes the files of a deleted topic's partition.
    pub(crate) fn remove_files(&mut self) {
        if let Some(dir) = &self.dir
            && let Err(error) = std::fs::remove_dir_all(dir)
        {
            tracing::warn!(dir = %dir.display(), %error, "the folder of a deleted partition could not be removed");
        }
    }
}

fn segment_end(segment: &Segment) -> i64 {
    segment.batches.last().map_or(segment.base_offset, |b| b.last_offset + 1)
}

/// What Kafka checks of a produced batch before it is appended.
fn check_batch(records: &Bytes, config: &LogConfig) -> Result<BatchHeader, AppendError> {
    if records.len() > config.max_message_bytes {
        return Err(AppendError::TooLarge { size: records.len(), limit: config.max_message_bytes });
    }
    let mut batches = aqueduct_protocol::wire::records::batches(records.clone());
    let batch = batches.next().ok_or(AppendError::Invalid("produced data has no complete batch"))??;
    if batch.bytes.len() != records.len() {
        return Err(AppendError::Invalid("a partition's produced data must be exactly one batch"));
    }
    let header = batch.header;
    batch.verify_crc()?;
    if header.attributes.is_control() {
        return Err(AppendError::Invalid("clients may not write control batches"));
    }
    if header.record_count < 1 || header.last_offset_delta != header.record_count - 1 {
        return Err(AppendError::Invalid("record count and last offset delta of the batch do not agree"));
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return Err(AppendError::Invalid("an idempotent batch needs an epoch and a sequence"));
    }
    if header.attributes.is_transactional() && header.producer_id < 0 {
        return Err(AppendError::Invalid("a transactional batch needs a producer id"));
    }
    if config.compact {
        let mut decompressor = Decompressor::new(DEFAULT_DECOMPRESSED_LIMIT);
        let set = batch.records(&mut decompressor)?;
        if set.iter().any(|r| r.key().is_none()) {
            return Err(AppendError::Invalid("a record without key cannot go to a compacted topic"));
        }
    }
    Ok(header)
}

/// Attribute bit of LogAppendTime.
const APPEND_TIME_BIT: u8 = 0x08;

fn stamp_append_time(header: &mut BatchHeader, head: &mut [u8; HEADER_LEN], rest: &[u8], now_ms: i64) {
    head[22] |= APPEND_TIME_BIT;
    head[35..43].copy_from_slice(&now_ms.to_be_bytes());
    header.max_timestamp = now_ms;
    let mut covered = BytesMut::with_capacity(HEADER_LEN - 21 + rest.len());
    covered.extend_from_slice(&head[21..]);
    covered.extend_from_slice(rest);
    let crc = aqueduct_protocol::wire::crc::crc32c(&covered);
    head[17..21].copy_from_slice(&crc.to_be_bytes());
}

impl LogConfig {
    /// No limits, the delete policy: what a topic's settings then replace.
    pub(crate) fn unlimited() -> LogConfig {
        LogConfig {
            compact: false,
            delete: true,
            retention_ms: -1,
            retention_bytes: -1,
            segment_bytes: 1 << 30,
            segment_ms: i64::MAX,
            max_message_bytes: usize::MAX,
            delete_retention_ms: i64::MAX,
            min_compaction_lag_ms: 0,
            log_append_time: false,
        }
    }
}
