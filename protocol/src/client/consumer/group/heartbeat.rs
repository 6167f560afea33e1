//! The rules of a membership by the new protocol (KIP-848), without I/O: one request, the heartbeat, tells what a member
//! wants and owns, and brings what it is to own. Time and answers come in; heartbeats and events go out.
//!
//! A heartbeat says only what has changed since the last one that was answered; after an error it says everything. Every
//! change of state begins a new round, and an answer to an older one is not taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::{Error, ErrorCode, ErrorKind};

/// Epoch of a member that joins.
const JOIN: i32 = 0;
/// Epoch of a member that leaves for good.
const LEAVE: i32 = -1;
/// Epoch of a static member that will be back.
const LEAVE_FOR_NOW: i32 = -2;
/// How often to beat before the coordinator has said how often.
const FIRST_INTERVAL: Duration = Duration::from_secs(3);

/// Partitions by topic id.
pub(super) type ById = Vec<(Uuid, Vec<i32>)>;

/// What a member wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Names(Vec<Arc<str>>),
    Pattern(String),
}

/// A heartbeat to send; what is none has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) member_id: String,
    pub(super) epoch: i32,
    /// Whether to say what never changes: rack, assignor, rebalance timeout.
    pub(super) full: bool,
    pub(super) wanted: Option<Wanted>,
    pub(super) owned: Option<ById>,
}

/// A coordinator's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Given by coordinators that make the ids.
    pub(super) member_id: Option<String>,
    pub(super) epoch: i32,
    pub(super) interval: Duration,
    /// What the member is to own; none: as before.
    pub(super) assignment: Option<ById>,
}

#[derive(Debug)]
pub(super) enum Event {
    /// This, and nothing else, is to be owned.
    Assigned(ById),
    /// Out of the group.
    Lost(Error),
    /// Joining again would not help.
    Failed(Error),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Waits for the owner.
    Idle,
    Joining,
    Member,
}

/// What a member is made of.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) group: String,
    pub(super) instance: Option<String>,
    /// The owner must show up within this time.
    pub(super) idle_limit: Duration,
    pub(super) backoff: Duration,
}

pub(super) struct Machine {
    rules: Rules,
    state: State,
    round: u64,
    member_id: String,
    epoch: i32,
    wanted: Option<Wanted>,
    owned: ById,
    /// What the coordinator has heard of `wanted` and `owned`; none: say everything.
    told: Option<(Option<Wanted>, ById)>,
    /// What the heartbeat under way tells.
    telling: (Option<Wanted>, ById),
    busy: bool,
    /// There is something to say before the interval is over.
    urgent: bool,
    interval: Duration,
    next_beat: Instant,
    attended: Instant,
    events: VecDeque<Event>,
}

impl Machine {
    pub(super) fn new(rules: Rules, member_id: String, now: Instant) -> Self {
        Self {
            rules,
            state: State::Idle,
            round: 0,
            member_id,
            epoch: JOIN,
            wanted: None,
            owned: ById::new(),
            told: None,
            telling: (None, ById::new()),
            busy: false,
            urgent: false,
            interval: FIRST_INTERVAL,
            next_beat: now,
            attended: now,
            events: VecDeque::new(),
        }
    }

    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// Member id, and epoch; -1 outside of the group.
    pub(super) fn identity(&self) -> (&str, i32) {
        (&self.member_id, if self.state == State::Member { self.epoch } else { -1 })
    }

    pub(super) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn attend(&mut self, now: Instant) {
        self.attended = now;
    }

    /// What to read from now on.
    pub(super) fn subscribe(&mut self, wanted: Wanted) {
        self.urgent |= self.wanted.as_ref() != Some(&wanted);
        self.wanted = Some(wanted);
    }

    /// The owner has nothing (any more) and wants to be a member.
    pub(super) fn join(&mut self, now: Instant) {
        self.attended = now;
        if self.state == State::Idle {
            self.owned.clear();
            self.enter(State::Joining);
            self.next_beat = now;
        }
    }

    /// The owner has taken over what it was assigned.
    pub(super) fn acknowledge(&mut self, owned: ById) {
        self.urgent |= self.owned != owned;
        self.owned = owned;
    }

    /// The owner wants to be out; gives what to say.
    pub(super) fn leave(&mut self) -> Option<Beat> {
        let said = (self.state == State::Member || self.busy).then(|| self.goodbye());
        self.events.clear();
        self.enter(State::Idle);
        said
    }

    fn goodbye(&self) -> Beat {
        let epoch = if self.rules.instance.is_some() { LEAVE_FOR_NOW } else { LEAVE };
        Beat { member_id: self.member_id.clone(), epoch, full: false, wanted: None, owned: None }
    }

