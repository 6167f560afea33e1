//! Predicates: which records a transform sees.

use super::java_regex::JavaRegex;
use crate::config::{ConfigError, ConfigMap};
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

impl Predicate {
    /// A predicate by its Java class (or simple name), with the part of the configuration below its alias.
    pub(super) fn create(key: &str, class: &str, config: &ConfigMap) -> Result<Self, ConfigError> {
        let own = |name: &str| {
            let value = config.get(name).map(|value| value.trim());
            value.ok_or_else(|| ConfigError::missing(name))
        };
        match class.strip_prefix(PACKAGE).unwrap_or(class) {
            "HasHeaderKey" => {
                let name = own("name")?;
                if name.is_empty() {
                    return Err(ConfigError::invalid("name", name, "String must be non-empty"));
                }
                Ok(Self(Kind::HasHeaderKey(name.to_owned())))
            }
            "RecordIsTombstone" => Ok(Self(Kind::RecordIsTombstone)),
            "TopicNameMatches" => {
                Ok(Self(Kind::TopicNameMatches(Box::new(JavaRegex::new("pattern", own("pattern")?)?))))
            }
            _ => Err(ConfigError::invalid(key, class, format!("Class {class} could not be found."))),
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
