//! The loop of a sink task: consumer → converters → transforms → put, and commits of what is durable.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aqueduct_protocol::client::consumer::{
    Committer, Consumer, ListenerFuture, OffsetAndMetadata, PartitionBatch, RebalanceListener, Subscription,
};
use aqueduct_protocol::{Error, ErrorKind};
use fancy_regex::Regex;
use tokio::time::Instant;

use super::client_config::{TaskClient, task_client};
use super::consumed;
use super::dead_letters::DeadLetters;
use super::errors::{ErrorPolicy, RecordSide, SINK_TASK};
use super::lag;
use super::pipeline::Pipeline;
use super::retry::Retry;
use super::task::TaskRun;
use crate::connector::{
    ConfigMap, ConnectError, Positions, PutOutcome, SinkTask, SinkTaskContext, Ticket, TopicPartition,
};
use crate::converter::Wait;
use crate::data::{Batch, RecordState};
use crate::metrics::SinkMetrics;

/// Longest poll: how soon an idle task notices pause and stop, and gets an empty put.
const POLL: Duration = Duration::from_secs(1);
/// How soon a wait notices a stop, and how often the membership is looked after meanwhile.
const REDELIVERY: Duration = Duration::from_millis(500);
/// Most batches whose outcome is not known yet. What they may hold together is the task's to bound, by waiting in `put`.
const MAX_PENDING: usize = 1024;
/// Batches that are kept to be used again.
const SPARE_BATCHES: usize = 8;
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(3);

/// Runs until the task is stopped or fails.
pub(super) async fn run(mut run: TaskRun, mut task: Box<dyn SinkTask>) -> Result<(), ConnectError> {
    if !run.wait_until_resumed().await {
        return Ok(());
    }
    let (worker, connector) = (&run.shared.config.properties, &run.connector_config);
    let mut pipeline = Pipeline::new(worker, connector)?;
    if task.takes_json() {
        pipeline.keep_json(worker, connector)?;
    }
    let policy = ErrorPolicy::new(run.id.clone(), connector, RecordSide::Consumed);
    let config = task_client(TaskClient::Consumer, worker, connector, &run.id.connector, run.id.task);
    let no_consumer = |error| ConnectError::fatal("cannot make the task's consumer").caused_by(error);
    let mut consumer = Consumer::new(&config).await.map_err(no_consumer)?;
    consumer.subscribe(subscription(connector)?).map_err(no_consumer)?;
    let dead_letters = DeadLetters::for_task(&run, RecordSide::Consumed).await?;
    let positions = Positions::default();
    let context = SinkTaskContext {
        positions: positions.clone(),
        connector: Arc::clone(&run.id.connector),
        task: run.id.task,
        stop: run.stop.clone(),
    };
    task.start(&run.task_config, context).await?;
    tracing::info!(connector = &*run.id.connector, task = run.id.task, "sink task is started");
    let limit = run.shared.config.offset_flush_timeout;
    let retry = Retry::from_config(&run.connector_config);
    let metrics = SinkMetrics::new(&run.id.connector, run.id.task);
    let mut core = Core {
        run,
        task,
        pipeline,
        policy,
        retry,
        dead_letters,
        partitions: Vec::new(),
        pending: VecDeque::new(),
        spare: Vec::new(),
        failure: None,
        limit,
        metrics,
        rewind: false,
        positions,
    };
    let mut result = core.work(&mut consumer).await;
    let mut orderly = result.is_ok();
    if let Err(error) = &result
        && error.is_retriable()
        && core.run.stop.is_stopped()
    {
        core.warn("stopped before all was written; what is not committed is read again", error);
        (result, orderly) = (Ok(()), false);
    }
    if orderly {
        core.commit(&consumer).await.unwrap_or_else(|error| core.warn("the last commit failed", &error));
    } else {
        // what was not committed comes again; nothing of it is flushed by an orderly way out
        core.partitions.clear();
        core.pending.clear();
    }
    let left = consumer.close(LEAVE, &mut core).await;
    core.task.stop().await;
    if let Some(dead_letters) = core.dead_letters.take() {
        dead_letters.close().await;
    }
    if let Err(error) = left {
        tracing::debug!(
            connector = &*core.run.id.connector,
            task = core.run.id.task,
            "leaving the group: {error}"
        );
    }
    result
}

