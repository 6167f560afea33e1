//! The sender: the one task of a producer that owns what is on the wire.
//!
//! It looks at the partitions that have batches (and only at those), sends what is ready to the brokers that may have
//! another request, and settles what was answered. Cost of a round: O(partitions with batches + brokers in use).

mod answer;
mod drain;
mod expire;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::batch::{Batch, FlushToken};
use super::partition::Partition;
use super::sequence::ProducerIdentity;
use super::shared::{Closing, Shared};
use crate::client::{Answer, Purpose};
use crate::wire::compression::Compressor;
use crate::wire::produce::{MAX_PRODUCE_VERSION, MIN_PRODUCE_VERSION};
use crate::{Error, ErrorKind, Result};

/// How often the loads of the adaptive partitioner are looked at, at most.
const LOAD_INTERVAL: Duration = Duration::from_millis(5);

/// A partition with batches, and where its leader was when metadata of `revision` said so.
#[derive(Debug)]
struct Active {
    partition: Arc<Partition>,
    leader: Option<i32>,
    revision: u64,
    /// Whether it has nothing left, so that whoever appends next lists it anew.
    done: bool,
}

impl Active {
    const fn new(partition: Arc<Partition>) -> Self {
        Self { partition, leader: None, revision: 0, done: false }
    }
}

/// A batch on the wire.
struct Sent {
    partition: Arc<Partition>,
    batch: Batch,
}

/// The batches of one topic in a request: a range of its batches, ordered by partition.
struct SentTopic {
    name: Arc<str>,
    id: uuid::Uuid,
    start: usize,
    end: usize,
}

/// A request on the wire.
struct Request {
    answer: Answer,
    version: i16,
    topics: Vec<SentTopic>,
    batches: Vec<Option<Sent>>,
    /// When its connection is given up.
    deadline: Instant,
}

type Opening = Pin<Box<dyn Future<Output = Result<i16>> + Send>>;

/// A broker that is produced to.
#[derive(Default)]
struct Broker {
    /// Oldest first: a broker answers in order.
    requests: VecDeque<Request>,
    /// Produce version, while there is a connection.
    version: Option<i16>,
    opening: Option<Opening>,
    /// Since when something is ready for it that it does not take.
    ready_since: Option<Instant>,
    /// Not to be asked before this: it throttles us or can't be reached.
    not_before: Option<Instant>,
    failures: u32,
    last_error: Option<Error>,
}

struct Sender {
    shared: Arc<Shared>,
    active: Vec<Active>,
    brokers: HashMap<i32, Broker>,
    compressor: Compressor,
    /// Earliest time at which there is something to do.
    next: Option<Instant>,
    identity_call: Option<Pin<Box<dyn Future<Output = Result<ProducerIdentity>> + Send>>>,
    identity_not_before: Option<Instant>,
    loads_at: Option<Instant>,
    /// When topics are looked at that may be idle.
    idle_at: Instant,
    metadata_version: u64,
    /// Where draining starts, so that no partition is always the last to find room in a request.
    turn: usize,
}

/// What the sender waited for.
enum Event {
    /// A session, a flush or a close.
    Woken,
    /// The time of `next`.
    Time,
    /// The oldest request of this broker was answered.
    Answered(i32, Result<Bytes>),
    /// The connection to this broker is made, or could not be.
    Opened(i32, Result<i16>),
    /// The call for a producer id has ended.
    Identity(Result<ProducerIdentity>),
}

