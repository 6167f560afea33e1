//! Names: Connect allows any, Avro does not.

use std::borrow::Cow;

use super::super::registry::Failure;

/// Namespace and simple name of a dotted name, as Java's `split` cuts it: empty parts at the end do not count.
pub(super) fn split(full: &str, scrub: bool) -> (Option<String>, String) {
    let trimmed = full.trim_end_matches('.');
    let mut parts: Vec<Cow<'_, str>> = trimmed.split('.').map(|part| scrubbed(part, scrub)).collect();
    let name = parts.pop().unwrap_or_default().into_owned();
    let space = (!parts.is_empty()).then(|| parts.join("."));
    (space, name)
}

/// The whole name, scrubbed if that is asked.
pub(super) fn scrubbed_full(full: &str, scrub: bool) -> String {
    if !scrub {
        return full.to_owned();
    }
    match split(full, true) {
        (Some(space), name) => format!("{space}.{name}"),
        (None, name) => name,
    }
}

/// `scrub.invalid.names`: what is no letter, digit or underscore becomes an underscore, by way of URL encoding; a digit
/// in front gets an `x`.
pub(in crate::converter) fn scrubbed(name: &str, scrub: bool) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let digit_first = name.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !scrub || (name.bytes().all(is_plain) && !digit_first) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 1);
    out.extend(digit_first.then_some('x'));
    for byte in name.bytes() {
        match byte {
            _ if is_plain(byte) => out.push(char::from(byte)),
            // these stand for themselves in a URL's form encoding, a space is a plus
            b'-' | b'.' | b'*' | b' ' => out.push('_'),
            _ => out.push_str(&format!("_{byte:02X}")),
        }
    }
    Cow::Owned(out)
}

/// Avro's rule for names of types, fields and symbols.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    const CLASS: &str = "org.apache.avro.SchemaParseException";
    let mut chars = name.chars();
    let Some(first) = chars.next() else { return Err(Failure::class(CLASS, "Empty name")) };
    if !(first.is_alphabetic() || first == '_') {
        return Err(Failure::class(CLASS, format!("Illegal initial character: {name}")));
    }
    if !chars.all(|char| char.is_alphanumeric() || char == '_') {
        return Err(Failure::class(CLASS, format!("Illegal character in: {name}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_scrubbed_as_urls_are_encoded() {
        assert_eq!(scrubbed("a.b", true), "a_b");
        assert_eq!(scrubbed("a b$", true), "a_b_24");
        assert_eq!(scrubbed("1a", true), "x1a");
        assert_eq!(scrubbed("ä", true), "_C3_A4");
        assert_eq!(scrubbed("ok_1", true), "ok_1");
        assert_eq!(scrubbed("a.b", false), "a.b");
        assert_eq!(split("a.b.", false), (Some("a".to_owned()), "b".to_owned()));
        assert_eq!(split("b", false), (None, "b".to_owned()));
    }
}
