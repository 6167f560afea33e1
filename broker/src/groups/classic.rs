//! The classic group protocol as a state machine: members of any protocol type, metadata and assignments as opaque bytes.
//!
//! No I/O and no clock: time comes in as an argument, answers that must wait go out through one-shot channels.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// What JoinGroup answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct JoinReply {
    pub(crate) code: i16,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(crate) leader: StrBytes,
    pub(crate) member_id: StrBytes,
    /// Id, instance id and metadata of everybody, for the leader.
    pub(crate) members: Vec<(StrBytes, Option<StrBytes>, Bytes)>,
    pub(crate) skip_assignment: bool,
}

impl JoinReply {
    pub(crate) fn error(error: ResponseError, member_id: StrBytes) -> JoinReply {
        JoinReply { code: error.code(), generation: -1, member_id, ..JoinReply::default() }
    }
}

/// What SyncGroup answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncReply {
    pub(crate) code: i16,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(crate) assignment: Bytes,
}

impl SyncReply {
    pub(crate) fn error(error: ResponseError) -> SyncReply {
        SyncReply { code: error.code(), ..SyncReply::default() }
    }
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) session_deadline: Instant,
    pub(super) join: Option<oneshot::Sender<JoinReply>>,
    pub(super) sync: Option<oneshot::Sender<SyncReply>>,
    /// Whether it has synced in this generation.
    pub(super) synced: bool,
}

impl Member {
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name.as_str() == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn touch(&mut self, now: Instant) {
        self.session_deadline = now + self.session_timeout;
    }

    /// Waiting for an answer counts as being alive.
    fn expired(&self, now: Instant) -> bool {
        self.join.is_none() && self.sync.is_none() && self.session_deadline <= now
    }
}

/// A classic group.
#[derive(Debug)]
pub(crate) struct Classic {
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(super) leader: Option<StrBytes>,
    pub(crate) members: IndexMap<StrBytes, Member>,
    /// Ids that were given out (MEMBER_ID_REQUIRED) and have not come back yet.
    pub(super) pending: HashMap<StrBytes, Instant>,
    pub(super) instances: HashMap<StrBytes, StrBytes>,
    /// When a rebalance goes on without those that have not joined.
    deadline: Option<Instant>,
    /// The first rebalance of an empty group waits this long for more members.
    initial_wait: bool,
    sync_deadline: Option<Instant>,
}

impl Classic {
    pub(crate) fn new() -> Classic {
        Classic {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: IndexMap::new(),
            pending: HashMap::new(),
            instances: HashMap::new(),
            deadline: None,
            initial_wait: false,
            sync_deadline: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Finds a member by its ids, telling fenced instances from unknown members.
    pub(crate) fn validate(
        &self,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(id) if id != member_id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Whether the protocols offered fit the group: the same type, and one protocol that everybody has.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(StrBytes, Bytes)]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let everybody_has =
            |name: &StrBytes| self.members.values().all(|m| m.protocols.iter().any(|(have, _)| have == name));
        self.protocol_type.as_ref().is_some_and(|t| t.as_str() == protocol_type)
            && protocols.iter().any(|(name, _)| everybody_has(name))
    }

    /// The current generation, as a member that rejoins without need is told.
    pub(super) fn current(&self, member_id: &StrBytes) -> JoinReply {
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == *member_id { self.member_list() } else { Vec::new() };
        JoinReply {
            code: 0,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            member_id: member_id.clone(),
            members,
            skip_assignment: false,
        }
    }

    pub(super) fn member_list(&self) -> Vec<(StrBytes, Option<StrBytes>, Bytes)> {
        let protocol = self.protocol.clone().unwrap_or_default();
        self.members.iter().map(|(id, m)| (id.clone(), m.instance.clone(), m.metadata(&protocol))).collect()
    }

    /// Starts a rebalance, unless one is being prepared already; completes it at once when everybody waits.
    pub(super) fn rebalance(&mut self, now: Instant, initial_delay: Duration) {
        match self.state {
            State::PreparingRebalance => {}
            State::Empty => {
                self.state = State::PreparingRebalance;
                self.initial_wait = !initial_delay.is_zero();
                let wait = if self.initial_wait { initial_delay } else { self.rebalance_timeout() };
                self.deadline = Some(now + wait);
            }
            State::CompletingRebalance | State::Stable => {
                self.fail_syncs();
                self.state = State::PreparingRebalance;
                self.deadline = Some(now + self.rebalance_timeout());
            }
        }
        self.sync_deadline = None;
        self.try_complete(now);
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|m| m.rebalance_timeout).max().unwrap_or_default()
    }

    fn fail_syncs(&mut self) {
        for member in self.members.values_mut() {
            if let Some(sync) = member.sync.take() {
                let _ = sync.send(SyncReply::error(ResponseError::RebalanceInProgress));
            }
            if self.state == State::CompletingRebalance {
                member.assignment = Bytes::new();
            }
        }
    }

