//! `JsonConverter`: JSON with or without the schema envelope.
//!
//! The schema part of an envelope that has been seen before costs a comparison of bytes; the payload is read by the plan
//! compiled for that schema. Strings without escapes are places in the message itself.

mod read;
mod scan;
mod schema;
mod write;

use std::sync::Arc;

use super::codec::{Codec, Failure, Written};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance, Validator};
use crate::data::{Batch, SchemaId, SchemaRef, Span, Value};
use read::{ReadError, Reader};
use scan::Scanner;
use write::{DecimalFormat, Options};

pub(super) const CLASS: &str = "org.apache.kafka.connect.json.JsonConverter";

const ENABLE: &str = "schemas.enable";
const CACHE: &str = "schemas.cache.size";
const DECIMALS: &str = "decimal.format";
const DEFAULTS: &str = "replace.null.with.default";
const CONTENT: &str = "schema.content";

/// What the converter takes.
pub(super) const CONFIG: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::with_default(
            ENABLE,
            ConfigType::Boolean,
            "true",
            Importance::High,
            "Whether messages carry their schema.",
        ),
        ConfigKey::with_default(CACHE, ConfigType::Int, "1000", Importance::High, "Schemas that are kept.")
            .valid(Validator::AtLeast(0)),
        ConfigKey::with_default(
            DECIMALS,
            ConfigType::String,
            "BASE64",
            Importance::Low,
            "How decimals are written.",
        )
        .valid(Validator::OneOfIgnoringCase(&["BASE64", "NUMERIC"])),
        ConfigKey::with_default(
            DEFAULTS,
            ConfigType::Boolean,
            "true",
            Importance::Low,
            "Whether null reads as the default.",
        ),
        ConfigKey::nullable(
            CONTENT,
            ConfigType::String,
            Importance::High,
            "The schema of messages without envelope.",
        ),
    ],
};

/// What precedes the payload of an envelope, and the plan for it.
struct Known {
    prefix: Box<[u8]>,
    /// None: the schema is null.
    plan: Option<read::Plan>,
}

/// What is written for a schema.
struct Writing {
    plan: write::Plan,
    /// `{"schema":…,"payload":`.
    prefix: Vec<u8>,
}

pub(super) struct JsonConverter {
    envelope: bool,
    options: Options,
    capacity: usize,
    known: Vec<Known>,
    writing: Vec<Writing>,
    /// `schema.content`.
    fixed: Option<read::Plan>,
    stack: Vec<Value>,
}

impl JsonConverter {
    pub(super) fn new(config: &ConfigMap) -> Result<Self, ConfigError> {
        let parsed = CONFIG.parse(config)?;
        let numeric = parsed.string(DECIMALS).is_some_and(|format| format.eq_ignore_ascii_case("numeric"));
        let fixed = match parsed.string(CONTENT).filter(|text| !text.is_empty()) {
            Some(text) => {
                let invalid = |why: String| ConfigError::invalid(CONTENT, text, why);
                let json = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
                schema::parse(&json, 0).map_err(invalid)?.map(|schema| read::Plan::new(&schema))
            }
            None => None,
        };
        Ok(Self {
            envelope: parsed.boolean(ENABLE),
            options: Options {
                decimal: if numeric { DecimalFormat::Numeric } else { DecimalFormat::Base64 },
                replace_null_with_default: parsed.boolean(DEFAULTS),
            },
            capacity: usize::try_from(parsed.long(CACHE)).unwrap_or(0).max(1),
            known: Vec::new(),
            writing: Vec::new(),
            fixed,
            stack: Vec::new(),
        })
    }

    fn parse(&mut self, batch: &mut Batch, span: Span) -> Result<(Option<SchemaRef>, Value), ReadError> {
        self.stack.clear();
        // The buffer is shared, not copied; the reader writes only to the batch's arena.
        let shared;
        let owned;
        let text: &[u8] =
            match usize::from(span.segment).checked_sub(1).and_then(|index| batch.segments.get(index)) {
                Some(segment) => {
                    shared = segment.clone();
                    shared.get(span.offset as usize..(span.offset + span.len) as usize).unwrap_or_default()
                }
                None => {
                    owned = batch.bytes(span).to_vec();
                    &owned
                }
            };
        if std::str::from_utf8(text).is_err() {
            return Err(ReadError::Malformed(scan::Malformed { at: 0, what: "the text is not UTF-8" }));
        }
        let at = self.known.iter().position(|known| text.starts_with(&known.prefix));
        let mut reader = Reader {
            scanner: Scanner::new(text, 0),
            batch,
            stack: &mut self.stack,
            span,
            replace_null_with_default: self.options.replace_null_with_default,
        };
        if !self.envelope {
            reader.scanner.skip_blanks();
            let value = if reader.scanner.peek().is_none() { Value::Null } else { reader.any(0)? };
            return Ok((None, value));
        }
        if let Some(plan) = &self.fixed {
            let value = reader.typed(plan, 0)?;
            return Ok((Some(Arc::clone(&plan.schema)), value));
        }
        if let Some(known) = at.and_then(|at| self.known.get(at)) {
            let start = known.prefix.len();
            reader.scanner.at = start;
            let read = payload(&mut reader, known.plan.as_ref())?;
            if reader.scanner.take(b'}') {
                return Ok(read);
            }
            // Another member follows: the long way says what is wrong.
            reader.stack.clear();
            reader.scanner.at = 0;
        }
        let envelope = envelope(&mut reader.scanner)?;
        let json: serde_json::Value = serde_json::from_slice(&text[envelope.schema.clone()])
            .map_err(|_| ReadError::Data("the schema of the envelope cannot be read".to_owned()))?;
        let schema = schema::parse(&json, 0).map_err(ReadError::Data)?;
        let plan = schema.as_ref().map(read::Plan::new);
        reader.scanner.at = envelope.payload;
        let read = payload(&mut reader, plan.as_ref())?;
        if envelope.schema.end < envelope.payload {
            if self.known.len() >= self.capacity {
                self.known.remove(0);
            }
            self.known.push(Known { prefix: text[..envelope.payload].into(), plan });
        }
        Ok(read)
    }

