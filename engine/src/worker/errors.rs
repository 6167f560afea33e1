//! What becomes of records that a stage could not handle: `errors.tolerance`, `errors.log.*`.

use std::fmt;

use super::pipeline::Pipeline;
use super::task::TaskId;
use crate::connector::{ConfigMap, ConnectError, OffsetMap};
use crate::data::{Batch, Record, RecordError, RecordState, Side, Stage, TimestampType, append_java_string};
use crate::metrics::ErrorMetrics;

/// What Connect names as the class behind errors of a sink's `put`.
pub(super) const SINK_TASK: &str = "org.apache.kafka.connect.sink.SinkTask";

/// The policy of one task, and what it has counted.
#[derive(Debug)]
pub(super) struct ErrorPolicy {
    id: TaskId,
    tolerate: bool,
    log: bool,
    log_messages: bool,
    /// Which words the log uses for the record.
    side: RecordSide,
    metrics: ErrorMetrics,
}

/// Whether records come from Kafka or from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordSide {
    Consumed,
    Source,
}

impl ErrorPolicy {
    pub(super) fn new(id: TaskId, connector: &ConfigMap, side: RecordSide) -> ErrorPolicy {
        let is = |key: &str, value: &str| {
            connector.get(key).is_some_and(|set| set.trim().eq_ignore_ascii_case(value))
        };
        let metrics = ErrorMetrics::new(&id.connector, id.task);
        ErrorPolicy {
            id,
            metrics,
            tolerate: is("errors.tolerance", "all"),
            log: is("errors.log.enable", "true"),
            log_messages: is("errors.log.include.messages", "true"),
            side,
        }
    }

    /// Something was tried again.
    pub(super) fn retried(&self) {
        self.metrics.retries.increment(1);
    }

    /// Counts and logs the failed records of a batch. The error of the first one if failures are not tolerated.
    /// Costs nothing for a batch without failures.
    pub(super) fn review(&mut self, batch: &Batch, pipeline: &Pipeline) -> Result<(), ConnectError> {
        if batch.errors.is_empty() {
            return Ok(());
        }
        let mut first = None;
        for record in &batch.records {
            let RecordState::Failed(place) = record.state else { continue };
            let Some(error) = batch.errors.get(place as usize) else { continue };
            let class = pipeline.failed_class(place, error.stage);
            if let Err(error) = self.failed(batch, record, error, class) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Counts and logs one failed record: an error if that is not tolerated.
    pub(super) fn failed(
        &mut self,
        batch: &Batch,
        record: &Record,
        error: &RecordError,
        class: Option<&str>,
    ) -> Result<(), ConnectError> {
        self.count(1);
        if self.log {
            self.metrics.logged.increment(1);
            let shown = Shown { batch, record, side: self.side, messages: self.log_messages };
            tracing::error!(
                connector = &*self.id.connector,
                task = self.id.task,
                "Error encountered in task {}. Executing stage '{}' with class '{}'{shown}. {}: {}",
                self.id,
                error.stage,
                class.unwrap_or("null"),
                error.java_class,
                error.message
            );
        }
        if !self.tolerate {
            return Err(tolerance_exceeded(error));
        }
        self.metrics.skipped.increment(1);
        Ok(())
    }

    /// Records that the producer could not deliver: skipped with a line in the log, or the error.
    pub(super) fn undelivered(&mut self, records: u64, error: ConnectError) -> Result<(), ConnectError> {
        self.count(records);
        if !self.tolerate {
            return Err(error);
        }
        self.metrics.skipped.increment(records);
        tracing::warn!(
            connector = &*self.id.connector,
            task = self.id.task,
            "{records} records were skipped, stage {}: {}",
            Stage::KafkaProduce,
            error.trace().trim_end()
        );
        Ok(())
    }

    fn count(&self, records: u64) {
        self.metrics.errors.increment(records);
        self.metrics.failures.increment(records);
        self.metrics.last.set(chrono::Utc::now().timestamp_millis() as f64);
    }
}

/// The error of a task that meets a failed record and must not skip it.
fn tolerance_exceeded(error: &RecordError) -> ConnectError {
    let cause =
        ConnectError::fatal(format!("{}: {} (stage {})", error.java_class, error.message, error.stage));
    ConnectError::fatal("Tolerance exceeded in error handler").caused_by(cause)
}

/// The words of the log for a record, in the JVM's form: nothing unless the user asks for it, of a consumed record where it
/// lies, of a source's all of it.
struct Shown<'a> {
    batch: &'a Batch,
    record: &'a Record,
    side: RecordSide,
    messages: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.messages, self.side) {
            (false, _) => Ok(()),
            (true, RecordSide::Consumed) => self.consumed(f),
            (true, RecordSide::Source) => self.source(f),
        }
    }
}

