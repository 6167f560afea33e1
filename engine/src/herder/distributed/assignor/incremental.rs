//! The incremental cooperative assignment of KIP-415, with the later fixes (KIP-563 and the ones after): what runs stays
//! where it runs as long as that is balanced; work of a member that has gone waits for its return; what has to move is
//! revoked in one round and assigned in the next.
//!
//! Cost of a plan: O(items · log items) for the sorted numbers of [`super::ids`], where items are connectors and tasks.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::ids::{Id, Names, both, is_connector, minus, union};
use super::{Member, Plan};
use crate::herder::distributed::protocol::Items;

/// Base of the wait between revoking rounds that follow each other, in milliseconds.
const REVOKING_BACKOFF_BASE: u64 = 40;

/// The leader's memory from one rebalance to the next. Another leader begins with an empty one and then counts nothing as lost.
#[derive(Debug)]
pub(crate) struct IncrementalAssignor {
    /// `scheduled.rebalance.max.delay.ms`.
    max_delay_ms: u64,
    previous: Items,
    previous_revocation: Items,
    previous_generation: i32,
    previous_members: BTreeSet<String>,
    /// Members that came empty while the lost work of another waited: perhaps the same, restarted.
    candidates: BTreeSet<String>,
    /// When the wait for lost work ends.
    scheduled_ms: Option<u64>,
    delay_ms: u64,
    revoked_in_previous: bool,
    successive_revocations: u32,
}

/// A plan being made; sets are sorted, `next` and `revoke` by member.
struct Draft<'a> {
    members: &'a [Member],
    next: Vec<Vec<Id>>,
    revoke: Vec<Vec<Id>>,
    /// To be given to the least loaded.
    assign: Vec<Id>,
}

impl IncrementalAssignor {
    /// A leader that knows nothing of earlier rounds.
    pub(crate) fn new(max_delay_ms: u64) -> IncrementalAssignor {
        IncrementalAssignor {
            max_delay_ms,
            previous: Items::default(),
            previous_revocation: Items::default(),
            previous_generation: -1,
            previous_members: BTreeSet::new(),
            candidates: BTreeSet::new(),
            scheduled_ms: None,
            delay_ms: 0,
            revoked_in_previous: false,
            successive_revocations: 0,
        }
    }

    /// Plans `generation`. `last_completed` is the last generation whose assignment this leader got itself: if it is not
    /// the one planned last, what was planned is not known to have come about.
    pub(crate) fn plan(
        &mut self,
        now_ms: u64,
        generation: i32,
        last_completed: i32,
        members: &[Member],
        configured: &Items,
    ) -> Plan {
        if self.previous_generation != last_completed {
            self.previous = Items::default();
        }
        let sources = members.iter().map(|member| &member.holds);
        let own = [configured, &self.previous, &self.previous_revocation];
        let names = Names::of(sources.chain(own));
        let configured = names.ids(configured);
        let held: Vec<Vec<Id>> = members.iter().map(|member| names.ids(&member.holds)).collect();
        let (active, duplicated) = union(&held);
        let mut previous = names.ids(&self.previous);
        let revoked_before = names.ids(&std::mem::take(&mut self.previous_revocation));
        if !both(&revoked_before, &active).is_empty() {
            // a revocation has not come about: begin again from what runs
            previous.clone_from(&active);
        }
        let (known, _) = union(&[previous.clone(), active.clone()]);
        let deleted = minus(&known, &configured);
        let lost = minus(&minus(&previous, &active), &deleted);
        let (unwanted, _) = union(&[deleted, duplicated]);

        let mut draft = Draft {
            members,
            next: held.iter().map(|held| minus(held, &unwanted)).collect(),
            revoke: held.iter().map(|held| both(held, &unwanted)).collect(),
            assign: minus(&configured, &known),
        };
        self.place_lost(now_ms, &lost, &configured, &mut draft);
        if self.delay_ms == 0 {
            self.balance(now_ms, &configured, &mut draft);
        } else {
            self.revoked_in_previous = false;
        }
        draft.assign_to_least_loaded();
        draft.next.iter_mut().for_each(|next| next.sort_unstable());
        draft.revoke.iter_mut().for_each(|revoke| revoke.sort_unstable());

        let (revoked, _) = union(&draft.revoke);
        let mut remembered = draft.next.clone();
        remembered.push(lost);
        self.previous = names.items(&minus(&union(&remembered).0, &revoked));
        self.previous_revocation = names.items(&revoked);
        self.previous_generation = generation;
        self.previous_members = members.iter().map(|member| member.id.clone()).collect();
        let added = draft.next.iter().zip(&held).map(|(next, held)| names.items(&minus(next, held)));
        Plan {
            assigned: added.collect(),
            revoked: draft.revoke.iter().map(|revoke| names.items(revoke)).collect(),
            running: draft.next.iter().map(|next| names.items(next)).collect(),
            delay_ms: self.delay_ms,
        }
    }

    fn reset_delay(&mut self) {
        self.candidates.clear();
        self.scheduled_ms = None;
        self.delay_ms = 0;
    }

