//! The config topic: connectors, their tasks, what the user wants of them, and what workers tell each other.

mod record;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::Properties;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use record::{ConfigRecord, RestartRequest, SessionKey};
pub(crate) use state::{ClusterConfig, ConfigChange, ConnectorConfig};

use super::StoreError;
use super::kafka_log::{KafkaLog, LogReader, LogRecord};
use super::storage_topic::StorageTopic;
use super::transactional::{KeyValue, TransactionalWriter};
use crate::connector::ConfigMap;
use crate::herder::TargetState;
use record::BadRecord;
use state::ConfigState;

/// Longest time that a write may take, with the reads before and after it.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// What has changed since it was last asked: each connector once, however many records there were.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// New, or with a new configuration.
    pub(crate) connectors: BTreeSet<Arc<str>>,
    /// Deleted.
    pub(crate) removed: BTreeSet<Arc<str>>,
    /// With new task configurations.
    pub(crate) tasks: BTreeSet<Arc<str>>,
    /// With another target state.
    pub(crate) targets: BTreeSet<Arc<str>>,
    /// A new key.
    pub(crate) session_key: bool,
    /// To restart.
    pub(crate) restarts: BTreeMap<Arc<str>, RestartRequest>,
    /// New levels, by logger.
    pub(crate) loggers: BTreeMap<String, String>,
}

