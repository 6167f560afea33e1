//! Base64 as Jackson reads it: padding is required, blanks may stand between groups of four, and what follows a padded
//! group is read on.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Appends the decoded bytes; `None` for text that is no base64.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    if BASE64_STANDARD.decode_vec(text, out).is_ok() {
        return Some(());
    }
    // the rare rest: blanks, bits left over, several padded parts
    out.truncate(start);
    let mut rest = text.iter().copied();
    while let Some(first) = rest.by_ref().find(|byte| *byte > b' ') {
        let mut bits = digit(first)? << 6 | digit(rest.next()?)?;
        match rest.next()? {
            b'=' => {
                if rest.next()? != b'=' {
                    return None;
                }
                out.push((bits >> 4) as u8);
                continue;
            }
            third => bits = bits << 6 | digit(third)?,
        }
        match rest.next()? {
            b'=' => {
                bits >>= 2;
                out.extend_from_slice(&[(bits >> 8) as u8, bits as u8]);
            }
            fourth => {
                bits = bits << 6 | digit(fourth)?;
                out.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
            }
        }
    }
    Some(())
}

const fn digit(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    } as u32)
}

#[cfg(test)]
mod tests {
    fn decode(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        super::decode(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn as_jackson() {
        assert_eq!(decode("AQID"), Some(vec![1, 2, 3]));
        assert_eq!(decode("AQID\n"), Some(vec![1, 2, 3]));
        assert_eq!(decode(" AQI=AQ=="), Some(vec![1, 2, 1]));
        assert_eq!(decode("AQJ="), Some(vec![1, 2]));
        assert_eq!(decode(""), Some(vec![]));
        for bad in ["AQI", "AQ I=", "####", "_-_-", "A", "AQ=A", "é"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
