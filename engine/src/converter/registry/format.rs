//! What a schema language adds to the common part.

use std::sync::Arc;

use aqueduct_schema_registry::{Resolved, Schema as Text, SchemaType};

use crate::converter;
use crate::data::{Batch, SchemaId, SchemaRef, Side, Span, Value};

/// Why one record cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::converter) struct Failure {
    pub(super) cause: converter::Failure,
    /// Whether it happened between bytes and the language's own values: the JVM then says of which topic.
    pub(super) in_serializer: bool,
}

impl Failure {
    /// Bytes, or the registry: `Failed to deserialize data for topic …`.
    pub(in crate::converter) fn serializer(message: impl Into<String>) -> Self {
        Self { cause: converter::Failure::data(message), in_serializer: true }
    }

    /// A `DataException` with its own text.
    pub(in crate::converter) fn data(message: impl Into<String>) -> Self {
        Self { cause: converter::Failure::data(message), in_serializer: false }
    }

    /// Any other exception that escapes the JVM's converter.
    pub(in crate::converter) fn class(java_class: &'static str, message: impl Into<String>) -> Self {
        Self { cause: converter::Failure { java_class, message: message.into() }, in_serializer: false }
    }
}

impl From<converter::Failure> for Failure {
    fn from(cause: converter::Failure) -> Self {
        Self { cause, in_serializer: false }
    }
}

/// A schema of the registry, ready to be compiled.
#[derive(Debug, Clone)]
pub(in crate::converter) struct Fetched {
    /// Its id.
    pub(in crate::converter) id: i32,
    /// Its version under the subject, where that is known.
    pub(in crate::converter) version: Option<i32>,
    /// Its text.
    pub(in crate::converter) schema: Arc<Text>,
    /// What it uses, each before those that use it.
    pub(in crate::converter) references: Vec<Resolved>,
}

/// A schema of the language, made from one of Connect.
#[derive(Debug, Clone)]
pub(in crate::converter) struct Derived {
    /// What is registered.
    pub(in crate::converter) schema: Arc<Text>,
    /// Full name, of a record.
    pub(in crate::converter) record_name: Option<String>,
}

/// The payload of a message, and where it lies in the batch.
#[derive(Debug, Clone, Copy)]
pub(in crate::converter) struct Input<'a> {
    /// After magic byte and id.
    pub(in crate::converter) bytes: &'a [u8],
    /// The place of all of it.
    pub(in crate::converter) place: Span,
}

impl Input<'_> {
    /// The place of a part, so that text and bytes need not be copied.
    #[inline]
    pub(in crate::converter) const fn span(&self, start: usize, len: usize) -> Span {
        Span { segment: self.place.segment, offset: self.place.offset + start as u32, len: len as u32 }
    }
}

/// A schema language. One value of it serves one side of one task; plans are compiled once per schema and kept.
pub(in crate::converter) trait Format: Send + 'static {
    /// The registry's name.
    const SCHEMA_TYPE: SchemaType;
    /// Compiled from a schema that messages were written with.
    type Reader: Send;
    /// Compiled from a schema of Connect and the one that is written with.
    type Writer: Send;

    /// What precedes the cause when bytes of `topic` cannot be read.
    fn cannot_read(topic: &str) -> String;

    /// What precedes the cause when a record for `topic` cannot be written.
    fn cannot_write(topic: &str) -> String;

    /// Full name of the record, for subjects by record name. `payload` says which, where a schema has several; it may be cut off.
    fn record_name(schema: &Fetched, payload: &[u8]) -> Option<String>;

    /// Compiles for reading.
    fn reader(&mut self, schema: &Fetched) -> Result<Self::Reader, Failure>;

    /// Reads one payload. The batch's own buffers are out of reach meanwhile: only its arena and values may be used.
    fn read(
        &mut self,
        reader: &mut Self::Reader,
        input: Input<'_>,
        batch: &mut Batch,
    ) -> Result<(SchemaId, Value), Failure>;

    /// [`Self::read`] for key or value of a record of the batch.
    #[inline]
    fn read_record(
        &mut self,
        reader: &mut Self::Reader,
        input: Input<'_>,
        batch: &mut Batch,
        (index, side): (usize, Side),
    ) -> Result<(), Failure> {
        let (schema, value) = self.read(reader, input, batch)?;
        batch.records[index].set_side(side, schema, value);
        Ok(())
    }

    /// The language's schema for one of Connect; `None` is schemaless data.
    fn derive(&mut self, schema: Option<&SchemaRef>) -> Result<Derived, Failure>;

    /// Whether `target` can read what is written with `derived`: asked for where the schema to write with is not our own.
    fn check_compatible(&mut self, derived: &Derived, target: &Fetched) -> Result<(), String>;

    /// Compiles for writing with `target`, which is `derived` unless the configuration names another.
    fn writer(
        &mut self,
        schema: Option<&SchemaRef>,
        derived: &Derived,
        target: &Fetched,
    ) -> Result<Self::Writer, Failure>;

    /// Appends the payload of one value.
    fn write(
        &mut self,
        writer: &mut Self::Writer,
        batch: &Batch,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure>;

    /// Whether a null is written as a payload; else it has no bytes, and nothing is registered for it.
    fn writes_null(&mut self, schema: Option<&SchemaRef>) -> Result<bool, Failure>;
}
