//! `AvroConverter`: Avro in the wire format of a schema registry.
//!
//! A plan is compiled for each writer schema, and for each pair of a Connect schema and the Avro schema it is written
//! with; plans run straight between the bytes of a message and the batch.

mod defaults;
mod from_connect;
mod input;
mod model;
mod names;
mod options;
mod parse;
mod plan;
mod print;
mod read;
mod text;
mod to_connect;
mod vocabulary;
mod write;
mod write_plan;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use aqueduct_schema_registry::{Schema as Text, SchemaType};

use super::json::JsonText;
use super::registry::{Derived, Failure, Fetched, Format, Input, RegistryConverter};
use crate::config::{ConfigDef, ConfigError, ConfigMap};
use crate::data::{Batch, SchemaId, SchemaRef, Side, Span, Value};
use model::{AvroSchema, Kind};
pub(super) use names::scrubbed;
use options::Options;
use plan::ReadPlan;
use text::TextPlan;
use write_plan::WritePlan;

pub(super) const CLASS: &str = "io.confluent.connect.avro.AvroConverter";

/// The converter with its configuration.
pub(super) fn create(config: &ConfigMap, is_key: bool) -> Result<RegistryConverter<AvroFormat>, ConfigError> {
    RegistryConverter::new(AvroFormat::new(config, None)?, config, is_key)
}

/// All keys of the converter: those of the registry, and its own.
pub(super) fn config_def() -> &'static ConfigDef {
    static ALL: LazyLock<ConfigDef> = LazyLock::new(|| super::registry::with_common_keys(&options::CONFIG));
    &ALL
}

/// A converter that reads Avro as the text that JsonConverter with the settings of `json` would write of it: a string
/// without schema, or null. It skips the rows between wherever it can, and gives the same bytes.
///
/// # Errors
/// Names the key that is wrong.
pub(super) fn to_json(
    config: &ConfigMap,
    json: &ConfigMap,
    is_key: bool,
) -> Result<RegistryConverter<AvroFormat>, ConfigError> {
    RegistryConverter::new(AvroFormat::new(config, Some(JsonText::new(json)?))?, config, is_key)
}

/// Schemas of ours that are remembered as they were before they became text.
const MAX_REMEMBERED: usize = 1000;

pub(super) struct AvroFormat {
    options: Options,
    /// Generalized unions so far: their names count on.
    unions: u32,
    /// By text.
    derived: HashMap<Arc<str>, Arc<AvroSchema>>,
    /// Schemas that this converter has written with, by id. A text keeps less of them: a second use of a name loses what sets
    /// it apart.
    own: HashMap<i32, (Arc<str>, Arc<AvroSchema>)>,
    stack: Vec<Value>,
    /// Values are read as text.
    json: Option<JsonText>,
}

impl AvroFormat {
    fn new(config: &ConfigMap, json: Option<JsonText>) -> Result<Self, ConfigError> {
        let options = Options::parse(config)?;
        let (derived, own) = (HashMap::new(), HashMap::new());
        Ok(Self { options, unions: 0, derived, own, stack: Vec::new(), json })
    }

    /// A datum as text in the batch's arena.
    fn read_text(
        &mut self,
        plan: &ReadPlan,
        short: Option<&TextPlan>,
        input: Input<'_>,
        batch: &mut Batch,
    ) -> Result<(SchemaId, Value), Failure> {
        let start = batch.arena.len();
        let written = short.map(|short| short.write(input.bytes, &mut batch.arena));
        let written = match written {
            Some(Ok(written)) => written,
            _ => {
                batch.arena.truncate(start);
                return self.read_text_by_rows(plan, input, batch);
            }
        };
        let len = (batch.arena.len() - start) as u32;
        let span = Span { segment: 0, offset: start as u32, len };
        Ok((0, if written { Value::String(span) } else { Value::Null }))
    }

    /// The long way: rows, then text.
    fn read_text_by_rows(
        &mut self,
        plan: &ReadPlan,
        input: Input<'_>,
        batch: &mut Batch,
    ) -> Result<(SchemaId, Value), Failure> {
        // rows and their text live in a batch of their own, whose only segment is the payload
        let mut own = Batch::default();
        let segment = own.add_segment(bytes::Bytes::copy_from_slice(input.bytes));
        let place = Span { segment, offset: 0, len: input.bytes.len() as u32 };
        let value = read::read(plan, Input { bytes: input.bytes, place }, &mut own, &mut self.stack)?;
        let schema = plan.schema.as_ref().filter(|_| !value.is_null());
        let Some(json) = &mut self.json else { return Ok((0, Value::Null)) };
        let mut out = Vec::new();
        let written = json.write(&own, schema, value, &mut out).map_err(Failure::from)?;
        Ok((0, if written { Value::String(batch.put_bytes(&out)) } else { Value::Null }))
    }
}

/// A plan, or why values cannot be had from a schema that can be parsed.
pub(super) enum Reader {
    Plan(Box<ReadPlan>),
    /// Values become text; in one pass, where that can be.
    Text(Box<ReadPlan>, Option<Box<TextPlan>>),
    /// Null alone has no schema in Connect; its values are no values.
    Null,
    Refused {
        failure: Failure,
        null: Option<usize>,
    },
}

fn parsed(fetched: &Fetched) -> Result<AvroSchema, Failure> {
    let references: Vec<&str> = fetched.references.iter().map(|used| &*used.schema.text).collect();
    let invalid = |why| Failure::serializer(format!("schema {}: {why}", fetched.id));
    parse::parse(&fetched.schema.text, &references).map_err(invalid)
}

