//! Values to the bytes of messages, by a plan. Fields come in the order of their numbers, as Java writes them.

use super::input::put_varint;
use super::model::Scalar;
use super::write_plan::{FieldWrite, StructWrite, Write};
use crate::converter::registry::Failure;
use crate::data::{Batch, Value, civil};

const DAY_MS: i64 = 86_400_000;
const NANOS_PER_MS: i64 = 1_000_000;

type Result<T> = std::result::Result<T, Failure>;

/// Appends the fields of a struct.
pub(super) fn structure(plan: &StructWrite, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    let Value::Struct(range) = value else { return Err(wrong("STRUCT", value)) };
    let values = batch.items(range);
    for place in &plan.unions {
        if let Some(Value::Struct(union)) = values.get(*place)
            && batch.items(*union).iter().all(|member| member.is_null())
        {
            return Err(Failure::data("Cannot find non-null field"));
        }
    }
    for one in &plan.fields {
        let value = values.get(one.place).copied().unwrap_or_default();
        let value = match one.member {
            None => value,
            Some(member) => match union_member(batch, value, member)? {
                Some(value) => value,
                None => continue,
            },
        };
        field(one, batch, value, out)?;
    }
    Ok(())
}

/// The member's value, if it is the one that is set.
fn union_member(batch: &Batch, value: Value, member: usize) -> Result<Option<Value>> {
    let members = match value {
        Value::Struct(union) => batch.items(union),
        Value::Null => return Ok(None),
        other => return Err(wrong("STRUCT", other)),
    };
    let first = members.iter().position(|value| !value.is_null());
    Ok(first.filter(|first| *first == member).map(|first| members[first]))
}

/// Appends a field with its tag, or nothing.
pub(super) fn field(plan: &FieldWrite, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    if value.is_null() {
        if let Some(default) = &plan.default {
            out.extend_from_slice(default);
        }
        return Ok(());
    }
    match (&plan.write, value) {
        (Write::Repeated(item), Value::Array(range)) => {
            for value in batch.items(range) {
                not_null(*value)?;
                field(item, batch, *value, out)?;
            }
        }
        (Write::Packed(item), Value::Array(range)) => {
            let items = batch.items(range);
            if !items.is_empty() {
                out.extend_from_slice(&plan.tag);
                delimited(out, |out| {
                    items.iter().try_for_each(|value| {
                        not_null(*value)?;
                        content(item, batch, *value, out)
                    })
                })?;
            }
        }
        (Write::Map(parts), Value::Map(range)) => {
            let [key_field, value_field] = &**parts;
            for (key, value) in batch.entries(range) {
                out.extend_from_slice(&plan.tag);
                delimited(out, |out| {
                    field(key_field, batch, key, out)?;
                    field(value_field, batch, value, out)
                })?;
            }
        }
        (Write::Repeated(_) | Write::Packed(_), other) => return Err(wrong("ARRAY", other)),
        (Write::Map(_), other) => return Err(wrong("MAP", other)),
        (write, value) => {
            if !plan.presence && is_zero(write, batch, value) {
                return Ok(());
            }
            out.extend_from_slice(&plan.tag);
            return content(write, batch, value, out);
        }
    }
    Ok(())
}

fn not_null(value: Value) -> Result<()> {
    if value.is_null() {
        const CLASS: &str = "java.lang.NullPointerException";
        return Err(Failure::class(CLASS, "a repeated field cannot hold null"));
    }
    Ok(())
}

/// Whether a value is what stands for nothing, bit by bit.
fn is_zero(write: &Write, batch: &Batch, value: Value) -> bool {
    match (write, value) {
        (Write::Enum(symbols), Value::String(span)) => {
            let symbol = batch.bytes(span);
            symbols.iter().any(|(known, number)| *number == 0 && known.as_bytes() == symbol)
        }
        (Write::Scalar(_) | Write::Enum(_), value) => match value {
            Value::Boolean(value) => !value,
            Value::Int8(value) => value == 0,
            Value::Int16(value) => value == 0,
            Value::Int32(value) => value == 0,
            Value::Int64(value) => value == 0,
            Value::Float32(value) => value.to_bits() == 0,
            Value::Float64(value) => value.to_bits() == 0,
            Value::String(span) | Value::Bytes(span) => span.len == 0,
            _ => false,
        },
        _ => false,
    }
}

/// A length and what `put` appends.
pub(super) fn delimited(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let at = out.len();
    out.push(0);
    put(out)?;
    let len = out.len() - at - 1;
    if len < 0x80 {
        out[at] = len as u8;
        return Ok(());
    }
    // a longer length moves what is there
    let mut length = Vec::with_capacity(5);
    put_varint(len as u64, &mut length);
    out.splice(at..=at, length);
    Ok(())
}

/// Appends a value with its length, if it has one.
fn content(write: &Write, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    match write {
        Write::Scalar(kind) => scalar(*kind, batch, value, out),
        Write::Enum(symbols) => {
            put_varint(i64::from(number_of(symbols, batch, value)?) as u64, out);
            Ok(())
        }
        Write::Struct(plan) => delimited(out, |out| structure(plan, batch, value, out)),
        Write::Wrapper(kind) => delimited(out, |out| wrapper(*kind, batch, value, out)),
        Write::Decimal => delimited(out, |out| decimal(batch, value, out)),
        Write::Date | Write::Time | Write::Timestamp => {
            let Value::Date(ms) = value else { return Err(not_date(write, value)) };
            delimited(out, |out| date(write, ms, out))
        }
        Write::Repeated(_) | Write::Packed(_) | Write::Map(_) => Err(wrong("ARRAY", value)),
    }
}

