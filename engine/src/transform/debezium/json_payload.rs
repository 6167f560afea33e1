//! JSON text of an outbox event as a struct with a schema of its own.

use serde_json::Value as Json;

use super::connect_error;
use crate::data::{Batch, RecordError, Schema, SchemaBuilder, SchemaRef, Type, Value};

/// Arrays and objects within each other.
const MAX_DEPTH: usize = 500;

/// What has no schema of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expansion {
    /// Null becomes optional bytes instead of nothing.
    pub(super) null_as_bytes: bool,
    /// An empty array becomes one of strings instead of nothing.
    pub(super) empty_array_as_strings: bool,
}

/// The first JSON value of a text that begins like an object or an array.
pub(super) fn parse(text: &str) -> Option<Json> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::Deserializer::from_str(text).into_iter::<Json>().next()?.ok()
}

/// What kind of JSON value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

fn kind(json: &Json) -> Kind {
    match json {
        Json::Null => Kind::Null,
        Json::Bool(_) => Kind::Boolean,
        Json::Number(_) => Kind::Number,
        Json::String(_) => Kind::String,
        Json::Array(_) => Kind::Array,
        Json::Object(_) => Kind::Object,
    }
}

/// The type that Jackson gives a number; an integer beyond 64 bits counts as a fraction here, and as a decimal later.
fn number_type(number: &serde_json::Number) -> Type {
    match number.as_str().parse::<i64>() {
        Ok(value) if i32::try_from(value).is_ok() => Type::Int32,
        Ok(_) => Type::Int64,
        Err(_) => Type::Float64,
    }
}

fn optional(kind: Type) -> SchemaRef {
    SchemaRef::clone(Schema::primitive(kind, true))
}

impl Expansion {
    /// The schema of a value; `None` for one that has none.
    pub(super) fn schema(
        self,
        name: Option<&str>,
        json: &Json,
        depth: usize,
    ) -> Result<Option<SchemaRef>, RecordError> {
        if depth > MAX_DEPTH {
            return Err(connect_error(format!("the payload is nested more than {MAX_DEPTH} deep")));
        }
        Ok(match json {
            Json::String(_) => Some(optional(Type::String)),
            Json::Bool(_) => Some(optional(Type::Boolean)),
            Json::Number(number) => Some(optional(number_type(number))),
            Json::Null => self.null_as_bytes.then(|| optional(Type::Bytes)),
            Json::Array(items) if items.is_empty() => {
                let strings = || SchemaBuilder::array(optional(Type::String)).optional().build();
                self.empty_array_as_strings.then(strings)
            }
            Json::Array(items) => {
                let items = self.item_schema(name, items, depth)?;
                Some(SchemaBuilder::array(items).optional().build())
            }
            Json::Object(members) => {
                let mut builder = SchemaBuilder::structure().optional();
                if let Some(name) = name {
                    builder = builder.name(name);
                }
                for (member, value) in members {
                    let prefix = name.filter(|name| !name.trim().is_empty());
                    let path = prefix.map_or_else(|| member.clone(), |name| format!("{name}.{member}"));
                    if let Some(schema) = self.schema(Some(&path), value, depth + 1)? {
                        builder = builder.field(member.as_str(), schema);
                    }
                }
                Some(builder.build())
            }
        })
    }

    /// The schema of an array's items, which are of one kind; objects are merged.
    fn item_schema(self, name: Option<&str>, items: &[Json], depth: usize) -> Result<SchemaRef, RecordError> {
        let mut known = items.iter().filter(|item| !item.is_null());
        let first = known.next().unwrap_or(&Json::Null);
        for item in known {
            let differs = match (first, item) {
                (Json::Number(one), Json::Number(other)) => number_type(one) != number_type(other),
                _ => kind(first) != kind(item),
            };
            if differs {
                return Err(connect_error("Field is not a homogenous array"));
            }
        }
        if kind(first) != Kind::Object {
            let schema = self.schema(None, first, depth + 1)?;
            return schema.ok_or_else(|| connect_error("Array has unrecognized member schema."));
        }
        let mut merged: Option<SchemaRef> = None;
        for item in items.iter().filter(|item| item.is_object()) {
            let Some(schema) = self.schema(name, item, depth + 1)? else { continue };
            merged = Some(match merged {
                Some(known) if known != schema => merge(&known, &schema),
                Some(known) => known,
                None => schema,
            });
        }
        merged.ok_or_else(|| connect_error("Array has unrecognized member schema."))
    }
}

/// The fields of both; a field of bytes yields to another type. The result is not optional.
fn merge(left: &Schema, right: &Schema) -> SchemaRef {
    let mut fields: Vec<(&str, &SchemaRef)> =
        left.fields.iter().map(|field| (&*field.name, &field.schema)).collect();
    for field in &right.fields {
        match fields.iter_mut().find(|(name, _)| *name == &*field.name) {
            None => fields.push((&field.name, &field.schema)),
            Some(known) if known.1.kind == Type::Bytes && field.schema.kind != Type::Bytes => {
                known.1 = &field.schema;
            }
            Some(_) => {}
        }
    }
    let builder = fields
        .into_iter()
        .fold(left.like(), |builder, (name, schema)| builder.field(name, SchemaRef::clone(schema)));
    builder.build()
}

/// The value for its schema; `None` where Java's struct would refuse it.
pub(super) fn value(batch: &mut Batch, json: &Json, schema: &Schema) -> Option<Value> {
    let value = match json {
        Json::Null => return schema.optional.then_some(Value::Null),
        Json::Bool(value) => Value::Boolean(*value),
        Json::String(text) => Value::String(batch.put_str(text)),
        Json::Number(number) => {
            let text = number.as_str();
            let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            match number_type(number) {
                Type::Int32 => Value::Int32(text.parse().ok()?),
                Type::Int64 => Value::Int64(text.parse().ok()?),
                // An integer beyond 64 bits is a decimal to Java.
                _ if is_whole => return None,
                _ => Value::Float64(text.parse().ok()?),
            }
        }
        Json::Array(items) => {
            let item_schema = schema.value.as_deref()?;
            let values: Option<Vec<Value>> =
                items.iter().map(|item| value(batch, item, item_schema)).collect();
            Value::Array(batch.push_values(&values?))
        }
        Json::Object(members) => {
            let mut values = Vec::with_capacity(schema.fields.len());
            for field in &schema.fields {
                values.push(match members.get(&*field.name) {
                    Some(member) => value(batch, member, &field.schema)?,
                    None if field.schema.optional => Value::Null,
                    None => return None,
                });
            }
            Value::Struct(batch.push_values(&values))
        }
    };
    fits(value, schema.kind).then_some(value)
}

fn fits(value: Value, kind: Type) -> bool {
    matches!(
        (value, kind),
        (Value::Boolean(_), Type::Boolean)
            | (Value::String(_), Type::String)
            | (Value::Int32(_), Type::Int32)
            | (Value::Int64(_), Type::Int64)
            | (Value::Float64(_), Type::Float64)
            | (Value::Array(_), Type::Array)
            | (Value::Struct(_), Type::Struct)
    )
}
