//! A schema of Connect to JSON Schema, with members in the order in which Confluent's converter prints them.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::Options;
use super::java_order;
use super::model::MAX_DEPTH;
use super::vocabulary::{ENUM, ENUM_NULL, GENERAL_ENUM, ID, NAMESPACE};
use crate::converter::json::payload::{TextWriter, tree};
use crate::converter::json::union::is_union;
use crate::converter::registry::Failure;
use crate::data::{Batch, DECIMAL, Schema, SchemaRef, Type};

type Result<T> = std::result::Result<T, Failure>;
/// Members in order.
type Members = Map<String, Json>;

/// The JSON Schema.
pub(super) fn convert(schema: &SchemaRef, options: Options) -> Result<Json> {
    let mut conversion = Conversion { options, ids: HashSet::new() };
    conversion.schema(schema, None, false, 0).map(Json::Object)
}

struct Conversion {
    options: Options,
    /// Marks of schemas that have been written.
    ids: HashSet<Arc<str>>,
}

/// What everit prints around what is particular to a class.
struct Printed {
    /// Before title and description.
    before: Members,
    /// After everything else.
    after: Members,
    /// `connect.*`.
    extra: Vec<(&'static str, Json)>,
}

impl Conversion {
    /// `index` is the place in a struct; `required` says that null is none of this schema's business.
    fn schema(
        &mut self,
        schema: &SchemaRef,
        index: Option<usize>,
        required: bool,
        depth: u32,
    ) -> Result<Members> {
        if depth > MAX_DEPTH {
            return Err(Failure::data(format!("more than {MAX_DEPTH} schemas are inside each other")));
        }
        let id = schema.parameters.get(ID).cloned();
        self.ids.extend(id.clone());
        if schema.kind == Type::Struct {
            if is_union(schema) {
                let alternatives = self.alternatives(schema, depth)?;
                return Ok(one_of(alternatives, id, index));
            }
            if schema.optional {
                let part = self.schema(&required_form(schema), None, false, depth + 1)?;
                return Ok(one_of(vec![null(), part], id, index));
            }
        }
        let mut printed = self.particular(schema, depth)?;
        if let Some(version) = schema.version {
            printed.extra.push(("connect.version", version.into()));
        }
        let parameters = parameters(schema);
        if !parameters.is_empty() {
            printed.extra.push(("connect.parameters", Json::Object(parameters)));
        }
        let nullable = schema.optional && !required;
        if !nullable && let Some(index) = index {
            printed.extra.push(("connect.index", index.into()));
        }
        let own_id = if nullable { None } else { id.clone() };
        let members = self.assemble(schema, printed, own_id)?;
        Ok(if nullable { one_of(vec![null(), members], id, index) } else { members })
    }

    fn assemble(&self, schema: &SchemaRef, printed: Printed, id: Option<Arc<str>>) -> Result<Members> {
        let Printed { before, after, mut extra } = printed;
        let mut members = before;
        if let Some(name) = &schema.name {
            members.insert("title".to_owned(), Json::from(&**name));
        }
        if let Some(doc) = &schema.doc {
            members.insert("description".to_owned(), Json::from(&**doc));
        }
        if schema.default.is_some() {
            members.insert("default".to_owned(), self.default(schema)?);
        }
        if let Some(id) = id {
            members.insert("id".to_owned(), Json::from(&*id));
        }
        java_order::put(&mut extra, |(name, _)| name);
        java_order::copy(&mut extra, |(name, _)| name);
        members.extend(extra.into_iter().map(|(name, value)| (name.to_owned(), value)));
        members.extend(after);
        Ok(members)
    }

    /// The fields of a union.
    fn alternatives(&mut self, union: &Schema, depth: u32) -> Result<Vec<Members>> {
        let mut alternatives = Vec::with_capacity(union.fields.len() + 1);
        alternatives.extend(union.optional.then(null));
        for (index, field) in union.fields.iter().enumerate() {
            let part = self.schema(&required_form(&field.schema), Some(index), true, depth + 1)?;
            alternatives.push(part);
        }
        Ok(alternatives)
    }

    /// A reference, if the schema has been written already.
    fn once(&mut self, schema: &SchemaRef, index: Option<usize>, depth: u32) -> Result<Json> {
        match schema.parameters.get(ID) {
            Some(id) if self.ids.contains(id) => Ok(json!({ "$ref": &**id })),
            _ => self.schema(schema, index, false, depth + 1).map(Json::Object),
        }
    }

    fn particular(&mut self, schema: &SchemaRef, depth: u32) -> Result<Printed> {
        let simple = |name: &str, connect: &str| Printed {
            before: members(&[("type", Json::from(name))]),
            after: Members::new(),
            extra: vec![("connect.type", Json::from(connect))],
        };
        let plain = |name: &str, value: Json, after: Members| Printed {
            before: members(&[(name, value)]),
            after,
            extra: Vec::new(),
        };
        Ok(match schema.kind {
            Type::Int8 => simple("integer", "int8"),
            Type::Int16 => simple("integer", "int16"),
            Type::Int32 => simple("integer", "int32"),
            Type::Int64 => simple("integer", "int64"),
            Type::Float32 => simple("number", "float32"),
            Type::Float64 => simple("number", "float64"),
            Type::Boolean => Printed {
                before: Members::new(),
                after: members(&[("type", Json::from("boolean"))]),
                extra: Vec::new(),
            },
            Type::String => match self.symbols(schema) {
                Some(symbols) => plain("enum", Json::Array(symbols), Members::new()),
                None => plain("type", Json::from("string"), Members::new()),
            },
            Type::Bytes => {
                let numeric = schema.is_named(DECIMAL) && self.options.numeric_decimals;
                simple(if numeric { "number" } else { "string" }, "bytes")
            }
            Type::Array => {
                let items = schema.value.as_ref().ok_or_else(|| no_part("an array's items"))?;
                let items = self.once(items, None, depth)?;
                plain("type", Json::from("array"), members(&[("items", items)]))
            }
            Type::Map => self.map(schema, depth)?,
            Type::Struct => self.structure(schema, depth)?,
        })
    }

