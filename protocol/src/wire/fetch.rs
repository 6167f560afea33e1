//! The Fetch response, read without copying: the records of each partition are a slice of the frame.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::reader::{DecodeError, Reader};
use super::records::AbortedTransaction;

/// Oldest version that [`decode_fetch_response`] reads: the first with format v2.
pub const MIN_FETCH_VERSION: i16 = 4;
/// Newest version that [`decode_fetch_response`] reads.
pub const MAX_FETCH_VERSION: i16 = 18;

const SESSIONS_FROM: i16 = 7;
const LOG_START_FROM: i16 = 5;
const PREFERRED_REPLICA_FROM: i16 = 11;
const FLEXIBLE_FROM: i16 = 12;
const TOPIC_IDS_FROM: i16 = 13;

/// Least bytes that a topic, a partition, an aborted transaction and an endpoint take.
const MIN_TOPIC: usize = 3;
const MIN_PARTITION: usize = 24;
const MIN_ABORTED: usize = 16;
const MIN_ENDPOINT: usize = 11;

/// A Fetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// Milliseconds for which the broker throttled, or wants to be left alone.
    pub throttle_time_ms: i32,
    /// Error code of the whole response; 0 before version 7.
    pub error_code: i16,
    /// Fetch session (KIP-227), 0 for none.
    pub session_id: i32,
    /// The partitions, in the response's order.
    pub partitions: Vec<FetchedPartition>,
    /// Addresses of the new leaders that partitions name (from version 16).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// How a Fetch response names a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// By name, up to version 12.
    Name(StrBytes),
    /// By id, from version 13 on.
    Id(Uuid),
}

/// One partition of a Fetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// Error code of this partition.
    pub error_code: i16,
    /// Offset after the last replicated record; -1 on errors.
    pub high_watermark: i64,
    /// Offset up to which every transaction is decided; -1 if unknown.
    pub last_stable_offset: i64,
    /// First offset of the log; -1 if unknown.
    pub log_start_offset: i64,
    /// Aborted transactions within the records; only for `read_committed`.
    pub aborted: Vec<AbortedTransaction>,
    /// Where the log parted from what the consumer believes (KIP-320).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The leader, if it isn't the broker that was asked (KIP-951).
    pub current_leader: Option<LeaderAndEpoch>,
    /// Replica to fetch from instead (KIP-392); -1 for none.
    pub preferred_read_replica: i32,
    /// The batches, the last of them maybe cut off; a slice of the frame.
    pub records: Bytes,
}

/// The end of a leader epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch that both logs have.
    pub epoch: i32,
    /// Its end offset.
    pub end_offset: i64,
}

/// A partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// The broker, -1 if unknown.
    pub leader_id: i32,
    /// Its epoch, -1 if unknown.
    pub leader_epoch: i32,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: i32,
    /// Its host name or address.
    pub host: StrBytes,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<StrBytes>,
}

/// Reads a Fetch response of the given version from its frame, after the response header.
///
/// # Errors
/// [`DecodeError`] if the frame isn't such a response; counts are held against the bytes that are there before memory
/// is reserved.
pub fn decode_fetch_response(version: i16, frame: Bytes) -> Result<FetchResponse, DecodeError> {
    if !(MIN_FETCH_VERSION..=MAX_FETCH_VERSION).contains(&version) {
        return Err(DecodeError::Version(version));
    }
    let mut reader = Reader::new(frame, version >= FLEXIBLE_FROM);
    let throttle_time_ms = reader.i32("throttle time")?;
    let (error_code, session_id) = if version >= SESSIONS_FROM {
        (reader.i16("error code")?, reader.i32("session id")?)
    } else {
        (0, 0)
    };
    let mut partitions = Vec::new();
    for _ in 0..reader.count("topics", MIN_TOPIC)? {
        let topic = if version >= TOPIC_IDS_FROM {
            TopicRef::Id(reader.uuid("topic id")?)
        } else {
            TopicRef::Name(reader.string("topic name")?.ok_or(DecodeError::Length("topic name"))?)
        };
        let count = reader.count("partitions", MIN_PARTITION)?;
        partitions.reserve(count);
        for _ in 0..count {
            partitions.push(partition(version, topic.clone(), &mut reader)?);
        }
        reader.skip_tags()?;
    }
    let mut node_endpoints = Vec::new();
    reader.tags(|tag, field| {
        if tag == 0 {
            node_endpoints = endpoints(field)?;
        }
        Ok(())
    })?;
    reader.finish()?;
    Ok(FetchResponse { throttle_time_ms, error_code, session_id, partitions, node_endpoints })
}

