//! `aqueduct standalone worker.properties connector1.properties connector2.json …`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aqueduct_engine::connector::Registry;
use aqueduct_engine::herder::{
    ConnectorFile, Herder, PutMode, StandaloneHerder, read_connector, read_properties,
};
use aqueduct_engine::loggers::Loggers;
use aqueduct_engine::store::FileOffsetStore;
use aqueduct_engine::worker::{StatusBoard, Worker, WorkerConfig};

use crate::listeners::{Addresses, Listeners};
use crate::signals::Shutdown;
use crate::{Failure, logging};

/// The files.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The worker's properties file, as of the JVM's connect-standalone
    worker: PathBuf,
    /// Connector files: Java properties or JSON
    connectors: Vec<PathBuf>,
}

/// Runs until a signal.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let loggers = logging::start(logging::Default::Info);
    let mut shutdown = Shutdown::listen()?;
    let properties = read_properties(&arguments.worker)?;
    let config = WorkerConfig::from_properties(properties)
        .map_err(|error| format!("{}: {error}", arguments.worker.display()))?;
    let connectors =
        arguments.connectors.iter().map(|path| read_connector(path)).collect::<Result<Vec<_>, _>>()?;
    let worker = Running::start(config, aqueduct_connectors::registry(), loggers, &shutdown).await?;
    tracing::info!(millis = begun.elapsed().as_millis() as u64, "REST is answering on {}", worker.addresses);
    worker.create(connectors).await?;
    shutdown.requested().await;
    tracing::info!("stopping: flushing and committing; a second signal stops at once");
    worker.herder.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// A worker with its herder and REST.
pub(crate) struct Running {
    pub(crate) herder: Arc<dyn Herder>,
    pub(crate) addresses: Addresses,
}

impl Running {
    /// Binds the listeners first, so that REST answers while connectors start.
    pub(crate) async fn start(
        mut config: WorkerConfig,
        registry: Registry,
        loggers: Loggers,
        shutdown: &Shutdown,
    ) -> Result<Running, Failure> {
        let listeners = Listeners::bind(&mut config).await?;
        let offsets = FileOffsetStore::open(config.offset_file()?)?;
        let worker_id: Arc<str> = Arc::from(config.advertised.as_str());
        let statuses = StatusBoard::new(&worker_id);
        let board = Arc::new(statuses.clone());
        let worker = Worker::new(config, registry, Arc::new(offsets), board, loggers);
        let herder: Arc<dyn Herder> = Arc::new(StandaloneHerder::start(worker, statuses));
        let addresses = listeners.serve(&herder, &worker_id, shutdown);
        Ok(Running { herder, addresses })
    }

    /// Creates the connectors of the command line; the first that is refused ends the program, as in the JVM.
    pub(crate) async fn create(&self, connectors: Vec<ConnectorFile>) -> Result<(), Failure> {
        for connector in connectors {
            let ConnectorFile { name, config, initial_state } = connector;
            let created = self.herder.put(&name, config, PutMode::Create(initial_state)).await;
            created.map_err(|error| format!("connector {name}: {error}"))?;
            tracing::info!(connector = name, "Created connector {name}");
        }
        Ok(())
    }
}
