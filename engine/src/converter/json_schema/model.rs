//! JSON Schema as Confluent's converter sees it: the everit library's classes of schemas, by the keywords that are there.

use serde_json::{Map, Value as Json};

use super::java_order;

/// Most schemas inside each other.
pub(super) const MAX_DEPTH: u32 = 200;

/// What `allOf`, `anyOf` and `oneOf` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Criterion {
    All,
    Any,
    One,
}

/// The class of a schema.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Boolean,
    Number {
        integer: bool,
    },
    String,
    Null,
    Array {
        items: Option<Box<Node>>,
    },
    Object(Object),
    Enum(Vec<Json>),
    Const(Json),
    Combined {
        criterion: Criterion,
        parts: Vec<Node>,
    },
    /// `$ref`, as it is written.
    Reference(String),
    Empty,
    /// What has no type of Connect: its name.
    Other(&'static str),
}

/// What an object may hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    /// In the order of Java's hash table.
    pub(super) properties: Vec<(String, Node)>,
    pub(super) required: Vec<String>,
    /// Schema of members that are no properties.
    pub(super) additional: Option<Box<Node>>,
    /// Whether there may be such members.
    pub(super) open: bool,
}

/// A schema with what describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) default: Option<Json>,
    pub(super) connect_type: Option<String>,
    pub(super) connect_version: Option<i32>,
    pub(super) connect_index: Option<i32>,
    pub(super) connect_parameters: Vec<(String, String)>,
}

impl Node {
    const fn bare(kind: Kind) -> Self {
        Self {
            kind,
            title: None,
            description: None,
            default: None,
            connect_type: None,
            connect_version: None,
            connect_index: None,
            connect_parameters: Vec::new(),
        }
    }
}

type Result<T> = std::result::Result<T, String>;

const ARRAY_KEYWORDS: [&str; 6] =
    ["items", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains"];
const OBJECT_KEYWORDS: [&str; 8] = [
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "dependencies",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
];
const NUMBER_KEYWORDS: [&str; 5] =
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const STRING_KEYWORDS: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
const CONDITIONAL_KEYWORDS: [&str; 3] = ["if", "then", "else"];

/// Reads a schema. `depth` is the number of schemas around it.
pub(super) fn parse(json: &Json, depth: u32) -> Result<Node> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} schemas are inside each other"));
    }
    let members = match json {
        Json::Bool(true) => return Ok(Node::bare(Kind::Empty)),
        Json::Bool(false) => return Ok(Node::bare(Kind::Other("FalseSchema"))),
        Json::Object(members) => members,
        _ => return Err("a schema must be an object or a boolean".to_owned()),
    };
    let mut kinds = kinds(members, depth)?;
    let kind = match kinds.len() {
        0 => Kind::Empty,
        1 => kinds.remove(0),
        // keywords of several classes: all hold
        _ => Kind::Combined { criterion: Criterion::All, parts: kinds.into_iter().map(Node::bare).collect() },
    };
    Ok(describe(kind, members))
}

fn describe(kind: Kind, members: &Map<String, Json>) -> Node {
    let text = |name: &str| members.get(name).and_then(Json::as_str).map(str::to_owned);
    let int =
        |name: &str| members.get(name).and_then(Json::as_i64).and_then(|number| i32::try_from(number).ok());
    let parameters = members.get("connect.parameters").and_then(Json::as_object);
    let parameter = |(name, value): (&String, &Json)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), value)
    };
    Node {
        kind,
        title: text("title"),
        description: text("description"),
        default: members.get("default").cloned(),
        connect_type: text("connect.type"),
        connect_version: int("connect.version"),
        connect_index: int("connect.index"),
        connect_parameters: parameters.into_iter().flatten().map(parameter).collect(),
    }
}

