//! Where signals come from, but for the table, which the stream itself brings: a file, a Kafka topic.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_protocol::client::Properties;
use aqueduct_protocol::client::consumer::{Consumer, NoListener};
use aqueduct_protocol::wire::TopicPartition;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::RawSignal;

/// Signals that wait.
const QUEUED: usize = 64;
/// Most of a file that is read at once: more is no file of signals.
const MAX_FILE: u64 = 1 << 20;
/// Wait before Kafka is asked again after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// `signal.kafka.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres_cdc) struct KafkaChannel {
    pub(in crate::postgres_cdc) topic: String,
    /// Of the consumer.
    pub(in crate::postgres_cdc) properties: Properties,
}

/// What `signal.enabled.channels` names besides the table.
#[derive(Debug, Clone, Default)]
pub(in crate::postgres_cdc) struct ChannelSettings {
    pub(in crate::postgres_cdc) file: Option<PathBuf>,
    pub(in crate::postgres_cdc) kafka: Option<KafkaChannel>,
    pub(in crate::postgres_cdc) interval: Duration,
    /// Key of the messages in Kafka that are for this connector: `topic.prefix`.
    pub(in crate::postgres_cdc) key: String,
}

/// The open channels; closed when dropped.
#[derive(Debug)]
pub(in crate::postgres_cdc) struct Channels {
    signals: mpsc::Receiver<RawSignal>,
    _readers: JoinSet<()>,
}

impl Channels {
    /// Opens what is configured.
    pub(in crate::postgres_cdc) fn open(settings: &ChannelSettings) -> Channels {
        let (sender, signals) = mpsc::channel(QUEUED);
        let mut readers = JoinSet::new();
        if let Some(file) = settings.file.clone() {
            readers.spawn(watch_file(file, settings.interval, sender.clone()));
        }
        if let Some(kafka) = settings.kafka.clone() {
            readers.spawn(follow_topic(kafka, settings.key.clone(), settings.interval, sender));
        }
        Channels { signals, _readers: readers }
    }

    /// The next one, if one is there.
    pub(in crate::postgres_cdc) fn try_next(&mut self) -> Option<RawSignal> {
        self.signals.try_recv().ok()
    }
}

/// A signal written as a JSON object.
fn of_json(text: &str) -> Option<RawSignal> {
    let object: Json = serde_json::from_str(text).ok()?;
    let member = |name: &str| object.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let data = match object.get("data") {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    object.get("type").and_then(Json::as_str)?;
    Some(RawSignal { id: member("id"), kind: member("type"), data })
}

/// Looks into the file again and again; what it takes is taken out of it.
async fn watch_file(file: PathBuf, interval: Duration, signals: mpsc::Sender<RawSignal>) {
    loop {
        match take_lines(&file).await {
            Ok(lines) => {
                for line in lines.lines().filter(|line| !line.trim().is_empty()) {
                    match of_json(line) {
                        Some(signal) => {
                            if signals.send(signal).await.is_err() {
                                return;
                            }
                        }
                        None => tracing::warn!(
                            "signal.file {}: a line is no signal ({{\"id\": …, \"type\": …, \"data\": {{…}}}}) and is left out",
                            file.display()
                        ),
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("signal.file {}: cannot be read: {error}", file.display()),
        }
        tokio::time::sleep(interval).await;
    }
}

async fn take_lines(file: &PathBuf) -> std::io::Result<String> {
    let size = tokio::fs::metadata(file).await?.len();
    if size == 0 {
        return Ok(String::new());
    }
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!("it has {size} bytes; {MAX_FILE} are taken at most")));
    }
    let lines = tokio::fs::read_to_string(file).await?;
    tokio::fs::write(file, "").await?;
    Ok(lines)
}

/// Follows partition 0 of the topic from where the group has committed.
async fn follow_topic(
    channel: KafkaChannel,
    key: String,
    interval: Duration,
    signals: mpsc::Sender<RawSignal>,
) {
    let topic = &channel.topic;
    loop {
        if let Err(error) = follow(&channel, &key, interval, &signals).await {
            tracing::warn!("signal.kafka.topic {topic}: no signals can be read: {error}");
        }
        if signals.is_closed() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(
    channel: &KafkaChannel,
    key: &str,
    interval: Duration,
    signals: &mpsc::Sender<RawSignal>,
) -> aqueduct_protocol::Result<()> {
    let mut consumer = Consumer::new(&channel.properties).await?;
    consumer.assign(&[(TopicPartition::new(channel.topic.as_str(), 0), -1)]);
    loop {
        for batch in consumer.poll(interval, &mut NoListener).await? {
            for record in batch.records.iter() {
                if record.key() != Some(key.as_bytes()) {
                    tracing::info!(
                        topic = channel.topic,
                        "a signal is not for this connector: its key is not topic.prefix, {key}"
                    );
                    continue;
                }
                let value = record.value().map(String::from_utf8_lossy);
                match value.and_then(|value| of_json(&value)) {
                    Some(signal) => {
                        if signals.send(signal).await.is_err() {
                            return Ok(());
                        }
                    }
                    None => tracing::warn!(
                        topic = channel.topic,
                        "a message is no signal ({{\"type\": …, \"data\": {{…}}}}) and is left out"
                    ),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_s_lines_are_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signals");
        let settings = ChannelSettings {
            file: Some(file.clone()),
            interval: Duration::from_millis(5),
            ..ChannelSettings::default()
        };
        let mut channels = Channels::open(&settings);
        let lines = "{\"id\": \"1\", \"type\": \"log\", \"data\": {\"message\": \"x\"}}\nnonsense\n\n{\"type\": \"pause-snapshot\"}\n";
        std::fs::write(&file, lines).unwrap();
        let first = channels.signals.recv().await.unwrap();
        assert_eq!((first.id.as_str(), first.data.as_str()), ("1", r#"{"message":"x"}"#));
        assert_eq!(channels.signals.recv().await.unwrap().kind, "pause-snapshot");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
        assert!(channels.try_next().is_none());
    }
}
