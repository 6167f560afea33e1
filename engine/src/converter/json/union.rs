//! Unions as JSON Schema has them: a struct of which one field is set. Which one a text is for is found by its shape.

use super::Dialect;
use super::read::{Plan, ReadError, Reader};
use super::scan::{Kind, Scanner};
use crate::data::{Schema, Type, Value};

/// Name of a struct that is a union.
pub(in crate::converter) const ONE_OF: &str = "io.confluent.connect.json.OneOf";
/// Parameter of a struct that is a union, whatever its name (`generalized.sum.type.support`).
pub(in crate::converter) const UNION: &str = "org.apache.kafka.connect.data.Union";

type Result<T> = std::result::Result<T, ReadError>;

impl Dialect {
    /// Whether a map of these keys is an object.
    pub(super) fn is_object(self, keys: &Schema) -> bool {
        keys.kind == Type::String
            && match self {
                Self::Envelope => true,
                Self::JsonSchema => !keys.optional,
                Self::Document { compact_maps } => compact_maps,
            }
    }
}

pub(in crate::converter) fn is_union(schema: &Schema) -> bool {
    schema.kind == Type::Struct && (schema.is_named(ONE_OF) || schema.parameters.contains_key(UNION))
}

impl Reader<'_> {
    /// One of the fields: the first of a simple type that fits, else the struct that shares most names with the text.
    pub(super) fn union(&mut self, plan: &Plan, kind: Kind, depth: u32) -> Result<Value> {
        let mut best = (0, None);
        for (index, (_, field)) in plan.fields.iter().enumerate() {
            if self.is_simple_fit(&field.schema, kind)? {
                best = (1, Some(index));
                break;
            }
            let shared = shared_names(&mut self.scanner.clone(), &field.schema, depth)?;
            if shared > best.0 {
                best = (shared, Some(index));
            }
        }
        let Some(index) = best.1 else {
            return Err(ReadError::data("Did not find matching oneof field for data"));
        };
        let base = self.stack.len();
        self.stack.resize(base + plan.fields.len(), Value::Null);
        self.structs += 1;
        let value = self.typed(&plan.fields[index].1, depth)?;
        self.structs -= 1;
        self.stack[base + index] = value;
        Ok(Value::Struct(self.pop(base)))
    }

    fn is_simple_fit(&self, schema: &Schema, kind: Kind) -> Result<bool> {
        Ok(match schema.kind {
            Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => {
                kind == Kind::Number && !self.scanner.clone().number()?.fraction
            }
            Type::Float32 | Type::Float64 => kind == Kind::Number,
            Type::Boolean => kind == Kind::Boolean,
            Type::String => kind == Kind::String,
            Type::Array => kind == Kind::Array,
            Type::Map => matches!(kind, Kind::Object | Kind::Array),
            Type::Bytes | Type::Struct => false,
        })
    }

    /// An entry of a map whose keys are no text: an object of `key` and `value`, onto the stack.
    pub(super) fn entry_object(&mut self, keys: &Plan, values: &Plan, depth: u32) -> Result<()> {
        let kind = self.scanner.kind()?;
        if kind != Kind::Object {
            return Err(ReadError::data(format!(
                "Found invalid map entry instead of object: {}",
                kind.node_type()
            )));
        }
        self.scanner.open(depth)?;
        let (mut key, mut value, mut members) = (None, None, 0);
        while !self.scanner.take(b'}') {
            if members > 0 {
                self.scanner.expect(b',', "no comma between the members of a map's entry")?;
            }
            let name = self.scanner.name()?;
            match &*self.scanner.content(name)? {
                b"key" => key = Some(self.typed(keys, depth + 1)?),
                b"value" => value = Some(self.typed(values, depth + 1)?),
                _ => self.scanner.skip(depth + 1)?,
            }
            members += 1;
        }
        if members != 2 {
            return Err(ReadError::data(format!(
                "Found invalid map entry, expected length 2 but found :{members}"
            )));
        }
        self.stack.extend([key.unwrap_or_default(), value.unwrap_or_default()]);
        Ok(())
    }
}

/// How many members of the next value are fields of the struct, those of structs inside included.
fn shared_names(scanner: &mut Scanner<'_>, schema: &Schema, depth: u32) -> Result<usize> {
    if schema.kind != Type::Struct || scanner.kind()? != Kind::Object {
        scanner.skip(depth)?;
        return Ok(0);
    }
    scanner.open(depth)?;
    let mut shared = 0;
    let mut first = true;
    while !scanner.take(b'}') {
        if !first {
            scanner.expect(b',', "no comma between the members of an object")?;
        }
        first = false;
        let name = scanner.name()?;
        let name = scanner.content(name)?;
        match schema.fields.iter().find(|field| field.name.as_bytes() == &*name) {
            Some(field) => shared += 1 + shared_names(scanner, &field.schema, depth + 1)?,
            None => scanner.skip(depth + 1)?,
        }
    }
    Ok(shared)
}
