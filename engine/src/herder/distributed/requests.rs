//! Requests, as the actor takes them: the leader writes the config topic, an owner restarts what it runs.

use std::sync::Arc;

use super::actor::{Actor, Answer, Command};
use super::protocol::CONNECTOR_TASK;
use crate::connector::{ConfigMap, ConnectorKind};
use crate::herder::{
    ConnectorView, HerderError, OffsetEntry, PutMode, PutResult, RestartPlan, RestartScope, TargetState,
};
use crate::store::{ConfigRecord, ConnectorConfig, RestartRequest, StoreError};

/// What clients are told when the config topic could not be written.
pub(super) fn not_written(what: &str, error: &StoreError) -> HerderError {
    HerderError::new(500, format!("Error {what} to Kafka: {}", crate::store::chain(error)))
}

fn unknown(name: &str) -> HerderError {
    HerderError::new(404, format!("Unknown connector: {name}"))
}

impl Actor {
    pub(super) async fn take(&mut self, command: Command) {
        match command {
            Command::Put { name, config, mode, answer } => {
                let _ = answer.send(self.put(&name, config, mode).await);
            }
            Command::Delete { name, answer } => drop(answer.send(self.delete(&name).await)),
            Command::Stop { name, answer } => drop(answer.send(self.stop_connector(&name).await)),
            Command::RestartConnector { name, answer } => self.restart_connector(&name, answer).await,
            Command::Restart { name, scope, answer } => drop(answer.send(self.restart(&name, scope).await)),
            Command::RestartTask { name, task, answer } => {
                drop(answer.send(self.restart_task(&name, task).await))
            }
            Command::AlterOffsets { name, offsets, answer } => {
                self.alter_offsets(&name, offsets, answer).await
            }
            Command::Tasks { name, tasks, answer } => drop(answer.send(self.put_tasks(&name, &tasks).await)),
            Command::Fenced { name, generation, answer } => {
                drop(answer.send(self.fenced(&name, generation).await))
            }
            Command::Ping { answer } => drop(answer.send(Ok(()))),
        }
    }

    /// A connector as the config topic has it now.
    fn stored(&self, name: &str) -> Option<Arc<ConnectorConfig>> {
        self.shared.store.snapshot().connector(name).cloned()
    }

    async fn put(&self, name: &Arc<str>, config: ConfigMap, mode: PutMode) -> Result<PutResult, HerderError> {
        self.shared.must_lead()?;
        let existing = self.stored(name);
        if existing.is_some() && mode != PutMode::Replace {
            return Err(HerderError::conflict(format!("Connector {name} already exists")));
        }
        let initial = if let PutMode::Create(initial) = mode { initial } else { None };
        let kind = self.shared.plugin(&config).map(|plugin| plugin.kind());
        let written = self.shared.store.put_connector(name, config.clone(), initial).await;
        written.map_err(|error| not_written("writing connector configuration", &error))?;
        let view = ConnectorView {
            config: Arc::new(config),
            task_configs: existing
                .as_ref()
                .map_or_else(|| Arc::new([]) as _, |entry| Arc::clone(&entry.tasks)),
            target: initial.or(existing.as_ref().map(|entry| entry.target)).unwrap_or(TargetState::Started),
            kind,
        };
        Ok(PutResult { created: existing.is_none(), view })
    }

    async fn delete(&self, name: &Arc<str>) -> Result<(), HerderError> {
        self.shared.must_lead()?;
        self.stored(name).ok_or_else(|| HerderError::not_found(name))?;
        let written = self.shared.store.delete_connector(name).await;
        written.map_err(|error| not_written("removing connector configuration", &error))
    }

    /// No tasks first: a failure between the two leaves a connector that works.
    async fn stop_connector(&self, name: &Arc<str>) -> Result<(), HerderError> {
        self.shared.must_lead()?;
        self.stored(name).ok_or_else(|| HerderError::new(404, format!("Unknown connector {name}")))?;
        let write = async {
            self.shared.store.put_tasks(name, &[]).await?;
            let state = Some(TargetState::Stopped);
            self.shared.store.put(ConfigRecord::Target { connector: Arc::clone(name), state }).await
        };
        write.await.map_err(|error| not_written("writing target state", &error))
    }

    /// Who to ask for what does not run here: the owner, which the leader knows, or the leader.
    fn elsewhere(&self, name: &str, task: i32) -> HerderError {
        let group = self.shared.group.read();
        if !group.leads {
            return HerderError::ask_other(group.leader_url.clone());
        }
        match group.owners.url(name, task) {
            Some(url) if **url != *self.shared.url => HerderError::ask_other(Some(url.to_string())),
            _ => HerderError::conflict(
                "Cannot complete request momentarily due to stale configuration (typically caused by a concurrent config change)",
            ),
        }
    }