    fn plan(&mut self, schema: &SchemaRef) -> Result<usize, String> {
        if let Some(at) = self.writing.iter().rposition(|writing| Arc::ptr_eq(&writing.plan.schema, schema)) {
            return Ok(at);
        }
        let mut prefix = b"{\"schema\":".to_vec();
        if self.envelope {
            schema::write(schema, None, self.options, &mut prefix)?;
        }
        prefix.extend_from_slice(b",\"payload\":");
        if self.writing.len() >= self.capacity {
            self.writing.remove(0);
        }
        self.writing.push(Writing { plan: write::Plan::new(schema), prefix });
        Ok(self.writing.len() - 1)
    }

    /// Writes one key or value; false if it is null bytes.
    fn print(
        &mut self,
        batch: &Batch,
        schema: Option<&SchemaRef>,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<bool, String> {
        let Some(schema) = schema else {
            if value.is_null() {
                return Ok(false);
            }
            if self.envelope {
                out.extend_from_slice(b"{\"schema\":null,\"payload\":");
            }
            write::untyped(batch, value, out)?;
            out.extend(self.envelope.then_some(b'}'));
            return Ok(true);
        };
        let at = self.plan(schema)?;
        let writing = &self.writing[at];
        if self.envelope {
            out.extend_from_slice(&writing.prefix);
        }
        write::typed(batch, &writing.plan, value, self.options, out)?;
        out.extend(self.envelope.then_some(b'}'));
        Ok(true)
    }
}

fn payload(
    reader: &mut Reader<'_>,
    plan: Option<&read::Plan>,
) -> Result<(Option<SchemaRef>, Value), ReadError> {
    match plan {
        Some(plan) => Ok((Some(Arc::clone(&plan.schema)), reader.typed(plan, 0)?)),
        None => Ok((None, reader.any(0)?)),
    }
}

/// Where the two members of an envelope are.
struct Envelope {
    schema: std::ops::Range<usize>,
    payload: usize,
}

fn envelope(scanner: &mut Scanner<'_>) -> Result<Envelope, ReadError> {
    const NO_ENVELOPE: &str = "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not \
        contain additional fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in your \
        converter configuration.";
    let none = || ReadError::Data(NO_ENVELOPE.to_owned());
    scanner.skip_blanks();
    if scanner.peek().is_none() {
        return Err(none());
    }
    if scanner.kind()? != scan::Kind::Object {
        scanner.skip(0)?;
        return Err(none());
    }
    scanner.at += 1;
    let (mut schema, mut payload, mut other) = (None, None, false);
    if !scanner.take(b'}') {
        loop {
            let name = scanner.name()?;
            scanner.skip_blanks();
            let start = scanner.at;
            scanner.skip(1)?;
            match &*scanner.content(name)? {
                b"schema" => schema = Some(start..scanner.at),
                b"payload" => payload = Some(start),
                _ => other = true,
            }
            if scanner.take(b'}') {
                break;
            }
            scanner.expect(b',', "no comma between the members of an object")?;
        }
    }
    match (schema, payload) {
        (Some(schema), Some(payload)) if !other => Ok(Envelope { schema, payload }),
        _ => Err(none()),
    }
}

impl Codec for JsonConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let Some(span) = raw else { return Ok((0, Value::Null)) };
        match self.parse(batch, span) {
            Ok((schema, value)) => Ok((schema.map_or(0, |schema| batch.intern_schema(&schema)), value)),
            Err(ReadError::Data(message)) => Err(Failure::data(message)),
            Err(ReadError::Malformed(malformed)) => Err(Failure::data(format!(
                "Converting byte[] to Kafka Connect data failed due to serialization error: at byte {}: {}",
                malformed.at, malformed.what
            ))),
        }
    }

    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        match self.print(batch, batch.schema_ref(schema), value, out) {
            Ok(true) => Ok(Written::Appended),
            Ok(false) => Ok(Written::Null),
            Err(message) => Err(Failure::data(message)),
        }
    }
}
