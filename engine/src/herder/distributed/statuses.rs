//! What this worker reports goes to the status topic, and what all workers report is read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::store::{
    ClusterConfig, KafkaStatusStore, KnownStatus, StatusRecord, TopicSeen, WorkerStatus, may_write_safely,
};
use crate::worker::{ConnectorStatus, State, Status, StatusEntry, StatusListener};

/// Wait after a failed write.
const RETRY: Duration = Duration::from_millis(300);

/// What a status is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Connector(Arc<str>),
    Task(Arc<str>, u32),
    Topic(Arc<str>, String),
}

/// What is to be written: the newest status of each subject only, so the queue is as long as there are tasks.
type Pending = IndexMap<Subject, StatusRecord>;

struct Shared {
    store: KafkaStatusStore,
    worker_id: String,
    /// The group's generation that this worker is in.
    generation: AtomicI32,
    tracking: bool,
    pending: Mutex<Pending>,
    news: Notify,
    written: Notify,
}

/// The statuses of the group; clones share them.
#[derive(Clone)]
pub(super) struct GroupStatuses {
    shared: Arc<Shared>,
    _writer: Arc<Writer>,
}

/// Ends the writer with the last clone.
struct Writer(AbortHandle);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl GroupStatuses {
    /// Statuses of the worker at this `host:port`; `tracking` is `topic.tracking.enable`.
    pub(super) fn start(store: KafkaStatusStore, worker_id: &str, tracking: bool) -> GroupStatuses {
        let shared = Arc::new(Shared {
            store,
            worker_id: worker_id.to_owned(),
            generation: AtomicI32::new(-1),
            tracking,
            pending: Mutex::default(),
            news: Notify::new(),
            written: Notify::new(),
        });
        let writer = tokio::spawn(write(Arc::clone(&shared))).abort_handle();
        GroupStatuses { shared, _writer: Arc::new(Writer(writer)) }
    }

    /// From now on statuses are of this generation.
    pub(super) fn set_generation(&self, generation: i32) {
        self.shared.generation.store(generation, Ordering::Relaxed);
    }

    /// The status of a connector, as the group has reported it.
    pub(super) fn get(&self, connector: &str) -> Option<ConnectorStatus> {
        self.shared.store.with(connector, |known| {
            let known = known?;
            let tasks = known.tasks.iter().map(|(task, status)| (*task as usize, entry(status)));
            Some(ConnectorStatus { connector: entry(known.connector.as_ref()?), tasks: tasks.collect() })
        })
    }

    /// The topics that a connector has used.
    pub(super) fn topics(&self, connector: &str) -> Vec<String> {
        self.shared
            .store
            .with(connector, |known| known.map(|known| known.topics.iter().cloned().collect()))
            .unwrap_or_default()
    }

    /// Forgets which topics a connector has used.
    pub(super) fn reset_topics(&self, connector: &str) {
        let connector: Arc<str> = connector.into();
        let forget = |topic| StatusRecord::Topic { connector: Arc::clone(&connector), topic, seen: None };
        self.queue(self.topics(&connector).into_iter().map(forget));
    }

    /// Forgets connectors and tasks that are not configured any more. The leader does this for all, after each rebalance:
    /// a look at each status, O(all).
    pub(super) fn forget_deleted(&self, config: &ClusterConfig) {
        for connector in self.shared.store.connectors() {
            let tasks = config.connector(&connector).map(|configured| configured.tasks.len());
            let gone = |task: u32| tasks.is_none_or(|tasks| task as usize >= tasks);
            let records = self.shared.store.with(&connector, |known| {
                known.map(|known| deleted(&connector, known, tasks.is_none(), gone)).unwrap_or_default()
            });
            if !records.is_empty() {
                self.queue(records);
            }
        }
    }

    fn queue(&self, records: impl IntoIterator<Item = StatusRecord>) {
        let mut pending = self.shared.pending.lock();
        for record in records {
            let subject = match &record {
                StatusRecord::Connector { connector, .. } => Subject::Connector(Arc::clone(connector)),
                StatusRecord::Task { connector, task, .. } => Subject::Task(Arc::clone(connector), *task),
                StatusRecord::Topic { connector, topic, .. } => {
                    Subject::Topic(Arc::clone(connector), topic.clone())
                }
            };
            pending.insert(subject, record);
        }
        drop(pending);
        self.shared.news.notify_one();
    }

