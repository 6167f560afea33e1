//! Appending records: synchronous, without allocating per record, straight to their final place in a batch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use thiserror::Error;

use super::idle::Usage;
use super::partition::{NewRecord, Partition};
use super::shared::Shared;
use super::ticket::{DeliveryTicket, SessionState};
use crate::client::TopicMetadata;
use crate::wire::partitioner::{StickyPartitioner, in_turn, partition_for_key};
use crate::{Error as ClientError, ErrorKind};

/// A topic that records can be appended to. Cheap to clone; got from [`Producer::topic`](super::Producer::topic).
#[derive(Debug, Clone)]
pub struct TopicHandle {
    pub(super) topic: Arc<Topic>,
}

impl TopicHandle {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.topic.name
    }

    /// How many partitions it has, as far as is known now.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        self.topic.state.lock().partitions.len() as i32
    }
}

/// A topic's partitions and the choice among them.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) state: Mutex<TopicState>,
}

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Partitions with a leader.
    pub(super) available: Vec<i32>,
    pub(super) sticky: StickyPartitioner,
    /// How many records `RoundRobinPartitioner` has placed.
    turn: u32,
    /// Whether the sticky choice was used, so that its loads are worth computing.
    pub(super) sticky_used: bool,
    pub(super) usage: Usage,
    /// Version of the metadata that this is from.
    version: u64,
}

impl Topic {
    pub(super) fn new(name: &str, sticky_size: usize) -> Self {
        let state = TopicState {
            partitions: Vec::new(),
            available: Vec::new(),
            sticky: StickyPartitioner::new(sticky_size),
            turn: 0,
            sticky_used: false,
            usage: Usage::Used,
            version: 0,
        };
        Self { name: Arc::from(name), state: Mutex::new(state) }
    }

    /// Takes over what newer metadata says. Partitions are only ever added: those that are gone fail when sent to.
    pub(super) fn update(&self, version: u64, metadata: &TopicMetadata) {
        let mut state = self.state.lock();
        if state.version >= version {
            return;
        }
        state.version = version;
        for index in state.partitions.len()..metadata.partitions.len() {
            state.partitions.push(Partition::new(Arc::clone(&self.name), index as i32));
        }
        let TopicState { available, sticky, .. } = &mut *state;
        let before = available.len();
        available.clear();
        available.extend(
            (0_i32..).zip(&metadata.partitions).filter(|(_, p)| p.leader >= 0).map(|(index, _)| index),
        );
        if available.len() != before {
            sticky.switch();
        }
    }
}

/// Why a record was not appended. Nothing of it was.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// `buffer.memory` is used up: [`SendSession::wait_capacity`], then append again.
    #[error("buffer.memory is used up; {needed} more bytes are needed")]
    Full {
        /// Bytes that must become free.
        needed: usize,
    },
    /// The record is too large for the named setting.
    #[error(
        "a record takes {size} bytes, more than {setting} = {limit}; raise {setting} or make the record smaller"
    )]
    TooLarge {
        /// Bytes it takes.
        size: usize,
        /// Bytes allowed.
        limit: usize,
        /// `max.request.size` or `buffer.memory`.
        setting: &'static str,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}, its partitions are 0 to {last}", last = count - 1)]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// What was asked for.
        partition: i32,
        /// How many there are.
        count: i32,
    },
    /// A transactional producer appends between `begin_transaction` and its end only.
    #[error("no transaction is open; call begin_transaction before sending with a transactional.id")]
    NoTransaction,
    /// The producer is closed or can't go on.
    #[error(transparent)]
    Failed(#[from] ClientError),
}

/// Where a record was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The partition.
    pub partition: i32,
    /// The record's index in the session, by which errors name it.
    pub index: u32,
}

/// One caller's batch of records, of any topics and partitions, with one ticket for all of them.
///
/// Records are on their way as soon as they are appended. Dropping a session without [`Self::finish`] loses nothing but
/// the ticket.
#[derive(Debug)]
pub struct SendSession {
    shared: Arc<Shared>,
    state: Arc<SessionState>,
    count: u32,
    needed: usize,
    /// Wall clock for records without a timestamp, in ms: read once a session.
    now: Option<i64>,
}

