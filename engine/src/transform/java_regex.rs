//! Java's regular expressions on `fancy_regex`, and Java's replacement syntax.
//!
//! The pattern is translated: `\w`, `\d`, `\s`, `\b` and `(?i)` mean ASCII in Java, `\h`, `\R` and `\Q…\E` have other
//! spellings, and so have its classes. What cannot be had is refused with its name.

mod translate;

use fancy_regex::{Captures, Regex};

use crate::config::ConfigError;
use crate::data::{RecordError, Stage};

/// A pattern with its whole-match form.
#[derive(Debug, Clone)]
pub(super) struct JavaRegex {
    find: Regex,
    whole: Regex,
}

fn error(java_class: &'static str, message: impl Into<String>) -> RecordError {
    RecordError { stage: Stage::Transformation, java_class, message: message.into() }
}

fn illegal(message: impl Into<String>) -> RecordError {
    error("java.lang.IllegalArgumentException", message)
}

fn no_group(group: usize) -> RecordError {
    error("java.lang.IndexOutOfBoundsException", format!("No group {group}"))
}

impl JavaRegex {
    /// Compiles the pattern of configuration `key`.
    pub(super) fn new(key: &str, pattern: &str) -> Result<Self, ConfigError> {
        let invalid = |why: String| ConfigError::invalid(key, pattern, format!("Invalid regex: {why}"));
        let translated = translate::translate(pattern).map_err(invalid)?;
        let compile = |pattern: &str| Regex::new(pattern).map_err(|error| invalid(error.to_string()));
        let whole = compile(&format!("\\A(?:{translated})\\z"))?;
        Ok(Self { find: compile(&translated)?, whole })
    }

    /// `Matcher.matches()`. A pattern that backtracks without end counts as no match.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text).unwrap_or(false)
    }

    /// `Matcher.replaceFirst(replacement)`.
    pub(super) fn replace_first(&self, text: &str, replacement: &str) -> Result<String, RecordError> {
        let captures = self.find.captures(text).map_err(|error| illegal(error.to_string()))?;
        let Some(captures) = captures else { return Ok(text.to_owned()) };
        let Some(whole) = captures.get(0) else { return Ok(text.to_owned()) };
        let mut out = text[..whole.start()].to_owned();
        self.expand(&captures, replacement, &mut out)?;
        out.push_str(&text[whole.end()..]);
        Ok(out)
    }

    /// `$1`, `${name}` and `\x` of a replacement.
    fn expand(
        &self,
        captures: &Captures<'_>,
        replacement: &str,
        out: &mut String,
    ) -> Result<(), RecordError> {
        let mut chars = replacement.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' => {
                    out.push(chars.next().ok_or_else(|| illegal("character to be escaped is missing"))?);
                }
                '$' if chars.peek() == Some(&'{') => {
                    chars.next();
                    let name = group_name(&mut chars)?;
                    if !self.find.capture_names().flatten().any(|known| known == name) {
                        return Err(illegal(format!("No group with name {{{name}}}")));
                    }
                    out.push_str(captures.name(&name).map_or("", |group| group.as_str()));
                }
                '$' => {
                    let missing = "Illegal group reference: group index is missing";
                    let char = chars.next().ok_or_else(|| illegal(missing))?;
                    let digit = char.to_digit(10).ok_or_else(|| illegal("Illegal group reference"))?;
                    let mut group = digit as usize;
                    if group >= captures.len() {
                        return Err(no_group(group));
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
}

/// The name behind `${`, up to its brace.
fn group_name(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, RecordError> {
    let mut name = String::new();
    while let Some(char) = chars.peek().filter(|char| char.is_ascii_alphanumeric()) {
        name.push(*char);
        chars.next();
    }
    if name.is_empty() {
        return Err(illegal("named capturing group is missing trailing '}'"));
    }
    if chars.next() != Some('}') {
        return Err(illegal("named capturing group is missing trailing '}'"));
    }
    if name.starts_with(|char: char| char.is_ascii_digit()) {
        return Err(illegal(format!("capturing group name {{{name}}} starts with digit character")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(pattern: &str, text: &str, replacement: &str) -> Result<String, (&'static str, String)> {
        let regex = JavaRegex::new("regex", pattern).unwrap();
        let replaced = regex.replace_first(text, replacement);
        replaced.map_err(|error| (error.java_class.rsplit('.').next().unwrap(), error.message))
    }

    #[test]
    fn replacements_are_javas() {
        let pattern = "(?<a>[a-z]+)-(\\d+)";
        assert_eq!(replace(pattern, "abc-12", "$2_${a}\\$"), Ok("12_abc$".to_owned()));
        assert_eq!(replace(pattern, "abc-12", "$11"), Ok("abc1".to_owned()));
        let out_of_bounds = ("IndexOutOfBoundsException", "No group 9".to_owned());
        assert_eq!(replace(pattern, "abc-12", "$9"), Err(out_of_bounds));
        let illegal = |message: &str| Err(("IllegalArgumentException", message.to_owned()));
        assert_eq!(replace(pattern, "abc-12", "${x}"), illegal("No group with name {x}"));
        assert_eq!(
            replace(pattern, "abc-12", "$"),
            illegal("Illegal group reference: group index is missing")
        );
        assert_eq!(replace("(a)|(b)", "b", "[$1$2]"), Ok("[b]".to_owned()));
    }

    #[test]
    fn patterns_are_javas() {
        for (pattern, text, matches) in [
            ("abc-\\d+", "abc-12", true),
            ("abc-\\d+", "abc-12x", false),
            ("\\w+", "éa", false),
            ("(?U)\\w+", "éa", true),
            ("\\d", "٣", false),
            ("(?i)orders", "ORDERS", true),
            ("(?i)É", "é", false),
            ("(?x) orders # comment", "orders", true),
            ("\\Qa.b\\E.", "a.bc", true),
            ("\\Qa.b\\E.", "axbc", false),
            ("[a-z&&[^b]]+", "ac", true),
            ("[a-z&&[^b]]+", "abc", false),
            ("\\p{Alpha}+\\p{Punct}", "ab.", true),
            ("\\p{javaLowerCase}+", "ab", true),
            ("\\x61\\u0062\\0143", "abc", true),
            ("(?<!x)orders", "orders", true),
            ("a*+a", "aaa", false),
            ("(a)\\1", "aa", true),
            ("a|b", "b", true),
            (".", "\n", false),
            ("\\h\\R", "\t\r\n", true),
            ("[[a-c][x-z]]+", "ay", true),
            ("[\\w.]+", "a.b", true),
            ("a${1,3}", "a", true),
            ("(?=b)*a\\B?", "a", true),
        ] {
            let regex = JavaRegex::new("regex", pattern).unwrap();
            assert_eq!(regex.matches(text), matches, "{pattern} of {text}");
        }
        for pattern in ["(", "[", "*a", "a{2,1}", "\\", "\\y", "(?<1>a)", "a)", "\\p{Nope}", "(?z)", "[b-a]"]
        {
            assert!(JavaRegex::new("regex", pattern).is_err(), "{pattern}");
        }
    }
}
