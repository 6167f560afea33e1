//! JSON documents for sinks that store them: a message that is one already keeps its bytes, other values are written once.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use memchr::memchr2;

use super::scan::{Kind, Malformed, Scanner};
use super::write::{self, DecimalFormat, Options, Plan};
use super::{CONFIG, Dialect, ENABLE, encoding};
use crate::config::{ConfigError, ConfigMap};
use crate::converter::{Codec, Converter, Failure, Written};
use crate::data::{Batch, Schema, SchemaBuilder, SchemaId, SchemaRef, Span, Type, Value};

/// Name of the schema of a string that is a JSON text: one value, checked, on one line, without blanks around it. A sink
/// task that asks for documents (`SinkTask::takes_json`) meets it.
pub const JSON_DOCUMENT: &str = "io.aqueduct.data.JsonDocument";

/// Plans that are kept: one for each schema of the values.
const PLANS: usize = 1000;

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| SchemaBuilder::new(Type::String).name(JSON_DOCUMENT).build());

/// How values with a schema are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentStyle {
    /// As `JsonConverter` without schemas: decimals are Base64.
    Plain,
    /// As search connectors do: decimals are numbers; maps are objects if their keys are text and `compact_maps` is set,
    /// else arrays of `{"key":…,"value":…}`.
    Indexed {
        /// `compact.map.entries`.
        compact_maps: bool,
    },
}

/// Writes values as JSON documents.
#[derive(Debug)]
pub struct JsonDocuments {
    options: Options,
    plans: Vec<Plan>,
}

impl JsonDocuments {
    /// A writer of a style.
    #[must_use]
    pub const fn new(style: DocumentStyle) -> Self {
        let (decimal, dialect) = match style {
            DocumentStyle::Plain => (DecimalFormat::Base64, Dialect::Envelope),
            DocumentStyle::Indexed { compact_maps } => {
                (DecimalFormat::Double, Dialect::Document { compact_maps })
            }
        };
        let options = Options { decimal, replace_null_with_default: true, dialect };
        Self { options, plans: Vec::new() }
    }

    /// Appends a value's document; what was appended before a failure is taken back.
    ///
    /// # Errors
    /// What is wrong with the value; never its content.
    pub fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let start = out.len();
        let written = match batch.schema_ref(schema) {
            None => write::untyped(batch, value, out),
            Some(schema) => {
                let plan = self.plan(schema);
                write::typed(batch, &self.plans[plan], value, self.options, out)
            }
        };
        written.inspect_err(|_| out.truncate(start))
    }

    fn plan(&mut self, schema: &SchemaRef) -> usize {
        if let Some(at) = self.plans.iter().rposition(|plan| Arc::ptr_eq(&plan.schema, schema)) {
            return at;
        }
        if self.plans.len() >= PLANS {
            self.plans.remove(0);
        }
        self.plans.push(Plan::new(schema));
        self.plans.len() - 1
    }
}

/// Checks that text is one JSON object in UTF-8, which may have blanks around it. Gives its place in the text.
///
/// # Errors
/// What is wrong with it; never its content.
pub fn check_json_object(text: &[u8]) -> Result<std::ops::Range<usize>, Failure> {
    let no_object = |text: String| Failure::data(format!("Not a JSON object: {text}"));
    let malformed = |Malformed { at, what }: Malformed| no_object(format!("at byte {at}: {what}"));
    if let Err(error) = std::str::from_utf8(text) {
        return Err(no_object(format!("at byte {}: the text is not UTF-8", error.valid_up_to())));
    }
    let mut scanner = Scanner::new(text, 0);
    let kind = scanner.kind().map_err(malformed)?;
    let start = scanner.at;
    if kind != Kind::Object {
        return Err(no_object(format!("it is of type {}", kind.node_type())));
    }
    scanner.check(0).map_err(malformed)?;
    let end = scanner.at;
    scanner.skip_blanks();
    match scanner.peek() {
        None => Ok(start..end),
        Some(_) => Err(malformed(Malformed { at: end, what: "text after the object" })),
    }
}

