//! Sending: one request per broker with the first batch of each of its partitions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::messages::ApiKey;

use super::super::batch::{Batch, Content};
use super::super::partition::{Partition, Queue};
use super::super::sequence::ProducerIdentity;
use super::super::shared::Closing;
use super::{Request, Sender, Sent, SentTopic};
use crate::client::{Metadata, Purpose};
use crate::wire::produce::{ProducePartition, ProduceTopic, encode_produce};
use crate::wire::records::ProducerStamp;
use crate::{Error, ErrorKind};

/// Newest Produce version that doesn't add partitions to a transaction by itself.
const LAST_EXPLICIT_VERSION: i16 = 11;
/// Newest Produce version that names topics.
const LAST_NAMED_VERSION: i16 = 12;

/// What the sender may do now, looked at once a round.
#[derive(Clone, Copy)]
struct View {
    now: Instant,
    identity: Option<ProducerIdentity>,
    number: u64,
    v2: bool,
    may_send: bool,
    /// Nothing lingers: the producer is being closed, or somebody waits for memory.
    hurry: bool,
}

/// Whether the first batch of a partition can go.
enum Readiness {
    Ready,
    /// At that time, if nothing else happens.
    At(Instant),
    /// When an answer, an identity or a session comes.
    Waits,
    /// When it is part of the transaction.
    NeedsAdding,
}

impl Sender {
    /// Sends what is ready.
    pub(super) fn drain(&mut self, now: Instant) {
        let view = {
            let transaction = self.shared.transaction.lock();
            View {
                now,
                identity: transaction.identity,
                number: transaction.number,
                v2: transaction.v2,
                may_send: transaction.may_send(),
                hurry: self.shared.closing() != Closing::No || self.shared.memory.is_exhausted(),
            }
        };
        let view = self.restart(view);
        let metadata = self.shared.client.metadata();
        self.take_metadata(&metadata);
        let mut ready = self.look(&view, &metadata);
        if self.shared.settings.idempotence
            && view.identity.is_none()
            && !self.active.is_empty()
            && view.may_send
        {
            self.identify(now);
        }
        for (node, broker) in &mut self.brokers {
            if !ready.contains_key(node) {
                broker.ready_since = None;
            }
        }
        for (node, partitions) in ready.drain() {
            self.send(node, partitions, &view, &metadata);
        }
        self.turn = self.turn.wrapping_add(1);
    }

    fn take_metadata(&mut self, metadata: &Metadata) {
        if self.metadata_version == metadata.version {
            return;
        }
        self.metadata_version = metadata.version;
        let topics: Vec<_> = self.shared.topics.lock().values().cloned().collect();
        for topic in topics {
            if let Some(found) = metadata.topic(&topic.name) {
                topic.update(metadata.version, found);
            }
        }
    }

    /// Numbers anew the partitions whose sequence is broken, under a raised epoch.
    fn restart(&mut self, mut view: View) -> View {
        let Some(mut identity) = view.identity.filter(|_| self.shared.settings.transactional_id.is_none())
        else {
            return view;
        };
        for active in &self.active {
            let mut queue = active.partition.queue.lock();
            if queue.sequences.resolve() == Some(false) {
                queue.restart = true;
            }
            if !queue.restart || queue.on_wire > 0 {
                continue;
            }
            if queue.sequences.identity() == Some(identity) {
                let Some(epoch) = identity.epoch.checked_add(1) else {
                    // Used up: only a new producer id helps.
                    view.identity = None;
                    self.shared.transaction.lock().identity = None;
                    return view;
                };
                identity.epoch = epoch;
                self.shared.transaction.lock().identity = Some(identity);
                view.identity = Some(identity);
            }
            tracing::info!(
                topic = %active.partition.topic,
                partition = active.partition.index,
                producer_id = identity.id,
                epoch = identity.epoch,
                "sequence restarted"
            );
            renumber(&mut queue, identity);
        }
        view
    }

    /// Which partitions are ready, by leader; all of a broker's partitions if one of them is.
    fn look(&mut self, view: &View, metadata: &Metadata) -> HashMap<i32, Vec<usize>> {
        let mut by_leader: HashMap<i32, (bool, Vec<usize>)> = HashMap::new();
        let mut to_add = Vec::new();
        let mut leaderless = false;
        let count = self.active.len();
        let mut empty = false;
        for step in 0..count {
            let at = (step + self.turn) % count;
            let Some(active) = self.active.get_mut(at) else { continue };
            let mut queue = active.partition.queue.lock();
            if queue.batches.is_empty() {
                queue.listed = queue.on_wire > 0;
                active.done = !queue.listed;
                empty |= active.done;
                continue;
            }
            if active.revision != metadata.revision || active.leader.is_none() {
                active.revision = metadata.revision;
                let found = metadata.partition(&active.partition.topic, active.partition.index);
                active.leader = found.map(|found| found.leader).filter(|leader| *leader >= 0);
            }
            let Some(leader) = active.leader else {
                leaderless = true;
                continue;
            };
            let (has_ready, partitions) = by_leader.entry(leader).or_default();
            match self.shared.readiness(&mut queue, view) {
                Readiness::Ready => {
                    *has_ready = true;
                    partitions.push(at);
                }
                Readiness::At(time) => {
                    // It goes along if something else goes to that broker, unless it is being left alone.
                    if queue.retry_at.is_none_or(|at| at <= view.now) {
                        partitions.push(at);
                    }
                    let next = self.next.map_or(time, |next| next.min(time));
                    self.next = Some(next);
                }
                Readiness::Waits => {}
                Readiness::NeedsAdding => to_add.push(Arc::clone(&active.partition)),
            }
        }
        if empty {
            self.active.retain(|active| !active.done);
        }
        if leaderless {
            self.shared.client.request_metadata_update();
            let again = view.now + self.shared.client.config().retry_backoff.0;
            self.at(again);
        }
        if !to_add.is_empty() {
            tokio::spawn(Arc::clone(&self.shared).add_partitions(view.number, to_add));
        }
        if empty {
            // Positions have moved: look again, at what is left.
            return self.look(view, metadata);
        }
        by_leader
            .into_iter()
            .filter(|(_, (ready, _))| *ready)
            .map(|(node, (_, partitions))| (node, partitions))
            .collect()
    }

