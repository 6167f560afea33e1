//! ListTransactions, DescribeTransactions, DescribeProducers, WriteTxnMarkers: what administrators use.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Described};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId as WireId,
    TopicName, TransactionalId, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{State, Txn};
use crate::dispatch::Context;
use crate::log::Marker;
use crate::state::{now_ms, text};

/// ListTransactions.
pub(crate) fn list(c: &Context<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let now = now_ms();
    let known = |name: &StrBytes| State::ALL.iter().any(|s| s.name() == name.as_str());
    let pattern = request.transactional_id_pattern.as_ref().filter(|p| !p.is_empty());
    let pattern = match pattern.map(|p| crate::groups::consumer::compile(p)) {
        Some(Err(_)) => {
            // INVALID_REGULAR_EXPRESSION
            return ListTransactionsResponse::default().with_error_code(128);
        }
        Some(Ok(regex)) => Some(regex),
        None => None,
    };
    let matches = |id: &str, txn: &Txn| {
        let state = request.state_filters.iter().any(|s| s.as_str() == txn.state.name());
        let producer = request.producer_id_filters.iter().any(|p| p.0 == txn.producer.id);
        let long = txn.state == State::Ongoing && now.saturating_sub(txn.start_ms) >= request.duration_filter;
        (request.state_filters.is_empty() || state)
            && (request.producer_id_filters.is_empty() || producer)
            && (request.duration_filter < 0 || long)
            && pattern.as_ref().is_none_or(|p| p.is_match(id).unwrap_or(false))
    };
    let inner = c.shared.txns.inner.lock();
    let listed = inner.ids.iter().filter(|(id, txn)| matches(id, txn)).map(|(id, txn)| {
        Listed::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(WireId(txn.producer.id))
            .with_transaction_state(StrBytes::from_static_str(txn.state.name()))
    });
    ListTransactionsResponse::default()
        .with_transaction_states(listed.collect())
        .with_unknown_state_filters(request.state_filters.iter().filter(|s| !known(s)).cloned().collect())
}

/// DescribeTransactions.
pub(crate) fn describe(
    c: &Context<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let inner = c.shared.txns.inner.lock();
    let one = |id: TransactionalId| {
        let Some(txn) = inner.ids.get(id.as_str()) else {
            return Described::default()
                .with_error_code(ResponseError::TransactionalIdNotFound.code())
                .with_transactional_id(id);
        };
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &txn.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let topic = |(topic, partitions): (&str, Vec<i32>)| {
            TopicData::default().with_topic(TopicName(text(topic))).with_partitions(partitions)
        };
        Described::default()
            .with_transactional_id(id)
            .with_transaction_state(StrBytes::from_static_str(txn.state.name()))
            .with_transaction_timeout_ms(txn.timeout_ms)
            .with_transaction_start_time_ms(if txn.state == State::Ongoing { txn.start_ms } else { -1 })
            .with_producer_id(WireId(txn.producer.id))
            .with_producer_epoch(txn.producer.epoch)
            .with_topics(topics.into_iter().map(topic).collect())
    };
    DescribeTransactionsResponse::default()
        .with_transaction_states(request.transactional_ids.into_iter().map(one).collect())
}

/// DescribeProducers.
pub(crate) fn describe_producers(
    c: &Context<'_>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = c.shared.topics.read().get(&asked.name);
        let one = |index: &i32| {
            let response = PartitionResponse::default().with_partition_index(*index);
            let Some(partition) = topic.as_ref().and_then(|t| t.partition(*index)) else {
                return response.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            let log = partition.log.lock();
            let producer = |(id, entry): (i64, &crate::log::ProducerEntry)| {
                ProducerState::default()
                    .with_producer_id(WireId(id))
                    .with_producer_epoch(i32::from(entry.epoch))
                    .with_last_sequence(entry.last_sequence())
                    .with_last_timestamp(entry.last_timestamp)
                    .with_coordinator_epoch(entry.coordinator_epoch)
                    .with_current_txn_start_offset(entry.txn_start.unwrap_or(-1))
            };
            response.with_active_producers(log.producers().iter().map(producer).collect())
        };
        TopicResponse::default()
            .with_partitions(asked.partition_indexes.iter().map(one).collect())
            .with_name(asked.name)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

/// WriteTxnMarkers: an administrator ends a transaction that hangs in a partition.
pub(crate) fn write_markers(c: &Context<'_>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let markers = request.markers.into_iter().map(|asked| {
        let marker = Marker {
            producer_id: asked.producer_id.0,
            epoch: asked.producer_epoch,
            coordinator_epoch: asked.coordinator_epoch,
            commit: asked.transaction_result,
        };
        let topics = asked.topics.into_iter().map(|topic| {
            let one = |index: &i32| {
                let exists = c.shared.topics.read().get(&topic.name).and_then(|t| t.partition(*index));
                let code = if exists.is_none() {
                    ResponseError::UnknownTopicOrPartition.code()
                } else {
                    let written = super::end::write_marker(c.shared, &topic.name, *index, marker);
                    written.err().map_or(0, |refusal| refusal.code)
                };
                WritableTxnMarkerPartitionResult::default().with_partition_index(*index).with_error_code(code)
            };
            WritableTxnMarkerTopicResult::default()
                .with_partitions(topic.partition_indexes.iter().map(one).collect())
                .with_name(topic.name.clone())
        });
        WritableTxnMarkerResult::default().with_producer_id(asked.producer_id).with_topics(topics.collect())
    });
    WriteTxnMarkersResponse::default().with_markers(markers.collect())
}
