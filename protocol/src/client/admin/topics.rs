//! Topics: created, described, widened, deleted.

use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};

use super::{Admin, unanswered};
use crate::client::messages::{check_said, text, topic_name};
use crate::client::{Properties, TopicMetadata};
use crate::{Error, ErrorCode, Result};

/// Versions that name topics and take defaults of the broker for -1.
const CREATE_TOPICS: std::ops::RangeInclusive<i16> = 4..=7;
const DELETE_TOPICS: std::ops::RangeInclusive<i16> = 1..=5;
const CREATE_PARTITIONS: std::ops::RangeInclusive<i16> = 0..=3;

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

impl Admin {
    /// Creates one topic, and waits until the controller has it.
    ///
    /// # Errors
    /// [`ErrorCode::TopicAlreadyExists`] among others, with the broker's own message.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let config = |(name, value): (&String, &String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let creatable = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(topic.configs.iter().map(config).collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(self.timeout_ms());
        let answer = self.ask_controller(request, CREATE_TOPICS).await?;
        let what = || format!("creating topic {}", topic.name);
        let result = answer.topics.first().ok_or_else(|| unanswered(format_args!("{}", what())))?;
        check_said(result.error_code, result.error_message.as_deref(), what)
    }

    /// Deletes topics; one that is not there is no error.
    ///
    /// # Errors
    /// The first topic that could not be deleted.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<()> {
        let names = topics.iter().map(|topic| topic_name(topic)).collect();
        let request =
            DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(self.timeout_ms());
        let answer = self.ask_controller(request, DELETE_TOPICS).await?;
        for result in &answer.responses {
            if ErrorCode::try_from_code(result.error_code) == Some(ErrorCode::UnknownTopicOrPartition) {
                continue;
            }
            let name = result.name.as_ref().map(|name| name.as_str()).unwrap_or_default();
            check_said(result.error_code, result.error_message.as_deref(), || {
                format!("deleting topic {name}")
            })?;
        }
        Ok(())
    }

    /// Topics as a broker has them now, in the order of `topics`: each with its partitions, or why there is nothing to tell.
    ///
    /// # Errors
    /// If no broker could be asked.
    pub async fn describe_topics(&self, topics: &[&str]) -> Result<Vec<Result<Arc<TopicMetadata>>>> {
        let found = self.client.topics_now(topics).await?.topics;
        let of = |name: &&str| match found.get(*name) {
            None => Err(unanswered(format_args!("describing topic {name}"))),
            Some(topic) => match topic.error {
                None => Ok(Arc::clone(topic)),
                Some(code) => Err(Error::broker(code, format_args!("topic {name}"))),
            },
        };
        Ok(topics.iter().map(of).collect())
    }

    /// How many partitions a topic has, as a broker says now.
    ///
    /// # Errors
    /// If it does not exist, is not known yet (retriable), or may not be described.
    pub async fn partition_count(&self, topic: &str) -> Result<i32> {
        let found = self.describe_topics(&[topic]).await?.pop();
        let found = found.unwrap_or_else(|| Err(unanswered(format_args!("topic {topic}"))))?;
        match found.partitions.len() {
            0 => Err(Error::broker(ErrorCode::UnknownTopicOrPartition, format_args!("topic {topic}"))),
            count => Ok(count as i32),
        }
    }

    /// Gives a topic more partitions: `total` is how many it has then.
    ///
    /// # Errors
    /// If it has as many already, or does not exist, among others, with the broker's own message.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<()> {
        let wanted = CreatePartitionsTopic::default().with_name(topic_name(topic)).with_count(total);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![wanted.with_assignments(None)])
            .with_timeout_ms(self.timeout_ms());
        let answer = self.ask_controller(request, CREATE_PARTITIONS).await?;
        let what = || format!("giving topic {topic} {total} partitions");
        let result = answer.results.first().ok_or_else(|| unanswered(format_args!("{}", what())))?;
        check_said(result.error_code, result.error_message.as_deref(), what)
    }

    /// How long the controller may take.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
