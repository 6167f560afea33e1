//! Bytes of strings, eight at a time.

/// A byte in each place of a word.
const fn each(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// The high bit of each byte of `word` that is zero. Bits above the first one may be wrong.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

/// Where the first byte is that ends plain text: a quote, a backslash or a control character; the length if there is none.
#[inline]
pub(super) fn plain(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // a byte below 0x20 borrows when 0x20 is taken off, unless its high bit is set
        let control = word.wrapping_sub(each(0x20)) & !word & each(0x80);
        let found = zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | control;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let at = text.len() - rest.len();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

/// Whether text stands in a JSON string as it is: nothing that ends [`plain`] text, nothing beyond the basic plane, which
/// Jackson writes as a pair of escapes.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let special = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(each(0x20)) & !word & each(0x80);
        // first bytes of four: 0xf0 and above
        let beyond = word & (word << 1) & (word << 2) & (word << 3) & each(0x80);
        zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | control | beyond
    };
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().all(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f | 0xf0..));
    };
    // the last word overlaps the one before
    let found = text.as_chunks::<8>().0.iter().fold(special(last), |found, word| found | special(word));
    found == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_find_what_bytes_find(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            prop_assert_eq!(super::plain(&text), expected.unwrap_or(text.len()));
            let plain = expected.is_none() && text.iter().all(|byte| *byte < 0xf0);
            prop_assert_eq!(super::is_plain(&text), plain);
        }
    }
}
