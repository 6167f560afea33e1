//! Numbers, dates and times as literals.

use super::parse::Literal;
use crate::data::java_time::parse_iso;
use crate::data::{Constant, DecimalText, Schema, SchemaBuilder, SchemaRef, Type};

/// Digits before the point beyond which no number fits 64 bits.
const MOST_DIGITS: i64 = 19;

fn literal(kind: Type, value: Constant) -> Literal {
    Literal { schema: SchemaRef::clone(Schema::primitive(kind, false)), value }
}

/// A number: the smallest integer type that holds it exactly, else FLOAT32 unless it is too large, else FLOAT64, else Decimal.
pub(super) fn number(text: &str) -> Option<Literal> {
    let decimal = DecimalText::parse(text)?;
    if let Some(whole) = integer(&decimal) {
        return Some(if let Ok(value) = i8::try_from(whole) {
            literal(Type::Int8, Constant::Int8(value))
        } else if let Ok(value) = i16::try_from(whole) {
            literal(Type::Int16, Constant::Int16(value))
        } else if let Ok(value) = i32::try_from(whole) {
            literal(Type::Int32, Constant::Int32(value))
        } else {
            literal(Type::Int64, Constant::Int64(whole))
        });
    }
    if decimal.scale != 0 {
        if let Some(value) = text.parse().ok().filter(|value: &f32| value.is_finite()) {
            return Some(literal(Type::Float32, Constant::Float32(value)));
        }
        if let Some(value) = text.parse().ok().filter(|value: &f64| value.is_finite()) {
            return Some(literal(Type::Float64, Constant::Float64(value)));
        }
    }
    let schema = SchemaBuilder::decimal(decimal.scale).build();
    Some(Literal { schema, value: Constant::Decimal(decimal.unscaled().into(), decimal.scale) })
}

/// The number, if it is whole and fits 64 bits.
fn integer(decimal: &DecimalText<'_>) -> Option<i64> {
    let digits = || decimal.digits().skip_while(|digit| *digit == b'0');
    let count = digits().count() as i64;
    if count == 0 {
        return Some(0);
    }
    let scale = i64::from(decimal.scale);
    let zeros = decimal.digits().rev().take_while(|digit| *digit == b'0').count() as i64;
    // digits before the point; those after it have to be zeros
    let whole = count - scale;
    if !(1..=MOST_DIGITS).contains(&whole) || scale > zeros {
        return None;
    }
    let written =
        digits().take(whole as usize).fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = (0..whole - count).fold(written, |value, _| value * 10);
    i64::try_from(if decimal.negative { -value } else { value }).ok()
}

/// A date, a time or a timestamp; which one is told by the length alone.
pub(super) fn temporal(text: &str) -> Option<Literal> {
    let unescaped;
    let text = if text.contains("\\:") {
        unescaped = text.replace("\\:", ":");
        &unescaped
    } else {
        text
    };
    let (pattern, schema) = match text.encode_utf16().take(25).count() {
        10 => ("yyyy-MM-dd", SchemaBuilder::date()),
        13 => ("HH:mm:ss.SSSZ", SchemaBuilder::time()),
        24 => ("yyyy-MM-ddTHH:mm:ss.SSSZ", SchemaBuilder::timestamp()),
        _ => return None,
    };
    let ms = parse_iso(text, pattern)?;
    Some(Literal { schema: schema.build(), value: Constant::Date(ms) })
}
