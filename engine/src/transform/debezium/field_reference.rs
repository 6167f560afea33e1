//! Fields of an envelope that `add.fields` and `add.headers` name: `op`, `source.ts_ms`, `table:alias`.

use super::super::data_error;
use super::super::field_plan::{Target, Text, class_cast, null_pointer};
use crate::config::ConfigError;
use crate::data::{Batch, Range32, RecordError, Schema, SchemaRef, Type, Value};

/// A field, and the name that it gets.
pub(super) struct FieldReference {
    /// The struct that it is in; the envelope itself without one.
    parent: Option<String>,
    field: String,
    pub(super) name: Text,
}

/// Where a field of one schema lies.
pub(super) struct Place {
    /// The struct in the envelope, and the field's place in it if it has the field.
    parent: Option<(usize, Option<usize>)>,
    /// The field's place in the envelope itself.
    root: Option<usize>,
    pub(super) target: Target,
    /// The same of a header: a struct carries its own schema there.
    pub(super) header: Target,
}

/// Java's `split`: empty parts at the end are dropped, but an empty text is one part.
fn split(text: &str, separator: char) -> Vec<&str> {
    if text.is_empty() {
        return vec![""];
    }
    let mut parts: Vec<&str> = text.split(separator).collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

/// The list of a configuration.
pub(super) fn parse(key: &str, prefix: &str, list: &str) -> Result<Vec<FieldReference>, ConfigError> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    split(list, ',').into_iter().map(|field| FieldReference::parse(key, prefix, field.trim())).collect()
}

impl FieldReference {
    fn parse(key: &str, prefix: &str, text: &str) -> Result<Self, ConfigError> {
        let error = |class, message: String| Err(ConfigError::new(key, message).of_class(class));
        let out_of_bounds = |index: usize| {
            let message = format!("Index {index} out of bounds for length 0");
            error("java.lang.ArrayIndexOutOfBoundsException", message)
        };
        let parts = split(text, ':');
        let Some(path) = parts.first() else { return out_of_bounds(0) };
        let steps = split(path, '.');
        let (parent, field) = match steps[..] {
            [] => return out_of_bounds(1),
            [field] => (usual_parent(field).map(str::to_owned), field),
            [parent, field, ..] => (Some(parent.to_owned()), field),
        };
        let name = match parts[..] {
            [_] if steps.len() == 1 => field.to_owned(),
            [_] => format!("{}_{field}", steps[0]),
            [_, alias] => alias.to_owned(),
            _ => {
                return error("java.lang.IllegalArgumentException", format!("Unexpected field name: {text}"));
            }
        };
        Ok(Self { parent, field: field.to_owned(), name: Text::new(format!("{prefix}{name}")) })
    }

    /// Whether it is the operation.
    pub(super) fn is_operation(&self) -> bool {
        self.field == "op"
    }

    /// Where it lies in envelopes of this schema; `None` for a field that they do not have.
    pub(super) fn resolve(&self, envelope: &Schema) -> Result<Option<Place>, RecordError> {
        let root = envelope.field(&self.field).map(|(at, _)| at);
        let (parent, schema) = match &self.parent {
            None => (None, root.map(|at| &envelope.fields[at].schema)),
            Some(parent) => {
                let (at, parent) = envelope.field(parent).ok_or_else(|| {
                    null_pointer(format!("the record has no struct {parent}, which {} is of", self.field))
                })?;
                if parent.schema.kind != Type::Struct {
                    return Err(data_error("Cannot look up fields on non-struct type"));
                }
                let own = parent.schema.field(&self.field);
                let schema = own.map(|(_, field)| &field.schema);
                let schema = schema.or_else(|| root.map(|at| &envelope.fields[at].schema));
                (Some((at, own.map(|(at, _)| at))), schema)
            }
        };
        Ok(schema.map(|schema| {
            let copy = optional_copy(schema);
            let header =
                if schema.kind == Type::Struct { SchemaRef::clone(schema) } else { SchemaRef::clone(&copy) };
            Place { parent, root, target: Target::new(copy), header: Target::new(header) }
        }))
    }
}

/// Where a field without a path is looked for.
fn usual_parent(field: &str) -> Option<&'static str> {
    match field {
        "op" | "ts_ms" | "ts_us" | "ts_ns" => None,
        "id" | "data_collection_order" | "total_order" => Some("transaction"),
        "updateDescription" => Some("updateDescription"),
        _ => Some("source"),
    }
}

/// The schema, optional and without default. A struct loses its fields, a map its schemas.
fn optional_copy(schema: &SchemaRef) -> SchemaRef {
    let mut copy = Schema::clone(schema);
    copy.optional = true;
    copy.default = None;
    copy.fields.clear();
    copy.key = None;
    if copy.kind != Type::Array {
        copy.value = None;
    }
    copy.into()
}

impl Place {
    /// The value in an envelope.
    pub(super) fn value(&self, batch: &Batch, envelope: Range32) -> Result<Value, RecordError> {
        let item = |range: Range32, at: usize| batch.items(range).get(at).copied().unwrap_or_default();
        let root = || self.root.map_or(Value::Null, |at| item(envelope, at));
        match self.parent {
            None => Ok(root()),
            Some((at, own)) => match (item(envelope, at), own) {
                (Value::Null, _) => Ok(Value::Null),
                (Value::Struct(range), Some(own)) => Ok(item(range, own)),
                (Value::Struct(_), None) => Ok(root()),
                (other, _) => Err(class_cast(other, "org.apache.kafka.connect.data.Struct")),
            },
        }
    }

    /// Whether a struct's field of this schema takes the value.
    pub(super) fn check(&self, value: Value) -> Result<(), RecordError> {
        match self.target.schema.kind {
            _ if value.is_null() => Ok(()),
            Type::Struct => Err(data_error("Struct schemas do not match.")),
            Type::Map => Err(data_error("No schema defined for key of map")),
            _ => Ok(()),
        }
    }
}
