//! Whether two answers say the same. Bytes have to be equal, but for the order of what Java keeps in hash maps: members of
//! objects without schema and of maps, and the text that is made of such.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;

pub(super) fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// How the digits of numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    /// As they are.
    Exact,
    /// Java before 19 prints some floating-point numbers with more digits than they need.
    OldJava,
}

/// What differs.
pub(super) fn differ(expected: &Json, got: &Json, config: &Json, digits: Digits) -> Option<String> {
    match digits {
        Digits::Exact => differ_exactly(expected, got, config),
        Digits::OldJava => differ_exactly(&rounded(expected), &rounded(got), config),
    }
}

/// All fractions as the numbers of 32 bits next to them.
fn rounded(answer: &Json) -> Json {
    let text = |text: &str| {
        let mut out = String::new();
        for part in text.split_inclusive(|char: char| !matches!(char, '0'..='9' | '.' | 'E' | '-')) {
            let end = part
                .char_indices()
                .next_back()
                .filter(|(_, last)| !matches!(last, '0'..='9' | '.' | 'E' | '-'));
            let (number, rest) = part.split_at(end.map_or(part.len(), |(at, _)| at));
            match number.parse::<f32>() {
                Ok(value) if number.contains('.') => out.push_str(&value.to_string()),
                _ => out.push_str(number),
            }
            out.push_str(rest);
        }
        out
    };
    let mut answer = answer.clone();
    let encoded = |json: &mut Json| {
        if let Some(decoded) = json.as_str().and_then(|json| BASE64_STANDARD.decode(json).ok())
            && let Ok(decoded) = String::from_utf8(decoded)
        {
            *json = base64(&text(&decoded)).into();
        }
    };
    for member in ["key", "value"] {
        answer.get_mut(member).map(encoded);
        if let Some(java) = answer.get_mut(format!("{member}Java")) {
            *java = text(java.as_str().unwrap_or_default()).into();
        }
        if let Some(schema) = answer.get_mut(format!("{member}Schema"))
            && let Ok(rounded) = serde_json::from_str(&text(&schema.to_string()))
        {
            *schema = rounded;
        }
    }
    for header in answer.get_mut("headers").and_then(Json::as_array_mut).into_iter().flatten() {
        header.get_mut("value").map(encoded);
    }
    answer
}

fn differ_exactly(expected: &Json, got: &Json, config: &Json) -> Option<String> {
    let unlike = |what: &str, one: &Json, other: &Json| {
        (one != other).then(|| format!("{what}: expected {one}, got {other}"))
    };
    for kind in ["error", "configError"] {
        if let Some(error) = expected.get(kind) {
            let Some(ours) = got.get(kind) else { return Some(format!("expected {expected}, got {got}")) };
            return unlike("stage", &error["stage"], &ours["stage"])
                .or_else(|| unlike("class", &simple(&error["class"]), &simple(&ours["class"])))
                .map(|what| format!("{what} ({} and {})", error["message"], ours["message"]));
        }
    }
    if expected.get("dropped").is_some() || got.get("topic").is_none() {
        return unlike("answer", expected, got);
    }
    for member in ["topic", "partition", "timestamp", "keySchema", "valueSchema"] {
        if let Some(what) = unlike(member, &expected[member], &got[member]) {
            return Some(what);
        }
    }
    for (member, converter) in [("key", "key.converter"), ("value", "value.converter")] {
        let schema = &expected[format!("{member}Schema")];
        if let Some(what) = bytes(member, &expected[member], &got[member], schema, config, converter) {
            return Some(what);
        }
        let java = format!("{member}Java");
        if !same_text(expected[&java].as_str()?, got[&java].as_str().unwrap_or_default()) {
            return unlike(&java, &expected[&java], &got[&java]);
        }
    }
    let (theirs, ours) = (expected["headers"].as_array()?, got["headers"].as_array()?);
    let keys = |headers: &[Json]| headers.iter().map(|header| header["key"].clone()).collect::<Json>();
    unlike("headers", &keys(theirs), &keys(ours)).or_else(|| {
        theirs.iter().zip(ours).find_map(|(one, other)| {
            bytes("header", &one["value"], &other["value"], &Json::Null, config, "header.converter")
        })
    })
}

