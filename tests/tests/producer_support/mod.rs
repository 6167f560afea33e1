//! What the producer's tests share: topics of their own, and readers that others wrote.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_protocol::client::producer::Producer;
use aqueduct_protocol::client::{Client, ClientConfig, NodeTarget, Properties};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

pub(crate) fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"))
}

pub(crate) fn bootstrap() -> String {
    env("AQ_KAFKA")
}

pub(crate) fn properties(settings: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), bootstrap());
    properties.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    properties
}

pub(crate) async fn producer(settings: &[(&str, &str)]) -> Producer {
    Producer::new(&properties(settings)).await.unwrap()
}

/// A new topic whose name begins with `prefix`.
pub(crate) async fn create_topic(prefix: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
    create_topic_at(&bootstrap(), prefix, partitions, configs).await
}

pub(crate) async fn create_topic_at(
    server: &str,
    prefix: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let name = format!("{prefix}-{now}-{}-{count}", std::process::id());
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let configs = configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(&name)))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), server.to_owned());
    let client = Client::connect(ClientConfig::from_properties(&properties).unwrap()).await.unwrap();
    let answer = client.send(NodeTarget::Controller, request, None).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    name
}

/// What kcat (librdkafka) prints.
pub(crate) fn kcat(arguments: &[&str]) -> String {
    run(Command::new("kcat").args(["-b", &bootstrap()]).args(arguments), "")
}

/// kcat with something to read.
pub(crate) fn kcat_input(arguments: &[&str], input: &str) -> String {
    run(Command::new("kcat").args(["-b", &bootstrap()]).args(arguments), input)
}

/// What the JVM's console consumer reads from the start of a topic.
pub(crate) fn console_consumer(topic: &str, records: usize, settings: &[&str]) -> String {
    let mut command = java();
    command.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", &bootstrap()]);
    command.args(["--topic", topic, "--from-beginning", "--timeout-ms", "15000"]);
    command.args(["--max-messages", &records.to_string()]);
    command.args(settings);
    run(&mut command, "")
}

/// A JVM with Kafka's classes.
pub(crate) fn java() -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.level=error", "-cp"]);
    command.arg(format!("{}/*", env("AQ_KAFKA_JARS")));
    command
}

fn run(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
