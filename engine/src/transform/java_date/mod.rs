//! `java.text.SimpleDateFormat` with the locale `en-US` in UTC at first: its patterns, its output, and its lenient reading.
//!
//! A pattern is compiled once. Reading follows Java step by step (a number may be longer than its letters unless another
//! number follows at once, fields may go beyond their range, what follows the pattern is ignored), because data that
//! was read in such a way must go on being read so.

mod calendar;
mod fields;
mod names;
mod parse;
mod print;
mod zones;

use std::time::{SystemTime, UNIX_EPOCH};

use calendar::Date;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct DateFormat {
    pattern: String,
    items: Vec<Item>,
    /// Two-digit years are of the hundred years from here, in milliseconds since 1970.
    century_start: i64,
    century_start_year: i64,
    /// UTC, until another one is read.
    zone: &'static zones::Zone,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Text that stands for itself.
    Literal(String),
    /// A letter and how often it is repeated.
    Field(u8, usize),
}

/// The letters that mean something.
const LETTERS: &[u8] = b"GyMdkHmsSEDFwWahKzZYuXL";
/// Letters in a row; more say nothing that fewer do not.
const MAX_COUNT: usize = 1000;

impl DateFormat {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The message of Java's `IllegalArgumentException`.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
        let today = Date::of_millis(now);
        let start = calendar::fixed_date(true, today.year - 80, today.month, today.day);
        let century_start = (start - calendar::EPOCH) * calendar::DAY + now.rem_euclid(calendar::DAY);
        let items = compile(pattern)?;
        Ok(Self {
            pattern: pattern.to_owned(),
            items,
            century_start,
            century_start_year: today.year - 80,
            zone: &zones::UTC,
        })
    }

    /// The pattern as it was given.
    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }
}

fn push_literal(items: &mut Vec<Item>, char: char) {
    match items.last_mut() {
        Some(Item::Literal(text)) => text.push(char),
        _ => items.push(Item::Literal(char.into())),
    }
}

fn compile(pattern: &str) -> Result<Vec<Item>, String> {
    let mut items: Vec<Item> = Vec::new();
    let mut chars = pattern.chars().peekable();
    let mut quoted = false;
    // Whether the letter before belongs to the same run.
    let mut run = false;
    while let Some(char) = chars.next() {
        if char == '\'' {
            run = false;
            if chars.peek() == Some(&'\'') {
                chars.next();
                push_literal(&mut items, '\'');
            } else {
                quoted = !quoted;
            }
            continue;
        }
        if quoted || !char.is_ascii_alphabetic() {
            push_literal(&mut items, char);
            run = false;
            continue;
        }
        let letter = char as u8;
        if !LETTERS.contains(&letter) {
            return Err(format!("Illegal pattern character '{char}'"));
        }
        match items.last_mut() {
            Some(Item::Field(last, count)) if run && *last == letter => *count = (*count + 1).min(MAX_COUNT),
            _ => items.push(Item::Field(letter, 1)),
        }
        run = true;
    }
    if quoted {
        return Err("Unterminated quote".to_owned());
    }
    match items.iter().find(|item| matches!(item, Item::Field(b'X', 4..))) {
        Some(Item::Field(_, count)) => Err(format!("invalid ISO 8601 format: length={count}")),
        _ => Ok(items),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(pattern: &str, ms: i64) -> String {
        let mut out = String::new();
        DateFormat::new(pattern).unwrap().print(ms, &mut out);
        out
    }

    fn parse(pattern: &str, text: &str) -> Option<i64> {
        DateFormat::new(pattern).unwrap().parse(text)
    }

    #[test]
    fn dates_are_printed_as_java_does() {
        let ms = 1_700_000_000_123; // Tuesday, 2023-11-14 22:13:20.123
        for (pattern, text) in [
            ("yyyyMMdd", "20231114"),
            ("yy y yyyyy", "23 2023 02023"),
            ("EEE, d MMM yyyy HH:mm:ss Z", "Tue, 14 Nov 2023 22:13:20 +0000"),
            ("EEEE MMMM", "Tuesday November"),
            ("hh:mm a K k", "10:13 PM 10 22"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2023-11-14T22:13:20.123Z"),
            ("SSSSSS S", "000123 123"),
            ("D w W F u G", "318 46 3 2 2 AD"),
            ("z zzzz XXX", "UTC Coordinated Universal Time Z"),
            ("''yyyy'' 'o''clock'", "'2023' o'clock"),
            ("L LL LLL LLLL", "11 11 Nov November"),
        ] {
            assert_eq!(print(pattern, ms), text, "{pattern}");
        }
        assert_eq!(print("YYYY-ww", 1_703_980_800_000), "2024-01"); // 2023-12-31, a Sunday
        assert_eq!(print("yyyy-MM-dd", -62_135_769_600_001), "0001-12-31");
        assert_eq!(print("yyyy G", -62_167_392_000_000), "0001 BC");
    }

    #[test]
    fn patterns_that_are_none() {
        for (pattern, message) in [
            ("q", "Illegal pattern character 'q'"),
            ("'open", "Unterminated quote"),
            ("XXXX", "invalid ISO 8601 format: length=4"),
        ] {
            assert_eq!(DateFormat::new(pattern).err().as_deref(), Some(message));
        }
    }

    #[test]
    fn dates_are_read_as_java_does() {
        for (pattern, text, ms) in [
            ("yyyy-MM-dd", "2020-01-02", Some(1_577_923_200_000)),
            ("yyyy-MM-dd", "2020-01-02 and more", Some(1_577_923_200_000)),
            ("yyyy-MM-dd", "2020-13-45", Some(1_613_260_800_000)),
            ("yyyy-MM-dd", " 2020-01-02", Some(1_577_923_200_000)),
            ("yyyy-MM-dd", "2020/01/02", None),
            ("yyyyMMdd", "20200102", Some(1_577_923_200_000)),
            ("yyyyMMdd", "2020 102", Some(1_577_923_200_000)),
            ("HH:mm", "25:61", Some(93_660_000)),
            ("hh:mm a", "12:00 am", Some(0)),
            ("d MMM yyyy", "2 jan 2020", Some(1_577_923_200_000)),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2020-01-02T01:00:00+01", Some(1_577_923_200_000)),
            ("yyyy-MM-dd HH:mm z", "2020-01-01 16:00 PST", Some(1_577_923_200_000)),
            ("yyyy-MM-dd HH:mm z", "2020-01-02 01:30 GMT+1:30", Some(1_577_923_200_000)),
            ("yyyy-MM-dd HH:mm Z", "2020-01-02 01:30 +0130", Some(1_577_923_200_000)),
            ("yyyy-DDD", "2020-002", Some(1_577_923_200_000)),
            ("YYYY-'W'ww-u", "2020-W01-4", Some(1_577_923_200_000)),
            ("yyyy", "x", None),
            ("yyyy", "", None),
        ] {
            assert_eq!(parse(pattern, text), ms, "{pattern} of {text}");
        }
    }
}
