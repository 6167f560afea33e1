//! From a record's value to a document.

use std::fmt;

use aqueduct_engine::converter::{
    DocumentStyle, Failure, JsonDocuments, check_json_object, is_json_document, json_string,
};
use aqueduct_engine::data::{Batch, Record, Span, Value};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value as Json;

use super::bulk::Doc;
use super::settings::{Settings, StreamTimestamp};

/// The field of a data stream's documents.
pub(super) const TIMESTAMP: &str = "@timestamp";

/// Why a record has no document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It cannot be converted.
    Data(Failure),
    /// It is nothing that the cluster would take.
    Malformed(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Data(failure)
    }
}

/// Makes documents.
#[derive(Debug)]
pub(super) struct Documents {
    plain: JsonDocuments,
    indexed: JsonDocuments,
    /// Of a data stream.
    timestamp: Option<StreamTimestamp>,
}

impl Documents {
    pub(super) fn new(settings: &Settings) -> Documents {
        let compact_maps = settings.writing.compact_maps;
        Documents {
            plain: JsonDocuments::new(DocumentStyle::Plain),
            indexed: JsonDocuments::new(DocumentStyle::Indexed { compact_maps }),
            timestamp: settings.is_data_stream().then(|| settings.timestamp.clone()),
        }
    }

    /// The document of a record's value: its own bytes where they are one, else written to `out`.
    pub(super) fn make(
        &mut self,
        batch: &Batch,
        record: &Record,
        ignore_schema: bool,
        out: &mut Vec<u8>,
    ) -> Result<Doc, Trouble> {
        let start = out.len();
        let mut doc = match record.value {
            Value::String(span) | Value::Bytes(span) => text(batch, record, span, out)?,
            Value::Struct(_) | Value::Map(_) => {
                let style = if ignore_schema { &mut self.plain } else { &mut self.indexed };
                style.write(batch, record.value_schema, record.value, out)?;
                written(out, start)
            }
            other => return Err(no_object(other.java_class())),
        };
        // a map whose keys are no text is an array
        if matches!(doc, Doc::Written { .. }) && out.get(start) != Some(&b'{') {
            out.truncate(start);
            return Err(no_object("an array of entries"));
        }
        if let Some(timestamp) = &self.timestamp {
            let whole = bytes(batch, doc, out).to_vec();
            if let Some(stamped) = stamp(&whole, timestamp, record.timestamp)? {
                out.truncate(start);
                out.extend_from_slice(&stamped);
                doc = written(out, start);
            }
        }
        Ok(doc)
    }
}

fn written(out: &[u8], start: usize) -> Doc {
    Doc::Written { start: start as u32, len: (out.len() - start) as u32 }
}

#[cold]
fn no_object(what: impl fmt::Display) -> Trouble {
    Trouble::Malformed(format!("the value is no JSON object but {what}"))
}

/// The bytes of a document.
pub(super) fn bytes<'a>(batch: &'a Batch, doc: Doc, written: &'a [u8]) -> &'a [u8] {
    match doc {
        Doc::None => &[],
        Doc::InBatch(span) => batch.bytes(span),
        Doc::Written { start, len } => {
            written.get(start as usize..(start + len) as usize).unwrap_or_default()
        }
    }
}

/// Text that is a document.
fn text(batch: &Batch, record: &Record, span: Span, out: &mut Vec<u8>) -> Result<Doc, Trouble> {
    let text = batch.bytes(span);
    if is_json_document(batch.schema(record.value_schema)) {
        return match text.first() {
            Some(b'{') => Ok(Doc::InBatch(span)),
            _ => Err(no_object("another kind of JSON value")),
        };
    }
    let place = check_json_object(text).map_err(|failure| Trouble::Malformed(failure.message))?;
    let object = &text[place.clone()];
    if memchr::memchr2(b'\n', b'\r', object).is_some() {
        let start = out.len();
        // a line break can only be a blank between tokens
        out.extend(object.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        return Ok(written(out, start));
    }
    Ok(Doc::InBatch(Span { offset: span.offset + place.start as u32, len: place.len() as u32, ..span }))
}

/// The document with its timestamp; `None` where it stays as it is.
fn stamp(doc: &[u8], timestamp: &StreamTimestamp, record: i64) -> Result<Option<Vec<u8>>, Trouble> {
    match timestamp {
        StreamTimestamp::Own => Ok(None),
        StreamTimestamp::IfMissing if Members::of(doc, &[])?.stamped => Ok(None),
        StreamTimestamp::IfMissing if record < 0 => {
            Err(Failure::data("Record timestamp hasn't been set").into())
        }
        StreamTimestamp::IfMissing => Ok(Some(with_first(doc, record.to_string().as_bytes()))),
        StreamTimestamp::Fields(names) if names.is_empty() => {
            let value = if record < 0 { Json::Null } else { Json::from(record) };
            Ok(Some(with(doc, &value, Members::of(doc, &[])?.stamped)?))
        }
        StreamTimestamp::Fields(names) => {
            let members = Members::of(doc, names)?;
            match members.found.into_iter().flatten().next() {
                Some(value) => Ok(Some(with(doc, &Json::String(as_text(&value)), members.stamped)?)),
                None => Ok(None),
            }
        }
    }
}

/// `JsonNode.asText()`.
fn as_text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(_) | Json::Object(_) => String::new(),
        other => other.to_string(),
    }
}

