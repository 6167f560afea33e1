//! The framework's own keys of a connector, as Connect documents them.

use crate::config::{ConfigDef, ConfigKey, ConfigType, Importance, Validator, Width};
use crate::connector::ConnectorKind;

const HIGH: Importance = Importance::High;
const MEDIUM: Importance = Importance::Medium;
const LOW: Importance = Importance::Low;

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    importance: Importance,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey::with_default(name, kind, default, importance, doc)
}

/// The rules for regular expressions are Java's.
fn regex(value: &str) -> Option<String> {
    fancy_regex::Regex::new(value).err().map(|error| format!("Invalid regex: {error}"))
}

/// Keys of every connector.
pub(super) static COMMON: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required("name", ConfigType::String, HIGH, "Globally unique name to use for this connector.")
            .shown("Common", 1, Width::Medium, "Connector name")
            .valid(Validator::Check(|name| name.is_empty().then(|| "String may not be empty".to_owned()))),
        ConfigKey::required(
            "connector.class",
            ConfigType::String,
            HIGH,
            "Name or alias of the class for this connector: the full class name, or its simple name with or without Connector.",
        )
        .shown("Common", 2, Width::Long, "Connector class"),
        ConfigKey::nullable("connector.plugin.version", ConfigType::String, MEDIUM, "Version of the connector.")
            .shown("Common", 3, Width::Medium, "Connector version"),
        key("tasks.max", ConfigType::Int, "1", HIGH, "Maximum number of tasks to use for this connector.")
            .shown("Common", 4, Width::Short, "Tasks max")
            .valid(Validator::AtLeast(1)),
        key(
            "tasks.max.enforce",
            ConfigType::Boolean,
            "true",
            LOW,
            "Whether a connector that generates more tasks than tasks.max fails.",
        )
        .shown("Common", 5, Width::Short, "Enforce tasks max"),
        ConfigKey::nullable(KEY_CONVERTER, ConfigType::Class, LOW, "Converter class of the keys in Kafka.")
            .shown("Common", 6, Width::Short, "Key converter class"),
        ConfigKey::nullable("key.converter.plugin.version", ConfigType::String, LOW, "Version of the key converter.")
            .shown("Common", 7, Width::Short, "Key converter version"),
        ConfigKey::nullable(VALUE_CONVERTER, ConfigType::Class, LOW, "Converter class of the values in Kafka.")
            .shown("Common", 8, Width::Short, "Value converter class"),
        ConfigKey::nullable(
            "value.converter.plugin.version",
            ConfigType::String,
            LOW,
            "Version of the value converter.",
        )
        .shown("Common", 9, Width::Short, "Value converter version"),
        ConfigKey::nullable(HEADER_CONVERTER, ConfigType::Class, LOW, "Converter class of the headers in Kafka.")
            .shown("Common", 10, Width::Short, "Header converter class"),
        ConfigKey::nullable(
            "header.converter.plugin.version",
            ConfigType::String,
            LOW,
            "Version of the header converter.",
        )
        .shown("Common", 11, Width::Short, "Header converter version"),
        key("transforms", ConfigType::List, "", LOW, "Aliases for the transformations, in their order.")
            .shown("Transforms", 12, Width::Long, "Transforms"),
        key("predicates", ConfigType::List, "", LOW, "Aliases for the predicates that transformations use.")
            .shown("Predicates", 13, Width::Long, "Predicates"),
        key(
            "config.action.reload",
            ConfigType::String,
            "restart",
            LOW,
            "What to do when a value of a config provider has changed: restart the connector, or nothing (none).",
        )
        .shown("Common", 14, Width::Medium, "Reload Action")
        .valid(Validator::OneOf(&["none", "restart"])),
        key(
            "errors.retry.timeout",
            ConfigType::Long,
            "0",
            MEDIUM,
            "How long a failed operation is tried again, in milliseconds; -1 for ever.",
        )
        .shown("Error Handling", 1, Width::Medium, "Retry Timeout for Errors"),
        key(
            "errors.retry.delay.max.ms",
            ConfigType::Long,
            "60000",
            MEDIUM,
            "The longest wait between two tries, in milliseconds.",
        )
        .shown("Error Handling", 2, Width::Medium, "Maximum Delay Between Retries for Errors"),
        key("errors.tolerance", ConfigType::String, "none", MEDIUM, "Whether failed records are skipped (all) or fail the task (none).")
            .shown("Error Handling", 3, Width::Short, "Error Tolerance")
            .valid(Validator::OneOf(&["none", "all"])),
        key("errors.log.enable", ConfigType::Boolean, "false", MEDIUM, "Whether every failure is logged.")
            .shown("Error Handling", 4, Width::Short, "Log Errors"),
        key(
            "errors.log.include.messages",
            ConfigType::Boolean,
            "false",
            MEDIUM,
            "Whether the log shows the record that failed.",
        )
        .shown("Error Handling", 5, Width::Short, "Log Error Details"),
    ],
};

