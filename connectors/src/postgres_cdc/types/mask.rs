//! What is done to a column's texts before they leave: `column.mask.…` and `column.truncate.…`.

use aqueduct_engine::data::{Batch, Span, Value};
use sha2::Digest;

/// What is done to a text before it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mask {
    /// So many asterisks instead.
    Asterisks(usize),
    /// At most so many characters.
    Truncate(usize),
    /// A hash instead.
    Hash(Hash),
}

/// How a text is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) algorithm: Algorithm,
    pub(crate) salt: String,
    /// Of the text's own bytes; else of the text as Java serializes it, which is how this began.
    pub(crate) plain: bool,
    /// The column's length, in characters: more does not fit.
    pub(crate) most: usize,
}

/// Hash functions, under the JVM's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Those that there are.
    pub(crate) const NAMES: [(&'static str, Algorithm); 6] = [
        ("MD5", Algorithm::Md5),
        ("SHA-1", Algorithm::Sha1),
        ("SHA-224", Algorithm::Sha224),
        ("SHA-256", Algorithm::Sha256),
        ("SHA-384", Algorithm::Sha384),
        ("SHA-512", Algorithm::Sha512),
    ];

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Algorithm::Md5 => <md5::Md5 as md5::Digest>::digest(bytes).to_vec(),
            Algorithm::Sha1 => <sha1::Sha1 as sha1::Digest>::digest(bytes).to_vec(),
            Algorithm::Sha224 => sha2::Sha224::digest(bytes).to_vec(),
            Algorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Algorithm::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            Algorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        }
    }
}

impl Hash {
    fn of(&self, text: &str) -> String {
        let mut bytes = self.salt.clone().into_bytes();
        if self.plain {
            bytes.extend_from_slice(text.as_bytes());
        } else {
            serialize(text, &mut bytes);
        }
        let mut hash = String::with_capacity(128);
        for byte in self.algorithm.digest(&bytes) {
            hash.extend(
                [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
            );
        }
        hash.truncate(self.most);
        hash
    }
}

/// A text as `java.io.ObjectOutputStream` writes it: a header, its length in bytes and its characters of UTF-16 in three bytes at
/// most.
fn serialize(text: &str, out: &mut Vec<u8>) {
    let mut content = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match unit {
            0x01..=0x7F => content.push(unit as u8),
            0 | 0x80..=0x7FF => content.extend([0xC0 | (unit >> 6) as u8, 0x80 | (unit & 0x3F) as u8]),
            _ => content.extend([
                0xE0 | (unit >> 12) as u8,
                0x80 | (unit >> 6 & 0x3F) as u8,
                0x80 | (unit & 0x3F) as u8,
            ]),
        }
    }
    out.extend([0xAC, 0xED, 0, 5]);
    match u16::try_from(content.len()) {
        Ok(length) => {
            out.push(0x74);
            out.extend(length.to_be_bytes());
        }
        Err(_) => {
            out.push(0x7C);
            out.extend((content.len() as u64).to_be_bytes());
        }
    }
    out.extend(content);
}

impl Mask {
    /// The parameter that the field's schema has.
    pub(super) fn parameter(&self) -> (&'static str, String) {
        match self {
            Mask::Truncate(most) => ("truncateLength", most.to_string()),
            Mask::Asterisks(_) | Mask::Hash(_) => ("masked", "true".to_owned()),
        }
    }

    /// What leaves instead of a text.
    pub(super) fn apply(&self, batch: &mut Batch, value: Value) -> Value {
        let Value::String(span) = value else { return value };
        match self {
            Mask::Asterisks(count) => Value::String(batch.put_str(&"*".repeat(*count))),
            Mask::Truncate(most) => {
                let length = batch.str(span).char_indices().nth(*most).map_or(span.len, |(at, _)| at as u32);
                Value::String(Span { len: length, ..span })
            }
            Mask::Hash(hash) => {
                let hashed = hash.of(batch.str(span));
                Value::String(batch.put_str(&hashed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_as_java_serializes_them() {
        let serialized = |text: &str| {
            let mut out = Vec::new();
            serialize(text, &mut out);
            out
        };
        assert_eq!(serialized("ab"), b"\xAC\xED\0\x05t\0\x02ab");
        assert_eq!(serialized("ä\u{1F600}"), b"\xAC\xED\0\x05t\0\x08\xC3\xA4\xED\xA0\xBD\xED\xB8\x80");
        assert_eq!(serialized(&"x".repeat(65_536))[..13], *b"\xAC\xED\0\x05|\0\0\0\0\0\x01\0\0");
    }
}
