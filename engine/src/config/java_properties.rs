//! Java's properties grammar (`java.util.Properties.load`): comments, continuation lines, escapes, `\uXXXX`.

use indexmap::IndexMap;
use thiserror::Error;

/// A file that is not in the grammar.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("line {line}: malformed \\uxxxx encoding: four hexadecimal digits must follow \\u")]
pub struct PropertiesError {
    /// Natural line, from 1, on which the logical line starts.
    pub line: usize,
}

/// Reads properties. Text is taken as UTF-8 where it is that, else as ISO 8859-1, the two encodings in which such files
/// exist. A key given twice keeps its last value.
///
/// # Errors
/// For a malformed `\uXXXX` escape, the only thing that the grammar refuses.
pub fn parse(bytes: &[u8]) -> Result<IndexMap<String, String>, PropertiesError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut properties = IndexMap::new();
    let mut lines = natural_lines(&text).enumerate();
    while let Some((number, line)) = lines.next() {
        let line = trim_start(line);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_with_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(trim_start(next)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let malformed = PropertiesError { line: number + 1 };
        let key = unescape(key).ok_or_else(|| malformed.clone())?;
        let value = unescape(value).ok_or(malformed)?;
        properties.insert(key, value);
    }
    Ok(properties)
}

/// Lines ended by `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let after = &text[end..];
        rest = Some(after.strip_prefix("\r\n").unwrap_or_else(|| &after[1..]));
        Some(&text[..end])
    })
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\u{c}')
}

fn trim_start(line: &str) -> &str {
    line.trim_start_matches(is_blank)
}

/// An odd number of backslashes at the end.
fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value: the key ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, char)| {
        let ends = !escaped && (matches!(char, '=' | ':') || is_blank(*char));
        escaped = !escaped && *char == '\\';
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let rest = trim_start(&line[end..]);
    let rest = rest.strip_prefix(['=', ':']).map_or(rest, trim_start);
    (&line[..end], rest)
}

fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0; 2];
    while let Some(char) = chars.next() {
        let plain = if char == '\\' {
            match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let valid = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| valid)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => continue,
            }
        } else {
            char
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().collect()
    }

    #[test]
    fn the_grammar_of_java() {
        let text = "# comment\n ! another\n\na=1\nb : 2\nc 3\n d\\ e = f\\\n   g\\=h \nempty\nuni=\\u00e9\\uD83D\\uDE00\ntab=\\tx\\\\\r\nlast:=x";
        let expected = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d e", "fg=h "),
            ("empty", ""),
            ("uni", "é😀"),
            ("tab", "\tx\\"),
            ("last", "=x"),
        ];
        let expected: Vec<_> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_malformed_escape_names_its_line() {
        assert_eq!(parse(b"a=1\nb=\\u12"), Err(PropertiesError { line: 2 }));
        assert_eq!(parse(b"a=1\nb=\\u+123"), Err(PropertiesError { line: 2 }));
    }

    #[test]
    fn both_encodings() {
        assert_eq!(parse("a=é".as_bytes()).unwrap()["a"], "é");
        assert_eq!(parse(b"a=\xe9").unwrap()["a"], "é");
    }
}
