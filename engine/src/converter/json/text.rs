//! JSON text for those who write it without rows: what this converter puts around a payload, and in place of null.

use super::{JsonConverter, write};
use crate::config::{ConfigError, ConfigMap};
use crate::converter::Failure;
use crate::data::{Batch, SchemaRef, Value};

/// The converter as another one's way out.
pub(in crate::converter) struct JsonText {
    converter: JsonConverter,
}

impl JsonText {
    /// With the settings of a JsonConverter.
    pub(in crate::converter) fn new(config: &ConfigMap) -> Result<Self, ConfigError> {
        JsonConverter::new(config).map(|converter| Self { converter })
    }

    /// What precedes and follows a payload of that schema; `None` where the schema cannot be written.
    pub(in crate::converter) fn envelope(&self, schema: &SchemaRef) -> Option<(Box<[u8]>, &'static [u8])> {
        if !self.converter.envelope {
            return Some((Box::default(), b""));
        }
        let prefix = self.converter.prefix(schema).ok()?;
        Some((prefix.into(), b"}"))
    }

    /// The text of a null of that schema; `None` where it is refused.
    pub(in crate::converter) fn null(&self, schema: &SchemaRef) -> Option<Box<[u8]>> {
        let mut out = Vec::new();
        let plan = write::Plan::new(schema);
        write::typed(&Batch::default(), &plan, Value::Null, self.converter.options, &mut out).ok()?;
        Some(out.into())
    }

    /// Appends a value as the converter writes it; false if it has no bytes.
    pub(in crate::converter) fn write(
        &mut self,
        batch: &Batch,
        schema: Option<&SchemaRef>,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        self.converter.print(batch, schema, value, false, out)
    }
}
