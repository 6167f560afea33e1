//! `EventRouter`: rows of an outbox table to the topics that they name.

use std::sync::Arc;

use super::super::field_plan::{
    Target, Text, add_header, check_fields, each_row, field_value, null_in_required, null_pointer,
    schema_error,
};
use super::super::java_regex::JavaRegex;
use super::super::{Transform, data_error};
use super::json_payload::{self, Expansion};
use super::row::Row;
use super::{connect_error, is_envelope};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{
    Batch, Header, RecordError, RecordState, Schema, SchemaBuilder, SchemaId, SchemaRef, Side, Type, Value,
    java_string,
};

/// Schemas of values that are kept.
const KEPT_SCHEMAS: usize = 256;

/// A key of text with a default.
const fn text(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::String, default, Importance::Low, doc)
}

/// A key of text whose default is null.
const fn nullable(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, ConfigType::String, Importance::Low, doc)
}

/// A key that is false unless it is set.
const fn switch(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::Boolean, "false", Importance::Low, doc)
}

pub(in super::super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        text("table.field.event.id", "id", "The column with the id of the event."),
        text("table.field.event.key", "aggregateid", "The column with the key of the message."),
        text("table.field.event.type", "type", "Has no effect."),
        text("table.field.event.payload", "payload", "The column with the payload."),
        nullable("table.field.event.timestamp", "The column with the timestamp; else that of the change."),
        nullable(
            "table.fields.additional.placement",
            "Further columns and where they go, column:placement[:alias], ...; a placement is header, envelope or \
             partition.",
        ),
        text("table.field.additional.missing", "error", "What a further column that is not there is.")
            .valid(Validator::OneOfIgnoringCase(&["error", "ignore"])),
        nullable("table.field.event.schema.version", "The column with the version of the value's schema."),
        text("table.op.invalid.behavior", "warn", "What an update is.")
            .valid(Validator::OneOfIgnoringCase(&["warn", "error", "fatal"])),
        switch("table.expand.json.payload", "Whether a payload of JSON becomes a struct."),
        text("table.json.payload.null.behavior", "ignore", "What null is in such a payload.")
            .valid(Validator::OneOfIgnoringCase(&["ignore", "optional_bytes"])),
        text(
            "table.json.payload.empty.array.behavior",
            "ignore",
            "What an empty array is in such a payload.",
        )
        .valid(Validator::OneOfIgnoringCase(&["ignore", "optional_string"])),
        text("route.by.field", "aggregatetype", "The column that names the topic."),
        text("route.topic.regex", "(?<routedByValue>.*)", "A regular expression of the whole of it."),
        text("route.topic.replacement", "outbox.event.${routedByValue}", "The topic."),
        switch("route.tombstone.on.empty.payload", "Whether an empty payload makes a tombstone."),
    ],
};

/// Where a further column goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    Header,
    Envelope,
    Partition,
    /// A word that is none of these: found out when a record comes.
    Unknown,
}

struct Additional {
    placement: Placement,
    field: String,
    alias: Text,
}

fn additional(list: &str) -> Result<Vec<Additional>, ConfigError> {
    let key = "table.fields.additional.placement";
    let mut fields = Vec::new();
    for entry in list.trim_end_matches(',').split(',') {
        let parts: Vec<&str> = entry.trim_end_matches(':').split(':').collect();
        if !matches!(parts.len(), 2 | 3) {
            let why = format!(
                "A comma-separated list of valid String pairs or trios is expected but got: [{}]",
                list.replace(',', ", ")
            );
            return Err(ConfigError::invalid(key, list, why));
        }
        let placement = match parts[1].trim().to_ascii_lowercase().as_str() {
            "header" => Placement::Header,
            "envelope" => Placement::Envelope,
            "partition" => Placement::Partition,
            _ => Placement::Unknown,
        };
        let field = parts[0].trim().to_owned();
        let alias = Text::new(parts.get(2).map_or(field.as_str(), |alias| alias.trim()));
        fields.push(Additional { placement, field, alias });
    }
    Ok(fields)
}

