//! Dates and times: read from both of PostgreSQL's forms, written as `time.precision.mode` says.

use aqueduct_engine::data::{Batch, Value};

use super::calendar::{civil_from_days, days_from_civil};
use super::text::{Digits, put_text};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY_MICROS;
const DAY_MICROS: i64 = 86_400_000_000;
/// What the JDBC driver makes of an infinite timestamp, in milliseconds.
const INFINITE_MILLIS: [i64; 2] = [-9_223_372_036_832_400_000, 9_223_372_036_825_200_000];
/// What Debezium makes of an infinite date, in days.
const INFINITE_DAYS: [i32; 2] = [-2_147_472_691, 2_146_033_979];

/// Hours of the longest interval.
const MOST_HOURS: i64 = i64::MAX / 3_600_000_000;

/// A point in time, or an end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Microseconds (timestamps) or days (dates) from 1970-01-01.
    At(i64),
    /// `-infinity`.
    Past,
    /// `infinity`.
    Future,
}

impl Moment {
    const fn infinite<T: Copy>(self, ends: [T; 2]) -> T {
        if matches!(self, Moment::Past) { ends[0] } else { ends[1] }
    }

    fn special_value(self) -> &'static str {
        self.infinite(["NEGATIVE_INFINITY", "POSITIVE_INFINITY"])
    }
}

/// How a date is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateMode {
    Days,
    Connect,
    Iso,
    Structured,
}

/// How a time of day is written; the number is the column's precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeMode {
    Millis,
    Micros,
    Nanos,
    Connect,
    Iso,
    Structured(i32),
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimestampMode {
    Millis,
    Micros,
    Nanos,
    Connect,
    Iso,
    Structured(i32),
}

/// How a timestamp or time with time zone is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZonedMode {
    /// Text with this many digits of a second.
    Text(u8),
    Structured(i32),
}

/// How an interval is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntervalMode {
    Micros,
    Text,
    Structured(i32),
}

/// PostgreSQL's interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Interval {
    pub(super) months: i32,
    pub(super) days: i32,
    pub(super) micros: i64,
}

// ---- binary form ----

pub(super) fn date_from_binary(days: i32) -> Moment {
    match days {
        i32::MIN => Moment::Past,
        i32::MAX => Moment::Future,
        days => Moment::At(i64::from(days) + EPOCH_DAYS),
    }
}

pub(super) fn timestamp_from_binary(micros: i64) -> Option<Moment> {
    Some(match micros {
        i64::MIN => Moment::Past,
        i64::MAX => Moment::Future,
        micros => Moment::At(micros.checked_add(EPOCH_MICROS)?),
    })
}

// ---- text form ----

pub(super) fn date_from_text(text: &str) -> Option<Moment> {
    match text {
        "infinity" => return Some(Moment::Future),
        "-infinity" => return Some(Moment::Past),
        _ => {}
    }
    let (text, before_christ) = era(text);
    Some(Moment::At(days(text, before_christ)?))
}

fn era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

