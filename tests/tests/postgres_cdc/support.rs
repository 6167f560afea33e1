//! Connectors of these tests, and how what they wrote is compared.

use std::collections::BTreeMap;

use aqueduct_tests::{Database, records, topics};
use serde_json::{Value, json};

/// Debezium's connector on a database.
pub(crate) fn connector(database: &Database, name: &str, settings: &Value) -> Value {
    let mut config = json!({
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": "127.0.0.1", "database.port": database.port(), "database.user": "postgres", "database.password": "x",
        "database.dbname": database.database(), "topic.prefix": name, "plugin.name": "pgoutput", "slot.name": name,
        "publication.name": format!("{}_publication", database.database()), "status.update.interval.ms": "200",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
    });
    for (key, value) in settings.as_object().unwrap() {
        if key != "topic.prefix" {
            config[key] = value.clone();
        }
    }
    json!({"name": name, "config": config})
}

/// What is not the same in two runs, made the same: clocks, the run's id, the source's name; of a snapshot also its position.
fn normal(record: &Value, prefix: &str) -> Value {
    let parse = |text: &Value| text.as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    let (key, mut value) = (parse(&record["key"]), parse(&record["payload"]));
    for clock in ["ts_ms", "ts_us", "ts_ns"] {
        if value["payload"].get("op").is_some() && value["payload"].get(clock).is_some() {
            value["payload"][clock] = json!("now");
        }
    }
    let source = &mut value["payload"]["source"];
    if source.is_object() && source["snapshot"] != "false" {
        for position in ["ts_ms", "ts_us", "ts_ns", "lsn", "txId", "sequence"] {
            source[position] = json!("snapshot");
        }
    }
    let mut headers = record["headers"].as_array().cloned().unwrap_or_default();
    for at in (1..headers.len()).step_by(2) {
        if headers[at - 1] == "__debezium.context.runId" {
            headers[at] = json!("run");
        }
    }
    let text = json!({"key": key, "value": value, "headers": headers}).to_string();
    serde_json::from_str(&text.replace(prefix, "PREFIX")).unwrap()
}

/// Paths at which two values differ.
fn differences(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, value) in a {
                differences(value, &b[key], &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                let name = a.get("field").and_then(Value::as_str).map_or(index.to_string(), str::to_owned);
                differences(a, b, &format!("{path}/{name}"), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: ours {a}, Debezium's {b}")),
    }
}

/// Puts what two sources wrote beside each other, topic by topic; gives how many records there were.
pub(crate) fn compare(ours: &str, theirs: &str, what: &str, found: &mut Vec<String>) -> usize {
    let mut compared = 0;
    for topic in topics() {
        let Some(name) = topic.strip_prefix(&format!("{theirs}.")) else { continue };
        let (our_records, their_records) = (records(&format!("{ours}.{name}")), records(&topic));
        if our_records.len() != their_records.len() {
            found.push(format!(
                "{name} {what}: ours {}, Debezium's {}",
                our_records.len(),
                their_records.len()
            ));
        }
        for (at, (a, b)) in our_records.iter().zip(&their_records).enumerate() {
            compared += 1;
            differences(&normal(a, ours), &normal(b, theirs), &format!(".{name}[{at}] {what}"), found);
        }
    }
    compared
}

/// What the events of table `t` say that it holds: `v` by `id`.
pub(crate) fn replayed(topic: &str) -> BTreeMap<i64, i64> {
    let mut state = BTreeMap::new();
    for record in records(topic) {
        let key: Value = serde_json::from_str(record["key"].as_str().unwrap()).unwrap();
        let id = key["payload"]["id"].as_i64().unwrap();
        let value: Value =
            record["payload"].as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        match value["payload"]["after"]["v"].as_i64() {
            Some(v) => state.insert(id, v),
            None => state.remove(&id),
        };
    }
    state
}

/// What table `t` holds: `v` by `id`.
pub(crate) fn rows(database: &Database) -> BTreeMap<i64, i64> {
    database
        .sql("select id, v from t")
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(id, v)| (id.parse().unwrap(), v.parse().unwrap()))
        .collect()
}
