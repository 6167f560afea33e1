//! From a polled batch of a source to the producer, and its offsets to their store.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aqueduct_protocol::client::producer::{
    AppendError, DeliveryErrors, DeliveryTicket, Producer, RunRecord, TopicHandle,
};
use indexmap::IndexMap;

use super::client_config::{TaskClient, task_client};
use super::dead_letters::DeadLetters;
use super::errors::{ErrorPolicy, RecordSide};
use super::exactly_once::Transactions;
use super::in_flight::InFlight;
use super::offset_stores::ConnectorOffsets;
use super::pipeline::Pipeline;
use super::retry::Retry;
use super::task::TaskRun;
use super::topics::TopicCreator;
use crate::connector::{ConnectError, OffsetMap, SourceTask, TransactionEnd};
use crate::data::{Batch, Record, RecordState, SourcePosition, TopicId};
use crate::metrics::SourceMetrics;
use crate::store::OffsetStore;

/// Batches that may wait for their acknowledgement; each costs a few hundred bytes beside its records.
const MAX_IN_FLIGHT_BATCHES: usize = 512;

/// From a polled batch to the producer.
pub(super) struct Sender {
    pub(super) connector: Arc<str>,
    pub(super) task: usize,
    pipeline: Pipeline,
    pub(super) policy: ErrorPolicy,
    pub(super) retry: Retry,
    pub(super) dead_letters: Option<DeadLetters>,
    /// What fails the task as soon as it looks.
    failure: Option<ConnectError>,
    pub(super) producer: Producer,
    topics: Vec<(Arc<str>, TopicHandle)>,
    creator: Option<TopicCreator>,
    pub(super) in_flight: InFlight<DeliveryTicket>,
    store: Arc<dyn OffsetStore>,
    /// Of a source that delivers exactly once.
    pub(super) transactions: Option<Transactions>,
    /// Offsets that are stored and that the task has not been told of.
    stored: IndexMap<Arc<OffsetMap>, Arc<OffsetMap>>,
    /// Topics of the batch under way.
    used: Vec<TopicId>,
    pub(super) metrics: SourceMetrics,
}

impl Sender {
    pub(super) async fn new(run: &TaskRun, offsets: &ConnectorOffsets) -> Result<Sender, ConnectError> {
        let (worker, connector) = (&run.shared.config.properties, &run.connector_config);
        let pipeline = Pipeline::new(worker, connector)?;
        let mut config = task_client(TaskClient::Producer, worker, connector, &run.id.connector, run.id.task);
        if let Some(exactly_once) = &run.exactly_once {
            exactly_once.configure(&mut config);
        }
        let producer = Producer::new(&config)
            .await
            .map_err(|error| ConnectError::fatal("cannot make the task's producer").caused_by(error))?;
        let transactions = match &run.exactly_once {
            Some(_) => Some(Transactions::new(run, producer.clone(), offsets).await?),
            None => None,
        };
        Ok(Sender {
            connector: Arc::clone(&run.id.connector),
            task: run.id.task,
            pipeline,
            policy: ErrorPolicy::new(run.id.clone(), connector, RecordSide::Source),
            retry: Retry::from_config(connector),
            dead_letters: DeadLetters::for_task(run, RecordSide::Source).await?,
            failure: None,
            producer,
            topics: Vec::new(),
            creator: TopicCreator::for_source(run)?,
            in_flight: InFlight::new(),
            store: Arc::clone(&offsets.all),
            transactions,
            stored: IndexMap::new(),
            used: Vec::new(),
            metrics: SourceMetrics::new(&run.id.connector, run.id.task),
        })
    }

