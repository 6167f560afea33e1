//! A cursor over JSON text: tokens by place, nothing built. The text has been checked to be UTF-8 by whoever makes one.

use std::borrow::Cow;

use super::text_scan;

/// Most arrays and objects inside each other, as Jackson has it.
pub(super) const MAX_DEPTH: u32 = 1000;

/// What is wrong with a text, for the log; never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// What the next value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// Jackson's `JsonNodeType`.
    pub(super) const fn node_type(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean => "BOOLEAN",
            Self::Number => "NUMBER",
            Self::String => "STRING",
            Self::Array => "ARRAY",
            Self::Object => "OBJECT",
        }
    }
}

/// A string's content: a place in the text, or with escapes that have to be decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) escaped: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    /// Whether a tree had members of the same name.
    pub(super) duplicates: bool,
}

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at, duplicates: false }
    }

    pub(super) const fn malformed<T>(&self, what: &'static str) -> Result<T> {
        Err(Malformed { at: self.at, what })
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes `byte` after blanks, if it is there.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.take(byte) { Ok(()) } else { self.malformed(what) }
    }

    /// Kind of the next value, blanks skipped.
    #[inline]
    pub(super) fn kind(&mut self) -> Result<Kind> {
        self.skip_blanks();
        match self.peek() {
            Some(b'"') => Ok(Kind::String),
            Some(b'0'..=b'9' | b'-') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => self.malformed("no JSON value"),
            None => self.malformed("the text ends where a value is expected"),
        }
    }

    pub(super) fn literal(&mut self, word: &[u8]) -> Result<()> {
        let end = self.at + word.len();
        // a letter beyond ASCII, or the first byte of one
        let follows = self
            .text
            .get(end)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | 0x80..));
        if self.text.get(self.at..end) != Some(word) || follows {
            return self.malformed("no such literal");
        }
        self.at = end;
        Ok(())
    }

    pub(super) fn boolean(&mut self) -> Result<bool> {
        if self.peek() == Some(b't') {
            self.literal(b"true").map(|()| true)
        } else {
            self.literal(b"false").map(|()| false)
        }
    }

    /// A string, from its opening quote on.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        while let Some(rest) = self.text.get(at..) {
            at += text_scan::plain(rest);
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { start, end: at, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => return Err(Malformed { at, what: "a control character inside a string" }),
                None => break,
            }
        }
        Err(Malformed { at: self.at, what: "a string without end" })
    }

    /// Steps over the bracket of an array or object that has `depth` others around it.
    #[inline]
    pub(super) const fn open(&mut self, depth: u32) -> Result<()> {
        if depth >= MAX_DEPTH {
            return self.malformed("nested too deeply");
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over a value.
    pub(super) fn skip(&mut self, depth: u32) -> Result<()> {
        match self.kind()? {
            Kind::Null => self.literal(b"null"),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::Array => {
                self.open(depth)?;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if self.take(b']') {
                        return Ok(());
                    }
                    self.expect(b',', "no comma between the items of an array")?;
                }
            }
            Kind::Object => {
                self.open(depth)?;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.name()?;
                    self.skip(depth + 1)?;
                    if self.take(b'}') {
                        return Ok(());
                    }
                    self.expect(b',', "no comma between the members of an object")?;
                }
            }
        }
    }

    /// A member's name and the colon.
    pub(super) fn name(&mut self) -> Result<Text> {
        self.skip_blanks();
        if self.peek() != Some(b'"') {
            return self.malformed("no member name");
        }
        let name = self.string()?;
        self.expect(b':', "no colon after a member's name")?;
        Ok(name)
    }

    /// The text's content, escapes decoded.
    pub(super) fn content(&self, text: Text) -> Result<Cow<'a, [u8]>> {
        let raw = &self.text[text.start..text.end];
        if text.escaped { unescape(raw, text.start).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw)) }
    }
}

/// Decodes escapes. A lone surrogate becomes `?`, as where Java writes it as UTF-8.
fn unescape(raw: &[u8], at: usize) -> Result<Vec<u8>> {
    let bad = |index: usize| Malformed { at: at + index, what: "a malformed escape" };
    let unit = |index: usize| -> Result<u32> {
        let digits = raw.get(index..index + 4).ok_or(bad(index))?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad(index));
        }
        std::str::from_utf8(digits).ok().and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(bad(index))
    };
    let mut out = Vec::with_capacity(raw.len());
    let mut index = 0;
    while let Some(&byte) = raw.get(index) {
        if byte != b'\\' {
            out.push(byte);
            index += 1;
            continue;
        }
        let escape = *raw.get(index + 1).ok_or(bad(index))?;
        index += 2;
        let plain = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = unit(index)?;
                index += 4;
                if (0xd800..0xdc00).contains(&code) && raw.get(index..index + 2) == Some(b"\\u") {
                    let low = unit(index + 2)?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                        index += 6;
                    }
                }
                let char = char::from_u32(code).unwrap_or('?');
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(bad(index - 2)),
        };
        out.push(plain);
    }
    Ok(out)
}
