//! What the consumer's tests share. Records come from kcat, so that nothing of ours wrote them.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_protocol::client::consumer::{
    Committer, Consumer, ListenerFuture, OffsetAndMetadata, RebalanceListener, Subscription,
};
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic, Properties};
use aqueduct_protocol::wire::TopicPartition;
use aqueduct_tests::{env, kcat, run};

pub fn kafka() -> String {
    env("AQ_KAFKA")
}

pub fn unique(name: &str) -> String {
    aqueduct_tests::unique(&format!("K-{name}"))
}

pub fn properties(group: &str, extra: &[(&str, &str)]) -> Properties {
    let kafka = kafka();
    let base = [
        ("bootstrap.servers", kafka.as_str()),
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    base.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub async fn client() -> Client {
    Client::connect(ClientConfig::from_properties(&properties("", &[])).unwrap()).await.unwrap()
}

pub async fn create(topic: &str, partitions: i32) {
    let new =
        NewTopic { name: topic.to_owned(), partitions, replication_factor: -1, configs: Properties::new() };
    Admin::new(client().await).create_topic(&new).await.unwrap();
}

/// Writes numbers, one a record.
pub fn produce(topic: &str, numbers: Range<usize>, extra: &[&str]) {
    let lines: String = numbers.map(|number| format!("{number}\n")).collect();
    run(kcat(&kafka(), &["-P", "-t", topic]).args(extra), lines.as_bytes());
}

pub async fn subscribed(topic: &str, group: &str, extra: &[(&str, &str)]) -> Consumer {
    let mut consumer = Consumer::new(&properties(group, extra)).await.unwrap();
    consumer.subscribe(Subscription::Topics(vec![Arc::from(topic)])).unwrap();
    consumer
}

/// A consumer without a group that has this partition from this offset on.
pub async fn assigned(topic: &str, offset: i64, extra: &[(&str, &str)]) -> (Consumer, TopicPartition) {
    let mut consumer = Consumer::new(&properties("", extra)).await.unwrap();
    let partition = TopicPartition::new(topic, 0);
    consumer.assign(&[(partition.clone(), offset)]);
    (consumer, partition)
}

/// One poll's numbers, and where each partition goes on.
pub async fn poll(
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
pub async fn read(
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

pub fn offsets(next: &[(TopicPartition, i64)]) -> Vec<(TopicPartition, OffsetAndMetadata)> {
    next.iter().map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset))).collect()
}

/// Commits what it has when partitions are revoked, and counts.
#[derive(Default)]
pub struct Counting {
    pub assigned: usize,
    pub revoked: usize,
    pub lost: usize,
    pub next: BTreeMap<TopicPartition, i64>,
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
        partitions.iter().for_each(|name| drop(self.next.remove(name)));
        Box::pin(std::future::ready(Ok(())))
    }
}
