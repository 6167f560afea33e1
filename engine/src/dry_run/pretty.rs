//! What became of a record, for people to read: before, after, and which fields changed.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{Answer, Message, Output};

/// Characters of a value that are shown.
const SHOWN: usize = 2000;

/// Several lines about one record: where it was, what it was and has become, the fields that differ, or the error.
#[must_use]
pub fn pretty(message: &Message, answer: &Answer) -> String {
    let mut out = format!("── {}-{} offset {}\n", message.topic, message.partition, message.offset);
    side(&mut out, "key   ", message.key.as_deref());
    side(&mut out, "value ", message.value.as_deref());
    headers(&mut out, &message.headers);
    match answer {
        Answer::Dropped => out.push_str("   dropped by a transform\n"),
        Answer::Error { stage, java_class, message } => {
            let _ = writeln!(out, "   ERROR in {stage}: {java_class}: {message}");
        }
        Answer::Record(output) => after(&mut out, message, output),
    }
    out
}

fn after(out: &mut String, message: &Message, output: &Output) {
    if output.topic != message.topic {
        let _ = writeln!(out, "   ~ topic: {} → {}", message.topic, output.topic);
    }
    if output.partition != message.partition {
        let _ = writeln!(out, "   ~ partition: {} → {}", message.partition, output.partition);
    }
    if output.timestamp != message.timestamp {
        let _ = writeln!(out, "   ~ timestamp: {} → {}", message.timestamp, output.timestamp);
    }
    for (name, before, now) in [("key", &message.key, &output.key), ("value", &message.value, &output.value)]
    {
        changes(out, name, before.as_deref(), now.as_deref());
    }
    if output.headers != message.headers {
        out.push_str("   ~ headers\n");
        headers(out, &output.headers);
    }
    if output.key == message.key && output.value == message.value {
        out.push_str("   = key and value are the same bytes\n");
    }
}

/// Fields that differ where both are JSON, else both as they are.
fn changes(out: &mut String, name: &str, before: Option<&[u8]>, now: Option<&[u8]>) {
    if before == now {
        return;
    }
    let json = |bytes: Option<&[u8]>| serde_json::from_slice(bytes?).ok().map(payload);
    let (Some(old), Some(new)) = (json(before), json(now)) else {
        let _ = writeln!(out, "   ~ {name}: {} → {}", shown(before), shown(now));
        return;
    };
    let mut found = Vec::new();
    differences(name, &old, &new, &mut found);
    if found.is_empty() {
        let _ = writeln!(out, "   ~ {name}: the same fields, written in another way");
    }
    for line in found {
        let _ = writeln!(out, "   {line}");
    }
}

/// The payload of an envelope; anything else as it is.
fn payload(json: Json) -> Json {
    match json {
        Json::Object(mut members) if members.len() == 2 && members.contains_key("schema") => {
            members.remove("payload").unwrap_or(Json::Object(members))
        }
        json => json,
    }
}

/// A line for each field that was added (+), removed (-) or changed (~). As deep as the JSON reader lets a value be.
fn differences(path: &str, old: &Json, new: &Json, found: &mut Vec<String>) {
    match (old, new) {
        (Json::Object(old), Json::Object(new)) => {
            for (name, value) in old {
                let path = format!("{path}.{name}");
                match new.get(name) {
                    Some(now) => differences(&path, value, now, found),
                    None => found.push(format!("- {path}: {}", short(&value.to_string()))),
                }
            }
            let added = new.iter().filter(|(name, _)| !old.contains_key(*name));
            found
                .extend(added.map(|(name, value)| format!("+ {path}.{name}: {}", short(&value.to_string()))));
        }
        _ if old == new => {}
        _ => found.push(format!("~ {path}: {} → {}", short(&old.to_string()), short(&new.to_string()))),
    }
}

fn side(out: &mut String, name: &str, bytes: Option<&[u8]>) {
    let _ = writeln!(out, "   {name} {}", shown(bytes));
}

fn headers(out: &mut String, headers: &[(String, Option<Vec<u8>>)]) {
    for (key, value) in headers {
        let _ = writeln!(out, "   header {key} = {}", shown(value.as_deref()));
    }
}

fn shown(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "null".to_owned(),
        Some(Ok(text)) if !text.contains(|char: char| char.is_control() && !char.is_whitespace()) => {
            short(text)
        }
        Some(_) => {
            let hex = |byte: &u8| format!("{byte:02x}");
            short(&format!("0x{}", bytes.unwrap_or_default().iter().map(hex).collect::<String>()))
        }
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigMap;
    use crate::dry_run::DryRun;

    #[test]
    fn changes_are_shown() {
        let config: ConfigMap = [
            ("key.converter", "StringConverter"),
            ("value.converter", "JsonConverter"),
            ("value.converter.schemas.enable", "false"),
            ("transforms", "r"),
            ("transforms.r.type", "org.apache.kafka.connect.transforms.ReplaceField$Value"),
            ("transforms.r.renames", "a:b"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
        let mut dry_run = DryRun::new(&config).unwrap();
        let mut show = |value: &str| {
            let message = Message { value: Some(value.into()), ..Message::from_json("{}").unwrap() };
            let answer = dry_run.run(std::slice::from_ref(&message)).remove(0);
            pretty(&message, &answer)
        };
        let text = show(r#"{"a":1,"c":2}"#);
        assert!(text.contains("- value.a: 1\n") && text.contains("+ value.b: 1\n"), "{text}");
        assert!(!text.contains("value.c"), "{text}");
        assert!(show("{").contains("ERROR in VALUE_CONVERTER"));
    }
}
