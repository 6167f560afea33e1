//! The framework's own keys of a connector, and the check of a whole connector configuration.

use std::sync::Arc;

use super::config::WorkerConfig;
use super::pipeline::Pipeline;
use super::topic_creation::TopicCreation;
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, Validator};
use crate::connector::{ConfigMap, ConnectorKind, ConnectorPlugin, Registry};
use crate::herder::HerderError;

const DEFAULT_TASKS_MAX: usize = 1;

/// Keys of every connector.
static COMMON: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            "name",
            ConfigType::String,
            Importance::High,
            "Globally unique name to use for this connector.",
        )
        .valid(Validator::NonEmpty),
        ConfigKey::required(
            "connector.class",
            ConfigType::String,
            Importance::High,
            "Name or alias of the class for this connector.",
        ),
        ConfigKey::with_default(
            "tasks.max",
            ConfigType::Int,
            "1",
            Importance::High,
            "Maximum number of tasks to use for this connector.",
        )
        .valid(Validator::AtLeast(1)),
        ConfigKey::with_default(
            "tasks.max.enforce",
            ConfigType::Boolean,
            "true",
            Importance::Low,
            "Whether tasks.max is enforced.",
        ),
        ConfigKey::nullable(
            "key.converter",
            ConfigType::Class,
            Importance::Low,
            "Converter class of the keys.",
        ),
        ConfigKey::nullable(
            "value.converter",
            ConfigType::Class,
            Importance::Low,
            "Converter class of the values.",
        ),
        ConfigKey::nullable(
            "header.converter",
            ConfigType::Class,
            Importance::Low,
            "Converter class of the headers.",
        ),
        ConfigKey::with_default(
            "transforms",
            ConfigType::List,
            "",
            Importance::Low,
            "Aliases for the transformations.",
        ),
        ConfigKey::with_default(
            "predicates",
            ConfigType::List,
            "",
            Importance::Low,
            "Aliases for the predicates.",
        ),
        ConfigKey::with_default(
            "errors.retry.timeout",
            ConfigType::Long,
            "0",
            Importance::Medium,
            "How long a failed operation is retried, in milliseconds; -1 for ever.",
        ),
        ConfigKey::with_default(
            "errors.retry.delay.max.ms",
            ConfigType::Long,
            "60000",
            Importance::Medium,
            "The longest wait between retries.",
        ),
        ConfigKey::with_default(
            "errors.tolerance",
            ConfigType::String,
            "none",
            Importance::Medium,
            "Whether failed records are skipped.",
        )
        .valid(Validator::OneOfIgnoringCase(&["none", "all"])),
        ConfigKey::with_default(
            "errors.log.enable",
            ConfigType::Boolean,
            "false",
            Importance::Medium,
            "Whether failed records are logged.",
        ),
        ConfigKey::with_default(
            "errors.log.include.messages",
            ConfigType::Boolean,
            "false",
            Importance::Medium,
            "Whether the log holds keys and values.",
        ),
    ],
};

/// Further keys of sinks.
static SINK: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::with_default("topics", ConfigType::List, "", Importance::High, "Topics to consume."),
        ConfigKey::with_default(
            "topics.regex",
            ConfigType::String,
            "",
            Importance::High,
            "Regular expression of the topics to consume.",
        ),
        ConfigKey::with_default(
            "errors.deadletterqueue.topic.name",
            ConfigType::String,
            "",
            Importance::Medium,
            "Topic of the failed records.",
        ),
        ConfigKey::with_default(
            "errors.deadletterqueue.topic.replication.factor",
            ConfigType::Short,
            "3",
            Importance::Medium,
            "Replication factor of that topic.",
        ),
        ConfigKey::with_default(
            "errors.deadletterqueue.context.headers.enable",
            ConfigType::Boolean,
            "false",
            Importance::Medium,
            "Whether headers tell what went wrong.",
        ),
    ],
};

/// Checks the keys that every connector has, but for its name and class.
pub(crate) fn check_common(config: &ConfigMap) -> Result<(), ConfigError> {
    let error = COMMON
        .validate(config)
        .into_iter()
        .find(|error| config.contains_key(&error.key) || !matches!(&*error.key, "name" | "connector.class"));
    error.map_or(Ok(()), Err)
}

