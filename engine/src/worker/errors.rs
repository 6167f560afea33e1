//! What becomes of records that a stage could not handle: `errors.tolerance`, `errors.log.*`.

use std::fmt;

use super::task::TaskId;
use crate::connector::{ConfigMap, ConnectError};
use crate::data::{Batch, Record, RecordError, RecordState};
use crate::metrics::ErrorMetrics;

/// The policy of one task, and what it has counted.
#[derive(Debug)]
pub(super) struct ErrorPolicy {
    id: TaskId,
    tolerate: bool,
    log: bool,
    log_messages: bool,
    /// Which words the log uses for the record.
    side: RecordSide,
    /// Records that failed and were skipped.
    pub(super) skipped: u64,
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
            skipped: 0,
        }
    }

    /// Something was tried again.
    pub(super) fn retried(&self) {
        self.metrics.retries.increment(1);
    }

    /// Whether failed records are skipped.
    pub(super) fn tolerates(&self) -> bool {
        self.tolerate
    }

    /// Logs the failed records of a batch. The error of the first one if failures are not tolerated.
    /// Costs nothing for a batch without failures.
    pub(super) fn review(&mut self, batch: &Batch) -> Result<(), ConnectError> {
        if batch.errors.is_empty() {
            return Ok(());
        }
        let mut first = None;
        for record in &batch.records {
            let RecordState::Failed(error) = record.state else { continue };
            let Some(error) = batch.errors.get(error as usize) else { continue };
            self.metrics.errors.increment(1);
            self.metrics.failures.increment(1);
            self.metrics.last.set(chrono::Utc::now().timestamp_millis() as f64);
            if self.log {
                self.metrics.logged.increment(1);
                tracing::error!(
                    connector = &*self.id.connector,
                    task = self.id.task,
                    "{}",
                    self.line(batch, record, error)
                );
            }
            if self.tolerate {
                self.skipped += 1;
                self.metrics.skipped.increment(1);
            } else {
                first.get_or_insert_with(|| tolerance_exceeded(error));
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn line(&self, batch: &Batch, record: &Record, error: &RecordError) -> String {
        let shown = Shown { batch, record, side: self.side, messages: self.log_messages };
        format!(
            "Error encountered in task {}. Executing stage '{}'{shown}. {}: {}",
            self.id, error.stage, error.java_class, error.message
        )
    }
}

/// The error of a task that meets a failed record and must not skip it.
pub(super) fn tolerance_exceeded(error: &RecordError) -> ConnectError {
    let cause =
        ConnectError::fatal(format!("{}: {} (stage {})", error.java_class, error.message, error.stage));
    ConnectError::fatal("Tolerance exceeded in error handler").caused_by(cause)
}

/// The words of the log for a record. Keys and values only if the user has asked for them.
struct Shown<'a> {
    batch: &'a Batch,
    record: &'a Record,
    side: RecordSide,
    messages: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { batch, record, .. } = self;
        if self.side == RecordSide::Source {
            return if self.messages {
                write!(f, ", where source record is for topic '{}'", batch.topic(record.topic))
            } else {
                Ok(())
            };
        }
        let origin = &record.origin;
        write!(
            f,
            ", where consumed record is {{topic='{}', partition={}, offset={}",
            batch.topic(origin.topic),
            origin.partition,
            origin.offset
        )?;
        write!(f, ", timestamp={}", record.timestamp)?;
        if self.messages {
            for (name, raw) in [("key", record.raw_key), ("value", record.raw_value)] {
                match raw {
                    Some(span) => write!(f, ", {name}={}", String::from_utf8_lossy(batch.bytes(span)))?,
                    None => write!(f, ", {name}=null")?,
                }
            }
        }
        f.write_str("}")
    }
}
