//! `ByteArrayConverter`: bytes as they are.

use super::codec::{Codec, Failure, Written};
use crate::data::{Batch, Schema, SchemaId, Span, Type, Value};

pub(super) const CLASS: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

/// Passes spans through in both directions.
pub(super) struct ByteArrayConverter;

impl Codec for ByteArrayConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let schema = batch.intern_schema(Schema::primitive(Type::Bytes, true));
        Ok((schema, raw.map_or(Value::Null, Value::Bytes)))
    }

    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        _out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        if let Some(schema) = batch.schema(schema)
            && schema.kind != Type::Bytes
        {
            return Err(Failure::data(format!(
                "Invalid schema type for ByteArrayConverter: {}",
                schema.kind.name()
            )));
        }
        match value {
            Value::Null => Ok(Written::Null),
            Value::Bytes(span) => Ok(Written::InBatch(span)),
            other => Err(Failure::data(format!(
                "ByteArrayConverter is not compatible with objects of type class {}",
                other.java_class()
            ))),
        }
    }
}
