//! Fetches ahead: at most one request per broker is on its way, and what it brings waits to be given out.
//!
//! Nothing here waits but [`Fetcher::answered`]: connections are made and beginnings found in the background. Cost of a
//! round: O(partitions), with requests and answers that name only what has changed ([`FetchSession`]).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest};
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::time::Instant;
use uuid::Uuid;

use super::background::Slot;
use super::locate::{Located, Locator};
use super::offsets::LiveMembership;
use super::partition::{Partition, Place, Position, next_records};
use super::session::{FetchSession, Plan, Want};
use super::settings::Settings;
use super::{OffsetAndMetadata, PartitionBatch};
use crate::client::{Answer, Client, Metadata, Purpose};
use crate::wire::TopicPartition;
use crate::wire::compression::Decompressor;
use crate::wire::fetch::MAX_FETCH_VERSION;
use crate::{Error, ErrorKind, Result};

/// Every broker from 2.8 on has the version that names topics and detects truncation; later ones want ids.
const BY_NAME: i16 = 12;
/// Wait before a partition or a broker is asked again after an error.
pub(super) const RETRY: Duration = Duration::from_millis(100);

pub(super) struct InFlight {
    pub(super) node: i32,
    pub(super) version: i16,
    /// What [`Partition::asked`] has of it.
    pub(super) serial: u64,
    answer: Answer,
    /// What `answer` has given.
    arrived: Option<Result<Bytes>>,
    deadline: Instant,
    pub(super) asked: Vec<TopicPartition>,
}

impl InFlight {
    /// Ready once the answer is there; it stays in `arrived`.
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.arrived.is_none() {
            let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(context) else { return Poll::Pending };
            self.arrived = Some(answer);
        }
        Poll::Ready(())
    }
}

/// What is known of a broker that is fetched from.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) session: FetchSession,
    /// Newest Fetch version of its last connection; none: connect first.
    version: Option<i16>,
    connecting: Slot<i16>,
    /// A request is on its way.
    pub(super) busy: bool,
    /// It asked to be left alone, or could not be reached.
    pub(super) not_before: Option<Instant>,
}

pub(super) struct Fetcher {
    pub(super) client: Client,
    pub(super) settings: Arc<Settings>,
    pub(super) partitions: IndexMap<TopicPartition, Partition>,
    pub(super) brokers: HashMap<i32, Broker>,
    in_flight: Vec<InFlight>,
    serial: u64,
    membership: LiveMembership,
    locating: Slot<Vec<Located>>,
    decompressor: Decompressor,
    /// Whose turn it is to be given out first.
    turn: usize,
}

impl Fetcher {
    pub(super) fn new(client: Client, settings: Arc<Settings>, membership: LiveMembership) -> Self {
        Self {
            client,
            settings,
            partitions: IndexMap::new(),
            brokers: HashMap::new(),
            in_flight: Vec::new(),
            serial: 0,
            membership,
            locating: Slot::default(),
            decompressor: Decompressor::default(),
            turn: 0,
        }
    }

