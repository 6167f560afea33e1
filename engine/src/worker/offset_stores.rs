//! Where source offsets are: the worker's store, and the topics of connectors that have one of their own
//! (`offsets.storage.topic`), or that write to another cluster than the worker's.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use aqueduct_protocol::client::Properties;

use super::client_config::{TaskClient, is_connection_key, task_client};
use super::framework::OFFSETS_TOPIC;
use crate::connector::{BoxFuture, ConfigMap, ConnectError, OffsetMap};
use crate::store::{KafkaOffsetStore, OffsetStore, StorageTopic, StoreError};

/// Client and topic of an open store, and the store while somebody has it.
type Known = HashMap<(Vec<(String, String)>, String), Weak<KafkaOffsetStore>>;

/// The worker's store and those of its connectors.
pub struct OffsetStores {
    worker: Arc<dyn OffsetStore>,
    /// The worker's store, where it is a topic.
    topic: Option<Arc<KafkaOffsetStore>>,
    /// Whether offsets are written in transactions, so that those of open ones must not be seen.
    read_committed: bool,
    known: tokio::sync::Mutex<Known>,
}

impl<S: OffsetStore + 'static> From<Arc<S>> for OffsetStores {
    fn from(store: Arc<S>) -> OffsetStores {
        OffsetStores {
            worker: store,
            topic: None,
            read_committed: false,
            known: tokio::sync::Mutex::default(),
        }
    }
}

/// The offsets of one connector.
pub(super) struct ConnectorOffsets {
    /// What to read and write.
    pub(super) all: Arc<dyn OffsetStore>,
    /// The topic that comes first: to be written in a task's transaction.
    pub(super) topic: Option<Arc<KafkaOffsetStore>>,
    /// The worker's, if that is another one: it gets a copy.
    pub(super) copy: Option<Arc<dyn OffsetStore>>,
}

impl OffsetStores {
    /// Those of a distributed worker.
    pub(crate) fn in_topic(store: Arc<KafkaOffsetStore>, read_committed: bool) -> OffsetStores {
        OffsetStores {
            worker: Arc::clone(&store) as _,
            topic: Some(store),
            read_committed,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// Where a connector's offsets are. A topic of its own is created if it is missing, and read whole.
    pub(super) async fn of(
        &self,
        worker: &ConfigMap,
        connector: &ConfigMap,
        name: &str,
    ) -> Result<ConnectorOffsets, ConnectError> {
        let Some((topic, client)) = self.own_topic(worker, connector, name) else {
            return Ok(ConnectorOffsets {
                all: Arc::clone(&self.worker),
                topic: self.topic.clone(),
                copy: None,
            });
        };
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            ConnectError::fatal(format!("{OFFSETS_TOPIC}={topic}: the connector's offsets cannot be read"))
                .caused_by(error)
        };
        let key: Vec<(String, String)> =
            client.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let key = (key, topic.clone());
        let mut known = self.known.lock().await;
        known.retain(|_, store| store.strong_count() > 0);
        let own = match known.get(&key).and_then(Weak::upgrade) {
            Some(store) => store,
            None => {
                let storage = StorageTopic::of_connector(&topic, worker, self.topic.is_some());
                let storage = storage.map_err(|error| failed(error.into()))?;
                let opened = KafkaOffsetStore::open(storage, &client, self.read_committed).await;
                let store = Arc::new(opened.map_err(|error| failed(error.into()))?);
                known.insert(key, Arc::downgrade(&store));
                store
            }
        };
        Ok(ConnectorOffsets {
            all: Arc::new(Layered { own: Arc::clone(&own), worker: Arc::clone(&self.worker) }),
            topic: Some(own),
            copy: Some(Arc::clone(&self.worker)),
        })
    }

    /// Topic and client where the worker's topic is not the connector's. The client is the producer's: what writes the
    /// connector's records may write its offsets.
    fn own_topic(
        &self,
        worker: &ConfigMap,
        connector: &ConfigMap,
        name: &str,
    ) -> Option<(String, Properties)> {
        let wanted = connector.get(OFFSETS_TOPIC).map(|topic| topic.trim()).filter(|topic| !topic.is_empty());
        let mut client = task_client(TaskClient::Producer, worker, connector, name, 0);
        client.retain(|key, _| is_connection_key(key));
        let elsewhere = client.get("bootstrap.servers") != worker.get("bootstrap.servers");
        let shared = self.topic.as_ref().map(|store| store.topic());
        let topic = match wanted {
            Some(topic) if Some(topic) == shared && !elsewhere => return None,
            Some(topic) => topic,
            // records and offsets have to be in one cluster to be in one transaction
            None if elsewhere && self.read_committed => shared?,
            None => return None,
        };
        client.insert("client.id".to_owned(), format!("connector-offset-{name}"));
        Some((topic.to_owned(), client))
    }
}

/// A connector's own topic before the worker's store.
struct Layered {
    own: Arc<KafkaOffsetStore>,
    worker: Arc<dyn OffsetStore>,
}

impl OffsetStore for Layered {
    fn read<'a>(
        &'a self,
        connector: &'a str,
        partitions: &'a [OffsetMap],
    ) -> BoxFuture<'a, Result<Vec<Option<OffsetMap>>, StoreError>> {
        Box::pin(async move {
            let own = self.own.read(connector, partitions).await?;
            if own.iter().all(Option::is_some) {
                return Ok(own);
            }
            let worker = self.worker.read(connector, partitions).await?;
            Ok(own.into_iter().zip(worker).map(|(own, worker)| own.or(worker)).collect())
        })
    }

    /// Tombstones go to the worker's first: an old offset of the worker's must not come to light when only the own one is gone.
    fn write<'a>(
        &'a self,
        connector: &'a str,
        offsets: Vec<(Arc<OffsetMap>, Option<OffsetMap>)>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let gone: Vec<_> = offsets.iter().filter(|(_, offset)| offset.is_none()).cloned().collect();
            if !gone.is_empty() {
                self.worker.write(connector, gone).await?;
            }
            let kept: Vec<_> = offsets.iter().filter(|(_, offset)| offset.is_some()).cloned().collect();
            self.own.write(connector, offsets).await?;
            if !kept.is_empty() {
                copy(&*self.worker, connector, kept).await;
            }
            Ok(())
        })
    }

    fn list<'a>(
        &'a self,
        connector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(OffsetMap, OffsetMap)>, StoreError>> {
        Box::pin(async move {
            let mut all = self.own.list(connector).await?;
            for (partition, offset) in self.worker.list(connector).await? {
                if !all.iter().any(|(known, _)| *known == partition) {
                    all.push((partition, offset));
                }
            }
            Ok(all)
        })
    }
}

/// Writes a copy to the worker's store: one that fails is only told of, the connector's own topic has the offsets.
pub(super) async fn copy(
    worker: &dyn OffsetStore,
    connector: &str,
    offsets: Vec<(Arc<OffsetMap>, Option<OffsetMap>)>,
) {
    if let Err(error) = worker.write(connector, offsets).await {
        tracing::warn!(
            connector,
            "the worker's offset store has no copy of what the connector's own topic has: {}",
            crate::store::chain(&error)
        );
    }
}
