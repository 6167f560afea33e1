//! Numbers as Java's `parseX` methods read them.

/// First digits of the blocks of decimal digits that `Character.digit` knows, beside ASCII (of the basic plane).
const ZEROS: &[u32] = &[
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

/// `Character.digit(char, 10)`.
pub(super) fn digit(char: char) -> Option<i64> {
    if let Some(digit) = char.to_digit(10) {
        return Some(digit.into());
    }
    let code = u32::from(char);
    let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
    Some(i64::from(code - zero))
}

/// `Long.parseLong` within bounds, which makes `Byte.parseByte` and the others.
pub(super) fn parse_integer(text: &str, min: i64, max: i64) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // Below zero there is room for one more.
    let mut value = 0_i64;
    for char in digits.chars() {
        value = value.checked_mul(10)?.checked_sub(digit(char)?)?;
    }
    let value = if negative { value } else { value.checked_neg()? };
    (min..=max).contains(&value).then_some(value)
}

/// What a text for `Double.parseDouble` and `Float.parseFloat` holds.
enum Float<'a> {
    /// Digits, which Rust reads the same way.
    Decimal(&'a str),
    /// `NaN`, an infinity, or a hexadecimal number.
    Value(f64),
}

/// The text without blanks around it and without its suffix, if the grammar allows it.
fn float(text: &str) -> Option<Float<'_>> {
    let text = text.trim_matches(|char| char <= ' ');
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match body {
        "NaN" => return Some(Float::Value(f64::NAN)),
        "Infinity" => return Some(Float::Value(sign * f64::INFINITY)),
        _ => {}
    }
    if let Some(hex) = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        return hexadecimal(hex).map(|value| Float::Value(sign * value));
    }
    let number = body.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(body);
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_holds = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let holds =
        all_digits(whole) && all_digits(fraction) && whole.len() + fraction.len() > 0 && exponent_holds;
    let length = text.len() - (body.len() - number.len());
    holds.then(|| Float::Decimal(&text[..length]))
}

/// `h.hhhp±d`, behind the `0x`. Digits beyond the mantissa's precision are dropped.
fn hexadecimal(text: &str) -> Option<f64> {
    const DIGITS: usize = 13;
    let text =
        text.strip_suffix(['f', 'F', 'd', 'D']).filter(|text| text.contains(['p', 'P'])).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let exponent: i32 = exponent.parse().ok()?;
    let digits = whole.chars().chain(fraction.chars()).map(|char| char.to_digit(16));
    let digits: Option<Vec<u32>> = digits.collect();
    let digits = digits?;
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let kept = &digits[leading..digits.len().min(leading + DIGITS)];
    let value = kept.iter().fold(0.0, |value, digit| value * 16.0 + f64::from(*digit));
    let position = whole.len() as i32 - leading as i32 - kept.len() as i32;
    Some(value * 2_f64.powi(exponent.saturating_add(position * 4)))
}

/// `Double.parseDouble`.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    match float(text)? {
        Float::Decimal(digits) => digits.parse().ok(),
        Float::Value(value) => Some(value),
    }
}

/// `Float.parseFloat`.
pub(super) fn parse_float(text: &str) -> Option<f32> {
    match float(text)? {
        Float::Decimal(digits) => digits.parse().ok(),
        Float::Value(value) => Some(value as f32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_javas() {
        let byte = |text| parse_integer(text, -128, 127);
        assert_eq!(byte("127"), Some(127));
        assert_eq!(byte("+5"), Some(5));
        assert_eq!(byte("-128"), Some(-128));
        assert_eq!(byte("٣"), Some(3));
        for wrong in ["", "+", "-", " 1", "1 ", "1.0", "128", "0x1", "1e1", "--1"] {
            assert_eq!(byte(wrong), None, "{wrong}");
        }
        assert_eq!(parse_integer("-9223372036854775808", i64::MIN, i64::MAX), Some(i64::MIN));
        assert_eq!(parse_integer("9223372036854775808", i64::MIN, i64::MAX), None);
    }

    #[test]
    fn floats_are_javas() {
        for (text, value) in [
            ("1", 1.0),
            (" 1.5\n", 1.5),
            ("1.", 1.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("1f", 1.0),
            ("1.5D", 1.5),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e400", f64::INFINITY),
            ("0x1p3", 8.0),
            ("0x1.8p1d", 3.0),
            ("-0", -0.0),
        ] {
            assert_eq!(parse_double(text), Some(value), "{text}");
        }
        for wrong in ["", ".", "1e", "e1", "inf", "nan", "infinity", "1,5", "1 2", "0x1", "f", "1ff"] {
            assert_eq!(parse_double(wrong), None, "{wrong}");
        }
        assert!(parse_double("NaN").unwrap().is_nan());
        assert_eq!(parse_float("0.1"), Some(0.1_f32));
    }
}
