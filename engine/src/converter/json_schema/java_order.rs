//! The order in which Java's `HashMap` gives its strings. Schemas are registered by their text, so members have to come in
//! the order in which Confluent's converter would print them; and fields without index come in it too.

/// `new HashMap()`.
const DEFAULT_CAPACITY: usize = 16;

/// `String.hashCode()`, spread as `HashMap` does.
fn spread_hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    hash ^ (hash >> 16)
}

fn sort<T>(entries: &mut [T], name: impl Fn(&T) -> &str, mut capacity: usize) {
    while entries.len() * 4 > capacity * 3 {
        capacity *= 2;
    }
    // within a bucket the order of insertion stays
    entries.sort_by_cached_key(|entry| spread_hash(name(entry)) as usize & (capacity - 1));
}

/// Order after having been put into a new `HashMap`, in the order given.
pub(super) fn put<T>(entries: &mut [T], name: impl Fn(&T) -> &str) {
    sort(entries, name, DEFAULT_CAPACITY);
}

/// Order after `new HashMap(map)` of what [`put`] has ordered.
pub(super) fn copy<T>(entries: &mut [T], name: impl Fn(&T) -> &str) {
    // a third more than there are entries, plus one, then the next power of two
    let capacity = (entries.len() * 4 / 3 + 1).next_power_of_two();
    sort(entries, name, capacity);
}

/// Order in an org.json `JSONObject` made from a map: `new HashMap(size)`.
pub(super) fn sized<T>(entries: &mut [T], name: impl Fn(&T) -> &str) {
    let capacity = entries.len().max(1).next_power_of_two();
    sort(entries, name, capacity);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java() {
        assert_eq!(spread_hash(""), 0);
        // "hello".hashCode() == 99162322
        assert_eq!(spread_hash("hello"), 99_162_322 ^ (99_162_322 >> 16));
        let mut names = ["name", "id", "amount", "tags"];
        put(&mut names, |name| name);
        // as HashMap of JDK 17 prints them
        assert_eq!(names, ["amount", "name", "id", "tags"]);
        copy(&mut names, |name| name);
        assert_eq!(names, ["name", "amount", "id", "tags"]);
    }
}
