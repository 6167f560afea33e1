//! What all transforms, predicates and converters have, and the tables of each.

use super::framework;
use super::report::Definition;
use crate::config::{ConfigKey, ConfigType, Importance, Width};
use crate::connector::Registry;
use crate::{converter, transform};

pub(super) static TYPE: ConfigKey =
    ConfigKey::required("type", ConfigType::Class, Importance::High, "Class.").shown("", -1, Width::Long, "");
pub(super) static VERSION: ConfigKey = ConfigKey::nullable(
    "plugin.version",
    ConfigType::String,
    Importance::High,
    "Version.",
)
.shown("", -1, Width::Long, "");
pub(super) static NEGATE: ConfigKey = ConfigKey::with_default(
    "negate",
    ConfigType::Boolean,
    "false",
    Importance::Medium,
    "Whether the predicate is turned round.",
);
pub(super) static PREDICATE: ConfigKey = ConfigKey::nullable(
    "predicate",
    ConfigType::String,
    Importance::Medium,
    "Alias of the predicate that decides which records the transformation sees.",
);
pub(super) static CONVERTER_TYPE: ConfigKey = ConfigKey::required(
    "converter.type",
    ConfigType::String,
    Importance::Low,
    "How this converter will be used.",
);

pub(super) fn converters() -> Vec<String> {
    let mut classes: Vec<String> = converter::CLASSES.iter().map(|class| (*class).to_owned()).collect();
    classes.sort();
    classes
}

pub(super) fn header_converters() -> Vec<String> {
    let mut classes = converters();
    classes.push(converter::DEFAULT_HEADER_CONVERTER.to_owned());
    classes.sort();
    classes
}

/// The table of a plugin of any kind, for `GET /connector-plugins/NAME/config`.
pub(super) fn definitions(registry: &Registry, name: &str) -> Option<Vec<Definition>> {
    if let Some(plugin) = registry.find(name) {
        let own = plugin.config_def().keys.iter();
        return Some(own.chain(framework::keys(plugin.kind())).map(Definition::of).collect());
    }
    // classes of other kinds by their full names only
    if !name.contains('.') {
        return None;
    }
    let def = transform::config_def(name).or_else(|| transform::predicate_config_def(name));
    if let Some(def) = def {
        return Some(def.keys.iter().map(Definition::of).collect());
    }
    let def = converter::config_def(name)?;
    let kind = std::iter::once(&CONVERTER_TYPE).filter(|_| name != converter::DEFAULT_HEADER_CONVERTER);
    Some(kind.chain(def.keys).map(Definition::of).collect())
}

/// Class and kind of every transform, predicate and converter, in the order in which they are listed.
pub(super) fn list() -> Vec<(String, &'static str)> {
    let named = |kind: &'static str| move |class: String| (class, kind);
    let predicates = transform::PREDICATE_CLASSES.iter().map(|class| (*class).to_owned());
    transform::classes()
        .into_iter()
        .map(named("transformation"))
        .chain(predicates.map(named("predicate")))
        .chain(converters().into_iter().map(named("converter")))
        .chain(header_converters().into_iter().map(named("header_converter")))
        .collect()
}
