//! Text that is made for a batch, and PostgreSQL's text forms that several types share.

use aqueduct_engine::data::{Batch, Span, Value};

/// Digits of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    /// Always so many.
    Exactly(u8),
    /// As many as are not zeros at the end, none at all for a whole second.
    Shortest,
}

/// Writes text into the batch; what is written must be UTF-8.
pub(super) fn put_text(batch: &mut Batch, write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let offset = batch.arena.len();
    write(&mut batch.arena);
    Value::String(Span { segment: 0, offset: offset as u32, len: (batch.arena.len() - offset) as u32 })
}

/// Writes bytes into the batch.
pub(super) fn put_bytes(batch: &mut Batch, write: impl FnOnce(&mut Vec<u8>)) -> Value {
    match put_text(batch, write) {
        Value::String(span) => Value::Bytes(span),
        other => other,
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends lower-case hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Reads hexadecimal digits into `out`; `None` for anything else.
pub(super) fn read_hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    for pair in text.chunks_exact(2) {
        out.push(nibble(pair[0])? << 4 | nibble(pair[1])?);
    }
    Some(())
}

/// Most dimensions that PostgreSQL itself allows.
const MAX_DIMENSIONS: usize = 6;

/// Elements of an array's text form (`{a,NULL,"b c"}`), those of all dimensions in one list; `None` for an element is NULL.
pub(super) fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let bytes = text.as_bytes();
    // a lower bound other than one is written before: [2:3]={…}
    let mut at = if bytes.first() == Some(&b'[') { text.find("={")? + 1 } else { 0 };
    let mut elements = Vec::new();
    let mut depth = 0;
    loop {
        match *bytes.get(at)? {
            b'{' => {
                depth += 1;
                at += 1;
                if depth > MAX_DIMENSIONS {
                    return None;
                }
            }
            b'}' if depth > 0 => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return (at == bytes.len()).then_some(elements);
                }
            }
            _ if depth == 0 => return None,
            b',' => at += 1,
            b'"' => {
                let (element, after) = quoted(text, at + 1)?;
                elements.push(Some(element));
                at = after;
            }
            _ => {
                let length = bytes[at..].iter().position(|byte| matches!(byte, b',' | b'}'))?;
                let element = text.get(at..at + length)?;
                let null = element.eq_ignore_ascii_case("null");
                elements.push((!null).then(|| unescape(element)));
                at += length;
            }
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(if char == '\\' { chars.next().unwrap_or(char) } else { char });
    }
    out
}

/// A quoted piece that begins at `from`, and where it ends.
pub(super) fn quoted(text: &str, from: usize) -> Option<(String, usize)> {
    let mut escaped = false;
    for (index, byte) in text.as_bytes().get(from..)?.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((unescape(text.get(from..from + index)?), from + index + 1)),
            _ => {}
        }
    }
    None
}

/// Entries of an hstore's text form: `"a"=>"1", "b"=>NULL`.
pub(super) fn hstore_entries(text: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..)?;
        at += rest.len() - rest.trim_start_matches([',', ' ']).len();
        if at == text.len() {
            break;
        }
        if text.as_bytes()[at] != b'"' {
            return None;
        }
        let (key, after) = quoted(text, at + 1)?;
        let rest = text.get(after..)?.strip_prefix("=>")?;
        let start = text.len() - rest.len();
        if rest.starts_with('"') {
            let (value, after) = quoted(text, start + 1)?;
            entries.push((key, Some(value)));
            at = after;
        } else {
            rest.get(..4).filter(|null| null.eq_ignore_ascii_case("null"))?;
            entries.push((key, None));
            at = start + 4;
        }
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> Option<Vec<Option<String>>> {
        array_elements(text)
    }

    #[test]
    fn arrays() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(array("{}"), Some(vec![]));
        assert_eq!(array("{1,NULL,3}"), Some(vec![some("1"), None, some("3")]));
        assert_eq!(
            array(r#"{a,"b c","q\"x","NULL",é}"#),
            Some(vec![some("a"), some("b c"), some("q\"x"), some("NULL"), some("é")])
        );
        assert_eq!(array("{{1,2},{3,4}}").map(|elements| elements.len()), Some(4));
        assert_eq!(array("[2:3]={1,2}").map(|elements| elements.len()), Some(2));
        for bad in ["", "{", "{1", "1}", "{\"a}", "{1}}", "{{{{{{{1}}}}}}}", "[x"] {
            assert_eq!(array(bad), None, "{bad}");
        }
    }

    #[test]
    fn hstores() {
        let entries = hstore_entries(r#""a"=>"1", "b"=>NULL, "q\"x"=>"y\\z""#).unwrap();
        assert_eq!(entries[0], ("a".to_owned(), Some("1".to_owned())));
        assert_eq!(entries[1], ("b".to_owned(), None));
        assert_eq!(entries[2], ("q\"x".to_owned(), Some("y\\z".to_owned())));
        assert_eq!(hstore_entries(""), Some(vec![]));
        for bad in ["a", "\"a\"", "\"a\"=>", "\"a\"=>x", "\"a\"=>\"b"] {
            assert_eq!(hstore_entries(bad), None, "{bad}");
        }
    }

    #[test]
    fn hexadecimal() {
        let mut out = Vec::new();
        assert_eq!(read_hex(b"deadBEEF", &mut out), Some(()));
        assert_eq!(out, [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(read_hex(b"abc", &mut Vec::new()), None);
        assert_eq!(read_hex(b"zz", &mut Vec::new()), None);
        let mut text = Vec::new();
        push_hex(&mut text, &out);
        assert_eq!(text, b"deadbeef");
    }
}
