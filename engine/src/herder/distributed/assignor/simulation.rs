//! Groups of many members that come and go at random, under a clock of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{IncrementalAssignor, Member, Plan};
use crate::herder::distributed::protocol::{CONNECTOR_TASK, Items};

type Item = (Arc<str>, i32);

/// A group and the one leader that all its rounds have.
struct Group {
    leader: IncrementalAssignor,
    members: BTreeMap<String, BTreeSet<Item>>,
    configured: BTreeSet<Item>,
    generation: i32,
    now_ms: u64,
    joined: usize,
    slowest: Duration,
}

fn connectors(count: usize, tasks: usize) -> BTreeSet<Item> {
    let connector = |number| -> Arc<str> { format!("connector-{number}").into() };
    let of = |number| (CONNECTOR_TASK..tasks as i32).map(move |task| (connector(number), task));
    (0..count).flat_map(of).collect()
}

impl Group {
    fn new(max_delay_ms: u64, configured: BTreeSet<Item>) -> Group {
        let leader = IncrementalAssignor::new(max_delay_ms);
        let members = BTreeMap::new();
        Group { leader, members, configured, generation: 0, now_ms: 1, joined: 0, slowest: Duration::ZERO }
    }

    fn join(&mut self, count: usize) {
        for _ in 0..count {
            self.joined += 1;
            self.members.insert(format!("member-{:05}", self.joined * 7919 % 100_003), BTreeSet::new());
        }
    }

    fn leave(&mut self, place: usize) {
        let id = self.members.keys().nth(place % self.members.len()).unwrap().clone();
        self.members.remove(&id);
    }

    /// One round: members stop what is revoked, start what is assigned. Nothing ever runs twice.
    fn round(&mut self) -> Plan {
        let member = |(id, held): (&String, &BTreeSet<Item>)| Member {
            id: id.clone(),
            holds: Items::collect(held.iter().cloned()),
        };
        let members: Vec<Member> = self.members.iter().map(member).collect();
        let configured = Items::collect(self.configured.iter().cloned());
        let began = Instant::now();
        let plan = self.leader.plan(self.now_ms, self.generation + 1, self.generation, &members, &configured);
        self.slowest = self.slowest.max(began.elapsed());
        self.generation += 1;
        let mut running = BTreeSet::new();
        for (place, held) in self.members.values_mut().enumerate() {
            for (connector, task) in plan.revoked[place].iter() {
                assert!(held.remove(&(connector.clone(), task)), "revoked what it does not run");
            }
            for (connector, task) in plan.assigned[place].iter() {
                assert!(held.insert((connector.clone(), task)), "assigned what it runs");
            }
            for item in held.iter() {
                assert!(running.insert(item.clone()), "{item:?} runs twice");
            }
        }
        plan
    }

    /// Rounds as the members ask for them, until nobody asks; gives how many items were revoked in all.
    fn settle(&mut self) -> usize {
        let mut revoked = 0;
        for _ in 0..50 {
            let plan = self.round();
            let moved: usize = plan.revoked.iter().map(|items| items.iter().count()).sum();
            revoked += moved;
            self.now_ms += plan.delay_ms;
            if moved == 0 && plan.delay_ms == 0 {
                return revoked;
            }
        }
        panic!("the group does not come to rest");
    }

    fn loads(&self, connectors: bool) -> Vec<usize> {
        let of_kind = |item: &&Item| (item.1 == CONNECTOR_TASK) == connectors;
        self.members.values().map(|held| held.iter().filter(of_kind).count()).collect()
    }

    /// The fewest items that have to move from where they run to make the group balanced.
    fn least_moves(&self) -> usize {
        let moves = |connectors| {
            let mut loads = self.loads(connectors);
            loads.sort_unstable_by(|a, b| b.cmp(a));
            let total =
                self.configured.iter().filter(|item| (item.1 == CONNECTOR_TASK) == connectors).count();
            let (least, extra) = (total / loads.len(), total % loads.len());
            let share = |place: usize| least + usize::from(place < extra);
            loads.iter().enumerate().map(|(place, load)| load.saturating_sub(share(place))).sum::<usize>()
        };
        moves(true) + moves(false)
    }

