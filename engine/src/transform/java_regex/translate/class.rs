//! Character classes and escapes.

use std::iter::Peekable;
use std::str::Chars;

use super::{Flags, push_literal};

/// Classes within each other.
const MAX_DEPTH: usize = 50;

/// What an escape stands for.
pub(super) enum Escape {
    Char(char),
    /// The inside of a class.
    Class(String),
}

const BLANK: &str = r"\x20\t\xa0\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}";
const VERTICAL: &str = r"\n\x0b\f\r\x{85}\x{2028}\x{2029}";

/// The inside of a class that may be negated.
fn class(inside: &str, negated: bool) -> Escape {
    Escape::Class(if negated { format!("[^{inside}]") } else { inside.to_owned() })
}

/// An escape that may stand in a class too, behind its backslash.
pub(super) fn escape(chars: &mut Peekable<Chars<'_>>, char: char, unicode: bool) -> Result<Escape, String> {
    let by_number = |number: Option<u32>| {
        let char = number.and_then(char::from_u32);
        char.map(Escape::Char).ok_or_else(|| "Illegal hexadecimal or octal escape sequence".to_owned())
    };
    Ok(match char {
        'w' | 'W' => class(if unicode { "\\w" } else { "A-Za-z0-9_" }, char == 'W'),
        'd' | 'D' => class(if unicode { "\\d" } else { "0-9" }, char == 'D'),
        's' | 'S' => class(if unicode { "\\s" } else { r"\x20\t\n\x0b\f\r" }, char == 'S'),
        'h' | 'H' => class(BLANK, char == 'H'),
        'v' | 'V' => class(VERTICAL, char == 'V'),
        'p' | 'P' => class(&property(chars, unicode)?, char == 'P'),
        't' => Escape::Char('\t'),
        'n' => Escape::Char('\n'),
        'r' => Escape::Char('\r'),
        'f' => Escape::Char('\x0c'),
        'a' => Escape::Char('\x07'),
        'e' => Escape::Char('\x1b'),
        'c' => {
            let control = chars.next().ok_or("Illegal control escape sequence")?;
            by_number(Some(u32::from(control) ^ 64))?
        }
        'x' if chars.next_if_eq(&'{').is_some() => {
            let mut digits = String::new();
            loop {
                match chars.next().ok_or("Unclosed hexadecimal escape sequence")? {
                    '}' => break,
                    digit => digits.push(digit),
                }
            }
            by_number(u32::from_str_radix(&digits, 16).ok())?
        }
        'x' => by_number(hexadecimal(chars, 2))?,
        'u' => by_number(hexadecimal(chars, 4))?,
        '0' => by_number(octal(chars))?,
        _ if char.is_ascii_alphanumeric() => {
            return Err(format!("Illegal/unsupported escape sequence \\{char}"));
        }
        plain => Escape::Char(plain),
    })
}

fn hexadecimal(chars: &mut Peekable<Chars<'_>>, count: usize) -> Option<u32> {
    (0..count).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))
}

/// Up to three digits, 377 at most.
fn octal(chars: &mut Peekable<Chars<'_>>) -> Option<u32> {
    let mut value = chars.next()?.to_digit(8)?;
    for _ in 0..2 {
        match chars.peek().and_then(|char| char.to_digit(8)) {
            Some(digit) if value * 8 + digit <= 0o377 => {
                value = value * 8 + digit;
                chars.next();
            }
            _ => break,
        }
    }
    Some(value)
}

