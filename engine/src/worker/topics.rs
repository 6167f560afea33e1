//! Creates the topics of a source before the first record goes to them.

use std::sync::Arc;

use aqueduct_protocol::ErrorCode;
use aqueduct_protocol::client::{Admin, Client, ClientConfig, NewTopic};

use super::client_config::{TaskClient, task_client};
use super::task::TaskRun;
use super::topic_creation::TopicCreation;
use crate::connector::{ConfigMap, ConnectError};

/// Creates each topic once per task, by the connector's `topic.creation.*`.
pub(super) struct TopicCreator {
    rules: TopicCreation,
    client: ConfigMap,
    /// Made at the first topic.
    admin: Option<Admin>,
    connector: Arc<str>,
    task: usize,
}

impl TopicCreator {
    /// None if the worker or the connector does not create topics.
    pub(super) fn for_source(run: &TaskRun) -> Result<Option<TopicCreator>, ConnectError> {
        let Some(rules) =
            TopicCreation::from_config(run.shared.config.topic_creation, &run.connector_config)?
        else {
            return Ok(None);
        };
        let (connector, task) = (Arc::clone(&run.id.connector), run.id.task);
        let client = task_client(
            TaskClient::Admin,
            &run.shared.config.properties,
            &run.connector_config,
            &connector,
            task,
        );
        Ok(Some(TopicCreator { rules, client, admin: None, connector, task }))
    }

    /// Creates the topic if it is missing. A broker that does not allow that is left to create it by itself, or not.
    pub(super) async fn ensure(&mut self, topic: &str) -> Result<(), ConnectError> {
        let Some(settings) = self.rules.settings(topic) else { return Ok(()) };
        let failed = |error| {
            ConnectError::fatal(format!("topic {topic}: cannot be created as topic.creation.* asks"))
                .caused_by(error)
        };
        let admin = match &mut self.admin {
            Some(admin) => admin,
            slot => {
                let config = ClientConfig::for_admin(&self.client).map_err(failed)?;
                slot.insert(Admin::new(Client::connect(config).await.map_err(failed)?))
            }
        };
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: settings.partitions,
            replication_factor: settings.replication_factor,
            configs: settings.configs.clone(),
        };
        match admin.create_topic(&new).await {
            Ok(()) => {
                tracing::info!(connector = &*self.connector, task = self.task, topic, "created the topic")
            }
            Err(error) => match error.code() {
                Some(ErrorCode::TopicAlreadyExists) => {}
                Some(
                    ErrorCode::TopicAuthorizationFailed
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::UnsupportedVersion,
                ) => {
                    tracing::warn!(
                        connector = &*self.connector,
                        task = self.task,
                        topic,
                        "not allowed to create the topic; the broker may do it: {error}"
                    );
                }
                _ => return Err(failed(error)),
            },
        }
        Ok(())
    }
}
