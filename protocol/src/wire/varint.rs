//! Zig-zag varints of the record format, and the unsigned varints of flexible messages.
//!
//! Kafka's varints hold at most five bytes (32 bits) or ten bytes (64 bits); anything longer is malformed.

/// Most bytes a 32-bit varint may have.
pub const MAX_VARINT_LEN: usize = 5;
/// Most bytes a 64-bit varint may have.
pub const MAX_VARLONG_LEN: usize = 10;

/// Zig-zag of a 32-bit number: small magnitudes become small unsigned numbers.
#[inline]
#[must_use]
pub const fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

/// Zig-zag of a 64-bit number.
#[inline]
#[must_use]
pub const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
#[must_use]
pub const fn unzigzag(value: u32) -> i32 {
    ((value >> 1) as i32) ^ -((value & 1) as i32)
}

/// The inverse of [`zigzag64`].
#[inline]
#[must_use]
pub const fn unzigzag64(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Bytes that `value` takes as an unsigned varint.
#[inline]
#[must_use]
pub const fn unsigned_len(value: u64) -> usize {
    // One byte for each started group of seven bits; zero takes one byte as well.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Bytes that `value` takes as a zig-zag varint.
#[inline]
#[must_use]
pub const fn varint_len(value: i32) -> usize {
    unsigned_len(zigzag(value) as u64)
}

/// Bytes that `value` takes as a zig-zag varlong.
#[inline]
#[must_use]
pub const fn varlong_len(value: i64) -> usize {
    unsigned_len(zigzag64(value))
}

/// Writes `value` as an unsigned varint at `at`, gives the position after it.
///
/// # Panics
/// If `out` has no room for it; callers bring a buffer of the maximal size.
#[inline]
pub fn put_unsigned(out: &mut [u8], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        at += 1;
        value >>= 7;
    }
    out[at] = value as u8;
    at + 1
}

/// Appends `value` to `out` as an unsigned varint.
#[inline]
pub fn push_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a zig-zag varint (32 bits) at `*at` and moves `*at` behind it; `None` if the bytes end or the number is too long.
#[inline]
pub fn get_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    get_unsigned32(bytes, at).map(unzigzag)
}

/// Reads an unsigned varint of 32 bits; `None` if the bytes end or the number is too long.
#[inline]
pub fn get_unsigned32(bytes: &[u8], at: &mut usize) -> Option<u32> {
    // Lengths and deltas nearly always fit one or two bytes: no loop for those.
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(u32::from(first));
    }
    let second = *bytes.get(*at + 1)?;
    if second < 0x80 {
        *at += 2;
        return Some(u32::from(first & 0x7f) | u32::from(second) << 7);
    }
    get_long32(bytes, at)
}

#[cold]
fn get_long32(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0u32;
    for (index, byte) in bytes.get(*at..)?.iter().take(MAX_VARINT_LEN).enumerate() {
        // As the JVM does: bits past the 32nd are dropped, a sixth byte is an error.
        value |= u32::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            *at += index + 1;
            return Some(value);
        }
    }
    None
}

/// Reads a zig-zag varlong (64 bits); `None` if the bytes end or the number is too long.
#[inline]
pub fn get_varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag64(u64::from(first)));
    }
    let second = *bytes.get(*at + 1)?;
    if second < 0x80 {
        *at += 2;
        return Some(unzigzag64(u64::from(first & 0x7f) | u64::from(second) << 7));
    }
    get_long64(bytes, at)
}

#[cold]
fn get_long64(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0u64;
    for (index, byte) in bytes.get(*at..)?.iter().take(MAX_VARLONG_LEN).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            *at += index + 1;
            return Some(unzigzag64(value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        push_unsigned(&mut out, value);
        let mut fixed = [0; MAX_VARLONG_LEN];
        let end = put_unsigned(&mut fixed, 0, value);
        assert_eq!(&fixed[..end], &out[..]);
        out
    }

    #[test]
    fn known_encodings() {
        assert_eq!(put(u64::from(zigzag(0))), [0]);
        assert_eq!(put(u64::from(zigzag(-1))), [1]);
        assert_eq!(put(u64::from(zigzag(1))), [2]);
        assert_eq!(put(u64::from(zigzag(63))), [0x7e]);
        assert_eq!(put(u64::from(zigzag(64))), [0x80, 0x01]);
        assert_eq!(put(u64::from(zigzag(-65))), [0x81, 0x01]);
        assert_eq!(put(u64::from(zigzag(i32::MAX))), [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(put(u64::from(zigzag(i32::MIN))), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(put(zigzag64(i64::MIN)).len(), MAX_VARLONG_LEN);
    }

    #[test]
    fn too_long_or_cut_off_is_none() {
        assert_eq!(get_varint(&[0x80; 6], &mut 0), None);
        assert_eq!(get_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], &mut 0), None);
        assert_eq!(get_varlong(&[0x80; 11], &mut 0), None);
        assert_eq!(get_varint(&[0x80], &mut 0), None);
        assert_eq!(get_varint(&[], &mut 0), None);
        assert_eq!(get_varint(&[0], &mut 7), None);
        assert_eq!(get_varint(&[0x80; 4], &mut 1), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, small: i32, prefix in 0usize..3) {
            let mut bytes = vec![0xff; prefix];
            push_unsigned(&mut bytes, zigzag64(value));
            let mut at = prefix;
            prop_assert_eq!(get_varlong(&bytes, &mut at), Some(value));
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(varlong_len(value), bytes.len() - prefix);
            let mut bytes = vec![0xff; prefix];
            push_unsigned(&mut bytes, u64::from(zigzag(small)));
            let mut at = prefix;
            prop_assert_eq!(get_varint(&bytes, &mut at), Some(small));
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(varint_len(small), bytes.len() - prefix);
        }
    }
}
