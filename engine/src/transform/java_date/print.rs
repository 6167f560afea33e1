//! A moment as text.

use std::fmt::Write as _;

use super::calendar::{DAY, Date};
use super::names::{DAYS, MONTHS};
use super::{DateFormat, Item};

impl DateFormat {
    /// Appends the moment (milliseconds since 1970).
    pub(in super::super) fn print(&self, ms: i64, out: &mut String) {
        let offset = self.zone.offset(ms);
        let local = ms.saturating_add(offset);
        let date = Date::of_millis(local);
        let time = local.rem_euclid(DAY);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(b'z', count) => out.push_str(self.zone.name(ms, *count < 4)),
                Item::Field(b'Z', _) => offset_text(offset, "", true, out),
                Item::Field(b'X', _) if offset == 0 => out.push('Z'),
                Item::Field(b'X', count) => {
                    offset_text(offset, if *count == 3 { ":" } else { "" }, *count > 1, out)
                }
                Item::Field(letter, count) => field(*letter, *count, &date, time, out),
            }
        }
    }
}

/// A number with at least so many digits.
fn padded(value: i64, count: usize, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    let value = value.unsigned_abs();
    // To a String it does not fail.
    let _ = write!(out, "{value:0count$}");
}

fn field(letter: u8, count: usize, date: &Date, time: i64, out: &mut String) {
    let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
    let is_before_christ = date.year <= 0;
    let name = |names: &[&'static str], index: i64| {
        let name = names.get(index as usize).copied().unwrap_or_default();
        if count >= 4 { name } else { &name[..3] }
    };
    let year = |year: i64| if year <= 0 { 1 - year } else { year };
    match letter {
        b'G' => out.push_str(if is_before_christ { "BC" } else { "AD" }),
        b'y' if count == 2 => padded(year(date.year) % 100, 2, out),
        b'y' => padded(year(date.year), count, out),
        b'Y' if count == 2 => padded(date.week_year() % 100, 2, out),
        b'Y' => padded(date.week_year(), count, out),
        b'M' | b'L' if count >= 3 => out.push_str(name(&MONTHS, date.month - 1)),
        b'M' | b'L' => padded(date.month, count, out),
        b'd' => padded(date.day, count, out),
        b'k' => padded(if hour == 0 { 24 } else { hour }, count, out),
        b'H' => padded(hour, count, out),
        b'm' => padded(minute, count, out),
        b's' => padded(time / 1000 % 60, count, out),
        b'S' => padded(time % 1000, count, out),
        b'E' => out.push_str(name(&DAYS, date.day_of_week() - 1)),
        b'D' => padded(date.day_of_year(), count, out),
        b'F' => padded((date.day - 1) / 7 + 1, count, out),
        b'w' => padded(date.week_of_year(), count, out),
        b'W' => padded(date.week_of_month(), count, out),
        b'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        b'h' => padded(if hour % 12 == 0 { 12 } else { hour % 12 }, count, out),
        b'K' => padded(hour % 12, count, out),
        b'u' => padded((date.day_of_week() + 5) % 7 + 1, count, out),
        _ => {}
    }
}

/// `+0130`, `+01:30` or `+01`.
fn offset_text(offset: i64, colon: &str, with_minutes: bool, out: &mut String) {
    let minutes = offset / 60_000;
    out.push(if minutes < 0 { '-' } else { '+' });
    padded(minutes.abs() / 60, 2, out);
    if with_minutes {
        out.push_str(colon);
        padded(minutes.abs() % 60, 2, out);
    }
}
