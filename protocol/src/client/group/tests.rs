//! A member's life told to the machine, answer by answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::machine::{Answer, Backoff, Call, JoinAnswer, Machine};
use super::{GroupConfig, GroupEvent, GroupProtocol, MemberMetadata};
use crate::{Error, ErrorCode, ErrorKind};

const SECOND: Duration = Duration::from_secs(1);

struct Life {
    machine: Machine,
    now: Instant,
}

impl Life {
    fn new(change: impl FnOnce(&mut GroupConfig)) -> Self {
        let mut config = GroupConfig::new("g", "connect");
        change(&mut config);
        config.validate().unwrap();
        let backoff = Backoff { first: SECOND / 10, most: SECOND };
        let now = Instant::now();
        Self { machine: Machine::new(Arc::new(config), backoff, now), now }
    }

    fn join(&mut self) {
        self.join_with("metadata");
    }

    fn join_with(&mut self, metadata: &'static str) {
        self.machine.join(vec![GroupProtocol::new("default", metadata)], self.now);
    }

    fn call(&mut self) -> Option<Call> {
        self.machine.step(self.now).0
    }

    fn answer(&mut self, answer: Answer) {
        self.machine.answered(self.machine.round(), answer, self.now);
    }

    fn event(&mut self) -> Option<GroupEvent> {
        self.machine.take_event()
    }

    /// Joins as a follower, or as the leader, up to a Joined event.
    fn become_member(&mut self, generation: i32, leads: bool) {
        self.join();
        self.sync_in(generation, leads);
        assert!(matches!(self.event(), Some(GroupEvent::Joined(joined))
            if joined.generation == generation && joined.is_leader() == leads));
    }

    fn sync_in(&mut self, generation: i32, leads: bool) {
        assert!(matches!(self.call(), Some(Call::Join { .. })));
        self.answer(Answer::Joined(Ok(joined(generation, leads))));
        if leads {
            let Some(GroupEvent::Elected(election)) = self.event() else { panic!("not elected") };
            assert_eq!((election.generation, election.members.len()), (generation, 1));
            self.machine.assign(generation, vec![("me".into(), Bytes::from_static(b"all"))]);
        }
        let Some(Call::Sync { assignments, .. }) = self.call() else { panic!("no sync") };
        assert_eq!(assignments.len(), usize::from(leads));
        self.answer(Answer::Synced(Ok(Bytes::from_static(b"all"))));
    }
}

fn joined(generation: i32, leads: bool) -> JoinAnswer {
    let me = MemberMetadata { member_id: "me".into(), instance_id: None, metadata: Bytes::new() };
    JoinAnswer {
        generation,
        member_id: "me".into(),
        leader: if leads { "me".into() } else { "other".into() },
        protocol: "default".into(),
        skip_assignment: false,
        members: if leads { Arc::from([me]) } else { Arc::from([]) },
    }
}

fn error(code: ErrorCode) -> Error {
    Error::broker(code, "test")
}

#[test]
fn a_member_joins_syncs_and_beats() {
    for leads in [true, false] {
        let mut life = Life::new(|_| ());
        assert_eq!(life.call(), None);
        life.join();
        let Some(Call::Join { member_id, .. }) = life.call() else { panic!() };
        assert_eq!(member_id, "");
        assert_eq!(life.call(), None, "one join at a time");
        life.answer(Answer::MemberId("me".into()));
        let Some(Call::Join { member_id, .. }) = life.call() else { panic!() };
        assert_eq!(member_id, "me");
        life.answer(Answer::Joined(Err(error(ErrorCode::CoordinatorLoadInProgress))));
        assert_eq!(life.call(), None, "a wait before the next attempt");
        life.now += SECOND;
        life.sync_in(3, leads);
        assert!(matches!(life.event(), Some(GroupEvent::Joined(joined)) if joined.assignment == "all"));
        assert_eq!(life.call(), None);
        life.now += 3 * SECOND;
        assert_eq!(life.call(), Some(Call::Heartbeat { generation: 3, member_id: "me".into() }));
        assert_eq!(life.call(), None, "one heartbeat at a time");
        life.answer(Answer::Beat(Ok(())));
        assert!(life.event().is_none());
    }
}

#[test]
fn a_rebalance_is_told_once_and_heartbeats_go_on_until_the_owner_joins() {
    let mut life = Life::new(|_| ());
    life.become_member(1, true);
    for _ in 0..3 {
        life.now += 3 * SECOND;
        assert!(matches!(life.call(), Some(Call::Heartbeat { .. })));
        life.answer(Answer::Beat(Err(error(ErrorCode::RebalanceInProgress))));
    }
    assert!(matches!(life.event(), Some(GroupEvent::Rebalance { generation: 1 })));
    assert!(life.event().is_none());
    assert_eq!(life.machine.generation(), 1, "commits are still fenced by the generation that ends");
    life.join();
    life.sync_in(2, false);
    assert!(matches!(life.event(), Some(GroupEvent::Joined(joined)) if joined.generation == 2));
}

