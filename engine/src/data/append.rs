//! Numbers and short text at the end of a buffer, without calls: room of a fixed length is made first and then written to.
//! Bytes that were written in small pieces are not read again as a large one, which a processor would wait for.

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

const TENS: [u64; 20] = {
    let mut tens = [1; 20];
    let mut power = 1;
    while power < 20 {
        tens[power] = tens[power - 1] * 10;
        power += 1;
    }
    tens
};

/// How many digits a number has.
#[inline]
const fn digits(value: u64) -> usize {
    // log10(2) is 1233/4096, nearly: it may be one too many
    let most = (((u64::BITS - (value | 1).leading_zeros()) * 1233) >> 12) as usize;
    most + (value >= TENS[most]) as usize
}

/// Most characters of a number: those of `i64::MIN`.
const DIGITS: usize = 20;
/// Text up to this length is short.
const SHORT: usize = 32;

/// Appends a number in decimal digits.
#[inline]
pub(crate) fn integer(value: i64, out: &mut Vec<u8>) {
    let mut rest = value.unsigned_abs();
    let start = out.len();
    let first = start + usize::from(value < 0);
    let end = first + digits(rest).max(1);
    out.extend_from_slice(&[b'-'; DIGITS]);
    let Some(digits) = out.get_mut(first..end) else { return };
    let mut left = digits;
    while rest >= 10_000 {
        let Some((before, [a, b, c, d])) = left.split_last_chunk_mut::<4>() else { return };
        let four = (rest % 10_000) as usize;
        ([*a, *b], [*c, *d]) = (PAIRS[four / 100], PAIRS[four % 100]);
        rest /= 10_000;
        left = before;
    }
    if rest >= 100 {
        let Some((before, pair)) = left.split_last_chunk_mut::<2>() else { return };
        *pair = PAIRS[(rest % 100) as usize];
        rest /= 100;
        left = before;
    }
    match left {
        [tens, ones] => [*tens, *ones] = PAIRS[rest as usize],
        [ones] => *ones = b'0' + rest as u8,
        _ => {}
    }
    out.truncate(end);
}

/// Appends text between double quotes.
#[inline]
pub(crate) fn between_quotes(text: &[u8], out: &mut Vec<u8>) {
    between(b'"', text, b'"', out);
}

/// Appends a byte, text and another byte.
#[inline]
pub(crate) fn between(before: u8, text: &[u8], after: u8, out: &mut Vec<u8>) {
    if text.len() > SHORT {
        out.reserve(text.len() + 2);
        out.push(before);
        out.extend_from_slice(text);
        out.push(after);
        return;
    }
    let start = out.len();
    out.extend_from_slice(&[before; SHORT + 2]);
    let room = &mut out[start + 1..];
    copy(text, room);
    room[text.len()] = after;
    out.truncate(start + text.len() + 2);
}

/// Appends text as it is.
#[inline]
pub(crate) fn text(text: &[u8], out: &mut Vec<u8>) {
    if text.len() > SHORT {
        return out.extend_from_slice(text);
    }
    let start = out.len();
    out.extend_from_slice(&[0; SHORT]);
    copy(text, &mut out[start..]);
    out.truncate(start + text.len());
}

/// Copies short text in pieces of fixed length that may overlap. `room` is as long at least.
#[inline]
fn copy(text: &[u8], room: &mut [u8]) {
    let room = &mut room[..text.len()];
    if pieces::<16>(text, room) || pieces::<8>(text, room) || pieces::<4>(text, room) {
        return;
    }
    for (to, from) in room.iter_mut().zip(text).take(3) {
        *to = *from;
    }
}

/// Copies the first and the last piece. False for text that is shorter than one or longer than two.
#[inline]
fn pieces<const N: usize>(text: &[u8], room: &mut [u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else { return false };
    if let Some(to) = room.first_chunk_mut::<N>() {
        *to = *first;
    }
    if let Some(to) = room.last_chunk_mut::<N>() {
        *to = *last;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn written(value: i64) -> String {
        let mut out = b"x".to_vec();
        super::integer(value, &mut out);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn the_ends_of_each_length() {
        for power in 0..19 {
            let ten = 10_i64.pow(power);
            for value in [ten - 1, ten, ten + 1, -ten, 1 - ten] {
                assert_eq!(written(value), value.to_string());
            }
        }
        assert_eq!(written(i64::MIN), i64::MIN.to_string());
        assert_eq!(written(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn text_of_every_length() {
        for length in 0..50_u8 {
            let text: Vec<u8> = (1..=length).collect();
            let mut out = b"x".to_vec();
            super::between_quotes(&text, &mut out);
            assert_eq!(out, [b"x\"", &text[..], b"\""].concat());
            super::between(b'{', &text, b'=', &mut out);
            super::text(&text, &mut out);
            assert_eq!(out, [b"x\"", &text[..], b"\"{", &text, b"=", &text].concat());
        }
    }

    proptest! {
        #[test]
        fn any_number(value: i64) {
            prop_assert_eq!(written(value), value.to_string());
        }
    }
}
