//! Values as Java prints them: `String.valueOf(value)`, what FileStreamSink writes.

use super::java_time::print_date;
use super::{Batch, Range32, Schema, SchemaId, Value, append};

/// Appends `String.valueOf(value)`: `Struct{a=1,b=x}` (null fields left out), `{a=1}`, `[1, 2]`, Java's numbers and
/// dates. A `byte[]` prints as `[B@` and a hash of its content, where Java has an arbitrary number.
pub fn java_string(batch: &Batch, schema: SchemaId, value: Value, out: &mut Vec<u8>) {
    append_java_string(batch, batch.schema(schema), value, out);
}

/// [`java_string`] by a schema that need not be the batch's.
pub(crate) fn append_java_string(batch: &Batch, schema: Option<&Schema>, value: Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Int8(value) => integer(value, out),
        Value::Int16(value) => integer(value, out),
        Value::Int32(value) => integer(value, out),
        Value::Int64(value) => integer(value, out),
        Value::Float32(value) => java_float(value, out),
        Value::Float64(value) => java_double(value, out),
        Value::String(span) => append::text(batch.bytes(span), out),
        Value::Bytes(span) => {
            let hash = content_hash(batch.bytes(span));
            out.extend_from_slice(format!("[B@{hash:x}").as_bytes());
        }
        Value::Struct(range) => structure(batch, schema, range, out),
        Value::Array(range) => {
            let items = schema.and_then(|schema| schema.value.as_deref());
            out.push(b'[');
            for (index, item) in batch.items(range).iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                append_java_string(batch, items, *item, out);
            }
            out.push(b']');
        }
        Value::Map(range) => {
            let (keys, values) =
                schema.map_or((None, None), |schema| (schema.key.as_deref(), schema.value.as_deref()));
            out.push(b'{');
            for (index, (key, value)) in batch.entries(range).enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                append_java_string(batch, keys, key, out);
                out.push(b'=');
                append_java_string(batch, values, value, out);
            }
            out.push(b'}');
        }
        Value::Decimal(range) => {
            let (unscaled, scale) = batch.decimal(range);
            out.extend_from_slice(decimal_string(unscaled, scale).as_bytes());
        }
        Value::Date(ms) => print_date(ms, out),
    }
}

fn structure(batch: &Batch, schema: Option<&Schema>, range: Range32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Struct");
    let mut before = b'{';
    let fields = schema.map_or(&[][..], |schema| &schema.fields);
    for (field, value) in fields.iter().zip(batch.items(range)) {
        if !value.is_null() {
            append::between(before, field.name.as_bytes(), b'=', out);
            append_java_string(batch, Some(&field.schema), *value, out);
            before = b',';
        }
    }
    out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
}

fn integer(value: impl Into<i64>, out: &mut Vec<u8>) {
    append::integer(value.into(), out);
}

fn content_hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(1, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add((*byte as i8) as u32))
}

/// Appends a number as `Double.toString` (Java 19 and newer) prints it: `1.0`, `1.0E10`, `NaN`.
pub fn java_double(value: f64, out: &mut Vec<u8>) {
    if special(value.is_nan(), value.is_infinite(), value.is_sign_negative(), out) {
        return;
    }
    let is_plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    if is_plain && few_decimals(value, out) {
        return;
    }
    finite(ryu::Buffer::new().format_finite(value), is_plain, || format!("{value:.1e}"), out);
}

