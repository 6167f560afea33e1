//! `.proto` texts of proto2 and proto3.

use super::lexer::{Lexer, Token};
use super::model::{Enum, Field, FieldKind, File, Label, Message, Scalar};
use super::vocabulary::{FIELD_META, KEY, VALUE};

/// Messages within messages, and values within options.
const MAX_DEPTH: u32 = 64;
/// Largest number that a field may have.
const MAX_NUMBER: i64 = 536_870_911;

type Result<T> = std::result::Result<T, String>;

/// Parses a text.
pub(super) fn parse(text: &str) -> Result<File> {
    let mut parser = Parser { lexer: Lexer::new(text) };
    let file = parser.file();
    file.map_err(|why| format!("{why} (near byte {} of the .proto text)", parser.lexer.at()))
}

/// The value of an option.
#[derive(Debug)]
enum Setting {
    Word(String),
    Map(Vec<(String, Setting)>),
    List(Vec<Setting>),
}

impl Setting {
    fn get(&self, key: &str) -> Option<&Setting> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
}

impl Parser<'_> {
    fn file(&mut self) -> Result<File> {
        let mut file = File::default();
        loop {
            let word = match self.lexer.next()? {
                Token::End => return Ok(file),
                Token::Sign(';') => continue,
                Token::Name(word) => word,
                other => return Err(format!("{other:?} begins no declaration")),
            };
            match word.as_str() {
                "syntax" => {
                    self.lexer.expect('=')?;
                    file.proto3 = match self.lexer.text()?.as_str() {
                        "proto3" => true,
                        "proto2" => false,
                        other => {
                            return Err(format!("syntax {other} is not known: only proto2 and proto3 are"));
                        }
                    };
                    self.lexer.expect(';')?;
                }
                "package" => {
                    file.package = Some(self.lexer.name()?);
                    self.lexer.expect(';')?;
                }
                "import" => {
                    if let Token::Name(_) = self.lexer.peek()? {
                        self.lexer.next()?;
                    }
                    file.imports.push(self.lexer.text()?);
                    self.lexer.expect(';')?;
                }
                "option" => {
                    self.option(0)?;
                    self.lexer.expect(';')?;
                }
                "message" => file.messages.push(self.message(0)?),
                "enum" => file.enums.push(self.enumeration()?),
                "service" | "extend" => self.skip_block()?,
                "edition" => return Err("editions are not supported: only proto2 and proto3 are".to_owned()),
                other => return Err(format!("\"{other}\" begins no declaration")),
            }
        }
    }

    /// Passes over everything up to the end of the next block in braces.
    fn skip_block(&mut self) -> Result<()> {
        let mut open = 0_u32;
        loop {
            match self.lexer.next()? {
                Token::Sign('{') => open = open.saturating_add(1),
                Token::Sign('}') => {
                    open = open.checked_sub(1).ok_or("a closing brace too many")?;
                    if open == 0 {
                        return Ok(());
                    }
                }
                Token::End => return Err("a block has no end".to_owned()),
                _ => {}
            }
        }
    }

    fn skip_statement(&mut self) -> Result<()> {
        loop {
            match self.lexer.next()? {
                Token::Sign(';') => return Ok(()),
                Token::End => return Err("a statement has no end".to_owned()),
                _ => {}
            }
        }
    }

    fn message(&mut self, depth: u32) -> Result<Message> {
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} messages are inside each other"));
        }
        let mut message = Message { name: self.lexer.name()?, ..Message::default() };
        self.lexer.expect('{')?;
        loop {
            if self.lexer.takes('}')? {
                return Ok(message);
            }
            if self.lexer.takes(';')? {
                continue;
            }
            let word = self.lexer.name()?;
            match word.as_str() {
                "message" => message.messages.push(self.message(depth + 1)?),
                "enum" => message.enums.push(self.enumeration()?),
                "extend" => self.skip_block()?,
                "extensions" | "reserved" => self.skip_statement()?,
                "option" => {
                    self.option(0)?;
                    self.lexer.expect(';')?;
                }
                "oneof" => self.oneof(&mut message)?,
                _ => {
                    let field = self.field(word, None)?;
                    message.fields.push(field);
                }
            }
        }
    }

    fn oneof(&mut self, message: &mut Message) -> Result<()> {
        message.oneofs.push(self.lexer.name()?);
        let index = message.oneofs.len() - 1;
        self.lexer.expect('{')?;
        while !self.lexer.takes('}')? {
            if self.lexer.takes(';')? {
                continue;
            }
            let word = self.lexer.name()?;
            if word == "option" {
                self.option(0)?;
                self.lexer.expect(';')?;
                continue;
            }
            let field = self.field(word, Some(index))?;
            message.fields.push(field);
        }
        Ok(())
    }

    /// A field whose first word has been read.
    fn field(&mut self, first: String, oneof: Option<usize>) -> Result<Field> {
        let label = match first.as_str() {
            "optional" => Label::Optional,
            "required" => Label::Required,
            "repeated" => Label::Repeated,
            _ => Label::None,
        };
        let word = if label == Label::None { first } else { self.lexer.name()? };
        let kind = match word.as_str() {
            "group" => FieldKind::Group,
            "map" if *self.lexer.peek()? == Token::Sign('<') => {
                self.lexer.expect('<')?;
                let key = self.lexer.name()?;
                let key = Scalar::by_name(&key).ok_or_else(|| format!("{key} is no type of a map's keys"))?;
                self.lexer.expect(',')?;
                let value = kind(self.lexer.name()?);
                self.lexer.expect('>')?;
                FieldKind::Map(key, Box::new(value))
            }
            _ => kind(word),
        };
        let name = self.lexer.name()?;
        self.lexer.expect('=')?;
        let number = self.lexer.integer()?;
        if !(1..=MAX_NUMBER).contains(&number) {
            return Err(format!("field {name}: {number} is no field number (1 to {MAX_NUMBER})"));
        }
        let mut field = Field { label, oneof, ..Field::new(name, number as u32, kind) };
        if self.lexer.takes('[')? {
            while !self.lexer.takes(']')? {
                let (name, value) = self.option(0)?;
                set(&mut field, &name, &value);
                self.lexer.takes(',')?;
            }
        }
        if field.kind == FieldKind::Group {
            self.skip_block()?;
        } else {
            self.lexer.expect(';')?;
        }
        Ok(field)
    }

    fn enumeration(&mut self) -> Result<Enum> {
        let mut found = Enum { name: self.lexer.name()?, values: Vec::new() };
        self.lexer.expect('{')?;
        loop {
            if self.lexer.takes('}')? {
                return Ok(found);
            }
            if self.lexer.takes(';')? {
                continue;
            }
            let word = self.lexer.name()?;
            match word.as_str() {
                "option" => {
                    self.option(0)?;
                    self.lexer.expect(';')?;
                }
                "reserved" => self.skip_statement()?,
                _ => {
                    self.lexer.expect('=')?;
                    let number = self.lexer.integer()?;
                    let number = i32::try_from(number)
                        .map_err(|_| format!("{word}: {number} has more than 32 bits"))?;
                    if self.lexer.takes('[')? {
                        while !self.lexer.takes(']')? {
                            self.option(0)?;
                            self.lexer.takes(',')?;
                        }
                    }
                    self.lexer.expect(';')?;
                    found.values.push((word, number));
                }
            }
        }
    }

    /// Name (with its parentheses), equals sign and value.
    fn option(&mut self, depth: u32) -> Result<(String, Setting)> {
        let mut name = String::new();
        loop {
            match self.lexer.next()? {
                Token::Name(part) => name.push_str(&part),
                Token::Sign(sign @ ('(' | ')' | '.')) => name.push(sign),
                Token::Sign('=') => break,
                other => return Err(format!("{other:?} is no part of an option's name")),
            }
        }
        Ok((name, self.setting(depth)?))
    }

    fn setting(&mut self, depth: u32) -> Result<Setting> {
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} values are inside each other"));
        }
        Ok(match self.lexer.peek()? {
            Token::Text(_) => Setting::Word(self.lexer.text()?),
            Token::Sign('{' | '<') => {
                let close = if self.lexer.takes('{')? { '}' } else { '>' };
                if close == '>' {
                    self.lexer.expect('<')?;
                }
                self.aggregate(close, depth)?
            }
            Token::Sign('[') => {
                self.lexer.expect('[')?;
                let mut items = Vec::new();
                while !self.lexer.takes(']')? {
                    items.push(self.setting(depth + 1)?);
                    self.lexer.takes(',')?;
                }
                Setting::List(items)
            }
            _ => {
                let sign = if self.lexer.takes('-')? { "-" } else { "" };
                self.lexer.takes('+')?;
                match self.lexer.next()? {
                    Token::Name(word) | Token::Number(word) => Setting::Word(format!("{sign}{word}")),
                    other => return Err(format!("{other:?} is no value")),
                }
            }
        })
    }

    /// A message in the text format, after its opening brace.
    fn aggregate(&mut self, close: char, depth: u32) -> Result<Setting> {
        let mut entries = Vec::new();
        loop {
            if self.lexer.takes(close)? {
                return Ok(Setting::Map(entries));
            }
            let key = if self.lexer.takes('[')? {
                let mut key = String::from("[");
                loop {
                    match self.lexer.next()? {
                        Token::Name(part) => key.push_str(&part),
                        Token::Sign('/') => key.push('/'),
                        Token::Sign(']') => break,
                        other => return Err(format!("{other:?} is no part of a key")),
                    }
                }
                key + "]"
            } else {
                self.lexer.name()?
            };
            self.lexer.takes(':')?;
            entries.push((key, self.setting(depth + 1)?));
            if !self.lexer.takes(',')? {
                self.lexer.takes(';')?;
            }
        }
    }
}

fn kind(name: String) -> FieldKind {
    Scalar::by_name(&name).map_or(FieldKind::Named(name), FieldKind::Scalar)
}

/// What an option says of a field.
fn set(field: &mut Field, name: &str, value: &Setting) {
    let plain: String = name.chars().filter(|char| !"()".contains(*char)).collect();
    let plain = plain.trim_start_matches('.');
    match name {
        "packed" => field.packed = value.word().map(|word| word == "true"),
        "default" => field.default = value.word().map(str::to_owned),
        _ if plain == FIELD_META => {
            if let Some(params) = value.get("params") {
                put_params(field, params);
            }
        }
        _ if plain.strip_prefix(FIELD_META) == Some(".params") => put_params(field, value),
        _ => {}
    }
}

fn put_params(field: &mut Field, params: &Setting) {
    let items = match params {
        Setting::List(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    for item in items {
        let part = |name: &str| item.get(name).and_then(Setting::word).unwrap_or_default().to_owned();
        field.params.push((part(KEY), part(VALUE)));
    }
}
