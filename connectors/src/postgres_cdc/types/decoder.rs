//! From a column's bytes, in either of PostgreSQL's forms, to a value.

use aqueduct_engine::data::{Batch, Span, Value};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use super::geometry::{self, Shape};
use super::network;
use super::numeric::{DecimalMode, Numeric, put_integer};
use super::range::{Bound, range_text, tsvector_text};
use super::reader::Reader;
use super::temporal::{self as time, DateMode, IntervalMode, TimeMode, TimestampMode, ZonedMode};
use super::text::{array_elements, hstore_entries, push_hex, put_bytes, put_text, read_hex};

/// Which of PostgreSQL's forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

/// A column's bytes, and where they are in the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) format: Format,
    pub(crate) bytes: &'a [u8],
    pub(crate) span: Span,
}

/// `binary.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryMode {
    Bytes,
    Base64,
    Base64UrlSafe,
    Hex,
}

/// How a type is read and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoder {
    Boolean,
    Int16,
    Int32,
    Int64,
    /// Unsigned, 32 bits.
    Oid,
    Float32,
    Float64,
    /// Text in both forms.
    Text,
    /// Text behind one byte of version in the binary form.
    VersionedText,
    Uuid,
    Bytea(BinaryMode),
    /// `bit(1)`.
    Bit,
    /// Padded to the declared length, or not (`varbit`).
    Bits {
        padded: bool,
    },
    Numeric(DecimalMode),
    /// `fraction` digits behind the point.
    Money {
        mode: DecimalMode,
        fraction: i32,
    },
    Date(DateMode),
    Time(TimeMode),
    TimeTz(ZonedMode),
    Timestamp(TimestampMode),
    TimestampTz(ZonedMode),
    Interval(IntervalMode),
    Address {
        always_mask: bool,
    },
    Mac,
    Range(Bound),
    TsVector,
    HStoreJson,
    HStoreMap,
    Geometry(Shape),
    /// pgvector's `vector`.
    DoubleVector,
    /// pgvector's `halfvec`.
    FloatVector,
    Array(Box<Decoder>),
    /// A type that nothing is known of: its bytes.
    Unknown(BinaryMode),
}

impl Decoder {
    /// The value, `None` if the bytes are not of the type.
    pub(super) fn decode(&self, batch: &mut Batch, cell: Cell<'_>) -> Option<Value> {
        match cell.format {
            Format::Binary => self.binary(batch, cell),
            Format::Text => self.text(batch, cell),
        }
    }