/// Runs until the producer is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender {
        shared: Arc::clone(&shared),
        active: Vec::new(),
        brokers: HashMap::new(),
        compressor: Compressor::new(),
        next: None,
        identity_call: None,
        identity_not_before: None,
        loads_at: None,
        idle_at: Instant::now(),
        metadata_version: 0,
        turn: 0,
    };
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    while shared.closing() != Closing::Now {
        sender.round();
        let mut woken = pin!(shared.wake.notified());
        if let Some(next) = sender.next {
            sleep.as_mut().reset(next.into());
        }
        let timed = sender.next.is_some();
        let event = std::future::poll_fn(|context| {
            if let Some(event) = sender.poll_network(context) {
                return Poll::Ready(event);
            }
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Woken);
            }
            if timed && sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Time);
            }
            Poll::Pending
        });
        let event = event.await;
        sender.handle(event);
        // Everything else that has come by now belongs to the same round.
        while let Some(event) =
            std::future::poll_fn(|context| Poll::Ready(sender.poll_network(context))).await
        {
            sender.handle(event);
        }
    }
    sender.abandon();
}

impl Sender {
    fn poll_network(&mut self, context: &mut std::task::Context<'_>) -> Option<Event> {
        for (node, broker) in &mut self.brokers {
            if let Some(request) = broker.requests.front_mut()
                && let Poll::Ready(answer) = Pin::new(&mut request.answer).poll(context)
            {
                return Some(Event::Answered(*node, answer));
            }
            if let Some(opening) = &mut broker.opening
                && let Poll::Ready(opened) = opening.as_mut().poll(context)
            {
                return Some(Event::Opened(*node, opened));
            }
        }
        let call = self.identity_call.as_mut()?;
        match call.as_mut().poll(context) {
            Poll::Ready(identity) => Some(Event::Identity(identity)),
            Poll::Pending => None,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Woken | Event::Time => {}
            Event::Answered(node, answer) => self.answered(node, answer),
            Event::Opened(node, opened) => self.opened(node, opened),
            Event::Identity(identity) => self.identified(identity),
        }
    }

    /// One look at everything that has something to send.
    fn round(&mut self) {
        self.next = None;
        let listed = std::mem::take(&mut *self.shared.listed.lock());
        self.active.extend(listed.into_iter().map(Active::new));
        for token in self.shared.take_flushes() {
            self.mark(&token);
        }
        let now = Instant::now();
        self.expire(now);
        self.drain(now);
        self.weigh(now);
        if now >= self.idle_at {
            self.idle_at = self.shared.forget_idle(now);
        }
        self.at(self.idle_at);
    }

    /// The sender has to look again at `time`.
    fn at(&mut self, time: Instant) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    /// Gives a flush's token to every batch there is now and lets none of them linger.
    fn mark(&mut self, token: &FlushToken) {
        for active in &self.active {
            for batch in &mut active.partition.queue.lock().batches {
                batch.urgent = true;
                batch.flushers.push(token.clone());
            }
        }
        for broker in self.brokers.values_mut() {
            for request in &mut broker.requests {
                for sent in request.batches.iter_mut().flatten() {
                    sent.batch.flushers.push(token.clone());
                }
            }
        }
    }

    /// Begins to connect to a broker and to learn what it speaks.
    fn open(&mut self, node: i32, now: Instant) {
        let broker = self.brokers.entry(node).or_default();
        if broker.opening.is_some() || broker.not_before.is_some_and(|time| time > now) {
            return;
        }
        let client = self.shared.client.clone();
        broker.opening = Some(Box::pin(async move {
            client.ready(node, Purpose::Produce).await?;
            client.api_version(node, ApiKey::Produce, MIN_PRODUCE_VERSION..=MAX_PRODUCE_VERSION).await
        }));
    }

    fn opened(&mut self, node: i32, opened: Result<i16>) {
        let Some(broker) = self.brokers.get_mut(&node) else { return };
        broker.opening = None;
        match opened {
            Ok(version) => {
                broker.version = Some(version);
                broker.failures = 0;
                broker.last_error = None;
                broker.not_before = None;
            }
            Err(error) => {
                tracing::warn!(broker = node, %error, "producer can't connect");
                broker.failures += 1;
                let pause = backoff(self.shared.client.config().reconnect_backoff, broker.failures);
                broker.not_before = Some(Instant::now() + pause);
                if !error.is_retriable() {
                    self.fail_all(&error);
                }
                if let Some(broker) = self.brokers.get_mut(&node) {
                    broker.last_error = Some(error);
                }
                self.shared.client.request_metadata_update();
            }
        }
    }

