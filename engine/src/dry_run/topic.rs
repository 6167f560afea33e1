//! Records of a topic as they lie there, from the oldest on.

use std::time::Duration;

use aqueduct_protocol::client::consumer::{Consumer, NoListener};
use aqueduct_protocol::client::{Client, ClientConfig};
use aqueduct_protocol::wire::TopicPartition;
use aqueduct_protocol::wire::records::{RecordView, TimestampType as Wire};

use super::Message;
use crate::connector::{ConfigMap, ConnectError};
use crate::data::TimestampType;

/// Longest wait for records.
const POLL: Duration = Duration::from_secs(1);
/// Polls without records after which the topic counts as read.
const IDLE_POLLS: u32 = 5;

/// Reads a topic without a group: nothing is committed.
pub struct TopicReader {
    consumer: Consumer,
    left: usize,
    idle: u32,
}

impl TopicReader {
    /// Reads at most `max` records. `client` are the consumer's settings, `bootstrap.servers` among them.
    ///
    /// # Errors
    /// If the brokers cannot be reached or the topic does not exist.
    pub async fn open(client: &ConfigMap, topic: &str, max: usize) -> Result<Self, ConnectError> {
        let failed = |error: aqueduct_protocol::Error| {
            ConnectError::fatal(format!("topic {topic} cannot be read")).caused_by(error)
        };
        let mut settings = client.clone();
        settings.insert("auto.offset.reset".to_owned(), "earliest".to_owned());
        let config = ClientConfig::from_properties(&settings).map_err(failed)?;
        let topics = Client::connect(config).await.map_err(failed)?.all_topics().await.map_err(failed)?;
        let known = topics.topic(topic).ok_or_else(|| {
            ConnectError::fatal(format!("topic {topic} does not exist, or may not be seen by this user"))
        })?;
        let place = |partition| (TopicPartition::new(topic, partition), -1);
        let places: Vec<_> = (0..known.partitions.len() as i32).map(place).collect();
        let mut consumer = Consumer::new(&settings).await.map_err(failed)?;
        consumer.assign(&places);
        Ok(Self { consumer, left: max, idle: 0 })
    }

    /// The next records; none once all are read, `max` of them, or nothing comes for some seconds.
    ///
    /// # Errors
    /// If the topic can no longer be read.
    pub async fn next(&mut self) -> Result<Vec<Message>, ConnectError> {
        while self.left > 0 && self.idle < IDLE_POLLS {
            let fetched = self.consumer.poll(POLL, &mut NoListener).await;
            let fetched =
                fetched.map_err(|error| ConnectError::fatal("the topic cannot be read").caused_by(error))?;
            let mut messages = Vec::new();
            for part in &fetched {
                let views = (0..part.records.len()).filter_map(|index| part.records.get(index));
                messages.extend(
                    views
                        .take(self.left - messages.len())
                        .map(|view| message(&part.topic, part.partition, &view)),
                );
            }
            self.left -= messages.len();
            self.idle = if messages.is_empty() { self.idle + 1 } else { 0 };
            let all = self.consumer.assignment();
            if !all.is_empty() && all.iter().all(|partition| self.consumer.lag(partition) == Some(0)) {
                self.idle = IDLE_POLLS;
            }
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
        Ok(Vec::new())
    }
}

fn message(topic: &str, partition: i32, record: &RecordView<'_>) -> Message {
    let timestamp_type = match record.timestamp_type() {
        Wire::LogAppendTime => TimestampType::LogAppendTime,
        _ if record.timestamp() < 0 => TimestampType::None,
        _ => TimestampType::CreateTime,
    };
    let header = |header: aqueduct_protocol::wire::records::HeaderView<'_>| {
        (header.key().into_owned(), header.value().map(<[u8]>::to_vec))
    };
    Message {
        topic: topic.to_owned(),
        partition,
        offset: record.offset(),
        timestamp: record.timestamp().max(-1),
        timestamp_type,
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers: record.headers().map(header).collect(),
    }
}
