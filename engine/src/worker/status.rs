//! What REST shows of connectors and tasks: written by the tasks' supervisors, read by anybody, without the herder's mailbox.

use std::sync::Arc;

use indexmap::IndexMap;
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

/// The status of a connector or of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// The whole cause chain of a failure.
    pub trace: Option<String>,
}

impl Status {
    /// A state without a trace.
    pub fn of(state: State) -> Status {
        Status { state, trace: None }
    }
}

/// The statuses of one connector and its tasks, by task number.
#[derive(Debug, Clone)]
pub struct ConnectorStatus {
    /// The connector's own.
    pub connector: Status,
    /// The tasks', by number.
    pub tasks: Vec<Status>,
}

/// All statuses of a worker. A write costs one lock and happens on changes only.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard {
    connectors: Arc<RwLock<IndexMap<String, ConnectorStatus>>>,
}

impl StatusBoard {
    /// The status of one connector.
    pub fn get(&self, connector: &str) -> Option<ConnectorStatus> {
        self.connectors.read().get(connector).cloned()
    }

    /// Sets the connector's own status, and makes it known if it was not.
    pub fn set_connector(&self, connector: &str, status: Status) {
        let mut connectors = self.connectors.write();
        match connectors.get_mut(connector) {
            Some(entry) => entry.connector = status,
            None => {
                connectors
                    .insert(connector.to_owned(), ConnectorStatus { connector: status, tasks: Vec::new() });
            }
        }
    }

    /// Sets how many tasks there are; new ones are unassigned.
    pub fn set_task_count(&self, connector: &str, count: usize) {
        if let Some(entry) = self.connectors.write().get_mut(connector) {
            entry.tasks.resize(count, Status::of(State::Unassigned));
        }
    }

    /// Sets the status of a task that exists.
    pub fn set_task(&self, connector: &str, task: usize, status: Status) {
        if let Some(entry) =
            self.connectors.write().get_mut(connector).and_then(|entry| entry.tasks.get_mut(task))
        {
            *entry = status;
        }
    }

    /// Forgets the connector.
    pub fn remove(&self, connector: &str) {
        self.connectors.write().shift_remove(connector);
    }
}
