//! Produce: raw batches into logs.

use aqueduct_protocol::wire::records::BatchHeader;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use crate::dispatch::Context;
use crate::state::{Refusal, now_ms};
use crate::topics::{Partition, Topic};
use crate::txn::ProducerId;

/// First version with topic ids instead of names.
const TOPIC_IDS: i16 = 13;

/// First version whose transactional batches join their transaction by themselves (KIP-890).
const TRANSACTIONS_V2: i16 = 12;

/// Where and when a batch was appended.
struct Done {
    base_offset: i64,
    log_append_time: i64,
    log_start: i64,
}

/// Produce.
pub(crate) fn produce(c: &Context<'_>, request: ProduceRequest) -> ProduceResponse {
    let valid_acks = matches!(request.acks, -1..=1);
    let now = now_ms();
    let transactional_id = request.transactional_id.map(|id| id.0);
    let responses = request
        .topic_data
        .into_iter()
        .map(|data| {
            let topic = if c.version >= TOPIC_IDS {
                c.shared.topics.read().get_by_id(&data.topic_id).ok_or_else(unknown_id)
            } else {
                c.shared.topic_or_create(&data.name, true)
            };
            produce_topic(data, |partition| {
                if !valid_acks {
                    return Err(Refusal::new(ResponseError::InvalidRequiredAcks, "acks must be 0, 1 or -1"));
                }
                let topic = topic.as_ref().map_err(Refusal::clone)?;
                append(c, transactional_id.as_deref(), topic, partition, now)
            })
        })
        .collect();
    ProduceResponse::default().with_responses(responses)
}

/// Whether any batch was refused.
pub(crate) fn has_errors(response: &ProduceResponse) -> bool {
    response.responses.iter().flat_map(|topic| &topic.partition_responses).any(|p| p.error_code != 0)
}

fn unknown_id() -> Refusal {
    Refusal::new(ResponseError::UnknownTopicId, "no topic has this id")
}

fn produce_topic(
    data: TopicProduceData,
    mut append: impl FnMut(&PartitionProduceData) -> Result<Done, Refusal>,
) -> TopicProduceResponse {
    let name = data.name.clone();
    let one = |partition: PartitionProduceData| {
        let response = PartitionProduceResponse::default().with_index(partition.index);
        match append(&partition) {
            Ok(done) => response
                .with_base_offset(done.base_offset)
                .with_log_append_time_ms(done.log_append_time)
                .with_log_start_offset(done.log_start),
            Err(refusal) => {
                tracing::warn!(
                    topic = name.as_str(),
                    partition = partition.index,
                    reason = refusal.reason,
                    "batch refused"
                );
                response
                    .with_error_code(refusal.code)
                    .with_base_offset(-1)
                    .with_log_append_time_ms(-1)
                    .with_log_start_offset(-1)
                    .with_error_message(Some(crate::state::text(&refusal.reason)))
            }
        }
    };
    TopicProduceResponse::default()
        .with_name(data.name)
        .with_topic_id(data.topic_id)
        .with_partition_responses(data.partition_data.into_iter().map(one).collect())
}

/// Finds the partition and appends, through the transaction coordinator when the batch is transactional.
fn append(
    c: &Context<'_>,
    transactional_id: Option<&str>,
    topic: &Topic,
    data: &PartitionProduceData,
    now: i64,
) -> Result<Done, Refusal> {
    let index = data.index;
    let Some(partition) = topic.partition(index) else {
        let reason = format!("topic {} has no partition {index}", topic.name);
        return Err(Refusal::new(ResponseError::UnknownTopicOrPartition, reason));
    };
    let Some(records) = &data.records else {
        return Err(Refusal::new(ResponseError::InvalidRecord, "no records for the partition"));
    };
    let header = BatchHeader::parse(records)
        .map_err(|error| Refusal::new(ResponseError::CorruptMessage, error.to_string()))?;
    if !header.attributes.is_transactional() {
        return append_to(topic, &partition, records, now);
    }
    let Some(id) = transactional_id else {
        let reason = "a transactional batch in a request without a transactional id";
        return Err(Refusal::new(ResponseError::InvalidProducerIdMapping, reason));
    };
    let producer = ProducerId { id: header.producer_id, epoch: header.producer_epoch };
    let implicit = c.version >= TRANSACTIONS_V2;
    let place = (topic.name.as_str(), index);
    c.shared
        .txns
        .append(c.shared, id, producer, place, implicit, || append_to(topic, &partition, records, now))
}

fn append_to(topic: &Topic, partition: &Partition, records: &Bytes, now: i64) -> Result<Done, Refusal> {
    let config = topic.config.read().log.clone();
    let mut log = partition.log.lock();
    let appended = log
        .append(records, &config, now)
        .map_err(|error| Refusal { code: error.code(), reason: error.to_string() })?;
    let log_start = log.start_offset();
    drop(log);
    partition.wake();
    Ok(Done { base_offset: appended.base_offset, log_append_time: appended.log_append_time, log_start })
}