fn days(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let mut part = || number(parts.next()?);
    let (year, month, day) = (part()?, part()?, part()?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..=400_000).contains(&year);
    valid.then(|| days_from_civil(if before_christ { 1 - year } else { year }, month, day))
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// `HH:MM:SS[.ffffff]` in microseconds; hours go up to 24, and beyond in intervals.
pub(super) fn time_from_text(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let mut part = || number(parts.next()?);
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    if minutes > 59 || seconds > 60 || hours > MOST_HOURS || fraction.len() > 6 {
        return None;
    }
    let micros =
        if fraction.is_empty() { 0 } else { number(fraction)? * 10_i64.pow(6 - fraction.len() as u32) };
    (hours * 3600 + minutes * 60 + seconds).checked_mul(1_000_000)?.checked_add(micros)
}

/// A time of day, from 0 to 24 hours in microseconds.
pub(super) fn of_day(micros: i64) -> Option<i64> {
    (0..=DAY_MICROS).contains(&micros).then_some(micros)
}

/// A zone's seconds east of Greenwich: less than a day.
pub(super) fn of_zone(east: i64) -> Option<i64> {
    (-86_400..=86_400).contains(&east).then_some(east)
}

/// Splits `+HH[:MM[:SS]]` off the end: seconds east of Greenwich.
fn zone(text: &str) -> Option<(&str, i64)> {
    let at = text.rfind(['+', '-'])?;
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    let mut seconds = 0;
    for (part, unit) in text[at + 1..].splitn(3, ':').zip([3600, 60, 1]) {
        seconds += number(part)?.checked_mul(unit)?;
    }
    Some((&text[..at], of_zone(sign * seconds)?))
}

/// Microseconds of the day and the zone's seconds east of Greenwich.
pub(super) fn time_tz_from_text(text: &str) -> Option<(i64, i64)> {
    let (clock, east) = zone(text)?;
    Some((of_day(time_from_text(clock)?)?, east))
}

pub(super) fn timestamp_from_text(text: &str, zoned: bool) -> Option<Moment> {
    match text {
        "infinity" => return Some(Moment::Future),
        "-infinity" => return Some(Moment::Past),
        _ => {}
    }
    let (text, before_christ) = era(text);
    let (date, clock) = text.split_once(' ')?;
    let (clock, east) = if zoned { zone(clock)? } else { (clock, 0) };
    let micros = days(date, before_christ)?.checked_mul(DAY_MICROS)?;
    Some(Moment::At(micros.checked_add(of_day(time_from_text(clock)?)? - east * 1_000_000)?))
}

/// PostgreSQL's own style: `1 year 2 mons 3 days 04:05:06.78`, each part with its sign.
pub(super) fn interval_from_text(text: &str) -> Option<Interval> {
    let mut interval = Interval::default();
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if word.contains(':') {
            let (sign, clock) = match word.strip_prefix('-') {
                Some(clock) => (-1, clock),
                None => (1, word.trim_start_matches('+')),
            };
            interval.micros = sign * time_from_text(clock)?;
            continue;
        }
        let amount: i32 = word.trim_start_matches('+').parse().ok()?;
        match words.next()?.trim_end_matches('s') {
            "year" => interval.months = interval.months.checked_add(amount.checked_mul(12)?)?,
            "mon" => interval.months = interval.months.checked_add(amount)?,
            "day" => interval.days = amount,
            _ => return None,
        }
    }
    Some(interval)
}

// ---- what is written ----

pub(super) fn put_date(batch: &mut Batch, date: Moment, mode: DateMode) -> Value {
    let days = match date {
        Moment::At(days) => days,
        infinite => infinite.infinite(INFINITE_DAYS).into(),
    };
    match mode {
        DateMode::Days => Value::Int32(days as i32),
        DateMode::Connect => Value::Date(days * 86_400_000),
        DateMode::Iso => put_text(batch, |out| {
            push_date(out, days);
            out.push(b'Z');
        }),
        DateMode::Structured => {
            let fields = match date {
                Moment::At(days) => {
                    let (year, month, day) = civil_from_days(days);
                    [Value::Int32(year as i32), Value::Int8(month as i8), Value::Int8(day as i8), Value::Null]
                }
                end => {
                    let special = literal(batch, end.special_value());
                    [Value::Null, Value::Null, Value::Null, special]
                }
            };
            Value::Struct(batch.push_values(&fields))
        }
    }
}

pub(super) fn put_time(batch: &mut Batch, micros: i64, mode: TimeMode) -> Value {
    match mode {
        TimeMode::Millis => Value::Int32((micros / 1000) as i32),
        TimeMode::Micros => Value::Int64(micros),
        TimeMode::Nanos => Value::Int64(micros * 1000),
        TimeMode::Connect => Value::Date(micros / 1000),
        TimeMode::Iso => put_text(batch, |out| {
            push_clock(out, micros % DAY_MICROS, Digits::Shortest);
            out.push(b'Z');
        }),
        TimeMode::Structured(precision) => {
            let mut fields = clock_fields(micros).to_vec();
            fields.push(Value::Int32(precision));
            Value::Struct(batch.push_values(&fields))
        }
    }
}

