//! `ByLogicalTableRouter` (and `ToLogicalTopicRouter`, its newer name): several tables to one topic, the table in the key.

use super::super::field_plan::{
    Copies, PlanCache, Target, check_fields, each_row, not_a_struct, null_in_required, schema_of,
};
use super::super::java_regex::JavaRegex;
use super::super::{Transform, data_error};
use super::{is_envelope, row::Row};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, RecordError, Schema, SchemaBuilder, SchemaRef, Side, Type, Value};

const PURPOSE: &str = "Updating schema";

/// A key of text whose default is null.
const fn text(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, ConfigType::String, Importance::Low, doc)
}

/// The table, with the name of the key's field.
const fn keys(identifier: &'static str) -> [ConfigKey; 8] {
    [
        text("topic.regex", "The topics to route."),
        text("topic.replacement", "The topic to route to; groups of topic.regex may be named."),
        ConfigKey::with_default(
            "key.enforce.uniqueness",
            ConfigType::Boolean,
            "true",
            Importance::Low,
            "Whether the key gets a field that says the table.",
        ),
        text("key.field.regex", "What of the topic makes that field; the whole topic without it."),
        ConfigKey::with_default(
            "key.field.name",
            ConfigType::String,
            identifier,
            Importance::Low,
            "The name of that field.",
        ),
        text("key.field.replacement", "What key.field.regex is replaced by."),
        ConfigKey::with_default(
            "schema.name.adjustment.mode",
            ConfigType::String,
            "none",
            Importance::Low,
            "How names of schemas are made valid: none, avro or avro_unicode.",
        ),
        ConfigKey::with_default(
            "logical.destination.cache.size",
            ConfigType::Int,
            "16",
            Importance::Low,
            "Has no effect here.",
        ),
    ]
}

static BY_TABLE: [ConfigKey; 8] = keys("__dbz__physicalTableIdentifier");
static TO_TOPIC: [ConfigKey; 8] = keys("__dbz__sourceIdentifier");

/// The table of `ByLogicalTableRouter`.
pub(in super::super) static DEF: ConfigDef = ConfigDef { keys: &BY_TABLE };
/// The table of `ToLogicalTopicRouter`.
pub(in super::super) static TO_TOPIC_DEF: ConfigDef = ConfigDef { keys: &TO_TOPIC };

pub(in super::super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let text = |key| config.string(key).filter(|text| !text.is_empty());
    let invalid = |key: &str, why: String| {
        let message = format!("Unable to validate config. {key}: {why}");
        ConfigError::new(key, message).of_class("org.apache.kafka.connect.errors.ConnectException")
    };
    let required = |key| text(key).ok_or_else(|| invalid(key, "a value is required".to_owned()));
    let regex = |key: &'static str, pattern: &str| {
        JavaRegex::new(key, pattern).map_err(|error| invalid(key, error.message))
    };
    let topic = (regex("topic.regex", required("topic.regex")?)?, required("topic.replacement")?.to_owned());
    let key = match text("key.field.regex") {
        Some(pattern) => {
            let replacement = text("key.field.replacement").ok_or_else(|| {
                invalid("key.field.replacement", "it must be non-empty if key.field.regex is set".to_owned())
            })?;
            Some((regex("key.field.regex", pattern)?, replacement.to_owned()))
        }
        None => None,
    };
    let mode = config.string("schema.name.adjustment.mode").unwrap_or_default();
    let names = match mode.to_ascii_lowercase().as_str() {
        "none" => Names::AsTheyAre,
        "avro" => Names::Avro,
        "avro_unicode" => Names::AvroUnicode,
        _ => {
            let why = "it is none, avro or avro_unicode".to_owned();
            return Err(invalid("schema.name.adjustment.mode", why));
        }
    };
    Ok(Box::new(LogicalRouter {
        settings: Settings {
            topic,
            key,
            unique: config.boolean("key.enforce.uniqueness"),
            field: config.string("key.field.name").unwrap_or_default().to_owned(),
            names,
        },
        keys: PlanCache::default(),
        envelopes: PlanCache::default(),
    }))
}

