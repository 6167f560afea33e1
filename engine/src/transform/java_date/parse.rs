//! Text to a moment, as `SimpleDateFormat.parse` goes about it.

use super::super::java_number::digit;
use super::fields::{Field, Fields, iso_to_java};
use super::names::{DAYS, ERAS, HALVES, MONTHS, begins_with, longest};
use super::zones::{self, Zone};
use super::{DateFormat, Item};

const MINUTE: i64 = 60_000;

impl DateFormat {
    /// Milliseconds since 1970; `None` for text that does not begin as the pattern says.
    pub(in super::super) fn parse(&mut self, text: &str) -> Option<i64> {
        let mut reader = Reader { text, at: 0, fields: Fields::default(), ambiguous: false, zone: self.zone };
        let ms = self.read(&mut reader);
        self.zone = reader.zone;
        ms
    }

    fn read(&self, reader: &mut Reader<'_>) -> Option<i64> {
        for (index, item) in self.items.iter().enumerate() {
            match item {
                Item::Literal(literal) => {
                    reader.text[reader.at..].strip_prefix(literal.as_str())?;
                    reader.at += literal.len();
                }
                Item::Field(letter, count) => {
                    let exactly = self.items.get(index + 1).is_some_and(is_number);
                    reader.field(*letter, *count, exactly, self.century_start_year)?;
                }
            }
        }
        if reader.at == 0 {
            return None;
        }
        let ms = reader.fields.millis()?;
        if reader.ambiguous && ms < self.century_start {
            reader.fields.next_century();
            return reader.fields.millis();
        }
        Some(ms)
    }
}

