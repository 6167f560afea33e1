//! The actor behind the standalone herder.

use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::mpsc;

use super::{Answer, Command, Views};
use crate::connector::{ConfigMap, ConnectorContext, ConnectorEvent, ConnectorPlugin};
use crate::herder::{
    ConfigPatch, ConnectorView, HerderError, OffsetEntry, PutMode, PutResult, RELOADED, RestartPlan,
    RestartScope, TargetState, merge,
};
use crate::worker::{ConnectorHandle, State, Status, StatusBoard, TaskHandle, TaskSpec, Worker};

/// The owner of all connectors.
pub(super) struct Actor {
    worker: Worker,
    statuses: StatusBoard,
    views: Views,
    events: mpsc::WeakSender<Command>,
    connectors: IndexMap<String, Entry>,
}

struct Entry {
    config: Arc<ConfigMap>,
    plugin: Arc<dyn ConnectorPlugin>,
    target: TargetState,
    /// The running instance; none when stopped or failed.
    instance: Option<ConnectorHandle>,
    task_configs: Arc<[ConfigMap]>,
    tasks: Vec<Option<TaskHandle>>,
}

impl Entry {
    fn view(&self) -> ConnectorView {
        ConnectorView {
            config: Arc::clone(&self.config),
            task_configs: Arc::clone(&self.task_configs),
            target: self.target,
            kind: Some(self.plugin.kind()),
        }
    }

    fn status(&self, state: State) -> Status {
        Status::of(state, self.plugin.version())
    }

    fn running_state(&self) -> State {
        if self.target == TargetState::Paused { State::Paused } else { State::Running }
    }
}

