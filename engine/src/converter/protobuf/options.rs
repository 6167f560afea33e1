//! What the converter takes beside the registry's settings.

use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance};

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::with_default(name, ConfigType::Boolean, default, Importance::Medium, doc)
}

const GENERAL: &str = "generalized.sum.type.support";
const IGNORE_DEFAULT: &str = "ignore.default.for.nullables";
const ENHANCED: &str = "enhanced.protobuf.schema.support";
const SCRUB: &str = "scrub.invalid.names";
const INT_ENUMS: &str = "int.for.enums";
const OPTIONAL: &str = "optional.for.nullables";
const OPTIONAL_PROTO2: &str = "optional.for.proto2";
const WRAPPER: &str = "wrapper.for.nullables";
const WRAPPER_RAW: &str = "wrapper.for.raw.primitives";
const STRUCT_FOR_NULLS: &str = "generate.struct.for.nulls";
const UNION_INDEX: &str = "generate.index.for.unions";
const FLATTEN: &str = "flatten.unions";

/// The table.
pub(super) const CONFIG: ConfigDef = ConfigDef {
    keys: &[
        flag(GENERAL, "false", "Whether unions and enumerations are named as all schema languages can."),
        flag(IGNORE_DEFAULT, "false", "Whether null is written although there is a default."),
        flag(ENHANCED, "false", "Whether names keep their packages."),
        flag(SCRUB, "false", "Whether characters that names may not have are replaced."),
        flag(INT_ENUMS, "false", "Whether enumerations are numbers."),
        flag(OPTIONAL, "false", "Whether what may be null has the label optional."),
        flag(OPTIONAL_PROTO2, "true", "Whether optional fields of proto2 may be null."),
        flag(WRAPPER, "false", "Whether what may be null is a wrapper message."),
        flag(WRAPPER_RAW, "true", "Whether a wrapper message at the top is the value that it wraps."),
        flag(STRUCT_FOR_NULLS, "false", "Whether messages that are not there are structs of defaults."),
        flag(UNION_INDEX, "true", "Whether names of unions end with an underscore and an index."),
        flag(FLATTEN, "false", "Whether members of a oneof are fields of the struct."),
    ],
};

/// The settings of the mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) generalized: bool,
    pub(super) ignore_default: bool,
    pub(super) enhanced: bool,
    pub(super) scrub: bool,
    pub(super) int_enums: bool,
    pub(super) optional: bool,
    pub(super) optional_proto2: bool,
    pub(super) wrapper: bool,
    pub(super) wrapper_raw: bool,
    pub(super) struct_for_nulls: bool,
    pub(super) union_index: bool,
    pub(super) flatten: bool,
}

impl Options {
    pub(super) fn parse(config: &ConfigMap) -> Result<Self, ConfigError> {
        let parsed = CONFIG.parse(config)?;
        Ok(Self {
            generalized: parsed.boolean(GENERAL),
            ignore_default: parsed.boolean(IGNORE_DEFAULT),
            enhanced: parsed.boolean(ENHANCED),
            scrub: parsed.boolean(SCRUB),
            int_enums: parsed.boolean(INT_ENUMS),
            optional: parsed.boolean(OPTIONAL),
            optional_proto2: parsed.boolean(OPTIONAL_PROTO2),
            wrapper: parsed.boolean(WRAPPER),
            wrapper_raw: parsed.boolean(WRAPPER_RAW),
            struct_for_nulls: parsed.boolean(STRUCT_FOR_NULLS),
            union_index: parsed.boolean(UNION_INDEX),
            flatten: parsed.boolean(FLATTEN),
        })
    }
}
