//! Offsets of a sink: those that its consumer group has committed.

use std::sync::Arc;

use aqueduct_protocol::client::{Admin, Client, ClientConfig};
use serde_json::{Value, json};

use super::Worker;
use super::client_config::{TaskClient, task_client};
use crate::connector::{AlterOffsets, ConfigMap, ConnectError, ConnectorPlugin, OffsetMap, TopicPartition};
use crate::herder::{HerderError, OffsetEntry};

const TOPIC: &str = "kafka_topic";
const PARTITION: &str = "kafka_partition";
const OFFSET: &str = "kafka_offset";

/// What is asked of one partition; none takes the offset away.
type Wanted = (TopicPartition, Option<i64>);

impl Worker {
    pub(super) async fn sink_offsets(
        &self,
        name: &str,
        config: &ConfigMap,
    ) -> Result<Vec<OffsetEntry>, HerderError> {
        let (admin, group) = self.sink_group(name, config).await?;
        let committed = admin.group_offsets(&group).await.map_err(|error| {
            tracing::error!(connector = name, "reading the offsets of group {group}: {error}");
            HerderError::new(
                500,
                format!("Failed to retrieve consumer group offsets for sink connector {name}"),
            )
        })?;
        Ok(committed.into_iter().map(|(partition, offset)| entry(&partition, Some(offset))).collect())
    }

    pub(super) async fn alter_sink_offsets(
        &self,
        name: &str,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
        offsets: Option<Vec<OffsetEntry>>,
    ) -> Result<AlterOffsets, HerderError> {
        let Some(offsets) = offsets else { return self.reset_sink_offsets(name, plugin, config).await };
        let wanted = offsets.iter().map(parse).collect::<Result<Vec<Wanted>, HerderError>>()?;
        let entries: Vec<OffsetEntry> = wanted.iter().map(|(name, offset)| entry(name, *offset)).collect();
        let verdict = self.ask_connector(name, plugin, config, &entries).await?;
        if wanted.iter().any(|(_, offset)| offset.is_some_and(|offset| offset < 0)) {
            let message = format!("Failed to modify offsets for sink connector {name}");
            return Err(HerderError::new(500, message));
        }
        let (admin, group) = self.sink_group(name, config).await?;
        let altered: Vec<(TopicPartition, i64)> =
            wanted.iter().filter_map(|(name, offset)| Some((name.clone(), (*offset)?))).collect();
        let removed: Vec<TopicPartition> =
            wanted.iter().filter(|(_, offset)| offset.is_none()).map(|(name, _)| name.clone()).collect();
        let failed = |what: &str, error: aqueduct_protocol::Error| {
            tracing::error!(connector = name, "offsets of group {group}: {error}");
            let remedy = if is_in_use(&error) {
                " either because its tasks haven't stopped completely yet or the resources it uses are held by another client. If the connector has been stopped for a while, try again later."
            } else {
                ""
            };
            HerderError::new(
                500,
                format!("Failed to {what} consumer group offsets for connector {name}{remedy}"),
            )
        };
        if !altered.is_empty() {
            for (partition, _) in &altered {
                self.topic_exists(&admin, partition).await.map_err(|error| failed("alter", error))?;
            }
            admin.alter_group_offsets(&group, &altered).await.map_err(|error| failed("alter", error))?;
        }
        if !removed.is_empty() {
            admin.delete_group_offsets(&group, &removed).await.map_err(|error| failed("delete", error))?;
        }
        Ok(verdict)
    }

    /// A broker takes offsets of partitions that do not exist; a typing mistake would go unnoticed.
    async fn topic_exists(
        &self,
        admin: &Admin,
        partition: &TopicPartition,
    ) -> Result<(), aqueduct_protocol::Error> {
        admin.end_offsets(std::slice::from_ref(partition), false).await.map(drop)
    }

    async fn reset_sink_offsets(
        &self,
        name: &str,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
    ) -> Result<AlterOffsets, HerderError> {
        let all: Vec<OffsetEntry> = self
            .sink_offsets(name, config)
            .await?
            .into_iter()
            .map(|(partition, _)| (partition, None))
            .collect();
        let verdict = self.ask_connector(name, plugin, config, &all).await?;
        let (admin, group) = self.sink_group(name, config).await?;
        admin.delete_group(&group).await.map_err(|error| {
            tracing::error!(connector = name, "deleting group {group}: {error}");
            HerderError::new(
                500,
                format!("Failed to reset consumer group offsets for connector {name}: {error}"),
            )
        })?;
        Ok(verdict)
    }

