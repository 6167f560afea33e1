//! `InsertField`: fields from the record's metadata, or a constant.

use super::field_plan::{Operand, field_value, operand, replaces_null};
use super::{PlanCache, Transform, data_error};
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, Record, Schema, SchemaBuilder, SchemaRef, Side, Span, TopicId, Type, Value};

const PURPOSE: &str = "field insertion";

/// What is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Static,
}

struct Insertion {
    source: Source,
    name: String,
    optional: bool,
}

struct Plan {
    schema: Result<SchemaRef, String>,
}

pub(super) struct InsertField {
    side: Side,
    insertions: Vec<Insertion>,
    constant: String,
    replace_null: bool,
    plans: PlanCache<Plan>,
    /// Text that is in the batch already: the constant, names of the map way, topics.
    constant_span: Option<Span>,
    name_spans: Vec<Span>,
    topic_spans: Vec<(TopicId, Span)>,
    scratch: Vec<Value>,
}

impl InsertField {
    pub(super) fn new(config: &ConfigMap, side: Side) -> Result<Self, ConfigError> {
        let sources = [
            ("topic.field", Source::Topic),
            ("partition.field", Source::Partition),
            ("offset.field", Source::Offset),
            ("timestamp.field", Source::Timestamp),
            ("static.field", Source::Static),
        ];
        let mut insertions = Vec::new();
        for (key, source) in sources {
            let Some(spec) = config.get(key).map(|spec| spec.trim()) else { continue };
            let (name, optional) = match spec.strip_suffix('!') {
                Some(name) => (name, false),
                None => (spec.strip_suffix('?').unwrap_or(spec), true),
            };
            insertions.push(Insertion { source, name: name.to_owned(), optional });
        }
        if insertions.is_empty() {
            return Err(ConfigError::new("", "No field insertion configured"));
        }
        let constant = config.get("static.value");
        if constant.is_none() && insertions.iter().any(|insertion| insertion.source == Source::Static) {
            return Err(ConfigError::invalid("static.value", "null", "No value specified for static field"));
        }
        Ok(Self {
            side,
            insertions,
            constant: constant.map(|text| text.trim().to_owned()).unwrap_or_default(),
            replace_null: replaces_null(config)?,
            plans: PlanCache::default(),
            constant_span: None,
            name_spans: Vec::new(),
            topic_spans: Vec::new(),
            scratch: Vec::new(),
        })
    }

