//! Text to a literal: tokens, and what they make together.

use super::merge::{self, Merger};
use super::scalar;
use crate::data::{Constant, Schema, SchemaBuilder, SchemaRef, Type};

/// Nesting beyond which a text is no literal. The JVM's bound is the size of its stack.
const MAX_DEPTH: u32 = 500;

/// A value that is not null.
#[derive(Debug)]
pub(super) struct Literal {
    pub(super) schema: SchemaRef,
    pub(super) value: Constant,
}

/// The text is nested too deeply.
#[derive(Debug)]
pub(super) struct TooDeep;

/// Why an array or a map is none.
#[derive(Debug)]
pub(super) enum Refused {
    Malformed,
    TooDeep,
}

type Result<T> = std::result::Result<T, Refused>;

/// Reads a whole text; `None` is null.
pub(super) fn parse(text: &str) -> std::result::Result<Option<Literal>, TooDeep> {
    match (Parser { tokens: Tokens { text, at: 0, next: None } }).value(false, 0) {
        Ok(literal) => Ok(literal),
        Err(Refused::TooDeep) => Err(TooDeep),
        // a value that is not inside another is never refused as malformed
        Err(Refused::Malformed) => Ok(Some(string(text))),
    }
}

fn string(text: &str) -> Literal {
    Literal { schema: Schema::string(), value: Constant::String(text.into()) }
}

/// Java's `trim()`: everything up to the space goes.
fn trim(text: &str) -> &str {
    text.trim_matches(|char| char <= ' ')
}

/// Tokens are the delimiters, and what is between them.
struct Tokens<'a> {
    text: &'a str,
    /// After the token that was looked at.
    at: usize,
    /// Looked at but not taken.
    next: Option<&'a str>,
}

impl<'a> Tokens<'a> {
    fn mark(&self) -> usize {
        self.at - self.next.map_or(0, str::len)
    }

    fn rewind(&mut self, at: usize) {
        self.at = at;
        self.next = None;
    }

    const fn more(&self) -> bool {
        self.at < self.text.len()
    }

    const fn has_next(&self) -> bool {
        self.next.is_some() || self.more()
    }

    fn take(&mut self) -> &'a str {
        match self.next.take() {
            Some(token) => token,
            None => self.scan(),
        }
    }

    fn scan(&mut self) -> &'a str {
        let start = self.at;
        let mut escaped = false;
        for (index, byte) in self.text.as_bytes()[start..].iter().enumerate() {
            match byte {
                b'\\' => escaped = !escaped,
                b':' | b',' | b'{' | b'}' | b'[' | b']' | b'"' if !escaped => {
                    self.at = start + index.max(1);
                    return &self.text[start..self.at];
                }
                _ => escaped = false,
            }
        }
        self.at = self.text.len();
        &self.text[start..]
    }

    /// Takes the next token if it is this one, blank tokens before it and blanks around it aside.
    fn consume(&mut self, expected: &str) -> bool {
        let mut token = match self.next {
            Some(token) => token,
            None if !self.more() => return false,
            None => self.scan(),
        };
        while trim(token).is_empty() && self.more() {
            token = self.scan();
        }
        let found = trim(token) == expected;
        self.next = (!found).then_some(token);
        found
    }

    /// The text of the next `count` tokens, if there are so many.
    fn take_many(&mut self, count: usize) -> Option<&'a str> {
        let start = self.mark();
        for _ in 0..count {
            if !self.has_next() {
                self.rewind(start);
                return None;
            }
            self.take();
        }
        Some(&self.text[start..self.at])
    }
}

struct Parser<'a> {
    tokens: Tokens<'a>,
}