impl Changes {
    fn add(&mut self, change: ConfigChange) {
        match change {
            ConfigChange::Connector(name) => {
                self.removed.remove(&name);
                self.connectors.insert(name);
            }
            ConfigChange::Removed(name) => {
                self.connectors.remove(&name);
                self.tasks.remove(&name);
                self.targets.remove(&name);
                self.restarts.remove(&name);
                self.removed.insert(name);
            }
            ConfigChange::Tasks(name) => drop(self.tasks.insert(name)),
            ConfigChange::Target(name) => drop(self.targets.insert(name)),
            ConfigChange::SessionKey => self.session_key = true,
            ConfigChange::Restart(request) => {
                drop(self.restarts.insert(Arc::clone(&request.connector), request))
            }
            ConfigChange::Logger { logger, level } => drop(self.loggers.insert(logger, level)),
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<(ConfigState, Changes)>,
    news: Notify,
}

/// The reading side.
struct Reader(Arc<Shared>, String);

impl LogReader for Reader {
    fn read(&mut self, records: &mut dyn Iterator<Item = LogRecord<'_>>) {
        let (state, changes) = &mut *self.0.state.lock();
        for record in records {
            match ConfigRecord::decode(record.key, record.value) {
                Ok(decoded) => {
                    state.read_to(record.offset + 1);
                    if let Some(change) = state.apply(decoded) {
                        changes.add(change);
                    }
                }
                Err(bad) => {
                    tracing::error!(topic = self.1, offset = record.offset, "a record is passed over: {bad}");
                    if let BadRecord::Foreign(_) = bad {
                        state.read_to(record.offset + 1);
                    }
                }
            }
        }
        self.0.news.notify_one();
    }
}

/// The config topic of a worker.
pub(crate) struct ConfigStore {
    topic: StorageTopic,
    shared: Arc<Shared>,
    log: KafkaLog,
    leader: Option<LeaderWrites>,
}

/// How the leader writes where sources deliver exactly once (KIP-618): in transactions of one id, so that a former leader is
/// shut out.
struct LeaderWrites {
    client: Properties,
    transactional_id: String,
    /// Of the leader, and only while nothing went wrong with it.
    writer: tokio::sync::Mutex<Option<TransactionalWriter>>,
}

impl ConfigStore {
    /// Creates the topic if it is missing, and reads it whole. What was read so far is no change. With a client and a
    /// `transactional.id` for `leader` what only leaders write is written in transactions.
    pub(crate) async fn open(
        topic: StorageTopic,
        client: &Properties,
        leader: Option<(Properties, String)>,
    ) -> Result<ConfigStore, StoreError> {
        let shared = Arc::new(Shared::default());
        let reader = Reader(Arc::clone(&shared), topic.name.clone());
        let log = KafkaLog::open(&topic, client, leader.is_some(), reader).await?;
        shared.state.lock().1 = Changes::default();
        let leader = leader.map(|(client, transactional_id)| LeaderWrites {
            client,
            transactional_id,
            writer: tokio::sync::Mutex::new(None),
        });
        Ok(ConfigStore { topic, shared, log, leader })
    }

    /// What has been read so far.
    pub(crate) fn snapshot(&self) -> Arc<ClusterConfig> {
        self.shared.state.lock().0.snapshot()
    }

    /// Resolves when something may have changed. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.shared.news.notified().await;
    }

    /// What has changed since the last call, and the state that this led to.
    pub(crate) fn take_changes(&self) -> (Changes, Arc<ClusterConfig>) {
        let (state, changes) = &mut *self.shared.state.lock();
        (std::mem::take(changes), state.snapshot())
    }

    /// Reads to the end of the topic, within `limit`.
    pub(crate) async fn refresh(&self, limit: Duration) -> Result<(), StoreError> {
        let read = tokio::time::timeout(limit, self.log.read_to_end()).await;
        read.unwrap_or_else(|_| Err(late("reading to the end", limit)))
            .map_err(|error| self.topic.error("cannot be read to its end", error))
    }

    /// A connector's configuration; `initial` comes first, so that no worker starts it in another state.
    pub(crate) async fn put_connector(
        &self,
        name: &Arc<str>,
        config: ConfigMap,
        initial: Option<TargetState>,
    ) -> Result<(), StoreError> {
        let target =
            initial.map(|state| ConfigRecord::Target { connector: Arc::clone(name), state: Some(state) });
        let connector = ConfigRecord::Connector { name: Arc::clone(name), config: Some(config) };
        self.write_as_leader(target.into_iter().chain([connector])).await
    }

    /// Deletes a connector.
    pub(crate) async fn delete_connector(&self, name: &Arc<str>) -> Result<(), StoreError> {
        let connector = ConfigRecord::Connector { name: Arc::clone(name), config: None };
        let target = ConfigRecord::Target { connector: Arc::clone(name), state: None };
        self.write_as_leader([connector, target]).await
    }

    /// A whole set of task configurations and their commit.
    pub(crate) async fn put_tasks(
        &self,
        connector: &Arc<str>,
        tasks: &[ConfigMap],
    ) -> Result<(), StoreError> {
        let task = |(task, config): (u32, &ConfigMap)| ConfigRecord::Task {
            connector: Arc::clone(connector),
            task,
            config: config.clone(),
        };
        let commit = ConfigRecord::Commit { connector: Arc::clone(connector), tasks: tasks.len() };
        // in one partition and one producer: the order is kept
        self.write_as_leader((0..).zip(tasks).map(task).chain([commit])).await
    }

    /// One record of another kind.
    pub(crate) async fn put(&self, record: ConfigRecord) -> Result<(), StoreError> {
        match record {
            // any worker's to write
            ConfigRecord::Target { .. } | ConfigRecord::Logger { .. } => {
                let records = [encoded(record)];
                self.in_time(async { self.log.append(&records).await }).await
            }
            record => self.write_as_leader([record]).await,
        }
    }

    /// This worker leads from now on: a former leader is shut out. Nothing to do where sources deliver at least once.
    pub(crate) async fn claim(&self) -> Result<(), StoreError> {
        let Some(leader) = &self.leader else { return Ok(()) };
        let mut writer = leader.writer.lock().await;
        if writer.is_some() {
            return Ok(()); // it led before, and nobody since
        }
        let claim = async {
            *writer = Some(TransactionalWriter::claim(&leader.client, &leader.transactional_id).await?);
            Ok(())
        };
        self.in_time(claim).await
    }

    /// This worker does not lead any more.
    pub(crate) async fn give_up(&self) {
        if let Some(leader) = &self.leader {
            *leader.writer.lock().await = None;
        }
    }

    /// Writes what only the leader may.
    async fn write_as_leader(
        &self,
        records: impl IntoIterator<Item = ConfigRecord>,
    ) -> Result<(), StoreError> {
        let records: Vec<KeyValue> = records.into_iter().map(encoded).collect();
        let Some(leader) = &self.leader else {
            return self.in_time(async { self.log.append(&records).await }).await;
        };
        let mut current = leader.writer.lock().await;
        let write = async {
            // an id that was lost is claimed again: the herder has made sure that this worker leads
            let writer = match current.take() {
                Some(writer) => writer,
                None => TransactionalWriter::claim(&leader.client, &leader.transactional_id).await?,
            };
            writer.write(&self.topic.name, &records).await?;
            *current = Some(writer);
            Ok(())
        };
        self.in_time(write).await
    }

    /// A write within its time, and then reads what was written.
    async fn in_time(
        &self,
        write: impl Future<Output = Result<(), aqueduct_protocol::Error>>,
    ) -> Result<(), StoreError> {
        let write = async {
            write.await?;
            self.log.read_to_end().await
        };
        let written = tokio::time::timeout(WRITE_LIMIT, write).await;
        written
            .unwrap_or_else(|_| Err(late("writing", WRITE_LIMIT)))
            .map_err(|error| self.topic.error("cannot be written", error))
    }
}

fn encoded(record: ConfigRecord) -> KeyValue {
    let (key, value) = record.encode();
    (key.into_bytes(), value)
}

fn late(what: &str, limit: Duration) -> aqueduct_protocol::Error {
    let message = format!("{what} took more than {} ms", limit.as_millis());
    aqueduct_protocol::Error::new(aqueduct_protocol::ErrorKind::Timeout, message)
}
