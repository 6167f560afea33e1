//! The client core against Apache Kafka.

use aqueduct_protocol::client::{Client, ClientConfig, Properties};

fn bootstrap() -> String {
    std::env::var("AQ_KAFKA").unwrap_or_else(|_| panic!("AQ_KAFKA is not set: run tests/run"))
}

#[tokio::test]
async fn metadata_lists_the_broker_and_says_what_is_wrong_with_a_topic() {
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), bootstrap());
    properties.insert("allow.auto.create.topics".into(), "false".into());
    let client = Client::connect(ClientConfig::from_properties(&properties).unwrap()).await.unwrap();
    let metadata = client.topic_metadata(&["there-is-no-such-topic"]).await.unwrap();
    assert!(!metadata.nodes.is_empty());
    assert!(metadata.cluster_id.is_some());
    let topic = &metadata.topics["there-is-no-such-topic"];
    assert_eq!(topic.error, Some(aqueduct_protocol::ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn the_recorded_settings_are_those_of_the_installed_clients() {
    let golden = aqueduct_tests::repository().join("protocol/tests/golden");
    let program = golden.join("ClientConfigs.java");
    let said = aqueduct_tests::run(&mut aqueduct_tests::tool(program.to_str().unwrap(), &[]), b"");
    let recorded = std::fs::read_to_string(golden.join("client_configs.tsv")).unwrap();
    assert_eq!(said, recorded);
}