/// Writes a number below 10^7 that has three decimals at most: a decimal of so few digits that reads as the number is its
/// shortest one. False if it has more.
#[inline]
fn few_decimals(value: f64, out: &mut Vec<u8>) -> bool {
    let thousandths = (value.abs() * 1000.0 + 0.5) as u64;
    if thousandths as f64 / 1000.0 != value.abs() || (value == 0.0 && value.is_sign_negative()) {
        return false;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    append::integer((thousandths / 1000) as i64, out);
    let rest = (thousandths % 1000) as u16;
    // in one register
    let digits = [u32::from(b'.'), digit(rest / 100), digit(rest / 10 % 10), digit(rest % 10)];
    let digits = digits[0] | (digits[1] << 8) | (digits[2] << 16) | (digits[3] << 24);
    let len = if !rest.is_multiple_of(10) {
        4
    } else if !rest.is_multiple_of(100) {
        3
    } else {
        2
    };
    let end = out.len() + len;
    out.extend_from_slice(&digits.to_le_bytes());
    out.truncate(end);
    true
}

const fn digit(value: u16) -> u32 {
    b'0' as u32 + value as u32
}

/// Appends a number as `Float.toString` (Java 19 and newer) prints it.
pub fn java_float(value: f32, out: &mut Vec<u8>) {
    if special(value.is_nan(), value.is_infinite(), value.is_sign_negative(), out) {
        return;
    }
    let is_plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    finite(ryu::Buffer::new().format_finite(value), is_plain, || format!("{value:.1e}"), out);
}

/// `shortest` as it is where Java writes plain digits too (both then write the shortest ones), else with an exponent.
fn finite(shortest: &str, is_plain: bool, two_digits: impl FnOnce() -> String, out: &mut Vec<u8>) {
    if is_plain {
        out.extend_from_slice(shortest.as_bytes());
    } else {
        scientific(shortest, two_digits, out);
    }
}

fn special(nan: bool, infinite: bool, negative: bool, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = match (nan, infinite, negative) {
        (true, ..) => b"NaN",
        (_, true, false) => b"Infinity",
        (_, true, true) => b"-Infinity",
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

/// The digits of `text` with one before the point, at least one after it, and the exponent. Where one digit would do,
/// Java gives the nearest two: `two_digits`.
fn scientific(text: &str, two_digits: impl FnOnce() -> String, out: &mut Vec<u8>) {
    let mantissa = text.split('e').next().unwrap_or(text);
    let significant = mantissa.bytes().filter(|byte| matches!(byte, b'1'..=b'9')).count();
    let rounded;
    let text = if significant == 1 {
        rounded = two_digits();
        &rounded
    } else {
        text
    };
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let whole = mantissa.find('.').unwrap_or(mantissa.len());
    let digits = || mantissa.bytes().filter(|byte| *byte != b'.');
    let zeros = digits().take_while(|digit| *digit == b'0').count();
    let last = digits().rev().take_while(|digit| *digit == b'0').count();
    let count = digits().count().saturating_sub(zeros + last);
    let exponent = exponent.parse().unwrap_or(0) + whole as i32 - 1 - zeros as i32;
    out.extend(negative.then_some(b'-'));
    for (place, digit) in digits().skip(zeros).take(count).enumerate() {
        out.extend((place == 1).then_some(b'.'));
        out.push(digit);
    }
    out.extend_from_slice(if count == 1 { b".0E" } else { b"E" });
    integer(exponent, out);
}

/// `BigDecimal.toString()` of an unscaled value (two's complement, big-endian) and a scale.
#[must_use]
pub fn decimal_string(unscaled: &[u8], scale: i32) -> String {
    let (negative, digits) = decimal_digits(unscaled);
    let sign = if negative { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let adjusted = digits.len() as i64 - 1 - i64::from(scale);
    if scale > 0 && adjusted >= -6 {
        let scale = scale as usize;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        return format!("{sign}{whole}.{fraction}");
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let plus = if adjusted >= 0 { "+" } else { "" };
    if adjusted == 0 {
        format!("{sign}{first}{point}{rest}")
    } else {
        format!("{sign}{first}{point}{rest}E{plus}{adjusted}")
    }
}

/// Sign and decimal digits of a two's complement number.
fn decimal_digits(bytes: &[u8]) -> (bool, String) {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    if bytes.len() <= 16 {
        let fill = if negative { -1_i128 } else { 0 };
        let value = bytes.iter().fold(fill, |value, byte| (value << 8) | i128::from(*byte));
        return (negative, value.unsigned_abs().to_string());
    }
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (value, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = over;
        }
    }
    let mut groups = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut magnitude {
            let value = (rest << 8) | u64::from(*byte);
            *byte = (value / 1_000_000_000) as u8;
            rest = value % 1_000_000_000;
        }
        groups.push(rest);
    }
    let mut digits: String = groups.iter().rev().map(|group| format!("{group:09}")).collect();
    digits = digits.trim_start_matches('0').to_owned();
    if digits.is_empty() {
        digits.push('0');
    }
    (negative, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        java_double(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_javas() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1e10, "1.0E10"),
            (1e-7, "1.0E-7"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (0.001, "0.001"),
            (0.000_9, "9.0E-4"),
            (1_234_567_890_123.25, "1.23456789012325E12"),
            (1e23, "1.0E23"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (5e-324, "4.9E-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn few_decimals_are_the_shortest(thousandths in 1_i64..10_000_000_000, sign in proptest::bool::ANY) {
            let value = thousandths as f64 / 1000.0 * if sign { -1.0 } else { 1.0 };
            let mut expected = ryu::Buffer::new().format_finite(value).to_owned();
            if !(1e-3..1e7).contains(&value.abs()) {
                expected = double(value);
            }
            proptest::prop_assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn decimals_are_javas() {
        assert_eq!(decimal_string(&[0x27, 0x10], 2), "100.00");
        assert_eq!(decimal_string(&[1], -3), "1E+3");
        assert_eq!(decimal_string(&[0xff], 1), "-0.1");
        assert_eq!(decimal_string(&[1], 7), "1E-7");
        assert_eq!(decimal_string(&[12], 10), "1.2E-9");
        let mut large = vec![0x7f];
        large.extend([0xff; 20]);
        assert_eq!(decimal_string(&large, 0), "187072209578355573530071658587684226515959365500927");
        let mut smallest = vec![0x80];
        smallest.extend([0; 16]);
        assert_eq!(decimal_string(&smallest, 0), "-43556142965880123323311949751266331066368");
    }
}
