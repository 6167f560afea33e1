//! Joining, syncing, heartbeats and leaving of a classic group.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::classic::{Classic, JoinReply, Member, State, SyncReply};

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) member_id: StrBytes,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) client_id: StrBytes,
    pub(crate) host: String,
    /// From version 4 on a new member must come back with the id it is given (KIP-394).
    pub(crate) known_id_required: bool,
    /// From version 9 on a returning static leader is told to skip the assignment (KIP-814).
    pub(crate) can_skip: bool,
    pub(crate) initial_delay: Duration,
}

/// An answer now, or later.
pub(crate) type JoinOutcome = Result<oneshot::Receiver<JoinReply>, Box<JoinReply>>;
/// An answer now, or later.
pub(crate) type SyncOutcome = Result<oneshot::Receiver<SyncReply>, SyncReply>;

impl Classic {
    /// JoinGroup.
    pub(crate) fn join(&mut self, join: Join, now: Instant) -> JoinOutcome {
        let refuse = |error| Err(Box::new(JoinReply::error(error, join.member_id.clone())));
        if !self.supports(&join.protocol_type, &join.protocols) {
            return refuse(ResponseError::InconsistentGroupProtocol);
        }
        if join.member_id.is_empty() {
            return self.join_unknown(join, now);
        }
        if self.pending.remove(&join.member_id).is_some() {
            let id = join.member_id.clone();
            return Ok(self.add(id, join, now));
        }
        if let Err(error) = self.validate(&join.member_id, join.instance.as_ref()) {
            return refuse(error);
        }
        let id = join.member_id.clone();
        let same = self.members.get(&id).is_some_and(|m| m.protocols == join.protocols);
        let leader = self.leader.as_ref() == Some(&id);
        match self.state {
            State::CompletingRebalance if same => Err(Box::new(self.current(&id))),
            State::Stable if same && !leader => Err(Box::new(self.current(&id))),
            _ => Ok(self.rejoin(&id, join, now)),
        }
    }

    fn join_unknown(&mut self, join: Join, now: Instant) -> JoinOutcome {
        let prefix = join.instance.as_ref().unwrap_or(&join.client_id);
        let id = StrBytes::from_string(format!("{prefix}-{}", Uuid::new_v4()));
        if let Some(instance) = &join.instance {
            return match self.instances.get(instance).cloned() {
                Some(old) => self.replace_static(&old, id, join, now),
                None => Ok(self.add(id, join, now)),
            };
        }
        if join.known_id_required {
            self.pending.insert(id.clone(), now + join.session_timeout);
            return Err(Box::new(JoinReply::error(ResponseError::MemberIdRequired, id)));
        }
        Ok(self.add(id, join, now))
    }

    fn add(&mut self, id: StrBytes, join: Join, now: Instant) -> oneshot::Receiver<JoinReply> {
        let (sender, receiver) = oneshot::channel();
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let member = Member {
            instance: join.instance,
            client_id: join.client_id,
            host: join.host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            session_deadline: now + join.session_timeout,
            join: Some(sender),
            sync: None,
            synced: false,
        };
        self.members.insert(id, member);
        self.rebalance(now, join.initial_delay);
        receiver
    }

    fn rejoin(&mut self, id: &StrBytes, join: Join, now: Instant) -> oneshot::Receiver<JoinReply> {
        let (sender, receiver) = oneshot::channel();
        if let Some(member) = self.members.get_mut(id) {
            member.protocols = join.protocols;
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            member.client_id = join.client_id;
            member.host = join.host;
            member.touch(now);
            // A second join of the same member supersedes the first, whose connection is gone.
            member.join = Some(sender);
        }
        self.rebalance(now, join.initial_delay);
        receiver
    }

