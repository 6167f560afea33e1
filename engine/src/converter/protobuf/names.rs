//! Names: Connect allows any, Protocol Buffers do not.

use std::borrow::Cow;

use super::vocabulary::ENTRY;
use crate::converter::avro;

/// `scrub.invalid.names`: as for Avro, and a name that begins with an underscore gets an `x` in front too.
pub(super) fn scrubbed(name: &str, scrub: bool) -> Cow<'_, str> {
    let plain = avro::scrubbed(name, scrub);
    if scrub && name.starts_with('_') { Cow::Owned(format!("x{plain}")) } else { plain }
}

/// The name of the message that a map's entries are.
pub(super) fn entry(map: &str) -> String {
    if !map.contains('_') {
        return format!("{map}{ENTRY}");
    }
    let mut name = String::with_capacity(map.len() + ENTRY.len());
    for word in map.split('_') {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.extend(chars.map(|char| char.to_ascii_lowercase()));
    }
    name + ENTRY
}

/// The name of a map whose entries are messages of that name; undoes [`entry`] at the end of a dotted name.
pub(super) fn map(entry: &str) -> String {
    let (scope, last) = entry.rsplit_once('.').map_or((None, entry), |(scope, last)| (Some(scope), last));
    let Some(camel) = last.strip_suffix(ENTRY) else { return entry.to_owned() };
    let mut name = String::with_capacity(camel.len() + 4);
    for (index, char) in camel.chars().enumerate() {
        if char.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(char.to_ascii_lowercase());
    }
    match scope {
        Some(scope) => format!("{scope}.{name}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries() {
        assert_eq!(entry("my_tags"), "MyTagsEntry");
        assert_eq!(entry("tags"), "tagsEntry");
        assert_eq!(map("a.B.MyTagsEntry"), "a.B.my_tags");
        assert_eq!(map("ConnectDefault2Entry"), "connect_default2");
        assert_eq!(scrubbed("_a b", true), "x_a_b");
        assert_eq!(scrubbed("a-b", false), "a-b");
    }
}
