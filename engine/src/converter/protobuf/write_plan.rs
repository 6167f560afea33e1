//! The plan by which values of a schema of Connect are written as messages of a type.

use super::from_connect::{MAX_DEPTH, is_union};
use super::input::put_varint;
use super::known;
use super::model::{Label, Scalar};
use super::names::scrubbed;
use super::options::Options;
use super::types::{FieldType, TypeRef, Types};
use super::vocabulary::{DATE_TYPE, DECIMAL_TYPE, ENUM, GENERAL_ENUM, TIME_TYPE, TIMESTAMP_TYPE};
use crate::converter::registry::Failure;
use crate::data::{Batch, Schema, Type};

type Result<T> = std::result::Result<T, Failure>;

/// How a value is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Scalar(Scalar),
    /// Symbols with their numbers.
    Enum(Box<[(Box<str>, i32)]>),
    Struct(Box<StructWrite>),
    Wrapper(Scalar),
    Decimal,
    Date,
    Time,
    Timestamp,
    Repeated(Box<FieldWrite>),
    /// Numbers behind each other, without tags.
    Packed(Box<Write>),
    Map(Box<[FieldWrite; 2]>),
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldWrite {
    /// The place of its value in the struct.
    pub(super) place: usize,
    /// Of a member of a oneof: its place in the struct there.
    pub(super) member: Option<usize>,
    pub(super) number: u32,
    /// The bytes that its tag has.
    pub(super) tag: Box<[u8]>,
    /// Whether a zero is written: else it is not told from nothing.
    pub(super) presence: bool,
    /// Written for null.
    pub(super) default: Option<Box<[u8]>>,
    pub(super) write: Write,
}

/// Fields in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct StructWrite {
    pub(super) fields: Vec<FieldWrite>,
    /// Places of structs that stand for oneofs.
    pub(super) unions: Vec<usize>,
}

/// Compiles.
pub(super) fn compile(
    schema: &Schema,
    types: &Types,
    message: usize,
    options: Options,
) -> Result<StructWrite> {
    Compiler { types, options, depth: 0 }.structure(schema, message)
}

struct Compiler<'a> {
    types: &'a Types,
    options: Options,
    depth: u32,
}

impl Compiler<'_> {
    fn structure(&mut self, schema: &Schema, message: usize) -> Result<StructWrite> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::data(format!("the schema is nested deeper than {MAX_DEPTH}")));
        }
        let mut made = StructWrite::default();
        for (place, field) in schema.fields.iter().enumerate() {
            if is_union(&field.schema) {
                made.unions.push(place);
                for (member, inner) in field.schema.fields.iter().enumerate() {
                    let mut write = self.named(&inner.name, &inner.schema, message, place)?;
                    write.member = Some(member);
                    write.presence = true;
                    made.fields.push(write);
                }
                continue;
            }
            let write = self.named(&field.name, &field.schema, message, place)?;
            made.fields.push(write);
        }
        made.fields.sort_by_key(|field| field.number);
        self.depth -= 1;
        Ok(made)
    }

    fn named(&mut self, name: &str, schema: &Schema, message: usize, place: usize) -> Result<FieldWrite> {
        let name = scrubbed(name, self.options.scrub);
        let types = self.types;
        let field = types.messages[message].fields.iter().find(|field| *field.name == *name);
        let field = field.ok_or_else(|| Failure::data(format!("Cannot find field with name {name}")))?;
        self.field(schema, field, place)
    }

    fn field(&mut self, schema: &Schema, field: &FieldType, place: usize) -> Result<FieldWrite> {
        let write = match (schema.kind, &schema.value) {
            (Type::Array, Some(item)) => {
                let inner = self.value(item, field)?;
                if inner.is_packable() {
                    Write::Packed(Box::new(inner))
                } else {
                    let item = FieldWrite { presence: true, ..bare(place, field.number, inner) };
                    Write::Repeated(Box::new(item))
                }
            }
            _ => self.value(schema, field)?,
        };
        let presence = field.label == Label::Optional || field.oneof.is_some();
        let mut made = FieldWrite { presence, ..bare(place, field.number, write) };
        if let Some(default) = schema.default.as_ref().filter(|_| !self.options.ignore_default) {
            let mut batch = Batch::default();
            let value = batch.put_constant(default);
            let mut out = Vec::new();
            super::write::field(&made, &batch, value, &mut out)?;
            made.default = Some(out.into());
        }
        Ok(made)
    }

    fn value(&mut self, schema: &Schema, field: &FieldType) -> Result<Write> {
        let unfit = || {
            let kind = schema.kind.name();
            Failure::data(format!("field {} of the message cannot hold {kind}", field.name))
        };
        match field.kind {
            TypeRef::Scalar(scalar) => Ok(Write::Scalar(scalar)),
            TypeRef::Enum(_) => Ok(self.enumeration(schema)),
            TypeRef::Group => Err(unfit()),
            TypeRef::Message(id) => match self.types.messages[id].full_name.as_str() {
                DECIMAL_TYPE => Ok(Write::Decimal),
                DATE_TYPE => Ok(Write::Date),
                TIME_TYPE => Ok(Write::Time),
                TIMESTAMP_TYPE => Ok(Write::Timestamp),
                full_name => match (known::wrapped(full_name), schema.kind) {
                    (Some(scalar), kind) if kind != Type::Struct => Ok(Write::Wrapper(scalar)),
                    (_, Type::Map) => self.map(schema, id, unfit),
                    (_, Type::Struct) => Ok(Write::Struct(Box::new(self.structure(schema, id)?))),
                    _ => Err(unfit()),
                },
            },
        }
    }

    fn map(&mut self, schema: &Schema, id: usize, unfit: impl Fn() -> Failure) -> Result<Write> {
        let types = self.types;
        let ([key, value], Some(keys), Some(values)) =
            (types.messages[id].fields.as_slice(), &schema.key, &schema.value)
        else {
            return Err(unfit());
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::data(format!("the schema is nested deeper than {MAX_DEPTH}")));
        }
        let parts = [self.field(keys, key, 0)?, self.field(values, value, 1)?];
        self.depth -= 1;
        Ok(Write::Map(Box::new(parts)))
    }

    fn enumeration(&self, schema: &Schema) -> Write {
        let prefix = if self.options.generalized { GENERAL_ENUM } else { ENUM };
        let symbols = schema.parameters.iter().filter_map(|(key, number)| {
            let symbol = key.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((symbol.into(), number.parse().ok()?))
        });
        Write::Enum(symbols.collect())
    }
}

impl Write {
    const fn is_packable(&self) -> bool {
        match self {
            Self::Scalar(scalar) => !matches!(scalar, Scalar::String | Scalar::Bytes),
            Self::Enum(_) => true,
            _ => false,
        }
    }

    const fn wire_type(&self) -> u32 {
        match self {
            Self::Scalar(scalar) => scalar.wire_type() as u32,
            Self::Enum(_) => 0,
            _ => 2,
        }
    }
}

fn bare(place: usize, number: u32, write: Write) -> FieldWrite {
    let mut tag = Vec::new();
    put_varint(u64::from(number << 3 | write.wire_type()), &mut tag);
    FieldWrite { place, member: None, number, tag: tag.into(), presence: false, default: None, write }
}