impl Parser<'_> {
    /// `embedded`: inside an array or a map.
    fn value(&mut self, embedded: bool, depth: u32) -> Result<Option<Literal>> {
        if depth > MAX_DEPTH {
            return Err(Refused::TooDeep);
        }
        if !self.tokens.has_next() {
            return Ok(None);
        }
        if embedded && self.tokens.consume("\"") {
            return Ok(Some(self.quoted()));
        }
        if self.word(embedded, "null") {
            return Ok(None);
        }
        for (word, value) in [("true", true), ("false", false)] {
            if self.word(embedded, word) {
                let schema = Schema::primitive(Type::Boolean, false).clone();
                return Ok(Some(Literal { schema, value: Constant::Boolean(value) }));
            }
        }
        let start = self.tokens.mark();
        let nested = if self.tokens.consume("[") {
            Some(self.array(depth))
        } else if self.tokens.consume("{") {
            Some(self.map(depth))
        } else {
            None
        };
        match nested {
            Some(Ok(literal)) => return Ok(Some(literal)),
            Some(Err(Refused::TooDeep)) => return Err(Refused::TooDeep),
            Some(Err(Refused::Malformed)) => self.tokens.rewind(start),
            None => {}
        }
        let token = self.tokens.take();
        let trimmed = trim(token);
        if trimmed.is_empty() {
            return Ok(Some(string(token)));
        }
        self.scalar(embedded, trimmed).map(Some)
    }

    fn word(&mut self, embedded: bool, word: &str) -> bool {
        let start = self.tokens.mark();
        if self.tokens.consume(word) && (embedded || !self.tokens.has_next()) {
            return true;
        }
        self.tokens.rewind(start);
        false
    }

    fn scalar(&mut self, embedded: bool, token: &str) -> Result<Literal> {
        let first = token.chars().next().unwrap_or(' ');
        if first.is_ascii_digit()
            && let Some(literal) = self.temporal(token)
        {
            return Ok(literal);
        }
        if (first.is_ascii_digit() || first == '+' || first == '-')
            && let Some(literal) = scalar::number(token)
        {
            return Ok(literal);
        }
        if embedded { Err(Refused::Malformed) } else { Ok(string(self.tokens.text)) }
    }

    /// A time's colons are delimiters: it may take five tokens.
    fn temporal(&mut self, token: &str) -> Option<Literal> {
        let start = self.tokens.mark();
        if let Some(rest) = self.tokens.take_many(4)
            && let Some(literal) = scalar::temporal(&[token, rest].concat())
        {
            return Some(literal);
        }
        self.tokens.rewind(start);
        scalar::temporal(token)
    }

    fn quoted(&mut self) -> Literal {
        let mut content = String::new();
        while self.tokens.has_next() && !self.tokens.consume("\"") {
            content.push_str(self.tokens.take());
        }
        scalar::temporal(&content).unwrap_or_else(|| string(&content))
    }

    fn array(&mut self, depth: u32) -> Result<Literal> {
        let mut items = Vec::new();
        let mut common = Merger::default();
        while self.tokens.has_next() {
            if self.tokens.consume("]") {
                let mut builder = SchemaBuilder::new(Type::Array);
                if let Some(schema) = common.schema() {
                    items = merge::align(schema, items)?;
                    builder = SchemaBuilder::array(SchemaRef::clone(schema));
                }
                return Ok(Literal { schema: builder.build(), value: Constant::Array(items) });
            }
            if self.tokens.consume(",") {
                return Err(Refused::Malformed);
            }
            let item = self.value(true, depth + 1)?;
            common.merge(item.as_ref());
            items.push(item.map_or(Constant::Null, |item| item.value));
            let place = self.tokens.mark();
            if self.tokens.consume("]") {
                self.tokens.rewind(place);
            } else if !self.tokens.consume(",") {
                return Err(Refused::Malformed);
            }
        }
        Err(Refused::Malformed)
    }

    fn map(&mut self, depth: u32) -> Result<Literal> {
        let mut entries = Vec::new();
        let (mut keys, mut values) = (Merger::default(), Merger::default());
        while self.tokens.has_next() {
            if self.tokens.consume("}") {
                return merge::map(&keys, &values, entries);
            }
            if self.tokens.consume(",") {
                return Err(Refused::Malformed);
            }
            let Some(key) = self.value(true, depth + 1)? else { return Err(Refused::Malformed) };
            if !self.tokens.consume(":") {
                return Err(Refused::Malformed);
            }
            let value = self.value(true, depth + 1)?;
            self.tokens.consume(",");
            keys.merge(Some(&key));
            values.merge(value.as_ref());
            merge::put(&mut entries, key.value, value.map_or(Constant::Null, |value| value.value));
        }
        Err(Refused::Malformed)
    }
}
