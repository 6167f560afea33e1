//! Incremental fetch sessions (KIP-227), without I/O: what of the wanted partitions has to be said to a broker.
//!
//! A broker that keeps a session remembers its partitions with their offsets; a request then names only what has changed
//! since the one before, and an answer only what has news. Cost of a plan: O(partitions wanted); bytes on the wire:
//! O(changes). A broker without sessions answers with session id 0 and gets whole requests.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use uuid::Uuid;

use crate::ErrorCode;
use crate::client::messages::topic_name;
use crate::wire::TopicPartition;
use crate::wire::fetch::TopicRef;

/// Epoch of a request that names everything and asks for a session.
const FULL: i32 = 0;
/// Epoch of a request that ends a session.
const CLOSE: i32 = -1;

/// What a broker is to know of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Want {
    /// Nil where it is not known.
    pub(super) topic_id: Uuid,
    pub(super) offset: i64,
    /// Epoch of the leader as metadata has it, -1 if unknown.
    pub(super) leader_epoch: i32,
    /// Epoch of the record before `offset` (KIP-320), -1 if unknown.
    pub(super) last_epoch: i32,
    pub(super) max_bytes: i32,
}

/// The part of a Fetch request that a session decides.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) topics: Vec<FetchTopic>,
    pub(super) forgotten: Vec<ForgottenTopic>,
}

#[derive(Debug)]
struct Known {
    want: Want,
    /// The request that named it last as wanted.
    round: u64,
}

/// The session with one broker.
#[derive(Debug, Default)]
pub(super) struct FetchSession {
    id: i32,
    epoch: i32,
    /// Whether the broker was told ids instead of names.
    by_id: bool,
    round: u64,
    known: HashMap<TopicPartition, Known>,
    /// Topics of what is known, to name them in an answer.
    topics: HashMap<TopicRef, Arc<str>>,
}

impl FetchSession {
    /// What the next request has to say so that the broker fetches exactly `wanted`.
    pub(super) fn plan(&mut self, wanted: &[(TopicPartition, Want)], by_id: bool) -> Plan {
        if self.by_id != by_id {
            // names and ids do not mix in one session
            self.epoch = FULL;
            self.by_id = by_id;
        }
        if self.epoch == FULL {
            self.known.clear();
            self.topics.clear();
        }
        self.round += 1;
        let mut plan = Plan { session_id: self.id, session_epoch: self.epoch, ..Plan::default() };
        let (mut added, mut forgotten) = (Grouped::default(), Grouped::default());
        for (name, want) in wanted {
            if let Some(known) = self.known.get_mut(name) {
                known.round = self.round;
                if known.want == *want {
                    continue;
                }
                if by_id && known.want.topic_id != want.topic_id {
                    // the topic was made anew
                    forgotten.push(name, known.want.topic_id);
                }
                known.want = *want;
            } else {
                self.known.insert(name.clone(), Known { want: *want, round: self.round });
            }
            let at = added.push(name, want.topic_id);
            let topic = match plan.topics.get_mut(at) {
                Some(topic) => topic,
                None => {
                    self.topics.insert(topic_ref(name, want.topic_id, by_id), Arc::clone(&name.topic));
                    plan.topics.push(fetch_topic(name, want.topic_id, by_id));
                    &mut plan.topics[at]
                }
            };
            topic.partitions.push(fetch_partition(name.partition, want));
        }
        let round = self.round;
        self.known.retain(|name, known| {
            if known.round != round {
                forgotten.push(name, known.want.topic_id);
            }
            known.round == round
        });
        plan.forgotten = forgotten.into_topics(by_id);
        plan
    }

    /// What closes the session, if there is one.
    pub(super) fn close(&mut self) -> Option<Plan> {
        let id = std::mem::take(&mut self.id);
        self.epoch = FULL;
        (id != 0).then(|| Plan { session_id: id, session_epoch: CLOSE, ..Plan::default() })
    }

    /// The topic of an answer's partition; none for one that was never asked for.
    pub(super) fn topic(&self, topic: &TopicRef) -> Option<&Arc<str>> {
        self.topics.get(topic)
    }

