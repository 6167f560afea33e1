//! `ProtobufConverter`: messages of Protocol Buffers in the wire format of a schema registry.
//!
//! A plan is compiled for each message type that is read, and for each schema of Connect that is written; plans run straight
//! between the bytes of a message and the batch.

mod compatible;
mod descriptor;
mod from_connect;
mod input;
mod known;
mod lexer;
mod model;
mod names;
mod options;
mod parse;
mod plan;
mod print;
mod read;
#[cfg(test)]
mod tests;
mod to_connect;
mod types;
mod vocabulary;
mod write;
mod write_plan;

use std::sync::{Arc, LazyLock};

use aqueduct_schema_registry::{Schema as Text, SchemaType};

use super::registry::{Derived, Failure, Fetched, Format, Input, RegistryConverter};
use crate::config::{ConfigDef, ConfigError, ConfigMap};
use crate::data::{Batch, SchemaId, SchemaRef, Span, Value};
use from_connect::Root;
use options::Options;
use plan::ReadPlan;
use types::Types;
use write_plan::StructWrite;

pub(super) const CLASS: &str = "io.confluent.connect.protobuf.ProtobufConverter";

/// Message types of one schema that plans are kept of.
const MAX_PLANS: usize = 256;

/// The converter with its configuration.
pub(super) fn create(
    config: &ConfigMap,
    is_key: bool,
) -> Result<RegistryConverter<ProtobufFormat>, ConfigError> {
    let format = ProtobufFormat { options: Options::parse(config)?, scratch: read::Scratch::default() };
    RegistryConverter::new(format, config, is_key)
}

/// All keys of the converter: those of the registry, and its own.
pub(super) fn config_def() -> &'static ConfigDef {
    static ALL: LazyLock<ConfigDef> = LazyLock::new(|| super::registry::with_common_keys(&options::CONFIG));
    &ALL
}

/// Protocol Buffers as a schema language.
pub(super) struct ProtobufFormat {
    options: Options,
    scratch: read::Scratch,
}

/// The bytes that name a message type, and its plan or why there is none.
type Plan = (Box<[u8]>, Result<ReadPlan, Failure>);

/// A schema's types, and a plan for each message type that was met, by the bytes that name it.
pub(super) struct Reader {
    types: Types,
    version: Option<i32>,
    plans: Vec<Plan>,
}

/// What precedes each message, and how it is written.
pub(super) struct Writer {
    indexes: Vec<u8>,
    plan: WritePlan,
}

enum WritePlan {
    Struct(StructWrite),
    Wrapper(model::Scalar),
}

fn malformed(input::Malformed(why): input::Malformed) -> Failure {
    Failure::serializer(format!("the message is malformed: {why}"))
}

fn invalid(why: String) -> Failure {
    Failure::serializer(format!("Invalid Protobuf schema: {why}"))
}

const WITHOUT_SCHEMA: &str =
    "a value without schema cannot be written: its message type is made from the record's schema";

impl Reader {
    fn plan(&mut self, path: &[usize], bytes: &[u8], options: Options) -> usize {
        let found = self.types.at(path);
        let plan = match found {
            Some(message) => to_connect::compile(&self.types, message, self.version, options),
            None => Err(Failure::serializer(format!("the schema has no message at the indexes {path:?}"))),
        };
        if self.plans.len() >= MAX_PLANS {
            self.plans.clear();
        }
        self.plans.push((bytes.into(), plan));
        self.plans.len() - 1
    }
}

impl Format for ProtobufFormat {
    const SCHEMA_TYPE: SchemaType = SchemaType::Protobuf;
    type Reader = Reader;
    type Writer = Writer;

    fn cannot_read(topic: &str) -> String {
        format!("Failed to deserialize data for topic {topic} to Protobuf:")
    }

    fn cannot_write(topic: &str) -> String {
        format!("Failed to serialize Protobuf data from topic {topic}:")
    }

    fn record_name(schema: &Fetched, payload: &[u8]) -> Option<String> {
        let (path, _) = input::message_indexes(payload).ok()?;
        let types = Types::of(schema).ok()?;
        types.at(&path).map(|message| types.messages[message].full_name.clone())
    }

