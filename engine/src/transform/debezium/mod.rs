//! Debezium's transforms: what they do to change events, whose envelope is a struct with `before`, `after`, `source` and
//! `op`.

pub(super) mod event_router;
mod field_reference;
mod json_payload;
pub(super) mod logical_router;
mod row;
pub(super) mod unwrap;

use super::data_error;
use crate::data::{Batch, RecordError, SchemaId};

/// Whether a schema is that of a change event.
fn is_envelope(batch: &Batch, schema: SchemaId) -> bool {
    let name = batch.schema(schema).and_then(|schema| schema.name.as_deref());
    name.is_some_and(|name| name.ends_with(".Envelope"))
}

fn connect_error(message: impl Into<String>) -> RecordError {
    RecordError { java_class: "org.apache.kafka.connect.errors.ConnectException", ..data_error(message) }
}