/// Further keys of sources.
pub(super) static SOURCE: ConfigDef = ConfigDef {
    keys: &[
        key("topic.creation.groups", ConfigType::List, "", LOW, "Groups of settings for topics that the source creates.")
            .shown("Topic Creation", 1, Width::Long, "Topic Creation Groups"),
        key(
            "exactly.once.support",
            ConfigType::String,
            "requested",
            MEDIUM,
            "Whether the connector is refused where exactly-once delivery is not possible (required), or runs anyhow (requested).",
        )
        .shown("Exactly Once Support", 2, Width::Short, "Exactly once support")
        .valid(Validator::OneOfIgnoringCase(&["requested", "required"])),
        key(BOUNDARY, ConfigType::String, "poll", MEDIUM, "When transactions end: poll, interval or connector.")
            .shown("Exactly Once Support", 3, Width::Short, "Transaction Boundary")
            .valid(Validator::OneOfIgnoringCase(&["poll", "interval", "connector"])),
        ConfigKey::nullable(
            BOUNDARY_INTERVAL,
            ConfigType::Long,
            LOW,
            "Time between the ends of transactions with transaction.boundary=interval; offset.flush.interval.ms if not set.",
        )
        .valid(Validator::AtLeast(0))
        .shown("Exactly Once Support", 4, Width::Short, "Transaction boundary interval"),
        ConfigKey::nullable(OFFSETS_TOPIC, ConfigType::String, LOW, "Topic of this connector's own offsets.")
            .shown("offsets.topic", 1, Width::Long, "Offsets topic"),
    ],
};

/// Further keys of sinks.
pub(super) static SINK: ConfigDef = ConfigDef {
    keys: &[
        key("topics", ConfigType::List, "", HIGH, "Topics to consume.").shown(
            "Common",
            4,
            Width::Long,
            "Topics",
        ),
        key("topics.regex", ConfigType::String, "", HIGH, "Regular expression of the topics to consume.")
            .shown("Common", 4, Width::Long, "Topics regex")
            .valid(Validator::Check(regex)),
    ],
};

/// The dead letter queue: of sinks as in the JVM, of sources ours.
pub(super) static DEAD_LETTERS: ConfigDef = ConfigDef {
    keys: &[
        key(DLQ_TOPIC, ConfigType::String, "", MEDIUM, "Topic of the records that failed; none if empty.")
            .shown("Error Handling", 6, Width::Medium, "Dead Letter Queue Topic Name"),
        key(
            DLQ_REPLICATION,
            ConfigType::Short,
            "3",
            MEDIUM,
            "Replication factor of that topic where it has to be created.",
        )
        .shown("Error Handling", 7, Width::Medium, "Dead Letter Queue Topic Replication Factor"),
        key(
            DLQ_CONTEXT,
            ConfigType::Boolean,
            "false",
            MEDIUM,
            "Whether headers of the reported records tell what went wrong.",
        )
        .shown("Error Handling", 8, Width::Medium, "Enable Error Context Headers"),
    ],
};

pub(super) const KEY_CONVERTER: &str = "key.converter";
pub(super) const VALUE_CONVERTER: &str = "value.converter";
pub(super) const HEADER_CONVERTER: &str = "header.converter";
pub(super) const BOUNDARY: &str = "transaction.boundary";
pub(super) const BOUNDARY_INTERVAL: &str = "transaction.boundary.interval.ms";
pub(super) const OFFSETS_TOPIC: &str = "offsets.storage.topic";
pub(super) const DLQ_TOPIC: &str = "errors.deadletterqueue.topic.name";
pub(super) const DLQ_REPLICATION: &str = "errors.deadletterqueue.topic.replication.factor";
pub(super) const DLQ_CONTEXT: &str = "errors.deadletterqueue.context.headers.enable";

/// Keys of ours, which a JVM worker ignores.
static OWN: ConfigDef = ConfigDef {
    keys: &[
        key(
            "errors.auto.restart",
            ConfigType::Boolean,
            "false",
            LOW,
            "Whether a failed task is started again by itself, after a wait that doubles from one second to five minutes.",
        ),
        key(
            "errors.auto.restart.max.attempts",
            ConfigType::Int,
            "10",
            LOW,
            "How often in a row; a task that has run for ten minutes begins anew. -1 is no bound.",
        )
        .valid(Validator::AtLeast(-1)),
    ],
};

/// The framework's keys of a connector of that kind, in the order in which validation shows them.
pub(super) fn keys(kind: ConnectorKind) -> impl Iterator<Item = &'static ConfigKey> {
    let further: [&[ConfigKey]; 2] = match kind {
        ConnectorKind::Source => [SOURCE.keys, &[]],
        ConnectorKind::Sink => [SINK.keys, DEAD_LETTERS.keys],
    };
    COMMON.keys.iter().chain(further.into_iter().flatten())
}

/// Keys of ours: shown where they are used only.
pub(super) fn own_keys(kind: ConnectorKind) -> impl Iterator<Item = &'static ConfigKey> {
    let further: &[ConfigKey] = match kind {
        ConnectorKind::Source => DEAD_LETTERS.keys,
        ConnectorKind::Sink => &[],
    };
    OWN.keys.iter().chain(further)
}

/// The groups that validation lists for a connector of that kind.
pub(super) fn groups(kind: ConnectorKind) -> Vec<String> {
    let mut groups = vec!["Common", "Transforms", "Predicates", "Error Handling"];
    if kind == ConnectorKind::Source {
        groups.extend(["Topic Creation", "Exactly Once Support", "offsets.topic"]);
    }
    groups.into_iter().map(str::to_owned).collect()
}
