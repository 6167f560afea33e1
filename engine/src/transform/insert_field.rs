//! `InsertField`: fields from the record's metadata, or a constant.

use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, Text, check_fields,
    each_row, operand, schema_of,
};
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{
    Batch, Range32, Record, RecordError, Schema, SchemaBuilder, SchemaRef, Side, TopicId, Type, Value,
};

const PURPOSE: &str = "field insertion";

/// A key that names a field to insert.
const fn field(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, ConfigType::String, Importance::Medium, doc)
}

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        field("topic.field", "Field name for the topic. Suffix ! makes a required field, ? an optional one."),
        field("partition.field", "Field name for the partition; suffixes as of topic.field."),
        field("offset.field", "Field name for the offset, of sinks only; suffixes as of topic.field."),
        field("timestamp.field", "Field name for the timestamp; suffixes as of topic.field."),
        field("static.field", "Field name for a constant; suffixes as of topic.field."),
        field("static.value", "The constant."),
        REPLACE_NULL_KEY,
    ],
};

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
    name: Text,
    optional: bool,
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let sources = [
        ("topic.field", Source::Topic),
        ("partition.field", Source::Partition),
        ("offset.field", Source::Offset),
        ("timestamp.field", Source::Timestamp),
        ("static.field", Source::Static),
    ];
    let insertion = |(key, source)| {
        let spec = config.string(key)?;
        let (name, optional) = match spec.strip_suffix('!') {
            Some(name) => (name, false),
            None => (spec.strip_suffix('?').unwrap_or(spec), true),
        };
        Some(Insertion { source, name: Text::new(name), optional })
    };
    let insertions: Vec<Insertion> = sources.into_iter().filter_map(insertion).collect();
    if insertions.is_empty() {
        return Err(ConfigError::new("", "No field insertion configured"));
    }
    let constant = config.string("static.value");
    if constant.is_none() && insertions.iter().any(|insertion| insertion.source == Source::Static) {
        return Err(ConfigError::invalid("static.value", "null", "No value specified for static field"));
    }
    Ok(Box::new(InsertField {
        side,
        insertions,
        metadata: Metadata { constant: Text::new(constant.unwrap_or_default()), topics: Vec::new() },
        replace_null: config.boolean(REPLACE_NULL),
        plans: PlanCache::default(),
        map: MapBuilder::default(),
    }))
}

/// What is known of records beside their fields; texts are put once into each batch.
struct Metadata {
    constant: Text,
    topics: Vec<(TopicId, Value)>,
}

impl Metadata {
    fn begin(&mut self) {
        self.constant.begin();
        self.topics.clear();
    }

    #[inline]
    fn topic(&mut self, batch: &mut Batch, id: TopicId) -> &Value {
        let known = self.topics.iter().position(|(topic, _)| *topic == id);
        let at = known.unwrap_or_else(|| {
            let name = batch.topics.get(id as usize).cloned();
            let name = Value::String(batch.put_str(name.as_deref().unwrap_or_default()));
            self.topics.push((id, name));
            self.topics.len() - 1
        });
        &self.topics[at].1
    }

    /// Appends the value of a record with a schema to the batch's; the usual ones are written where they belong at once.
    #[inline]
    fn push(&mut self, batch: &mut Batch, index: usize, source: Source) -> Result<(), RecordError> {
        let record = &batch.records[index];
        match source {
            Source::Topic => {
                let name = self.topic(batch, record.topic);
                batch.values.push(*name);
            }
            Source::Timestamp if record.timestamp >= 0 => batch.values.push(Value::Date(record.timestamp)),
            Source::Offset if record.origin.offset >= 0 => {
                batch.values.push(Value::Int64(record.origin.offset))
            }
            _ => {
                let record = *record;
                let value = self.value(batch, &record, source, true)?;
                batch.values.push(value);
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        batch: &mut Batch,
        record: &Record,
        source: Source,
        with_schema: bool,
    ) -> Result<Value, RecordError> {
        Ok(match source {
            Source::Topic => *self.topic(batch, record.topic),
            Source::Partition if record.partition >= 0 => Value::Int32(record.partition),
            Source::Partition => Value::Null,
            Source::Offset if record.origin.offset < 0 => {
                let class = "org.apache.kafka.connect.source.SourceRecord";
                let message = format!("Only SinkRecord supported for [{PURPOSE}], found: {class}");
                return Err(data_error(message));
            }
            Source::Offset => Value::Int64(record.origin.offset),
            Source::Timestamp if record.timestamp < 0 => Value::Null,
            Source::Timestamp if with_schema => Value::Date(record.timestamp),
            Source::Timestamp => Value::Int64(record.timestamp),
            Source::Static => Value::String(self.constant.span(batch)),
        })
    }
}

struct Plan {
    target: Target,
    copies: Copies,
}

struct InsertField {
    side: Side,
    insertions: Vec<Insertion>,
    metadata: Metadata,
    replace_null: bool,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
}

/// The schema with the inserted fields behind its own.
fn compile(insertions: &[Insertion], replace_null: bool, schema: &SchemaRef) -> Result<Plan, RecordError> {
    let mut builder = schema.like();
    for field in &schema.fields {
        builder = builder.field(&*field.name, SchemaRef::clone(&field.schema));
    }
    for insertion in insertions {
        let inserted = match insertion.source {
            Source::Topic | Source::Static => Schema::primitive(Type::String, insertion.optional).clone(),
            Source::Partition => Schema::primitive(Type::Int32, insertion.optional).clone(),
            Source::Offset => Schema::primitive(Type::Int64, insertion.optional).clone(),
            Source::Timestamp => SchemaBuilder::timestamp().set_optional(insertion.optional).build(),
        };
        builder = builder.field(&*insertion.name.text, inserted);
    }
    let schema_after = builder.build();
    check_fields(&schema_after)?;
    Ok(Plan { target: Target::new(schema_after), copies: Copies::all(schema, replace_null) })
}

impl InsertField {
    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: Range32,
    ) -> Result<(), RecordError> {
        let (insertions, replace_null) = (&self.insertions, self.replace_null);
        let plan = self.plans.get(schema_of(batch, id), |schema| compile(insertions, replace_null, schema));
        let plan = plan.as_mut().map_err(|error| error.clone())?;
        let mut range = plan.copies.run(batch, range)?;
        for insertion in &self.insertions {
            self.metadata.push(batch, index, insertion.source)?;
            range.len += 1;
        }
        let schema = plan.target.id(batch);
        batch.records[index].set_side(self.side, schema, Value::Struct(range));
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: Range32) -> Result<(), RecordError> {
        let record = batch.records[index];
        self.map.copy(batch, range);
        for insertion in &mut self.insertions {
            let value = self.metadata.value(batch, &record, insertion.source, false)?;
            // No partition or no timestamp: the field stays away.
            if !value.is_null() {
                self.map.put(batch, &mut insertion.name, value);
            }
        }
        let map = self.map.finish(batch);
        batch.records[index].set_side(self.side, 0, map);
        Ok(())
    }
}

impl Transform for InsertField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.metadata.begin();
        self.insertions.iter_mut().for_each(|insertion| insertion.name.begin());
        each_row(batch, rows, |batch, index| match operand(batch, index, self.side, PURPOSE)? {
            Operand::Null => Ok(()),
            Operand::Map(range) => self.without_schema(batch, index, range),
            Operand::Struct(id, range) => self.with_schema(batch, index, id, range),
        });
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }
}