pub(super) fn put_timestamp(batch: &mut Batch, moment: Moment, mode: TimestampMode) -> Value {
    match (mode, moment) {
        (TimestampMode::Millis, Moment::At(micros)) => Value::Int64(micros.div_euclid(1000)),
        (TimestampMode::Millis, end) => Value::Int64(end.infinite(INFINITE_MILLIS)),
        (TimestampMode::Connect, Moment::At(micros)) => Value::Date(micros.div_euclid(1000)),
        (TimestampMode::Connect, end) => Value::Date(end.infinite(INFINITE_MILLIS)),
        (TimestampMode::Micros, Moment::At(micros)) => Value::Int64(micros),
        (TimestampMode::Nanos, Moment::At(micros)) => {
            micros.checked_mul(1000).map_or(Value::Null, Value::Int64)
        }
        (TimestampMode::Micros | TimestampMode::Nanos, end) => {
            Value::Int64(end.infinite([i64::MIN, i64::MAX]))
        }
        (TimestampMode::Iso, Moment::At(micros)) => put_text(batch, |out| {
            push_date(out, micros.div_euclid(DAY_MICROS));
            out.push(b'T');
            push_clock(out, micros.rem_euclid(DAY_MICROS), Digits::Shortest);
            out.push(b'Z');
        }),
        (TimestampMode::Iso, end) => {
            literal(batch, end.infinite(["-292275055-05-16T23:00:00Z", "+292278994-08-16T23:00:00Z"]))
        }
        (TimestampMode::Structured(precision), moment) => {
            let (mut fields, special) = moment_fields(batch, moment);
            fields.extend([special, Value::Int32(precision)]);
            Value::Struct(batch.push_values(&fields))
        }
    }
}

pub(super) fn put_timestamp_tz(batch: &mut Batch, moment: Moment, mode: ZonedMode) -> Value {
    match (mode, moment) {
        (ZonedMode::Text(digits), Moment::At(micros)) => put_text(batch, |out| {
            push_date(out, micros.div_euclid(DAY_MICROS));
            out.push(b'T');
            push_clock(out, micros.rem_euclid(DAY_MICROS), Digits::Exactly(digits));
            out.push(b'Z');
        }),
        (ZonedMode::Text(_), end) => literal(batch, end.infinite(["-infinity", "infinity"])),
        (ZonedMode::Structured(precision), moment) => {
            let (mut fields, special) = moment_fields(batch, moment);
            let (offset, zone) = match moment {
                Moment::At(_) => (Value::Int32(0), literal(batch, "Z")),
                _ => (Value::Null, Value::Null),
            };
            fields.extend([offset, zone, special, Value::Int32(precision)]);
            Value::Struct(batch.push_values(&fields))
        }
    }
}

pub(super) fn put_time_tz(batch: &mut Batch, micros: i64, east: i64, mode: ZonedMode) -> Value {
    match mode {
        ZonedMode::Text(_) => put_text(batch, |out| {
            let utc = micros - east * 1_000_000;
            let utc = if utc == DAY_MICROS { utc } else { utc.rem_euclid(DAY_MICROS) };
            push_clock(out, utc, Digits::Shortest);
            out.push(b'Z');
        }),
        ZonedMode::Structured(precision) => {
            let mut fields = clock_fields(micros).to_vec();
            fields.extend([Value::Int32(east as i32), Value::Int32(precision)]);
            Value::Struct(batch.push_values(&fields))
        }
    }
}

/// Debezium's month has a twelfth of 365.25 days.
fn interval_micros(interval: Interval) -> i64 {
    let month_micros = DAY_MICROS * 36_525 / 1200;
    let months = i64::from(interval.months).wrapping_mul(month_micros);
    // beyond 290,000 years it wraps, as in Java
    months.wrapping_add(i64::from(interval.days).wrapping_mul(DAY_MICROS)).wrapping_add(interval.micros)
}

