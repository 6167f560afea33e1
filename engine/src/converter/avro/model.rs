//! Avro schemas with all that Connect's mapping needs of them: properties in their order, docs, defaults as they were written.
//!
//! Nodes lie in one vector and name each other by index, so a type that contains itself is no special case.

use indexmap::IndexMap;
use serde_json::Value as Json;

/// A node's place.
pub(super) type NodeId = usize;

/// A schema.
#[derive(Debug, Clone, Default)]
pub(super) struct AvroSchema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

/// One type.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Members that Avro itself gives no meaning, `logicalType` among them.
    pub(super) props: IndexMap<String, Json>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Named, Vec<AvroField>),
    Enum(Named, Symbols),
    Fixed(Named, usize),
}

/// What records, enums and fixed types have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    pub(super) name: Name,
    pub(super) doc: Option<String>,
    pub(super) aliases: Vec<String>,
}

/// Namespace and simple name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) space: Option<String>,
    pub(super) name: String,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Symbols {
    pub(super) symbols: Vec<String>,
    pub(super) default: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct AvroField {
    pub(super) name: String,
    pub(super) node: NodeId,
    pub(super) doc: Option<String>,
    pub(super) default: Option<Json>,
    pub(super) props: IndexMap<String, Json>,
}

impl Name {
    pub(super) fn full(&self) -> String {
        match &self.space {
            Some(space) => format!("{space}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl From<Kind> for Node {
    fn from(kind: Kind) -> Self {
        Self { kind, props: IndexMap::new() }
    }
}

impl Node {
    pub(super) fn prop(&self, name: &str) -> Option<&Json> {
        self.props.get(name)
    }

    /// A property that is text; `None` for others, as Java's `getProp`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.props.get(name).and_then(Json::as_str)
    }
}

impl Kind {
    pub(super) const fn named(&self) -> Option<&Named> {
        match self {
            Self::Record(named, _) | Self::Enum(named, _) | Self::Fixed(named, _) => Some(named),
            _ => None,
        }
    }

    /// Avro's name of the type.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record(..) => "record",
            Self::Enum(..) => "enum",
            Self::Fixed(..) => "fixed",
        }
    }

    pub(super) fn primitive(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "bytes" => Self::Bytes,
            "string" => Self::String,
            _ => return None,
        })
    }
}

impl AvroSchema {
    pub(super) fn add(&mut self, node: impl Into<Node>) -> NodeId {
        self.nodes.push(node.into());
        self.nodes.len() - 1
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub(super) fn kind(&self, id: NodeId) -> &Kind {
        &self.nodes[id].kind
    }

    /// How a union tells the type from others: full name, or name of the type.
    pub(super) fn branch_name(&self, id: NodeId) -> String {
        let kind = self.kind(id);
        kind.named().map_or_else(|| kind.type_name().to_owned(), |named| named.name.full())
    }

    /// Whether it is the plain null type.
    pub(super) fn is_null(&self, id: NodeId) -> bool {
        matches!(self.kind(id), Kind::Null) && self.node(id).props.is_empty()
    }

    /// Full name, of a record.
    pub(super) fn record_name(&self) -> Option<String> {
        match self.kind(self.root) {
            Kind::Record(named, _) => Some(named.name.full()),
            _ => None,
        }
    }
}