    fn assert_balanced(&self) {
        let running: BTreeSet<Item> = self.members.values().flatten().cloned().collect();
        assert!(running == self.configured, "not exactly what is configured runs");
        for connectors in [true, false] {
            let loads = self.loads(connectors);
            let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
            assert!(most - least <= 1, "loads from {least} to {most}");
        }
    }
}

#[test]
fn ten_thousand_tasks_on_a_hundred_workers() {
    let mut random = fastrand::Rng::with_seed(415);
    let mut group = Group::new(300_000, connectors(1_000, 10));
    group.join(100);
    group.settle();
    group.assert_balanced();
    for _ in 0..12 {
        let before = group.members.clone();
        if random.bool() && group.members.len() < 110 {
            group.join(random.usize(1..4));
            let least = group.least_moves();
            assert_eq!(group.settle(), least, "more moved than had to");
        } else {
            for _ in 0..random.usize(1..4) {
                group.leave(random.usize(..));
            }
            assert_eq!(group.settle(), 0, "work of members that stay was moved");
            for (id, held) in &group.members {
                assert!(held.is_superset(&before[id]));
            }
        }
        group.assert_balanced();
    }
    println!("the slowest plan took {:?}", group.slowest); // --release -- --nocapture shows it
}

#[test]
fn lost_work_waits_for_its_worker() {
    let mut group = Group::new(300_000, connectors(4, 3));
    group.join(2);
    group.settle();
    let (id, held) = group.members.pop_first().unwrap();
    let plan = group.round();
    assert_eq!(plan.delay_ms, 300_000);
    assert!(plan.assigned.iter().all(Items::is_empty) && plan.revoked.iter().all(Items::is_empty));
    // a minute later it is back under another id, empty: it gets the same work when the wait ends
    group.now_ms += 60_000;
    group.members.insert(format!("{id}-again"), BTreeSet::new());
    let plan = group.round();
    assert_eq!(plan.delay_ms, 240_000);
    assert!(plan.assigned.iter().all(Items::is_empty));
    group.now_ms += 240_000;
    let plan = group.round();
    assert_eq!(plan.delay_ms, 0);
    assert_eq!(group.members[&format!("{id}-again")], held);
    group.assert_balanced();
}

#[test]
fn nobody_came_back_and_a_new_leader_waits_for_nobody() {
    let mut group = Group::new(300_000, connectors(5, 2));
    group.join(3);
    group.settle();
    group.leave(0);
    assert_eq!(group.round().delay_ms, 300_000);
    group.now_ms += 300_000;
    assert_eq!(group.round().delay_ms, 0);
    group.assert_balanced();
    group.leave(0);
    group.leader = IncrementalAssignor::new(300_000);
    assert_eq!(group.round().delay_ms, 0);
    group.assert_balanced();
}

#[test]
fn deleted_and_duplicated_work_is_revoked_from_everybody() {
    let mut group = Group::new(0, connectors(3, 2));
    group.join(2);
    group.settle();
    let gone: Arc<str> = "connector-1".into();
    group.configured.retain(|(connector, _)| *connector != gone);
    group.settle();
    group.assert_balanced();

    let holds = Items(vec![("connector-0".into(), vec![0])]);
    let member = |id: &str| Member { id: id.to_owned(), holds: holds.clone() };
    let plan = IncrementalAssignor::new(0).plan(0, 1, -1, &[member("a"), member("b")], &holds);
    assert_eq!(plan.revoked, [holds.clone(), holds.clone()]);
    assert!(plan.assigned.iter().all(Items::is_empty));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_group_comes_to_a_balanced_rest(
        max_delay in prop::sample::select(vec![0_u64, 10, 300_000]),
        count in 1_usize..40,
        tasks in 0_usize..6,
        steps in prop::collection::vec((0_u8..4, 0_usize..1000), 1..20),
    ) {
        let mut group = Group::new(max_delay, connectors(count, tasks));
        group.join(1);
        for (kind, number) in steps {
            match kind {
                0 => group.join(1 + number % 3),
                1 if group.members.len() > 1 => group.leave(number),
                2 => group.configured = connectors(1 + number % 40, number % 7),
                // only one round passes before the next thing happens
                _ => drop(group.round()),
            }
            if number % 3 == 0 {
                group.settle();
                group.assert_balanced();
            }
        }
        group.settle();
        group.assert_balanced();
    }
}
