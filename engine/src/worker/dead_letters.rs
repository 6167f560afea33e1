//! The dead letter queue: failed records go to a topic, with what went wrong as headers. A sink's go as they were read; a
//! source's (which the JVM has no queue for) as JSON of what they were when they failed.

use std::time::Duration;

use aqueduct_protocol::ErrorCode;
use aqueduct_protocol::client::producer::{AppendError, DeliveryTicket, Producer, TopicHandle};
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic};

use super::client_config::{TaskClient, task_client};
use super::errors::RecordSide;
use super::framework::{DLQ_CONTEXT, DLQ_REPLICATION, DLQ_TOPIC};
use super::letter_text::LetterText;
use super::pipeline::Pipeline;
use super::task::{TaskId, TaskRun};
use crate::connector::{ConfigMap, ConnectError, OffsetMap};
use crate::data::{Batch, Record, RecordError, RecordState};
use crate::metrics::ErrorMetrics;

const DEFAULT_REPLICATION: i16 = 3;
const PREFIX: &str = "__connect.errors.";
/// Most reports on their way.
const MAX_TICKETS: usize = 10_000;
/// How long a task that fails may wait for its last reports.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Key and value of a report, as bytes.
type Sides<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);
/// A header of a report.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// `errors.deadletterqueue.*` of one task.
pub(super) struct DeadLetters {
    id: TaskId,
    topic: String,
    context: bool,
    /// Of a source.
    text: Option<LetterText>,
    producer: Producer,
    handle: TopicHandle,
    /// Reports on their way: no offset is committed before they have arrived.
    tickets: Vec<DeliveryTicket>,
    /// A report could not be written: the task has to fail before it commits another offset.
    lost: bool,
    metrics: ErrorMetrics,
}

impl DeadLetters {
    /// None if the connector names no topic. The topic is created if it is missing.
    pub(super) async fn for_task(
        run: &TaskRun,
        side: RecordSide,
    ) -> Result<Option<DeadLetters>, ConnectError> {
        let connector = &run.connector_config;
        let text = |key: &str| connector.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let Some(topic) = text(DLQ_TOPIC) else { return Ok(None) };
        let replication = text(DLQ_REPLICATION).and_then(|factor| factor.parse().ok());
        let client = |client| {
            task_client(client, &run.shared.config.properties, connector, &run.id.connector, run.id.task)
        };
        create(topic, replication.unwrap_or(DEFAULT_REPLICATION), &client(TaskClient::DlqAdmin)).await?;
        let failed = |error| {
            ConnectError::fatal(format!("{DLQ_TOPIC}={topic}: cannot be written to")).caused_by(error)
        };
        let producer = Producer::new(&client(TaskClient::DlqProducer)).await.map_err(failed)?;
        let handle = producer.topic(topic).await.map_err(failed)?;
        Ok(Some(DeadLetters {
            id: run.id.clone(),
            topic: topic.to_owned(),
            context: text(DLQ_CONTEXT).is_some_and(|set| set.eq_ignore_ascii_case("true")),
            text: (side == RecordSide::Source).then(LetterText::new).transpose()?,
            producer,
            handle,
            tickets: Vec::new(),
            lost: false,
            metrics: ErrorMetrics::new(&run.id.connector, run.id.task),
        }))
    }

    /// Reports every failed record of a batch. Costs nothing for a batch without failures.
    pub(super) async fn report(
        &mut self,
        batch: &mut Batch,
        pipeline: &mut Pipeline, // only read: converters cannot be shared between threads
    ) -> Result<(), ConnectError> {
        if batch.errors.is_empty() {
            return Ok(());
        }
        if let Some(text) = &mut self.text {
            text.encode(batch);
        }
        for (index, record) in batch.records.iter().enumerate() {
            if let RecordState::Failed(place) = record.state
                && let Some(error) = batch.errors.get(place as usize)
            {
                let class = pipeline.failed_class(place, error.stage);
                self.report_one(batch, index, error, class).await?;
            }
        }
        if self.tickets.len() > MAX_TICKETS { self.settle().await } else { Ok(()) }
    }

    /// Reports one record.
    pub(super) async fn report_one(
        &mut self,
        batch: &Batch,
        index: usize,
        error: &RecordError,
        class: Option<&str>,
    ) -> Result<(), ConnectError> {
        let Some(record) = batch.records.get(index) else { return Ok(()) };
        let context = if self.context { self.context(batch, record, error, class) } else { Vec::new() };
        let ((key, value), mut headers) = match &self.text {
            Some(text) => text.get(batch, index),
            None => as_read(batch, record),
        };
        headers.extend(context.iter().map(|(key, value)| (key.as_bytes(), Some(value.as_bytes()))));
        let timestamp = (record.timestamp >= 0).then_some(record.timestamp);
        let mut session = self.producer.session();
        loop {
            match session.append(&self.handle, None, timestamp, key, value, &headers) {
                Ok(_) => break,
                Err(AppendError::Full { .. }) => {
                    session.wait_capacity().await.map_err(|error| failed(&self.topic, error))?
                }
                Err(error) => return Err(failed(&self.topic, error)),
            }
        }
        self.metrics.dead_letters.increment(1);
        self.tickets.push(session.finish());
        Ok(())
    }

