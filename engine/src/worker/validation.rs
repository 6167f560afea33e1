//! The check of a whole connector configuration: every key with its definition, its value and what is wrong with it.

use std::sync::Arc;

use aqueduct_protocol::client::{ClientRole, check_settings};

use super::components::{CONVERTER_TYPE, NEGATE, PREDICATE, TYPE, VERSION, converters, header_converters};
use super::config::WorkerConfig;
use super::report::{ConfigInfo, ConfigReport, Definition};
use super::topic_creation::TopicCreation;
use super::{connector_config, framework};
use crate::config::{ConfigDef, ConfigError, ConfigKey, with_prefix};
use crate::connector::{
    ConfigMap, ConnectorKind, ConnectorPlugin, ConnectorTransactionBoundaries, ExactlyOnceSupport, Registry,
};
use crate::herder::{ConfigPatch, HerderError};
use crate::{converter, transform};

/// Version of the transforms and converters: those of the Kafka that they are like.
const PLUGIN_VERSION: &str = crate::rest::CONNECT_VERSION;

/// Finds the plugin of a configuration.
pub(super) fn plugin<'a>(
    registry: &'a Registry,
    config: &ConfigPatch,
) -> Result<&'a Arc<dyn ConnectorPlugin>, HerderError> {
    let Some(Some(class)) = config.get("connector.class") else {
        return Err(HerderError::new(
            400,
            format!("Connector config {{{}}} contains no connector type", keys(config)),
        ));
    };
    registry.find(class.trim()).ok_or_else(|| {
        let named = [("connector.class".to_owned(), class.clone())].into_iter().collect();
        HerderError::new(400, connector_config::unknown_class(registry, &named).to_string())
    })
}

/// Names only: values may be secrets.
fn keys(config: &ConfigPatch) -> String {
    config.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Checks everything. `raw` may hold nulls, which are errors; `resolved` has references to config providers replaced.
pub(super) fn check(
    plugin: &Arc<dyn ConnectorPlugin>,
    worker: &WorkerConfig,
    raw: &ConfigPatch,
    resolved: &ConfigMap,
) -> ConfigReport {
    let mut check = Check {
        kind: plugin.kind(),
        worker,
        config: resolved,
        report: ConfigReport {
            name: raw.get("connector.class").cloned().flatten().unwrap_or_default(),
            groups: framework::groups(plugin.kind()),
            configs: Vec::new(),
            warnings: Vec::new(),
        },
    };
    for (key, _) in raw.iter().filter(|(_, value)| value.is_none()) {
        let mut info = ConfigInfo::without_definition(key, None);
        info.errors.push("Null value can not be supplied as the configuration value.".to_owned());
        check.report.configs.push(info);
    }
    check.framework(plugin);
    check.transforms();
    check.predicates();
    for key in plugin.config_def().keys {
        check.key(key, "", "", -1);
    }
    check.connector_groups(plugin.config_def());
    check.overrides();
    for prefix in [framework::HEADER_CONVERTER, framework::KEY_CONVERTER, framework::VALUE_CONVERTER] {
        check.converter(prefix);
    }
    check.kind_rules(plugin);
    check.plugin_rules(plugin);
    check.whole_chain();
    check.unknown_keys();
    check.report
}

struct Check<'a> {
    kind: ConnectorKind,
    worker: &'a WorkerConfig,
    config: &'a ConfigMap,
    report: ConfigReport,
}

