//! Server-side assignors of the new group protocol (KIP-848): `uniform` (sticky and balanced) and `range`.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// Partitions by topic id.
pub(crate) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// What an assignor sees of a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriber {
    pub(crate) topics: BTreeSet<Uuid>,
    /// Its current target, to be kept where possible.
    pub(crate) current: Partitions,
}

/// The assignors there are; the first is the default.
pub(crate) const NAMES: [&str; 2] = ["uniform", "range"];

/// Assigns every partition of `topics` (id → number of partitions) to one subscriber of its topic.
/// `members` must be in a stable order. The result has one entry per member, in that order.
pub(crate) fn assign(name: &str, members: &[Subscriber], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    if name == "range" { range(members, topics) } else { uniform(members, topics) }
}

fn range(members: &[Subscriber], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut result = vec![Partitions::new(); members.len()];
    for (topic, count) in topics {
        let subscribers: Vec<usize> =
            (0..members.len()).filter(|i| members[*i].topics.contains(topic)).collect();
        let Ok(n) = i32::try_from(subscribers.len()) else { continue };
        if n == 0 {
            continue;
        }
        let (each, extra) = (count / n, count % n);
        let mut next = 0;
        for (position, member) in (0..).zip(subscribers) {
            let take = each + i32::from(position < extra);
            if take > 0 {
                result[member].entry(*topic).or_default().extend(next..next + take);
            }
            next += take;
        }
    }
    result
}

fn uniform(members: &[Subscriber], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut result = vec![Partitions::new(); members.len()];
    let mut load = vec![0_usize; members.len()];
    let subscribed = |topic: &Uuid| members.iter().any(|m| m.topics.contains(topic));
    let total: usize =
        topics.iter().filter(|(t, _)| subscribed(t)).map(|(_, n)| usize::try_from(*n).unwrap_or(0)).sum();
    let active = members.iter().filter(|m| !m.topics.is_empty()).count().max(1);
    let (floor, mut extra) = (total / active, total % active);
    let mut taken: BTreeSet<(Uuid, i32)> = BTreeSet::new();

    // Everybody keeps what it has, up to a fair share.
    for (index, member) in members.iter().enumerate() {
        for (topic, partitions) in &member.current {
            let Some(count) = topics.get(topic).filter(|_| member.topics.contains(topic)) else { continue };
            for partition in partitions.iter().filter(|p| *p < count) {
                let fits = load[index] < floor || (load[index] == floor && extra > 0);
                if !fits || !taken.insert((*topic, *partition)) {
                    continue;
                }
                if load[index] == floor {
                    extra -= 1;
                }
                load[index] += 1;
                result[index].entry(*topic).or_default().insert(*partition);
            }
        }
    }
    // The rest goes to whoever has least, topics with few subscribers first.
    let mut order: Vec<(usize, Uuid, i32)> = topics
        .iter()
        .map(|(t, n)| (members.iter().filter(|m| m.topics.contains(t)).count(), *t, *n))
        .collect();
    order.sort_unstable();
    for (_, topic, count) in order {
        for partition in (0..count).filter(|p| !taken.contains(&(topic, *p))) {
            let candidates = (0..members.len()).filter(|i| members[*i].topics.contains(&topic));
            let Some(index) = candidates.min_by_key(|i| load[*i]) else { continue };
            load[index] += 1;
            result[index].entry(topic).or_default().insert(partition);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(topics: &[Uuid], current: Partitions) -> Subscriber {
        Subscriber { topics: topics.iter().copied().collect(), current }
    }

    fn sizes(result: &[Partitions]) -> Vec<usize> {
        result.iter().map(|p| p.values().map(BTreeSet::len).sum()).collect()
    }

    #[test]
    fn every_partition_has_exactly_one_owner_and_loads_are_even() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let topics = BTreeMap::from([(a, 5), (b, 4)]);
        for name in NAMES {
            let mut members = vec![member(&[a, b], Partitions::new()); 2];
            members.push(member(&[a], Partitions::new()));
            let result = assign(name, &members, &topics);
            let mut seen = BTreeSet::new();
            for (t, ps) in result.iter().flatten() {
                for p in ps {
                    assert!(seen.insert((*t, *p)), "{name}");
                }
            }
            assert_eq!(seen.len(), 9, "{name}");
            assert!(!result[2].contains_key(&b));
        }
    }

    #[test]
    fn uniform_moves_only_what_the_newcomer_needs() {
        let a = Uuid::from_u128(1);
        let topics = BTreeMap::from([(a, 6)]);
        let first = assign("uniform", &[member(&[a], Partitions::new())], &topics);
        assert_eq!(sizes(&first), [6]);
        let members = [member(&[a], first[0].clone()), member(&[a], Partitions::new())];
        let second = assign("uniform", &members, &topics);
        assert_eq!(sizes(&second), [3, 3]);
        assert!(second[0][&a].is_subset(&first[0][&a]));
    }

    #[test]
    fn range_gives_runs() {
        let a = Uuid::from_u128(1);
        let topics = BTreeMap::from([(a, 5)]);
        let result = assign("range", &vec![member(&[a], Partitions::new()); 2], &topics);
        assert_eq!(result[0][&a], BTreeSet::from([0, 1, 2]));
        assert_eq!(result[1][&a], BTreeSet::from([3, 4]));
    }
}
