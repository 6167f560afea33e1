//! The plan by which values of one Connect schema are written with one Avro schema.

use serde_json::Value as Json;

use super::super::registry::Failure;
use super::defaults::is_union;
use super::from_connect::{fixed_size, is_decimal};
use super::model::{AvroSchema, Kind, NodeId};
use super::names::{scrubbed, scrubbed_full};
use super::options::Options;
use super::vocabulary::{DEFAULT_FULL_NAME, ENUM, GENERAL_ENUM, SCALE};
use super::write::{put_bytes, put_long, write as write_datum};
use crate::data::{Batch, DATE, Schema, SchemaRef, TIME, TIMESTAMP, Type};

/// Nesting of schemas that is followed.
const MAX_DEPTH: u32 = 512;

/// A value that is written in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    Bytes,
    /// With this scale.
    Decimal(i32),
    Date,
    Time,
    Timestamp,
    /// Any of the small integers with a wider type of the target.
    IntAsLong,
    IntAsFloat,
    IntAsDouble,
    FloatAsDouble,
}

impl Scalar {
    pub(super) const fn type_name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32
            | Self::Date
            | Self::Time
            | Self::IntAsLong
            | Self::IntAsFloat
            | Self::IntAsDouble => "INT32",
            Self::Int64 | Self::Timestamp => "INT64",
            Self::Float32 | Self::FloatAsDouble => "FLOAT32",
            Self::Float64 => "FLOAT64",
            Self::String => "STRING",
            Self::Bytes | Self::Decimal(_) => "BYTES",
        }
    }
}

/// How a value becomes bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Scalar(Scalar),
    Enum(Box<[Box<str>]>),
    /// A decimal has a scale, and is padded.
    Fixed {
        size: usize,
        decimal: Option<i32>,
    },
    Array(Box<Write>),
    Map(Box<Write>),
    Entries(Box<Write>, Box<Write>),
    Record(Box<[FieldWrite]>),
    /// Null, or the other member of the union.
    Optional {
        null: u32,
        index: u32,
        inner: Box<Write>,
    },
    /// A required value within a union.
    Branch {
        index: u32,
        inner: Box<Write>,
    },
    /// A struct that stands for a union: index and plan of each of its fields.
    Union {
        members: Box<[(u32, Write)]>,
        null: Option<u32>,
    },
    Anything,
    /// Every value is refused.
    Refused(Box<str>),
}

impl Write {
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) => scalar.type_name(),
            Self::Enum(_) => "STRING",
            Self::Fixed { .. } => "BYTES",
            Self::Array(_) => "ARRAY",
            Self::Map(_) | Self::Entries(..) => "MAP",
            _ => "STRUCT",
        }
    }
}

/// A field of a record that is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldWrite {
    /// Place in the struct; `None`: it is not there, and the default stands for it.
    pub(super) place: Option<usize>,
    pub(super) write: Write,
    /// What stands for null, as bytes.
    pub(super) default: Option<Box<[u8]>>,
}

/// What is compiled for a Connect schema and an Avro schema.
#[derive(Debug)]
pub(in crate::converter) struct WritePlan {
    pub(super) root: Write,
    /// Bytes at the top stand without their length.
    pub(super) raw: bool,
}

/// Compiles. `avro` is what was made of `schema`, or another schema that the configuration names.
pub(super) fn compile(
    schema: Option<&SchemaRef>,
    avro: &AvroSchema,
    options: Options,
) -> Result<WritePlan, Failure> {
    let raw = matches!(avro.kind(avro.root), Kind::Bytes);
    let root = match schema {
        None => Write::Anything,
        Some(schema) => Compiler { avro, options, depth: 0 }.node(schema, avro.root)?,
    };
    Ok(WritePlan { root, raw })
}

struct Compiler<'a> {
    avro: &'a AvroSchema,
    options: Options,
    depth: u32,
}