    fn binary(&self, batch: &mut Batch, cell: Cell<'_>) -> Option<Value> {
        let mut reader = Reader(cell.bytes);
        let value = match self {
            Decoder::Boolean => Value::Boolean(reader.u8()? != 0),
            Decoder::Int16 => Value::Int16(reader.u16()? as i16),
            Decoder::Int32 => Value::Int32(reader.i32()?),
            Decoder::Int64 => Value::Int64(reader.i64()?),
            Decoder::Oid => Value::Int64(i64::from(reader.i32()? as u32)),
            Decoder::Float32 => Value::Float32(reader.f32()?),
            Decoder::Float64 => Value::Float64(reader.f64()?),
            Decoder::Text => return checked_text(cell),
            Decoder::VersionedText => {
                reader.u8()?;
                return checked_text(tail(cell, 1));
            }
            Decoder::Uuid => return uuid(batch, cell.bytes),
            Decoder::Bytea(mode) | Decoder::Unknown(mode) => {
                return Some(binary_value(batch, cell.bytes, Some(cell.span), *mode));
            }
            Decoder::Bit | Decoder::Bits { .. } => {
                let bits =
                    usize::try_from(reader.i32()?).ok().filter(|bits| bits.div_ceil(8) <= reader.0.len())?;
                return self.bits(batch, bits, |index| {
                    reader.0.get(index / 8).map(|byte| byte >> (7 - index % 8) & 1)
                });
            }
            Decoder::Numeric(mode) => return Some(Numeric::from_binary(cell.bytes)?.put(batch, *mode)),
            Decoder::Money { mode, fraction } => return money(batch, reader.i64()?, *mode, *fraction),
            Decoder::Date(mode) => time::put_date(batch, time::date_from_binary(reader.i32()?), *mode),
            Decoder::Time(mode) => time::put_time(batch, time::of_day(reader.i64()?)?, *mode),
            Decoder::TimeTz(mode) => {
                let (micros, west) = (reader.i64()?, reader.i32()?);
                time::put_time_tz(batch, time::of_day(micros)?, time::of_zone(-i64::from(west))?, *mode)
            }
            Decoder::Timestamp(mode) => {
                time::put_timestamp(batch, time::timestamp_from_binary(reader.i64()?)?, *mode)
            }
            Decoder::TimestampTz(mode) => {
                time::put_timestamp_tz(batch, time::timestamp_from_binary(reader.i64()?)?, *mode)
            }
            Decoder::Interval(mode) => {
                let (micros, days, months) = (reader.i64()?, reader.i32()?, reader.i32()?);
                time::put_interval(batch, time::Interval { months, days, micros }, *mode)
            }
            Decoder::Address { always_mask } => {
                text_value(batch, &network::address(cell.bytes, *always_mask)?)
            }
            Decoder::Mac => text_value(batch, &network::mac(cell.bytes)?),
            Decoder::Range(bound) => text_value(batch, &range_text(cell.bytes, *bound)?),
            Decoder::TsVector => text_value(batch, &tsvector_text(cell.bytes)?),
            Decoder::HStoreJson | Decoder::HStoreMap => {
                let mut entries = Vec::new();
                for _ in 0..reader.i32()? {
                    let key = std::str::from_utf8(reader.sized()??).ok()?.to_owned();
                    let value = reader.sized()?.map(|value| std::str::from_utf8(value).map(str::to_owned));
                    entries.push((key, value.transpose().ok()?));
                }
                self.hstore(batch, &entries)
            }
            Decoder::Geometry(shape) => return geometry::from_binary(batch, *shape, cell.bytes),
            Decoder::DoubleVector | Decoder::FloatVector => {
                let count = reader.u16()?;
                reader.u16()?;
                let numbers = (0..count).map(|_| match self {
                    Decoder::FloatVector => reader.u16().map(half).map(Value::Float32),
                    _ => reader.f32().map(|number| Value::Float64(number.into())),
                });
                let numbers = numbers.collect::<Option<Vec<Value>>>()?;
                Value::Array(batch.push_values(&numbers))
            }
            Decoder::Array(element) => return binary_array(batch, cell, element),
        };
        Some(value)
    }

