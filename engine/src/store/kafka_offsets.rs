//! Source offsets in `offset.storage.topic`.

use std::sync::Arc;

use aqueduct_protocol::client::Properties;
use parking_lot::Mutex;

use super::kafka_log::{KafkaLog, LogReader, LogRecord};
use super::offset_table::{OffsetTable, encode_value};
use super::storage_topic::StorageTopic;
use super::transactional::KeyValue;
use super::{OffsetStore, StoreError};
use crate::connector::{BoxFuture, OffsetMap};

/// Offsets in the worker's compacted topic, in the JVM's records. What other workers write is seen at the next read, which
/// first reads the topic to its end.
pub struct KafkaOffsetStore {
    topic: StorageTopic,
    table: Arc<Mutex<OffsetTable>>,
    log: KafkaLog,
}

/// The reading side.
struct Reader(Arc<Mutex<OffsetTable>>, String);

impl LogReader for Reader {
    fn read(&mut self, records: &mut dyn Iterator<Item = LogRecord<'_>>) {
        let mut table = self.0.lock();
        for record in records {
            let known =
                record.key.is_some_and(|key| table.insert(key.to_vec(), record.value.map(<[u8]>::to_vec)));
            if !known {
                tracing::warn!(
                    topic = self.1,
                    partition = record.partition,
                    offset = record.offset,
                    "a record that is no source offset is passed over"
                );
            }
        }
    }
}

impl KafkaOffsetStore {
    /// Creates the topic if it is missing, and reads it whole.
    pub(crate) async fn open(
        topic: StorageTopic,
        client: &Properties,
        read_committed: bool,
    ) -> Result<KafkaOffsetStore, StoreError> {
        let table = Arc::new(Mutex::new(OffsetTable::default()));
        let reader = Reader(Arc::clone(&table), topic.name.clone());
        let log = KafkaLog::open(&topic, client, read_committed, reader).await?;
        Ok(KafkaOffsetStore { topic, table, log })
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic.name
    }

    /// The record that an offset is, for producers that write it in a transaction of theirs.
    pub(crate) fn record(
        &self,
        connector: &str,
        partition: &OffsetMap,
        offset: Option<&OffsetMap>,
    ) -> Result<KeyValue, StoreError> {
        let value = offset.map(|offset| encode_value(connector, offset)).transpose()?;
        Ok((self.table.lock().key(connector, partition), value))
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        self.log.read_to_end().await.map_err(|error| self.topic.error("cannot be read to its end", error))
    }
}

impl OffsetStore for KafkaOffsetStore {
    fn read<'a>(
        &'a self,
        connector: &'a str,
        partitions: &'a [OffsetMap],
    ) -> BoxFuture<'a, Result<Vec<Option<OffsetMap>>, StoreError>> {
        Box::pin(async move {
            self.refresh().await?;
            let table = self.table.lock();
            Ok(partitions.iter().map(|partition| table.offset(connector, partition)).collect())
        })
    }

    fn write<'a>(
        &'a self,
        connector: &'a str,
        offsets: Vec<(Arc<OffsetMap>, Option<OffsetMap>)>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let record = |(partition, offset): &(Arc<OffsetMap>, Option<OffsetMap>)| {
                self.record(connector, partition, offset.as_ref())
            };
            let records = offsets.iter().map(record).collect::<Result<Vec<_>, _>>()?;
            let written = self.log.append(&records).await;
            written.map_err(|error| self.topic.error("cannot be written", error))
        })
    }

    fn list<'a>(
        &'a self,
        connector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(OffsetMap, OffsetMap)>, StoreError>> {
        Box::pin(async move {
            self.refresh().await?;
            Ok(self.table.lock().list(connector))
        })
    }
}
