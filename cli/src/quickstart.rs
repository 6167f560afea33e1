//! `aqueduct quickstart`: a growing file → a topic → two transforms → another file, in one process, with live rates.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_broker::{Broker, BrokerConfig, BrokerHandle};
use aqueduct_engine::connector::ConfigMap;
use aqueduct_engine::herder::ConnectorFile;
use aqueduct_engine::worker::{State, WorkerConfig};
use aqueduct_protocol::client::{Admin, Client, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::signals::Shutdown;
use crate::standalone::Running;
use crate::{Failure, logging};

const SOURCE: &str = "quickstart-source";
const SINK: &str = "quickstart-sink";
const TOPIC: &str = "aqueduct-quickstart";
/// How often the rates are shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How often lines are appended to the input.
const TICK: Duration = Duration::from_millis(50);
/// How long cleaning up on a foreign cluster may take.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Arguments {
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

    fn input(&self) -> PathBuf {
        self.path.join("orders.jsonl")
    }

    fn output(&self) -> PathBuf {
        self.path.join("masked.txt")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs until a bound of the arguments or a signal.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let loggers = logging::start(logging::Default::Warn);
    let mut shutdown = Shutdown::listen()?;
    let folder = Folder::make()?;
    std::fs::write(folder.output(), "")?;
    let (broker, bootstrap) = match &arguments.bootstrap_servers {
        Some(bootstrap) => (None, bootstrap.clone()),
        None => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.addr().to_string();
            (Some(broker), address)
        }
    };
    // on a cluster of somebody else's the topic must be ours alone
    let topic = if broker.is_some() { TOPIC.to_owned() } else { format!("{TOPIC}-{}", std::process::id()) };
    let worker = start_worker(&arguments, &folder, &bootstrap, loggers, &shutdown).await?;
    let written = Arc::new(AtomicU64::new(0));
    let writer =
        tokio::spawn(write_orders(folder.input(), arguments.rate, arguments.records, Arc::clone(&written)));
    worker.create(connectors(&folder, &topic)).await?;
    introduce(&folder, &bootstrap, &topic, &worker);
    let result = tokio::select! {
        result = show_rates(&arguments, &folder, &worker, &written) => result,
        () = shutdown.requested() => Ok(()),
    };
    writer.abort();
    println!("\nstopping and cleaning up");
    worker.herder.shutdown().await;
    clean_up(broker, &bootstrap, &topic).await;
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

fn connectors(folder: &Folder, topic: &str) -> Vec<ConnectorFile> {
    let source = properties(&[
        ("name", SOURCE),
        ("connector.class", "FileStreamSource"),
        ("file", &folder.input().to_string_lossy()),
        ("topic", topic),
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.default.replication.factor", "-1"),
    ]);
    let sink = properties(&[
        ("name", SINK),
        ("connector.class", "FileStreamSink"),
        ("file", &folder.output().to_string_lossy()),
        ("topics", topic),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
        ("transforms", "origin,mask"),
        ("transforms.origin.type", "org.apache.kafka.connect.transforms.InsertField$Value"),
        ("transforms.origin.offset.field", "kafka_offset"),
        ("transforms.mask.type", "org.apache.kafka.connect.transforms.MaskField$Value"),
        ("transforms.mask.fields", "card"),
        ("transforms.mask.replacement", "****"),
    ]);
    let file =
        |config: ConfigMap| ConnectorFile { name: config["name"].clone(), config, initial_state: None };
    vec![file(source), file(sink)]
}

fn introduce(folder: &Folder, bootstrap: &str, topic: &str, worker: &Running) {
    let rest = &worker.addresses;
    let input = folder.input();
    println!("A file that grows  {}", input.display());
    println!("  → topic          {topic} on {bootstrap}");
    println!("  → InsertField, MaskField");
    println!("  → another file   {}", folder.output().display());
    println!("\nThree commands to try next, in another terminal:");
    println!("  tail -n 3 {}", folder.output().display());
    println!("  curl -s '{rest}/connectors?expand=status'");
    println!("  curl -s -X PUT {rest}/connectors/{SINK}/pause     # and …/resume\n");
}

/// Appends made-up orders at the rate, up to the number of records.
async fn write_orders(
    path: PathBuf,
    rate: u64,
    records: Option<u64>,
    written: Arc<AtomicU64>,
) -> std::io::Result<()> {
    const CUSTOMERS: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Tony"];
    let mut file = tokio::fs::OpenOptions::new().append(true).create(true).open(path).await?;
    let begun = Instant::now();
    let mut lines = Vec::new();
    let mut next = 0;
    while records.is_none_or(|records| next < records) {
        let due = (begun.elapsed().as_millis() as u64 * rate / 1000).min(records.unwrap_or(u64::MAX));
        lines.clear();
        for id in next..due {
            let customer = CUSTOMERS[(id % 5) as usize];
            let (card, amount) = (4929_0000_0000_0000 + id * 7919 % 1_0000_0000_0000, id * 37 % 10_000);
            writeln!(
                lines,
                r#"{{"id":{id},"customer":"{customer}","card":"{card}","amount":{}.{:02}}}"#,
                amount / 100,
                amount % 100
            )?;
        }
        file.write_all(&lines).await?;
        file.flush().await?;
        next = due.max(next);
        written.store(next, Ordering::Relaxed);
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

/// Shows how much was written and has arrived, each second, until a bound is met.
async fn show_rates(
    arguments: &Arguments,
    folder: &Folder,
    worker: &Running,
    written: &AtomicU64,
) -> Result<(), Failure> {
    let terminal = std::io::stdout().is_terminal();
    let mut arrived = Arrived::default();
    let (begun, mut last) = (Instant::now(), (Instant::now(), 0, 0));
    loop {
        tokio::time::sleep(if arguments.records.is_some() { SHOW_EVERY / 10 } else { SHOW_EVERY }).await;
        failed_task(worker)?;
        let (lines, rows) = (written.load(Ordering::Relaxed), arrived.count(&folder.output()).await?);
        let done = arguments.records.is_some_and(|records| rows >= records);
        let over = arguments.duration.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds));
        let seconds = last.0.elapsed().as_secs_f64();
        if seconds >= SHOW_EVERY.as_secs_f64() || done || over {
            let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
            let (start, end) = if terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
            print!(
                "{start}written {lines} lines ({:.0}/s) · arrived {rows} rows ({:.0}/s) · on the way {}{end}",
                rate(lines, last.1),
                rate(rows, last.2),
                lines.saturating_sub(rows),
            );
            std::io::stdout().flush()?;
            last = (Instant::now(), lines, rows);
        }
        if done || over {
            return Ok(());
        }
    }
}

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

/// Counts the lines of a growing file, each byte once.
#[derive(Default)]
struct Arrived {
    file: Option<tokio::fs::File>,
    rows: u64,
    buffer: Vec<u8>,
}

impl Arrived {
    async fn count(&mut self, path: &Path) -> std::io::Result<u64> {
        const CHUNK: usize = 64 * 1024;
        let file = match &mut self.file {
            Some(file) => file,
            slot => slot.insert(tokio::fs::File::open(path).await?),
        };
        self.buffer.resize(CHUNK, 0);
        loop {
            let read = file.read(&mut self.buffer).await?;
            if read == 0 {
                return Ok(self.rows);
            }
            self.rows += self.buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
}

/// An embedded broker goes with all it holds; on another cluster the topic and the group are deleted.
async fn clean_up(broker: Option<BrokerHandle>, bootstrap: &str, topic: &str) {
    if let Some(broker) = broker {
        return broker.shutdown().await;
    }
    let delete = async {
        let config = properties(&[("bootstrap.servers", bootstrap), ("client.id", "aqueduct-quickstart")]);
        let admin = Admin::new(Client::connect(ClientConfig::from_properties(&config)?).await?);
        admin.delete_topics(&[topic]).await?;
        admin.delete_group(&format!("connect-{SINK}")).await
    };
    match tokio::time::timeout(CLEAN_UP, delete).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => eprintln!(
            "aqueduct: the topic {topic} or the group connect-{SINK} is left on {bootstrap}: {error}"
        ),
        Err(_) => eprintln!(
            "aqueduct: {bootstrap} did not answer; the topic {topic} and the group connect-{SINK} are left there"
        ),
    }
}
