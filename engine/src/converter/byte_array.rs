//! `ByteArrayConverter`: bytes as they are.

use super::{Converter, Encoded, Slot, stage};
use crate::data::{Batch, RecordError, RecordState, Schema, Side, Type, Value};

pub(super) const CLASS: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

/// Passes spans through in both directions.
pub(super) struct ByteArrayConverter;

impl Converter for ByteArrayConverter {
    fn decode(&mut self, batch: &mut Batch, side: Side) {
        let schema = batch.intern_schema(&Schema::optional_bytes());
        for record in batch.records.iter_mut().filter(|record| record.state == RecordState::Live) {
            let value = record.raw(side).map_or(Value::Null, Value::Bytes);
            record.set_side(side, schema, value);
        }
    }

    fn encode(&mut self, batch: &mut Batch, side: Side, out: &mut Encoded) {
        out.clear();
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.state != RecordState::Live {
                out.slots.push(Slot::Skipped);
                continue;
            }
            let (schema, value) = record.side(side);
            let wrong_schema =
                batch.schema(schema).map(|schema| schema.kind).filter(|kind| *kind != Type::Bytes);
            let message = match (wrong_schema, value) {
                (Some(kind), _) => format!("Invalid schema type for ByteArrayConverter: {}", kind.name()),
                (None, Value::Null) => {
                    out.slots.push(Slot::Null);
                    continue;
                }
                (None, Value::Bytes(span)) => {
                    out.slots.push(Slot::InBatch(span));
                    continue;
                }
                (None, other) => {
                    format!(
                        "ByteArrayConverter is not compatible with objects of type class {}",
                        other.java_class()
                    )
                }
            };
            batch.fail(index, RecordError::data(stage(side), message));
            out.slots.push(Slot::Skipped);
        }
    }
}
