//! Columns of every type and mode are given bytes that are not theirs: a value or an error, and nothing else.

use std::sync::Arc;

use aqueduct_engine::data::{Batch, Span};
use proptest::prelude::*;

use super::*;

const TYPES: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "oid",
    "float4",
    "float8",
    "text",
    "bpchar",
    "json",
    "jsonb",
    "xml",
    "ltree",
    "tsvector",
    "uuid",
    "isbn",
    "bytea",
    "bit",
    "varbit",
    "numeric",
    "money",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "int4range",
    "int8range",
    "numrange",
    "daterange",
    "tsrange",
    "tstzrange",
    "hstore",
    "vector",
    "halfvec",
    "point",
    "circle",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "geometry",
    "geography",
    "nothing_that_is_known",
];
const MODIFIERS: &[i32] = &[-1, 0, 1, 5, 24, 655_366, i32::MAX, i32::MIN];

fn settings(choice: usize) -> TypeSettings {
    let times = [
        TimePrecision::Adaptive,
        TimePrecision::AdaptiveTimeMicroseconds,
        TimePrecision::Connect,
        TimePrecision::Microseconds,
        TimePrecision::Nanoseconds,
        TimePrecision::IsoString,
        TimePrecision::Structured,
    ];
    let decimals = [DecimalHandling::Precise, DecimalHandling::Double, DecimalHandling::Text];
    let binaries = [BinaryMode::Bytes, BinaryMode::Base64, BinaryMode::Base64UrlSafe, BinaryMode::Hex];
    TypeSettings {
        time: times[choice % times.len()],
        decimal: decimals[choice % decimals.len()],
        binary: binaries[choice % binaries.len()],
        hstore: [HStoreHandling::Json, HStoreHandling::Map][choice % 2],
        interval: [IntervalHandling::Numeric, IntervalHandling::Text][choice % 2],
        money_fraction: (choice % 5) as i32,
        include_unknown: true,
    }
}

/// Bytes that come near to what is sent: lengths and counts, small numbers, digits and punctuation of the text forms.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = proptest::string::string_regex("[-+{}\\[\\](),:.\"\\\\ 0-9a-fTNaInity'=>]{0,40}").unwrap();
    let number = prop_oneof![-3..9_i32, Just(i32::MAX), Just(i32::MIN), any::<i32>()];
    let words = proptest::collection::vec(number, 0..12)
        .prop_map(|words| words.into_iter().flat_map(i32::to_be_bytes).collect::<Vec<u8>>());
    let halves = proptest::collection::vec(prop_oneof![-3..9_i16, any::<i16>()], 0..16)
        .prop_map(|words| words.into_iter().flat_map(i16::to_be_bytes).collect::<Vec<u8>>());
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..48),
        text.prop_map(String::into_bytes),
        words,
        halves
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn any_bytes_in_any_column(bytes in bytes(), choice in 0..84_usize, modifier in 0..MODIFIERS.len(), array: bool) {
        for name in TYPES {
            let data_type = PgType { name: Arc::from(*name), array, labels: None, modifier: MODIFIERS[modifier] };
            let info = ColumnInfo { name: "c".to_owned(), data_type, required: choice % 2 == 0, default: None };
            let Some(plan) = ColumnPlan::new(&info, &settings(choice), None) else { continue };
            for format in [Format::Binary, Format::Text] {
                let mut batch = Batch::default();
                let segment = batch.add_segment(bytes.clone().into());
                let span = Span { segment, offset: 0, len: bytes.len() as u32 };
                let _ = plan.decode(&mut batch, Cell { format, bytes: &bytes, span });
            }
        }
    }
}
