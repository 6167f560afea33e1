//! Under which subject a schema is registered: `key.subject.name.strategy`, `value.subject.name.strategy`.

use crate::config::ConfigError;

const PACKAGE: &str = "io.confluent.kafka.serializers.subject.";

/// How a subject is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::converter) enum SubjectNameStrategy {
    /// `topic-key`, `topic-value`.
    Topic,
    /// The record's full name.
    Record,
    /// `topic-` and the record's full name.
    TopicRecord,
}

impl SubjectNameStrategy {
    /// By Confluent's class name.
    pub(super) fn parse(key: &str, class: &str) -> Result<Self, ConfigError> {
        match class.trim().strip_prefix(PACKAGE).unwrap_or(class.trim()) {
            // where no subject is associated with a topic, the associated name is the topic's
            "TopicNameStrategy" | "AssociatedNameStrategy" => Ok(Self::Topic),
            "RecordNameStrategy" => Ok(Self::Record),
            "TopicRecordNameStrategy" => Ok(Self::TopicRecord),
            _ => Err(ConfigError::invalid(
                key,
                class,
                format!(
                    "must be TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy of {PACKAGE}*"
                ),
            )),
        }
    }

    /// Whether the schema's name is asked for.
    pub(super) const fn uses_record_name(self) -> bool {
        !matches!(self, Self::Topic)
    }

    /// The subject. `record_name` is `None` for a schema that is no record.
    pub(super) fn subject(
        self,
        topic: &str,
        is_key: bool,
        record_name: Option<&str>,
    ) -> Result<String, String> {
        let side = if is_key { "key" } else { "value" };
        match (self, record_name) {
            (Self::Topic, _) => Ok(format!("{topic}-{side}")),
            (Self::Record, Some(name)) => Ok(name.to_owned()),
            (Self::TopicRecord, Some(name)) => Ok(format!("{topic}-{name}")),
            (_, None) => Err(format!(
                "In configuration {side}.subject.name.strategy, the message {side} must only be a record schema"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_by_strategy() {
        let strategy = |class: &str| SubjectNameStrategy::parse("k", class).unwrap();
        let topic = strategy("io.confluent.kafka.serializers.subject.TopicNameStrategy");
        assert_eq!(topic.subject("t", true, None).unwrap(), "t-key");
        assert_eq!(strategy("RecordNameStrategy").subject("t", false, Some("a.B")).unwrap(), "a.B");
        let both = strategy("io.confluent.kafka.serializers.subject.TopicRecordNameStrategy");
        assert_eq!(both.subject("t", false, Some("a.B")).unwrap(), "t-a.B");
        assert!(both.subject("t", false, None).is_err());
        assert!(SubjectNameStrategy::parse("k", "com.example.Own").is_err());
    }
}