fn with(doc: &[u8], value: &Json, replace: bool) -> Result<Vec<u8>, Trouble> {
    if !replace {
        return Ok(with_first(doc, value.to_string().as_bytes()));
    }
    let mut object: serde_json::Map<String, Json> = serde_json::from_slice(doc).map_err(unreadable)?;
    object.insert(TIMESTAMP.to_owned(), value.clone());
    serde_json::to_vec(&object).map_err(unreadable)
}

/// The document with a timestamp before its other members.
fn with_first(doc: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = doc.get(1..).unwrap_or(b"}");
    let empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let mut out = Vec::with_capacity(doc.len() + value.len() + 16);
    out.push(b'{');
    json_string(TIMESTAMP.as_bytes(), &mut out);
    out.push(b':');
    out.extend_from_slice(value);
    out.extend((!empty).then_some(b','));
    out.extend_from_slice(rest);
    out
}

fn unreadable(error: serde_json::Error) -> Trouble {
    // its text may quote nothing: it names a place
    Trouble::Malformed(format!("the document cannot be read at column {}", error.column()))
}

/// What is looked for among a document's members.
struct Members<'a> {
    names: &'a [String],
    found: Vec<Option<Json>>,
    stamped: bool,
}

impl<'a> Members<'a> {
    fn of(doc: &[u8], names: &'a [String]) -> Result<Members<'a>, Trouble> {
        let members = Members { names, found: vec![None; names.len()], stamped: false };
        serde_json::Deserializer::from_slice(doc).deserialize_map(members).map_err(unreadable)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            self.stamped |= name == TIMESTAMP;
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(at) => self.found[at] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self)
    }
}

/// The text or number at a JSON Pointer, which is a document's routing.
pub(super) fn routing(doc: &[u8], pointer: &str) -> Result<String, Trouble> {
    let json: Json = serde_json::from_slice(doc).map_err(unreadable)?;
    match json.pointer(pointer) {
        Some(Json::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Json::Number(number)) => Ok(number.to_string()),
        _ => Err(Failure::data(format!(
            "routing.type.record.value.path={pointer}: the document has neither text nor number there"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(doc: &str, timestamp: &StreamTimestamp) -> Option<String> {
        stamp(doc.as_bytes(), timestamp, 5).unwrap().map(|doc| String::from_utf8(doc).unwrap())
    }

    #[test]
    fn timestamps() {
        let record = StreamTimestamp::Fields(Vec::new());
        assert_eq!(stamped("{\"a\":1}", &record).unwrap(), "{\"@timestamp\":5,\"a\":1}");
        assert_eq!(stamped("{ }", &record).unwrap(), "{\"@timestamp\":5 }");
        assert_eq!(
            stamped("{\"@timestamp\":1,\"a\":1.50}", &record).unwrap(),
            "{\"@timestamp\":5,\"a\":1.50}"
        );
        let fields = StreamTimestamp::Fields(vec!["x".to_owned(), "y".to_owned()]);
        assert_eq!(
            stamped("{\"y\":2,\"x\":true}", &fields).unwrap(),
            "{\"@timestamp\":\"true\",\"y\":2,\"x\":true}"
        );
        assert_eq!(stamped("{\"y\":\"t\"}", &fields).unwrap(), "{\"@timestamp\":\"t\",\"y\":\"t\"}");
        assert_eq!(stamped("{\"z\":1}", &fields), None);
        assert_eq!(stamped("{\"@timestamp\":1}", &StreamTimestamp::IfMissing), None);
        assert_eq!(
            stamped("{\"a\":{}}", &StreamTimestamp::IfMissing).unwrap(),
            "{\"@timestamp\":5,\"a\":{}}"
        );
        assert!(stamp(b"{}", &StreamTimestamp::IfMissing, -1).is_err());
    }

    #[test]
    fn routings() {
        assert_eq!(routing(b"{\"a\":{\"b\":\"x\"}}", "/a/b").unwrap(), "x");
        assert_eq!(routing(b"{\"a\":7}", "/a").unwrap(), "7");
        assert!(routing(b"{\"a\":null}", "/a").is_err());
        assert!(routing(b"{}", "/a").is_err());
    }
}
