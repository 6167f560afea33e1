//! `JsonSchemaConverter`: JSON texts whose schemas, in JSON Schema, are in a schema registry.

mod compatible;
mod documents;
mod from_connect;
mod java_order;
mod model;
#[cfg(test)]
mod tests;
mod to_connect;
mod vocabulary;

use std::sync::{Arc, LazyLock};

use aqueduct_schema_registry::{Schema as Text, SchemaType};

use super::json::payload::{TextError, TextReader, TextWriter};
use super::registry::{Derived, Failure, Fetched, Format, Input, RegistryConverter};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance, Validator};
use crate::data::{Batch, SchemaId, SchemaRef, Value};
use documents::Documents;

pub(super) const CLASS: &str = "io.confluent.connect.json.JsonSchemaConverter";

const GENERAL: &str = "generalized.sum.type.support";
const NONREQUIRED: &str = "use.optional.for.nonrequired";
const DECIMALS: &str = "decimal.format";
const ADDITIONAL: &str = "object.additional.properties";
const SINGLETONS: &str = "flatten.singleton.unions";
const IGNORE_DEFAULT: &str = "ignore.default.for.nullables";
const VALIDATE: &str = "json.fail.invalid.schema";

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::Boolean, default, Importance::Medium, doc)
}

/// What the converter takes beside the registry's settings.
const CONFIG: ConfigDef = ConfigDef {
    keys: &[
        flag(GENERAL, "false", "Whether unions and enumerations are named as all schema languages can."),
        flag(NONREQUIRED, "false", "Whether properties that are not required are optional."),
        ConfigKey::with_default(
            DECIMALS,
            ConfigType::String,
            "BASE64",
            Importance::Low,
            "How decimals are written.",
        )
        .valid(Validator::OneOfIgnoringCase(&["BASE64", "NUMERIC"])),
        flag(ADDITIONAL, "true", "Whether objects may have properties that their schema does not name."),
        flag(SINGLETONS, "true", "Whether a union of one schema is that schema."),
        flag(IGNORE_DEFAULT, "false", "Whether null is written although there is a default."),
        flag(VALIDATE, "false", "Whether every text is checked against its schema."),
    ],
};

/// The settings of the mapping.
#[derive(Debug, Clone, Copy)]
struct Options {
    generalized_sum_type_support: bool,
    use_optional_for_nonrequired: bool,
    numeric_decimals: bool,
    object_additional_properties: bool,
    flatten_singleton_unions: bool,
    ignore_default: bool,
}

impl Options {
    fn parse(config: &ConfigMap) -> Result<Self, ConfigError> {
        let parsed = CONFIG.parse(config)?;
        if parsed.boolean(VALIDATE) {
            return Err(ConfigError::invalid(
                VALIDATE,
                "true",
                "texts cannot be checked against their schema here; set it to false",
            ));
        }
        Ok(Self {
            generalized_sum_type_support: parsed.boolean(GENERAL),
            use_optional_for_nonrequired: parsed.boolean(NONREQUIRED),
            numeric_decimals: parsed
                .string(DECIMALS)
                .is_some_and(|format| format.eq_ignore_ascii_case("numeric")),
            object_additional_properties: parsed.boolean(ADDITIONAL),
            flatten_singleton_unions: parsed.boolean(SINGLETONS),
            ignore_default: parsed.boolean(IGNORE_DEFAULT),
        })
    }
}

/// All keys of the converter: those of the registry, and its own.
pub(super) fn config_def() -> &'static ConfigDef {
    static ALL: LazyLock<ConfigDef> = LazyLock::new(|| super::registry::with_common_keys(&CONFIG));
    &ALL
}

/// A converter with its part of the registry's settings.
pub(super) fn create(config: &ConfigMap, is_key: bool) -> Result<RegistryConverter<JsonSchema>, ConfigError> {
    RegistryConverter::new(JsonSchema { options: Options::parse(config)? }, config, is_key)
}

/// JSON Schema as a schema language.
pub(super) struct JsonSchema {
    options: Options,
}

fn title(text: &str) -> Option<String> {
    let json = super::json::payload::tree(text).ok()?;
    json.get("title")?.as_str().map(str::to_owned)
}

impl Format for JsonSchema {
    const SCHEMA_TYPE: SchemaType = SchemaType::Json;
    type Reader = TextReader;
    type Writer = TextWriter;

    fn cannot_read(topic: &str) -> String {
        format!("Converting byte[] to Kafka Connect data failed due to serialization error of topic {topic}:")
    }

    fn cannot_write(topic: &str) -> String {
        format!("Converting Kafka Connect data to byte[] failed due to serialization error of topic {topic}:")
    }

    fn record_name(schema: &Fetched, _payload: &[u8]) -> Option<String> {
        title(&schema.schema.text)
    }

    fn reader(&mut self, schema: &Fetched) -> Result<TextReader, Failure> {
        let documents = Documents::parse(schema).map_err(Failure::serializer)?;
        let connect = to_connect::convert(&documents, schema.version, self.options)?;
        Ok(TextReader::new(&connect))
    }

    fn read(
        &mut self,
        reader: &mut TextReader,
        input: Input<'_>,
        batch: &mut Batch,
    ) -> Result<(SchemaId, Value), Failure> {
        match reader.read(input.bytes, input.place, batch) {
            Ok(value) => Ok((batch.intern_schema(reader.schema()), value)),
            Err(TextError::Malformed(why)) => Err(Failure::serializer(format!("the text is no JSON: {why}"))),
            Err(TextError::Misfit(failure)) => Err(Failure::class(failure.java_class, failure.message)),
        }
    }

    fn derive(&mut self, schema: Option<&SchemaRef>) -> Result<Derived, Failure> {
        let Some(schema) = schema else {
            return Err(Failure::serializer(
                "a value without schema cannot be written: JSON Schema is made from the record's schema",
            ));
        };
        let json = from_connect::convert(schema, self.options)?;
        let record_name = json.get("title").and_then(|title| title.as_str()).map(str::to_owned);
        let text =
            Text { schema_type: SchemaType::Json, text: json.to_string().into(), references: Vec::new() };
        Ok(Derived { schema: Arc::new(text), record_name })
    }

    fn check_compatible(&mut self, derived: &Derived, target: &Fetched) -> Result<(), String> {
        let own =
            Fetched { id: 0, version: None, schema: Arc::clone(&derived.schema), references: Vec::new() };
        let (written, target) = (Documents::parse(&own)?, Documents::parse(target)?);
        compatible::Sides { written: &written, target: &target }.check()
    }

    fn writer(
        &mut self,
        schema: Option<&SchemaRef>,
        _derived: &Derived,
        _target: &Fetched,
    ) -> Result<TextWriter, Failure> {
        let Some(schema) = schema else {
            return Err(Failure::serializer("a value without schema cannot be written"));
        };
        Ok(TextWriter::new(schema, self.options.numeric_decimals, self.options.ignore_default))
    }

    fn write(
        &mut self,
        writer: &mut TextWriter,
        batch: &Batch,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let written = writer.write(batch, value, out);
        written.map_err(|failure| Failure::class(failure.java_class, failure.message))
    }

    fn writes_null(&mut self, schema: Option<&SchemaRef>) -> Result<bool, Failure> {
        Ok(schema.is_some_and(|schema| {
            schema.optional || (schema.default.is_some() && !self.options.ignore_default)
        }))
    }
}
