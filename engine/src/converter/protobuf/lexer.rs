//! The words of a `.proto` text.

/// A word and what kind it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// An identifier, with the dots in it.
    Name(String),
    /// A number as it stands there.
    Number(String),
    /// What a text literal stands for.
    Text(String),
    Sign(char),
    End,
}

pub(super) struct Lexer<'a> {
    rest: &'a str,
    whole: usize,
    peeked: Option<Token>,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text, whole: text.len(), peeked: None }
    }

    /// Bytes before what is still to be read.
    pub(super) const fn at(&self) -> usize {
        self.whole - self.rest.len()
    }

    pub(super) fn peek(&mut self) -> Result<&Token, String> {
        if self.peeked.is_none() {
            self.peeked = Some(self.scan()?);
        }
        Ok(self.peeked.as_ref().unwrap_or(&Token::End))
    }

    pub(super) fn next(&mut self) -> Result<Token, String> {
        match self.peeked.take() {
            Some(token) => Ok(token),
            None => self.scan(),
        }
    }

    /// Takes a sign, if it is the next word.
    pub(super) fn takes(&mut self, sign: char) -> Result<bool, String> {
        let is_it = *self.peek()? == Token::Sign(sign);
        if is_it {
            self.peeked = None;
        }
        Ok(is_it)
    }

    pub(super) fn expect(&mut self, sign: char) -> Result<(), String> {
        if self.takes(sign)? {
            return Ok(());
        }
        let found = self.next()?;
        Err(format!("\"{sign}\" is expected, not {found:?}"))
    }

    pub(super) fn name(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Name(name) => Ok(name),
            other => Err(format!("a name is expected, not {other:?}")),
        }
    }

    /// A text, of several literals behind each other.
    pub(super) fn text(&mut self) -> Result<String, String> {
        let Token::Text(mut text) = self.next()? else { return Err("a text is expected".to_owned()) };
        while let Token::Text(_) = self.peek()? {
            if let Token::Text(more) = self.next()? {
                text.push_str(&more);
            }
        }
        Ok(text)
    }

    /// A whole number, with a sign if need be.
    pub(super) fn integer(&mut self) -> Result<i64, String> {
        let negative = self.takes('-')?;
        let token = self.next()?;
        let Token::Number(digits) = &token else {
            return Err(format!("a number is expected, not {token:?}"));
        };
        let value = integer(digits).ok_or_else(|| format!("{digits} is no whole number"))?;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    fn skip_blanks(&mut self) -> Result<(), String> {
        loop {
            self.rest = self.rest.trim_start_matches(|char: char| char.is_whitespace() || char == '\u{feff}');
            if self.rest.starts_with("//") || self.rest.starts_with('#') {
                self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
            } else if let Some(inside) = self.rest.strip_prefix("/*") {
                let end = inside.find("*/").ok_or("a comment has no end")?;
                self.rest = &inside[end + 2..];
            } else {
                return Ok(());
            }
        }
    }

    fn scan(&mut self) -> Result<Token, String> {
        self.skip_blanks()?;
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        let second = self.rest.as_bytes().get(1).copied().unwrap_or_default();
        if first == '"' || first == '\'' {
            return self.scan_text(first);
        }
        let is_name = first.is_ascii_alphabetic() || first == '_';
        if is_name || (first == '.' && (second.is_ascii_alphabetic() || second == b'_')) {
            return Ok(Token::Name(self.cut(|char| char.is_ascii_alphanumeric() || "_.".contains(char))));
        }
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            let mut last = ' ';
            let text = self.cut(|char| {
                let exponent = "+-".contains(char) && "eE".contains(last);
                last = char;
                exponent || char.is_ascii_alphanumeric() || char == '.'
            });
            return Ok(Token::Number(text));
        }
        self.rest = &self.rest[first.len_utf8()..];
        Ok(Token::Sign(first))
    }

    fn cut(&mut self, mut belongs: impl FnMut(char) -> bool) -> String {
        let end = self.rest.find(|char| !belongs(char)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn scan_text(&mut self, quote: char) -> Result<Token, String> {
        let mut out: Vec<u8> = Vec::new();
        let mut chars = self.rest[1..].char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '\n' => break,
                _ if char == quote => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(Token::Text(String::from_utf8_lossy(&out).into_owned()));
                }
                '\\' => {
                    let (_, escape) = chars.next().ok_or("a text has no end")?;
                    let (radix, most, mut value) = match escape {
                        'x' | 'X' => (16, 2, 0),
                        'u' => (16, 4, 0),
                        'U' => (16, 8, 0),
                        '0'..='7' => (8, 2, escape.to_digit(8).unwrap_or_default()),
                        other => {
                            out.push(simple_escape(other).ok_or_else(|| format!("\\{other} means nothing"))?);
                            continue;
                        }
                    };
                    for _ in 0..most {
                        let Some(digit) = chars.peek().and_then(|(_, char)| char.to_digit(radix)) else {
                            break;
                        };
                        value = value.wrapping_mul(radix).wrapping_add(digit);
                        chars.next();
                    }
                    if most > 2 {
                        let char = char::from_u32(value).ok_or("an escape is no character")?;
                        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    } else {
                        out.push(value as u8);
                    }
                }
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err("a text has no end".to_owned())
    }
}

const fn simple_escape(char: char) -> Option<u8> {
    Some(match char {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '?' => char as u8,
        _ => return None,
    })
}

/// Decimal, hexadecimal or octal.
pub(super) fn integer(digits: &str) -> Option<i64> {
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok().map(|value| value as i64)
}