    fn text(&self, batch: &mut Batch, cell: Cell<'_>) -> Option<Value> {
        let text = std::str::from_utf8(cell.bytes).ok()?;
        let value = match self {
            Decoder::Boolean => match text {
                "t" | "true" => Value::Boolean(true),
                "f" | "false" => Value::Boolean(false),
                _ => return None,
            },
            Decoder::Int16 => Value::Int16(text.parse().ok()?),
            Decoder::Int32 => Value::Int32(text.parse().ok()?),
            Decoder::Int64 => Value::Int64(text.parse().ok()?),
            Decoder::Oid => Value::Int64(i64::from(text.parse::<u32>().ok()?)),
            Decoder::Float32 => Value::Float32(text.parse().ok()?),
            Decoder::Float64 => Value::Float64(text.parse().ok()?),
            // these keep the server's text
            Decoder::Text
            | Decoder::VersionedText
            | Decoder::Uuid
            | Decoder::Address { .. }
            | Decoder::Mac
            | Decoder::Range(_)
            | Decoder::TsVector => Value::String(cell.span),
            Decoder::Bytea(mode) => {
                let mut bytes = Vec::with_capacity(text.len() / 2);
                read_hex(text.strip_prefix("\\x")?.as_bytes(), &mut bytes)?;
                binary_value(batch, &bytes, None, *mode)
            }
            Decoder::Unknown(mode) => binary_value(batch, cell.bytes, Some(cell.span), *mode),
            Decoder::Bit | Decoder::Bits { .. } => {
                let bit = |index: usize| match cell.bytes.get(index) {
                    Some(b'0') => Some(0),
                    Some(b'1') => Some(1),
                    _ => None,
                };
                return self.bits(batch, cell.bytes.len(), bit);
            }
            Decoder::Numeric(mode) => Numeric::from_text(text)?.put(batch, *mode),
            Decoder::Money { mode, fraction } => return money(batch, money_units(text)?, *mode, *fraction),
            Decoder::Date(mode) => time::put_date(batch, time::date_from_text(text)?, *mode),
            Decoder::Time(mode) => time::put_time(batch, time::of_day(time::time_from_text(text)?)?, *mode),
            Decoder::TimeTz(mode) => {
                let (micros, east) = time::time_tz_from_text(text)?;
                time::put_time_tz(batch, micros, east, *mode)
            }
            Decoder::Timestamp(mode) => {
                time::put_timestamp(batch, time::timestamp_from_text(text, false)?, *mode)
            }
            Decoder::TimestampTz(mode) => {
                time::put_timestamp_tz(batch, time::timestamp_from_text(text, true)?, *mode)
            }
            Decoder::Interval(mode) => time::put_interval(batch, time::interval_from_text(text)?, *mode),
            Decoder::HStoreJson | Decoder::HStoreMap => self.hstore(batch, &hstore_entries(text)?),
            Decoder::Geometry(shape) => return geometry::from_text(batch, *shape, text),
            Decoder::DoubleVector | Decoder::FloatVector => {
                let inner = text.strip_prefix('[')?.strip_suffix(']')?;
                let numbers: Option<Vec<Value>> = inner
                    .split(',')
                    .map(|number| match self {
                        Decoder::FloatVector => number.parse().ok().map(Value::Float32),
                        _ => number.parse().ok().map(Value::Float64),
                    })
                    .collect();
                Value::Array(batch.push_values(&numbers?))
            }
            Decoder::Array(element) => {
                let mut values = Vec::new();
                for text in array_elements(text)? {
                    values.push(match text {
                        None => Value::Null,
                        Some(text) => {
                            let span = batch.put_str(&text);
                            element
                                .text(batch, Cell { format: Format::Text, bytes: text.as_bytes(), span })?
                        }
                    });
                }
                Value::Array(batch.push_values(&values))
            }
        };
        Some(value)
    }

    /// Little-endian bytes: the last bit is bit 0 of the first byte.
    fn bits(&self, batch: &mut Batch, count: usize, bit: impl Fn(usize) -> Option<u8>) -> Option<Value> {
        if *self == Decoder::Bit {
            return Some(Value::Boolean(bit(0)? == 1));
        }
        let mut bytes = vec![0_u8; count.div_ceil(8)];
        for index in 0..count {
            let place = count - 1 - index;
            *bytes.get_mut(place / 8)? |= bit(index)? << (place % 8);
        }
        if *self == (Decoder::Bits { padded: false }) {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
        }
        Some(Value::Bytes(batch.put_bytes(&bytes)))
    }

    fn hstore(&self, batch: &mut Batch, entries: &[(String, Option<String>)]) -> Value {
        if *self == Decoder::HStoreMap {
            let mut values = Vec::with_capacity(entries.len() * 2);
            for (key, value) in entries {
                values.push(text_value(batch, key));
                values.push(value.as_ref().map_or(Value::Null, |value| text_value(batch, value)));
            }
            let mut range = batch.push_values(&values);
            range.len /= 2;
            return Value::Map(range);
        }
        let json: serde_json::Map<String, serde_json::Value> =
            entries.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        text_value(batch, &serde_json::Value::Object(json).to_string())
    }
}

