//! Schemas: immutable, shared, compared by content only where two pointers differ.

use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;

use super::Constant;

/// Name of the logical type for `java.math.BigDecimal`; parameter `scale`.
pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
/// Name of the logical type for days since 1970.
pub const DATE: &str = "org.apache.kafka.connect.data.Date";
/// Name of the logical type for milliseconds of a day.
pub const TIME: &str = "org.apache.kafka.connect.data.Time";
/// Name of the logical type for milliseconds since 1970.
pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";

/// Connect's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// 8 bits, signed.
    Int8,
    /// 16 bits, signed.
    Int16,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// IEEE 754, 32 bits.
    Float32,
    /// IEEE 754, 64 bits.
    Float64,
    /// True or false.
    Boolean,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// Values of one schema.
    Array,
    /// Keys and values of one schema each.
    Map,
    /// Named fields.
    Struct,
}

impl Type {
    /// The types that have no parts.
    pub const PRIMITIVES: [Self; 9] = [
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::Boolean,
        Self::String,
        Self::Bytes,
    ];

    /// Connect's name in upper case, as messages have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Float32 => "FLOAT32",
            Self::Float64 => "FLOAT64",
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Bytes => "BYTES",
            Self::Array => "ARRAY",
            Self::Map => "MAP",
            Self::Struct => "STRUCT",
        }
    }
}

/// A shared schema.
pub type SchemaRef = Arc<Schema>;

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// Its schema.
    pub schema: SchemaRef,
}

/// What a value is: type, whether it may be null, and what describes it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schema {
    /// The type.
    pub kind: Type,
    /// Whether null is allowed.
    pub optional: bool,
    /// Stands for null, if there is one.
    pub default: Option<Constant>,
    /// Name; of a logical type, or of a record.
    pub name: Option<Arc<str>>,
    /// Version.
    pub version: Option<i32>,
    /// Documentation.
    pub doc: Option<Arc<str>>,
    /// Parameters, in the order in which they were given.
    pub parameters: IndexMap<Arc<str>, Arc<str>>,
    /// Fields of a struct.
    pub fields: Vec<Field>,
    /// Schema of a map's keys.
    pub key: Option<SchemaRef>,
    /// Schema of an array's or a map's values.
    pub value: Option<SchemaRef>,
}

impl Schema {
    /// Connect's constants: `INT8_SCHEMA`, `OPTIONAL_STRING_SCHEMA` and so on.
    ///
    /// # Panics
    /// For an array, a map or a struct, which have more to say.
    #[must_use]
    pub fn primitive(kind: Type, optional: bool) -> &'static SchemaRef {
        static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| {
            let make = |kind: &Type| {
                let builder = SchemaBuilder::new(*kind);
                [builder.clone().build(), builder.optional().build()]
            };
            Type::PRIMITIVES.iter().flat_map(make).collect()
        });
        let place = Type::PRIMITIVES.iter().position(|primitive| *primitive == kind);
        let place = place.unwrap_or_else(|| panic!("{} is no primitive type", kind.name()));
        &SCHEMAS[place * 2 + usize::from(optional)]
    }

    /// `STRING_SCHEMA`.
    #[must_use]
    pub fn string() -> SchemaRef {
        Arc::clone(Self::primitive(Type::String, false))
    }

    /// `OPTIONAL_STRING_SCHEMA`.
    #[must_use]
    pub fn optional_string() -> SchemaRef {
        Arc::clone(Self::primitive(Type::String, true))
    }

    /// The field of that name and its place.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields.iter().enumerate().find(|(_, field)| &*field.name == name)
    }

    /// Whether it has this name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// A builder that starts from this schema's name, version, doc and parameters, as transforms do: not from optional
    /// and default.
    #[must_use]
    pub fn like(&self) -> SchemaBuilder {
        let mut builder = SchemaBuilder::new(self.kind);
        builder.schema.name.clone_from(&self.name);
        builder.schema.version = self.version;
        builder.schema.doc.clone_from(&self.doc);
        builder.schema.parameters.clone_from(&self.parameters);
        builder
    }
}

