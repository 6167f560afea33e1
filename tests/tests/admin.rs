//! Administration of Apache Kafka, looked at by Kafka's own tools and librdkafka.

use std::time::Duration;

use aqueduct_protocol::client::consumer::{Consumer, NoListener, Subscription};
use aqueduct_protocol::client::producer::Producer;
use aqueduct_protocol::client::{
    Admin, Client, ClientConfig, ConfigChange, ConfigResource, NewTopic, OffsetSpec, Properties,
};
use aqueduct_protocol::wire::TopicPartition;
use aqueduct_protocol::{ErrorCode, ErrorKind};
use aqueduct_tests::{env, kcat, run, tool, unique};

fn properties(pairs: &[(&str, &str)]) -> Properties {
    let bootstrap = env("AQ_KAFKA");
    let base = [("bootstrap.servers", bootstrap.as_str())];
    base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn admin() -> Admin {
    Admin::new(Client::connect(ClientConfig::for_admin(&properties(&[])).unwrap()).await.unwrap())
}

async fn create(admin: &Admin, topic: &str, partitions: i32) {
    let configs = [("retention.ms".to_owned(), "7200000".to_owned())].into();
    let new = NewTopic { name: topic.to_owned(), partitions, replication_factor: -1, configs };
    admin.create_topic(&new).await.unwrap();
    // the controller has it; the broker follows
    for _ in 0..250 {
        if admin.partition_count(topic).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("topic {topic} does not come");
}

/// Ten records in partition 0, their times a second apart, and one with the latest time in the middle.
async fn fill(topic: &str) {
    let producer = Producer::new(&properties(&[])).await.unwrap();
    for index in 0..10_i64 {
        let time = if index == 4 { 99_000 } else { 1000 * index };
        producer.send(topic, Some(0), Some(time), None, Some(b"v"), &[]).await.unwrap();
    }
}

fn jvm(class: &str, arguments: &[&str]) -> String {
    let bootstrap = env("AQ_KAFKA");
    run(&mut tool(class, &[&["--bootstrap-server", bootstrap.as_str()], arguments].concat()), b"")
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_configs() {
    let (admin, topic) = (admin().await, unique("C-admin"));
    create(&admin, &topic, 2).await;
    let found = admin.describe_topics(&[&topic, "C-there-is-none"]).await.unwrap();
    let described = found[0].as_ref().unwrap();
    assert_eq!((described.partitions.len(), &*described.name), (2, topic.as_str()));
    assert_eq!(found[1].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    admin.create_partitions(&topic, 5).await.unwrap();
    let error = admin.create_partitions(&topic, 3).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidPartitions));
    assert!(error.to_string().contains(&topic), "{error}");

    let of_topic = ConfigResource::Topic(&topic);
    let changes = [
        ("retention.ms", ConfigChange::Delete),
        ("segment.bytes", ConfigChange::Set("2097152".to_owned())),
        ("cleanup.policy", ConfigChange::Append("compact".to_owned())),
    ];
    admin.alter_configs(of_topic, &changes).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = admin.alter_configs(of_topic, &[("retention.ms", ConfigChange::Set("soon".into()))]).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidConfig));
    assert!(error.to_string().contains("retention.ms"), "the broker's own words: {error}");
    let configs = admin.describe_configs(of_topic).await.unwrap();
    let of = |name: &str| configs.iter().find(|entry| entry.name == name).unwrap();
    assert_eq!((of("segment.bytes").value.as_deref(), of("segment.bytes").is_set), (Some("2097152"), true));
    assert!(!of("retention.ms").is_set);

    let described = jvm("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", &topic]);
    assert!(described.contains("PartitionCount: 5"), "{described}");
    assert!(described.contains("segment.bytes=2097152"), "{described}");
    assert!(described.contains("cleanup.policy=delete,compact"), "{described}");
    assert!(!described.contains("retention.ms"), "{described}");

    let cluster = admin.describe_cluster().await.unwrap();
    assert_eq!(Some(&cluster.id), admin.cluster_id().await.unwrap().as_ref());
    let ours =
        format!("broker {} at {}:{}", cluster.nodes[0].id, cluster.nodes[0].host, cluster.nodes[0].port);
    let listed = run(&mut kcat(&env("AQ_KAFKA"), &["-L", "-t", &topic]), b"");
    assert!(listed.contains(&ours), "{ours}: {listed}");
    let broker = admin.describe_configs(ConfigResource::Broker(cluster.nodes[0].id)).await.unwrap();
    let secret = broker.iter().find(|entry| entry.name == "ssl.keystore.password").unwrap();
    assert!(secret.sensitive && secret.value.is_none());
    admin.delete_topics(&[&topic, "C-there-is-none"]).await.unwrap();
    assert!(!run(&mut kcat(&env("AQ_KAFKA"), &["-L"]), b"").contains(&topic));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_and_records() {
    let (admin, topic) = (admin().await, unique("C-offsets"));
    create(&admin, &topic, 2).await;
    fill(&topic).await;
    let at = |partition: i32, spec: OffsetSpec| (TopicPartition::new(topic.as_str(), partition), spec);
    let asked = [
        at(0, OffsetSpec::Earliest),
        at(0, OffsetSpec::Latest),
        at(0, OffsetSpec::MaxTimestamp),
        at(0, OffsetSpec::Timestamp(2500)),
        at(1, OffsetSpec::Latest),
        at(1, OffsetSpec::Timestamp(0)),
    ];
    // one partition may be asked for once in a request
    let mut offsets = Vec::new();
    for one in &asked {
        offsets.push(admin.list_offsets(std::slice::from_ref(one), false).await.unwrap()[0].offset);
    }
    assert_eq!(offsets, [0, 10, 4, 3, 0, -1]);
    let shown =
        |time: &str| jvm("org.apache.kafka.tools.GetOffsetShell", &["--topic", &topic, "--time", time]);
    assert_eq!(shown("max-timestamp").lines().next().unwrap(), format!("{topic}:0:4"));

    let partition = TopicPartition::new(topic.as_str(), 0);
    assert_eq!(admin.delete_records(&[(partition.clone(), 7)]).await.unwrap(), [7]);
    let left =
        run(&mut kcat(&env("AQ_KAFKA"), &["-C", "-q", "-e", "-t", &topic, "-p", "0", "-f", "%o "]), b"");
    assert_eq!(left, "7 8 9 ");
    let error = admin.delete_records(&[(partition.clone(), 70)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    assert_eq!(admin.delete_records(&[(partition, -1)]).await.unwrap(), [10]);
    admin.delete_topics(&[&topic]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_both_protocols_and_their_offsets() {
    let (admin, topic) = (admin().await, unique("C-groups"));
    create(&admin, &topic, 2).await;
    fill(&topic).await;
    for protocol in ["classic", "consumer"] {
        let group = unique(&format!("C-{protocol}"));
        let settings = [
            ("group.id", group.as_str()),
            ("group.protocol", protocol),
            ("client.id", "C-member"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ];
        let mut consumer = Consumer::new(&properties(&settings)).await.unwrap();
        consumer.subscribe(Subscription::Topics(vec![topic.as_str().into()])).unwrap();
        let mut polls = 0;
        while consumer.poll(Duration::from_millis(500), &mut NoListener).await.unwrap().is_empty() {
            polls += 1;
            assert!(polls < 60, "no records");
        }
        let described = admin.describe_group(&group).await.unwrap();
        assert_eq!((described.state.as_str(), described.is_modern), ("Stable", protocol == "consumer"));
        let member = &described.members[0];
        assert_eq!((member.client_id.as_str(), member.assignment.len()), ("C-member", 2));
        let listed = admin.list_groups().await.unwrap();
        let listed = listed.iter().find(|listed| listed.group_id == group).unwrap();
        assert_eq!((listed.protocol_type.as_str(), listed.state.as_str()), ("consumer", "Stable"));
        assert_eq!(listed.group_type.to_ascii_lowercase(), protocol);
        let error = admin.delete_group(&group).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::NonEmptyGroup));
        consumer.close(Duration::from_secs(5), &mut NoListener).await.unwrap();

        let partition = TopicPartition::new(topic.as_str(), 0);
        admin.alter_group_offsets(&group, &[(partition.clone(), 6)]).await.unwrap();
        let shown = jvm(
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            &["--describe", "--group", &group, "--offsets"],
        );
        let line = shown.lines().find(|line| line.contains(&topic)).unwrap_or_default();
        assert!(
            line.split_whitespace().collect::<Vec<_>>().windows(3).any(|of| of == ["0", "6", "10"]),
            "{shown}"
        );
        assert_eq!(admin.group_offsets(&group).await.unwrap(), [(partition.clone(), 6)]);
        admin.delete_group_offsets(&group, &[partition]).await.unwrap();
        assert_eq!(admin.group_offsets(&group).await.unwrap(), []);
        admin.delete_group(&group).await.unwrap();
        let error = admin.describe_group(&group).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound), "{error}");
    }
    admin.delete_topics(&[&topic]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_producer_cannot_commit() {
    let (admin, topic, id) = (admin().await, unique("C-fence"), unique("C-id"));
    create(&admin, &topic, 1).await;
    let producer = Producer::new(&properties(&[("transactional.id", &id)])).await.unwrap();
    producer.init_transactions().await.unwrap();
    producer.begin_transaction().unwrap();
    producer.send(&topic, None, None, None, Some(b"lost"), &[]).await.unwrap();
    let fenced = admin.fence_producers(&[&id]).await.unwrap();
    let error = producer.commit_transaction().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let described =
        jvm("org.apache.kafka.tools.TransactionsCommand", &["describe", "--transactional-id", &id]);
    assert!(described.contains(&fenced[0].0.to_string()), "{fenced:?}: {described}");
    let read = ["-C", "-q", "-e", "-t", &topic, "-X", "isolation.level=read_committed"];
    assert_eq!(run(&mut kcat(&env("AQ_KAFKA"), &read), b""), "");
    admin.delete_topics(&[&topic]).await.unwrap();
}
