//! Sources that deliver exactly once (KIP-618): records and the offsets of their source in one transaction.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::Properties;
use aqueduct_protocol::client::producer::{AppendError, Producer, TopicHandle};
use indexmap::IndexMap;
use tokio::time::Instant;

use super::framework::{BOUNDARY, BOUNDARY_INTERVAL};
use super::offset_stores::{self, ConnectorOffsets};
use super::task::TaskRun;
use crate::connector::{
    BoxFuture, ConfigMap, ConnectError, ConnectorTransactionBoundaries, OffsetMap, TransactionContext,
    TransactionEnd,
};
use crate::data::SourcePosition;
use crate::store::{KafkaOffsetStore, OffsetStore};

const TRANSACTIONAL_ID: &str = "transactional.id";
const IDEMPOTENCE: &str = "enable.idempotence";

/// What a task has to pass before it starts.
pub trait StartGate: Send + Sync {
    /// Shuts out the tasks of former configurations, wherever they may still run.
    fn fence(&self) -> BoxFuture<'_, Result<(), ConnectError>>;

    /// Whether the task is still wanted as it is, after its own producer has shut out its former instance.
    fn verify(&self) -> BoxFuture<'_, Result<(), ConnectError>>;
}

/// A task that delivers exactly once.
#[derive(Clone)]
pub struct ExactlyOnce {
    /// The producer's `transactional.id`.
    pub transactional_id: String,
    /// Before it starts.
    pub gate: Arc<dyn StartGate>,
}

impl ExactlyOnce {
    /// Sets what a user must not.
    pub(super) fn configure(&self, producer: &mut Properties) {
        for (key, value) in [(IDEMPOTENCE, "true"), (TRANSACTIONAL_ID, self.transactional_id.as_str())] {
            let old = producer.insert(key.to_owned(), value.to_owned());
            // false is the worker's own default
            if let Some(old) = old.filter(|old| old != value && (key, old.as_str()) != (IDEMPOTENCE, "false"))
            {
                tracing::warn!("{key}={old} of the producer is ignored: exactly-once delivery needs {value}");
            }
        }
    }
}

/// When transactions end: `transaction.boundary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boundary {
    Poll,
    Interval(Duration),
    /// Where the connector says.
    Connector,
}

impl Boundary {
    fn from_config(connector: &ConfigMap, flush_interval: Duration) -> Boundary {
        let text = |key: &str| connector.get(key).map(|value| value.trim()).unwrap_or_default();
        match text(BOUNDARY).to_ascii_lowercase().as_str() {
            "interval" => {
                let interval = text(BOUNDARY_INTERVAL).parse().map(Duration::from_millis);
                Boundary::Interval(interval.unwrap_or(flush_interval))
            }
            "connector" => Boundary::Connector,
            _ => Boundary::Poll,
        }
    }
}

/// The transactions of one task.
pub(super) struct Transactions {
    connector: Arc<str>,
    producer: Producer,
    boundary: Boundary,
    /// Where the connector wants ends.
    asked: TransactionContext,
    /// Where the offsets go with the records.
    offsets: Arc<KafkaOffsetStore>,
    topic: TopicHandle,
    /// Where a copy of them goes afterwards.
    copy: Option<Arc<dyn OffsetStore>>,
    open: bool,
    /// A part of a batch is in the transaction, without its offsets.
    spoilt: bool,
    records: usize,
    /// Of what was polled since the last commit.
    pending: IndexMap<Arc<OffsetMap>, Arc<OffsetMap>>,
    due: Instant,
}

impl Transactions {
    /// Claims the task's `transactional.id`: its former instance is shut out.
    pub(super) async fn new(
        run: &TaskRun,
        producer: Producer,
        offsets: &ConnectorOffsets,
    ) -> Result<Transactions, ConnectError> {
        let Some(store) = &offsets.topic else {
            return Err(ConnectError::fatal("exactly-once delivery needs a topic of source offsets"));
        };
        let boundary = Boundary::from_config(&run.connector_config, run.shared.config.offset_flush_interval);
        if boundary == Boundary::Connector
            && run.plugin.connector().transaction_boundaries(&run.connector_config)
                != ConnectorTransactionBoundaries::Supported
        {
            return Err(ConnectError::fatal(format!(
                "{BOUNDARY}=connector: {} does not say where transactions end; set poll or interval",
                run.plugin.class()
            )));
        }
        let failed = |what: &str, error| ConnectError::fatal(what.to_owned()).caused_by(error);
        producer
            .init_transactions()
            .await
            .map_err(|error| failed("the task's transactional.id cannot be claimed", error))?;
        let topic = producer
            .topic(store.topic())
            .await
            .map_err(|error| failed("the topic of source offsets cannot be written to", error))?;
        Ok(Transactions {
            connector: Arc::clone(&run.id.connector),
            producer,
            boundary,
            asked: TransactionContext::default(),
            offsets: Arc::clone(store),
            topic,
            copy: offsets.copy.clone(),
            open: false,
            spoilt: false,
            records: 0,
            pending: IndexMap::new(),
            due: Instant::now(),
        })
    }

    /// What the task is given, where it is to say where transactions end.
    pub(super) fn context(&self) -> Option<TransactionContext> {
        (self.boundary == Boundary::Connector).then(|| self.asked.clone())
    }

    /// Where the task wants transactions to end in a batch of so many records.
    pub(super) fn ends(&self, records: usize) -> Result<Vec<(usize, TransactionEnd)>, ConnectError> {
        self.asked.take(records)
    }