fn subscription(connector: &ConfigMap) -> Result<Subscription, ConnectError> {
    if let Some(pattern) =
        connector.get("topics.regex").map(|pattern| pattern.trim()).filter(|pattern| !pattern.is_empty())
    {
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
            ConnectError::fatal(format!("topics.regex={pattern}: not a regular expression")).caused_by(error)
        })?;
        return Ok(Subscription::Matching(Box::new(move |topic| regex.is_match(topic).unwrap_or(false))));
    }
    let topics = connector.get("topics").map(String::as_str).unwrap_or_default().split(',');
    Ok(Subscription::Topics(topics.map(str::trim).filter(|topic| !topic.is_empty()).map(Arc::from).collect()))
}

/// A partition of the task.
struct Owned {
    name: TopicPartition,
    /// Offset after the last record that the task has accepted.
    accepted: i64,
    committed: i64,
    /// Timestamp of the newest record that was read.
    newest: Option<i64>,
}

/// A batch that the task has taken and whose outcome is not known yet.
struct Pending {
    batch: Arc<Batch>,
    ticket: Ticket,
    offsets: Vec<(TopicPartition, i64)>,
}

/// The task's state; inside a poll the consumer calls it about partitions.
struct Core {
    run: TaskRun,
    task: Box<dyn SinkTask>,
    pipeline: Pipeline,
    policy: ErrorPolicy,
    retry: Retry,
    dead_letters: Option<DeadLetters>,
    partitions: Vec<Owned>,
    /// Batches under way, in the order in which the task got them.
    pending: VecDeque<Pending>,
    /// Batches to use again.
    spare: Vec<Batch>,
    /// An error of the task inside a rebalance.
    failure: Option<ConnectError>,
    limit: Duration,
    metrics: SinkMetrics,
    /// A flush has failed: what was not committed is read again.
    rewind: bool,
    /// Where the task wants to read on.
    positions: Positions,
}

/// How waiting for schemas ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// Before anything else had to be done.
    Short,
    /// Partitions were paused and may have gone.
    Long,
    /// The task is to stop.
    Stopped,
}

impl Core {
    async fn work(&mut self, consumer: &mut Consumer) -> Result<(), ConnectError> {
        let interval = self.run.shared.config.offset_flush_interval;
        let mut commit_due = Instant::now() + interval;
        let mut lag_due = Instant::now() + lag::INTERVAL;
        let idle = Arc::new(Batch::default());
        loop {
            if self.run.stop.is_stopped() {
                return Ok(());
            }
            if self.run.is_paused() {
                self.commit(consumer).await?;
                self.go_back(consumer);
                self.pause(consumer).await?;
                continue;
            }
            let fetched =
                self.poll(consumer, POLL.min(commit_due.saturating_duration_since(Instant::now()))).await?;
            if fetched.is_empty() {
                self.settle_known().await?;
                self.put(Arc::clone(&idle), Vec::new())
                    .await
                    .or_else(|error| if error.is_retriable() { Ok(()) } else { Err(error) })?;
            }
            for part in fetched.chunks(consumed::MAX_PARTS) {
                self.deliver(part, consumer).await?;
            }
            if Instant::now() >= commit_due {
                self.commit(consumer).await?;
                self.go_back(consumer);
                commit_due = Instant::now() + interval;
            }
            if Instant::now() >= lag_due {
                let newest = |name: &TopicPartition| {
                    self.partitions.iter().find(|owned| owned.name == *name).and_then(|owned| owned.newest)
                };
                lag::report(&self.run.id, consumer, &self.metrics, newest);
                lag_due = Instant::now() + lag::INTERVAL;
            }
        }
    }

    /// After a flush that failed: every partition goes back to what is committed, as in the JVM.
    fn go_back(&mut self, consumer: &mut Consumer) {
        if !std::mem::take(&mut self.rewind) {
            return;
        }
        for owned in &mut self.partitions {
            owned.accepted = owned.committed;
            consumer.seek(&owned.name, owned.committed).unwrap_or_else(|error| tracing::debug!("{error}"));
        }
    }

    /// One poll of the consumer, cut short by a stop.
    async fn poll(
        &mut self,
        consumer: &mut Consumer,
        timeout: Duration,
    ) -> Result<Vec<PartitionBatch>, ConnectError> {
        let mut stop = self.run.stop.clone();
        let polled = tokio::select! {
            polled = consumer.poll(timeout, self) => polled,
            () = stop.stopped() => return Ok(Vec::new()),
        };
        match (self.failure.take(), polled) {
            (Some(failure), _) => Err(failure),
            (None, Ok(mut fetched)) => {
                self.reposition(consumer, &mut fetched);
                Ok(fetched)
            }
            (None, Err(error)) => Err(ConnectError::fatal("cannot read from Kafka").caused_by(error)),
        }
    }

