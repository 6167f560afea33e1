//! `StringConverter`: text in, `toString()` out.

use std::borrow::Cow;

use super::charset::{Charset, decode_utf8};
use super::codec::{Codec, Failure, Written};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance};
use crate::data::{Batch, Schema, SchemaId, Span, Type, Value, java_string};

pub(super) const CLASS: &str = "org.apache.kafka.connect.storage.StringConverter";

/// What the converter takes.
pub(super) const CONFIG: ConfigDef = ConfigDef {
    keys: &[ConfigKey::with_default(
        "converter.encoding",
        ConfigType::String,
        "UTF-8",
        Importance::High,
        "The charset of keys, values or headers.",
    )],
};

/// Reads text of one charset and writes it in another, mostly the same.
pub(super) struct StringConverter {
    read: Charset,
    write: Charset,
}

impl StringConverter {
    /// Takes `converter.encoding`, and `key.` or `value.` with `deserializer.encoding` or `serializer.encoding`, which go
    /// before it.
    pub(super) fn new(config: &ConfigMap, is_key: bool) -> Result<Self, ConfigError> {
        const KEY: &str = "converter.encoding";
        let side = if is_key { "key" } else { "value" };
        let charset = |what: &str| {
            let own = format!("{side}.{what}.encoding");
            let (key, name) = match config.get(&own) {
                Some(name) => (own.as_str(), name.as_str()),
                None => (KEY, config.get(KEY).map_or("UTF-8", |name| name.trim())),
            };
            Charset::of(name).ok_or_else(|| {
                ConfigError::new(key, format!("Unsupported encoding {name}"))
                    .of_class("org.apache.kafka.common.errors.SerializationException")
            })
        };
        Ok(Self { write: charset("serializer")?, read: charset("deserializer")? })
    }

    /// The span as text: itself if that is the same, else a copy.
    fn text(&self, batch: &mut Batch, span: Span) -> Span {
        match self.read {
            Charset::Utf8 => utf8(batch, span),
            charset if charset.keeps_ascii() && batch.bytes(span).is_ascii() => span,
            charset => {
                let text = charset.decode(batch.bytes(span)).into_owned();
                batch.put_str(&text)
            }
        }
    }

    /// The text from `start` on in the converter's charset.
    fn transcode(&self, buffer: &mut Vec<u8>, start: usize) {
        if self.write == Charset::Utf8 || (self.write.keeps_ascii() && buffer[start..].is_ascii()) {
            return;
        }
        let text = String::from_utf8_lossy(&buffer[start..]).into_owned();
        buffer.truncate(start);
        self.write.encode(&text, buffer);
    }
}

/// The span as text: itself if it is UTF-8, else a repaired copy.
pub(super) fn utf8(batch: &mut Batch, span: Span) -> Span {
    match decode_utf8(batch.bytes(span)) {
        Cow::Borrowed(_) => span,
        Cow::Owned(text) => batch.put_str(&text),
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
            Value::String(span) if self.write == Charset::Utf8 => Ok(Written::InBatch(span)),
            value => {
                let start = out.len();
                java_string(batch, schema, value, out);
                self.transcode(out, start);
                Ok(Written::Appended)
            }
        }
    }
}