impl SendSession {
    pub(super) fn new(shared: Arc<Shared>, with_offsets: bool) -> Self {
        Self { shared, state: SessionState::new(with_offsets), count: 0, needed: 0, now: None }
    }

    /// How many records were appended.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether nothing was appended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends a record. `timestamp` is in milliseconds since 1970, `None` for now. `partition` `None` leaves the choice
    /// to the key or, without one, to the batch that is being filled (KIP-794). Header keys are UTF-8.
    ///
    /// # Errors
    /// See [`AppendError`]; the record was not taken.
    #[inline]
    pub fn append(
        &mut self,
        topic: &TopicHandle,
        partition: Option<i32>,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<Appended, AppendError> {
        if !self.shared.gate.is_open() {
            return Err(self.shared.refusal());
        }
        let timestamp = match timestamp {
            Some(timestamp) => timestamp,
            None => *self.now.get_or_insert_with(now_ms),
        };
        let record = NewRecord { timestamp, key, value, headers };
        let mut state = topic.topic.state.lock();
        if state.usage != Usage::Used {
            self.shared.use_again(&topic.topic.name, &mut state);
        }
        let (index, sticky) = self.choose(&mut state, partition, key);
        let Some(target) = usize::try_from(index).ok().and_then(|at| state.partitions.get(at)) else {
            let count = state.partitions.len() as i32;
            return Err(AppendError::NoSuchPartition {
                topic: Arc::clone(&topic.topic.name),
                partition: index,
                count,
            });
        };
        let queued = match target.queue.lock().append(&self.shared.memory, &self.state, self.count, record) {
            Ok(queued) => queued,
            Err(AppendError::Full { needed }) => {
                self.needed = needed;
                return Err(AppendError::Full { needed });
            }
            Err(error) => return Err(error),
        };
        if queued.list {
            self.shared.listed.lock().push(Arc::clone(target));
        }
        if sticky {
            state.sticky.appended(queued.bytes, queued.full);
        }
        drop(state);
        if queued.wake {
            self.shared.wake.notify_one();
        }
        self.count += 1;
        Ok(Appended { partition: index, index: self.count - 1 })
    }

    /// The partition of a record, and whether it is the sticky one.
    #[inline]
    fn choose(&self, state: &mut TopicState, partition: Option<i32>, key: Option<&[u8]>) -> (i32, bool) {
        if let Some(partition) = partition {
            return (partition, false);
        }
        let count = state.partitions.len() as i32;
        if self.shared.settings.round_robin {
            state.turn = state.turn.wrapping_add(1);
            return (in_turn(&state.available, count, state.turn), false);
        }
        match key {
            Some(key) if !self.shared.settings.ignore_keys => (partition_for_key(key, count), false),
            _ => {
                state.sticky_used = true;
                let drawn = state.sticky.partition(&state.available, count, fastrand::u32(..));
                (drawn.unwrap_or(-1), true)
            }
        }
    }

    /// Waits until the record that [`AppendError::Full`] was about finds room, `max.block.ms` at most.
    ///
    /// # Errors
    /// After `max.block.ms`, or if the producer was closed or can't go on.
    pub async fn wait_capacity(&mut self) -> Result<(), ClientError> {
        self.now = None;
        let shared = &self.shared;
        let limit = shared.settings.max_block;
        let needed = self.needed;
        let wait = async {
            tokio::select! {
                () = shared.memory.wait_for(needed, || shared.wake.notify_one()) => Ok(()),
                () = shared.gate.closed() => match shared.refusal() {
                    AppendError::Failed(error) => Err(error),
                    other => Err(ClientError::new(ErrorKind::State, other.to_string())),
                },
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
            let message = format!(
                "no room for {needed} bytes in buffer.memory = {} within max.block.ms = {}: the brokers take records \
                 more slowly than they come",
                shared.settings.buffer_memory,
                limit.as_millis()
            );
            Err(ClientError::new(ErrorKind::Timeout, message))
        })
    }

    /// Ends the session.
    pub fn finish(self) -> DeliveryTicket {
        self.state.finish(self.count);
        DeliveryTicket::new(self.state)
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64
}
