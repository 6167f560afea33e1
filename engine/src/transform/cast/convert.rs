//! One value to another type, with Java's overflow, rounding and text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::data_error;
use super::super::field_plan::{class_cast, java_class_of};
use super::super::java_number::{parse_double, parse_float, parse_integer};
use crate::data::{
    Batch, DATE, RecordError, Schema, TIME, TIMESTAMP, Type, Value, append_java_string, decimal_string,
    low_bits, print_iso,
};

const DAY: i64 = 86_400_000;

/// Types to cast to.
pub(super) const TARGETS: [Type; 8] = [
    Type::Int8,
    Type::Int16,
    Type::Int32,
    Type::Int64,
    Type::Float32,
    Type::Float64,
    Type::Boolean,
    Type::String,
];
/// Types to cast from.
const SOURCES: [Type; 9] = [
    Type::Int8,
    Type::Int16,
    Type::Int32,
    Type::Int64,
    Type::Float32,
    Type::Float64,
    Type::Boolean,
    Type::String,
    Type::Bytes,
];

/// `[INT8, INT16]`.
pub(super) fn names(types: &[Type]) -> String {
    let names: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
    format!("[{}]", names.join(", "))
}

/// What `ConnectSchema.schemaType` says of a value's class.
fn inferred(value: Value) -> Option<Type> {
    Some(match value {
        Value::Boolean(_) => Type::Boolean,
        Value::Int8(_) => Type::Int8,
        Value::Int16(_) => Type::Int16,
        Value::Int32(_) => Type::Int32,
        Value::Int64(_) => Type::Int64,
        Value::Float32(_) => Type::Float32,
        Value::Float64(_) => Type::Float64,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        Value::Array(_) => Type::Array,
        Value::Map(_) => Type::Map,
        Value::Struct(_) => Type::Struct,
        Value::Null | Value::Decimal(_) | Value::Date(_) => return None,
    })
}

/// The value as `target`; null stays null.
pub(super) fn cast(
    batch: &mut Batch,
    schema: Option<&Schema>,
    value: Value,
    target: Type,
) -> Result<Value, RecordError> {
    if value.is_null() {
        return Ok(value);
    }
    let source = schema.map(|schema| schema.kind).or_else(|| inferred(value)).ok_or_else(|| {
        data_error(format!(
            "Cast transformation was passed a value of type {} which is not supported by Connect's data API",
            java_class_of(value)
        ))
    })?;
    if !SOURCES.contains(&source) {
        return Err(data_error(format!(
            "Cast transformation does not support casting from {}; supported types are {}",
            source.name(),
            names(&SOURCES)
        )));
    }
    if target == Type::String {
        return text(batch, value);
    }
    match schema.and_then(|schema| schema.name.as_deref()) {
        Some(name) => number(batch, encoded(name, value)?, target),
        None => number(batch, value, target),
    }
}

/// The number behind a logical type's value.
fn encoded(name: &str, value: Value) -> Result<Value, RecordError> {
    if ![DATE, TIME, TIMESTAMP].contains(&name) {
        return Ok(value);
    }
    let Value::Date(ms) = value else { return Err(class_cast(value, "java.util.Date")) };
    match name {
        DATE if ms.rem_euclid(DAY) != 0 => {
            Err(data_error("Kafka Connect Date type should not have any time fields set to non-zero values."))
        }
        DATE => Ok(Value::Int32((ms / DAY) as i32)),
        TIME if !(0..=DAY).contains(&ms) => {
            Err(data_error("Kafka Connect Time type should not have any date fields set to non-zero values."))
        }
        TIME => Ok(Value::Int32(ms as i32)),
        _ => Ok(Value::Int64(ms)),
    }
}

/// A number in the three widths that Java's `Number` narrows from.
enum Number<'a> {
    Whole(i64),
    Float(f64),
    Text(&'a str),
    /// A decimal's low bits and its text.
    Decimal(i64, String),
}

