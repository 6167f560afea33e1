//! Java's charsets by Java's names.

use std::borrow::Cow;

use encoding_rs::{EncoderResult, Encoding};

/// A charset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Charset {
    Utf8,
    Latin1,
    Ascii,
    /// With a byte order mark where Java writes one.
    Utf16(Utf16),
    /// Of the encoding standard of the web.
    Other(&'static Encoding),
}

/// Java's three forms of UTF-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Utf16 {
    Marked,
    Big,
    Little,
}

impl Charset {
    /// By name or alias, whatever the case.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" | "UNICODE-1-1-UTF-8" => Self::Utf8,
            "ISO-8859-1" | "ISO8859_1" | "ISO8859-1" | "ISO_8859-1" | "ISO_8859_1" | "ISO-IR-100"
            | "LATIN1" | "L1" | "CP819" | "IBM819" | "IBM-819" | "819" | "8859_1" | "CSISOLATIN1"
            | "ISO_8859-1:1987" => Self::Latin1,
            "US-ASCII" | "ASCII" | "ASCII7" | "ISO646-US" | "646" | "CP367" | "IBM367" | "ANSI_X3.4-1968"
            | "ANSI_X3.4-1986" | "ISO_646.IRV:1983" | "ISO_646.IRV:1991" | "ISO-IR-6" | "US" | "CSASCII"
            | "ISO646.1991-IRV" | "DEFAULT" => Self::Ascii,
            "UTF-16" | "UTF_16" | "UTF16" | "UNICODE" | "UNICODEBIG" => Self::Utf16(Utf16::Marked),
            "UTF-16BE" | "UTF_16BE" | "X-UTF-16BE" | "UNICODEBIGUNMARKED" | "ISO-10646-UCS-2" => {
                Self::Utf16(Utf16::Big)
            }
            "UTF-16LE" | "UTF_16LE" | "X-UTF-16LE" | "UNICODELITTLEUNMARKED" => Self::Utf16(Utf16::Little),
            _ => Self::Other(
                Encoding::for_label_no_replacement(name.as_bytes())
                    .filter(|_| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))?,
            ),
        })
    }

    /// Bytes as text; what is malformed becomes U+FFFD.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => decode_utf8(bytes),
            Self::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
            Self::Ascii => {
                let char = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' };
                bytes.iter().map(char).collect::<String>().into()
            }
            Self::Utf16(form) => form.decode(bytes).into(),
            Self::Other(encoding) => {
                let (text, _) = encoding.decode_without_bom_handling(bytes);
                if is_windows(encoding) && text.contains(is_c1) {
                    // the web gives the bytes that the code page lacks a meaning, Java does not
                    return text.replace(is_c1, "\u{fffd}").into();
                }
                text
            }
        }
    }

    /// Appends text as bytes; what the charset lacks becomes `?`.
    pub(super) fn encode(self, text: &str, out: &mut Vec<u8>) {
        let limit = match self {
            Self::Utf8 => return out.extend_from_slice(text.as_bytes()),
            Self::Latin1 => 0xff,
            Self::Ascii => 0x7f,
            Self::Utf16(form) => return form.encode(text, out),
            Self::Other(encoding) => return encode(encoding, text, out),
        };
        out.extend(text.chars().map(|char| if u32::from(char) <= limit { char as u32 as u8 } else { b'?' }));
    }

    /// Whether ASCII text is the same bytes in it.
    pub(super) fn keeps_ascii(self) -> bool {
        match self {
            Self::Utf8 | Self::Latin1 | Self::Ascii => true,
            Self::Utf16(_) => false,
            Self::Other(encoding) => encoding.is_ascii_compatible(),
        }
    }
}

fn is_windows(encoding: &'static Encoding) -> bool {
    encoding.name().starts_with("windows-")
}

fn is_c1(char: char) -> bool {
    ('\u{80}'..='\u{9f}').contains(&char)
}

fn encode(encoding: &'static Encoding, text: &str, out: &mut Vec<u8>) {
    let mut encoder = encoding.new_encoder();
    let replaced;
    let mut rest = text;
    if is_windows(encoding) && text.contains(is_c1) {
        replaced = text.replace(is_c1, "?");
        rest = &replaced;
    }
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        out.reserve(room.unwrap_or(rest.len() * 4 + 16));
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, out, true);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return,
            EncoderResult::OutputFull => out.reserve(64),
            EncoderResult::Unmappable(_) => out.push(b'?'),
        }
    }
}

/// UTF-8 as Java decodes it: as Rust does, but an encoded surrogate is one error, not three.
pub(super) fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, wrong) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).unwrap_or_default());
        text.push('\u{fffd}');
        let length = match wrong {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => error.error_len().unwrap_or(wrong.len()),
        };
        rest = &wrong[length..];
    }
    text.push_str(std::str::from_utf8(rest).unwrap_or_default());
    Cow::Owned(text)
}

impl Utf16 {
    fn decode(self, bytes: &[u8]) -> String {
        let (mut little, mut bytes) = (self == Self::Little, bytes);
        if self == Self::Marked {
            little = bytes.starts_with(&[0xff, 0xfe]);
            if little || bytes.starts_with(&[0xfe, 0xff]) {
                bytes = &bytes[2..];
            }
        }
        let (pairs, odd) = bytes.as_chunks();
        let mut units = pairs
            .iter()
            .map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) });
        let mut text = String::with_capacity(bytes.len());
        while let Some(unit) = units.next() {
            let code = match unit {
                // a high surrogate takes the next unit with it, whatever that is
                0xd800..0xdc00 => match units.next() {
                    Some(low @ 0xdc00..0xe000) => {
                        0x1_0000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(low) - 0xdc00)
                    }
                    _ => 0xfffd,
                },
                unit => unit.into(),
            };
            text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
        }
        text.extend((!odd.is_empty()).then_some('\u{fffd}'));
        text
    }

    fn encode(self, text: &str, out: &mut Vec<u8>) {
        let mark = (self == Self::Marked && !text.is_empty()).then_some(0xfeff);
        for unit in mark.into_iter().chain(text.encode_utf16()) {
            out.extend_from_slice(&if self == Self::Little {
                unit.to_le_bytes()
            } else {
                unit.to_be_bytes()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
        let charset = Charset::of(name).unwrap();
        let text = charset.decode(bytes).into_owned();
        let mut out = Vec::new();
        charset.encode(&text, &mut out);
        (text, out)
    }

    #[test]
    fn charsets_are_javas() {
        assert_eq!(round("utf-8", b"\xed\xa0\x80x\xff").0, "\u{fffd}x\u{fffd}");
        assert_eq!(round("latin1", b"\xe9"), ("é".into(), b"\xe9".to_vec()));
        assert_eq!(round("US-ASCII", b"a\xe9"), ("a\u{fffd}".into(), b"a?".to_vec()));
        assert_eq!(round("UTF-16", b"\0a"), ("a".into(), b"\xfe\xff\0a".to_vec()));
        assert_eq!(round("UTF-16LE", b"a\0\x3d\xd8"), ("a\u{fffd}".into(), b"a\0\xfd\xff".to_vec()));
        assert_eq!(round("windows-1252", b"\x80\x81"), ("€\u{fffd}".into(), b"\x80?".to_vec()));
        assert_eq!(round("KOI8-R", b"\xc1"), ("а".into(), b"\xc1".to_vec()));
        assert_eq!(Charset::of(""), None);
        assert_eq!(Charset::of("no-such"), None);
    }
}
