//! A validation that tries the connections: to the Kafka clusters of a connector's clients, to the connector's own system.

use std::time::Duration;

use aqueduct_protocol::client::{Client, ClientConfig};

use super::framework::DLQ_TOPIC;
use super::report::ConfigReport;
use super::{TaskClient, Worker, task_client};
use crate::connector::{ConfigMap, ConnectorKind};
use crate::herder::{ConfigPatch, HerderError};

/// How long one connection may take.
const LIMIT: Duration = Duration::from_secs(10);

impl Worker {
    /// The same as [`Worker::report`], and if there is no error so far, whether Kafka and the connector's own system can be
    /// reached: what cannot is an error of the key that leads there. Topics of a sink that do not exist are warnings.
    pub async fn report_connected(&self, config: &ConfigPatch) -> Result<ConfigReport, HerderError> {
        let (plugin, mut report) = self.check(config).await?;
        if !report.errors().is_empty() {
            return Ok(report);
        }
        let given: ConfigMap =
            config.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        let providers = &self.shared.config.providers;
        let internal = |error: crate::connector::ConnectError| HerderError::new(500, error.trace());
        let resolved = providers.resolve(&given).await.map_err(internal)?;
        for client in clients(plugin.kind(), &resolved) {
            if let Err(error) = self.try_client(client, plugin.kind(), &resolved, &mut report).await {
                report.fail(&format!("{}bootstrap.servers", client.override_prefix()), None, error);
            }
        }
        match tokio::time::timeout(LIMIT, plugin.check_connection(&resolved)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.fail(&error.key, None, error.message),
            Err(_) => {
                report.fail("connector.class", None, format!("its system gave no answer within {LIMIT:?}"))
            }
        }
        report.hide(&given, &resolved, &providers.secrets(&given));
        Ok(report)
    }

    async fn try_client(
        &self,
        client: TaskClient,
        kind: ConnectorKind,
        connector: &ConfigMap,
        report: &mut ConfigReport,
    ) -> Result<(), String> {
        let name = connector.get("name").map(String::as_str).unwrap_or_default();
        let properties = task_client(client, &self.shared.config.properties, connector, name, 0);
        let servers = properties.get("bootstrap.servers").cloned().unwrap_or_default();
        let failed = |error: String| format!("Kafka at {servers} cannot be reached: {error}");
        let ask =
            async { Client::connect(ClientConfig::from_properties(&properties)?).await?.all_topics().await };
        let known = match tokio::time::timeout(LIMIT, ask).await {
            Ok(known) => known.map_err(|error| failed(crate::store::chain(&error)))?,
            Err(_) => return Err(failed(format!("no answer within {LIMIT:?}"))),
        };
        if client == TaskClient::Consumer && kind == ConnectorKind::Sink {
            let topics = connector.get("topics").map(String::as_str).unwrap_or_default();
            let topics = topics.split(',').map(str::trim).filter(|topic| !topic.is_empty());
            let missing = topics.filter(|topic| known.topic(topic).is_none());
            report.warnings.extend(missing.map(|topic| format!("topics: {topic} does not exist yet")));
        }
        Ok(())
    }
}

/// The clients that a connector's tasks have.
fn clients(kind: ConnectorKind, connector: &ConfigMap) -> Vec<TaskClient> {
    let letters = connector.get(DLQ_TOPIC).is_some_and(|topic| !topic.trim().is_empty());
    match kind {
        ConnectorKind::Source => vec![TaskClient::Producer],
        ConnectorKind::Sink if letters => vec![TaskClient::Consumer, TaskClient::DlqProducer],
        ConnectorKind::Sink => vec![TaskClient::Consumer],
    }
}
