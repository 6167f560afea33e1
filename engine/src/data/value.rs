//! Values: a tag and the number itself, or the place in the batch.

/// Bytes of a batch: segment 0 is the batch's own arena, the others are buffers that it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Which segment.
    pub segment: u16,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// Values of a batch's value arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Range32 {
    /// First value.
    pub start: u32,
    /// How many; of a map the entries, which take two values each.
    pub len: u32,
}

impl Range32 {
    /// The places as indexes.
    #[must_use]
    pub const fn places(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// A value of a record. What it means beyond its tag (field names, logical type) is in the schema beside it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// `java.lang.Boolean`.
    Boolean(bool),
    /// `java.lang.Byte`.
    Int8(i8),
    /// `java.lang.Short`.
    Int16(i16),
    /// `java.lang.Integer`.
    Int32(i32),
    /// `java.lang.Long`.
    Int64(i64),
    /// `java.lang.Float`.
    Float32(f32),
    /// `java.lang.Double`.
    Float64(f64),
    /// UTF-8 text, checked when the span was made.
    String(Span),
    /// `byte[]`.
    Bytes(Span),
    /// A list.
    Array(Range32),
    /// Entries: key, value, key, value …
    Map(Range32),
    /// One value per field, in the order of the schema's fields.
    Struct(Range32),
    /// `java.math.BigDecimal`: two values, [`Value::Bytes`] (unscaled, two's complement, big-endian) and
    /// [`Value::Int32`] (scale).
    Decimal(Range32),
    /// `java.util.Date`: milliseconds since 1970. The form in memory of Connect's Date, Time and Timestamp.
    Date(i64),
}

const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    /// Whether there is no value.
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// The Java class that Connect's messages name.
    #[must_use]
    pub const fn java_class(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "java.lang.Boolean",
            Self::Int8(_) => "java.lang.Byte",
            Self::Int16(_) => "java.lang.Short",
            Self::Int32(_) => "java.lang.Integer",
            Self::Int64(_) => "java.lang.Long",
            Self::Float32(_) => "java.lang.Float",
            Self::Float64(_) => "java.lang.Double",
            Self::String(_) => "java.lang.String",
            Self::Bytes(_) => "[B",
            Self::Array(_) => "java.util.ArrayList",
            Self::Map(_) => "java.util.HashMap",
            Self::Struct(_) => "org.apache.kafka.connect.data.Struct",
            Self::Decimal(_) => "java.math.BigDecimal",
            Self::Date(_) => "java.util.Date",
        }
    }
}
