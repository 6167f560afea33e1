//! The rules of a member's life, without I/O: time, answers and the owner's wishes come in, calls and events go out.
//!
//! Every change of state begins a new round. A call carries the round it was made in, and an answer to an older one is not
//! taken: so a heartbeat of the generation before cannot put out a member that has just joined.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Election, GroupConfig, GroupEvent, GroupProtocol, Joined, MemberMetadata};
use crate::{Error, ErrorCode, ErrorKind};

/// Generation of a member that is in none.
pub(super) const NO_GENERATION: i32 = -1;

/// A request that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Join {
        member_id: String,
        protocols: Arc<[GroupProtocol]>,
    },
    Sync {
        generation: i32,
        member_id: String,
        protocol: String,
        assignments: Vec<(String, Bytes)>,
    },
    Heartbeat {
        generation: i32,
        member_id: String,
    },
    /// The owner was idle for too long.
    Leave {
        member_id: String,
    },
}

/// What a JoinGroup gives when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JoinAnswer {
    pub(super) generation: i32,
    pub(super) member_id: String,
    pub(super) leader: String,
    pub(super) protocol: String,
    pub(super) skip_assignment: bool,
    pub(super) members: Arc<[MemberMetadata]>,
}

/// An answer, or why there is none.
#[derive(Debug)]
pub(super) enum Answer {
    Joined(Result<JoinAnswer, Error>),
    /// The coordinator has given an id to join with (KIP-394).
    MemberId(String),
    Synced(Result<Bytes, Error>),
    Beat(Result<(), Error>),
}

#[derive(Debug)]
enum State {
    /// Waits for the owner to join.
    Idle,
    /// A JoinGroup is due or under way.
    Joining,
    /// This member leads; the owner computes.
    Elected(JoinAnswer),
    /// A SyncGroup is due or under way.
    Syncing(JoinAnswer, Vec<(String, Bytes)>),
    Stable,
    /// The group forms anew; the owner has to join.
    Rebalancing,
    /// Another member has this one's instance id.
    Fenced(Error),
}

/// Waits between attempts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

pub(super) struct Machine {
    config: Arc<GroupConfig>,
    backoff: Backoff,
    state: State,
    round: u64,
    member_id: String,
    generation: i32,
    protocols: Arc<[GroupProtocol]>,
    /// Newer protocols came while a join or a sync was under way.
    again: bool,
    /// A JoinGroup or SyncGroup is under way.
    calling: bool,
    beating: bool,
    failures: u32,
    /// Joins are not tried before this.
    not_before: Option<Instant>,
    next_beat: Instant,
    /// Wait before the heartbeat after the next.
    beat_wait: Duration,
    /// When the coordinator last answered.
    heard: Instant,
    told_unreachable: bool,
    /// When the owner last showed up.
    attended: Instant,
    events: VecDeque<GroupEvent>,
}

impl Machine {
    pub(super) fn new(config: Arc<GroupConfig>, backoff: Backoff, now: Instant) -> Self {
        let beat_wait = config.heartbeat_interval;
        Self {
            config,
            backoff,
            state: State::Idle,
            round: 0,
            member_id: String::new(),
            generation: NO_GENERATION,
            protocols: Arc::from([]),
            again: false,
            calling: false,
            beating: false,
            failures: 0,
            not_before: None,
            next_beat: now,
            beat_wait,
            heard: now,
            told_unreachable: false,
            attended: now,
            events: VecDeque::new(),
        }
    }

    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn member_id(&self) -> &str {
        &self.member_id
    }