    /// The heartbeat that is due, and when to look again if nothing happens before.
    pub(super) fn step(&mut self, now: Instant) -> (Option<Beat>, Option<Instant>) {
        if self.state == State::Idle {
            return (None, None);
        }
        let idle_at = self.attended + self.rules.idle_limit;
        if idle_at < now {
            let was_member = self.state == State::Member;
            let goodbye = was_member.then(|| self.goodbye());
            let message = format!(
                "group {}: no poll for {} ms, more than max.poll.interval.ms: this member leaves the group; raise max.poll.interval.ms or lower max.poll.records",
                self.rules.group,
                (now - self.attended).as_millis()
            );
            tracing::warn!("{message}");
            self.lost(Error::new(ErrorKind::Timeout, message));
            return (goodbye, None);
        }
        if self.busy || self.wanted.is_none() {
            return (None, Some(idle_at));
        }
        if self.next_beat > now && !(self.urgent && self.told.is_some()) {
            return (None, Some(self.next_beat.min(idle_at)));
        }
        self.busy = true;
        self.urgent = false;
        self.telling = (self.wanted.clone(), self.owned.clone());
        let told = self.told.as_ref();
        let beat = Beat {
            member_id: self.member_id.clone(),
            epoch: self.epoch,
            full: told.is_none(),
            wanted: self
                .wanted
                .clone()
                .filter(|wanted| told.is_none_or(|(told, _)| told.as_ref() != Some(wanted))),
            owned: told.is_none_or(|(_, told)| *told != self.owned).then(|| self.owned.clone()),
        };
        (Some(beat), None)
    }

    /// Takes the answer to a heartbeat of `round`.
    pub(super) fn answered(&mut self, round: u64, answer: Result<Answer, Error>, now: Instant) {
        if round != self.round {
            return;
        }
        self.busy = false;
        match answer {
            Ok(answer) => self.beaten(answer, now),
            Err(error) => self.failed(error, now),
        }
    }

    fn beaten(&mut self, answer: Answer, now: Instant) {
        if let Some(id) = answer.member_id {
            self.member_id = id;
        }
        self.epoch = answer.epoch;
        self.interval = answer.interval;
        self.next_beat = now + self.interval;
        self.told = Some(self.telling.clone());
        self.state = State::Member;
        if let Some(assignment) = answer.assignment {
            self.events.retain(|event| !matches!(event, Event::Assigned(_)));
            self.events.push_back(Event::Assigned(assignment));
        }
    }

