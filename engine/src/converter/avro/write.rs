//! Values to Avro's bytes, by a plan.

use super::super::registry::Failure;
use super::write_plan::{FieldWrite, Scalar, Write, WritePlan};
use crate::data::{Batch, Range32, Value};

const DAY_MS: i64 = 86_400_000;
/// Nesting of schemaless data that is followed.
const MAX_DEPTH: u32 = 512;

type Result<T> = std::result::Result<T, Failure>;

/// Appends one datum.
pub(super) fn write(plan: &WritePlan, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    if !plan.raw {
        return datum(&plan.root, batch, value, out);
    }
    // bytes at the top stand without their length
    match (&plan.root, value) {
        (_, Value::Bytes(span)) => out.extend_from_slice(batch.bytes(span)),
        (Write::Scalar(Scalar::Decimal(scale)), Value::Decimal(range)) => {
            out.extend_from_slice(unscaled(batch, range, *scale)?);
        }
        (write, value) => return datum(write, batch, value, out),
    }
    Ok(())
}

#[inline]
pub(super) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn datum(write: &Write, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    if value.is_null() && !matches!(write, Write::Optional { .. } | Write::Union { .. } | Write::Anything) {
        return Err(Failure::data("Found null value for non-optional schema"));
    }
    match (write, value) {
        (Write::Optional { null, index, inner }, value) => {
            if value.is_null() {
                put_long(i64::from(*null), out);
                return Ok(());
            }
            put_long(i64::from(*index), out);
            return datum(inner, batch, value, out);
        }
        (Write::Branch { index, inner }, value) => {
            put_long(i64::from(*index), out);
            return datum(inner, batch, value, out);
        }
        (Write::Record(fields), Value::Struct(range)) => {
            let values = batch.items(range);
            for FieldWrite { place, write, default } in fields {
                let value = place.and_then(|place| values.get(place)).copied().unwrap_or_default();
                match default {
                    Some(default) if value.is_null() => out.extend_from_slice(default),
                    _ => datum(write, batch, value, out)?,
                }
            }
        }
        (Write::Scalar(scalar), value) => return put_scalar(*scalar, batch, value, out),
        (Write::Enum(symbols), Value::String(span)) => {
            let symbol = batch.bytes(span);
            let index = symbols
                .iter()
                .position(|known| known.as_bytes() == symbol)
                .ok_or_else(|| Failure::serializer("the value of an enum is none of its symbols"))?;
            put_long(index as i64, out);
        }
        (Write::Fixed { size, decimal }, value) => fixed(*size, *decimal, batch, value, out)?,
        (Write::Array(item), Value::Array(range)) => {
            let items = batch.items(range);
            if !items.is_empty() {
                put_long(items.len() as i64, out);
                for value in items {
                    datum(item, batch, *value, out)?;
                }
            }
            out.push(0);
        }
        (Write::Map(item), Value::Map(range)) => {
            if range.len > 0 {
                put_long(i64::from(range.len), out);
                for (key, value) in batch.entries(range) {
                    put_scalar(Scalar::String, batch, key, out)?;
                    datum(item, batch, value, out)?;
                }
            }
            out.push(0);
        }
        (Write::Entries(key_write, value_write), Value::Map(range)) => {
            if range.len > 0 {
                put_long(i64::from(range.len), out);
                for (key, value) in batch.entries(range) {
                    datum(key_write, batch, key, out)?;
                    datum(value_write, batch, value, out)?;
                }
            }
            out.push(0);
        }
        (Write::Union { members, null }, value) => return union(members, *null, batch, value, out),
        (Write::Anything, value) => return anything(batch, value, 0, out),
        (Write::Refused(why), _) => return Err(Failure::data(&**why)),
        (write, value) => return Err(wrong(write.type_name(), value)),
    }
    Ok(())
}

#[cold]
fn wrong(kind: &str, value: Value) -> Failure {
    Failure::data(format!("Invalid type for {kind}: class {}", value.java_class()))
}

