//! `ExtractNewRecordState`: the row's new state in place of the change event.

use super::super::field_plan::{
    Copies, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, Text, add_header, check_fields, class_cast,
    each_row, field_value, null_pointer, schema_of,
};
use super::super::{Transform, data_error, replace_field};
use super::field_reference::{self, FieldReference, Place};
use super::is_envelope;
use super::row::Row;
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{
    Batch, Header, Range32, RecordError, RecordState, Schema, SchemaId, SchemaRef, Side, Type, Value,
};

const MODE: &str = "delete.tombstone.handling.mode";

/// A key of text with a default.
const fn text(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::String, default, Importance::Low, doc)
}

pub(in super::super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        text(MODE, "tombstone", "What becomes of deletes and of the tombstones behind them.").valid(
            Validator::OneOfIgnoringCase(&[
                "drop",
                "tombstone",
                "rewrite",
                "rewrite-with-tombstone",
                "delete-to-tombstone",
            ]),
        ),
        text("route.by.field", "", "The field of the row that is the name of the topic."),
        text("add.fields.prefix", "__", "What stands before the names of added fields."),
        text(
            "add.fields",
            "",
            "Fields of the envelope to add to the value, comma separated; field:alias renames.",
        ),
        text("add.headers.prefix", "__", "What stands before the names of added headers."),
        text("add.headers", "", "Fields of the envelope to add as headers, as in add.fields."),
        ConfigKey::nullable(
            "drop.fields.header.name",
            ConfigType::String,
            Importance::Low,
            "The header that lists fields to leave out.",
        ),
        ConfigKey::with_default(
            "drop.fields.from.key",
            ConfigType::Boolean,
            "false",
            Importance::Low,
            "Whether these fields leave the key too.",
        ),
        ConfigKey::with_default(
            "drop.fields.keep.schema.compatible",
            ConfigType::Boolean,
            "true",
            Importance::Low,
            "Whether only optional fields are left out.",
        ),
        REPLACE_NULL_KEY,
    ],
};

/// What becomes of deletes and tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Drop,
    Tombstone,
    Rewrite,
    RewriteWithTombstone,
    DeleteToTombstone,
}

impl Mode {
    fn rewrites(self) -> bool {
        matches!(self, Self::Rewrite | Self::RewriteWithTombstone)
    }
}

pub(in super::super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let text = |key| config.string(key).unwrap_or_default();
    let mode = match text(MODE).to_ascii_lowercase().as_str() {
        "drop" => Mode::Drop,
        "rewrite" => Mode::Rewrite,
        "rewrite-with-tombstone" => Mode::RewriteWithTombstone,
        "delete-to-tombstone" => Mode::DeleteToTombstone,
        _ => Mode::Tombstone,
    };
    let filled = |key| Some(text(key)).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Box::new(Unwrap {
        mode,
        route_by: filled("route.by.field"),
        fields: field_reference::parse("add.fields", text("add.fields.prefix"), text("add.fields"))?,
        headers: field_reference::parse("add.headers", text("add.headers.prefix"), text("add.headers"))?,
        drop_header: filled("drop.fields.header.name"),
        drop_from_key: config.boolean("drop.fields.from.key"),
        drop_compatible: config.boolean("drop.fields.keep.schema.compatible"),
        replace_null: config.boolean(REPLACE_NULL),
        plans: PlanCache::default(),
        deleted: PlanCache::default(),
        words: [Text::new("false"), Text::new("true"), Text::new("d")],
    }))
}

/// A row of the envelope: its place and its schema.
struct Image {
    at: usize,
    target: Target,
}

/// What is known of envelopes of one schema.
struct Plan {
    before: Result<Image, RecordError>,
    after: Result<Image, RecordError>,
    /// Why there is no operation, if there is none.
    operation: Result<(), RecordError>,
    fields: Vec<Result<Option<Place>, RecordError>>,
    headers: Vec<Result<Option<Place>, RecordError>>,
    /// The added fields, by the schema of the row.
    added: PlanCache<Result<Extended, RecordError>>,
}

