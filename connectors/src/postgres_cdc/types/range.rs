//! Range types and `tsvector`: PostgreSQL's text form made from the binary one.

use super::calendar::civil_from_days;
use super::numeric::{DecimalMode, Numeric};
use super::reader::Reader;
use super::temporal::{Moment, date_from_binary, timestamp_from_binary};
use aqueduct_engine::data::{Batch, Value};

/// What a range is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Int4,
    Int8,
    Numeric,
    Date,
    Timestamp,
    TimestampTz,
}

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// The text of a range in binary form.
pub(super) fn range_text(bytes: &[u8], bound: Bound) -> Option<String> {
    let mut reader = Reader(bytes);
    let flags = reader.u8()?;
    if flags & EMPTY != 0 {
        return Some("empty".to_owned());
    }
    let mut text = String::from(if flags & LOWER_INCLUSIVE != 0 { "[" } else { "(" });
    if flags & LOWER_INFINITE == 0 {
        text.push_str(&bound_text(reader.sized()??, bound)?);
    }
    text.push(',');
    if flags & UPPER_INFINITE == 0 {
        text.push_str(&bound_text(reader.sized()??, bound)?);
    }
    text.push(if flags & UPPER_INCLUSIVE != 0 { ']' } else { ')' });
    Some(text)
}

fn bound_text(bytes: &[u8], bound: Bound) -> Option<String> {
    let mut reader = Reader(bytes);
    Some(match bound {
        Bound::Int4 => reader.i32()?.to_string(),
        Bound::Int8 => reader.i64()?.to_string(),
        Bound::Numeric => {
            let mut batch = Batch::default();
            match Numeric::from_binary(bytes)? {
                Numeric::NaN => "NaN".to_owned(),
                Numeric::Infinity => "Infinity".to_owned(),
                Numeric::NegativeInfinity => "-Infinity".to_owned(),
                number => match number.put(&mut batch, DecimalMode::Text) {
                    Value::String(span) => batch.str(span).to_owned(),
                    _ => return None,
                },
            }
        }
        Bound::Date => match date_from_binary(reader.i32()?) {
            Moment::At(days) => {
                let (text, era) = date(days);
                // a space makes PostgreSQL quote the bound
                if era.is_empty() { text } else { format!("\"{text}{era}\"") }
            }
            end => infinity(end).to_owned(),
        },
        Bound::Timestamp | Bound::TimestampTz => match timestamp_from_binary(reader.i64()?)? {
            Moment::At(micros) => {
                let zone = if bound == Bound::TimestampTz { "+00" } else { "" };
                let (date, era) = date(micros.div_euclid(86_400_000_000));
                let micros = micros.rem_euclid(86_400_000_000);
                let seconds = micros / 1_000_000;
                let mut clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
                if micros % 1_000_000 != 0 {
                    let fraction = format!(".{:06}", micros % 1_000_000);
                    clock.push_str(fraction.trim_end_matches('0'));
                }
                format!("\"{date} {clock}{zone}{era}\"")
            }
            end => infinity(end).to_owned(),
        },
    })
}

fn infinity(end: Moment) -> &'static str {
    if end == Moment::Past { "-infinity" } else { "infinity" }
}

fn date(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year <= 0 { (1 - year, " BC") } else { (year, "") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// The text of a `tsvector` in binary form: lexemes in quotes, with positions and weights.
pub(super) fn tsvector_text(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader(bytes);
    let count = reader.i32()?;
    let mut text = String::new();
    for index in 0..count {
        if index > 0 {
            text.push(' ');
        }
        text.push('\'');
        for char in std::str::from_utf8(reader.c_string()?).ok()?.chars() {
            if matches!(char, '\'' | '\\') {
                text.push(char);
            }
            text.push(char);
        }
        text.push('\'');
        for position in 0..reader.u16()? {
            let packed = reader.u16()?;
            text.push(if position == 0 { ':' } else { ',' });
            text.push_str(&(packed & 0x3FFF).to_string());
            text.push_str(["", "C", "B", "A"][usize::from(packed >> 14)]);
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(flags: u8, bounds: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![flags];
        for bound in bounds {
            bytes.extend_from_slice(&(bound.len() as u32).to_be_bytes());
            bytes.extend_from_slice(bound);
        }
        bytes
    }

    #[test]
    fn ranges() {
        let int = range(LOWER_INCLUSIVE, &[&1_i32.to_be_bytes(), &5_i32.to_be_bytes()]);
        assert_eq!(range_text(&int, Bound::Int4).as_deref(), Some("[1,5)"));
        assert_eq!(range_text(&[EMPTY], Bound::Int4).as_deref(), Some("empty"));
        assert_eq!(range_text(&[LOWER_INFINITE | UPPER_INFINITE], Bound::Int8).as_deref(), Some("(,)"));
        let micros = 757_382_400_000_000_i64;
        let time = range(LOWER_INCLUSIVE | UPPER_INFINITE, &[&micros.to_be_bytes()]);
        assert_eq!(range_text(&time, Bound::Timestamp).as_deref(), Some("[\"2024-01-01 00:00:00\",)"));
        assert_eq!(range_text(&time, Bound::TimestampTz).as_deref(), Some("[\"2024-01-01 00:00:00+00\",)"));
        assert_eq!(range_text(&int[..7], Bound::Int4), None);
    }

    #[test]
    fn lexemes() {
        let bytes = [&2_i32.to_be_bytes()[..], b"a\0", &[0, 0], b"it's\0", &[0, 2, 0, 3, 0xC0, 4]].concat();
        assert_eq!(tsvector_text(&bytes).as_deref(), Some("'a' 'it''s':3,4A"));
        assert_eq!(tsvector_text(&bytes[..8]), None);
    }
}