    pub(super) const fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn take_event(&mut self) -> Option<GroupEvent> {
        self.events.pop_front()
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn attend(&mut self, now: Instant) {
        self.attended = now;
    }

    /// The owner wants to be a member with these protocols.
    pub(super) fn join(&mut self, protocols: Vec<GroupProtocol>, now: Instant) {
        self.attended = now;
        self.protocols = protocols.into();
        match &self.state {
            State::Fenced(error) => {
                let error = error.clone();
                self.tell(GroupEvent::Failed(error));
            }
            State::Joining | State::Syncing(..) if self.calling => self.again = true,
            // a back-off under way is kept
            State::Joining => {}
            _ => self.enter(State::Joining),
        }
    }

    /// The leader's assignments.
    pub(super) fn assign(&mut self, generation: i32, assignments: Vec<(String, Bytes)>) {
        if generation != self.generation {
            return;
        }
        if let State::Elected(joined) = &self.state {
            let joined = joined.clone();
            self.enter(State::Syncing(joined, assignments));
        }
    }

    /// The owner wants to be out; gives the member id to say goodbye with. Nobody says goodbye for a static member.
    pub(super) fn leave(&mut self) -> Option<String> {
        self.events.clear();
        self.generation = NO_GENERATION;
        let member_id = std::mem::take(&mut self.member_id);
        if !matches!(self.state, State::Fenced(_)) {
            self.enter(State::Idle);
        }
        Some(member_id).filter(|id| !id.is_empty() && self.config.instance_id.is_none())
    }

    /// What is to be done now, and when to look again if nothing happens before. Called until it gives no call.
    pub(super) fn step(&mut self, now: Instant) -> (Option<Call>, Option<Instant>) {
        if matches!(self.state, State::Idle | State::Fenced(_)) {
            return (None, None);
        }
        let idle_at = self.config.idle_limit.map(|limit| self.attended + limit);
        if idle_at.is_some_and(|at| at < now) {
            return (self.idle_too_long(now), None);
        }
        let at = match &self.state {
            State::Joining if self.calling => None,
            State::Joining => match self.not_before.filter(|at| *at > now) {
                Some(at) => Some(at),
                None => {
                    self.calling = true;
                    let (member_id, protocols) = (self.member_id.clone(), Arc::clone(&self.protocols));
                    return (Some(Call::Join { member_id, protocols }), None);
                }
            },
            State::Syncing(..) if self.calling => None,
            State::Syncing(joined, assignments) => {
                self.calling = true;
                let call = Call::Sync {
                    generation: self.generation,
                    member_id: self.member_id.clone(),
                    protocol: joined.protocol.clone(),
                    assignments: assignments.clone(),
                };
                return (Some(call), None);
            }
            // a leader that computes is a member already
            State::Elected(_) | State::Stable | State::Rebalancing => {
                let unreachable_at = self.heard + self.config.session_timeout;
                if !self.told_unreachable && unreachable_at <= now {
                    self.told_unreachable = true;
                    self.tell(GroupEvent::Unreachable { silent_for: now - self.heard });
                }
                if !self.beating && self.next_beat <= now {
                    self.beating = true;
                    let member_id = self.member_id.clone();
                    return (Some(Call::Heartbeat { generation: self.generation, member_id }), None);
                }
                let beat = (!self.beating).then_some(self.next_beat);
                let unreachable = (!self.told_unreachable).then_some(unreachable_at);
                [beat, unreachable].into_iter().flatten().min()
            }
            State::Idle | State::Fenced(_) => None,
        };
        (None, [at, idle_at].into_iter().flatten().min())
    }

    /// Takes the answer to a call of `round`.
    pub(super) fn answered(&mut self, round: u64, answer: Answer, now: Instant) {
        if round != self.round {
            return;
        }
        match answer {
            Answer::MemberId(id) => {
                (self.calling, self.again) = (false, false);
                self.member_id = id;
            }
            Answer::Joined(Ok(joined)) => self.joined(joined, now),
            Answer::Joined(Err(error)) => self.join_failed(error, now),
            Answer::Synced(Ok(assignment)) => self.synced(assignment, now),
            Answer::Synced(Err(error)) => self.join_failed(error, now),
            Answer::Beat(Ok(())) => {
                self.beating = false;
                self.heard_of(now);
            }
            Answer::Beat(Err(error)) => self.beat_failed(error, now),
        }
    }

    fn joined(&mut self, joined: JoinAnswer, now: Instant) {
        self.member_id.clone_from(&joined.member_id);
        self.generation = joined.generation;
        self.failures = 0;
        self.not_before = None;
        if std::mem::take(&mut self.again) {
            self.enter(State::Joining);
            return;
        }
        self.heard_of(now);
        if joined.leader == joined.member_id && !joined.skip_assignment {
            let election = Election {
                generation: joined.generation,
                member_id: joined.member_id.clone(),
                protocol: joined.protocol.clone(),
                members: Arc::clone(&joined.members),
            };
            self.enter(State::Elected(joined));
            self.tell(GroupEvent::Elected(election));
        } else {
            self.enter(State::Syncing(joined, Vec::new()));
        }
    }

    fn synced(&mut self, assignment: Bytes, now: Instant) {
        let State::Syncing(joined, _) = std::mem::replace(&mut self.state, State::Stable) else { return };
        self.beat_wait = self.config.early_heartbeat.unwrap_or(self.config.heartbeat_interval);
        self.heard_of(now);
        if std::mem::take(&mut self.again) {
            self.enter(State::Joining);
            return;
        }
        self.enter(State::Stable);
        self.tell(GroupEvent::Joined(Joined {
            generation: joined.generation,
            member_id: joined.member_id,
            leader: joined.leader,
            protocol: joined.protocol,
            members: joined.members,
            assignment,
        }));
    }

    /// A JoinGroup or a SyncGroup has failed.
    fn join_failed(&mut self, error: Error, now: Instant) {
        match error.code() {
            Some(ErrorCode::FencedInstanceId) => self.fenced(&error),
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                if self.generation == NO_GENERATION {
                    // an id that has expired before it was ever used
                    self.member_id.clear();
                    self.retry_join(now);
                } else {
                    self.lost(error);
                }
            }
            Some(ErrorCode::RebalanceInProgress) => {
                self.enter(State::Joining);
                self.not_before = None;
            }
            _ if error.is_retriable() => {
                tracing::debug!(group = %self.config.group_id, "joining is repeated: {error}");
                self.retry_join(now);
            }
            _ => self.failed(error),
        }
    }

