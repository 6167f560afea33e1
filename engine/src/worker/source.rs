//! The loop of a source task: poll → transforms → converters → producer, and offsets as far as records are acknowledged, or
//! in one transaction with their records.
//!
//! A batch is copied into the producer's buffers, so the same `Batch` serves the next poll at once while the producer sends.
//! What is on the way is bounded by the producer's `buffer.memory` and by the batches that may be in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::exactly_once::Transactions;
use super::sender::Sender;
use super::task::TaskRun;
use crate::connector::{BoxFuture, ConnectError, OffsetMap, OffsetReader, SourceTask, SourceTaskContext};
use crate::data::Batch;
use crate::store::OffsetStore;

/// Runs until the task is stopped or fails.
pub(super) async fn run(mut run: TaskRun, mut task: Box<dyn SourceTask>) -> Result<(), ConnectError> {
    // a task that begins paused is not even started before it is resumed
    if !run.wait_until_resumed().await {
        return Ok(());
    }
    let mut stop = run.stop.clone();
    let prepared = tokio::select! {
        prepared = prepare(&run) => prepared?,
        () = stop.stopped() => return Ok(()),
    };
    let (offsets, mut sender) = prepared;
    let context = SourceTaskContext {
        connector: Arc::clone(&run.id.connector),
        task: run.id.task,
        offsets: Arc::new(Offsets { store: offsets, connector: Arc::clone(&run.id.connector) }),
        stop: run.stop.clone(),
        transactions: sender.transactions.as_ref().and_then(Transactions::context),
    };
    task.start(&run.task_config, context).await?;
    tracing::info!(connector = &*run.id.connector, task = run.id.task, "source task is started");
    let result = work(&mut run, &mut *task, &mut sender).await;
    let limit = run.shared.config.offset_flush_timeout;
    let ended = finish(&mut sender, &mut *task, limit, result.is_err()).await;
    task.stop().await;
    result.and(ended)
}

/// Clients and stores. With exactly-once delivery former tasks are shut out first, and at the end it is made sure that this
/// one is still wanted (KIP-618).
async fn prepare(run: &TaskRun) -> Result<(Arc<dyn OffsetStore>, Sender), ConnectError> {
    if let Some(exactly_once) = &run.exactly_once {
        exactly_once.gate.fence().await?;
    }
    let (worker, connector) = (&run.shared.config.properties, &run.connector_config);
    let offsets = run.shared.offsets.of(worker, connector, &run.id.connector).await?;
    let sender = Sender::new(run, &offsets).await?;
    if let Some(exactly_once) = &run.exactly_once {
        exactly_once.gate.verify().await?;
    }
    Ok((offsets.all, sender))
}

async fn work(run: &mut TaskRun, task: &mut dyn SourceTask, sender: &mut Sender) -> Result<(), ConnectError> {
    let mut batch = Batch::default();
    let mut commit_due = Instant::now() + run.shared.config.offset_flush_interval;
    let mut failed_polls = 0_u32;
    loop {
        if run.is_paused() {
            sender.commit_last(task).await?;
        }
        if (run.is_paused() || run.stop.is_stopped()) && !run.wait_until_resumed().await {
            return Ok(());
        }
        batch.clear();
        let began = std::time::Instant::now();
        match poll(task, &mut batch, sender, &mut commit_due, run.shared.config.offset_flush_interval).await {
            Ok(()) => {
                failed_polls = 0;
                sender.metrics.polled(began, batch.records.len());
                sender.send(&mut batch, run, task).await?;
            }
            Err(error) if error.is_retriable() => {
                tracing::warn!(
                    connector = &*run.id.connector,
                    task = run.id.task,
                    "poll has to be repeated: {}",
                    error.trace().trim_end()
                );
                failed_polls = failed_polls.saturating_add(1);
                sender.policy.retried();
                if let Some(transactions) = &sender.transactions {
                    transactions.forget_asked();
                }
                run.stop.sleep(sender.retry.task_delay(failed_polls)).await;
            }
            Err(error) => return Err(error),
        }
        sender.settle()?;
        let due = match &sender.transactions {
            Some(transactions) => transactions.is_due(),
            None => Instant::now() >= commit_due,
        };
        if due {
            sender.commit(task).await?;
            commit_due = Instant::now() + run.shared.config.offset_flush_interval;
        } else {
            sender.tell_stored(task).await;
        }
    }
}

/// One poll; offsets are committed on time even if it takes long.
async fn poll(
    task: &mut dyn SourceTask,
    batch: &mut Batch,
    sender: &mut Sender,
    commit_due: &mut Instant,
    interval: Duration,
) -> Result<(), ConnectError> {
    let mut polling = task.poll(batch);
    loop {
        tokio::select! {
            biased;
            polled = &mut polling => return polled,
            () = tokio::time::sleep_until(*commit_due) => {
                sender.settle()?;
                sender.write_offsets().await;
                *commit_due = Instant::now() + interval;
            }
        }
    }
}

/// After the last poll: waits for acknowledgements as long as a commit may take, then commits what is acknowledged. The open
/// transaction of a task that failed is aborted.
async fn finish(
    sender: &mut Sender,
    task: &mut dyn SourceTask,
    limit: Duration,
    failed: bool,
) -> Result<(), ConnectError> {
    let deadline = Instant::now() + limit;
    let ending = async {
        match &mut sender.transactions {
            Some(transactions) if failed || transactions.is_spoilt() => {
                transactions.abort().await;
                Ok(())
            }
            Some(_) => {
                let committed = sender.commit_last(task).await;
                if let Some(transactions) = &mut sender.transactions {
                    transactions.abort().await; // one that its connector has not ended
                }
                committed
            }
            None => sender.drain().await,
        }
    };
    let drained = tokio::time::timeout_at(deadline, ending).await;
    if sender.transactions.is_none() {
        sender.commit(task).await?;
    }
    if let Some(dead_letters) = sender.dead_letters.take() {
        dead_letters.close().await;
    }
    if let Err(error) = sender.producer.close(deadline.saturating_duration_since(Instant::now())).await {
        tracing::debug!(connector = &*sender.connector, task = sender.task, "closing the producer: {error}");
    }
    match drained {
        Ok(result) => result,
        Err(_) => {
            tracing::warn!(
                connector = &*sender.connector,
                task = sender.task,
                batches = sender.in_flight.len(),
                "not everything was acknowledged in time; it is read again at the next start"
            );
            Ok(())
        }
    }
}

/// Reads offsets of this connector from the worker's store.
struct Offsets {
    store: Arc<dyn OffsetStore>,
    connector: Arc<str>,
}

impl OffsetReader for Offsets {
    fn offset<'a>(
        &'a self,
        partition: &'a OffsetMap,
    ) -> BoxFuture<'a, Result<Option<OffsetMap>, ConnectError>> {
        Box::pin(async move {
            let mut found =
                self.store.read(&self.connector, std::slice::from_ref(partition)).await.map_err(|error| {
                    ConnectError::fatal("cannot read the source offsets").caused_by(error)
                })?;
            Ok(found.pop().flatten())
        })
    }
}
