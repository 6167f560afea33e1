//! Groups: membership of both protocols, committed offsets.

pub(crate) mod admin;
pub(crate) mod api;
pub(crate) mod assignor;
pub(crate) mod classic;
pub(crate) mod consumer;
pub(crate) mod consumer_api;
pub(crate) mod membership;
pub(crate) mod offset_api;
pub(crate) mod offsets;

use std::collections::HashMap;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;

use crate::journal::{OffsetRecord, StateRecord};
use classic::{Classic, State};
use consumer::ConsumerGroup;
use offsets::{Committed, Offsets};

/// The members of a group, by protocol.
#[derive(Debug)]
pub(crate) enum Kind {
    Classic(Classic),
    Consumer(ConsumerGroup),
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) offsets: Offsets,
}

/// Who commits offsets, and for which generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a StrBytes,
    pub(crate) instance: Option<&'a StrBytes>,
    /// Generation, or member epoch in the new protocol; negative for commits without membership.
    pub(crate) generation: i32,
    pub(crate) transactional: bool,
}

impl Group {
    fn new() -> Group {
        Group { kind: Kind::Classic(Classic::new()), offsets: Offsets::default() }
    }

    /// No members.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Classic(classic) => classic.is_empty(),
            Kind::Consumer(consumer) => consumer.is_empty(),
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(classic) => classic.state.name(),
            Kind::Consumer(consumer) => consumer.state_name(),
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(_) => "Classic",
            Kind::Consumer(_) => "Consumer",
        }
    }

    /// The classic group here. One of the new protocol gives way when it has no members.
    pub(crate) fn classic(&mut self) -> Option<&mut Classic> {
        if matches!(&self.kind, Kind::Consumer(consumer) if consumer.is_empty()) {
            self.kind = Kind::Classic(Classic::new());
        }
        match &mut self.kind {
            Kind::Classic(classic) => Some(classic),
            Kind::Consumer(_) => None,
        }
    }

    /// The group of the new protocol here. A classic one gives way when it has no members.
    pub(crate) fn consumer(&mut self) -> Option<&mut ConsumerGroup> {
        if matches!(&self.kind, Kind::Classic(classic) if classic.is_empty()) {
            self.kind = Kind::Consumer(ConsumerGroup::new());
        }
        match &mut self.kind {
            Kind::Consumer(consumer) => Some(consumer),
            Kind::Classic(_) => None,
        }
    }

    /// Whether this member may commit now.
    pub(crate) fn check_commit(&mut self, who: Committer<'_>, now: Instant) -> Result<(), ResponseError> {
        let anonymous = who.generation < 0 && who.member_id.is_empty() && who.instance.is_none();
        if anonymous && (who.transactional || self.is_empty()) {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Consumer(consumer) => consumer.check_commit(who.member_id, who.generation),
            Kind::Classic(classic) => {
                classic.validate(who.member_id, who.instance)?;
                if who.generation != classic.generation {
                    return Err(ResponseError::IllegalGeneration);
                }
                if classic.state == State::CompletingRebalance && !who.transactional {
                    return Err(ResponseError::RebalanceInProgress);
                }
                if let Some(member) = classic.members.get_mut(who.member_id) {
                    member.touch(now);
                }
                Ok(())
            }
        }
    }
}

/// All groups, by id.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    map: Mutex<HashMap<String, Group>>,
}

impl Groups {
    /// Works on an existing group.
    pub(crate) fn with<T>(&self, id: &str, work: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.map.lock().get_mut(id).map(work)
    }

    /// Works on a group, which is made when it is missing and forgotten when nothing of it is left.
    pub(crate) fn with_new<T>(&self, id: &str, work: impl FnOnce(&mut Group) -> T) -> T {
        let mut map = self.map.lock();
        let group = map.entry(id.to_owned()).or_insert_with(Group::new);
        let result = work(group);
        if group.is_empty() && group.offsets.is_empty() {
            map.remove(id);
        }
        result
    }

    /// Looks at every group.
    pub(crate) fn each<T>(&self, mut look: impl FnMut(&str, &Group) -> T) -> Vec<T> {
        self.map.lock().iter().map(|(id, group)| look(id, group)).collect()
    }

    /// Removes an empty group.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut map = self.map.lock();
        match map.get(id) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(group) if !group.is_empty() => Err(ResponseError::NonEmptyGroup),
            Some(_) => {
                map.remove(id);
                Ok(())
            }
        }
    }

    /// Timeouts of all groups.
    pub(crate) fn tick(&self, now: Instant) {
        self.map.lock().retain(|_, group| {
            match &mut group.kind {
                Kind::Classic(classic) => classic.tick(now),
                Kind::Consumer(consumer) => consumer.tick(now),
            }
            !(group.is_empty() && group.offsets.is_empty())
        });
    }

    /// Offsets of a deleted topic go with it.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        for group in self.map.lock().values_mut() {
            group.offsets.delete_topic(topic);
        }
    }

    /// A transaction with offsets in `groups` ended.
    pub(crate) fn decide(&self, groups: &[String], producer_id: i64, commit: bool) {
        let mut map = self.map.lock();
        for group in groups {
            if let Some(group) = map.get_mut(group) {
                group.offsets.decide(producer_id, commit);
            }
        }
    }

    /// Applies a record of the journal.
    pub(crate) fn replay(&self, record: StateRecord) {
        let mut map = self.map.lock();
        match record {
            StateRecord::Offset(o) => {
                let OffsetRecord {
                    group,
                    topic,
                    partition,
                    offset,
                    leader_epoch,
                    metadata,
                    commit_ms,
                    producer_id,
                } = o;
                let committed = Committed { offset, leader_epoch, metadata, commit_ms };
                let group = map.entry(group).or_insert_with(Group::new);
                group.offsets.commit(producer_id, &topic, partition, committed);
            }
            StateRecord::OffsetDeleted { group, topic, partition } => {
                if let Some(group) = map.get_mut(&group) {
                    group.offsets.delete(&topic, partition);
                }
            }
            StateRecord::OffsetsDecided { group, producer_id, commit } => {
                if let Some(group) = map.get_mut(&group) {
                    group.offsets.decide(producer_id, commit);
                }
            }
            StateRecord::GroupDeleted { group } => {
                map.remove(&group);
            }
            StateRecord::TopicDeleted { name } => {
                for group in map.values_mut() {
                    group.offsets.delete_topic(&name);
                }
            }
            _ => {}
        }
    }

    /// Works on the records that make all offsets; nothing changes meanwhile.
    pub(crate) fn with_records<T>(&self, work: impl FnOnce(Vec<StateRecord>) -> T) -> T {
        let map = self.map.lock();
        work(map.iter().flat_map(|(id, group)| group.offsets.records(id)).collect())
    }
}
