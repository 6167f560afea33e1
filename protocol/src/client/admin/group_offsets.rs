//! The committed offsets of a consumer group, as an administrator reads and changes them.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;

use super::Admin;
use crate::client::messages::{check, group_id, topic_name};
use crate::client::{CoordinatorKind, NodeTarget};
use crate::wire::TopicPartition;
use crate::{ErrorCode, Result};

/// Versions that name one group and may ask for all of its partitions.
const OFFSET_FETCH: std::ops::RangeInclusive<i16> = 2..=7;
/// Versions that name topics.
const OFFSET_COMMIT: std::ops::RangeInclusive<i16> = 2..=8;
const OFFSET_DELETE: std::ops::RangeInclusive<i16> = 0..=0;
/// Generation of a commit by somebody who is no member.
const NO_GENERATION: i32 = -1;

impl Admin {
    /// Every committed offset of a group; none for a group that does not exist.
    ///
    /// # Errors
    /// If the coordinator refuses, or cannot be found.
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<(TopicPartition, i64)>> {
        let request = OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(None);
        let what = format!("reading the committed offsets of group {group}");
        let (client, what) = (&self.client, what.as_str());
        let ask = |node: i32| {
            let request = request.clone();
            async move {
                let answer = client.send_versioned(NodeTarget::Id(node), request, OFFSET_FETCH, None).await?;
                check(answer.error_code, || what.to_owned())?;
                Ok(answer)
            }
        };
        let answer = self.ask_coordinator(CoordinatorKind::Group, group, ask).await?;
        let mut offsets = Vec::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                check(partition.error_code, || what.to_owned())?;
                if partition.committed_offset >= 0 {
                    let name = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    offsets.push((name, partition.committed_offset));
                }
            }
        }
        offsets.sort_by(|(a, _), (b, _)| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(offsets)
    }

    /// Sets committed offsets of a group that has no members.
    ///
    /// # Errors
    /// If the group has members ([`ErrorCode::UnknownMemberId`]), or a partition does not exist, among others.
    pub async fn alter_group_offsets(&self, group: &str, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (name, offset) in offsets {
            let entry = OffsetCommitRequestPartition::default()
                .with_partition_index(name.partition)
                .with_committed_offset(*offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(StrBytes::default()));
            topics.entry(&name.topic).or_default().push(entry);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(group))
            .with_generation_id_or_member_epoch(NO_GENERATION)
            .with_retention_time_ms(-1)
            .with_topics(topics.collect());
        let what = format!("changing the committed offsets of group {group}");
        let (client, what) = (&self.client, what.as_str());
        let ask = |node: i32| {
            let request = request.clone();
            async move {
                let answer =
                    client.send_versioned(NodeTarget::Id(node), request, OFFSET_COMMIT, None).await?;
                answer
                    .topics
                    .iter()
                    .flat_map(|topic| &topic.partitions)
                    .try_for_each(|partition| check(partition.error_code, || what.to_owned()))
            }
        };
        self.ask_coordinator(CoordinatorKind::Group, group, ask).await
    }

    /// Forgets committed offsets of a group; a group that does not exist is no error.
    ///
    /// # Errors
    /// If the group consumes one of the topics, or a partition does not exist, among others.
    pub async fn delete_group_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for name in partitions {
            let entry = OffsetDeleteRequestPartition::default().with_partition_index(name.partition);
            topics.entry(&name.topic).or_default().push(entry);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetDeleteRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
        });
        let request =
            OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(topics.collect());
        let what = format!("deleting committed offsets of group {group}");
        let (client, what) = (&self.client, what.as_str());
        let ask = |node: i32| {
            let request = request.clone();
            async move {
                let answer =
                    client.send_versioned(NodeTarget::Id(node), request, OFFSET_DELETE, None).await?;
                if ErrorCode::try_from_code(answer.error_code) == Some(ErrorCode::GroupIdNotFound) {
                    return Ok(());
                }
                check(answer.error_code, || what.to_owned())?;
                answer
                    .topics
                    .iter()
                    .flat_map(|topic| &topic.partitions)
                    .try_for_each(|partition| check(partition.error_code, || what.to_owned()))
            }
        };
        self.ask_coordinator(CoordinatorKind::Group, group, ask).await
    }
}