    /// Waits until every report has arrived. Once one was lost this is an error for ever.
    pub(super) async fn settle(&mut self) -> Result<(), ConnectError> {
        if self.lost {
            return Err(ConnectError::fatal(format!("{DLQ_TOPIC}={}: a report was lost", self.topic)));
        }
        for ticket in self.tickets.drain(..) {
            if let Err(error) = ticket.await {
                self.lost = true;
                self.metrics.dead_letter_failures.increment(1);
                return Err(failed(&self.topic, error));
            }
        }
        Ok(())
    }

    /// Lets the last reports out, for a while.
    pub(super) async fn close(mut self) {
        if tokio::time::timeout(LAST_REPORTS, self.settle()).await.is_err() {
            tracing::warn!(
                connector = &*self.id.connector,
                task = self.id.task,
                topic = self.topic,
                "reports to the dead letter queue are lost"
            );
        }
        let _ = self.producer.close(LAST_REPORTS).await;
    }

    /// The JVM's headers in the JVM's order. A source's record has no place in Kafka: partition and offset are those of its
    /// source, in JSON.
    fn context(
        &self,
        batch: &Batch,
        record: &Record,
        error: &RecordError,
        class: Option<&str>,
    ) -> Vec<(String, String)> {
        let origin = &record.origin;
        let place = match &self.text {
            None => [
                ("topic", Some(batch.topic(origin.topic).to_owned())),
                ("partition", Some(origin.partition.to_string())),
                ("offset", Some(origin.offset.to_string())),
            ],
            Some(_) => {
                let position = batch.positions.get(record.position as usize);
                let json = |map: &OffsetMap| serde_json::Value::Object(map.clone()).to_string();
                [
                    ("topic", Some(batch.topic(record.topic).to_owned())),
                    ("source.partition", position.map(|position| json(&position.partition))),
                    ("source.offset", position.map(|position| json(&position.offset))),
                ]
            }
        };
        let (message, cause) = own_message(&error.message);
        let trace = match cause {
            Some(cause) => format!("{}: {message}\nCaused by: {cause}\n", error.java_class),
            None => format!("{}: {message}\n", error.java_class),
        };
        let fields = [
            ("connector.name", Some(self.id.connector.to_string())),
            ("task.id", Some(self.id.task.to_string())),
            ("stage", Some(error.stage.to_string())),
            ("class.name", class.map(str::to_owned)),
            ("exception.class.name", Some(error.java_class.to_owned())),
            ("exception.message", Some(message.to_owned())),
            ("exception.stacktrace", Some(trace)),
        ];
        let all = place.into_iter().chain(fields);
        all.filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?))).collect()
    }
}

/// The message of a converter's exception, and what the JVM has as the message of its cause.
fn own_message(message: &str) -> (&str, Option<&str>) {
    const LEADS: [&str; 3] = [
        "Converting byte[] to Kafka Connect data failed due to ",
        "Failed to deserialize ",
        "Failed to serialize ",
    ];
    if !LEADS.iter().any(|lead| message.starts_with(lead)) {
        return (message, None);
    }
    match message.split_once(": ") {
        Some((lead, cause)) => (&message[..lead.len() + 2], Some(cause)),
        None => (message, None),
    }
}

/// Key, value and headers as they were in the message.
fn as_read<'a>(batch: &'a Batch, record: &Record) -> (Sides<'a>, Vec<Header<'a>>) {
    let headers = batch
        .headers_of(record)
        .iter()
        .map(|header| (batch.bytes(header.key), header.raw.map(|raw| batch.bytes(raw))));
    let raw = |span: Option<crate::data::Span>| span.map(|span| batch.bytes(span));
    ((raw(record.raw_key), raw(record.raw_value)), headers.collect())
}

fn failed(topic: &str, error: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
    ConnectError::fatal(format!("{DLQ_TOPIC}={topic}: a report could not be written")).caused_by(error)
}

async fn create(topic: &str, replication_factor: i16, client: &ConfigMap) -> Result<(), ConnectError> {
    let failed = |error: aqueduct_protocol::Error| {
        ConnectError::fatal(format!("{DLQ_TOPIC}={topic}: the topic cannot be created; create it, or see {DLQ_REPLICATION}={replication_factor}"))
            .caused_by(error)
    };
    let client = Client::connect(ClientConfig::for_admin(client).map_err(failed)?).await.map_err(failed)?;
    let known = client.all_topics().await.map_err(failed)?;
    if known.topic(topic).is_some() {
        return Ok(());
    }
    let new =
        NewTopic { name: topic.to_owned(), partitions: 1, replication_factor, configs: ConfigMap::new() };
    match Admin::new(client).create_topic(&new).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_apart() {
        let lead = "Converting byte[] to Kafka Connect data failed due to serialization error: ";
        let message = format!("{lead}at byte 0: no such literal");
        assert_eq!(own_message(&message), (lead, Some("at byte 0: no such literal")));
        assert_eq!(own_message("Value (x) was: odd"), ("Value (x) was: odd", None));
    }
}