/// The classes that the keywords ask for, in everit's order.
fn kinds(members: &Map<String, Json>, depth: u32) -> Result<Vec<Kind>> {
    if let Some(reference) = members.get("$ref") {
        let reference = reference.as_str().ok_or("$ref must be a string")?;
        return Ok(vec![Kind::Reference(reference.to_owned())]);
    }
    let mut kinds = Vec::new();
    if let Some(values) = members.get("enum") {
        kinds.push(Kind::Enum(values.as_array().ok_or("enum must be an array")?.clone()));
    }
    for (keyword, criterion) in
        [("oneOf", Criterion::One), ("anyOf", Criterion::Any), ("allOf", Criterion::All)]
    {
        if let Some(parts) = members.get(keyword) {
            let parts = parts.as_array().ok_or_else(|| format!("{keyword} must be an array"))?;
            let parts = parts.iter().map(|part| parse(part, depth + 1)).collect::<Result<_>>()?;
            kinds.push(Kind::Combined { criterion, parts });
        }
    }
    if members.contains_key("not") {
        kinds.push(Kind::Other("NotSchema"));
    }
    if let Some(value) = members.get("const") {
        kinds.push(Kind::Const(value.clone()));
    }
    let mut known: Vec<&str> = Vec::new();
    match members.get("type") {
        None => {}
        Some(Json::String(name)) => {
            known.push(name);
            kinds.push(explicit(name, members, depth)?);
        }
        Some(Json::Array(names)) => {
            known.extend(names.iter().filter_map(Json::as_str));
            let part = |name: &Json| {
                let name = name.as_str().ok_or("type must be a string or an array of strings")?;
                explicit(name, members, depth).map(Node::bare)
            };
            let parts = names.iter().map(part).collect::<Result<_>>()?;
            kinds.push(Kind::Combined { criterion: Criterion::Any, parts });
        }
        Some(_) => return Err("type must be a string or an array of strings".to_owned()),
    }
    sniff(&known, members, depth, &mut kinds)?;
    Ok(kinds)
}

/// Keywords of a type that is not named as such.
fn sniff(known: &[&str], members: &Map<String, Json>, depth: u32, kinds: &mut Vec<Kind>) -> Result<()> {
    let has = |keywords: &[&str]| keywords.iter().any(|keyword| members.contains_key(*keyword));
    let is = |names: &[&str]| names.iter().any(|name| known.contains(name));
    if !is(&["array"]) && has(&ARRAY_KEYWORDS) {
        kinds.push(array(members, depth)?);
    }
    if !is(&["object"]) && has(&OBJECT_KEYWORDS) {
        kinds.push(object(members, depth)?);
    }
    if !is(&["number", "integer"]) && has(&NUMBER_KEYWORDS) {
        kinds.push(Kind::Number { integer: false });
    }
    if !is(&["string"]) && has(&STRING_KEYWORDS) {
        kinds.push(Kind::String);
    }
    if has(&CONDITIONAL_KEYWORDS) {
        kinds.push(Kind::Other("ConditionalSchema"));
    }
    Ok(())
}

fn explicit(name: &str, members: &Map<String, Json>, depth: u32) -> Result<Kind> {
    Ok(match name {
        "string" => Kind::String,
        "integer" => Kind::Number { integer: true },
        "number" => Kind::Number { integer: false },
        "boolean" => Kind::Boolean,
        "null" => Kind::Null,
        "array" => array(members, depth)?,
        "object" => object(members, depth)?,
        other => return Err(format!("unknown type: [{other}]")),
    })
}

fn array(members: &Map<String, Json>, depth: u32) -> Result<Kind> {
    let items = match members.get("items") {
        // items by place have no type of Connect
        None | Some(Json::Array(_)) => None,
        Some(items) => Some(Box::new(parse(items, depth + 1)?)),
    };
    Ok(Kind::Array { items })
}

fn object(members: &Map<String, Json>, depth: u32) -> Result<Kind> {
    let mut properties = Vec::new();
    if let Some(found) = members.get("properties") {
        for (name, schema) in found.as_object().ok_or("properties must be an object")? {
            properties.push((name.clone(), parse(schema, depth + 1)?));
        }
    }
    // through the hash tables of the parser, the builder and the schema
    java_order::put(&mut properties, |(name, _)| name);
    java_order::put(&mut properties, |(name, _)| name);
    java_order::copy(&mut properties, |(name, _)| name);
    let required = members.get("required").and_then(Json::as_array).into_iter().flatten();
    let (open, additional) = match members.get("additionalProperties") {
        None => (true, None),
        Some(Json::Bool(open)) => (*open, None),
        Some(schema) => (true, Some(Box::new(parse(schema, depth + 1)?))),
    };
    Ok(Kind::Object(Object {
        properties,
        required: required.filter_map(Json::as_str).map(str::to_owned).collect(),
        additional,
        open,
    }))
}
