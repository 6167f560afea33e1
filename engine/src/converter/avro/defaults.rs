//! Default values between Avro's JSON and Connect.

use std::sync::Arc;

use serde_json::{Number, Value as Json};

use super::model::{AvroSchema, Kind, NodeId};
use super::names::scrubbed;
use super::options::Options;
use super::vocabulary::{GENERAL_UNION, SCALE, UNION};
use crate::data::{
    Constant, DATE, DECIMAL, Schema, SchemaRef, TIME, TIMESTAMP, Type, java_double, java_float,
};

const DAY_MS: i64 = 86_400_000;
/// Nesting of a default that is looked into. Schemas from outside are bounded elsewhere; defaults follow them.
const MAX_DEPTH: u32 = 256;

/// Where a default was written: both are JSON, read by different rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// `default` of a record's field.
    Avro,
    /// `connect.default` of a type.
    Connect,
}

/// Whether Avro's library gives the default of a field a value at all.
pub(super) fn is_readable(avro: &AvroSchema, id: NodeId, json: &Json) -> bool {
    readable(avro, id, json, 0)
}

fn readable(avro: &AvroSchema, id: NodeId, json: &Json, depth: u32) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match (avro.kind(id), json) {
        (_, Json::Null) => true,
        (Kind::Union(branches), json) => {
            branches.first().is_some_and(|first| readable(avro, *first, json, depth + 1))
        }
        // read whatever the type, and refused later
        (_, Json::Bool(_)) => true,
        (Kind::Int, Json::Number(number)) => {
            number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
        }
        (Kind::Long, Json::Number(number)) => number.as_i64().is_some(),
        (Kind::Float | Kind::Double, Json::Number(_)) => true,
        (Kind::String | Kind::Bytes | Kind::Enum(..) | Kind::Fixed(..), Json::String(_)) => true,
        (Kind::Array(item), Json::Array(items)) => {
            items.iter().all(|json| readable(avro, *item, json, depth + 1))
        }
        (Kind::Map(value), Json::Object(members)) => {
            members.values().all(|json| readable(avro, *value, json, depth + 1))
        }
        (Kind::Record(_, fields), Json::Object(members)) => members.iter().all(|(name, json)| {
            let field = fields.iter().find(|field| field.name == *name);
            field.is_some_and(|field| readable(avro, field.node, json, depth + 1))
        }),
        (_, Json::Object(_)) => true,
        _ => false,
    }
}

/// Whether Avro's library accepts a default for a field of that type.
pub(super) fn is_valid(avro: &AvroSchema, id: NodeId, json: &Json) -> bool {
    valid(avro, id, json, 0)
}

fn valid(avro: &AvroSchema, id: NodeId, json: &Json, depth: u32) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match (avro.kind(id), json) {
        (Kind::Union(branches), json) => branches.iter().any(|branch| valid(avro, *branch, json, depth + 1)),
        (Kind::Null, Json::Null) | (Kind::Boolean, Json::Bool(_)) => true,
        (Kind::String | Kind::Bytes | Kind::Enum(..) | Kind::Fixed(..), Json::String(_)) => true,
        (Kind::Int, Json::Number(number)) => {
            number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
        }
        (Kind::Long, Json::Number(number)) => number.as_i64().is_some(),
        (Kind::Float | Kind::Double, Json::Number(_)) => true,
        // as they are written where JSON has no number for them
        (Kind::Float | Kind::Double, Json::String(text)) => {
            matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity")
        }
        (Kind::Array(item), Json::Array(items)) => {
            items.iter().all(|json| valid(avro, *item, json, depth + 1))
        }
        (Kind::Map(value), Json::Object(members)) => {
            members.values().all(|json| valid(avro, *value, json, depth + 1))
        }
        (Kind::Record(_, fields), Json::Object(members)) => fields.iter().all(|field| {
            let json = members.get(&field.name).or(field.default.as_ref());
            json.is_some_and(|json| valid(avro, field.node, json, depth + 1))
        }),
        _ => false,
    }
}