pub(in super::super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let text = |key| config.string(key).unwrap_or_default().to_owned();
    let is = |key, word: &str| config.string(key).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let filled = |key| config.string(key).map(str::to_owned);
    let additional = match config.string("table.fields.additional.placement") {
        Some(list) => additional(list)?,
        None => Vec::new(),
    };
    let with_envelope = additional.iter().any(|field| field.placement == Placement::Envelope);
    Ok(Box::new(EventRouter {
        id: text("table.field.event.id"),
        id_header: Text::new("id"),
        key: text("table.field.event.key"),
        payload: text("table.field.event.payload"),
        timestamp: filled("table.field.event.timestamp"),
        route_by: text("route.by.field"),
        regex: JavaRegex::new("route.topic.regex", &text("route.topic.regex"))?,
        replacement: text("route.topic.replacement"),
        tombstones: config.boolean("route.tombstone.on.empty.payload"),
        fatal: is("table.op.invalid.behavior", "fatal"),
        expansion: config.boolean("table.expand.json.payload").then(|| Expansion {
            null_as_bytes: is("table.json.payload.null.behavior", "optional_bytes"),
            empty_array_as_strings: is("table.json.payload.empty.array.behavior", "optional_string"),
        }),
        envelope: Envelope {
            version: filled("table.field.event.schema.version"),
            ignores_missing: is("table.field.additional.missing", "ignore"),
            additional,
            schemas: Vec::new(),
        },
        with_envelope,
    }))
}

/// What the value's schema was made for: the payload's schema, or a version.
#[derive(PartialEq)]
enum SchemaKey {
    Payload(SchemaRef),
    Version(Option<i32>),
}

/// Values that are structs: the payload and further columns.
struct Envelope {
    version: Option<String>,
    ignores_missing: bool,
    additional: Vec<Additional>,
    schemas: Vec<(SchemaKey, Target)>,
}

struct EventRouter {
    id: String,
    id_header: Text,
    key: String,
    payload: String,
    timestamp: Option<String>,
    route_by: String,
    regex: JavaRegex,
    replacement: String,
    tombstones: bool,
    fatal: bool,
    expansion: Option<Expansion>,
    envelope: Envelope,
    with_envelope: bool,
}

/// `after`'s name with the topic before its last part.
fn schema_name(event: &Schema, topic: &str) -> String {
    match event.name.as_deref() {
        None => topic.to_owned(),
        Some(name) => match name.rsplit_once('.') {
            Some((space, last)) => format!("{space}.{topic}.{last}"),
            None => format!("{topic}.{name}"),
        },
    }
}

impl Envelope {
    /// The schema of a value; made once for each payload's schema, or each version, whatever comes later.
    fn schema(
        &mut self,
        batch: &Batch,
        payload: Option<&SchemaRef>,
        event: &Row,
        topic: Option<&str>,
    ) -> Result<&mut Target, RecordError> {
        let no_payload = || schema_error("fieldSchema for field payload cannot be null.");
        let key = match &self.version {
            Some(field) => SchemaKey::Version(event.int32(batch, field)?),
            None => SchemaKey::Payload(SchemaRef::clone(payload.ok_or_else(no_payload)?)),
        };
        let same = |known: &(SchemaKey, Target)| match (&known.0, &key) {
            (SchemaKey::Payload(one), SchemaKey::Payload(other)) => Arc::ptr_eq(one, other) || one == other,
            (one, other) => one == other,
        };
        if let Some(at) = self.schemas.iter().position(same) {
            return Ok(&mut self.schemas[at].1);
        }
        let name = schema_name(&event.schema, topic.unwrap_or("null"));
        let payload = payload.ok_or_else(no_payload)?;
        let mut builder = SchemaBuilder::structure().name(&name).field("payload", SchemaRef::clone(payload));
        for additional in self.additional.iter().filter(|field| field.placement == Placement::Envelope) {
            match event.schema.field(&additional.field) {
                Some((_, field)) => {
                    builder = builder.field(additional.alias.text.as_str(), SchemaRef::clone(&field.schema));
                }
                None if self.ignores_missing => {}
                None => {
                    return Err(connect_error(format!("Unable to find field {} in event", additional.field)));
                }
            }
        }
        if let SchemaKey::Version(Some(version)) = key {
            builder = builder.version(version);
        }
        let schema = builder.build();
        check_fields(&schema)?;
        if self.schemas.len() >= KEPT_SCHEMAS {
            self.schemas.remove(0);
        }
        self.schemas.push((key, Target::new(schema)));
        let last = self.schemas.len() - 1;
        Ok(&mut self.schemas[last].1)
    }
}

/// A header, which may be null only where its schema is optional.
fn put_header(
    batch: &mut Batch,
    index: usize,
    name: &mut Text,
    value: Value,
    schema: &SchemaRef,
) -> Result<(), RecordError> {
    if value.is_null() && !schema.optional {
        return Err(data_error("A null value requires an optional schema"));
    }
    let key = name.span(batch);
    let schema = batch.intern_schema(schema);
    add_header(batch, index, Header { key, schema, value, raw: None });
    Ok(())
}

