//! Groups of the new protocol (KIP-848, `group.protocol=consumer`) against a real Kafka.

mod consumer_support;

use std::time::{Duration, Instant};

use aqueduct_protocol::client::consumer::{Consumer, NoListener, Subscription};
use aqueduct_protocol::{ErrorCode, ErrorKind};
use consumer_support::{
    Counting, Worker, come_and_go, create, offsets, poll, produce, properties, read, share_with_jvm,
    subscribed, unique,
};

const NEW: (&str, &str) = ("group.protocol", "consumer");
const SPREAD: [&str; 2] = ["-X", "sticky.partitioning.linger.ms=0"];

#[tokio::test(flavor = "multi_thread")]
async fn three_members_read_everything_once() {
    come_and_go(&[NEW]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_the_jvm_shares_the_group() {
    share_with_jvm(&[NEW], &["group.protocol=consumer"], Duration::from_secs(12)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_matched_by_the_broker() {
    let (prefix, group) = (unique("pattern"), unique("group"));
    create(&format!("{prefix}-a"), 1).await;
    create(&format!("{prefix}.other"), 1).await;
    produce(&format!("{prefix}-a"), 0..10, &[]);
    produce(&format!("{prefix}.other"), 50..60, &[]);
    let mut consumer = Consumer::new(&properties(&group, &[NEW])).await.unwrap();
    consumer.subscribe(Subscription::ServerPattern(format!("{prefix}-[ab]"))).unwrap();
    let (values, next) = read(&mut consumer, 10, &mut NoListener).await;
    assert_eq!(values, (0..10).collect::<Vec<_>>());
    consumer.commit(&offsets(&next)).await.unwrap();
    // the subscription is replaced, and the member stays
    let epoch = consumer.group_metadata().unwrap();
    consumer.subscribe(Subscription::Topics(vec![format!("{prefix}.other").into()])).unwrap();
    assert_eq!(read(&mut consumer, 10, &mut NoListener).await.0, (50..60).collect::<Vec<_>>());
    let now = consumer.group_metadata().unwrap();
    assert_eq!(now.member_id, epoch.member_id);
    assert!(now.generation_id > epoch.generation_id);
    consumer.subscribe(Subscription::ServerPattern("[".to_owned())).unwrap();
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(20));
        if let Err(error) = consumer.poll(Duration::from_millis(200), &mut NoListener).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::InvalidRegularExpression));
    let mut odd =
        subscribed(&unique("topic"), &unique("group"), &[NEW, ("group.remote.assignor", "mine")]).await;
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(20));
        if let Err(error) = odd.poll(Duration::from_millis(200), &mut NoListener).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::UnsupportedAssignor));
    let mut classic = Consumer::new(&properties(&group, &[])).await.unwrap();
    let refused = classic.subscribe(Subscription::ServerPattern("a".to_owned())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_to_its_partitions_and_a_name_in_use_is_an_error() {
    let (topic, group) = (unique("static"), unique("group"));
    create(&topic, 4).await;
    produce(&topic, 0..50, &SPREAD);
    let other = Worker::start(subscribed(&topic, &group, &[NEW, ("group.instance.id", "other")]).await);
    let named = [NEW, ("group.instance.id", "one")];
    let mut one = subscribed(&topic, &group, &named).await;
    let begun = Instant::now();
    while one.assignment().len() != 2 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        poll(&mut one, Duration::from_millis(100), &mut NoListener).await;
    }
    let mut owned = one.assignment();
    owned.sort();
    let mut usurper = subscribed(&topic, &group, &named).await;
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(30));
        if let Err(error) = usurper.poll(Duration::from_millis(100), &mut NoListener).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::UnreleasedInstanceId));
    assert!(error.to_string().contains("group.instance.id=one"), "{error}");
    one.close(Duration::from_secs(5), &mut NoListener).await.unwrap();
    // the name is free, and so are its partitions
    let begun = Instant::now();
    while usurper.assignment().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        let _ = usurper.poll(Duration::from_millis(100), &mut NoListener).await;
    }
    let mut again = usurper.assignment();
    again.sort();
    assert_eq!(again, owned);
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_poll_leaves_and_joins_again() {
    let (topic, group) = (unique("idle"), unique("group"));
    create(&topic, 1).await;
    produce(&topic, 0..5, &[]);
    let mut consumer = subscribed(&topic, &group, &[NEW, ("max.poll.interval.ms", "1500")]).await;
    let mut listener = Counting::default();
    let (values, next) = read(&mut consumer, 5, &mut listener).await;
    assert_eq!((values.len(), listener.assigned), (5, 1));
    let committer = consumer.committer().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = committer.commit(&offsets(&next)).await.unwrap_err();
    assert!(!refused.is_retriable(), "{refused}");
    assert_eq!(read(&mut consumer, 5, &mut listener).await.0, values);
    assert_eq!((listener.assigned, listener.lost, listener.revoked), (2, 1, 0));
}