    /// Transforms, converts and hands the batch to the producer; waits while the producer's memory is full. Transactions end
    /// where the task has asked for it.
    pub(super) async fn send(
        &mut self,
        batch: &mut Batch,
        run: &mut TaskRun,
        task: &mut dyn SourceTask,
    ) -> Result<(), ConnectError> {
        let ends = match &self.transactions {
            Some(transactions) => transactions.ends(batch.records.len())?,
            None => Vec::new(),
        };
        let nothing = batch.records.is_empty() && batch.positions.is_empty() && ends.is_empty();
        if nothing || !self.prepare(batch, run).await? {
            return Ok(());
        }
        let (mut first, mut positions) = (0, 0);
        for (records, end) in ends {
            // behind the last record come positions that have none
            let until = match batch.records.get(records.wrapping_sub(1)) {
                Some(last) if records < batch.records.len() => last.position as usize + 1,
                _ => positions + batch.positions.len(),
            };
            let part = until.saturating_sub(positions).min(batch.positions.len());
            if !self.append(batch, first..records, part, run).await? {
                return Ok(());
            }
            (first, positions) = (records, positions + part);
            self.end(end, task).await?;
        }
        let rest = batch.positions.len();
        if first < batch.records.len() || rest > 0 {
            self.append(batch, first..batch.records.len(), rest, run).await?;
        }
        Ok(())
    }

