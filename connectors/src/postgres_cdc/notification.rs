//! Notifications of how snapshots go: to the log and to a topic, as Debezium's.

use std::sync::LazyLock;

use aqueduct_engine::data::{Batch, Schema, SchemaBuilder, SchemaRef, Type, Value};

use super::event::EventWriter;

static KEY: LazyLock<SchemaRef> = LazyLock::new(|| {
    SchemaBuilder::structure()
        .name("io.debezium.connector.common.NotificationKey")
        .version(1)
        .field("id", Schema::string())
        .build()
});

static VALUE: LazyLock<SchemaRef> = LazyLock::new(|| {
    SchemaBuilder::structure()
        .name("io.debezium.connector.common.Notification")
        .version(1)
        .field("id", Schema::string())
        .field("type", Schema::string())
        .field("aggregate_type", Schema::string())
        .field("additional_data", SchemaBuilder::map(Schema::string(), Schema::string()).optional().build())
        .field("timestamp", SchemaBuilder::new(Type::Int64).build())
        .build()
});

/// `notification.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NotificationSettings {
    /// `log` is among the channels.
    pub(super) log: bool,
    /// Topic of channel `sink`.
    pub(super) topic: Option<String>,
}

#[derive(Debug)]
struct Notification {
    id: String,
    kind: &'static str,
    aggregate: &'static str,
    details: Vec<(String, String)>,
}

/// Collects notifications until they are written.
#[derive(Debug)]
pub(super) struct Notifier {
    settings: NotificationSettings,
    source: String,
    waiting: Vec<Notification>,
}

impl Notifier {
    pub(super) fn new(settings: NotificationSettings, source: &str) -> Notifier {
        Notifier { settings, source: source.to_owned(), waiting: Vec::new() }
    }

    /// Of an incremental snapshot; its id is the signal's.
    pub(super) fn incremental(&mut self, id: &str, kind: &'static str, details: &[(&str, &str)]) {
        self.push(id.to_owned(), kind, "Incremental Snapshot", details);
    }

    /// Of any other snapshot.
    pub(super) fn snapshot(&mut self, kind: &'static str, details: &[(&str, &str)]) {
        self.push(uuid::Uuid::new_v4().to_string(), kind, "Initial Snapshot", details);
    }

    fn push(&mut self, id: String, kind: &'static str, aggregate: &'static str, details: &[(&str, &str)]) {
        if self.settings.log {
            tracing::info!(id, aggregate, ?details, "notification: {kind}");
        }
        if self.settings.topic.is_some() {
            let source = ("connector_name", &*self.source);
            let details = std::iter::once(&source).chain(details);
            let details = details.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            self.waiting.push(Notification { id, kind, aggregate, details });
        }
    }

    /// Writes what has come up into the batch.
    pub(super) fn write(&mut self, batch: &mut Batch, now_ms: i64) {
        let Some(topic) = &self.settings.topic else { return };
        for Notification { id, kind, aggregate, details } in self.waiting.drain(..) {
            let id = Value::String(batch.put_str(&id));
            let key = Value::Struct(batch.push_values(&[id]));
            let mut entries = Vec::with_capacity(2 * details.len());
            for (name, text) in &details {
                entries.push(Value::String(batch.put_str(name)));
                entries.push(Value::String(batch.put_str(text)));
            }
            let details = batch.push_values(&entries);
            let details =
                Value::Map(aqueduct_engine::data::Range32 { start: details.start, len: details.len / 2 });
            let (kind, aggregate) =
                (Value::String(batch.put_str(kind)), Value::String(batch.put_str(aggregate)));
            let fields = [id, kind, aggregate, details, Value::Int64(now_ms)];
            let value = Value::Struct(batch.push_values(&fields));
            EventWriter::other(batch, topic, (&KEY, key), (&VALUE, value));
        }
    }
}
