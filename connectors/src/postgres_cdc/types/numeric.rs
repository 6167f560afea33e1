//! `numeric`: from both of PostgreSQL's forms to what `decimal.handling.mode` asks for.

use aqueduct_engine::data::{Batch, Value};
use num_bigint::BigInt;

use super::text::put_text;

/// Most digits that PostgreSQL's numeric has: 131 072 before the point and 16 383 after it.
const MAX_DIGITS: usize = 150_000;

/// A number, or what is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Numeric {
    /// Digits without a point, and how many of them stand behind it.
    Number {
        negative: bool,
        digits: Vec<u8>,
        scale: i32,
    },
    NaN,
    Infinity,
    NegativeInfinity,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecimalMode {
    /// `org.apache.kafka.connect.data.Decimal` with this scale.
    Fixed(i32),
    /// `io.debezium.data.VariableScaleDecimal`.
    Variable,
    Double,
    Text,
}

impl Numeric {
    /// Binary form: number of base-10000 digits, weight of the first, sign, scale, the digits.
    pub(super) fn from_binary(bytes: &[u8]) -> Option<Numeric> {
        let word = |index: usize| {
            bytes.get(index * 2..index * 2 + 2).map(|word| u16::from_be_bytes([word[0], word[1]]))
        };
        let (count, weight) = (usize::from(word(0)?), i32::from(word(1)? as i16));
        let negative = match word(2)? {
            0x0000 => false,
            0x4000 => true,
            0xC000 => return Some(Numeric::NaN),
            0xD000 => return Some(Numeric::Infinity),
            0xF000 => return Some(Numeric::NegativeInfinity),
            _ => return None,
        };
        let scale = i32::from(word(3)?);
        if bytes.len() != 8 + count * 2 {
            return None;
        }
        let groups = usize::try_from(weight + 1).unwrap_or(0);
        let mut digits = Vec::with_capacity(groups * 4 + scale as usize + 4);
        // digits before the point, then as many as the scale says
        let first_fraction = -(weight + 1);
        for group in 0..groups {
            push_group(&mut digits, if group < count { word(4 + group)? } else { 0 })?;
        }
        let whole = digits.len();
        for _ in 0..first_fraction.max(0) {
            digits.extend_from_slice(b"0000");
        }
        for group in groups..count {
            push_group(&mut digits, word(4 + group)?)?;
        }
        digits.resize(whole + scale as usize, b'0');
        Some(Numeric::Number { negative, digits, scale }.trimmed())
    }