    /// Whatever may fail or wait before the producer has the first record. False if the task was stopped meanwhile: then the
    /// batch counts as not polled.
    async fn prepare(&mut self, batch: &mut Batch, run: &mut TaskRun) -> Result<bool, ConnectError> {
        if let Some(wait) = self.pipeline.transform(batch) {
            let limit = self.retry.limit;
            let late = async {
                match limit {
                    Some(limit) => tokio::time::sleep(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = late => {} // the records that still miss something fail
                () = run.stop.stopped() => return Ok(false),
            }
        }
        let began = std::time::Instant::now();
        self.pipeline.encode(batch);
        self.metrics.task.converted(began);
        let verdict = self.policy.review(batch, &self.pipeline);
        if let Some(dead_letters) = &mut self.dead_letters {
            dead_letters.report(batch, &mut self.pipeline).await?; // also of the record that fails the task
        }
        verdict?;
        if !self.resolve_topics(batch, run).await? {
            return Ok(false);
        }
        while self.in_flight.len() >= MAX_IN_FLIGHT_BATCHES {
            self.wait_for_oldest().await?;
        }
        Ok(true)
    }

    /// Hands some records to the producer, with so many of the positions that are left. False if the task was stopped meanwhile:
    /// then a part of them is sent, and none committed.
    async fn append(
        &mut self,
        batch: &mut Batch,
        records: std::ops::Range<usize>,
        positions: usize,
        run: &mut TaskRun,
    ) -> Result<bool, ConnectError> {
        let live = |record: &Record| record.state == RecordState::Live;
        if let Some(transactions) = &mut self.transactions
            && batch.records[records.clone()].iter().any(live)
        {
            transactions.begin()?;
        }
        let mut session = self.producer.session();
        let (mut appended, mut newest) = (0_usize, None);
        let mut topic: Option<(TopicId, &TopicHandle)> = None;
        self.used.clear();
        let mut headers = Vec::new();
        let mut index = records.start;
        while index < records.end {
            let record = &batch.records[index];
            if !live(record) {
                index += 1;
                continue;
            }
            let handle = match topic {
                Some((id, handle)) if id == record.topic => handle,
                _ => {
                    let name = batch.topic(record.topic);
                    let found =
                        self.topics.iter().find(|(known, _)| **known == *name).map(|(_, handle)| handle);
                    let Some(handle) = found else { return Err(unresolved(name)) };
                    if !self.used.contains(&record.topic) {
                        self.used.push(record.topic);
                        run.used_topic(name);
                    }
                    topic = Some((record.topic, handle));
                    handle
                }
            };
            let id = record.topic;
            let (taken, refused) = session.append_run(handle, &mut headers, |number, headers| {
                let index = index + number;
                let record = batch.records[..records.end].get(index)?;
                if !live(record) || record.topic != id {
                    return None;
                }
                headers.extend(self.pipeline.encoded_headers(batch, record));
                let (key, value) = self.pipeline.encoded(batch, index);
                let partition = (record.partition >= 0).then_some(record.partition);
                let timestamp = (record.timestamp >= 0).then_some(record.timestamp);
                newest = newest.max(timestamp);
                Some(RunRecord { partition, timestamp, key, value })
            });
            appended += taken;
            index += taken;
            match refused {
                Ok(()) => {}
                Err(AppendError::Full { .. }) => {
                    let began = std::time::Instant::now();
                    tokio::select! {
                        waited = session.wait_capacity() => waited.map_err(|error| not_sent(batch, index, error))?,
                        // it is read again at the next start
                        () = run.stop.stopped() => {
                            if let Some(transactions) = &mut self.transactions {
                                transactions.spoil();
                            }
                            return Ok(false);
                        }
                    }
                    self.metrics.blocked(began);
                }
                Err(error) if self.transactions.is_some() => return Err(not_sent(batch, index, error)),
                Err(error) => {
                    self.policy.undelivered(1, not_sent(batch, index, error))?;
                    index += 1;
                }
            }
        }
        let ticket = session.finish();
        self.metrics.buffered(self.producer.buffered_bytes(), newest);
        let positions = batch.positions.drain(..positions);
        match &mut self.transactions {
            // the end of the transaction tells of all of it
            Some(transactions) => transactions.sent(appended, positions),
            None => self.in_flight.push((appended > 0).then_some(ticket), positions),
        }
        self.metrics.written(appended, self.in_flight.len());
        Ok(true)
    }

    /// Ends the transaction as its connector wants it.
    async fn end(&mut self, end: TransactionEnd, task: &mut dyn SourceTask) -> Result<(), ConnectError> {
        if let (TransactionEnd::Abort, Some(transactions)) = (end, &mut self.transactions) {
            tracing::info!(
                connector = &*self.connector,
                task = self.task,
                "Aborting transaction as requested by connector"
            );
            transactions.abort_records().await?;
        }
        self.commit(task).await
    }

    /// Before a pause or the end: what is open is committed, unless the connector says where transactions end.
    pub(super) async fn commit_last(&mut self, task: &mut dyn SourceTask) -> Result<(), ConnectError> {
        match self.transactions.as_ref().map(Transactions::last_end).transpose()? {
            None => self.commit(task).await,
            Some(Some(end)) => self.end(end, task).await,
            Some(None) => Ok(()),
        }
    }

    /// Makes sure that every topic of the batch has a handle, and exists if the connector is to create it. False if the
    /// task was stopped meanwhile.
    async fn resolve_topics(&mut self, batch: &Batch, run: &mut TaskRun) -> Result<bool, ConnectError> {
        let mut last = None;
        for record in &batch.records {
            if record.state != RecordState::Live || last == Some(record.topic) {
                continue;
            }
            last = Some(record.topic);
            let name = batch.topic(record.topic);
            if self.topics.iter().any(|(known, _)| **known == *name) {
                continue;
            }
            if let Some(transactions) = &self.transactions {
                transactions.check_topic(name)?;
            }
            let topic: Arc<str> = Arc::from(name);
            if let Some(creator) = &mut self.creator {
                creator.ensure(&topic).await?;
            }
            let Some(handle) = self.topic(&topic, run).await? else { return Ok(false) };
            self.topics.push((topic, handle));
        }
        Ok(true)
    }

    /// The topic's handle; what may pass is tried again. None if the task was stopped meanwhile.
    async fn topic(&mut self, topic: &str, run: &mut TaskRun) -> Result<Option<TopicHandle>, ConnectError> {
        let mut attempt = 0_u32;
        loop {
            let handle = tokio::select! {
                handle = self.producer.topic(topic) => handle,
                () = run.stop.stopped() => return Ok(None),
            };
            match handle {
                Ok(handle) => return Ok(Some(handle)),
                Err(error) if error.is_retriable() => {
                    attempt = attempt.saturating_add(1);
                    self.policy.retried();
                    tracing::warn!(
                        connector = &*self.connector,
                        task = self.task,
                        "topic {topic}: cannot be written to yet: {error}"
                    );
                    if !run.stop.sleep(self.retry.task_delay(attempt)).await {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    let message = format!("topic {topic}: cannot be written to");
                    return Err(ConnectError::fatal(message).caused_by(error));
                }
            }
        }
    }

    /// Takes notice of acknowledgements, without waiting.
    pub(super) fn settle(&mut self) -> Result<(), ConnectError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let policy = &mut self.policy;
        self.in_flight.settle(|ticket| match std::pin::Pin::new(ticket).poll(&mut nobody) {
            Poll::Pending => None,
            Poll::Ready(Ok(_)) => Some(Ok(())),
            Poll::Ready(Err(errors)) => Some(policy.undelivered(errors.total, unacknowledged(errors))),
        })
    }

    async fn wait_for_oldest(&mut self) -> Result<(), ConnectError> {
        if let Some(ticket) = self.in_flight.oldest() {
            if let Err(errors) = ticket.await {
                self.policy.undelivered(errors.total, unacknowledged(errors))?;
            }
            self.in_flight.oldest_is_done();
        }
        self.settle()
    }

    /// Waits until everything is acknowledged.
    pub(super) async fn drain(&mut self) -> Result<(), ConnectError> {
        if self.in_flight.len() > 0 {
            self.producer.flush().await;
        }
        while self.in_flight.len() > 0 {
            self.wait_for_oldest().await?;
        }
        Ok(())
    }

    /// Ends the open transaction, or writes the offsets of what is acknowledged; and tells the task.
    pub(super) async fn commit(&mut self, task: &mut dyn SourceTask) -> Result<(), ConnectError> {
        match &mut self.transactions {
            Some(transactions) => {
                if let Some(dead_letters) = &mut self.dead_letters {
                    dead_letters.settle().await?;
                }
                let began = std::time::Instant::now();
                let Some((records, offsets)) = transactions.commit().await? else { return Ok(()) };
                self.metrics.task.committed(began, true);
                self.metrics.transaction(records);
                self.stored.extend(offsets);
            }
            None => {
                if let Err(error) = self.settle() {
                    // met again where it fails the task
                    tracing::debug!(connector = &*self.connector, task = self.task, "{error}");
                    self.failure.get_or_insert(error);
                }
                self.write_offsets().await;
            }
        }
        self.tell(task).await;
        Ok(())
    }

    /// Tells the task what has been stored since it was told last, also while it was polled.
    pub(super) async fn tell_stored(&mut self, task: &mut dyn SourceTask) {
        if !self.stored.is_empty() {
            self.tell(task).await;
        }
    }

    async fn tell(&mut self, task: &mut dyn SourceTask) {
        let stored: Vec<SourcePosition> =
            self.stored.drain(..).map(|(partition, offset)| SourcePosition { partition, offset }).collect();
        if let Err(error) = task.commit(&stored).await {
            tracing::error!(
                connector = &*self.connector,
                task = self.task,
                "the task's commit failed: {}",
                error.trace().trim_end()
            );
        }
    }

    /// A failure keeps the offsets for the next time.
    pub(super) async fn write_offsets(&mut self) {
        let offsets = self.in_flight.take_committable();
        if offsets.is_empty() {
            return;
        }
        if let Some(dead_letters) = &mut self.dead_letters
            && let Err(error) = dead_letters.settle().await
        {
            self.in_flight.give_back(offsets);
            self.failure.get_or_insert(error);
            return;
        }
        let to_write = offsets
            .iter()
            .map(|(partition, offset)| (Arc::clone(partition), Some((**offset).clone())))
            .collect();
        let began = std::time::Instant::now();
        let written = self.store.write(&self.connector, to_write).await;
        self.metrics.task.committed(began, written.is_ok());
        if let Err(error) = written {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(
                connector = &*self.connector,
                task = self.task,
                "offsets were not committed, next try at the next interval: {error}: {cause}"
            );
            self.in_flight.give_back(offsets);
        } else {
            self.stored.extend(offsets);
        }
    }
}

fn unresolved(topic: &str) -> ConnectError {
    ConnectError::fatal(format!("topic {topic}: no partitions are known of it"))
}

fn not_sent(
    batch: &Batch,
    record: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> ConnectError {
    let topic = batch.records.get(record).map(|record| batch.topic(record.topic)).unwrap_or_default();
    let position = batch
        .positions
        .last()
        .map(|position| serde_json::Value::Object((*position.offset).clone()).to_string());
    ConnectError::fatal(format!(
        "topic {topic}: a record of the batch that ends at source offset {} cannot be sent",
        position.unwrap_or_default()
    ))
    .caused_by(error)
}

fn unacknowledged(errors: DeliveryErrors) -> ConnectError {
    ConnectError::fatal("Unrecoverable exception from producer send callback").caused_by(errors)
}
