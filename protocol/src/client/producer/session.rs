//! Appending records: synchronous, without allocating per record, straight to their final place in a batch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

use super::idle::Usage;
use super::partition::{NewRecord, Partition, Queue, Queued};
use super::settings::Settings;
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
    pub(super) choice: Choice,
    pub(super) usage: Usage,
    /// Version of the metadata that this is from.
    version: u64,
}

/// How partitions are chosen.
#[derive(Debug)]
pub(super) struct Choice {
    /// Partitions with a leader.
    pub(super) available: Vec<i32>,
    pub(super) sticky: StickyPartitioner,
    /// How many records `RoundRobinPartitioner` has placed.
    turn: u32,
    /// Whether the sticky choice was used, so that its loads are worth computing.
    pub(super) sticky_used: bool,
}

/// A partition that was chosen.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    index: i32,
    /// It is the sticky one.
    sticky: bool,
}

impl Choice {
    /// The partition of a record of a topic with `count` of them.
    #[inline]
    fn of(
        &mut self,
        settings: &Settings,
        count: usize,
        partition: Option<i32>,
        key: Option<&[u8]>,
    ) -> Chosen {
        if let Some(index) = partition {
            return Chosen { index, sticky: false };
        }
        let count = count as i32;
        if settings.round_robin {
            self.turn = self.turn.wrapping_add(1);
            return Chosen { index: in_turn(&self.available, count, self.turn), sticky: false };
        }
        match key {
            Some(key) if !settings.ignore_keys => {
                Chosen { index: partition_for_key(key, count), sticky: false }
            }
            _ => {
                self.sticky_used = true;
                let drawn = self.sticky.partition(&self.available, count, fastrand::u32(..));
                Chosen { index: drawn.unwrap_or(-1), sticky: true }
            }
        }
    }
}