    /// A static member came back after a restart: a new id, the same place in the group (KIP-345).
    fn replace_static(&mut self, old: &StrBytes, id: StrBytes, join: Join, now: Instant) -> JoinOutcome {
        let was_leader = self.leader.as_ref() == Some(old);
        let Some(mut member) = self.members.shift_remove(old) else { return Ok(self.add(id, join, now)) };
        if let Some(waiting) = member.join.take() {
            let _ = waiting.send(JoinReply::error(ResponseError::FencedInstanceId, old.clone()));
        }
        if let Some(waiting) = member.sync.take() {
            let _ = waiting.send(SyncReply::error(ResponseError::FencedInstanceId));
        }
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        if was_leader {
            self.leader = Some(id.clone());
        }
        let same = member.protocols == join.protocols;
        self.members.insert(id.clone(), member);
        if self.state != State::Stable || !same {
            return Ok(self.rejoin(&id, join, now));
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.client_id = join.client_id;
            member.host = join.host;
            member.touch(now);
        }
        let mut reply = self.current(&id);
        if join.can_skip {
            reply.skip_assignment = was_leader;
        } else if was_leader {
            // Older clients would assign again if they were told that they lead.
            reply.leader = old.clone();
            reply.members = Vec::new();
        }
        Err(Box::new(reply))
    }