#[inline]
fn put_scalar(scalar: Scalar, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    match (scalar, value) {
        (Scalar::Int32, Value::Int32(value)) => put_long(i64::from(value), out),
        (Scalar::Int64, Value::Int64(value)) => put_long(value, out),
        (Scalar::String, Value::String(span)) | (Scalar::Bytes, Value::Bytes(span)) => {
            put_bytes(batch.bytes(span), out);
        }
        (Scalar::Boolean, Value::Boolean(value)) => out.push(u8::from(value)),
        (Scalar::Float64, Value::Float64(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Scalar::Float32, Value::Float32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Scalar::Int8, Value::Int8(value)) => put_long(i64::from(value), out),
        (Scalar::Int16, Value::Int16(value)) => put_long(i64::from(value), out),
        (Scalar::Timestamp, Value::Date(ms)) => put_long(ms, out),
        (Scalar::Date, Value::Date(ms)) if ms.rem_euclid(DAY_MS) == 0 => put_long(ms.div_euclid(DAY_MS), out),
        (Scalar::Date, Value::Date(_)) => {
            let what = "Kafka Connect Date type should not have any time fields set to non-zero values.";
            return Err(Failure::data(what));
        }
        (Scalar::Time, Value::Date(ms)) if (0..DAY_MS).contains(&ms) => put_long(ms, out),
        (Scalar::Time, Value::Date(_)) => {
            let what = "Kafka Connect Time type should not have any date fields set to non-zero values.";
            return Err(Failure::data(what));
        }
        (Scalar::Decimal(scale), Value::Decimal(range)) => put_bytes(unscaled(batch, range, scale)?, out),
        (Scalar::IntAsDouble, value) => out.extend_from_slice(&f64::from(small(value)?).to_le_bytes()),
        (Scalar::IntAsFloat, value) => out.extend_from_slice(&(small(value)? as f32).to_le_bytes()),
        (Scalar::IntAsLong, value) => put_long(i64::from(small(value)?), out),
        (Scalar::FloatAsDouble, Value::Float32(value)) => {
            out.extend_from_slice(&f64::from(value).to_le_bytes())
        }
        (scalar, value) => return Err(logical_or_wrong(scalar, value)),
    }
    Ok(())
}

fn small(value: Value) -> Result<i32> {
    match value {
        Value::Int8(value) => Ok(value.into()),
        Value::Int16(value) => Ok(value.into()),
        Value::Int32(value) => Ok(value),
        other => Err(wrong("INT32", other)),
    }
}

#[cold]
fn logical_or_wrong(scalar: Scalar, value: Value) -> Failure {
    let expected = match scalar {
        Scalar::Decimal(_) => Some(("Decimal", "BigDecimal")),
        Scalar::Date => Some(("Date", "Date")),
        Scalar::Time => Some(("Time", "Date")),
        Scalar::Timestamp => Some(("Timestamp", "Date")),
        _ => None,
    };
    match expected {
        Some((name, class)) => Failure::data(format!(
            "Invalid type for {name}, expected {class} but was class {}",
            value.java_class()
        )),
        None => wrong(scalar.type_name(), value),
    }
}

fn unscaled(batch: &Batch, range: Range32, wanted: i32) -> Result<&[u8]> {
    let (unscaled, scale) = batch.decimal(range);
    if scale == wanted {
        return Ok(unscaled);
    }
    Err(Failure::data(format!(
        "Decimal value has mismatching scale for given Decimal schema. Schema has scale {wanted}, value has scale {scale}."
    )))
}

fn fixed(size: usize, decimal: Option<i32>, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    let bytes = match (decimal, value) {
        (Some(scale), Value::Decimal(range)) => {
            let bytes = unscaled(batch, range, scale)?;
            let pad = size.checked_sub(bytes.len()).ok_or_else(|| {
                let len = bytes.len();
                Failure::data(format!(
                    "Unscaled value byte array length {len} is greater than fixed size {size}"
                ))
            })?;
            let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { 0xff } else { 0 };
            out.extend(std::iter::repeat_n(sign, pad));
            out.extend_from_slice(bytes);
            return Ok(());
        }
        (_, Value::Bytes(span)) => batch.bytes(span),
        (_, value) => return Err(wrong("BYTES", value)),
    };
    // what is longer is cut off, as in Java
    let whole = bytes.get(..size).ok_or_else(|| {
        Failure::serializer(format!("{} bytes are too few for a fixed type of {size}", bytes.len()))
    })?;
    out.extend_from_slice(whole);
    Ok(())
}

/// The first field that is set goes into its member of the union.
fn union(
    members: &[(u32, Write)],
    null: Option<u32>,
    batch: &Batch,
    value: Value,
    out: &mut Vec<u8>,
) -> Result<()> {
    let values = match value {
        Value::Struct(range) => batch.items(range),
        Value::Null => &[],
        other => return Err(wrong("STRUCT", other)),
    };
    let set = values.iter().zip(members).find(|(value, _)| !value.is_null());
    match (set, null) {
        (Some((value, (index, write))), _) => {
            put_long(i64::from(*index), out);
            datum(write, batch, *value, out)
        }
        (None, Some(null)) => {
            put_long(i64::from(null), out);
            Ok(())
        }
        (None, None) => Err(Failure::data("Found null value for non-optional schema")),
    }
}

/// Schemaless data: a record of nine optional members, one of which is set.
fn anything(batch: &Batch, value: Value, depth: u32, out: &mut Vec<u8>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Failure::data(format!("the value is nested deeper than {MAX_DEPTH}")));
    }
    let set = match value {
        Value::Null => 9,
        Value::Boolean(_) => 0,
        Value::Float64(_) => 2,
        Value::Float32(_) => 3,
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) => 4,
        Value::Int64(_) => 5,
        Value::String(_) => 6,
        Value::Array(_) => 7,
        Value::Map(_) => 8,
        other => {
            let what = format!("Unknown Java type for schemaless data: class {}", other.java_class());
            return Err(Failure::data(what));
        }
    };
    for member in 0..9 {
        if member != set {
            out.push(0);
            continue;
        }
        out.push(2);
        match value {
            Value::Boolean(_) => put_scalar(Scalar::Boolean, batch, value, out)?,
            Value::Float64(_) => put_scalar(Scalar::Float64, batch, value, out)?,
            Value::Float32(_) => put_scalar(Scalar::Float32, batch, value, out)?,
            Value::Int64(_) => put_scalar(Scalar::Int64, batch, value, out)?,
            Value::String(_) => put_scalar(Scalar::String, batch, value, out)?,
            Value::Array(range) => {
                let items = batch.items(range);
                if !items.is_empty() {
                    put_long(items.len() as i64, out);
                }
                for item in items {
                    anything(batch, *item, depth + 1, out)?;
                }
                out.push(0);
            }
            Value::Map(range) => {
                if range.len > 0 {
                    put_long(i64::from(range.len), out);
                }
                for (key, value) in batch.entries(range) {
                    anything(batch, key, depth + 1, out)?;
                    anything(batch, value, depth + 1, out)?;
                }
                out.push(0);
            }
            _ => put_long(i64::from(small(value)?), out),
        }
    }
    Ok(())
}