/// How names of schemas are made valid.
#[derive(Debug, Clone, Copy)]
enum Names {
    AsTheyAre,
    Avro,
    AvroUnicode,
}

impl Names {
    fn adjust(self, name: &str) -> String {
        let valid = |at: usize, char: char| match char {
            '_' => !matches!(self, Self::AvroUnicode),
            '0'..='9' | '.' => at > 0,
            _ => char.is_ascii_alphabetic(),
        };
        let mut out = String::new();
        for (at, char) in name.char_indices() {
            match self {
                Self::AsTheyAre => out.push(char),
                _ if valid(at, char) => out.push(char),
                Self::Avro => out.push('_'),
                Self::AvroUnicode => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("_u{unit:04x}"));
                    }
                }
            }
        }
        out
    }
}

struct Settings {
    topic: (JavaRegex, String),
    key: Option<(JavaRegex, String)>,
    unique: bool,
    field: String,
    names: Names,
}

/// The new schema of a key, and what it takes from the old one.
struct KeyPlan {
    target: Target,
    copies: Copies,
}

/// The new schema of an envelope, and of the rows in it.
struct EnvelopePlan {
    target: Target,
    copies: Copies,
    rows: Vec<(usize, Result<RowPlan, RecordError>)>,
}

/// Where the fields of a row go.
struct RowPlan {
    copies: Copies,
    /// Places in the new row, by those in the old one.
    places: Vec<usize>,
    fields: usize,
}

/// The plans are kept by the old schema, whatever the topic: as in Debezium, the first topic gives the name.
struct LogicalRouter {
    settings: Settings,
    keys: PlanCache<Result<KeyPlan, RecordError>>,
    envelopes: PlanCache<Result<EnvelopePlan, RecordError>>,
}

/// A builder with the old schema's attributes but for name and default; with its fields too.
fn renamed(schema: &Schema, name: String, with_fields: bool) -> Result<SchemaBuilder, RecordError> {
    if schema.kind != Type::Struct {
        return Err(data_error("Cannot list fields on non-struct type"));
    }
    let mut builder = schema.like().name(&name).set_optional(schema.optional);
    for field in schema.fields.iter().filter(|_| with_fields) {
        builder = builder.field(&*field.name, SchemaRef::clone(&field.schema));
    }
    Ok(builder)
}

/// `Matcher.replaceFirst` where the whole text matches.
fn replaced((regex, replacement): &(JavaRegex, String), text: &str) -> Result<Option<String>, RecordError> {
    if !regex.matches(text) {
        return Ok(None);
    }
    let replaced = regex.replace_first(text, replacement);
    replaced
        .map(Some)
        .map_err(|error| RecordError { java_class: error.java_class, ..data_error(error.message) })
}

impl Settings {
    fn key_plan(&self, schema: &SchemaRef, topic: &str) -> Result<KeyPlan, RecordError> {
        let mut builder = renamed(schema, self.names.adjust(&format!("{topic}.Key")), true)?;
        if self.unique {
            builder = builder.field(self.field.as_str(), Schema::string());
        }
        let target = builder.build();
        check_fields(&target)?;
        Ok(KeyPlan { target: Target::new(target), copies: Copies::all(schema, false) })
    }

    fn envelope_plan(&self, schema: &SchemaRef, topic: &str) -> Result<EnvelopePlan, RecordError> {
        let row = schema.field("before").or_else(|| schema.field("after")).map(|(_, field)| &field.schema);
        let row = match row {
            Some(row) => Some(renamed(row, self.names.adjust(&format!("{topic}.Value")), true)?.build()),
            None => None,
        };
        let mut builder = renamed(schema, self.names.adjust(&format!("{topic}.Envelope")), false)?;
        let mut rows = Vec::new();
        for (at, field) in schema.fields.iter().enumerate() {
            let is_row = matches!(&*field.name, "before" | "after");
            let changed = match &row {
                Some(row) if is_row => {
                    rows.push((at, row_plan(&field.schema, row)));
                    SchemaRef::clone(row)
                }
                _ => SchemaRef::clone(&field.schema),
            };
            builder = builder.field(&*field.name, changed);
        }
        let copies = Copies::all(schema, true);
        Ok(EnvelopePlan { target: Target::new(builder.build()), copies, rows })
    }
}

