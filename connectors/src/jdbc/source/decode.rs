//! From PostgreSQL's binary forms to Connect's values.

use aqueduct_engine::data::{Batch, Span, Type, Value};
use chrono::DateTime;

use super::config::{Grain, Granularity};
use super::numeric::{Numeric, Unscaled};
use crate::jdbc::zone::Zone;

/// Days and microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MILLIS: i64 = 86_400_000;
const DAY_MICROS: i64 = DAY_MILLIS * 1000;
const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY_MICROS;
/// What pgjdbc makes of `infinity` and `-infinity`, in milliseconds.
const INFINITY: i64 = 9_223_372_036_825_200_000;
const MINUS_INFINITY: i64 = -9_223_372_036_832_400_000;

/// What a point in time is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Days.
    Date,
    /// Wall clock time, without a zone.
    Wall,
    /// A point in time.
    Instant,
}

/// How a column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    Boolean,
    Int16,
    Int32,
    Int64,
    Oid,
    Float32,
    Float64,
    Money,
    Text,
    Jsonb,
    Uuid,
    Bytes,
    Bit,
    ShortBits,
    Bits,
    Date,
    Time(Zone),
    TimeTz,
    Timestamp { moment: Moment, granularity: Granularity, zone: Zone },
    Decimal(i32),
    NumericInteger(Type),
    NumericDouble,
}

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("its bytes are not of its type")]
    Malformed,
    #[error("it holds NaN or an infinity, which Connect's Decimal and integers have not")]
    NotANumber,
    #[error(
        "a number has digits behind the point or is too large for the integer that numeric.mapping makes of it; declare precision and scale, or set numeric.mapping=none"
    )]
    NotWhole,
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable::Malformed)
}

impl Decoder {
    /// The value of a column's bytes, which lie at `span` of the batch.
    #[inline]
    pub(super) fn decode(&self, batch: &mut Batch, bytes: &[u8], span: Span) -> Result<Value, Unreadable> {
        Ok(match *self {
            Decoder::Boolean => Value::Boolean(array::<1>(bytes)? != [0]),
            Decoder::Int16 => Value::Int16(i16::from_be_bytes(array(bytes)?)),
            Decoder::Int32 => Value::Int32(i32::from_be_bytes(array(bytes)?)),
            Decoder::Int64 => Value::Int64(i64::from_be_bytes(array(bytes)?)),
            Decoder::Oid => Value::Int64(u32::from_be_bytes(array(bytes)?).into()),
            Decoder::Float32 => Value::Float32(f32::from_be_bytes(array(bytes)?)),
            Decoder::Float64 => Value::Float64(f64::from_be_bytes(array(bytes)?)),
            Decoder::Money => Value::Float64(i64::from_be_bytes(array(bytes)?) as f64 / 100.0),
            Decoder::Text => text(bytes, span)?,
            Decoder::Jsonb => {
                let rest = bytes.get(1..).ok_or(Unreadable::Malformed)?;
                text(rest, Span { offset: span.offset + 1, len: span.len - 1, ..span })?
            }
            Decoder::Uuid => {
                let id = uuid::Uuid::from_bytes(array(bytes)?);
                let mut form = uuid::Uuid::encode_buffer();
                Value::String(batch.put_str(id.hyphenated().encode_lower(&mut form)))
            }
            Decoder::Bytes => Value::Bytes(span),
            Decoder::Bit => Value::Boolean(bits(bytes)?.1.first().is_some_and(|byte| byte & 0x80 != 0)),
            Decoder::ShortBits | Decoder::Bits => return self.bits(batch, bytes),
            Decoder::Date => Value::Date(match i32::from_be_bytes(array(bytes)?) {
                i32::MAX => INFINITY,
                i32::MIN => MINUS_INFINITY,
                days => (i64::from(days) + EPOCH_DAYS) * DAY_MILLIS,
            }),
            Decoder::Time(zone) => {
                let micros = i64::from_be_bytes(array(bytes)?);
                Value::Date(zone.instant(micros).rem_euclid(DAY_MICROS) / 1000)
            }
            Decoder::TimeTz => {
                let (micros, west) = bytes.split_first_chunk::<8>().ok_or(Unreadable::Malformed)?;
                let west = i64::from(i32::from_be_bytes(array(west)?));
                let micros = i64::from_be_bytes(*micros).saturating_add(west.saturating_mul(1_000_000));
                Value::Date(micros.rem_euclid(DAY_MICROS) / 1000)
            }
            Decoder::Timestamp { moment, granularity, zone } => {
                let micros = instant(bytes, moment, zone)?;
                return Ok(timestamp(batch, micros, granularity, zone));
            }
            Decoder::Decimal(scale) => {
                let number = Numeric::read(bytes).ok_or(Unreadable::NotANumber)?;
                let unscaled = unscaled(batch, &number.unscaled(scale));
                Value::Decimal(batch.push_values(&[unscaled, Value::Int32(scale)]))
            }
            Decoder::NumericInteger(kind) => {
                let number = Numeric::read(bytes).ok_or(Unreadable::NotANumber)?;
                let whole = number.whole().ok_or(Unreadable::NotWhole)?;
                return integer(whole, kind).ok_or(Unreadable::NotWhole);
            }
            Decoder::NumericDouble => match Numeric::read(bytes) {
                Some(number) => Value::Float64(number.double().ok_or(Unreadable::Malformed)?),
                None => Value::Float64(f64::NAN),
            },
        })
    }