pub(super) fn put_interval(batch: &mut Batch, interval: Interval, mode: IntervalMode) -> Value {
    let Interval { months, days, micros } = interval;
    let (hours, minutes) = (micros / 3_600_000_000, micros / 60_000_000 % 60);
    let (seconds, fraction) = (micros / 1_000_000 % 60, micros % 1_000_000);
    match mode {
        IntervalMode::Micros => Value::Int64(interval_micros(interval)),
        IntervalMode::Text => put_text(batch, |out| {
            let mut number = itoa::Buffer::new();
            let parts = [
                ("P", i64::from(months / 12)),
                ("Y", i64::from(months % 12)),
                ("M", days.into()),
                ("DT", hours),
                ("H", minutes),
            ];
            for (before, part) in parts {
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(number.format(part).as_bytes());
            }
            out.push(b'M');
            if seconds == 0 && fraction < 0 {
                out.push(b'-');
            }
            out.extend_from_slice(number.format(seconds).as_bytes());
            push_fraction(out, fraction.unsigned_abs(), Digits::Shortest);
            out.push(b'S');
        }),
        IntervalMode::Structured(precision) => {
            let fields = [
                Value::Int32(months / 12),
                Value::Int32(months % 12),
                Value::Int32(days),
                Value::Int32(hours as i32),
                Value::Int32(minutes as i32),
                Value::Int64(seconds),
                Value::Int32(fraction as i32 * 1000),
                Value::Int32(precision),
            ];
            Value::Struct(batch.push_values(&fields))
        }
    }
}

fn literal(batch: &mut Batch, text: &str) -> Value {
    Value::String(batch.put_str(text))
}

fn clock_fields(micros: i64) -> [Value; 4] {
    let seconds = micros / 1_000_000;
    [
        Value::Int8((seconds / 3600) as i8),
        Value::Int8((seconds / 60 % 60) as i8),
        Value::Int8((seconds % 60) as i8),
        Value::Int32((micros % 1_000_000) as i32 * 1000),
    ]
}

/// Year to nanoseconds, and the special value.
fn moment_fields(batch: &mut Batch, moment: Moment) -> (Vec<Value>, Value) {
    match moment {
        Moment::At(micros) => {
            let (year, month, day) = civil_from_days(micros.div_euclid(DAY_MICROS));
            let mut fields =
                vec![Value::Int32(year as i32), Value::Int8(month as i8), Value::Int8(day as i8)];
            fields.extend(clock_fields(micros.rem_euclid(DAY_MICROS)));
            (fields, Value::Null)
        }
        end => (vec![Value::Null; 7], literal(batch, end.special_value())),
    }
}

fn two(out: &mut Vec<u8>, number: i64) {
    out.push(b'0' + (number / 10 % 10) as u8);
    out.push(b'0' + (number % 10) as u8);
}

/// A date as java.time prints it: four digits of a year at least, a plus sign beyond.
fn push_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if year > 9999 {
        out.push(b'+');
    } else if year < 0 {
        out.push(b'-');
    }
    let year = year.unsigned_abs();
    if year < 10_000 {
        two(out, (year / 100) as i64);
        two(out, (year % 100) as i64);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(year).as_bytes());
    }
    out.push(b'-');
    two(out, month.into());
    out.push(b'-');
    two(out, day.into());
}

