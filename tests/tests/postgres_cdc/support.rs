//! Connectors of these tests.

use aqueduct_tests::Database;
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