    fn beat_failed(&mut self, error: Error, now: Instant) {
        self.beating = false;
        match error.code() {
            Some(ErrorCode::FencedInstanceId) => self.fenced(&error),
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => self.lost(error),
            Some(ErrorCode::RebalanceInProgress) => {
                self.heard_of(now);
                match self.state {
                    State::Elected(_) => self.enter(State::Joining),
                    State::Stable => {
                        self.state = State::Rebalancing;
                        self.tell(GroupEvent::Rebalance { generation: self.generation });
                    }
                    _ => {}
                }
            }
            _ if error.is_retriable() => {
                tracing::debug!(group = %self.config.group_id, "a heartbeat failed: {error}");
                self.next_beat = now + self.backoff.first.min(self.config.heartbeat_interval);
            }
            _ => self.failed(error),
        }
    }

    fn heard_of(&mut self, now: Instant) {
        self.heard = now;
        self.told_unreachable = false;
        let interval = self.config.heartbeat_interval;
        self.next_beat = now + self.beat_wait.clamp(Duration::from_millis(1), interval);
        self.beat_wait = (self.beat_wait * 2).min(interval);
    }

    fn retry_join(&mut self, now: Instant) {
        self.enter(State::Joining);
        self.not_before =
            Some(now + crate::client::network::backoff(self.backoff.first, self.backoff.most, self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// Out of the group: what was assigned may be somebody else's.
    fn lost(&mut self, reason: Error) {
        let generation = std::mem::replace(&mut self.generation, NO_GENERATION);
        if reason.code() != Some(ErrorCode::IllegalGeneration) {
            self.member_id.clear();
        }
        self.enter(State::Idle);
        self.tell(GroupEvent::Lost { generation, reason });
    }

    fn idle_too_long(&mut self, now: Instant) -> Option<Call> {
        let idle = (now - self.attended).as_millis();
        let is_static = self.config.instance_id.is_some();
        let goes = if is_static { "sends no more heartbeats" } else { "leaves the group" };
        let message = format!(
            "group {}: no poll for {idle} ms, more than max.poll.interval.ms: this member {goes}; raise max.poll.interval.ms or lower max.poll.records",
            self.config.group_id
        );
        tracing::warn!("{message}");
        let member_id = self.member_id.clone();
        self.member_id.clear();
        self.lost(Error::new(ErrorKind::Timeout, message));
        (!is_static && !member_id.is_empty()).then_some(Call::Leave { member_id })
    }

    fn fenced(&mut self, error: &Error) {
        let instance = self.config.instance_id.as_deref().unwrap_or_default();
        let message = format!(
            "group {}: another member has taken over group.instance.id={instance}: give each member one of its own",
            self.config.group_id
        );
        let error = Error::broker(ErrorCode::FencedInstanceId, message).with_source(error.clone());
        self.member_id.clear();
        self.generation = NO_GENERATION;
        self.enter(State::Fenced(error.clone()));
        self.tell(GroupEvent::Failed(error));
    }

    fn failed(&mut self, error: Error) {
        self.generation = NO_GENERATION;
        self.enter(State::Idle);
        self.tell(GroupEvent::Failed(error));
    }

    /// Begins a new round: whatever is under way is answered to nobody.
    fn enter(&mut self, state: State) {
        self.state = state;
        self.round += 1;
        self.calling = false;
        self.beating = false;
        self.again = false;
        // the owner need not act on what has passed
        let in_group = self.generation != NO_GENERATION;
        self.events.retain(|event| match event {
            GroupEvent::Elected(_) | GroupEvent::Rebalance { .. } | GroupEvent::Unreachable { .. } => false,
            GroupEvent::Joined(_) => in_group,
            GroupEvent::Lost { .. } | GroupEvent::Failed(_) => true,
        });
    }

    fn tell(&mut self, event: GroupEvent) {
        // one of a kind is enough, and the newest counts
        let kind = std::mem::discriminant(&event);
        self.events.retain(|earlier| std::mem::discriminant(earlier) != kind);
        self.events.push_back(event);
    }
}