fn text_value(batch: &mut Batch, text: &str) -> Value {
    Value::String(batch.put_str(text))
}

fn checked_text(cell: Cell<'_>) -> Option<Value> {
    std::str::from_utf8(cell.bytes).ok().map(|_| Value::String(cell.span))
}

fn tail(cell: Cell<'_>, from: usize) -> Cell<'_> {
    let bytes = cell.bytes.get(from..).unwrap_or_default();
    Cell {
        bytes,
        span: Span { offset: cell.span.offset + from as u32, len: bytes.len() as u32, ..cell.span },
        ..cell
    }
}

fn uuid(batch: &mut Batch, bytes: &[u8]) -> Option<Value> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    Some(put_text(batch, |out| {
        for (part, length) in [(0, 4), (4, 2), (6, 2), (8, 2), (10, 6)] {
            if part > 0 {
                out.push(b'-');
            }
            push_hex(out, &bytes[part..part + length]);
        }
    }))
}

/// Bytes as `binary.handling.mode` says; where they are in the batch already, they stay there.
pub(super) fn binary_value(batch: &mut Batch, bytes: &[u8], span: Option<Span>, mode: BinaryMode) -> Value {
    match mode {
        BinaryMode::Bytes => Value::Bytes(span.unwrap_or_else(|| batch.put_bytes(bytes))),
        BinaryMode::Base64 => text_value(batch, &BASE64_STANDARD.encode(bytes)),
        BinaryMode::Base64UrlSafe => text_value(batch, &BASE64_URL_SAFE.encode(bytes)),
        BinaryMode::Hex => put_text(batch, |out| push_hex(out, bytes)),
    }
}

fn money(batch: &mut Batch, units: i64, mode: DecimalMode, fraction: i32) -> Option<Value> {
    if let DecimalMode::Fixed(scale) = mode
        && scale == fraction
    {
        let unscaled = put_integer(batch, units);
        return Some(Value::Decimal(batch.push_values(&[unscaled, Value::Int32(scale)])));
    }
    let digits = units.unsigned_abs().to_string().into_bytes();
    Some(Numeric::Number { negative: units < 0, digits, scale: fraction }.put(batch, mode))
}

/// `$1,234.50`, `-$1.00`, `($1.00)` in its smallest unit.
fn money_units(text: &str) -> Option<i64> {
    let negative = text.contains(['-', '(']);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let units: i64 = digits.parse().ok()?;
    Some(if negative { -units } else { units })
}

/// IEEE 754 binary16 to binary32.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f32::from(bits & 0x3FF));
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    }
}

/// Elements of all dimensions in one list.
fn binary_array(batch: &mut Batch, cell: Cell<'_>, element: &Decoder) -> Option<Value> {
    let mut reader = Reader(cell.bytes);
    let dimensions = reader.i32()?;
    let (_has_null, _element_type) = (reader.i32()?, reader.i32()?);
    if !(0..=6).contains(&dimensions) {
        return None;
    }
    for _ in 0..dimensions {
        let (_size, _lower_bound) = (reader.i32()?, reader.i32()?);
    }
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(match reader.sized()? {
            None => Value::Null,
            Some(bytes) => {
                let from = cell.bytes.len() - reader.0.len() - bytes.len();
                let offset = cell.span.offset + from as u32;
                let span = Span { offset, len: bytes.len() as u32, ..cell.span };
                element.binary(batch, Cell { bytes, span, ..cell })?
            }
        });
    }
    Some(Value::Array(batch.push_values(&values)))
}

