//! Transforms and predicates: a chain that runs over whole batches.
//!
//! A transform compiles a plan for each schema it meets and then runs it over the rows; see `field_plan`.

mod cast;
mod chain;
mod class;
mod confluent;
mod debezium;
mod drop_headers;
mod extract_field;
mod field_path;
mod field_plan;
mod filter;
mod flatten;
mod header_from;
mod hoist_field;
mod insert_field;
mod insert_header;
mod java_date;
mod java_hash;
mod java_number;
mod java_regex;
mod mask_field;
mod predicate;
mod regex_router;
mod replace_field;
mod set_schema_metadata;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;

pub use chain::Chain;
pub use class::{classes, config_def};
pub use predicate::{PREDICATE_CLASSES, Predicate, predicate_config_def};

use crate::data::{Batch, RecordError, Stage};

/// Changes records of a batch.
pub trait Transform: Send {
    /// Applies the transform to the records at `rows`, which are live. What fails marks its record.
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]);

    /// Whether each struct that it gives a record as key or value is one it made, or the one that this record had there: none
    /// that another record, side or field has as well.
    fn keeps_rows_apart(&self) -> bool {
        false
    }
}

/// A failure of a transform, `DataException`.
fn data_error(message: impl Into<String>) -> RecordError {
    RecordError::data(Stage::Transformation, message)
}
