//! `JsonConverter`: JSON with or without the schema envelope.
//!
//! The schema part of an envelope that has been seen before costs a comparison of bytes; the payload is read by the plan
//! compiled for that schema. Strings without escapes are places in the message itself.

mod base64;
pub(super) mod document;
mod encoding;
mod envelope;
mod lead;
mod name;
mod number;
pub(super) mod payload;
mod read;
mod scan;
mod schema;
mod shapes;
mod text;
mod text_scan;
mod tree;
pub(super) mod union;
mod untyped;
mod write;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Codec, Failure, Written};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance, Validator, Width};
use crate::data::{Batch, SchemaId, SchemaRef, Span, Value};
use envelope::Envelopes;
use read::{ReadError, ReadOptions, Reader};
use scan::Scanner;
use shapes::Shapes;
use write::{DecimalFormat, Options};

pub(super) use lead::Lead;
pub(super) use text::JsonText;
pub(super) use text_scan::is_plain;
pub use write::quoted;

pub(super) const CLASS: &str = "org.apache.kafka.connect.json.JsonConverter";

const ENABLE: &str = "schemas.enable";
const CACHE: &str = "schemas.cache.size";
const DECIMALS: &str = "decimal.format";
const DEFAULTS: &str = "replace.null.with.default";
const CONTENT: &str = "schema.content";
const OVERFLOW: &str = "integer.overflow";

/// What the converter takes.
pub(super) const CONFIG: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::with_default(
            ENABLE,
            ConfigType::Boolean,
            "true",
            Importance::High,
            "Whether messages carry their schema.",
        )
        .shown("Schemas", 0, Width::Medium, "Enable Schemas"),
        ConfigKey::with_default(CACHE, ConfigType::Int, "1000", Importance::High, "Schemas that are kept.")
            .shown("Schemas", 1, Width::Medium, "Schema Cache Size")
            .valid(Validator::AtLeast(0)),
        ConfigKey::with_default(
            DECIMALS,
            ConfigType::String,
            "BASE64",
            Importance::Low,
            "How decimals are written.",
        )
        .shown("Serialization", 0, Width::Medium, "Decimal Format")
        .valid(Validator::OneOfIgnoringCase(&["BASE64", "NUMERIC"])),
        ConfigKey::with_default(
            DEFAULTS,
            ConfigType::Boolean,
            "true",
            Importance::Low,
            "Whether null reads as the default.",
        )
        .shown("Serialization", 1, Width::Medium, "Replace null with default"),
        ConfigKey::nullable(
            CONTENT,
            ConfigType::String,
            Importance::High,
            "The schema of messages without envelope.",
        )
        .shown("Schemas", 2, Width::Medium, "Schema Content"),
        ConfigKey::with_default(
            OVERFLOW,
            ConfigType::String,
            "wrap",
            Importance::Low,
            "What becomes of an integer that does not fit its type: wrap keeps its low bits, as JVM Connect does; fail \
             fails the record.",
        )
        .valid(Validator::OneOfIgnoringCase(&["wrap", "fail"])),
    ],
};

/// Whose rules hold where two converters differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `JsonConverter`.
    Envelope,
    /// `JsonSchemaConverter`: unions; maps with keys other than text are arrays of objects; a field that is left out is
    /// null.
    JsonSchema,
    /// What search engines index: maps with keys other than text are arrays of objects, all maps unless `compact_maps`.
    Document { compact_maps: bool },
}

/// What is written for a schema.
struct Writing {
    plan: write::Plan,
    /// `{"schema":…,"payload":`.
    prefix: Vec<u8>,
    /// What this batch has had of it.
    written: write::Written,
}

pub(super) struct JsonConverter {
    envelope: bool,
    options: Options,
    reading: ReadOptions,
    capacity: usize,
    envelopes: Envelopes,
    writing: Vec<Writing>,
    /// `schema.content`.
    fixed: Option<read::Plan>,
    stack: Vec<Value>,
    shapes: Shapes,
    /// The segment that messages lie in, shared while its batch is read.
    segment: Option<(u16, Bytes)>,
}