    /// Bits as text: of eight at most the number that this text would be in decimal, as pgjdbc reads it; of more the text.
    fn bits(&self, batch: &mut Batch, bytes: &[u8]) -> Result<Value, Unreadable> {
        let (count, bytes) = bits(bytes)?;
        let digit = |at: usize| b'0' + (bytes.get(at / 8).copied().unwrap_or_default() >> (7 - at % 8) & 1);
        if *self == Decoder::ShortBits {
            let number = (0..count)
                .fold(0_i64, |number, at| (number * 10).saturating_add(i64::from(digit(at) - b'0')));
            return i8::try_from(number).map(Value::Int8).map_err(|_| Unreadable::NotWhole);
        }
        let start = batch.arena.len() as u32;
        batch.arena.extend((0..count).map(digit));
        Ok(Value::Bytes(Span { segment: 0, offset: start, len: count as u32 }))
    }
}

/// How many bits, and their bytes.
fn bits(bytes: &[u8]) -> Result<(usize, &[u8]), Unreadable> {
    let (count, bits) = bytes.split_first_chunk::<4>().ok_or(Unreadable::Malformed)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| Unreadable::Malformed)?;
    if bits.len() != count.div_ceil(8) {
        return Err(Unreadable::Malformed);
    }
    Ok((count, bits))
}

fn text(bytes: &[u8], span: Span) -> Result<Value, Unreadable> {
    std::str::from_utf8(bytes).map(|_| Value::String(span)).map_err(|_| Unreadable::Malformed)
}

fn integer(number: i64, kind: Type) -> Option<Value> {
    Some(match kind {
        Type::Int8 => Value::Int8(number.try_into().ok()?),
        Type::Int16 => Value::Int16(number.try_into().ok()?),
        Type::Int32 => Value::Int32(number.try_into().ok()?),
        _ => Value::Int64(number),
    })
}

/// The shortest two's complement.
fn unscaled(batch: &mut Batch, number: &Unscaled) -> Value {
    Value::Bytes(match number {
        Unscaled::Small(number) => {
            let bytes = number.to_be_bytes();
            let sign = if *number < 0 { 0xFF } else { 0 };
            let redundant =
                bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0).count();
            batch.put_bytes(&bytes[redundant..])
        }
        Unscaled::Large(number) => batch.put_bytes(&number.to_signed_bytes_be()),
    })
}

/// Microseconds since 1970 of a column of time; the ends of 64 bits are the infinities.
pub(super) fn instant(bytes: &[u8], moment: Moment, zone: Zone) -> Result<i64, Unreadable> {
    let micros = match moment {
        Moment::Date => (i64::from(i32::from_be_bytes(array(bytes)?)) + EPOCH_DAYS) * DAY_MICROS,
        Moment::Wall | Moment::Instant => match i64::from_be_bytes(array(bytes)?) {
            end @ (i64::MIN | i64::MAX) => return Ok(end),
            micros => micros.saturating_add(EPOCH_MICROS),
        },
    };
    Ok(if moment == Moment::Instant { micros } else { zone.instant(micros) })
}

