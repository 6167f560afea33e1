//! Committed offsets, and offsets by time.

use std::sync::Arc;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    BrokerId, GroupId, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::OffsetAndMetadata;
use super::settings::{Reset, Settings};
use crate::client::{Client, CoordinatorKind, NodeTarget};
use crate::wire::TopicPartition;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Newest versions that name topics; later ones want ids.
const OFFSET_FETCH: std::ops::RangeInclusive<i16> = 1..=7;
const OFFSET_COMMIT: std::ops::RangeInclusive<i16> = 2..=9;
const LIST_OFFSETS: std::ops::RangeInclusive<i16> = 1..=7;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// Who commits: a member of a generation, or nobody in particular.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub(super) member: StrBytes,
    pub(super) generation: i32,
}

impl Default for Membership {
    fn default() -> Self {
        Self { member: StrBytes::default(), generation: -1 }
    }
}

/// Commits offsets for the membership that it was made with.
#[derive(Debug, Clone)]
pub struct Committer {
    client: Client,
    settings: Arc<Settings>,
    membership: Membership,
}

impl Committer {
    pub(super) const fn new(client: Client, settings: Arc<Settings>, membership: Membership) -> Self {
        Self { client, settings, membership }
    }

    /// Commits, and waits for the coordinator's answer; retriable errors are repeated for `default.api.timeout.ms`.
    ///
    /// # Errors
    /// If the group has gone on without this member, or the coordinator refuses.
    pub async fn commit(&self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let group = self.settings.group()?;
        let what = format!("committing offsets of group {group}");
        retry(&self.client, group, &what, || self.commit_once(group, offsets)).await
    }

    async fn commit_once(
        &self,
        group: &StrBytes,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<()> {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (partition, offset) in offsets {
            let entry = OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(offset.offset)
                .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone())));
            match topics.iter_mut().find(|topic| *topic.name.0 == *partition.topic) {
                Some(topic) => topic.partitions.push(entry),
                None => topics.push(
                    OffsetCommitRequestTopic::default()
                        .with_name(topic_name(&partition.topic))
                        .with_partitions(vec![entry]),
                ),
            }
        }
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(group.clone()))
            .with_generation_id_or_member_epoch(self.membership.generation)
            .with_member_id(self.membership.member.clone())
            .with_group_instance_id(self.settings.instance.clone())
            .with_retention_time_ms(-1)
            .with_topics(topics);
        let node = self.client.coordinator(CoordinatorKind::Group, group).await?;
        let answer = self.client.send_versioned(NodeTarget::Id(node), request, OFFSET_COMMIT, None).await?;
        for topic in &answer.topics {
            for partition in &topic.partitions {
                check(partition.error_code, || {
                    format!("committing the offset of {}-{}", *topic.name, partition.partition_index)
                })?;
            }
        }
        Ok(())
    }
}

/// Committed offsets of the group, in the order of `partitions`.
pub(super) async fn committed(
    client: &Client,
    settings: &Settings,
    partitions: &[TopicPartition],
) -> Result<Vec<Option<i64>>> {
    let group = settings.group()?;
    let what = format!("reading the committed offsets of group {group}");
    retry(client, group, &what, || committed_once(client, group, partitions)).await
}

async fn committed_once(
    client: &Client,
    group: &StrBytes,
    partitions: &[TopicPartition],
) -> Result<Vec<Option<i64>>> {
    let mut topics: Vec<OffsetFetchRequestTopic> = Vec::new();
    for partition in partitions {
        match topics.iter_mut().find(|topic| *topic.name.0 == *partition.topic) {
            Some(topic) => topic.partition_indexes.push(partition.partition),
            None => topics.push(
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(&partition.topic))
                    .with_partition_indexes(vec![partition.partition]),
            ),
        }
    }
    let node = client.coordinator(CoordinatorKind::Group, group).await?;
    let make = |version: i16| {
        let request =
            OffsetFetchRequest::default().with_group_id(GroupId(group.clone())).with_topics(Some(topics));
        // an offset that a transaction is about to write must not be passed over
        if version >= 7 { request.with_require_stable(true) } else { request }
    };
    let answer = client.send_with(NodeTarget::Id(node), OFFSET_FETCH, None, make).await?;
    check(answer.error_code, || format!("reading the committed offsets of group {group}"))?;
    let mut found = vec![None; partitions.len()];
    for topic in &answer.topics {
        for partition in &topic.partitions {
            check(partition.error_code, || {
                format!("the committed offset of {}-{}", *topic.name, partition.partition_index)
            })?;
            let is_it = |asked: &TopicPartition| {
                asked.partition == partition.partition_index && *asked.topic == *topic.name.0
            };
            if let Some(index) = partitions.iter().position(is_it).filter(|_| partition.committed_offset >= 0)
            {
                found[index] = Some(partition.committed_offset);
            }
        }
    }
    Ok(found)
}

/// The offset that `auto.offset.reset` asks for.
pub(super) async fn reset(client: &Client, settings: &Settings, partition: &TopicPartition) -> Result<i64> {
    let timestamp = match settings.reset {
        Reset::Earliest => EARLIEST,
        Reset::Latest => LATEST,
        Reset::None => {
            let message = format!(
                "{partition}: there is no committed offset, or it is out of range, and auto.offset.reset=none; commit one, or set earliest or latest"
            );
            return Err(Error::new(ErrorKind::State, message));
        }
    };
    let leader = client.leader(&partition.topic, partition.partition).await?;
    let entry = ListOffsetsPartition::default()
        .with_partition_index(partition.partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(&partition.topic)).with_partitions(vec![entry]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(i8::from(settings.read_committed))
        .with_topics(vec![topic]);
    let answer = client.send_versioned(NodeTarget::Id(leader), request, LIST_OFFSETS, None).await?;
    let found = answer.topics.first().and_then(|topic| topic.partitions.first());
    let Some(found) = found else {
        return Err(Error::new(
            ErrorKind::Protocol,
            format!("broker {leader} gave no offset of {partition}"),
        ));
    };
    check(found.error_code, || format!("the offset of {partition}"))?;
    Ok(found.offset)
}

/// Repeats what may pass, asking for the coordinator anew where it has moved.
async fn retry<T, F: Future<Output = Result<T>>>(
    client: &Client,
    group: &StrBytes,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let deadline = Instant::now() + client.config().api_timeout;
    let mut backoff = client.config().retry_backoff.0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !error.is_retriable() || Instant::now() + backoff > deadline {
            return Err(error.context(what));
        }
        client.forget_coordinator(CoordinatorKind::Group, group);
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(client.config().retry_backoff.1);
    }
}

pub(super) fn check(code: i16, what: impl FnOnce() -> String) -> Result<()> {
    match ErrorCode::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(Error::broker(code, what())),
    }
}

pub(super) fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
