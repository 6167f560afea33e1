//! Splits what a file gives into lines, without copying them.

use bytes::{Bytes, BytesMut};

/// Where a line lies in the `Bytes` that it was split from, without its terminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineSpan {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// A line has grown beyond the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineTooLong {
    /// Byte position of the line's first byte in the file.
    pub(super) position: u64,
}

/// Bytes read from a file and not yet given out as lines.
///
/// A line ends at `\n`, `\r\n` or a lone `\r`; a `\r` at the end of what is known is undecided until the next byte comes.
/// What follows the last terminator stays here.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    /// What has been read beyond `position`.
    pub(super) bytes: BytesMut,
    /// Position in the file of the first byte of `bytes`.
    position: u64,
    /// How many of `bytes` are known to hold no terminator, so that a long line is searched once.
    searched: usize,
}

impl LineBuffer {
    /// An empty buffer whose next byte is at `position` of the file.
    pub(super) fn at(position: u64) -> LineBuffer {
        LineBuffer { position, ..LineBuffer::default() }
    }

    /// Position behind the last line given out: what is committed and where a restart reads on.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Splits off at most `max_lines` lines; `lines` gets their places in the bytes returned. None if no line is complete.
    pub(super) fn take_lines(
        &mut self,
        max_lines: usize,
        max_line_bytes: usize,
        lines: &mut Vec<LineSpan>,
    ) -> Result<Option<Bytes>, LineTooLong> {
        lines.clear();
        let bytes = &self.bytes[..];
        let searched_before = self.searched;
        let mut start = 0;
        // where the next search has to begin: the end, unless the loop leaves something undecided behind
        self.searched = bytes.len();
        for at in memchr::memchr2_iter(b'\n', b'\r', &bytes[searched_before..]) {
            let at = at + searched_before;
            if at < start {
                continue; // the \n of a \r\n
            }
            let next = match (bytes[at], bytes.get(at + 1)) {
                (b'\r', Some(b'\n')) => Some(at + 2),
                (b'\r', None) => None,
                _ => Some(at + 1),
            };
            let full = lines.len() == max_lines || at - start > max_line_bytes;
            let Some(next) = next.filter(|_| !full) else {
                self.searched = at;
                break;
            };
            lines.push(LineSpan { start: start as u32, len: (at - start) as u32 });
            start = next;
        }
        if lines.is_empty() {
            if self.searched > max_line_bytes {
                return Err(LineTooLong { position: self.position });
            }
            return Ok(None);
        }
        self.searched -= start;
        self.position += start as u64;
        Ok(Some(self.bytes.split_to(start).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(buffer: &mut LineBuffer, max: usize) -> Vec<String> {
        let mut spans = Vec::new();
        let Some(bytes) = buffer.take_lines(max, 1000, &mut spans).unwrap() else { return Vec::new() };
        let text = |span: &LineSpan| &bytes[span.start as usize..(span.start + span.len) as usize];
        spans.iter().map(|span| String::from_utf8(text(span).to_vec()).unwrap()).collect()
    }

    #[test]
    fn all_terminators_and_the_partial_line() {
        let mut buffer = LineBuffer::at(7);
        buffer.bytes.extend_from_slice(b"a\nbc\r\n\nd\re\n\r\nrest\r");
        assert_eq!(lines_of(&mut buffer, 2), ["a", "bc"]);
        assert_eq!(buffer.position(), 7 + 6);
        assert_eq!(lines_of(&mut buffer, 9), ["", "d", "e", ""]);
        assert_eq!(lines_of(&mut buffer, 9), [""; 0], "the \\r may be the first half of a terminator");
        buffer.bytes.extend_from_slice(b"\n");
        assert_eq!(lines_of(&mut buffer, 9), ["rest"]);
        buffer.bytes.extend_from_slice(b"x\r");
        assert_eq!(lines_of(&mut buffer, 9), [""; 0]);
        buffer.bytes.extend_from_slice(b"y");
        assert_eq!(lines_of(&mut buffer, 9), ["x"]);
        assert_eq!(&buffer.bytes[..], b"y");
    }

    #[test]
    fn any_cut_of_the_input_gives_the_same_lines_and_positions() {
        let text = "one\r\n\r\rtwo\n\nthree\r\n four \rfive\n".repeat(3);
        let mut whole = LineBuffer::at(0);
        whole.bytes.extend_from_slice(text.as_bytes());
        let expected = lines_of(&mut whole, 1000);
        assert_eq!(expected.len(), 8 * 3);
        for step in 1..text.len() {
            for max in [1, 2, 1000] {
                let (mut buffer, mut found) = (LineBuffer::at(0), Vec::new());
                for chunk in text.as_bytes().chunks(step) {
                    buffer.bytes.extend_from_slice(chunk);
                    loop {
                        let lines = lines_of(&mut buffer, max);
                        if lines.is_empty() {
                            break;
                        }
                        found.extend(lines);
                    }
                }
                assert_eq!(found, expected, "step {step} max {max}");
                assert_eq!(buffer.position(), text.len() as u64);
            }
        }
    }

    #[test]
    fn a_line_beyond_the_bound_is_named_after_the_lines_before_it() {
        let mut buffer = LineBuffer::at(0);
        buffer.bytes.extend_from_slice(b"ok\n0123456789\nmore\n");
        let mut spans = Vec::new();
        assert!(buffer.take_lines(10, 5, &mut spans).unwrap().is_some());
        assert_eq!(spans.len(), 1);
        assert_eq!(buffer.take_lines(10, 5, &mut spans), Err(LineTooLong { position: 3 }));
    }
}