impl Scanner<'_> {
    /// Steps over a value as [`Self::skip`] does; escapes are checked too.
    fn check(&mut self, depth: u32) -> Result<(), Malformed> {
        match self.kind()? {
            Kind::String => {
                let text = self.string()?;
                self.content(text).map(drop)
            }
            Kind::Array => {
                self.open(depth)?;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.check(depth + 1)?;
                    if self.take(b']') {
                        return Ok(());
                    }
                    self.expect(b',', "no comma between the items of an array")?;
                }
            }
            Kind::Object => {
                self.open(depth)?;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    let name = self.name()?;
                    self.content(name)?;
                    self.check(depth + 1)?;
                    if self.take(b'}') {
                        return Ok(());
                    }
                    self.expect(b',', "no comma between the members of an object")?;
                }
            }
            Kind::Null | Kind::Boolean | Kind::Number => self.skip(depth),
        }
    }
}

/// `JsonConverter` without schemas for those who want the text: it checks what it would parse.
pub(in crate::converter) struct DocumentConverter;

/// The converter, if a `JsonConverter` of that configuration reads texts without a schema.
pub(in crate::converter) fn converter(config: &ConfigMap) -> Result<Option<Box<dyn Converter>>, ConfigError> {
    let parsed = CONFIG.parse(config)?;
    let fixed = parsed.string(super::CONTENT).is_some_and(|text| !text.is_empty());
    Ok((!parsed.boolean(ENABLE) && !fixed).then(|| Box::new(DocumentConverter) as Box<dyn Converter>))
}

/// Where the first value of a text is, as `JsonConverter` reads it: what follows it may be anything.
fn first_value(text: &[u8]) -> Result<std::ops::Range<usize>, Malformed> {
    let valid = std::str::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
    let mut scanner = Scanner::new(&text[..valid], 0);
    scanner.kind()?;
    let start = scanner.at;
    scanner.check(0)?;
    if valid < text.len() && scanner.at == valid && !matches!(text[valid - 1], b'}' | b']' | b'"') {
        return Err(Malformed { at: valid, what: "the text is not UTF-8" });
    }
    Ok(start..scanner.at)
}

impl Codec for DocumentConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let Some(mut span) = raw else { return Ok((0, Value::Null)) };
        let malformed = |error| super::ReadError::Malformed(error).into_failure();
        match encoding::utf8(batch.bytes(span)) {
            Some(Cow::Borrowed(utf8)) => {
                let skipped = span.len - utf8.len() as u32;
                span = Span { offset: span.offset + skipped, len: span.len - skipped, ..span };
            }
            Some(Cow::Owned(utf8)) => span = batch.put_bytes(&utf8),
            None => return Err(super::malformed("the text has an unsupported encoding").into_failure()),
        }
        let text = batch.bytes(span);
        let place = first_value(text).map_err(malformed)?;
        let value = &text[place.clone()];
        if value == b"null" {
            return Ok((0, Value::Null));
        }
        // a line break can only be a blank between tokens
        let span = if memchr2(b'\n', b'\r', value).is_some() {
            let line: Vec<u8> =
                value.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
            batch.put_bytes(&line)
        } else {
            Span { offset: span.offset + place.start as u32, len: place.len() as u32, ..span }
        };
        Ok((batch.intern_schema(&SCHEMA), Value::String(span)))
    }

    fn write(
        &mut self,
        _batch: &Batch,
        _schema: SchemaId,
        value: Value,
        _out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        match value {
            Value::Null => Ok(Written::Null),
            Value::String(span) => Ok(Written::InBatch(span)),
            _ => Err(Failure::data("no JSON document")),
        }
    }
}