type Result<T> = std::result::Result<T, String>;

/// A default as Connect has it; `None` for null, which is none.
pub(super) fn to_connect(
    avro: &AvroSchema,
    id: NodeId,
    schema: &Schema,
    json: &Json,
    origin: Origin,
    scrub: bool,
) -> Result<Option<Constant>> {
    let reader = Reader { avro, origin, scrub };
    let constant = reader.value(id, schema, json, 0)?;
    Ok(Some(constant).filter(|constant| *constant != Constant::Null))
}

struct Reader<'a> {
    avro: &'a AvroSchema,
    origin: Origin,
    scrub: bool,
}

impl Reader<'_> {
    fn value(&self, id: NodeId, schema: &Schema, json: &Json, depth: u32) -> Result<Constant> {
        if depth > MAX_DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        logical(schema, self.plain(id, schema, json, depth)?)
    }

    fn plain(&self, id: NodeId, schema: &Schema, json: &Json, depth: u32) -> Result<Constant> {
        let strict = self.origin == Origin::Avro;
        if strict && json.is_null() {
            return Ok(Constant::Null);
        }
        let wrong = || format!("{json} is no {}", schema.kind.name());
        let integer = || json.as_i64().or_else(|| json.as_f64().map(|number| number as i64)).unwrap_or(0);
        let number = || json.as_f64().unwrap_or(0.0);
        Ok(match (self.avro.kind(id), schema.kind) {
            (Kind::Int | Kind::Long | Kind::Float | Kind::Double, _) if strict && !json.is_number() => {
                return Err(wrong());
            }
            (Kind::Int, Type::Int8) => Constant::Int8(integer() as i8),
            (Kind::Int, Type::Int16) => Constant::Int16(integer() as i16),
            (Kind::Int, Type::Int32) => Constant::Int32(integer() as i32),
            (Kind::Long, Type::Int64) => Constant::Int64(integer()),
            (Kind::Float, _) => Constant::Float32(number() as f32),
            (Kind::Double, _) => Constant::Float64(number()),
            (Kind::Boolean, _) => match json {
                Json::Bool(value) => Constant::Boolean(*value),
                Json::String(text) if !strict => Constant::Boolean(text == "true"),
                _ if !strict => Constant::Boolean(integer() != 0),
                _ => return Err(wrong()),
            },
            (Kind::String | Kind::Enum(..), _) => match json {
                Json::String(text) => Constant::String(text.as_str().into()),
                Json::Array(_) | Json::Object(_) if !strict => Constant::String("".into()),
                other if !strict => Constant::String(other.to_string().into()),
                _ => return Err(wrong()),
            },
            (Kind::Bytes | Kind::Fixed(..), _) => match json {
                Json::String(text) => Constant::Bytes(latin1(text)),
                _ if !strict => Constant::Null,
                _ => return Err(wrong()),
            },
            (Kind::Array(item), Type::Array) => {
                let (Json::Array(items), Some(value)) = (json, &schema.value) else { return Err(wrong()) };
                let item = |json: &Json| self.element(*item, value, json, depth);
                Constant::Array(items.iter().map(item).collect::<Result<_>>()?)
            }
            (Kind::Array(_), Type::Map)
                if strict && matches!(json, Json::Array(items) if items.is_empty()) =>
            {
                Constant::Map(Vec::new())
            }
            (Kind::Map(of), Type::Map) => {
                let (Json::Object(members), Some(value)) = (json, &schema.value) else { return Err(wrong()) };
                let entry = |(name, json): (&String, &Json)| {
                    Ok((Constant::String(name.as_str().into()), self.element(*of, value, json, depth)?))
                };
                Constant::Map(members.iter().map(entry).collect::<Result<_>>()?)
            }
            (Kind::Record(_, fields), Type::Struct) => {
                let Json::Object(members) = json else { return Err(wrong()) };
                let mut constants = Vec::with_capacity(fields.len());
                for (avro_field, field) in fields.iter().zip(&schema.fields) {
                    let name = scrubbed(&field.name, self.scrub);
                    let constant = match members.get(&*name) {
                        Some(json) => self.element(avro_field.node, &field.schema, json, depth)?,
                        None if strict && field.schema.default.is_some() => {
                            field.schema.default.clone().unwrap_or(Constant::Null)
                        }
                        None if field.schema.optional => Constant::Null,
                        None => return Err(format!("the default has no {name}")),
                    };
                    constants.push(constant);
                }
                Constant::Struct(constants)
            }
            (Kind::Union(branches), _) => return self.union(branches, schema, json, depth),
            _ => return Err(wrong()),
        })
    }

    fn element(&self, id: NodeId, schema: &SchemaRef, json: &Json, depth: u32) -> Result<Constant> {
        match self.value(id, schema, json, depth + 1)? {
            Constant::Null if !schema.optional => Err("Found null value for non-optional schema".to_owned()),
            constant => Ok(constant),
        }
    }

    fn union(&self, branches: &[NodeId], schema: &Schema, json: &Json, depth: u32) -> Result<Constant> {
        let Some(first) = branches.first() else { return Err("its union is empty".to_owned()) };
        let is_null = |id: &NodeId| matches!(self.avro.kind(*id), Kind::Null);
        if is_null(first) {
            return match json {
                Json::Null => Ok(Constant::Null),
                _ if self.origin == Origin::Connect => Ok(Constant::Null),
                _ => Err("a default belongs to the first type of its union".to_owned()),
            };
        }
        let is_union = is_union(schema);
        match (self.origin, is_union, self.avro.kind(*first)) {
            // Confluent's converter finds no field for a default record, or for one under connect.default
            (Origin::Connect, ..) | (_, true, Kind::Record(..)) => {
                Err("its union has no field for it".to_owned())
            }
            (_, true, _) => {
                let Some(field) = schema.fields.first() else { return Err("its union is empty".to_owned()) };
                let value = self.value(*first, &field.schema, json, depth + 1)?;
                let rest = std::iter::repeat_n(Constant::Null, schema.fields.len() - 1);
                Ok(Constant::Struct(std::iter::once(value).chain(rest).collect()))
            }
            _ => self.plain(*first, schema, json, depth + 1),
        }
    }
}