/// Checks a connector's configuration as Connect does, and finds its plugin. All errors come together.
pub(crate) fn validate(
    registry: &Registry,
    worker: &WorkerConfig,
    raw: &ConfigMap,
) -> Result<Arc<dyn ConnectorPlugin>, HerderError> {
    let config = worker.providers.resolve(raw).map_err(|error| HerderError::new(500, with_cause(&error)))?;
    let Some(class) =
        config.get("connector.class").map(|class| class.trim()).filter(|class| !class.is_empty())
    else {
        return Err(HerderError::new(
            400,
            format!("Connector config {{{}}} contains no connector type", keys(raw)),
        ));
    };
    let Some(plugin) = registry.find(class) else {
        return Err(HerderError::new(400, unknown_class(registry, &config).to_string()));
    };
    let mut errors: Vec<String> = COMMON.validate(&config).into_iter().map(|error| error.message).collect();
    if plugin.kind() == ConnectorKind::Sink {
        errors.extend(SINK.validate(&config).into_iter().map(|error| error.message));
        errors.extend(topics_errors(&config));
    } else if let Err(error) = TopicCreation::from_config(worker.topic_creation, &config) {
        errors.push(with_cause(&error));
    }
    errors.extend(plugin.config_def().validate(&config).into_iter().map(|error| error.message));
    if let Err(error) = worker.override_policy.check(&config) {
        errors.push(error.to_string());
    }
    // converters and transforms are checked by making them, once what they rest on is right
    if errors.is_empty()
        && let Err(error) = Pipeline::new(&worker.properties, &config)
    {
        errors.push(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string));
    }
    if errors.is_empty() { Ok(Arc::clone(plugin)) } else { Err(HerderError::invalid_config(&errors)) }
}

/// `tasks.max` of a configuration that has been checked.
pub(crate) fn tasks_max(config: &ConfigMap) -> usize {
    config.get("tasks.max").and_then(|value| value.trim().parse().ok()).unwrap_or(DEFAULT_TASKS_MAX).max(1)
}

/// Whether more tasks than `tasks.max` are an error.
pub(crate) fn tasks_max_enforced(config: &ConfigMap) -> bool {
    config.get("tasks.max.enforce").is_none_or(|value| !value.trim().eq_ignore_ascii_case("false"))
}

/// The JVM attaches these to both keys, so each is there twice.
fn topics_errors(config: &ConfigMap) -> Vec<String> {
    let text = |key: &str| config.get(key).map(|value| value.trim()).unwrap_or_default();
    let (topics, regex) = (text("topics"), text("topics.regex"));
    let error = match (topics.is_empty(), regex.is_empty()) {
        (true, true) => "Must configure one of topics or topics.regex",
        (false, false) => "topics and topics.regex are mutually exclusive options, but both are set.",
        _ => {
            let dlq = text("errors.deadletterqueue.topic.name");
            if !dlq.is_empty() && topics.split(',').any(|topic| topic.trim() == dlq) {
                return vec![format!(
                    "The DLQ topic '{dlq}' may not be included in the list of topics ('topics=[{topics}]') consumed by the connector"
                )];
            }
            return Vec::new();
        }
    };
    vec![error.to_owned(), error.to_owned()]
}

fn with_cause(error: &crate::connector::ConnectError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The error of a connector whose class this worker does not have.
pub(crate) fn unknown_class(registry: &Registry, config: &ConfigMap) -> crate::connector::ConnectError {
    let class = config.get("connector.class").map(|class| class.trim()).unwrap_or_default();
    crate::connector::ConnectError::fatal(format!(
        "Failed to find any class that implements Connector and which name matches {class}, available connectors are: {}",
        available(registry)
    ))
}

/// Names only: values may be secrets.
fn keys(config: &ConfigMap) -> String {
    config.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn available(registry: &Registry) -> String {
    let describe = |plugin: &Arc<dyn ConnectorPlugin>| {
        format!(
            "PluginDesc{{name='{}', version='{}', type={}}}",
            plugin.class(),
            plugin.version(),
            plugin.kind().as_str()
        )
    };
    registry.plugins().iter().map(describe).collect::<Vec<_>>().join(", ")
}
