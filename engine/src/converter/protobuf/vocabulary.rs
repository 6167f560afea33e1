//! Names that schemas of Connect and of Protocol Buffers use for each other.

/// Names a struct that stands for a oneof, with a dot and its name behind it.
pub(super) const UNION: &str = "io.confluent.connect.protobuf.Union";
/// Names an enumeration; with a dot and a symbol behind it, a symbol's number.
pub(super) const ENUM: &str = "io.confluent.connect.protobuf.Enum";
/// The same with `generalized.sum.type.support`.
pub(super) const GENERAL_ENUM: &str = "org.apache.kafka.connect.data.Enum";
/// Marks a union with `generalized.sum.type.support`.
pub(super) const GENERAL_UNION: &str = "org.apache.kafka.connect.data.Union";
/// A field's number.
pub(super) const TAG: &str = "io.confluent.connect.protobuf.Tag";
/// A number's type, where Connect's does not say it.
pub(super) const TYPE: &str = "io.confluent.connect.protobuf.Type";
/// A member of a oneof that is a wrapper message.
pub(super) const WRAPPER: &str = "io.confluent.connect.protobuf.Wrapper";
/// Beginning of names of structs and maps that have none.
pub(super) const DEFAULT_NAME: &str = "ConnectDefault";
/// End of the names of messages that are a map's entries.
pub(super) const ENTRY: &str = "Entry";
/// Fields of such a message.
pub(super) const KEY: &str = "key";
/// The other one.
pub(super) const VALUE: &str = "value";

/// The option that carries what a field's type does not say.
pub(super) const FIELD_META: &str = "confluent.field_meta";
/// Parameter of that option for narrow integers.
pub(super) const CONNECT_TYPE: &str = "connect.type";
/// Parameter of that option for decimals, and of Connect's Decimal.
pub(super) const SCALE: &str = "scale";
/// Parameter of that option for decimals.
pub(super) const PRECISION: &str = "precision";
/// Connect's parameter for it.
pub(super) const CONNECT_PRECISION: &str = "connect.decimal.precision";

pub(super) const DECIMAL_TYPE: &str = "confluent.type.Decimal";
pub(super) const DATE_TYPE: &str = "google.type.Date";
pub(super) const TIME_TYPE: &str = "google.type.TimeOfDay";
pub(super) const TIMESTAMP_TYPE: &str = "google.protobuf.Timestamp";