    /// Whether the open transaction ends before a pause or a stop, and how.
    pub(super) fn last_end(&self) -> Result<Option<TransactionEnd>, ConnectError> {
        match self.boundary {
            Boundary::Connector => self.asked.take_last(),
            Boundary::Poll | Boundary::Interval(_) => Ok(Some(TransactionEnd::Commit)),
        }
    }

    /// A poll has failed: what it has asked for is void.
    pub(super) fn forget_asked(&self) {
        self.asked.forget();
    }

    /// A task that wrote to the topic of its own offsets would wait for the end of its own transaction when it reads them.
    pub(super) fn check_topic(&self, topic: &str) -> Result<(), ConnectError> {
        if topic != self.offsets.topic() {
            return Ok(());
        }
        let why =
            "Source tasks may not produce to their own offsets topics when exactly-once support is enabled";
        Err(ConnectError::fatal(format!("topic {topic}: {why}")))
    }

    /// Makes sure that a transaction is open.
    pub(super) fn begin(&mut self) -> Result<(), ConnectError> {
        if !self.open {
            self.producer.begin_transaction().map_err(ended)?;
            self.open = true;
            if let Boundary::Interval(interval) = self.boundary {
                self.due = Instant::now() + interval;
            }
        }
        Ok(())
    }

    /// A batch, or its part before the end of a transaction, is in the transaction as a whole.
    pub(super) fn sent(&mut self, records: usize, positions: impl Iterator<Item = SourcePosition>) {
        self.records += records;
        self.pending.extend(positions.map(|position| (position.partition, position.offset)));
    }

    /// A batch is in it in parts: it can only be aborted.
    pub(super) fn spoil(&mut self) {
        self.spoilt = true;
    }

    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Whether it has to end now.
    pub(super) fn is_due(&self) -> bool {
        let something = self.open || !self.pending.is_empty();
        something
            && match self.boundary {
                Boundary::Poll => true,
                Boundary::Interval(_) => Instant::now() >= self.due,
                Boundary::Connector => false,
            }
    }

    /// Commits with the offsets of what was polled: how many records, and the offsets. None if there was nothing.
    pub(super) async fn commit(
        &mut self,
    ) -> Result<Option<(usize, Vec<(Arc<OffsetMap>, Arc<OffsetMap>)>)>, ConnectError> {
        if self.pending.is_empty() && !self.open {
            return Ok(None);
        }
        self.begin()?;
        self.append_offsets().await?;
        self.producer.commit_transaction().await.map_err(ended)?;
        self.open = false;
        let offsets: Vec<_> = self.pending.drain(..).collect();
        if let Some(worker) = &self.copy {
            let copies =
                offsets.iter().map(|(partition, offset)| (Arc::clone(partition), Some((**offset).clone())));
            offset_stores::copy(&**worker, &self.connector, copies.collect()).await;
        }
        Ok(Some((std::mem::take(&mut self.records), offsets)))
    }

    async fn append_offsets(&mut self) -> Result<(), ConnectError> {
        let mut session = self.producer.session();
        for (partition, offset) in &self.pending {
            let record = self.offsets.record(&self.connector, partition, Some(offset));
            let (key, value) = record
                .map_err(|error| ConnectError::fatal("a source offset cannot be stored").caused_by(error))?;
            loop {
                match session.append(&self.topic, None, None, Some(&key), value.as_deref(), &[]) {
                    Ok(_) => break,
                    Err(AppendError::Full { .. }) => session.wait_capacity().await.map_err(ended)?,
                    Err(error) => return Err(ended(error)),
                }
            }
        }
        drop(session.finish());
        Ok(())
    }

    /// Gives up the records of the open transaction, but not their offsets: these wait for the commit.
    pub(super) async fn abort_records(&mut self) -> Result<(), ConnectError> {
        if self.open {
            self.producer.abort_transaction().await.map_err(ended)?;
            self.open = false;
        }
        self.records = 0;
        Ok(())
    }

    /// Gives the open transaction up: its records and offsets are never seen.
    pub(super) async fn abort(&mut self) {
        if std::mem::take(&mut self.open)
            && let Err(error) = self.producer.abort_transaction().await
        {
            tracing::debug!(
                connector = &*self.connector,
                "the transaction is left to its time limit or the next start: {error}"
            );
        }
    }
}

/// The error of a transaction that has failed. There is no way to skip a record of it.
fn ended(error: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
    ConnectError::fatal(
        "the transaction failed: what it held is read again. If it took longer than the producer's transaction.timeout.ms, raise producer.override.transaction.timeout.ms, or have smaller transactions by transaction.boundary",
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let boundary = |entries: &[(&str, &str)]| {
            let config =
                entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Boundary::from_config(&config, Duration::from_secs(60))
        };
        assert_eq!(boundary(&[]), Boundary::Poll);
        assert_eq!(boundary(&[(BOUNDARY, "POLL")]), Boundary::Poll);
        assert_eq!(boundary(&[(BOUNDARY, "interval")]), Boundary::Interval(Duration::from_secs(60)));
        assert_eq!(boundary(&[(BOUNDARY, "Connector")]), Boundary::Connector);
        let both = [(BOUNDARY, "Interval"), (BOUNDARY_INTERVAL, "500")];
        assert_eq!(boundary(&both), Boundary::Interval(Duration::from_millis(500)));
    }
}
