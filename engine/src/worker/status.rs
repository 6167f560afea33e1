//! States of connectors and tasks: the worker reports them to a listener; a standalone worker's is a board that REST reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use parking_lot::RwLock;

/// State of a connector or a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Known, not started yet.
    Unassigned,
    /// Started.
    Running,
    /// Started, and kept from working by the user.
    Paused,
    /// A connector without tasks, by the user's wish.
    Stopped,
    /// Ended by an error; the trace tells which.
    Failed,
    /// Between stop and start.
    Restarting,
}

impl State {
    /// The word of the REST API and the status topic.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unassigned => "UNASSIGNED",
            State::Running => "RUNNING",
            State::Paused => "PAUSED",
            State::Stopped => "STOPPED",
            State::Failed => "FAILED",
            State::Restarting => "RESTARTING",
        }
    }
}

/// What the worker reports of a connector or of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// The whole cause chain of a failure.
    pub trace: Option<String>,
    /// The plugin's version.
    pub version: Option<&'static str>,
}

impl Status {
    /// A state without a trace.
    pub fn of(state: State, version: &'static str) -> Status {
        Status { state, trace: None, version: Some(version) }
    }

    /// A failure, with its trace.
    pub fn failed(trace: String, version: &'static str) -> Status {
        Status { state: State::Failed, trace: Some(trace), version: Some(version) }
    }
}

/// What the worker tells of its connectors and tasks. Calls come on changes only (topics: once per batch), from any thread,
/// and must not wait.
pub trait StatusListener: Send + Sync {
    /// The connector's own instance has a new state.
    fn connector(&self, name: &str, status: Status);
    /// A task has a new state.
    fn task(&self, connector: &str, task: usize, status: Status);
    /// A task has used a topic, perhaps not for the first time.
    fn topic(&self, connector: &str, task: usize, topic: &str);
}

/// A state as REST and the status topic show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// The state.
    pub state: State,
    /// The whole cause chain of a failure.
    pub trace: Option<String>,
    /// `host:port` of the worker that has reported it.
    pub worker_id: String,
    /// The plugin's version, where known.
    pub version: Option<String>,
}

impl StatusEntry {
    /// The same as about to be restarted.
    pub fn restarting(&mut self) {
        self.state = State::Restarting;
    }
}

/// The statuses of one connector and its tasks, by task number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorStatus {
    /// The connector's own.
    pub connector: StatusEntry,
    /// The tasks', by number.
    pub tasks: BTreeMap<usize, StatusEntry>,
}

/// All statuses of a standalone worker. A write costs one lock and happens on changes only.
#[derive(Debug, Clone)]
pub struct StatusBoard {
    worker_id: Arc<str>,
    connectors: Arc<RwLock<IndexMap<String, ConnectorStatus>>>,
    topics: Arc<RwLock<IndexMap<String, IndexSet<String>>>>,
}

impl StatusBoard {
    /// An empty board of the worker at this `host:port`.
    pub fn new(worker_id: &str) -> StatusBoard {
        StatusBoard { worker_id: worker_id.into(), connectors: Arc::default(), topics: Arc::default() }
    }

    /// The status of one connector.
    pub fn get(&self, connector: &str) -> Option<ConnectorStatus> {
        self.connectors.read().get(connector).cloned()
    }

    /// The topics that a connector has used.
    pub fn topics(&self, connector: &str) -> Vec<String> {
        self.topics.read().get(connector).into_iter().flatten().cloned().collect()
    }

    /// Forgets the topics that a connector has used.
    pub fn reset_topics(&self, connector: &str) {
        self.topics.write().shift_remove(connector);
    }

    /// Sets the connector's own status, and makes it known if it was not.
    pub fn set_connector(&self, connector: &str, status: Status) {
        let status = self.entry(status);
        let mut connectors = self.connectors.write();
        match connectors.get_mut(connector) {
            Some(entry) => entry.connector = status,
            None => {
                let entry = ConnectorStatus { connector: status, tasks: BTreeMap::new() };
                connectors.insert(connector.to_owned(), entry);
            }
        }
    }

    /// Sets how many tasks there are; new ones are unassigned.
    pub fn set_task_count(&self, connector: &str, count: usize) {
        if let Some(entry) = self.connectors.write().get_mut(connector) {
            entry.tasks.split_off(&count);
            for task in 0..count {
                let unassigned = Status { state: State::Unassigned, trace: None, version: None };
                entry.tasks.entry(task).or_insert_with(|| self.entry(unassigned));
            }
        }
    }

    /// Sets the status of a task that exists.
    pub fn set_task(&self, connector: &str, task: usize, status: Status) {
        let status = self.entry(status);
        if let Some(entry) =
            self.connectors.write().get_mut(connector).and_then(|entry| entry.tasks.get_mut(&task))
        {
            *entry = status;
        }
    }

    /// Forgets the connector.
    pub fn remove(&self, connector: &str) {
        self.connectors.write().shift_remove(connector);
        self.reset_topics(connector);
    }

    fn entry(&self, status: Status) -> StatusEntry {
        StatusEntry {
            state: status.state,
            trace: status.trace,
            worker_id: self.worker_id.to_string(),
            version: status.version.map(str::to_owned),
        }
    }
}

impl StatusListener for StatusBoard {
    fn connector(&self, name: &str, status: Status) {
        self.set_connector(name, status);
    }

    fn task(&self, connector: &str, task: usize, status: Status) {
        self.set_task(connector, task, status);
    }

    fn topic(&self, connector: &str, _task: usize, topic: &str) {
        if self.topics.read().get(connector).is_some_and(|topics| topics.contains(topic)) {
            return;
        }
        self.topics.write().entry(connector.to_owned()).or_default().insert(topic.to_owned());
    }
}
