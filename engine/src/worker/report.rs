//! What a validation found, key by key, in the shape of Connect's REST API.

use aqueduct_protocol::client::{ClientRole, Setting, SettingKind, describe_setting};

use super::config_provider::Secrets;
use crate::config::{ConfigKey, ConfigType, Importance, Validator, Width};
use crate::connector::ConfigMap;

/// A key as REST describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ConfigType,
    /// Whether it has no default.
    pub required: bool,
    /// The default as text; a password's is hidden.
    pub default: Option<String>,
    /// How much it matters.
    pub importance: Importance,
    /// What it does.
    pub doc: String,
    /// Group in user interfaces.
    pub group: Option<String>,
    /// Place within the group; -1 without one.
    pub order: i32,
    /// Width in user interfaces.
    pub width: Width,
    /// Name in user interfaces.
    pub display_name: String,
}

/// What is shown instead of a password.
const HIDDEN: &str = "[hidden]";

impl Definition {
    /// The definition that a table's key is.
    pub fn of(key: &ConfigKey) -> Definition {
        let default = key.default.filter(|_| !key.null_default);
        let hide = |text: &str| if key.kind == ConfigType::Password { HIDDEN } else { text }.to_owned();
        Definition {
            name: key.name.to_owned(),
            kind: key.kind,
            required: key.default.is_none(),
            default: default.map(hide),
            importance: key.importance,
            doc: key.doc.to_owned(),
            group: Some(key.group).filter(|group| !group.is_empty()).map(str::to_owned),
            order: key.order,
            width: key.width,
            display_name: if key.display_name.is_empty() { key.name } else { key.display_name }.to_owned(),
        }
    }

    /// The definition of a client's setting under its full name; none for a setting that such a client does not have.
    pub(super) fn of_client(role: ClientRole, full: &str, name: &str) -> Option<Definition> {
        let Setting { kind, default } = describe_setting(role, name)?;
        let kind = match kind {
            SettingKind::Boolean => ConfigType::Boolean,
            SettingKind::Short => ConfigType::Short,
            SettingKind::Int => ConfigType::Int,
            SettingKind::Long => ConfigType::Long,
            SettingKind::Double => ConfigType::Double,
            SettingKind::String => ConfigType::String,
            SettingKind::List => ConfigType::List,
            SettingKind::Class => ConfigType::Class,
            SettingKind::Password => ConfigType::Password,
        };
        Some(Definition {
            name: full.to_owned(),
            kind,
            required: false,
            default: default.map(str::to_owned),
            importance: Importance::Medium,
            doc: format!("The client's {name}."),
            group: None,
            order: -1,
            width: Width::None,
            display_name: name.to_owned(),
        })
    }
}

/// One key of a validated configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigInfo {
    /// Its name.
    pub name: String,
    /// None for a key that no table knows.
    pub definition: Option<Definition>,
    /// The parsed value as text; none where it is null or could not be parsed. A password's is hidden.
    pub value: Option<String>,
    /// Values that make sense.
    pub recommended: Vec<String>,
    /// What is wrong with it.
    pub errors: Vec<String>,
}

