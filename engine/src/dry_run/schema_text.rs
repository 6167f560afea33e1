//! A schema as JSON that says everything once: members in a fixed order, absent where they say nothing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value as Json, json};

use crate::data::{Batch, Constant, Schema, append_java_string};

/// `null`, or `{"type", "optional", "name", "version", "doc", "parameters", "default", "fields" | "values" | "keys"}`.
#[must_use]
pub fn schema_text(schema: Option<&Schema>) -> Json {
    let Some(schema) = schema else { return Json::Null };
    let mut text = Map::new();
    text.insert("type".into(), schema.kind.name().to_lowercase().into());
    if schema.optional {
        text.insert("optional".into(), true.into());
    }
    if let Some(name) = &schema.name {
        text.insert("name".into(), (&**name).into());
    }
    if let Some(version) = schema.version {
        text.insert("version".into(), version.into());
    }
    if let Some(doc) = &schema.doc {
        text.insert("doc".into(), (&**doc).into());
    }
    if !schema.parameters.is_empty() {
        let mut parameters: Vec<_> = schema.parameters.iter().collect();
        parameters.sort_by(|one, other| java_order(one.0, other.0));
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_string(), (&**value).into()));
        text.insert("parameters".into(), Json::Object(parameters.collect()));
    }
    if let Some(default) = &schema.default {
        text.insert("default".into(), constant(default, Some(schema)));
    }
    match schema.kind {
        crate::data::Type::Struct => {
            let field = |field: &crate::data::Field| json!({"field": &*field.name, "schema": schema_text(Some(&field.schema))});
            text.insert("fields".into(), schema.fields.iter().map(field).collect());
        }
        crate::data::Type::Array => {
            text.insert("values".into(), schema_text(schema.value.as_deref()));
        }
        crate::data::Type::Map => {
            text.insert("keys".into(), schema_text(schema.key.as_deref()));
            text.insert("values".into(), schema_text(schema.value.as_deref()));
        }
        _ => {}
    }
    Json::Object(text)
}

/// `String.compareTo`: by UTF-16 units.
fn java_order(one: &str, other: &str) -> std::cmp::Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

/// Scalars as Java's text, dates as `{"epochMs":n}`, bytes as `{"base64":s}`, structs and maps as objects (maps sorted).
fn constant(value: &Constant, schema: Option<&Schema>) -> Json {
    match value {
        Constant::Null => Json::Null,
        Constant::Boolean(value) => (*value).into(),
        Constant::Date(ms) => json!({"epochMs": ms}),
        Constant::Bytes(bytes) => json!({"base64": BASE64_STANDARD.encode(bytes)}),
        Constant::Array(items) => {
            let schema = schema.and_then(|schema| schema.value.as_deref());
            items.iter().map(|item| constant(item, schema)).collect()
        }
        Constant::Struct(values) => {
            let fields = schema.map_or(&[][..], |schema| &schema.fields);
            let member = |(field, value): (&crate::data::Field, &Constant)| {
                (field.name.to_string(), constant(value, Some(&field.schema)))
            };
            Json::Object(fields.iter().zip(values).map(member).collect())
        }
        Constant::Map(entries) => {
            let values = schema.and_then(|schema| schema.value.as_deref());
            let keys = schema.and_then(|schema| schema.key.as_deref());
            let mut members: Vec<(String, Json)> =
                entries.iter().map(|(key, value)| (text(key, keys), constant(value, values))).collect();
            members.sort_by(|one, other| java_order(&one.0, &other.0));
            Json::Object(members.into_iter().collect())
        }
        other => text(other, schema).into(),
    }
}

fn text(value: &Constant, schema: Option<&Schema>) -> String {
    let mut batch = Batch::default();
    let value = batch.put_constant(value);
    let mut out = Vec::new();
    append_java_string(&batch, schema, value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
