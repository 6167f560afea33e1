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

/// Whether text stands in a JSON string as it is: nothing that ends [`plain`] text, nothing from `LIMIT` on. 0xf0 leaves out what
/// lies beyond the basic plane, which Jackson writes as a pair of escapes; 0x80 all that is not ASCII.
#[inline]
pub(in crate::converter) fn is_plain<const LIMIT: u8>(text: &[u8]) -> bool {
    // the last word overlaps the one before
    if let Some(last) = text.last_chunk::<8>() {
        let words = text.as_chunks::<8>().0.iter();
        return words
            .fold(special_in_word::<LIMIT>(*last), |found, word| found | special_in_word::<LIMIT>(*word))
            == 0;
    }
    if let (Some([a, b, c, d]), Some([e, f, g, h])) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return special_in_word::<LIMIT>([*a, *b, *c, *d, *e, *f, *g, *h]) == 0;
    }
    !text.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f) || *byte >= LIMIT)
}

#[inline]
const fn special_in_word<const LIMIT: u8>(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    let control = word.wrapping_sub(each(0x20)) & !word & each(0x80);
    let beyond = match LIMIT {
        0x80 => word & each(0x80),
        // first bytes of four: 0xf0 and above
        _ => word & (word << 1) & (word << 2) & (word << 3) & each(0x80),
    };
    zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | control | beyond
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_find_what_bytes_find(text in proptest::collection::vec(prop_oneof![4 => 0x20_u8..0x80, 1 => any::<u8>()], 0..40)) {
            let expected = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            prop_assert_eq!(super::plain(&text), expected.unwrap_or(text.len()));
            let plain = expected.is_none() && text.iter().all(|byte| *byte < 0xf0);
            prop_assert_eq!(super::is_plain::<0xf0>(&text), plain);
            prop_assert_eq!(super::is_plain::<0x80>(&text), expected.is_none() && text.is_ascii());
        }
    }
}
