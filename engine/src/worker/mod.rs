//! The worker: runs connectors and tasks, each task in a tokio task of its own that owns its state.

mod auto_restart;
mod client_config;
mod components;
mod config;
mod config_provider;
mod connector;
pub(crate) mod connector_config;
mod consumed;
mod dead_letters;
mod errors;
mod exactly_once;
mod framework;
mod in_flight;
mod lag;
mod letter_text;
mod offset_stores;
mod offsets;
mod pipeline;
mod report;
mod retry;
mod sender;
mod sink;
mod sink_offsets;
mod source;
mod status;
mod task;
mod topic_creation;
mod topics;
mod try_out;
mod validation;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::{Admin, Client, ClientConfig};
use tokio::sync::{OnceCell, Semaphore};

use crate::connector::{ConfigMap, ConnectError, ConnectorContext, ConnectorPlugin, Registry};
use crate::herder::{ConfigPatch, HerderError};
use crate::loggers::Loggers;

pub use client_config::{OverridePolicy, TaskClient, task_client, worker_client};
pub use config::{ListenerAddress, WorkerConfig, WorkerConfigError};
pub use connector::ConnectorHandle;
pub use exactly_once::{ExactlyOnce, StartGate};
pub use offset_stores::OffsetStores;
pub use report::{ConfigInfo, ConfigReport, Definition};
pub use status::{ConnectorStatus, State, Status, StatusBoard, StatusEntry, StatusListener};
pub use task::{TaskHandle, TaskSpec};
pub use topic_creation::{NewTopicSettings, TopicCreation};

/// How long the root of the REST API waits for the cluster's id before it answers without.
const CLUSTER_ID_WAIT: Duration = Duration::from_secs(3);

/// The worker; clones share it.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// What tasks share of their worker.
pub(crate) struct Shared {
    pub(crate) config: WorkerConfig,
    pub(crate) registry: Registry,
    pub(crate) offsets: OffsetStores,
    pub(crate) statuses: Arc<dyn StatusListener>,
    loggers: Loggers,
    cluster_id: OnceCell<String>,
    asking_cluster_id: Semaphore,
}

impl Worker {
    /// A worker that runs these plugins, keeps source offsets in this store, and reports to this listener.
    pub fn new(
        config: WorkerConfig,
        registry: Registry,
        offsets: impl Into<OffsetStores>,
        statuses: Arc<dyn StatusListener>,
        loggers: Loggers,
    ) -> Worker {
        crate::metrics::install();
        let shared = Shared {
            config,
            registry,
            offsets: offsets.into(),
            statuses,
            loggers,
            cluster_id: OnceCell::new(),
            asking_cluster_id: Semaphore::new(1),
        };
        Worker { shared: Arc::new(shared) }
    }

    /// The worker's settings.
    pub fn config(&self) -> &WorkerConfig {
        &self.shared.config
    }

    /// The plugins.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// The levels of this process's loggers.
    pub fn loggers(&self) -> &Loggers {
        &self.shared.loggers
    }

    /// Checks a connector's configuration; all errors come together. Keys that nothing uses are logged.
    pub async fn validate(&self, config: &ConfigMap) -> Result<Arc<dyn ConnectorPlugin>, HerderError> {
        let raw: ConfigPatch = config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let (plugin, report) = self.check(&raw).await?;
        let errors = report.errors();
        if !errors.is_empty() {
            return Err(HerderError::invalid_config(&errors));
        }
        let name = config.get("name").map(String::as_str).unwrap_or_default();
        report.warnings.iter().for_each(|warning| tracing::warn!(connector = name, "{warning}"));
        Ok(plugin)
    }

    /// Every key of a connector's configuration, with what is wrong with it; a key without a value is wrong.
    pub async fn report(&self, config: &ConfigPatch) -> Result<ConfigReport, HerderError> {
        Ok(self.check(config).await?.1)
    }

    async fn check(
        &self,
        raw: &ConfigPatch,
    ) -> Result<(Arc<dyn ConnectorPlugin>, ConfigReport), HerderError> {
        let given: ConfigMap =
            raw.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        let plugin = validation::plugin(&self.shared.registry, raw)?;
        let providers = &self.shared.config.providers;
        let resolved = providers.resolve(&given).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            HerderError::new(500, format!("{error}{}", cause.unwrap_or_default()))
        })?;
        let mut report = validation::check(plugin, &self.shared.config, raw, &resolved);
        report.hide(&given, &resolved, &providers.secrets(&given));
        Ok((Arc::clone(plugin), report))
    }

    /// The keys of a plugin of any kind, by its full class name; of connectors also by an alias.
    pub fn plugin_definitions(&self, name: &str) -> Option<Vec<Definition>> {
        components::definitions(&self.shared.registry, name)
    }

    /// Class and kind of every transform, predicate and converter.
    pub fn components(&self) -> Vec<(String, &'static str)> {
        components::list()
    }

    /// The Kafka cluster's id, or none while no broker answers.
    pub async fn kafka_cluster_id(&self) -> Option<String> {
        if let Some(id) = self.shared.cluster_id.get() {
            return Some(id.clone());
        }
        // one look-up at a time: others wait for its answer
        let ask = async {
            let _turn = self.shared.asking_cluster_id.acquire().await.ok()?;
            let id = self.shared.cluster_id.get_or_try_init(|| self.ask_cluster_id()).await;
            id.map_err(|error| tracing::debug!("no cluster id: {error}")).ok().cloned()
        };
        tokio::time::timeout(CLUSTER_ID_WAIT, ask).await.ok().flatten()
    }

    async fn ask_cluster_id(&self) -> Result<String, aqueduct_protocol::Error> {
        let properties = worker_client(&self.shared.config.properties, "connect-cluster-id");
        let client = Client::connect(ClientConfig::from_properties(&properties)?).await?;
        Ok(Admin::new(client).cluster_id().await?.unwrap_or_default())
    }

    /// Starts a connector's own instance. A panic of the connector is an error here.
    pub async fn start_connector(
        &self,
        name: &str,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
        context: ConnectorContext,
    ) -> Result<ConnectorHandle, ConnectError> {
        ConnectorHandle::start(&self.shared, name, plugin, config, context).await
    }

    /// Starts a task; the status listener is told how it goes. The connector's own instance may run elsewhere.
    pub fn start_task(&self, spec: TaskSpec) -> TaskHandle {
        task::start(Arc::clone(&self.shared), spec)
    }

    /// Stops tasks together: all get the signal, then as long as `task.shutdown.graceful.timeout.ms` says, then they are cut off.
    pub async fn stop_tasks(&self, tasks: Vec<TaskHandle>) {
        task::stop(tasks, self.shared.config.graceful_timeout).await;
    }
}
