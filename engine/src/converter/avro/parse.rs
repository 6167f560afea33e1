//! Avro schemas from JSON, by the rules of Avro's own Java library.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::model::{AvroField, AvroSchema, Kind, Name, Named, Node, NodeId, Symbols};

/// Deepest nesting of a schema that is read. Names make deep ones rare: a hundred is unheard of.
const MAX_DEPTH: u32 = 256;
/// Nodes that a schema may have.
const MAX_NODES: usize = 1 << 20;

/// Members of a type that are Avro's own.
const RESERVED: [&str; 10] =
    ["doc", "fields", "items", "name", "namespace", "size", "symbols", "values", "type", "aliases"];
/// Members of a field that are Avro's own.
const FIELD_RESERVED: [&str; 6] = ["default", "doc", "name", "order", "type", "aliases"];

/// Reads a schema. `references` are read before it; it may use their names.
pub(super) fn parse(text: &str, references: &[&str]) -> Result<AvroSchema, String> {
    let mut parser = Parser { schema: AvroSchema::default(), names: HashMap::new() };
    for reference in references {
        parser.text(reference)?;
    }
    parser.schema.root = parser.text(text)?;
    Ok(parser.schema)
}

struct Parser {
    schema: AvroSchema,
    names: HashMap<String, NodeId>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<NodeId, String> {
        let json = serde_json::from_str(text).or_else(|error| {
            // a primitive's name may stand without quotes
            Kind::primitive(text.trim()).map(|_| Json::String(text.trim().to_owned())).ok_or(error)
        });
        let json: Json = json.map_err(|error| format!("the Avro schema is not JSON: {error}"))?;
        self.node(&json, None, 0)
    }

    fn node(&mut self, json: &Json, space: Option<&str>, depth: u32) -> Result<NodeId, String> {
        if depth > MAX_DEPTH || self.schema.nodes.len() > MAX_NODES {
            return Err("the Avro schema is nested too deeply or too large".to_owned());
        }
        match json {
            Json::String(name) => self.by_name(name, space),
            Json::Array(branches) => {
                let branches = branches
                    .iter()
                    .map(|branch| self.node(branch, space, depth + 1))
                    .collect::<Result<Vec<_>, _>>()?;
                self.union(branches)
            }
            Json::Object(object) => self.object(object, space, depth),
            other => Err(format!("No type: {other}")),
        }
    }

    fn union(&mut self, branches: Vec<NodeId>) -> Result<NodeId, String> {
        check_union(&self.schema, &branches)?;
        Ok(self.schema.add(Kind::Union(branches)))
    }