/// A row's schema with fields behind it.
struct Extended {
    target: Target,
    copies: Copies,
}

struct Unwrap {
    mode: Mode,
    route_by: Option<String>,
    fields: Vec<FieldReference>,
    headers: Vec<FieldReference>,
    drop_header: Option<String>,
    drop_from_key: bool,
    drop_compatible: bool,
    replace_null: bool,
    plans: PlanCache<Plan>,
    /// `__deleted`, by the schema of the row.
    deleted: PlanCache<Result<Extended, RecordError>>,
    /// `false`, `true`, `d`.
    words: [Text; 3],
}

fn image(envelope: &Schema, name: &str) -> Result<Image, RecordError> {
    if envelope.kind != Type::Struct {
        return Err(data_error("Cannot look up fields on non-struct type"));
    }
    let (at, field) = envelope.field(name).ok_or_else(|| RecordError {
        java_class: "java.lang.IllegalArgumentException",
        ..data_error(format!("Unknown field: {name}"))
    })?;
    Ok(Image { at, target: Target::new(SchemaRef::clone(&field.schema)) })
}

fn compile(fields: &[FieldReference], headers: &[FieldReference], envelope: &Schema) -> Plan {
    let operation = match envelope.field("op") {
        None => Err(data_error("op is not a valid field name")),
        Some((_, field)) if field.schema.kind != Type::String => {
            Err(data_error("Field 'op' is not of type STRING"))
        }
        Some(_) => Ok(()),
    };
    let resolve = |reference: &FieldReference| reference.resolve(envelope);
    Plan {
        before: image(envelope, "before"),
        after: image(envelope, "after"),
        operation,
        fields: fields.iter().map(resolve).collect(),
        headers: headers.iter().map(resolve).collect(),
        added: PlanCache::default(),
    }
}

/// The row's schema with these fields behind it, without optional and default.
fn extended<'a>(
    schema: &SchemaRef,
    fields: impl Iterator<Item = (&'a str, SchemaRef)>,
    replace_null: bool,
) -> Result<Extended, RecordError> {
    if schema.kind != Type::Struct {
        return Err(super::super::field_plan::not_a_struct(Value::Null, "source field insertion"));
    }
    let mut builder = schema.like();
    for field in &schema.fields {
        builder = builder.field(&*field.name, SchemaRef::clone(&field.schema));
    }
    for (name, field) in fields {
        builder = builder.field(name, field);
    }
    let target = builder.build();
    check_fields(&target)?;
    Ok(Extended { target: Target::new(target), copies: Copies::all(schema, replace_null) })
}

impl Image {
    /// The row, with the default of the envelope's field for null.
    fn value(&self, batch: &mut Batch, envelope: Range32) -> Value {
        let value = batch.items(envelope).get(self.at).copied().unwrap_or_default();
        field_value(batch, &self.target.schema, value, true)
    }
}

/// The record is dropped.
fn drop_record(batch: &mut Batch, index: usize) {
    batch.records[index].state = RecordState::Dropped;
}

impl Unwrap {
    fn tombstone(&mut self, batch: &mut Batch, index: usize) {
        let value = self.words[2].span(batch);
        for reference in self.headers.iter_mut().filter(|reference| reference.is_operation()) {
            let key = reference.name.span(batch);
            let schema = batch.intern_schema(Schema::primitive(Type::String, false));
            add_header(batch, index, Header { key, schema, value: Value::String(value), raw: None });
        }
        if self.mode != Mode::RewriteWithTombstone {
            drop_record(batch, index);
        }
    }

