//! Connectors and records of these tests.

use std::time::Duration;

use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic, Properties};
use aqueduct_tests::{Database, env, kcat, run, topics, unique, wait_for};
use serde_json::{Value, json};

/// A record: key and value in the JSON converter's form with schemas.
pub(crate) struct Row {
    key: Value,
    value: Value,
}

impl Row {
    pub(crate) fn new(key: Value, schema: Value, payload: Value) -> Row {
        let value =
            if schema.is_null() { Value::Null } else { json!({"schema": schema, "payload": payload}) };
        Row { key, value }
    }

    /// A record without value.
    pub(crate) fn deletion(key: Value) -> Row {
        Row { key, value: Value::Null }
    }
}

/// The schema of a struct.
pub(crate) fn structure(fields: &[(&str, Value)]) -> Value {
    let field = |(name, schema): &(&str, Value)| {
        let mut schema = schema.clone();
        schema["field"] = json!(name);
        schema
    };
    json!({"type": "struct", "fields": fields.iter().map(field).collect::<Vec<_>>()})
}

pub(crate) fn string() -> Value {
    json!({"type": "string"})
}

/// A topic of a test's own.
#[track_caller]
pub(crate) fn topic(test: &str, partitions: i32) -> String {
    let name = unique(test);
    create(&name, partitions);
    name
}

/// A topic of exactly this name.
#[track_caller]
pub(crate) fn create(name: &str, partitions: i32) {
    let create = async {
        let mut properties = Properties::new();
        properties.insert("bootstrap.servers".into(), env("AQ_KAFKA"));
        let client = Client::connect(ClientConfig::from_properties(&properties).unwrap()).await.unwrap();
        let topic =
            NewTopic { name: name.to_owned(), partitions, replication_factor: 1, configs: Properties::new() };
        Admin::new(client).create_topic(&topic).await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(create);
    wait_for(&format!("topic {name}"), Duration::from_secs(20), || {
        topics().iter().any(|topic| topic == name)
    });
}

/// Writes records to a topic.
#[track_caller]
pub(crate) fn produce(topic: &str, rows: &[Row]) {
    let text = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    let lines: Vec<String> =
        rows.iter().map(|row| format!("{}\t{}\n", text(&row.key), text(&row.value))).collect();
    run(&mut kcat(&env("AQ_KAFKA"), &["-P", "-t", topic, "-K", "\t", "-Z"]), lines.concat().as_bytes());
}

/// Confluent's sink into a database.
pub(crate) fn sink(database: &Database, name: &str, topic: &str, settings: &Value) -> Value {
    let own = json!({"connector.class": "io.confluent.connect.jdbc.JdbcSinkConnector", "topics": topic, "consumer.override.auto.offset.reset": "earliest"});
    connector(database, name, own, settings)
}

/// Confluent's source from a database.
pub(crate) fn source(database: &Database, name: &str, settings: &Value) -> Value {
    let own = json!({"connector.class": "io.confluent.connect.jdbc.JdbcSourceConnector"});
    connector(database, name, own, settings)
}

fn connector(database: &Database, name: &str, mut config: Value, settings: &Value) -> Value {
    let name = format!("{name}-{}", database.database());
    let common = json!({
        "connection.url": format!("jdbc:postgresql://127.0.0.1:{}/{}", database.port(), database.database()),
        "connection.user": "postgres", "connection.password": "x",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    });
    for (key, value) in common.as_object().unwrap().iter().chain(settings.as_object().unwrap()) {
        config[key] = value.clone();
    }
    json!({"name": name, "config": config})
}