    fn value(&mut self, batch: &mut Batch, record: &Record, source: Source, with_schema: bool) -> Value {
        match source {
            Source::Topic => {
                let known = self.topic_spans.iter().find(|(topic, _)| *topic == record.topic);
                let span = known.map(|(_, span)| *span).unwrap_or_else(|| {
                    let name = batch.topics.get(record.topic as usize).cloned();
                    let span = batch.put_str(name.as_deref().unwrap_or_default());
                    self.topic_spans.push((record.topic, span));
                    span
                });
                Value::String(span)
            }
            Source::Partition if record.partition >= 0 => Value::Int32(record.partition),
            Source::Offset => Value::Int64(record.origin.offset),
            Source::Timestamp if record.timestamp < 0 => Value::Null,
            Source::Timestamp if with_schema => Value::Date(record.timestamp),
            Source::Timestamp => Value::Int64(record.timestamp),
            Source::Static => {
                let constant = &self.constant;
                Value::String(*self.constant_span.get_or_insert_with(|| batch.put_str(constant)))
            }
            Source::Partition => Value::Null,
        }
    }

    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: crate::data::Range32,
    ) -> Result<(), String> {
        let Some(schema) = batch.schema_ref(id).cloned() else { return Ok(()) };
        let insertions = &self.insertions;
        let plan = self.plans.get(&schema, || Plan { schema: extended(&schema, insertions) });
        let target = plan.schema.clone()?;
        let record = batch.records[index];
        self.scratch.clear();
        let defaults = self.replace_null && schema.fields.iter().any(|field| field.schema.default.is_some());
        if defaults {
            for (at, field) in schema.fields.iter().enumerate() {
                let value = batch.items(range).get(at).copied().unwrap_or_default();
                let value = field_value(batch, field, value, true);
                self.scratch.push(value);
            }
        } else {
            self.scratch.extend_from_slice(batch.items(range));
        }
        for at in 0..self.insertions.len() {
            let source = self.insertions[at].source;
            let value = self.value(batch, &record, source, true);
            self.scratch.push(value);
        }
        let range = batch.push_values(&self.scratch);
        let id = batch.intern_schema(&target);
        batch.records[index].set_side(self.side, id, Value::Struct(range));
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: crate::data::Range32) {
        let record = batch.records[index];
        self.scratch.clear();
        let entries = crate::data::Range32 { start: range.start, len: range.len * 2 };
        self.scratch.extend_from_slice(batch.items(entries));
        if self.name_spans.is_empty() {
            self.name_spans =
                self.insertions.iter().map(|insertion| batch.put_str(&insertion.name)).collect();
        }
        for at in 0..self.insertions.len() {
            let source = self.insertions[at].source;
            let value = self.value(batch, &record, source, false);
            if value.is_null() {
                continue; // no partition or no timestamp: the field stays away
            }
            let name = self.name_spans[at];
            let same = |entry: &&mut [Value]| matches!(entry[0], Value::String(span) if batch.bytes(span) == batch.bytes(name));
            match self.scratch.chunks_exact_mut(2).find(same) {
                Some(entry) => entry[1] = value,
                None => self.scratch.extend([Value::String(name), value]),
            }
        }
        let range = batch.push_values(&self.scratch);
        let range = crate::data::Range32 { start: range.start, len: range.len / 2 };
        batch.records[index].set_side(self.side, 0, Value::Map(range));
    }
}

/// The schema with the inserted fields at its end.
fn extended(schema: &Schema, insertions: &[Insertion]) -> Result<SchemaRef, String> {
    let mut builder = schema.like();
    let mut names: Vec<&str> = Vec::new();
    for field in &schema.fields {
        names.push(&field.name);
        builder = builder.field(std::sync::Arc::clone(&field.name), SchemaRef::clone(&field.schema));
    }
    for insertion in insertions {
        if names.contains(&insertion.name.as_str()) {
            return Err(format!("Cannot create field because of field name duplication {}", insertion.name));
        }
        names.push(&insertion.name);
        let field = match insertion.source {
            Source::Topic | Source::Static => SchemaBuilder::new(Type::String),
            Source::Partition => SchemaBuilder::new(Type::Int32),
            Source::Offset => SchemaBuilder::new(Type::Int64),
            Source::Timestamp => SchemaBuilder::timestamp(),
        };
        builder = builder.field(insertion.name.as_str(), field.set_optional(insertion.optional).build());
    }
    Ok(builder.build())
}

impl Transform for InsertField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.constant_span = None;
        self.name_spans.clear();
        self.topic_spans.clear();
        let wants_offset = self.insertions.iter().any(|insertion| insertion.source == Source::Offset);
        for row in rows {
            let index = *row as usize;
            let operand = match operand(batch, index, self.side, PURPOSE) {
                Ok(operand) => operand,
                Err(error) => {
                    batch.fail(index, error);
                    continue;
                }
            };
            if wants_offset && !matches!(operand, Operand::Null) && batch.records[index].origin.offset < 0 {
                let found = "org.apache.kafka.connect.source.SourceRecord";
                let message = format!("Only SinkRecord supported for [{PURPOSE}], found: {found}");
                batch.fail(index, data_error(message));
                continue;
            }
            match operand {
                Operand::Null => {}
                Operand::Map(range) => self.without_schema(batch, index, range),
                Operand::Struct(schema, range) => {
                    if let Err(message) = self.with_schema(batch, index, schema, range) {
                        let java_class = "org.apache.kafka.connect.errors.SchemaBuilderException";
                        let stage = crate::data::Stage::Transformation;
                        batch.fail(index, crate::data::RecordError { stage, java_class, message });
                    }
                }
            }
        }
    }
}
