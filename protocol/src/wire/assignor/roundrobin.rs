//! All partitions of all topics in order, to the members in turn; who doesn't subscribe is passed over.

use super::{GroupAssignment, Member, PartitionCounts, empty, sorted};
use crate::wire::TopicPartition;

pub(super) fn assign(partitions: &PartitionCounts, members: &[Member]) -> GroupAssignment {
    let mut assignment = empty(members);
    let members = sorted(members);
    let mut turn = 0;
    for (topic, &count) in partitions {
        if !members.iter().any(|member| member.subscribes(topic)) {
            continue;
        }
        for partition in 0..count {
            while !members[turn].subscribes(topic) {
                turn = (turn + 1) % members.len();
            }
            if let Some(own) = assignment.get_mut(&members[turn].id) {
                own.push(TopicPartition::new(topic.clone(), partition));
            }
            turn = (turn + 1) % members.len();
        }
    }
    assignment
}
