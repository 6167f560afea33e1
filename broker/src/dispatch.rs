//! From a request's bytes to a response's: header, body, the handler of its API.

use std::sync::Arc;

use aqueduct_protocol::guard::{Direction, is_backed};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use crate::api;
use crate::error::RequestError;
use crate::groups;
use crate::server::Peer;
use crate::state::Shared;
use crate::txn;

/// What a handler gets beside the request itself.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) peer: &'a Peer,
    pub(crate) version: i16,
    pub(crate) client_id: StrBytes,
}

/// The fixed front of every request.
struct Head {
    key: i16,
    version: i16,
    correlation_id: i32,
    client_id: StrBytes,
}

/// Key, version, correlation id.
const FIXED_HEAD: usize = 8;

/// Answers one request. `None` when it wants no response (acks=0).
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    peer: &Peer,
    mut frame: Bytes,
) -> Result<Option<Vec<Bytes>>, RequestError> {
    let (key, version, correlation_id) = peek_head(&frame)?;
    if key == ApiKey::ApiVersions as i16 && !api::versions::supports(key, version) {
        // KIP-511: whatever version was asked for, version 0 tells the client what to use.
        let response = api::versions::unsupported();
        return Ok(Some(vec![encode_response(key, 0, correlation_id, &response)?]));
    }
    if !api::versions::supports(key, version) {
        return Err(RequestError::Unsupported { key, version });
    }
    let api = ApiKey::try_from(key).map_err(|()| RequestError::Unsupported { key, version })?;
    let head = read_head(&mut frame, api, version)?;
    let context = Context { shared, peer, version, client_id: head.client_id.clone() };
    handle(api, &context, &head, frame).await
}

fn peek_head(frame: &Bytes) -> Result<(i16, i16, i32), RequestError> {
    let fixed: &[u8; FIXED_HEAD] = frame.first_chunk().ok_or(RequestError::Header)?;
    let key = i16::from_be_bytes([fixed[0], fixed[1]]);
    let version = i16::from_be_bytes([fixed[2], fixed[3]]);
    Ok((key, version, i32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])))
}

fn read_head(frame: &mut Bytes, api: ApiKey, version: i16) -> Result<Head, RequestError> {
    let header = RequestHeader::decode(frame, api.request_header_version(version))
        .map_err(|_| RequestError::Header)?;
    Ok(Head {
        key: header.request_api_key,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.unwrap_or_default(),
    })
}

/// Reads the request, calls a handler that answers at once, writes the response.
macro_rules! now {
    ($request:ty, $handler:path, $context:expr, $head:expr, $body:expr) => {{
        let request: $request = decode($head, $body)?;
        respond::<$request>($head, &$handler($context, request))
    }};
}

/// The same for a handler that may wait.
macro_rules! later {
    ($request:ty, $handler:path, $context:expr, $head:expr, $body:expr) => {{
        let request: $request = decode($head, $body)?;
        respond::<$request>($head, &Box::pin($handler($context, request)).await)
    }};
}

