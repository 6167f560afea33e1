//! What Connect asks of a cluster's administration.

mod group_offsets;
mod logs;

use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest, GroupId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Client, CoordinatorKind, NodeTarget, Properties};
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Versions that name topics and take defaults of the broker for -1.
const CREATE_TOPICS: std::ops::RangeInclusive<i16> = 4..=7;
const DELETE_TOPICS: std::ops::RangeInclusive<i16> = 1..=5;
const DELETE_GROUPS: std::ops::RangeInclusive<i16> = 0..=2;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; -1 for the broker's default.
    pub partitions: i32,
    /// Number of replicas; -1 for the broker's default.
    pub replication_factor: i16,
    /// Topic configs.
    pub configs: Properties,
}

/// Administration of a cluster.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Uses the client's connections.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// If no broker could be asked.
    pub async fn cluster_id(&self) -> Result<Option<String>> {
        Ok(self.client.all_topics().await?.cluster_id.clone())
    }

    /// Creates one topic, and waits until the controller has it.
    ///
    /// # Errors
    /// [`ErrorCode::TopicAlreadyExists`] among others, with the broker's own message.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let config = |(name, value): (&String, &String)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        };
        let creatable = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.name.clone())))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(topic.configs.iter().map(config).collect());
        let timeout = self.client.config().request_timeout;
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable])
            .with_timeout_ms(timeout.as_millis() as i32);
        let answer = self.ask_controller(request, CREATE_TOPICS).await?;
        let Some(result) = answer.topics.first() else {
            return Err(unanswered(format_args!("creating topic {}", topic.name)));
        };
        match (ErrorCode::try_from_code(result.error_code), &result.error_message) {
            (None, _) => Ok(()),
            (Some(code), Some(message)) => {
                Err(Error::broker(code, format_args!("creating topic {}: {message}", topic.name)))
            }
            (Some(code), None) => Err(Error::broker(code, format_args!("creating topic {}", topic.name))),
        }
    }

    /// Deletes topics; one that is not there is no error.
    ///
    /// # Errors
    /// The first topic that could not be deleted.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<()> {
        let names =
            topics.iter().map(|topic| TopicName(StrBytes::from_string((*topic).to_owned()))).collect();
        let timeout = self.client.config().request_timeout;
        let request = DeleteTopicsRequest::default()
            .with_topic_names(names)
            .with_timeout_ms(timeout.as_millis() as i32);
        let answer = self.ask_controller(request, DELETE_TOPICS).await?;
        for result in &answer.responses {
            match ErrorCode::try_from_code(result.error_code) {
                None | Some(ErrorCode::UnknownTopicOrPartition) => {}
                Some(code) => {
                    let name = result.name.as_ref().map(|name| name.as_str()).unwrap_or_default();
                    return Err(Error::broker(code, format_args!("deleting topic {name}")));
                }
            }
        }
        Ok(())
    }

    /// Deletes a group and its offsets; one that is not there is no error.
    ///
    /// # Errors
    /// If the group still has members, among others.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let coordinator = self.client.coordinator(CoordinatorKind::Group, group).await?;
        let names = vec![GroupId(StrBytes::from_string(group.to_owned()))];
        let request = DeleteGroupsRequest::default().with_groups_names(names);
        let answer =
            self.client.send_versioned(NodeTarget::Id(coordinator), request, DELETE_GROUPS, None).await?;
        let Some(result) = answer.results.first() else {
            return Err(unanswered(format_args!("deleting group {group}")));
        };
        match ErrorCode::try_from_code(result.error_code) {
            None | Some(ErrorCode::GroupIdNotFound) => Ok(()),
            Some(code) => Err(Error::broker(code, format_args!("deleting group {group}"))),
        }
    }

    /// The controller may have moved: it is asked again where that helps, within `default.api.timeout.ms`.
    async fn ask_controller<R>(
        &self,
        request: R,
        versions: std::ops::RangeInclusive<i16>,
    ) -> Result<R::Response>
    where
        R: kafka_protocol::protocol::Request + Clone,
    {
        let deadline = tokio::time::Instant::now() + self.client.config().api_timeout;
        let mut backoff: Duration = self.client.config().retry_backoff.0;
        loop {
            let answer = self
                .client
                .send_versioned(NodeTarget::Controller, request.clone(), versions.clone(), None)
                .await;
            match answer {
                Err(error) if error.is_retriable() && error.kind() != ErrorKind::Timeout => {
                    if tokio::time::Instant::now() + backoff > deadline {
                        return Err(error);
                    }
                    self.client.request_metadata_update();
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(self.client.config().retry_backoff.1);
                }
                answer => return answer,
            }
        }
    }
}

/// The error for an answer that says nothing of what was asked.
fn unanswered(what: std::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Protocol, format!("{what}: the broker's answer does not mention it"))
}
