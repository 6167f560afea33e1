//! Which topics a source creates, and how: `topic.creation.*` (KIP-158).

use fancy_regex::Regex;
use indexmap::IndexMap;

use crate::connector::{ConfigMap, ConnectError};

const PREFIX: &str = "topic.creation.";
const DEFAULT_GROUP: &str = "default";
/// The broker's own default for partitions or replication.
const BROKER_DEFAULT: i32 = -1;

/// How a topic is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopicSettings {
    /// Number of partitions; -1 for the broker's default.
    pub partitions: i32,
    /// Number of replicas; -1 for the broker's default.
    pub replication_factor: i16,
    /// Topic configs.
    pub configs: IndexMap<String, String>,
}

/// The rules of one connector, in the order in which they are tried.
#[derive(Debug)]
pub struct TopicCreation {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    settings: NewTopicSettings,
}

impl TopicCreation {
    /// The rules, or none if the worker or the connector does not ask for topic creation: then the broker may create topics.
    pub fn from_config(enabled: bool, connector: &ConfigMap) -> Result<Option<TopicCreation>, ConnectError> {
        if !enabled || !connector.keys().any(|key| key.starts_with(PREFIX)) {
            return Ok(None);
        }
        let default = settings(connector, DEFAULT_GROUP, None)?;
        let mut groups = Vec::new();
        for name in list(connector, "topic.creation.groups") {
            groups.push(Group {
                include: regexes(connector, &format!("{PREFIX}{name}.include"))?,
                exclude: regexes(connector, &format!("{PREFIX}{name}.exclude"))?,
                settings: settings(connector, &name, Some(&default))?,
            });
        }
        groups.push(Group {
            include: vec![whole("topic.creation.default", ".*")?],
            exclude: Vec::new(),
            settings: default,
        });
        Ok(Some(TopicCreation { groups }))
    }

    /// The settings of the first group that the topic's name fits.
    pub fn settings(&self, topic: &str) -> Option<&NewTopicSettings> {
        // a pattern that runs out of steps counts as not matching
        let fits =
            |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(topic).unwrap_or(false));
        self.groups
            .iter()
            .find(|group| fits(&group.include) && !fits(&group.exclude))
            .map(|group| &group.settings)
    }
}

fn list(config: &ConfigMap, key: &str) -> Vec<String> {
    let value = config.get(key).map(String::as_str).unwrap_or_default();
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn regexes(config: &ConfigMap, key: &str) -> Result<Vec<Regex>, ConnectError> {
    list(config, key).iter().map(|pattern| whole(key, pattern)).collect()
}

/// A Java pattern that has to match the whole name.
fn whole(key: &str, pattern: &str) -> Result<Regex, ConnectError> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
        ConnectError::fatal(format!("{key}={pattern}: not a regular expression")).caused_by(error)
    })
}

fn settings(
    config: &ConfigMap,
    group: &str,
    default: Option<&NewTopicSettings>,
) -> Result<NewTopicSettings, ConnectError> {
    let number = |field: &str, inherited: Option<i32>, max: i32| {
        let key = format!("{PREFIX}{group}.{field}");
        let Some(value) = config.get(&key) else {
            return inherited.ok_or_else(|| {
                ConnectError::fatal(format!(
                    "Missing required configuration \"{key}\" which has no default value."
                ))
            });
        };
        let parsed =
            value.trim().parse::<i32>().ok().filter(|n| *n == BROKER_DEFAULT || (1..=max).contains(n));
        parsed.ok_or_else(|| {
            ConnectError::fatal(format!(
                "Invalid value {value} for configuration {key}: allowed are 1 to {max}, or -1 for the broker's default"
            ))
        })
    };
    let partitions = number("partitions", default.map(|settings| settings.partitions), i32::MAX)?;
    let replication = number(
        "replication.factor",
        default.map(|settings| i32::from(settings.replication_factor)),
        i32::from(i16::MAX),
    )?;
    let prefix = format!("{PREFIX}{group}.");
    let own = ["include", "exclude", "partitions", "replication.factor"];
    let configs = config.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
    Ok(NewTopicSettings {
        partitions,
        replication_factor: replication as i16,
        configs: configs
            .filter(|(key, _)| !own.contains(key))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> ConfigMap {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn first_matching_group_then_default() {
        let config = map(&[
            ("topic.creation.default.partitions", "2"),
            ("topic.creation.default.replication.factor", "-1"),
            ("topic.creation.groups", "compact, other"),
            ("topic.creation.compact.include", "a.*,b"),
            ("topic.creation.compact.exclude", "ax"),
            ("topic.creation.compact.cleanup.policy", "compact"),
            ("topic.creation.other.include", "a.*"),
            ("topic.creation.other.partitions", "7"),
        ]);
        let rules = TopicCreation::from_config(true, &config).unwrap().unwrap();
        assert_eq!(rules.settings("ab").unwrap().configs["cleanup.policy"], "compact");
        assert_eq!(rules.settings("ab").unwrap().partitions, 2);
        assert_eq!(rules.settings("ax").unwrap().partitions, 7);
        assert_eq!(rules.settings("xb").unwrap().partitions, 2, "patterns match whole names");
        assert_eq!(rules.settings("xb").unwrap().replication_factor, -1);
    }

    #[test]
    fn inactive_without_keys_and_strict_with_them() {
        assert!(TopicCreation::from_config(true, &map(&[("topic", "t")])).unwrap().is_none());
        assert!(
            TopicCreation::from_config(false, &map(&[("topic.creation.groups", "a")])).unwrap().is_none()
        );
        let missing = TopicCreation::from_config(true, &map(&[("topic.creation.default.partitions", "1")]))
            .unwrap_err();
        assert!(missing.to_string().contains("topic.creation.default.replication.factor"), "{missing}");
        let bad = map(&[
            ("topic.creation.default.partitions", "0"),
            ("topic.creation.default.replication.factor", "1"),
        ]);
        assert!(TopicCreation::from_config(true, &bad).unwrap_err().to_string().contains("Invalid value 0"));
    }
}
