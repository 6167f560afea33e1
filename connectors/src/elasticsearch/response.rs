//! What the cluster answers to a bulk request: the items are read only if one of them failed.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

/// Of the answer we want: whether something failed, and what.
pub(super) const FILTER: &str = "filter_path=errors,items.*.status,items.*.error";

/// Longest reason that is kept.
const MOST_REASON: usize = 2000;
/// Most causes inside each other that are told.
const MOST_CAUSES: usize = 4;

/// One failed item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ItemError {
    /// Place in the request.
    pub(super) item: usize,
    pub(super) status: u16,
    /// `type: reason`, and the causes.
    pub(super) text: String,
}

/// Items and the failed ones among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BulkAnswer {
    /// `None` where nothing failed: then nobody counts.
    pub(super) items: Option<usize>,
    pub(super) failed: Vec<ItemError>,
}

/// Reads an answer.
///
/// # Errors
/// It is no answer to a bulk request.
pub(super) fn parse(body: &[u8]) -> Result<BulkAnswer, serde_json::Error> {
    // the shape of nearly every answer; framing of HTTP tells that it is whole
    if body.starts_with(b"{\"errors\":false") && body.ends_with(b"}") {
        return Ok(BulkAnswer { items: None, failed: Vec::new() });
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let answer = reader.deserialize_map(Answer)?;
    reader.end()?;
    Ok(answer)
}

struct Answer;

impl<'de> Visitor<'de> for Answer {
    type Value = BulkAnswer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer to a bulk request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BulkAnswer, A::Error> {
        let (mut errors, mut answer) = (None, BulkAnswer { items: None, failed: Vec::new() });
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "errors" => errors = Some(map.next_value::<bool>()?),
                "items" => answer.items = Some(map.next_value_seed(Items(&mut answer.failed))?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match errors {
            None => Err(serde::de::Error::missing_field("errors")),
            Some(false) => Ok(BulkAnswer { items: None, failed: Vec::new() }),
            Some(true) => Ok(answer),
        }
    }
}

struct Items<'a>(&'a mut Vec<ItemError>);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<usize, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(Item(outcome)) = seq.next_element()? {
            let refused = outcome.error.is_some() || outcome.status >= 500 || outcome.status == 429;
            if refused {
                let text = match &outcome.error {
                    Some(error) => error_text(error),
                    None => format!("status {}", outcome.status),
                };
                self.0.push(ItemError { item: count, status: outcome.status, text });
            }
            count += 1;
        }
        Ok(count)
    }
}

/// An item is an object whose only member is the action.
struct Item(Outcome);

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Option<Json>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Item, D::Error> {
        struct Only;
        impl<'de> Visitor<'de> for Only {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an item")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let entry = map.next_entry::<IgnoredAny, Outcome>()?;
                let (_, outcome) = entry.ok_or_else(|| serde::de::Error::custom("an item without action"))?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Item(outcome))
            }
        }
        reader.deserialize_map(Only)
    }
}

/// `type: reason`, then the causes.
pub(super) fn error_text(error: &Json) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    for _ in 0..MOST_CAUSES {
        let Some(error) = next else { break };
        if !text.is_empty() {
            text.push_str("; caused by ");
        }
        match error.as_str() {
            Some(whole) => text.push_str(whole),
            None => {
                text.push_str(error.get("type").and_then(Json::as_str).unwrap_or("error"));
                if let Some(reason) = error.get("reason").and_then(Json::as_str) {
                    text.push_str(": ");
                    text.push_str(reason);
                }
            }
        }
        next = error.get("caused_by");
    }
    if let Some((at, _)) = text.char_indices().nth(MOST_REASON) {
        text.truncate(at);
    }
    text
}

/// Takes out what a reason quotes of the document.
pub(super) fn without_values(text: &str) -> String {
    const PREVIEW: &str = "Preview of field's value: '";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PREVIEW) {
        out.push_str(&rest[..at]);
        out.push_str("Preview of field's value: [hidden]");
        let quoted = &rest[at + PREVIEW.len()..];
        // the value may hold anything: the quote before the next cause, or the last one, ends it
        let end =
            quoted.find("'; caused by ").or_else(|| quoted.rfind('\'')).map_or(quoted.len(), |end| end + 1);
        rest = &quoted[end..];
    }
    out.push_str(rest);
    for quoting in
        ["For input string: \"", "failed to parse date field [", "Illegal character", "Unrecognized token '"]
    {
        if let Some(at) = out.find(quoting) {
            out.truncate(at);
            out.push_str(quoting.trim_end_matches(['"', '[', '\'']));
            out.push_str(" [hidden]");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_failed() {
        for body in [
            r#"{"errors":false,"items":[{"index":{"status":201}}]}"#,
            r#"{"took":3,"errors":false,"items":[{"index":{"status":201}}]}"#,
            r#"{"errors":false}"#,
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap(), BulkAnswer { items: None, failed: Vec::new() });
        }
    }

    #[test]
    fn failed_items_have_their_place_and_reason() {
        let body = r#"{"took":1,"errors":true,"items":[{"index":{"status":201,"_id":"a"}},{"delete":{"status":404}},
            {"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse",
             "caused_by":{"type":"illegal_argument_exception","reason":"no long"}}}},{"update":{"status":429}}]}"#;
        let answer = parse(body.as_bytes()).unwrap();
        assert_eq!(answer.items, Some(4));
        let text = "mapper_parsing_exception: failed to parse; caused by illegal_argument_exception: no long";
        assert_eq!(answer.failed[0], ItemError { item: 2, status: 400, text: text.to_owned() });
        assert_eq!((answer.failed[1].item, answer.failed[1].status), (3, 429));
        assert_eq!(answer.failed.len(), 2);
    }

    #[test]
    fn half_answers_are_errors() {
        for body in [
            "",
            "{",
            "{}",
            "[]",
            "<html>",
            r#"{"errors":true,"items":[{"index":{"status":201"#,
            r#"{"errors":true,"items":[{}]}"#,
            r#"{"errors":"yes"}"#,
            r#"{"errors":false,"items":["#,
        ] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn values_are_taken_out() {
        let text = "failed to parse field [n] of type [long] in document with id '1'. Preview of field's value: 'se'cret'; caused by illegal_argument_exception: For input string: \"se'cret\"";
        let safe = without_values(text);
        assert!(!safe.contains("cret") && safe.contains("field [n] of type [long]"), "{safe}");
        assert_eq!(without_values("plain"), "plain");
    }
}