/// The value that stands for a TOASTed column that did not change and was not sent.
pub(super) fn unavailable(decoder: &Decoder, batch: &mut Batch, placeholder: &[u8]) -> Value {
    let text = |batch: &mut Batch| Value::String(batch.put_str(&String::from_utf8_lossy(placeholder)));
    match decoder {
        Decoder::Text
        | Decoder::VersionedText
        | Decoder::TsVector
        | Decoder::HStoreJson
        | Decoder::Range(_) => text(batch),
        Decoder::Numeric(DecimalMode::Text) => text(batch),
        Decoder::Bytea(mode) | Decoder::Unknown(mode) => binary_value(batch, placeholder, None, *mode),
        Decoder::Bits { .. } => put_bytes(batch, |out| out.extend_from_slice(placeholder)),
        Decoder::HStoreMap => {
            let (key, value) = (text(batch), text(batch));
            let mut range = batch.push_values(&[key, value]);
            range.len = 1;
            Value::Map(range)
        }
        Decoder::Array(element) => {
            let values: Vec<Value> = match &**element {
                Decoder::Int32 | Decoder::Date(DateMode::Days) => {
                    placeholder.iter().map(|byte| Value::Int32(i32::from(*byte as i8))).collect()
                }
                Decoder::Int64 => {
                    placeholder.iter().map(|byte| Value::Int64(i64::from(*byte as i8))).collect()
                }
                Decoder::Uuid => vec![name_uuid(batch, placeholder)],
                other => vec![unavailable(other, batch, placeholder)],
            };
            let values: Vec<Value> =
                if values.iter().all(|value| value.is_null()) { Vec::new() } else { values };
            Value::Array(batch.push_values(&values))
        }
        _ => Value::Null,
    }
}

