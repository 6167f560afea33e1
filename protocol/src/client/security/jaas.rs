//! `sasl.jaas.config`: one login module with its options, in the JVM's grammar.

use indexmap::IndexMap;

use super::config_error;
use crate::Result;

pub(super) const KEY: &str = "sasl.jaas.config";

/// A login module and its options. Its `Debug` shows no value.
#[derive(Clone)]
pub(super) struct Jaas {
    pub(super) module: String,
    options: IndexMap<String, String>,
}

impl std::fmt::Debug for Jaas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jaas").field("module", &self.module).field("options", &self.options.keys()).finish()
    }
}

impl Jaas {
    /// Reads `Module flag name="value" …;`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut tokens = tokens(text)?.into_iter();
        let module = match tokens.next() {
            Some(Token::Word(module)) => module,
            _ => return Err(config_error(KEY, "it must start with the name of a login module")),
        };
        const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
        match tokens.next() {
            Some(Token::Word(flag)) if FLAGS.iter().any(|known| known.eq_ignore_ascii_case(&flag)) => {}
            _ => {
                return Err(config_error(
                    KEY,
                    format!("the login module must be followed by one of {}", FLAGS.join(", ")),
                ));
            }
        }
        let mut options = IndexMap::new();
        loop {
            let name = match tokens.next() {
                Some(Token::End) => break,
                Some(Token::Word(name)) => name,
                _ => return Err(config_error(KEY, "it must end with a semicolon")),
            };
            match (tokens.next(), tokens.next()) {
                (Some(Token::Equals), Some(Token::Word(value))) => drop(options.insert(name, value)),
                _ => {
                    return Err(config_error(
                        KEY,
                        format!("option {name} must be given as {name}=\"value\""),
                    ));
                }
            }
        }
        if tokens.next().is_some() {
            return Err(config_error(KEY, "it must name one login module only"));
        }
        Ok(Self { module, options })
    }

    /// An option of the module.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Every option.
    pub(super) const fn options(&self) -> &IndexMap<String, String> {
        &self.options
    }

    /// The options whose names begin with `prefix`, without it.
    pub(super) fn options_after(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.options
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// An option that the module cannot do without.
    pub(super) fn required(&self, name: &str) -> Result<&str> {
        let simple = self.module.rsplit('.').next().unwrap_or_default();
        self.option(name).ok_or_else(|| config_error(KEY, format!("{simple} needs the option {name}")))
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Equals,
    End,
}

/// Words, quoted strings (with backslash escapes), `=` and `;`.
fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' | '\n' | '\r' => {}
            '=' => tokens.push(Token::Equals),
            ';' => tokens.push(Token::End),
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some(end) if end == char => break,
                        Some('\\') => match chars.next() {
                            Some('n') => word.push('\n'),
                            Some('t') => word.push('\t'),
                            Some('r') => word.push('\r'),
                            Some(other) => word.push(other),
                            None => return Err(config_error(KEY, "a quoted value has no end")),
                        },
                        Some(other) => word.push(other),
                        None => return Err(config_error(KEY, "a quoted value has no end")),
                    }
                }
                tokens.push(Token::Word(word));
            }
            first => {
                let mut word = String::from(first);
                while let Some(next) = chars.next_if(|next| !next.is_whitespace() && !"=;\"'".contains(*next))
                {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jvms_grammar() {
        let text = "org.x.PlainLoginModule required\n username=\"a\\\"b;\" password='p=1' ;";
        let jaas = Jaas::parse(text).unwrap();
        assert_eq!(jaas.module, "org.x.PlainLoginModule");
        assert_eq!(jaas.option("username"), Some("a\"b;"));
        assert_eq!(jaas.option("password"), Some("p=1"));
        assert!(!format!("{jaas:?}").contains("p=1"));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for text in [
            "",
            "M",
            "M required",
            "M required a=\"x;",
            "M required a;",
            "M maybe a=\"b\";",
            "M required; N required;",
        ] {
            let error = Jaas::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("sasl.jaas.config: "), "{error}");
        }
    }
}
