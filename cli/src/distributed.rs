//! `aqueduct distributed worker.properties`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aqueduct_engine::herder::{DistributedHerder, Herder, read_properties};
use aqueduct_engine::worker::WorkerConfig;

use crate::listeners::Listeners;
use crate::signals::Shutdown;
use crate::{Failure, logging};

/// The file.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The worker's properties file, as of the JVM's connect-distributed
    worker: PathBuf,
}

/// Runs until a signal.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let loggers = logging::start(logging::Default::Info);
    let mut shutdown = Shutdown::listen()?;
    let properties = read_properties(&arguments.worker)?;
    let mut config = WorkerConfig::from_properties(properties)
        .map_err(|error| format!("{}: {error}", arguments.worker.display()))?;
    let listeners = Listeners::bind(&mut config).await?;
    let worker_id: Arc<str> = Arc::from(config.advertised.as_str());
    let registry = aqueduct_connectors::registry();
    let start = DistributedHerder::start(config, registry, loggers);
    let herder = tokio::select! {
        started = start => started.map_err(|error| match error.to_string() {
            text if text.starts_with("Missing") || text.starts_with("Invalid") => {
                Failure::from(format!("{}: {text}", arguments.worker.display()))
            }
            _ => error.into(),
        })?,
        () = shutdown.requested() => return Ok(()),
    };
    let herder: Arc<dyn Herder> = Arc::new(herder);
    let addresses = listeners.serve(&herder, &worker_id, &shutdown);
    tracing::info!(millis = begun.elapsed().as_millis() as u64, "REST is answering on {addresses}");
    shutdown.requested().await;
    tracing::info!("stopping: flushing and committing; a second signal stops at once");
    herder.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}
