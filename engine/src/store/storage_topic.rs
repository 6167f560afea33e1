//! The three topics of a distributed worker: how they are configured, made, and checked.

use std::time::Duration;

use aqueduct_protocol::client::{Admin, ClientConfig, NewTopic, Properties};
use aqueduct_protocol::{Error, ErrorCode};

use super::StoreError;
use crate::connector::ConfigMap;
use crate::worker::WorkerConfigError;

const CLEANUP_POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";
/// Wait between looks at a topic that was just made.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Connectors and tasks.
    Config,
    /// Source offsets.
    Offset,
    /// Statuses.
    Status,
}

impl Storage {
    /// What its keys begin with.
    fn prefix(self) -> &'static str {
        match self {
            Storage::Config => "config.storage.",
            Storage::Offset => "offset.storage.",
            Storage::Status => "status.storage.",
        }
    }

    fn topic_key(self) -> &'static str {
        match self {
            Storage::Config => "config.storage.topic",
            Storage::Offset => "offset.storage.topic",
            Storage::Status => "status.storage.topic",
        }
    }

    /// What is lost without compaction.
    fn content(self) -> &'static str {
        match self {
            Storage::Config => "connector configurations",
            Storage::Offset => "source connector offsets",
            Storage::Status => "connector and task statuses",
        }
    }

    fn default_partitions(self) -> i32 {
        match self {
            Storage::Config => 1,
            Storage::Offset => 25,
            Storage::Status => 5,
        }
    }
}

/// A topic as the worker's properties ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageTopic {
    storage: Storage,
    /// Its name.
    pub(crate) name: String,
    partitions: i32,
    replication_factor: i16,
    configs: Properties,
}

impl StorageTopic {
    /// Reads `config.storage.*`, `offset.storage.*` or `status.storage.*`. Keys that the worker does not know are configs
    /// of the topic; `cleanup.policy` among them is ignored.
    pub(crate) fn from_properties(
        storage: Storage,
        properties: &ConfigMap,
    ) -> Result<StorageTopic, WorkerConfigError> {
        const OWN: [&str; 4] = ["topic", "replication.factor", "partitions", CLEANUP_POLICY];
        let key = storage.topic_key();
        let name = properties.get(key).map(|name| name.trim()).filter(|name| !name.is_empty());
        let name = name.ok_or(WorkerConfigError::Missing {
            key,
            remedy: "name a topic, the same for all workers of the group; it is created if it does not exist",
        })?;
        let number = |setting: &str, default: i32, most: i32| {
            let key = format!("{}{setting}", storage.prefix());
            let Some(text) = properties.get(&key) else { return Ok(default) };
            let parsed = text.trim().parse().ok();
            parsed.filter(|number| *number == -1 || (1..=most).contains(number)).ok_or_else(|| {
                WorkerConfigError::Invalid {
                    key,
                    value: text.clone(),
                    allowed: "Value must be greater than 0, or -1 for the broker's default",
                }
            })
        };
        let partitions = match storage {
            Storage::Config => 1,
            _ => number("partitions", storage.default_partitions(), i32::MAX)?,
        };
        const REPLICATION_FACTOR: i32 = 3;
        let replication_factor =
            number("replication.factor", REPLICATION_FACTOR, i32::from(i16::MAX))? as i16;
        let others = properties.iter().filter_map(|(key, value)| {
            let config = key.strip_prefix(storage.prefix()).filter(|config| !OWN.contains(config))?;
            (config != "file.filename").then(|| (config.to_owned(), value.clone()))
        });
        let configs =
            std::iter::once((CLEANUP_POLICY.to_owned(), COMPACT.to_owned())).chain(others).collect();
        Ok(StorageTopic { storage, name: name.to_owned(), partitions, replication_factor, configs })
    }

    /// A connector's own topic of offsets, made as the worker's own would be. Without `offset.storage.replication.factor`, which
    /// standalone workers do not have, the broker decides.
    pub(crate) fn of_connector(
        name: &str,
        worker: &ConfigMap,
        distributed: bool,
    ) -> Result<StorageTopic, WorkerConfigError> {
        let mut properties = worker.clone();
        properties.insert(Storage::Offset.topic_key().to_owned(), name.to_owned());
        if !distributed {
            properties
                .entry("offset.storage.replication.factor".to_owned())
                .or_insert_with(|| "-1".to_owned());
        }
        StorageTopic::from_properties(Storage::Offset, &properties)
    }

    /// The error of a client on this topic.
    pub(super) fn error(&self, what: &'static str, source: Error) -> StoreError {
        StoreError::Topic { key: self.storage.topic_key(), topic: self.name.clone(), what, source }
    }
}

