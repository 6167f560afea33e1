//! What the consumer's tests share. Records come from kcat, so that nothing of ours wrote them.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aqueduct_protocol::client::consumer::{
    Committer, Consumer, ListenerFuture, NoListener, OffsetAndMetadata, RebalanceListener, Subscription,
};
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic, Properties};
use aqueduct_protocol::wire::TopicPartition;
use aqueduct_tests::{env, kcat, run, tool};

pub(crate) fn kafka() -> String {
    env("AQ_KAFKA")
}

pub(crate) fn unique(name: &str) -> String {
    aqueduct_tests::unique(&format!("K-{name}"))
}

pub(crate) fn properties(group: &str, extra: &[(&str, &str)]) -> Properties {
    let kafka = kafka();
    let base = [
        ("bootstrap.servers", kafka.as_str()),
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    base.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) async fn client() -> Client {
    Client::connect(ClientConfig::from_properties(&properties("", &[])).unwrap()).await.unwrap()
}

pub(crate) async fn create(topic: &str, partitions: i32) {
    let new =
        NewTopic { name: topic.to_owned(), partitions, replication_factor: -1, configs: Properties::new() };
    Admin::new(client().await).create_topic(&new).await.unwrap();
}

/// Writes numbers, one a record.
pub(crate) fn produce(topic: &str, numbers: Range<usize>, extra: &[&str]) {
    let lines: String = numbers.map(|number| format!("{number}\n")).collect();
    run(kcat(&kafka(), &["-P", "-t", topic]).args(extra), lines.as_bytes());
}

pub(crate) async fn subscribed(topic: &str, group: &str, extra: &[(&str, &str)]) -> Consumer {
    let mut consumer = Consumer::new(&properties(group, extra)).await.unwrap();
    consumer.subscribe(Subscription::Topics(vec![Arc::from(topic)])).unwrap();
    consumer
}

/// A consumer without a group that has this partition from this offset on.
pub(crate) async fn assigned(topic: &str, offset: i64, extra: &[(&str, &str)]) -> (Consumer, TopicPartition) {
    let mut consumer = Consumer::new(&properties("", extra)).await.unwrap();
    let partition = TopicPartition::new(topic, 0);
    consumer.assign(&[(partition.clone(), offset)]);
    (consumer, partition)
}

/// One poll's numbers, and where each partition goes on.
pub(crate) async fn poll(
    consumer: &mut Consumer,
    timeout: Duration,
    listener: &mut dyn RebalanceListener,
) -> (Vec<usize>, BTreeMap<TopicPartition, i64>) {
    let (mut values, mut next) = (Vec::new(), BTreeMap::new());
    for batch in consumer.poll(timeout, listener).await.unwrap() {
        let number = |value: &[u8]| std::str::from_utf8(value).unwrap().parse::<usize>().unwrap();
        values.extend(batch.records.iter().map(|record| number(record.value().unwrap())));
        next.insert(TopicPartition::new(batch.topic, batch.partition), batch.next_offset);
    }
    (values, next)
}

/// Numbers read until there are `count`, and where each partition goes on.
pub(crate) async fn read(
    consumer: &mut Consumer,
    count: usize,
    listener: &mut dyn RebalanceListener,
) -> (Vec<usize>, Vec<(TopicPartition, i64)>) {
    let (mut values, mut next) = (Vec::new(), BTreeMap::new());
    let begun = Instant::now();
    while values.len() < count {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} of {count} records", values.len());
        let (more, on) = poll(consumer, Duration::from_millis(500), listener).await;
        values.extend(more);
        next.extend(on);
    }
    (values, next.into_iter().collect())
}

pub(crate) fn offsets(next: &[(TopicPartition, i64)]) -> Vec<(TopicPartition, OffsetAndMetadata)> {
    next.iter().map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset))).collect()
}

/// Commits what it has when partitions are revoked, and counts.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) assigned: usize,
    pub(crate) revoked: usize,
    pub(crate) lost: usize,
    pub(crate) next: BTreeMap<TopicPartition, i64>,
}

impl RebalanceListener for Counting {
    fn assigned<'a>(&'a mut self, positions: &'a [(TopicPartition, i64)]) -> ListenerFuture<'a> {
        self.assigned += positions.len();
        Box::pin(std::future::ready(Ok(())))
    }

    fn revoked<'a>(
        &'a mut self,
        partitions: &'a [TopicPartition],
        committer: &'a Committer,
    ) -> ListenerFuture<'a> {
        self.revoked += partitions.len();
        let ours = partitions.iter().filter_map(|name| self.next.remove_entry(name));
        let offsets = offsets(&ours.collect::<Vec<_>>());
        Box::pin(async move { committer.commit(&offsets).await })
    }

    fn lost<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> ListenerFuture<'a> {
        self.lost += partitions.len();
        self.next.retain(|name, _| !partitions.contains(name));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A member in a task of its own, which commits what it has read when partitions go and when it ends.
