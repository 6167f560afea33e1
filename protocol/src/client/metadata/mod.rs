//! What the cluster looks like: an immutable snapshot, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::MetadataResponse;
use uuid::Uuid;

use crate::ErrorCode;
use crate::wire::TopicPartition;
use crate::wire::fetch::{LeaderAndEpoch, NodeEndpoint};

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Node id.
    pub id: i32,
    /// Host name or address, as advertised.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Rack, if it has one.
    pub rack: Option<String>,
}

/// A partition as its leader knew it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Leader's node id, -1 if there is none now.
    pub leader: i32,
    /// Leader epoch, -1 if not known.
    pub leader_epoch: i32,
    /// Node ids of the replicas.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub in_sync_replicas: Vec<i32>,
    /// What is wrong with it.
    pub error: Option<ErrorCode>,
}

/// A topic's partitions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// Name.
    pub name: Arc<str>,
    /// Id; nil where the broker is older than topic ids.
    pub id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Partitions by number.
    pub partitions: Vec<PartitionMetadata>,
    /// What is wrong with it.
    pub error: Option<ErrorCode>,
}

/// A snapshot of the cluster.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// Grows by one with each answer.
    pub version: u64,
    /// Grows by one with each change: answers, and leaders that a broker has named in between.
    pub revision: u64,
    /// When the answer came; none before the first.
    pub fetched_at: Option<tokio::time::Instant>,
    /// Cluster id.
    pub cluster_id: Option<String>,
    /// Controller's node id, -1 if not known.
    pub controller: i32,
    /// Brokers by node id.
    pub nodes: HashMap<i32, Node>,
    /// Topics by name.
    pub topics: HashMap<Arc<str>, Arc<TopicMetadata>>,
    /// Names by topic id.
    pub names: HashMap<Uuid, Arc<str>>,
}

impl Metadata {
    /// A topic that exists and can be used.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.topics.get(name).filter(|topic| topic.error.is_none())
    }

    /// A partition of a topic that can be used.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topic(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// The same without the topics that are not wanted.
    pub(crate) fn with_only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut next = self.clone();
        next.topics.retain(|name, _| is_wanted(name));
        next.names.retain(|_, name| is_wanted(name));
        next
    }

    /// The same with leaders that a broker has named (KIP-951); none if they say nothing new.
    pub(crate) fn with_leaders(
        &self,
        leaders: &[(TopicPartition, LeaderAndEpoch)],
        endpoints: &[NodeEndpoint],
    ) -> Option<Self> {
        let is_newer = |(name, of): &&(TopicPartition, LeaderAndEpoch)| {
            let known = self.partition(&name.topic, name.partition);
            known.is_some_and(|known| known.leader_epoch < of.leader_epoch)
        };
        let newer: Vec<_> = leaders.iter().filter(is_newer).collect();
        if newer.is_empty() {
            return None;
        }
        let mut next = self.clone();
        next.revision += 1;
        for (name, of) in newer {
            let Some(topic) = next.topics.get_mut(&name.topic).map(Arc::make_mut) else { continue };
            let index = usize::try_from(name.partition).ok();
            if let Some(partition) = index.and_then(|index| topic.partitions.get_mut(index)) {
                (partition.leader, partition.leader_epoch) = (of.leader_id, of.leader_epoch);
                partition.error = None;
            }
        }
        for endpoint in endpoints {
            let Ok(port) = u16::try_from(endpoint.port) else { continue };
            let rack = endpoint.rack.as_ref().map(ToString::to_string);
            let node = Node { id: endpoint.node_id, host: endpoint.host.to_string(), port, rack };
            next.nodes.insert(node.id, node);
        }
        Some(next)
    }

    /// The next snapshot: brokers from `answer`, topics replaced where the answer has them. Epochs never go back
    /// (KIP-320). With `all`, topics that the answer lacks are gone.
    #[must_use]
    pub(crate) fn updated(&self, answer: &MetadataResponse, all: bool) -> Self {
        let mut next = if all { Self::default() } else { self.clone() };
        next.version = self.version + 1;
        next.revision = self.revision + 1;
        next.fetched_at = Some(tokio::time::Instant::now());
        next.cluster_id = answer.cluster_id.as_ref().map(ToString::to_string);
        next.controller = answer.controller_id.0;
        next.nodes = answer.brokers.iter().filter_map(node).map(|node| (node.id, node)).collect();
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            let name: Arc<str> = Arc::from(name.as_str());
            let before = self.topics.get(&name).filter(|before| before.id == topic.topic_id);
            let topic = topic_metadata(&name, topic, before);
            if let Some(before) = self.topics.get(&name).filter(|before| before.id != topic.id) {
                next.names.remove(&before.id);
            }
            if !topic.id.is_nil() {
                next.names.insert(topic.id, Arc::clone(&name));
            }
            next.topics.insert(name, Arc::new(topic));
        }
        next
    }
}