/// Whether an item is a number, so that one before it may not be longer than its letters.
fn is_number(item: &Item) -> bool {
    match item {
        Item::Literal(_) => false,
        Item::Field(b'M' | b'L', count) => *count <= 2,
        Item::Field(letter, _) => !b"GEazZX".contains(letter),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    fields: Fields,
    /// A two-digit year lies in the first year of the century at hand, or in the last.
    ambiguous: bool,
    zone: &'static Zone,
}

impl Reader<'_> {
    fn field(&mut self, letter: u8, count: usize, exactly: bool, century_start_year: i64) -> Option<()> {
        // Names stand where the field begins, numbers behind blanks.
        let start = self.at;
        let blanks = self.text[start..].bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at += blanks;
        if self.at >= self.text.len() {
            return None;
        }
        match letter {
            b'G' => self.name(start, Field::Era, ERAS.into_iter()),
            b'M' | b'L' if count > 2 => self.name(start, Field::Month, long_and_short(&MONTHS, 0)),
            b'E' => self.name(start, Field::DayOfWeek, long_and_short(&DAYS, 1)),
            b'a' => self.name(start, Field::Half, HALVES.into_iter()),
            b'z' | b'Z' => self.zone(start),
            b'X' => self.iso_zone(count),
            _ => {
                let first = self.at;
                let limit = if exactly { Some(self.limit(start, count)?) } else { None };
                let value = self.number(limit)?;
                self.numeric(letter, count, value, first, century_start_year);
                Some(())
            }
        }
    }

    /// Where a number of so many characters from `start` ends; `None` where the text is shorter.
    fn limit(&self, start: usize, count: usize) -> Option<usize> {
        let mut ends = self.text[start..].char_indices().map(|(at, _)| start + at).skip(count);
        let end = ends
            .next()
            .or_else(|| (self.text[start..].chars().count() == count).then_some(self.text.len()))?;
        // The blanks count as well.
        Some(end.max(self.at))
    }

    fn numeric(&mut self, letter: u8, count: usize, value: i64, first: usize, century_start_year: i64) {
        let (field, value) = match letter {
            b'y' | b'Y' => {
                let digits = &self.text[first..self.at];
                let mut year = value;
                if count <= 2
                    && digits.chars().count() == 2
                    && digits.chars().all(|char| digit(char).is_some())
                {
                    let start = century_start_year.rem_euclid(100);
                    self.ambiguous = year == start;
                    year += century_start_year - start + if year < start { 100 } else { 0 };
                }
                (if letter == b'y' { Field::Year } else { Field::WeekYear }, year)
            }
            b'M' | b'L' => (Field::Month, value - 1),
            b'k' => (Field::HourOfDay, if value == 24 { 0 } else { value }),
            b'h' => (Field::Hour, if value == 12 { 0 } else { value }),
            b'u' => (Field::DayOfWeek, iso_to_java(value)),
            b'd' => (Field::Day, value),
            b'H' => (Field::HourOfDay, value),
            b'm' => (Field::Minute, value),
            b's' => (Field::Second, value),
            b'S' => (Field::Millisecond, value),
            b'D' => (Field::DayOfYear, value),
            b'F' => (Field::DayOfWeekInMonth, value),
            b'w' => (Field::WeekOfYear, value),
            b'W' => (Field::WeekOfMonth, value),
            _ => (Field::Hour, value),
        };
        self.fields.set(field, value);
    }

    fn name<'n>(
        &mut self,
        start: usize,
        field: Field,
        names: impl Iterator<Item = (&'n str, i64)>,
    ) -> Option<()> {
        let (value, length) = longest(&self.text[start..], names)?;
        self.fields.set(field, value);
        self.at = start + length;
        Some(())
    }

    /// `DecimalFormat.parse` of whole numbers, then `intValue()`.
    fn number(&mut self, limit: Option<usize>) -> Option<i64> {
        let rest = &self.text[self.at..limit.unwrap_or(self.text.len())];
        if rest.starts_with("NaN") {
            self.at += 3;
            return Some(0);
        }
        let (negative, digits) = rest.strip_prefix('-').map_or((false, rest), |digits| (true, digits));
        if digits.starts_with('∞') {
            self.at += rest.len() - digits.len() + '∞'.len_utf8();
            return Some(i64::from(if negative { i32::MIN } else { i32::MAX }));
        }
        let ascii: String = digits.chars().map_while(digit_of).collect();
        if ascii.is_empty() {
            return None;
        }
        let length = digits.chars().take(ascii.len()).map(char::len_utf8).sum::<usize>();
        self.at += rest.len() - digits.len() + length;
        let mut value = parsed(&ascii, negative);
        if let Some(exponent) = digits[length..].strip_prefix('E') {
            let (below, power) = exponent.strip_prefix('-').map_or((false, exponent), |power| (true, power));
            let power_length = power.bytes().take_while(u8::is_ascii_digit).count();
            if let Ok(power_value) = power[..power_length].parse::<i32>() {
                self.at += 1 + exponent.len() - power.len() + power_length;
                let scaled = format!("{ascii}e{}{power_value}", if below { "-" } else { "" });
                let scaled: f64 = scaled.parse().ok()?;
                value = if negative { -scaled } else { scaled } as i32;
            }
        }
        Some(value.into())
    }

    fn offset(&mut self, minutes: i64) -> Option<()> {
        self.fields.set(Field::Offset, minutes * MINUTE);
        Some(())
    }

    /// `GMT`, `GMT+1:30`, `+0130` or a name.
    fn zone(&mut self, start: usize) -> Option<()> {
        let bytes = self.text.as_bytes();
        let sign = |at: usize| match bytes.get(at) {
            Some(b'+') => Some(1),
            Some(b'-') => Some(-1),
            _ => None,
        };
        if let Some(sign) = sign(self.at) {
            self.at += 1;
            return self.numeric_zone(sign, 0, false);
        }
        if begins_with(&self.text[start..], "GMT") {
            self.at = start + 3;
            return match sign(self.at) {
                None => self.offset(0),
                Some(sign) => {
                    self.at += 1;
                    self.numeric_zone(sign, 0, true)
                }
            };
        }
        let (zone, length, offset) = zones::find(&self.text[self.at..], self.zone)?;
        self.at += length;
        self.zone = zone;
        self.fields.set(Field::Offset, offset);
        Some(())
    }

    fn iso_zone(&mut self, count: usize) -> Option<()> {
        let first = *self.text.as_bytes().get(self.at)?;
        self.at += first.is_ascii() as usize;
        match first {
            b'Z' => self.offset(0),
            b'+' => self.numeric_zone(1, count, count == 3),
            b'-' => self.numeric_zone(-1, count, count == 3),
            _ => None,
        }
    }

    /// `hh`, `hhmm` or `hh:mm`; without a colon there are two digits of hours.
    fn numeric_zone(&mut self, sign: i64, count: usize, colon: bool) -> Option<()> {
        let mut hours = self.digit()?;
        match self.text.as_bytes().get(self.at)? {
            byte if byte.is_ascii_digit() => hours = hours * 10 + self.digit()?,
            _ if count > 0 || !colon => return None,
            _ => {}
        }
        if hours > 23 {
            return None;
        }
        let mut minutes = 0;
        if count != 1 {
            if colon {
                self.text.as_bytes().get(self.at).filter(|byte| **byte == b':')?;
                self.at += 1;
            }
            minutes = self.digit()? * 10;
            minutes += self.digit()?;
            if minutes > 59 {
                return None;
            }
        }
        self.offset(sign * (hours * 60 + minutes))
    }

    fn digit(&mut self) -> Option<i64> {
        let digit = self.text.as_bytes().get(self.at).filter(|byte| byte.is_ascii_digit())?;
        self.at += 1;
        Some(i64::from(digit - b'0'))
    }
}

/// The ASCII digit for a digit of any script.
fn digit_of(char: char) -> Option<char> {
    char::from_digit(digit(char)? as u32, 10)
}

/// A whole number's low 32 bits if it has 64 bits at most, else the nearest one of 32 bits.
fn parsed(digits: &str, negative: bool) -> i32 {
    match digits.parse::<i64>() {
        Ok(value) if negative => value.wrapping_neg() as i32,
        Ok(value) => value as i32,
        Err(_) if negative => i32::MIN,
        Err(_) => i32::MAX,
    }
}

/// Names in full and their first three letters, from a first value on.
fn long_and_short(names: &'static [&'static str], first: i64) -> impl Iterator<Item = (&'static str, i64)> {
    let value = move |index: usize| index as i64 + first;
    let long = names.iter().enumerate().map(move |(index, name)| (*name, value(index)));
    let short = names.iter().enumerate().map(move |(index, name)| (&name[..3], value(index)));
    long.chain(short)
}