    fn failed(&mut self, error: Error, now: Instant) {
        // the coordinator may have taken it or not
        self.told = None;
        match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => self.lost(error),
            Some(ErrorCode::UnreleasedInstanceId | ErrorCode::FencedInstanceId) => {
                let message = format!(
                    "group {}: group.instance.id={} is another member's: give each member one of its own, or wait until that one has left",
                    self.rules.group,
                    self.rules.instance.as_deref().unwrap_or_default()
                );
                let code = error.code().unwrap_or(ErrorCode::FencedInstanceId);
                self.out(Event::Failed(Error::broker(code, message).with_source(error)));
            }
            _ if error.is_retriable() => {
                tracing::debug!(group = %self.rules.group, "a heartbeat failed: {error}");
                self.next_beat = now + self.rules.backoff;
            }
            _ => self.out(Event::Failed(error)),
        }
    }

    fn lost(&mut self, reason: Error) {
        self.out(Event::Lost(reason));
    }

    fn out(&mut self, event: Event) {
        self.events.clear();
        self.enter(State::Idle);
        self.events.push_back(event);
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.round += 1;
        self.epoch = JOIN;
        self.told = None;
        self.busy = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn machine(instance: Option<&str>) -> (Machine, Instant) {
        let rules = Rules {
            group: "g".into(),
            instance: instance.map(str::to_owned),
            idle_limit: 60 * SECOND,
            backoff: SECOND / 10,
        };
        let now = Instant::now();
        (Machine::new(rules, "me".into(), now), now)
    }

    fn names(names: &[&str]) -> Wanted {
        Wanted::Names(names.iter().map(|name| Arc::from(*name)).collect())
    }

    fn answer(epoch: i32, assignment: Option<ById>) -> Result<Answer, Error> {
        Ok(Answer { member_id: None, epoch, interval: 5 * SECOND, assignment })
    }

    fn beat(machine: &mut Machine, now: Instant) -> Beat {
        machine.step(now).0.expect("no heartbeat is due")
    }

    fn one() -> ById {
        vec![(Uuid::from_u128(1), vec![0, 1])]
    }

    #[test]
    fn a_member_says_all_once_and_then_what_has_changed() {
        let (mut machine, mut now) = machine(None);
        machine.join(now);
        assert_eq!(machine.step(now).0, None, "nothing is wanted yet");
        machine.subscribe(names(&["t"]));
        let first = beat(&mut machine, now);
        let everything = Beat {
            member_id: "me".into(),
            epoch: 0,
            full: true,
            wanted: Some(names(&["t"])),
            owned: Some(Vec::new()),
        };
        assert_eq!(first, everything);
        assert_eq!((machine.step(now).0, machine.identity()), (None, ("me", -1)));
        machine.answered(machine.round(), answer(3, Some(one())), now);
        assert!(matches!(machine.take_event(), Some(Event::Assigned(target)) if target == one()));
        assert_eq!((machine.step(now).0, machine.identity()), (None, ("me", 3)));
        machine.acknowledge(one());
        let second = beat(&mut machine, now);
        assert_eq!(
            (second.epoch, second.full, &second.wanted, &second.owned),
            (3, false, &None, &Some(one()))
        );
        machine.answered(machine.round(), answer(3, None), now);
        assert_eq!(machine.step(now).0, None);
        now += 5 * SECOND;
        let third = beat(&mut machine, now);
        assert_eq!((third.full, third.wanted, third.owned), (false, None, None));
        // something new while it is under way goes with the next one, at once
        machine.subscribe(names(&["t", "u"]));
        machine.answered(machine.round(), answer(4, None), now);
        let fourth = beat(&mut machine, now);
        assert_eq!((fourth.epoch, fourth.wanted), (4, Some(names(&["t", "u"]))));
        // no answer: everything is said again
        machine.answered(machine.round(), Err(Error::new(ErrorKind::Timeout, "late")), now);
        assert_eq!(machine.step(now).0, None);
        now += SECOND;
        let fifth = beat(&mut machine, now);
        assert_eq!((fifth.epoch, fifth.full, fifth.owned), (4, true, Some(one())));
    }

    #[test]
    fn a_fenced_member_joins_again_when_its_owner_is_ready() {
        let (mut machine, now) = machine(None);
        machine.subscribe(names(&["t"]));
        machine.join(now);
        beat(&mut machine, now);
        machine.answered(machine.round(), answer(1, Some(one())), now);
        machine.acknowledge(one());
        beat(&mut machine, now);
        let stale = machine.round();
        machine.answered(stale, Err(Error::broker(ErrorCode::FencedMemberEpoch, "test")), now);
        assert!(matches!(machine.take_event(), Some(Event::Lost(_))), "and no assignment of before");
        assert!(machine.take_event().is_none());
        assert_eq!(machine.step(now).0, None);
        machine.join(now);
        let again = beat(&mut machine, now);
        assert_eq!((again.epoch, again.full, again.owned), (0, true, Some(Vec::new())));
        machine.answered(stale, answer(9, Some(one())), now);
        assert!(machine.take_event().is_none(), "an answer of before");
    }

    #[test]
    fn a_name_in_use_is_fatal_and_other_refusals_are_told() {
        for code in [ErrorCode::UnreleasedInstanceId, ErrorCode::GroupAuthorizationFailed] {
            let (mut machine, now) = machine(Some("one"));
            machine.subscribe(Wanted::Pattern("t.*".into()));
            machine.join(now);
            beat(&mut machine, now);
            machine.answered(machine.round(), Err(Error::broker(code, "test")), now);
            let Some(Event::Failed(error)) = machine.take_event() else { panic!("{code}") };
            assert_eq!(error.code(), Some(code));
            assert_eq!(machine.step(now).0, None);
        }
    }

    #[test]
    fn an_idle_owner_leaves() {
        for (instance, epoch) in [(None, LEAVE), (Some("one"), LEAVE_FOR_NOW)] {
            let (mut machine, mut now) = machine(instance);
            machine.subscribe(names(&["t"]));
            machine.join(now);
            beat(&mut machine, now);
            machine.answered(machine.round(), answer(1, None), now);
            now += 61 * SECOND;
            assert_eq!(beat(&mut machine, now).epoch, epoch);
            assert!(matches!(machine.take_event(), Some(Event::Lost(_))));
            assert_eq!(machine.step(now).0, None);
        }
        let (mut machine, now) = machine(None);
        assert_eq!(machine.leave(), None);
        machine.subscribe(names(&["t"]));
        machine.join(now);
        beat(&mut machine, now);
        machine.answered(machine.round(), answer(1, None), now);
        assert_eq!(machine.leave().map(|beat| beat.epoch), Some(LEAVE));
    }
}
