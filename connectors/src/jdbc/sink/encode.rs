//! From Connect's values to PostgreSQL's binary forms.

use std::fmt::Write as _;

use aqueduct_engine::data::{Batch, DATE, DECIMAL, Schema, TIME, TIMESTAMP, Type, Value, decimal_string};
use chrono::DateTime;

use super::numeric;
use crate::jdbc::zone::Zone;

/// Days and microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// `jsonb`'s only version.
const JSONB_VERSION: u8 = 1;

/// What a number of time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Days,
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    fn micros(self, number: i64) -> Option<i64> {
        match self {
            Unit::Days => number.checked_mul(DAY),
            Unit::Millis => number.checked_mul(1000),
            Unit::Micros => Some(number),
            Unit::Nanos => Some(number.div_euclid(1000)),
        }
    }
}

/// What a field means, beyond its physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Its type says it all.
    Plain(Type),
    Decimal,
    /// `io.debezium.data.VariableScaleDecimal`.
    VariableDecimal,
    Date(Unit),
    /// Of a day.
    Time(Unit),
    /// A point in time.
    Instant(Unit),
    /// Wall clock time without a zone, counted as if it were UTC.
    Wall(Unit),
}

impl Meaning {
    /// Of a schema: Connect's logical types, and Debezium's.
    pub(super) fn of(schema: &Schema) -> Meaning {
        let plain = Meaning::Plain(schema.kind);
        match (schema.name.as_deref().unwrap_or_default(), schema.kind) {
            (DECIMAL, Type::Bytes) => Meaning::Decimal,
            (DATE, Type::Int32) | ("io.debezium.time.Date", Type::Int32) => Meaning::Date(Unit::Days),
            (TIME, Type::Int32) | ("io.debezium.time.Time", Type::Int32) => Meaning::Time(Unit::Millis),
            ("io.debezium.time.MicroTime", Type::Int64) => Meaning::Time(Unit::Micros),
            ("io.debezium.time.NanoTime", Type::Int64) => Meaning::Time(Unit::Nanos),
            (TIMESTAMP, Type::Int64) => Meaning::Instant(Unit::Millis),
            ("io.debezium.time.Timestamp", Type::Int64) => Meaning::Wall(Unit::Millis),
            ("io.debezium.time.MicroTimestamp", Type::Int64) => Meaning::Wall(Unit::Micros),
            ("io.debezium.time.NanoTimestamp", Type::Int64) => Meaning::Wall(Unit::Nanos),
            ("io.debezium.data.VariableScaleDecimal", Type::Struct) => Meaning::VariableDecimal,
            _ => plain,
        }
    }
}

/// Which binary form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// The text form of an array.
    ArrayText,
}

/// Why a value cannot be written; never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("a value of {0} cannot be written to it")]
    Type(&'static str),
    #[error("the value is out of its range")]
    Range,
    #[error("the text is no uuid")]
    Uuid,
}

/// Writes the values of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoder {
    pub(super) meaning: Meaning,
    pub(super) target: Target,
    /// Of wall clock times.
    pub(super) zone: Zone,
    /// Of dates.
    pub(super) date_zone: Zone,
}

impl Encoder {
    /// Appends the bytes of a value that is not null.
    pub(super) fn encode(&self, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let wrong = Mismatch::Type(value.java_class());
        match self.target {
            Target::Bool => match value {
                Value::Boolean(value) => out.push(u8::from(value)),
                _ => return Err(wrong),
            },
            Target::Int2 => {
                out.extend_from_slice(&ranged::<i16>(whole(value).ok_or(wrong)?)?.to_be_bytes());
            }
            Target::Int4 => {
                out.extend_from_slice(&ranged::<i32>(whole(value).ok_or(wrong)?)?.to_be_bytes());
            }
            Target::Oid => out.extend_from_slice(&ranged::<u32>(whole(value).ok_or(wrong)?)?.to_be_bytes()),
            Target::Int8 => out.extend_from_slice(&whole(value).ok_or(wrong)?.to_be_bytes()),
            Target::Float4 => out.extend_from_slice(&(float(value).ok_or(wrong)? as f32).to_be_bytes()),
            Target::Float8 => out.extend_from_slice(&float(value).ok_or(wrong)?.to_be_bytes()),
            Target::Numeric => self.numeric(batch, value, out)?,
            Target::Text => self.text(batch, value, out)?,
            Target::ArrayText => array(batch, value, out)?,
            Target::Jsonb => {
                out.push(JSONB_VERSION);
                self.text(batch, value, out)?;
            }
            Target::Uuid => match value {
                Value::String(span) => out.extend_from_slice(&uuid(batch.bytes(span))?),
                _ => return Err(wrong),
            },
            Target::Bytea => match value {
                Value::Bytes(span) => out.extend_from_slice(batch.bytes(span)),
                _ => return Err(wrong),
            },
            Target::Date => {
                let days = self.local_micros(value)?.div_euclid(DAY) - EPOCH_DAYS;
                out.extend_from_slice(&ranged::<i32>(days)?.to_be_bytes());
            }
            Target::Time => {
                let micros = self.local_micros(value)?;
                // the end of the day is a time of its own
                let time = if micros == DAY { DAY } else { micros.rem_euclid(DAY) };
                out.extend_from_slice(&time.to_be_bytes());
            }
            Target::Timestamp => {
                let micros = self.local_micros(value)?.checked_sub(EPOCH_MICROS).ok_or(Mismatch::Range)?;
                out.extend_from_slice(&micros.to_be_bytes());
            }
            Target::TimestampTz => {
                let micros = self.micros(value)?.checked_sub(EPOCH_MICROS).ok_or(Mismatch::Range)?;
                out.extend_from_slice(&micros.to_be_bytes());
            }
        }
        Ok(())
    }