    /// Partitions go on where the task wants them to; what was fetched of them from elsewhere is dropped.
    fn reposition(&mut self, consumer: &mut Consumer, fetched: &mut Vec<PartitionBatch>) {
        for (name, offset) in self.positions.take() {
            let Some(owned) = self.partitions.iter_mut().find(|owned| owned.name == name) else { continue };
            if owned.accepted == offset {
                continue;
            }
            tracing::info!(
                connector = &*self.run.id.connector,
                task = self.run.id.task,
                "{name} is read on from {offset} instead of {}, as the task wants it",
                owned.accepted
            );
            (owned.accepted, owned.committed) = (offset, offset);
            fetched.retain(|part| part.partition != name.partition || part.topic != name.topic);
            consumer.seek(&name, offset).unwrap_or_else(|error| tracing::debug!("{error}"));
        }
    }

    /// Keeps the membership and moves nothing until resumed or stopped.
    async fn pause(&mut self, consumer: &mut Consumer) -> Result<(), ConnectError> {
        self.run.set_state(super::State::Paused);
        tracing::info!(connector = &*self.run.id.connector, task = self.run.id.task, "paused");
        while self.run.is_paused() && !self.run.stop.is_stopped() {
            self.poll_paused(consumer, POLL / 4).await?;
        }
        consumer.resume(&consumer.assignment());
        if !self.run.stop.is_stopped() {
            self.run.set_state(super::State::Running);
        }
        Ok(())
    }

    /// A poll that gives nothing. A partition that was assigned in it may have given records: it goes back to its place.
    async fn poll_paused(&mut self, consumer: &mut Consumer, timeout: Duration) -> Result<(), ConnectError> {
        consumer.pause(&consumer.assignment());
        let early = self.poll(consumer, timeout).await?;
        for part in early.iter().rev() {
            let name = TopicPartition::new(Arc::clone(&part.topic), part.partition);
            if let Some(first) = part.records.get(0) {
                consumer.seek(&name, first.offset()).unwrap_or_else(|error| tracing::debug!("{error}"));
            }
        }
        Ok(())
    }

    /// Converts, transforms, and gives the batch to the task, again and again while it asks for that.
    async fn deliver(
        &mut self,
        fetched: &[PartitionBatch],
        consumer: &mut Consumer,
    ) -> Result<(), ConnectError> {
        let mut batch = self.spare.pop().unwrap_or_default();
        let mut offsets = consumed::fill(&mut batch, fetched);
        let mut last = None;
        for part in fetched {
            if last.replace(&part.topic) != Some(&part.topic) {
                self.run.used_topic(&part.topic);
            }
            let owner =
                |owned: &&mut Owned| owned.name.partition == part.partition && owned.name.topic == part.topic;
            if let Some(owned) = self.partitions.iter_mut().find(owner) {
                owned.newest = Some(part.records.header().max_timestamp);
            }
        }
        let bytes = fetched.iter().map(|part| part.records.body().len()).sum();
        self.metrics.read(batch.records.len(), bytes);
        let waited = match self.pipeline.prepare_decode(&batch) {
            Some(wait) => self.wait_for_schemas(wait, consumer).await?,
            None => Waited::Short,
        };
        if waited == Waited::Stopped {
            return Ok(()); // not accepted, so not committed: it comes again
        }
        let began = std::time::Instant::now();
        self.pipeline.decode(&mut batch);
        self.metrics.task.converted(began);
        let verdict = self.policy.review(&batch, &self.pipeline);
        if let Some(dead_letters) = &mut self.dead_letters {
            dead_letters.report(&mut batch, &mut self.pipeline).await?; // also of the record that fails the task
        }
        verdict?;
        self.settle_known().await?;
        let mut batch = Arc::new(batch);
        if waited == Waited::Long {
            self.drop_foreign(&mut batch, &mut offsets);
            consumer.resume(&consumer.assignment());
        }
        let mut attempts = 0_u32;
        loop {
            match self.put(Arc::clone(&batch), offsets.clone()).await {
                Ok(()) => break,
                Err(error) if error.is_retriable() => {
                    attempts = attempts.saturating_add(1);
                    self.policy.retried();
                    self.warn(
                        &format!("put has to be repeated (attempt {attempts}); the batch is kept"),
                        &error,
                    );
                }
                Err(error) => return Err(error),
            }
            let until = Instant::now() + self.retry.task_delay(attempts);
            while Instant::now() < until {
                if self.run.stop.is_stopped() {
                    return Ok(()); // not accepted, so not committed: it comes again
                }
                let left = until.saturating_duration_since(Instant::now());
                self.poll_paused(consumer, left.min(REDELIVERY / 2)).await?;
            }
            self.drop_foreign(&mut batch, &mut offsets);
        }
        if attempts > 0 {
            consumer.resume(&consumer.assignment());
        }
        Ok(())
    }