    /// Sends one request after the other to a broker while it may have more and batches are there.
    fn send(&mut self, node: i32, mut partitions: Vec<usize>, view: &View, metadata: &Metadata) {
        let limit = self.shared.settings.max_in_flight;
        let mut first = true;
        loop {
            let broker = self.brokers.entry(node).or_default();
            broker.ready_since.get_or_insert(view.now);
            if let Some(time) = broker.not_before.filter(|time| *time > view.now) {
                return self.at(time);
            }
            if broker.requests.len() >= limit {
                for at in partitions {
                    self.active[at].partition.queue.lock().saturated = true;
                }
                return;
            }
            let Some(version) = broker.version else { return self.open(node, view.now) };
            if !first {
                // The batches behind those that went: only what is ready by itself.
                let shared = &self.shared;
                let active = &self.active;
                partitions.retain(|at| {
                    let mut queue = active[*at].partition.queue.lock();
                    !queue.batches.is_empty()
                        && matches!(shared.readiness(&mut queue, view), Readiness::Ready)
                });
            }
            first = false;
            let batches = self.take(&partitions, view);
            if batches.is_empty() || !self.request(node, version, batches, view, metadata) {
                return;
            }
        }
    }

    /// Takes the first batch of each partition, as many as fit into a request.
    fn take(&mut self, partitions: &[usize], view: &View) -> Vec<Sent> {
        let mut taken: Vec<Sent> = Vec::with_capacity(partitions.len());
        let mut size = 0;
        let mut failed: Vec<(Arc<Partition>, Batch, Error)> = Vec::new();
        for at in partitions.iter() {
            let partition = &self.active[*at].partition;
            let mut queue = partition.queue.lock();
            let Some(first) = queue.batches.front() else { continue };
            if !taken.is_empty() && size + first.size() > self.shared.settings.max_request_size {
                continue;
            }
            let Some(mut batch) = queue.batches.pop_front() else { continue };
            let stamp = self.shared.stamp(&mut queue, &mut batch, view);
            queue.on_wire += 1;
            queue.saturated = false;
            queue.retry_at = None;
            if view.v2 {
                queue.in_transaction = view.number;
            }
            drop(queue);
            if let Err(error) = batch.seal(&mut self.compressor, &self.shared.memory, stamp) {
                let message =
                    format!("a batch for {}-{} can't be compressed", partition.topic, partition.index);
                let error = Error::new(ErrorKind::Record, message).with_source(error);
                partition.queue.lock().on_wire -= 1;
                failed.push((Arc::clone(partition), batch, error));
                continue;
            }
            batch.attempts += 1;
            size += batch.size();
            taken.push(Sent { partition: Arc::clone(partition), batch });
        }
        for (partition, batch, error) in failed {
            self.give_up(&partition, batch, &error);
        }
        taken
    }