async fn handle(
    api: ApiKey,
    c: &Context<'_>,
    h: &Head,
    body: Bytes,
) -> Result<Option<Vec<Bytes>>, RequestError> {
    match api {
        ApiKey::Produce => {
            let request: ProduceRequest = decode(h, body)?;
            let silent = request.acks == 0;
            let response = api::produce::produce(c, request);
            match silent {
                false => respond::<ProduceRequest>(h, &response),
                // Closing the connection is the only way to tell such a producer (as Kafka does).
                true if api::produce::has_errors(&response) => Err(RequestError::Unacknowledged),
                true => Ok(None),
            }
        }
        ApiKey::Fetch => {
            let request: FetchRequest = decode(h, body)?;
            let body = Box::pin(api::fetch::fetch(c, request)).await;
            Ok(Some(framed(FetchResponse::header_version(h.version), h.correlation_id, body)))
        }
        ApiKey::ApiVersions => now!(ApiVersionsRequest, api::versions::api_versions, c, h, body),
        ApiKey::Metadata => now!(MetadataRequest, api::metadata::metadata, c, h, body),
        ApiKey::ListOffsets => now!(ListOffsetsRequest, api::offsets::list_offsets, c, h, body),
        ApiKey::FindCoordinator => now!(FindCoordinatorRequest, api::cluster::find_coordinator, c, h, body),
        ApiKey::CreateTopics => now!(CreateTopicsRequest, crate::topics::admin::create_topics, c, h, body),
        ApiKey::DeleteTopics => now!(DeleteTopicsRequest, crate::topics::admin::delete_topics, c, h, body),
        ApiKey::CreatePartitions => {
            now!(CreatePartitionsRequest, crate::topics::admin::create_partitions, c, h, body)
        }
        ApiKey::DeleteRecords => now!(DeleteRecordsRequest, api::offsets::delete_records, c, h, body),
        ApiKey::OffsetForLeaderEpoch => {
            now!(OffsetForLeaderEpochRequest, api::offsets::offset_for_leader_epoch, c, h, body)
        }
        ApiKey::DescribeTopicPartitions => {
            now!(DescribeTopicPartitionsRequest, api::metadata::describe_topic_partitions, c, h, body)
        }
        ApiKey::DescribeConfigs => now!(DescribeConfigsRequest, api::configs::describe_configs, c, h, body),
        ApiKey::AlterConfigs => now!(AlterConfigsRequest, api::configs::alter_configs, c, h, body),
        ApiKey::IncrementalAlterConfigs => {
            now!(IncrementalAlterConfigsRequest, api::configs::incremental_alter, c, h, body)
        }
        ApiKey::DescribeCluster => now!(DescribeClusterRequest, api::cluster::describe_cluster, c, h, body),
        ApiKey::DescribeLogDirs => now!(DescribeLogDirsRequest, api::cluster::describe_log_dirs, c, h, body),
        ApiKey::DescribeAcls => now!(DescribeAclsRequest, api::cluster::describe_acls, c, h, body),
        ApiKey::CreateAcls => now!(CreateAclsRequest, api::cluster::create_acls, c, h, body),
        ApiKey::DeleteAcls => now!(DeleteAclsRequest, api::cluster::delete_acls, c, h, body),
        ApiKey::ListPartitionReassignments => {
            now!(ListPartitionReassignmentsRequest, api::cluster::list_reassignments, c, h, body)
        }
        _ => handle_coordinator(api, c, h, body).await,
    }
}

/// The APIs of the group and transaction coordinators.
async fn handle_coordinator(
    api: ApiKey,
    c: &Context<'_>,
    h: &Head,
    body: Bytes,
) -> Result<Option<Vec<Bytes>>, RequestError> {
    match api {
        ApiKey::JoinGroup => later!(JoinGroupRequest, groups::api::join_group, c, h, body),
        ApiKey::SyncGroup => later!(SyncGroupRequest, groups::api::sync_group, c, h, body),
        ApiKey::Heartbeat => now!(HeartbeatRequest, groups::api::heartbeat, c, h, body),
        ApiKey::LeaveGroup => now!(LeaveGroupRequest, groups::api::leave_group, c, h, body),
        ApiKey::ConsumerGroupHeartbeat => {
            now!(ConsumerGroupHeartbeatRequest, groups::consumer_api::heartbeat, c, h, body)
        }
        ApiKey::ConsumerGroupDescribe => {
            now!(ConsumerGroupDescribeRequest, groups::consumer_api::describe, c, h, body)
        }
        ApiKey::OffsetCommit => now!(OffsetCommitRequest, groups::offset_api::offset_commit, c, h, body),
        ApiKey::OffsetFetch => now!(OffsetFetchRequest, groups::offset_api::offset_fetch, c, h, body),
        ApiKey::OffsetDelete => now!(OffsetDeleteRequest, groups::offset_api::offset_delete, c, h, body),
        ApiKey::ListGroups => now!(ListGroupsRequest, groups::admin::list_groups, c, h, body),
        ApiKey::DescribeGroups => now!(DescribeGroupsRequest, groups::admin::describe_groups, c, h, body),
        ApiKey::DeleteGroups => now!(DeleteGroupsRequest, groups::admin::delete_groups, c, h, body),
        ApiKey::InitProducerId => now!(InitProducerIdRequest, txn::api::init_producer_id, c, h, body),
        ApiKey::AddPartitionsToTxn => now!(AddPartitionsToTxnRequest, txn::api::add_partitions, c, h, body),
        ApiKey::AddOffsetsToTxn => now!(AddOffsetsToTxnRequest, txn::api::add_offsets, c, h, body),
        ApiKey::TxnOffsetCommit => {
            now!(TxnOffsetCommitRequest, groups::offset_api::txn_offset_commit, c, h, body)
        }
        ApiKey::EndTxn => now!(EndTxnRequest, txn::api::end_txn, c, h, body),
        ApiKey::WriteTxnMarkers => now!(WriteTxnMarkersRequest, txn::admin::write_markers, c, h, body),
        ApiKey::ListTransactions => now!(ListTransactionsRequest, txn::admin::list, c, h, body),
        ApiKey::DescribeTransactions => now!(DescribeTransactionsRequest, txn::admin::describe, c, h, body),
        ApiKey::DescribeProducers => {
            now!(DescribeProducersRequest, txn::admin::describe_producers, c, h, body)
        }
        _ => Err(RequestError::Unsupported { key: h.key, version: h.version }),
    }
}