    fn by_name(&mut self, name: &str, space: Option<&str>) -> Result<NodeId, String> {
        if let Some(kind) = Kind::primitive(name) {
            return Ok(self.schema.add(kind));
        }
        let full = Name::parse(name, space).full();
        let found = self.names.get(&full).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("Undefined schema: {full}"))
    }

    fn object(
        &mut self,
        object: &Map<String, Json>,
        space: Option<&str>,
        depth: u32,
    ) -> Result<NodeId, String> {
        let kind = object
            .get("type")
            .ok_or_else(|| "No type: an object of the schema has no \"type\"".to_owned())?;
        let Json::String(kind) = kind else {
            // {"type": {…}}: what is inside is meant
            return self.node(kind, space, depth + 1);
        };
        let node = match kind.as_str() {
            "record" | "error" => return self.record(object, space, depth),
            "enum" => {
                let named = named(object, space)?;
                let symbols = texts(object, "symbols").ok_or("Enum has no symbols")?;
                let default = object.get("default").and_then(Json::as_str).map(str::to_owned);
                Node::from(Kind::Enum(named, Symbols { symbols, default }))
            }
            "fixed" => {
                let size = object.get("size").and_then(Json::as_u64).ok_or("Invalid or no size")?;
                let size = i32::try_from(size).map_err(|_| "Invalid or no size")?;
                Node::from(Kind::Fixed(named(object, space)?, size as usize))
            }
            "array" => {
                let items = object.get("items").ok_or("Array has no items type")?;
                Node::from(Kind::Array(self.node(items, space, depth + 1)?))
            }
            "map" => {
                let values = object.get("values").ok_or("Map has no values type")?;
                Node::from(Kind::Map(self.node(values, space, depth + 1)?))
            }
            name => match Kind::primitive(name) {
                Some(kind) => Node::from(kind),
                None => return self.by_name(name, space),
            },
        };
        let enum_default = matches!(node.kind, Kind::Enum(..));
        let props = props(object, |name| RESERVED.contains(&name) || (enum_default && name == "default"));
        let full = node.kind.named().map(|named| named.name.full());
        let id = self.schema.add(Node { props, ..node });
        full.map_or(Ok(()), |full| self.define(full, id))?;
        Ok(id)
    }

    fn define(&mut self, full: String, id: NodeId) -> Result<(), String> {
        if self.names.contains_key(&full) {
            return Err(format!("Can't redefine: {full}"));
        }
        self.names.insert(full, id);
        Ok(())
    }

    fn record(
        &mut self,
        object: &Map<String, Json>,
        space: Option<&str>,
        depth: u32,
    ) -> Result<NodeId, String> {
        let named = named(object, space)?;
        let (full, inner) = (named.name.full(), named.name.space.clone());
        let props = props(object, |name| RESERVED.contains(&name));
        // known before its fields are read: they may name it
        let id = self.schema.add(Node { kind: Kind::Record(named, Vec::new()), props });
        self.define(full, id)?;
        let list = object.get("fields").and_then(Json::as_array).ok_or("Record has no fields")?;
        let mut fields = Vec::with_capacity(list.len());
        let mut names = std::collections::HashSet::with_capacity(list.len());
        for field in list {
            let field = field.as_object().ok_or("A record's field is no object")?;
            let name = field.get("name").and_then(Json::as_str).ok_or("No field name")?;
            if !names.insert(name) {
                return Err(format!("Duplicate field {name} in record"));
            }
            let kind = field.get("type").ok_or_else(|| format!("No field type: {name}"))?;
            fields.push(AvroField {
                name: name.to_owned(),
                node: self.node(kind, inner.as_deref(), depth + 1)?,
                doc: field.get("doc").and_then(Json::as_str).map(str::to_owned),
                default: field.get("default").cloned(),
                props: self::props(field, |name| FIELD_RESERVED.contains(&name)),
            });
        }
        if let Kind::Record(_, place) = &mut self.schema.nodes[id].kind {
            *place = fields;
        }
        Ok(id)
    }
}

/// What a union may not hold.
pub(super) fn check_union(schema: &AvroSchema, branches: &[NodeId]) -> Result<(), String> {
    let mut names = std::collections::HashSet::with_capacity(branches.len());
    for branch in branches {
        if matches!(schema.kind(*branch), Kind::Union(_)) {
            return Err("Nested union".to_owned());
        }
        let name = schema.branch_name(*branch);
        if !names.insert(name.clone()) {
            return Err(format!("Duplicate in union:{name}"));
        }
    }
    Ok(())
}

impl Name {
    /// A name as it stands in a schema, within a namespace.
    pub(super) fn parse(name: &str, space: Option<&str>) -> Self {
        let (space, name) = match name.rsplit_once('.') {
            Some((space, name)) => (Some(space), name),
            None => (space, name),
        };
        Self { space: space.filter(|space| !space.is_empty()).map(str::to_owned), name: name.to_owned() }
    }
}

fn named(object: &Map<String, Json>, space: Option<&str>) -> Result<Named, String> {
    let name = object.get("name").and_then(Json::as_str).ok_or("No name in schema")?;
    let own = object.get("namespace").and_then(Json::as_str);
    Ok(Named {
        name: Name::parse(name, own.or(space)),
        doc: object.get("doc").and_then(Json::as_str).map(str::to_owned),
        aliases: texts(object, "aliases").unwrap_or_default(),
    })
}

fn texts(object: &Map<String, Json>, member: &str) -> Option<Vec<String>> {
    let list = object.get(member)?.as_array()?;
    Some(list.iter().filter_map(Json::as_str).map(str::to_owned).collect())
}

fn props(object: &Map<String, Json>, is_reserved: impl Fn(&str) -> bool) -> IndexMap<String, Json> {
    let own = object.iter().filter(|(name, _)| !is_reserved(name));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}