fn number(batch: &Batch, value: Value, target: Type) -> Result<Value, RecordError> {
    let number = match value {
        Value::Boolean(value) => Number::Whole(value.into()),
        Value::Int8(value) => Number::Whole(value.into()),
        Value::Int16(value) => Number::Whole(value.into()),
        Value::Int32(value) => Number::Whole(value.into()),
        Value::Int64(value) => Number::Whole(value),
        Value::Float32(value) => Number::Float(value.into()),
        Value::Float64(value) => Number::Float(value),
        Value::String(span) => Number::Text(batch.str(span)),
        Value::Decimal(range) => {
            let (unscaled, scale) = batch.decimal(range);
            Number::Decimal(low_bits(unscaled, scale), decimal_string(unscaled, scale))
        }
        other => {
            let class = java_class_of(other);
            return Err(data_error(format!("Unexpected type in Cast transformation: {class}")));
        }
    };
    let cast = match number {
        Number::Whole(value) => Some(from_whole(value, target)),
        Number::Float(value) => Some(from_float(value, target)),
        Number::Text(text) => from_text(text, target),
        Number::Decimal(low, text) => from_decimal(low, &text, target),
    };
    cast.ok_or_else(|| {
        let mut shown = Vec::new();
        append_java_string(batch, None, value, &mut shown);
        let shown = String::from_utf8_lossy(&shown);
        data_error(format!("Value ({shown}) was out of range for requested data type"))
    })
}

/// [`cast`] of a whole number without a logical type to another number, where it is. `false` if it is something else.
#[inline]
pub(super) fn cast_whole(value: &mut Value, target: Type) -> bool {
    let whole = match *value {
        Value::Boolean(value) => i64::from(value),
        Value::Int8(value) => value.into(),
        Value::Int16(value) => value.into(),
        Value::Int32(value) => value.into(),
        Value::Int64(value) => value,
        _ => return false,
    };
    match target {
        Type::Int8 => *value = Value::Int8(whole as i8),
        Type::Int16 => *value = Value::Int16(whole as i16),
        Type::Int32 => *value = Value::Int32(whole as i32),
        Type::Int64 => *value = Value::Int64(whole),
        Type::Boolean => *value = Value::Boolean(whole != 0),
        _ => return false,
    }
    true
}

fn from_whole(value: i64, target: Type) -> Value {
    match target {
        Type::Int8 => Value::Int8(value as i8),
        Type::Int16 => Value::Int16(value as i16),
        Type::Int32 => Value::Int32(value as i32),
        Type::Float32 => Value::Float32(value as f32),
        Type::Float64 => Value::Float64(value as f64),
        Type::Boolean => Value::Boolean(value != 0),
        _ => Value::Int64(value),
    }
}

/// Java narrows a floating-point number to 32 bits first, to 8 and 16 from there.
fn from_float(value: f64, target: Type) -> Value {
    match target {
        Type::Int8 => Value::Int8(value as i32 as i8),
        Type::Int16 => Value::Int16(value as i32 as i16),
        Type::Int32 => Value::Int32(value as i32),
        Type::Float32 => Value::Float32(value as f32),
        Type::Float64 => Value::Float64(value),
        Type::Boolean => Value::Boolean(value as i64 != 0),
        _ => Value::Int64(value as i64),
    }
}

fn from_text(text: &str, target: Type) -> Option<Value> {
    let whole = |min, max| parse_integer(text, min, max);
    Some(match target {
        Type::Int8 => Value::Int8(whole(i8::MIN.into(), i8::MAX.into())? as i8),
        Type::Int16 => Value::Int16(whole(i16::MIN.into(), i16::MAX.into())? as i16),
        Type::Int32 => Value::Int32(whole(i32::MIN.into(), i32::MAX.into())? as i32),
        Type::Float32 => Value::Float32(parse_float(text)?),
        Type::Float64 => Value::Float64(parse_double(text)?),
        Type::Boolean => Value::Boolean(text.eq_ignore_ascii_case("true")),
        _ => Value::Int64(whole(i64::MIN, i64::MAX)?),
    })
}

fn from_decimal(low: i64, text: &str, target: Type) -> Option<Value> {
    Some(match target {
        Type::Float32 => Value::Float32(text.parse().ok()?),
        Type::Float64 => Value::Float64(text.parse().ok()?),
        _ => from_whole(low, target),
    })
}

/// As text: numbers as Java prints them, bytes in base64, dates in Connect's ISO forms.
fn text(batch: &mut Batch, value: Value) -> Result<Value, RecordError> {
    let mut out = Vec::new();
    match value {
        Value::String(_) => return Ok(value),
        Value::Bytes(span) => out.extend_from_slice(BASE64_STANDARD.encode(batch.bytes(span)).as_bytes()),
        Value::Date(ms) => print_iso(ms, &mut out),
        other => append_java_string(batch, None, other, &mut out),
    }
    Ok(Value::String(batch.put_bytes(&out)))
}
