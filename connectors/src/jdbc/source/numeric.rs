//! PostgreSQL's binary `numeric` as integers and decimals.

use num_bigint::BigInt;

/// Decimal digits that 128 bits surely hold.
const SMALL: i32 = 37;

/// A number, or why it is none that Connect has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unscaled {
    Small(i128),
    Large(BigInt),
}

/// The binary form: base-10000 digits, the first of which stands for `10000^weight`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeric<'a> {
    negative: bool,
    weight: i32,
    digits: &'a [u8],
}

impl<'a> Numeric<'a> {
    /// Reads the form; `None` for NaN and the infinities, and for bytes that are none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Numeric<'a>> {
        let (header, digits) = bytes.split_first_chunk::<8>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let negative = match word(4) {
            0 => false,
            0x4000 => true,
            _ => return None,
        };
        let valid = digits.len() == usize::from(word(0)) * 2;
        valid.then_some(Numeric { negative, weight: i32::from(word(2) as i16), digits })
    }

    fn groups(&self) -> impl Iterator<Item = u16> + '_ {
        self.digits.chunks_exact(2).map(|group| u16::from_be_bytes([group[0], group[1]]))
    }

    /// The number times `10^scale`; digits beyond that are rounded half up, as JDBC does.
    pub(super) fn unscaled(&self, scale: i32) -> Unscaled {
        let count = self.digits.len() as i32 / 2;
        // digits behind the point of the last group
        let exponent = scale - (count - 1 - self.weight) * 4;
        let width = count * 4 + exponent.max(0);
        if width <= SMALL {
            let number = self.groups().fold(0_i128, |number, group| number * 10_000 + i128::from(group));
            let moved = match u32::try_from(exponent) {
                Ok(up) => number * 10_i128.pow(up),
                Err(_) => {
                    let power = 10_i128.checked_pow(exponent.unsigned_abs());
                    power.map_or(0, |power| (number + power / 2) / power)
                }
            };
            return Unscaled::Small(if self.negative { -moved } else { moved });
        }
        let number = self.groups().fold(BigInt::ZERO, |number, group| number * 10_000 + group);
        let power = BigInt::from(10).pow(exponent.unsigned_abs());
        let moved = if exponent >= 0 { number * power } else { (number + &power / 2) / power };
        Unscaled::Large(if self.negative { -moved } else { moved })
    }

    /// The whole number, if it is one and fits.
    pub(super) fn whole(&self) -> Option<i64> {
        let behind = self.digits.len() as i32 / 2 - 1 - self.weight;
        if behind > 0 && self.groups().skip((self.weight + 1).max(0) as usize).any(|group| group != 0) {
            return None;
        }
        match self.unscaled(0) {
            Unscaled::Small(number) => number.try_into().ok(),
            Unscaled::Large(number) => number.try_into().ok(),
        }
    }

    /// The nearest double.
    pub(super) fn double(&self) -> Option<f64> {
        let mut text = String::with_capacity(self.digits.len() * 2 + 16);
        if self.negative {
            text.push('-');
        }
        text.push('0');
        for group in self.groups() {
            text.push_str(&format!("{group:04}"));
        }
        let exponent = (self.weight + 1 - self.digits.len() as i32 / 2) * 4;
        text.push_str(&format!("e{exponent}"));
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers() {
        let form = |words: &[u16]| bytes(words);
        let small = |words: &[u16], scale| match Numeric::read(&form(words)).unwrap().unscaled(scale) {
            Unscaled::Small(number) => number,
            Unscaled::Large(number) => panic!("{number}"),
        };
        assert_eq!(small(&[0, 0, 0, 2], 2), 0);
        assert_eq!(small(&[1, 0, 0, 0, 7], 2), 700);
        assert_eq!(small(&[2, 0, 0x4000, 2, 12, 3400], 2), -1234);
        assert_eq!(small(&[2, 0, 0, 4, 12, 3456], 2), 1235, "half up");
        assert_eq!(small(&[1, 1, 0, 0, 5], -2), 500);
        assert_eq!(small(&[1, 0xFFFF, 0, 4, 1], 4), 1);
        let large = bytes(&[12, 11, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let Unscaled::Large(number) = Numeric::read(&large).unwrap().unscaled(1) else { panic!() };
        assert_eq!(number.to_string(), "1000200030004000500060007000800090010001100120");
    }

    #[test]
    fn whole_numbers_and_doubles() {
        let whole = |words: &[u16]| Numeric::read(&bytes(words)).unwrap().whole();
        assert_eq!(whole(&[1, 1, 0, 0, 5]), Some(50_000));
        assert_eq!(whole(&[2, 0, 0, 2, 12, 3400]), None);
        assert_eq!(whole(&[0, 0, 0, 0]), Some(0));
        assert_eq!(whole(&[6, 5, 0, 0, 1, 2, 3, 4, 5, 6]), None, "too large");
        let double = |words: &[u16]| Numeric::read(&bytes(words)).unwrap().double();
        assert_eq!(double(&[2, 0, 0x4000, 2, 12, 3400]), Some(-12.34));
        assert_eq!(double(&[0, 0, 0, 0]), Some(0.0));
    }

    #[test]
    fn what_is_no_number() {
        assert!(Numeric::read(&bytes(&[0, 0, 0xC000, 0])).is_none(), "NaN");
        assert!(Numeric::read(&bytes(&[2, 0, 0, 0, 1])).is_none());
        assert!(Numeric::read(&[0]).is_none());
    }
}