/// Whether a value of that schema is a checked document.
#[must_use]
pub fn is_json_document(schema: Option<&Schema>) -> bool {
    schema.is_some_and(|schema| std::ptr::eq(schema, &**SCHEMA))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::data::{Record, Side};

    fn read(text: &[u8]) -> Result<Option<String>, String> {
        let mut batch = Batch::default();
        let segment = batch.add_segment(Bytes::copy_from_slice(text));
        let span = Span { segment, offset: 0, len: text.len() as u32 };
        batch.records.push(Record { raw_value: Some(span), ..Record::default() });
        Converter::decode(&mut DocumentConverter, &mut batch, Side::Value);
        if let Some(error) = batch.errors.first() {
            return Err(error.message.clone());
        }
        let record = &batch.records[0];
        let Value::String(span) = record.value else { return Ok(None) };
        assert!(is_json_document(batch.schema(record.value_schema)));
        Ok(Some(batch.str(span).to_owned()))
    }

    #[test]
    fn messages_keep_their_bytes() {
        let text = "{\"b\": 1.50, \"a\":[1e3,null,true,\"x\\u00e9\\n\"]}";
        assert_eq!(read(text.as_bytes()).unwrap().unwrap(), text);
        assert_eq!(read(b"  {\"a\":\r\n1} ").unwrap().unwrap(), "{\"a\":  1}");
        assert_eq!(read(b"null").unwrap(), None);
        // what follows the first value is not read, as in the converter
        assert_eq!(read(b"{\"a\":1}{").unwrap().unwrap(), "{\"a\":1}");
        assert_eq!(read(b"{\0\"\0a\0\"\0:\x001\0}\0").unwrap().unwrap(), "{\"a\":1}");
    }

    #[test]
    fn what_is_no_json_fails_its_record() {
        for text in
            [&b"{"[..], b"{\"a\":\"\\q\"}", b"{\"a\" 1}", b"{\"a\":1,}", b"{\"a\":\"\xff\"}", b"", b"x"]
        {
            assert!(read(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).unwrap_err().contains("nested too deeply"));
    }

    #[test]
    fn objects_only() {
        assert_eq!(check_json_object(b" {\"a\":{}} "), Ok(1..9));
        for text in [&b"[1]"[..], b"1", b"\"{}\"", b"{} {}", b"{", b"{\"a\":\"\xff\"}", b""] {
            assert!(check_json_object(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn documents_as_the_connector_writes_them() {
        use crate::data::SchemaBuilder as B;
        let string = Schema::string();
        let int = Arc::clone(Schema::primitive(Type::Int32, false));
        let schema = B::structure()
            .field("price", B::decimal(2).build())
            .field("at", B::timestamp().build())
            .field("tags", B::map(Arc::clone(&string), Arc::clone(&int)).build())
            .field("numbers", B::map(Arc::clone(&int), int).build())
            .field("raw", Arc::clone(Schema::primitive(Type::Bytes, false)))
            .build();
        let mut batch = Batch::default();
        let unscaled = Value::Bytes(batch.put_bytes(&[0x04, 0xd2]));
        let price = Value::Decimal(batch.push_values(&[unscaled, Value::Int32(2)]));
        let key = Value::String(batch.put_str("k"));
        let entry = |entries: crate::data::Range32| Value::Map(crate::data::Range32 { len: 1, ..entries });
        let tags = entry(batch.push_values(&[key, Value::Int32(1)]));
        let numbers = entry(batch.push_values(&[Value::Int32(7), Value::Int32(8)]));
        let raw = Value::Bytes(batch.put_bytes(&[1, 2, 3]));
        let fields = batch.push_values(&[price, Value::Date(1_700_000_000_123), tags, numbers, raw]);
        let id = batch.intern_schema(&schema);
        let text = |style| {
            let mut out = Vec::new();
            JsonDocuments::new(style).write(&batch, id, Value::Struct(fields), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text(DocumentStyle::Indexed { compact_maps: true }),
            r#"{"price":12.34,"at":1700000000123,"tags":{"k":1},"numbers":[{"key":7,"value":8}],"raw":"AQID"}"#
        );
        assert_eq!(
            text(DocumentStyle::Indexed { compact_maps: false }),
            r#"{"price":12.34,"at":1700000000123,"tags":[{"key":"k","value":1}],"numbers":[{"key":7,"value":8}],"raw":"AQID"}"#
        );
        assert_eq!(
            text(DocumentStyle::Plain),
            r#"{"price":"BNI=","at":1700000000123,"tags":{"k":1},"numbers":[[7,8]],"raw":"AQID"}"#
        );
    }
}