    /// Waits for what the converters need; the membership is kept meanwhile. After `errors.retry.timeout`, if that is set,
    /// the batch goes on, and the records that still miss something fail.
    async fn wait_for_schemas(
        &mut self,
        mut wait: Wait,
        consumer: &mut Consumer,
    ) -> Result<Waited, ConnectError> {
        let mut waited = Waited::Short;
        let deadline = self.retry.limit.map(|limit| Instant::now() + limit);
        loop {
            let slice = Instant::now() + REDELIVERY;
            tokio::select! {
                () = &mut wait => return Ok(waited),
                () = tokio::time::sleep_until(deadline.map_or(slice, |deadline| deadline.min(slice))) => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(waited);
            }
            if waited == Waited::Short {
                self.policy.retried();
            }
            if self.run.stop.is_stopped() {
                return Ok(Waited::Stopped);
            }
            waited = Waited::Long;
            self.poll_paused(consumer, REDELIVERY / 2).await?;
        }
    }

    /// Partitions that were taken away while a batch waited: their records are somebody else's now.
    fn drop_foreign(&self, batch: &mut Arc<Batch>, offsets: &mut Vec<(TopicPartition, i64)>) {
        let ours = |name: &TopicPartition| self.partitions.iter().any(|owned| owned.name == *name);
        if offsets.iter().all(|(name, _)| ours(name)) {
            return;
        }
        offsets.retain(|(name, _)| ours(name));
        if let Some(batch) = Arc::get_mut(batch) {
            let keep: Vec<bool> = batch
                .records
                .iter()
                .map(|record| {
                    ours(&TopicPartition::new(batch.topic(record.origin.topic), record.origin.partition))
                })
                .collect();
            for (record, keep) in batch.records.iter_mut().zip(keep) {
                if !keep {
                    record.state = RecordState::Dropped;
                }
            }
        }
    }

    async fn put(
        &mut self,
        batch: Arc<Batch>,
        offsets: Vec<(TopicPartition, i64)>,
    ) -> Result<(), ConnectError> {
        let began = std::time::Instant::now();
        let ticket = self.task.put(Arc::clone(&batch)).await?;
        if !batch.records.is_empty() {
            self.metrics.put(began, batch.records.len());
        }
        self.pending.push_back(Pending { batch, ticket, offsets });
        Ok(())
    }

