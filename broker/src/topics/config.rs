//! Topic configurations: Kafka's keys and defaults, checked when set.

use indexmap::IndexMap;

use crate::log::LogConfig;

/// Config types as DescribeConfigs numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Int { min: i64 },
    Long { min: i64 },
    Double,
    List(&'static [&'static str]),
    Choice(&'static [&'static str]),
}

impl Kind {
    pub(crate) fn wire_id(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Choice(_) => 2,
            Kind::Int { .. } => 3,
            Kind::Long { .. } => 5,
            Kind::Double => 6,
            Kind::List(_) => 7,
        }
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Kind::Boolean => matches!(value, "true" | "false"),
            Kind::Int { min } => value.parse::<i32>().is_ok_and(|n| i64::from(n) >= min),
            Kind::Long { min } => value.parse::<i64>().is_ok_and(|n| n >= min),
            Kind::Double => value.parse::<f64>().is_ok_and(|n| (0.0..=1.0).contains(&n)),
            Kind::List(allowed) => {
                value.split(',').all(|v| v.trim().is_empty() || allowed.contains(&v.trim()))
            }
            Kind::Choice(allowed) => allowed.contains(&value),
        }
    }

    fn describe(self) -> String {
        match self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Int { min } | Kind::Long { min } => format!("a whole number, at least {min}"),
            Kind::Double => "a number from 0 to 1".to_owned(),
            Kind::List(allowed) => format!("a list of {}", allowed.join(", ")),
            Kind::Choice(allowed) => format!("one of {}", allowed.join(", ")),
        }
    }
}

/// One topic setting.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    /// Whether this broker acts on it; the others are kept and shown, as they need replicas, tiers or flush settings.
    pub(crate) honoured: bool,
}

const fn def(name: &'static str, default: &'static str, kind: Kind, honoured: bool) -> Definition {
    Definition { name, default, kind, honoured }
}

/// Kafka 4's topic settings.
pub(crate) const DEFINITIONS: &[Definition] = &[
    def("cleanup.policy", "delete", Kind::List(&["compact", "delete"]), true),
    def(
        "compression.type",
        "producer",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        false,
    ),
    def("delete.retention.ms", "86400000", Kind::Long { min: 0 }, true),
    def("file.delete.delay.ms", "60000", Kind::Long { min: 0 }, false),
    def("flush.messages", "9223372036854775807", Kind::Long { min: 1 }, false),
    def("flush.ms", "9223372036854775807", Kind::Long { min: 0 }, false),
    def("index.interval.bytes", "4096", Kind::Int { min: 0 }, false),
    def("max.compaction.lag.ms", "9223372036854775807", Kind::Long { min: 1 }, false),
    def("max.message.bytes", "1048588", Kind::Int { min: 0 }, true),
    def("message.timestamp.after.max.ms", "3600000", Kind::Long { min: 0 }, false),
    def("message.timestamp.before.max.ms", "9223372036854775807", Kind::Long { min: 0 }, false),
    def("message.timestamp.type", "CreateTime", Kind::Choice(&["CreateTime", "LogAppendTime"]), true),
    def("min.cleanable.dirty.ratio", "0.5", Kind::Double, true),
    def("min.compaction.lag.ms", "0", Kind::Long { min: 0 }, true),
    def("min.insync.replicas", "1", Kind::Int { min: 1 }, false),
    def("preallocate", "false", Kind::Boolean, false),
    def("retention.bytes", "-1", Kind::Long { min: -1 }, true),
    def("retention.ms", "604800000", Kind::Long { min: -1 }, true),
    def("segment.bytes", "1073741824", Kind::Int { min: 14 }, true),
    def("segment.index.bytes", "10485760", Kind::Int { min: 4 }, false),
    def("segment.jitter.ms", "0", Kind::Long { min: 0 }, false),
    def("segment.ms", "604800000", Kind::Long { min: 1 }, true),
    def("unclean.leader.election.enable", "false", Kind::Boolean, false),
];

pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|d| d.name == name)
}

/// What was set on a topic, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct TopicConfig {
    overrides: IndexMap<String, String>,
    pub(crate) log: LogConfig,
    pub(crate) min_dirty_ratio: f64,
}

impl TopicConfig {
    /// Checks every entry. The error names key, value and what is allowed.
    pub(crate) fn new(overrides: IndexMap<String, String>) -> Result<TopicConfig, String> {
        for (name, value) in &overrides {
            let Some(definition) = definition(name) else {
                return Err(format!("unknown topic config name: {name}"));
            };
            if !definition.kind.accepts(value) {
                let allowed = definition.kind.describe();
                return Err(format!("invalid value {value} for configuration {name}: must be {allowed}"));
            }
        }
        let mut config =
            TopicConfig { overrides, log: LogConfig::unlimited(), min_dirty_ratio: DEFAULT_DIRTY_RATIO };
        config.log = config.derive();
        config.min_dirty_ratio =
            config.get("min.cleanable.dirty.ratio").parse().unwrap_or(DEFAULT_DIRTY_RATIO);
        Ok(config)
    }

    pub(crate) fn overrides(&self) -> &IndexMap<String, String> {
        &self.overrides
    }

    /// The value in force.
    pub(crate) fn get(&self, name: &str) -> &str {
        match self.overrides.get(name) {
            Some(value) => value,
            None => definition(name).map_or("", |d| d.default),
        }
    }

    fn derive(&self) -> LogConfig {
        // Values were checked, so a parse cannot fail; i64::MAX would only mean "no limit".
        let long = |name: &str| self.get(name).parse::<i64>().unwrap_or(i64::MAX);
        let policies: Vec<&str> = self.get("cleanup.policy").split(',').map(str::trim).collect();
        LogConfig {
            compact: policies.contains(&"compact"),
            delete: policies.contains(&"delete"),
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            segment_bytes: long("segment.bytes").unsigned_abs(),
            segment_ms: long("segment.ms"),
            max_message_bytes: usize::try_from(long("max.message.bytes")).unwrap_or(usize::MAX),
            delete_retention_ms: long("delete.retention.ms"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            log_append_time: self.get("message.timestamp.type") == "LogAppendTime",
        }
    }
}

const DEFAULT_DIRTY_RATIO: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<TopicConfig, String> {
        TopicConfig::new(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn every_default_is_a_valid_value() {
        for d in DEFINITIONS {
            assert!(d.kind.accepts(d.default), "{}", d.name);
        }
    }

    #[test]
    fn a_bad_value_names_key_value_and_what_is_allowed() {
        let error = config(&[("retention.ms", "soon")]).unwrap_err();
        assert!(
            error.contains("retention.ms") && error.contains("soon") && error.contains("at least -1"),
            "{error}"
        );
        assert!(config(&[("retention.mss", "1")]).is_err());
    }

    #[test]
    fn policies_combine() {
        let c = config(&[("cleanup.policy", "compact,delete")]).unwrap();
        assert!(c.log.compact && c.log.delete);
        let c = config(&[("cleanup.policy", "compact")]).unwrap();
        assert!(c.log.compact && !c.log.delete);
    }
}