impl Actor {
    pub(super) fn new(
        worker: Worker,
        statuses: StatusBoard,
        views: Views,
        events: mpsc::WeakSender<Command>,
    ) -> Actor {
        Actor { worker, statuses, views, events, connectors: IndexMap::new() }
    }

    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<Command>) {
        while let Some(command) = mailbox.recv().await {
            if let Command::Shutdown { answer } = command {
                self.shutdown().await;
                let _ = answer.send(Ok(()));
                return;
            }
            self.take(command).await;
        }
        self.shutdown().await;
    }

    async fn take(&mut self, command: Command) {
        match command {
            Command::Put { name, config, plugin, mode, answer } => {
                self.put(&name, config, plugin, mode, answer).await
            }
            Command::Patch { name, patch, answer } => self.patch(&name, patch, answer).await,
            Command::Delete { name, answer } => drop(answer.send(self.delete(&name).await)),
            Command::Target { name, target, answer } => {
                drop(answer.send(self.set_target(&name, target).await))
            }
            Command::RestartConnector { name, answer } => {
                drop(answer.send(self.restart_connector(&name).await))
            }
            Command::Restart { name, scope, answer } => self.restart(&name, scope, answer).await,
            Command::RestartTask { name, task, answer } => {
                drop(answer.send(self.restart_task(&name, task).await))
            }
            Command::AlterOffsets { name, offsets, answer } => {
                drop(answer.send(self.alter_offsets(&name, offsets).await))
            }
            Command::Event { name, event } => self.event(&name, event).await,
            Command::Ping { answer } => drop(answer.send(Ok(()))),
            Command::Shutdown { .. } => {} // taken by the loop
        }
    }

    /// Answers when the connector has started, or has failed to.
    async fn put(
        &mut self,
        name: &str,
        config: ConfigMap,
        plugin: Arc<dyn ConnectorPlugin>,
        mode: PutMode,
        answer: Answer<PutResult>,
    ) {
        let before = self.connectors.get(name).map(|entry| entry.target);
        let created = before.is_none();
        if !created && mode != PutMode::Replace {
            let error = HerderError::conflict(format!("Connector {name} already exists"));
            return drop(answer.send(Err(error)));
        }
        let initial = if let PutMode::Create(initial) = mode { initial } else { None };
        let entry = Entry {
            config: Arc::new(config),
            plugin,
            target: initial.or(before).unwrap_or(TargetState::Started),
            instance: None,
            task_configs: Arc::new([]),
            tasks: Vec::new(),
        };
        self.stop_connector(name).await;
        self.statuses.set_connector(name, entry.status(State::Unassigned));
        self.statuses.set_task_count(name, 0);
        self.connectors.insert(name.to_owned(), entry);
        self.publish(name);
        self.start(name).await;
        let stopping = || HerderError::new(503, "The worker is shutting down");
        let view = self.connectors.get(name).map(Entry::view).ok_or_else(stopping);
        let _ = answer.send(view.map(|view| PutResult { created, view }));
    }

    async fn patch(&mut self, name: &str, patch: ConfigPatch, answer: Answer<PutResult>) {
        let Some(config) = self.connectors.get(name).map(|entry| merge(&entry.config, patch)) else {
            return drop(answer.send(Err(HerderError::not_found(name))));
        };
        match self.worker.validate(&config).await {
            Ok(plugin) => self.put(name, config, plugin, PutMode::Replace, answer).await,
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn publish(&self, name: &str) {
        let mut views = self.views.write();
        match self.connectors.get(name) {
            Some(entry) => drop(views.insert(name.to_owned(), entry.view())),
            None => drop(views.shift_remove(name)),
        }
    }

    fn context(&self, name: &str) -> ConnectorContext {
        let (events, connector) = (self.events.clone(), name.to_owned());
        ConnectorContext::new(name, move |event| {
            let Some(events) = events.upgrade() else { return };
            let command = Command::Event { name: connector.clone(), event };
            // from a task of its own: the connector must not wait for a herder that waits for it
            tokio::spawn(async move { events.send(command).await });
        })
    }

    /// Starts the connector's instance as its target state asks, and its tasks if it is to work: one that begins paused has none
    /// before it is resumed.
    async fn start(&mut self, name: &str) {
        let context = self.context(name);
        let Some(entry) = self.connectors.get_mut(name) else { return };
        if entry.target == TargetState::Stopped {
            return self.statuses.set_connector(name, entry.status(State::Stopped));
        }
        let started = self.worker.start_connector(name, &entry.plugin, &entry.config, context).await;
        let started = match started {
            Ok(instance) if entry.target == TargetState::Paused => Ok((instance, Vec::new())),
            Ok(mut instance) => match instance.task_configs().await {
                Ok(tasks) => Ok((instance, tasks)),
                Err(error) => {
                    instance.stop().await;
                    Err(error)
                }
            },
            Err(error) => Err(error),
        };
        match started {
            Ok((instance, task_configs)) => {
                entry.instance = Some(instance);
                entry.task_configs = task_configs.into();
            }
            Err(error) => {
                tracing::error!(connector = name, "Failed to start connector: {error}");
                let status = Status::failed(error.trace(), entry.plugin.version());
                return self.statuses.set_connector(name, status);
            }
        }
        self.statuses.set_connector(name, entry.status(entry.running_state()));
        self.start_tasks(name);
    }

    /// Starts a task for each configuration of the entry, which has none running.
    fn start_tasks(&mut self, name: &str) {
        let Some(entry) = self.connectors.get_mut(name) else { return };
        self.statuses.set_task_count(name, entry.task_configs.len());
        entry.tasks = (0..entry.task_configs.len())
            .map(|task| Some(start_task(&self.worker, name, entry, task)))
            .collect();
        self.publish(name);
    }

    async fn stop_connector(&mut self, name: &str) {
        let Some(entry) = self.connectors.get_mut(name) else { return };
        self.worker.stop_tasks(entry.tasks.drain(..).flatten().collect()).await;
        entry.task_configs = Arc::new([]);
        if let Some(instance) = entry.instance.take() {
            instance.stop().await;
        }
    }

    async fn delete(&mut self, name: &str) -> Result<(), HerderError> {
        if !self.connectors.contains_key(name) {
            return Err(HerderError::not_found(name));
        }
        self.stop_connector(name).await;
        self.connectors.shift_remove(name);
        self.statuses.remove(name);
        self.publish(name);
        Ok(())
    }

    async fn set_target(&mut self, name: &str, target: TargetState) -> Result<(), HerderError> {
        let Some(entry) = self.connectors.get_mut(name) else {
            return Err(HerderError::new(404, format!("Unknown connector {name}")));
        };
        let before = std::mem::replace(&mut entry.target, target);
        match (before, target) {
            (TargetState::Stopped, TargetState::Stopped) => {}
            (_, TargetState::Stopped) => {
                self.stop_connector(name).await;
                self.statuses.set_task_count(name, 0);
                let stopped = self.connectors.get(name).map(|entry| entry.status(State::Stopped));
                stopped.into_iter().for_each(|status| self.statuses.set_connector(name, status));
            }
            (TargetState::Stopped, _) => self.start(name).await,
            (_, target) => {
                let paused = target == TargetState::Paused;
                entry.tasks.iter().flatten().for_each(|task| task.set_paused(paused));
                let without_tasks = entry.task_configs.is_empty();
                if entry.instance.is_some() {
                    self.statuses.set_connector(name, entry.status(entry.running_state()));
                }
                if !paused && without_tasks {
                    self.reconfigure(name).await;
                }
            }
        }
        self.publish(name);
        Ok(())
    }

    /// Answers with the plan before it is carried out.
    async fn restart(&mut self, name: &str, scope: RestartScope, answer: Answer<RestartPlan>) {
        let Some(status) = self.statuses.get(name).filter(|_| self.connectors.contains_key(name)) else {
            return drop(answer.send(Err(HerderError::new(404, format!("Unknown connector: {name}")))));
        };
        let plan = RestartPlan::new(scope, &status);
        let (connector, tasks) = (plan.connector, plan.tasks.clone());
        let _ = answer.send(Ok(plan));
        if connector && let Err(error) = self.restart_connector(name).await {
            tracing::error!(connector = name, "{error}");
        }
        for task in tasks {
            if let Err(error) = self.restart_task(name, task).await {
                tracing::debug!(connector = name, task, "{error}"); // its configuration may have gone with the restart
            }
        }
    }

    /// Restarts the connector's own instance; its tasks are replaced only if their configurations have changed.
    async fn restart_connector(&mut self, name: &str) -> Result<(), HerderError> {
        let context = self.context(name);
        let Some(entry) = self.connectors.get_mut(name) else {
            return Err(HerderError::new(404, format!("Unknown connector: {name}")));
        };
        if entry.target == TargetState::Stopped {
            return Ok(());
        }
        if let Some(instance) = entry.instance.take() {
            instance.stop().await;
        }
        let started = self.worker.start_connector(name, &entry.plugin, &entry.config, context).await;
        match started {
            Ok(instance) => {
                entry.instance = Some(instance);
                self.statuses.set_connector(name, entry.status(entry.running_state()));
                self.reconfigure(name).await;
                Ok(())
            }
            Err(error) => {
                self.fail(name, error.trace());
                Err(HerderError::new(500, format!("Failed to start connector: {name}")))
            }
        }
    }

    fn fail(&self, name: &str, trace: String) {
        let Some(entry) = self.connectors.get(name) else { return };
        self.statuses.set_connector(name, Status::failed(trace, entry.plugin.version()));
    }

    async fn event(&mut self, name: &str, event: ConnectorEvent) {
        match event {
            ConnectorEvent::Reconfigure => self.reconfigure(name).await,
            ConnectorEvent::Reload => {
                tracing::info!(connector = name, "{RELOADED}: the connector is started anew");
                let _ = self.restart_connector(name).await;
            }
            ConnectorEvent::Failed(error) => {
                tracing::error!(connector = name, "the connector has failed: {}", error.trace().trim_end());
                self.fail(name, error.trace());
            }
        }
    }

    /// Asks the running instance for task configurations, and restarts the tasks if they are others than before.
    async fn reconfigure(&mut self, name: &str) {
        let Some(entry) = self.connectors.get_mut(name) else { return };
        let Some(instance) = &mut entry.instance else { return };
        match instance.task_configs().await {
            Ok(task_configs) if task_configs[..] == entry.task_configs[..] => {}
            Ok(task_configs) => {
                self.worker.stop_tasks(entry.tasks.drain(..).flatten().collect()).await;
                entry.task_configs = task_configs.into();
                self.start_tasks(name);
            }
            Err(error) => {
                tracing::error!(connector = name, "no task configurations: {}", error.trace().trim_end());
                self.fail(name, error.trace());
            }
        }
    }

    async fn restart_task(&mut self, name: &str, task: usize) -> Result<(), HerderError> {
        let Some(entry) = self.connectors.get_mut(name) else {
            return Err(HerderError::new(404, format!("Unknown connector: {name}")));
        };
        let Some(slot) = entry.tasks.get_mut(task) else {
            return Err(HerderError::new(404, format!("Unknown task: {name}-{task}")));
        };
        let stopping = slot.take().into_iter().collect();
        self.statuses.set_task(name, task, entry.status(State::Restarting));
        self.worker.stop_tasks(stopping).await;
        let handle = start_task(&self.worker, name, entry, task);
        entry.tasks[task] = Some(handle);
        Ok(())
    }

    async fn alter_offsets(
        &mut self,
        name: &str,
        offsets: Option<Vec<OffsetEntry>>,
    ) -> Result<String, HerderError> {
        let entry = self.connectors.get(name).ok_or_else(|| HerderError::not_found(name))?;
        if entry.target != TargetState::Stopped || !entry.task_configs.is_empty() {
            return Err(HerderError::not_stopped(name));
        }
        let (plugin, config) = (Arc::clone(&entry.plugin), Arc::clone(&entry.config));
        self.worker.alter_offsets(name, &plugin, &config, offsets, None).await
    }

    /// All tasks of all connectors at once, so that the graceful time is spent once.
    async fn shutdown(&mut self) {
        let tasks = self.connectors.values_mut().flat_map(|entry| entry.tasks.drain(..).flatten()).collect();
        self.worker.stop_tasks(tasks).await;
        let names: Vec<String> = self.connectors.keys().cloned().collect();
        for name in names {
            self.stop_connector(&name).await;
        }
    }
}

fn start_task(worker: &Worker, name: &str, entry: &Entry, task: usize) -> TaskHandle {
    worker.start_task(TaskSpec {
        connector: Arc::from(name),
        task,
        plugin: Arc::clone(&entry.plugin),
        connector_config: Arc::clone(&entry.config),
        task_config: Arc::new(entry.task_configs[task].clone()),
        paused: entry.target == TargetState::Paused,
        exactly_once: None,
    })
}
