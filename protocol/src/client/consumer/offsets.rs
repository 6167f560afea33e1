//! Committed offsets: read and written at the group's coordinator.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::OffsetAndMetadata;
use super::settings::Settings;
use crate::client::messages::{check, topic_name};
use crate::client::{Client, CoordinatorKind, NodeTarget};
use crate::wire::TopicPartition;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Version 9 has member epochs (KIP-848); later ones want topic ids.
const OFFSET_FETCH: std::ops::RangeInclusive<i16> = 5..=9;
const OFFSET_COMMIT: std::ops::RangeInclusive<i16> = 6..=9;
/// From this version on a request names its groups.
const GROUPS_FROM: i16 = 8;
const MEMBER_EPOCH_FROM: i16 = 9;
const REQUIRE_STABLE_FROM: i16 = 7;

/// Who commits: a member of a generation, or nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) member: StrBytes,
    /// Generation, or member epoch.
    pub(super) generation: i32,
    /// Whether it is a membership by the new protocol.
    pub(super) by_epoch: bool,
}

impl Default for Membership {
    fn default() -> Self {
        Self { member: StrBytes::default(), generation: -1, by_epoch: false }
    }
}

/// A membership as it is from moment to moment.
pub(super) type LiveMembership = Arc<Mutex<Membership>>;

/// Commits offsets for the membership that it was made with.
#[derive(Debug, Clone)]
pub struct Committer {
    client: Client,
    settings: Arc<Settings>,
    membership: Membership,
    /// The epoch of a member by the new protocol grows without anything being taken from it.
    live: LiveMembership,
}

impl Committer {
    pub(super) fn new(client: Client, settings: Arc<Settings>, live: LiveMembership) -> Self {
        let membership = live.lock().clone();
        Self { client, settings, membership, live }
    }

    /// Commits, and waits for the coordinator's answer; retriable errors are repeated for `default.api.timeout.ms`.
    ///
    /// # Errors
    /// If the group has gone on without this member, a topic does not exist (the offsets of the others are committed), or
    /// the coordinator refuses.
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
        let mut topics: HashMap<&str, Vec<OffsetCommitRequestPartition>> = HashMap::new();
        for (partition, offset) in offsets {
            let entry = OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(offset.leader_epoch.unwrap_or(-1))
                .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone())));
            topics.entry(&partition.topic).or_default().push(entry);
        }
        let topic = |(name, partitions): (&str, _)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let topics: Vec<_> = topics.into_iter().map(topic).collect();
        let node = self.client.coordinator(CoordinatorKind::Group, group).await?;
        let mut membership = self.membership.clone();
        let deadline = Instant::now() + self.client.config().api_timeout;
        loop {
            let request = OffsetCommitRequest::default()
                .with_group_id(GroupId(group.clone()))
                .with_generation_id_or_member_epoch(membership.generation)
                .with_member_id(membership.member.clone())
                .with_retention_time_ms(-1)
                .with_topics(topics.clone());
            let instance = self.settings.instance.clone();
            let make = |version: i16| match version >= 7 {
                true => request.with_group_instance_id(instance),
                false => request,
            };
            let answer = self.client.send_with(NodeTarget::Id(node), OFFSET_COMMIT, None, make).await?;
            let codes = answer.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|of| (&topic.name, of.partition_index, of.error_code))
            });
            let outcome = committed_all(group, codes);
            match &outcome {
                Err(error) if error.code() == Some(ErrorCode::StaleMemberEpoch) => {
                    let now = self.live.lock().clone();
                    if !now.by_epoch || now.member != membership.member || Instant::now() > deadline {
                        return outcome;
                    }
                    if now == membership {
                        // the next heartbeat brings it
                        tokio::time::sleep(self.client.config().retry_backoff.0).await;
                    }
                    membership = now;
                }
                _ => return outcome,
            }
        }
    }
}

