//! What the Avro converter takes beside the common settings of a schema registry.

use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance};

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::Boolean, default, Importance::Medium, doc)
}

const ENHANCED: &str = "enhanced.avro.schema.support";
const META: &str = "connect.meta.data";
const SCRUB: &str = "scrub.invalid.names";
const GENERALIZED: &str = "generalized.sum.type.support";
const IGNORE_DEFAULT: &str = "ignore.default.for.nullables";
const OPTIONAL_KEYS: &str = "allow.optional.map.keys";
const FLATTEN: &str = "flatten.singleton.unions";
const DISCARD: &str = "discard.type.doc.default";

/// The table.
pub(super) const CONFIG: ConfigDef = ConfigDef {
    keys: &[
        flag(ENHANCED, "false", "Whether enums and the namespaces of union members are kept."),
        flag(META, "true", "Whether Connect's own description of schemas is written and read."),
        flag(
            SCRUB,
            "false",
            "Whether characters that Avro does not allow in names are replaced by underscores.",
        ),
        flag(GENERALIZED, "false", "Whether enums and unions are those that all Confluent converters share."),
        flag(IGNORE_DEFAULT, "false", "Whether null is written as null where the schema has a default."),
        flag(OPTIONAL_KEYS, "false", "Whether maps with optional text keys are written as Avro's maps."),
        flag(FLATTEN, "true", "Whether a union of one type is read as that type."),
        flag(
            DISCARD,
            "false",
            "Whether docs and defaults of Avro types are dropped instead of kept as parameters.",
        ),
    ],
};

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) enhanced: bool,
    pub(super) meta: bool,
    pub(super) scrub: bool,
    pub(super) generalized: bool,
    pub(super) ignore_default: bool,
    pub(super) optional_keys: bool,
    pub(super) flatten: bool,
    pub(super) discard: bool,
}

impl Options {
    pub(super) fn parse(config: &ConfigMap) -> Result<Self, ConfigError> {
        let parsed = CONFIG.parse(config)?;
        Ok(Self {
            enhanced: parsed.boolean(ENHANCED),
            meta: parsed.boolean(META),
            scrub: parsed.boolean(SCRUB),
            generalized: parsed.boolean(GENERALIZED),
            ignore_default: parsed.boolean(IGNORE_DEFAULT),
            optional_keys: parsed.boolean(OPTIONAL_KEYS),
            flatten: parsed.boolean(FLATTEN),
            discard: parsed.boolean(DISCARD),
        })
    }
}
