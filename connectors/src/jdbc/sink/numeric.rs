//! Numbers in the binary form of PostgreSQL's `numeric`.

use num_bigint::BigInt;

/// Largest scale, and base-10000 digits before the point, that `numeric` takes.
const MAX_SCALE: i32 = 16_383;
const MAX_WEIGHT: i32 = 32_767;

/// A number of two's complement bytes and a scale; `None` if `numeric` cannot hold it.
pub(super) fn put_decimal(unscaled: &[u8], scale: i32, out: &mut Vec<u8>) -> Option<()> {
    match small(unscaled) {
        Some(number) => put_integer(number, scale, out),
        None => {
            let text = BigInt::from_signed_bytes_be(unscaled).to_string();
            let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |digits| (true, digits));
            put_digits(negative, digits.as_bytes(), scale, out)
        }
    }
}

/// A number of at most 16 bytes.
pub(super) fn small(unscaled: &[u8]) -> Option<i128> {
    let fill = if unscaled.first().is_some_and(|first| first & 0x80 != 0) { -1_i128 } else { 0 };
    (unscaled.len() <= 16)
        .then(|| unscaled.iter().fold(fill, |number, byte| (number << 8) | i128::from(*byte)))
}

/// A number of at most 128 bits, and where its point is.
pub(super) fn put_integer(number: i128, scale: i32, out: &mut Vec<u8>) -> Option<()> {
    let mut text = itoa::Buffer::new();
    let digits = text.format(number.unsigned_abs());
    put_digits(number < 0, digits.as_bytes(), scale, out)
}

/// Decimal digits, of which `scale` stand behind the point (a negative scale: so many zeros follow).
fn put_digits(negative: bool, digits: &[u8], scale: i32, out: &mut Vec<u8>) -> Option<()> {
    if scale > MAX_SCALE {
        return None;
    }
    let whole = i32::try_from(digits.len()).ok()?.checked_sub(scale)?;
    // groups of four digits, counted from the point
    let mut weight = whole.div_euclid(4) - i32::from(whole.rem_euclid(4) == 0);
    if weight > MAX_WEIGHT {
        return None;
    }
    let lead = ((weight + 1) * 4 - whole) as usize;
    let groups = (lead + digits.len()).div_ceil(4);
    let digit = |at: usize| {
        at.checked_sub(lead).and_then(|at| digits.get(at)).map_or(0, |digit| u16::from(digit - b'0'))
    };
    let group = |index: usize| (0..4).fold(0, |group, place| group * 10 + digit(index * 4 + place));
    let first = (0..groups).find(|index| group(*index) != 0).unwrap_or(groups);
    let last = (first..groups).rev().find(|index| group(*index) != 0).map_or(first, |index| index + 1);
    weight -= first as i32;
    if first == last {
        weight = 0;
    }
    let header = [
        (last - first) as u16,
        weight as i16 as u16,
        if negative && first < last { 0x4000 } else { 0 },
        scale.max(0) as u16,
    ];
    for word in header {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for index in first..last {
        out.extend_from_slice(&group(index).to_be_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL's `numeric_send` gives for a number.
    fn words(number: i128, scale: i32) -> Vec<u16> {
        let mut out = Vec::new();
        put_integer(number, scale, &mut out).unwrap();
        out.chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect()
    }

    #[test]
    fn as_the_server_sends_them() {
        assert_eq!(words(0, 0), [0, 0, 0, 0]);
        assert_eq!(words(0, 2), [0, 0, 0, 2]);
        assert_eq!(words(1, 0), [1, 0, 0, 0, 1]);
        assert_eq!(words(-12_345, 0), [2, 1, 0x4000, 0, 1, 2345]);
        assert_eq!(words(12_345_600, 4), [2, 0, 0, 4, 1234, 5600]);
        assert_eq!(words(10_000, 0), [1, 1, 0, 0, 1]);
        assert_eq!(words(1, 4), [1, 0xFFFF, 0, 4, 1]);
        assert_eq!(words(1, 5), [1, 0xFFFE, 0, 5, 1000]);
        assert_eq!(words(1, -3), [1, 0, 0, 0, 1000]);
        assert_eq!(words(15, -4), [1, 1, 0, 0, 15]);
        assert_eq!(words(15, -3), [2, 1, 0, 0, 1, 5000]);
    }

    #[test]
    fn large_ones_and_those_that_do_not_fit() {
        let mut long = Vec::new();
        let number: BigInt = "123456789012345678901234567890123456789012345678".parse().unwrap();
        put_decimal(&number.to_signed_bytes_be(), 10, &mut long).unwrap();
        assert_eq!(long.len(), 8 + 2 * 13);
        assert_eq!(put_decimal(&[1], MAX_SCALE + 1, &mut Vec::new()), None);
        assert_eq!(put_decimal(&[1], -200_000, &mut Vec::new()), None);
        assert_eq!(small(&[0xFF, 0x85]), Some(-123));
        assert_eq!(small(&[0; 17]), None);
    }
}
