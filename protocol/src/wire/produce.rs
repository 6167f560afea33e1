//! The Produce request, as parts for one vectored write: the batches go to the socket from where they are.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::varint::put_unsigned;

/// Oldest version that [`encode_produce`] writes: the first with format v2.
pub const MIN_PRODUCE_VERSION: i16 = 3;
/// Newest version that [`encode_produce`] writes: with topic ids (KIP-516).
pub const MAX_PRODUCE_VERSION: i16 = 13;
/// First version with compact fields (KIP-482).
const FLEXIBLE_FROM: i16 = 9;
/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// The batches for one topic.
#[derive(Debug, Clone, Copy)]
pub struct ProduceTopic<'a> {
    /// Name; what goes on the wire up to version 12.
    pub name: &'a str,
    /// Id; what goes on the wire from version 13 on.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: &'a [ProducePartition],
}

/// The batch for one partition.
#[derive(Debug, Clone)]
pub struct ProducePartition {
    /// The partition.
    pub index: i32,
    /// The batch, complete.
    pub records: Bytes,
}

/// A Produce request of the given version without its header, as parts to be written one after the other. `acks` is
/// -1, 0 or 1, `timeout_ms` how long the broker waits for replicas.
///
/// Which versions there are is the caller's to negotiate; one outside of [`MIN_PRODUCE_VERSION`] to
/// [`MAX_PRODUCE_VERSION`] is written as the nearest.
#[must_use]
pub fn encode_produce(
    version: i16,
    transactional_id: Option<&str>,
    acks: i16,
    timeout_ms: i32,
    topics: &[ProduceTopic<'_>],
) -> Vec<Bytes> {
    let version = version.clamp(MIN_PRODUCE_VERSION, MAX_PRODUCE_VERSION);
    let flexible = version >= FLEXIBLE_FROM;
    let count: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let names: usize = topics.iter().map(|topic| topic.name.len()).sum();
    let head = 32 + transactional_id.map_or(0, str::len) + names + topics.len() * 32 + count * 16;
    let mut writer = Writer { head: BytesMut::with_capacity(head), flexible };
    let mut parts = Vec::with_capacity(2 * count + 1);

    writer.string(transactional_id);
    writer.head.put_i16(acks);
    writer.head.put_i32(timeout_ms);
    writer.length(topics.len());
    for topic in topics {
        if version >= TOPIC_IDS_FROM {
            writer.head.put_slice(topic.topic_id.as_bytes());
        } else {
            writer.string(Some(topic.name));
        }
        writer.length(topic.partitions.len());
        for partition in topic.partitions {
            writer.head.put_i32(partition.index);
            writer.length(partition.records.len());
            parts.push(writer.head.split().freeze());
            parts.push(partition.records.clone());
            writer.no_tags();
        }
        writer.no_tags();
    }
    writer.no_tags();
    if !writer.head.is_empty() {
        parts.push(writer.head.freeze());
    }
    parts
}

struct Writer {
    head: BytesMut,
    flexible: bool,
}

impl Writer {
    fn unsigned(&mut self, value: usize) {
        let mut bytes = [0; 10];
        let end = put_unsigned(&mut bytes, 0, value as u64);
        self.head.put_slice(&bytes[..end]);
    }

    /// Length of an array or of bytes.
    fn length(&mut self, length: usize) {
        if self.flexible {
            self.unsigned(length + 1);
        } else {
            self.head.put_i32(length as i32);
        }
    }

    fn string(&mut self, text: Option<&str>) {
        match (text, self.flexible) {
            (None, true) => self.unsigned(0),
            (None, false) => self.head.put_i16(-1),
            (Some(text), true) => self.unsigned(text.len() + 1),
            (Some(text), false) => self.head.put_i16(text.len() as i16),
        }
        self.head.put_slice(text.unwrap_or_default().as_bytes());
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.head.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::protocol::Decodable;

    use super::*;

    #[test]
    fn every_version_reads_back() {
        let id = Uuid::from_u128(7);
        let records = [Bytes::from_static(b"first"), Bytes::from(vec![9; 300]), Bytes::from_static(b"3")];
        let part = |index: usize| ProducePartition { index: index as i32, records: records[index].clone() };
        let (one, two) = ([part(0), part(1)], [part(2)]);
        let topics = [
            ProduceTopic { name: "orders", topic_id: id, partitions: &one },
            ProduceTopic { name: "b", topic_id: Uuid::from_u128(8), partitions: &two },
        ];
        for version in MIN_PRODUCE_VERSION..=MAX_PRODUCE_VERSION {
            for transactional in [None, Some("tx")] {
                let parts = encode_produce(version, transactional, -1, 1500, &topics);
                assert!(parts.iter().any(|part| part.as_ptr() == records[1].as_ptr()), "copied");
                let mut all = Bytes::from(parts.concat());
                let back = ProduceRequest::decode(&mut all, version).unwrap();
                assert!(all.is_empty());
                assert_eq!(back.transactional_id.as_ref().map(|id| id.as_str()), transactional);
                assert_eq!((back.acks, back.timeout_ms, back.topic_data.len()), (-1, 1500, 2));
                let first = &back.topic_data[0];
                if version >= 13 {
                    assert_eq!(first.topic_id, id);
                } else {
                    assert_eq!(first.name.as_str(), "orders");
                }
                assert_eq!(first.partition_data[1].index, 1);
                assert_eq!(first.partition_data[1].records.as_ref(), Some(&records[1]));
                assert_eq!(back.topic_data[1].partition_data[0].records.as_ref(), Some(&records[2]));
            }
        }
    }

    #[test]
    fn nothing_to_produce_is_still_a_request() {
        let mut all = Bytes::from(encode_produce(9, None, 1, 5, &[]).concat());
        assert!(ProduceRequest::decode(&mut all, 9).unwrap().topic_data.is_empty());
    }
}
