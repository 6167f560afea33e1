//! Topics that nothing was sent to for `metadata.max.idle.ms` are forgotten: brokers are not asked for them any more.
//!
//! Their sequence numbers are kept as long as they count, as in the JVM's producer: a broker takes records that begin again
//! with the numbers of former ones for repetitions of these, and drops them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sequence::ProducerIdentity;
use super::session::{Topic, TopicState};
use super::shared::Shared;

/// How often in its time a topic is looked at.
const LOOKS: u32 = 4;

/// Whether a topic is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// Since the last look, or still.
    Used,
    /// Not at this look, nor at any since.
    Unused(Instant),
    /// Brokers are not asked for it.
    Forgotten,
}

impl TopicState {
    /// One look; true if the topic is to be forgotten now.
    fn look(&mut self, now: Instant, limit: Duration) -> bool {
        let busy = || self.partitions.iter().any(|partition| partition.queue.lock().listed);
        let (usage, forget) = match self.usage {
            Usage::Used => (Usage::Unused(now), false),
            Usage::Unused(_) if busy() => (Usage::Used, false),
            Usage::Unused(since) if now.saturating_duration_since(since) >= limit => (Usage::Forgotten, true),
            other => (other, false),
        };
        self.usage = usage;
        forget
    }
}

impl Topic {
    /// Whether it may be made anew without anybody noticing, as far as its partitions know.
    fn is_dispensable(&self, current: Option<ProducerIdentity>) -> bool {
        self.state.lock().partitions.iter().all(|partition| {
            let queue = partition.queue.lock();
            let numbered = queue.sequences.identity();
            !queue.listed && (numbered.is_none() || numbered != current)
        })
    }
}

impl Shared {
    /// Forgets what has been idle for long; when to look next.
    pub(super) fn forget_idle(&self, now: Instant) -> Instant {
        let limit = self.settings.metadata_max_idle;
        let topics: Vec<Arc<Topic>> = self.topics.lock().values().cloned().collect();
        let mut forgotten = 0_usize;
        for topic in topics {
            let mut state = topic.state.lock();
            if state.look(now, limit) {
                self.client.unwatch_topic(&topic.name);
                forgotten += 1;
            }
        }
        if forgotten > 0 {
            tracing::debug!(
                topics = forgotten,
                "forgotten after metadata.max.idle.ms = {}",
                limit.as_millis()
            );
            self.client.drop_unwatched();
            self.drop_dispensable(|topic| topic.state.lock().usage == Usage::Forgotten);
        }
        now + limit / LOOKS
    }

    /// Drops those of such topics that nobody holds and whose numbers do not count any more.
    pub(super) fn drop_dispensable(&self, such: impl Fn(&Topic) -> bool) {
        let current = self.transaction.lock().identity;
        self.topics.lock().retain(|_, topic| {
            let goes = Arc::strong_count(topic) == 1 && such(topic) && topic.is_dispensable(current);
            if goes {
                self.client.unwatch_topic(&topic.name);
            }
            !goes
        });
    }

    /// Something is appended to a topic that was not in use.
    #[cold]
    pub(super) fn use_again(&self, name: &str, state: &mut TopicState) {
        if state.usage == Usage::Forgotten {
            self.client.watch_topic(name);
        }
        state.usage = Usage::Used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::producer::partition::Partition;

    #[test]
    fn a_topic_is_forgotten_when_it_has_been_idle() {
        let topic = Topic::new("t", 1);
        let partition = Partition::new(Arc::clone(&topic.name), 0);
        let mut state = topic.state.lock();
        state.partitions.push(Arc::clone(&partition));
        let (start, limit) = (Instant::now(), Duration::from_secs(300));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!state.look(at(0), limit), "it was asked for since");
        partition.queue.lock().listed = true;
        assert!(!state.look(at(400), limit), "it has records on the way");
        partition.queue.lock().listed = false;
        assert!(!state.look(at(475), limit) && !state.look(at(550), limit));
        state.usage = Usage::Used;
        assert!(!state.look(at(780), limit) && !state.look(at(1079), limit));
        assert!(state.look(at(1080), limit));
        assert!(!state.look(at(2000), limit), "once");
    }

    #[test]
    fn numbers_that_count_are_kept() {
        let topic = Topic::new("t", 1);
        let partition = Partition::new(Arc::clone(&topic.name), 0);
        topic.state.lock().partitions.push(Arc::clone(&partition));
        let first = ProducerIdentity { id: 5, epoch: 0 };
        assert!(topic.is_dispensable(None) && topic.is_dispensable(Some(first)));
        partition.queue.lock().sequences.assign(first, 1);
        assert!(!topic.is_dispensable(Some(first)));
        assert!(topic.is_dispensable(Some(ProducerIdentity { id: 5, epoch: 1 })));
        partition.queue.lock().listed = true;
        assert!(!topic.is_dispensable(None));
    }
}
