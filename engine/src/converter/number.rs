//! `ShortConverter`, `IntegerConverter`, `LongConverter`, `FloatConverter`, `DoubleConverter` and `BooleanConverter`: big-endian
//! bytes of a fixed width.

use super::codec::{Codec, Failure, Written};
use crate::data::{Batch, Schema, SchemaId, Span, Type, Value};

pub(super) const BOOLEAN: &str = "org.apache.kafka.connect.converters.BooleanConverter";
pub(super) const SHORT: &str = "org.apache.kafka.connect.converters.ShortConverter";
pub(super) const INTEGER: &str = "org.apache.kafka.connect.converters.IntegerConverter";
pub(super) const LONG: &str = "org.apache.kafka.connect.converters.LongConverter";
pub(super) const FLOAT: &str = "org.apache.kafka.connect.converters.FloatConverter";
pub(super) const DOUBLE: &str = "org.apache.kafka.connect.converters.DoubleConverter";

/// Numbers of one type.
pub(super) struct NumberConverter {
    kind: Type,
    /// What messages call the type.
    name: &'static str,
}

impl NumberConverter {
    /// The converter of a class above but [`BOOLEAN`].
    pub(super) fn of(class: &str) -> Option<Self> {
        let (kind, name) = match class {
            SHORT => (Type::Int16, "short"),
            INTEGER => (Type::Int32, "integer"),
            LONG => (Type::Int64, "long"),
            FLOAT => (Type::Float32, "float"),
            DOUBLE => (Type::Float64, "double"),
            _ => return None,
        };
        Some(Self { kind, name })
    }

    fn number(&self, bytes: &[u8]) -> Option<Value> {
        Some(match self.kind {
            Type::Int16 => Value::Int16(i16::from_be_bytes(bytes.try_into().ok()?)),
            Type::Int32 => Value::Int32(i32::from_be_bytes(bytes.try_into().ok()?)),
            Type::Int64 => Value::Int64(i64::from_be_bytes(bytes.try_into().ok()?)),
            Type::Float32 => Value::Float32(f32::from_be_bytes(bytes.try_into().ok()?)),
            _ => Value::Float64(f64::from_be_bytes(bytes.try_into().ok()?)),
        })
    }
}

impl Codec for NumberConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let value = match raw {
            None => Value::Null,
            Some(span) => self
                .number(batch.bytes(span))
                .ok_or_else(|| Failure::data(format!("Failed to deserialize {}: ", self.name)))?,
        };
        Ok((batch.intern_schema(Schema::primitive(self.kind, true)), value))
    }

    fn write(
        &mut self,
        _batch: &Batch,
        _schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        match (self.kind, value) {
            (_, Value::Null) => return Ok(Written::Null),
            (Type::Int16, Value::Int16(value)) => out.extend_from_slice(&value.to_be_bytes()),
            (Type::Int32, Value::Int32(value)) => out.extend_from_slice(&value.to_be_bytes()),
            (Type::Int64, Value::Int64(value)) => out.extend_from_slice(&value.to_be_bytes()),
            (Type::Float32, Value::Float32(value)) => out.extend_from_slice(&value.to_be_bytes()),
            (Type::Float64, Value::Float64(value)) => out.extend_from_slice(&value.to_be_bytes()),
            (_, other) => {
                return Err(Failure::data(format!(
                    "Failed to serialize to {} (was class {}): ",
                    self.name,
                    other.java_class()
                )));
            }
        }
        Ok(Written::Appended)
    }
}

/// One byte, 0 or 1.
pub(super) struct BooleanConverter;

impl Codec for BooleanConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let value = match raw.map(|span| batch.bytes(span)) {
            None => Value::Null,
            Some([0]) => Value::Boolean(false),
            Some([1]) => Value::Boolean(true),
            Some(_) => return Err(Failure::data("Failed to deserialize boolean: ")),
        };
        Ok((batch.intern_schema(Schema::primitive(Type::Boolean, true)), value))
    }

    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        if let Some(schema) = batch.schema(schema)
            && schema.kind != Type::Boolean
        {
            return Err(Failure::data(format!(
                "Invalid schema type for BooleanConverter: {}",
                schema.kind.name()
            )));
        }
        match value {
            Value::Null => Ok(Written::Null),
            Value::Boolean(value) => {
                out.push(u8::from(value));
                Ok(Written::Appended)
            }
            other => Err(Failure::data(format!(
                "BooleanConverter is not compatible with objects of type class {}",
                other.java_class()
            ))),
        }
    }
}
