//! `StringConverter`: text in, `toString()` out.

use std::borrow::Cow;

use super::codec::{Codec, Failure, Written};
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, Schema, SchemaId, Span, Type, Value, java_string};

pub(super) const CLASS: &str = "org.apache.kafka.connect.storage.StringConverter";

/// Java charsets that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin1,
    Ascii,
}

/// The span as text: itself if it is UTF-8, else a repaired copy.
pub(super) fn utf8(batch: &mut Batch, span: Span) -> Span {
    match String::from_utf8_lossy(batch.bytes(span)) {
        Cow::Borrowed(_) => span,
        Cow::Owned(text) => batch.put_str(&text),
    }
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
        let text: String = match self.encoding {
            Encoding::Utf8 => return utf8(batch, span),
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

impl Codec for StringConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let value = match raw {
            None => Value::Null,
            Some(span) => Value::String(self.text(batch, span)),
        };
        Ok((batch.intern_schema(Schema::primitive(Type::String, true)), value))
    }

    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        match value {
            Value::Null => Ok(Written::Null),
            Value::String(span) if self.encoding == Encoding::Utf8 => Ok(Written::InBatch(span)),
            value => {
                let start = out.len();
                java_string(batch, schema, value, out);
                self.transcode(out, start);
                Ok(Written::Appended)
            }
        }
    }
}
