//! Which encoding a JSON text has, found as Jackson finds it: by a byte order mark, or by the zeros of its first bytes.

use std::borrow::Cow;

/// The text as UTF-8 without mark; `None` for an encoding that nobody reads. UTF-8 itself is not checked.
pub(super) fn utf8(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    // what nearly every text is
    if let [1..=0x7f, 1..=0x7f, ..] = bytes {
        return Some(Cow::Borrowed(bytes));
    }
    let quad: Option<[u8; 4]> = bytes.get(..4).and_then(|quad| quad.try_into().ok());
    Some(match (quad, bytes) {
        (Some([0, 0, 0xfe, 0xff]), _) => Cow::Owned(utf32(&bytes[4..], u32::from_be_bytes)),
        (Some([0xff, 0xfe, 0, 0]), _) => Cow::Owned(utf32(&bytes[4..], u32::from_le_bytes)),
        (Some([0, 0, 0xff, 0xfe] | [0xfe, 0xff, 0, 0]), _) => return None,
        (Some([0xfe, 0xff, ..]), _) => Cow::Owned(utf16(&bytes[2..], u16::from_be_bytes)),
        (Some([0xff, 0xfe, ..]), _) => Cow::Owned(utf16(&bytes[2..], u16::from_le_bytes)),
        (Some([0xef, 0xbb, 0xbf, _]), _) => Cow::Borrowed(&bytes[3..]),
        (Some([0, 0, 0, _]), _) => Cow::Owned(utf32(bytes, u32::from_be_bytes)),
        (Some([_, 0, 0, 0]), _) => Cow::Owned(utf32(bytes, u32::from_le_bytes)),
        (Some([0, _, 0, 0] | [0, 0, _, 0]), _) => return None,
        (_, [0, _, ..]) => Cow::Owned(utf16(bytes, u16::from_be_bytes)),
        (_, [_, 0, ..]) => Cow::Owned(utf16(bytes, u16::from_le_bytes)),
        _ => Cow::Borrowed(bytes),
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, _) = bytes.as_chunks();
    let units = pairs.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|char| char.unwrap_or('\u{fffd}')).collect::<String>().into_bytes()
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> Vec<u8> {
    let (quads, _) = bytes.as_chunks();
    let units = quads.iter().map(|quad| unit(*quad));
    units.map(|unit| char::from_u32(unit).unwrap_or('\u{fffd}')).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        for bytes in [
            &b"{\"a\":1}"[..],
            b"\xef\xbb\xbf{\"a\":1}",
            b"{\0\"\0a\0\"\0:\x001\0}\0",
            b"\0{\0\"\0a\0\"\0:\x001\0}",
            b"\xfe\xff\0{\0\"\0a\0\"\0:\x001\0}",
        ] {
            assert_eq!(utf8(bytes).as_deref(), Some(&b"{\"a\":1}"[..]));
        }
        assert_eq!(utf8(b"").as_deref(), Some(&b""[..]));
        assert_eq!(utf8(b"1").as_deref(), Some(&b"1"[..]));
        assert_eq!(utf8(&[0, 1, 0, 0]), None);
    }
}
