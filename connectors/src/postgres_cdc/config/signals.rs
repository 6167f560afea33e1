//! `signal.*`, `notification.*` and `incremental.snapshot.*`.

use std::path::PathBuf;

use aqueduct_engine::config::with_prefix;
use aqueduct_engine::connector::ConnectError;

use super::{Values, wrong};
use crate::postgres_cdc::notification::NotificationSettings;
use crate::postgres_cdc::signal::{ChannelSettings, KafkaChannel};

/// Where signals come from, and how tables are read in chunks.
#[derive(Debug, Clone, Default)]
pub(in crate::postgres_cdc) struct Signals {
    /// `schema.table`, if the table is a channel.
    table: Option<String>,
    pub(in crate::postgres_cdc) channels: ChannelSettings,
    /// Rows of a chunk.
    pub(in crate::postgres_cdc) chunk_rows: usize,
}

impl Signals {
    /// Whether it is the signal table.
    pub(in crate::postgres_cdc) fn is_table(&self, schema: &str, table: &str) -> bool {
        let parts = self.table.as_deref().and_then(|name| name.split_once('.'));
        parts.is_some_and(|parts| parts == (schema, table))
    }
}

pub(super) fn signals(values: &Values<'_>) -> Result<Signals, ConnectError> {
    let mut signals = Signals {
        chunk_rows: values.parsed.long("incremental.snapshot.chunk.size").clamp(1, 1 << 20) as usize,
        ..Signals::default()
    };
    let channels = &mut signals.channels;
    channels.interval = values.millis("signal.poll.interval.ms").max(std::time::Duration::from_millis(10));
    channels.key = values.or("topic.prefix", "");
    for channel in values.parsed.list("signal.enabled.channels") {
        match channel {
            "source" => {
                let table = values.text("signal.data.collection").map(|name| name.replace('"', ""));
                if let Some(name) = &table
                    && name.split('.').count() != 2
                {
                    return Err(wrong("signal.data.collection", name, "expected schema.table"));
                }
                signals.table = table;
            }
            "kafka" => channels.kafka = Some(kafka(values)?),
            "file" => channels.file = Some(PathBuf::from(values.or("signal.file", "file-signals.txt"))),
            // it is there for whoever has JMX
            "jmx" => tracing::warn!(
                "signal.enabled.channels: jmx is a channel of the JVM only; source, kafka and file are there"
            ),
            other => {
                return Err(wrong(
                    "signal.enabled.channels",
                    other,
                    "source, kafka and file are the channels",
                ));
            }
        }
    }
    Ok(signals)
}

fn kafka(values: &Values<'_>) -> Result<KafkaChannel, ConnectError> {
    let mut properties = with_prefix(values.given, "signal.consumer.");
    let defaults = [
        ("bootstrap.servers", values.or("signal.kafka.bootstrap.servers", "")),
        ("group.id", values.or("signal.kafka.groupId", "kafka-signal")),
        ("auto.offset.reset", "earliest".to_owned()),
        ("enable.auto.commit", "true".to_owned()),
    ];
    for (key, value) in defaults {
        properties.entry(key.to_owned()).or_insert(value);
    }
    // classes of the JVM
    properties.retain(|key, _| !key.ends_with(".deserializer"));
    if properties.get("bootstrap.servers").is_none_or(|servers| servers.is_empty()) {
        return Err(ConnectError::fatal(
            "signal.kafka.bootstrap.servers: not set, but signal.enabled.channels names kafka",
        ));
    }
    let topic = format!("{}-signal", values.or("topic.prefix", ""));
    Ok(KafkaChannel {
        topic: values.or("signal.kafka.topic", &topic),
        properties: properties.into_iter().collect(),
    })
}

pub(super) fn notifications(values: &Values<'_>) -> Result<NotificationSettings, ConnectError> {
    let mut settings = NotificationSettings::default();
    for channel in values.parsed.list("notification.enabled.channels") {
        match channel {
            "log" => settings.log = true,
            "sink" => {
                let topic = values.text("notification.sink.topic.name").ok_or_else(|| {
                    ConnectError::fatal(
                        "notification.sink.topic.name: not set, but notification.enabled.channels names sink",
                    )
                })?;
                settings.topic = Some(topic.to_owned());
            }
            "jmx" => tracing::warn!(
                "notification.enabled.channels: jmx is a channel of the JVM only; sink and log are there"
            ),
            other => {
                return Err(wrong("notification.enabled.channels", other, "sink and log are the channels"));
            }
        }
    }
    Ok(settings)
}
