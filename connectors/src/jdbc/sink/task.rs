//! The task: hands batches to its writer, which works on one while the worker prepares the next.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::config::ConfigError;
use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, Durability, Positions, PutOutcome, SinkTask, SinkTaskContext, Ticket,
    TopicPartition,
};
use aqueduct_engine::data::Batch;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::Settings;
use super::writer::Writer;

/// How long a batch under way may take when the task ends.
const STOP: Duration = Duration::from_secs(5);

/// Batches that wait to be written, each of `max.poll.records` at most.
const QUEUED_BATCHES: usize = 16;
/// Rows from which on no further batch is added to a transaction.
const TOGETHER_ROWS: usize = 10_000;

type Outcome = Result<PutOutcome, ConnectError>;
type Stored = Result<Vec<(TopicPartition, i64)>, ConnectError>;

/// What the writer is asked.
enum Job {
    Write(Arc<Batch>, oneshot::Sender<Outcome>),
    Open(Vec<TopicPartition>, oneshot::Sender<Stored>),
}

/// The task of either connector.
pub(super) struct JdbcSinkTask {
    read: fn(&ConfigMap) -> Result<Settings, ConfigError>,
    running: Option<(mpsc::Sender<Job>, JoinHandle<()>)>,
    positions: Option<Positions>,
}

impl JdbcSinkTask {
    /// A task that reads its configuration so.
    pub(super) const fn new(read: fn(&ConfigMap) -> Result<Settings, ConfigError>) -> JdbcSinkTask {
        JdbcSinkTask { read, running: None, positions: None }
    }

    async fn send(&self, job: Job) -> Result<(), ConnectError> {
        let gone = || ConnectError::fatal("the writer of the task has ended");
        let (sender, _) = self.running.as_ref().ok_or_else(gone)?;
        sender.send(job).await.map_err(|_| gone())
    }
}

/// Writes what waits, as much as there is in one transaction: so small batches cost no commit each.
async fn work(mut writer: Writer, mut jobs: mpsc::Receiver<Job>) {
    let mut next = None;
    loop {
        let job = match next.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        match job {
            Job::Write(batch, tell) => {
                let mut rows = batch.records.len();
                let (mut batches, mut waiting) = (vec![batch], vec![tell]);
                while rows < TOGETHER_ROWS && next.is_none() {
                    match jobs.try_recv() {
                        Ok(Job::Write(batch, tell)) => {
                            rows += batch.records.len();
                            batches.push(batch);
                            waiting.push(tell);
                        }
                        Ok(other) => next = Some(other),
                        Err(_) => break,
                    }
                }
                if !write(&mut writer, batches, waiting).await {
                    return;
                }
            }
            Job::Open(partitions, tell) => {
                let _ = tell.send(writer.opened(&partitions).await);
            }
        }
    }
}

/// Writes batches and tells what became of them. False after a failure: what comes after a batch that could not be written
/// must not be written either.
async fn write(
    writer: &mut Writer,
    batches: Vec<Arc<Batch>>,
    waiting: Vec<oneshot::Sender<Outcome>>,
) -> bool {
    let outcome = writer.write(&batches).await;
    // the worker uses a batch again once it is its only owner
    drop(batches);
    let mut waiting = waiting.into_iter();
    match outcome {
        Ok(failed) => {
            for (tell, failed) in waiting.zip(failed) {
                let _ = tell.send(Ok(PutOutcome { durability: Durability::Durable, failed }));
            }
            true
        }
        Err(error) => {
            if let Some(first) = waiting.next() {
                let _ = first.send(Err(error));
            }
            false
        }
    }
}

impl SinkTask for JdbcSinkTask {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SinkTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            let settings = (self.read)(config).map_err(|error| ConnectError::fatal(error.message))?;
            let settings = Arc::new(settings);
            self.positions = Some(context.positions.clone());
            let (sender, jobs) = mpsc::channel(QUEUED_BATCHES);
            let writer = tokio::spawn(work(Writer::new(settings, context), jobs));
            self.running = Some((sender, writer));
            Ok(())
        })
    }

    fn open<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            self.send(Job::Open(partitions.to_vec(), tell)).await?;
            let gone = |_| ConnectError::fatal("the writer of the task has ended");
            let stored = told.await.map_err(gone)??;
            if let Some(positions) = &self.positions {
                stored.into_iter().for_each(|(name, next)| positions.read_on(name, next));
            }
            Ok(())
        })
    }

    fn put(&mut self, batch: Arc<Batch>) -> BoxFuture<'_, Result<Ticket, ConnectError>> {
        Box::pin(async move {
            if batch.records.is_empty() {
                return Ok(Ticket::durable());
            }
            let (tell, ticket) = Ticket::pending();
            self.send(Job::Write(batch, tell)).await?;
            Ok(ticket)
        })
    }

    /// What a ticket has called durable is durable.
    fn flush(&mut self) -> BoxFuture<'_, Result<(), ConnectError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some((sender, mut writer)) = self.running.take() else { return };
            drop(sender);
            if tokio::time::timeout(STOP, &mut writer).await.is_err() {
                writer.abort();
            }
        })
    }
}