fn partition(version: i16, topic: TopicRef, reader: &mut Reader) -> Result<FetchedPartition, DecodeError> {
    let partition = reader.i32("partition")?;
    let error_code = reader.i16("partition error")?;
    let high_watermark = reader.i64("high watermark")?;
    let last_stable_offset = reader.i64("last stable offset")?;
    let log_start_offset = if version >= LOG_START_FROM { reader.i64("log start offset")? } else { -1 };
    let count = reader.count("aborted transactions", MIN_ABORTED)?;
    let mut aborted = Vec::with_capacity(count);
    for _ in 0..count {
        let producer_id = reader.i64("aborted producer")?;
        let first_offset = reader.i64("aborted offset")?;
        reader.skip_tags()?;
        aborted.push(AbortedTransaction { producer_id, first_offset });
    }
    let preferred_read_replica =
        if version >= PREFERRED_REPLICA_FROM { reader.i32("preferred read replica")? } else { -1 };
    let records = reader.bytes("records")?.unwrap_or_default();
    let (mut diverging_epoch, mut current_leader) = (None, None);
    reader.tags(|tag, field| {
        match tag {
            0 => {
                let (epoch, end_offset) = (field.i32("diverging epoch")?, field.i64("diverging offset")?);
                diverging_epoch = Some(EpochEndOffset { epoch, end_offset }).filter(|of| of.epoch >= 0);
            }
            1 => {
                let (leader_id, leader_epoch) = (field.i32("leader")?, field.i32("leader epoch")?);
                current_leader =
                    Some(LeaderAndEpoch { leader_id, leader_epoch }).filter(|of| of.leader_id >= 0);
            }
            // The snapshot id is for KRaft's observers.
            _ => {}
        }
        Ok(())
    })?;
    Ok(FetchedPartition {
        topic,
        partition,
        error_code,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        aborted,
        diverging_epoch,
        current_leader,
        preferred_read_replica,
        records,
    })
}

