//! Statuses in `status.storage.topic`.

use std::sync::Arc;

use aqueduct_protocol::client::Properties;
use parking_lot::RwLock;

use super::StoreError;
use super::kafka_log::{KafkaLog, LogReader, LogRecord};
use super::status::{KnownStatus, StatusCache, StatusRecord};
use super::storage_topic::StorageTopic;

/// The statuses of the whole group: written by each worker for what it runs, read by all.
pub(crate) struct KafkaStatusStore {
    topic: StorageTopic,
    cache: Arc<RwLock<StatusCache>>,
    log: KafkaLog,
}

/// The reading side.
struct Reader(Arc<RwLock<StatusCache>>, String);

impl LogReader for Reader {
    fn read(&mut self, records: &mut dyn Iterator<Item = LogRecord<'_>>) {
        let mut cache = self.0.write();
        for record in records {
            match StatusRecord::decode(record.key, record.value) {
                Some(status) => cache.apply(status),
                None => tracing::warn!(
                    topic = self.1,
                    partition = record.partition,
                    offset = record.offset,
                    "a record that is no status is passed over"
                ),
            }
        }
    }
}

impl KafkaStatusStore {
    /// Creates the topic if it is missing, and reads it whole.
    pub(crate) async fn open(
        topic: StorageTopic,
        client: &Properties,
    ) -> Result<KafkaStatusStore, StoreError> {
        let cache = Arc::new(RwLock::new(StatusCache::default()));
        let reader = Reader(Arc::clone(&cache), topic.name.clone());
        let log = KafkaLog::open(&topic, client, false, reader).await?;
        Ok(KafkaStatusStore { topic, cache, log })
    }

    /// Looks at what is known of a connector.
    pub(crate) fn with<T>(&self, connector: &str, look: impl FnOnce(Option<&KnownStatus>) -> T) -> T {
        look(self.cache.read().get(connector))
    }

    /// The connectors that something is known of.
    pub(crate) fn connectors(&self) -> Vec<Arc<str>> {
        self.cache.read().iter().map(|(connector, _)| Arc::clone(connector)).collect()
    }

    /// Writes statuses together.
    pub(crate) async fn put(&self, records: &[StatusRecord]) -> Result<(), StoreError> {
        let encode = |record: &StatusRecord| {
            let (key, value) = record.encode();
            (key.into_bytes(), value)
        };
        let records: Vec<_> = records.iter().map(encode).collect();
        self.log.append(&records).await.map_err(|error| self.topic.error("cannot be written", error))
    }
}