impl EventRouter {
    fn one(&mut self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        let record = batch.records[index];
        if record.value.is_null() {
            batch.records[index].state = RecordState::Dropped;
            return Ok(());
        }
        if !is_envelope(batch, record.value_schema) {
            return Ok(());
        }
        let change = Row::of(batch, record.value_schema, record.value, "Detect Debezium Operation")?;
        match change.string(batch, "op")? {
            None => return Err(null_pointer("the operation is null")),
            Some("u") if self.fatal => {
                let mut key = Vec::new();
                java_string(batch, record.key_schema, record.key, &mut key);
                let key = String::from_utf8_lossy(&key);
                let message = format!("Unexpected update message received {key}, fail.");
                return Err(RecordError {
                    java_class: "java.lang.IllegalStateException",
                    ..data_error(message)
                });
            }
            Some("d" | "u") => {
                batch.records[index].state = RecordState::Dropped;
                return Ok(());
            }
            Some(_) => {}
        }
        let Some((at, field)) = change.schema.field("after") else {
            let java_class = "java.lang.IllegalArgumentException";
            return Err(RecordError { java_class, ..data_error("Unknown field: after") });
        };
        let after = batch.items(change.range).get(at).copied().unwrap_or_default();
        let after = field_value(batch, &field.schema, after, true);
        let event = Row::with(SchemaRef::clone(&field.schema), after, "Read Outbox Event")?;
        self.route(batch, index, &change, &event)
    }

    fn route(
        &mut self,
        batch: &mut Batch,
        index: usize,
        change: &Row,
        event: &Row,
    ) -> Result<(), RecordError> {
        let missing =
            |what: &str, field: &str| connect_error(format!("Unable to find {what} field {field} in event"));
        let Some((_, payload_field)) = event.schema.field(&self.payload) else {
            return Err(missing("payload", &self.payload));
        };
        let payload_schema = SchemaRef::clone(&payload_field.schema);
        let timestamp = self.timestamp(batch, change, event)?;
        let (id, id_schema) = event.get(batch, &self.id)?;
        let (payload, _) = event.get(batch, &self.payload)?;
        put_header(batch, index, &mut self.id_header, id, &id_schema)?;
        let (payload_schema, payload) = self.expanded(batch, payload_schema, payload);
        let topic = event.string(batch, &self.route_by);
        let mut structure = None;
        if self.with_envelope {
            let topic = topic.clone()?.map(str::to_owned);
            let target = self.envelope.schema(batch, payload_schema.as_ref(), event, topic.as_deref())?;
            // A schema that was made for another payload may not take this one.
            let expected = target.schema.fields.first().map(|field| field.schema.kind);
            let is_bytes = |kind| kind == Some(Type::Bytes);
            let given = payload_schema.as_ref().map(|schema| schema.kind);
            if !payload.is_null() && is_bytes(expected) != is_bytes(given) {
                let class = super::super::field_plan::java_class_of(payload);
                return Err(data_error(format!(
                    "Invalid Java object for schema: {class} for field: \"payload\""
                )));
            }
            let mut values = vec![Value::Null; target.schema.fields.len()];
            if let Some(first) = values.first_mut() {
                *first = payload;
            }
            structure = Some((SchemaRef::clone(&target.schema), target.id(batch), values));
        }
        let partition = self.place_additional(batch, index, event, structure.as_mut())?;
        let topic = event.string(batch, &self.route_by)?.map(str::to_owned);
        let (key, key_schema) = event.get(batch, &self.key)?;
        let key_schema = batch.intern_schema(&key_schema);
        let (schema, value) = if self.tombstones && is_blank(batch, payload_schema.as_ref(), payload) {
            (0, Value::Null)
        } else if let Some((_, schema, values)) = structure {
            (schema, Value::Struct(batch.push_values(&values)))
        } else {
            (payload_schema.map_or(0, |schema| batch.intern_schema(&schema)), payload)
        };
        if partition.is_none() && batch.records[index].origin.offset >= 0 {
            return Err(null_pointer("a sink record needs a partition, and the event router gives it none"));
        }
        let topic = topic.ok_or_else(|| null_pointer("the event names no topic"))?;
        let topic = self.topic(&topic)?;
        let record = &mut batch.records[index];
        record.partition = partition.unwrap_or(-1);
        record.timestamp = timestamp.unwrap_or(-1);
        record.set_side(Side::Key, key_schema, key);
        record.set_side(Side::Value, schema, value);
        batch.records[index].topic = batch.intern_topic(&topic);
        Ok(())
    }

