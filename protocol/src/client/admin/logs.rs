//! What readers and owners of a topic's log ask: where it ends, and how it is kept.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, DescribeConfigsRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Admin, unanswered};
use crate::client::{NodeTarget, Properties};
use crate::wire::TopicPartition;
use crate::{Error, ErrorCode, Result};

const LIST_OFFSETS: std::ops::RangeInclusive<i16> = 1..=7;
const DESCRIBE_CONFIGS: std::ops::RangeInclusive<i16> = 1..=4;
/// The timestamp that stands for the end.
const LATEST: i64 = -1;
/// A resource that is a topic.
const TOPIC: i8 = 2;

impl Admin {
    /// The offset after the last record of each partition, in their order: with `read_committed` that before the first
    /// open transaction. One request per leader.
    ///
    /// # Errors
    /// If a partition has no leader, or its leader does not answer; a retriable error may pass.
    pub async fn end_offsets(&self, partitions: &[TopicPartition], read_committed: bool) -> Result<Vec<i64>> {
        let mut by_leader: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, partition) in partitions.iter().enumerate() {
            let leader = self.client.leader(&partition.topic, partition.partition).await?;
            by_leader.entry(leader).or_default().push(place);
        }
        let mut ends = vec![None; partitions.len()];
        for (leader, places) in by_leader {
            let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
            for place in &places {
                let entry = ListOffsetsPartition::default()
                    .with_partition_index(partitions[*place].partition)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(LATEST);
                topics.entry(&partitions[*place].topic).or_default().push(entry);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                let name = TopicName(StrBytes::from_string(topic.to_owned()));
                ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
            });
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_isolation_level(i8::from(read_committed))
                .with_topics(topics.collect());
            let answer =
                self.client.send_versioned(NodeTarget::Id(leader), request, LIST_OFFSETS, None).await?;
            let found = |partition: &TopicPartition| {
                let topic = answer.topics.iter().find(|topic| *topic.name.0 == *partition.topic)?;
                topic.partitions.iter().find(|entry| entry.partition_index == partition.partition)
            };
            for place in places {
                let partition = &partitions[place];
                let what = format_args!("the end of {partition}");
                let entry = found(partition).ok_or_else(|| unanswered(what))?;
                if let Some(code) = ErrorCode::try_from_code(entry.error_code) {
                    self.client.request_metadata_update();
                    return Err(Error::broker(code, what));
                }
                ends[place] = Some(entry.offset);
            }
        }
        Ok(ends.into_iter().map(|end| end.unwrap_or(0)).collect())
    }

    /// How many partitions a topic has, as a broker says now.
    ///
    /// # Errors
    /// If it does not exist, is not known yet (retriable), or may not be described.
    pub async fn partition_count(&self, topic: &str) -> Result<i32> {
        let metadata = self.client.all_topics().await?;
        match metadata.topics.get(topic) {
            Some(found) if !found.partitions.is_empty() => Ok(found.partitions.len() as i32),
            found => {
                let code = found.and_then(|found| found.error).unwrap_or(ErrorCode::UnknownTopicOrPartition);
                Err(Error::broker(code, format_args!("topic {topic}")))
            }
        }
    }

    /// The configs in force of a topic, defaults included.
    ///
    /// # Errors
    /// If the topic does not exist or may not be described.
    pub async fn topic_configs(&self, topic: &str) -> Result<Properties> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(StrBytes::from_string(topic.to_owned()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.client.send_versioned(NodeTarget::Any, request, DESCRIBE_CONFIGS, None).await?;
        let what = format_args!("the configs of topic {topic}");
        let result = answer.results.into_iter().next().ok_or_else(|| unanswered(what))?;
        if let Some(code) = ErrorCode::try_from_code(result.error_code) {
            return Err(Error::broker(code, what));
        }
        let value = |value: Option<StrBytes>| value.map(|value| value.to_string()).unwrap_or_default();
        Ok(result.configs.into_iter().map(|config| (config.name.to_string(), value(config.value))).collect())
    }
}
