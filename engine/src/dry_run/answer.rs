//! What became of a record: one line of JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};

use super::schema_text;
use crate::data::{Batch, Record, SchemaId, Value, java_string};

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It came out.
    Record(Box<Output>),
    /// A transform dropped it.
    Dropped,
    /// It failed.
    Error {
        /// `KEY_CONVERTER`, `VALUE_CONVERTER`, `HEADER_CONVERTER`, `TRANSFORMATION` or `OUTPUT_CONVERTER`.
        stage: &'static str,
        /// The exception class that JVM Connect would name.
        java_class: &'static str,
        /// What was wrong.
        message: String,
    },
}

/// A record that came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Topic.
    pub topic: String,
    /// Partition, -1 for none.
    pub partition: i32,
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// Key as bytes.
    pub key: Option<Vec<u8>>,
    /// Value as bytes.
    pub value: Option<Vec<u8>>,
    /// Headers as bytes.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `String.valueOf()` of the key.
    pub key_java: String,
    /// `String.valueOf()` of the value.
    pub value_java: String,
    /// The key's schema, see [`schema_text`].
    pub key_schema: Json,
    /// The value's schema.
    pub value_schema: Json,
}

impl Output {
    pub(super) fn new(
        batch: &Batch,
        record: &Record,
        [key, value]: [Option<&[u8]>; 2],
        headers: Vec<(String, Option<Vec<u8>>)>,
    ) -> Self {
        Self {
            topic: batch.topic(record.topic).to_owned(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers,
            key_java: java(batch, record.key_schema, record.key),
            value_java: java(batch, record.value_schema, record.value),
            key_schema: schema_text(batch.schema(record.key_schema)),
            value_schema: schema_text(batch.schema(record.value_schema)),
        }
    }
}

impl Answer {
    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Dropped => json!({"dropped": true}),
            Self::Error { stage, java_class, message } => {
                let message = (!message.is_empty()).then_some(message);
                json!({"error": {"stage": stage, "class": java_class, "message": message}})
            }
            Self::Record(output) => {
                let headers: Vec<Json> = output
                    .headers
                    .iter()
                    .map(|(key, value)| json!({"key": key, "value": base64(value.as_deref())}))
                    .collect();
                json!({
                    "topic": output.topic,
                    "partition": (output.partition >= 0).then_some(output.partition),
                    "timestamp": (output.timestamp >= 0).then_some(output.timestamp),
                    "key": base64(output.key.as_deref()),
                    "value": base64(output.value.as_deref()),
                    "headers": headers,
                    "keyJava": output.key_java,
                    "valueJava": output.value_java,
                    "keySchema": output.key_schema,
                    "valueSchema": output.value_schema,
                })
            }
        }
    }
}

fn base64(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| BASE64_STANDARD.encode(bytes))
}

/// `String.valueOf()`, with `*` where Java shows an identity hash.
fn java(batch: &Batch, schema: SchemaId, value: Value) -> String {
    const ARRAY: &str = "[B@";
    let mut out = Vec::new();
    java_string(batch, schema, value, &mut out);
    let text = String::from_utf8_lossy(&out);
    let mut parts = text.split(ARRAY);
    let mut stable = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|char: char| matches!(char, '0'..='9' | 'a'..='f'));
        stable.push_str(ARRAY);
        stable.push_str(if rest.len() < part.len() { "*" } else { "" });
        stable.push_str(rest);
    }
    stable
}
