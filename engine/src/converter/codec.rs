//! One value at a time: what most converters are, and the loops over a batch that they share.

use super::{Converter, Encoded, HeaderConverter, Slot, stage};
use crate::data::{Batch, RecordError, RecordState, SchemaId, Side, Span, Stage, Value};

/// Why a value could not be converted; the stage is the loop's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exception class that JVM Connect would name.
    pub java_class: &'static str,
    /// What was wrong. Never holds the record's content.
    pub message: String,
}

impl Failure {
    /// `org.apache.kafka.connect.errors.DataException`.
    #[must_use]
    pub fn data(message: impl Into<String>) -> Self {
        Self { java_class: "org.apache.kafka.connect.errors.DataException", message: message.into() }
    }

    /// `java.lang.NullPointerException`: JVM Connect does not expect the case.
    #[must_use]
    pub fn null_pointer(message: impl Into<String>) -> Self {
        Self { java_class: "java.lang.NullPointerException", message: message.into() }
    }

    /// The failure at a stage.
    #[must_use]
    pub fn at(self, stage: Stage) -> RecordError {
        RecordError { stage, java_class: self.java_class, message: self.message }
    }
}

/// Where [`Codec::write`] has put its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nowhere: null.
    Null,
    /// They are in the batch already.
    InBatch(Span),
    /// At the end of the buffer.
    Appended,
}

/// Converts values one by one. Whoever implements it is a [`Converter`] and a [`HeaderConverter`].
pub trait Codec: Send {
    /// Bytes (`None` for null) to a value and its schema.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn read(&mut self, batch: &mut Batch, raw: Option<Span>) -> Result<(SchemaId, Value), Failure>;

    /// All values of a batch have been read.
    fn end_of_batch(&mut self) {}

    /// A value to bytes. What was appended before a failure is taken back by the caller.
    ///
    /// # Errors
    /// What is wrong with the value.
    fn write(
        &mut self,
        batch: &Batch,
        schema: SchemaId,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<Written, Failure>;
}

/// Writes one value into its slot.
fn write_slot(
    codec: &mut impl Codec,
    batch: &Batch,
    (schema, value): (SchemaId, Value),
    buffer: &mut Vec<u8>,
) -> Result<Slot, Failure> {
    let start = buffer.len();
    match codec.write(batch, schema, value, buffer) {
        Ok(Written::Null) => Ok(Slot::Null),
        Ok(Written::InBatch(span)) => Ok(Slot::InBatch(span)),
        Ok(Written::Appended) => Ok(Slot::Own { start: start as u32, len: (buffer.len() - start) as u32 }),
        Err(failure) => {
            buffer.truncate(start);
            Err(failure)
        }
    }
}

impl<C: Codec> Converter for C {
    fn decode(&mut self, batch: &mut Batch, side: Side) {
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.state != RecordState::Live {
                continue;
            }
            match self.read(batch, record.raw(side)) {
                Ok((schema, value)) => batch.records[index].set_side(side, schema, value),
                Err(failure) => batch.fail(index, failure.at(stage(side))),
            }
        }
        self.end_of_batch();
    }

    fn encode(&mut self, batch: &mut Batch, side: Side, out: &mut Encoded) {
        out.clear();
        out.slots.reserve(batch.records.len());
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            let slot = if record.state == RecordState::Live {
                write_slot(self, batch, record.side(side), &mut out.buffer)
            } else {
                Ok(Slot::Skipped)
            };
            out.slots.push(slot.unwrap_or_else(|failure| {
                batch.fail(index, failure.at(stage(side)));
                Slot::Skipped
            }));
        }
        self.end_of_batch();
    }
}

/// A header's value, refused if it is null and may not be: a converter may make null of what does not fit.
fn required(batch: &Batch, schema: SchemaId, value: Value) -> Result<(SchemaId, Value), Failure> {
    match batch.schema(schema) {
        Some(known) if value.is_null() && !known.optional => Err(Failure::data(format!(
            "A null value requires an optional schema but was Schema{{{}}}",
            known.kind.name()
        ))),
        _ => Ok((schema, value)),
    }
}

impl<C: Codec> HeaderConverter for C {
    fn decode(&mut self, batch: &mut Batch) {
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.headers.len == 0 || record.state != RecordState::Live {
                continue;
            }
            for at in record.headers.places() {
                let Some(header) = batch.headers.get(at) else { break };
                let read = self.read(batch, header.raw);
                match read.and_then(|(schema, value)| required(batch, schema, value)) {
                    Ok((schema, value)) => {
                        batch.headers[at].schema = schema;
                        batch.headers[at].value = value;
                    }
                    Err(failure) => {
                        batch.fail(index, failure.at(Stage::HeaderConverter));
                        break;
                    }
                }
            }
        }
        self.end_of_batch();
    }

    fn encode(&mut self, batch: &mut Batch, out: &mut Encoded) {
        out.clear();
        if batch.headers.is_empty() {
            return;
        }
        out.slots.resize(batch.headers.len(), Slot::Skipped);
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.headers.len == 0 || record.state != RecordState::Live {
                continue;
            }
            for at in record.headers.places() {
                let Some(header) = batch.headers.get(at) else { break };
                // records may share their headers
                if out.slots[at] != Slot::Skipped {
                    continue;
                }
                match write_slot(self, batch, (header.schema, header.value), &mut out.buffer) {
                    Ok(slot) => out.slots[at] = slot,
                    Err(failure) => {
                        batch.fail(index, failure.at(Stage::HeaderConverter));
                        break;
                    }
                }
            }
        }
        self.end_of_batch();
    }
}