impl JsonConverter {
    pub(super) fn new(config: &ConfigMap) -> Result<Self, ConfigError> {
        let parsed = CONFIG.parse(config)?;
        let numeric = parsed.string(DECIMALS).is_some_and(|format| format.eq_ignore_ascii_case("numeric"));
        let reading = ReadOptions {
            replace_null_with_default: parsed.boolean(DEFAULTS),
            fail_on_overflow: parsed.string(OVERFLOW).is_some_and(|what| what.eq_ignore_ascii_case("fail")),
            dialect: Dialect::Envelope,
        };
        let fixed = match parsed.string(CONTENT).filter(|text| !text.is_empty()) {
            Some(text) => fixed_schema(text, reading)?,
            None => None,
        };
        let capacity = usize::try_from(parsed.long(CACHE)).unwrap_or(0).max(1);
        Ok(Self {
            envelope: parsed.boolean(ENABLE),
            options: Options {
                decimal: if numeric { DecimalFormat::Numeric } else { DecimalFormat::Base64 },
                replace_null_with_default: parsed.boolean(DEFAULTS),
                dialect: Dialect::Envelope,
            },
            reading,
            capacity,
            envelopes: Envelopes::new(capacity),
            writing: Vec::new(),
            fixed,
            stack: Vec::new(),
            shapes: Shapes::default(),
            segment: None,
        })
    }

    /// Reads a message. Strings without escapes stay where they are.
    fn parse(&mut self, batch: &mut Batch, span: Span) -> Result<(SchemaId, Value), ReadError> {
        // The buffer is shared, not copied; the reader writes only to the batch's arena.
        let (buffer, start) = match self.segment.take() {
            Some((segment, buffer)) if segment == span.segment => (buffer, span.offset as usize),
            _ => match usize::from(span.segment).checked_sub(1) {
                Some(at) => (batch.segments.get(at).cloned().unwrap_or_default(), span.offset as usize),
                None => (Bytes::copy_from_slice(batch.bytes(span)), 0),
            },
        };
        let read = self.parse_in(batch, &buffer, start, span);
        if span.segment > 0 {
            self.segment = Some((span.segment, buffer));
        }
        read
    }

    /// Reads the message that begins at `start` of a buffer, in whatever encoding.
    fn parse_in(
        &mut self,
        batch: &mut Batch,
        buffer: &Bytes,
        start: usize,
        span: Span,
    ) -> Result<(SchemaId, Value), ReadError> {
        let text = buffer.get(start..start + span.len as usize).unwrap_or_default();
        match encoding::utf8(text) {
            Some(Cow::Borrowed(utf8)) => {
                let skipped = (text.len() - utf8.len()) as u32;
                let place = Span { offset: span.offset + skipped, len: span.len - skipped, ..span };
                match self.parse_utf8(batch, utf8, place) {
                    Err(ReadError::Data(failure)) => self.parse_last_members(batch, utf8, failure),
                    read => read,
                }
            }
            Some(Cow::Owned(utf8)) => {
                let place = batch.put_bytes(&utf8);
                self.parse_utf8(batch, &utf8, place)
            }
            None => Err(malformed("the text has an unsupported encoding")),
        }
    }

    /// What is wrong with a message may be in a member that a later one of the same name replaces: then it is no error.
    #[cold]
    fn parse_last_members(
        &mut self,
        batch: &mut Batch,
        text: &[u8],
        failure: Failure,
    ) -> Result<(SchemaId, Value), ReadError> {
        let mut scanner = Scanner::new(text, 0);
        match scanner.tree(0) {
            Ok(tree) if scanner.duplicates => {
                let text = tree.to_string().into_bytes();
                let place = batch.put_bytes(&text);
                self.parse_utf8(batch, &text, place)
            }
            _ => Err(ReadError::Data(failure)),
        }
    }