impl Topic {
    pub(super) fn new(name: &str, sticky_size: usize) -> Self {
        let state = TopicState {
            partitions: Vec::new(),
            choice: Choice {
                available: Vec::new(),
                sticky: StickyPartitioner::new(sticky_size),
                turn: 0,
                sticky_used: false,
            },
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
        let Choice { available, sticky, .. } = &mut state.choice;
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

/// A header: its UTF-8 key and its value.
pub type RecordHeader<'r> = (&'r [u8], Option<&'r [u8]>);

/// A record to append, beside its headers.
#[derive(Debug, Clone, Copy)]
pub struct RunRecord<'r> {
    /// The partition; `None` leaves the choice to the key or, without one, to the batch that is being filled (KIP-794).
    pub partition: Option<i32>,
    /// Milliseconds since 1970, `None` for now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'r [u8]>,
    /// The value.
    pub value: Option<&'r [u8]>,
}

/// Records that are appended with locks held: others wait for so many at most.
const TOGETHER: usize = 64;

/// How far a run of records is.
struct Run {
    /// The next one's partition, if it was chosen: choosing again may choose another.
    next: Option<Chosen>,
    appended: usize,
}

#[inline]
fn at<'t>(
    topic: &TopicHandle,
    partitions: &'t [Arc<Partition>],
    chosen: Chosen,
) -> Result<&'t Arc<Partition>, AppendError> {
    usize::try_from(chosen.index).ok().and_then(|at| partitions.get(at)).ok_or_else(|| {
        AppendError::NoSuchPartition {
            topic: Arc::clone(&topic.topic.name),
            partition: chosen.index,
            count: partitions.len() as i32,
        }
    })
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
        let record = RunRecord { partition, timestamp, key, value };
        let mut state = self.open(topic)?;
        let TopicState { partitions, choice, .. } = &mut *state;
        let chosen = choice.of(&self.shared.settings, partitions.len(), partition, key);
        let target = at(topic, partitions, chosen)?;
        let queued = self.put(choice, &mut target.queue.lock(), chosen, record, headers)?;
        if queued.list {
            self.shared.listed.lock().push(Arc::clone(target));
        }
        drop(state);
        if queued.wake {
            self.shared.wake.notify_one();
        }
        Ok(Appended { partition: chosen.index, index: self.count - 1 })
    }

    /// Appends records of one topic until `record` gives none: what [`Self::append`] does for each, at less cost, for locks are
    /// taken once for many of them. `record` gives the record of a number, from 0 on, and puts its headers into the list, which is
    /// empty then; it may be asked for the same one again.
    ///
    /// Gives how many were appended; if one was refused, why: that was the next one.
    pub fn append_run<'r>(
        &mut self,
        topic: &TopicHandle,
        headers: &mut Vec<RecordHeader<'r>>,
        mut record: impl FnMut(usize, &mut Vec<RecordHeader<'r>>) -> Option<RunRecord<'r>>,
    ) -> (usize, Result<(), AppendError>) {
        let mut run = Run { next: None, appended: 0 };
        loop {
            match self.append_together(topic, headers, &mut run, &mut record) {
                Ok(true) => {}
                Ok(false) => return (run.appended, Ok(())),
                Err(error) => return (run.appended, Err(error)),
            }
        }
    }

    /// Some records of one partition. False if there are no more.
    fn append_together<'r>(
        &mut self,
        topic: &TopicHandle,
        headers: &mut Vec<RecordHeader<'r>>,
        run: &mut Run,
        next: &mut impl FnMut(usize, &mut Vec<RecordHeader<'r>>) -> Option<RunRecord<'r>>,
    ) -> Result<bool, AppendError> {
        headers.clear();
        let Some(mut record) = next(run.appended, headers) else { return Ok(false) };
        let mut state = self.open(topic)?;
        let TopicState { partitions, choice, .. } = &mut *state;
        let chosen = run.next.take().unwrap_or_else(|| {
            choice.of(&self.shared.settings, partitions.len(), record.partition, record.key)
        });
        let target = at(topic, partitions, chosen)?;
        let mut queue = target.queue.lock();
        let (mut list, mut wake, mut more) = (false, false, true);
        let mut outcome = Ok(());
        for _ in 0..TOGETHER {
            match self.put(choice, &mut queue, chosen, record, headers) {
                Ok(queued) => (list, wake) = (queued.list, queued.wake),
                Err(error) => outcome = Err(error),
            }
            if outcome.is_err() {
                break;
            }
            run.appended += 1;
            headers.clear();
            match next(run.appended, headers) {
                Some(following) => record = following,
                None => more = false,
            }
            if !more || list || wake {
                break;
            }
            let other = choice.of(&self.shared.settings, partitions.len(), record.partition, record.key);
            if other.index != chosen.index {
                run.next = Some(other);
                break;
            }
        }
        drop(queue);
        if list {
            self.shared.listed.lock().push(Arc::clone(target));
        }
        drop(state);
        if wake {
            self.shared.wake.notify_one();
        }
        outcome.map(|()| more)
    }

    /// The topic's state, if records are taken.
    #[inline]
    fn open<'t>(&self, topic: &'t TopicHandle) -> Result<MutexGuard<'t, TopicState>, AppendError> {
        if !self.shared.gate.is_open() {
            return Err(self.shared.refusal());
        }
        let mut state = topic.topic.state.lock();
        if state.usage != Usage::Used {
            self.shared.use_again(&topic.topic.name, &mut state);
        }
        Ok(state)
    }

    /// Puts a record into its partition's queue.
    #[inline]
    fn put(
        &mut self,
        choice: &mut Choice,
        queue: &mut Queue,
        chosen: Chosen,
        record: RunRecord<'_>,
        headers: &[RecordHeader<'_>],
    ) -> Result<Queued, AppendError> {
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None => *self.now.get_or_insert_with(now_ms),
        };
        let record = NewRecord { timestamp, key: record.key, value: record.value, headers };
        match queue.append(&self.shared.memory, &self.state, self.count, record) {
            Ok(queued) => {
                if chosen.sticky {
                    choice.sticky.appended(queued.bytes, queued.full);
                }
                self.count += 1;
                Ok(queued)
            }
            Err(error) => {
                if let AppendError::Full { needed } = error {
                    self.needed = needed;
                }
                Err(error)
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
