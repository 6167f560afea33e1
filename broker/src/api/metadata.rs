//! Metadata: one broker, which leads everything.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
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
