//! Entries of maps as they are read.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::data::{Span, Value};

/// Entries up to which a map's keys are compared each with each.
const FEW: usize = 16;

/// Of entries (key, value, key, value …) with equal keys the last one counts, in the place of the first.
pub(super) fn keep_last<'a>(entries: &mut Vec<Value>, bytes: impl Fn(Span) -> &'a [u8]) {
    let count = entries.len() / 2;
    let key = |index: usize| entries[index * 2];
    let same = |one: Value, other: Value| match (one, other) {
        (Value::String(one), Value::String(other)) => bytes(one) == bytes(other),
        _ => key_bytes(one, &bytes) == key_bytes(other, &bytes),
    };
    let has_twins = if count <= FEW {
        (1..count).any(|index| (0..index).any(|earlier| same(key(earlier), key(index))))
    } else {
        let mut seen = HashSet::with_capacity(count);
        !(0..count).all(|index| seen.insert(key_bytes(key(index), &bytes)))
    };
    if has_twins {
        let mut kept: IndexMap<Vec<u8>, (Value, Value)> = IndexMap::new();
        for entry in entries.chunks_exact(2) {
            kept.insert(key_bytes(entry[0], &bytes), (entry[0], entry[1]));
        }
        *entries = kept.into_values().flat_map(|(key, value)| [key, value]).collect();
    }
}

/// Bytes that are equal for equal keys.
fn key_bytes<'a>(key: Value, bytes: &impl Fn(Span) -> &'a [u8]) -> Vec<u8> {
    match key {
        Value::String(span) | Value::Bytes(span) => bytes(span).to_vec(),
        other => format!("{other:?}").into_bytes(),
    }
}