    /// An admin client as the connector's own, and the group of its tasks' consumers.
    async fn sink_group(&self, name: &str, config: &ConfigMap) -> Result<(Admin, String), HerderError> {
        let internal = |error: ConnectError| HerderError::new(500, error.to_string());
        let resolved = self.shared.config.providers.resolve(config).await.map_err(internal)?;
        let worker = &self.shared.config.properties;
        let group = task_client(TaskClient::Consumer, worker, &resolved, name, 0).swap_remove("group.id");
        let client = task_client(TaskClient::Admin, worker, &resolved, name, 0);
        let failed = |error: aqueduct_protocol::Error| {
            HerderError::new(500, format!("No connection to the cluster of sink connector {name}: {error}"))
        };
        let client = Client::connect(ClientConfig::for_admin(&client).map_err(failed)?).await;
        Ok((Admin::new(client.map_err(failed)?), group.unwrap_or_else(|| format!("connect-{name}"))))
    }
}

/// Whether members of the group are in the way.
fn is_in_use(error: &aqueduct_protocol::Error) -> bool {
    use aqueduct_protocol::ErrorCode;
    matches!(
        error.code(),
        Some(ErrorCode::UnknownMemberId | ErrorCode::NonEmptyGroup | ErrorCode::GroupSubscribedToTopic)
    )
}

fn entry(name: &TopicPartition, offset: Option<i64>) -> OffsetEntry {
    let mut partition = OffsetMap::new();
    partition.insert(PARTITION.to_owned(), json!(name.partition));
    partition.insert(TOPIC.to_owned(), json!(&*name.topic));
    let offset = offset.map(|offset| [(OFFSET.to_owned(), json!(offset))].into_iter().collect());
    (partition, offset)
}

fn parse((partition, offset): &OffsetEntry) -> Result<Wanted, HerderError> {
    let bad = |message: String| HerderError::new(400, message);
    let (Some(topic), Some(number)) = (partition.get(TOPIC), partition.get(PARTITION)) else {
        let keys = format!("'{TOPIC}' and '{PARTITION}'");
        return Err(bad(format!("The partition for a sink connector offset must contain the keys {keys}")));
    };
    let topic = match topic {
        Value::Null => {
            return Err(bad("Kafka topic names must be valid strings and may not be null".to_owned()));
        }
        Value::String(topic) => topic.clone(),
        other => other.to_string(),
    };
    if number.is_null() {
        return Err(bad("Kafka partitions must be valid numbers and may not be null".to_owned()));
    }
    let number = integer(number).and_then(|number| i32::try_from(number).ok()).ok_or_else(|| {
        bad(format!(
            "Failed to parse the following Kafka partition value in the provided offsets: '{}'. Partition values for sink connectors need to be integers.",
            plain(number)
        ))
    })?;
    let name = TopicPartition::new(topic, number);
    let Some(offset) = offset else { return Ok((name, None)) };
    let Some(value) = offset.get(OFFSET) else {
        return Err(bad(format!(
            "The offset for a sink connector should either be null or contain the key '{OFFSET}'"
        )));
    };
    let offset = integer(value).ok_or_else(|| {
        bad(format!(
            "Failed to parse the following Kafka offset value in the provided offsets: '{}'. Offset values for sink connectors need to be integers.",
            plain(value)
        ))
    })?;
    Ok((name, Some(offset)))
}

/// A number, or text that is one.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_in_both_spellings() {
        let wanted = |partition: Value, offset: Value| {
            let map = |value: Value| value.as_object().cloned();
            parse(&(map(partition).unwrap(), map(offset)))
        };
        let partition = json!({"kafka_topic": "t", "kafka_partition": "3"});
        let (name, offset) = wanted(partition.clone(), json!({"kafka_offset": "7"})).unwrap();
        assert_eq!((&*name.topic, name.partition, offset), ("t", 3, Some(7)));
        assert_eq!(wanted(partition.clone(), Value::Null).unwrap().1, None);
        for (partition, offset, text) in [
            (json!({"kafka_topic": "t"}), json!({"kafka_offset": 1}), "must contain the keys"),
            (
                json!({"kafka_topic": null, "kafka_partition": 1}),
                json!({"kafka_offset": 1}),
                "may not be null",
            ),
            (json!({"kafka_topic": "t", "kafka_partition": "x"}), Value::Null, "'x'"),
            (partition.clone(), json!({"x": 1}), "should either be null"),
            (partition, json!({"kafka_offset": 1.5}), "'1.5'"),
        ] {
            let error = wanted(partition, offset).unwrap_err();
            assert!(error.status == 400 && error.message.contains(text), "{error}");
        }
    }
}