    /// An answer has come, with its error code and session id.
    pub(super) fn answered(&mut self, code: Option<ErrorCode>, session_id: i32) {
        match code {
            None if session_id == 0 => (self.id, self.epoch) = (0, FULL),
            None => {
                self.id = session_id;
                self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
            }
            Some(ErrorCode::FetchSessionIdNotFound) => (self.id, self.epoch) = (0, FULL),
            Some(_) => self.failed(),
        }
    }

    /// No answer, or one that cannot be trusted: the next request closes the session, if there is one, and begins anew.
    pub(super) const fn failed(&mut self) {
        self.epoch = FULL;
    }
}

fn topic_ref(name: &TopicPartition, id: Uuid, by_id: bool) -> TopicRef {
    if by_id { TopicRef::Id(id) } else { TopicRef::Name(topic_name(&name.topic).0) }
}

fn fetch_topic(name: &TopicPartition, id: Uuid, by_id: bool) -> FetchTopic {
    match by_id {
        true => FetchTopic::default().with_topic_id(id),
        false => FetchTopic::default().with_topic(topic_name(&name.topic)),
    }
}

fn fetch_partition(partition: i32, want: &Want) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(want.leader_epoch)
        .with_last_fetched_epoch(want.last_epoch)
        .with_log_start_offset(-1)
        .with_fetch_offset(want.offset)
        .with_partition_max_bytes(want.max_bytes)
}

/// Partitions by topic, in the order in which topics first come.
#[derive(Default)]
struct Grouped {
    index: HashMap<(Arc<str>, Uuid), usize>,
    topics: Vec<(Arc<str>, Uuid, Vec<i32>)>,
}

impl Grouped {
    /// Adds a partition; gives the place of its topic.
    fn push(&mut self, name: &TopicPartition, id: Uuid) -> usize {
        let at = *self.index.entry((Arc::clone(&name.topic), id)).or_insert(self.topics.len());
        match self.topics.get_mut(at) {
            Some((_, _, partitions)) => partitions.push(name.partition),
            None => self.topics.push((Arc::clone(&name.topic), id, vec![name.partition])),
        }
        at
    }