pub(super) fn is_union(schema: &Schema) -> bool {
    schema.is_named(UNION) || schema.parameters.contains_key(GENERAL_UNION)
}

fn latin1(text: &str) -> Box<[u8]> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap_or(b'?')).collect()
}

fn logical(schema: &Schema, constant: Constant) -> Result<Constant> {
    Ok(match (schema.name.as_deref(), constant) {
        (Some(DECIMAL), Constant::Bytes(bytes)) => {
            let scale = schema.parameters.get(SCALE).and_then(|scale| scale.parse().ok());
            match scale {
                Some(scale) if !bytes.is_empty() => Constant::Decimal(bytes, scale),
                _ => return Err("it is no decimal".to_owned()),
            }
        }
        (Some(DATE), Constant::Int32(days)) => Constant::Date(i64::from(days) * DAY_MS),
        (Some(TIME), Constant::Int32(ms)) if (0..=DAY_MS).contains(&i64::from(ms)) => {
            Constant::Date(i64::from(ms))
        }
        (Some(TIME), Constant::Int32(_)) => return Err("it is no time of a day".to_owned()),
        (Some(TIMESTAMP), Constant::Int64(ms)) => Constant::Date(ms),
        (_, constant) => constant,
    })
}

/// A default of Connect as JSON. `as_property`: under `connect.default`, where a float keeps its own digits.
pub(super) fn from_connect(
    schema: &Schema,
    constant: &Constant,
    options: Options,
    as_property: bool,
) -> std::result::Result<Json, String> {
    Ok(match (schema.kind, constant) {
        (_, Constant::Null) => Json::Null,
        (_, Constant::Boolean(value)) => Json::Bool(*value),
        (_, Constant::Int8(value)) => (*value).into(),
        (_, Constant::Int16(value)) => (*value).into(),
        (_, Constant::Int32(value)) => (*value).into(),
        (_, Constant::Int64(value)) => (*value).into(),
        (_, Constant::Float32(value)) if as_property => number(|out| java_float(*value, out)),
        (_, Constant::Float32(value)) => number(|out| java_double(f64::from(*value), out)),
        (_, Constant::Float64(value)) => number(|out| java_double(*value, out)),
        (_, Constant::String(text)) => Json::String(text.to_string()),
        (_, Constant::Bytes(bytes)) => Json::String(bytes.iter().copied().map(char::from).collect()),
        (_, Constant::Decimal(bytes, scale)) => {
            let wanted = schema.parameters.get(SCALE).and_then(|scale| scale.parse::<i32>().ok());
            if wanted != Some(*scale) {
                return Err("Decimal value has mismatching scale for given Decimal schema.".to_owned());
            }
            Json::String(bytes.iter().copied().map(char::from).collect())
        }
        (Type::Int32, Constant::Date(ms)) if schema.is_named(DATE) => ms.div_euclid(DAY_MS).into(),
        (_, Constant::Date(ms)) => (*ms).into(),
        (_, Constant::Array(items)) => {
            let Some(value) = &schema.value else { return Err("an array without items".to_owned()) };
            let item = |item: &Constant| from_connect(value, item, options, as_property);
            Json::Array(items.iter().map(item).collect::<std::result::Result<_, _>>()?)
        }
        (_, Constant::Map(entries)) => return map(schema, entries, options, as_property),
        (_, Constant::Struct(values)) => {
            let mut members = serde_json::Map::new();
            for (field, value) in schema.fields.iter().zip(values) {
                let value = match (value, &field.schema.default) {
                    (Constant::Null, Some(default)) => default,
                    (value, _) => value,
                };
                let json = from_connect(&field.schema, value, options, as_property)?;
                if is_union(schema) {
                    return Ok(json);
                }
                members.insert(scrubbed(&field.name, options.scrub).into_owned(), json);
            }
            Json::Object(members)
        }
    })
}

