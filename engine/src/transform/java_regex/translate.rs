//! From `java.util.regex`'s syntax to that of `fancy_regex`. Comments and flags are resolved here; the result has none but
//! `(?i)`, for Java's case folding beyond ASCII.

mod class;

use std::iter::Peekable;
use std::str::Chars;

/// Groups within each other.
const MAX_DEPTH: usize = 250;

/// What the inline modifiers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    /// `i`
    ignore_case: bool,
    /// `u`, or implied by `U`: case folding beyond ASCII.
    unicode_case: bool,
    /// `U`
    unicode_classes: bool,
    /// `x`
    comments: bool,
    /// `s`
    dot_all: bool,
    /// `m`
    multiline: bool,
    /// `d`
    unix_lines: bool,
}

impl Flags {
    /// Whether ASCII letters stand for both their cases here; beyond ASCII `fancy_regex` does it.
    fn folds_ascii(self) -> bool {
        self.ignore_case && !self.folds_all()
    }

    fn folds_all(self) -> bool {
        self.ignore_case && (self.unicode_case || self.unicode_classes)
    }
}

const LINE_END: &str = r"(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])";
const WORD: &str = "A-Za-z0-9_";

struct Translator<'a> {
    chars: Peekable<Chars<'a>>,
    out: String,
    flags: Flags,
    /// Of each open group: flags to go back to at its end, and where it begins if it is a look-around.
    groups: Vec<(Flags, Option<usize>)>,
    /// Where the last atom begins, if it is an assertion.
    assertion: Option<usize>,
    /// Whether a quantifier may follow.
    quantifiable: bool,
}

/// The translated pattern.
///
/// # Errors
/// What is wrong with it, or cannot be had.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator {
        chars: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() + 16),
        flags: Flags::default(),
        groups: Vec::new(),
        assertion: None,
        quantifiable: false,
    };
    while let Some(char) = translator.chars.next() {
        translator.step(char)?;
    }
    if translator.groups.is_empty() { Ok(translator.out) } else { Err("Unclosed group".to_owned()) }
}

/// A character that stands for itself.
fn push_literal(out: &mut String, char: char) {
    if char.is_ascii_punctuation() {
        out.push('\\');
    }
    // A control character or a blank is safer by its number.
    if char.is_ascii_control() || char == ' ' {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(char)));
    } else {
        out.push(char);
    }
}

