//! The dead letter queue of a sink: failed records go to a topic as they were, with what went wrong as headers.

use std::time::Duration;

use aqueduct_protocol::ErrorCode;
use aqueduct_protocol::client::producer::{AppendError, DeliveryTicket, Producer, TopicHandle};
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic};

use super::client_config::{TaskClient, task_client};
use super::task::{TaskId, TaskRun};
use crate::connector::{ConfigMap, ConnectError};
use crate::converter::DEFAULT_HEADER_CONVERTER;
use crate::data::{Batch, Record, RecordError, RecordState, Stage};
use crate::metrics::ErrorMetrics;

const DEFAULT_REPLICATION: i16 = 3;
const PREFIX: &str = "__connect.errors.";
/// How long a task that fails may wait for its last reports.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// `errors.deadletterqueue.*` of one task.
pub(super) struct DeadLetters {
    id: TaskId,
    topic: String,
    context: bool,
    converters: [String; 3],
    producer: Producer,
    handle: TopicHandle,
    /// Reports on their way: no offset is committed before they have arrived.
    tickets: Vec<DeliveryTicket>,
    metrics: ErrorMetrics,
}

impl DeadLetters {
    /// None if the connector names no topic. The topic is created if it is missing.
    pub(super) async fn for_sink(run: &TaskRun) -> Result<Option<DeadLetters>, ConnectError> {
        let connector = &run.connector_config;
        let text = |key: &str| connector.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let Some(topic) = text("errors.deadletterqueue.topic.name") else { return Ok(None) };
        let replication =
            text("errors.deadletterqueue.topic.replication.factor").and_then(|factor| factor.parse().ok());
        let client = |client| {
            task_client(client, &run.shared.config.properties, connector, &run.id.connector, run.id.task)
        };
        create(topic, replication.unwrap_or(DEFAULT_REPLICATION), &client(TaskClient::DlqAdmin)).await?;
        let failed = |error| {
            ConnectError::fatal(format!("errors.deadletterqueue.topic.name={topic}: cannot be written to"))
                .caused_by(error)
        };
        let producer = Producer::new(&client(TaskClient::DlqProducer)).await.map_err(failed)?;
        let handle = producer.topic(topic).await.map_err(failed)?;
        let class = |key: &str| {
            let own = connector.get(key).or_else(|| run.shared.config.properties.get(key));
            own.map_or(DEFAULT_HEADER_CONVERTER, |class| class.trim()).to_owned()
        };
        Ok(Some(DeadLetters {
            id: run.id.clone(),
            topic: topic.to_owned(),
            context: text("errors.deadletterqueue.context.headers.enable")
                .is_some_and(|set| set.eq_ignore_ascii_case("true")),
            converters: ["key.converter", "value.converter", "header.converter"].map(class),
            producer,
            handle,
            tickets: Vec::new(),
            metrics: ErrorMetrics::new(&run.id.connector, run.id.task),
        }))
    }

    /// Reports every failed record of a batch. Costs nothing for a batch without failures.
    pub(super) async fn report(&mut self, batch: &Batch) -> Result<(), ConnectError> {
        if batch.errors.is_empty() {
            return Ok(());
        }
        for record in &batch.records {
            if let RecordState::Failed(error) = record.state
                && let Some(error) = batch.errors.get(error as usize)
            {
                self.report_one(batch, record, error).await?;
            }
        }
        Ok(())
    }

    /// Reports one record: key, value and headers as they were read.
    pub(super) async fn report_one(
        &mut self,
        batch: &Batch,
        record: &Record,
        error: &RecordError,
    ) -> Result<(), ConnectError> {
        let context = if self.context { self.context(batch, record, error) } else { Vec::new() };
        let original = batch
            .headers_of(record)
            .iter()
            .map(|header| (batch.bytes(header.key), header.raw.map(|raw| batch.bytes(raw))));
        let added = context.iter().map(|(key, value)| (key.as_bytes(), Some(value.as_bytes())));
        let headers: Vec<(&[u8], Option<&[u8]>)> = original.chain(added).collect();
        let (key, value) =
            (record.raw_key.map(|span| batch.bytes(span)), record.raw_value.map(|span| batch.bytes(span)));
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

    /// Waits until every report has arrived.
    pub(super) async fn settle(&mut self) -> Result<(), ConnectError> {
        for ticket in self.tickets.drain(..) {
            if let Err(error) = ticket.await {
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

    fn context(&self, batch: &Batch, record: &Record, error: &RecordError) -> Vec<(String, String)> {
        let origin = &record.origin;
        let class = match error.stage {
            Stage::KeyConverter => Some(self.converters[0].clone()),
            Stage::ValueConverter => Some(self.converters[1].clone()),
            Stage::HeaderConverter => Some(self.converters[2].clone()),
            Stage::TaskPut => Some("org.apache.kafka.connect.sink.SinkTask".to_owned()),
            _ => None,
        };
        let fields = [
            ("topic", Some(batch.topic(origin.topic).to_owned())),
            ("partition", Some(origin.partition.to_string())),
            ("offset", Some(origin.offset.to_string())),
            ("connector.name", Some(self.id.connector.to_string())),
            ("task.id", Some(self.id.task.to_string())),
            ("stage", Some(error.stage.to_string())),
            ("class.name", class),
            ("exception.class.name", Some(error.java_class.to_owned())),
            ("exception.message", Some(error.message.clone())),
            ("exception.stacktrace", Some(format!("{}: {}\n", error.java_class, error.message))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?))).collect()
    }
}

fn failed(topic: &str, error: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
    ConnectError::fatal(format!("errors.deadletterqueue.topic.name={topic}: a report could not be written"))
        .caused_by(error)
}

async fn create(topic: &str, replication_factor: i16, client: &ConfigMap) -> Result<(), ConnectError> {
    let failed = |error: aqueduct_protocol::Error| {
        ConnectError::fatal(format!("errors.deadletterqueue.topic.name={topic}: the topic cannot be created; create it, or see errors.deadletterqueue.topic.replication.factor={replication_factor}"))
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
