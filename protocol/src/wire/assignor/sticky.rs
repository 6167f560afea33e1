//! Balanced, and among balanced assignments one that moves little (KIP-54, KIP-429).
//!
//! Members that all subscribe to the same topics end with counts that differ by one at most, and keep what they had up
//! to that count. With different subscriptions, partitions move as long as that makes two members' counts more equal.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::protocol::{NO_GENERATION, read_sticky_user_data};
use super::{GroupAssignment, Member, PartitionCounts};
use crate::wire::TopicPartition;

/// Where members tell what they had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claims {
    /// In the user data, as `sticky` does.
    UserData,
    /// In the subscription itself, as `cooperative-sticky` does.
    OwnedPartitions,
}

impl Claims {
    fn of(self, member: &Member) -> (Vec<TopicPartition>, i32) {
        let subscription = &member.subscription;
        match self {
            // Unreadable user data claims nothing, as in the JVM: the group has to go on.
            Self::UserData => subscription
                .user_data
                .clone()
                .and_then(|data| read_sticky_user_data(data).ok())
                .unwrap_or((Vec::new(), NO_GENERATION)),
            Self::OwnedPartitions => {
                let mut generation = subscription.generation_id;
                if generation == NO_GENERATION {
                    // Before version 2 of the subscription, the generation was in the user data.
                    let data = subscription.user_data.as_ref().and_then(|data| data.first_chunk());
                    generation = data.map_or(NO_GENERATION, |data| i32::from_be_bytes(*data));
                }
                (subscription.owned_partitions.clone(), generation)
            }
        }
    }
}

pub(super) fn assign(partitions: &PartitionCounts, members: &[Member], claims: Claims) -> GroupAssignment {
    // By member id, as the JVM breaks ties.
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    let subscribed = |topic: &str| members.iter().any(|member| member.subscribes(topic));
    let all: Vec<TopicPartition> = partitions
        .iter()
        .filter(|(topic, _)| subscribed(topic))
        .flat_map(|(topic, count)| (0..*count).map(|partition| TopicPartition::new(topic.clone(), partition)))
        .collect();
    let owned = owned(&all, &members, claims);
    let wanted = |member: &Member| member.subscription.topics.iter().cloned().collect::<BTreeSet<_>>();
    let equal = members.windows(2).all(|pair| wanted(pair[0]) == wanted(pair[1]));
    let own = if equal { same_topics(&all, owned) } else { different_topics(&all, owned, &members) };
    members.iter().map(|member| member.id.clone()).zip(own).collect()
}

/// What each member had, as far as the partitions are there, the member still wants them and nobody has the better
/// claim: the later generation wins, and of two claims in the same one neither is believed.
fn owned(all: &[TopicPartition], members: &[&Member], claims: Claims) -> Vec<Vec<TopicPartition>> {
    let exists: HashSet<&TopicPartition> = all.iter().collect();
    let mut best: HashMap<TopicPartition, (i32, Option<usize>)> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        let (partitions, generation) = claims.of(member);
        let distinct: HashSet<TopicPartition> = partitions.into_iter().collect();
        for partition in distinct {
            if !exists.contains(&partition) || !member.subscribes(&partition.topic) {
                continue;
            }
            let entry = best.entry(partition).or_insert((generation, Some(index)));
            if generation > entry.0 {
                *entry = (generation, Some(index));
            } else if generation == entry.0 && entry.1 != Some(index) {
                entry.1 = None;
            }
        }
    }
    let mut owned = vec![Vec::new(); members.len()];
    // In the order of `all`: the result must not hang on a hash map's order.
    for partition in all {
        if let Some((_, Some(index))) = best.get(partition) {
            owned[*index].push(partition.clone());
        }
    }
    owned
}

/// Everybody may have everything: each keeps up to its quota, what is left fills the others up.
fn same_topics(all: &[TopicPartition], mut own: Vec<Vec<TopicPartition>>) -> Vec<Vec<TopicPartition>> {
    let Some(quota) = all.len().checked_div(own.len()) else { return own };
    // So many members have one more than the quota.
    let mut above = all.len() % own.len();
    for partitions in &mut own {
        let keep = if partitions.len() > quota && above > 0 {
            above -= 1;
            quota + 1
        } else {
            quota
        };
        partitions.truncate(keep);
    }
    let kept: HashSet<TopicPartition> = own.iter().flatten().cloned().collect();
    let mut left = all.iter().filter(|partition| !kept.contains(*partition)).cloned();
    // In turn to whoever is below the quota, then one more to whoever is at it.
    loop {
        let mut given = false;
        for partitions in own.iter_mut().filter(|partitions| partitions.len() < quota) {
            partitions.extend(left.next());
            given = true;
        }
        if !given {
            break;
        }
    }
    for partitions in own.iter_mut().filter(|partitions| partitions.len() == quota) {
        partitions.extend(left.next());
    }
    own
}

