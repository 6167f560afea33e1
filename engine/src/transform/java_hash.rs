//! The order of `java.util.HashMap`, for the few answers that hang on it.

use super::field_plan::flat;
use crate::data::{Batch, Range32, Value};

/// `String.hashCode()`, spread as `HashMap` does it.
fn hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    hash ^ (hash >> 16)
}

/// Sorts places of a map's entries into the order in which a `HashMap` that grew with them has them.
pub(super) fn sort(batch: &Batch, range: Range32, order: &mut [u32]) {
    let mut buckets = 16_u32;
    while range.len > buckets / 4 * 3 {
        buckets *= 2;
    }
    let entries = batch.items(flat(range));
    order.sort_by_cached_key(|at| match entries.get(*at as usize * 2) {
        Some(Value::String(span)) => hash(batch.str(*span)) & (buckets - 1),
        _ => 0,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_a_hash_map() {
        let mut batch = Batch::default();
        let names = ["id", "name", "amount", "tags", "addr", "ok", "none"];
        let flat: Vec<Value> =
            names.iter().flat_map(|name| [Value::String(batch.put_str(name)), Value::Null]).collect();
        let start = batch.push_values(&flat).start;
        let mut order: Vec<u32> = (0..7).collect();
        sort(&batch, Range32 { start, len: 7 }, &mut order);
        let sorted: Vec<&str> = order.iter().map(|at| names[*at as usize]).collect();
        assert_eq!(sorted, ["amount", "name", "id", "none", "addr", "ok", "tags"]);
    }
}