    /// Completes the rebalance when all members have joined.
    pub(super) fn try_complete(&mut self, now: Instant) {
        let all_here = self.pending.is_empty() && self.members.values().all(|m| m.join.is_some());
        if self.state == State::PreparingRebalance && all_here && !self.initial_wait {
            self.complete(now);
        }
    }

    /// Ends the joining: those who have not joined are out (static members stay until their session ends).
    fn complete(&mut self, now: Instant) {
        let gone: Vec<StrBytes> = self
            .members
            .iter()
            .filter(|(_, m)| m.join.is_none() && m.instance.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove(&id);
        }
        self.deadline = None;
        self.initial_wait = false;
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.state = State::Empty;
            self.protocol = None;
            self.leader = None;
            return;
        }
        self.protocol = self.select_protocol();
        let stays = |id: &StrBytes| self.members.get(id).is_some_and(|m| m.join.is_some());
        if !self.leader.as_ref().is_some_and(stays) {
            let first = self.members.iter().find(|(_, m)| m.join.is_some()).or_else(|| self.members.first());
            self.leader = first.map(|(id, _)| id.clone());
        }
        self.state = State::CompletingRebalance;
        self.sync_deadline = Some(now + self.rebalance_timeout());
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.current(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.touch(now);
            member.synced = false;
            if let Some(join) = member.join.take() {
                let _ = join.send(reply);
            }
        }
    }

    /// Every member votes for its first protocol that all have; most votes win, ties by the first member's order.
    fn select_protocol(&self) -> Option<StrBytes> {
        let first = self.members.values().next()?;
        let common =
            |name: &StrBytes| self.members.values().all(|m| m.protocols.iter().any(|(n, _)| n == name));
        let candidates: Vec<&StrBytes> =
            first.protocols.iter().map(|(n, _)| n).filter(|n| common(n)).collect();
        let votes = |candidate: &StrBytes| {
            let favourite =
                |m: &&Member| m.protocols.iter().map(|(n, _)| n).find(|n| common(n)) == Some(candidate);
            self.members.values().filter(favourite).count()
        };
        let mut best: Option<(usize, &StrBytes)> = None;
        for candidate in candidates {
            let count = votes(candidate);
            if best.is_none_or(|(most, _)| count > most) {
                best = Some((count, candidate));
            }
        }
        best.map(|(_, name)| name.clone())
    }

    /// Takes a member out; whoever waits on its behalf is told that it is unknown.
    pub(super) fn remove(&mut self, id: &StrBytes) -> bool {
        self.pending.remove(id);
        let Some(member) = self.members.shift_remove(id) else { return false };
        if let Some(join) = member.join {
            let _ = join.send(JoinReply::error(ResponseError::UnknownMemberId, id.clone()));
        }
        if let Some(sync) = member.sync {
            let _ = sync.send(SyncReply::error(ResponseError::UnknownMemberId));
        }
        if let Some(instance) = member.instance {
            self.instances.remove(&instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = None;
        }
        true
    }

    /// Goes on after members left.
    pub(super) fn members_left(&mut self, now: Instant) {
        match self.state {
            State::Empty => {}
            State::PreparingRebalance => self.try_complete(now),
            State::CompletingRebalance | State::Stable => self.rebalance(now, Duration::ZERO),
        }
    }

    /// Sessions that ended, rebalances whose time is up, ids that never came back.
    pub(crate) fn tick(&mut self, now: Instant) {
        let before = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        let mut changed = self.pending.len() != before && self.state == State::PreparingRebalance;
        let expired: Vec<StrBytes> =
            self.members.iter().filter(|(_, m)| m.expired(now)).map(|(id, _)| id.clone()).collect();
        for id in expired {
            tracing::info!(member = %id, "session timed out, removing the member from its group");
            changed |= self.remove(&id);
        }
        if self.sync_deadline.is_some_and(|d| d <= now) && self.state != State::PreparingRebalance {
            self.sync_deadline = None;
            let late: Vec<StrBytes> =
                self.members.iter().filter(|(_, m)| !m.synced).map(|(id, _)| id.clone()).collect();
            for id in late {
                changed |= self.remove(&id);
            }
        }
        if changed {
            self.members_left(now);
        }
        if self.state == State::PreparingRebalance && self.deadline.is_some_and(|d| d <= now) {
            if self.initial_wait {
                self.initial_wait = false;
                self.deadline = Some(now + self.rebalance_timeout());
                self.try_complete(now);
            } else {
                self.complete(now);
            }
        }
    }

    /// The leader's assignments for everybody: the group is stable.
    pub(super) fn assign(&mut self, assignments: &HashMap<StrBytes, Bytes>, now: Instant) {
        self.state = State::Stable;
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for (id, member) in &mut self.members {
            member.assignment = assignments.get(id).cloned().unwrap_or_default();
            if let Some(sync) = member.sync.take() {
                member.synced = true;
                member.session_deadline = now + member.session_timeout;
                let _ = sync.send(SyncReply {
                    code: 0,
                    protocol_type: protocol_type.clone(),
                    protocol: protocol.clone(),
                    assignment: member.assignment.clone(),
                });
            }
        }
        if self.members.values().all(|m| m.synced) {
            self.sync_deadline = None;
        }
    }
}
