//! Decimal text to unscaled value and scale, as `new BigDecimal(text)`.

/// Most digits that are read: text beyond it is refused rather than multiplied out.
const MAX_DIGITS: usize = 10_000;

/// A decimal as `new BigDecimal(text)` reads it: digits and scale, nothing multiplied out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecimalText<'a> {
    /// Below zero.
    pub(crate) negative: bool,
    /// Digits before the point.
    whole: &'a str,
    /// Digits after it.
    fraction: &'a str,
    /// `BigDecimal.scale()`.
    pub(crate) scale: i32,
}

impl<'a> DecimalText<'a> {
    /// `None` for text that is no number, as `NumberFormatException`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.as_bytes().first() {
            Some(b'-') => (true, &mantissa[1..]),
            Some(b'+') => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let count = whole.len() + fraction.len();
        if !digits(whole) || !digits(fraction) || count == 0 || count > MAX_DIGITS {
            return None;
        }
        let scale = i32::try_from(i64::from(fraction.len() as u32) - i64::from(exponent)).ok()?;
        Some(Self { negative, whole, fraction, scale })
    }

    /// The digits of the unscaled value, as they are written.
    pub(crate) fn digits(&self) -> impl DoubleEndedIterator<Item = u8> + 'a {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    /// The unscaled value, two's complement, big-endian, shortest.
    pub(crate) fn unscaled(&self) -> Vec<u8> {
        twos_complement(self.digits(), self.negative)
    }
}

fn exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Unscaled value (two's complement, big-endian, shortest) and scale of a number; `None` for text that is none.
pub(crate) fn parse_decimal(text: &str) -> Option<(Vec<u8>, i32)> {
    DecimalText::parse(text).map(|decimal| (decimal.unscaled(), decimal.scale))
}

fn twos_complement(digits: impl Iterator<Item = u8>, negative: bool) -> Vec<u8> {
    // Little-endian 32-bit limbs.
    let mut limbs: Vec<u32> = vec![0];
    for digit in digits {
        let mut carry = u64::from(digit - b'0');
        for limb in &mut limbs {
            let value = u64::from(*limb) * 10 + carry;
            *limb = value as u32;
            carry = value >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    let mut bytes: Vec<u8> =
        std::iter::once(0).chain(limbs.iter().rev().flat_map(|limb| limb.to_be_bytes())).collect();
    if negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            let (value, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = over;
        }
    }
    bytes.split_off(redundant_sign_bytes(&bytes))
}

/// Leading bytes of a two's complement number that only repeat its sign.
pub(crate) fn redundant_sign_bytes(bytes: &[u8]) -> usize {
    let redundant = |pair: &&[u8]| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80);
    bytes.windows(2).take_while(redundant).count()
}

/// The integer part's low 64 bits, as `BigDecimal.longValue()`.
pub(crate) fn low_bits(unscaled: &[u8], scale: i32) -> i64 {
    if unscaled.len() <= 16 {
        let negative = unscaled.first().is_some_and(|first| first & 0x80 != 0);
        let fill = if negative { -1_i128 } else { 0 };
        let mut value = unscaled.iter().fold(fill, |value, byte| (value << 8) | i128::from(*byte));
        for _ in 0..scale.clamp(0, 40) {
            value /= 10;
        }
        // Past 64 factors of ten nothing is left of the low 64 bits.
        for _ in 0..(-scale).clamp(0, 64) {
            value = value.wrapping_mul(10);
        }
        return value as i64;
    }
    let text = super::decimal_string(unscaled, 0);
    let kept = text.len().saturating_sub(usize::try_from(scale.max(0)).unwrap_or(0));
    let whole = &text[..kept];
    let (negative, digits) = whole.strip_prefix('-').map_or((false, whole), |digits| (true, digits));
    let mut value = digits
        .bytes()
        .fold(0_i64, |value, digit| value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')));
    for _ in 0..(-scale).clamp(0, 64) {
        value = value.wrapping_mul(10);
    }
    if negative { value.wrapping_neg() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size() {
        assert_eq!(parse_decimal("1.5"), Some((vec![15], 1)));
        assert_eq!(parse_decimal("-1"), Some((vec![0xff], 0)));
        assert_eq!(parse_decimal("128"), Some((vec![0, 128], 0)));
        assert_eq!(parse_decimal("-128"), Some((vec![0x80], 0)));
        assert_eq!(parse_decimal("1e3"), Some((vec![1], -3)));
        assert_eq!(parse_decimal("18446744073709551616"), Some((vec![1, 0, 0, 0, 0, 0, 0, 0, 0], 0)));
        assert_eq!(parse_decimal("1e99999999999"), None);
    }

    #[test]
    fn integer_parts() {
        assert_eq!(low_bits(&parse_decimal("1.9").unwrap().0, 1), 1);
        assert_eq!(low_bits(&parse_decimal("-1.9").unwrap().0, 1), -1);
        assert_eq!(low_bits(&parse_decimal("1e3").unwrap().0, -3), 1000);
        let huge = parse_decimal("12345678901234567890123456789012345678.55").unwrap();
        assert_eq!(low_bits(&huge.0, huge.1), 12345678901234567890123456789012345678_i128 as i64);
    }
}
