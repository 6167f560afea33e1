//! Converters: between the bytes of a message and the data model, a whole batch a call.

mod avro;
mod byte_array;
mod charset;
mod codec;
mod encoded;
mod entries;
mod json;
mod json_schema;
mod number;
mod protobuf;
mod registry;
mod simple_header;
mod string;

pub use codec::{Codec, Failure, Written};
pub use encoded::{Encoded, Slot};
pub use json::document::{DocumentStyle, JSON_DOCUMENT, JsonDocuments, check_json_object, is_json_document};
pub use json::quoted as json_string;

use crate::config::{ConfigDef, ConfigError, ConfigMap};
use crate::data::{Batch, Side, Stage};

/// Something that a converter has to wait for: it ends when everything that a batch needs has been asked for and answered. It
/// may take as long as the other side is down, and may be dropped at any time.
pub type Wait = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Turns keys or values of a batch into the data model and back.
pub trait Converter: Send {
    /// What has to be waited for before [`Self::decode`], such as schemas that have not been met yet. `None`, mostly.
    fn prepare_decode(&mut self, _batch: &Batch, _side: Side) -> Option<Wait> {
        None
    }

    /// What has to be waited for before [`Self::encode`].
    fn prepare_encode(&mut self, _batch: &Batch, _side: Side) -> Option<Wait> {
        None
    }

    /// Reads `raw_key` or `raw_value` of every live record into key or value. What fails marks its record.
    fn decode(&mut self, batch: &mut Batch, side: Side);

    /// Writes key or value of every live record. What fails marks its record and leaves a skipped slot.
    fn encode(&mut self, batch: &mut Batch, side: Side, out: &mut Encoded);
}

/// Turns the headers of a batch into the data model and back.
pub trait HeaderConverter: Send {
    /// Reads `raw` of every header of the live records into its value. What fails marks its record.
    fn decode(&mut self, batch: &mut Batch);

    /// Writes every header of the live records; the slots are those of [`Batch::headers`]. What fails marks its record.
    fn encode(&mut self, batch: &mut Batch, out: &mut Encoded);
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
pub const CLASSES: &[&str] = &[
    avro::CLASS,
    byte_array::CLASS,
    number::BOOLEAN,
    number::DOUBLE,
    number::FLOAT,
    number::INTEGER,
    json::CLASS,
    json_schema::CLASS,
    number::LONG,
    protobuf::CLASS,
    number::SHORT,
    string::CLASS,
];

/// The header converter where neither connector nor worker names one.
pub const DEFAULT_HEADER_CONVERTER: &str = simple_header::CLASS;

/// The own keys of a class of [`CLASSES`], or of the header converter beside them.
#[must_use]
pub fn config_def(class: &str) -> Option<&'static ConfigDef> {
    const NONE: &ConfigDef = &ConfigDef { keys: &[] };
    match known(CLASSES.iter().copied(), class, "Converter") {
        Some(avro::CLASS) => Some(avro::config_def()),
        Some(json_schema::CLASS) => Some(json_schema::config_def()),
        Some(protobuf::CLASS) => Some(protobuf::config_def()),
        Some(json::CLASS) => Some(&json::CONFIG),
        Some(string::CLASS) => Some(&string::CONFIG),
        Some(_) => Some(NONE),
        None => known([simple_header::CLASS], class, "HeaderConverter").map(|_| NONE),
    }
}

/// A known class by its full name, its simple name, or that without `Converter`, as Connect allows.
fn known<'a>(classes: impl IntoIterator<Item = &'a str>, class: &str, suffix: &str) -> Option<&'a str> {
    classes.into_iter().find(|known| {
        let simple = known.rsplit('.').next().unwrap_or(known);
        *known == class || simple == class || simple.strip_suffix(suffix) == Some(class)
    })
}

/// The full name of a converter's class, however the configuration writes it.
pub(crate) fn full_name(class: &str) -> String {
    let standard = known(CLASSES.iter().copied(), class, "Converter");
    let found = standard.or_else(|| known([simple_header::CLASS], class, "HeaderConverter"));
    found.unwrap_or(class).to_owned()
}

fn unknown(key: &str, class: &str) -> ConfigError {
    ConfigError::invalid(key, class, format!("Class {class} could not be found."))
}

/// What every class of [`CLASSES`] is.
trait Standard: Converter + HeaderConverter {}

impl<C: Codec> Standard for C {}

/// A converter of [`CLASSES`].
fn standard(class: &str, config: &ConfigMap, is_key: bool) -> Result<Option<Box<dyn Standard>>, ConfigError> {
    Ok(Some(match known(CLASSES.iter().copied(), class, "Converter") {
        Some(byte_array::CLASS) => Box::new(byte_array::ByteArrayConverter),
        Some(number::BOOLEAN) => Box::new(number::BooleanConverter),
        Some(json::CLASS) => Box::new(json::JsonConverter::new(config)?),
        Some(string::CLASS) => Box::new(string::StringConverter::new(config, is_key)?),
        Some(class) => match number::NumberConverter::of(class) {
            Some(converter) => Box::new(converter),
            None => return Ok(None),
        },
        None => return Ok(None),
    }))
}

/// A converter by class name (or its simple name, as Connect allows) with its configuration, whose prefix is taken off.
///
/// # Errors
/// Names the class if there is none such, or the key that is wrong.
pub fn create(class: &str, config: &ConfigMap, is_key: bool) -> Result<Box<dyn Converter>, ConfigError> {
    let key = if is_key { "key.converter" } else { "value.converter" };
    match known(CLASSES.iter().copied(), class, "Converter") {
        Some(avro::CLASS) => return Ok(Box::new(avro::create(config, is_key)?)),
        Some(json_schema::CLASS) => return Ok(Box::new(json_schema::create(config, is_key)?)),
        Some(protobuf::CLASS) => return Ok(Box::new(protobuf::create(config, is_key)?)),
        _ => {}
    }
    standard(class, config, is_key)?
        .map(|converter| converter as Box<dyn Converter>)
        .ok_or_else(|| unknown(key, class))
}

/// Avro to the text that JsonConverter would write of it, without rows between where that can be: what a sink of JSON
/// documents wants. Its `decode` gives strings without schema; `json` are the settings of the JsonConverter.
///
/// # Errors
/// Names the key that is wrong.
pub fn avro_to_json(
    config: &ConfigMap,
    json: &ConfigMap,
    is_key: bool,
) -> Result<Box<dyn Converter>, ConfigError> {
    Ok(Box::new(avro::to_json(config, json, is_key)?))
}

/// JSON messages as the texts that they are, for a sink of JSON documents: `decode` checks them and gives strings of schema
/// [`JSON_DOCUMENT`]. None unless the class is JsonConverter without schemas.
///
/// # Errors
/// Names the key that is wrong.
pub fn json_documents(class: &str, config: &ConfigMap) -> Result<Option<Box<dyn Converter>>, ConfigError> {
    match known(CLASSES.iter().copied(), class, "Converter") {
        Some(json::CLASS) => json::document::converter(config),
        _ => Ok(None),
    }
}

/// A header converter, likewise.
///
/// # Errors
/// Names the class if there is none such, or the key that is wrong.
pub fn create_header(class: &str, config: &ConfigMap) -> Result<Box<dyn HeaderConverter>, ConfigError> {
    if known([simple_header::CLASS], class, "HeaderConverter").is_some() {
        return Ok(Box::new(simple_header::SimpleHeaderConverter));
    }
    let converter = standard(class, config, false)?.map(|converter| converter as Box<dyn HeaderConverter>);
    converter.ok_or_else(|| unknown("header.converter", class))
}
