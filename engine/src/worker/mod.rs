//! The worker: runs connectors and tasks, each task in a tokio task of its own that owns its state.

mod client_config;
mod config;
mod config_provider;
mod connector;
pub(crate) mod connector_config;
mod consumed;
mod dead_letters;
mod errors;
mod in_flight;
mod offsets;
mod pipeline;
mod sink;
mod source;
mod status;
mod task;
mod topic_creation;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::{Admin, Client, ClientConfig};
use tokio::sync::{OnceCell, Semaphore};

use crate::connector::{ConfigMap, ConnectError, ConnectorContext, ConnectorPlugin, Registry};
use crate::herder::HerderError;
use crate::loggers::Loggers;
use crate::store::OffsetStore;

pub use client_config::{OverridePolicy, TaskClient, task_client, worker_client};
pub use config::{WorkerConfig, WorkerConfigError};
pub use connector::ConnectorHandle;
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
    pub(crate) offsets: Arc<dyn OffsetStore>,
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
        offsets: Arc<dyn OffsetStore>,
        statuses: Arc<dyn StatusListener>,
        loggers: Loggers,
    ) -> Worker {
        let shared = Shared {
            config,
            registry,
            offsets,
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

    /// Checks a connector's configuration; all errors come together.
    pub async fn validate(&self, config: &ConfigMap) -> Result<Arc<dyn ConnectorPlugin>, HerderError> {
        connector_config::validate(&self.shared.registry, &self.shared.config, config)
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
