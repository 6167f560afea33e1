//! The client core against Apache Kafka.

use std::time::{Duration, Instant};

use aqueduct_protocol::client::{Client, ClientConfig, NodeTarget, Properties};
use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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

/// A broker that knows ListGroups only and says with each answer how long it wants to be left alone.
async fn throttling_broker(mut socket: TcpStream, throttle_ms: i32) -> Option<()> {
    const LIST_GROUPS: i16 = 2;
    loop {
        let length = socket.read_i32().await.ok()?;
        let mut request = vec![0; usize::try_from(length).ok()?];
        socket.read_exact(&mut request).await.ok()?;
        let mut head = &request[..8];
        let (api, version, correlation_id) = (head.get_i16(), head.get_i16(), head.get_i32());
        let mut answer = BytesMut::new();
        answer.put_i32(0);
        answer.put_i32(correlation_id);
        if api == ApiKey::ApiVersions as i16 {
            let key = |api: ApiKey, max| {
                ApiVersion::default().with_api_key(api as i16).with_min_version(0).with_max_version(max)
            };
            let keys = vec![key(ApiKey::ApiVersions, 3), key(ApiKey::ListGroups, LIST_GROUPS)];
            ApiVersionsResponse::default().with_api_keys(keys).encode(&mut answer, version).ok()?;
        } else {
            let said = ListGroupsResponse::default().with_throttle_time_ms(throttle_ms);
            said.encode(&mut answer, LIST_GROUPS).ok()?;
        }
        let length = (answer.len() - 4) as i32;
        answer[..4].copy_from_slice(&length.to_be_bytes());
        socket.write_all(&answer).await.ok()?;
    }
}

#[tokio::test]
async fn a_broker_that_throttles_is_left_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(throttling_broker(socket, 300));
        }
    });
    let client = Client::connect(ClientConfig::for_admin(&properties).unwrap()).await.unwrap();
    let ask = |timeout: u64| {
        let timeout = Some(Duration::from_millis(timeout));
        client.send(NodeTarget::Any, ListGroupsRequest::default(), timeout)
    };
    let began = Instant::now();
    ask(5_000).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(250), "the first one goes at once");
    // the pause counts in a request's time
    assert!(ask(100).await.is_err());
    ask(5_000).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
}
