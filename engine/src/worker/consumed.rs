//! From what the consumer gives to a batch: buffers are shared, records become rows of places in them.

use std::sync::Arc;

use aqueduct_protocol::client::consumer::PartitionBatch;
use aqueduct_protocol::wire::records::{RecordSet, TimestampType as Wire};

use crate::connector::TopicPartition;
use crate::data::{Batch, Header, Origin, Range32, Record, Span, TimestampType, Value};

/// Most parts of one batch: each takes a segment.
pub(super) const MAX_PARTS: usize = 4096;

/// Appends the records to an empty batch; gives where each partition goes on after them.
pub(super) fn fill(batch: &mut Batch, fetched: &[PartitionBatch]) -> Vec<(TopicPartition, i64)> {
    let mut offsets: Vec<(TopicPartition, i64)> = Vec::new();
    for part in fetched {
        append(batch, part);
        match offsets.last_mut() {
            Some((last, next)) if last.partition == part.partition && last.topic == part.topic => {
                *next = part.next_offset
            }
            _ => {
                offsets.push((TopicPartition::new(Arc::clone(&part.topic), part.partition), part.next_offset))
            }
        }
    }
    offsets
}

fn append(batch: &mut Batch, part: &PartitionBatch) {
    let topic = batch.intern_topic(&part.topic);
    let records: &RecordSet = &part.records;
    let segment = batch.add_segment(records.body().clone());
    let place = |at: u32, len: i32| (len >= 0).then_some(Span { segment, offset: at, len: len as u32 });
    let header = records.header();
    let appended = header.attributes.timestamp_type() == Wire::LogAppendTime;
    let timestamp_type = if appended { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
    batch.records.reserve(records.len());
    for (index, span) in records.spans().iter().enumerate() {
        let headers = if span.header_count == 0 {
            Range32::default()
        } else {
            append_headers(batch, records, index, segment)
        };
        let timestamp =
            if appended { header.max_timestamp } else { header.base_timestamp + span.timestamp_delta };
        let offset = header.base_offset + i64::from(span.offset_delta);
        batch.records.push(Record {
            topic,
            partition: part.partition,
            timestamp,
            timestamp_type,
            headers,
            origin: Origin { topic, partition: part.partition, offset },
            raw_key: place(span.key_at, span.key_len),
            raw_value: place(span.value_at, span.value_len),
            ..Record::default()
        });
    }
}

fn append_headers(batch: &mut Batch, records: &RecordSet, index: usize, segment: u16) -> Range32 {
    let start = batch.headers.len() as u32;
    let span =
        |range: std::ops::Range<usize>| Span { segment, offset: range.start as u32, len: range.len() as u32 };
    if let Some(record) = records.get(index) {
        for header in record.headers() {
            let raw = header.value_range().map(span);
            let value = raw.map_or(Value::Null, Value::Bytes);
            batch.headers.push(Header { key: span(header.key_range()), schema: 0, value, raw });
        }
    }
    Range32 { start, len: batch.headers.len() as u32 - start }
}
