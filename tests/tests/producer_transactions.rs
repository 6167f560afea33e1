//! Transactions against Apache Kafka, by the protocol that the cluster has finalized.

mod producer_support;

use aqueduct_protocol::client::NodeTarget;
use aqueduct_protocol::client::producer::{AppendError, GroupMetadata, Producer, TransactionOffset};
use aqueduct_protocol::{ErrorCode, ErrorKind};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{OffsetFetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use producer_support::{console_consumer, create_topic, kcat, producer};

async fn append_all(producer: &Producer, topic: &str, values: &[&str]) {
    let handle = producer.topic(topic).await.unwrap();
    let mut session = producer.session();
    for value in values {
        session.append(&handle, None, None, None, Some(value.as_bytes()), &[]).unwrap();
    }
    // The transaction tells.
    drop(session.finish());
}

#[tokio::test(flavor = "multi_thread")]
async fn read_committed_sees_commits_and_no_aborts() {
    let topic = create_topic("P-tx", 1, &[]).await;
    let producer = producer(&[("transactional.id", &topic)]).await;
    assert!(producer.begin_transaction().is_err(), "init_transactions comes first");
    producer.init_transactions().await.unwrap();
    for round in 0..6 {
        producer.begin_transaction().unwrap();
        let (a, b) = (format!("{round}a"), format!("{round}b"));
        append_all(&producer, &topic, &[&a, &b]).await;
        match round % 3 {
            0 => producer.commit_transaction().await.unwrap(),
            // Sent, and then aborted.
            1 => {
                producer.flush().await;
                producer.abort_transaction().await.unwrap();
            }
            // Perhaps not sent at all.
            _ => producer.abort_transaction().await.unwrap(),
        }
    }
    producer.begin_transaction().unwrap();
    append_all(&producer, &topic, &["last"]).await;
    producer.commit_transaction().await.unwrap();
    let handle = producer.topic(&topic).await.unwrap();
    let refused = producer.session().append(&handle, None, None, None, None, &[]).unwrap_err();
    assert!(matches!(refused, AppendError::NoTransaction), "{refused}");
    let expected = "0a\n0b\n3a\n3b\nlast\n";
    assert_eq!(console_consumer(&topic, 5, &["--isolation-level", "read_committed"]), expected);
    let uncommitted = kcat(&["-C", "-t", &topic, "-e", "-q", "-X", "isolation.level=read_uncommitted"]);
    assert!(uncommitted.contains("1a\n1b\n") && uncommitted.contains("4a\n4b\n"), "{uncommitted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_producer_fences_the_older_one() {
    let topic = create_topic("P-fence", 1, &[]).await;
    let old = producer(&[("transactional.id", &topic)]).await;
    old.init_transactions().await.unwrap();
    old.begin_transaction().unwrap();
    append_all(&old, &topic, &["old"]).await;
    old.flush().await;
    let new = producer(&[("transactional.id", &topic)]).await;
    new.init_transactions().await.unwrap();
    new.begin_transaction().unwrap();
    append_all(&new, &topic, &["new"]).await;
    new.commit_transaction().await.unwrap();

    let error = old.commit_transaction().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert!(error.to_string().contains(&topic), "{error}");
    let error = old.abort_transaction().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(kcat(&["-C", "-t", &topic, "-e", "-q", "-X", "isolation.level=read_committed"]), "new\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_record_makes_the_transaction_abortable_and_the_next_one_works() {
    let topic = create_topic("P-abortable", 1, &[("max.message.bytes", "2000")]).await;
    let producer = producer(&[("transactional.id", &topic)]).await;
    producer.init_transactions().await.unwrap();
    producer.begin_transaction().unwrap();
    append_all(&producer, &topic, &["good"]).await;
    producer.flush().await;
    append_all(&producer, &topic, &[&"x".repeat(3000)]).await;
    let error = producer.commit_transaction().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge), "{error}");
    assert!(producer.begin_transaction().is_err());
    producer.abort_transaction().await.unwrap();
    producer.begin_transaction().unwrap();
    append_all(&producer, &topic, &["better"]).await;
    producer.commit_transaction().await.unwrap();
    assert_eq!(kcat(&["-C", "-t", &topic, "-e", "-q", "-X", "isolation.level=read_committed"]), "better\n");
}

async fn committed(producer: &Producer, group: &str, topic: &str) -> i64 {
    let coordinator = producer
        .client()
        .coordinator(aqueduct_protocol::client::CoordinatorKind::Group, group)
        .await
        .unwrap();
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let asked =
        OffsetFetchRequestTopic::default().with_name(TopicName(text(topic))).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(text(group).into())
        .with_topics(Some(vec![asked]))
        .with_require_stable(true);
    loop {
        let answer =
            producer.client().send_versioned(NodeTarget::Id(coordinator), request.clone(), 7..=7, None);
        let answer = answer.await.unwrap();
        let partition = &answer.topics[0].partitions[0];
        // The coordinator answers a transaction's end before its markers are written.
        if ErrorCode::try_from_code(partition.error_code) == Some(ErrorCode::UnstableOffsetCommit) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        }
        assert_eq!(partition.error_code, 0);
        return partition.committed_offset;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_with_the_transaction_or_not_at_all() {
    let topic = create_topic("P-offsets", 1, &[]).await;
    let producer = producer(&[("transactional.id", &topic)]).await;
    producer.init_transactions().await.unwrap();
    let group = GroupMetadata::without_member(&format!("{topic}-group"));
    let offset = |offset| {
        [TransactionOffset {
            topic: topic.clone(),
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }]
    };
    producer.begin_transaction().unwrap();
    append_all(&producer, &topic, &["a"]).await;
    producer.send_offsets_to_transaction(&offset(7), &group).await.unwrap();
    producer.commit_transaction().await.unwrap();
    assert_eq!(committed(&producer, &group.group_id, &topic).await, 7);
    producer.begin_transaction().unwrap();
    producer.send_offsets_to_transaction(&offset(9), &group).await.unwrap();
    producer.abort_transaction().await.unwrap();
    assert_eq!(committed(&producer, &group.group_id, &topic).await, 7);
    // Somebody who is no member of the group any more.
    let stranger = GroupMetadata { generation_id: 3, member_id: "gone".into(), ..group.clone() };
    producer.begin_transaction().unwrap();
    let error = producer.send_offsets_to_transaction(&offset(11), &stranger).await.unwrap_err();
    assert!(error.to_string().contains(&group.group_id), "{error}");
    producer.abort_transaction().await.unwrap();
    assert_eq!(committed(&producer, &group.group_id, &topic).await, 7);
}
