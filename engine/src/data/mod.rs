//! The data model: Connect's own types, with a layout made for batches.
//!
//! A [`Batch`] owns every byte and every value of its records; a [`Value`] is 16 bytes, `Copy`, and says where in the
//! batch its content lies. Nothing is counted or freed per field, and all goes at once with the batch.

pub(crate) mod append;
mod batch;
mod constant;
mod decimal;
mod error;
mod java;
mod java_time;
mod literal;
mod reader;
mod schema;
mod value;

pub use batch::{
    Batch, Header, OffsetMap, Origin, Record, RecordState, SchemaId, Side, SourcePosition, TimestampType,
    TopicId,
};
pub use constant::Constant;
pub(crate) use decimal::{DecimalText, low_bits, parse_decimal, redundant_sign_bytes};
pub use error::{RecordError, Stage};
pub(crate) use java::append_java_string;
pub use java::{decimal_string, java_double, java_float, java_string};
pub(crate) use java_time::{civil, days_from_civil, print_iso};
pub use literal::{parse_literal, print_literal};
pub use reader::ValueReader;
pub use schema::{DATE, DECIMAL, Field, Schema, SchemaBuilder, SchemaRef, TIME, TIMESTAMP, Type};
pub use value::{Range32, Span, Value};