    /// Microseconds since 1970, or of the day.
    fn micros(&self, value: Value) -> Result<i64, Mismatch> {
        let (unit, number) = match (self.meaning, value) {
            // Connect's own logical types are dates in memory
            (_, Value::Date(ms)) => (Unit::Millis, ms),
            (
                Meaning::Date(unit) | Meaning::Time(unit) | Meaning::Instant(unit) | Meaning::Wall(unit),
                value,
            ) => (unit, whole(value).ok_or(Mismatch::Type(value.java_class()))?),
            (Meaning::Plain(_) | Meaning::Decimal | Meaning::VariableDecimal, value) => {
                return Err(Mismatch::Type(value.java_class()));
            }
        };
        unit.micros(number).ok_or(Mismatch::Range)
    }

    /// The same on the wall clock of the configured zone.
    fn local_micros(&self, value: Value) -> Result<i64, Mismatch> {
        let micros = self.micros(value)?;
        Ok(match (self.meaning, value) {
            (Meaning::Date(_), Value::Date(_)) => self.date_zone.wall(micros),
            (Meaning::Instant(_), _) | (Meaning::Time(_), Value::Date(_)) => self.zone.wall(micros),
            _ => micros,
        })
    }

    fn numeric(&self, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let wrong = Mismatch::Type(value.java_class());
        let written = match value {
            Value::Decimal(range) => {
                let (unscaled, scale) = batch.decimal(range);
                numeric::put_decimal(unscaled, scale, out)
            }
            Value::Struct(range) => match batch.items(range) {
                [Value::Int32(scale), Value::Bytes(unscaled)] => {
                    numeric::put_decimal(batch.bytes(*unscaled), *scale, out)
                }
                _ => return Err(wrong),
            },
            value => numeric::put_integer(whole(value).ok_or(wrong)?.into(), 0, out),
        };
        written.ok_or(Mismatch::Range)
    }

    /// The text form, as PostgreSQL reads it.
    fn text(&self, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        match (self.meaning, value) {
            (_, Value::String(span)) => out.extend_from_slice(batch.bytes(span)),
            (_, Value::Date(_))
            | (Meaning::Date(_) | Meaning::Time(_) | Meaning::Instant(_) | Meaning::Wall(_), _) => {
                self.temporal_text(value, out)?;
            }
            (_, Value::Decimal(range)) => {
                let (unscaled, scale) = batch.decimal(range);
                out.extend_from_slice(decimal_string(unscaled, scale).as_bytes());
            }
            (_, value) => plain_text(value, out)?,
        }
        Ok(())
    }

