//! CreateTopics, DeleteTopics, CreatePartitions.

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::check_name;
use super::config::{DEFINITIONS, TopicConfig, definition};
use crate::dispatch::Context;
use crate::state::{MAX_PARTITIONS, NODE_ID, Refusal, text};

/// Where a shown value comes from, as DescribeConfigs numbers it.
pub(crate) const SOURCE_TOPIC: i8 = 1;
pub(crate) const SOURCE_DEFAULT: i8 = 5;

/// First version of DeleteTopics with topic ids.
const DELETE_BY_ID: i16 = 6;

/// CreateTopics.
pub(crate) fn create_topics(c: &Context<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let twice = request.topics.iter().filter(|t| t.name == topic.name).count() > 1;
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        let created = if twice {
            Err(Refusal::new(ResponseError::InvalidRequest, "the topic is named twice in the request"))
        } else {
            create_one(c, topic, request.validate_only)
        };
        results.push(match created {
            Ok((id, partitions, config)) => result
                .with_topic_id(id)
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(shown_configs(&config))),
            Err(refusal) => result
                .with_error_code(refusal.code)
                .with_error_message(Some(text(&refusal.reason)))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_configs(None),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn create_one(
    c: &Context<'_>,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<(Uuid, i32, TopicConfig), Refusal> {
    let name = topic.name.as_str();
    check_name(name).map_err(|reason| Refusal::new(ResponseError::InvalidTopicException, reason))?;
    let partitions = partition_count(c, topic)?;
    let mut configs = IndexMap::new();
    for config in &topic.configs {
        let value = config.value.as_ref().ok_or_else(|| {
            Refusal::new(
                ResponseError::InvalidConfig,
                format!("null value for configuration {}", config.name),
            )
        })?;
        if definition(&config.name).is_some_and(|d| !d.honoured && d.default != value.as_str()) {
            tracing::warn!(topic = name, config = %config.name, "this broker stores the setting but does not act on it");
        }
        configs.insert(config.name.to_string(), value.to_string());
    }
    if validate_only {
        if c.shared.topics.read().get(name).is_some() {
            let reason = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, reason));
        }
        let config =
            TopicConfig::new(configs).map_err(|reason| Refusal::new(ResponseError::InvalidConfig, reason))?;
        return Ok((Uuid::nil(), partitions, config));
    }
    let created = c.shared.create_topic(name, partitions, configs)?;
    let config = created.config.read().clone();
    Ok((created.id, partitions, config))
}

fn partition_count(c: &Context<'_>, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if !topic.assignments.is_empty() {
        let here = topic.assignments.iter().all(|a| a.broker_ids.iter().map(|b| b.0).eq([NODE_ID]));
        let mut indexes: Vec<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
        indexes.sort_unstable();
        if !here || !indexes.iter().copied().eq(0..topic.assignments.len() as i32) {
            let reason = format!("partitions 0 and up must each be assigned to broker {NODE_ID}");
            return Err(Refusal::new(ResponseError::InvalidReplicaAssignment, reason));
        }
        return check_count(topic.assignments.len() as i32);
    }
    if !matches!(topic.replication_factor, -1 | 1) {
        let reason = format!(
            "Replication factor: {} larger than available brokers: 1. (replication.factor must be 1 or -1 here)",
            topic.replication_factor
        );
        return Err(Refusal::new(ResponseError::InvalidReplicationFactor, reason));
    }
    match topic.num_partitions {
        -1 => Ok(c.shared.config.default_partitions),
        count => check_count(count),
    }
}

/// Refuses counts that no topic may have.
pub(crate) fn check_count(count: i32) -> Result<i32, Refusal> {
    if (1..=MAX_PARTITIONS).contains(&count) {
        return Ok(count);
    }
    let reason = format!("number of partitions {count}: must be from 1 to {MAX_PARTITIONS}");
    Err(Refusal::new(ResponseError::InvalidPartitions, reason))
}

fn shown_configs(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let shown = |d: &super::config::Definition| {
        let set = config.overrides().contains_key(d.name);
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(d.name))
            .with_value(Some(text(config.get(d.name))))
            .with_config_source(if set { SOURCE_TOPIC } else { SOURCE_DEFAULT })
    };
    DEFINITIONS.iter().map(shown).collect()
}

/// DeleteTopics.
pub(crate) fn delete_topics(c: &Context<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked: Vec<(Option<TopicName>, Uuid)> = if c.version >= DELETE_BY_ID {
        request.topics.into_iter().map(|t| (t.name, t.topic_id)).collect()
    } else {
        request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil())).collect()
    };
    let responses = asked.into_iter().map(|(name, id)| delete_one(c, name, id)).collect();
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete_one(c: &Context<'_>, name: Option<TopicName>, id: Uuid) -> DeletableTopicResult {
    let name = name.or_else(|| {
        let topic = c.shared.topics.read().get_by_id(&id)?;
        Some(TopicName(StrBytes::clone(&topic.name)))
    });
    let result = DeletableTopicResult::default().with_name(name.clone()).with_topic_id(id);
    let Some(name) = name else { return result.with_error_code(ResponseError::UnknownTopicId.code()) };
    match c.shared.delete_topic(&name) {
        Ok(topic) => {
            c.shared.groups.topic_deleted(&topic.name);
            result.with_topic_id(topic.id)
        }
        Err(refusal) => result.with_error_code(refusal.code).with_error_message(Some(text(&refusal.reason))),
    }
}

/// CreatePartitions.
pub(crate) fn create_partitions(
    c: &Context<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let one = |topic: CreatePartitionsTopic| {
        let done = grow(c, &topic, request.validate_only);
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        match done {
            Ok(()) => result.with_error_message(None),
            Err(refusal) => {
                result.with_error_code(refusal.code).with_error_message(Some(text(&refusal.reason)))
            }
        }
    };
    CreatePartitionsResponse::default().with_results(request.topics.into_iter().map(one).collect())
}

fn grow(c: &Context<'_>, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refusal> {
    let topic = c.shared.topic_or_create(&asked.name, false)?;
    let have = topic.partition_count();
    if asked.count <= have {
        let reason = format!(
            "The topic {} currently has {have} partition(s); {} would not be an increase.",
            topic.name, asked.count
        );
        return Err(Refusal::new(ResponseError::InvalidPartitions, reason));
    }
    let count = check_count(asked.count)?;
    if let Some(assignments) = &asked.assignments {
        let here = assignments.iter().all(|a| a.broker_ids.iter().map(|b| b.0).eq([NODE_ID]));
        if !here || assignments.len() as i32 != count - have {
            let reason = format!("the new partitions must each be assigned to broker {NODE_ID}");
            return Err(Refusal::new(ResponseError::InvalidReplicaAssignment, reason));
        }
    }
    if validate_only { Ok(()) } else { c.shared.grow_topic(&topic, count) }
}