fn endpoints(reader: &mut Reader) -> Result<Vec<NodeEndpoint>, DecodeError> {
    let count = reader.count("node endpoints", MIN_ENDPOINT)?;
    let mut endpoints = Vec::with_capacity(count);
    for _ in 0..count {
        let node_id = reader.i32("node id")?;
        let host = reader.string("host")?.ok_or(DecodeError::Length("host"))?;
        let port = reader.i32("port")?;
        let rack = reader.string("rack")?;
        reader.skip_tags()?;
        endpoints.push(NodeEndpoint { node_id, host, port, rack });
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::fetch_response as wire;
    use kafka_protocol::messages::{BrokerId, FetchResponse as Message, ProducerId, TopicName};
    use kafka_protocol::protocol::Encodable;

    use super::*;

    fn message(version: i16) -> Message {
        let mut partition = wire::PartitionData::default()
            .with_partition_index(4)
            .with_error_code(6)
            .with_high_watermark(100)
            .with_last_stable_offset(90)
            .with_records(Some(Bytes::from_static(b"these are batches")));
        if version >= 5 {
            partition.log_start_offset = 10;
        }
        if version >= 11 {
            partition.preferred_read_replica = BrokerId(2);
        }
        if version >= 12 {
            partition.diverging_epoch = wire::EpochEndOffset::default().with_epoch(3).with_end_offset(55);
            partition.current_leader =
                wire::LeaderIdAndEpoch::default().with_leader_id(BrokerId(9)).with_leader_epoch(8);
        }
        partition.aborted_transactions = Some(vec![
            wire::AbortedTransaction::default().with_producer_id(ProducerId(77)).with_first_offset(12),
        ]);
        let empty = wire::PartitionData::default().with_partition_index(5).with_records(None);
        let mut topic = wire::FetchableTopicResponse::default().with_partitions(vec![partition, empty]);
        if version >= 13 {
            topic.topic_id = Uuid::from_u128(99);
        } else {
            topic.topic = TopicName(StrBytes::from_static_str("orders"));
        }
        let mut message = Message::default().with_throttle_time_ms(17).with_responses(vec![topic]);
        if version >= 7 {
            message.session_id = 1234;
            message.error_code = 71;
        }
        if version >= 16 {
            message.node_endpoints = vec![
                wire::NodeEndpoint::default()
                    .with_node_id(BrokerId(9))
                    .with_host(StrBytes::from_static_str("kafka-9"))
                    .with_port(9092),
            ];
        }
        message
    }

    fn encoded(version: i16) -> Bytes {
        let mut bytes = BytesMut::new();
        message(version).encode(&mut bytes, version).unwrap();
        bytes.freeze()
    }

    #[test]
    fn every_version_is_read() {
        for version in MIN_FETCH_VERSION..=MAX_FETCH_VERSION {
            let frame = encoded(version);
            let response = decode_fetch_response(version, frame.clone()).unwrap();
            assert_eq!(response.throttle_time_ms, 17);
            let session = if version >= 7 { (71, 1234) } else { (0, 0) };
            assert_eq!((response.error_code, response.session_id), session);
            let [first, second] = &response.partitions[..] else { panic!("two partitions") };
            let topic = if version >= 13 {
                TopicRef::Id(Uuid::from_u128(99))
            } else {
                TopicRef::Name(StrBytes::from_static_str("orders"))
            };
            assert_eq!((&first.topic, &second.topic), (&topic, &topic));
            assert_eq!((first.partition, first.error_code, second.partition), (4, 6, 5));
            assert_eq!((first.high_watermark, first.last_stable_offset), (100, 90));
            assert_eq!(first.log_start_offset, if version >= 5 { 10 } else { -1 });
            assert_eq!(first.aborted, [AbortedTransaction { producer_id: 77, first_offset: 12 }]);
            assert_eq!(first.preferred_read_replica, if version >= 11 { 2 } else { -1 });
            let epoch = EpochEndOffset { epoch: 3, end_offset: 55 };
            assert_eq!(first.diverging_epoch, (version >= 12).then_some(epoch));
            let leader = LeaderAndEpoch { leader_id: 9, leader_epoch: 8 };
            assert_eq!(first.current_leader, (version >= 12).then_some(leader));
            assert_eq!((second.diverging_epoch, second.current_leader), (None, None));
            assert_eq!(&first.records[..], b"these are batches");
            assert!(frame.as_ptr_range().contains(&first.records.as_ptr()), "copied");
            assert!(second.records.is_empty());
            let hosts: Vec<_> = response.node_endpoints.iter().map(|of| (of.node_id, &of.host[..])).collect();
            assert_eq!(hosts, if version >= 16 { vec![(9, "kafka-9")] } else { vec![] });
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for version in MIN_FETCH_VERSION..=MAX_FETCH_VERSION {
            let frame = encoded(version);
            for len in 0..frame.len() {
                assert!(decode_fetch_response(version, frame.slice(..len)).is_err(), "{version} {len}");
            }
            let longer = [&frame[..], &[0]].concat();
            assert_eq!(decode_fetch_response(version, longer.into()), Err(DecodeError::Trailing(1)));
        }
        assert_eq!(decode_fetch_response(3, Bytes::new()), Err(DecodeError::Version(3)));
        assert_eq!(decode_fetch_response(19, Bytes::new()), Err(DecodeError::Version(19)));
    }

    #[test]
    fn no_flipped_byte_panics() {
        for version in [4, 11, 12, 18] {
            let frame = encoded(version);
            for at in 0..frame.len() {
                for mask in 1..=255 {
                    let mut bytes = frame.to_vec();
                    bytes[at] ^= mask;
                    let _ = decode_fetch_response(version, bytes.into());
                }
            }
        }
    }
}
