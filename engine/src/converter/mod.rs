//! Converters: between the bytes of a message and the data model, a whole batch a call.

mod byte_array;
mod encoded;
mod json;
mod string;

pub use encoded::{Encoded, Slot};

pub(crate) use json::decimal_text;

use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, Side, Stage};

/// Turns keys or values of a batch into the data model and back.
pub trait Converter: Send {
    /// Reads `raw_key` or `raw_value` of every live record into key or value. What fails marks its record.
    fn decode(&mut self, batch: &mut Batch, side: Side);

    /// Writes key or value of every live record. What fails marks its record and leaves a skipped slot.
    fn encode(&mut self, batch: &mut Batch, side: Side, out: &mut Encoded);
}

/// The stage in which a side's converter works.
#[must_use]
pub const fn stage(side: Side) -> Stage {
    match side {
        Side::Key => Stage::KeyConverter,
        Side::Value => Stage::ValueConverter,
    }
}

/// The classes that [`create`] knows, as `GET /connector-plugins` lists them.
pub const CLASSES: &[&str] = &[byte_array::CLASS, json::CLASS, string::CLASS];

/// A converter by class name (or its simple name, as Connect allows) with its configuration, whose prefix is taken off.
///
/// # Errors
/// Names the class if there is none such, or the key that is wrong.
pub fn create(class: &str, config: &ConfigMap, is_key: bool) -> Result<Box<dyn Converter>, ConfigError> {
    let known = CLASSES.iter().find(|known| {
        let simple = known.rsplit('.').next().unwrap_or(known);
        **known == class || simple == class || simple.strip_suffix("Converter") == Some(class)
    });
    let side = if is_key { "key.converter" } else { "value.converter" };
    match known.copied() {
        Some(byte_array::CLASS) => Ok(Box::new(byte_array::ByteArrayConverter)),
        Some(json::CLASS) => Ok(Box::new(json::JsonConverter::new(config)?)),
        Some(string::CLASS) => Ok(Box::new(string::StringConverter::new(config)?)),
        _ => Err(ConfigError::invalid(side, class, format!("Class {class} could not be found."))),
    }
}