    /// Decides what becomes of work that nobody runs any more.
    fn place_lost(&mut self, now_ms: u64, lost: &[Id], configured: &[Id], draft: &mut Draft<'_>) {
        if lost.is_empty() && (!self.revoked_in_previous || self.scheduled_ms.is_none()) {
            self.reset_delay();
            return;
        }
        let nobody_left = || {
            let present: BTreeSet<&str> = draft.members.iter().map(|member| member.id.as_str()).collect();
            self.previous_members.iter().all(|member| present.contains(member.as_str()))
        };
        if self.max_delay_ms == 0 || (self.scheduled_ms.is_none() && nobody_left()) {
            // an assignment that did not arrive, or no wish to wait: like new work
            draft.assign.extend_from_slice(lost);
            return;
        }
        if self.scheduled_ms.is_some_and(|at| now_ms >= at) {
            let candidate = |place: &usize| self.candidates.contains(&draft.members[*place].id);
            let candidates: Vec<usize> = (0..draft.members.len()).filter(candidate).collect();
            draft.give_back(lost, &candidates, configured);
            self.reset_delay();
            self.revoked_in_previous = false;
            return;
        }
        let empty = draft.members.iter().zip(&draft.next).filter(|(_, next)| next.is_empty());
        self.candidates.extend(empty.map(|(member, _)| member.id.clone()));
        self.delay_ms = match self.scheduled_ms {
            Some(at) => at - now_ms,
            None => self.max_delay_ms,
        };
        self.scheduled_ms = Some(now_ms + self.delay_ms);
    }

    /// Revokes what the busiest have too much of; not in two rounds that follow each other without a wait.
    fn balance(&mut self, now_ms: u64, configured: &[Id], draft: &mut Draft<'_>) {
        let surplus = draft.surplus(configured);
        let any = surplus.iter().any(|surplus| !surplus.is_empty());
        if !any {
            if self.revoked_in_previous {
                self.revoked_in_previous = false;
                self.successive_revocations = 0;
            }
            return;
        }
        if self.revoked_in_previous {
            self.successive_revocations += 1;
            let wait = REVOKING_BACKOFF_BASE.saturating_pow(self.successive_revocations);
            self.delay_ms = wait.min(self.max_delay_ms);
            if self.delay_ms != 0 {
                self.scheduled_ms = Some(now_ms + self.delay_ms);
                return;
            }
        }
        self.revoked_in_previous = true;
        for (place, surplus) in surplus.into_iter().enumerate() {
            draft.next[place].sort_unstable();
            draft.next[place] = minus(&draft.next[place], &surplus);
            draft.revoke[place].extend(surplus);
        }
    }
}

impl Draft<'_> {
    /// Lost work goes to the candidates in turn, up to the share that each has anyway; the rest is like new work.
    fn give_back(&mut self, lost: &[Id], candidates: &[usize], configured: &[Id]) {
        for wanted in [true, false] {
            let of_kind = |id: &&Id| is_connector(**id) == wanted;
            let share = configured.iter().filter(of_kind).count() / self.next.len();
            let room = |place: &usize| share.saturating_sub(self.next[*place].iter().filter(of_kind).count());
            let mut rooms: Vec<(usize, usize)> =
                candidates.iter().map(|place| (*place, room(place))).filter(|(_, room)| *room > 0).collect();
            let mut turn = 0;
            for id in lost.iter().filter(of_kind) {
                if rooms.is_empty() {
                    self.assign.push(*id);
                    continue;
                }
                turn %= rooms.len();
                let (place, room) = &mut rooms[turn];
                self.next[*place].push(*id);
                *room -= 1;
                if *room == 0 {
                    rooms.remove(turn);
                } else {
                    turn += 1;
                }
            }
        }
    }

    /// What each has beyond its share, connectors and tasks apart; the remainders of the division go to those that have
    /// more already, so that as few as possible move.
    fn surplus(&self, configured: &[Id]) -> Vec<Vec<Id>> {
        let mut surplus = vec![Vec::new(); self.next.len()];
        if self.next.iter().all(Vec::is_empty) {
            return surplus;
        }
        for wanted in [true, false] {
            let of_kind = |id: &&Id| is_connector(**id) == wanted;
            let total = configured.iter().filter(of_kind).count();
            let (least, mut extras) = (total / self.next.len(), total % self.next.len());
            for (held, surplus) in self.next.iter().zip(&mut surplus) {
                let load = held.iter().filter(of_kind).count();
                let mut most = least;
                if load > least && extras > 0 {
                    extras -= 1;
                    most += 1;
                }
                let ids = held.iter().filter(of_kind).take(load.saturating_sub(most));
                surplus.extend(ids.copied());
            }
        }
        surplus.iter_mut().for_each(|surplus| surplus.sort_unstable());
        surplus
    }

    /// Connectors, then tasks, each to the member with the fewest of its kind.
    fn assign_to_least_loaded(&mut self) {
        self.assign.sort_unstable();
        for wanted in [true, false] {
            let of_kind = |id: &&Id| is_connector(**id) == wanted;
            let load = |next: &Vec<Id>| next.iter().filter(of_kind).count();
            let by_id = |place: usize| (load(&self.next[place]), self.members[place].id.as_str(), place);
            let mut heap: BinaryHeap<_> = (0..self.next.len()).map(|place| Reverse(by_id(place))).collect();
            for id in self.assign.iter().filter(of_kind) {
                let Some(mut least) = heap.peek_mut() else { return };
                let Reverse((load, _, place)) = &mut *least;
                *load += 1;
                self.next[*place].push(*id);
            }
        }
    }
}