    /// The event's own timestamp, else that of the change, in milliseconds.
    fn timestamp(&self, batch: &Batch, change: &Row, event: &Row) -> Result<Option<i64>, RecordError> {
        let Some(name) = &self.timestamp else { return change.int64(batch, "ts_ms") };
        let Some((_, field)) = event.schema.field(name) else {
            return Err(connect_error(format!("Unable to find timestamp field {name} in event")));
        };
        let Some(time) = event.int64(batch, name)? else { return change.int64(batch, "ts_ms") };
        let unsupported =
            |kind: &str| connect_error(format!("Unsupported field type {kind} for event timestamp"));
        match field.schema.name.as_deref() {
            None => {
                let kind = field.schema.kind.name();
                Err(unsupported(&format!("{kind} (without logical schema name)")))
            }
            Some("io.debezium.time.Timestamp") => Ok(Some(time)),
            Some("io.debezium.time.MicroTimestamp") => Ok(Some(time / 1000)),
            Some("io.debezium.time.NanoTimestamp") => Ok(Some(time / 1_000_000)),
            Some(other) => Err(unsupported(other)),
        }
    }

    /// The payload as a struct, if it is JSON. Where only its data cannot be had, Debezium has changed the schema already.
    fn expanded(&self, batch: &mut Batch, schema: SchemaRef, payload: Value) -> (Option<SchemaRef>, Value) {
        let (Some(expansion), Value::String(span)) = (self.expansion, payload) else {
            return (Some(schema), payload);
        };
        let Some(json) = json_payload::parse(batch.str(span)) else { return (Some(schema), payload) };
        let Ok(expanded) = expansion.schema(Some(&self.payload), &json, 0) else {
            return (Some(schema), payload);
        };
        let structure = expanded.as_ref().filter(|schema| schema.kind == Type::Struct);
        let value = structure.and_then(|schema| json_payload::value(batch, &json, schema));
        (expanded, value.unwrap_or(payload))
    }

    /// Puts further columns where they go; gives the partition.
    fn place_additional(
        &mut self,
        batch: &mut Batch,
        index: usize,
        event: &Row,
        mut structure: Option<&mut (SchemaRef, SchemaId, Vec<Value>)>,
    ) -> Result<Option<i32>, RecordError> {
        let mut partition = None;
        for additional in &mut self.envelope.additional {
            if self.envelope.ignores_missing && event.schema.field(&additional.field).is_none() {
                continue;
            }
            match additional.placement {
                Placement::Unknown => {
                    return Err(null_pointer(format!("the placement of {} is unknown", additional.field)));
                }
                Placement::Partition => partition = event.int32(batch, &additional.field)?,
                Placement::Header => {
                    let (value, schema) = event.get(batch, &additional.field)?;
                    put_header(batch, index, &mut additional.alias, value, &schema)?;
                }
                Placement::Envelope => {
                    let (value, _) = event.get(batch, &additional.field)?;
                    let alias = &additional.alias.text;
                    let Some((schema, _, values)) = structure.as_deref_mut() else { continue };
                    let place = schema.field(alias);
                    let (at, field) =
                        place.ok_or_else(|| data_error(format!("{alias} is not a valid field name")))?;
                    if value.is_null() && !field.schema.optional {
                        return Err(null_in_required(alias, field.schema.kind));
                    }
                    values[at] = value;
                }
            }
        }
        Ok(partition)
    }

    fn topic(&self, name: &str) -> Result<String, RecordError> {
        if !self.regex.matches(name) {
            return Ok(name.to_owned());
        }
        let topic = self.regex.replace_first(name, &self.replacement);
        topic.map_err(|error| RecordError { java_class: error.java_class, ..data_error(error.message) })
    }
}

/// Whether a payload is null, or nothing but blanks when printed.
fn is_blank(batch: &Batch, schema: Option<&SchemaRef>, payload: Value) -> bool {
    let mut text = Vec::new();
    crate::data::append_java_string(batch, schema.map(|schema| &**schema), payload, &mut text);
    payload.is_null() || text.iter().all(|byte| *byte <= b' ')
}

impl Transform for EventRouter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.id_header.begin();
        self.envelope.additional.iter_mut().for_each(|additional| additional.alias.begin());
        each_row(batch, rows, |batch, index| self.one(batch, index));
    }
}
