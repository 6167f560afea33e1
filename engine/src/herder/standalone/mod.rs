//! The herder of a standalone worker: configurations live in memory and come from files or REST.
//!
//! One actor owns everything and takes commands one after the other; readers look at a shared view and never wait for it.

mod actor;

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use super::{
    ConfigPatch, ConnectorView, ForwardAnswer, ForwardRequest, Health, Herder, HerderError, InternalRequest,
    OffsetEntry, PutMode, PutResult, Reply, RestartPlan, RestartScope, TargetState, check_config,
};
use crate::connector::{BoxFuture, ConfigMap, ConnectorEvent, ConnectorPlugin};
use crate::worker::{ConnectorStatus, StatusBoard, Worker};

/// Requests waiting for the actor; more callers than that wait in line.
const MAILBOX: usize = 64;

type Views = Arc<RwLock<IndexMap<String, ConnectorView>>>;
type Answer<T> = oneshot::Sender<Result<T, HerderError>>;

enum Command {
    /// A configuration that has been checked.
    Put {
        name: String,
        config: ConfigMap,
        plugin: Arc<dyn ConnectorPlugin>,
        mode: PutMode,
        answer: Answer<PutResult>,
    },
    Patch {
        name: String,
        patch: ConfigPatch,
        answer: Answer<PutResult>,
    },
    Delete {
        name: String,
        answer: Answer<()>,
    },
    Target {
        name: String,
        target: TargetState,
        answer: Answer<()>,
    },
    RestartConnector {
        name: String,
        answer: Answer<()>,
    },
    Restart {
        name: String,
        scope: RestartScope,
        answer: Answer<RestartPlan>,
    },
    RestartTask {
        name: String,
        task: usize,
        answer: Answer<()>,
    },
    AlterOffsets {
        name: String,
        offsets: Option<Vec<OffsetEntry>>,
        answer: Answer<String>,
    },
    /// A connector asks for something.
    Event {
        name: String,
        event: ConnectorEvent,
    },
    Ping {
        answer: Answer<()>,
    },
    Shutdown {
        answer: Answer<()>,
    },
}

/// The way to the herder; clones share it.
#[derive(Clone)]
pub struct StandaloneHerder {
    commands: mpsc::Sender<Command>,
    views: Views,
    statuses: StatusBoard,
    worker: Worker,
}

impl StandaloneHerder {
    /// Starts a herder that keeps configurations in memory; `statuses` is what the worker reports to.
    pub fn start(worker: Worker, statuses: StatusBoard) -> StandaloneHerder {
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let views = Views::default();
        let events = commands.downgrade();
        let actor = actor::Actor::new(worker.clone(), statuses.clone(), Arc::clone(&views), events);
        tokio::spawn(actor.run(mailbox));
        StandaloneHerder { commands, views, statuses, worker }
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, HerderError> {
        let stopping = || HerderError::new(503, "The worker is shutting down");
        let (sender, answer) = oneshot::channel();
        self.commands.send(command(sender)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

impl Herder for StandaloneHerder {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn names(&self) -> Vec<String> {
        self.views.read().keys().cloned().collect()
    }

    fn view(&self, name: &str) -> Option<ConnectorView> {
        self.views.read().get(name).cloned()
    }

    fn status(&self, name: &str) -> Option<ConnectorStatus> {
        self.statuses.get(name)
    }

    fn active_topics(&self, name: &str) -> Vec<String> {
        self.statuses.topics(name)
    }

    fn reset_active_topics<'a>(&'a self, name: &'a str) -> Reply<'a, ()> {
        self.statuses.reset_topics(name);
        Box::pin(std::future::ready(Ok(())))
    }

    fn put<'a>(&'a self, name: &'a str, mut config: ConfigMap, mode: PutMode) -> Reply<'a, PutResult> {
        Box::pin(async move {
            let plugin = check_config(&self.worker, name, &mut config).await?;
            let name = name.to_owned();
            self.ask(|answer| Command::Put { name, config, plugin, mode, answer }).await
        })
    }

    fn patch<'a>(&'a self, name: &'a str, patch: ConfigPatch) -> Reply<'a, PutResult> {
        Box::pin(self.ask(|answer| Command::Patch { name: name.to_owned(), patch, answer }))
    }

    fn delete<'a>(&'a self, name: &'a str) -> Reply<'a, ()> {
        Box::pin(self.ask(|answer| Command::Delete { name: name.to_owned(), answer }))
    }

    fn set_target<'a>(&'a self, name: &'a str, target: TargetState) -> Reply<'a, ()> {
        Box::pin(self.ask(move |answer| Command::Target { name: name.to_owned(), target, answer }))
    }

    fn restart_connector<'a>(&'a self, name: &'a str) -> Reply<'a, ()> {
        Box::pin(self.ask(|answer| Command::RestartConnector { name: name.to_owned(), answer }))
    }

    fn restart<'a>(&'a self, name: &'a str, scope: RestartScope) -> Reply<'a, RestartPlan> {
        Box::pin(self.ask(move |answer| Command::Restart { name: name.to_owned(), scope, answer }))
    }

    fn restart_task<'a>(&'a self, name: &'a str, task: usize) -> Reply<'a, ()> {
        Box::pin(self.ask(move |answer| Command::RestartTask { name: name.to_owned(), task, answer }))
    }

    fn offsets<'a>(&'a self, name: &'a str) -> Reply<'a, Vec<OffsetEntry>> {
        Box::pin(async move {
            let view = self.view(name).ok_or_else(|| HerderError::not_found(name))?;
            self.worker.offsets(name, &view.config).await
        })
    }

    fn alter_offsets<'a>(&'a self, name: &'a str, offsets: Option<Vec<OffsetEntry>>) -> Reply<'a, String> {
        Box::pin(self.ask(|answer| Command::AlterOffsets { name: name.to_owned(), offsets, answer }))
    }

    /// The only worker of its cluster is this one.
    fn set_cluster_logger<'a>(&'a self, logger: &'a str, level: &'a str) -> Reply<'a, ()> {
        Box::pin(std::future::ready(self.worker.loggers().set(logger, level).map(|_| ())))
    }

    fn put_task_configs<'a>(&'a self, _name: &'a str, _request: InternalRequest) -> Reply<'a, ()> {
        let message =
            "Kafka Connect in standalone mode does not support externally setting task configurations.";
        Box::pin(std::future::ready(Err(HerderError::new(500, message))))
    }

    fn fence<'a>(&'a self, _name: &'a str, _request: InternalRequest) -> Reply<'a, ()> {
        let message = "Kafka Connect in standalone mode does not support exactly-once source connectors.";
        Box::pin(std::future::ready(Err(HerderError::new(500, message))))
    }

    fn forward(&self, request: ForwardRequest) -> Reply<'_, ForwardAnswer> {
        let message = format!("a standalone worker knows no other worker: {} is not asked", request.url);
        Box::pin(std::future::ready(Err(HerderError::new(500, message))))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(async { self.ask(|answer| Command::Ping { answer }).await.map(|()| Health::Healthy) })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _ = self.ask(|answer| Command::Shutdown { answer }).await;
        })
    }
}
