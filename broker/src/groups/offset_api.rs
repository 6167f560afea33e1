//! OffsetCommit, OffsetFetch, OffsetDelete, TxnOffsetCommit.

use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::offsets::{Committed, record};
use super::{Committer, Group};
use crate::dispatch::Context;
use crate::journal::StateRecord;
use crate::state::{now_ms, text};

/// Longest metadata of a commit (`offset.metadata.max.bytes`).
const MAX_METADATA: usize = 4096;

/// From this version OffsetFetch asks for several groups.
const FETCH_GROUPS: i16 = 8;

/// One offset to commit, of either request.
struct Wanted<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a StrBytes>,
}

impl Wanted<'_> {
    fn check(&self, c: &Context<'_>) -> Result<Committed, ResponseError> {
        let metadata = self.metadata.map_or("", |m| m.as_str());
        if metadata.len() > MAX_METADATA {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        let exists =
            c.shared.topics.read().get(self.topic).and_then(|t| t.partition(self.partition)).is_some();
        if !exists {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        Ok(Committed {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: metadata.to_owned(),
            commit_ms: now_ms(),
        })
    }
}

/// Commits one offset: into the journal, then into the group.
fn commit_one(
    c: &Context<'_>,
    group: &mut Group,
    id: &str,
    producer_id: i64,
    wanted: &Wanted<'_>,
) -> Result<(), i16> {
    let committed = wanted.check(c).map_err(|e| e.code())?;
    let record = record(id, producer_id, wanted.topic, wanted.partition, &committed);
    c.shared.record(&[record]).map_err(|refusal| refusal.code)?;
    group.offsets.commit(producer_id, wanted.topic, wanted.partition, committed);
    Ok(())
}

/// OffsetCommit.
pub(crate) fn offset_commit(c: &Context<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let id = request.group_id.as_str();
    let who = Committer {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_ref(),
        generation: request.generation_id_or_member_epoch,
        transactional: false,
    };
    let topics = c.shared.groups.with_new(id, |group| {
        let allowed = group.check_commit(who, Instant::now()).map_err(|e| e.code());
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for p in &topic.partitions {
                let wanted = Wanted {
                    topic: &topic.name,
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.as_ref(),
                };
                let done = allowed.and_then(|()| commit_one(c, group, id, -1, &wanted));
                partitions.push(
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(p.partition_index)
                        .with_error_code(done.err().unwrap_or(0)),
                );
            }
            topics.push(
                OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        topics
    });
    OffsetCommitResponse::default().with_topics(topics)
}

/// TxnOffsetCommit: offsets that count when the transaction commits.
pub(crate) fn txn_offset_commit(c: &Context<'_>, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let id = request.group_id.as_str();
    let allowed = crate::txn::api::allow_offsets(c, &request);
    let who = Committer {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_ref(),
        generation: request.generation_id,
        transactional: true,
    };
    let topics = c.shared.groups.with_new(id, |group| {
        let allowed = allowed.and_then(|()| group.check_commit(who, Instant::now()).map_err(|e| e.code()));
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for p in &topic.partitions {
                let wanted = Wanted {
                    topic: &topic.name,
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.as_ref(),
                };
                let done = allowed.and_then(|()| commit_one(c, group, id, request.producer_id.0, &wanted));
                partitions.push(
                    TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(p.partition_index)
                        .with_error_code(done.err().unwrap_or(0)),
                );
            }
            topics.push(
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        topics
    });
    TxnOffsetCommitResponse::default().with_topics(topics)
}

/// One fetched offset: partition, offset, epoch, metadata, code.
type Fetched = (i32, i64, i32, String, i16);

/// The offsets asked for, or all with `None`, by topic.
fn fetch_group(
    c: &Context<'_>,
    id: &str,
    asked: Option<Vec<(TopicName, Vec<i32>)>>,
    stable: bool,
) -> Vec<(TopicName, Vec<Fetched>)> {
    let missing = |p: &i32| (*p, -1, -1, String::new(), 0);
    let found = c.shared.groups.with(id, |group| {
        let one = |topic: &str, p: i32| {
            if stable && group.offsets.is_unstable(topic, p) {
                return (p, -1, -1, String::new(), ResponseError::UnstableOffsetCommit.code());
            }
            match group.offsets.get(topic, p) {
                Some(at) => (p, at.offset, at.leader_epoch, at.metadata.clone(), 0),
                None => missing(&p),
            }
        };
        match &asked {
            Some(asked) => asked
                .iter()
                .map(|(topic, ps)| (topic.clone(), ps.iter().map(|p| one(topic, *p)).collect()))
                .collect(),
            None => group
                .offsets
                .all()
                .iter()
                .map(|(topic, ps)| (TopicName(text(topic)), ps.keys().map(|p| one(topic, *p)).collect()))
                .collect(),
        }
    });
    found.unwrap_or_else(|| {
        let none = |(topic, ps): (TopicName, Vec<i32>)| (topic, ps.iter().map(missing).collect());
        asked.unwrap_or_default().into_iter().map(none).collect()
    })
}

/// OffsetFetch.
pub(crate) fn offset_fetch(c: &Context<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if c.version < FETCH_GROUPS {
        let asked = request
            .topics
            .map(|ts| ts.into_iter().map(|t| (t.name, t.partition_indexes)).collect::<Vec<_>>());
        let topics =
            fetch_group(c, &request.group_id, asked, stable).into_iter().map(|(name, partitions)| {
                let one = |(index, offset, epoch, metadata, code): Fetched| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(offset)
                        .with_committed_leader_epoch(epoch)
                        .with_metadata(Some(StrBytes::from_string(metadata)))
                        .with_error_code(code)
                };
                OffsetFetchResponseTopic::default()
                    .with_name(name)
                    .with_partitions(partitions.into_iter().map(one).collect())
            });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let group = |asked: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup| {
        let response = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
        if let Some(error) = check_reader(c, &asked) {
            return response.with_error_code(error.code());
        }
        let wanted = asked.topics.map(|ts| ts.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = fetch_group(c, &asked.group_id, wanted, stable).into_iter().map(|(name, partitions)| {
            let one = |(index, offset, epoch, metadata, code): Fetched| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_committed_leader_epoch(epoch)
                    .with_metadata(Some(StrBytes::from_string(metadata)))
                    .with_error_code(code)
            };
            OffsetFetchResponseTopics::default()
                .with_name(name)
                .with_partitions(partitions.into_iter().map(one).collect())
        });
        response.with_topics(topics.collect())
    };
    OffsetFetchResponse::default().with_groups(request.groups.into_iter().map(group).collect())
}

/// A member of the new protocol names itself (version 9): it must be current.
fn check_reader(
    c: &Context<'_>,
    asked: &kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup,
) -> Option<ResponseError> {
    let member = asked.member_id.as_ref().filter(|m| !m.is_empty() && asked.member_epoch >= 0)?;
    let outcome = c.shared.groups.with(&asked.group_id, |group| match &group.kind {
        super::Kind::Consumer(consumer) => consumer.check_commit(member, asked.member_epoch),
        super::Kind::Classic(_) => Ok(()),
    });
    outcome.unwrap_or(Err(ResponseError::UnknownMemberId)).err()
}

/// OffsetDelete.
pub(crate) fn offset_delete(c: &Context<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let id = request.group_id.as_str();
    let response = OffsetDeleteResponse::default();
    let topics = c.shared.groups.with(id, |group| {
        let subscribed = !group.is_empty();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for p in &topic.partitions {
                let done = if subscribed {
                    Err(ResponseError::GroupSubscribedToTopic.code())
                } else {
                    delete_one(c, group, id, &topic.name, p.partition_index)
                };
                partitions.push(
                    OffsetDeleteResponsePartition::default()
                        .with_partition_index(p.partition_index)
                        .with_error_code(done.err().unwrap_or(0)),
                );
            }
            topics.push(
                OffsetDeleteResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        topics
    });
    match topics {
        Some(topics) => response.with_topics(topics),
        None => response.with_error_code(ResponseError::GroupIdNotFound.code()),
    }
}

fn delete_one(c: &Context<'_>, group: &mut Group, id: &str, topic: &str, partition: i32) -> Result<(), i16> {
    let record = StateRecord::OffsetDeleted { group: id.to_owned(), topic: topic.to_owned(), partition };
    c.shared.record(&[record]).map_err(|refusal| refusal.code)?;
    group.offsets.delete(topic, partition);
    Ok(())
}
