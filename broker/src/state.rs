//! What all connections share: topics, groups, transactions and the journal.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::groups::Groups;
use crate::journal::{Journal, StateRecord};
use crate::log::Log;
use crate::topics::config::TopicConfig;
use crate::topics::{Partition, Topic, Topics, check_name, partition_dir};
use crate::txn::Transactions;

/// Id of the only node.
pub(crate) const NODE_ID: i32 = 1;

/// Most partitions of one topic: each costs memory and, on disk, an open file.
pub(crate) const MAX_PARTITIONS: i32 = 10_000;

const STATE_FILE: &str = "state.journal";
const LOGS_FOLDER: &str = "logs";
const LOCK_FILE: &str = ".lock";

/// An error code with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i16,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(error: ResponseError, reason: impl Into<String>) -> Refusal {
        Refusal { code: error.code(), reason: reason.into() }
    }

    fn storage(error: &std::io::Error) -> Refusal {
        Refusal::new(ResponseError::KafkaStorageError, format!("storage failed: {error}"))
    }
}

/// The broker's state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) cluster_id: String,
    advertised: OnceLock<(StrBytes, i32)>,
    pub(crate) topics: RwLock<Topics>,
    pub(crate) groups: Groups,
    pub(crate) txns: Transactions,
    pub(crate) journal: Mutex<Journal>,
    logs: Option<PathBuf>,
    /// Locked while this broker has the data folder; the lock ends with the process at the latest.
    _lock: Option<File>,
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// A copy of `text` as the protocol's string.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Shared {
    /// Opens the data folder, or starts empty in memory.
    pub(crate) fn open(config: BrokerConfig) -> Result<Shared, BrokerError> {
        let Some(dir) = config.data_dir.clone() else {
            return Ok(Shared {
                config,
                cluster_id: new_cluster_id(),
                advertised: OnceLock::new(),
                topics: RwLock::default(),
                groups: Groups::default(),
                txns: Transactions::default(),
                journal: Mutex::new(Journal::in_memory()),
                logs: None,
                _lock: None,
            });
        };
        let logs = dir.join(LOGS_FOLDER);
        std::fs::create_dir_all(&logs).map_err(BrokerError::storage(&logs))?;
        let lock = lock_folder(&dir)?;
        let path = dir.join(STATE_FILE);
        let records = Journal::read(&path).map_err(BrokerError::storage(&path))?;
        let (groups, txns) = (Groups::default(), Transactions::default());
        let replayed = Replayed::from(records, &groups, &txns);
        let cluster_id = replayed.cluster_id.clone().unwrap_or_else(new_cluster_id);
        let topics = replayed.open_topics(&logs)?;
        remove_orphans(&logs, &topics);
        let shared = Shared {
            config,
            cluster_id,
            advertised: OnceLock::new(),
            topics: RwLock::new(topics),
            groups,
            txns,
            journal: Mutex::new(Journal::in_memory()),
            logs: Some(logs),
            _lock: Some(lock),
        };
        shared.rewrite_journal(&path).map_err(BrokerError::storage(&path))?;
        Ok(shared)
    }

    /// Rewrites the journal with what is true now.
    ///
    /// Locks are always taken in this order: transactions, groups, topics, journal, logs.
    fn rewrite_journal(&self, path: &Path) -> std::io::Result<()> {
        self.txns.with_records(|txns| {
            self.groups.with_records(|groups| {
                let topics = self.topics.write();
                let mut journal = self.journal.lock();
                let records = std::iter::once(StateRecord::Cluster { id: self.cluster_id.clone() })
                    .chain(topics.all().into_iter().flat_map(|t| topic_records(&t)))
                    .chain(groups)
                    .chain(txns);
                *journal = Journal::rewrite(path, records)?;
                Ok(())
            })
        })
    }

    /// Shortens the journal when it has grown long.
    pub(crate) fn tidy_journal(&self) {
        let Some(dir) = &self.config.data_dir else { return };
        if self.journal.lock().is_long()
            && let Err(error) = self.rewrite_journal(&dir.join(STATE_FILE))
        {
            tracing::error!(%error, "the state journal could not be rewritten");
        }
    }

    /// Sets what clients are told to connect to, once the listener is bound.
    pub(crate) fn set_address(&self, bound: SocketAddr) {
        let host = match &self.config.advertised_host {
            Some(host) => host.clone(),
            None if bound.ip().is_unspecified() => "127.0.0.1".to_owned(),
            None => bound.ip().to_string(),
        };
        // Set once: `start` is the only caller.
        let _ = self.advertised.set((StrBytes::from_string(host), i32::from(bound.port())));
    }

    /// Host and port for clients.
    pub(crate) fn address(&self) -> (StrBytes, i32) {
        self.advertised.get().cloned().unwrap_or((StrBytes::from_static_str("127.0.0.1"), 0))
    }

    /// Writes changes of state down; the caller answers its client only if that worked.
    pub(crate) fn record(&self, records: &[StateRecord]) -> Result<(), Refusal> {
        self.journal.lock().append(records).map_err(|error| {
            tracing::error!(%error, "the state journal cannot be written");
            Refusal::storage(&error)
        })
    }

    /// The topic, created when it is missing and `create` and the broker's setting allow it.
    pub(crate) fn topic_or_create(&self, name: &str, create: bool) -> Result<Arc<Topic>, Refusal> {
        if let Some(topic) = self.topics.read().get(name) {
            return Ok(topic);
        }
        check_name(name).map_err(|reason| Refusal::new(ResponseError::InvalidTopicException, reason))?;
        if !(create && self.config.auto_create_topics) {
            let reason = format!("topic {name} does not exist");
            return Err(Refusal::new(ResponseError::UnknownTopicOrPartition, reason));
        }
        match self.create_topic(name, self.config.default_partitions, IndexMap::new()) {
            Err(refusal) if refusal.code == ResponseError::TopicAlreadyExists.code() => {
                self.topics.read().get(name).ok_or(refusal)
            }
            other => other,
        }
    }

    /// Creates a topic whose name was checked.
    pub(crate) fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: IndexMap<String, String>,
    ) -> Result<Arc<Topic>, Refusal> {
        let config =
            TopicConfig::new(configs).map_err(|reason| Refusal::new(ResponseError::InvalidConfig, reason))?;
        let mut topics = self.topics.write();
        if topics.get(name).is_some() {
            let reason = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, reason));
        }
        let topic = Arc::new(Topic {
            name: text(name),
            id: Uuid::new_v4(),
            config: RwLock::new(config),
            partitions: RwLock::new(self.new_partitions(name, 0, partitions)?),
        });
        self.record(&topic_records(&topic))?;
        topics.insert(Arc::clone(&topic));
        tracing::info!(topic = name, partitions, "topic created");
        Ok(topic)
    }

    /// Empty partitions `from..to` of a topic.
    fn new_partitions(&self, name: &str, from: i32, to: i32) -> Result<Vec<Arc<Partition>>, Refusal> {
        let create = |index| {
            let dir = self.logs.as_ref().map(|logs| partition_dir(logs, name, index));
            let log = Log::create(dir.as_deref(), now_ms()).map_err(|error| Refusal::storage(&error))?;
            Ok(Arc::new(Partition::new(log)))
        };
        (from..to).map(create).collect()
    }

    /// Adds partitions up to `count`.
    pub(crate) fn grow_topic(&self, topic: &Topic, count: i32) -> Result<(), Refusal> {
        // The write lock of the topics keeps two of these and a deletion apart.
        let _topics = self.topics.write();
        let added = self.new_partitions(&topic.name, topic.partition_count(), count)?;
        topic.partitions.write().extend(added);
        self.record(&topic_records(topic))
    }

    /// Replaces a topic's settings.
    pub(crate) fn set_topic_config(&self, topic: &Topic, config: TopicConfig) -> Result<(), Refusal> {
        let _topics = self.topics.write();
        *topic.config.write() = config;
        self.record(&topic_records(topic))
    }

    /// Deletes a topic with its data.
    pub(crate) fn delete_topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        let mut topics = self.topics.write();
        let Some(topic) = topics.get(name) else {
            let reason = format!("topic {name} does not exist");
            return Err(Refusal::new(ResponseError::UnknownTopicOrPartition, reason));
        };
        self.record(&[StateRecord::TopicDeleted { name: name.to_owned() }])?;
        topics.remove(name);
        for partition in topic.partitions.read().iter() {
            partition.log.lock().remove_files();
            partition.wake();
        }
        tracing::info!(topic = name, "topic deleted");
        Ok(topic)
    }

    /// Writes the start of a log down after DeleteRecords or retention moved it.
    pub(crate) fn record_log_start(&self, topic: &str, partition: i32, offset: i64) -> Result<(), Refusal> {
        self.record(&[StateRecord::LogStart { topic: topic.to_owned(), partition, offset }])
    }

    /// Syncs everything and notes that the tails need no check at the next start.
    pub(crate) fn close(&self) {
        for topic in self.topics.read().all() {
            for partition in topic.partitions.read().iter() {
                if let Err(error) = partition.log.lock().sync() {
                    tracing::error!(topic = %topic.name, %error, "a log could not be synced at shutdown");
                    return;
                }
            }
        }
        let mut journal = self.journal.lock();
        if let Err(error) = journal.append(&[StateRecord::CleanShutdown]).and_then(|()| journal.sync()) {
            tracing::error!(%error, "the state journal could not be synced at shutdown");
        }
    }
}