    fn reader(&mut self, schema: &Fetched) -> Result<Reader, Failure> {
        let types = Types::of(schema).map_err(invalid)?;
        Ok(Reader { types, version: schema.version, plans: Vec::new() })
    }

    fn read(
        &mut self,
        reader: &mut Reader,
        input: Input<'_>,
        batch: &mut Batch,
    ) -> Result<(SchemaId, Value), Failure> {
        let known = reader.plans.iter().position(|(bytes, _)| input.bytes.starts_with(bytes));
        let place = match known {
            Some(place) => place,
            None => {
                let (path, len) = input::message_indexes(input.bytes).map_err(malformed)?;
                reader.plan(&path, &input.bytes[..len], self.options)
            }
        };
        let (indexes, plan) = &reader.plans[place];
        let plan = plan.as_ref().map_err(Clone::clone)?;
        let start = indexes.len();
        let bytes = &input.bytes[start..];
        let place: Span = input.span(start, bytes.len());
        let value = read::read(plan, Input { bytes, place }, batch, &mut self.scratch)?;
        Ok((batch.intern_schema(&plan.schema), value))
    }

    fn derive(&mut self, schema: Option<&SchemaRef>) -> Result<Derived, Failure> {
        let schema = schema.ok_or_else(|| Failure::serializer(WITHOUT_SCHEMA))?;
        let (text, name) = match from_connect::convert(schema, self.options)? {
            Root::File(file, name) => (print::print(&file), name),
            Root::Wrapper(scalar) => {
                (known::WRAPPERS_TEXT.to_owned(), from_connect::wrapper(scalar).to_owned())
            }
        };
        let schema = Arc::new(Text::new(SchemaType::Protobuf, text));
        Ok(Derived { schema, record_name: Some(name) })
    }

    fn check_compatible(&mut self, derived: &Derived, target: &Fetched) -> Result<(), String> {
        let (written, target) = (Types::of_text(&derived.schema.text)?, Types::of(target)?);
        let name = derived.record_name.as_deref().unwrap_or_default();
        let find = |types: &Types| types.path_to(name).and_then(|path| types.at(&path));
        match (find(&written), find(&target)) {
            (Some(one), Some(other)) => {
                compatible::Sides { written: &written, target: &target }.check(one, other)
            }
            _ => Err(format!("it has no message {name}")),
        }
    }

    fn writer(
        &mut self,
        schema: Option<&SchemaRef>,
        derived: &Derived,
        target: &Fetched,
    ) -> Result<Writer, Failure> {
        let schema = schema.ok_or_else(|| Failure::serializer(WITHOUT_SCHEMA))?;
        let types = Types::of_text(&derived.schema.text).map_err(invalid)?;
        let name = derived.record_name.as_deref().unwrap_or_default();
        let missing = || Failure::serializer(format!("schema {} has no message {name}", target.id));
        let own = types.path_to(name).ok_or_else(missing)?;
        // values are written as our own schema says; another one only says which message it is
        let path = if target.schema.text == derived.schema.text {
            own.clone()
        } else {
            Types::of(target).map_err(invalid)?.path_to(name).ok_or_else(missing)?
        };
        let mut indexes = Vec::new();
        input::put_message_indexes(&path, &mut indexes);
        let plan = match known::wrapped(name) {
            Some(scalar) if schema.kind != crate::data::Type::Struct => WritePlan::Wrapper(scalar),
            _ => {
                let message = types.at(&own).ok_or_else(missing)?;
                WritePlan::Struct(write_plan::compile(schema, &types, message, self.options)?)
            }
        };
        Ok(Writer { indexes, plan })
    }

    fn write(
        &mut self,
        writer: &mut Writer,
        batch: &Batch,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        out.extend_from_slice(&writer.indexes);
        match &writer.plan {
            WritePlan::Struct(plan) => write::structure(plan, batch, value, out),
            WritePlan::Wrapper(scalar) => write::wrapper(*scalar, batch, value, out),
        }
    }

    fn writes_null(&mut self, _schema: Option<&SchemaRef>) -> Result<bool, Failure> {
        Ok(false)
    }
}