/// Makes the topic if it is missing, refuses it if it is not kept as it has to be, and gives its number of partitions.
pub(super) async fn prepare(
    topic: &StorageTopic,
    admin: &Admin,
    config: &ClientConfig,
) -> Result<i32, StoreError> {
    let count = match create(topic, admin).await {
        Ok(()) => {
            tracing::info!(topic = topic.name, "created the topic of {}", topic.storage.topic_key());
            partitions(topic, admin, config).await?
        }
        Err(error) => {
            let unauthorized = matches!(
                error.code(),
                Some(ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed)
            );
            if error.code() != Some(ErrorCode::TopicAlreadyExists) && !unauthorized {
                let what =
                    "does not exist and cannot be created; check the replication factor and the rights";
                return Err(topic.error(what, error));
            }
            partitions(topic, admin, config).await?
        }
    };
    check_policy(topic, admin).await?;
    if topic.storage == Storage::Config && count != 1 {
        return Err(StoreError::Refused(format!(
            "Topic '{}' supplied via the 'config.storage.topic' property is required to have a single partition in order to guarantee consistency of connector configurations, but found {count} partitions.",
            topic.name
        )));
    }
    Ok(count)
}

async fn create(topic: &StorageTopic, admin: &Admin) -> Result<(), Error> {
    let new = NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: topic.configs.clone(),
    };
    admin.create_topic(&new).await
}

/// Waits until the brokers know the topic.
async fn partitions(topic: &StorageTopic, admin: &Admin, config: &ClientConfig) -> Result<i32, StoreError> {
    let deadline = tokio::time::Instant::now() + config.api_timeout;
    loop {
        let found = admin.partition_count(&topic.name).await;
        match found {
            Ok(count) => return Ok(count),
            Err(error) if !error.is_retriable() || tokio::time::Instant::now() > deadline => {
                return Err(topic.error("cannot be found", error));
            }
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn check_policy(topic: &StorageTopic, admin: &Admin) -> Result<(), StoreError> {
    let configs = match admin.topic_configs(&topic.name).await {
        Ok(configs) => configs,
        Err(error) => match error.code() {
            Some(ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed) => {
                tracing::info!(topic = topic.name, "cannot verify that cleanup.policy is compact: {error}");
                return Ok(());
            }
            _ => return Err(topic.error("cannot be described", error)),
        },
    };
    match configs.get(CLEANUP_POLICY).map(|policy| policy.trim()) {
        None | Some(COMPACT) => Ok(()),
        Some(policy) => Err(StoreError::Refused(wrong_policy(topic, policy))),
    }
}

fn wrong_policy(topic: &StorageTopic, policy: &str) -> String {
    let (name, key, content) = (&topic.name, topic.storage.topic_key(), topic.storage.content());
    format!(
        "Topic '{name}' supplied via the '{key}' property is required to have '{CLEANUP_POLICY}={COMPACT}' to guarantee consistency and durability of {content}, but found the topic currently has '{CLEANUP_POLICY}={policy}'. Continuing would likely result in eventually losing {content} and problems restarting this Connect cluster in the future. Change the '{key}' property in the Connect worker configurations to use a topic with '{CLEANUP_POLICY}={COMPACT}'."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(storage: Storage, pairs: &[(&str, &str)]) -> Result<StorageTopic, WorkerConfigError> {
        let properties = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        StorageTopic::from_properties(storage, &properties)
    }

    #[test]
    fn defaults_and_extra_configs() {
        let topic = read(
            Storage::Offset,
            &[
                ("offset.storage.topic", "o"),
                ("offset.storage.cleanup.policy", "delete"),
                ("offset.storage.segment.bytes", "1"),
                ("config.storage.segment.bytes", "2"),
            ],
        )
        .unwrap();
        assert_eq!((topic.partitions, topic.replication_factor), (25, 3));
        let configs: Vec<_> =
            topic.configs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(configs, [("cleanup.policy", "compact"), ("segment.bytes", "1")]);
        let status = read(
            Storage::Status,
            &[("status.storage.topic", "s"), ("status.storage.replication.factor", "-1")],
        );
        assert_eq!(status.unwrap().replication_factor, -1);
    }

    #[test]
    fn bad_values_are_named() {
        let missing = read(Storage::Config, &[]).unwrap_err().to_string();
        assert!(missing.contains("config.storage.topic"), "{missing}");
        let bad = read(Storage::Status, &[("status.storage.topic", "s"), ("status.storage.partitions", "0")]);
        let bad = bad.unwrap_err().to_string();
        assert!(bad.contains("status.storage.partitions") && bad.contains('0'), "{bad}");
    }
}