/// Takes the data folder for this broker alone.
fn lock_folder(dir: &Path) -> Result<File, BrokerError> {
    let path = dir.join(LOCK_FILE);
    let lock = File::create(&path).map_err(BrokerError::storage(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BrokerError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(BrokerError::storage(&path)(error)),
    }
}

/// A random id in Kafka's form: 22 characters of URL-safe base64.
fn new_cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = Uuid::new_v4().as_u128();
    let mut id = String::with_capacity(22);
    for _ in 0..22 {
        id.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
    id
}

/// The records that make a topic as it is now.
pub(crate) fn topic_records(topic: &Topic) -> Vec<StateRecord> {
    let configs = topic.config.read().overrides().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut records = vec![StateRecord::Topic {
        name: topic.name.to_string(),
        id: topic.id,
        partitions: topic.partition_count(),
        configs,
    }];
    for (index, partition) in topic.partitions.read().iter().enumerate() {
        let offset = partition.log.lock().start_offset();
        if offset > 0 {
            records.push(StateRecord::LogStart {
                topic: topic.name.to_string(),
                partition: index as i32,
                offset,
            });
        }
    }
    records
}

/// Id, number of partitions, settings.
type StoredTopic = (Uuid, i32, Vec<(String, String)>);

/// The journal's records, folded.
#[derive(Default)]
struct Replayed {
    cluster_id: Option<String>,
    topics: IndexMap<String, StoredTopic>,
    starts: IndexMap<(String, i32), i64>,
    clean: bool,
}

impl Replayed {
    fn from(records: Vec<StateRecord>, groups: &Groups, txns: &Transactions) -> Replayed {
        let mut replayed = Replayed::default();
        for record in records {
            replayed.clean = matches!(record, StateRecord::CleanShutdown);
            match record {
                StateRecord::Cluster { id } => replayed.cluster_id = Some(id),
                StateRecord::Topic { name, id, partitions, configs } => {
                    replayed.topics.insert(name, (id, partitions, configs));
                }
                StateRecord::TopicDeleted { name } => {
                    groups.replay(StateRecord::TopicDeleted { name: name.clone() });
                    replayed.starts.retain(|(topic, _), _| *topic != name);
                    replayed.topics.shift_remove(&name);
                }
                StateRecord::LogStart { topic, partition, offset } => {
                    replayed.starts.insert((topic, partition), offset);
                }
                record @ (StateRecord::ProducerIds { .. } | StateRecord::Transaction(_)) => {
                    txns.replay(record)
                }
                record => groups.replay(record),
            }
        }
        replayed
    }

    fn open_topics(&self, logs: &Path) -> Result<Topics, BrokerError> {
        let mut topics = Topics::default();
        for (name, (id, count, configs)) in &self.topics {
            let mut partitions = Vec::new();
            for index in 0..*count {
                let dir = partition_dir(logs, name, index);
                let start = self.starts.get(&(name.clone(), index)).copied().unwrap_or(0);
                let log =
                    Log::open(&dir, start, !self.clean, now_ms()).map_err(BrokerError::storage(&dir))?;
                partitions.push(Arc::new(Partition::new(log)));
            }
            let config = TopicConfig::new(configs.iter().cloned().collect()).or_else(|reason| {
                tracing::warn!(
                    topic = name,
                    reason,
                    "stored settings are not valid any more, taking the defaults"
                );
                TopicConfig::new(IndexMap::new())
            });
            let Ok(config) = config else { continue };
            topics.insert(Arc::new(Topic {
                name: text(name),
                id: *id,
                config: RwLock::new(config),
                partitions: RwLock::new(partitions),
            }));
        }
        Ok(topics)
    }
}

/// Removes folders of partitions that no topic has: their topic was deleted just before a crash.
fn remove_orphans(logs: &Path, topics: &Topics) {
    let Ok(entries) = std::fs::read_dir(logs) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        let Some((topic, index)) = name.rsplit_once('-') else { continue };
        let Ok(index) = index.parse::<i32>() else { continue };
        if topics.get(topic).is_none_or(|t| t.partition(index).is_none()) {
            tracing::info!(path = %path.display(), "removing what a deleted topic left");
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "could not be removed");
            }
        }
    }
}