impl Translator<'_> {
    fn step(&mut self, char: char) -> Result<(), String> {
        let could = std::mem::replace(&mut self.quantifiable, true);
        let start = self.out.len();
        let assertion = self.assertion.take();
        match char {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' if self.flags.comments => self.quantifiable = could,
            '#' if self.flags.comments => {
                while self.chars.next().is_some_and(|char| char != '\n') {}
                self.quantifiable = could;
            }
            '(' => self.group()?,
            ')' => {
                (self.flags, self.assertion) = self.groups.pop().ok_or("Unmatched closing ')'")?;
                self.out.push(')');
            }
            '|' => {
                self.out.push('|');
                self.quantifiable = false;
            }
            '*' | '+' | '?' => self.quantifier(char, could, assertion)?,
            '{' => self.counted(could, assertion)?,
            '[' => {
                let class = class::parse(&mut self.chars, self.flags, 0)?;
                self.out.push_str(&class);
            }
            '.' => self.out.push_str(match (self.flags.dot_all, self.flags.unix_lines) {
                (true, _) => "(?s:.)",
                (_, true) => "[^\\n]",
                _ => r"[^\n\r\x{85}\x{2028}\x{2029}]",
            }),
            '^' => self.out.push_str(if self.flags.multiline { "(?m:^)" } else { "\\A" }),
            '$' if self.flags.multiline => self.out.push_str("(?m:$)"),
            '$' => self.out.push_str(&format!("(?={LINE_END}?\\z)")),
            '\\' => {
                let is_assertion = self.chars.peek().is_some_and(|char| "bBAzZ".contains(*char));
                self.assertion = is_assertion.then_some(start);
                self.escape()?;
            }
            plain => self.literal(plain),
        }
        if matches!(char, '^' | '$') {
            self.assertion = Some(start);
        }
        Ok(())
    }

    fn literal(&mut self, char: char) {
        if self.flags.folds_ascii() && char.is_ascii_alphabetic() {
            let (lower, upper) = (char.to_ascii_lowercase(), char.to_ascii_uppercase());
            self.out.push_str(&format!("[{lower}{upper}]"));
        } else {
            push_literal(&mut self.out, char);
        }
    }

    fn quantifier(&mut self, char: char, could: bool, assertion: Option<usize>) -> Result<(), String> {
        if !could {
            return Err(format!("Dangling meta character '{char}'"));
        }
        self.repeat(&char.to_string(), char != '+', assertion);
        Ok(())
    }

    /// The last atom repeated. An assertion counts once, or says nothing where it need not hold: `fancy_regex` repeats none.
    fn repeat(&mut self, quantifier: &str, may_be_absent: bool, assertion: Option<usize>) {
        let before = self.out.len();
        self.out.push_str(quantifier);
        self.suffix();
        if let Some(start) = assertion {
            self.out.truncate(if may_be_absent { start } else { before });
        }
    }

    /// Lazy or possessive.
    fn suffix(&mut self) {
        if let Some(suffix) = self.chars.next_if(|char| matches!(char, '?' | '+')) {
            self.out.push(suffix);
        }
        self.quantifiable = false;
    }

    /// `{n}`, `{n,}` and `{n,m}`.
    fn counted(&mut self, could: bool, assertion: Option<usize>) -> Result<(), String> {
        let mut body = String::new();
        loop {
            match self.chars.next() {
                Some('}') => break,
                Some(char) if char.is_ascii_digit() || char == ',' => body.push(char),
                _ => return Err("Illegal repetition".to_owned()),
            }
        }
        let (least, most) = body.split_once(',').unwrap_or((&body, &body));
        let least: u32 = least.parse().map_err(|_| "Illegal repetition".to_owned())?;
        let most_fits = most.is_empty() || most.parse::<u32>().is_ok_and(|most| most >= least);
        if !could || !most_fits {
            return Err("Illegal repetition range".to_owned());
        }
        self.repeat(&format!("{{{body}}}"), least == 0, assertion);
        Ok(())
    }

    fn open(&mut self, text: &str) -> Result<(), String> {
        if self.groups.len() >= MAX_DEPTH {
            return Err(format!("groups are nested more than {MAX_DEPTH} deep"));
        }
        let is_look_around = matches!(text, "(?=" | "(?!" | "(?<=" | "(?<!");
        self.groups.push((self.flags, is_look_around.then_some(self.out.len())));
        self.out.push_str(text);
        self.quantifiable = false;
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        if self.chars.next_if_eq(&'?').is_none() {
            return self.open("(");
        }
        match self.chars.next() {
            Some(':') => self.open("(?:"),
            Some('=') => self.open("(?="),
            Some('!') => self.open("(?!"),
            Some('>') => self.open("(?>"),
            Some('<') => match self.chars.next() {
                Some('=') => self.open("(?<="),
                Some('!') => self.open("(?<!"),
                Some(first) if first.is_ascii_alphabetic() => {
                    let name = self.name(first)?;
                    self.open(&format!("(?<{name}>"))
                }
                _ => Err("Unknown look-behind group".to_owned()),
            },
            Some(flag) => self.modifiers(flag),
            None => Err("Unknown inline modifier".to_owned()),
        }
    }

    /// A group's name, up to its `>`.
    fn name(&mut self, first: char) -> Result<String, String> {
        let mut name = String::from(first);
        loop {
            match self.chars.next() {
                Some('>') => return Ok(name),
                Some(char) if char.is_ascii_alphanumeric() => name.push(char),
                _ => return Err("named capturing group is missing trailing '>'".to_owned()),
            }
        }
    }

    /// `(?i-x)` and `(?i-x:`.
    fn modifiers(&mut self, first: char) -> Result<(), String> {
        let outside = self.flags;
        let (mut flags, mut on, mut char) = (self.flags, true, Some(first));
        let opens = loop {
            match char {
                Some('i') => flags.ignore_case = on,
                Some('u') => flags.unicode_case = on,
                Some('U') => flags.unicode_classes = on,
                Some('x') => flags.comments = on,
                Some('s') => flags.dot_all = on,
                Some('m') => flags.multiline = on,
                Some('d') => flags.unix_lines = on,
                Some('-') if on => on = false,
                Some(')') => break false,
                Some(':') => break true,
                _ => return Err("Unknown inline modifier".to_owned()),
            }
            char = self.chars.next();
        };
        if opens {
            self.open("(?:")?;
        }
        self.flags = flags;
        if flags.folds_all() != outside.folds_all() {
            self.out.push_str(if flags.folds_all() { "(?i)" } else { "(?-i)" });
        }
        self.quantifiable = false;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let char = self.chars.next().ok_or("Unexpected internal error")?;
        let unicode = self.flags.unicode_classes;
        match char {
            'Q' => self.quoted(),
            'b' | 'B' if unicode => self.out.push_str(if char == 'b' { "\\b" } else { "\\B" }),
            'b' => self.out.push_str(&format!("(?:(?<=[{WORD}])(?![{WORD}])|(?<![{WORD}])(?=[{WORD}]))")),
            'B' => self.out.push_str(&format!("(?:(?<=[{WORD}])(?=[{WORD}])|(?<![{WORD}])(?![{WORD}]))")),
            'A' => self.out.push_str("\\A"),
            'z' => self.out.push_str("\\z"),
            'Z' => self.out.push_str(&format!("(?={LINE_END}?\\z)")),
            'R' => self.out.push_str(r"(?:\r\n|[\n\x0b\f\r\x{85}\x{2028}\x{2029}])"),
            'k' => {
                self.chars.next_if_eq(&'<').ok_or("\\k is not followed by '<' for named capturing group")?;
                let first = self.chars.next().filter(char::is_ascii_alphabetic);
                let name =
                    self.name(first.ok_or("capturing group name does not start with a Latin letter")?)?;
                self.out.push_str(&format!("\\k<{name}>"));
            }
            '1'..='9' => self.out.push_str(&format!("(?:\\{char})")),
            _ => match class::escape(&mut self.chars, char, unicode)? {
                class::Escape::Char(char) => self.literal(char),
                class::Escape::Class(class) => self.out.push_str(&format!("[{class}]")),
            },
        }
        Ok(())
    }

    /// Behind `\Q`, up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(char) = self.chars.next() {
            if char == '\\' && self.chars.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(char);
        }
    }
}