    /// Takes the outcomes that are known, and waits only if too many are not.
    async fn settle_known(&mut self) -> Result<(), ConnectError> {
        while let Some(mut pending) = self.pending.pop_front() {
            let outcome = if self.pending.len() >= MAX_PENDING {
                (&mut pending.ticket).await
            } else {
                let known = poll_fn(|cx| match Pin::new(&mut pending.ticket).poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending => Poll::Ready(None),
                });
                let Some(outcome) = known.await else {
                    self.pending.push_front(pending);
                    return Ok(());
                };
                outcome
            };
            self.settled(pending.batch, pending.offsets, outcome?).await?;
        }
        Ok(())
    }

    /// Waits for the outcome of everything that was put.
    async fn settle(&mut self) -> Result<(), ConnectError> {
        while let Some(Pending { batch, ticket, offsets }) = self.pending.pop_front() {
            let outcome = ticket.await?;
            self.settled(batch, offsets, outcome).await?;
        }
        Ok(())
    }

    async fn settled(
        &mut self,
        batch: Arc<Batch>,
        offsets: Vec<(TopicPartition, i64)>,
        outcome: PutOutcome,
    ) -> Result<(), ConnectError> {
        for failed in &outcome.failed {
            let (batch, class) = (&batch, Some(SINK_TASK));
            if let Some(dead_letters) = &mut self.dead_letters {
                dead_letters.report_one(batch, failed.record, &failed.error, class).await?;
            }
            if let Some(record) = batch.records.get(failed.record) {
                self.policy.failed(batch, record, &failed.error, class)?;
            }
        }
        for (name, next) in offsets {
            if let Some(owned) = self.partitions.iter_mut().find(|owned| owned.name == name) {
                owned.accepted = owned.accepted.max(next);
            }
        }
        if self.spare.len() < SPARE_BATCHES
            && let Ok(mut batch) = Arc::try_unwrap(batch)
        {
            batch.clear();
            self.spare.push(batch);
        }
        Ok(())
    }

    /// Flushes the task and commits what is durable then. What passes is left to the next time.
    async fn commit(&mut self, consumer: &Consumer) -> Result<(), ConnectError> {
        let committer =
            consumer.committer().map_err(|error| ConnectError::fatal("cannot commit").caused_by(error))?;
        self.commit_by(&committer, None).await
    }

    async fn commit_by(
        &mut self,
        committer: &Committer,
        only: Option<&[TopicPartition]>,
    ) -> Result<(), ConnectError> {
        self.settle_known().await?;
        let due = |owned: &Owned| {
            owned.accepted > owned.committed && only.is_none_or(|only| only.contains(&owned.name))
        };
        if self.pending.is_empty() && !self.partitions.iter().any(due) {
            return Ok(());
        }
        // the flush goes first: it lets a task write what it would hold back for a while
        match self.task.flush().await {
            Ok(()) => self.settle().await?,
            Err(error) if error.is_retriable() => {
                self.warn("flush failed; what is not committed is read again", &error);
                self.pending.clear();
                self.rewind = only.is_none();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if !self.partitions.iter().any(due) {
            return Ok(());
        }
        if let Some(dead_letters) = &mut self.dead_letters {
            dead_letters.settle().await?;
        }
        let owned = self.partitions.iter().filter(|owned| due(owned));
        let offsets: Vec<_> =
            owned.map(|owned| (owned.name.clone(), OffsetAndMetadata::new(owned.accepted))).collect();
        let began = std::time::Instant::now();
        let committed = tokio::time::timeout(self.limit, committer.commit(&offsets)).await;
        self.metrics.committed(began, matches!(committed, Ok(Ok(()))));
        let timed_out = |_| Err(Error::new(ErrorKind::Timeout, "no answer within offset.flush.timeout.ms"));
        match committed.unwrap_or_else(timed_out) {
            Ok(()) => {
                for owned in &mut self.partitions {
                    if let Some((_, offset)) = offsets.iter().find(|(name, _)| *name == owned.name) {
                        owned.committed = offset.offset;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    connector = &*self.run.id.connector,
                    task = self.run.id.task,
                    "offsets were not committed: {error}"
                );
            }
        }
        let active = self.partitions.iter().map(|owned| owned.accepted - owned.committed).sum();
        self.metrics.assigned(self.partitions.len(), active);
        Ok(())
    }

    async fn give_up(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        self.partitions.retain(|owned| !partitions.contains(&owned.name));
        self.task.close(partitions).await
    }

    fn warn(&self, what: &str, error: &ConnectError) {
        tracing::warn!(
            connector = &*self.run.id.connector,
            task = self.run.id.task,
            "{what}: {}",
            error.trace().trim_end()
        );
    }

    /// Keeps the task's error for the loop, and ends the consumer's poll.
    fn fail(&mut self, error: ConnectError) -> Error {
        let short = Error::new(ErrorKind::State, error.to_string());
        self.failure.get_or_insert(error);
        short
    }
}

impl RebalanceListener for Core {
    fn assigned<'a>(&'a mut self, positions: &'a [(TopicPartition, i64)]) -> ListenerFuture<'a> {
        Box::pin(async move {
            let owned = |(name, offset): &(TopicPartition, i64)| Owned {
                name: name.clone(),
                accepted: *offset,
                committed: *offset,
                newest: None,
            };
            self.partitions.extend(positions.iter().map(owned));
            let names: Vec<TopicPartition> = positions.iter().map(|(name, _)| name.clone()).collect();
            self.task.open(&names).await.map_err(|error| self.fail(error))
        })
    }

    fn revoked<'a>(
        &'a mut self,
        partitions: &'a [TopicPartition],
        committer: &'a Committer,
    ) -> ListenerFuture<'a> {
        Box::pin(async move {
            let committed = self.commit_by(committer, Some(partitions)).await;
            let closed = self.give_up(partitions).await;
            committed.and(closed).map_err(|error| self.fail(error))
        })
    }

    fn lost<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> ListenerFuture<'a> {
        Box::pin(async move {
            let settled = self.settle().await;
            let closed = self.give_up(partitions).await;
            settled.and(closed).map_err(|error| self.fail(error))
        })
    }
}
