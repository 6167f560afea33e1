//! Predicates: which records a transform sees.

use super::java_regex::JavaRegex;
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigMap, ConfigType, Importance, Validator};
use crate::data::{Batch, Record};

const PACKAGE: &str = "org.apache.kafka.connect.transforms.predicates.";

/// Class names of all predicates.
pub const PREDICATE_CLASSES: &[&str] = &[
    "org.apache.kafka.connect.transforms.predicates.HasHeaderKey",
    "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone",
    "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
];

/// A test of a record.
#[derive(Debug, Clone)]
pub struct Predicate(Kind);

#[derive(Debug, Clone)]
enum Kind {
    HasHeaderKey(String),
    RecordIsTombstone,
    TopicNameMatches(Box<JavaRegex>),
}

static HAS_HEADER_KEY: ConfigDef = ConfigDef {
    keys: &[ConfigKey::required("name", ConfigType::String, Importance::Medium, "The header name.")
        .valid(Validator::NonEmpty)],
};
static RECORD_IS_TOMBSTONE: ConfigDef = ConfigDef { keys: &[] };
static TOPIC_NAME_MATCHES: ConfigDef = ConfigDef {
    keys: &[ConfigKey::required(
        "pattern",
        ConfigType::String,
        Importance::Medium,
        "A Java regular expression for matching against the whole name of a record's topic.",
    )
    .valid(Validator::NonEmpty)],
};

/// The configuration table of a predicate, by its Java class or the last part of it.
#[must_use]
pub fn predicate_config_def(class: &str) -> Option<&'static ConfigDef> {
    match class.strip_prefix(PACKAGE).unwrap_or(class) {
        "HasHeaderKey" => Some(&HAS_HEADER_KEY),
        "RecordIsTombstone" => Some(&RECORD_IS_TOMBSTONE),
        "TopicNameMatches" => Some(&TOPIC_NAME_MATCHES),
        _ => None,
    }
}

impl Predicate {
    /// A predicate by its Java class (or the last part of it), configured by the keys that begin with `prefix`.
    pub(super) fn create(prefix: &str, class: &str, config: &ConfigMap) -> Result<Self, ConfigError> {
        let key = format!("{prefix}type");
        if class.is_empty() {
            return Err(ConfigError::invalid(&key, "null", "Not a Predicate"));
        }
        let def = predicate_config_def(class)
            .ok_or_else(|| ConfigError::invalid(&key, class, format!("Class {class} could not be found.")))?;
        let own = def.parse_below(prefix, config)?;
        if let Some(name) = own.string("name") {
            return Ok(Self(Kind::HasHeaderKey(name.to_owned())));
        }
        match own.string("pattern") {
            Some(pattern) => {
                let pattern = JavaRegex::new(&format!("{prefix}pattern"), pattern)?;
                Ok(Self(Kind::TopicNameMatches(Box::new(pattern))))
            }
            None => Ok(Self(Kind::RecordIsTombstone)),
        }
    }

    /// Whether the record passes.
    #[must_use]
    pub fn test(&self, batch: &Batch, record: &Record) -> bool {
        match &self.0 {
            Kind::HasHeaderKey(name) => {
                batch.headers_of(record).iter().any(|header| batch.bytes(header.key) == name.as_bytes())
            }
            Kind::RecordIsTombstone => record.value.is_null(),
            Kind::TopicNameMatches(pattern) => pattern.matches(batch.topic(record.topic)),
        }
    }
}
