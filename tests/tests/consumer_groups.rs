//! Groups of the classic protocol against a real Kafka: members of ours, members of the JVM, and members that are no consumers.

mod consumer_support;

use std::time::{Duration, Instant};

use aqueduct_protocol::client::consumer::{Consumer, NoListener, Subscription};
use aqueduct_protocol::client::group::{GroupConfig, GroupEvent, GroupMember, GroupProtocol, Joined};
use aqueduct_protocol::{ErrorCode, ErrorKind};
use consumer_support::{
    Counting, Worker, client, come_and_go, create, poll, produce, properties, read, share_with_jvm,
    subscribed, unique,
};

/// The group is formed anew as soon as a member has noticed.
const QUICK: [(&str, &str); 1] = [("heartbeat.interval.ms", "200")];

#[tokio::test]
async fn a_second_member_takes_over_and_revoked_partitions_are_committed() {
    for strategy in ["RangeAssignor", "CooperativeStickyAssignor"] {
        let (topic, group) = (unique("rebalance"), unique("group"));
        create(&topic, 1).await;
        produce(&topic, 0..100, &[]);
        let extra = [("partition.assignment.strategy", strategy), QUICK[0]];
        let mut first = subscribed(&topic, &group, &extra).await;
        let mut listener = Counting::default();
        let (values, next) = read(&mut first, 100, &mut listener).await;
        assert_eq!((values.len(), listener.assigned), (100, 1));
        listener.next.extend(next);
        first.close(Duration::from_secs(5), &mut listener).await.unwrap();
        assert_eq!(listener.revoked, 1);
        produce(&topic, 100..110, &[]);
        let mut second = subscribed(&topic, &group, &extra).await;
        assert_eq!(read(&mut second, 10, &mut NoListener).await.0, (100..110).collect::<Vec<_>>());
        // a third one joins while the second is there: the only partition has one owner in the end
        let mut third = subscribed(&topic, &group, &extra).await;
        let begun = Instant::now();
        let mut joined = false;
        loop {
            let (mut one, mut other) = (NoListener, NoListener);
            let wait = Duration::from_millis(300);
            let (a, b) = tokio::join!(second.poll(wait, &mut one), third.poll(wait, &mut other));
            a.unwrap();
            b.unwrap();
            joined |= third.group_metadata().unwrap().generation_id > 0;
            let owned = second.assignment().len() + third.assignment().len();
            if joined && owned == 1 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{owned} owners");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_that_cooperate_read_everything_once() {
    come_and_go(&[("partition.assignment.strategy", "CooperativeStickyAssignor"), QUICK[0]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_with_the_default_assignors_read_everything_once() {
    come_and_go(&QUICK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_unnoticed_and_two_of_a_name_clash() {
    let (topic, group) = (unique("static"), unique("group"));
    create(&topic, 4).await;
    produce(&topic, 0..50, &["-X", "sticky.partitioning.linger.ms=0"]);
    let named = |name: &'static str| [("group.instance.id", name), QUICK[0], ("session.timeout.ms", "20000")];
    let other = Worker::start(subscribed(&topic, &group, &named("other")).await);
    let mut one = subscribed(&topic, &group, &named("one")).await;
    let mut listener = Counting::default();
    let begun = Instant::now();
    while one.assignment().len() != 2 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        poll(&mut one, Duration::from_millis(100), &mut listener).await;
    }
    let mut owned = one.assignment();
    let generation = one.group_metadata().unwrap().generation_id;
    one.close(Duration::from_secs(5), &mut listener).await.unwrap();
    // it is back with what it had, in the same generation: the other one has not been asked
    let mut one = subscribed(&topic, &group, &named("one")).await;
    let begun = Instant::now();
    while one.assignment().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        poll(&mut one, Duration::from_millis(100), &mut NoListener).await;
    }
    let mut again = one.assignment();
    owned.sort();
    again.sort();
    assert_eq!((&again, one.group_metadata().unwrap().generation_id), (&owned, generation));
    // a second one of the same name: the first ends with an error, and does not fight
    let mut usurper = subscribed(&topic, &group, &named("one")).await;
    let begun = Instant::now();
    let mut listener = Counting::default();
    let fenced = loop {
        assert!(begun.elapsed() < Duration::from_secs(30));
        let (mut nobody, wait) = (NoListener, Duration::from_millis(100));
        let (first, second) = tokio::join!(one.poll(wait, &mut listener), usurper.poll(wait, &mut nobody));
        second.unwrap();
        if let Err(error) = first {
            break error;
        }
    };
    assert_eq!((fenced.kind(), fenced.code()), (ErrorKind::Fenced, Some(ErrorCode::FencedInstanceId)));
    assert!(fenced.to_string().contains("group.instance.id=one"), "{fenced}");
    assert_eq!((one.assignment().len(), listener.lost), (0, 2));
    assert_eq!(
        one.poll(Duration::from_millis(100), &mut listener).await.unwrap_err().kind(),
        ErrorKind::Fenced
    );
    for _ in 0..10 {
        usurper.poll(Duration::from_millis(100), &mut NoListener).await.unwrap();
    }
    let mut left = usurper.assignment();
    left.sort();
    assert_eq!(left, owned);
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_fit_a_pattern_are_found_while_it_runs() {
    let (prefix, group) = (unique("pattern"), unique("group"));
    create(&format!("{prefix}-a"), 1).await;
    create(&format!("{prefix}.other"), 1).await;
    produce(&format!("{prefix}-a"), 0..10, &[]);
    produce(&format!("{prefix}.other"), 50..60, &[]);
    let quick = [("metadata.max.age.ms", "300"), QUICK[0]];
    let mut consumer = Consumer::new(&properties(&group, &quick)).await.unwrap();
    let start = format!("{prefix}-");
    consumer.subscribe(Subscription::Matching(Box::new(move |topic| topic.starts_with(&start)))).unwrap();
    assert_eq!(read(&mut consumer, 10, &mut NoListener).await.0, (0..10).collect::<Vec<_>>());
    create(&format!("{prefix}-b"), 2).await;
    produce(&format!("{prefix}-b"), 10..20, &["-p", "1"]);
    // what was read is read again from the start: nothing was committed before the new topic came
    let begun = Instant::now();
    let mut values = Vec::new();
    while !values.contains(&19) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{values:?}");
        values.extend(poll(&mut consumer, Duration::from_millis(300), &mut NoListener).await.0);
    }
    assert!(!values.contains(&50) && consumer.assignment().len() == 3, "{values:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_the_jvm_shares_the_group() {
    share_with_jvm(&QUICK, &["heartbeat.interval.ms=200"], Duration::from_secs(5)).await;
}

fn connect(group: &str, instance: Option<&str>) -> GroupConfig {
    let mut config = GroupConfig::new(group, "connect");
    config.heartbeat_interval = Duration::from_millis(200);
    config.session_timeout = Duration::from_secs(10);
    config.rebalance_timeout = Duration::from_secs(20);
    config.instance_id = instance.map(str::to_owned);
    config
}

fn offer(metadata: &str) -> Vec<GroupProtocol> {
    let metadata = metadata.to_owned();
    vec![GroupProtocol::new("sessioned", metadata.clone()), GroupProtocol::new("default", metadata)]
}

/// Answers events until a member has joined: a leader gives each member all metadata, joined by commas.
async fn joined(member: &GroupMember, metadata: &str) -> Joined {
    loop {
        match tokio::time::timeout(Duration::from_secs(30), member.event()).await.unwrap() {
            GroupEvent::Elected(round) => {
                let mut all: Vec<_> = round
                    .members
                    .iter()
                    .map(|of| String::from_utf8_lossy(&of.metadata).into_owned())
                    .collect();
                all.sort();
                let all = all.join(",");
                let share = |of: &aqueduct_protocol::client::group::MemberMetadata| {
                    (of.member_id.clone(), all.clone().into())
                };
                member.assign(round.generation, round.members.iter().map(share).collect());
            }
            GroupEvent::Joined(joined) => return joined,
            GroupEvent::Rebalance { .. } | GroupEvent::Lost { .. } => member.join(offer(metadata)),
            GroupEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_form_a_group_of_their_own_type() {
    let group = unique("workers");
    let one = GroupMember::start(client().await, connect(&group, None)).unwrap();
    one.join(offer("one"));
    let first = joined(&one, "one").await;
    assert_eq!(
        (&first.assignment[..], first.protocol.as_str(), first.is_leader()),
        (&b"one"[..], "sessioned", true)
    );
    let two = GroupMember::start(client().await, connect(&group, None)).unwrap();
    two.join(offer("two"));
    let (a, b) = tokio::join!(joined(&one, "one"), joined(&two, "two"));
    assert_eq!((&a.assignment[..], &b.assignment[..]), (&b"one,two"[..], &b"one,two"[..]));
    assert_eq!((a.generation, a.is_leader(), b.is_leader()), (b.generation, true, false));
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    // one member comes with new metadata; the other learns of it with a heartbeat
    two.join(offer("zwei"));
    let begun = Instant::now();
    assert!(matches!(one.event().await, GroupEvent::Rebalance { generation } if generation == a.generation));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    one.join(offer("one"));
    let (a, b) = tokio::join!(joined(&one, "one"), joined(&two, "zwei"));
    assert_eq!((&a.assignment[..], a.generation), (&b"one,zwei"[..], b.generation));
    // members of another type are refused, in words
    let mut consumer = subscribed(&unique("topic"), &group, &QUICK).await;
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(20));
        if let Err(error) = consumer.poll(Duration::from_millis(200), &mut NoListener).await {
            break error;
        }
    };
    assert!(error.to_string().contains(&group), "{error}");
    // the leader leaves: the other one leads
    one.leave("done").await;
    let b = joined(&two, "zwei").await;
    assert_eq!((&b.assignment[..], b.is_leader()), (&b"zwei"[..], true));
    assert_eq!((two.identity().generation, one.identity().generation), (b.generation, -1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_workers_of_one_name_ends() {
    let group = unique("workers");
    let one = GroupMember::start(client().await, connect(&group, Some("name"))).unwrap();
    one.join(offer("one"));
    joined(&one, "one").await;
    let two = GroupMember::start(client().await, connect(&group, Some("name"))).unwrap();
    two.join(offer("two"));
    // the coordinator takes it for the same member come back: nothing is formed anew
    assert_eq!(joined(&two, "two").await.assignment, "one");
    let event = tokio::time::timeout(Duration::from_secs(10), one.event()).await.unwrap();
    assert!(matches!(event, GroupEvent::Failed(error) if error.kind() == ErrorKind::Fenced));
    let quiet = tokio::time::timeout(Duration::from_millis(800), two.event()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