/// The outcome of a commit: the worst of its partitions.
fn committed_all<'a>(group: &str, codes: impl Iterator<Item = (&'a TopicName, i32, i16)>) -> Result<()> {
    let mut gone = None;
    for (topic, partition, code) in codes {
        match ErrorCode::try_from_code(code) {
            None => {}
            // waiting does not bring it back
            Some(ErrorCode::UnknownTopicOrPartition) => {
                let message = format!(
                    "the offset of {}-{partition} was not committed: the topic or partition does not exist (any more); those of the others were",
                    topic.as_str()
                );
                gone = Some(Error::new(ErrorKind::State, message));
            }
            Some(ErrorCode::FencedInstanceId) => {
                let message = format!(
                    "committing offsets of group {group}: another member has taken over this one's group.instance.id"
                );
                return Err(Error::broker(ErrorCode::FencedInstanceId, message));
            }
            Some(code) => {
                let what = format!("committing the offset of {}-{partition}", topic.as_str());
                return Err(Error::broker(code, what));
            }
        }
    }
    gone.map_or(Ok(()), Err)
}

/// Committed offsets of the group, in the order of `partitions`.
pub(super) async fn committed(
    client: &Client,
    settings: &Settings,
    membership: &Membership,
    partitions: &[TopicPartition],
) -> Result<Vec<Option<OffsetAndMetadata>>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let group = settings.group()?;
    let what = format!("reading the committed offsets of group {group}");
    let found = retry(client, group, &what, || committed_once(client, group, membership, partitions)).await?;
    Ok(partitions.iter().map(|name| found.get(name).cloned()).collect())
}

type Committed = HashMap<TopicPartition, OffsetAndMetadata>;

async fn committed_once(
    client: &Client,
    group: &StrBytes,
    membership: &Membership,
    partitions: &[TopicPartition],
) -> Result<Committed> {
    let mut topics: HashMap<&str, Vec<i32>> = HashMap::new();
    for name in partitions {
        topics.entry(&name.topic).or_default().push(name.partition);
    }
    let node = client.coordinator(CoordinatorKind::Group, group).await?;
    // an offset that a transaction is about to write must not be passed over
    let make = |version: i16| {
        let request = OffsetFetchRequest::default().with_require_stable(version >= REQUIRE_STABLE_FROM);
        if version < GROUPS_FROM {
            let topic = |(name, partitions): (&str, _)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(partitions)
            };
            let topics = topics.into_iter().map(topic).collect();
            return request.with_group_id(GroupId(group.clone())).with_topics(Some(topics));
        }
        let topic = |(name, partitions): (&str, _)| {
            OffsetFetchRequestTopics::default().with_name(topic_name(name)).with_partition_indexes(partitions)
        };
        let mut of = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(group.clone()))
            .with_topics(Some(topics.into_iter().map(topic).collect()));
        if version >= MEMBER_EPOCH_FROM && membership.by_epoch {
            of = of.with_member_id(Some(membership.member.clone())).with_member_epoch(membership.generation);
        }
        request.with_groups(vec![of])
    };
    let answer = client.send_with(NodeTarget::Id(node), OFFSET_FETCH, None, make).await?;
    read_committed_offsets(group, answer)
}

fn read_committed_offsets(group: &str, answer: OffsetFetchResponse) -> Result<Committed> {
    let what = || format!("reading the committed offsets of group {group}");
    check(answer.error_code, what)?;
    let mut found = Committed::new();
    let mut take =
        |topic: &TopicName, index: i32, offset: i64, epoch: i32, text: Option<StrBytes>, code: i16| {
            check(code, || format!("the committed offset of {}-{index}", topic.as_str()))?;
            if offset >= 0 {
                let metadata = text.map(|text| text.to_string()).unwrap_or_default();
                let leader_epoch = Some(epoch).filter(|epoch| *epoch >= 0);
                let name = TopicPartition::new(topic.as_str(), index);
                found.insert(name, OffsetAndMetadata { offset, metadata, leader_epoch });
            }
            Ok(())
        };
    for topic in answer.topics {
        for of in topic.partitions {
            let epoch = of.committed_leader_epoch;
            take(&topic.name, of.partition_index, of.committed_offset, epoch, of.metadata, of.error_code)?;
        }
    }
    for group in answer.groups {
        check(group.error_code, what)?;
        for topic in group.topics {
            for of in topic.partitions {
                let epoch = of.committed_leader_epoch;
                take(
                    &topic.name,
                    of.partition_index,
                    of.committed_offset,
                    epoch,
                    of.metadata,
                    of.error_code,
                )?;
            }
        }
    }
    Ok(found)
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
