//! The plan by which values of one writer schema are read.

use crate::data::SchemaRef;

/// How the bytes of one type become a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Read {
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    Bytes,
    Fixed(usize),
    /// Symbols by index.
    Enum(Box<[Box<str>]>),
    /// Of bytes, or of a fixed size.
    Decimal {
        scale: i32,
        size: Option<usize>,
    },
    Date,
    Time,
    Timestamp,
    Array(Box<Read>),
    /// Text keys.
    Map(Box<Read>),
    /// A map as an array of entries.
    Entries(Box<EntryRead>),
    /// A record: its place in [`ReadPlan::records`].
    Struct(usize),
    /// `null` and one other type, which comes at this index.
    Optional {
        index: u8,
        inner: Box<Read>,
    },
    /// A union of one type.
    Single(Box<Read>),
    /// A union as a struct of optional fields.
    Union {
        fields: u32,
        branches: Box<[Branch]>,
    },
    /// Schemaless data.
    Anything,
    /// Read as that, then refused.
    Refused(Box<Read>, Box<str>),
}

/// The two members of an entry record, in the record's order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EntryRead {
    pub(super) key: Read,
    pub(super) value: Read,
    pub(super) key_first: bool,
}

/// A member of a union.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub(super) read: Read,
    pub(super) target: Target,
}

/// Where a union's member goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    Null,
    /// The field of the struct.
    Field(u32),
    /// The first field whose fixed size is that of the bytes, else the last one.
    BySize(Box<[(Option<usize>, u32)]>),
    /// None fits, as Confluent's converter compares them.
    Nowhere,
}

/// What is compiled for a writer schema.
#[derive(Debug)]
pub(in crate::converter) struct ReadPlan {
    /// Schema of the values; `None` for schemaless data.
    pub(super) schema: Option<SchemaRef>,
    pub(super) root: Read,
    /// Fields of each record type.
    pub(super) records: Vec<Box<[Read]>>,
    /// Records within records that are read.
    pub(super) max_depth: u32,
    /// Bytes at the top stand without their length.
    pub(super) raw: bool,
}

impl ReadPlan {
    /// The record type at the top, if there is one with a schema.
    #[inline]
    pub(super) const fn record(&self) -> Option<usize> {
        match self.root {
            Read::Struct(record) if !self.raw => Some(record),
            _ => None,
        }
    }
}
