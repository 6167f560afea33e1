//! Java's regular expressions, as far as they go, and Java's replacement syntax.

use fancy_regex::{Captures, Regex};

use crate::config::ConfigError;

/// A pattern with its whole-match form.
#[derive(Debug, Clone)]
pub(super) struct JavaRegex {
    find: Regex,
    whole: Regex,
}

impl JavaRegex {
    /// Compiles the pattern of configuration `key`.
    pub(super) fn new(key: &str, pattern: &str) -> Result<Self, ConfigError> {
        let invalid =
            |error: fancy_regex::Error| ConfigError::invalid(key, pattern, format!("Invalid regex: {error}"));
        let find = Regex::new(pattern).map_err(invalid)?;
        let whole = Regex::new(&format!("\\A(?:{pattern})\\z")).map_err(invalid)?;
        Ok(Self { find, whole })
    }

    /// `Matcher.matches()`. A pattern that backtracks without end counts as no match.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text).unwrap_or(false)
    }

    /// `Matcher.replaceFirst(replacement)`.
    pub(super) fn replace_first(&self, text: &str, replacement: &str) -> Result<String, String> {
        let captures = self.find.captures(text).map_err(|error| error.to_string())?;
        let Some(captures) = captures else { return Ok(text.to_owned()) };
        let Some(whole) = captures.get(0) else { return Ok(text.to_owned()) };
        let mut out = text[..whole.start()].to_owned();
        expand(&captures, replacement, &mut out)?;
        out.push_str(&text[whole.end()..]);
        Ok(out)
    }
}

/// `$1`, `${name}` and `\x` of a replacement.
fn expand(captures: &Captures<'_>, replacement: &str, out: &mut String) -> Result<(), String> {
    let mut chars = replacement.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.push(chars.next().ok_or("character to be escaped is missing")?),
            '$' if chars.peek() == Some(&'{') => {
                chars.next();
                let name: String = chars.by_ref().take_while(|char| *char != '}').collect();
                let group = captures.name(&name).map(|group| group.as_str());
                out.push_str(group.ok_or_else(|| format!("No group with name {{{name}}}"))?);
            }
            '$' => {
                let digit =
                    chars.next().and_then(|char| char.to_digit(10)).ok_or("Illegal group reference")?;
                let mut group = digit as usize;
                if group >= captures.len() {
                    return Err(format!("No group {group}"));
                }
                // Further digits belong to the number as long as such a group exists.
                while let Some(digit) = chars.peek().and_then(|char| char.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer >= captures.len() {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                out.push_str(captures.get(group).map_or("", |group| group.as_str()));
            }
            plain => out.push(plain),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_javas() {
        let regex = JavaRegex::new("regex", "(?<a>[a-z]+)-(\\d+)").unwrap();
        assert!(regex.matches("abc-12"));
        assert!(!regex.matches("abc-12x"));
        assert_eq!(regex.replace_first("abc-12", "$2_${a}\\$"), Ok("12_abc$".to_owned()));
        assert_eq!(regex.replace_first("abc-12", "$11"), Ok("abc1".to_owned()));
        assert_eq!(regex.replace_first("abc-12", "$9"), Err("No group 9".to_owned()));
        assert!(JavaRegex::new("regex", "(").is_err());
    }
}
