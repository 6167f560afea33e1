//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn; the check of TxnOffsetCommit.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireId,
    TxnOffsetCommitRequest,
};

use super::ProducerId;
use crate::dispatch::Context;
use crate::state::Refusal;

/// First version of each request whose clients know PRODUCER_FENCED (KIP-588).
const INIT_FENCED: i16 = 4;
const ADD_FENCED: i16 = 2;

/// First version of each request of the second transaction protocol.
const END_V2: i16 = 5;
const OFFSETS_V2: i16 = 5;

/// The code older clients know for being fenced.
fn fenced_code(code: i16, known: bool) -> i16 {
    if code == ResponseError::ProducerFenced.code() && !known {
        ResponseError::InvalidProducerEpoch.code()
    } else {
        code
    }
}

/// InitProducerId.
pub(crate) fn init_producer_id(c: &Context<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(c, &request) {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(WireId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(refusal) => {
            tracing::warn!(reason = refusal.reason, "no producer id given");
            InitProducerIdResponse::default()
                .with_error_code(fenced_code(refusal.code, c.version >= INIT_FENCED))
                .with_producer_id(WireId(-1))
                .with_producer_epoch(-1)
        }
    }
}

fn init(c: &Context<'_>, request: &InitProducerIdRequest) -> Result<ProducerId, Refusal> {
    let Some(id) = &request.transactional_id else {
        return c.shared.txns.idempotent_producer(c.shared);
    };
    if id.is_empty() {
        return Err(Refusal::new(ResponseError::InvalidRequest, "the transactional id is empty"));
    }
    let timeout = request.transaction_timeout_ms;
    let limit = c.shared.config.transaction_max_timeout.as_millis();
    if timeout <= 0 || u128::from(timeout.unsigned_abs()) > limit {
        let reason = format!("transaction.timeout.ms={timeout}: must be from 1 to {limit}");
        return Err(Refusal::new(ResponseError::InvalidTransactionTimeout, reason));
    }
    let expected = (request.producer_id.0 >= 0)
        .then_some(ProducerId { id: request.producer_id.0, epoch: request.producer_epoch });
    c.shared.txns.init_producer(c.shared, id, timeout, expected)
}

/// AddPartitionsToTxn, in the form clients send (versions up to 3).
pub(crate) fn add_partitions(
    c: &Context<'_>,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let topics = &request.v3_and_below_topics;
    let places: Vec<(String, i32)> =
        topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.to_string(), *p))).collect();
    let exists =
        |topic: &str, p: i32| c.shared.topics.read().get(topic).and_then(|t| t.partition(p)).is_some();
    let all_exist = places.iter().all(|(topic, p)| exists(topic, *p));
    let producer =
        ProducerId { id: request.v3_and_below_producer_id.0, epoch: request.v3_and_below_producer_epoch };
    let code = if all_exist {
        let added =
            c.shared.txns.add_partitions(c.shared, &request.v3_and_below_transactional_id, producer, &places);
        fenced_code(added.err().map_or(0, |refusal| refusal.code), c.version >= ADD_FENCED)
    } else {
        ResponseError::OperationNotAttempted.code()
    };
    let results = topics.iter().map(|topic| {
        let one = |p: &i32| {
            let code =
                if exists(&topic.name, *p) { code } else { ResponseError::UnknownTopicOrPartition.code() };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*p)
                .with_partition_error_code(code)
        };
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(topic.partitions.iter().map(one).collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

/// AddOffsetsToTxn.
pub(crate) fn add_offsets(c: &Context<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let producer = ProducerId { id: request.producer_id.0, epoch: request.producer_epoch };
    let added =
        c.shared.txns.add_group(c.shared, &request.transactional_id, producer, &request.group_id, false);
    let code = added.err().map_or(0, |refusal| refusal.code);
    AddOffsetsToTxnResponse::default().with_error_code(fenced_code(code, c.version >= ADD_FENCED))
}

/// Whether a TxnOffsetCommit belongs to an open transaction; in the second protocol it begins or joins it.
pub(crate) fn allow_offsets(c: &Context<'_>, request: &TxnOffsetCommitRequest) -> Result<(), i16> {
    let producer = ProducerId { id: request.producer_id.0, epoch: request.producer_epoch };
    let (id, group) = (request.transactional_id.as_str(), request.group_id.as_str());
    let allowed = if c.version >= OFFSETS_V2 {
        c.shared.txns.add_group(c.shared, id, producer, group, true)
    } else {
        c.shared.txns.check_group(id, producer, group)
    };
    allowed.map_err(|refusal| refusal.code)
}

/// EndTxn.
pub(crate) fn end_txn(c: &Context<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let producer = ProducerId { id: request.producer_id.0, epoch: request.producer_epoch };
    let v2 = c.version >= END_V2;
    match c.shared.txns.end(c.shared, &request.transactional_id, producer, request.committed, v2) {
        Ok(next) if v2 => {
            EndTxnResponse::default().with_producer_id(WireId(next.id)).with_producer_epoch(next.epoch)
        }
        Ok(_) => EndTxnResponse::default(),
        Err(refusal) => {
            tracing::warn!(reason = refusal.reason, "transaction not ended");
            EndTxnResponse::default().with_error_code(fenced_code(refusal.code, c.version >= ADD_FENCED))
        }
    }
}
