//! A growing file → a topic → two transforms → another file, with live rates.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_engine::herder::ConnectorFile;
use aqueduct_protocol::client::{Admin, Client, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Arguments, Folder, SINK, SOURCE, connector, failed_task, properties};
use crate::Failure;
use crate::standalone::Running;

const TOPIC: &str = "aqueduct-quickstart";
/// How often the rates are shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How often lines are appended to the input.
const TICK: Duration = Duration::from_millis(50);
/// How long cleaning up on a foreign cluster may take.
const CLEAN_UP: Duration = Duration::from_secs(5);

fn input(folder: &Folder) -> PathBuf {
    folder.path.join("orders.jsonl")
}

fn output(folder: &Folder) -> PathBuf {
    folder.path.join("masked.txt")
}

/// The flow's topic: on a cluster of somebody else's one that is ours alone.
pub(super) fn topic(own_broker: bool) -> String {
    if own_broker { TOPIC.to_owned() } else { format!("{TOPIC}-{}", std::process::id()) }
}

/// Runs the flow until a bound of the arguments is met.
pub(super) async fn run(
    arguments: &Arguments,
    folder: &Folder,
    worker: &Running,
    bootstrap: &str,
    topic: &str,
) -> Result<(), Failure> {
    std::fs::write(output(folder), "")?;
    let written = Arc::new(AtomicU64::new(0));
    let mut writer = tokio::task::JoinSet::new();
    writer.spawn(write_orders(input(folder), arguments.rate, arguments.records, Arc::clone(&written)));
    worker.create(connectors(folder, topic)).await?;
    introduce(folder, bootstrap, topic, worker);
    show_rates(arguments, folder, worker, &written).await
}

fn connectors(folder: &Folder, topic: &str) -> Vec<ConnectorFile> {
    let source = properties(&[
        ("name", SOURCE),
        ("connector.class", "FileStreamSource"),
        ("file", &input(folder).to_string_lossy()),
        ("topic", topic),
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.default.replication.factor", "-1"),
    ]);
    let sink = properties(&[
        ("name", SINK),
        ("connector.class", "FileStreamSink"),
        ("file", &output(folder).to_string_lossy()),
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
    vec![connector(source), connector(sink)]
}

fn introduce(folder: &Folder, bootstrap: &str, topic: &str, worker: &Running) {
    let rest = &worker.addresses;
    let input = input(folder);
    println!("A file that grows  {}", input.display());
    println!("  → topic          {topic} on {bootstrap}");
    println!("  → InsertField, MaskField");
    println!("  → another file   {}", output(folder).display());
    println!("\nThree commands to try next, in another terminal:");
    println!("  tail -n 3 {}", output(folder).display());
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
        let (lines, rows) = (written.load(Ordering::Relaxed), arrived.count(&output(folder)).await?);
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

/// Deletes topic and group from a cluster of somebody else's.
pub(super) async fn clean_up(bootstrap: &str, topic: &str) {
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
