//! Groups of the new protocol (KIP-848): the coordinator assigns, members reconcile heartbeat by heartbeat.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::assignor::{self, Partitions, Subscriber};

/// Epochs with a meaning of their own.
pub(crate) const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
const STATIC_LEAVE_EPOCH: i32 = -2;

/// Topics by name, as subscriptions see them: id and number of partitions.
pub(crate) type TopicView = BTreeMap<String, (Uuid, i32)>;

/// A ConsumerGroupHeartbeat.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    pub(crate) member_id: StrBytes,
    pub(crate) epoch: i32,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) rack: Option<StrBytes>,
    /// -1 when unchanged.
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) names: Option<Vec<String>>,
    /// The expression and the names it matches now.
    pub(crate) regex: Option<StrBytes>,
    pub(crate) assignor: Option<String>,
    pub(crate) owned: Option<Partitions>,
    pub(crate) client_id: StrBytes,
    pub(crate) host: String,
}

/// What a heartbeat answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BeatReply {
    pub(crate) member_id: StrBytes,
    pub(crate) epoch: i32,
    pub(crate) assignment: Option<Partitions>,
}

/// A member of the new protocol.
#[derive(Debug)]
pub(crate) struct ConsumerMember {
    pub(crate) instance: Option<StrBytes>,
    pub(crate) rack: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) host: String,
    pub(crate) names: BTreeSet<String>,
    pub(crate) regex: Option<StrBytes>,
    assignor: Option<String>,
    rebalance_timeout: Duration,
    pub(crate) epoch: i32,
    previous_epoch: i32,
    pub(crate) assigned: Partitions,
    /// Still owned, to be given back before the epoch advances.
    revoking: Partitions,
    pub(crate) target: Partitions,
    session_deadline: Instant,
    revoke_deadline: Option<Instant>,
    /// A static member that left for a restart; its place is kept.
    away: bool,
}

/// A group of the new protocol.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) epoch: i32,
    pub(crate) assignment_epoch: i32,
    pub(crate) assignor: String,
    pub(crate) members: IndexMap<StrBytes, ConsumerMember>,
    instances: HashMap<StrBytes, StrBytes>,
    /// Subscribed topics as they were when the group epoch last moved.
    seen: TopicView,
    session_timeout: Duration,
}

/// Rebalance timeout of a member that named none.
const DEFAULT_REBALANCE: Duration = Duration::from_secs(45);