pub(crate) struct Worker {
    stop: Arc<AtomicBool>,
    owns: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<(Vec<usize>, Counting)>,
}

impl Worker {
    pub(crate) fn start(mut consumer: Consumer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let owns = Arc::new(AtomicUsize::new(0));
        let (stopped, owned) = (Arc::clone(&stop), Arc::clone(&owns));
        let task = tokio::spawn(async move {
            let (mut values, mut listener) = (Vec::new(), Counting::default());
            while !stopped.load(Ordering::Relaxed) {
                let (more, next) = poll(&mut consumer, Duration::from_millis(100), &mut listener).await;
                values.extend(more);
                listener.next.extend(next);
                owned.store(consumer.assignment().len(), Ordering::Relaxed);
            }
            consumer.close(Duration::from_secs(10), &mut listener).await.unwrap();
            (values, listener)
        });
        Self { stop, owns, task }
    }

    pub(crate) async fn end(self) -> (Vec<usize>, Counting) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Members come and go while records are written: each record is read once.
pub(crate) async fn come_and_go(extra: &[(&str, &str)]) {
    let (topic, group) = (unique("three"), unique("group"));
    create(&topic, 6).await;
    let spread = ["-X", "sticky.partitioning.linger.ms=0"];
    let mut workers: Vec<Worker> = Vec::new();
    let mut written = 0;
    for _ in 0..3 {
        workers.push(Worker::start(subscribed(&topic, &group, extra).await));
        let (begun, mut after) = (Instant::now(), 0);
        // on until all have their share, and some more for them to read
        while after < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the group is not formed");
            let (topic, part) = (topic.clone(), written..written + 200);
            tokio::task::spawn_blocking(move || produce(&topic, part, &spread)).await.unwrap();
            written += 200;
            tokio::time::sleep(Duration::from_millis(150)).await;
            let owns: Vec<_> = workers.iter().map(|worker| worker.owns.load(Ordering::Relaxed)).collect();
            after += usize::from(owns.iter().all(|owns| *owns == 6 / workers.len()));
        }
    }
    let mut all = Vec::new();
    let mut shares = Vec::new();
    for worker in workers {
        let (values, listener) = worker.end().await;
        shares.push(values.len());
        assert_eq!(listener.lost, 0);
        all.extend(values);
        produce(&topic, written..written + 100, &spread);
        written += 100;
    }
    let mut last = subscribed(&topic, &group, extra).await;
    let rest = written.saturating_sub(all.len()).max(1);
    all.extend(read(&mut last, rest, &mut NoListener).await.0);
    let mut count = BTreeMap::new();
    all.iter().for_each(|value| *count.entry(*value).or_insert(0) += 1);
    let twice: Vec<_> = count.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "read more than once: {twice:?}");
    assert_eq!((all.len(), count.len()), (written, written), "lost: {shares:?}");
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

/// Our member and the JVM's console consumer share a group: both read, and nothing is lost.
///
/// The JVM's ends when nothing has come for `patience`, which is longer than the group takes to give it its share.
pub(crate) async fn share_with_jvm(extra: &[(&str, &str)], theirs: &[&str], patience: Duration) {
    let (topic, group) = (unique("mixed"), unique("group"));
    create(&topic, 4).await;
    let ours = Worker::start(subscribed(&topic, &group, extra).await);
    let (its_topic, its_group) = (topic.clone(), group.clone());
    let its_properties: Vec<String> = theirs.iter().map(ToString::to_string).collect();
    let theirs = tokio::task::spawn_blocking(move || {
        let (kafka, patience) = (kafka(), patience.as_millis().to_string());
        let arguments = [
            "--bootstrap-server",
            &kafka,
            "--topic",
            &its_topic,
            "--group",
            &its_group,
            "--timeout-ms",
            &patience,
            "--from-beginning",
        ];
        let mut command = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments);
        for property in &its_properties {
            command.args(["--command-property", property]);
        }
        run(&mut command, b"")
    });
    let (begun, mut written, mut after) = (Instant::now(), 0, 0);
    while after < 8 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the group is not formed");
        let (topic, part) = (topic.clone(), written..written + 100);
        let spread = ["-X", "sticky.partitioning.linger.ms=0"];
        tokio::task::spawn_blocking(move || produce(&topic, part, &spread)).await.unwrap();
        written += 100;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // both have two of the four: some more for them to read
        after += usize::from(ours.owns.load(Ordering::Relaxed) == 2);
    }
    let theirs: Vec<usize> = theirs.await.unwrap().lines().filter_map(|line| line.parse().ok()).collect();
    let (mut all, _) = ours.end().await;
    assert!(!theirs.is_empty() && !all.is_empty(), "{} and {}", all.len(), theirs.len());
    all.extend(theirs);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), written, "lost");
}