    pub(super) fn locator(&self) -> Locator {
        Locator {
            client: self.client.clone(),
            settings: Arc::clone(&self.settings),
            membership: self.membership.lock().clone(),
        }
    }

    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    pub(super) fn add(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Place)>) {
        self.partitions.extend(partitions.into_iter().map(|(name, place)| (name, Partition::new(place))));
    }

    pub(super) fn remove(&mut self, names: &[TopicPartition]) {
        for name in names {
            self.partitions.swap_remove(name);
        }
    }

    /// Goes on elsewhere; false if the partition is not ours.
    pub(super) fn seek(&mut self, name: &TopicPartition, place: Place) -> bool {
        let partition = self.partitions.get_mut(name);
        partition.map(|partition| partition.move_to(place)).is_some()
    }

    pub(super) fn set_paused(&mut self, names: &[TopicPartition], paused: bool) {
        for name in names {
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.paused = paused;
            }
        }
    }

    pub(super) fn position(&self, name: &TopicPartition) -> Option<Position> {
        self.partitions.get(name).and_then(Partition::position)
    }

    /// Where partitions stand, as far as that is known, ready to be committed.
    pub(super) fn positions(&self) -> impl Iterator<Item = (TopicPartition, OffsetAndMetadata)> {
        self.partitions.iter().filter_map(|(name, partition)| {
            let position = partition.position()?;
            let leader_epoch = Some(position.epoch).filter(|epoch| *epoch >= 0);
            let offset = OffsetAndMetadata { leader_epoch, ..OffsetAndMetadata::new(position.offset) };
            Some((name.clone(), offset))
        })
    }

    /// Takes back records that were not given out.
    pub(super) fn give_back(&mut self, batch: &PartitionBatch) {
        let name = TopicPartition::new(Arc::clone(&batch.topic), batch.partition);
        if let Some(first) = batch.records.get(0) {
            self.seek(&name, Place::At(Position::new(first.offset())));
        }
    }

    pub(super) fn lag(&self, name: &TopicPartition) -> Option<i64> {
        let partition = self.partitions.get(name).filter(|partition| partition.end_offset >= 0)?;
        Some((partition.end_offset - partition.position()?.offset).max(0))
    }

    /// Takes answers that are there, begins to find missing places, and asks every broker that has nothing to do.
    pub(super) fn prepare(&mut self) -> Result<()> {
        let received = self.receive();
        let located = self.find_places();
        self.ask_all();
        received.and(located)
    }

    fn find_places(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        match self.locating.take() {
            Some(Ok(located)) => outcome = self.take_located(located),
            Some(Err(error)) => {
                let again = Some(Instant::now() + RETRY);
                for partition in self.partitions.values_mut().filter(|of| of.position().is_none()) {
                    partition.retry_at = again;
                }
                match error.is_retriable() {
                    true => tracing::debug!("offsets could not be found: {error}"),
                    false => outcome = Err(error),
                }
            }
            None => {}
        }
        if self.locating.is_empty() {
            let now = Instant::now();
            let missing = |(name, partition): (&TopicPartition, &Partition)| match partition.place {
                Place::Unknown(find) if !partition.is_waiting(now) => Some((name.clone(), find)),
                _ => None,
            };
            let missing: Vec<_> = self.partitions.iter().filter_map(missing).collect();
            if !missing.is_empty() {
                let work = self.locator().locate(missing);
                self.locating.start(work);
            }
        }
        outcome
    }

    fn take_located(&mut self, located: Vec<Located>) -> Result<()> {
        let mut outcome = Ok(());
        for (name, found) in located {
            let Some(partition) = self.partitions.get_mut(&name).filter(|of| of.position().is_none()) else {
                continue;
            };
            match found {
                Ok(position) => partition.place = Place::At(position),
                Err(error) => {
                    partition.retry_at = Some(Instant::now() + RETRY);
                    match error.is_retriable() {
                        true => tracing::debug!("no offset of {name} yet: {error}"),
                        false => outcome = Err(error),
                    }
                }
            }
        }
        outcome
    }

    fn ask_all(&mut self) {
        let metadata = self.client.metadata();
        let now = Instant::now();
        let mut nodes: HashMap<i32, Vec<usize>> = HashMap::new();
        let mut without_leader = false;
        for (index, (name, partition)) in self.partitions.iter_mut().enumerate() {
            let idle = partition.asked.is_none() && partition.ready.is_none() && !partition.paused;
            if !idle || partition.position().is_none() || partition.is_waiting(now) {
                continue;
            }
            partition.replica =
                partition.replica.filter(|(node, until)| *until > now && metadata.nodes.contains_key(node));
            let leader = metadata.partition(&name.topic, name.partition).map_or(-1, |found| found.leader);
            match partition.replica.map_or(leader, |(node, _)| node) {
                node if node >= 0 => nodes.entry(node).or_default().push(index),
                _ => {
                    self.client.watch_topic(&name.topic);
                    partition.retry_at = Some(now + RETRY);
                    without_leader = true;
                }
            }
        }
        if without_leader {
            self.client.request_metadata_update();
        }
        for (node, indices) in nodes {
            self.ask(node, &indices, &metadata);
        }
    }

    /// Asks a broker, or connects to it first.
    fn ask(&mut self, node: i32, indices: &[usize], metadata: &Metadata) {
        let now = Instant::now();
        let broker = self.brokers.entry(node).or_default();
        if broker.busy || broker.not_before.is_some_and(|at| at > now) {
            return;
        }
        match broker.connecting.take() {
            Some(Ok(version)) => broker.version = Some(version),
            Some(Err(error)) => {
                tracing::debug!("broker {node} cannot be fetched from: {error}");
                broker.not_before = Some(now + RETRY);
                self.client.request_metadata_update();
                return self.forget_replica(node);
            }
            None if !broker.connecting.is_empty() => return,
            None => {}
        }
        let sent = match broker.version {
            Some(newest) => self.send(node, newest, indices, metadata),
            None => Ok(false),
        };
        match sent {
            Ok(true) => {}
            Ok(false) => self.connect(node),
            Err(error) => tracing::warn!("broker {node} cannot be asked: {error}"),
        }
    }

    fn connect(&mut self, node: i32) {
        let client = self.client.clone();
        let broker = self.brokers.entry(node).or_default();
        broker.version = None;
        broker.connecting.start(async move {
            client.ready(node, Purpose::Fetch).await?;
            client.api_version(node, ApiKey::Fetch, BY_NAME..=MAX_FETCH_VERSION).await
        });
    }

    /// Partitions that were to be fetched from this replica go back to their leaders.
    pub(super) fn forget_replica(&mut self, node: i32) {
        for partition in self.partitions.values_mut() {
            partition.replica = partition.replica.filter(|(replica, _)| *replica != node);
        }
    }

    /// Ends the sessions at the brokers, so that they need not remember them; nobody waits for the answers.
    pub(super) fn close_sessions(&mut self) {
        for (node, broker) in &mut self.brokers {
            if let Some(version) = broker.version
                && let Some(plan) = broker.session.close()
            {
                let _ = enqueue(&self.client, &self.settings, *node, version, plan);
            }
        }
    }

    /// Sends a request; false if there is no connection.
    fn send(&mut self, node: i32, newest: i16, indices: &[usize], metadata: &Metadata) -> Result<bool> {
        let mut wanted = Vec::with_capacity(indices.len());
        for index in indices {
            let Some((name, partition)) = self.partitions.get_index(*index) else { continue };
            let Some(position) = partition.position() else { continue };
            let known = metadata.partition(&name.topic, name.partition);
            let want = Want {
                topic_id: metadata.topic(&name.topic).map_or(Uuid::nil(), |topic| topic.id),
                offset: position.offset,
                leader_epoch: known.map_or(-1, |known| known.leader_epoch),
                last_epoch: position.epoch,
                max_bytes: self.settings.partition_fetch_bytes,
            };
            wanted.push((name.clone(), want));
        }
        let by_id = newest > BY_NAME && wanted.iter().all(|(_, want)| !want.topic_id.is_nil());
        let version = if by_id { newest } else { BY_NAME };
        let broker = self.brokers.entry(node).or_default();
        let plan = broker.session.plan(&wanted, by_id);
        let answer = enqueue(&self.client, &self.settings, node, version, plan);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                broker.session.failed();
                return if error.kind() == ErrorKind::Protocol { Err(error) } else { Ok(false) };
            }
        };
        broker.busy = true;
        self.serial += 1;
        let asked: Vec<TopicPartition> = wanted.into_iter().map(|(name, _)| name).collect();
        for index in indices {
            if let Some((_, partition)) = self.partitions.get_index_mut(*index) {
                partition.asked = Some(self.serial);
            }
        }
        let deadline = Instant::now() + self.client.config().request_timeout + self.settings.fetch_max_wait;
        let serial = self.serial;
        self.in_flight.push(InFlight { node, version, serial, answer, arrived: None, deadline, asked });
        Ok(true)
    }

    /// Takes the answers that have come, without waiting.
    fn receive(&mut self) -> Result<()> {
        let mut nobody = Context::from_waker(Waker::noop());
        let mut outcome = Ok(());
        let mut index = 0;
        while index < self.in_flight.len() {
            let request = &mut self.in_flight[index];
            if request.poll_arrival(&mut nobody).is_pending() {
                if Instant::now() < request.deadline {
                    index += 1;
                    continue;
                }
                self.client.disconnect(request.node, Purpose::Fetch);
                let message = format!("broker {} did not answer a fetch", request.node);
                request.arrived = Some(Err(Error::new(ErrorKind::Timeout, message)));
            }
            let mut request = self.in_flight.swap_remove(index);
            if let Some(answer) = request.arrived.take() {
                outcome = outcome.and(self.take_answer(&request, answer));
            }
        }
        outcome
    }

    /// Returns when something may have come, or at `until`.
    pub(super) async fn answered(&mut self, until: Instant) {
        let now = Instant::now();
        let retries = self.partitions.values().filter_map(|partition| partition.retry_at);
        let brokers = self.brokers.values().filter_map(|broker| broker.not_before);
        // a time that has passed wakes nobody: what it held back was asked by now, or waits for something else
        let next = retries.chain(brokers).filter(|at| *at > now).min();
        let until = next.map_or(until, |at| until.min(at));
        let any = std::future::poll_fn(|context| {
            // all are asked, so that each knows whom to wake
            let mut arrived = self.locating.poll_done(context);
            for request in &mut self.in_flight {
                arrived |= request.poll_arrival(context).is_ready();
            }
            for broker in self.brokers.values_mut() {
                arrived |= broker.connecting.poll_done(context);
            }
            if arrived { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout_at(until, any).await;
    }

    /// Gives out what is there, at most `max.poll.records` records, partitions in turn.
    pub(super) fn take(&mut self) -> Result<Vec<PartitionBatch>> {
        let mut taken = Vec::new();
        let mut room = self.settings.max_poll_records;
        let count = self.partitions.len();
        for step in 0..count {
            let Some((name, partition)) = self.partitions.get_index_mut((self.turn + step) % count) else {
                break;
            };
            if partition.paused || partition.ready.is_none() {
                continue;
            }
            while room > 0 {
                let records =
                    match next_records(name, partition, &self.settings, &mut self.decompressor, room) {
                        Ok(Some(records)) => records,
                        Ok(None) => break,
                        Err(error) => {
                            // The position stays before what cannot be read: it is fetched and refused again, never
                            // skipped. What was read before it goes out first.
                            partition.ready = None;
                            if taken.is_empty() {
                                return Err(error);
                            }
                            break;
                        }
                    };
                room -= records.len();
                taken.push(PartitionBatch {
                    topic: Arc::clone(&name.topic),
                    partition: name.partition,
                    records,
                    next_offset: partition.position().map_or(-1, |position| position.offset),
                });
            }
            if room == 0 {
                break;
            }
        }
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        Ok(taken)
    }
}

/// Queues a Fetch request on the connection that is there.
fn enqueue(client: &Client, settings: &Settings, node: i32, version: i16, plan: Plan) -> Result<Answer> {
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(settings.fetch_max_wait.as_millis() as i32)
        .with_min_bytes(settings.fetch_min_bytes)
        .with_max_bytes(settings.fetch_max_bytes)
        .with_isolation_level(i8::from(settings.read_committed))
        .with_session_id(plan.session_id)
        .with_session_epoch(plan.session_epoch)
        .with_topics(plan.topics)
        .with_forgotten_topics_data(plan.forgotten)
        .with_rack_id(StrBytes::from_string(client.config().client_rack.clone()));
    let mut body = BytesMut::new();
    request.encode(&mut body, version).map_err(|error| {
        let message = format!("a Fetch request cannot be written in version {version}: {error}");
        Error::new(ErrorKind::Protocol, message)
    })?;
    client.enqueue_raw(node, Purpose::Fetch, ApiKey::Fetch, version, vec![body.freeze()], true)
}
