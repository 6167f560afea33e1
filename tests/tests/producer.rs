//! The producer against Apache Kafka, read back by clients that others wrote.

mod producer_support;

use std::time::{Duration, Instant};

use aqueduct_protocol::client::producer::{AppendError, Producer, RunRecord};
use aqueduct_protocol::wire::partitioner::partition_for_key;
use aqueduct_protocol::{ErrorCode, ErrorKind};
use producer_support::{bootstrap, console_consumer, create_topic, kcat, kcat_input, producer, properties};

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_is_read_back_by_librdkafka_and_the_jvm() {
    let topic = create_topic("P-codecs", 1, &[]).await;
    let mut expected = String::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = producer(&[("compression.type", codec), ("batch.size", "4000")]).await;
        let handle = producer.topic(&topic).await.unwrap();
        let mut session = producer.session();
        for index in 0..500 {
            let value = format!("{codec} {index} {}", "x".repeat(index % 300));
            session.append(&handle, None, None, None, Some(value.as_bytes()), &[]).unwrap();
            expected += &value;
            expected.push('\n');
        }
        assert_eq!(session.finish().await.unwrap().records, 500);
    }
    assert!(kcat(&["-C", "-t", &topic, "-e", "-q"]) == expected, "librdkafka read something else");
    assert!(console_consumer(&topic, 2_500, &[]) == expected, "the JVM read something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_nulls_and_timestamps_arrive_as_they_are() {
    let topic = create_topic("P-headers", 1, &[]).await;
    let producer = producer(&[]).await;
    let headers: [(&[u8], Option<&[u8]>); 3] =
        [(b"a", Some(b"1")), (b"a", None), ("ä".as_bytes(), Some(b""))];
    producer
        .send(&topic, Some(0), Some(1_700_000_000_123), Some(b"key"), Some(b"value"), &headers)
        .await
        .unwrap();
    let last = producer.send(&topic, None, Some(5), None, None, &[]).await.unwrap();
    assert_eq!((last.partition, last.offset), (0, 1));
    let text = kcat(&["-C", "-t", &topic, "-e", "-q", "-J"]);
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0]["ts"], 1_700_000_000_123_i64);
    assert_eq!(records[0]["headers"], serde_json::json!(["a", "1", "a", null, "ä", ""]));
    assert_eq!((&records[0]["key"], &records[0]["payload"]), (&"key".into(), &"value".into()));
    assert!(records[1]["key"].is_null() && records[1]["payload"].is_null());
    assert_eq!(records[1]["ts"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_with_five_requests_in_flight() {
    let topic = create_topic("P-order", 3, &[]).await;
    let producer = producer(&[("batch.size", "500"), ("linger.ms", "0")]).await;
    let handle = producer.topic(&topic).await.unwrap();
    let mut tickets = Vec::new();
    for round in 0..100 {
        let mut session = producer.session();
        for index in 0..200 {
            let value = (round * 200 + index).to_string();
            session.append(&handle, Some(index % 3), None, None, Some(value.as_bytes()), &[]).unwrap();
        }
        tickets.push(session.finish());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let mut total = 0;
    for partition in ["0", "1", "2"] {
        let text = kcat(&["-C", "-t", &topic, "-p", partition, "-e", "-q"]);
        let values: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(values.is_sorted_by(|a, b| a < b), "partition {partition} is out of order");
        total += values.len();
    }
    assert_eq!(total, 20_000);
}

/// In turn to each partition, by key, and without either; with little memory, so that runs are broken off and go on.
#[tokio::test(flavor = "multi_thread")]
async fn runs_go_where_single_records_go_and_keep_their_order() {
    for (name, extra, keyed) in [
        ("turn", vec![("partitioner.class", "RoundRobinPartitioner")], false),
        ("key", vec![], true),
        ("sticky", vec![], false),
    ] {
        let topic = create_topic(&format!("P-run-{name}"), 3, &[]).await;
        let mut settings = vec![("batch.size", "500"), ("buffer.memory", "4000"), ("linger.ms", "0")];
        settings.extend(extra);
        let producer = producer(&settings).await;
        let handle = producer.topic(&topic).await.unwrap();
        let texts: Vec<String> = (0..3000).map(|index| index.to_string()).collect();
        let mut session = producer.session_with_offsets();
        let (mut done, mut broken, mut headers) = (0, 0, Vec::new());
        while done < texts.len() {
            let (appended, refused) = session.append_run(&handle, &mut headers, |number, headers| {
                let value = texts.get(done + number)?.as_bytes();
                headers.push((b"number", Some(value)));
                let key = keyed.then_some(value);
                Some(RunRecord { partition: None, timestamp: None, key, value: Some(value) })
            });
            done += appended;
            match refused {
                Err(AppendError::Full { .. }) => session.wait_capacity().await.unwrap(),
                refused => refused.unwrap(),
            }
            broken += 1;
        }
        assert!(broken > 1, "{name}: the memory was never used up");
        let delivered = session.finish().await.unwrap();
        assert_eq!(delivered.records, 3000);
        let mut counts = Vec::new();
        for partition in 0..3 {
            let format = "%s %h\n";
            let text = kcat(&["-C", "-t", &topic, "-p", &partition.to_string(), "-e", "-q", "-f", format]);
            let mut last = None;
            for line in text.lines() {
                let (value, header) = line.split_once(" number=").unwrap();
                assert_eq!(value, header, "{name}");
                let number: i64 = value.parse().unwrap();
                assert!(last < Some(number), "{name}: {number} comes after {last:?}");
                last = Some(number);
                let key = partition_for_key(value.as_bytes(), 3);
                assert!(!keyed || key == partition, "{name}: {value} is in {partition}, not in {key}");
            }
            counts.push(text.lines().count());
        }
        assert_eq!(counts.iter().sum::<usize>(), 3000, "{name}: {counts:?}");
        // one that found no memory takes its turn again
        assert!(name != "turn" || counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_where_other_clients_send_them() {
    let topic = create_topic("P-keys", 7, &[]).await;
    let keys: Vec<String> = (0..200).map(|index| format!("key-{index}-{}", "k".repeat(index % 9))).collect();
    let producer = producer(&[]).await;
    for key in &keys {
        let handle = producer.topic(&topic).await.unwrap();
        let mut session = producer.session();
        session.append(&handle, None, None, Some(key.as_bytes()), Some(b"ours"), &[]).unwrap();
        session.finish().await.unwrap();
    }
    let lines: String = keys.iter().map(|key| format!("{key}:theirs\n")).collect();
    kcat_input(&["-P", "-t", &topic, "-K:", "-X", "partitioner=murmur2_random"], &lines);
    let text = kcat(&["-C", "-t", &topic, "-e", "-q", "-f", "%k %p\n"]);
    let mut seen = std::collections::HashMap::<&str, Vec<&str>>::new();
    for (key, partition) in text.lines().filter_map(|line| line.split_once(' ')) {
        seen.entry(key).or_default().push(partition);
    }
    assert_eq!(seen.len(), keys.len());
    assert!(
        seen.values().all(|partitions| partitions.len() == 2 && partitions[0] == partitions[1]),
        "{seen:?}"
    );
}

/// Records per partition of 20,000 without keys, and how often the choice changed.
async fn spread(settings: &[(&str, &str)]) -> ([u32; 4], u32) {
    let topic = create_topic("P-sticky", 4, &[]).await;
    let producer = producer(settings).await;
    let handle = producer.topic(&topic).await.unwrap();
    let mut session = producer.session();
    let (mut counts, mut runs, mut last) = ([0; 4], 0, -1);
    for _ in 0..20_000 {
        let appended = session.append(&handle, None, None, None, Some(&[b'x'; 90]), &[]).unwrap();
        counts[appended.partition as usize] += 1;
        runs += u32::from(appended.partition != last);
        last = appended.partition;
    }
    session.finish().await.unwrap();
    (counts, runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_keys_spread_over_partitions_a_batch_at_a_time() {
    let even = [("batch.size", "1000"), ("partitioner.adaptive.partitioning.enable", "false")];
    let (counts, runs) = spread(&even).await;
    // Some 2,000 choices of one in four: 4,000 is more than five standard deviations below the mean.
    assert!(counts.iter().all(|count| *count > 4_000), "{counts:?}");
    assert!(runs < 20_000 / 8, "{runs} runs: the choice does not stick");
    // Adaptive, a partition whose queue is long gets less, how much less is a matter of time (KIP-794).
    let (counts, runs) = spread(&[("batch.size", "1000")]).await;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(runs < 20_000 / 8, "{runs} runs: the choice does not stick");
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_records_are_refused_with_names_and_sizes() {
    let topic = create_topic("P-large", 1, &[("max.message.bytes", "2000")]).await;
    let strict = producer(&[("max.request.size", "5000")]).await;
    let error = strict.send(&topic, None, None, None, Some(&[b'x'; 6000]), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Record);
    let text = error.to_string();
    assert!(text.contains(&topic) && text.contains("5000") && text.contains("60"), "{text}");

    let error = strict.send(&topic, None, None, None, Some(&[b'x'; 3000]), &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
    let text = error.to_string();
    assert!(text.contains(&topic) && text.contains("max.message.bytes") && text.contains("30"), "{text}");
    // The gap in the sequence does not stop what follows.
    strict.send(&topic, None, None, None, Some(b"small"), &[]).await.unwrap();
    assert_eq!(kcat(&["-C", "-t", &topic, "-e", "-q"]), "small\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_for_the_topic_is_split() {
    for codec in ["none", "lz4"] {
        let topic = create_topic("P-split", 1, &[("max.message.bytes", "2000")]).await;
        let producer =
            producer(&[("compression.type", codec), ("batch.size", "60000"), ("linger.ms", "50")]).await;
        let handle = producer.topic(&topic).await.unwrap();
        let mut session = producer.session_with_offsets();
        let mut expected = String::new();
        for index in 0..600_u64 {
            // Numbers that don't compress.
            let value = format!("{index} {:x}{:x}", fingerprint(index), fingerprint(index + 7777));
            session.append(&handle, None, None, None, Some(value.as_bytes()), &[]).unwrap();
            expected += &value;
            expected.push('\n');
        }
        let delivered = session.finish().await.unwrap();
        assert_eq!(delivered.written.iter().map(|run| run.count).sum::<u32>(), 600);
        for run in &delivered.written {
            assert_eq!(run.base_offset, i64::from(run.first), "offsets follow the order of the records");
        }
        assert!(
            kcat(&["-C", "-t", &topic, "-e", "-q"]) == expected,
            "{codec}: records lost, doubled or out of order"
        );
        assert_eq!(producer.buffered_bytes(), 0);
    }
}

fn fingerprint(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_named_after_max_block_ms() {
    let producer = producer(&[("max.block.ms", "1000")]).await;
    let began = Instant::now();
    let error = producer.topic("P-there-is-no-such-topic").await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains("P-there-is-no-such-topic"), "{error}");
    let topic = create_topic("P-partitions", 2, &[]).await;
    let handle = producer.topic(&topic).await.unwrap();
    let refused = producer.session().append(&handle, Some(2), None, None, None, &[]).unwrap_err();
    assert!(matches!(refused, AppendError::NoSuchPartition { partition: 2, count: 2, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_is_given_up_after_max_block_ms() {
    let mut properties = properties(&[("max.block.ms", "1500")]);
    properties.insert("bootstrap.servers".into(), "127.0.0.1:9".into());
    let producer = Producer::new(&properties).await.unwrap();
    let began = Instant::now();
    let error = producer.topic("P-any").await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(error.to_string().contains("P-any"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_full_memory_waits() {
    let topic = create_topic("P-memory", 1, &[]).await;
    let producer = producer(&[
        ("buffer.memory", "50000"),
        ("batch.size", "10000"),
        ("linger.ms", "60000"),
        ("delivery.timeout.ms", "120000"),
    ])
    .await;
    let handle = producer.topic(&topic).await.unwrap();
    let mut session = producer.session();
    let mut full = 0;
    for _ in 0..20_000 {
        while let Err(error) = session.append(&handle, None, None, None, Some(&[b'm'; 100]), &[]) {
            assert!(matches!(error, AppendError::Full { .. }), "{error}");
            full += 1;
            session.wait_capacity().await.unwrap();
        }
        assert!(producer.buffered_bytes() <= 50_000);
    }
    let ticket = session.finish();
    producer.flush().await;
    assert!(ticket.is_done(), "flush came back before everything was acknowledged");
    ticket.await.unwrap();
    assert!(full > 0, "2 MB went into 50 kB without waiting");
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn weaker_acknowledgements_work_too() {
    for acks in ["0", "1"] {
        let topic = create_topic("P-acks", 1, &[]).await;
        let producer = producer(&[("acks", acks)]).await;
        let handle = producer.topic(&topic).await.unwrap();
        let mut session = producer.session();
        for _ in 0..1000 {
            session.append(&handle, None, None, None, Some(bootstrap().as_bytes()), &[]).unwrap();
        }
        session.finish().await.unwrap();
        producer.close(Duration::from_secs(5)).await.unwrap();
        let refused = producer.session().append(&handle, None, None, None, None, &[]).unwrap_err();
        assert!(
            matches!(&refused, AppendError::Failed(error) if error.kind() == ErrorKind::Closed),
            "{refused}"
        );
        assert_eq!(kcat(&["-C", "-t", &topic, "-c", "1000", "-q"]).lines().count(), 1000, "acks={acks}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_own_partitioners_by_their_class_names() {
    let count = |topic: &str, partition: &str| {
        kcat(&["-C", "-t", topic, "-p", partition, "-e", "-q", "-f", "%k\n"]).lines().count()
    };
    let write = async |class: &str| {
        let topic = create_topic("P-partitioner", 3, &[]).await;
        let producer = producer(&[("partitioner.class", class), ("batch.size", "4000")]).await;
        let handle = producer.topic(&topic).await.unwrap();
        let mut session = producer.session();
        for _ in 0..30 {
            session.append(&handle, None, None, Some(b"the same key"), Some(b"v"), &[]).unwrap();
        }
        session.finish().await.unwrap();
        ["0", "1", "2"].map(|partition| count(&topic, partition))
    };
    let turns = write("org.apache.kafka.clients.producer.RoundRobinPartitioner").await;
    assert_eq!(turns, [10, 10, 10]);
    let sticky = write("org.apache.kafka.clients.producer.UniformStickyPartitioner").await;
    assert!(sticky.contains(&30), "one batch, one partition: {sticky:?}");
    let error = Producer::new(&properties(&[("partitioner.class", "org.example.Mine")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("partitioner.class"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_not_used_are_forgotten_and_used_again() {
    let idle = create_topic("P-idle", 1, &[]).await;
    let busy = create_topic("P-busy", 1, &[]).await;
    let producer = producer(&[("metadata.max.idle.ms", "5000")]).await;
    let handle = producer.topic(&idle).await.unwrap();
    let append = async |value: &str| {
        let mut session = producer.session_with_offsets();
        session.append(&handle, None, None, None, Some(value.as_bytes()), &[]).unwrap();
        session.finish().await.unwrap().written[0].base_offset
    };
    assert_eq!(append("one").await, 0);
    let began = Instant::now();
    while producer.client().metadata().topic(&idle).is_some() {
        assert!(began.elapsed() < Duration::from_secs(30), "it is not forgotten");
        producer.send(&busy, None, None, None, Some(b"x"), &[]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(producer.client().metadata().topic(&busy).is_some());
    // the numbers go on: begun anew, the broker would take the record for a repetition and drop it
    assert_eq!(append("two").await, 1);
    assert!(producer.client().metadata().topic(&idle).is_some());
    let three = producer.send(&idle, None, None, None, Some(b"three"), &[]).await.unwrap();
    assert_eq!(three.offset, 2);
    assert_eq!(kcat(&["-C", "-t", &idle, "-e", "-q"]), "one\ntwo\nthree\n");
}
