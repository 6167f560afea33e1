//! The embedded broker against clients that others wrote: kcat (librdkafka), Kafka's Java clients and tools, JVM Connect.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use aqueduct_broker::{Broker, BrokerConfig, BrokerHandle};

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the tests with tests/run"))
}

async fn start(config: BrokerConfig) -> (BrokerHandle, String) {
    let broker = Broker::start(config).await.unwrap();
    let addr = broker.addr().to_string();
    (broker, addr)
}

fn on_disk(dir: &Path) -> BrokerConfig {
    BrokerConfig { data_dir: Some(dir.to_owned()), ..BrokerConfig::default() }
}

/// Runs a program to its end with `input`; panics with everything it said when it fails.
async fn run(mut command: Command, input: Vec<u8>) -> String {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take();
        let writer = std::thread::spawn(move || stdin.take().map(|mut s| s.write_all(&input)));
        let output = child.wait_with_output();
        let _ = writer.join();
        output
    });
    let Output { status, stdout, stderr } = output.await.unwrap().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{shown}\n{out}\n{err}");
    out.into_owned()
}

fn kcat(addr: &str, args: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", addr]).args(args);
    command
}

/// A Java program with Kafka's classes. One compiler tier and the simplest collector start fastest.
fn java(args: &[&str]) -> Command {
    let mut command = Command::new("java");
    command.args([
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xshare:auto",
        "-Dlog4j2.level=error",
        "-cp",
    ]);
    command.arg(format!("{}/*", env("AQ_KAFKA_JARS"))).args(args);
    command
}

async fn gates(addr: &str, transaction_version: &str, which: &[&str]) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/Gates.java");
    let mut args = vec![source, addr, transaction_version];
    args.extend(which);
    let out = run(java(&args), Vec::new()).await;
    assert!(out.contains("ALL GATES PASSED"), "{out}");
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("line {n}\n")).collect()
}

async fn produce(addr: &str, topic: &str, text: String) {
    run(kcat(addr, &["-P", "-t", topic]), text.into_bytes()).await;
}