    /// `span` is the place of the text in the batch.
    fn parse_utf8(
        &mut self,
        batch: &mut Batch,
        text: &[u8],
        span: Span,
    ) -> Result<(SchemaId, Value), ReadError> {
        // What follows the first value is never read, so it may be anything.
        let known = if self.envelope { self.envelopes.known_prefix(text) } else { 0 };
        let valid =
            known + std::str::from_utf8(&text[known..]).map_or_else(|error| error.valid_up_to(), str::len);
        self.stack.clear();
        self.shapes.restart();
        let mut reader = Reader {
            scanner: Scanner::new(&text[..valid], 0),
            batch,
            stack: &mut self.stack,
            shapes: &mut self.shapes,
            span,
            options: self.reading,
            structs: 0,
        };
        let read = if !self.envelope {
            reader.root().map(|value| (0, value))
        } else if let Some(plan) = &self.fixed {
            let schema = reader.batch.intern_schema(&plan.schema);
            reader.typed_root(plan).map(|value| (schema, value))
        } else {
            self.envelopes.read(&mut reader)
        }?;
        let ends_in_scalar = reader.scanner.at == valid
            && !matches!(
                text.get(valid.wrapping_sub(1)),
                Some(b'}' | b']' | b'"' | b' ' | b'\t' | b'\n' | b'\r')
            );
        if valid < text.len() && (reader.scanner.at > valid || ends_in_scalar) {
            return Err(malformed("the text is not UTF-8"));
        }
        Ok(read)
    }

    fn forget_written(&mut self) {
        for writing in &mut self.writing {
            writing.written.forget();
        }
    }

    /// An envelope up to its payload.
    fn prefix(&self, schema: &SchemaRef) -> Result<Vec<u8>, Failure> {
        let mut prefix = b"{\"schema\":".to_vec();
        schema::write(schema, None, self.options, &mut prefix)?;
        prefix.extend_from_slice(b",\"payload\":");
        Ok(prefix)
    }

    fn plan(&mut self, schema: &SchemaRef) -> Result<usize, Failure> {
        if let Some(at) = self.writing.iter().rposition(|writing| Arc::ptr_eq(&writing.plan.schema, schema)) {
            return Ok(at);
        }
        let prefix = if self.envelope { self.prefix(schema)? } else { Vec::new() };
        if self.writing.len() >= self.capacity {
            self.writing.remove(0);
        }
        self.writing.push(Writing {
            plan: write::Plan::new(schema),
            prefix,
            written: write::Written::default(),
        });
        Ok(self.writing.len() - 1)
    }

    /// Writes one key or value; false if it is null bytes. `shared`: batch and output are those of the call before.
    fn print(
        &mut self,
        batch: &Batch,
        schema: Option<&SchemaRef>,
        value: Value,
        shared: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
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
        let writing = &mut self.writing[at];
        if self.envelope {
            out.extend_from_slice(&writing.prefix);
        }
        if !shared {
            writing.written.forget();
        }
        write::next_typed(batch, &writing.plan, value, self.options, &mut writing.written, out)?;
        out.extend(self.envelope.then_some(b'}'));
        Ok(true)
    }
}

/// The plan of `schema.content`; none for the JSON text `null`.
fn fixed_schema(text: &str, options: ReadOptions) -> Result<Option<read::Plan>, ConfigError> {
    let invalid = |failure: Failure| {
        ConfigError::new(CONTENT, format!("{CONTENT}: {}", failure.message)).of_class(failure.java_class)
    };
    let json = Scanner::new(text.as_bytes(), 0).tree(0).map_err(|error| {
        invalid(Failure::data(format!(
            "Failed to parse schema in converter config due to serialization error: at byte {}: {}",
            error.at, error.what
        )))
    })?;
    let schema = schema::parse(&json, options).map_err(invalid)?;
    Ok(schema.map(|schema| read::Plan::new(&schema)))
}

#[cold]
fn malformed(what: &'static str) -> ReadError {
    ReadError::Malformed(scan::Malformed { at: 0, what })
}

impl Codec for JsonConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let Some(span) = raw else { return Ok((0, Value::Null)) };
        self.parse(batch, span).map_err(ReadError::into_failure)
    }

    fn end_of_batch(&mut self) {
        self.segment = None;
        self.forget_written();
    }

    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        let written = self.print(batch, batch.schema_ref(schema), value, true, out);
        if written.is_err() {
            // its output is taken back
            self.forget_written();
        }
        Ok(if written? { Written::Appended } else { Written::Null })
    }
}