fn map(
    schema: &Schema,
    entries: &[(Constant, Constant)],
    options: Options,
    as_property: bool,
) -> std::result::Result<Json, String> {
    let (Some(keys), Some(values)) = (&schema.key, &schema.value) else {
        return Err("a map without values".to_owned());
    };
    if has_text_keys(keys, options) {
        let mut members = serde_json::Map::new();
        for (key, value) in entries {
            let Constant::String(key) = key else { return Err("a key that is no text".to_owned()) };
            members.insert(key.to_string(), from_connect(values, value, options, as_property)?);
        }
        return Ok(Json::Object(members));
    }
    let pair = |(key, value): &(Constant, Constant)| {
        let key = from_connect(keys, key, options, as_property)?;
        Ok(Json::Array(vec![key, from_connect(values, value, options, as_property)?]))
    };
    Ok(Json::Array(entries.iter().map(pair).collect::<std::result::Result<_, String>>()?))
}

/// Whether a map with such keys is one of Avro's.
pub(super) fn has_text_keys(keys: &Arc<Schema>, options: Options) -> bool {
    keys.kind == Type::String && (!keys.optional || options.optional_keys)
}

/// A number with Java's digits; text where JSON has none.
fn number(write: impl FnOnce(&mut Vec<u8>)) -> Json {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8_lossy(&out).into_owned();
    text.parse::<Number>().map_or(Json::String(text), Json::Number)
}
