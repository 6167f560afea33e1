//! Topic by topic: as many partitions in a row for each subscriber, one more for the first ones.

use super::{GroupAssignment, Member, PartitionCounts, empty, sorted};
use crate::wire::TopicPartition;

pub(super) fn assign(partitions: &PartitionCounts, members: &[Member]) -> GroupAssignment {
    let mut assignment = empty(members);
    let members = sorted(members);
    for (topic, &count) in partitions {
        let subscribers: Vec<_> = members.iter().filter(|member| member.subscribes(topic)).collect();
        let Ok(number) = i32::try_from(subscribers.len()) else { continue };
        if number == 0 {
            continue;
        }
        let (each, extra) = (count / number, count % number);
        let mut next = 0;
        for (index, member) in (0..).zip(subscribers) {
            let end = next + each + i32::from(index < extra);
            if let Some(own) = assignment.get_mut(&member.id) {
                own.extend((next..end).map(|partition| TopicPartition::new(topic.clone(), partition)));
            }
            next = end;
        }
    }
    assignment
}