    /// Puts a request on the wire. False if there is no connection: the batches are queued again.
    fn request(
        &mut self,
        node: i32,
        version: i16,
        mut batches: Vec<Sent>,
        view: &View,
        metadata: &Metadata,
    ) -> bool {
        batches.sort_by(|a, b| {
            a.partition.topic.cmp(&b.partition.topic).then(a.partition.index.cmp(&b.partition.index))
        });
        let topics = group(&batches, metadata);
        let mut version = version;
        let settings = &self.shared.settings;
        if settings.transactional_id.is_some() && !view.v2 {
            version = version.min(LAST_EXPLICIT_VERSION);
        }
        if topics.iter().any(|topic| topic.id.is_nil()) {
            version = version.min(LAST_NAMED_VERSION);
        }
        let parts: Vec<ProducePartition> = batches
            .iter()
            .map(|sent| {
                let records = match &sent.batch.content {
                    Content::Sealed(bytes) => bytes.clone(),
                    Content::Open(_) => bytes::Bytes::new(),
                };
                ProducePartition { index: sent.partition.index, records }
            })
            .collect();
        let named: Vec<ProduceTopic<'_>> = topics
            .iter()
            .map(|topic| ProduceTopic {
                name: &topic.name,
                topic_id: topic.id,
                partitions: &parts[topic.start..topic.end],
            })
            .collect();
        let timeout = self.shared.client.config().request_timeout;
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let id = settings.transactional_id.as_deref();
        let body = encode_produce(version, id, settings.acks, timeout_ms, &named);
        drop(parts);
        if view.v2 {
            self.shared.transaction.lock().started = true;
        }
        let oldest = batches.iter().map(|sent| sent.batch.created).min().unwrap_or(view.now);
        let deadline = oldest.checked_add(settings.delivery_timeout).unwrap_or(view.now + timeout);
        let deadline = deadline.max(view.now).min(view.now + timeout);
        let answered = settings.acks != 0;
        let queued =
            self.shared.client.enqueue_raw(node, Purpose::Produce, ApiKey::Produce, version, body, answered);
        match queued {
            Ok(answer) => {
                let batches = batches.into_iter().map(Some).collect();
                let request = Request { answer, version, topics, batches, deadline };
                let broker = self.brokers.entry(node).or_default();
                broker.requests.push_back(request);
                broker.ready_since = None;
                self.at(deadline);
                true
            }
            Err(error) => {
                let broker = self.brokers.entry(node).or_default();
                broker.version = None;
                broker.last_error.get_or_insert(error);
                for sent in batches.into_iter().rev() {
                    let mut queue = sent.partition.queue.lock();
                    queue.on_wire -= 1;
                    let mut batch = sent.batch;
                    batch.attempts -= 1;
                    queue.requeue(batch);
                }
                self.open(node, view.now);
                false
            }
        }
    }
}

impl super::Shared {
    /// Whether the first batch of a partition can go.
    fn readiness(&self, queue: &mut Queue, view: &View) -> Readiness {
        queue.saturated = false;
        let settings = &self.settings;
        let full = queue.batches.len() > 1;
        let Some(first) = queue.batches.front() else { return Readiness::Waits };
        if !view.may_send || queue.restart || (settings.max_in_flight == 1 && queue.on_wire > 0) {
            queue.saturated = true;
            return Readiness::Waits;
        }
        if settings.idempotence {
            let Some(identity) = view.identity else { return Readiness::Waits };
            let may = match first.stamp {
                Some(stamp) => queue.sequences.may_resend(stamp.base_sequence),
                None => queue.sequences.may_assign(identity),
            };
            if !may {
                queue.saturated = true;
                return Readiness::Waits;
            }
        }
        // Before it lingers: it may go along with others.
        if settings.transactional_id.is_some() && !view.v2 && queue.in_transaction != view.number {
            if queue.asked_transaction == view.number {
                return Readiness::Waits;
            }
            queue.asked_transaction = view.number;
            return Readiness::NeedsAdding;
        }
        if let Some(time) = queue.retry_at.filter(|time| *time > view.now) {
            return Readiness::At(time);
        }
        let linger_ends = first.created.checked_add(settings.linger);
        let lingers = linger_ends.filter(|time| *time > view.now);
        let done = full || first.urgent || first.is_full() || first.attempts > 0 || view.hurry;
        if let Some(time) = lingers.filter(|_| !done) {
            return Readiness::At(time);
        }
        Readiness::Ready
    }

    /// The numbers for a batch: its own, or the next ones.
    fn stamp(&self, queue: &mut Queue, batch: &mut Batch, view: &View) -> Option<ProducerStamp> {
        if batch.stamp.is_some() {
            return batch.stamp;
        }
        let identity = view.identity.filter(|_| self.settings.idempotence)?;
        let base_sequence = queue.sequences.assign(identity, batch.record_count());
        Some(ProducerStamp {
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            base_sequence,
            transactional: self.settings.transactional_id.is_some(),
        })
    }
}

/// Gives every numbered batch of a partition new numbers from 0 on.
fn renumber(queue: &mut Queue, identity: ProducerIdentity) {
    queue.restart = false;
    let Queue { batches, sequences, .. } = queue;
    sequences.restart(identity);
    for batch in batches.iter_mut() {
        let Some(old) = batch.stamp else { break };
        let base_sequence = sequences.assign(identity, batch.record_count());
        let stamp =
            ProducerStamp { producer_id: identity.id, producer_epoch: identity.epoch, base_sequence, ..old };
        batch.renumber(stamp);
    }
}

/// The topics of batches that are sorted by topic.
fn group(batches: &[Sent], metadata: &Metadata) -> Vec<SentTopic> {
    let mut topics: Vec<SentTopic> = Vec::new();
    for (at, sent) in batches.iter().enumerate() {
        match topics.last_mut() {
            Some(topic) if Arc::ptr_eq(&topic.name, &sent.partition.topic) => topic.end = at + 1,
            _ => {
                let name = Arc::clone(&sent.partition.topic);
                let id = metadata.topic(&name).map_or(uuid::Uuid::nil(), |topic| topic.id);
                topics.push(SentTopic { name, id, start: at, end: at + 1 });
            }
        }
    }
    topics
}
