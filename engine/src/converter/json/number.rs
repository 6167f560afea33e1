//! Numbers of a JSON text.

use super::scan::{Malformed, Scanner};
use crate::data::{DecimalText, low_bits};

/// Most digits of a number, as Jackson has it.
const MAX_DIGITS: usize = 1000;
/// Digits that an exponent may have without being looked at more closely.
const SHORT_EXPONENT: usize = 8;

/// A number that has been scanned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    /// As it is written.
    bytes: &'a [u8],
    /// Whether it has a fraction or an exponent.
    pub(super) fraction: bool,
    /// Without fraction: its low 64 bits, as `BigInteger.longValue()`.
    low: i64,
    /// Its value, if it is a fraction of few digits: then a division of two exact numbers rounds as it should.
    exact: Option<f64>,
}

/// Powers of ten.
const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl<'a> Scanner<'a> {
    /// A number, from its first character on.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number<'a>, Malformed> {
        let start = self.at;
        let text = self.text;
        let negative = text.get(start) == Some(&b'-');
        let first = start + usize::from(negative);
        let mut at = first;
        let mut low = 0_u64;
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            low = low.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        if at == first {
            return self.malformed("a malformed number");
        }
        let mut fraction = false;
        let mut exact = None;
        if let Some(b'.' | b'e' | b'E') = text.get(at) {
            let point = at;
            at = self.fraction(at)?;
            fraction = true;
            exact = short_fraction(negative, low, point - first, &text[point..at]);
        }
        let too_long = || text[start..at].iter().filter(|byte| byte.is_ascii_digit()).count() > MAX_DIGITS;
        if text.get(at).is_some_and(u8::is_ascii_alphabetic) || (at - start > MAX_DIGITS && too_long()) {
            return self.malformed("a malformed number");
        }
        self.at = at;
        let low = if negative { low.wrapping_neg() } else { low } as i64;
        Ok(Number { bytes: &text[start..at], fraction, low, exact })
    }

    /// Fraction and exponent; gives where they end.
    fn fraction(&self, mut at: usize) -> Result<usize, Malformed> {
        let digits =
            |from: usize| from + self.text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if self.text[at] == b'.' {
            let from = at + 1;
            at = digits(from);
            if at == from {
                return self.malformed("a number without digits after its point");
            }
        }
        if let Some(b'e' | b'E') = self.text.get(at) {
            let from = at + 1 + usize::from(matches!(self.text.get(at + 1), Some(b'+' | b'-')));
            at = digits(from.min(self.text.len()));
            if at == from {
                return self.malformed("a number without digits in its exponent");
            }
            let whole = std::str::from_utf8(&self.text[self.at..at]).unwrap_or("");
            if at - from > SHORT_EXPONENT && DecimalText::parse(whole).is_none() {
                return self.malformed("an exponent out of range");
            }
        }
        Ok(at)
    }
}

/// The number of `whole` (of `digits` digits) and a fraction without exponent, if it has 15 digits at most and is not zero.
#[inline]
fn short_fraction(negative: bool, whole: u64, digits: usize, fraction: &[u8]) -> Option<f64> {
    let places = fraction.len() - 1;
    if digits + places >= TENS.len() {
        return None;
    }
    let mut value = whole;
    for digit in &fraction[1..] {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    let magnitude = value as f64 / TENS[places];
    (fraction[0] == b'.' && value > 0).then_some(if negative { -magnitude } else { magnitude })
}

impl Number<'_> {
    /// As it is written: digits, a point, signs and an e.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(self.bytes).unwrap_or("0")
    }

    /// `longValue()`: the integer part's low 64 bits.
    #[inline]
    pub(super) fn long(&self) -> i64 {
        if self.fraction {
            DecimalText::parse(self.text()).map_or(0, |decimal| low_bits(&decimal.unscaled(), decimal.scale))
        } else {
            self.low
        }
    }

    /// As a leaf of a tree, with the zeros gone that serde does not know before a number.
    pub(super) fn tree(&self) -> serde_json::Value {
        let (sign, digits) = self.text().split_at(usize::from(self.text().starts_with('-')));
        let zeros = digits.bytes().zip(digits.bytes().skip(1));
        let zeros = zeros.take_while(|(zero, next)| *zero == b'0' && next.is_ascii_digit()).count();
        let text = [sign, &digits[zeros..]].concat();
        text.parse().map_or(serde_json::Value::Null, serde_json::Value::Number)
    }

    /// The number, if it is whole and fits 64 bits.
    pub(super) fn exact(&self) -> Option<i64> {
        if self.fraction { None } else { self.text().parse().ok() }
    }

    /// `doubleValue()`. There is no negative zero in a `BigDecimal`.
    #[inline]
    pub(super) fn double(&self) -> f64 {
        if let Some(exact) = self.exact {
            return exact;
        }
        let value: f64 = self.text().parse().unwrap_or(0.0);
        if value == 0.0 && !self.has_digits() { 0.0 } else { value }
    }

    /// `floatValue()`. It is not that of the double, which would be rounded twice.
    #[inline]
    pub(super) fn float(&self) -> f32 {
        let value: f32 = self.text().parse().unwrap_or(0.0);
        if value == 0.0 && !self.has_digits() { 0.0 } else { value }
    }

    /// Whether any digit of the mantissa is not zero.
    fn has_digits(&self) -> bool {
        let mantissa = self.text().split(['e', 'E']).next().unwrap_or_default();
        mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fractions_are_those_of_the_standard_library(text in r"-?[0-9]{1,18}\.[0-9]{1,8}(e-?[0-9]{1,2})?") {
            let number = Scanner::new(text.as_bytes(), 0).number().unwrap();
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(number.double(), expected);
        }
    }
}
