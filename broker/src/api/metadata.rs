//! Metadata and DescribeTopicPartitions: one broker, which leads everything.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::dispatch::Context;
use crate::log::LEADER_EPOCH;
use crate::state::NODE_ID;
use crate::topics::Topic;

/// "Not computed" for authorized operations.
pub(crate) const NO_OPERATIONS: i32 = i32::MIN;

/// Metadata.
pub(crate) fn metadata(c: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    let (host, port) = c.shared.address();
    let broker =
        MetadataResponseBroker::default().with_node_id(BrokerId(NODE_ID)).with_host(host).with_port(port);
    // Version 0 has no null: there the empty list means all topics.
    let all = request.topics.as_ref().is_none_or(|t| t.is_empty() && c.version == 0);
    let create = request.allow_auto_topic_creation || c.version < 4;
    let topics = if all {
        c.shared.topics.read().all().iter().map(describe).collect()
    } else {
        request.topics.unwrap_or_default().into_iter().map(|topic| lookup(c, topic, create)).collect()
    };
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(crate::state::text(&c.shared.cluster_id)))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
        .with_cluster_authorized_operations(NO_OPERATIONS)
}

fn lookup(c: &Context<'_>, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let failed = MetadataResponseTopic::default()
        .with_name(asked.name.clone())
        .with_topic_id(asked.topic_id)
        .with_topic_authorized_operations(NO_OPERATIONS);
    let Some(name) = asked.name.filter(|n| !n.is_empty()) else {
        return match c.shared.topics.read().get_by_id(&asked.topic_id) {
            Some(topic) => describe(&topic),
            None => failed.with_name(None).with_error_code(ResponseError::UnknownTopicId.code()),
        };
    };
    match c.shared.topic_or_create(&name, create) {
        Ok(topic) => describe(&topic),
        Err(refusal) => failed.with_error_code(refusal.code),
    }
}

fn describe(topic: &Arc<Topic>) -> MetadataResponseTopic {
    let me = vec![BrokerId(NODE_ID)];
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(me.clone())
            .with_isr_nodes(me.clone())
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::clone(&topic.name))))
        .with_topic_id(topic.id)
        .with_partitions((0..topic.partition_count()).map(partition).collect())
        .with_topic_authorized_operations(NO_OPERATIONS)
}

/// Most partitions one DescribeTopicPartitions answers (`max.request.partition.size.limit`).
const PARTITION_LIMIT: i32 = 2000;

/// DescribeTopicPartitions: topics by name, a page of partitions at a time.
pub(crate) fn describe_topic_partitions(
    c: &Context<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let mut names: Vec<TopicName> = if request.topics.is_empty() {
        c.shared.topics.read().all().iter().map(|t| TopicName(t.name.clone())).collect()
    } else {
        request.topics.into_iter().map(|t| t.name).collect()
    };
    names.sort_unstable();
    names.dedup();
    let mut first = 0;
    if let Some(cursor) = &request.cursor {
        names.retain(|name| *name >= cursor.topic_name);
        if names.first() == Some(&cursor.topic_name) {
            first = cursor.partition_index.max(0);
        }
    }
    let mut left = request.response_partition_limit.clamp(1, PARTITION_LIMIT);
    let mut topics = Vec::new();
    let mut next = None;
    for name in names {
        if left == 0 {
            next = Some(Cursor::default().with_topic_name(name));
            break;
        }
        let described = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(name.clone()))
            .with_topic_authorized_operations(NO_OPERATIONS);
        let Some(topic) = c.shared.topics.read().get(&name) else {
            topics.push(described.with_error_code(ResponseError::UnknownTopicOrPartition.code()));
            continue;
        };
        let end = topic.partition_count().min(first.saturating_add(left));
        left -= (end - first).max(0);
        topics.push(
            described.with_topic_id(topic.id).with_partitions((first..end).map(partition_page).collect()),
        );
        if end < topic.partition_count() {
            next = Some(Cursor::default().with_topic_name(name).with_partition_index(end));
            break;
        }
        first = 0;
    }
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next)
}

fn partition_page(index: i32) -> DescribeTopicPartitionsResponsePartition {
    let me = vec![BrokerId(NODE_ID)];
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(NODE_ID))
        .with_leader_epoch(LEADER_EPOCH)
        .with_replica_nodes(me.clone())
        .with_isr_nodes(me)
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}
