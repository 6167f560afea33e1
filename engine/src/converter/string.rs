//! `StringConverter`: text in, `toString()` out.

use std::borrow::Cow;

use super::{Converter, Encoded, Slot};
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, RecordState, Schema, Side, Span, Value, java_string};

pub(super) const CLASS: &str = "org.apache.kafka.connect.storage.StringConverter";

/// Java charsets that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin1,
    Ascii,
}

pub(super) struct StringConverter {
    encoding: Encoding,
}

impl StringConverter {
    /// Takes `converter.encoding`.
    pub(super) fn new(config: &ConfigMap) -> Result<Self, ConfigError> {
        const KEY: &str = "converter.encoding";
        let name = config.get(KEY).map_or("UTF-8", |name| name.trim());
        let encoding = match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Encoding::Utf8,
            "ISO-8859-1" | "ISO8859_1" | "LATIN1" => Encoding::Latin1,
            "US-ASCII" | "ASCII" => Encoding::Ascii,
            _ => return Err(ConfigError::invalid(KEY, name, "supported are UTF-8, ISO-8859-1 and US-ASCII")),
        };
        Ok(Self { encoding })
    }

    /// The span as text: itself if it is UTF-8, else a repaired or transcoded copy.
    fn text(&self, batch: &mut Batch, span: Span) -> Span {
        let bytes = batch.bytes(span);
        let text = match self.encoding {
            Encoding::Utf8 => match String::from_utf8_lossy(bytes) {
                Cow::Borrowed(_) => return span,
                Cow::Owned(text) => text,
            },
            _ if bytes.is_ascii() => return span,
            Encoding::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Encoding::Ascii => bytes
                .iter()
                .map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' })
                .collect(),
        };
        batch.put_str(&text)
    }

    /// The column's text in the converter's charset; what the charset lacks becomes `?`.
    fn transcode(&self, buffer: &mut Vec<u8>, start: usize) {
        if self.encoding == Encoding::Utf8 || buffer[start..].is_ascii() {
            return;
        }
        let limit = if self.encoding == Encoding::Latin1 { 0xff } else { 0x7f };
        let text = String::from_utf8_lossy(&buffer[start..]).into_owned();
        buffer.truncate(start);
        buffer
            .extend(text.chars().map(|char| if u32::from(char) <= limit { char as u32 as u8 } else { b'?' }));
    }
}

impl Converter for StringConverter {
    fn decode(&mut self, batch: &mut Batch, side: Side) {
        let schema = batch.intern_schema(&Schema::optional_string());
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.state != RecordState::Live {
                continue;
            }
            let value = match record.raw(side) {
                None => Value::Null,
                Some(span) => Value::String(self.text(batch, span)),
            };
            batch.records[index].set_side(side, schema, value);
        }
    }

    fn encode(&mut self, batch: &mut Batch, side: Side, out: &mut Encoded) {
        out.clear();
        out.slots.reserve(batch.records.len());
        for record in &batch.records {
            if record.state != RecordState::Live {
                out.slots.push(Slot::Skipped);
                continue;
            }
            let (schema, value) = record.side(side);
            match value {
                Value::Null => out.slots.push(Slot::Null),
                Value::String(span) if self.encoding == Encoding::Utf8 => out.slots.push(Slot::InBatch(span)),
                value => {
                    let start = out.buffer.len();
                    java_string(batch, schema, value, &mut out.buffer);
                    self.transcode(&mut out.buffer, start);
                    out.push_own(start);
                }
            }
        }
    }
}