async fn consume(addr: &str, topic: &str) -> String {
    run(kcat(addr, &["-C", "-q", "-e", "-t", topic, "-X", "isolation.level=read_committed"]), Vec::new())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_lists_produces_and_consumes() {
    let (broker, addr) = start(BrokerConfig::default()).await;
    produce(&addr, "plain", lines(0, 5000)).await;
    assert!(run(kcat(&addr, &["-L"]), Vec::new()).await.contains("topic \"plain\" with 1 partitions"));
    assert_eq!(consume(&addr, "plain").await, lines(0, 5000));
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        run(kcat(&addr, &["-P", "-t", codec, "-z", codec]), lines(0, 1000).into_bytes()).await;
        assert_eq!(consume(&addr, codec).await, lines(0, 1000), "{codec}");
    }
    for setting in ["acks=0", "acks=1", "enable.idempotence=true", "transactional.id=kcat"] {
        let topic = setting.replace('=', "-");
        run(kcat(&addr, &["-P", "-t", &topic, "-X", setting]), lines(0, 1000).into_bytes()).await;
        // Without acknowledgement kcat may end before the broker has read everything.
        until(setting, 10, async || consume(&addr, &topic).await == lines(0, 1000)).await;
    }
    let group = run(kcat(&addr, &["-q", "-e", "-o", "beginning", "-G", "kcat", "plain"]), Vec::new()).await;
    assert_eq!(group, lines(0, 5000));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_survive_a_death_and_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, addr) = start(on_disk(dir.path())).await;
    let second = Broker::start(on_disk(dir.path())).await;
    assert!(matches!(second, Err(aqueduct_broker::BrokerError::InUse { .. })), "one broker a folder");
    produce(&addr, "kept", lines(0, 2000)).await;
    produce(&addr, "gone", lines(0, 10)).await;
    // Dropped, not shut down: nothing is synced or noted, as after kill -9.
    drop(broker);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let segment = dir.path().join("logs/kept-0/00000000000000000000.log");
    let whole = std::fs::read(&segment).unwrap();
    let mut torn = std::fs::OpenOptions::new().append(true).open(&segment).unwrap();
    torn.write_all(&whole[..whole.len().min(100) - 1]).unwrap();
    let journal = dir.path().join("state.journal");
    std::fs::OpenOptions::new().append(true).open(journal).unwrap().write_all(&[0, 0, 0, 50, 1, 2]).unwrap();

    let (broker, addr) = start(on_disk(dir.path())).await;
    assert_eq!(consume(&addr, "kept").await, lines(0, 2000));
    produce(&addr, "kept", lines(2000, 2100)).await;
    broker.shutdown().await;
    let (broker, addr) = start(on_disk(dir.path())).await;
    assert_eq!(consume(&addr, "kept").await, lines(0, 2100));
    assert_eq!(consume(&addr, "gone").await, lines(0, 10));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_clients_with_the_second_transaction_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig { cleanup_interval: Duration::from_secs(1), ..on_disk(dir.path()) };
    let (broker, addr) =
        start(BrokerConfig { consumer_heartbeat_interval: Duration::from_millis(500), ..config }).await;
    gates(&addr, "2", &[]).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_clients_with_the_first_transaction_protocol() {
    let config = BrokerConfig { transaction_version: 1, ..BrokerConfig::default() };
    let (broker, addr) = start(config).await;
    gates(&addr, "1", &["transactions", "fencing", "offsetsInTransactions", "timeout"]).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_command_line_tools() {
    let (broker, addr) = start(BrokerConfig::default()).await;
    let tool = |class: &str, args: &[&str]| {
        let mut command = java(&[class, "--bootstrap-server", &addr]);
        command.args(args);
        command
    };
    let topics = "org.apache.kafka.tools.TopicCommand";
    run(tool(topics, &["--create", "--topic", "tools", "--partitions", "3"]), Vec::new()).await;
    let out = run(tool(topics, &["--describe", "--topic", "tools"]), Vec::new()).await;
    assert!(out.contains("PartitionCount: 3"), "{out}");
    let configs = "kafka.admin.ConfigCommand";
    let alter =
        ["--alter", "--entity-type", "topics", "--entity-name", "tools", "--add-config", "retention.ms=99"];
    run(tool(configs, &alter), Vec::new()).await;
    let out =
        run(tool(configs, &["--describe", "--entity-type", "topics", "--entity-name", "tools"]), Vec::new())
            .await;
    assert!(out.contains("retention.ms=99"), "{out}");
    run(tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", "console"]), lines(0, 100).into_bytes())
        .await;
    let consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let args = ["--topic", "console", "--from-beginning", "--max-messages", "100", "--group", "console"];
    assert_eq!(run(tool(consumer, &args), Vec::new()).await, lines(0, 100));
    let out = run(
        tool(
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            &["--describe", "--group", "console"],
        ),
        Vec::new(),
    )
    .await;
    let described = out.lines().find(|l| l.starts_with("console")).unwrap_or_else(|| panic!("{out}"));
    assert_eq!(described.split_whitespace().nth(3), Some("100"), "{out}");
    let perf = "org.apache.kafka.tools.ProducerPerformance";
    let server = format!("bootstrap.servers={addr}");
    let args = [
        perf,
        "--topic",
        "perf",
        "--num-records",
        "20000",
        "--record-size",
        "100",
        "--throughput",
        "-1",
        "--transactional-id",
        "perf",
        "--transaction-duration-ms",
        "50",
        "--producer-props",
        &server,
    ];
    let out = run(java(&args), Vec::new()).await;
    assert!(out.contains("20000 records sent"), "{out}");
    assert_eq!(consume(&addr, "perf").await.lines().count(), 20000);
    broker.shutdown().await;
}

/// A JVM worker, killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn http(port: u16, request: String) -> Option<String> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
    .await
    .unwrap()
}

async fn until<F: Future<Output = bool>>(what: &str, seconds: u64, mut done: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done().await {
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn worker_config(dir: &Path, addr: &str, port: u16) -> PathBuf {
    let plugins = env("AQ_CONNECT_PLUGINS");
    let text = format!(
        "bootstrap.servers={addr}\nlisteners=http://127.0.0.1:{port}\ngroup.id=jvm\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         plugin.path={plugins}\nplugin.discovery=service_load\n\
         config.storage.topic=jvm-configs\noffset.storage.topic=jvm-offsets\nstatus.storage.topic=jvm-status\n\
         config.storage.replication.factor=1\noffset.storage.replication.factor=1\n\
         status.storage.replication.factor=1\noffset.storage.partitions=3\n\
         exactly.once.source.support=enabled\n"
    );
    let path = dir.join("worker.properties");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn jvm_connect_worker_with_exactly_once_sources() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (broker, addr) = start(on_disk(&data)).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let properties = worker_config(dir.path(), &addr, port);
    let mut command =
        java(&["org.apache.kafka.connect.cli.ConnectDistributed", properties.to_str().unwrap()]);
    let log = std::fs::File::create(dir.path().join("worker.log")).unwrap();
    let worker = Worker(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let get = |path: &str| http(port, format!("GET {path} HTTP/1.0\r\n\r\n"));
    until("the worker's REST", 60, async || get("/connectors").await.is_some_and(|a| a.contains("200 OK")))
        .await;

    let file = dir.path().join("in.txt");
    std::fs::write(&file, lines(0, 300)).unwrap();
    let body = format!(
        r#"{{"connector.class":"org.apache.kafka.connect.file.FileStreamSourceConnector","file":"{}","topic":"lines","exactly.once.support":"required"}}"#,
        file.display()
    );
    let put = format!(
        "PUT /connectors/src/config HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http(port, put).await.unwrap_or_default();
    assert!(answer.contains("201 Created"), "{answer}");
    until("all lines in the topic", 30, async || consume_some(&addr, "lines").await == lines(0, 300)).await;

    // The broker dies and comes back at the same address: the worker goes on, each line once.
    let listen: SocketAddr = broker.addr();
    drop(broker);
    std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .write_all(lines(300, 400).as_bytes())
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (broker, addr) = start(BrokerConfig { listen, ..on_disk(&data) }).await;
    until("the lines after the restart", 30, async || consume_some(&addr, "lines").await == lines(0, 400))
        .await;
    drop(worker);
    broker.shutdown().await;
}

/// As `consume`, but a topic that is not there yet is empty.
async fn consume_some(addr: &str, topic: &str) -> String {
    let mut command = kcat(addr, &["-C", "-q", "-e", "-t", topic, "-X", "isolation.level=read_committed"]);
    command.args(["-X", "allow.auto.create.topics=false"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends `bytes`; true when the broker closed the connection without an answer.
fn closes(addr: &str, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is a close as well.
    let read = stream.read_to_end(&mut answer);
    let timed_out = read
        .is_err_and(|e| matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
    answer.is_empty() && !timed_out
}

fn frame(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&key.to_be_bytes());
    body.extend_from_slice(&version.to_be_bytes());
    body.extend_from_slice(&7_i32.to_be_bytes());
    body.extend_from_slice(rest);
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_close_the_connection_and_nothing_else() {
    let (broker, addr) = start(BrokerConfig::default()).await;
    let at = addr.clone();
    tokio::task::spawn_blocking(move || {
        assert!(closes(&at, &i32::MAX.to_be_bytes()), "frame too large");
        assert!(closes(&at, &(-1_i32).to_be_bytes()), "negative frame");
        assert!(closes(&at, &[0, 0, 0, 2, 0, 3]), "no header");
        assert!(closes(&at, b"GET / HTTP/1.1\r\n\r\n"), "another protocol");
        assert!(closes(&at, &frame(3, 99, &[])), "version too new");
        assert!(closes(&at, &frame(999, 0, &[])), "unknown API");
        // Every API, with counts of two thousand million where there may be any: no memory is reserved for them.
        for key in 0..80_i16 {
            for version in 0..=18_i16 {
                let mut rest = vec![0xff, 0xff];
                rest.extend_from_slice(&[0x7f; 64]);
                let mut flexible = vec![0xff, 0xff, 0x00];
                flexible.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 1].repeat(8));
                for body in [rest, flexible] {
                    let mut stream = TcpStream::connect(&at).unwrap();
                    stream.write_all(&frame(key, version, &body)).unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                }
            }
        }
    })
    .await
    .unwrap();
    produce(&addr, "alive", lines(0, 3)).await;
    assert_eq!(consume(&addr, "alive").await, lines(0, 3));
    broker.shutdown().await;
}
