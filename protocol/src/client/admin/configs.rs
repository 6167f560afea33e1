//! Configs of topics, brokers and groups.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use super::{Admin, unanswered};
use crate::Result;
use crate::client::messages::{check_said, text};
use crate::client::{NodeTarget, Properties};

const DESCRIBE_CONFIGS: std::ops::RangeInclusive<i16> = 1..=4;
const ALTER_CONFIGS: std::ops::RangeInclusive<i16> = 0..=1;

/// Where a value comes from: the resource itself. Higher numbers are brokers' values and defaults.
const OF_TOPIC: i8 = 1;
/// As [`OF_TOPIC`]: set for one broker, for all of them, and by a broker's file.
const OF_BROKERS: std::ops::RangeInclusive<i8> = 2..=4;
/// As [`OF_TOPIC`]: set for one group.
const OF_GROUP: i8 = 8;

/// What has configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigResource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// A broker, by node id.
    Broker(i32),
    /// All brokers: what is set for the whole cluster.
    Cluster,
    /// A group, by id.
    Group(&'a str),
}

impl ConfigResource<'_> {
    fn kind(self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::Cluster => 4,
            Self::Group(_) => 32,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Topic(name) | Self::Group(name) => name.to_owned(),
            Self::Broker(id) => id.to_string(),
            Self::Cluster => String::new(),
        }
    }

    /// A broker answers for itself only.
    const fn target(self) -> NodeTarget {
        match self {
            Self::Broker(id) => NodeTarget::Id(id),
            _ => NodeTarget::Any,
        }
    }
}

impl std::fmt::Display for ConfigResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Cluster => f.write_str("the cluster"),
            Self::Group(id) => write!(f, "group {id}"),
        }
    }
}

/// A config in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none for those that are secret.
    pub value: Option<String>,
    /// Whether it is set for the resource itself or, for a broker, in any way; a default otherwise.
    pub is_set: bool,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether its value is secret.
    pub sensitive: bool,
}

/// A change of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// A value of its own.
    Set(String),
    /// Back to the default.
    Delete,
    /// One more value of a list.
    Append(String),
    /// One value of a list less.
    Subtract(String),
}

impl Admin {
    /// The configs in force of a resource, defaults included.
    ///
    /// # Errors
    /// If it does not exist or may not be described.
    pub async fn describe_configs(&self, resource: ConfigResource<'_>) -> Result<Vec<ConfigEntry>> {
        let wanted = DescribeConfigsResource::default()
            .with_resource_type(resource.kind())
            .with_resource_name(text(&resource.name()))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![wanted]);
        let answer = match resource.target() {
            NodeTarget::Any => self.ask_any(request, DESCRIBE_CONFIGS).await?,
            target => self.client.send_versioned(target, request, DESCRIBE_CONFIGS, None).await?,
        };
        let what = || format!("the configs of {resource}");
        let result =
            answer.results.into_iter().next().ok_or_else(|| unanswered(format_args!("{}", what())))?;
        check_said(result.error_code, result.error_message.as_deref(), what)?;
        let is_set = |source: i8| match resource {
            ConfigResource::Topic(_) => source == OF_TOPIC,
            ConfigResource::Group(_) => source == OF_GROUP,
            ConfigResource::Broker(_) | ConfigResource::Cluster => OF_BROKERS.contains(&source),
        };
        let entries = result.configs.into_iter().map(|config| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            is_set: is_set(config.config_source),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
        });
        Ok(entries.collect())
    }

    /// The configs in force of a topic, defaults included, as names and values.
    ///
    /// # Errors
    /// If the topic does not exist or may not be described.
    pub async fn topic_configs(&self, topic: &str) -> Result<Properties> {
        let entries = self.describe_configs(ConfigResource::Topic(topic)).await?;
        Ok(entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect())
    }

    /// Changes some configs of a resource and leaves the others as they are (KIP-339).
    ///
    /// # Errors
    /// If it does not exist, may not be changed, or a value is not allowed, with the broker's own message; nothing is
    /// changed then.
    pub async fn alter_configs(
        &self,
        resource: ConfigResource<'_>,
        changes: &[(&str, ConfigChange)],
    ) -> Result<()> {
        let change = |(name, change): &(&str, ConfigChange)| {
            let (operation, value) = match change {
                ConfigChange::Set(value) => (0, Some(value)),
                ConfigChange::Delete => (1, None),
                ConfigChange::Append(value) => (2, Some(value)),
                ConfigChange::Subtract(value) => (3, Some(value)),
            };
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(|value| text(value)))
        };
        let wanted = AlterConfigsResource::default()
            .with_resource_type(resource.kind())
            .with_resource_name(text(&resource.name()))
            .with_configs(changes.iter().map(change).collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![wanted]);
        let answer = self.client.send_versioned(resource.target(), request, ALTER_CONFIGS, None).await?;
        let what = || format!("changing configs of {resource}");
        let result = answer.responses.first().ok_or_else(|| unanswered(format_args!("{}", what())))?;
        check_said(result.error_code, result.error_message.as_deref(), what)
    }
}
