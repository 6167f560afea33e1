//! What a registry keeps.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The language of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaType {
    /// Apache Avro; what the registry means where it names no type.
    #[default]
    Avro,
    /// JSON Schema.
    Json,
    /// Protocol Buffers.
    Protobuf,
}

impl SchemaType {
    /// The registry's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }
}

impl fmt::Display for SchemaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A schema that another one uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Under which name the text uses it: an Avro full name, the path of an import, a JSON `$ref`.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// Its version there; -1 for the latest.
    pub version: i32,
}

/// A schema as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schema {
    /// Its language.
    pub schema_type: SchemaType,
    /// Its text.
    pub text: Arc<str>,
    /// What it uses.
    pub references: Vec<Reference>,
}

impl Schema {
    /// A schema without references.
    #[must_use]
    pub fn new(schema_type: SchemaType, text: impl Into<Arc<str>>) -> Self {
        Self { schema_type, text: text.into(), references: Vec::new() }
    }
}

/// A schema in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id: what the wire format carries.
    pub id: i32,
    /// Its subject; empty where it was asked for by id.
    pub subject: Arc<str>,
    /// Its version within the subject; 0 where it was asked for by id.
    pub version: i32,
    /// The schema.
    pub schema: Arc<Schema>,
}

/// A schema that another one uses, directly or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name under which it is used.
    pub name: String,
    /// The schema.
    pub schema: Arc<Schema>,
}

/// Which version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest.
    Latest,
    /// This one, from 1.
    Number(i32),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The registry takes -1 for the newest too; references use it.
            Self::Latest | Self::Number(-1) => f.write_str("latest"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The registry's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one of that name.
            #[must_use]
            pub fn by_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    /// What a new version of a subject must be to its older ones.
    Compatibility {
        /// Anything goes.
        None = "NONE",
        /// Reads what the last one wrote.
        Backward = "BACKWARD",
        /// Reads what all older ones wrote.
        BackwardTransitive = "BACKWARD_TRANSITIVE",
        /// The last one reads what it writes.
        Forward = "FORWARD",
        /// All older ones read what it writes.
        ForwardTransitive = "FORWARD_TRANSITIVE",
        /// Both with the last one.
        Full = "FULL",
        /// Both with all older ones.
        FullTransitive = "FULL_TRANSITIVE",
    }
}

names! {
    /// What a subject lets its users do.
    Mode {
        /// Read and register.
        ReadWrite = "READWRITE",
        /// Read.
        ReadOnly = "READONLY",
        /// Read, and delete nothing.
        ReadOnlyOverride = "READONLY_OVERRIDE",
        /// Register with given ids and versions.
        Import = "IMPORT",
        /// Forward to another registry.
        Forward = "FORWARD",
    }
}

/// The registry's verdict on a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompatibilityReport {
    /// Whether it may follow.
    pub is_compatible: bool,
    /// Why not, as far as the registry says.
    pub messages: Vec<String>,
}
