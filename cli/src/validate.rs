//! `aqueduct validate connector.json …`: what a worker would say to connector files, without a worker.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::herder::{ConfigPatch, read_connector, read_properties};
use aqueduct_engine::loggers::Loggers;
use aqueduct_engine::store::FileOffsetStore;
use aqueduct_engine::worker::{StatusBoard, Worker, WorkerConfig};

use crate::Failure;

/// The files.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Connector files: Java properties or JSON
    #[arg(required = true)]
    connectors: Vec<PathBuf>,
    /// The worker's properties file, for its converters, config providers and override policy
    #[arg(long)]
    worker: Option<PathBuf>,
    /// Try the connections to Kafka and to the connector's own system
    #[arg(long)]
    connect: bool,
}

/// Prints every error and every key that nothing uses; fails if there is an error.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let properties = match &arguments.worker {
        Some(path) => read_properties(path)?,
        None => ["key.converter", "value.converter"]
            .map(|key| (key.to_owned(), "org.apache.kafka.connect.json.JsonConverter".to_owned()))
            .into_iter()
            .collect(),
    };
    let worker = worker(properties)?;
    let mut errors = 0;
    for path in &arguments.connectors {
        errors += check(&worker, path, arguments.connect).await?;
    }
    match errors {
        0 => Ok(()),
        1 => Err("1 error".into()),
        errors => Err(format!("{errors} errors").into()),
    }
}

/// A worker that runs nothing; its offset file is not there.
fn worker(properties: ConfigMap) -> Result<Worker, Failure> {
    let offsets = std::env::temp_dir().join(format!("aqueduct-validate-{}", std::process::id()));
    Ok(Worker::new(
        WorkerConfig::from_properties(properties)?,
        aqueduct_connectors::registry(),
        Arc::new(FileOffsetStore::open(offsets)?),
        Arc::new(StatusBoard::new("validate")),
        Loggers::default(),
    ))
}

async fn check(worker: &Worker, path: &Path, connect: bool) -> Result<usize, Failure> {
    let mut out = std::io::stdout().lock();
    let shown = path.display();
    let file = match read_connector(path) {
        Ok(file) => file,
        Err(error) => {
            writeln!(out, "error: {}", crate::chain(&error))?;
            return Ok(1);
        }
    };
    let config: ConfigPatch = file.config.into_iter().map(|(key, value)| (key, Some(value))).collect();
    drop(out);
    let report = match connect {
        true => worker.report_connected(&config).await,
        false => worker.report(&config).await,
    };
    let mut out = std::io::stdout().lock();
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            writeln!(out, "error: {shown}: {error}")?;
            return Ok(1);
        }
    };
    for info in &report.configs {
        for error in &info.errors {
            writeln!(out, "error: {shown}: {}: {error}", info.name)?;
        }
    }
    for warning in &report.warnings {
        writeln!(out, "warning: {shown}: {warning}")?;
    }
    let errors = report.errors().len();
    if errors == 0 {
        writeln!(out, "ok: {shown}: connector {}", file.name)?;
    }
    Ok(errors)
}
