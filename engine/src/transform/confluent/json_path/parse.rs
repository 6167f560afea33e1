//! Text to a path.

use fancy_regex::Regex;

use super::{Comparison, Condition, JsonPath, Operand, Step};

/// Conditions within each other.
const MAX_DEPTH: usize = 50;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// The path.
pub(super) fn parse(text: &str) -> Result<JsonPath, String> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.expect("$")?;
    let path = parser.steps()?;
    if parser.at < text.len() { Err(parser.wrong("a step")) } else { Ok(path) }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, expected: &str) -> String {
        format!("{expected} expected at character {}", self.text[..self.at].chars().count() + 1)
    }

    fn take(&mut self, token: &str) -> bool {
        let is_there = self.rest().starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(self.wrong(token)) }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn steps(&mut self) -> Result<JsonPath, String> {
        let mut steps = Vec::new();
        loop {
            if self.take(".") {
                if self.take("*") {
                    steps.push(Step::All);
                    continue;
                }
                let is_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
                let length = self.rest().find(|char| !is_name(char)).unwrap_or(self.rest().len());
                if length == 0 {
                    return Err(self.wrong("a name"));
                }
                steps.push(Step::Name(self.rest()[..length].to_owned()));
                self.at += length;
            } else if self.take("[") {
                steps.push(self.bracket()?);
            } else {
                return Ok(JsonPath(steps));
            }
        }
    }

    fn bracket(&mut self) -> Result<Step, String> {
        self.blanks();
        let step = if self.take("*") {
            Step::All
        } else if self.take("?(") {
            let condition = self.any()?;
            self.expect(")")?;
            Step::Filter(condition)
        } else if self.rest().starts_with(['\'', '"']) {
            Step::Name(self.quoted()?)
        } else {
            let length = self.rest().find(']').unwrap_or(0);
            let index =
                self.rest()[..length].trim().parse().map_err(|_| self.wrong("a place in an array"))?;
            self.at += length;
            Step::Index(index)
        };
        self.blanks();
        self.expect("]")?;
        Ok(step)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => text.extend(chars.next().map(|(_, char)| char)),
                _ if Some(char) == quote => {
                    self.at += at + 1;
                    return Ok(text);
                }
                _ => text.push(char),
            }
        }
        Err(self.wrong("a text with its quote"))
    }

    fn any(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("conditions are nested more than {MAX_DEPTH} deep"));
        }
        let mut parts = vec![self.all()?];
        while self.take("||") {
            parts.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Or(parts) })
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.one()?];
        while self.take("&&") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::And(parts) })
    }

    fn one(&mut self) -> Result<Condition, String> {
        self.blanks();
        if self.take("!") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(format!("conditions are nested more than {MAX_DEPTH} deep"));
            }
            let negated = self.one()?;
            self.depth -= 1;
            return Ok(Condition::Not(Box::new(negated)));
        }
        let condition = if self.take("(") {
            let condition = self.any()?;
            self.expect(")")?;
            condition
        } else {
            self.comparison()?
        };
        self.blanks();
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        self.blanks();
        if self.take("=~") {
            self.blanks();
            return Ok(Condition::Matches(left, self.regex()?));
        }
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = comparisons.into_iter().find(|(token, _)| self.take(token));
        match (found, left) {
            (Some((_, comparison)), left) => {
                self.blanks();
                Ok(Condition::Compare(left, comparison, self.operand()?))
            }
            (None, Operand::Path(path)) => Ok(Condition::Exists(path)),
            (None, _) => Err(self.wrong("a comparison")),
        }
    }

    /// `/pattern/` and its flags; it has to match the whole text.
    fn regex(&mut self) -> Result<Regex, String> {
        self.expect("/")?;
        let length = self.rest().find('/').ok_or_else(|| self.wrong("the slash at the end of a pattern"))?;
        let pattern = &self.rest()[..length];
        self.at += length + 1;
        let flags = if self.take("i") { "(?i)" } else { "" };
        Regex::new(&format!("{flags}\\A(?:{pattern})\\z")).map_err(|error| error.to_string())
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if self.take("@") {
            return Ok(Operand::Path(self.steps()?));
        }
        if self.take("$") {
            return Ok(Operand::Root(self.steps()?));
        }
        if self.rest().starts_with(['\'', '"']) {
            return Ok(Operand::Text(self.quoted()?));
        }
        let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '+' | '.');
        let length = self.rest().find(|char| !is_part(char)).unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        let operand = match word {
            "true" => Operand::Boolean(true),
            "false" => Operand::Boolean(false),
            "null" => Operand::Null,
            _ => Operand::Number(word.parse().map_err(|_| self.wrong("a value"))?),
        };
        self.at += length;
        Ok(operand)
    }
}
