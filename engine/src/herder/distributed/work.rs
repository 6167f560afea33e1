//! What this worker runs: the instances of connectors and the tasks that the group has given it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::exactly_once;
use super::protocol::{CONNECTOR_TASK, Items};
use super::runner::Runner;
use super::shared::Shared;
use crate::connector::{ConfigMap, ConnectorKind};
use crate::herder::TargetState;
use crate::store::{ClusterConfig, ConnectorConfig};
use crate::worker::{Status, StatusListener as _, TaskHandle, TaskSpec, connector_config};

/// A connector's name and the number of a task, or [`CONNECTOR_TASK`].
pub(super) type Item = (Arc<str>, i32);

/// Owned is what the group has given; of that runs what is configured.
pub(super) struct Work {
    shared: Arc<Shared>,
    pub(super) owned: BTreeSet<Item>,
    runners: HashMap<Arc<str>, Runner>,
    tasks: HashMap<Item, Option<TaskHandle>>,
}

impl Work {
    pub(super) fn new(shared: &Arc<Shared>) -> Work {
        Work {
            shared: Arc::clone(shared),
            owned: BTreeSet::new(),
            runners: HashMap::new(),
            tasks: HashMap::new(),
        }
    }

    /// What is owned, as the group is told of it.
    pub(super) fn allocation(&self) -> Items {
        Items::collect(self.owned.iter().cloned())
    }

    /// The runner of a connector, if it runs here.
    pub(super) fn runner(&self, name: &str) -> Option<&Runner> {
        self.runners.get(name)
    }

    /// Whether a task runs here.
    pub(super) fn has_task(&self, name: &Arc<str>, task: usize) -> bool {
        self.tasks.contains_key(&(Arc::clone(name), task as i32))
    }

    /// Starts everything owned that does not run and is configured.
    pub(super) async fn start(&mut self, config: &ClusterConfig) {
        for (name, task) in &self.owned {
            let Some(connector) = config.connector(name) else { continue };
            if *task == CONNECTOR_TASK {
                if !self.runners.contains_key(name) {
                    let runner = Runner::new(&self.shared, name);
                    runner.start(Arc::clone(&connector.config), connector.target, None).await;
                    self.runners.insert(Arc::clone(name), runner);
                }
                continue;
            }
            let item = (Arc::clone(name), *task);
            if !self.tasks.contains_key(&item)
                && let Some(task_config) = connector.tasks.get(*task as usize)
            {
                let handle = start_task(&self.shared, &item, connector, task_config.clone());
                self.tasks.insert(item, handle);
            }
        }
    }

    /// Stops these instances, all at once, and waits for that within the graceful time. They stay owned.
    pub(super) async fn stop(&mut self, items: impl IntoIterator<Item = Item>) {
        let (mut runners, mut tasks) = (Vec::new(), Vec::new());
        for item in items {
            if item.1 == CONNECTOR_TASK {
                runners.extend(self.runners.remove(&item.0));
            } else {
                tasks.extend(self.tasks.remove(&item).flatten());
            }
        }
        let stopping: Vec<_> = runners.into_iter().map(|runner| tokio::spawn(runner.stop())).collect();
        let began = tokio::time::Instant::now();
        self.shared.worker.stop_tasks(tasks).await;
        let tasks_ms = began.elapsed().as_millis() as u64;
        for runner in stopping {
            let _ = runner.await;
        }
        tracing::debug!(tasks_ms, all_ms = began.elapsed().as_millis() as u64, "stopped");
    }

    /// Stops everything that runs, and owns nothing any more.
    pub(super) async fn stop_all(&mut self) {
        let connectors = self.runners.keys().map(|name| (Arc::clone(name), CONNECTOR_TASK));
        let items: Vec<Item> = connectors.chain(self.tasks.keys().cloned()).collect();
        self.stop(items).await;
        self.owned.clear();
    }

    /// The numbers of a connector's tasks that run here.
    fn tasks_of(&self, name: &str) -> Vec<Item> {
        self.tasks.keys().filter(|(connector, _)| **connector == *name).cloned().collect()
    }

    /// Stops the tasks of connectors whose task configurations are others now. O(tasks that run here).
    pub(super) async fn stop_tasks_of(&mut self, names: &BTreeSet<Arc<str>>) {
        let items: Vec<Item> = self.tasks.keys().filter(|(name, _)| names.contains(name)).cloned().collect();
        self.stop(items).await;
    }

    /// Stops everything of connectors that are gone.
    pub(super) async fn stop_connectors(&mut self, names: &BTreeSet<Arc<str>>) {
        let connectors = names.iter().map(|name| (Arc::clone(name), CONNECTOR_TASK));
        let tasks = self.tasks.keys().filter(|(name, _)| names.contains(name)).cloned();
        let items: Vec<Item> = connectors.chain(tasks).collect();
        self.stop(items).await;
    }

    /// Follows a target state.
    pub(super) async fn set_target(&self, name: &Arc<str>, target: TargetState) {
        if let Some(runner) = self.runners.get(name) {
            runner.set_target(target).await;
        }
        for item in self.tasks_of(name) {
            if let Some(Some(task)) = self.tasks.get(&item) {
                task.set_paused(target != TargetState::Started);
            }
        }
    }

    /// Starts tasks of a connector anew; those that do not run here are left out.
    pub(super) async fn restart_tasks(&mut self, name: &Arc<str>, tasks: &[usize], config: &ClusterConfig) {
        let item = |task: &usize| (Arc::clone(name), *task as i32);
        let items: Vec<Item> = tasks.iter().map(item).filter(|item| self.tasks.contains_key(item)).collect();
        let version = config.connector(name).and_then(|connector| self.shared.plugin(&connector.config));
        for (name, task) in &items {
            let version = version.as_ref().map(|plugin| plugin.version());
            let status = Status { state: crate::worker::State::Restarting, trace: None, version };
            self.shared.statuses.task(name, *task as usize, status);
        }
        self.stop(items).await;
        self.start(config).await;
    }
}

/// Starts a task, or tells why it can't be: then it has no handle.
fn start_task(
    shared: &Arc<Shared>,
    (name, task): &Item,
    connector: &ConnectorConfig,
    task_config: ConfigMap,
) -> Option<TaskHandle> {
    let Some(plugin) = shared.plugin(&connector.config) else {
        let error = connector_config::unknown_class(shared.worker.registry(), &connector.config);
        tracing::error!(connector = &**name, task, "Failed to start task: {error}");
        let status =
            Status { state: crate::worker::State::Failed, trace: Some(error.trace()), version: None };
        shared.statuses.task(name, *task as usize, status);
        return None;
    };
    let exactly_once = (plugin.kind() == ConnectorKind::Source)
        .then(|| exactly_once::of_task(shared, name, *task as usize, connector.generation))
        .flatten();
    Some(shared.worker.start_task(TaskSpec {
        connector: Arc::clone(name),
        task: *task as usize,
        plugin,
        connector_config: Arc::clone(&connector.config),
        task_config: Arc::new(task_config),
        paused: connector.target != TargetState::Started,
        exactly_once,
    }))
}
