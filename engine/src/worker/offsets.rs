//! Offsets of connectors as users see and change them (KIP-875).

use std::sync::Arc;

use aqueduct_protocol::client::Properties;

use super::offset_stores::{self, ConnectorOffsets};
use super::{TaskClient, Worker, task, task_client};
use crate::connector::{AlterOffsets, ConfigMap, ConnectError, ConnectorKind, ConnectorPlugin, OffsetMap};
use crate::herder::{HerderError, OffsetEntry};
use crate::store::{KafkaOffsetStore, StoreError, TransactionalWriter};

impl Worker {
    /// The offsets of a connector: what a source has stored, or what the group of a sink has committed.
    pub async fn offsets(&self, name: &str, config: &ConfigMap) -> Result<Vec<OffsetEntry>, HerderError> {
        if self.kind_of(config)? == ConnectorKind::Sink {
            return self.sink_offsets(name, config).await;
        }
        let listed = self.offset_stores(name, config).await?.all.list(name).await.map_err(unreadable)?;
        Ok(listed.into_iter().map(|(partition, offset)| (partition, Some(offset))).collect())
    }

    /// Changes offsets, or takes all away if none are given. The herder has made sure that the connector is stopped.
    pub async fn alter_offsets(
        &self,
        name: &str,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
        offsets: Option<Vec<OffsetEntry>>,
        transactional_id: Option<&str>,
    ) -> Result<String, HerderError> {
        let reset = offsets.is_none();
        if plugin.kind() == ConnectorKind::Sink {
            let verdict = self.alter_sink_offsets(name, plugin, config, offsets).await?;
            return Ok(done(verdict, reset));
        }
        let stores = self.offset_stores(name, config).await?;
        let offsets = match offsets {
            Some(offsets) => offsets,
            None => {
                let listed = stores.all.list(name).await.map_err(unreadable)?;
                listed.into_iter().map(|(partition, _)| (partition, None)).collect()
            }
        };
        let verdict = self.ask_connector(name, plugin, config, &offsets).await?;
        let written = offsets.into_iter().map(|(partition, offset)| (Arc::new(partition), offset)).collect();
        match transactional_id.zip(stores.topic.as_ref()) {
            None => stores.all.write(name, written).await.map_err(unreadable)?,
            Some((id, topic)) => {
                let internal = |error: ConnectError| HerderError::new(500, error.to_string());
                let config = self.shared.config.providers.resolve(config).await.map_err(internal)?;
                let client =
                    task_client(TaskClient::Producer, &self.shared.config.properties, &config, name, 0);
                write_at_once(&client, id, topic, name, &written).await?;
                if let Some(worker) = &stores.copy {
                    offset_stores::copy(&**worker, name, written).await;
                }
            }
        }
        Ok(done(verdict, reset))
    }

    async fn offset_stores(&self, name: &str, config: &ConfigMap) -> Result<ConnectorOffsets, HerderError> {
        let internal = |error: ConnectError| HerderError::new(500, error.trace());
        let config = self.shared.config.providers.resolve(config).await.map_err(internal)?;
        self.shared.offsets.of(&self.shared.config.properties, &config, name).await.map_err(internal)
    }

    fn kind_of(&self, config: &ConfigMap) -> Result<ConnectorKind, HerderError> {
        let class = config.get("connector.class").map(|class| class.trim()).unwrap_or_default();
        let plugin = self.registry().find(class);
        plugin.map(|plugin| plugin.kind()).ok_or_else(|| {
            HerderError::new(500, format!("connector.class={class}: this worker does not have that class"))
        })
    }

    pub(super) async fn ask_connector(
        &self,
        name: &str,
        plugin: &Arc<dyn ConnectorPlugin>,
        config: &Arc<ConfigMap>,
        offsets: &[(OffsetMap, Option<OffsetMap>)],
    ) -> Result<AlterOffsets, HerderError> {
        let internal = |error: crate::connector::ConnectError| HerderError::new(500, error.to_string());
        let config = self.shared.config.providers.resolve(config).await.map_err(internal)?;
        let (mut connector, offsets) = (plugin.connector(), offsets.to_vec());
        let asked = tokio::spawn(async move { connector.alter_offsets(&config, &offsets).await });
        match asked.await.unwrap_or_else(|panic| Err(task::panicked(panic))).map_err(internal)? {
            AlterOffsets::Unsupported => Err(HerderError::new(
                500,
                format!(
                    "Failed to modify offsets for connector {name} because it doesn't support external modification of offsets"
                ),
            )),
            verdict => Ok(verdict),
        }
    }
}

/// All in one transaction, with the id of the connector's first task: one that still runs is shut out.
async fn write_at_once(
    client: &Properties,
    transactional_id: &str,
    store: &KafkaOffsetStore,
    connector: &str,
    offsets: &[(Arc<OffsetMap>, Option<OffsetMap>)],
) -> Result<(), HerderError> {
    let record = |(partition, offset): &(Arc<OffsetMap>, Option<OffsetMap>)| {
        store.record(connector, partition, offset.as_ref()).map_err(unreadable)
    };
    let records = offsets.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let write = async {
        TransactionalWriter::claim(client, transactional_id).await?.write(store.topic(), &records).await
    };
    write.await.map_err(|error| {
        HerderError::new(500, format!("Failed to modify offsets for connector {connector}: {error}"))
    })
}

fn done(verdict: AlterOffsets, reset: bool) -> String {
    let what = if reset { "reset" } else { "altered" };
    match verdict {
        AlterOffsets::Done => format!("The offsets for this connector have been {what} successfully"),
        _ => format!(
            "The Connect framework-managed offsets for this connector have been {what} successfully. However, if this connector manages offsets externally, they will need to be manually {what} in the system that the connector uses."
        ),
    }
}

fn unreadable(error: StoreError) -> HerderError {
    HerderError::new(500, error.to_string())
}