fn push_clock(out: &mut Vec<u8>, micros: i64, digits: Digits) {
    let seconds = micros / 1_000_000;
    two(out, seconds / 3600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
    push_fraction(out, (micros % 1_000_000) as u64, digits);
}

fn push_fraction(out: &mut Vec<u8>, micros: u64, digits: Digits) {
    let mut text = [b'0'; 7];
    text[0] = b'.';
    let mut rest = micros;
    for place in text[1..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let length = match digits {
        Digits::Exactly(0) => 0,
        Digits::Exactly(digits) => usize::from(digits.min(6)) + 1,
        Digits::Shortest if micros == 0 => 0,
        Digits::Shortest => text.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1),
    };
    out.extend_from_slice(&text[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(batch: &Batch, value: Value) -> String {
        match value {
            Value::String(span) => batch.str(span).to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let binary = |micros| timestamp_from_binary(micros).unwrap();
        assert_eq!(timestamp_from_text("2000-01-01 00:00:00", false), Some(binary(0)));
        assert_eq!(
            timestamp_from_text("2024-02-29 01:02:03.456789", false),
            Some(Moment::At(1_709_168_523_456_789))
        );
        assert_eq!(
            timestamp_from_text("2024-02-29 01:02:03.456789+02", true),
            Some(Moment::At(1_709_161_323_456_789))
        );
        assert!(timestamp_from_text("0001-01-01 00:00:00+05:30:15 BC", true).is_some());
        assert_eq!(timestamp_from_text("infinity", true), Some(binary(i64::MAX)));
        assert_eq!(date_from_text("4713-01-01 BC"), Some(Moment::At(-2_440_550)));
        assert_eq!(date_from_text("-infinity"), Some(date_from_binary(i32::MIN)));
        assert_eq!(time_from_text("24:00:00"), Some(86_400_000_000));
        assert_eq!(time_tz_from_text("01:02:03.5-03:30"), Some((3_723_500_000, -12_600)));
        for bad in [
            "",
            "x",
            "2024",
            "2024-13-01 00:00:00",
            "2024-01-01",
            "2024-01-01 1:2",
            "2024-01-01 00:00:00.1234567",
        ] {
            assert_eq!(timestamp_from_text(bad, false), None, "{bad}");
        }
    }

    #[test]
    fn texts_are_those_of_the_jvm() {
        let mut batch = Batch::default();
        let at = timestamp_from_text("2024-02-28 23:02:03.456789", false).unwrap();
        let zoned = |batch: &mut Batch, digits| {
            let value = put_timestamp_tz(batch, at, ZonedMode::Text(digits));
            text(batch, value)
        };
        assert_eq!(zoned(&mut batch, 6), "2024-02-28T23:02:03.456789Z");
        assert_eq!(zoned(&mut batch, 3), "2024-02-28T23:02:03.456Z");
        assert_eq!(zoned(&mut batch, 0), "2024-02-28T23:02:03Z");
        let value = put_time_tz(&mut batch, 3_723_456_789, 7200, ZonedMode::Text(6));
        assert_eq!(text(&batch, value), "23:02:03.456789Z");
        let value = put_time_tz(&mut batch, 86_400_000_000, 0, ZonedMode::Text(6));
        assert_eq!(text(&batch, value), "24:00:00Z");
        let value = put_timestamp(&mut batch, Moment::At(946_684_800_000_000), TimestampMode::Iso);
        assert_eq!(text(&batch, value), "2000-01-01T00:00:00Z");
    }

    #[test]
    fn intervals() {
        let mut batch = Batch::default();
        let whole = interval_from_text("1 year 2 mons 3 days 04:05:06.78").unwrap();
        assert_eq!(whole, Interval { months: 14, days: 3, micros: 14_706_780_000 });
        assert_eq!(put_interval(&mut batch, whole, IntervalMode::Micros), Value::Int64(37_091_106_780_000));
        let mut iso = |interval: &str| {
            let value = put_interval(&mut batch, interval_from_text(interval).unwrap(), IntervalMode::Text);
            text(&batch, value)
        };
        assert_eq!(iso("1 year 2 mons 3 days 04:05:06.78"), "P1Y2M3DT4H5M6.78S");
        assert_eq!(iso("-1 days -02:03:04"), "P0Y0M-1DT-2H-3M-4S");
        assert_eq!(iso("00:00:00.000001"), "P0Y0M0DT0H0M0.000001S");
        assert_eq!(iso("-00:00:00.5"), "P0Y0M0DT0H0M-0.5S");
        assert_eq!(interval_from_text("3 parsecs"), None);
    }
}
