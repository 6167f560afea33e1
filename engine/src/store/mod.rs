//! Where the worker keeps what must survive it.

#[allow(dead_code)] // the herder on top of it follows
mod config;
mod file;
mod java_map;
#[allow(dead_code)] // the herder on top of it follows
mod kafka_log;
#[allow(dead_code)] // the herder on top of it follows
mod kafka_offsets;
#[allow(dead_code)] // the herder on top of it follows
mod kafka_status;
mod offset_table;
#[allow(dead_code)] // the herder on top of it follows
mod status;
#[allow(dead_code)] // the herder on top of it follows
mod storage_topic;

use std::sync::Arc;

use crate::connector::{BoxFuture, OffsetMap};

pub use file::FileOffsetStore;
pub use java_map::JavaMapError;

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
