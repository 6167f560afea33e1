//! A batch on its way: records being collected, then sealed bytes that wait for their acknowledgement.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::memory::BufferMemory;
use super::ticket::Recipients;
use crate::Error;
use crate::wire::compression::{Compression, CompressionError, Compressor, Decompressor};
use crate::wire::records::{
    BatchBuilder, BatchOptions, NO_PRODUCER, ProducerStamp, RawBatch, RecordError, batches, restamp,
};

/// Tells a waiting `flush` by being dropped.
pub(super) type FlushToken = mpsc::Sender<()>;

/// The records of a batch.
#[derive(Debug)]
pub(super) enum Content {
    /// More may come.
    Open(BatchBuilder),
    /// The final bytes.
    Sealed(Bytes),
}

/// A batch of one partition.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) content: Content,
    pub(super) recipients: Recipients,
    pub(super) flushers: Vec<FlushToken>,
    /// When its first record came: `linger.ms` and `delivery.timeout.ms` count from here.
    pub(super) created: Instant,
    /// Bytes of `buffer.memory` that it holds.
    pub(super) reserved: usize,
    /// Records; 0 while open.
    pub(super) records: i32,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// Its numbers, once given.
    pub(super) stamp: Option<ProducerStamp>,
    /// Whether its numbers were given by a restart of the partition.
    pub(super) restarted: bool,
    /// Whether it must not linger.
    pub(super) urgent: bool,
}

impl Batch {
    pub(super) fn open(builder: BatchBuilder, reserved: usize) -> Self {
        Self {
            content: Content::Open(builder),
            recipients: Recipients::default(),
            flushers: Vec::new(),
            created: Instant::now(),
            reserved,
            records: 0,
            attempts: 0,
            stamp: None,
            restarted: false,
            urgent: false,
        }
    }

    /// Bytes that it takes in a request, at most.
    pub(super) fn size(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.size_estimate(),
            Content::Sealed(bytes) => bytes.len(),
        }
    }

    /// Records in it.
    pub(super) fn record_count(&self) -> i32 {
        match &self.content {
            Content::Open(builder) => builder.record_count() as i32,
            Content::Sealed(_) => self.records,
        }
    }

    /// Whether it takes no more records.
    pub(super) fn is_full(&self) -> bool {
        match &self.content {
            Content::Open(builder) => builder.is_full(),
            Content::Sealed(_) => true,
        }
    }

    /// Makes the final bytes with the given numbers. A batch that has its bytes already only gets the numbers.
    pub(super) fn seal(
        &mut self,
        compressor: &mut Compressor,
        memory: &BufferMemory,
        stamp: Option<ProducerStamp>,
    ) -> Result<(), CompressionError> {
        let numbers = stamp.unwrap_or(NO_PRODUCER);
        match &mut self.content {
            Content::Open(builder) => {
                self.records = builder.record_count() as i32;
                let compressed = builder.options().compression != Compression::None;
                let bytes = builder.finish(compressor, numbers)?;
                let Content::Open(builder) = std::mem::replace(&mut self.content, Content::Sealed(bytes))
                else {
                    return Ok(());
                };
                if compressed {
                    // The big buffer is free again, only what it was packed into stays.
                    memory.recycle(builder);
                    let keep = self.size().min(self.reserved);
                    memory.release(self.reserved - keep);
                    self.reserved = keep;
                }
            }
            Content::Sealed(bytes) => {
                if self.stamp != stamp {
                    *bytes = restamp(std::mem::take(bytes), numbers);
                }
            }
        }
        self.stamp = stamp;
        Ok(())
    }

    /// Gives it other numbers.
    pub(super) fn renumber(&mut self, stamp: ProducerStamp) {
        if let Content::Sealed(bytes) = &mut self.content {
            *bytes = restamp(std::mem::take(bytes), stamp);
        }
        self.stamp = Some(stamp);
        self.restarted = true;
    }

    /// Gives back its memory.
    fn free(&mut self, memory: &BufferMemory) {
        let content = std::mem::replace(&mut self.content, Content::Sealed(Bytes::new()));
        match content {
            Content::Open(builder) => memory.recycle(builder),
            Content::Sealed(bytes) => {
                let mut builder = BatchBuilder::new(*memory.options());
                if builder.options().compression == Compression::None {
                    builder.reclaim(bytes);
                    memory.recycle(builder);
                }
            }
        }
        memory.release(std::mem::take(&mut self.reserved));
    }

    /// It is written; tells everybody.
    pub(super) fn acknowledge(
        mut self,
        memory: &BufferMemory,
        topic: &Arc<str>,
        partition: i32,
        offset: i64,
    ) {
        self.free(memory);
        self.recipients.acknowledge(topic, partition, offset);
    }

    /// It is given up; tells everybody.
    pub(super) fn fail(mut self, memory: &BufferMemory, error: &Error) {
        self.free(memory);
        self.recipients.fail(error);
    }

    /// The same records as several batches, each of at most half the size (KIP-126). Gives itself back if it can't be
    /// split, as it has one record only.
    pub(super) fn split(mut self, memory: &BufferMemory) -> Result<Vec<Self>, Box<Self>> {
        let Content::Sealed(bytes) = &self.content else { return Err(Box::new(self)) };
        let options = *memory.options();
        match regroup(bytes, &self.recipients, options, self.created) {
            Ok(mut parts) if parts.len() > 1 => {
                let reserved = std::mem::take(&mut self.reserved);
                let mut held = 0;
                for part in &mut parts {
                    part.reserved = part.size().min(reserved - held);
                    held += part.reserved;
                    part.flushers.clone_from(&self.flushers);
                    part.attempts = self.attempts;
                    part.urgent = true;
                }
                memory.release(reserved - held);
                Ok(parts)
            }
            _ => Err(Box::new(self)),
        }
    }
}

/// Reads the records back and appends them to new batches.
fn regroup(
    bytes: &Bytes,
    recipients: &Recipients,
    mut options: BatchOptions,
    created: Instant,
) -> Result<Vec<Batch>, RecordError> {
    let mut parts: Vec<Batch> = Vec::new();
    let mut decompressor = Decompressor::default();
    let mut owners = recipients.iter();
    for raw in batches(bytes.clone()) {
        let raw: RawBatch = raw?;
        let records = raw.records(&mut decompressor)?;
        let plain: usize = records
            .iter()
            .map(|record| record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len))
            .sum();
        options.batch_size = options.batch_size.min(plain / 2);
        for record in records.iter() {
            let headers: Vec<_> =
                record.headers().map(|header| (header.key_bytes(), header.value())).collect();
            let Some((session, index)) = owners.next() else { break };
            let appended = parts.last_mut().is_some_and(|part| {
                let Content::Open(builder) = &mut part.content else { return false };
                builder.append(record.timestamp(), record.key(), record.value(), &headers).is_ok()
            });
            if !appended {
                let mut builder = BatchBuilder::new(options);
                // It was in a batch before, so it can be the first of one.
                let _ = builder.append(record.timestamp(), record.key(), record.value(), &headers);
                let mut part = Batch::open(builder, 0);
                part.created = created;
                parts.push(part);
            }
            if let Some(part) = parts.last_mut() {
                part.recipients.push(session, index);
            }
        }
    }
    Ok(parts)
}
