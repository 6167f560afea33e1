//! Avro's binary encoding, read from bytes that may be anything.

/// Elements that take no bytes which are read: a few bytes could claim any number of them.
const MAX_EMPTY_ITEMS: u64 = 1 << 16;

/// Why bytes are no datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const ENDED: Malformed = Malformed("it ends in the middle of a value");

/// Bytes and how far they are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(ENDED)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        // most numbers have one or two bytes
        match self.bytes.get(self.at..) {
            Some([low, ..]) if *low < 0x80 => {
                self.at += 1;
                Ok(zig_zag(u64::from(*low)))
            }
            Some([low, high, ..]) if *high < 0x80 => {
                self.at += 2;
                Ok(zig_zag(u64::from(*low & 0x7f) | (u64::from(*high) << 7)))
            }
            Some(rest) => match rest.first_chunk::<8>() {
                Some(chunk) => self.long_of_word(u64::from_le_bytes(*chunk)),
                None => self.long_slowly(),
            },
            None => self.long_slowly(),
        }
    }

    /// A number of at most eight bytes, all groups of seven bits at once.
    #[inline]
    fn long_of_word(&mut self, word: u64) -> Result<i64, Malformed> {
        let ends = !word & 0x8080_8080_8080_8080;
        if ends == 0 {
            return self.long_slowly();
        }
        self.at += (ends.trailing_zeros() as usize + 1) / 8;
        // up to the first byte that ends it
        let groups = word & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
        let pairs = (groups & 0x007f_007f_007f_007f) | ((groups & 0x7f00_7f00_7f00_7f00) >> 1);
        let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
        Ok(zig_zag((fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4)))
    }

    fn long_slowly(&mut self) -> Result<i64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            // what does not fit falls off, as in Java
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(zig_zag(value));
            }
        }
        Err(Malformed("a long has more than 10 bytes"))
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        match self.bytes.get(self.at..) {
            Some([low, ..]) if *low < 0x80 => {
                self.at += 1;
                Ok(zig_zag(u64::from(*low)) as i32)
            }
            _ => self.int_slowly(),
        }
    }

    fn int_slowly(&mut self) -> Result<i32, Malformed> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(((value >> 1) as i32) ^ -((value & 1) as i32));
            }
        }
        Err(Malformed("an int has more than 5 bytes"))
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..len)).ok_or(ENDED)?;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>).ok_or(ENDED)?;
        self.at += N;
        Ok(*taken)
    }

    /// A length and as many bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.long()?).map_err(|_| Malformed("a length is negative"))?;
        self.take(len)
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.byte()? == 1)
    }

    /// An index into `count` things.
    #[inline]
    pub(super) fn index(&mut self, count: usize, beyond: &'static str) -> Result<usize, Malformed> {
        let index = self.int()?;
        usize::try_from(index).ok().filter(|index| *index < count).ok_or(Malformed(beyond))
    }

    /// Items in the next block; 0 after the last. `seen` counts all blocks of the collection.
    #[inline]
    pub(super) fn block(&mut self, seen: &mut Items) -> Result<u64, Malformed> {
        let mut count = self.long()?;
        if count < 0 {
            // its size in bytes, for those who skip
            self.long()?;
            count = count.checked_neg().ok_or(Malformed("a block has an impossible number of items"))?;
        }
        let count = count.unsigned_abs();
        if count == 0 {
            return Ok(0);
        }
        let rest = (self.bytes.len() - self.at) as u64;
        // an item has one byte at least, unless it has none
        let most = if seen.may_be_empty { rest.max(MAX_EMPTY_ITEMS) } else { rest };
        seen.count = seen.count.saturating_add(count);
        if count > most || (seen.may_be_empty && seen.count > most.saturating_add(MAX_EMPTY_ITEMS)) {
            return Err(Malformed("a block has more items than there are bytes left"));
        }
        Ok(count)
    }
}

/// Items of a collection so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Items {
    pub(super) count: u64,
    /// Whether an item may take no bytes.
    pub(super) may_be_empty: bool,
}

#[inline]
const fn zig_zag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length() {
        let long = |bytes: &[u8]| Cursor::new(bytes).long();
        assert_eq!(long(&[0x7f]), Ok(-64));
        assert_eq!(long(&[0x80, 0x01]), Ok(64));
        assert_eq!(long(&[0xff; 9].into_iter().chain([1]).collect::<Vec<_>>()), Ok(i64::MIN));
        assert!(long(&[0xff; 11]).is_err());
        assert!(long(&[0x80]).is_err());
        // with more bytes behind it, and without
        for bits in 0..64 {
            for value in [1_i64 << bits, -(1_i64 << (bits % 63)), (1_i64 << bits).wrapping_sub(1)] {
                let mut bytes = Vec::new();
                let mut rest = ((value << 1) ^ (value >> 63)) as u64;
                while rest >= 0x80 {
                    bytes.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
                let len = bytes.len();
                for behind in [0, 16] {
                    bytes.resize(len + behind, 0xff);
                    let mut cursor = Cursor::new(&bytes);
                    assert_eq!((cursor.long(), cursor.at), (Ok(value), len));
                }
            }
        }
        let int = |bytes: &[u8]| Cursor::new(bytes).int();
        assert_eq!(int(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(i32::MIN));
        assert_eq!(int(&[0xfe, 0xff, 0xff, 0xff, 0x7f]), Ok(i32::MAX));
        assert!(int(&[0xff; 6]).is_err());
    }

    #[test]
    fn lengths_that_lie_take_nothing() {
        // 2^62 bytes, -1 bytes
        assert!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).bytes().is_err());
        assert!(Cursor::new(&[0x01]).bytes().is_err());
        let mut items = Items::default();
        assert!(Cursor::new(&[0xfe, 0xff, 0x03, 0, 0]).block(&mut items).is_err());
        let mut empty = Items { count: 0, may_be_empty: true };
        assert!(Cursor::new(&[0xfe, 0xff, 0xff, 0xff, 0x0f]).block(&mut empty).is_err());
        assert_eq!(Cursor::new(&[0x02, 0]).block(&mut Items::default()), Ok(1));
        assert_eq!(Cursor::new(&[0x01, 0x02, 0]).block(&mut Items::default()), Ok(1));
    }
}
