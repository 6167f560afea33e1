//! `SimpleHeaderConverter`: values as literals.

use super::codec::{Codec, Failure, Written};
use super::string::utf8;
use crate::data::{Batch, SchemaId, Span, Value, parse_literal, print_literal};

pub(super) const CLASS: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

/// Reads and writes literals; text that is none stays a string.
pub(super) struct SimpleHeaderConverter;

impl Codec for SimpleHeaderConverter {
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure> {
        let Some(span) = raw else { return Ok((0, Value::Null)) };
        let text = utf8(batch, span);
        Ok(parse_literal(batch, text))
    }

    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure> {
        match value {
            Value::Null => Ok(Written::Null),
            Value::String(span) => Ok(Written::InBatch(span)),
            value => {
                print_literal(batch, batch.schema(schema), value, out);
                Ok(Written::Appended)
            }
        }
    }
}
