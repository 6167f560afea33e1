//! Brokers that die, move or do not answer: three Apache Kafka brokers of which leaders are killed (-9) or hang, and the ways back to a
//! cluster that is somewhere else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_broker::{Broker, BrokerConfig};
use aqueduct_protocol::ErrorKind;
use aqueduct_protocol::client::consumer::{Consumer, NoListener, Subscription};
use aqueduct_protocol::client::producer::Producer;
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic, NodeTarget, Properties};
use aqueduct_tests::{OwnCluster, kcat, run, unique};
use kafka_protocol::messages::ListGroupsRequest;
use tokio::net::{TcpListener, TcpStream};

const PARTITIONS: i32 = 3;
/// Whoever hangs is given up after three seconds.
const PRODUCER: [(&str, &str); 3] = [("acks", "all"), ("linger.ms", "2"), ("request.timeout.ms", "3000")];

fn properties(bootstrap: &str, pairs: &[(&str, &str)]) -> Properties {
    let base = [("bootstrap.servers", bootstrap)];
    base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn client(bootstrap: &str, pairs: &[(&str, &str)]) -> Client {
    Client::connect(ClientConfig::for_admin(&properties(bootstrap, pairs)).unwrap()).await.unwrap()
}

/// Writes numbers in turn to the partitions until it is told to stop, each acknowledged by all replicas in sync.
async fn write(bootstrap: String, topic: String, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let producer = Producer::new(&properties(&bootstrap, &PRODUCER)).await.unwrap();
    let handle = producer.topic(&topic).await.unwrap();
    let mut number = 0_u64;
    let mut tickets = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let mut session = producer.session();
        for _ in 0..20 {
            let (partition, value) = (number as i32 % PARTITIONS, number.to_string());
            session.append(&handle, Some(partition), None, None, Some(value.as_bytes()), &[]).unwrap();
            number += 1;
        }
        tickets.push_back(session.finish());
        if tickets.len() > 50 {
            tickets.pop_front().unwrap().await.unwrap();
        }
        written.store(number, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

/// Reads as a member of a group until every number below `written` is there once `stopped`; the numbers in their partitions' order.
async fn read(
    bootstrap: String,
    topic: String,
    stopped: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) -> Vec<Vec<u64>> {
    let group = unique("C-cluster");
    let settings =
        [("group.id", group.as_str()), ("auto.offset.reset", "earliest"), ("request.timeout.ms", "3000")];
    let mut consumer = Consumer::new(&properties(&bootstrap, &settings)).await.unwrap();
    consumer.subscribe(Subscription::Topics(vec![topic.as_str().into()])).unwrap();
    let mut found = vec![Vec::new(); PARTITIONS as usize];
    let mut until = None;
    loop {
        for batch in consumer.poll(Duration::from_millis(200), &mut NoListener).await.unwrap() {
            for record in batch.records.iter() {
                let text = std::str::from_utf8(record.value().unwrap()).unwrap();
                found[batch.partition as usize].push(text.parse().unwrap());
            }
        }
        let count: usize = found.iter().map(Vec::len).sum();
        if stopped.load(Ordering::Relaxed) {
            if count as u64 >= written.load(Ordering::Relaxed) {
                return found;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + Duration::from_secs(60));
            assert!(Instant::now() < until, "{count} of {} records", written.load(Ordering::Relaxed));
        }
    }
}

async fn leader(admin: &Admin, topic: &str) -> i32 {
    admin.describe_topics(&[topic]).await.unwrap()[0].as_ref().unwrap().partitions[0].leader
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_are_killed_or_hang_cost_no_record_and_double_none() {
    let cluster = OwnCluster::start();
    let topic = unique("C-killed");
    let bootstrap = cluster.bootstrap();
    let admin = Admin::new(client(&bootstrap, &[("request.timeout.ms", "3000")]).await);
    let new = NewTopic {
        name: topic.clone(),
        partitions: PARTITIONS,
        replication_factor: 3,
        configs: Properties::new(),
    };
    admin.create_topic(&new).await.unwrap();
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let written = Arc::new(AtomicU64::new(0));
    let writer =
        tokio::spawn(write(bootstrap.clone(), topic.clone(), Arc::clone(&stop), Arc::clone(&written)));
    let reader =
        tokio::spawn(read(bootstrap.clone(), topic.clone(), Arc::clone(&stopped), Arc::clone(&written)));

    let pause = |seconds: u64| tokio::time::sleep(Duration::from_secs(seconds));
    pause(2).await;
    for freezes in [false, true] {
        let dies = leader(&admin, &topic).await;
        let before = written.load(Ordering::Relaxed);
        tokio::task::block_in_place(|| if freezes { cluster.freeze(dies) } else { cluster.kill(dies) });
        // flow goes on without it
        let until = Instant::now() + Duration::from_secs(30);
        while written.load(Ordering::Relaxed) < before + 4000 {
            assert!(Instant::now() < until, "nothing is written any more");
            pause(1).await;
        }
        tokio::task::block_in_place(|| if freezes { cluster.thaw(dies) } else { cluster.restart(dies) });
        let until = Instant::now() + Duration::from_secs(30);
        let in_sync = |topic: &aqueduct_protocol::client::TopicMetadata| {
            topic.partitions.iter().all(|partition| partition.in_sync_replicas.len() == 3)
        };
        while !in_sync(admin.describe_topics(&[&topic]).await.unwrap()[0].as_ref().unwrap()) {
            assert!(Instant::now() < until, "replicas do not come back");
            pause(1).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    stopped.store(true, Ordering::Relaxed);
    let found = reader.await.unwrap();
    let total = written.load(Ordering::Relaxed);
    for (partition, numbers) in found.iter().enumerate() {
        let expected: Vec<u64> = (0..total).filter(|number| number % 3 == partition as u64).collect();
        assert!(
            *numbers == expected,
            "partition {partition}: {} of {} records",
            numbers.len(),
            expected.len()
        );
    }
    // a broker that was frozen takes itself for the leader of old for a moment, and says that its log ends there
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = run(&mut kcat(&bootstrap, &["-C", "-q", "-e", "-t", &topic, "-f", "%s\n"]), b"");
        let distinct: BTreeSet<&str> = seen.lines().collect();
        let counts = (seen.lines().count() as u64, distinct.len() as u64);
        assert_eq!(counts.0, counts.1, "librdkafka sees a record twice");
        if counts.0 == total {
            break;
        }
        assert!(Instant::now() < until, "librdkafka sees {} of {total} records", counts.0);
        pause(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_broker_that_does_not_answer_waits_together_and_not_too_long() {
    // it takes connections and says nothing
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let held = tokio::spawn(async move {
        let mut sockets = Vec::new();
        while let Ok((socket, _)) = silent.accept().await {
            sockets.push(socket);
        }
    });
    let settings = [
        ("request.timeout.ms", "500"),
        ("default.api.timeout.ms", "800"),
        ("socket.connection.setup.timeout.ms", "400"),
    ];
    let client = client(&address, &settings).await;
    let began = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let client = client.clone();
        asking.spawn(async move { client.send(NodeTarget::Any, ListGroupsRequest::default(), None).await });
    }
    while let Some(answer) = asking.join_next().await {
        let error = answer.unwrap().unwrap_err();
        assert!(error.is_retriable(), "{error}");
    }
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    let began = Instant::now();
    let error = client.all_topics().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(1600), "{:?}", began.elapsed());
    assert!(error.to_string().contains(&address), "{error}");
    held.abort();
}

/// A door that leads to whichever address is set.
async fn door(leads_to: Arc<parking::Address>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            let address = leads_to.get();
            tokio::spawn(async move {
                let Ok(mut outside) = TcpStream::connect(address).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    address
}

mod parking {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    pub(super) struct Address(Mutex<SocketAddr>);

    impl Address {
        pub(super) fn new(address: SocketAddr) -> Self {
            Self(Mutex::new(address))
        }

        pub(super) fn set(&self, address: SocketAddr) {
            *self.0.lock().unwrap() = address;
        }

        pub(super) fn get(&self) -> SocketAddr {
            *self.0.lock().unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_has_moved_is_found_again_by_its_bootstrap_servers() {
    let (first, second) = (
        Broker::start(BrokerConfig::default()).await.unwrap(),
        Broker::start(BrokerConfig::default()).await.unwrap(),
    );
    let leads_to = Arc::new(parking::Address::new(first.addr()));
    let bootstrap = door(Arc::clone(&leads_to)).await;
    let timeouts =
        [("request.timeout.ms", "600"), ("default.api.timeout.ms", "3000"), ("retry.backoff.ms", "20")];
    let with = |strategy: &'static str| {
        let settings = [&timeouts[..], &[("metadata.recovery.strategy", strategy)]].concat();
        let bootstrap = bootstrap.clone();
        async move { client(&bootstrap, &settings).await }
    };
    let (returns, stays) = (with("rebootstrap").await, with("none").await);
    let id = |client: &Client| {
        let client = client.clone();
        async move {
            client.topic_metadata(&[&unique("C-moved")]).await.map(|metadata| metadata.cluster_id.clone())
        }
    };
    let before = id(&returns).await.unwrap();
    assert_eq!(id(&stays).await.unwrap(), before);
    leads_to.set(second.addr());
    first.shutdown().await;
    // connections through the door stay open for a while: whoever looks for the cluster has to be given time
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match id(&returns).await {
            Ok(now) if now != before => break,
            _ => assert!(Instant::now() < until, "the cluster is not found"),
        }
    }
    let error = id(&stays).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout), "{error}");
    second.shutdown().await;
}