/// The inside of a class for `\p{…}`, behind the `p`.
fn property(chars: &mut Peekable<Chars<'_>>, unicode: bool) -> Result<String, String> {
    let mut name = String::new();
    if chars.next_if_eq(&'{').is_some() {
        loop {
            match chars.next().ok_or("Unclosed character family")? {
                '}' => break,
                char => name.push(char),
            }
        }
    } else {
        name.push(chars.next().ok_or("Unknown character property name")?);
    }
    let ascii = match name.as_str() {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7f",
        "Alpha" => "A-Za-z",
        "Digit" => "0-9",
        "Alnum" => "A-Za-z0-9",
        "Punct" => r"!-/:-@\[-`\{-~",
        "Graph" => "!-~",
        "Print" => r"\x20-~",
        "Blank" => r"\x20\t",
        "Cntrl" => r"\x00-\x1f\x7f",
        "XDigit" => "0-9A-Fa-f",
        "Space" => r"\x20\t\n\x0b\f\r",
        _ => "",
    };
    let full = match name.as_str() {
        "Lower" | "javaLowerCase" => r"\p{Lowercase}",
        "Upper" | "javaUpperCase" => r"\p{Uppercase}",
        "Alpha" | "javaAlphabetic" => r"\p{Alphabetic}",
        "Digit" | "javaDigit" => r"\p{Nd}",
        "Alnum" => r"\p{Alphabetic}\p{Nd}",
        "Punct" => r"\p{P}",
        "Space" => r"\p{White_Space}",
        "javaLetter" => r"\p{L}",
        "javaLetterOrDigit" => r"\p{L}\p{Nd}",
        "javaWhitespace" => {
            r"\t\n\x0b\f\r\x1c-\x20\x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{2028}\x{2029}\x{205f}\x{3000}"
        }
        "javaSpaceChar" => r"\p{Z}",
        "L1" => r"\x00-\x{ff}",
        "all" => r"\x00-\x{10ffff}",
        _ => "",
    };
    if !ascii.is_empty() && (!unicode || full.is_empty()) {
        return Ok(ascii.to_owned());
    }
    if !full.is_empty() {
        return Ok(full.to_owned());
    }
    if name.starts_with("In")
        || name.starts_with("blk=")
        || name.starts_with("block=")
        || name.starts_with("java")
    {
        return Err(format!(
            "character property {{{name}}} is not supported here; name a range of characters"
        ));
    }
    let known = name.strip_prefix("Is").unwrap_or(&name);
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '=');
    if known.is_empty() || !known.chars().all(is_name) {
        return Err(format!("Unknown character property name {{{name}}}"));
    }
    Ok(format!("\\p{{{known}}}"))
}

/// A class, behind its opening bracket and up to its closing one.
pub(super) fn parse(chars: &mut Peekable<Chars<'_>>, flags: Flags, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err(format!("character classes are nested more than {MAX_DEPTH} deep"));
    }
    let mut out = String::from("[");
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut empty = true;
    loop {
        let char = chars.next().ok_or("Unclosed character class")?;
        match char {
            ']' if !empty => {
                out.push(']');
                return Ok(out);
            }
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' if flags.comments => continue,
            '[' => out.push_str(&parse(chars, flags, depth + 1)?),
            '&' if chars.peek() == Some(&'&') => {
                while chars.next_if_eq(&'&').is_some() {}
                if chars.peek() != Some(&']') {
                    out.push_str("&&");
                }
            }
            _ => match item(chars, char, flags)? {
                Escape::Class(class) => out.push_str(&class),
                Escape::Char(first) => range(chars, first, flags, &mut out)?,
            },
        }
        empty = false;
    }
}

fn item(chars: &mut Peekable<Chars<'_>>, char: char, flags: Flags) -> Result<Escape, String> {
    if char != '\\' {
        return Ok(Escape::Char(char));
    }
    let escaped = chars.next().ok_or("Unclosed character class")?;
    escape(chars, escaped, flags.unicode_classes)
}

/// A character, or a range that begins with it.
fn range(chars: &mut Peekable<Chars<'_>>, first: char, flags: Flags, out: &mut String) -> Result<(), String> {
    let mut last = first;
    let mut ahead = chars.clone();
    if ahead.next() == Some('-') && !matches!(ahead.peek(), None | Some(']' | '[')) {
        chars.next();
        let char = chars.next().ok_or("Unclosed character class")?;
        match item(chars, char, flags)? {
            Escape::Char(end) if end >= first => last = end,
            _ => return Err("Illegal character range".to_owned()),
        }
    }
    push_range(out, first, last);
    if flags.folds_ascii() {
        // The other case of what is a letter.
        for (from, to, other) in [('a', 'z', 'A'), ('A', 'Z', 'a')] {
            let (from, to) = (from.max(first), to.min(last));
            if from <= to {
                let base = if other == 'A' { 'a' } else { 'A' };
                let swap = |char: char| char::from((char as u8 - base as u8) + other as u8);
                push_range(out, swap(from), swap(to));
            }
        }
    }
    Ok(())
}

fn push_range(out: &mut String, first: char, last: char) {
    push_literal(out, first);
    if first != last {
        out.push('-');
        push_literal(out, last);
    }
}