    fn one(&mut self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        let record = batch.records[index];
        if record.value.is_null() {
            self.tombstone(batch, index);
            return Ok(());
        }
        if !is_envelope(batch, record.value_schema) {
            return Ok(());
        }
        let (fields, headers) = (&self.fields, &self.headers);
        let compiled = |schema: &SchemaRef| compile(fields, headers, schema);
        let plan = self.plans.get(schema_of(batch, record.value_schema), compiled);
        let Value::Struct(envelope) = record.value else {
            return Err(if headers.is_empty() {
                super::super::field_plan::not_a_struct(record.value, "field extraction")
            } else {
                class_cast(record.value, "org.apache.kafka.connect.data.Struct")
            });
        };
        for (place, reference) in plan.headers.iter_mut().zip(&mut self.headers) {
            let Some(place) = place.as_mut().map_err(|error| error.clone())? else { continue };
            let value = place.value(batch, envelope)?;
            let schema = place.header.id(batch);
            let key = reference.name.span(batch);
            add_header(batch, index, Header { key, schema, value, raw: None });
        }
        let after = plan.after.as_mut().map_err(|error| error.clone())?;
        let state = after.value(batch, envelope);
        if !state.is_null() {
            let schema = after.target.id(batch);
            return self.changed(batch, index, (schema, state), envelope);
        }
        let before = plan.before.as_mut().map_err(|error| error.clone())?;
        let old = before.value(batch, envelope);
        if old.is_null() {
            // A truncation, or a message.
            drop_record(batch, index);
            return Ok(());
        }
        let (before, after) = (before.target.id(batch), after.target.id(batch));
        match self.mode {
            Mode::Drop => {
                drop_record(batch, index);
                return Ok(());
            }
            Mode::Tombstone => batch.records[index].set_side(Side::Value, after, Value::Null),
            Mode::DeleteToTombstone => batch.records[index].set_side(Side::Value, 0, Value::Null),
            Mode::Rewrite | Mode::RewriteWithTombstone => {
                batch.records[index].set_side(Side::Value, before, old);
                self.mark(batch, index, true)?;
            }
        }
        self.route_delete(batch, index, record.value_schema, envelope)?;
        self.drop_fields(batch, index)?;
        if !batch.records[index].value.is_null() {
            self.add_fields(batch, index, record.value_schema, envelope)?;
        }
        Ok(())
    }

    /// An insert or an update.
    fn changed(
        &mut self,
        batch: &mut Batch,
        index: usize,
        (schema, state): (SchemaId, Value),
        envelope: Range32,
    ) -> Result<(), RecordError> {
        let envelope_schema = batch.records[index].value_schema;
        batch.records[index].set_side(Side::Value, schema, state);
        if self.mode.rewrites() {
            self.mark(batch, index, false)?;
        }
        if let Some(field) = &self.route_by {
            let record = batch.records[index];
            let purpose = "Read record to set topic routing for CREATE / UPDATE";
            let row = Row::of(batch, record.value_schema, record.value, purpose)?;
            let topic = row.string(batch, field)?.map(str::to_owned);
            set_topic(batch, index, topic.as_deref());
        }
        self.add_fields(batch, index, envelope_schema, envelope)?;
        self.drop_fields(batch, index)
    }

    /// Adds `__deleted`.
    fn mark(&mut self, batch: &mut Batch, index: usize, is_deleted: bool) -> Result<(), RecordError> {
        let (id, value) = batch.records[index].side(Side::Value);
        let Value::Struct(range) = value else { return Ok(()) };
        let replace_null = self.replace_null;
        let plan = self.deleted.get(schema_of(batch, id), |schema| {
            let deleted = ("__deleted", Schema::optional_string());
            extended(schema, std::iter::once(deleted), replace_null)
        });
        let plan = plan.as_mut().map_err(|error| error.clone())?;
        let mut range = plan.copies.run(batch, range)?;
        let word = self.words[usize::from(is_deleted)].span(batch);
        batch.values.push(Value::String(word));
        range.len += 1;
        let id = plan.target.id(batch);
        batch.records[index].set_side(Side::Value, id, Value::Struct(range));
        Ok(())
    }

    fn route_delete(
        &mut self,
        batch: &mut Batch,
        index: usize,
        schema: SchemaId,
        envelope: Range32,
    ) -> Result<(), RecordError> {
        let Some(field) = &self.route_by else { return Ok(()) };
        let envelope = Row { schema: SchemaRef::clone(schema_of(batch, schema)), range: envelope };
        let before = envelope.structure(batch, "before")?;
        let before = before.ok_or_else(|| null_pointer("the row before the delete is null"))?;
        let topic = before.string(batch, field)?.map(str::to_owned);
        set_topic(batch, index, topic.as_deref());
        Ok(())
    }