impl Format for AvroFormat {
    const SCHEMA_TYPE: SchemaType = SchemaType::Avro;
    type Reader = Reader;
    type Writer = WritePlan;

    fn cannot_read(topic: &str) -> String {
        format!("Failed to deserialize data for topic {topic} to Avro:")
    }

    fn cannot_write(topic: &str) -> String {
        format!("Failed to serialize Avro data from topic {topic}:")
    }

    fn record_name(schema: &Fetched, _payload: &[u8]) -> Option<String> {
        parsed(schema).ok()?.record_name()
    }

    fn reader(&mut self, fetched: &Fetched) -> Result<Reader, Failure> {
        let own = self.own.get(&fetched.id).filter(|(text, _)| *text == fetched.schema.text);
        let avro = match own {
            Some((_, avro)) => Arc::clone(avro),
            None => Arc::new(parsed(fetched)?),
        };
        if matches!(avro.kind(avro.root), Kind::Null) {
            return Ok(Reader::Null);
        }
        Ok(match to_connect::compile(&avro, fetched.version, self.options, &mut self.unions) {
            Ok(plan) => match &self.json {
                Some(json) => {
                    let short = TextPlan::new(&plan, json).map(Box::new);
                    Reader::Text(Box::new(plan), short)
                }
                None => Reader::Plan(Box::new(plan)),
            },
            Err(failure) => {
                let null = match avro.kind(avro.root) {
                    Kind::Union(branches) => branches.iter().position(|branch| avro.is_null(*branch)),
                    _ => None,
                };
                Reader::Refused { failure, null }
            }
        })
    }

    fn read(
        &mut self,
        reader: &mut Reader,
        input: Input<'_>,
        batch: &mut Batch,
    ) -> Result<(SchemaId, Value), Failure> {
        let plan = match reader {
            Reader::Plan(plan) => plan,
            Reader::Text(plan, short) => return self.read_text(plan, short.as_deref(), input, batch),
            Reader::Null => return Ok((0, Value::Null)),
            Reader::Refused { failure, null } => {
                let index = input::Cursor::new(input.bytes).long().ok();
                let is_null = null.is_some_and(|null| index == i64::try_from(null).ok());
                return if is_null { Ok((0, Value::Null)) } else { Err(failure.clone()) };
            }
        };
        let value = read::read(plan, input, batch, &mut self.stack)?;
        // a null at the top has no schema either
        let schema = plan.schema.as_ref().filter(|_| !value.is_null());
        Ok((schema.map_or(0, |schema| batch.intern_schema(schema)), value))
    }

    #[inline]
    fn read_record(
        &mut self,
        reader: &mut Reader,
        input: Input<'_>,
        batch: &mut Batch,
        (index, side): (usize, Side),
    ) -> Result<(), Failure> {
        if let Reader::Plan(plan) = reader
            && let (Some(record), Some(schema)) = (plan.record(), &plan.schema)
        {
            let range = read::read_record(plan, record, input, batch, &mut self.stack)?;
            let schema = batch.intern_schema(schema);
            batch.records[index].set_side(side, schema, Value::Struct(range));
            return Ok(());
        }
        let (schema, value) = self.read(reader, input, batch)?;
        batch.records[index].set_side(side, schema, value);
        Ok(())
    }

    fn derive(&mut self, schema: Option<&SchemaRef>) -> Result<Derived, Failure> {
        let avro = from_connect::convert(schema, self.options)?;
        let text: Arc<str> = print::print(&avro).into();
        let record_name = avro.record_name();
        if self.derived.len() >= MAX_REMEMBERED {
            self.derived.clear();
        }
        self.derived.insert(Arc::clone(&text), Arc::new(avro));
        Ok(Derived { schema: Arc::new(Text::new(SchemaType::Avro, text)), record_name })
    }

    fn check_compatible(&mut self, derived: &Derived, target: &Fetched) -> Result<(), String> {
        compatible(&derived.schema.text, target)
    }

    fn writer(
        &mut self,
        schema: Option<&SchemaRef>,
        derived: &Derived,
        target: &Fetched,
    ) -> Result<WritePlan, Failure> {
        let text = &target.schema.text;
        let own = self.derived.get(text).filter(|_| *text == derived.schema.text);
        let avro = match own {
            Some(avro) => Arc::clone(avro),
            None => Arc::new(parsed(target)?),
        };
        let plan = write_plan::compile(schema, &avro, self.options)?;
        if self.own.len() >= MAX_REMEMBERED {
            self.own.clear();
        }
        self.own.insert(target.id, (Arc::clone(text), avro));
        Ok(plan)
    }

    fn write(
        &mut self,
        writer: &mut WritePlan,
        batch: &Batch,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        write::write(writer, batch, value, out)
    }

    fn writes_null(&mut self, schema: Option<&SchemaRef>) -> Result<bool, Failure> {
        match schema {
            Some(schema) if !schema.optional => {
                Err(Failure::data("Found null value for non-optional schema"))
            }
            _ => Ok(false),
        }
    }
}

/// Whether the target reads what is written with our schema.
fn compatible(own: &str, target: &Fetched) -> Result<(), String> {
    let references: Vec<&str> = target.references.iter().map(|used| &*used.schema.text).collect();
    let parse = |text: &str| -> Result<apache_avro::Schema, String> {
        let parsed = apache_avro::Schema::parse_str_with_list(text, &references);
        parsed.map(|(schema, _)| schema).map_err(|error| error.to_string())
    };
    let writer = apache_avro::Schema::parse_str(own).map_err(|error| error.to_string())?;
    let reader = parse(&target.schema.text)?;
    apache_avro::schema_compatibility::SchemaCompatibility::can_read(&writer, &reader)
        .map_err(|error| error.to_string())
}
