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

async fn work(mut writer: Writer, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Write(batch, tell) => {
                let outcome = writer.write(&batch).await;
                // the worker uses the batch again once it is its only owner
                drop(batch);
                let outcome = outcome.map(|failed| PutOutcome { durability: Durability::Durable, failed });
                // what comes after a batch that could not be written must not be written either
                let ended = outcome.is_err();
                let _ = tell.send(outcome);
                if ended {
                    return;
                }
            }
            Job::Open(partitions, tell) => {
                let _ = tell.send(writer.opened(&partitions).await);
            }
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
            // one batch is written while the next one waits to be
            let (sender, jobs) = mpsc::channel(1);
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