    /// Adds fields of the envelope to the row.
    fn add_fields(
        &mut self,
        batch: &mut Batch,
        index: usize,
        schema: SchemaId,
        envelope: Range32,
    ) -> Result<(), RecordError> {
        let (id, value) = batch.records[index].side(Side::Value);
        let Value::Struct(range) = value else {
            return Err(super::super::field_plan::not_a_struct(value, "source field insertion"));
        };
        let (fields, headers) = (&self.fields, &self.headers);
        let compiled = |schema: &SchemaRef| compile(fields, headers, schema);
        let plan = self.plans.get(schema_of(batch, schema), compiled);
        plan.operation.clone()?;
        let places = &plan.fields;
        let added = plan.added.get(schema_of(batch, id), |schema| {
            let mut added = Vec::new();
            for (place, reference) in places.iter().zip(fields) {
                if let Some(place) = place.as_ref().map_err(RecordError::clone)? {
                    added.push((reference.name.text.as_str(), SchemaRef::clone(&place.target.schema)));
                }
            }
            extended(schema, added.into_iter(), false)
        });
        let added = added.as_mut().map_err(|error| error.clone())?;
        let mut range = added.copies.run(batch, range)?;
        for place in plan.fields.iter().flatten().flatten() {
            let value = place.value(batch, envelope)?;
            place.check(value)?;
            batch.values.push(value);
            range.len += 1;
        }
        let id = added.target.id(batch);
        batch.records[index].set_side(Side::Value, id, Value::Struct(range));
        Ok(())
    }

    /// Leaves out the fields that a header of the record lists.
    fn drop_fields(&mut self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        let Some(name) = self.drop_header.as_deref().filter(|name| !name.trim().is_empty()) else {
            return Ok(());
        };
        let record = batch.records[index];
        let is_it = |header: &&Header| batch.bytes(header.key) == name.as_bytes();
        let value = batch.headers_of(&record).iter().find(is_it).map(|header| header.value);
        let names = match value {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(range)) if range.len == 0 => return Ok(()),
            Some(Value::Array(range)) => names_of(batch, range),
            Some(other) => return Err(class_cast(other, "java.util.List")),
        };
        if self.drop_from_key && !record.key.is_null() {
            self.drop_from(batch, index, Side::Key, &names)?;
        }
        self.drop_from(batch, index, Side::Value, &names)
    }

    fn drop_from(
        &self,
        batch: &mut Batch,
        index: usize,
        side: Side,
        names: &[String],
    ) -> Result<(), RecordError> {
        let mut dropped = names.to_vec();
        if self.drop_compatible {
            let schema = batch.schema(batch.records[index].side(side).0);
            let schema = schema.ok_or_else(|| null_pointer("there is no schema to drop fields from"))?;
            if schema.kind != Type::Struct {
                return Err(data_error("Cannot list fields on non-struct type"));
            }
            let fields = schema.fields.iter().filter(|field| field.schema.optional);
            dropped =
                fields.map(|field| field.name.to_string()).filter(|name| names.contains(name)).collect();
        }
        if dropped.is_empty() {
            Ok(())
        } else {
            replace_field::exclude(batch, index, side, &dropped.join(","))
        }
    }
}

/// Names in a header's list.
fn names_of(batch: &Batch, range: Range32) -> Vec<String> {
    let text = |item: &Value| {
        let mut out = Vec::new();
        crate::data::append_java_string(batch, None, *item, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    batch.items(range).iter().map(text).collect()
}

/// Another topic, unless it is blank.
fn set_topic(batch: &mut Batch, index: usize, topic: Option<&str>) {
    if let Some(topic) = topic.filter(|topic| !topic.trim().is_empty()) {
        batch.records[index].topic = batch.intern_topic(topic);
    }
}

impl Transform for Unwrap {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.words.iter_mut().for_each(Text::begin);
        self.headers.iter_mut().for_each(|reference| reference.name.begin());
        each_row(batch, rows, |batch, index| self.one(batch, index));
    }
}