impl Compiler<'_> {
    fn node(&mut self, schema: &SchemaRef, id: NodeId) -> Result<Write, Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::data(format!("the schema is nested deeper than {MAX_DEPTH}")));
        }
        let write = match self.avro.kind(id) {
            Kind::Union(branches) => self.union(schema, branches)?,
            _ => self.value(schema, id)?,
        };
        self.depth -= 1;
        Ok(write)
    }

    fn union(&mut self, schema: &SchemaRef, branches: &[NodeId]) -> Result<Write, Failure> {
        let avro = self.avro;
        let null = branches.iter().position(|branch| matches!(avro.kind(*branch), Kind::Null));
        let null = null.map(|index| index as u32);
        if is_union(schema) {
            let others: Vec<usize> =
                (0..branches.len()).filter(|index| Some(*index as u32) != null).collect();
            let mut members = Vec::with_capacity(schema.fields.len());
            for (place, field) in schema.fields.iter().enumerate() {
                let by_place = others.get(place).filter(|index| self.fits(&field.schema, branches[**index]));
                let index = by_place
                    .or_else(|| others.iter().find(|index| self.fits(&field.schema, branches[**index])));
                members.push(match index {
                    Some(index) => (*index as u32, self.node(&field.schema, branches[*index])?),
                    None => (0, Write::Refused(format!("the union has no member for {}", field.name).into())),
                });
            }
            return Ok(Write::Union { members: members.into(), null: null.filter(|_| schema.optional) });
        }
        let full = schema.name.as_deref().map(|name| scrubbed_full(name, self.options.scrub));
        let candidates = || branches.iter().enumerate().filter(|(_, branch)| self.fits(schema, **branch));
        let by_name = candidates().find(|(_, branch)| {
            avro.kind(**branch).named().is_some_and(|named| Some(named.name.full()) == full)
        });
        let Some((index, branch)) = by_name.or_else(|| candidates().next()) else {
            return Err(unfit(schema, "union"));
        };
        let inner = Box::new(self.value(schema, *branch)?);
        let index = index as u32;
        Ok(match null.filter(|_| schema.optional) {
            Some(null) => Write::Optional { null, index, inner },
            None => Write::Branch { index, inner },
        })
    }

    /// Whether values of the schema can be of that type at all.
    fn fits(&self, schema: &Schema, id: NodeId) -> bool {
        let kind = self.avro.kind(id);
        match schema.kind {
            Type::Int8 | Type::Int16 | Type::Int32 => {
                matches!(kind, Kind::Int | Kind::Long | Kind::Float | Kind::Double)
            }
            Type::Int64 => matches!(kind, Kind::Long),
            Type::Float32 => matches!(kind, Kind::Float | Kind::Double),
            Type::Float64 => matches!(kind, Kind::Double),
            Type::Boolean => matches!(kind, Kind::Boolean),
            Type::String => match (kind, enum_name(schema)) {
                (Kind::Enum(named, _), Some(name)) => named.name.full() == name,
                (kind, _) => matches!(kind, Kind::String | Kind::Enum(..)),
            },
            Type::Bytes => match (kind, fixed_size(schema)) {
                (Kind::Fixed(_, size), Ok(Some(wanted))) => *size == wanted,
                (kind, fixed) => {
                    matches!(kind, Kind::Bytes) && !matches!(fixed, Ok(Some(_)))
                        || matches!(kind, Kind::Fixed(..)) && matches!(fixed, Ok(None))
                }
            },
            Type::Array => matches!(kind, Kind::Array(_)),
            Type::Map => matches!(kind, Kind::Map(_) | Kind::Array(_)),
            Type::Struct => match (kind, &schema.name) {
                (Kind::Record(named, _), Some(name)) => {
                    named.name.full() == scrubbed_full(name.trim_end_matches('.'), self.options.scrub)
                }
                (Kind::Record(named, _), None) => named.name.full().starts_with(DEFAULT_FULL_NAME),
                _ => false,
            },
        }
    }

    fn value(&mut self, schema: &SchemaRef, id: NodeId) -> Result<Write, Failure> {
        let avro = self.avro;
        let kind = avro.kind(id);
        Ok(match (schema.kind, kind) {
            (Type::String, Kind::Enum(_, symbols)) => {
                Write::Enum(symbols.symbols.iter().map(|symbol| symbol.as_str().into()).collect())
            }
            (Type::Bytes, Kind::Fixed(_, size)) => {
                Write::Fixed { size: *size, decimal: if is_decimal(schema) { scale(schema)? } else { None } }
            }
            (Type::Array, Kind::Array(item)) => {
                let value = schema.value.as_ref().ok_or_else(|| unfit(schema, "array"))?;
                Write::Array(Box::new(self.node(value, *item)?))
            }
            (Type::Map, Kind::Map(of)) => {
                let value = schema.value.as_ref().ok_or_else(|| unfit(schema, "map"))?;
                Write::Map(Box::new(self.node(value, *of)?))
            }
            (Type::Map, Kind::Array(entry)) => {
                let (Kind::Record(_, fields), Some(key), Some(value)) =
                    (avro.kind(*entry), &schema.key, &schema.value)
                else {
                    return Err(unfit(schema, "array"));
                };
                let [first, second] = fields.as_slice() else { return Err(unfit(schema, "array")) };
                let (key, value) = (self.node(key, first.node)?, self.node(value, second.node)?);
                Write::Entries(Box::new(key), Box::new(value))
            }
            (Type::Struct, Kind::Record(..)) => self.record(schema, id)?,
            (_, kind) => Write::Scalar(scalar(schema, kind)?),
        })
    }

    fn record(&mut self, schema: &SchemaRef, id: NodeId) -> Result<Write, Failure> {
        let avro = self.avro;
        let Kind::Record(_, fields) = avro.kind(id) else { return Err(unfit(schema, "record")) };
        if schema.fields.is_empty() && !fields.is_empty() {
            // where a schema that contains itself was cut off
            return Ok(Write::Refused("the record is nested too deeply".into()));
        }
        let mut writes = Vec::with_capacity(fields.len());
        for avro_field in fields {
            let place = schema
                .fields
                .iter()
                .position(|field| scrubbed(&field.name, self.options.scrub) == avro_field.name);
            let Some(place) = place else {
                let json = avro_field.default.as_ref().ok_or_else(|| {
                    Failure::serializer(format!(
                        "there is no value for field {} of the schema",
                        avro_field.name
                    ))
                })?;
                let mut default = Vec::new();
                put_json(avro, avro_field.node, json, 0, &mut default).map_err(Failure::serializer)?;
                let write = Write::Refused("it has a default".into());
                writes.push(FieldWrite { place: None, write, default: Some(default.into()) });
                continue;
            };
            let own = &schema.fields[place].schema;
            let write = self.node(own, avro_field.node)?;
            let default = own.default.as_ref().filter(|_| !self.options.ignore_default);
            let default = match default {
                Some(default) => {
                    let mut batch = Batch::default();
                    let value = batch.put_constant(default);
                    let plan = WritePlan { root: write.clone(), raw: false };
                    let mut bytes = Vec::new();
                    write_datum(&plan, &batch, value, &mut bytes)?;
                    Some(bytes.into())
                }
                None => None,
            };
            writes.push(FieldWrite { place: Some(place), write, default });
        }
        Ok(Write::Record(writes.into()))
    }
}