fn decode<R: Request>(head: &Head, mut body: Bytes) -> Result<R, RequestError> {
    let backed =
        ApiKey::try_from(head.key).is_ok_and(|api| is_backed(Direction::Request, api, head.version, &body));
    if !backed {
        let reason = "it announces more than it has".to_owned();
        return Err(RequestError::Body { key: head.key, version: head.version, reason });
    }
    R::decode(&mut body, head.version).map_err(|error| RequestError::Body {
        key: head.key,
        version: head.version,
        reason: error.to_string(),
    })
}

fn respond<R: Request>(head: &Head, response: &R::Response) -> Result<Option<Vec<Bytes>>, RequestError> {
    Ok(Some(vec![encode_response(head.key, head.version, head.correlation_id, response)?]))
}

/// Length, header and body in one buffer.
fn encode_response<T: Encodable + Message + HeaderVersion>(
    key: i16,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Bytes, RequestError> {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    put_header(&mut out, T::header_version(version), correlation_id);
    response.encode(&mut out, version).map_err(|error| RequestError::Response {
        key,
        version,
        reason: error.to_string(),
    })?;
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

fn put_header(out: &mut BytesMut, header_version: i16, correlation_id: i32) {
    out.put_i32(correlation_id);
    if header_version >= 1 {
        out.put_u8(0);
    }
}

/// Length and header before a body that is already in pieces.
fn framed(header_version: i16, correlation_id: i32, body: Vec<Bytes>) -> Vec<Bytes> {
    let mut head = BytesMut::with_capacity(16);
    head.put_i32(0);
    put_header(&mut head, header_version, correlation_id);
    let length = head.len() - 4 + body.iter().map(Bytes::len).sum::<usize>();
    head[..4].copy_from_slice(&(length as i32).to_be_bytes());
    let mut parts = Vec::with_capacity(body.len() + 1);
    parts.push(head.freeze());
    parts.extend(body);
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::BrokerConfig;

    /// Bodies made of bytes that often mean something: no handler may panic, whatever they say.
    #[tokio::test]
    async fn no_request_makes_a_handler_panic() {
        let shared = Arc::new(Shared::open(BrokerConfig::default()).unwrap());
        let peer = Peer { addr: ([127, 0, 0, 1], 1).into() };
        shared.topic_or_create("a", true).unwrap();
        let mut seed = 1_u64;
        let mut answered = 0;
        for (api, min, max) in api::versions::SUPPORTED {
            for version in *min..=*max {
                for round in 0..60 {
                    let mut frame = BytesMut::new();
                    frame.put_i16(*api as i16);
                    frame.put_i16(version);
                    frame.put_i32(round);
                    frame.put_i16(-1);
                    if api.request_header_version(version) >= 2 {
                        frame.put_u8(0);
                    }
                    for _ in 0..200 {
                        seed = seed
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        frame.put_u8(
                            [0, 0, 0, 0, 1, 1, 2, 3, b'a', 0x7f, 0x80, 0xff][(seed >> 33) as usize % 12],
                        );
                    }
                    let answer = answer(&shared, &peer, frame.freeze());
                    if let Ok(Ok(Some(_))) = tokio::time::timeout(Duration::from_millis(2), answer).await {
                        answered += 1;
                    }
                    shared.groups.tick(std::time::Instant::now());
                }
            }
        }
        assert!(answered > 500, "the bodies are too senseless to test anything: {answered}");
    }

    #[test]
    fn every_api_has_a_layout() {
        for (api, min, max) in crate::api::versions::SUPPORTED {
            for version in *min..=*max {
                let longest = [0_u8; 256];
                assert!(is_backed(Direction::Request, *api, version, &longest), "{api:?} version {version}");
            }
        }
    }
}
