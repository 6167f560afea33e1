//! Names that schemas of Connect and JSON Schemas use for each other.

/// Prefix of parameters that are not written as such.
pub(super) const NAMESPACE: &str = "io.confluent.connect.json";
/// Marks a schema that is used more than once.
pub(super) const ID: &str = "io.confluent.connect.json.Id";
/// Beginning of such a mark.
pub(super) const ID_PREFIX: &str = "#id";
/// Marks an enumeration; with a dot and a symbol behind it, one of its symbols.
pub(super) const ENUM: &str = "io.confluent.connect.json.Enum";
/// The same with `generalized.sum.type.support`.
pub(super) const GENERAL_ENUM: &str = "org.apache.kafka.connect.data.Enum";
/// The symbol that is no text.
pub(super) const ENUM_NULL: &str = "<NULL>";
/// Names of unions with `generalized.sum.type.support`.
pub(super) const GENERAL_PREFIX: &str = "connect_union_";
/// And of their fields.
pub(super) const GENERAL_FIELD_PREFIX: &str = "connect_union_field_";
/// Names of other unions' fields.
pub(super) const ONE_OF_FIELD_PREFIX: &str = "io.confluent.connect.json.OneOf.field.";