fn enum_name(schema: &Schema) -> Option<&str> {
    schema.parameters.get(GENERAL_ENUM).or_else(|| schema.parameters.get(ENUM)).map(|name| &**name)
}

fn unfit(schema: &Schema, kind: &str) -> Failure {
    Failure::serializer(format!("values of {} cannot be written as Avro's {kind}", schema.kind.name()))
}

fn scale(schema: &Schema) -> Result<Option<i32>, Failure> {
    let scale = schema.parameters.get(SCALE);
    let scale = scale.ok_or_else(|| Failure::data("Invalid Decimal schema: scale parameter not found."))?;
    let invalid = |_| Failure::data("Invalid scale parameter found in Decimal schema: ");
    scale.parse().map(Some).map_err(invalid)
}

fn scalar(schema: &Schema, kind: &Kind) -> Result<Scalar, Failure> {
    let logical = match schema.name.as_deref() {
        Some(_) if is_decimal(schema) && matches!(kind, Kind::Bytes) => scale(schema)?.map(Scalar::Decimal),
        Some(DATE) if matches!(kind, Kind::Int) => Some(Scalar::Date),
        Some(TIME) if matches!(kind, Kind::Int) => Some(Scalar::Time),
        Some(TIMESTAMP) if matches!(kind, Kind::Long) => Some(Scalar::Timestamp),
        _ => None,
    };
    if let Some(logical) = logical {
        return Ok(logical);
    }
    Ok(match (schema.kind, kind) {
        (Type::Int8, Kind::Int) => Scalar::Int8,
        (Type::Int16, Kind::Int) => Scalar::Int16,
        (Type::Int32, Kind::Int) => Scalar::Int32,
        (Type::Int8 | Type::Int16 | Type::Int32, Kind::Long) => Scalar::IntAsLong,
        (Type::Int8 | Type::Int16 | Type::Int32, Kind::Float) => Scalar::IntAsFloat,
        (Type::Int8 | Type::Int16 | Type::Int32, Kind::Double) => Scalar::IntAsDouble,
        (Type::Int64, Kind::Long) => Scalar::Int64,
        (Type::Float32, Kind::Float) => Scalar::Float32,
        (Type::Float32, Kind::Double) => Scalar::FloatAsDouble,
        (Type::Float64, Kind::Double) => Scalar::Float64,
        (Type::Boolean, Kind::Boolean) => Scalar::Boolean,
        (Type::String, Kind::String) => Scalar::String,
        (Type::Bytes, Kind::Bytes) => Scalar::Bytes,
        (_, kind) => return Err(unfit(schema, kind.type_name())),
    })
}