/// `UUID.nameUUIDFromBytes`: version 3 without a name space.
fn name_uuid(batch: &mut Batch, name: &[u8]) -> Value {
    let uuid = uuid::Builder::from_md5_bytes(md5(name)).into_uuid();
    Value::String(batch.put_str(&uuid.to_string()))
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::Digest as _;
    md5::Md5::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &Decoder, format: Format, bytes: &[u8]) -> Option<(Value, Batch)> {
        let mut batch = Batch::default();
        let segment = batch.add_segment(bytes::Bytes::copy_from_slice(bytes));
        let span = Span { segment, offset: 0, len: bytes.len() as u32 };
        let value = decoder.decode(&mut batch, Cell { format, bytes, span })?;
        Some((value, batch))
    }

    fn shown(decoder: &Decoder, format: Format, bytes: &[u8]) -> Option<String> {
        fn show(batch: &Batch, value: Value) -> String {
            match value {
                Value::String(span) => batch.str(span).to_owned(),
                Value::Bytes(span) => format!("{:?}", batch.bytes(span)),
                Value::Array(range) => {
                    format!(
                        "{:?}",
                        batch.items(range).iter().map(|item| show(batch, *item)).collect::<Vec<_>>()
                    )
                }
                other => format!("{other:?}"),
            }
        }
        let (value, batch) = decode(decoder, format, bytes)?;
        Some(show(&batch, value))
    }

    #[test]
    fn both_forms_say_the_same() {
        let uuid_bytes = *uuid::uuid!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").as_bytes();
        let int_array = [
            &1_i32.to_be_bytes()[..],
            &[0, 0, 0, 1],
            &[0, 0, 0, 23],
            &3_i32.to_be_bytes(),
            &1_i32.to_be_bytes(),
            &[0, 0, 0, 4, 0, 0, 0, 1],
            &[255; 4],
            &[0, 0, 0, 4, 0, 0, 0, 3],
        ]
        .concat();
        let cases: Vec<(Decoder, &str, Vec<u8>)> = vec![
            (Decoder::Boolean, "t", vec![1]),
            (Decoder::Int16, "-2", (-2_i16).to_be_bytes().to_vec()),
            (Decoder::Oid, "4294967295", vec![255; 4]),
            (Decoder::Float64, "-Infinity", f64::NEG_INFINITY.to_be_bytes().to_vec()),
            (Decoder::Text, "é", "é".as_bytes().to_vec()),
            (Decoder::VersionedText, "{\"b\": 2}", b"\x01{\"b\": 2}".to_vec()),
            (Decoder::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", uuid_bytes.to_vec()),
            (Decoder::Bytea(BinaryMode::Bytes), "\\xdeadbeef", vec![0xde, 0xad, 0xbe, 0xef]),
            (Decoder::Bytea(BinaryMode::Hex), "\\xdeadbeef", vec![0xde, 0xad, 0xbe, 0xef]),
            (Decoder::Bytea(BinaryMode::Base64), "\\xdeadbeef", vec![0xde, 0xad, 0xbe, 0xef]),
            (Decoder::Bit, "1", vec![0, 0, 0, 1, 0x80]),
            (Decoder::Bits { padded: true }, "10101", vec![0, 0, 0, 5, 0b1010_1000]),
            (Decoder::Bits { padded: false }, "000000001010", vec![0, 0, 0, 12, 0, 0b1010_0000]),
            (
                Decoder::Money { mode: DecimalMode::Text, fraction: 2 },
                "-$1,234.50",
                (-123_450_i64).to_be_bytes().to_vec(),
            ),
            (Decoder::Date(DateMode::Days), "2000-01-02", 1_i32.to_be_bytes().to_vec()),
            (Decoder::Time(TimeMode::Micros), "00:00:01.5", 1_500_000_i64.to_be_bytes().to_vec()),
            (
                Decoder::HStoreJson,
                "\"a\"=>\"1\", \"b\"=>NULL",
                b"\0\0\0\x02\0\0\0\x01a\0\0\0\x011\0\0\0\x01b\xff\xff\xff\xff".to_vec(),
            ),
            (Decoder::Array(Box::new(Decoder::Int32)), "{1,NULL,3}", int_array),
        ];
        for (decoder, text, binary) in &cases {
            let from_text = shown(decoder, Format::Text, text.as_bytes());
            assert!(from_text.is_some(), "{decoder:?} {text}");
            assert_eq!(from_text, shown(decoder, Format::Binary, binary), "{decoder:?} {text}");
            for cut in 0..binary.len() {
                // shorter bytes are an error or another value, never a panic
                let _ = shown(decoder, Format::Binary, &binary[..cut]);
            }
        }
        assert_eq!(shown(&cases[11].0, Format::Text, b"10101").as_deref(), Some("[21]"));
        assert_eq!(shown(&cases[12].0, Format::Text, b"000000001010").as_deref(), Some("[10]"));
        assert_eq!(shown(&cases[13].0, Format::Text, b"-$1,234.50").as_deref(), Some("-1234.50"));
    }

    #[test]
    fn half_precision() {
        for (bits, expected) in [
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x0001, 2_f32.powi(-24)),
            (0x7BFF, 65_504.0),
            (0x7C00, f32::INFINITY),
        ] {
            assert_eq!(half(bits), expected);
        }
        assert!(half(0x7E00).is_nan());
        let vector = [0, 2, 0, 0, 0x3C, 0, 0xC0, 0];
        assert_eq!(
            shown(&Decoder::FloatVector, Format::Binary, &vector),
            shown(&Decoder::FloatVector, Format::Text, b"[1,-2]")
        );
    }

    #[test]
    fn bytes_that_are_not_of_the_type_are_refused() {
        assert_eq!(shown(&Decoder::Text, Format::Binary, &[0xff]), None);
        assert_eq!(shown(&Decoder::Text, Format::Text, &[0xff]), None);
        assert_eq!(shown(&Decoder::Int32, Format::Text, b"x"), None);
        assert_eq!(shown(&Decoder::Uuid, Format::Binary, &[0; 15]), None);
        assert_eq!(shown(&Decoder::Bits { padded: true }, Format::Binary, &[0x7f, 255, 255, 255, 1]), None);
        let lying = [&1_i32.to_be_bytes()[..], &[0; 8], &[0x7f, 255, 255, 255], &[0, 0, 0, 1]].concat();
        assert_eq!(
            shown(&Decoder::Array(Box::new(Decoder::Int32)), Format::Binary, &lying).as_deref(),
            Some("[]")
        );
    }
}
