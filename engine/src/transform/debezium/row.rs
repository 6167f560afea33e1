//! Fields of a struct by name, with the failures of `org.apache.kafka.connect.data.Struct`.

use super::super::data_error;
use super::super::field_plan::{field_value, not_a_struct, schema_of};
use crate::data::{Batch, Range32, RecordError, SchemaId, SchemaRef, Type, Value};

/// A struct and its schema.
pub(super) struct Row {
    pub(super) schema: SchemaRef,
    pub(super) range: Range32,
}

impl Row {
    /// A struct, or why it is none.
    pub(super) fn of(
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        purpose: &str,
    ) -> Result<Self, RecordError> {
        Self::with(SchemaRef::clone(schema_of(batch, schema)), value, purpose)
    }

    /// The same of a schema that need not be the batch's.
    pub(super) fn with(schema: SchemaRef, value: Value, purpose: &str) -> Result<Self, RecordError> {
        match value {
            Value::Struct(range) => Ok(Self { schema, range }),
            other => Err(not_a_struct(other, purpose)),
        }
    }

    fn place(&self, name: &str) -> Result<(usize, &SchemaRef), RecordError> {
        let found = self.schema.field(name).map(|(at, field)| (at, &field.schema));
        found.ok_or_else(|| data_error(format!("{name} is not a valid field name")))
    }

    fn at(&self, batch: &Batch, place: usize) -> Value {
        batch.items(self.range).get(place).copied().unwrap_or_default()
    }

    /// `get`: null becomes the default. With the field's schema.
    pub(super) fn get(&self, batch: &mut Batch, name: &str) -> Result<(Value, SchemaRef), RecordError> {
        let (place, schema) = self.place(name)?;
        let value = self.at(batch, place);
        Ok((field_value(batch, schema, value, true), SchemaRef::clone(schema)))
    }

    fn typed(&self, batch: &Batch, name: &str, kind: Type) -> Result<Value, RecordError> {
        let (place, schema) = self.place(name)?;
        if schema.kind != kind {
            return Err(data_error(format!("Field '{name}' is not of type {}", kind.name())));
        }
        Ok(self.at(batch, place))
    }

    /// `getString`; null for null.
    pub(super) fn string<'a>(&self, batch: &'a Batch, name: &str) -> Result<Option<&'a str>, RecordError> {
        match self.typed(batch, name, Type::String)? {
            Value::String(span) => Ok(Some(batch.str(span))),
            _ => Ok(None),
        }
    }

    /// `getInt64`.
    pub(super) fn int64(&self, batch: &Batch, name: &str) -> Result<Option<i64>, RecordError> {
        match self.typed(batch, name, Type::Int64)? {
            Value::Int64(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            other => Err(super::super::field_plan::class_cast(other, "java.lang.Long")),
        }
    }

    /// `getInt32`.
    pub(super) fn int32(&self, batch: &Batch, name: &str) -> Result<Option<i32>, RecordError> {
        match self.typed(batch, name, Type::Int32)? {
            Value::Int32(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            other => Err(super::super::field_plan::class_cast(other, "java.lang.Integer")),
        }
    }

    /// `getStruct`; null for null.
    pub(super) fn structure(&self, batch: &Batch, name: &str) -> Result<Option<Row>, RecordError> {
        let value = self.typed(batch, name, Type::Struct)?;
        let (_, schema) = self.place(name)?;
        match value {
            Value::Struct(range) => Ok(Some(Row { schema: SchemaRef::clone(schema), range })),
            _ => Ok(None),
        }
    }
}
