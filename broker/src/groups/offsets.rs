//! Committed offsets of one group, and those that wait for a transaction's end.

use std::collections::{BTreeMap, HashMap};

use crate::journal::{OffsetRecord, StateRecord};

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) commit_ms: i64,
}

type ByTopic = BTreeMap<String, BTreeMap<i32, Committed>>;

/// The offsets of one group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: ByTopic,
    /// By producer id.
    pending: HashMap<i64, ByTopic>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(topic)?.get(&partition)
    }

    /// Whether a transaction is about to change this offset.
    pub(crate) fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        self.pending.values().any(|t| t.get(topic).is_some_and(|p| p.contains_key(&partition)))
    }

    /// All offsets, by topic.
    pub(crate) fn all(&self) -> &ByTopic {
        &self.committed
    }

    /// Takes a commit; `producer_id` -1 for one outside transactions.
    pub(crate) fn commit(&mut self, producer_id: i64, topic: &str, partition: i32, committed: Committed) {
        let target =
            if producer_id < 0 { &mut self.committed } else { self.pending.entry(producer_id).or_default() };
        target.entry(topic.to_owned()).or_default().insert(partition, committed);
    }

    /// A producer's transaction ended.
    pub(crate) fn decide(&mut self, producer_id: i64, commit: bool) -> bool {
        let Some(pending) = self.pending.remove(&producer_id) else { return false };
        if commit {
            for (topic, partitions) in pending {
                self.committed.entry(topic).or_default().extend(partitions);
            }
        }
        true
    }

    pub(crate) fn delete(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.committed.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.committed.remove(topic);
            }
        }
    }

    /// Forgets a deleted topic.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        self.committed.remove(topic);
        for pending in self.pending.values_mut() {
            pending.remove(topic);
        }
    }

    /// The records that make these offsets.
    pub(crate) fn records(&self, group: &str) -> Vec<StateRecord> {
        let decided = std::iter::once((-1, &self.committed));
        let pending = self.pending.iter().map(|(id, topics)| (*id, topics));
        let mut records = Vec::new();
        for (producer_id, topics) in decided.chain(pending) {
            for (topic, partitions) in topics {
                let record =
                    |(partition, c): (&i32, &Committed)| record(group, producer_id, topic, *partition, c);
                records.extend(partitions.iter().map(record));
            }
        }
        records
    }
}

/// The journal's form of a commit.
pub(crate) fn record(
    group: &str,
    producer_id: i64,
    topic: &str,
    partition: i32,
    committed: &Committed,
) -> StateRecord {
    StateRecord::Offset(OffsetRecord {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        commit_ms: committed.commit_ms,
        producer_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Committed {
        Committed { offset, leader_epoch: 0, metadata: String::new(), commit_ms: 0 }
    }

    #[test]
    fn offsets_of_a_transaction_count_when_it_commits() {
        let mut offsets = Offsets::default();
        offsets.commit(-1, "t", 0, at(1));
        offsets.commit(7, "t", 0, at(5));
        assert_eq!(offsets.get("t", 0), Some(&at(1)));
        assert!(offsets.is_unstable("t", 0));
        assert!(offsets.decide(7, false));
        assert_eq!(offsets.get("t", 0), Some(&at(1)));
        offsets.commit(8, "t", 0, at(6));
        assert!(offsets.decide(8, true) && !offsets.decide(8, true));
        assert_eq!(offsets.get("t", 0), Some(&at(6)));
        offsets.delete("t", 0);
        assert!(offsets.is_empty());
    }
}