fn simple(class: &Json) -> Json {
    class.as_str().and_then(|class| class.rsplit('.').next()).into()
}

fn bytes(
    what: &str,
    expected: &Json,
    got: &Json,
    schema: &Json,
    config: &Json,
    converter: &str,
) -> Option<String> {
    let decode = |json: &Json| BASE64_STANDARD.decode(json.as_str()?).ok();
    if expected == got {
        return None;
    }
    let shown = |json: &Json| {
        decode(json).map_or("null".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let (theirs, ours) = (shown(expected), shown(got));
    let problem = Some(format!("{what}: expected {theirs}, got {ours}"));
    if expected.is_null() || got.is_null() {
        return problem;
    }
    let own = format!("output.{converter}");
    let converter = if config.get(&own).is_some() { own } else { converter.to_owned() };
    let setting = |key: &str| config.get(key).and_then(Json::as_str).unwrap_or_default();
    if setting(&converter).contains("Json") {
        let envelope = !setting(&format!("{converter}.schemas.enable")).eq_ignore_ascii_case("false");
        let parse = |text: &str| serde_json::from_str::<Json>(text).ok();
        let (Some(theirs), Some(ours)) = (parse(&theirs), parse(&ours)) else { return problem };
        let parts =
            |text: &Json| text.as_object().is_some_and(|members| members.keys().eq(["schema", "payload"]));
        let same = if envelope && parts(&theirs) {
            ordered(&theirs["schema"]) == ordered(&ours["schema"])
                && canonical(&theirs["payload"], schema) == canonical(&ours["payload"], schema)
        } else {
            canonical(&theirs, schema) == canonical(&ours, schema)
        };
        return if same { None } else { problem };
    }
    if same_text(&theirs, &ours) { None } else { problem }
}

/// A schema as text: its members have an order, those of a default may not.
fn ordered(schema: &Json) -> String {
    match schema {
        Json::Object(members) => {
            let member = |(name, value): (&String, &Json)| {
                let value = if name == "default" { canonical(value, &Json::Null) } else { ordered(value) };
                format!("{name:?}:{value}")
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(ordered).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

/// The value as text, with what has no order in one.
fn canonical(value: &Json, schema: &Json) -> String {
    let kind = schema["type"].as_str().unwrap_or_default();
    match value {
        Json::Object(members) if kind == "struct" => {
            let empty = Vec::new();
            let fields = schema["fields"].as_array().unwrap_or(&empty);
            let field = |name: &str| {
                fields
                    .iter()
                    .find(|field| field["field"] == name)
                    .map_or(&Json::Null, |field| &field["schema"])
            };
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", canonical(value, field(name))))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Object(members) => {
            let values = if kind == "map" { &schema["values"] } else { &Json::Null };
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", canonical(value, values)))
                .collect();
            members.sort();
            format!("<{}>", members.join(","))
        }
        Json::Array(pairs) if kind == "map" => {
            let pair = |pair: &Json| {
                format!("{}:{}", canonical(&pair[0], &schema["keys"]), canonical(&pair[1], &schema["values"]))
            };
            let mut pairs: Vec<String> = pairs.iter().map(pair).collect();
            pairs.sort();
            format!("<{}>", pairs.join(","))
        }
        Json::Array(items) => {
            let values = if kind == "array" { &schema["values"] } else { &Json::Null };
            let items: Vec<String> = items.iter().map(|item| canonical(item, values)).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// Equal, or the same words around the brackets of a map in another order.
fn same_text(one: &str, other: &str) -> bool {
    let words = |text: &str| {
        let mut words: Vec<String> = text
            .split(|char: char| "{}[],: =".contains(char))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        words.sort();
        words
    };
    let (one, other) = (&without_hashes(one), &without_hashes(other));
    one == other || (one.len() == other.len() && one.contains(['{', '[']) && words(one) == words(other))
}

/// What Java prints of an array of bytes is another thing in each run.
fn without_hashes(text: &str) -> String {
    let mut parts = text.split("[B@");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("[B@*");
        out.push_str(part.trim_start_matches(|char: char| char.is_ascii_hexdigit() || char == '*'));
    }
    out
}
