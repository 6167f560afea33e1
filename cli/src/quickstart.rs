//! `aqueduct quickstart`: a broker, a worker and a flow in one process, to look at. The flow is a growing file's, or a database's.

mod files;
mod postgres;
mod progress;

use std::path::PathBuf;

use aqueduct_broker::{Broker, BrokerConfig};
use aqueduct_engine::connector::ConfigMap;
use aqueduct_engine::herder::ConnectorFile;
use aqueduct_engine::worker::{State, WorkerConfig};

use crate::signals::Shutdown;
use crate::standalone::Running;
use crate::{Failure, logging};

const SOURCE: &str = "quickstart-source";
const SINK: &str = "quickstart-sink";

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Show each change of this PostgreSQL database as it happens: postgres://USER:PASSWORD@HOST:PORT/DATABASE; without a
    /// password that of PGPASSWORD is taken
    #[arg(long, value_name = "URL", conflicts_with_all = ["bootstrap_servers", "records", "rate"])]
    postgres: Option<String>,
    /// With --postgres: only these tables, as SCHEMA.TABLE, regular expressions allowed
    #[arg(long, value_name = "NAME,…", requires = "postgres")]
    tables: Option<String>,
    /// With --postgres: the rows that are there first, then the changes
    #[arg(long, requires = "postgres")]
    snapshot: bool,
    /// Use this Kafka cluster instead of an embedded broker
    #[arg(long, value_name = "HOST:PORT,…")]
    bootstrap_servers: Option<String>,
    /// Lines written to the input file per second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// End after so many records have arrived
    #[arg(long)]
    records: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Port of the REST API; 0 takes a free one
    #[arg(long, default_value_t = 8083)]
    rest_port: u16,
}

/// The files of the flow; the folder goes away with it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make() -> std::io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("aqueduct-quickstart-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs until a bound of the arguments or a signal.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let database = arguments.postgres.as_deref().map(postgres::Database::parse).transpose()?;
    let loggers = logging::start(logging::Default::Warn);
    let mut shutdown = Shutdown::listen()?;
    let folder = Folder::make()?;
    let (broker, bootstrap) = match &arguments.bootstrap_servers {
        Some(bootstrap) => (None, bootstrap.clone()),
        None => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.addr().to_string();
            (Some(broker), address)
        }
    };
    let topic = files::topic(broker.is_some());
    let worker = start_worker(&arguments, &folder, &bootstrap, loggers, &shutdown).await?;
    let flow = async {
        match &database {
            Some(database) => postgres::run(&arguments, database, &worker).await,
            None => files::run(&arguments, &folder, &worker, &bootstrap, &topic).await,
        }
    };
    let result = tokio::select! {
        result = flow => result,
        () = shutdown.requested() => Ok(()),
    };
    println!("\nstopping and cleaning up");
    worker.herder.shutdown().await;
    match broker {
        Some(broker) => broker.shutdown().await,
        None => files::clean_up(&bootstrap, &topic).await,
    }
    if let Some(database) = &database {
        database.say_what_is_left();
    }
    result
}

async fn start_worker(
    arguments: &Arguments,
    folder: &Folder,
    bootstrap: &str,
    loggers: aqueduct_engine::loggers::Loggers,
    shutdown: &Shutdown,
) -> Result<Running, Failure> {
    let taken = std::net::TcpListener::bind(("127.0.0.1", arguments.rest_port)).is_err();
    let port = if taken { 0 } else { arguments.rest_port };
    let properties = properties(&[
        ("bootstrap.servers", bootstrap),
        ("listeners", &format!("http://127.0.0.1:{port}")),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("offset.storage.file.filename", &folder.path.join("offsets").to_string_lossy()),
        ("offset.flush.interval.ms", "1000"),
        ("producer.linger.ms", "5"),
    ]);
    let config = WorkerConfig::from_properties(properties)?;
    Running::start(config, aqueduct_connectors::registry(), loggers, shutdown).await
}

fn properties(entries: &[(&str, &str)]) -> ConfigMap {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn connector(config: ConfigMap) -> ConnectorFile {
    ConnectorFile { name: config["name"].clone(), config, initial_state: None }
}

/// The first task or connector that has failed, as an error.
fn failed_task(worker: &Running) -> Result<(), Failure> {
    for connector in [SOURCE, SINK] {
        let Some(status) = worker.herder.status(connector) else { continue };
        let failed = std::iter::once(&status.connector)
            .chain(status.tasks.values())
            .find(|status| status.state == State::Failed);
        if let Some(failed) = failed {
            return Err(format!(
                "{connector} has failed: {}",
                failed.trace.as_deref().unwrap_or_default().trim()
            )
            .into());
        }
    }
    Ok(())
}
