//! What a `.proto` file says, as far as Connect's mapping needs it.

/// A type that is no message and no enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

/// Scalars with their names and their numbers in descriptors.
const SCALARS: [(Scalar, &str, u64); 15] = [
    (Scalar::Double, "double", 1),
    (Scalar::Float, "float", 2),
    (Scalar::Int64, "int64", 3),
    (Scalar::Uint64, "uint64", 4),
    (Scalar::Int32, "int32", 5),
    (Scalar::Fixed64, "fixed64", 6),
    (Scalar::Fixed32, "fixed32", 7),
    (Scalar::Bool, "bool", 8),
    (Scalar::String, "string", 9),
    (Scalar::Bytes, "bytes", 12),
    (Scalar::Uint32, "uint32", 13),
    (Scalar::Sfixed32, "sfixed32", 15),
    (Scalar::Sfixed64, "sfixed64", 16),
    (Scalar::Sint32, "sint32", 17),
    (Scalar::Sint64, "sint64", 18),
];

/// How a value lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    StartGroup = 3,
    EndGroup = 4,
    Fixed32 = 5,
}

impl WireType {
    /// From the low three bits of a tag.
    pub(super) const fn of(bits: u64) -> Option<Self> {
        Some(match bits & 7 {
            0 => Self::Varint,
            1 => Self::Fixed64,
            2 => Self::Length,
            3 => Self::StartGroup,
            4 => Self::EndGroup,
            5 => Self::Fixed32,
            _ => return None,
        })
    }
}

impl Scalar {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        SCALARS.iter().find(|(_, known, _)| *known == name).map(|(scalar, ..)| *scalar)
    }

    /// By its number in descriptors.
    pub(super) fn by_number(number: u64) -> Option<Self> {
        SCALARS.iter().find(|(_, _, known)| *known == number).map(|(scalar, ..)| *scalar)
    }

    pub(super) fn name(self) -> &'static str {
        SCALARS.iter().find(|(scalar, ..)| *scalar == self).map_or("", |(_, name, _)| name)
    }

    pub(super) const fn wire_type(self) -> WireType {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => WireType::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => WireType::Fixed32,
            Self::String | Self::Bytes => WireType::Length,
            _ => WireType::Varint,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Label {
    #[default]
    None,
    Optional,
    Required,
    Repeated,
}

/// A field's type as the text has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldKind {
    Scalar(Scalar),
    /// A message or an enumeration; with a dot in front it is a full name.
    Named(String),
    Map(Scalar, Box<FieldKind>),
    Group,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) label: Label,
    pub(super) kind: FieldKind,
    /// Its place in [`Message::oneofs`].
    pub(super) oneof: Option<usize>,
    pub(super) packed: Option<bool>,
    /// The literal; of a text what it stands for.
    pub(super) default: Option<String>,
    /// Parameters of `confluent.field_meta`.
    pub(super) params: Vec<(String, String)>,
}

impl Field {
    pub(super) fn new(name: impl Into<String>, number: u32, kind: FieldKind) -> Self {
        Self {
            name: name.into(),
            number,
            label: Label::None,
            kind,
            oneof: None,
            packed: None,
            default: None,
            params: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// Not those that `optional` brings along.
    pub(super) oneofs: Vec<String>,
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Enum {
    pub(super) name: String,
    pub(super) values: Vec<(String, i32)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct File {
    pub(super) proto3: bool,
    pub(super) package: Option<String>,
    pub(super) imports: Vec<String>,
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
}
