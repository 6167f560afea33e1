//! Integers as decimal digits.

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Most characters: those of `i64::MIN`.
const MOST: usize = 20;

/// Appends a number. The digits are made from the end of a block; a piece of fixed length is copied, which needs no call.
#[inline]
pub(super) fn write(value: i64, out: &mut Vec<u8>) {
    let mut block = [0_u8; 2 * MOST];
    let mut start = MOST;
    let mut rest = value.unsigned_abs();
    while rest >= 100 {
        start -= 2;
        block[start..start + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        start -= 2;
        block[start..start + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else {
        start -= 1;
        block[start] = b'0' + rest as u8;
    }
    if value < 0 {
        start -= 1;
        block[start] = b'-';
    }
    let end = out.len() + MOST - start;
    out.extend_from_slice(&block[start..start + MOST]);
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn written(value: i64) -> String {
        let mut out = b"x".to_vec();
        super::write(value, &mut out);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn the_ends_of_each_length() {
        for power in 0..19 {
            let ten = 10_i64.pow(power);
            for value in [ten - 1, ten, ten + 1, -ten, 1 - ten] {
                assert_eq!(written(value), value.to_string());
            }
        }
        assert_eq!(written(i64::MIN), i64::MIN.to_string());
        assert_eq!(written(i64::MAX), i64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn any_number(value: i64) {
            prop_assert_eq!(written(value), value.to_string());
        }
    }
}
