//! The producer when its broker is killed, and on a cluster with the first transaction protocol.

mod producer_support;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aqueduct_protocol::ErrorKind;
use aqueduct_protocol::client::producer::{AppendError, Producer};
use producer_support::{create_topic_at, java, properties};

/// Longest start of a broker on a busy machine.
const START: Duration = Duration::from_secs(90);

/// A broker of our own, to kill.
struct Broker {
    port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl Broker {
    fn start(features: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, controller) = (free_port(), free_port());
        let data = folder.path().join("data");
        let config = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.num.partitions=1\ntransaction.state.log.min.isr=1\n",
            data.display()
        );
        let file = folder.path().join("broker.properties");
        std::fs::write(&file, config).unwrap();
        let mut format = java();
        format.args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(&file);
        for feature in features {
            format.args(["--feature", feature]);
        }
        let output = format.output().unwrap();
        assert!(output.status.success(), "format: {}", String::from_utf8_lossy(&output.stderr));
        let child = launch(&folder, port);
        Self { port, folder, child }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        // SIGKILL.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = launch(&self.folder, self.port);
    }

    async fn producer(&self, settings: &[(&str, &str)]) -> Producer {
        let mut properties = properties(settings);
        properties.insert("bootstrap.servers".into(), self.address());
        Producer::new(&properties).await.unwrap()
    }

    fn read(&self, arguments: &[&str]) -> String {
        let output =
            Command::new("kcat").args(["-b", &self.address(), "-C", "-e", "-q"]).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn launch(folder: &tempfile::TempDir, port: u16) -> Child {
    let log = std::fs::File::create(folder.path().join("broker.log")).unwrap();
    let child = java()
        .args(["-Xmx512m", "kafka.Kafka"])
        .arg(folder.path().join("broker.properties"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(folder.path().join("broker.log")).unwrap_or_default();
        assert!(began.elapsed() < START, "the broker did not start: {}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_costs_no_record_no_order_and_no_duplicate() {
    const RECORDS: u32 = 60_000;
    let mut broker = Broker::start(&[]);
    let topic = create_topic_at(&broker.address(), "P-kill", 2, &[]).await;
    let producer = broker.producer(&[("batch.size", "1000"), ("linger.ms", "0")]).await;
    let handle = producer.topic(&topic).await.unwrap();
    let sending = tokio::spawn({
        let producer = producer.clone();
        async move {
            let mut tickets = Vec::new();
            for round in 0..RECORDS / 100 {
                let mut session = producer.session();
                for index in 0..100 {
                    let value = (round * 100 + index).to_string();
                    let partition = Some((index % 2) as i32);
                    while let Err(error) =
                        session.append(&handle, partition, None, None, Some(value.as_bytes()), &[])
                    {
                        assert!(matches!(error, AppendError::Full { .. }), "{error}");
                        session.wait_capacity().await.unwrap();
                    }
                }
                tickets.push(session.finish());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tickets
        }
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    tokio::task::block_in_place(|| {
        broker.kill();
        broker.restart();
    });
    for ticket in sending.await.unwrap() {
        ticket.await.unwrap();
    }
    for partition in [0, 1] {
        let text = broker.read(&["-t", &topic, "-p", &partition.to_string()]);
        let values: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        let expected: Vec<u32> = (0..RECORDS).filter(|value| value % 2 == partition).collect();
        assert_eq!(values.len(), expected.len(), "records were lost or doubled in partition {partition}");
        assert!(values == expected, "partition {partition} is out of order");
    }

    // And for good.
    let settings = [("delivery.timeout.ms", "3000"), ("request.timeout.ms", "2000")];
    let impatient = broker.producer(&settings).await;
    impatient.send(&topic, Some(0), None, None, Some(b"there"), &[]).await.unwrap();
    tokio::task::block_in_place(|| broker.kill());
    let began = Instant::now();
    let error = impatient.send(&topic, Some(0), None, None, Some(b"gone"), &[]).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains(&topic) && text.contains("delivery.timeout.ms = 3000"), "{text}");
    assert!(text.contains(&broker.port.to_string()), "the broker's address is missing: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_transaction_protocol_commits_and_aborts() {
    let broker = Broker::start(&["transaction.version=0"]);
    let topic = create_topic_at(&broker.address(), "P-tx1", 3, &[("max.message.bytes", "2000")]).await;
    let producer = broker.producer(&[("transactional.id", "one")]).await;
    producer.init_transactions().await.unwrap();
    let handle = producer.topic(&topic).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..9 {
        producer.begin_transaction().unwrap();
        let mut session = producer.session();
        for partition in 0..3 {
            let value = format!("{round}-{partition}");
            session.append(&handle, Some(partition), None, None, Some(value.as_bytes()), &[]).unwrap();
            if round % 3 == 0 {
                expected.push(value);
            }
        }
        if round % 3 == 2 {
            // Fails this transaction, and leaves a gap in the sequence.
            session.append(&handle, Some(0), None, None, Some(&[b'x'; 3000]), &[]).unwrap();
        }
        let ticket = session.finish();
        match round % 3 {
            0 => producer.commit_transaction().await.unwrap(),
            1 => producer.abort_transaction().await.unwrap(),
            _ => {
                assert!(producer.commit_transaction().await.is_err());
                producer.abort_transaction().await.unwrap();
                assert!(ticket.await.is_err());
            }
        }
    }
    let text = broker.read(&["-t", &topic, "-X", "isolation.level=read_committed"]);
    let mut values: Vec<&str> = text.lines().collect();
    values.sort_unstable();
    assert_eq!(values, expected);

    let newer = broker.producer(&[("transactional.id", "one")]).await;
    newer.init_transactions().await.unwrap();
    producer.begin_transaction().unwrap();
    let mut session = producer.session();
    session.append(&handle, Some(0), None, None, Some(b"late"), &[]).unwrap();
    let ticket = session.finish();
    let error = producer.commit_transaction().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert!(ticket.await.is_err());
}