    fn temporal_text(&self, value: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let moment = DateTime::from_timestamp_micros(self.local_micros(value)?).ok_or(Mismatch::Range)?;
        let format = match self.meaning {
            Meaning::Date(_) => "%Y-%m-%d",
            Meaning::Time(_) => "%H:%M:%S%.f",
            _ => "%Y-%m-%d %H:%M:%S%.f",
        };
        let mut text = String::new();
        write!(text, "{}", moment.format(format)).map_err(|_| Mismatch::Range)?;
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn plain_text(value: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    match value {
        Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Float32(value) => float_text(f64::from(value), &value.to_string(), out),
        Value::Float64(value) => float_text(value, &value.to_string(), out),
        value => {
            let number = whole(value).ok_or(Mismatch::Type(value.java_class()))?;
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
    }
    Ok(())
}

fn float_text(value: f64, text: &str, out: &mut Vec<u8>) {
    let text = match value {
        value if value == f64::INFINITY => "Infinity",
        value if value == f64::NEG_INFINITY => "-Infinity",
        _ => text,
    };
    out.extend_from_slice(text.as_bytes());
}

/// `{1,NULL,"a\"b"}`: an array of values without parts.
fn array(batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let Value::Array(range) = value else { return Err(Mismatch::Type(value.java_class())) };
    out.push(b'{');
    for (index, item) in batch.items(range).iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match *item {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::String(span) => {
                out.push(b'"');
                for byte in batch.bytes(span) {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
                out.push(b'"');
            }
            item => plain_text(item, out)?,
        }
    }
    out.push(b'}');
    Ok(())
}

/// Any integer.
const fn whole(value: Value) -> Option<i64> {
    match value {
        Value::Int8(value) => Some(value as i64),
        Value::Int16(value) => Some(value as i64),
        Value::Int32(value) => Some(value as i64),
        Value::Int64(value) => Some(value),
        _ => None,
    }
}

fn float(value: Value) -> Option<f64> {
    match value {
        Value::Float32(value) => Some(f64::from(value)),
        Value::Float64(value) => Some(value),
        value => whole(value).map(|number| number as f64),
    }
}

fn ranged<T: TryFrom<i64>>(number: i64) -> Result<T, Mismatch> {
    T::try_from(number).map_err(|_| Mismatch::Range)
}

/// 32 hexadecimal digits; hyphens and braces as PostgreSQL takes them.
fn uuid(text: &[u8]) -> Result<[u8; 16], Mismatch> {
    let mut bytes = [0; 16];
    let mut count = 0;
    for byte in text.iter().filter(|byte| !matches!(byte, b'-' | b'{' | b'}')) {
        let digit = char::from(*byte).to_digit(16).ok_or(Mismatch::Uuid)? as u8;
        let place = bytes.get_mut(count / 2).ok_or(Mismatch::Uuid)?;
        *place = *place << 4 | digit;
        count += 1;
    }
    (count == 32).then_some(bytes).ok_or(Mismatch::Uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(meaning: Meaning, target: Target, zone: Zone, value: Value) -> Result<Vec<u8>, Mismatch> {
        let mut out = Vec::new();
        Encoder { meaning, target, zone, date_zone: zone }.encode(&Batch::default(), value, &mut out)?;
        Ok(out)
    }

    #[test]
    fn numbers_keep_their_range() {
        let plain = Meaning::Plain(Type::Int64);
        let put = |target, value| encoded(plain, target, Zone::Utc, value);
        assert_eq!(put(Target::Int2, Value::Int64(-2)), Ok(vec![0xFF, 0xFE]));
        assert_eq!(put(Target::Int2, Value::Int64(70_000)), Err(Mismatch::Range));
        assert_eq!(put(Target::Int4, Value::Int8(1)), Ok(vec![0, 0, 0, 1]));
        assert_eq!(put(Target::Float8, Value::Int32(1)), Ok(1f64.to_be_bytes().to_vec()));
        assert_eq!(put(Target::Numeric, Value::Int32(7)), Ok(vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 7]));
        assert_eq!(put(Target::Text, Value::Float64(f64::INFINITY)), Ok(b"Infinity".to_vec()));
        assert_eq!(put(Target::Text, Value::Int32(-5)), Ok(b"-5".to_vec()));
        assert_eq!(put(Target::Bool, Value::Int8(1)), Err(Mismatch::Type("java.lang.Byte")));
    }

    #[test]
    fn times_are_moved_to_the_zone_only_where_they_are_instants() {
        let east = Zone::Fixed(7200);
        let at = |micros: i64| Ok(micros.to_be_bytes().to_vec());
        let ms = 946_684_800_000; // 2000-01-01
        let put = |meaning, target, value| encoded(meaning, target, east, value);
        assert_eq!(
            put(Meaning::Instant(Unit::Millis), Target::Timestamp, Value::Date(ms)),
            at(7_200_000_000)
        );
        assert_eq!(put(Meaning::Instant(Unit::Millis), Target::TimestampTz, Value::Date(ms)), at(0));
        assert_eq!(put(Meaning::Wall(Unit::Micros), Target::Timestamp, Value::Int64(ms * 1000 + 5)), at(5));
        assert_eq!(put(Meaning::Date(Unit::Days), Target::Date, Value::Int32(10_958)), Ok(vec![0, 0, 0, 1]));
        assert_eq!(put(Meaning::Time(Unit::Nanos), Target::Time, Value::Int64(1_234_567)), at(1234));
        assert_eq!(
            put(Meaning::Instant(Unit::Millis), Target::Text, Value::Date(ms + 5)),
            Ok(b"2000-01-01 02:00:00.005".to_vec())
        );
        assert_eq!(
            put(Meaning::Wall(Unit::Nanos), Target::Text, Value::Int64(ms * 1_000_000)),
            Ok(b"2000-01-01 00:00:00".to_vec())
        );
    }

    #[test]
    fn uuids_and_arrays() {
        assert_eq!(uuid(b"{00112233-4455-6677-8899-aabbccddeeff}").unwrap()[15], 0xFF);
        assert_eq!(uuid(b"0011"), Err(Mismatch::Uuid));
        assert_eq!(uuid(&[b'0'; 40]), Err(Mismatch::Uuid));
        let mut batch = Batch::default();
        let text = Value::String(batch.put_str("a\"b\\"));
        let range = batch.push_values(&[text, Value::Null, Value::Int32(1), Value::Boolean(true)]);
        let mut out = Vec::new();
        array(&batch, Value::Array(range), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a\"b\\",NULL,1,true}"#);
    }
}
