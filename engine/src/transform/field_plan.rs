//! What the transforms on fields share: the operating value of a record, and reading fields with their defaults.

use super::data_error;
use crate::data::{Batch, Field, RecordError, SchemaId, Side, Value};

/// What a record's key or value is to a transform.
pub(super) enum Operand {
    /// A struct and its schema's id.
    Struct(SchemaId, crate::data::Range32),
    /// A map without schema.
    Map(crate::data::Range32),
    /// Null.
    Null,
}

/// Key or value of record `index`, or why it is neither struct nor map. A null is given as such.
pub(super) fn operand(
    batch: &Batch,
    index: usize,
    side: Side,
    purpose: &str,
) -> Result<Operand, RecordError> {
    let (schema, value) = batch.records[index].side(side);
    match (schema, value) {
        (_, Value::Null) => Ok(Operand::Null),
        (0, Value::Map(range)) => Ok(Operand::Map(range)),
        (0, other) => Err(data_error(format!(
            "Only Map objects supported in absence of schema for [{purpose}], found: {}",
            other.java_class()
        ))),
        (schema, Value::Struct(range)) => Ok(Operand::Struct(schema, range)),
        (_, other) => Err(data_error(format!(
            "Only Struct objects supported for [{purpose}], found: {}",
            other.java_class()
        ))),
    }
}

/// A null where a struct or map is needed.
pub(super) fn null_error(schema: SchemaId, purpose: &str) -> RecordError {
    data_error(if schema == 0 {
        format!("Only Map objects supported in absence of schema for [{purpose}], found: null")
    } else {
        format!("Only Struct objects supported for [{purpose}], found: null")
    })
}

/// A field's value, with the default for null where that is asked.
pub(super) fn field_value(batch: &mut Batch, field: &Field, value: Value, replace_null: bool) -> Value {
    match &field.schema.default {
        Some(default) if value.is_null() && replace_null => batch.put_constant(default),
        _ => value,
    }
}

/// `replace.null.with.default`, true unless it says false.
pub(super) fn replaces_null(config: &crate::config::ConfigMap) -> Result<bool, crate::config::ConfigError> {
    const KEY: &str = "replace.null.with.default";
    match config.get(KEY).map(|text| text.trim()) {
        None => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => {
            Err(crate::config::ConfigError::invalid(KEY, text, "Expected value to be either true or false"))
        }
    }
}

/// A list of names without the duplicates.
pub(super) fn names(config: &crate::config::ConfigMap, key: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let text = config.get(key).map(|text| text.trim()).unwrap_or_default();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
