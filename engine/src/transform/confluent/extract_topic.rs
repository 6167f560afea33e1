//! `ExtractTopic`: the topic from a field, or from a header.

use super::super::field_plan::each_row;
use super::super::{Transform, data_error};
use super::json_path::{JsonPath, Node};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, RecordError, Side, Value};

const FIELD: &str = "field";
const SKIP: &str = "skip.missing.or.null";
const FORMAT: &str = "field.format";

const SKIP_KEY: ConfigKey = ConfigKey::with_default(
    SKIP,
    ConfigType::Boolean,
    "false",
    Importance::Low,
    "Whether a record without the field keeps its topic instead of failing.",
);

pub(in super::super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::with_default(
            FIELD,
            ConfigType::String,
            "",
            Importance::Medium,
            "The field that is the name of the topic; the whole key or value if it is blank.",
        ),
        ConfigKey::with_default(
            FORMAT,
            ConfigType::String,
            "PLAIN",
            Importance::Medium,
            "PLAIN: a field's name; JSON_PATH: a path.",
        )
        .valid(Validator::OneOfIgnoringCase(&["PLAIN", "JSON_PATH"])),
        SKIP_KEY,
    ],
};

/// The table of `ExtractTopic$Header`.
pub(in super::super) static HEADER_DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            FIELD,
            ConfigType::String,
            Importance::Medium,
            "The header with the topic's name.",
        )
        .valid(Validator::NonEmpty),
        SKIP_KEY,
    ],
};

/// Where the name is.
enum Place {
    Whole,
    Field(String),
    Path(JsonPath),
    Header(String),
}

pub(in super::super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let field = config.string(FIELD).unwrap_or_default().to_owned();
    let is_path = config.string(FORMAT).is_some_and(|format| format.eq_ignore_ascii_case("JSON_PATH"));
    let place = match field.is_empty() {
        true => Place::Whole,
        false if is_path => Place::Path(JsonPath::new(FIELD, &field)?),
        false => Place::Field(field),
    };
    Ok(Box::new(ExtractTopic { side, place, skip: config.boolean(SKIP) }))
}

/// Makes `ExtractTopic$Header`.
pub(in super::super) fn make_header(
    config: &ParsedConfig,
    side: Side,
) -> Result<Box<dyn Transform>, ConfigError> {
    let place = Place::Header(config.string(FIELD).unwrap_or_default().to_owned());
    Ok(Box::new(ExtractTopic { side, place, skip: config.boolean(SKIP) }))
}

struct ExtractTopic {
    side: Side,
    place: Place,
    skip: bool,
}

impl ExtractTopic {
    fn name(&self, batch: &Batch, index: usize) -> Value {
        let record = &batch.records[index];
        let (schema, value) = record.side(self.side);
        let root = Node { schema: batch.schema(schema), value };
        match &self.place {
            Place::Whole => value,
            Place::Field(name) => root.member(batch, name).map_or(Value::Null, |node| node.value),
            Place::Path(path) => path.find(batch, root).0.first().map_or(Value::Null, |node| node.value),
            Place::Header(name) => {
                let is_it = |header: &&crate::data::Header| batch.bytes(header.key) == name.as_bytes();
                let last = batch.headers_of(record).iter().rev().find(is_it);
                last.map_or(Value::Null, |header| header.value)
            }
        }
    }

    fn one(&self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        match self.name(batch, index) {
            Value::String(span) if span.len > 0 => {
                let topic = batch.str(span).to_owned();
                batch.records[index].topic = batch.intern_topic(&topic);
                Ok(())
            }
            Value::Null | Value::String(_) if self.skip => Ok(()),
            Value::Null | Value::String(_) => {
                Err(data_error(format!("no topic name is there; {SKIP}=true lets such records pass")))
            }
            other => Err(data_error(format!("a topic's name is a string, found: {}", other.java_class()))),
        }
    }
}

impl Transform for ExtractTopic {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| self.one(batch, index));
    }
}
