//! A cursor over JSON text: tokens by place, nothing built. The text has been checked to be UTF-8 by whoever makes one.

use std::borrow::Cow;

/// Deepest nesting that is read, as Jackson has it.
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
}

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
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
        let follows = self.text.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
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
        loop {
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { start, end: at, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(0..=0x1f) => return Err(Malformed { at, what: "a control character inside a string" }),
                Some(_) => at += 1,
                None => return Err(Malformed { at: self.at, what: "a string without end" }),
            }
        }
    }

    /// A number; its text, and whether it has a fraction or an exponent.
    #[inline]
    pub(super) fn number(&mut self) -> Result<(&'a str, bool)> {
        let start = self.at;
        let mut at = start + usize::from(self.peek() == Some(b'-'));
        let first = at;
        let digits = |mut at: usize| {
            while let Some(b'0'..=b'9') = self.text.get(at) {
                at += 1;
            }
            at
        };
        at = digits(at);
        let leading_zero = at > first + 1 && self.text[first] == b'0';
        if at == first || leading_zero {
            return self.malformed("a malformed number");
        }
        let mut fraction = false;
        if self.text.get(at) == Some(&b'.') {
            let from = at + 1;
            at = digits(from);
            fraction = true;
            if at == from {
                return self.malformed("a number without digits after its point");
            }
        }
        if let Some(b'e' | b'E') = self.text.get(at) {
            let from = at + 1 + usize::from(matches!(self.text.get(at + 1), Some(b'+' | b'-')));
            at = digits(from);
            fraction = true;
            if at == from {
                return self.malformed("a number without digits in its exponent");
            }
        }
        if self.text.get(at).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return self.malformed("a malformed number");
        }
        self.at = at;
        Ok((std::str::from_utf8(&self.text[start..at]).unwrap_or("0"), fraction))
    }

    /// Steps over a value.
    pub(super) fn skip(&mut self, depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return self.malformed("nested too deeply");
        }
        match self.kind()? {
            Kind::Null => self.literal(b"null"),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::Array => {
                self.at += 1;
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
                self.at += 1;
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
