//! Confluent's wire format: a zero byte, the schema's id (4 bytes, big-endian), the payload.

/// What every message begins with.
const MAGIC: u8 = 0;
/// Bytes before the payload.
pub(in crate::converter) const PREFIX: usize = 5;

/// Id and payload; `None` for bytes that are not in the wire format.
#[inline]
pub(super) fn split(message: &[u8]) -> Option<(i32, &[u8])> {
    match message {
        [MAGIC, a, b, c, d, payload @ ..] => Some((i32::from_be_bytes([*a, *b, *c, *d]), payload)),
        _ => None,
    }
}

/// What is wrong with bytes that [`split`] refuses.
pub(super) fn refusal(message: &[u8]) -> String {
    match message.first() {
        None => "Unknown magic byte! The message is empty".to_owned(),
        Some(&MAGIC) => {
            format!(
                "the message has {} bytes, fewer than the {PREFIX} of magic byte and schema id",
                message.len()
            )
        }
        Some(first) => format!(
            "Unknown magic byte! The message begins with {first:#04x}, not with 0x00: it was not written with a schema \
             registry's serializer"
        ),
    }
}

/// Appends what precedes the payload.
#[inline]
pub(super) fn put_prefix(id: i32, out: &mut Vec<u8>) {
    let [a, b, c, d] = id.to_be_bytes();
    out.extend_from_slice(&[MAGIC, a, b, c, d]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_go_and_come() {
        let mut out = Vec::new();
        put_prefix(-7, &mut out);
        out.push(9);
        assert_eq!(split(&out), Some((-7, &[9][..])));
        assert_eq!(split(&out[..4]), None);
        assert!(refusal(&out[..4]).contains("4 bytes"));
        assert!(refusal(b"{}").contains("0x7b"));
        assert!(refusal(b"").contains("Unknown magic byte"));
    }
}