    fn map(&mut self, schema: &Schema, depth: u32) -> Result<Printed> {
        let (Some(key), Some(value)) = (&schema.key, &schema.value) else {
            return Err(no_part("a map's keys and values"));
        };
        let extra = vec![("connect.type", Json::from("map"))];
        let (name, after) = if key.kind == Type::String && !key.optional {
            let values = self.schema(value, None, false, depth + 1)?;
            ("object", ("additionalProperties", Json::Object(values)))
        } else {
            let key = self.schema(key, Some(0), false, depth + 1)?;
            let value = self.schema(value, Some(1), false, depth + 1)?;
            let entry = json!({ "type": "object", "properties": properties(vec![
                ("key".to_owned(), Json::Object(key)),
                ("value".to_owned(), Json::Object(value)),
            ]) });
            ("array", ("items", entry))
        };
        Ok(Printed { before: members(&[("type", Json::from(name))]), after: members(&[after]), extra })
    }

    fn structure(&mut self, schema: &Schema, depth: u32) -> Result<Printed> {
        let mut fields = Vec::with_capacity(schema.fields.len());
        for (index, field) in schema.fields.iter().enumerate() {
            fields.push((field.name.to_string(), self.once(&field.schema, Some(index), depth)?));
        }
        let mut before = members(&[("type", Json::from("object"))]);
        if !self.options.object_additional_properties {
            before.insert("additionalProperties".to_owned(), Json::Bool(false));
        }
        let mut after = Members::new();
        if !fields.is_empty() {
            after.insert("properties".to_owned(), properties(fields));
        }
        Ok(Printed { before, after, extra: Vec::new() })
    }

    /// The symbols of an enumeration.
    fn symbols(&self, schema: &Schema) -> Option<Vec<Json>> {
        if !schema.parameters.contains_key(ENUM) && !schema.parameters.contains_key(GENERAL_ENUM) {
            return None;
        }
        let parameter = if self.options.generalized_sum_type_support { GENERAL_ENUM } else { ENUM };
        let symbol = |name: &Arc<str>| {
            let symbol = name.strip_prefix(parameter)?.strip_prefix('.')?;
            Some(if symbol == ENUM_NULL { Json::Null } else { Json::from(symbol) })
        };
        Some(schema.parameters.keys().filter_map(symbol).collect())
    }

    fn default(&self, schema: &SchemaRef) -> Result<Json> {
        let Some(default) = &schema.default else { return Ok(Json::Null) };
        let mut batch = Batch::default();
        let value = batch.put_constant(default);
        let mut text = Vec::new();
        let written = TextWriter::new(schema, self.options.numeric_decimals, self.options.ignore_default)
            .write(&batch, value, &mut text);
        written.map_err(|failure| Failure::data(format!("Invalid default value: {}", failure.message)))?;
        let tree = tree(&String::from_utf8_lossy(&text));
        tree.map(as_org_json).map_err(|why| Failure::data(format!("Invalid default value: {why}")))
    }
}

fn no_part(what: &str) -> Failure {
    Failure::data(format!("the schema does not say of which type {what} are"))
}

fn null() -> Members {
    members(&[("type", Json::from("null"))])
}

fn members(entries: &[(&str, Json)]) -> Members {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn one_of(parts: Vec<Members>, id: Option<Arc<str>>, index: Option<usize>) -> Members {
    let mut all = Members::new();
    if let Some(id) = id {
        all.insert("id".to_owned(), Json::from(&*id));
    }
    if let Some(index) = index {
        all.insert("connect.index".to_owned(), index.into());
    }
    all.insert("oneOf".to_owned(), parts.into_iter().map(Json::Object).collect());
    all
}

fn required_form(schema: &SchemaRef) -> SchemaRef {
    if !schema.optional {
        return Arc::clone(schema);
    }
    let mut required = Schema::clone(schema);
    required.optional = false;
    Arc::new(required)
}

fn properties(mut fields: Vec<(String, Json)>) -> Json {
    java_order::put(&mut fields, |(name, _)| name);
    java_order::copy(&mut fields, |(name, _)| name);
    Json::Object(fields.into_iter().collect())
}

fn parameters(schema: &Schema) -> Members {
    let own = schema.parameters.iter().filter(|(name, _)| !name.starts_with(NAMESPACE));
    let mut entries: Vec<_> = own.map(|(name, value)| (name.to_string(), Json::from(&**value))).collect();
    java_order::put(&mut entries, |(name, _)| name);
    java_order::sized(&mut entries, |(name, _)| name);
    entries.into_iter().collect()
}

/// As org.json would print it: objects in the order of Java's hash table, no zeros after a point.
fn as_org_json(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let mut entries: Vec<_> =
                members.into_iter().map(|(name, value)| (name, as_org_json(value))).collect();
            java_order::put(&mut entries, |(name, _)| name);
            Json::Object(entries.into_iter().collect())
        }
        Json::Array(items) => items.into_iter().map(as_org_json).collect(),
        Json::Number(number) => {
            let text = number.to_string();
            if !text.contains('.') || text.contains(['e', 'E']) {
                return Json::Number(number);
            }
            let short = text.trim_end_matches('0').trim_end_matches('.');
            short.parse().map_or(Json::Number(number), Json::Number)
        }
        other => other,
    }
}
