//! The herder: keeps the connectors' configurations and target states, and has the worker run what they ask for.
//!
//! One actor owns everything and takes commands one after the other; readers look at a shared view and never wait for it.

mod connector_file;
#[allow(dead_code)] // the herder on top of it follows
mod distributed;
mod standalone;

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::connector::{ConfigMap, ConnectorKind, ConnectorPlugin, Registry};
pub use connector_file::{ConnectorFile, FileError, read_connector, read_properties};

use crate::worker::{ConnectorStatus, StatusBoard, Worker};

/// What the user wants of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Work.
    Started,
    /// Keep the tasks, but move nothing.
    Paused,
    /// Keep the configuration only.
    Stopped,
}

impl TargetState {
    /// Reads `initial_state` of a request: RUNNING, PAUSED or STOPPED in any case.
    pub fn parse_initial(text: &str) -> Option<TargetState> {
        match text.to_ascii_uppercase().as_str() {
            "RUNNING" => Some(TargetState::Started),
            "PAUSED" => Some(TargetState::Paused),
            "STOPPED" => Some(TargetState::Stopped),
            _ => None,
        }
    }
}

/// An error of a request, with the HTTP status that Kafka Connect gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HerderError {
    /// HTTP status.
    pub status: u16,
    /// The text that clients see.
    pub message: String,
}

impl HerderError {
    /// An error with this HTTP status.
    pub fn new(status: u16, message: impl Into<String>) -> HerderError {
        HerderError { status, message: message.into() }
    }

    /// The answer to a configuration with these errors.
    pub fn invalid_config(errors: &[String]) -> HerderError {
        let count = errors.len();
        let list = errors.join("\n");
        HerderError::new(
            400,
            format!(
                "Connector configuration is invalid and contains the following {count} error(s):\n{list}\nYou can also find the above list of errors at the endpoint `/connector-plugins/{{connectorType}}/config/validate`"
            ),
        )
    }
}

/// What is known of a connector, as readers see it.
#[derive(Clone)]
pub struct ConnectorView {
    /// The raw configuration, with `name`.
    pub config: Arc<ConfigMap>,
    /// The configurations of its tasks; none when stopped.
    pub task_configs: Arc<[ConfigMap]>,
    /// What the user wants.
    pub target: TargetState,
    /// Its plugin.
    pub plugin: Arc<dyn ConnectorPlugin>,
}

impl ConnectorView {
    /// Source or sink.
    pub fn kind(&self) -> ConnectorKind {
        self.plugin.kind()
    }
}

type Views = Arc<RwLock<IndexMap<String, ConnectorView>>>;
type Reply<T> = oneshot::Sender<Result<T, HerderError>>;

/// Which instances of a connector to restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestartScope {
    /// The tasks as well.
    pub include_tasks: bool,
    /// Only what has failed.
    pub only_failed: bool,
}

/// What a put of a configuration came to.
#[derive(Clone)]
pub struct PutResult {
    /// The connector did not exist before.
    pub created: bool,
    /// The configuration as stored.
    pub view: ConnectorView,
}

enum Command {
    Put {
        name: String,
        config: ConfigMap,
        initial: Option<TargetState>,
        replace: bool,
        reply: Reply<PutResult>,
    },
    Delete {
        name: String,
        reply: Reply<()>,
    },
    Target {
        name: String,
        target: TargetState,
        reply: Reply<()>,
    },
    Restart {
        name: String,
        scope: RestartScope,
        reply: Reply<()>,
    },
    RestartTask {
        name: String,
        task: usize,
        reply: Reply<()>,
    },
    Ping {
        reply: Reply<()>,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

/// Requests waiting for the actor; more callers than that wait in line.
const MAILBOX: usize = 64;

/// The way to the herder; clones share it.
#[derive(Clone)]
pub struct Herder {
    commands: mpsc::Sender<Command>,
    views: Views,
    statuses: StatusBoard,
    worker: Worker,
}

impl Herder {
    /// Starts a herder that keeps configurations in memory.
    pub fn standalone(worker: Worker) -> Herder {
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let views = Views::default();
        tokio::spawn(standalone::Actor::new(worker.clone(), Arc::clone(&views)).run(mailbox));
        Herder { commands, views, statuses: worker.statuses().clone(), worker }
    }

    /// The connectors' names, in the order of their creation.
    pub fn names(&self) -> Vec<String> {
        self.views.read().keys().cloned().collect()
    }

    /// What is known of a connector.
    pub fn view(&self, name: &str) -> Option<ConnectorView> {
        self.views.read().get(name).cloned()
    }

    /// The status of a connector and its tasks.
    pub fn status(&self, name: &str) -> Option<ConnectorStatus> {
        self.statuses.get(name)
    }

    /// The plugins of this worker.
    pub fn registry(&self) -> &Registry {
        self.worker.registry()
    }

    /// The worker that runs the tasks.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Creates a connector; one of that name must not exist.
    pub async fn create(
        &self,
        name: String,
        config: ConfigMap,
        initial: Option<TargetState>,
    ) -> Result<PutResult, HerderError> {
        self.ask(|reply| Command::Put { name, config, initial, replace: false, reply }).await
    }

    /// Creates a connector or gives it a new configuration.
    pub async fn put(&self, name: String, config: ConfigMap) -> Result<PutResult, HerderError> {
        self.ask(|reply| Command::Put { name, config, initial: None, replace: true, reply }).await
    }

    /// Stops and forgets a connector.
    pub async fn delete(&self, name: String) -> Result<(), HerderError> {
        self.ask(|reply| Command::Delete { name, reply }).await
    }

    /// Starts, pauses or stops a connector.
    pub async fn set_target(&self, name: String, target: TargetState) -> Result<(), HerderError> {
        self.ask(|reply| Command::Target { name, target, reply }).await
    }

    /// Restarts a connector's instances.
    pub async fn restart(&self, name: String, scope: RestartScope) -> Result<(), HerderError> {
        self.ask(|reply| Command::Restart { name, scope, reply }).await
    }

    /// Restarts one task.
    pub async fn restart_task(&self, name: String, task: usize) -> Result<(), HerderError> {
        self.ask(|reply| Command::RestartTask { name, task, reply }).await
    }

    /// Resolves when the actor has taken all commands before: it is alive.
    pub async fn ping(&self) -> Result<(), HerderError> {
        self.ask(|reply| Command::Ping { reply }).await
    }

    /// Stops every connector in order, within the worker's graceful time.
    pub async fn shutdown(&self) {
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, HerderError> {
        let stopping = || HerderError::new(503, "The worker is shutting down");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}
