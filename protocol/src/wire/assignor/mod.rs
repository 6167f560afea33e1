//! The assignors of the classic consumer group protocol (`partition.assignment.strategy`), as pure functions, and the
//! bytes that members exchange about them. Both are those of the JVM's clients, so that groups may be mixed.

mod protocol;
mod range;
mod roundrobin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub use protocol::{Assignment, NO_GENERATION, Subscription};

pub use super::TopicPartition;

use super::DecodeError;

/// How many partitions each topic has. Topics that don't exist are left out.
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// What each member gets, by member id, sorted by topic and partition.
pub type GroupAssignment = BTreeMap<String, Vec<TopicPartition>>;

/// An assignor of the JVM's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Each topic's partitions in contiguous ranges.
    Range,
    /// All partitions of all topics in turn.
    RoundRobin,
    /// Balanced, and as few moves as possible; everything is revoked first.
    Sticky,
    /// The same, but members go on with what they keep; what changes hands is handed out in a second rebalance
    /// (KIP-429).
    CooperativeSticky,
}

/// How a rebalance goes: with everything revoked first, or only what moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceProtocol {
    /// Members revoke everything before they join again.
    Eager,
    /// Members revoke what the assignment takes from them.
    Cooperative,
}

impl Assignor {
    /// Every assignor.
    pub const ALL: [Self; 4] = [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky];

    /// The name by which members agree on it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// The assignor of this class in `partition.assignment.strategy`, with or without its package.
    #[must_use]
    pub fn from_class(class: &str) -> Option<Self> {
        match class.strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(class) {
            "RangeAssignor" => Some(Self::Range),
            "RoundRobinAssignor" => Some(Self::RoundRobin),
            "StickyAssignor" => Some(Self::Sticky),
            "CooperativeStickyAssignor" => Some(Self::CooperativeSticky),
            _ => None,
        }
    }

    /// How its rebalances go.
    #[must_use]
    pub const fn rebalance_protocol(self) -> RebalanceProtocol {
        match self {
            Self::CooperativeSticky => RebalanceProtocol::Cooperative,
            _ => RebalanceProtocol::Eager,
        }
    }

    /// What a member tells the group's leader when it joins: its topics, and what it had in `generation`
    /// ([`NO_GENERATION`] if it wasn't in one). `owned` is what the member goes on with while it joins, which is
    /// nothing for eager assignors; `previous` is what it was last assigned.
    #[must_use]
    pub fn subscription(
        self,
        topics: &[Arc<str>],
        owned: &[TopicPartition],
        previous: &[TopicPartition],
        generation: i32,
        rack: Option<&str>,
    ) -> Subscription {
        let user_data = match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky if previous.is_empty() && generation == NO_GENERATION => None,
            Self::Sticky => Some(protocol::sticky_user_data(previous, generation)),
            Self::CooperativeSticky => Some(Bytes::copy_from_slice(&generation.to_be_bytes())),
        };
        Subscription {
            topics: topics.to_vec(),
            user_data,
            owned_partitions: owned.to_vec(),
            generation_id: generation,
            rack_id: rack.map(str::to_owned),
        }
    }

    /// Gives every partition of the subscribed topics to one of its subscribers. Every member has an entry in the
    /// result.
    #[must_use]
    pub fn assign(self, partitions: &PartitionCounts, members: &[Member]) -> GroupAssignment {
        let mut assignment = match self {
            Self::Range => range::assign(partitions, members),
            Self::RoundRobin => roundrobin::assign(partitions, members),
            Self::Sticky => sticky::assign(partitions, members, sticky::Claims::UserData),
            Self::CooperativeSticky => {
                let claims = sticky::Claims::OwnedPartitions;
                let mut assignment = sticky::assign(partitions, members, claims);
                sticky::keep_back_what_moves(&mut assignment, members);
                assignment
            }
        };
        for partitions in assignment.values_mut() {
            partitions.sort_unstable();
        }
        assignment
    }
}

/// How a group's rebalances go when its members offer these assignors: cooperatively only if all of them can, for which
/// one is chosen isn't known beforehand.
#[must_use]
pub fn rebalance_protocol(assignors: &[Assignor]) -> RebalanceProtocol {
    let cooperative = |of: &Assignor| of.rebalance_protocol() == RebalanceProtocol::Cooperative;
    if !assignors.is_empty() && assignors.iter().all(cooperative) {
        RebalanceProtocol::Cooperative
    } else {
        RebalanceProtocol::Eager
    }
}

/// A member of the group as its leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Member id.
    pub id: String,
    /// Group instance id of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// What it told when it joined.
    pub subscription: Subscription,
}

impl Member {
    /// A member from the metadata in a JoinGroup response.
    ///
    /// # Errors
    /// If the metadata is no subscription.
    pub fn decode(id: &str, instance_id: Option<&str>, metadata: Bytes) -> Result<Self, DecodeError> {
        let subscription = Subscription::decode(metadata)?;
        Ok(Self { id: id.to_owned(), instance_id: instance_id.map(str::to_owned), subscription })
    }

    /// Static members come first, by instance id, the others follow by member id: so a restarted static member gets
    /// the place that it had.
    fn order(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(instance_id) => (false, instance_id),
            None => (true, &self.id),
        }
    }

    fn subscribes(&self, topic: &str) -> bool {
        self.subscription.topics.iter().any(|of| &**of == topic)
    }
}

/// The members in their order.
fn sorted(members: &[Member]) -> Vec<&Member> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|a, b| a.order().cmp(&b.order()));
    members
}

/// An assignment of nothing.
fn empty(members: &[Member]) -> GroupAssignment {
    members.iter().map(|member| (member.id.clone(), Vec::new())).collect()
}
