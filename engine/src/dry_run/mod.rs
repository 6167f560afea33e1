//! A connector's converters, transforms and predicates over given records, without Kafka: what `aqueduct dry-run` is, and
//! what the tests compare with JVM Connect.
//!
//! A record goes the way of a sink (key, value, headers, transforms) and then that of a source (headers, key, value), with
//! the `output.*` converters where the configuration names them. State is kept from record to record, and each record
//! stands for itself after an error.

mod answer;
mod message;
mod pretty;
mod schema_text;
mod topic;

use std::sync::Arc;

pub use answer::{Answer, Output};
pub use message::{Message, MessageError};
pub use pretty::pretty;
pub use schema_text::schema_text;
pub use topic::TopicReader;

use crate::config::{ConfigError, ConfigMap, with_prefix};
use crate::converter::{self, Converter, DEFAULT_HEADER_CONVERTER, Encoded, HeaderConverter};
use crate::data::{
    Batch, Header, OffsetMap, Origin, Range32, Record, RecordError, RecordState, Side, SourcePosition, Span,
    Stage, TimestampType,
};
use crate::transform::Chain;
use crate::worker::connector_config::check_common;

/// Which kind of record the transforms see (`dry-run.record`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordKind {
    Sink,
    Source,
}

/// Three converters of one direction.
struct Converters {
    key: Box<dyn Converter>,
    value: Box<dyn Converter>,
    header: Box<dyn HeaderConverter>,
}

/// The converters and the chain of one configuration.
pub struct DryRun {
    kind: RecordKind,
    input: Converters,
    chain: Chain,
    output: Converters,
    batch: Batch,
    keys: Encoded,
    values: Encoded,
    headers: Encoded,
}

const KEY: &str = "key.converter";
const VALUE: &str = "value.converter";
const HEADER: &str = "header.converter";

impl DryRun {
    /// From a connector's configuration. Used are `key.converter`, `value.converter`, `header.converter`, the same with
    /// `output.` before them (each the input's where it is not given), `transforms`, `predicates`, what belongs to
    /// these, and `dry-run.record`: `sink` (the default) or `source`. Other common keys are only checked.
    ///
    /// # Errors
    /// Names the key that is missing or wrong.
    pub fn new(config: &ConfigMap) -> Result<Self, ConfigError> {
        let kind = match config.get("dry-run.record").map(String::as_str) {
            None | Some("sink") => RecordKind::Sink,
            Some("source") => RecordKind::Source,
            Some(_) => {
                return Err(ConfigError::new("dry-run.record", "dry-run.record must be sink or source"));
            }
        };
        check_common(config)?;
        let input = Converters {
            key: key_converter(config, "")?,
            value: value_converter(config, "")?,
            header: header_converter(config, "")?,
        };
        let chain = Chain::from_config(config)?;
        let prefix = |key: &str| if config.contains_key(&format!("output.{key}")) { "output." } else { "" };
        let output = Converters {
            key: key_converter(config, prefix(KEY))?,
            value: value_converter(config, prefix(VALUE))?,
            header: header_converter(config, prefix(HEADER))?,
        };
        Ok(Self {
            kind,
            input,
            chain,
            output,
            batch: Batch::default(),
            keys: Encoded::default(),
            values: Encoded::default(),
            headers: Encoded::default(),
        })
    }

    /// Runs messages as one batch; an answer for each, in their order.
    pub fn run(&mut self, messages: &[Message]) -> Vec<Answer> {
        self.batch.clear();
        // all bytes of the messages in one buffer, as they come from a broker
        let mut bytes = Vec::new();
        for message in messages {
            self.add(message, &mut bytes);
        }
        self.batch.add_segment(bytes.into());
        let batch = &mut self.batch;
        self.input.key.decode(batch, Side::Key);
        self.input.value.decode(batch, Side::Value);
        self.input.header.decode(batch);
        for (index, message) in messages.iter().enumerate() {
            if let Some(error) = message.timestamp_error() {
                batch.fail(index, error);
            }
        }
        batch.rows_are_own();
        self.chain.apply(batch);
        let failed_before: Vec<bool> =
            batch.records.iter().map(|record| record.state != RecordState::Live).collect();
        self.output.header.encode(batch, &mut self.headers);
        self.output.key.encode(batch, Side::Key, &mut self.keys);
        self.output.value.encode(batch, Side::Value, &mut self.values);
        (0..messages.len()).map(|index| self.answer(index, failed_before[index])).collect()
    }

