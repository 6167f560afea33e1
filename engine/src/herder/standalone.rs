//! The herder of a standalone worker: configurations live in memory and come from files or REST.

use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::mpsc;

use super::{Command, ConnectorView, HerderError, PutResult, RestartScope, TargetState, Views};
use crate::connector::{ConfigMap, Connector, ConnectorPlugin};
use crate::worker::{State, Status, TaskHandle, TaskSpec, Worker, connector_config};

/// The owner of all connectors.
pub(super) struct Actor {
    worker: Worker,
    views: Views,
    connectors: IndexMap<String, Entry>,
}

struct Entry {
    config: Arc<ConfigMap>,
    plugin: Arc<dyn ConnectorPlugin>,
    target: TargetState,
    /// The running instance; none when stopped or failed.
    instance: Option<Box<dyn Connector>>,
    task_configs: Arc<[ConfigMap]>,
    tasks: Vec<Option<TaskHandle>>,
}

impl Entry {
    fn view(&self) -> ConnectorView {
        ConnectorView {
            config: Arc::clone(&self.config),
            task_configs: Arc::clone(&self.task_configs),
            target: self.target,
            plugin: Arc::clone(&self.plugin),
        }
    }
}

impl Actor {
    pub(super) fn new(worker: Worker, views: Views) -> Actor {
        Actor { worker, views, connectors: IndexMap::new() }
    }

    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<Command>) {
        while let Some(command) = mailbox.recv().await {
            match command {
                Command::Put { name, config, initial, replace, reply } => {
                    match self.prepare(&name, config, replace) {
                        Ok((entry, created)) => {
                            self.store(&name, entry, initial).await;
                            let view = self.connectors[&name].view();
                            let _ = reply.send(Ok(PutResult { created, view }));
                            self.start(&name).await;
                        }
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Command::Delete { name, reply } => drop(reply.send(self.delete(&name).await)),
                Command::Target { name, target, reply } => match self.set_target(&name, target).await {
                    Ok(()) => drop(reply.send(Ok(()))),
                    Err(error) => drop(reply.send(Err(error))),
                },
                Command::Restart { name, scope, reply } => drop(reply.send(self.restart(&name, scope).await)),
                Command::RestartTask { name, task, reply } => {
                    drop(reply.send(self.restart_task(&name, task).await))
                }
                Command::Ping { reply } => drop(reply.send(Ok(()))),
                Command::Shutdown { reply } => {
                    self.shutdown().await;
                    let _ = reply.send(Ok(()));
                    return;
                }
            }
        }
        self.shutdown().await;
    }

    /// Checks a configuration and makes the entry of it; nothing has changed yet.
    fn prepare(
        &self,
        name: &str,
        mut config: ConfigMap,
        replace: bool,
    ) -> Result<(Entry, bool), HerderError> {
        match config.get("name") {
            Some(other) if other != name => {
                return Err(HerderError::new(
                    400,
                    format!(
                        "Connector name configuration ({other}) doesn't match connector name in the URL ({name})"
                    ),
                ));
            }
            Some(_) => {}
            None => drop(config.insert("name".to_owned(), name.to_owned())),
        }
        let plugin = connector_config::validate(self.worker.registry(), self.worker.config(), &config)?;
        let existing = self.connectors.get(name);
        if existing.is_some() && !replace {
            return Err(HerderError::new(409, format!("Connector {name} already exists")));
        }
        let entry = Entry {
            config: Arc::new(config),
            plugin,
            target: existing.map_or(TargetState::Started, |entry| entry.target),
            instance: None,
            task_configs: Arc::new([]),
            tasks: Vec::new(),
        };
        Ok((entry, existing.is_none()))
    }

    /// Puts the entry in the place of the running one, which is stopped first.
    async fn store(&mut self, name: &str, mut entry: Entry, initial: Option<TargetState>) {
        self.stop_connector(name).await;
        entry.target = initial.unwrap_or(entry.target);
        self.connectors.insert(name.to_owned(), entry);
        self.worker.statuses().set_connector(name, Status::of(State::Unassigned));
        self.worker.statuses().set_task_count(name, 0);
        self.publish(name);
    }

    fn publish(&self, name: &str) {
        let mut views = self.views.write();
        match self.connectors.get(name) {
            Some(entry) => drop(views.insert(name.to_owned(), entry.view())),
            None => drop(views.shift_remove(name)),
        }
    }

    /// Starts the connector's instance and its tasks, as its target state asks.
    async fn start(&mut self, name: &str) {
        let Some(entry) = self.connectors.get_mut(name) else { return };
        let statuses = self.worker.statuses().clone();
        if entry.target == TargetState::Stopped {
            statuses.set_connector(name, Status::of(State::Stopped));
            return;
        }
        match self.worker.start_connector(&entry.plugin, &entry.config).await {
            Ok((instance, task_configs)) => {
                entry.instance = Some(instance);
                entry.task_configs = task_configs.into();
            }
            Err(error) => {
                tracing::error!(connector = name, "Failed to start connector: {error}");
                statuses.set_connector(name, Status { state: State::Failed, trace: Some(error.trace()) });
                return;
            }
        }
        let paused = entry.target == TargetState::Paused;
        statuses.set_connector(name, Status::of(if paused { State::Paused } else { State::Running }));
        statuses.set_task_count(name, entry.task_configs.len());
        entry.tasks = (0..entry.task_configs.len())
            .map(|task| Some(start_task(&self.worker, name, entry, task)))
            .collect();
        self.publish(name);
    }

    async fn stop_connector(&mut self, name: &str) {
        let Some(entry) = self.connectors.get_mut(name) else { return };
        self.worker.stop_tasks(entry.tasks.drain(..).flatten().collect()).await;
        entry.task_configs = Arc::new([]);
        if let Some(mut instance) = entry.instance.take() {
            instance.stop().await;
        }
    }

    async fn delete(&mut self, name: &str) -> Result<(), HerderError> {
        if !self.connectors.contains_key(name) {
            return Err(HerderError::new(404, format!("Connector {name} not found")));
        }
        self.stop_connector(name).await;
        self.connectors.shift_remove(name);
        self.worker.statuses().remove(name);
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
                self.worker.statuses().set_task_count(name, 0);
                self.worker.statuses().set_connector(name, Status::of(State::Stopped));
            }
            (TargetState::Stopped, _) => self.start(name).await,
            (_, target) => {
                let paused = target == TargetState::Paused;
                entry.tasks.iter().flatten().for_each(|task| task.set_paused(paused));
                if entry.instance.is_some() {
                    let state = if paused { State::Paused } else { State::Running };
                    self.worker.statuses().set_connector(name, Status::of(state));
                }
            }
        }
        self.publish(name);
        Ok(())
    }

    async fn restart(&mut self, name: &str, scope: RestartScope) -> Result<(), HerderError> {
        let unknown = || HerderError::new(404, format!("Unknown connector: {name}"));
        let entry = self.connectors.get(name).ok_or_else(unknown)?;
        let status = self.worker.statuses().get(name).ok_or_else(unknown)?;
        if entry.target == TargetState::Stopped {
            return Ok(());
        }
        let chosen = |status: &Status| !scope.only_failed || status.state == State::Failed;
        if chosen(&status.connector) {
            self.restart_instance(name).await?;
        }
        if scope.include_tasks {
            for (task, status) in status.tasks.iter().enumerate() {
                if chosen(status) {
                    self.restart_task(name, task).await?;
                }
            }
        }
        Ok(())
    }

    /// Restarts the connector's own instance; its tasks are replaced only if their configurations have changed.
    async fn restart_instance(&mut self, name: &str) -> Result<(), HerderError> {
        let Some(entry) = self.connectors.get_mut(name) else { return Ok(()) };
        if let Some(mut instance) = entry.instance.take() {
            instance.stop().await;
        }
        let tasks_before = Arc::clone(&entry.task_configs);
        match self.worker.start_connector(&entry.plugin, &entry.config).await {
            Ok((instance, task_configs)) if task_configs[..] == tasks_before[..] => {
                entry.instance = Some(instance);
                let state = if entry.target == TargetState::Paused { State::Paused } else { State::Running };
                self.worker.statuses().set_connector(name, Status::of(state));
                Ok(())
            }
            Ok((mut instance, _)) => {
                instance.stop().await;
                self.stop_connector(name).await;
                self.start(name).await;
                Ok(())
            }
            Err(error) => {
                self.worker
                    .statuses()
                    .set_connector(name, Status { state: State::Failed, trace: Some(error.trace()) });
                Err(HerderError::new(500, format!("Failed to start connector: {name}")))
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
        self.worker.statuses().set_task(name, task, Status::of(State::Restarting));
        self.worker.stop_tasks(slot.take().into_iter().collect()).await;
        let handle = start_task(&self.worker, name, entry, task);
        entry.tasks[task] = Some(handle);
        Ok(())
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
        task_config: entry.task_configs[task].clone(),
        paused: entry.target == TargetState::Paused,
    })
}
