//! Decimal text to unscaled value and scale, as `new BigDecimal(text)`.

/// Most digits that are read: text beyond it is refused rather than multiplied out.
const MAX_DIGITS: usize = 10_000;

/// Unscaled value (two's complement, big-endian, shortest) and scale of a number; `None` for text that is none.
pub(crate) fn parse(text: &str) -> Option<(Vec<u8>, i32)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() > MAX_DIGITS {
        return None;
    }
    let scale = i32::try_from(i64::from(fraction.len() as u32) - i64::from(exponent)).ok()?;
    Some((twos_complement(whole.bytes().chain(fraction.bytes()), negative), scale))
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
    let redundant = |pair: &[u8]| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80);
    let skip = bytes.windows(2).take_while(|pair| redundant(pair)).count();
    bytes.split_off(skip)
}

/// The integer part's low 64 bits, as `BigDecimal.longValue()`.
pub(super) fn low_bits(unscaled: &[u8], scale: i32) -> i64 {
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
    let text = crate::data::decimal_string(unscaled, 0);
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
        assert_eq!(parse("1.5"), Some((vec![15], 1)));
        assert_eq!(parse("-1"), Some((vec![0xff], 0)));
        assert_eq!(parse("128"), Some((vec![0, 128], 0)));
        assert_eq!(parse("-128"), Some((vec![0x80], 0)));
        assert_eq!(parse("1e3"), Some((vec![1], -3)));
        assert_eq!(parse("18446744073709551616"), Some((vec![1, 0, 0, 0, 0, 0, 0, 0, 0], 0)));
        assert_eq!(parse("1e99999999999"), None);
    }

    #[test]
    fn integer_parts() {
        assert_eq!(low_bits(&parse("1.9").unwrap().0, 1), 1);
        assert_eq!(low_bits(&parse("-1.9").unwrap().0, 1), -1);
        assert_eq!(low_bits(&parse("1e3").unwrap().0, -3), 1000);
        let huge = parse("12345678901234567890123456789012345678.55").unwrap();
        assert_eq!(low_bits(&huge.0, huge.1), 12345678901234567890123456789012345678_i128 as i64);
    }
}