fn timestamp(batch: &mut Batch, micros: i64, granularity: Granularity, zone: Zone) -> Value {
    let count = |grain: Grain| match grain {
        Grain::Micros => micros,
        Grain::Nanos => micros.saturating_mul(1000),
    };
    match granularity {
        Granularity::Logical => Value::Date(match micros {
            i64::MAX => INFINITY,
            i64::MIN => MINUS_INFINITY,
            micros => micros.div_euclid(1000),
        }),
        Granularity::Long(grain) => Value::Int64(count(grain)),
        Granularity::Text(grain) => {
            let mut text = itoa::Buffer::new();
            Value::String(batch.put_str(text.format(count(grain))))
        }
        Granularity::Iso(grain) => {
            let format = match grain {
                Grain::Micros => "%Y-%m-%dT%H:%M:%S%.6f",
                Grain::Nanos => "%Y-%m-%dT%H:%M:%S%.9f",
            };
            let text = DateTime::from_timestamp_micros(zone.wall(micros))
                .map(|moment| moment.format(format).to_string())
                .unwrap_or_default();
            Value::String(batch.put_str(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let mut batch = Batch::default();
        let micros = 1_234_567_i64.to_be_bytes();
        let mut read =
            |decoder: Decoder, bytes: &[u8]| decoder.decode(&mut batch, bytes, Span::default()).unwrap();
        let stamp = |moment, granularity, zone| Decoder::Timestamp { moment, granularity, zone };
        let east = Zone::Fixed(3600);
        assert_eq!(
            read(stamp(Moment::Instant, Granularity::Logical, east), &micros),
            Value::Date(946_684_801_234)
        );
        assert_eq!(
            read(stamp(Moment::Wall, Granularity::Long(Grain::Nanos), east), &micros),
            Value::Int64((946_684_801_234_567 - 3_600_000_000) * 1000)
        );
        let Value::String(iso) = read(stamp(Moment::Wall, Granularity::Iso(Grain::Micros), east), &micros)
        else {
            panic!()
        };
        assert_eq!(read(Decoder::Date, &1_i32.to_be_bytes()), Value::Date(10_958 * DAY_MILLIS));
        assert_eq!(read(Decoder::Time(Zone::Utc), &micros), Value::Date(1234));
        let mut zoned = micros.to_vec();
        zoned.extend_from_slice(&(-3600_i32).to_be_bytes());
        assert_eq!(read(Decoder::TimeTz, &zoned), Value::Date(DAY_MILLIS - 3_600_000 + 1234));
        assert_eq!(
            read(stamp(Moment::Wall, Granularity::Logical, Zone::Utc), &i64::MAX.to_be_bytes()),
            Value::Date(INFINITY)
        );
        assert_eq!(batch.str(iso), "2000-01-01T00:00:01.234567");
    }

    #[test]
    fn bits_and_hostile_bytes() {
        let mut batch = Batch::default();
        let mut read = |decoder: Decoder, bytes: &[u8]| decoder.decode(&mut batch, bytes, Span::default());
        assert_eq!(read(Decoder::Bit, &[0, 0, 0, 1, 0x80]), Ok(Value::Boolean(true)));
        assert_eq!(read(Decoder::ShortBits, &[0, 0, 0, 3, 0xA0]), Ok(Value::Int8(101)));
        for (decoder, bytes) in [
            (Decoder::Int32, &[0_u8, 1][..]),
            (Decoder::Bits, &[0, 0, 0, 9, 1]),
            (Decoder::Bits, &[0xFF, 0xFF, 0xFF, 0xFF]),
            (Decoder::Text, &[0xFF]),
            (Decoder::Jsonb, &[]),
            (Decoder::Uuid, &[1]),
            (Decoder::Decimal(2), &[0, 1]),
            (Decoder::TimeTz, &[0; 9]),
        ] {
            assert!(read(decoder, bytes).is_err(), "{decoder:?}");
        }
    }
}
