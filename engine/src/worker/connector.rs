//! The instance of a connector: it checks its configuration and splits the work into tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::config_provider::Secrets;
use super::{Shared, config_provider, connector_config, task};
use crate::connector::{ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorPlugin};

/// How long a connector may take to stop before it is left to itself.
const STOP: Duration = Duration::from_secs(5);

/// A running connector's own instance. Whatever it does runs in a task of its own: a panic is an error.
pub struct ConnectorHandle {
    name: Arc<str>,
    plugin: Arc<dyn ConnectorPlugin>,
    /// None after a panic.
    instance: Option<Box<dyn Connector>>,
    raw: Arc<ConfigMap>,
    /// With references to config providers replaced.
    resolved: Arc<ConfigMap>,
    secrets: Secrets,
    /// Tells the herder when a value of a config provider has changed.
    watching: Option<AbortHandle>,
}

impl Drop for ConnectorHandle {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

impl ConnectorHandle {
    pub(super) async fn start(
        shared: &Shared,
        name: &str,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
        context: ConnectorContext,
    ) -> Result<ConnectorHandle, ConnectError> {
        let providers = &shared.config.providers;
        let resolved = Arc::new(providers.resolve(config).await?);
        let secrets = providers.secrets(config);
        let told = context.clone();
        let (mut connector, own) = (plugin.connector(), Arc::clone(&resolved));
        let started = tokio::spawn(async move { connector.start(&own, context).await.map(|()| connector) });
        let instance = started.await.unwrap_or_else(|panic| Err(task::panicked(panic)));
        let instance = instance.map_err(|error| secrets.hide_in(error))?;
        let watcher = providers.watch(vec![(Arc::clone(config), (*resolved).clone())]);
        let watching = watcher.map(|mut watcher| {
            let watch = async move {
                watcher.changed().await;
                told.reload();
            };
            tokio::spawn(watch).abort_handle()
        });
        Ok(ConnectorHandle {
            name: name.into(),
            plugin: Arc::clone(plugin),
            instance: Some(instance),
            raw: Arc::clone(config),
            resolved,
            secrets,
            watching,
        })
    }

    /// The raw configurations of its tasks, at most `tasks.max`: references to config providers are as the user wrote them.
    pub async fn task_configs(&mut self) -> Result<Vec<ConfigMap>, ConnectError> {
        let Some(mut instance) = self.instance.take() else {
            return Err(ConnectError::fatal("the connector has panicked before; restart it"));
        };
        let max_tasks = connector_config::tasks_max(&self.resolved);
        let asked = tokio::spawn(async move {
            let tasks = instance.task_configs(max_tasks);
            (instance, tasks)
        });
        let (instance, tasks) = asked.await.map_err(task::panicked)?;
        self.instance = Some(instance);
        let mut tasks = tasks.map_err(|error| self.secrets.hide_in(error))?;
        if tasks.len() > max_tasks {
            let generated = tasks.len();
            if connector_config::tasks_max_enforced(&self.resolved) {
                return Err(ConnectError::fatal(format!(
                    "The connector {} has generated {generated} tasks, which is greater than {max_tasks}, the maximum number of tasks it is configured to create. This behaviour should be considered a bug and is disallowed. If necessary, it can be permitted by reconfiguring the connector with 'tasks.max.enforce' set to false; however, this option will be removed in a future release of Kafka Connect.",
                    self.name
                )));
            }
            tracing::warn!(connector = &*self.name, "{generated} tasks are more than tasks.max={max_tasks}");
        }
        for task in &mut tasks {
            task.insert("task.class".to_owned(), self.plugin.task_class().to_owned());
            for key in ["topics", "topics.regex"] {
                if let Some(value) = self.resolved.get(key).filter(|_| !task.contains_key(key)) {
                    task.insert(key.to_owned(), value.clone());
                }
            }
            config_provider::put_references_back(task, &self.raw, &self.resolved);
        }
        Ok(tasks)
    }

    /// Ends it, within five seconds.
    pub async fn stop(mut self) {
        let Some(mut instance) = self.instance.take() else { return };
        let stopped = tokio::spawn(async move { instance.stop().await });
        match tokio::time::timeout(STOP, stopped).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => {
                tracing::error!(connector = &*self.name, "stop: {}", task::panicked(panic));
            }
            Err(_) => {
                tracing::warn!(connector = &*self.name, "the connector did not stop within {STOP:?}");
            }
        }
    }
}