impl ConsumerGroup {
    pub(crate) fn new() -> ConsumerGroup {
        ConsumerGroup {
            epoch: 0,
            assignment_epoch: 0,
            assignor: assignor::NAMES[0].to_owned(),
            members: IndexMap::new(),
            instances: HashMap::new(),
            seen: TopicView::new(),
            session_timeout: DEFAULT_REBALANCE,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(|m| m.is_stable(self.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Whether a member may commit offsets with this epoch.
    pub(crate) fn check_commit(&self, member_id: &StrBytes, epoch: i32) -> Result<(), ResponseError> {
        let member = self.members.get(member_id).ok_or(ResponseError::UnknownMemberId)?;
        if epoch == member.epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }

    /// One heartbeat. `view` has all topics.
    pub(crate) fn beat(
        &mut self,
        beat: Beat,
        view: &TopicView,
        session_timeout: Duration,
        now: Instant,
    ) -> Result<BeatReply, ResponseError> {
        self.session_timeout = session_timeout;
        if beat.epoch < JOIN_EPOCH {
            return self.leave(&beat);
        }
        let id = beat.member_id.clone();
        let joining = beat.epoch == JOIN_EPOCH;
        if joining {
            self.enter(&beat, now)?
        } else {
            self.check_epoch(&beat)?
        }
        let full = joining || beat.owned.is_some() && beat.names.is_some();
        let mut changed = self.update(&beat, now);
        if joining && beat.owned.is_none() {
            // A member that starts over owns nothing.
            changed |= self.members.get(&id).is_some_and(|m| m.epoch == JOIN_EPOCH);
        }
        let seen = self.subscribed(view);
        if changed || seen != self.seen {
            self.seen = seen;
            self.epoch += 1;
        }
        if self.assignment_epoch < self.epoch {
            self.assign();
        }
        let before = self.members.get(&id).map(|m| m.assigned.clone());
        self.reconcile(&id, beat.owned.as_ref(), now);
        let Some(member) = self.members.get(&id) else { return Err(ResponseError::UnknownMemberId) };
        let changed = before.as_ref() != Some(&member.assigned);
        Ok(BeatReply {
            member_id: id,
            epoch: member.epoch,
            assignment: (full || changed).then(|| member.assigned.clone()),
        })
    }

    /// A new member, one that starts over, or a static one that returns.
    fn enter(&mut self, beat: &Beat, now: Instant) -> Result<(), ResponseError> {
        if self.members.contains_key(&beat.member_id) {
            return Ok(());
        }
        let mut heritage = None;
        if let Some(instance) = &beat.instance {
            if let Some(old) = self.instances.get(instance).cloned() {
                if !self.members.get(&old).is_none_or(|m| m.away) {
                    return Err(ResponseError::UnreleasedInstanceId);
                }
                heritage = self.members.shift_remove(&old);
            }
            self.instances.insert(instance.clone(), beat.member_id.clone());
        }
        let heritage = heritage.map(|m| (m.names, m.regex, m.assigned, m.target));
        let (names, regex, assigned, target) = heritage.unwrap_or_default();
        self.members.insert(
            beat.member_id.clone(),
            ConsumerMember {
                instance: beat.instance.clone(),
                rack: beat.rack.clone(),
                client_id: beat.client_id.clone(),
                host: beat.host.clone(),
                names,
                regex,
                assignor: None,
                rebalance_timeout: DEFAULT_REBALANCE,
                epoch: JOIN_EPOCH,
                previous_epoch: JOIN_EPOCH,
                assigned,
                revoking: Partitions::new(),
                target,
                session_deadline: now + self.session_timeout,
                revoke_deadline: None,
                away: false,
            },
        );
        Ok(())
    }

    fn check_epoch(&self, beat: &Beat) -> Result<(), ResponseError> {
        let member = self.members.get(&beat.member_id).ok_or(ResponseError::UnknownMemberId)?;
        if beat.instance.is_some() && member.instance != beat.instance {
            return Err(ResponseError::FencedInstanceId);
        }
        // An answer that was lost: the member repeats its previous epoch and owns no more than it may.
        let repeats = beat.epoch == member.previous_epoch
            && beat.owned.as_ref().is_some_and(|owned| is_subset(owned, &member.assigned));
        if beat.epoch == member.epoch || repeats { Ok(()) } else { Err(ResponseError::FencedMemberEpoch) }
    }

    /// Takes over what the member says of itself; true when the subscription changed.
    fn update(&mut self, beat: &Beat, now: Instant) -> bool {
        let session_deadline = now + self.session_timeout;
        let Some(member) = self.members.get_mut(&beat.member_id) else { return false };
        member.session_deadline = session_deadline;
        member.away = false;
        if let Ok(ms) = u64::try_from(beat.rebalance_timeout_ms) {
            member.rebalance_timeout = Duration::from_millis(ms);
        }
        let mut changed = false;
        if let Some(names) = &beat.names {
            let names: BTreeSet<String> = names.iter().cloned().collect();
            changed |= names != member.names;
            member.names = names;
        }
        if let Some(regex) = &beat.regex {
            let regex = Some(regex.clone()).filter(|r| !r.is_empty());
            changed |= regex != member.regex;
            member.regex = regex;
        }
        if let Some(assignor) = &beat.assignor {
            changed |= member.assignor.as_ref() != Some(assignor);
            member.assignor = Some(assignor.clone());
        }
        changed
    }

    /// The topics that anybody subscribes to.
    fn subscribed(&self, view: &TopicView) -> TopicView {
        let mut seen = TopicView::new();
        for member in self.members.values() {
            let regex = member.regex.as_ref().and_then(|r| compile(r).ok());
            for (name, topic) in view {
                let matches = regex.as_ref().is_some_and(|r| r.is_match(name).unwrap_or(false));
                if matches || member.names.contains(name) {
                    seen.insert(name.clone(), *topic);
                }
            }
        }
        seen
    }

    /// Computes everybody's target.
    fn assign(&mut self) {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|m| m.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        if let Some((name, _)) = votes.into_iter().max_by_key(|(_, count)| *count) {
            self.assignor = name.to_owned();
        }
        let topics: BTreeMap<Uuid, i32> = self.seen.values().copied().collect();
        let subscriber = |m: &ConsumerMember| {
            let regex = m.regex.as_ref().and_then(|r| compile(r).ok());
            let wants = |name: &String| {
                m.names.contains(name) || regex.as_ref().is_some_and(|r| r.is_match(name).unwrap_or(false))
            };
            Subscriber {
                topics: self.seen.iter().filter(|(name, _)| wants(name)).map(|(_, (id, _))| *id).collect(),
                current: m.target.clone(),
            }
        };
        let members: Vec<Subscriber> = self.members.values().map(subscriber).collect();
        let targets = assignor::assign(&self.assignor, &members, &topics);
        for (member, target) in self.members.values_mut().zip(targets) {
            member.target = target;
        }
        self.assignment_epoch = self.epoch;
    }

    /// Moves one member towards its target as far as the others allow.
    fn reconcile(&mut self, id: &StrBytes, owned: Option<&Partitions>, now: Instant) {
        let taken = self.held_by_others(id);
        let assignment_epoch = self.assignment_epoch;
        let Some(member) = self.members.get_mut(id) else { return };
        if !member.revoking.is_empty() {
            let given_back = owned.is_some_and(|owned| !intersects(owned, &member.revoking));
            if !given_back && member.epoch != JOIN_EPOCH {
                return;
            }
            member.revoking = Partitions::new();
            member.revoke_deadline = None;
        }
        let keep = intersection(&member.assigned, &member.target);
        let revoke = difference(&member.assigned, &member.target);
        if !revoke.is_empty() && member.epoch != JOIN_EPOCH {
            member.assigned = keep;
            member.revoking = revoke;
            member.revoke_deadline = Some(now + member.rebalance_timeout);
            return;
        }
        let wanted = difference(&member.target, &keep);
        member.assigned = union(keep, difference(&wanted, &taken));
        if member.epoch != assignment_epoch {
            member.previous_epoch = member.epoch;
            member.epoch = assignment_epoch;
        }
    }

    fn held_by_others(&self, id: &StrBytes) -> Partitions {
        let others = self.members.iter().filter(|(other, _)| *other != id);
        others.fold(Partitions::new(), |held, (_, m)| {
            union(union(held, m.assigned.clone()), m.revoking.clone())
        })
    }

    fn leave(&mut self, beat: &Beat) -> Result<BeatReply, ResponseError> {
        let reply = BeatReply { member_id: beat.member_id.clone(), epoch: beat.epoch, assignment: None };
        let member = self.members.get_mut(&beat.member_id).ok_or(ResponseError::UnknownMemberId)?;
        match beat.epoch {
            LEAVE_EPOCH => self.remove(&beat.member_id),
            STATIC_LEAVE_EPOCH if member.instance.is_some() => member.away = true,
            _ => return Err(ResponseError::InvalidRequest),
        }
        Ok(reply)
    }

    fn remove(&mut self, id: &StrBytes) {
        let Some(member) = self.members.shift_remove(id) else { return };
        if let Some(instance) = member.instance {
            self.instances.remove(&instance);
        }
        self.epoch += 1;
        self.assign();
    }

    /// LeaveGroup, as an administrator sends it.
    pub(crate) fn remove_by(
        &mut self,
        member_id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        let id = match instance.filter(|_| member_id.is_empty()) {
            Some(instance) => self.instances.get(instance).cloned(),
            None => Some(member_id.clone()),
        };
        let id = id.filter(|id| self.members.contains_key(id)).ok_or(ResponseError::UnknownMemberId)?;
        self.remove(&id);
        Ok(())
    }

    /// Sessions that ended, and members that did not give back in time.
    pub(crate) fn tick(&mut self, now: Instant) {
        let gone: Vec<StrBytes> = self
            .members
            .iter()
            .filter(|(_, m)| m.session_deadline <= now || m.revoke_deadline.is_some_and(|d| d <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            tracing::info!(member = %id, "removing a silent member from its group");
            self.remove(&id);
        }
    }
}

impl ConsumerMember {
    fn is_stable(&self, epoch: i32) -> bool {
        self.epoch == epoch && self.revoking.is_empty() && self.assigned == self.target
    }
}

/// A subscription's expression; it must match a whole name.
pub(crate) fn compile(expression: &str) -> Result<fancy_regex::Regex, Box<fancy_regex::Error>> {
    fancy_regex::Regex::new(&format!("^(?:{expression})$")).map_err(Box::new)
}

fn combine(a: &Partitions, keep: impl Fn(&Uuid, &i32) -> bool) -> Partitions {
    let mut result = Partitions::new();
    for (topic, partitions) in a {
        let kept: BTreeSet<i32> = partitions.iter().filter(|p| keep(topic, p)).copied().collect();
        if !kept.is_empty() {
            result.insert(*topic, kept);
        }
    }
    result
}

fn has(partitions: &Partitions, topic: &Uuid, partition: &i32) -> bool {
    partitions.get(topic).is_some_and(|ps| ps.contains(partition))
}

fn intersection(a: &Partitions, b: &Partitions) -> Partitions {
    combine(a, |t, p| has(b, t, p))
}

fn difference(a: &Partitions, b: &Partitions) -> Partitions {
    combine(a, |t, p| !has(b, t, p))
}

fn intersects(a: &Partitions, b: &Partitions) -> bool {
    !intersection(a, b).is_empty()
}

fn is_subset(a: &Partitions, b: &Partitions) -> bool {
    difference(a, b).is_empty()
}

fn union(mut a: Partitions, b: Partitions) -> Partitions {
    for (topic, partitions) in b {
        a.entry(topic).or_default().extend(partitions);
    }
    a
}