    fn add(&mut self, message: &Message, bytes: &mut Vec<u8>) {
        let batch = &mut self.batch;
        let mut put = |content: &[u8]| {
            let offset = bytes.len() as u32;
            bytes.extend_from_slice(content);
            Span { segment: 1, offset, len: content.len() as u32 }
        };
        let topic = batch.intern_topic(&message.topic);
        let start = batch.headers.len() as u32;
        for (key, value) in &message.headers {
            let key = put(key.as_bytes());
            let raw = value.as_deref().map(&mut put);
            batch.headers.push(Header { key, schema: 0, value: crate::data::Value::Null, raw });
        }
        let headers = Range32 { start, len: message.headers.len() as u32 };
        let raw_key = message.key.as_deref().map(&mut put);
        let raw_value = message.value.as_deref().map(&mut put);
        let mut record = Record {
            topic,
            partition: message.partition,
            timestamp: message.timestamp,
            timestamp_type: message.timestamp_type,
            headers,
            raw_key,
            raw_value,
            origin: Origin { topic, partition: message.partition, offset: message.offset },
            ..Record::default()
        };
        if self.kind == RecordKind::Source {
            record.origin.offset = -1;
            record.timestamp_type = TimestampType::CreateTime;
            record.position = batch.positions.len() as u32;
            let empty = || Arc::new(OffsetMap::new());
            batch.positions.push(SourcePosition { partition: empty(), offset: empty() });
        }
        batch.records.push(record);
    }

    fn answer(&self, index: usize, failed_before: bool) -> Answer {
        let batch = &self.batch;
        let record = &batch.records[index];
        match record.state {
            RecordState::Dropped => Answer::Dropped,
            RecordState::Failed(error) => {
                let none = || RecordError::data(Stage::Transformation, "");
                let error = batch.errors.get(error as usize).cloned().unwrap_or_else(none);
                let stage = if failed_before { error.stage.as_str() } else { "OUTPUT_CONVERTER" };
                Answer::Error { stage, java_class: error.java_class, message: error.message }
            }
            RecordState::Live => {
                let header = |at: usize| {
                    let header = batch.headers.get(at)?;
                    let value = self.headers.get(batch, at).map(<[u8]>::to_vec);
                    Some((batch.str(header.key).to_owned(), value))
                };
                Answer::Record(Box::new(Output::new(
                    batch,
                    record,
                    [self.keys.get(batch, index), self.values.get(batch, index)],
                    record.headers.places().filter_map(header).collect(),
                )))
            }
        }
    }
}

fn class<'a>(config: &'a ConfigMap, prefix: &str, key: &str) -> Result<&'a str, ConfigError> {
    let class = config.get(&format!("{prefix}{key}")).ok_or_else(|| ConfigError::missing(key))?;
    Ok(class.trim())
}

fn own(config: &ConfigMap, prefix: &str, key: &str) -> ConfigMap {
    with_prefix(config, &format!("{prefix}{key}."))
}

fn key_converter(config: &ConfigMap, prefix: &str) -> Result<Box<dyn Converter>, ConfigError> {
    converter::create(class(config, prefix, KEY)?, &own(config, prefix, KEY), true)
}

fn value_converter(config: &ConfigMap, prefix: &str) -> Result<Box<dyn Converter>, ConfigError> {
    converter::create(class(config, prefix, VALUE)?, &own(config, prefix, VALUE), false)
}

fn header_converter(config: &ConfigMap, prefix: &str) -> Result<Box<dyn HeaderConverter>, ConfigError> {
    let class = class(config, prefix, HEADER).unwrap_or(DEFAULT_HEADER_CONVERTER);
    converter::create_header(class, &own(config, prefix, HEADER))
}
