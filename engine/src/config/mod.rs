//! Configurations: the table that says what a plugin takes, and the grammar of Java's properties files.

mod def;
pub mod java_properties;

pub use def::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator, Width};

/// A configuration as users write it: keys in their order, values as text.
pub type ConfigMap = indexmap::IndexMap<String, String>;

/// The part of a configuration below a prefix, with the prefix taken off.
#[must_use]
pub fn with_prefix(config: &ConfigMap, prefix: &str) -> ConfigMap {
    let below =
        |(key, value): (&String, &String)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
    config.iter().filter_map(below).collect()
}