impl Check<'_> {
    fn text(&self, key: &str) -> &str {
        self.config.get(key).map(|value| value.trim()).unwrap_or_default()
    }

    fn list(&self, key: &str) -> Vec<String> {
        let items = self.text(key).split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    }

    fn push(&mut self, info: ConfigInfo) -> &mut ConfigInfo {
        self.report.configs.push(info);
        let last = self.report.configs.len() - 1;
        &mut self.report.configs[last]
    }

    /// One key of a table, under a prefix; a group that is given takes the place of the key's own.
    fn key(&mut self, key: &ConfigKey, prefix: &str, group: &str, order: i32) -> &mut ConfigInfo {
        let name = format!("{prefix}{}", key.name);
        let mut definition = Definition::of(key);
        definition.name.clone_from(&name);
        if !group.is_empty() {
            (definition.group, definition.order) = (Some(group.to_owned()), order);
        }
        let info = ConfigInfo::checked(definition, key, self.config.get(&name).map(String::as_str));
        self.push(info)
    }

    fn framework(&mut self, plugin: &Arc<dyn ConnectorPlugin>) {
        let versions = vec![PLUGIN_VERSION.to_owned()];
        for key in framework::keys(self.kind) {
            let default = match key.name {
                framework::KEY_CONVERTER | framework::VALUE_CONVERTER => {
                    self.worker.properties.get(key.name).cloned()
                }
                framework::HEADER_CONVERTER => {
                    let own = self.worker.properties.get(key.name).cloned();
                    Some(own.unwrap_or_else(|| converter::DEFAULT_HEADER_CONVERTER.to_owned()))
                }
                "connector.plugin.version" => Some(plugin.version().to_owned()),
                name if name.ends_with(".plugin.version") => Some(PLUGIN_VERSION.to_owned()),
                _ => None,
            };
            let given = self.config.contains_key(key.name);
            let info = self.key(key, "", "", -1);
            if let Some(default) = default {
                if let Some(definition) = &mut info.definition {
                    definition.default = Some(default.clone());
                }
                if !given {
                    info.value = Some(default);
                }
            }
            match key.name {
                framework::KEY_CONVERTER | framework::VALUE_CONVERTER => info.recommended = converters(),
                framework::HEADER_CONVERTER => info.recommended = header_converters(),
                name if name.ends_with(".plugin.version") => info.recommended.clone_from(&versions),
                _ => {}
            }
        }
        for key in framework::own_keys(self.kind) {
            if self.config.contains_key(key.name) {
                self.key(key, "", "", -1);
            }
        }
    }

    /// Aliases of a list key; a repeated one is an error of it.
    fn aliases(&mut self, key: &str) -> Vec<String> {
        let aliases = self.list(key);
        let mut unique: Vec<String> = Vec::new();
        for alias in &aliases {
            if !unique.contains(alias) {
                unique.push(alias.clone());
            }
        }
        if unique.len() < aliases.len() {
            let shown = format!("[{}]", aliases.join(", "));
            self.error(key, ConfigError::invalid(key, shown, "Duplicate alias provided.").message);
        }
        unique
    }

    fn transforms(&mut self) {
        for alias in self.aliases("transforms") {
            let (prefix, group) = (format!("transforms.{alias}."), format!("Transforms: {alias}"));
            let class = self.text(&format!("{prefix}type")).to_owned();
            let def = transform::config_def(&class);
            self.component(&prefix, &group, "Transformation", &alias, &class, def, transform::classes());
            if def.is_some() {
                let order = def.map_or(0, |def| def.keys.len()) as i32 + 2;
                self.key(&NEGATE, &prefix, &group, order);
                self.key(&PREDICATE, &prefix, &group, order + 1);
            }
            self.report.groups.push(group);
        }
    }

    fn predicates(&mut self) {
        for alias in self.aliases("predicates") {
            let (prefix, group) = (format!("predicates.{alias}."), format!("Predicates: {alias}"));
            let class = self.text(&format!("{prefix}type")).to_owned();
            let def = transform::predicate_config_def(&class);
            let classes = transform::PREDICATE_CLASSES.iter().map(|class| (*class).to_owned()).collect();
            self.component(&prefix, &group, "Predicate", &alias, &class, def, classes);
            self.report.groups.push(group);
        }
    }

    /// `type`, `plugin.version` and the own keys of a transform or predicate.
    #[allow(clippy::too_many_arguments)] // one caller for each of the two kinds
    fn component(
        &mut self,
        prefix: &str,
        group: &str,
        kind: &str,
        alias: &str,
        class: &str,
        def: Option<&'static ConfigDef>,
        classes: Vec<String>,
    ) {
        let known = def.is_some();
        let info = self.key(&TYPE, prefix, group, 0);
        if let Some(definition) = &mut info.definition {
            definition.display_name = format!("{kind} type for {alias}");
        }
        if !known && !class.is_empty() {
            let name = format!("{prefix}type");
            let why = format!("Class {class} could not be found.");
            info.errors.push(ConfigError::invalid(&name, class, why).message);
            info.value = None;
        }
        info.recommended = classes;
        let info = self.key(&VERSION, prefix, group, 1);
        if let Some(definition) = &mut info.definition {
            definition.display_name = format!("{kind} version for {alias}");
            definition.default = known.then(|| PLUGIN_VERSION.to_owned());
        }
        if known {
            info.value.get_or_insert_with(|| PLUGIN_VERSION.to_owned());
            info.recommended = vec![PLUGIN_VERSION.to_owned()];
        }
        for (place, key) in def.map(|def| def.keys).unwrap_or_default().iter().enumerate() {
            self.key(key, prefix, group, place as i32 + 2);
        }
    }

    fn connector_groups(&mut self, def: &ConfigDef) {
        for key in def.keys.iter().filter(|key| !key.group.is_empty()) {
            if !self.report.groups.iter().any(|group| group == key.group) {
                self.report.groups.push(key.group.to_owned());
            }
        }
    }

    /// `producer.override.*` and its like: those that this connector uses. What its client would refuse is an error here already.
    fn overrides(&mut self) {
        let dead_letters = !self.text(framework::DLQ_TOPIC).is_empty();
        let source = self.kind == ConnectorKind::Source;
        let used = [
            ("producer.override.", ClientRole::Producer, source || dead_letters),
            ("consumer.override.", ClientRole::Consumer, !source),
            ("admin.override.", ClientRole::Admin, source || dead_letters),
        ];
        for (prefix, role, _) in used.into_iter().filter(|(.., used)| *used) {
            for (key, value) in self.config.iter().filter(|(key, _)| key.starts_with(prefix)) {
                let mut info = ConfigInfo::without_definition(key, Some(value));
                let name = &key[prefix.len()..];
                info.definition = Definition::of_client(role, key, name);
                if info.definition.is_some() {
                    info.hide_passwords();
                }
                info.errors.extend(self.worker.override_policy.refusal(name));
                let alone = [(name.to_owned(), value.clone())].into_iter().collect();
                match check_settings(role, &alone) {
                    Ok(warnings) => {
                        let warnings = warnings.iter().map(|warning| format!("{prefix}{warning}"));
                        self.report.warnings.extend(warnings);
                    }
                    Err(error) => info.errors.push(error.to_string()),
                }
                self.report.configs.push(info);
            }
        }
    }

    /// The keys of a converter that the connector itself names.
    fn converter(&mut self, prefix: &str) {
        let class = self.text(prefix).to_owned();
        if class.is_empty() {
            return;
        }
        let config = with_prefix(self.config, &format!("{prefix}."));
        let header = prefix == framework::HEADER_CONVERTER;
        let made = match prefix {
            framework::HEADER_CONVERTER => converter::create_header(&class, &config).err(),
            framework::KEY_CONVERTER => converter::create(&class, &config, true).err(),
            _ => converter::create(&class, &config, false).err(),
        };
        let Some(def) = converter::config_def(&class) else {
            let message =
                ConfigError::invalid(prefix, &class, format!("Class {class} could not be found.")).message;
            return self.error(prefix, message);
        };
        let below = format!("{prefix}.");
        let mut found = false;
        for key in def.keys {
            let name = format!("{below}{}", key.name);
            let mut definition = Definition::of(key);
            definition.name.clone_from(&name);
            // the text of the error names the converter's own key, as in the JVM
            let mut info =
                ConfigInfo::checked_as(definition, key, key.name, self.config.get(&name).map(String::as_str));
            info.name = name;
            found |= !info.errors.is_empty();
            self.push(info);
        }
        let mut kind = Definition::of(&CONVERTER_TYPE);
        kind.name = format!("{below}{}", CONVERTER_TYPE.name);
        let value = match prefix {
            framework::KEY_CONVERTER => "key",
            framework::HEADER_CONVERTER => "header",
            _ => "value",
        };
        let name = kind.name.clone();
        let mut info = ConfigInfo::without_definition(&name, Some(value));
        info.definition = Some(kind);
        if !header
            || def.keys.is_empty()
            || class.ends_with("JsonConverter")
            || class.ends_with("StringConverter")
        {
            self.push(info);
        }
        for key in def.keys.iter().filter(|key| !key.group.is_empty()) {
            if !self.report.groups.iter().any(|group| group == key.group) {
                self.report.groups.push(key.group.to_owned());
            }
        }
        if let Some(error) = made.filter(|_| !found) {
            self.error(prefix, error.message);
        }
    }

    /// What depends on several keys.
    fn kind_rules(&mut self, plugin: &Arc<dyn ConnectorPlugin>) {
        if self.kind == ConnectorKind::Sink {
            return self.topics();
        }
        if let Err(error) = TopicCreation::from_config(self.worker.topic_creation, self.config) {
            let message = match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            self.error("topic.creation.groups", message);
        }
        self.boundary(plugin);
        if self.text("exactly.once.support").eq_ignore_ascii_case("required") {
            if !self.worker.exactly_once_source {
                self.error(
                    "exactly.once.support",
                    "This worker does not have exactly-once source support enabled.".to_owned(),
                );
            } else if plugin.connector().exactly_once_support(self.config) != ExactlyOnceSupport::Supported {
                self.error(
                    "exactly.once.support",
                    "The connector does not support exactly-once semantics with the provided configuration."
                        .to_owned(),
                );
            }
        }
    }

    /// The plugin's own rules, once its keys are right.
    fn plugin_rules(&mut self, plugin: &Arc<dyn ConnectorPlugin>) {
        if !plugin.config_def().validate(self.config).is_empty() {
            return;
        }
        for error in plugin.validate(self.config) {
            self.error(&error.key, error.message);
        }
    }

    /// Whether the connector says where transactions end; as in the JVM all workers of groups want to know, whether they deliver
    /// exactly once or not.
    fn boundary(&mut self, plugin: &Arc<dyn ConnectorPlugin>) {
        if self.worker.distributed
            && self.text(framework::BOUNDARY).eq_ignore_ascii_case("connector")
            && plugin.connector().transaction_boundaries(self.config)
                != ConnectorTransactionBoundaries::Supported
        {
            let message = "The connector does not support connector-defined transaction boundaries with the given configuration. Please reconfigure it to use a different transaction boundary definition.";
            self.error(framework::BOUNDARY, message.to_owned());
        }
    }

    /// The JVM attaches these to both keys, so each is there twice.
    fn topics(&mut self) {
        let (topics, pattern) = (self.text("topics").to_owned(), self.text("topics.regex").to_owned());
        let error = match (topics.is_empty(), pattern.is_empty()) {
            (true, true) => "Must configure one of topics or topics.regex",
            (false, false) => "topics and topics.regex are mutually exclusive options, but both are set.",
            _ => {
                let dlq = self.text(framework::DLQ_TOPIC).to_owned();
                if !dlq.is_empty() && topics.split(',').any(|topic| topic.trim() == dlq) {
                    self.error(
                        "topics",
                        format!(
                            "The DLQ topic '{dlq}' may not be included in the list of topics ('topics=[{topics}]') consumed by the connector"
                        ),
                    );
                }
                return;
            }
        };
        self.error("topics", error.to_owned());
        self.error("topics.regex", error.to_owned());
    }

    /// Rules between the keys of transforms, which only making them shows; once what they rest on is right.
    fn whole_chain(&mut self) {
        let touched =
            |info: &&ConfigInfo| info.name.starts_with("transforms") || info.name.starts_with("predicates");
        if self.report.configs.iter().filter(touched).any(|info| !info.errors.is_empty()) {
            return;
        }
        if let Err(error) = transform::Chain::from_config(self.config) {
            let key = if error.key.is_empty() { "transforms".to_owned() } else { error.key };
            self.error(&key, error.message);
        }
    }

    /// Keys that nothing knows: no error, as in Connect, but hardly ever meant.
    fn unknown_keys(&mut self) {
        const FREE: [&str; 7] = [
            "producer.override.",
            "consumer.override.",
            "admin.override.",
            "topic.creation.",
            "key.converter.",
            "value.converter.",
            "header.converter.",
        ];
        let known: Vec<&str> = self.report.configs.iter().map(|info| info.name.as_str()).collect();
        let free = |key: &str| FREE.iter().any(|prefix| key.starts_with(prefix));
        let own = |name: &str| framework::own_keys(self.kind).any(|key| key.name == name);
        let mut warnings = Vec::new();
        for key in self.config.keys() {
            if known.contains(&key.as_str()) || free(key) || own(key) {
                continue;
            }
            warnings.push(match aqueduct_protocol::client::nearest(key, known.iter().copied()) {
                Some(nearest) => format!("{key}: nothing uses this key; did you mean {nearest}?"),
                None => format!("{key}: nothing uses this key"),
            });
        }
        self.report.warnings.extend(warnings);
    }

    fn error(&mut self, key: &str, message: String) {
        self.report.fail(key, self.config.get(key).map(String::as_str), message);
    }
}
