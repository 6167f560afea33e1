//! The wire format of Protocol Buffers, read from bytes that may be anything.

use super::model::WireType;

/// Groups within groups that are passed over.
const MAX_GROUPS: usize = 100;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const ENDED: Malformed = Malformed("it ends in the middle of a field");

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

    pub(super) const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.at..) {
            Some([low, ..]) if *low < 0x80 => {
                self.at += 1;
                Ok(u64::from(*low))
            }
            Some([low, high, ..]) if *high < 0x80 => {
                self.at += 2;
                Ok(u64::from(*low & 0x7f) | (u64::from(*high) << 7))
            }
            _ => self.varint_slowly(),
        }
    }

    fn varint_slowly(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(ENDED)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a varint has more than 10 bytes"))
    }

    /// A field's number and how its value lies there.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, WireType), Malformed> {
        let tag = self.varint()? & 0xffff_ffff;
        let number = (tag >> 3) as u32;
        match WireType::of(tag) {
            Some(wire) if number > 0 => Ok((number, wire)),
            Some(_) => Err(Malformed("a field has the number 0")),
            None => Err(Malformed("a field has a wire type that is none")),
        }
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
    pub(super) fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| ENDED)?;
        self.take(len)
    }

    /// Passes over a value whose tag has been read.
    pub(super) fn skip(&mut self, number: u32, wire: WireType) -> Result<(), Malformed> {
        match wire {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.take(8).map(drop),
            WireType::Fixed32 => self.take(4).map(drop),
            WireType::Length => self.delimited().map(drop),
            WireType::EndGroup => Err(Malformed("a group ends that has not begun")),
            WireType::StartGroup => self.skip_group(number),
        }
    }

    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(last) = open.last().copied() {
            match self.tag()? {
                (number, WireType::StartGroup) if open.len() < MAX_GROUPS => open.push(number),
                (_, WireType::StartGroup) => return Err(Malformed("groups are nested too deeply")),
                (number, WireType::EndGroup) if number == last => drop(open.pop()),
                (number, wire) => self.skip(number, wire)?,
            }
        }
        Ok(())
    }
}

/// Undoes the zig-zag of signed numbers.
pub(super) const fn zig_zag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Which message of a schema: a count and indexes as zig-zag varints; a count of 0 stands for the first message. Gives the path and
/// the bytes that it takes.
pub(super) fn message_indexes(payload: &[u8]) -> Result<(Vec<usize>, usize), Malformed> {
    const WRONG: Malformed = Malformed("the list of message indexes is wrong");
    let mut cursor = Cursor::new(payload);
    let count = usize::try_from(zig_zag(cursor.varint()?)).map_err(|_| WRONG)?;
    if count == 0 {
        return Ok((vec![0], cursor.at));
    }
    if count > payload.len() {
        return Err(WRONG);
    }
    let mut path = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        path.push(usize::try_from(zig_zag(cursor.varint()?)).map_err(|_| WRONG)?);
    }
    Ok((path, cursor.at))
}

/// The bytes for a path.
pub(super) fn put_message_indexes(path: &[usize], out: &mut Vec<u8>) {
    if path == [0] {
        return out.push(0);
    }
    for number in std::iter::once(path.len()).chain(path.iter().copied()) {
        put_varint((number as u64) << 1, out);
    }
}

#[inline]
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_and_come() {
        for path in [vec![0], vec![1], vec![2, 0, 300]] {
            let mut out = Vec::new();
            put_message_indexes(&path, &mut out);
            assert_eq!(message_indexes(&out), Ok((path, out.len())));
        }
        assert_eq!(message_indexes(&[2, 0]), Ok((vec![0], 2)));
        assert!(message_indexes(&[1]).is_err() && message_indexes(&[0xfe, 0x7f, 0]).is_err());
        assert!(message_indexes(&[]).is_err());
    }

    #[test]
    fn groups_are_passed_over() {
        let mut cursor = Cursor::new(&[0x08, 1, 0x13, 0x14, 0x0c]);
        assert_eq!(cursor.skip(1, WireType::StartGroup), Ok(()));
        assert!(cursor.is_at_end());
        assert!(Cursor::new(&[0x14]).skip(1, WireType::StartGroup).is_err());
        assert!(Cursor::new(&[0x0b; 200]).skip(1, WireType::StartGroup).is_err());
    }
}
