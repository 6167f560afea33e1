//! `inet`, `cidr`, `macaddr`, `macaddr8`: text from the binary form.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reader::Reader;

/// PostgreSQL's numbers of the address families.
const INET: u8 = 2;
const INET6: u8 = 3;

/// An address with its mask, which `inet` leaves out where it covers the whole address.
pub(super) fn address(bytes: &[u8], always_mask: bool) -> Option<String> {
    let mut reader = Reader(bytes);
    let (family, bits, _is_cidr, length) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
    let address = reader.take(length.into())?;
    let (address, all): (IpAddr, u8) = match family {
        INET => (Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into(), 32),
        INET6 => (Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(), 128),
        _ => return None,
    };
    let mut text = address.to_string();
    if always_mask || bits != all {
        let _ = write!(text, "/{bits}");
    }
    Some(text)
}

/// Bytes with colons between them.
pub(super) fn mac(bytes: &[u8]) -> Option<String> {
    if bytes.len() != 6 && bytes.len() != 8 {
        return None;
    }
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        let _ = write!(text, "{colon}{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address(&[2, 8, 0, 4, 10, 0, 0, 1], false).as_deref(), Some("10.0.0.1/8"));
        assert_eq!(address(&[2, 32, 0, 4, 10, 0, 0, 1], false).as_deref(), Some("10.0.0.1"));
        assert_eq!(address(&[2, 32, 1, 4, 10, 0, 0, 1], true).as_deref(), Some("10.0.0.1/32"));
        let v6 = [&[3, 64, 0, 16][..], &[0x20, 1, 0xd, 0xb8], &[0; 11], &[1]].concat();
        assert_eq!(address(&v6, false).as_deref(), Some("2001:db8::1/64"));
        assert_eq!(address(&[2, 8, 0, 3, 10, 0, 0], false), None);
        assert_eq!(mac(&[8, 0, 0x2b, 1, 2, 3]).as_deref(), Some("08:00:2b:01:02:03"));
        assert_eq!(mac(&[1, 2]), None);
    }
}