    fn into_topics(self, by_id: bool) -> Vec<ForgottenTopic> {
        let forgotten = |(topic, id, partitions): (Arc<str>, Uuid, Vec<i32>)| {
            let entry = ForgottenTopic::default().with_partitions(partitions);
            if by_id { entry.with_topic_id(id) } else { entry.with_topic(topic_name(&topic)) }
        };
        self.topics.into_iter().map(forgotten).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn name(topic: u128, partition: i32) -> TopicPartition {
        TopicPartition::new(format!("t{topic}"), partition)
    }

    fn want(topic: u128, offset: i64) -> Want {
        Want { topic_id: Uuid::from_u128(topic), offset, leader_epoch: 1, last_epoch: -1, max_bytes: 100 }
    }

    /// What a broker does with a plan: it keeps partitions by (id, partition).
    #[derive(Default)]
    struct Broker {
        session: i32,
        epoch: i32,
        partitions: BTreeMap<(Uuid, i32), i64>,
    }

    impl Broker {
        fn take(&mut self, plan: &Plan) -> (Option<ErrorCode>, i32) {
            if plan.session_epoch == FULL {
                self.partitions.clear();
                self.session += 1;
                self.epoch = 1;
            } else if plan.session_id != self.session {
                return (Some(ErrorCode::FetchSessionIdNotFound), 0);
            } else if plan.session_epoch != self.epoch {
                return (Some(ErrorCode::InvalidFetchSessionEpoch), 0);
            } else {
                self.epoch += 1;
            }
            for topic in &plan.topics {
                for partition in &topic.partitions {
                    self.partitions.insert((topic.topic_id, partition.partition), partition.fetch_offset);
                }
            }
            for topic in &plan.forgotten {
                for partition in &topic.partitions {
                    assert!(self.partitions.remove(&(topic.topic_id, *partition)).is_some(), "not known");
                }
            }
            (None, self.session)
        }
    }

    #[test]
    fn only_changes_are_said() {
        let (mut session, mut broker) = (FetchSession::default(), Broker::default());
        let mut wanted = vec![(name(1, 0), want(1, 5)), (name(1, 1), want(1, 6)), (name(2, 0), want(2, 7))];
        let plan = session.plan(&wanted, true);
        assert_eq!((plan.session_id, plan.session_epoch, plan.topics.len()), (0, FULL, 2));
        let (code, id) = broker.take(&plan);
        session.answered(code, id);
        let plan = session.plan(&wanted, true);
        assert_eq!((plan.session_id, plan.session_epoch), (1, 1));
        assert_eq!((plan.topics.len(), plan.forgotten.len()), (0, 0));
        session.answered(None, 1);
        wanted[1].1.offset = 9;
        wanted.remove(2);
        let plan = session.plan(&wanted, true);
        assert_eq!(plan.session_epoch, 2);
        assert_eq!(
            plan.topics,
            [fetch_topic(&name(1, 1), Uuid::from_u128(1), true)
                .with_partitions(vec![fetch_partition(1, &want(1, 9))])]
        );
        assert_eq!(plan.forgotten[0].topic_id, Uuid::from_u128(2));
        assert_eq!(session.topic(&TopicRef::Id(Uuid::from_u128(1))).map(|name| &**name), Some("t1"));
        // the session is lost: everything is said again, and asks for a new one
        session.answered(Some(ErrorCode::FetchSessionIdNotFound), 0);
        let plan = session.plan(&wanted, true);
        assert_eq!((plan.session_id, plan.session_epoch), (0, FULL));
        assert_eq!(plan.topics[0].partitions.len(), 2);
        session.answered(None, 8);
        // no answer: the session is closed by its id
        session.failed();
        assert_eq!((session.plan(&wanted, true).session_id, session.epoch), (8, FULL));
        session.answered(None, 9);
        assert_eq!(session.close().map(|plan| (plan.session_id, plan.session_epoch)), Some((9, CLOSE)));
        assert_eq!(session.close(), None);
        session.answered(None, 9);
        // from ids to names: in full
        let plan = session.plan(&wanted, false);
        assert_eq!((plan.session_id, plan.session_epoch), (9, FULL));
        assert_eq!((&*plan.topics[0].topic.0, plan.topics[0].topic_id), ("t1", Uuid::nil()));
    }

    #[test]
    fn a_broker_without_sessions_gets_whole_requests() {
        let mut session = FetchSession::default();
        for _ in 0..3 {
            let plan = session.plan(&[(name(1, 0), want(1, 5))], true);
            assert_eq!((plan.session_id, plan.session_epoch, plan.topics.len()), (0, FULL, 1));
            session.answered(None, 0);
        }
    }

    proptest! {
        /// Whatever is wanted and whatever goes wrong, the broker fetches exactly what is wanted.
        #[test]
        fn the_broker_knows_what_is_wanted(
            steps in prop::collection::vec((prop::collection::btree_map((0_u128..4, 0_i32..3), 0_i64..3, 0..8), 0..8_u8), 1..30)
        ) {
            let (mut session, mut broker) = (FetchSession::default(), Broker::default());
            let mut generation = 0;
            for (partitions, fault) in steps {
                if fault == 0 {
                    generation += 100; // topics are made anew
                }
                let wanted: Vec<_> = partitions.iter().map(|((topic, partition), offset)| {
                    let id = Uuid::from_u128(topic + generation);
                    (name(*topic, *partition), Want { topic_id: id, ..want(*topic, *offset) })
                }).collect();
                if fault == 1 {
                    broker = Broker { session: broker.session + 5, ..Broker::default() };
                }
                let plan = session.plan(&wanted, true);
                if fault == 2 {
                    session.failed(); // the request was lost on its way
                    continue;
                }
                let (code, id) = broker.take(&plan);
                if fault == 3 {
                    session.failed(); // the answer was
                } else {
                    session.answered(code, id);
                }
                if code.is_none() {
                    let expected: BTreeMap<_, _> =
                        wanted.iter().map(|(name, want)| ((want.topic_id, name.partition), want.offset)).collect();
                    prop_assert_eq!(&broker.partitions, &expected);
                }
            }
        }
    }
}
