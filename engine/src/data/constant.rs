//! Values that live outside a batch: defaults of schemas, literals of a configuration.

/// A value that owns its content.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    /// No value.
    Null,
    /// A boolean.
    Boolean(bool),
    /// 8 bits.
    Int8(i8),
    /// 16 bits.
    Int16(i16),
    /// 32 bits.
    Int32(i32),
    /// 64 bits.
    Int64(i64),
    /// 32 bits, IEEE 754.
    Float32(f32),
    /// 64 bits, IEEE 754.
    Float64(f64),
    /// Text.
    String(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// A list.
    Array(Vec<Constant>),
    /// Entries in order.
    Map(Vec<(Constant, Constant)>),
    /// One per field.
    Struct(Vec<Constant>),
    /// Unscaled value (two's complement, big-endian) and scale.
    Decimal(Box<[u8]>, i32),
    /// Milliseconds since 1970.
    Date(i64),
}
