//! PostgreSQL's types: what schema a column has in events and how its bytes become a value.
//!
//! Binary and text form lead to the same intermediate (days, microseconds, digits), and one place writes each mode.

mod calendar;
mod column;
mod decoder;
mod geometry;
#[cfg(test)]
mod hostile;
mod mask;
mod network;
mod numeric;
mod range;
mod reader;
mod temporal;
mod text;

pub(crate) use column::{ColumnInfo, ColumnPlan, PgType};
pub(crate) use decoder::{BinaryMode, Cell, Format};
pub(crate) use mask::{Algorithm, Hash, Mask};

/// Bytes that are not a column's, as `binary.handling.mode` says.
pub(crate) fn binary_value(
    batch: &mut aqueduct_engine::data::Batch,
    bytes: &[u8],
    mode: BinaryMode,
) -> aqueduct_engine::data::Value {
    decoder::binary_value(batch, bytes, None, mode)
}

/// `time.precision.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TimePrecision {
    #[default]
    Adaptive,
    AdaptiveTimeMicroseconds,
    Connect,
    Microseconds,
    Nanoseconds,
    IsoString,
    Structured,
}

/// `decimal.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DecimalHandling {
    #[default]
    Precise,
    Double,
    Text,
}

/// `hstore.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum HStoreHandling {
    #[default]
    Json,
    Map,
}

/// `interval.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IntervalHandling {
    #[default]
    Numeric,
    Text,
}

/// What becomes of the types that have several forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeSettings {
    pub(crate) time: TimePrecision,
    pub(crate) decimal: DecimalHandling,
    pub(crate) binary: BinaryMode,
    pub(crate) hstore: HStoreHandling,
    pub(crate) interval: IntervalHandling,
    /// Digits of `money` behind the point.
    pub(crate) money_fraction: i32,
    /// Types that nothing is known of as bytes, instead of leaving the column out.
    pub(crate) include_unknown: bool,
}

impl Default for TypeSettings {
    fn default() -> TypeSettings {
        TypeSettings {
            time: TimePrecision::default(),
            decimal: DecimalHandling::default(),
            binary: BinaryMode::Bytes,
            hstore: HStoreHandling::default(),
            interval: IntervalHandling::default(),
            money_fraction: 2,
            include_unknown: false,
        }
    }
}