    /// SyncGroup.
    pub(crate) fn sync(
        &mut self,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
        generation: i32,
        protocol: (Option<&StrBytes>, Option<&StrBytes>),
        assignments: &HashMap<StrBytes, Bytes>,
        now: Instant,
    ) -> SyncOutcome {
        self.validate(member_id, instance).map_err(SyncReply::error)?;
        if generation != self.generation {
            return Err(SyncReply::error(ResponseError::IllegalGeneration));
        }
        let differs = |asked: Option<&StrBytes>, have: &Option<StrBytes>| {
            asked.is_some_and(|a| have.as_ref().is_some_and(|h| h != a))
        };
        if differs(protocol.0, &self.protocol_type) || differs(protocol.1, &self.protocol) {
            return Err(SyncReply::error(ResponseError::InconsistentGroupProtocol));
        }
        match self.state {
            State::Empty => Err(SyncReply::error(ResponseError::UnknownMemberId)),
            State::PreparingRebalance => Err(SyncReply::error(ResponseError::RebalanceInProgress)),
            State::CompletingRebalance => {
                let (sender, receiver) = oneshot::channel();
                if let Some(member) = self.members.get_mut(member_id) {
                    member.sync = Some(sender);
                }
                if self.leader.as_ref() == Some(member_id) {
                    self.assign(assignments, now);
                }
                Ok(receiver)
            }
            State::Stable => {
                let Some(member) = self.members.get_mut(member_id) else {
                    return Err(SyncReply::error(ResponseError::UnknownMemberId));
                };
                member.synced = true;
                member.touch(now);
                Err(SyncReply {
                    code: 0,
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                })
            }
        }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.validate(member_id, instance)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now);
        }
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// LeaveGroup of one member, by member id or by instance id alone (an administrator removing a static member).
    pub(crate) fn leave(
        &mut self,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let id = match instance {
            Some(instance) if member_id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?
            }
            _ => member_id.clone(),
        };
        if self.pending.remove(&id).is_some() {
            self.members_left(now);
            return Ok(());
        }
        self.validate(&id, instance)?;
        self.remove(&id);
        self.members_left(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> StrBytes {
        StrBytes::from_string(s.to_owned())
    }

    fn join(id: &str, protocols: &[&str]) -> Join {
        Join {
            member_id: text(id),
            instance: None,
            protocol_type: text("connect"),
            protocols: protocols.iter().map(|p| (text(p), Bytes::from(p.to_string()))).collect(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(60),
            client_id: text("c"),
            host: "h".to_owned(),
            known_id_required: true,
            can_skip: true,
            initial_delay: Duration::ZERO,
        }
    }

    /// A new dynamic member: asks for an id, comes back with it.
    fn enter(
        group: &mut Classic,
        protocols: &[&str],
        now: Instant,
    ) -> (StrBytes, oneshot::Receiver<JoinReply>) {
        let refused = group.join(join("", protocols), now).unwrap_err();
        assert_eq!(refused.code, ResponseError::MemberIdRequired.code());
        let id = refused.member_id.clone();
        let receiver = group.join(join(&id, protocols), now).unwrap();
        (id, receiver)
    }

    fn sync_all(group: &mut Classic, leader: &StrBytes, now: Instant) {
        let generation = group.generation;
        let assignments = group
            .members
            .keys()
            .map(|id| (id.clone(), Bytes::from(id.to_string())))
            .collect::<HashMap<_, _>>();
        let ids: Vec<StrBytes> = group.members.keys().filter(|id| *id != leader).cloned().collect();
        let mut waiting = Vec::new();
        for id in &ids {
            waiting.push(group.sync(id, None, generation, (None, None), &HashMap::new(), now).unwrap());
        }
        let mut own = group.sync(leader, None, generation, (None, None), &assignments, now).unwrap();
        assert_eq!(own.try_recv().unwrap().assignment, Bytes::from(leader.to_string()));
        for (id, mut receiver) in ids.iter().zip(waiting) {
            assert_eq!(receiver.try_recv().unwrap().assignment, Bytes::from(id.to_string()));
        }
    }

    #[test]
    fn two_members_join_sync_and_one_leaves() {
        let now = Instant::now();
        let mut group = Classic::new();
        let (first, mut reply) = enter(&mut group, &["sessioned", "compatible"], now);
        let joined = reply.try_recv().unwrap();
        assert_eq!((joined.generation, joined.members.len()), (1, 1));
        sync_all(&mut group, &first, now);
        assert_eq!(group.state, State::Stable);

        let (second, mut reply) = enter(&mut group, &["compatible"], now);
        assert!(reply.try_recv().is_err(), "waits for the first member");
        assert_eq!(group.heartbeat(&first, None, 1, now), Err(ResponseError::RebalanceInProgress));
        let mut again = group.join(join(&first, &["sessioned", "compatible"]), now).unwrap();
        let leader = again.try_recv().unwrap();
        assert_eq!(leader.leader, first);
        assert_eq!(leader.protocol.as_deref(), Some("compatible"));
        assert_eq!(reply.try_recv().unwrap().generation, 2);
        sync_all(&mut group, &first, now);

        group.leave(&second, None, now).unwrap();
        assert_eq!(group.state, State::PreparingRebalance);
        assert_eq!(group.leave(&second, None, now), Err(ResponseError::UnknownMemberId));
    }

    #[test]
    fn silent_members_are_removed_and_the_rebalance_goes_on_without_them() {
        let start = Instant::now();
        let mut group = Classic::new();
        let (first, _reply) = enter(&mut group, &["p"], start);
        sync_all(&mut group, &first, start);
        let (second, mut reply) = enter(&mut group, &["p"], start + Duration::from_secs(9));
        group.tick(start + Duration::from_secs(11));
        assert!(!group.members.contains_key(&first));
        let joined = reply.try_recv().unwrap();
        assert_eq!(joined.leader, second);
        assert_eq!(joined.members.len(), 1);
    }

    #[test]
    fn a_static_member_keeps_its_place_and_fences_its_former_self() {
        let now = Instant::now();
        let mut group = Classic::new();
        let fixed = || Join { instance: Some(text("i")), ..join("", &["p"]) };
        let mut reply = group.join(fixed(), now).unwrap();
        let old = reply.try_recv().unwrap().member_id;
        sync_all(&mut group, &old, now);
        let back = group.join(fixed(), now).unwrap_err();
        assert_eq!((back.code, back.generation, back.skip_assignment), (0, 1, true));
        assert_eq!(group.state, State::Stable);
        assert_eq!(group.heartbeat(&old, Some(&text("i")), 1, now), Err(ResponseError::FencedInstanceId));
        assert_eq!(group.heartbeat(&back.member_id, Some(&text("i")), 1, now), Ok(()));
    }

    #[test]
    fn another_protocol_type_or_no_common_protocol_is_refused() {
        let now = Instant::now();
        let mut group = Classic::new();
        enter(&mut group, &["p"], now);
        let code = |r: JoinOutcome| r.unwrap_err().code;
        let wrong = ResponseError::InconsistentGroupProtocol.code();
        assert_eq!(code(group.join(join("", &["q"]), now)), wrong);
        assert_eq!(
            code(group.join(Join { protocol_type: text("consumer"), ..join("", &["p"]) }, now)),
            wrong
        );
    }
}
