//! The consumer against a real Kafka: reading, positions, offsets, settings.

mod consumer_support;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aqueduct_protocol::client::consumer::{Consumer, NoListener, OffsetAndMetadata, Subscription};
use aqueduct_protocol::client::producer::Producer;
use aqueduct_protocol::client::{Admin, NodeTarget};
use aqueduct_protocol::wire::TopicPartition;
use aqueduct_protocol::{ErrorCode, ErrorKind};
use consumer_support::{
    Counting, assigned, client, create, kafka, offsets, poll, produce, properties, read, subscribed, unique,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

#[tokio::test]
async fn a_group_goes_on_where_it_committed_in_every_codec() {
    let (topic, group) = (unique("codecs"), unique("group"));
    create(&topic, 1).await;
    for (index, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
        produce(&topic, index * 1000..(index + 1) * 1000, &["-z", codec]);
    }
    let mut consumer = subscribed(&topic, &group, &[("max.poll.records", "700")]).await;
    let (values, next) = read(&mut consumer, 2100, &mut NoListener).await;
    assert_eq!(values, (0..2100).collect::<Vec<_>>());
    consumer.commit(&offsets(&next)).await.unwrap();
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

#[tokio::test]
async fn partitions_assigned_by_hand_begin_where_they_are_told_to() {
    let (topic, group) = (unique("by-hand"), unique("group"));
    create(&topic, 2).await;
    produce(&topic, 0..100, &["-p", "0"]);
    let (mut consumer, partition) = assigned(&topic, 40, &[]).await;
    assert_eq!(read(&mut consumer, 60, &mut NoListener).await.0, (40..100).collect::<Vec<_>>());
    consumer.seek_to_beginning(std::slice::from_ref(&partition)).unwrap();
    assert_eq!(read(&mut consumer, 100, &mut NoListener).await.0, (0..100).collect::<Vec<_>>());
    consumer.seek_to_end(std::slice::from_ref(&partition)).unwrap();
    assert_eq!(consumer.wait_for_position(&partition, Duration::from_secs(10)).await.unwrap(), 100);
    let foreign = TopicPartition::new("another", 0);
    assert_eq!(consumer.seek(&foreign, 1).unwrap_err().kind(), ErrorKind::State);

    // with a group: the committed offset, and the reset where there is none
    let mut consumer = Consumer::new(&properties(&group, &[])).await.unwrap();
    let other = TopicPartition::new(topic.as_str(), 1);
    consumer.commit(&[(partition.clone(), OffsetAndMetadata::new(70))]).await.unwrap();
    consumer.assign(&[(partition.clone(), -1), (other.clone(), -1)]);
    assert_eq!(consumer.wait_for_position(&partition, Duration::from_secs(10)).await.unwrap(), 70);
    assert_eq!(consumer.wait_for_position(&other, Duration::from_secs(10)).await.unwrap(), 0);
    assert_eq!(read(&mut consumer, 30, &mut NoListener).await.0, (70..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn offsets_by_time_and_at_both_ends() {
    let topic = unique("times");
    create(&topic, 1).await;
    produce(&topic, 0..10, &[]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let between = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    produce(&topic, 10..20, &[]);
    let (mut consumer, partition) = assigned(&topic, 0, &[("auto.offset.reset", "by_duration:PT1S")]).await;
    let one = std::slice::from_ref(&partition);
    assert_eq!(consumer.beginning_offsets(one).await.unwrap(), [0]);
    assert_eq!(consumer.end_offsets(one).await.unwrap(), [20]);
    let asked = [(partition.clone(), between), (partition.clone(), 0), (partition.clone(), i64::MAX)];
    let mut found = Vec::new();
    for of in asked.chunks(1) {
        found.push(consumer.offsets_for_times(of).await.unwrap().remove(0));
    }
    assert_eq!(found[0].map(|of| (of.offset, of.timestamp >= between)), Some((10, true)));
    assert_eq!(found[1].map(|of| of.offset), Some(0));
    assert_eq!(found[2], None);
    // what was written within the last second, and nothing older
    consumer.assign(&[(partition.clone(), -1)]);
    assert_eq!(consumer.wait_for_position(&partition, Duration::from_secs(10)).await.unwrap(), 10);
    let missing = TopicPartition::new(topic.as_str(), 7);
    let short = Consumer::new(&properties("", &[("default.api.timeout.ms", "300")])).await.unwrap();
    let error = short.end_offsets(&[missing]).await.unwrap_err();
    assert!(error.to_string().contains(&format!("{topic}-7")), "{error}");
}

#[tokio::test]
async fn an_offset_out_of_range_follows_the_policy() {
    let topic = unique("range");
    create(&topic, 1).await;
    produce(&topic, 0..100, &[]);
    // the first 60 records are deleted
    let client = client().await;
    let leader = client.leader(&topic, 0).await.unwrap();
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(60);
    let name = TopicName(StrBytes::from_string(topic.clone()));
    let of = DeleteRecordsTopic::default().with_name(name).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![of]).with_timeout_ms(10_000);
    client.send(NodeTarget::Id(leader), request, None).await.unwrap();

    let (mut consumer, _) = assigned(&topic, 10, &[]).await;
    assert_eq!(read(&mut consumer, 40, &mut NoListener).await.0, (60..100).collect::<Vec<_>>());
    let (mut consumer, partition) = assigned(&topic, 10, &[("auto.offset.reset", "none")]).await;
    let begun = Instant::now();
    let error = loop {
        match consumer.poll(Duration::from_millis(200), &mut NoListener).await {
            Ok(batches) => assert!(batches.is_empty() && begun.elapsed() < Duration::from_secs(20)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    assert!(error.to_string().contains("offset 10") && error.to_string().contains(&topic), "{error}");
    consumer.seek(&partition, 90).unwrap();
    assert_eq!(read(&mut consumer, 10, &mut NoListener).await.0, (90..100).collect::<Vec<_>>());
    // nothing committed and no policy: said by each poll until the caller decides
    let mut consumer =
        Consumer::new(&properties(&unique("group"), &[("auto.offset.reset", "none")])).await.unwrap();
    consumer.subscribe(Subscription::Topics(vec![Arc::from(topic.as_str())])).unwrap();
    let begun = Instant::now();
    while let Ok(batches) = consumer.poll(Duration::from_millis(200), &mut NoListener).await {
        assert!(batches.is_empty() && begun.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(consumer.assignment(), std::slice::from_ref(&partition));
    consumer.seek(&partition, 99).unwrap();
    assert_eq!(read(&mut consumer, 1, &mut NoListener).await.0, [99]);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_committed_gives_no_aborted_records_and_lags_to_the_last_decided_one() {
    let topic = unique("committed");
    create(&topic, 1).await;
    let transactional: Vec<_> = properties("", &[("transactional.id", &topic)])
        .into_iter()
        .filter(|(key, _)| key != "group.id")
        .collect();
    let producer = Producer::new(&transactional.into_iter().collect()).await.unwrap();
    producer.init_transactions().await.unwrap();
    let handle = producer.topic(&topic).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..6 {
        producer.begin_transaction().unwrap();
        for number in round * 10..round * 10 + 10 {
            let mut session = producer.session();
            session.append(&handle, None, None, None, Some(number.to_string().as_bytes()), &[]).unwrap();
            drop(session.finish());
            if number % 3 == 0 {
                producer.flush().await;
            }
        }
        producer.flush().await;
        if round % 2 == 0 {
            producer.abort_transaction().await.unwrap();
        } else {
            producer.commit_transaction().await.unwrap();
            expected.extend(round * 10..round * 10 + 10);
        }
    }
    // one that is not decided yet
    producer.begin_transaction().unwrap();
    let mut session = producer.session();
    session.append(&handle, None, None, None, Some(b"99"), &[]).unwrap();
    drop(session.finish());
    producer.flush().await;

    let committed = [("isolation.level", "read_committed"), ("max.poll.records", "7")];
    let (mut consumer, partition) = assigned(&topic, 0, &committed).await;
    let (values, _) = read(&mut consumer, 30, &mut NoListener).await;
    assert_eq!(values, expected);
    assert_eq!(poll(&mut consumer, Duration::from_millis(700), &mut NoListener).await.0, [] as [usize; 0]);
    assert_eq!((consumer.lag(&partition), consumer.position(&partition)), (Some(0), Some(66)));
    assert_eq!(consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap(), [66]);
    let (mut all, partition) = assigned(&topic, 0, &[]).await;
    assert_eq!(read(&mut all, 61, &mut NoListener).await.0.len(), 61);
    assert_eq!(all.end_offsets(std::slice::from_ref(&partition)).await.unwrap(), [67]);
    producer.commit_transaction().await.unwrap();
    assert_eq!(read(&mut consumer, 1, &mut NoListener).await.0, [99]);
}

#[tokio::test]
async fn a_session_of_many_partitions_loses_nothing() {
    let topic = unique("many");
    create(&topic, 60).await;
    let mut consumer = Consumer::new(&properties("", &[("max.poll.records", "50")])).await.unwrap();
    let names: Vec<_> = (0..60).map(|index| TopicPartition::new(topic.as_str(), index)).collect();
    consumer.assign(&names.iter().map(|name| (name.clone(), -1)).collect::<Vec<_>>());
    let mut all = Vec::new();
    for round in 0..5 {
        produce(&topic, round * 400..round * 400 + 400, &["-X", "sticky.partitioning.linger.ms=0"]);
        // some are paused for a round, and leave and enter the session
        consumer.pause(&names[round * 10..round * 10 + 10]);
        all.extend(read(&mut consumer, 100, &mut NoListener).await.0);
        consumer.resume(&names);
    }
    let rest = 2000 - all.len();
    all.extend(read(&mut consumer, rest, &mut NoListener).await.0);
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<_>>());
    assert!(names.iter().all(|name| consumer.lag(name) == Some(0)));
}

#[tokio::test]
async fn a_poll_keeps_its_timeout_and_can_be_woken() {
    let mut consumer =
        Consumer::new(&properties("", &[("allow.auto.create.topics", "false")])).await.unwrap();
    let nowhere: Vec<_> =
        (0..5).map(|index| (TopicPartition::new(unique("nowhere"), index), index.into())).collect();
    consumer.assign(&nowhere);
    consumer.poll(Duration::from_millis(100), &mut NoListener).await.unwrap();
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(consumer.poll(Duration::from_millis(200), &mut NoListener).await.unwrap().is_empty());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    let (begun, wakeup) = (Instant::now(), consumer.wakeup());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        wakeup.wake();
    });
    assert!(consumer.poll(Duration::from_secs(60), &mut NoListener).await.unwrap().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_commit_for_a_deleted_topic_is_an_error_at_once() {
    let (topic, gone) = (unique("stays"), unique("goes"));
    create(&topic, 1).await;
    create(&gone, 1).await;
    Admin::new(client().await).delete_topics(&[&gone]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let consumer = Consumer::new(&properties(&unique("group"), &[])).await.unwrap();
    let (stays, gone) = (TopicPartition::new(topic, 0), TopicPartition::new(gone, 0));
    let begun = Instant::now();
    let error = consumer.commit(&offsets(&[(stays.clone(), 5), (gone.clone(), 6)])).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(error.to_string().contains(&gone.to_string()) && !error.is_retriable(), "{error}");
    let committed = consumer.committed(&[stays, gone]).await.unwrap();
    assert_eq!(
        committed.iter().map(|of| of.as_ref().map(|of| of.offset)).collect::<Vec<_>>(),
        [Some(5), None]
    );
}

#[tokio::test]
async fn commits_by_themselves_and_without_waiting() {
    let (topic, group) = (unique("auto"), unique("group"));
    create(&topic, 1).await;
    produce(&topic, 0..10, &[]);
    let auto =
        [("enable.auto.commit", "true"), ("auto.commit.interval.ms", "200"), ("max.poll.records", "4")];
    let mut consumer = subscribed(&topic, &group, &auto).await;
    let (values, next) = read(&mut consumer, 8, &mut NoListener).await;
    assert_eq!(values, (0..8).collect::<Vec<_>>());
    let one = [next[0].0.clone()];
    // the third part is not taken: the close commits what was given out
    consumer.close(Duration::from_secs(5), &mut NoListener).await.unwrap();
    let mut consumer = subscribed(&topic, &group, &auto).await;
    let committed = consumer.committed(&one).await.unwrap().remove(0).unwrap();
    assert_eq!((committed.offset, committed.leader_epoch), (8, Some(0)));
    let mut counting = Counting::default();
    assert_eq!(read(&mut consumer, 2, &mut counting).await.0, [8, 9]);
    assert_eq!(counting.assigned, 1);
    let begun = Instant::now();
    while consumer.committed(&one).await.unwrap()[0].as_ref().is_none_or(|of| of.offset != 10) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        consumer.poll(Duration::from_millis(100), &mut counting).await.unwrap();
    }
    let tickets: Vec<_> = (1..=50)
        .map(|offset| consumer.commit_async(offsets(&[(one[0].clone(), offset % 10)])).unwrap())
        .collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(consumer.committed(&one).await.unwrap()[0].as_ref().map(|of| of.offset), Some(0));
    let who = consumer.group_metadata().unwrap();
    assert!(who.group_id == group && who.generation_id > 0 && !who.member_id.is_empty());
}

#[tokio::test]
async fn a_record_larger_than_every_limit_is_read() {
    let topic = unique("large");
    create(&topic, 1).await;
    let number = format!("{}7", "0".repeat(300_000));
    aqueduct_tests::run(&mut aqueduct_tests::kcat(&kafka(), &["-P", "-t", &topic]), number.as_bytes());
    produce(&topic, 8..10, &[]);
    let small = [("max.partition.fetch.bytes", "100"), ("fetch.max.bytes", "100")];
    let (mut consumer, _) = assigned(&topic, 0, &small).await;
    assert_eq!(read(&mut consumer, 3, &mut NoListener).await.0, [7, 8, 9]);
}
