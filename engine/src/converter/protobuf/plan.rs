//! The plan by which messages of one type are read.

use super::model::{Scalar, WireType};
use crate::data::{Constant, SchemaRef, Type, Value};

/// A scalar and what it is in Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) scalar: Scalar,
    /// Narrower than the scalar, for integers of 8 and 16 bits.
    pub(super) kind: Type,
    /// Whether text must be UTF-8, as proto3 wants it.
    pub(super) strict: bool,
}

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Leaf(Leaf),
    /// Its place in [`ReadPlan::enums`].
    Enum(usize),
    /// Its place in [`ReadPlan::messages`].
    Struct(usize),
    /// A message whose only field is the value.
    Wrapper(Leaf),
    Decimal,
    Date,
    Time,
    Timestamp,
}

impl Read {
    /// How a value lies on the wire, outside packed fields.
    pub(super) const fn wire_type(self) -> WireType {
        match self {
            Self::Leaf(leaf) => leaf.scalar.wire_type(),
            Self::Enum(_) => WireType::Varint,
            _ => WireType::Length,
        }
    }

    /// Whether it is a message, whose parts add up where a field is there more than once.
    pub(super) const fn is_message(self) -> bool {
        !matches!(self, Self::Leaf(_) | Self::Enum(_))
    }
}

/// What becomes of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Single,
    Repeated,
    /// Messages of two fields.
    Map,
    /// A member of a oneof: its place in the struct that stands for it, which has so many.
    Union {
        member: u32,
        members: u32,
    },
    /// A member of a oneof whose members are fields of the message's own struct.
    Flat,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FieldPlan {
    pub(super) number: u32,
    pub(super) slot: u32,
    /// Fields of which one counts have this in common.
    pub(super) group: u32,
    pub(super) place: Place,
    pub(super) read: Read,
}

/// An enumeration's symbols.
#[derive(Debug)]
pub(super) struct EnumPlan {
    pub(super) name: Box<str>,
    /// By number; of several names for a number the first.
    pub(super) symbols: Box<[(i32, Box<str>)]>,
    pub(super) open: bool,
    pub(super) as_number: bool,
}

#[derive(Debug, Default)]
pub(super) struct MessagePlan {
    /// By number.
    pub(super) fields: Box<[FieldPlan]>,
    /// What the slots hold before anything is read.
    pub(super) initial: Box<[Value]>,
    /// Slots that get a default if nothing was read.
    pub(super) late: Box<[(u32, Constant)]>,
    /// Slots that get what is read from no bytes at all.
    pub(super) from_nothing: Box<[(u32, Read)]>,
    /// Slots that must be there.
    pub(super) required: Box<[(u32, Box<str>)]>,
}

/// What is compiled for a message type.
#[derive(Debug)]
pub(super) struct ReadPlan {
    pub(super) schema: SchemaRef,
    pub(super) root: Read,
    pub(super) messages: Vec<MessagePlan>,
    pub(super) enums: Vec<EnumPlan>,
    /// Messages within messages that are read.
    pub(super) max_depth: u32,
}