impl Shown<'_> {
    fn consumed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, record) = (self.batch, self.record);
        let origin = &record.origin;
        write!(
            f,
            ", where consumed record is {{topic='{}', partition={}, offset={}",
            batch.topic(origin.topic),
            origin.partition,
            origin.offset
        )?;
        let kind = match record.timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
            TimestampType::None => return f.write_str("}"),
        };
        write!(f, ", timestamp={}, timestampType={kind}}}", record.timestamp)
    }

    fn source(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, record) = (self.batch, self.record);
        f.write_str(", where source record is = SourceRecord{sourcePartition=")?;
        let position = batch.positions.get(record.position as usize);
        java_map(position.map(|position| &*position.partition), f)?;
        f.write_str(", sourceOffset=")?;
        java_map(position.map(|position| &*position.offset), f)?;
        write!(f, "}} ConnectRecord{{topic='{}'", batch.topic(record.topic))?;
        write!(f, ", kafkaPartition={}", OrNull(i64::from(record.partition)))?;
        for (name, side) in [("key", Side::Key), ("value", Side::Value)] {
            let (id, value) = record.side(side);
            let schema = batch.schema(id);
            let mut text = Vec::new();
            append_java_string(batch, schema, value, &mut text);
            write!(f, ", {name}={}, {name}Schema=", String::from_utf8_lossy(&text))?;
            match schema {
                Some(schema) => match &schema.name {
                    Some(name) => write!(f, "Schema{{{name}:{}}}", schema.kind.name())?,
                    None => write!(f, "Schema{{{}}}", schema.kind.name())?,
                },
                None => f.write_str("null")?,
            }
        }
        write!(f, ", timestamp={}}}", OrNull(record.timestamp))
    }
}

/// A number that is not there when it is negative.
struct OrNull(i64);

impl fmt::Display for OrNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 { f.write_str("null") } else { write!(f, "{}", self.0) }
    }
}

fn java_map(map: Option<&OffsetMap>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(map) = map else { return f.write_str("null") };
    f.write_str("{")?;
    for (place, (key, value)) in map.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        match value.as_str() {
            Some(text) => write!(f, "{comma}{key}={text}")?,
            None => write!(f, "{comma}{key}={value}")?,
        }
    }
    f.write_str("}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Origin, Schema, SourcePosition, Value};

    fn shown(batch: &Batch, side: RecordSide) -> String {
        Shown { batch, record: &batch.records[0], side, messages: true }.to_string()
    }

    #[test]
    fn records_in_the_words_of_the_jvm() {
        let mut batch = Batch::default();
        let topic = batch.intern_topic("t");
        let origin = Origin { topic, partition: 0, offset: 3 };
        batch.records.push(Record { topic, origin, timestamp: 17, ..Record::default() });
        assert_eq!(
            shown(&batch, RecordSide::Consumed),
            ", where consumed record is {topic='t', partition=0, offset=3, timestamp=17, timestampType=CreateTime}"
        );

        let map =
            |key: &str, value: serde_json::Value| Arc::new([(key.to_owned(), value)].into_iter().collect());
        batch.positions.push(SourcePosition {
            partition: map("filename", "/in".into()),
            offset: map("position", 7.into()),
        });
        let value = Value::String(batch.put_str("a line"));
        let schema = batch.intern_schema(&Schema::string());
        batch.records[0].set_side(Side::Value, schema, value);
        assert_eq!(
            shown(&batch, RecordSide::Source),
            ", where source record is = SourceRecord{sourcePartition={filename=/in}, sourceOffset={position=7}} ConnectRecord{topic='t', kafkaPartition=null, key=null, keySchema=null, value=a line, valueSchema=Schema{STRING}, timestamp=17}"
        );
    }
}