fn number_of(symbols: &[(Box<str>, i32)], batch: &Batch, value: Value) -> Result<i32> {
    match value {
        Value::Int8(number) => Ok(number.into()),
        Value::Int16(number) => Ok(number.into()),
        Value::Int32(number) => Ok(number),
        Value::String(span) => {
            let symbol = batch.bytes(span);
            let found = symbols.iter().find(|(known, _)| known.as_bytes() == symbol);
            found.map(|(_, number)| *number).ok_or_else(|| {
                Failure::data(format!("{} is no symbol of its enum", String::from_utf8_lossy(symbol)))
            })
        }
        other => Err(wrong("STRING", other)),
    }
}

/// The message around a value that is no message.
pub(super) fn wrapper(kind: Scalar, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    if is_zero(&Write::Scalar(kind), batch, value) {
        return Ok(());
    }
    out.push(1 << 3 | kind.wire_type() as u8);
    scalar(kind, batch, value, out)
}

fn whole(value: Value) -> Option<i64> {
    Some(match value {
        Value::Int8(value) => value.into(),
        Value::Int16(value) => value.into(),
        Value::Int32(value) => value.into(),
        Value::Int64(value) => value,
        _ => return None,
    })
}

fn scalar(kind: Scalar, batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    match (kind, value) {
        (Scalar::String, Value::String(span)) | (Scalar::Bytes, Value::Bytes(span)) => {
            put_varint(u64::from(span.len), out);
            out.extend_from_slice(batch.bytes(span));
        }
        (Scalar::Double, Value::Float64(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Scalar::Double, Value::Float32(value)) => out.extend_from_slice(&f64::from(value).to_le_bytes()),
        (Scalar::Float, Value::Float32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Scalar::Bool, Value::Boolean(value)) => out.push(u8::from(value)),
        (Scalar::String, _) => return Err(wrong("STRING", value)),
        (Scalar::Bytes, _) => return Err(wrong("BYTES", value)),
        (Scalar::Bool, _) => return Err(wrong("BOOLEAN", value)),
        (Scalar::Double, _) => return Err(wrong("FLOAT64", value)),
        (Scalar::Float, _) => return Err(wrong("FLOAT32", value)),
        _ => {
            let number = whole(value).ok_or_else(|| wrong("INT64", value))?;
            integer(kind, number, out);
        }
    }
    Ok(())
}

fn integer(kind: Scalar, number: i64, out: &mut Vec<u8>) {
    match kind {
        Scalar::Int32 => put_varint(i64::from(number as i32) as u64, out),
        Scalar::Uint32 => put_varint(u64::from(number as u32), out),
        Scalar::Sint32 => {
            let number = number as i32;
            put_varint(u64::from(((number << 1) ^ (number >> 31)) as u32), out);
        }
        Scalar::Sint64 => put_varint(((number << 1) ^ (number >> 63)) as u64, out),
        Scalar::Fixed32 | Scalar::Sfixed32 => out.extend_from_slice(&(number as i32).to_le_bytes()),
        Scalar::Fixed64 | Scalar::Sfixed64 => out.extend_from_slice(&number.to_le_bytes()),
        _ => put_varint(number as u64, out),
    }
}

fn put_number(field: u8, number: i64, out: &mut Vec<u8>) {
    if number != 0 {
        out.push(field << 3);
        put_varint(number as u64, out);
    }
}

fn decimal(batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result<()> {
    let Value::Decimal(range) = value else {
        let class = value.java_class();
        return Err(Failure::data(format!(
            "Invalid type for Decimal, expected BigDecimal but was class {class}"
        )));
    };
    let (unscaled, scale) = batch.decimal(range);
    out.push(1 << 3 | 2);
    put_varint(unscaled.len() as u64, out);
    out.extend_from_slice(unscaled);
    let digits = crate::data::decimal_string(unscaled, 0);
    put_number(2, digits.trim_start_matches('-').len() as i64, out);
    put_number(3, i64::from(scale), out);
    Ok(())
}

fn date(write: &Write, ms: i64, out: &mut Vec<u8>) -> Result<()> {
    match write {
        Write::Date => {
            if ms.rem_euclid(DAY_MS) != 0 {
                let what = "Kafka Connect Date type should not have any time fields set to non-zero values.";
                return Err(Failure::data(what));
            }
            let (year, month, day) = civil(ms.div_euclid(DAY_MS));
            put_number(1, year, out);
            put_number(2, month, out);
            put_number(3, day, out);
        }
        Write::Time => {
            if !(0..=DAY_MS).contains(&ms) {
                let what = "Time values must use number of millis greater than 0 and less than 86400000";
                return Err(Failure::data(what));
            }
            let seconds = ms % DAY_MS / 1000;
            put_number(1, seconds / 3600, out);
            put_number(2, seconds / 60 % 60, out);
            put_number(3, seconds % 60, out);
            put_number(4, ms % 1000 * NANOS_PER_MS, out);
        }
        _ => {
            put_number(1, ms.div_euclid(1000), out);
            put_number(2, ms.rem_euclid(1000) * NANOS_PER_MS, out);
        }
    }
    Ok(())
}

#[cold]
fn wrong(kind: &str, value: Value) -> Failure {
    Failure::data(format!("Invalid type for {kind}: class {}", value.java_class()))
}

#[cold]
fn not_date(write: &Write, value: Value) -> Failure {
    let name = match write {
        Write::Date => "Date",
        Write::Time => "Time",
        _ => "Timestamp",
    };
    let class = value.java_class();
    Failure::data(format!("Invalid type for {name}, expected Date but was class {class}"))
}