    async fn restart_connector(&mut self, name: &Arc<str>, answer: Answer<()>) {
        let Some(connector) = self.stored(name) else {
            return drop(answer.send(Err(unknown(name))));
        };
        match self.work.runner(name) {
            Some(runner) => {
                runner.start(Arc::clone(&connector.config), connector.target, Some(answer)).await;
            }
            None => drop(answer.send(Err(self.elsewhere(name, CONNECTOR_TASK)))),
        }
    }

    async fn restart_task(&mut self, name: &Arc<str>, task: usize) -> Result<(), HerderError> {
        let connector = self.stored(name).ok_or_else(|| unknown(name))?;
        if task >= connector.tasks.len() {
            return Err(HerderError::new(404, format!("Unknown task: {name}-{task}")));
        }
        if !self.work.has_task(name, task) {
            return Err(self.elsewhere(name, i32::try_from(task).unwrap_or(i32::MAX)));
        }
        let config = Arc::clone(&self.config);
        self.work.restart_tasks(name, &[task], &config).await;
        Ok(())
    }

    /// Every worker reads the request in the config topic, and restarts what it runs.
    async fn restart(&self, name: &Arc<str>, scope: RestartScope) -> Result<RestartPlan, HerderError> {
        self.shared.must_lead()?;
        self.stored(name).ok_or_else(|| unknown(name))?;
        let status = self.shared.statuses.get(name);
        let status =
            status.ok_or_else(|| HerderError::new(404, format!("Status for connector {name} not found")))?;
        let request = RestartRequest {
            connector: Arc::clone(name),
            include_tasks: scope.include_tasks,
            only_failed: scope.only_failed,
        };
        let plan = RestartPlan::new(scope, &status);
        let written = self.shared.store.put(ConfigRecord::Restart(request)).await;
        written.map_err(|error| not_written("writing restart request", &error))?;
        Ok(plan)
    }

    async fn put_tasks(&self, name: &Arc<str>, tasks: &[ConfigMap]) -> Result<(), HerderError> {
        self.shared.must_lead()?;
        let connector = self.stored(name).ok_or_else(|| HerderError::not_found(name))?;
        if connector.target == TargetState::Stopped && !tasks.is_empty() {
            return Err(HerderError::new(
                400,
                format!("Cannot submit non-empty set of task configs for stopped connector {name}"),
            ));
        }
        if !self.shared.tasks_differ(name, &connector.config, tasks) {
            return Ok(());
        }
        let written = self.shared.store.put_tasks(name, tasks).await;
        written.map_err(|error| not_written("writing task configurations", &error))
    }

    /// Writes down how many producers the next fencing has to shut out, unless the tasks are others by now.
    async fn fenced(&self, name: &Arc<str>, generation: u64) -> Result<(), HerderError> {
        self.shared.must_lead()?;
        let connector = self.stored(name).ok_or_else(|| HerderError::not_found(name))?;
        if connector.generation != generation {
            return Err(HerderError::conflict(
                "After fencing out zombie source tasks, new task configurations were found; they have to be fenced anew",
            ));
        }
        let record = ConfigRecord::Fencing { connector: Arc::clone(name), tasks: connector.tasks.len() };
        let written = self.shared.store.put(record).await;
        written.map_err(|error| not_written("writing the count of fenced tasks", &error))
    }

    /// The connector and its offsets' store may be slow: the answer comes from a task of its own.
    async fn alter_offsets(
        &self,
        name: &Arc<str>,
        offsets: Option<Vec<OffsetEntry>>,
        answer: Answer<String>,
    ) {
        let checked = async {
            self.shared.must_lead()?;
            let limit = self.shared.settings.sync_timeout;
            let refreshed = self.shared.store.refresh(limit).await;
            refreshed.map_err(|error| HerderError::new(500, crate::store::chain(&error)))?;
            let connector = self.stored(name).ok_or_else(|| HerderError::not_found(name))?;
            if connector.target != TargetState::Stopped || !connector.tasks.is_empty() {
                return Err(HerderError::not_stopped(name));
            }
            let plugin = self.shared.plugin(&connector.config).ok_or_else(|| {
                let registry = self.shared.worker.registry();
                let error = crate::worker::connector_config::unknown_class(registry, &connector.config);
                HerderError::new(500, error.to_string())
            })?;
            Ok((connector, plugin))
        };
        match checked.await {
            Err(error) => drop(answer.send(Err(error))),
            Ok((connector, plugin)) => {
                let (shared, name) = (Arc::clone(&self.shared), Arc::clone(name));
                tokio::spawn(async move {
                    let exactly_once =
                        shared.worker.config().exactly_once_source && plugin.kind() == ConnectorKind::Source;
                    // nothing of the connector writes any more once its offsets are read
                    let fenced = if exactly_once { shared.fence_here(&name).await } else { Ok(()) };
                    let id = exactly_once.then(|| shared.settings.task_transactional_id(&name, 0));
                    let altered = match fenced {
                        Ok(()) => {
                            let config = &connector.config;
                            shared.worker.alter_offsets(&name, &plugin, config, offsets, id.as_deref()).await
                        }
                        Err(error) => Err(error),
                    };
                    let _ = answer.send(altered);
                });
            }
        }
    }
}