impl ConfigInfo {
    pub(super) fn without_definition(name: &str, value: Option<&str>) -> ConfigInfo {
        ConfigInfo {
            name: name.to_owned(),
            definition: None,
            value: value.map(str::to_owned),
            recommended: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// A value checked by its key.
    pub(super) fn checked(definition: Definition, key: &ConfigKey, given: Option<&str>) -> ConfigInfo {
        let name = definition.name.clone();
        ConfigInfo::checked_as(definition, key, &name, given)
    }

    /// The same with another name in the texts of errors.
    pub(super) fn checked_as(
        definition: Definition,
        key: &ConfigKey,
        shown: &str,
        given: Option<&str>,
    ) -> ConfigInfo {
        let mut info = ConfigInfo::without_definition(&definition.name, None);
        let renamed = |message: String| match shown == key.name {
            true => message,
            false => message
                .replacen(&format!(" configuration {}:", key.name), &format!(" configuration {shown}:"), 1)
                .replacen(
                    &format!("configuration \"{}\"", key.name),
                    &format!("configuration \"{shown}\""),
                    1,
                ),
        };
        match given {
            Some(value) => match key.check(value) {
                Ok(value) => info.value = Some(normal(key, value)),
                Err(error) => {
                    let parsed = !error.message.contains(": Not a number of type")
                        && !error.message.contains("Expected value to be either");
                    info.value = parsed.then(|| normal(key, value.trim()));
                    info.errors.push(renamed(error.message));
                    if !parsed && matches!(key.validator, Validator::AtLeast(_)) {
                        info.errors.push(format!(
                            "Invalid value null for configuration {shown}: Value must be non-null"
                        ));
                    }
                }
            },
            None if key.default.is_none() => {
                info.errors
                    .push(format!("Missing required configuration \"{shown}\" which has no default value."));
            }
            None => info.value.clone_from(&definition.default),
        }
        info.definition = Some(definition);
        info.hide_passwords();
        info
    }

    pub(super) fn hide_passwords(&mut self) {
        if self.definition.as_ref().is_some_and(|definition| definition.kind == ConfigType::Password) {
            self.value = self.value.take().map(|_| HIDDEN.to_owned());
        }
    }
}

/// The text that Java makes of a parsed value.
fn normal(key: &ConfigKey, value: &str) -> String {
    match key.kind {
        ConfigType::Boolean => value.to_ascii_lowercase(),
        ConfigType::List => value.split(',').map(str::trim).collect::<Vec<_>>().join(","),
        _ => value.to_owned(),
    }
}

/// A validated configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigReport {
    /// `connector.class` as given.
    pub name: String,
    /// Groups, in their order.
    pub groups: Vec<String>,
    /// Keys, in their order.
    pub configs: Vec<ConfigInfo>,
    /// Keys that nothing uses, with the nearest known one.
    pub warnings: Vec<String>,
}

impl ConfigReport {
    /// Something is wrong with a key; `given` is its value if no table knows it.
    pub(super) fn fail(&mut self, key: &str, given: Option<&str>, message: String) {
        match self.configs.iter_mut().find(|info| info.name == key) {
            Some(info) => info.errors.push(message),
            None => {
                let mut info = ConfigInfo::without_definition(key, given);
                info.errors.push(message);
                self.configs.push(info);
            }
        }
    }

    /// Shows references instead of what they stand for. The JVM shows the values.
    pub(super) fn hide(&mut self, given: &ConfigMap, resolved: &ConfigMap, secrets: &Secrets) {
        for info in &mut self.configs {
            if let (Some(raw), Some(value)) = (given.get(&info.name), resolved.get(&info.name))
                && raw != value
                && info.value.is_some()
            {
                info.value = Some(raw.clone());
                info.hide_passwords();
            }
            let definition = info.definition.iter_mut();
            let named =
                definition.flat_map(|of| [Some(&mut of.name), of.group.as_mut(), Some(&mut of.display_name)]);
            let texts =
                named.flatten().chain([&mut info.name]).chain(&mut info.value).chain(&mut info.errors);
            texts.for_each(|text| secrets.hide(text));
        }
        self.groups.iter_mut().chain(&mut self.warnings).for_each(|text| secrets.hide(text));
    }

    /// Every error, in the order of the keys.
    pub fn errors(&self) -> Vec<String> {
        self.configs.iter().flat_map(|info| info.errors.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_number_is_null_and_has_both_errors_of_the_jvm() {
        let key = ConfigKey::with_default("tasks.max", ConfigType::Int, "1", Importance::High, "")
            .valid(Validator::AtLeast(1));
        let info = ConfigInfo::checked(Definition::of(&key), &key, Some("many"));
        assert_eq!(info.value, None);
        assert_eq!(
            info.errors,
            [
                "Invalid value many for configuration tasks.max: Not a number of type INT",
                "Invalid value null for configuration tasks.max: Value must be non-null"
            ]
        );
        let info = ConfigInfo::checked(Definition::of(&key), &key, Some(" 0 "));
        assert_eq!((info.value.as_deref(), info.errors.len()), (Some("0"), 1));
    }
}
