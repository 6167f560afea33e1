//! Reading values by name.

use super::{Batch, Schema, Value};

/// A value with its schema and its batch.
#[derive(Debug, Clone, Copy)]
pub struct ValueReader<'a> {
    batch: &'a Batch,
    schema: Option<&'a Schema>,
    value: Value,
}

impl<'a> ValueReader<'a> {
    /// A reader of `value`.
    #[must_use]
    pub const fn new(batch: &'a Batch, schema: Option<&'a Schema>, value: Value) -> Self {
        Self { batch, schema, value }
    }

    /// The value itself.
    #[must_use]
    pub const fn value(&self) -> Value {
        self.value
    }

    /// Its schema.
    #[must_use]
    pub const fn schema(&self) -> Option<&'a Schema> {
        self.schema
    }

    /// A struct's field, or a map's value for a text key.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<ValueReader<'a>> {
        match self.value {
            Value::Struct(range) => {
                let (index, field) = self.schema?.field(name)?;
                let value = *self.batch.items(range).get(index)?;
                Some(Self::new(self.batch, Some(&field.schema), value))
            }
            Value::Map(range) => {
                let is_name = |key: Value| matches!(key, Value::String(span) if self.batch.bytes(span) == name.as_bytes());
                let (_, value) = self.batch.entries(range).find(|(key, _)| is_name(*key))?;
                Some(Self::new(self.batch, self.schema.and_then(|schema| schema.value.as_deref()), value))
            }
            _ => None,
        }
    }

    /// The text, if it is some.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match self.value {
            Value::String(span) => Some(self.batch.str(span)),
            _ => None,
        }
    }

    /// Any integer.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.value {
            Value::Int8(value) => Some(value.into()),
            Value::Int16(value) => Some(value.into()),
            Value::Int32(value) => Some(value.into()),
            Value::Int64(value) => Some(value),
            _ => None,
        }
    }
}
