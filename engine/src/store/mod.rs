//! Where the worker keeps what must survive it.

mod config;
mod file;
mod java_map;
mod kafka_log;
mod kafka_offsets;
mod kafka_status;
mod offset_table;
mod status;
mod storage_topic;
mod transactional;

use std::sync::Arc;

use crate::connector::{BoxFuture, OffsetMap};

pub(crate) use config::{
    ClusterConfig, ConfigRecord, ConfigStore, ConnectorConfig, RestartRequest, SessionKey,
};
pub use file::FileOffsetStore;
pub use java_map::JavaMapError;
pub use kafka_offsets::KafkaOffsetStore;
pub(crate) use kafka_status::KafkaStatusStore;
pub(crate) use status::{KnownStatus, StatusRecord, TopicSeen, WorkerStatus, may_write_safely};
pub(crate) use storage_topic::{Storage, StorageTopic};
pub(crate) use transactional::{TransactionalWriter, fence};

/// An error of a store: what could not be read or written, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file could not be read or written.
    #[error(
        "offset.storage.file.filename={path}: cannot {action} the offset file; check that the folder exists and is writable"
    )]
    Io {
        /// The file as configured.
        path: String,
        /// `read` or `write`.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what a Connect worker writes.
    #[error(
        "offset.storage.file.filename={path}: this is not an offset file of Kafka Connect; name another file, or move this one away to start without offsets"
    )]
    Format {
        /// The file as configured.
        path: String,
        /// Where it goes wrong.
        #[source]
        source: JavaMapError,
    },
    /// A topic of the worker's could not be used.
    #[error("{key}={topic}: the topic {what}")]
    Topic {
        /// The worker's key that names it.
        key: &'static str,
        /// The topic.
        topic: String,
        /// What went wrong.
        what: &'static str,
        /// What the client said.
        #[source]
        source: aqueduct_protocol::Error,
    },
    /// A topic that exists, but is not kept as it has to be.
    #[error("{0}")]
    Refused(String),
    /// An offset that Connect cannot store: only maps of primitives are allowed.
    #[error(
        "connector {connector}: the offset value of field '{field}' is not a string, number, boolean or null"
    )]
    NotPrimitive {
        /// The connector that gave the offset.
        connector: String,
        /// The offending member.
        field: String,
    },
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Source offsets: for each connector a map from source partition to source offset.
///
/// Keys are compared as Connect's JSON bytes first, then by content, so that offsets written by the JVM are found
/// whatever the order of their members.
pub trait OffsetStore: Send + Sync {
    /// The offsets last written for the partitions, in their order.
    fn read<'a>(
        &'a self,
        connector: &'a str,
        partitions: &'a [OffsetMap],
    ) -> BoxFuture<'a, Result<Vec<Option<OffsetMap>>, StoreError>>;

    /// Makes the offsets durable before it resolves; `None` is a tombstone.
    fn write<'a>(
        &'a self,
        connector: &'a str,
        offsets: Vec<(Arc<OffsetMap>, Option<OffsetMap>)>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Every partition of the connector that has an offset.
    fn list<'a>(
        &'a self,
        connector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(OffsetMap, OffsetMap)>, StoreError>>;
}