    fn status(&self, status: Status) -> WorkerStatus {
        WorkerStatus {
            state: status.state,
            trace: status.trace,
            worker_id: self.shared.worker_id.clone(),
            generation: self.shared.generation.load(Ordering::Relaxed),
            version: status.version.map(str::to_owned),
        }
    }

    /// Resolves when everything reported so far is written, or `limit` has passed.
    pub(super) async fn flush(&self, limit: Duration) {
        let flushed = async {
            loop {
                let written = self.shared.written.notified();
                if self.shared.pending.lock().is_empty() {
                    return;
                }
                written.await;
            }
        };
        if tokio::time::timeout(limit, flushed).await.is_err() {
            tracing::warn!("the last statuses were not written within {} ms", limit.as_millis());
        }
    }
}

impl StatusListener for GroupStatuses {
    fn connector(&self, name: &str, status: Status) {
        let status = Some(self.status(status));
        self.queue([StatusRecord::Connector { connector: name.into(), status }]);
    }

    fn task(&self, connector: &str, task: usize, status: Status) {
        let (status, task) = (Some(self.status(status)), task as u32);
        self.queue([StatusRecord::Task { connector: connector.into(), task, status }]);
    }

    fn topic(&self, connector: &str, task: usize, topic: &str) {
        let known = |known: Option<&KnownStatus>| known.is_some_and(|known| known.topics.contains(topic));
        if !self.shared.tracking || self.shared.store.with(connector, known) {
            return;
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let seen = TopicSeen { task: task as u32, at_ms: i64::try_from(at_ms).unwrap_or(i64::MAX) };
        let (connector, topic) = (connector.into(), topic.to_owned());
        self.queue([StatusRecord::Topic { connector, topic, seen: Some(seen) }]);
    }
}

fn entry(status: &WorkerStatus) -> StatusEntry {
    StatusEntry {
        state: status.state,
        trace: status.trace.clone(),
        worker_id: status.worker_id.clone(),
        version: status.version.clone(),
    }
}

/// Tombstones of what is gone.
fn deleted(
    connector: &Arc<str>,
    known: &KnownStatus,
    all: bool,
    gone: impl Fn(u32) -> bool,
) -> Vec<StatusRecord> {
    let tasks = known.tasks.keys().filter(|task| gone(**task));
    let mut records: Vec<StatusRecord> = tasks
        .map(|task| StatusRecord::Task { connector: Arc::clone(connector), task: *task, status: None })
        .collect();
    if all {
        records.extend(known.topics.iter().map(|topic| StatusRecord::Topic {
            connector: Arc::clone(connector),
            topic: topic.clone(),
            seen: None,
        }));
        if known.connector.is_some() {
            records.push(StatusRecord::Connector { connector: Arc::clone(connector), status: None });
        }
    }
    records
}

/// Whether another worker has not meanwhile said something newer, where that counts.
fn still_true(shared: &Shared, record: &StatusRecord) -> bool {
    let (connector, status) = match record {
        StatusRecord::Connector { connector, status: Some(status) }
        | StatusRecord::Task { connector, status: Some(status), .. } => (connector, status),
        _ => return true,
    };
    if !matches!(status.state, State::Unassigned | State::Failed) {
        return true;
    }
    shared.store.with(connector, |known| {
        let known = known.and_then(|known| match record {
            StatusRecord::Task { task, .. } => known.tasks.get(task),
            _ => known.connector.as_ref(),
        });
        may_write_safely(known, &status.worker_id, status.generation)
    })
}

/// Writes what is pending, all of it at once.
async fn write(shared: Arc<Shared>) {
    loop {
        let batch: Vec<(Subject, StatusRecord)> =
            shared.pending.lock().iter().map(|(subject, record)| (subject.clone(), record.clone())).collect();
        if batch.is_empty() {
            shared.written.notify_waiters();
            shared.news.notified().await;
            continue;
        }
        let records: Vec<StatusRecord> = batch
            .iter()
            .map(|(_, record)| record)
            .filter(|record| still_true(&shared, record))
            .cloned()
            .collect();
        if let Err(error) = shared.store.put(&records).await {
            tracing::warn!("statuses are not written yet: {}", crate::store::chain(&error));
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let mut pending = shared.pending.lock();
        for (subject, record) in batch {
            // what has come meanwhile stays
            if pending.get(&subject) == Some(&record) {
                pending.shift_remove(&subject);
            }
        }
    }
}
