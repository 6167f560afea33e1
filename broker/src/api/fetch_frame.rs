//! The Fetch response, written by hand so that record batches go to the socket without a copy.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::log::AbortedTxn;

/// What one partition answers.
#[derive(Debug)]
pub(crate) struct PartitionAnswer {
    pub(crate) index: i32,
    pub(crate) code: i16,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
    pub(crate) log_start: i64,
    /// `None` for read_uncommitted.
    pub(crate) aborted: Option<Vec<AbortedTxn>>,
    pub(crate) records: Vec<Bytes>,
}

impl PartitionAnswer {
    pub(crate) fn error(index: i32, code: i16) -> PartitionAnswer {
        PartitionAnswer {
            index,
            code,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            aborted: None,
            records: Vec::new(),
        }
    }
}

/// What one topic answers; `name` up to version 12, `id` from 13 on.
#[derive(Debug)]
pub(crate) struct TopicAnswer {
    pub(crate) name: StrBytes,
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<PartitionAnswer>,
}

/// First version of each field.
mod since {
    pub(super) const LOG_START: i16 = 5;
    pub(super) const SESSION: i16 = 7;
    pub(super) const PREFERRED_REPLICA: i16 = 11;
    pub(super) const FLEXIBLE: i16 = 12;
    pub(super) const TOPIC_ID: i16 = 13;
}

struct Writer {
    parts: Vec<Bytes>,
    out: BytesMut,
    flexible: bool,
}

impl Writer {
    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    /// The count of an array, or the size of a byte string.
    fn count(&mut self, count: usize) {
        if self.flexible {
            self.varint(count as u32 + 1);
        } else {
            self.out.put_i32(count as i32);
        }
    }

    fn null(&mut self) {
        if self.flexible { self.varint(0) } else { self.out.put_i32(-1) }
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.out.put_u8(0);
        }
    }

    fn records(&mut self, records: Vec<Bytes>) {
        self.count(records.iter().map(Bytes::len).sum());
        if !records.is_empty() {
            self.parts.push(self.out.split().freeze());
            self.parts.extend(records);
        }
    }
}

/// The response's body.
pub(crate) fn encode(version: i16, code: i16, topics: Vec<TopicAnswer>) -> Vec<Bytes> {
    let mut w =
        Writer { parts: Vec::new(), out: BytesMut::with_capacity(128), flexible: version >= since::FLEXIBLE };
    w.out.put_i32(0); // throttle time
    if version >= since::SESSION {
        w.out.put_i16(code);
        w.out.put_i32(0); // no session
    }
    w.count(topics.len());
    for topic in topics {
        if version >= since::TOPIC_ID {
            w.out.put_u128(topic.id.as_u128());
        } else if w.flexible {
            w.varint(topic.name.len() as u32 + 1);
            w.out.put_slice(topic.name.as_bytes());
        } else {
            w.out.put_i16(topic.name.len() as i16);
            w.out.put_slice(topic.name.as_bytes());
        }
        w.count(topic.partitions.len());
        for partition in topic.partitions {
            put_partition(&mut w, version, partition);
        }
        w.no_tags();
    }
    w.no_tags();
    w.parts.push(w.out.freeze());
    w.parts
}

fn put_partition(w: &mut Writer, version: i16, p: PartitionAnswer) {
    w.out.put_i32(p.index);
    w.out.put_i16(p.code);
    w.out.put_i64(p.high_watermark);
    w.out.put_i64(p.last_stable);
    if version >= since::LOG_START {
        w.out.put_i64(p.log_start);
    }
    match p.aborted {
        None => w.null(),
        Some(aborted) => {
            w.count(aborted.len());
            for txn in aborted {
                w.out.put_i64(txn.producer_id);
                w.out.put_i64(txn.first_offset);
                w.no_tags();
            }
        }
    }
    if version >= since::PREFERRED_REPLICA {
        w.out.put_i32(-1);
    }
    w.records(p.records);
    w.no_tags();
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::protocol::Decodable;

    use super::*;

    #[test]
    fn every_version_reads_back() {
        for version in 4..=18 {
            let answer = PartitionAnswer {
                index: 3,
                code: 0,
                high_watermark: 10,
                last_stable: 9,
                log_start: 1,
                aborted: Some(vec![AbortedTxn { producer_id: 5, first_offset: 6, last_offset: 7 }]),
                records: vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de")],
            };
            let topics = vec![TopicAnswer {
                name: StrBytes::from_static_str("t"),
                id: Uuid::from_u128(9),
                partitions: vec![answer, PartitionAnswer::error(4, 1)],
            }];
            let mut bytes = Bytes::from(encode(version, 0, topics).concat());
            let response = FetchResponse::decode(&mut bytes, version).unwrap();
            assert!(bytes.is_empty(), "version {version}");
            let topic = &response.responses[0];
            assert!(if version >= 13 { topic.topic_id.as_u128() == 9 } else { &*topic.topic == "t" });
            let p = &topic.partitions[0];
            assert_eq!(p.records.as_deref(), Some(&b"abcde"[..]));
            assert_eq!((p.partition_index, p.high_watermark, p.last_stable_offset), (3, 10, 9));
            assert_eq!(p.aborted_transactions.as_ref().map(Vec::len), Some(1));
            assert_eq!(topic.partitions[1].error_code, 1);
        }
    }
}
