//! A file as text, in the form in which Confluent's converter registers it: without `normalize.schemas` a registry knows a
//! schema by its text.

use super::model::{Enum, Field, FieldKind, File, Label, Message};
use super::vocabulary::{FIELD_META, KEY, PRECISION, SCALE, VALUE};

/// The text of a file of proto3.
pub(super) fn print(file: &File) -> String {
    let mut out = String::from("syntax = \"proto3\";\n");
    if let Some(package) = &file.package {
        out.push_str(&format!("package {package};\n"));
    }
    if !file.imports.is_empty() {
        out.push('\n');
    }
    for import in &file.imports {
        out.push_str(&format!("import \"{import}\";\n"));
    }
    out.push('\n');
    for message in &file.messages {
        put_message(message, 0, &mut out);
    }
    for one in &file.enums {
        put_enum(one, 0, &mut out);
    }
    out
}

fn line(level: usize, text: &str, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
    out.push_str(text);
    out.push('\n');
}

fn put_message(message: &Message, level: usize, out: &mut String) {
    let plain: Vec<&Field> = message.fields.iter().filter(|field| field.oneof.is_none()).collect();
    let is_empty = message.fields.is_empty() && message.messages.is_empty() && message.enums.is_empty();
    if is_empty {
        return line(level, &format!("message {} {{}}", message.name), out);
    }
    line(level, &format!("message {} {{", message.name), out);
    for field in &plain {
        put_field(field, level + 1, out);
    }
    let mut first = true;
    for (index, oneof) in message.oneofs.iter().enumerate() {
        let members: Vec<&Field> = message.fields.iter().filter(|field| field.oneof == Some(index)).collect();
        if members.is_empty() {
            continue;
        }
        // Confluent's printer indents empty lines too
        if std::mem::take(&mut first) && !plain.is_empty() {
            line(level, "", out);
        }
        line(level + 1, &format!("oneof {oneof} {{"), out);
        for field in members {
            put_field(field, level + 2, out);
        }
        line(level + 1, "}", out);
    }
    let has_types = !message.messages.is_empty() || !message.enums.is_empty();
    if has_types && !message.fields.is_empty() {
        line(level, "", out);
    }
    for inner in &message.messages {
        put_message(inner, level + 1, out);
    }
    for inner in &message.enums {
        put_enum(inner, level + 1, out);
    }
    line(level, "}", out);
}

fn put_enum(one: &Enum, level: usize, out: &mut String) {
    if one.values.is_empty() {
        return line(level, &format!("enum {} {{}}", one.name), out);
    }
    line(level, &format!("enum {} {{", one.name), out);
    for (name, number) in &one.values {
        line(level + 1, &format!("{name} = {number};"), out);
    }
    line(level, "}", out);
}

fn put_field(field: &Field, level: usize, out: &mut String) {
    let label = match field.label {
        _ if field.oneof.is_some() => "",
        Label::Repeated => "repeated ",
        Label::Optional => "optional ",
        Label::Required => "required ",
        Label::None => "",
    };
    let kind = match &field.kind {
        FieldKind::Scalar(scalar) => scalar.name(),
        FieldKind::Named(name) => name,
        FieldKind::Map(..) | FieldKind::Group => "",
    };
    let head = format!("{label}{kind} {} = {}", field.name, field.number);
    if field.params.is_empty() {
        return line(level, &format!("{head};"), out);
    }
    line(level, &format!("{head} [({FIELD_META}) = {{"), out);
    line(level + 1, "params: [", out);
    for (index, (key, value)) in field.params.iter().enumerate() {
        // what decimals had from the beginning has its value first
        let value_first = key == PRECISION || key == SCALE;
        let key = format!("{KEY}: \"{}\"", escaped(key));
        let value = format!("{VALUE}: \"{}\"", escaped(value));
        let (first, second) = if value_first { (value, key) } else { (key, value) };
        line(level + 2, "{", out);
        line(level + 3, &format!("{first},"), out);
        line(level + 3, &second, out);
        line(level + 2, if index + 1 < field.params.len() { "}," } else { "}" }, out);
    }
    line(level + 1, "]", out);
    line(level, "}];", out);
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(char);
            }
            other => out.push(other),
        }
    }
    out
}