#[test]
fn a_heartbeat_of_an_older_generation_changes_nothing() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::RebalanceInProgress] {
        let mut life = Life::new(|_| ());
        life.become_member(1, false);
        life.now += 3 * SECOND;
        assert!(matches!(life.call(), Some(Call::Heartbeat { generation: 1, .. })));
        let round = life.machine.round();
        life.join();
        life.sync_in(2, false);
        life.event();
        life.machine.answered(round, Answer::Beat(Err(error(code))), life.now);
        assert!(life.event().is_none(), "{code}");
        assert_eq!(life.machine.generation(), 2);
        life.now += 3 * SECOND;
        assert!(matches!(life.call(), Some(Call::Heartbeat { generation: 2, .. })));
    }
}

#[test]
fn a_lost_member_waits_for_its_owner_and_begins_anew() {
    let mut life = Life::new(|_| ());
    life.become_member(5, false);
    life.now += 3 * SECOND;
    life.call();
    life.answer(Answer::Beat(Err(error(ErrorCode::UnknownMemberId))));
    assert!(matches!(life.event(), Some(GroupEvent::Lost { generation: 5, .. })));
    assert_eq!((life.call(), life.machine.generation()), (None, -1));
    life.join();
    assert!(matches!(life.call(), Some(Call::Join { member_id, .. }) if member_id.is_empty()));
    // lost before the owner has heard of the generation: only the loss counts
    life.answer(Answer::Joined(Ok(joined(6, false))));
    life.call();
    life.answer(Answer::Synced(Ok(Bytes::new())));
    life.now += 3 * SECOND;
    life.call();
    life.answer(Answer::Beat(Err(error(ErrorCode::IllegalGeneration))));
    assert!(matches!(life.event(), Some(GroupEvent::Lost { generation: 6, .. })));
    assert!(life.event().is_none());
}

#[test]
fn a_fenced_instance_does_not_come_back() {
    let mut life = Life::new(|config| config.instance_id = Some("one".into()));
    life.become_member(1, false);
    life.now += 3 * SECOND;
    life.call();
    life.answer(Answer::Beat(Err(error(ErrorCode::FencedInstanceId))));
    for _ in 0..2 {
        let Some(GroupEvent::Failed(error)) = life.event() else { panic!("not fatal") };
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Fenced, false));
        assert!(error.to_string().contains("group.instance.id=one"), "{error}");
        assert!(life.event().is_none());
        life.join();
        assert_eq!(life.call(), None);
    }
}

#[test]
fn what_waiting_does_not_mend_is_told_and_may_be_tried_again() {
    let mut life = Life::new(|_| ());
    life.join();
    life.call();
    life.answer(Answer::Joined(Err(error(ErrorCode::GroupAuthorizationFailed))));
    assert!(matches!(life.event(), Some(GroupEvent::Failed(_))));
    assert_eq!(life.call(), None);
    life.become_member(1, true);
}

#[test]
fn newer_metadata_takes_the_place_of_older_at_every_stage() {
    let metadata = |life: &mut Life| match life.call() {
        Some(Call::Join { protocols, .. }) => protocols[0].metadata.clone(),
        other => panic!("{other:?}"),
    };
    let mut life = Life::new(|_| ());
    life.join_with("1");
    assert_eq!(metadata(&mut life), "1");
    life.join_with("2"); // while joining
    assert_eq!(life.call(), None);
    life.answer(Answer::Joined(Ok(joined(1, true))));
    assert!(life.event().is_none(), "the older metadata elects nobody");
    assert_eq!(metadata(&mut life), "2");
    life.answer(Answer::Joined(Ok(joined(2, true))));
    life.join_with("3"); // while the leader computes
    assert!(life.event().is_none());
    life.machine.assign(2, Vec::new());
    assert_eq!(metadata(&mut life), "3");
    life.answer(Answer::Joined(Ok(joined(3, false))));
    assert!(matches!(life.call(), Some(Call::Sync { generation: 3, .. })));
    life.join_with("4"); // while syncing
    life.answer(Answer::Synced(Ok(Bytes::new())));
    assert!(life.event().is_none());
    assert_eq!(metadata(&mut life), "4");
    life.answer(Answer::Joined(Ok(joined(4, false))));
    life.call();
    life.answer(Answer::Synced(Ok(Bytes::new())));
    assert!(matches!(life.event(), Some(GroupEvent::Joined(joined)) if joined.generation == 4));
    life.join_with("5"); // without a reason from the group
    assert_eq!(metadata(&mut life), "5");
}

