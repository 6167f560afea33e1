//! The consumer against a real Kafka; records come from kcat, so that nothing of ours wrote them.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_protocol::client::consumer::{
    Committer, Consumer, ListenerFuture, NoListener, OffsetAndMetadata, RebalanceListener, Subscription,
};
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic, Properties};
use aqueduct_protocol::wire::TopicPartition;

fn kafka() -> String {
    std::env::var("AQ_KAFKA").expect("AQ_KAFKA is not set: run these tests by tests/run")
}

fn unique(name: &str) -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("E-{name}-{nanos}")
}

async fn create(topic: &str) {
    let client = Client::connect(ClientConfig::from_properties(&properties("", &[])).unwrap()).await.unwrap();
    let new = NewTopic {
        name: topic.to_owned(),
        partitions: 1,
        replication_factor: -1,
        configs: Properties::new(),
    };
    Admin::new(client).create_topic(&new).await.unwrap();
}

fn produce(topic: &str, lines: std::ops::Range<usize>, extra: &[&str]) {
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", &kafka(), "-t", topic])
        .args(extra)
        .stdin(Stdio::piped())
        .spawn()
        .expect("kcat is not installed");
    let mut stdin = kcat.stdin.take().unwrap();
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    assert!(kcat.wait().unwrap().success());
}

fn properties(group: &str, extra: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::new();
    for (key, value) in [
        ("bootstrap.servers", kafka().as_str()),
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ]
    .iter()
    .chain(extra)
    {
        properties.insert((*key).to_owned(), (*value).to_owned());
    }
    properties
}

async fn subscribed(topic: &str, group: &str, extra: &[(&str, &str)]) -> Consumer {
    let mut consumer = Consumer::new(&properties(group, extra)).await.unwrap();
    consumer.subscribe(Subscription::Topics(vec![Arc::from(topic)])).unwrap();
    consumer
}

/// Values read until there are `count`, and the next offset of each partition.
async fn read(
    consumer: &mut Consumer,
    count: usize,
    listener: &mut dyn RebalanceListener,
) -> (Vec<usize>, Vec<(TopicPartition, i64)>) {
    let (mut values, mut next) = (Vec::new(), std::collections::BTreeMap::new());
    let begun = Instant::now();
    while values.len() < count {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} of {count} records", values.len());
        for batch in consumer.poll(Duration::from_millis(500), listener).await.unwrap() {
            let number = |value: &[u8]| std::str::from_utf8(value).unwrap().parse::<usize>().unwrap();
            values.extend(batch.records.iter().map(|record| number(record.value().unwrap())));
            next.insert(TopicPartition::new(batch.topic, batch.partition), batch.next_offset);
        }
    }
    (values, next.into_iter().collect())
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed_in_every_codec() {
    let (topic, group) = (unique("codecs"), unique("group"));
    create(&topic).await;
    for (index, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
        produce(&topic, index * 1000..(index + 1) * 1000, &["-z", codec]);
    }
    let mut consumer = subscribed(&topic, &group, &[("max.poll.records", "700")]).await;
    let (values, next) = read(&mut consumer, 2100, &mut NoListener).await;
    assert_eq!(values, (0..2100).collect::<Vec<_>>());
    let offsets: Vec<_> =
        next.iter().map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset))).collect();
    consumer.commit(&offsets).await.unwrap();
    consumer.close(Duration::from_secs(5), &mut NoListener).await.unwrap();

    let mut consumer = subscribed(&topic, &group, &[]).await;
    let (values, next) = read(&mut consumer, 2900, &mut NoListener).await;
    assert_eq!(values, (2100..5000).collect::<Vec<_>>());
    assert_eq!(consumer.lag(&next[0].0), Some(0));
    let committed = consumer.committed(&[next[0].0.clone()]).await.unwrap().remove(0).unwrap();
    assert_eq!((committed.offset, committed.leader_epoch), (2100, None));
    consumer.seek(&next[0].0, 4990).unwrap();
    assert_eq!(read(&mut consumer, 10, &mut NoListener).await.0, (4990..5000).collect::<Vec<_>>());
    consumer.pause(&[next[0].0.clone()]);
    produce(&topic, 5000..5001, &[]);
    assert!(consumer.poll(Duration::from_secs(1), &mut NoListener).await.unwrap().is_empty());
    consumer.resume(&[next[0].0.clone()]);
    assert_eq!(read(&mut consumer, 1, &mut NoListener).await.0, [5000]);
}

/// Commits what it has when partitions are revoked, and counts.
#[derive(Default)]
struct Counting {
    assigned: usize,
    revoked: usize,
    next: Vec<(TopicPartition, i64)>,
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
        let ours = self.next.iter().filter(|(partition, _)| partitions.contains(partition));
        let offsets: Vec<_> =
            ours.map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset))).collect();
        Box::pin(async move { committer.commit(&offsets).await })
    }

    fn lost<'a>(&'a mut self, _: &'a [TopicPartition]) -> ListenerFuture<'a> {
        panic!("nothing is lost here")
    }
}

#[tokio::test]
async fn a_second_member_takes_over_and_revoked_partitions_are_committed() {
    for strategy in ["RangeAssignor", "CooperativeStickyAssignor"] {
        let (topic, group) = (unique("rebalance"), unique("group"));
        create(&topic).await;
        produce(&topic, 0..100, &[]);
        let extra = [("partition.assignment.strategy", strategy), ("heartbeat.interval.ms", "200")];
        let mut first = subscribed(&topic, &group, &extra).await;
        let mut listener = Counting::default();
        let (values, next) = read(&mut first, 100, &mut listener).await;
        assert_eq!((values.len(), listener.assigned), (100, 1));
        listener.next = next;
        first.close(Duration::from_secs(5), &mut listener).await.unwrap();
        assert_eq!(listener.revoked, 1);
        produce(&topic, 100..110, &[]);
        let mut second = subscribed(&topic, &group, &extra).await;
        assert_eq!(read(&mut second, 10, &mut NoListener).await.0, (100..110).collect::<Vec<_>>());
        // a third one joins while the second is there: the only partition has one owner in the end
        let mut third = subscribed(&topic, &group, &extra).await;
        let begun = Instant::now();
        loop {
            let (mut one, mut other) = (NoListener, NoListener);
            let poll = Duration::from_millis(300);
            let (a, b) = tokio::join!(second.poll(poll, &mut one), third.poll(poll, &mut other));
            a.unwrap();
            b.unwrap();
            let owned = second.assignment().len() + third.assignment().len();
            if begun.elapsed() > Duration::from_secs(3) && owned == 1 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{owned} owners");
        }
    }
}

#[tokio::test]
async fn partitions_assigned_by_hand_are_read_from_the_offset_given() {
    let topic = unique("by-hand");
    create(&topic).await;
    produce(&topic, 0..100, &[]);
    let mut consumer = Consumer::new(&properties("", &[])).await.unwrap();
    consumer.assign(&[(TopicPartition::new(Arc::from(topic.as_str()), 0), 40)]);
    assert_eq!(read(&mut consumer, 60, &mut NoListener).await.0, (40..100).collect::<Vec<_>>());
}