    /// Asks for a producer id when one is needed.
    fn identify(&mut self, now: Instant) {
        if self.identity_call.is_some() {
            return;
        }
        if let Some(time) = self.identity_not_before.filter(|time| *time > now) {
            return self.at(time);
        }
        let shared = Arc::clone(&self.shared);
        self.identity_call = Some(Box::pin(async move { shared.init_producer_id(None).await }));
    }

    fn identified(&mut self, identity: Result<ProducerIdentity>) {
        self.identity_call = None;
        match identity {
            Ok(identity) => {
                tracing::debug!(producer_id = identity.id, epoch = identity.epoch, "idempotent producer");
                self.shared.transaction.lock().identity = Some(identity);
            }
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "no producer id yet");
                self.identity_not_before = Some(Instant::now() + self.shared.client.config().retry_backoff.1);
            }
            Err(error) => {
                let error = error.context("no producer id for the idempotent producer");
                self.shared.fail_transaction(&error);
                self.fail_all(&error);
                self.identity_not_before = Some(Instant::now() + self.shared.client.config().retry_backoff.1);
            }
        }
    }

    /// Fails every batch that waits.
    fn fail_all(&mut self, error: &Error) {
        for active in &self.active {
            let batches = std::mem::take(&mut active.partition.queue.lock().batches);
            for batch in batches {
                self.give_up(&active.partition, batch, error);
            }
        }
    }

    /// The producer is closed: whatever is left fails.
    fn abandon(&mut self) {
        let error =
            Error::new(ErrorKind::Closed, "the producer was closed before the record was acknowledged");
        let listed = std::mem::take(&mut *self.shared.listed.lock());
        self.active.extend(listed.into_iter().map(Active::new));
        self.fail_all(&error);
        for broker in self.brokers.values_mut() {
            for request in broker.requests.drain(..) {
                for sent in request.batches.into_iter().flatten() {
                    sent.batch.fail(&self.shared.memory, &error);
                }
            }
        }
        drop(self.shared.take_flushes());
    }

    /// Whether a broker takes nothing for longer than `partitioner.availability.timeout.ms`.
    fn is_unavailable(&self, node: i32, now: Instant) -> bool {
        let Some(limit) = self.shared.settings.availability_timeout else { return false };
        let since = self.brokers.get(&node).and_then(|broker| broker.ready_since);
        since.is_some_and(|since| now.saturating_duration_since(since) > limit)
    }

    /// Tells the adaptive partitioner how long the queues are.
    fn weigh(&mut self, now: Instant) {
        if !self.shared.settings.adaptive || self.loads_at.is_some_and(|at| now < at + LOAD_INTERVAL) {
            return;
        }
        self.loads_at = Some(now);
        let topics: Vec<_> = self.shared.topics.lock().values().cloned().collect();
        let metadata = self.shared.client.metadata();
        let (mut partitions, mut queues) = (Vec::new(), Vec::new());
        for topic in topics {
            let mut state = topic.state.lock();
            if !state.choice.sticky_used || state.partitions.len() < 2 {
                continue;
            }
            state.choice.sticky_used = false;
            let state = &mut *state;
            partitions.clear();
            queues.clear();
            for index in &state.choice.available {
                let leader = metadata.partition(&topic.name, *index).map(|found| found.leader);
                if leader.is_some_and(|leader| self.is_unavailable(leader, now)) {
                    continue;
                }
                let partition = state.partitions.get(*index as usize);
                queues.push(partition.map_or(0, |partition| partition.queue.lock().batches.len()));
                partitions.push(*index);
            }
            let all = partitions.len() == state.partitions.len();
            state.choice.sticky.update_load(&partitions, &queues, all);
        }
    }
}

/// Exponential back-off with a fifth of jitter. `failures` is 1 for the first.
fn backoff((first, longest): (Duration, Duration), failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest).mul_f64(0.8 + 0.4 * fastrand::f64())
}