#[test]
fn a_rebalance_during_the_sync_joins_again_by_itself() {
    let mut life = Life::new(|_| ());
    life.join();
    life.call();
    life.answer(Answer::Joined(Ok(joined(1, true))));
    assert!(matches!(life.event(), Some(GroupEvent::Elected(_))));
    life.machine.assign(1, Vec::new());
    life.call();
    life.answer(Answer::Synced(Err(error(ErrorCode::RebalanceInProgress))));
    life.sync_in(2, true);
    // and while the leader computes; what it brings for the past generation is not sent
    life.event();
    life.join();
    life.call();
    life.answer(Answer::Joined(Ok(joined(3, true))));
    life.now += 3 * SECOND;
    assert!(matches!(life.call(), Some(Call::Heartbeat { generation: 3, .. })));
    life.answer(Answer::Beat(Err(error(ErrorCode::RebalanceInProgress))));
    assert!(life.event().is_none(), "an election that has passed is taken back");
    assert!(matches!(life.call(), Some(Call::Join { .. })));
    life.machine.assign(3, Vec::new());
    assert_eq!(life.call(), None);
}

#[test]
fn a_static_leader_that_comes_back_assigns_nothing() {
    let mut life = Life::new(|config| config.instance_id = Some("one".into()));
    life.join();
    life.call();
    life.answer(Answer::Joined(Ok(JoinAnswer { skip_assignment: true, ..joined(7, true) })));
    assert!(life.event().is_none());
    assert!(matches!(life.call(), Some(Call::Sync { assignments, .. }) if assignments.is_empty()));
}

#[test]
fn an_idle_owner_leaves_unless_its_member_is_static() {
    for instance in [None, Some("one".to_owned())] {
        let mut life = Life::new(|config| {
            config.instance_id.clone_from(&instance);
            config.idle_limit = Some(10 * SECOND);
        });
        life.become_member(1, false);
        life.now += 9 * SECOND;
        life.machine.attend(life.now);
        life.now += 10 * SECOND;
        assert!(matches!(life.call(), Some(Call::Heartbeat { .. })));
        life.now += SECOND;
        let expected = instance.is_none().then_some(Call::Leave { member_id: "me".into() });
        assert_eq!(life.call(), expected);
        assert!(matches!(life.event(), Some(GroupEvent::Lost { generation: 1, .. })));
        assert_eq!(life.call(), None);
        life.become_member(2, false);
    }
}

#[test]
fn silence_is_told_once_a_stretch() {
    let mut life = Life::new(|config| config.session_timeout = 10 * SECOND);
    life.become_member(1, false);
    for _ in 0..2 {
        let mut told = 0;
        for _ in 0..30 {
            life.now += SECOND;
            if let Some(call) = life.call() {
                assert!(matches!(call, Call::Heartbeat { .. }));
                life.answer(Answer::Beat(Err(Error::new(ErrorKind::Network, "away"))));
            }
            while let Some(event) = life.event() {
                assert!(matches!(event, GroupEvent::Unreachable { silent_for } if silent_for >= 10 * SECOND));
                told += 1;
            }
        }
        assert_eq!(told, 1);
        life.now += SECOND;
        life.call();
        life.answer(Answer::Beat(Ok(())));
    }
}

#[test]
fn early_heartbeats_become_rarer() {
    let mut life = Life::new(|config| config.early_heartbeat = Some(SECOND / 2));
    for generation in 1..3 {
        life.become_member(generation, false);
        for wait in [SECOND / 2, SECOND, 2 * SECOND, 3 * SECOND, 3 * SECOND] {
            life.now += wait - SECOND / 100;
            assert_eq!(life.call(), None);
            life.now += SECOND / 100;
            assert!(matches!(life.call(), Some(Call::Heartbeat { .. })), "after {wait:?}");
            life.answer(Answer::Beat(Ok(())));
        }
    }
}

#[test]
fn leaving_is_said_for_dynamic_members_only() {
    for (instance, said) in [(None, Some("me".to_owned())), (Some("one".to_owned()), None)] {
        let mut life = Life::new(|config| config.instance_id = instance);
        life.become_member(1, false);
        assert_eq!(life.machine.leave(), said);
        assert_eq!((life.call(), life.machine.generation()), (None, -1));
        assert_eq!(life.machine.leave(), None);
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let mut config = GroupConfig::new("", "connect");
    assert!(config.validate().unwrap_err().to_string().contains("group.id"));
    config.group_id = "g".into();
    config.heartbeat_interval = config.session_timeout;
    assert!(config.validate().unwrap_err().to_string().contains("heartbeat.interval.ms"));
}