fn node(broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker) -> Option<Node> {
    Some(Node {
        id: broker.node_id.0,
        host: broker.host.to_string(),
        port: u16::try_from(broker.port).ok()?,
        rack: broker.rack.as_ref().map(ToString::to_string),
    })
}

fn topic_metadata(
    name: &Arc<str>,
    topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic,
    before: Option<&Arc<TopicMetadata>>,
) -> TopicMetadata {
    let count = topic
        .partitions
        .iter()
        .map(|partition| partition.partition_index)
        .max()
        .map_or(0, |last| last.saturating_add(1));
    // A number that lies would reserve memory: a topic has as many partitions as the answer lists.
    let count = usize::try_from(count).unwrap_or(0).min(topic.partitions.len());
    let missing = PartitionMetadata {
        leader: -1,
        leader_epoch: -1,
        replicas: Vec::new(),
        in_sync_replicas: Vec::new(),
        error: Some(ErrorCode::LeaderNotAvailable),
    };
    let mut partitions = vec![missing; count];
    for answer in &topic.partitions {
        let Some(slot) =
            usize::try_from(answer.partition_index).ok().and_then(|index| partitions.get_mut(index))
        else {
            continue;
        };
        let known = before.and_then(|before| before.partitions.get(answer.partition_index as usize));
        if let Some(known) =
            known.filter(|known| known.leader_epoch > answer.leader_epoch && answer.leader_epoch >= 0)
        {
            slot.clone_from(known);
            continue;
        }
        *slot = PartitionMetadata {
            leader: answer.leader_id.0,
            leader_epoch: answer.leader_epoch,
            replicas: answer.replica_nodes.iter().map(|node| node.0).collect(),
            in_sync_replicas: answer.isr_nodes.iter().map(|node| node.0).collect(),
            error: ErrorCode::try_from_code(answer.error_code),
        };
    }
    TopicMetadata {
        name: Arc::clone(name),
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions,
        error: ErrorCode::try_from_code(topic.error_code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_a_broker_names_is_taken_if_it_is_newer() {
        let partition = PartitionMetadata {
            leader: 1,
            leader_epoch: 5,
            replicas: Vec::new(),
            in_sync_replicas: Vec::new(),
            error: None,
        };
        let name: Arc<str> = Arc::from("t");
        let topic = TopicMetadata {
            name: Arc::clone(&name),
            id: Uuid::from_u128(7),
            is_internal: false,
            partitions: vec![partition],
            error: None,
        };
        let known = Metadata { topics: [(Arc::clone(&name), Arc::new(topic))].into(), ..Metadata::default() };
        let of =
            |leader_epoch| [(TopicPartition::new("t", 0), LeaderAndEpoch { leader_id: 2, leader_epoch })];
        let endpoint = NodeEndpoint { node_id: 2, host: "two".to_owned().into(), port: 9092, rack: None };
        assert!(known.with_leaders(&of(5), &[]).is_none());
        let next = known.with_leaders(&of(6), &[endpoint]).unwrap();
        assert_eq!(next.partition("t", 0).map(|of| (of.leader, of.leader_epoch)), Some((2, 6)));
        assert_eq!(next.nodes[&2].host, "two");
        assert_eq!((next.version, next.revision), (known.version, known.revision + 1));
        assert!(known.with_leaders(&[(TopicPartition::new("u", 0), of(9)[0].1)], &[]).is_none());
        assert!(next.with_only(|name| name != "t").topics.is_empty());
    }
}
