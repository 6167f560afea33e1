//! The worker: runs connectors and tasks, each task in a tokio task of its own that owns its state.

mod client_config;
mod config;
mod config_provider;
pub(crate) mod connector_config;
mod consumed;
mod dead_letters;
mod errors;
mod in_flight;
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

use crate::connector::{ConfigMap, ConnectError, Connector, ConnectorPlugin, Registry};
use crate::store::OffsetStore;

pub use client_config::{OverridePolicy, TaskClient, task_client, worker_client};
pub use config::{WorkerConfig, WorkerConfigError};
pub use status::{ConnectorStatus, State, Status, StatusBoard};
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
    pub(crate) statuses: StatusBoard,
    cluster_id: OnceCell<String>,
    asking_cluster_id: Semaphore,
}

impl Worker {
    /// A worker that runs these plugins and keeps source offsets in this store.
    pub fn new(config: WorkerConfig, registry: Registry, offsets: Arc<dyn OffsetStore>) -> Worker {
        let shared = Shared {
            config,
            registry,
            offsets,
            statuses: StatusBoard::default(),
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

    /// The statuses of connectors and tasks.
    pub fn statuses(&self) -> &StatusBoard {
        &self.shared.statuses
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

    /// Starts a connector's own instance and asks it for its tasks. A panic of the connector is an error here.
    pub(crate) async fn start_connector(
        &self,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
    ) -> Result<(Box<dyn Connector>, Vec<ConfigMap>), ConnectError> {
        let (plugin, raw) = (Arc::clone(plugin), Arc::clone(config));
        let config = self.shared.config.providers.resolve(&raw)?;
        let started = tokio::spawn(async move {
            let mut connector = plugin.connector();
            connector.start(&config).await?;
            let max_tasks = connector_config::tasks_max(&config);
            let mut tasks = connector.task_configs(max_tasks)?;
            if tasks.len() > max_tasks {
                return Err(ConnectError::fatal(format!(
                    "The connector generated {} tasks, which is greater than tasks.max={max_tasks}",
                    tasks.len()
                )));
            }
            for task in &mut tasks {
                task.insert("task.class".to_owned(), plugin.task_class().to_owned());
                for key in ["topics", "topics.regex"] {
                    if let Some(value) = config.get(key).filter(|_| !task.contains_key(key)) {
                        task.insert(key.to_owned(), value.clone());
                    }
                }
                config_provider::put_references_back(task, &raw, &config);
            }
            Ok((connector, tasks))
        });
        started.await.unwrap_or_else(|panic| Err(task::panicked(panic)))
    }

    /// Starts a task; its status tells how it goes.
    pub(crate) fn start_task(&self, spec: TaskSpec) -> TaskHandle {
        task::start(Arc::clone(&self.shared), spec)
    }

    /// Stops tasks together: all get the signal, then as long as `task.shutdown.graceful.timeout.ms` says, then they are cut off.
    pub(crate) async fn stop_tasks(&self, tasks: Vec<TaskHandle>) {
        task::stop(tasks, self.shared.config.graceful_timeout).await;
    }
}