/// Members subscribe to different topics: hand out what nobody has, then even the counts out.
fn different_topics(
    all: &[TopicPartition],
    had: Vec<Vec<TopicPartition>>,
    members: &[&Member],
) -> Vec<Vec<TopicPartition>> {
    let mut balance = Balance::new(all, &had, members);
    let taken: HashSet<&TopicPartition> = had.iter().flatten().collect();
    let mut left: Vec<&TopicPartition> = all.iter().filter(|partition| !taken.contains(*partition)).collect();
    // Those that fewest members may have come first: they have the least choice.
    left.sort_by_key(|partition| balance.eligible(&partition.topic).len());
    for partition in left {
        let least = balance.eligible(&partition.topic).iter().copied().min_by_key(|of| balance.counts[*of]);
        if let Some(member) = least {
            balance.give(member, partition);
        }
    }
    balance.even_out();
    balance.owned.into_iter().map(|own| own.into_values().flatten().cloned().collect()).collect()
}

/// Who has what while partitions are moved. Members are indices.
struct Balance<'a> {
    eligible: BTreeMap<&'a str, Vec<usize>>,
    /// Partitions by topic; what came last goes first.
    owned: Vec<BTreeMap<&'a str, Vec<&'a TopicPartition>>>,
    counts: Vec<usize>,
}

impl<'a> Balance<'a> {
    fn new(all: &'a [TopicPartition], had: &'a [Vec<TopicPartition>], members: &[&Member]) -> Self {
        let mut eligible: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for partition in all {
            eligible.entry(&partition.topic).or_insert_with_key(|topic| {
                (0..members.len()).filter(|index| members[*index].subscribes(topic)).collect()
            });
        }
        let (owned, counts) = (vec![BTreeMap::new(); members.len()], vec![0; members.len()]);
        let mut balance = Self { eligible, owned, counts };
        for (member, partitions) in had.iter().enumerate() {
            for partition in partitions {
                balance.give(member, partition);
            }
        }
        balance
    }

    fn eligible(&self, topic: &str) -> &[usize] {
        self.eligible.get(topic).map_or(&[], Vec::as_slice)
    }

    fn give(&mut self, member: usize, partition: &'a TopicPartition) {
        self.owned[member].entry(&partition.topic).or_default().push(partition);
        self.counts[member] += 1;
    }

    /// Moves partitions until no chain of moves makes two members' counts more equal. Every chain lowers the sum of
    /// the counts' squares, so this ends.
    fn even_out(&mut self) {
        let mut order: Vec<usize> = (0..self.counts.len()).collect();
        loop {
            order.sort_by_key(|member| Reverse(self.counts[*member]));
            let Some(chain) = order.iter().find_map(|member| self.chain(*member)) else { break };
            for (from, topic, to) in chain {
                let moved = self.owned[from].get_mut(topic).and_then(Vec::pop);
                if let Some(partition) = moved {
                    self.counts[from] -= 1;
                    self.give(to, partition);
                }
            }
        }
    }

    /// The shortest chain of moves that takes one partition from `start` and ends at a member with at least two fewer;
    /// among those, at the one with the fewest.
    fn chain(&self, start: usize) -> Option<Vec<(usize, &'a str, usize)>> {
        let mut came: Vec<Option<(usize, &'a str)>> = vec![None; self.counts.len()];
        let mut topics: HashSet<&str> = HashSet::new();
        let mut layer = vec![start];
        while !layer.is_empty() {
            let mut next = Vec::new();
            for &from in &layer {
                for (&topic, _) in self.owned[from].iter().filter(|(_, own)| !own.is_empty()) {
                    // Whoever may have a topic was reached when the topic was met first.
                    if !topics.insert(topic) {
                        continue;
                    }
                    for &to in self.eligible(topic) {
                        if to != start && came[to].is_none() {
                            came[to] = Some((from, topic));
                            next.push(to);
                        }
                    }
                }
            }
            let fewer = next.iter().copied().filter(|to| self.counts[*to] + 2 <= self.counts[start]);
            if let Some(mut to) = fewer.min_by_key(|to| self.counts[*to]) {
                let mut chain = Vec::new();
                while let Some((from, topic)) = came[to] {
                    chain.push((from, topic, to));
                    to = from;
                }
                return Some(chain);
            }
            layer = next;
        }
        None
    }
}

/// Takes out of the assignment what another member still has: it is revoked in this rebalance and given in the next,
/// which its former owner asks for.
pub(super) fn keep_back_what_moves(assignment: &mut GroupAssignment, members: &[Member]) {
    let mut held: HashMap<&TopicPartition, Vec<&str>> = HashMap::new();
    for member in members {
        for partition in &member.subscription.owned_partitions {
            held.entry(partition).or_default().push(&member.id);
        }
    }
    for (member, partitions) in assignment {
        partitions.retain(|partition| {
            held.get(partition).is_none_or(|holders| holders.iter().all(|holder| holder == member))
        });
    }
}