/// Makes schemas.
#[derive(Debug, Clone)]
pub struct SchemaBuilder {
    schema: Schema,
}

impl SchemaBuilder {
    /// A required schema of a type, with nothing else said.
    #[must_use]
    pub fn new(kind: Type) -> Self {
        let schema = Schema {
            kind,
            optional: false,
            default: None,
            name: None,
            version: None,
            doc: None,
            parameters: IndexMap::new(),
            fields: Vec::new(),
            key: None,
            value: None,
        };
        Self { schema }
    }

    /// A struct without fields.
    #[must_use]
    pub fn structure() -> Self {
        Self::new(Type::Struct)
    }

    /// An array of `value`.
    #[must_use]
    pub fn array(value: SchemaRef) -> Self {
        let mut builder = Self::new(Type::Array);
        builder.schema.value = Some(value);
        builder
    }

    /// A map of `key` to `value`.
    #[must_use]
    pub fn map(key: SchemaRef, value: SchemaRef) -> Self {
        let mut builder = Self::new(Type::Map);
        builder.schema.key = Some(key);
        builder.schema.value = Some(value);
        builder
    }

    /// The schema of a map's keys.
    #[must_use]
    pub fn key(mut self, key: SchemaRef) -> Self {
        self.schema.key = Some(key);
        self
    }

    /// `org.apache.kafka.connect.data.Decimal` of a scale, version 1.
    #[must_use]
    pub fn decimal(scale: i32) -> Self {
        Self::new(Type::Bytes).name(DECIMAL).version(1).parameter("scale", itoa::Buffer::new().format(scale))
    }

    /// `org.apache.kafka.connect.data.Date`, version 1.
    #[must_use]
    pub fn date() -> Self {
        Self::new(Type::Int32).name(DATE).version(1)
    }

    /// `org.apache.kafka.connect.data.Time`, version 1.
    #[must_use]
    pub fn time() -> Self {
        Self::new(Type::Int32).name(TIME).version(1)
    }

    /// `org.apache.kafka.connect.data.Timestamp`, version 1.
    #[must_use]
    pub fn timestamp() -> Self {
        Self::new(Type::Int64).name(TIMESTAMP).version(1)
    }

    /// Null is allowed.
    #[must_use]
    pub fn optional(self) -> Self {
        self.set_optional(true)
    }

    /// Whether null is allowed.
    #[must_use]
    pub fn set_optional(mut self, optional: bool) -> Self {
        self.schema.optional = optional;
        self
    }

    /// Stands for null.
    #[must_use]
    pub fn default_value(mut self, value: Option<Constant>) -> Self {
        self.schema.default = value;
        self
    }

    /// Name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.schema.name = Some(Arc::from(name));
        self
    }

    /// Name, shared with other schemas.
    #[must_use]
    pub fn shared_name(mut self, name: Arc<str>) -> Self {
        self.schema.name = Some(name);
        self
    }

    /// Version.
    #[must_use]
    pub fn version(mut self, version: i32) -> Self {
        self.schema.version = Some(version);
        self
    }

    /// Documentation.
    #[must_use]
    pub fn doc(mut self, doc: &str) -> Self {
        self.schema.doc = Some(Arc::from(doc));
        self
    }

    /// A parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.schema.parameters.insert(Arc::from(name), Arc::from(value));
        self
    }

    /// The next field.
    #[must_use]
    pub fn field(mut self, name: impl Into<Arc<str>>, schema: SchemaRef) -> Self {
        self.schema.fields.push(Field { name: name.into(), schema });
        self
    }

    /// The schema.
    #[must_use]
    pub fn build(self) -> SchemaRef {
        Arc::new(self.schema)
    }
}