fn row_plan(old: &SchemaRef, new: &SchemaRef) -> Result<RowPlan, RecordError> {
    let place = |field: &crate::data::Field| {
        let found = new.field(&field.name).map(|(at, _)| at);
        found.ok_or_else(|| data_error(format!("{} is not a valid field name", field.name)))
    };
    let places: Result<Vec<usize>, RecordError> = old.fields.iter().map(place).collect();
    Ok(RowPlan { copies: Copies::all(old, false), places: places?, fields: new.fields.len() })
}

impl RowPlan {
    fn run(&self, batch: &mut Batch, row: Value) -> Result<Value, RecordError> {
        let Value::Struct(range) = row else { return Err(not_a_struct(row, PURPOSE)) };
        let copied = self.copies.run(batch, range)?;
        let in_order =
            self.places.len() == self.fields && self.places.iter().enumerate().all(|(n, at)| n == *at);
        if in_order {
            return Ok(Value::Struct(copied));
        }
        let mut values = vec![Value::Null; self.fields];
        for (value, place) in batch.items(copied).iter().zip(&self.places) {
            values[*place] = *value;
        }
        Ok(Value::Struct(batch.push_values(&values)))
    }
}

impl LogicalRouter {
    fn one(&mut self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        let record = batch.records[index];
        let old_topic = batch.topic(record.topic).to_owned();
        let topic = match replaced(&self.settings.topic, &old_topic)? {
            Some(topic) if !topic.is_empty() => topic,
            _ => return Ok(()),
        };
        let mut new = record;
        new.set_side(Side::Key, 0, Value::Null);
        if !record.key.is_null() {
            let row = Row::of(batch, record.key_schema, record.key, PURPOSE)?;
            let settings = &self.settings;
            let plan = self.keys.get(&row.schema, |schema| settings.key_plan(schema, &topic));
            let plan = plan.as_mut().map_err(|error| error.clone())?;
            let mut range = plan.copies.run(batch, row.range)?;
            if settings.unique {
                let identifier = match &settings.key {
                    Some(key) => replaced(key, &old_topic)?.unwrap_or(old_topic),
                    None => old_topic,
                };
                let identifier = Value::String(batch.put_str(&identifier));
                batch.values.push(identifier);
                range.len += 1;
            }
            new.set_side(Side::Key, plan.target.id(batch), Value::Struct(range));
        }
        if !record.value.is_null() && is_envelope(batch, record.value_schema) {
            let row = Row::of(batch, record.value_schema, record.value, PURPOSE)?;
            let settings = &self.settings;
            let plan = self
                .envelopes
                .get(schema_of(batch, record.value_schema), |schema| settings.envelope_plan(schema, &topic));
            let plan = plan.as_mut().map_err(|error| error.clone())?;
            let range = plan.copies.run(batch, row.range)?;
            for (at, row_plan) in &plan.rows {
                let place = range.start as usize + at;
                let old = batch.values[place];
                let target = &plan.target.schema.fields[*at];
                if old.is_null() {
                    if !target.schema.optional {
                        return Err(null_in_required(&target.name, Type::Struct));
                    }
                    continue;
                }
                let row_plan = row_plan.as_ref().map_err(RecordError::clone)?;
                batch.values[place] = row_plan.run(batch, old)?;
            }
            new.set_side(Side::Value, plan.target.id(batch), Value::Struct(range));
        }
        new.topic = batch.intern_topic(&topic);
        batch.records[index] = new;
        Ok(())
    }
}

impl Transform for LogicalRouter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| self.one(batch, index));
    }
}
