//! A schema's text and those of its references, and what `$ref` finds in them.

use serde_json::Value as Json;

use super::model::MAX_DEPTH;
use crate::converter::json::payload::tree;
use crate::converter::registry::Fetched;

/// A place: which document, and what is asked for in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    document: usize,
    fragment: String,
}

#[derive(Debug)]
struct Document {
    /// The name of the reference; empty for the schema itself.
    name: String,
    /// `$id`, if it has one.
    id: Option<String>,
    json: Json,
}

/// The schema first, its references after it.
#[derive(Debug)]
pub(super) struct Documents(Vec<Document>);

impl Documents {
    pub(super) fn parse(schema: &Fetched) -> Result<Self, String> {
        let mut documents = Vec::with_capacity(1 + schema.references.len());
        let texts = std::iter::once(("", &*schema.schema.text));
        let references = schema.references.iter().map(|found| (found.name.as_str(), &*found.schema.text));
        for (name, text) in texts.chain(references) {
            let json = tree(text).map_err(|why| match name {
                "" => format!("the schema is no JSON: {why}"),
                name => format!("the referenced schema {name} is no JSON: {why}"),
            })?;
            let id = ["$id", "id"].iter().find_map(|key| json.get(*key)?.as_str()).map(str::to_owned);
            documents.push(Document { name: name.to_owned(), id, json });
        }
        Ok(Self(documents))
    }

    /// The schema itself.
    pub(super) fn root(&self) -> &Json {
        &self.0[0].json
    }

    /// The place of the schema itself.
    pub(super) const fn start() -> Place {
        Place { document: 0, fragment: String::new() }
    }

    /// What `reference` means in a document.
    pub(super) fn resolve(&self, from: &Place, reference: &str) -> Result<(Place, &Json), String> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let missing =
            || format!("$ref {reference} leads nowhere: register the schema as a reference of that name");
        let document = if base.is_empty() {
            from.document
        } else {
            self.document(from.document, base).ok_or_else(missing)?
        };
        let json = find(&self.0[document].json, fragment).ok_or_else(missing)?;
        Ok((Place { document, fragment: fragment.to_owned() }, json))
    }

    /// A document by its name, by its `$id`, or by a name relative to the `$id` of the one that asks.
    fn document(&self, from: usize, base: &str) -> Option<usize> {
        let plain = base.strip_prefix("./").unwrap_or(base);
        let absolute = self.0[from].id.as_deref().and_then(|id| {
            let folder = &id[..=id.rfind('/')?];
            Some(format!("{folder}{plain}"))
        });
        let is_it = |wanted: &str, document: &Document| {
            !wanted.is_empty() && (document.name == wanted || document.id.as_deref() == Some(wanted))
        };
        [Some(base), Some(plain), absolute.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|wanted| self.0.iter().position(|document| is_it(wanted, document)))
    }
}

/// A fragment: a JSON pointer, or a name that a schema gives itself.
fn find<'a>(json: &'a Json, fragment: &str) -> Option<&'a Json> {
    if fragment.is_empty() {
        return Some(json);
    }
    if !fragment.starts_with('/') {
        return anchored(json, fragment, 0);
    }
    let decoded = percent_decoded(fragment)?;
    json.pointer(&decoded).or_else(|| {
        // schemas of newer drafts may still be kept where older ones have them
        let rest = decoded.strip_prefix("/$defs/")?;
        json.pointer(&format!("/definitions/{rest}"))
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

fn anchored<'a>(json: &'a Json, name: &str, depth: u32) -> Option<&'a Json> {
    if depth > MAX_DEPTH {
        return None;
    }
    match json {
        Json::Object(members) => {
            let id = |key: &str| members.get(key).and_then(Json::as_str);
            let by_id =
                ["$id", "id"].iter().any(|key| id(key).and_then(|id| id.strip_prefix('#')) == Some(name));
            if by_id || id("$anchor") == Some(name) {
                return Some(json);
            }
            members.values().find_map(|member| anchored(member, name, depth + 1))
        }
        Json::Array(items) => items.iter().find_map(|item| anchored(item, name, depth + 1)),
        _ => None,
    }
}