/// The default of a field, as Avro has it in JSON, as bytes.
fn put_json(avro: &AvroSchema, id: NodeId, json: &Json, depth: u32, out: &mut Vec<u8>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("a default is nested too deeply".to_owned());
    }
    let integer = || json.as_i64().ok_or_else(|| format!("the default {json} is no integer"));
    let number = || json.as_f64().ok_or_else(|| format!("the default {json} is no number"));
    let text = || json.as_str().ok_or_else(|| format!("the default {json} is no text"));
    match avro.kind(id) {
        Kind::Null => {}
        Kind::Boolean => out.push(u8::from(json.as_bool() == Some(true))),
        Kind::Int | Kind::Long => put_long(integer()?, out),
        Kind::Float => out.extend_from_slice(&(number()? as f32).to_le_bytes()),
        Kind::Double => out.extend_from_slice(&number()?.to_le_bytes()),
        Kind::String => put_bytes(text()?.as_bytes(), out),
        Kind::Bytes => put_bytes(&text()?.chars().map(|char| char as u32 as u8).collect::<Vec<u8>>(), out),
        Kind::Fixed(_, size) => {
            let bytes: Vec<u8> = text()?.chars().map(|char| char as u32 as u8).collect();
            if bytes.len() != *size {
                return Err(format!("the default of a fixed type of {size} has {} bytes", bytes.len()));
            }
            out.extend_from_slice(&bytes);
        }
        Kind::Enum(_, symbols) => {
            let symbol = text()?;
            let index = symbols.symbols.iter().position(|known| known == symbol);
            put_long(index.ok_or_else(|| format!("the default {symbol} is no symbol"))? as i64, out);
        }
        Kind::Array(item) => {
            let items = json.as_array().ok_or_else(|| format!("the default {json} is no array"))?;
            if !items.is_empty() {
                put_long(items.len() as i64, out);
            }
            for json in items {
                put_json(avro, *item, json, depth + 1, out)?;
            }
            out.push(0);
        }
        Kind::Map(value) => {
            let members = json.as_object().ok_or_else(|| format!("the default {json} is no object"))?;
            if !members.is_empty() {
                put_long(members.len() as i64, out);
            }
            for (name, json) in members {
                put_bytes(name.as_bytes(), out);
                put_json(avro, *value, json, depth + 1, out)?;
            }
            out.push(0);
        }
        Kind::Record(_, fields) => {
            for field in fields {
                let json = json.get(&field.name).or(field.default.as_ref());
                let json = json.ok_or_else(|| format!("the default has no {}", field.name))?;
                put_json(avro, field.node, json, depth + 1, out)?;
            }
        }
        Kind::Union(branches) => {
            let first = branches.first().ok_or("a union without types has no default")?;
            put_long(0, out);
            put_json(avro, *first, json, depth + 1, out)?;
        }
    }
    Ok(())
}