    /// Text form: `-123.4500`, `1e10` (in literals), `NaN`, `Infinity`.
    pub(super) fn from_text(text: &str) -> Option<Numeric> {
        match text {
            "NaN" => return Some(Numeric::NaN),
            "Infinity" => return Some(Numeric::Infinity),
            "-Infinity" => return Some(Numeric::NegativeInfinity),
            _ => {}
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (text, exponent) = match text.split_once(['e', 'E']) {
            Some((text, exponent)) => (text, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > MAX_DIGITS
            || whole.len() + fraction.len() == 0
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return None;
        }
        let mut digits = [whole.as_bytes(), fraction.as_bytes()].concat();
        let mut scale = fraction.len() as i32 - exponent;
        if scale < 0 {
            let zeros = usize::try_from(scale.checked_neg()?).ok().filter(|zeros| *zeros <= MAX_DIGITS)?;
            digits.resize(digits.len() + zeros, b'0');
            scale = 0;
        }
        (scale as usize <= MAX_DIGITS).then(|| Numeric::Number { negative, digits, scale }.trimmed())
    }

    /// Without zeros in front, and without a sign at zero.
    fn trimmed(self) -> Numeric {
        match self {
            Numeric::Number { negative, mut digits, scale } => {
                let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
                digits.drain(..zeros);
                Numeric::Number { negative: negative && !digits.is_empty(), digits, scale }
            }
            other => other,
        }
    }

    /// As `BigDecimal.toPlainString()` writes it.
    fn push_plain(&self, out: &mut Vec<u8>) {
        let Numeric::Number { negative, digits, scale } = self else { return };
        if *negative {
            out.push(b'-');
        }
        let scale = *scale as usize;
        let whole = digits.len().saturating_sub(scale);
        if whole == 0 {
            out.push(b'0');
        }
        out.extend_from_slice(&digits[..whole]);
        if scale > 0 {
            out.push(b'.');
            out.resize(out.len() + scale - (digits.len() - whole), b'0');
            out.extend_from_slice(&digits[whole..]);
        }
    }

    /// Writes the number; null where the mode has no form for it.
    pub(super) fn put(&self, batch: &mut Batch, mode: DecimalMode) -> Value {
        let special = match self {
            Numeric::Number { .. } => None,
            Numeric::NaN => Some((f64::NAN, "NAN")),
            Numeric::Infinity => Some((f64::INFINITY, "POSITIVE_INFINITY")),
            Numeric::NegativeInfinity => Some((f64::NEG_INFINITY, "NEGATIVE_INFINITY")),
        };
        match (mode, special, self) {
            (DecimalMode::Double, Some((number, _)), _) => Value::Float64(number),
            (DecimalMode::Text, Some((_, text)), _) => Value::String(batch.put_str(text)),
            (DecimalMode::Text, None, _) => put_text(batch, |out| self.push_plain(out)),
            (DecimalMode::Double, None, _) => {
                let mut text = Vec::new();
                self.push_plain(&mut text);
                std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .map_or(Value::Null, Value::Float64)
            }
            (DecimalMode::Fixed(scale), None, Numeric::Number { negative, digits, scale: own }) => {
                let mut digits = digits.clone();
                // a column's values have its scale; a change of it in mid-stream only ever adds digits
                digits.resize((digits.len() as i32 + scale - own).max(0) as usize, b'0');
                let unscaled = put_unscaled(batch, *negative, &digits);
                Value::Decimal(batch.push_values(&[unscaled, Value::Int32(scale)]))
            }
            (DecimalMode::Variable, None, Numeric::Number { negative, digits, scale }) => {
                // zeros at the end go, as far as they stand behind the point
                let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
                let zeros = if digits.is_empty() { *scale as usize } else { zeros.min(*scale as usize) };
                let kept = &digits[..digits.len().saturating_sub(zeros)];
                let unscaled = put_unscaled(batch, *negative, kept);
                Value::Struct(batch.push_values(&[Value::Int32(scale - zeros as i32), unscaled]))
            }
            _ => Value::Null,
        }
    }
}

fn push_group(digits: &mut Vec<u8>, group: u16) -> Option<()> {
    if group > 9999 {
        return None;
    }
    digits.extend(
        [group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8),
    );
    Some(())
}

/// Two's complement, big-endian, as short as `BigInteger.toByteArray()`.
fn put_unscaled(batch: &mut Batch, negative: bool, digits: &[u8]) -> Value {
    // up to 18 digits fit 64 bits
    if digits.len() <= 18 {
        let number = digits.iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
        return put_integer(batch, if negative { -number } else { number });
    }
    let magnitude = BigInt::parse_bytes(digits, 10).unwrap_or_default();
    let number = if negative { -magnitude } else { magnitude };
    Value::Bytes(batch.put_bytes(&number.to_signed_bytes_be()))
}

/// The unscaled value of a small decimal.
pub(super) fn put_integer(batch: &mut Batch, number: i64) -> Value {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xFF } else { 0 };
    let redundant =
        bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0).count();
    Value::Bytes(batch.put_bytes(&bytes[redundant..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(numeric: &Numeric) -> String {
        let mut out = Vec::new();
        numeric.push_plain(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The binary form of a number, made from its text as the server makes it.
    fn binary(text: &str) -> Vec<u8> {
        let (sign, text) = text.strip_prefix('-').map_or((0_u16, text), |text| (0x4000, text));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let scale = fraction.len();
        let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
        let fraction = format!("{fraction}{}", "0".repeat((4 - scale % 4) % 4));
        let mut weight = (whole.len() / 4) as i16 - 1;
        let all = format!("{whole}{fraction}");
        let mut groups: Vec<u16> = all
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).unwrap().parse().unwrap())
            .collect();
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let header = [groups.len() as u16, weight as u16, sign, scale as u16];
        header.iter().chain(&groups).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn both_forms_say_the_same() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "12.30",
            "123.4500",
            "-0.00100",
            "0.0001",
            "10000",
            "12345678901234567890.123",
            "0.000000000000000012",
            "99999999",
            "100000000.5",
        ] {
            let read = Numeric::from_text(text).unwrap();
            assert_eq!(plain(&read), text);
            assert_eq!(Numeric::from_binary(&binary(text)), Some(read), "{text}");
        }
        assert_eq!(Numeric::from_binary(&[0, 0, 0, 0, 0xC0, 0, 0, 0]), Some(Numeric::NaN));
        assert_eq!(plain(&Numeric::from_text("1e3").unwrap()), "1000");
        assert_eq!(plain(&Numeric::from_text("15e-1").unwrap()), "1.5");
    }

    #[test]
    fn modes() {
        let mut batch = Batch::default();
        let mut put = |text: &str, mode| {
            let value = Numeric::from_text(text).unwrap().put(&mut batch, mode);
            match value {
                Value::Struct(range) | Value::Decimal(range) => {
                    let items = batch.items(range).to_vec();
                    items
                        .iter()
                        .map(|item| match item {
                            Value::Bytes(span) => format!("{:?}", batch.bytes(*span)),
                            other => format!("{other:?}"),
                        })
                        .collect::<Vec<_>>()
                        .join(" ")
                }
                Value::String(span) => batch.str(span).to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(put("12.30", DecimalMode::Fixed(2)), "[4, 206] Int32(2)");
        assert_eq!(put("12", DecimalMode::Fixed(2)), "[4, 176] Int32(2)");
        assert_eq!(put("123.4500", DecimalMode::Variable), "Int32(2) [48, 57]");
        assert_eq!(put("12", DecimalMode::Variable), "Int32(0) [12]");
        assert_eq!(put("1200", DecimalMode::Variable), "Int32(0) [4, 176]");
        assert_eq!(put("-0.00100", DecimalMode::Variable), "Int32(3) [255]");
        assert_eq!(put("0.00", DecimalMode::Variable), "Int32(0) [0]");
        assert_eq!(put("-0.00100", DecimalMode::Text), "-0.00100");
        assert_eq!(put("NaN", DecimalMode::Text), "NAN");
        assert_eq!(put("NaN", DecimalMode::Variable), "Null");
        assert_eq!(put("123.45", DecimalMode::Double), "Float64(123.45)");
    }

    #[test]
    fn integers_are_as_short_as_can_be() {
        let mut batch = Batch::default();
        for (number, expected) in [
            (0_i64, vec![0_u8]),
            (127, vec![127]),
            (128, vec![0, 128]),
            (-1, vec![255]),
            (-128, vec![128]),
            (-129, vec![255, 127]),
        ] {
            let Value::Bytes(span) = put_integer(&mut batch, number) else { panic!() };
            assert_eq!(batch.bytes(span), expected, "{number}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        for bytes in [
            &[][..],
            &[0, 1],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
            &[0, 0, 0, 0, 1, 0, 0, 0],
        ] {
            assert_eq!(Numeric::from_binary(bytes), None, "{bytes:?}");
        }
        assert!(Numeric::from_binary(&[0, 0, 0x7F, 0xFF, 0, 0, 0x3F, 0xFF]).is_some());
        for bad in ["", "-", ".", "1.2.3", "x", "1e999999999", "1e"] {
            assert_eq!(Numeric::from_text(bad), None, "{bad}");
        }
    }
}
