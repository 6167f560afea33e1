//! What a connector is: the traits that connectors implement and the worker runs.
//!
//! A connector of this repository uses nothing that a user's own crate could not. Everything that touches data is called
//! once per batch, never per record; a future is boxed once per batch at most.

mod context;
mod stop;
mod task;
mod tls;
mod transaction;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use aqueduct_protocol::wire::TopicPartition;
pub use context::{ConnectorContext, ConnectorEvent};
pub use stop::StopSignal;
pub use task::{
    AlterOffsets, Connector, ConnectorPlugin, Durability, ExactlyOnceSupport, FailedRecord, OffsetReader,
    Positions, PutOutcome, Registry, SinkTask, SinkTaskContext, SourceTask, SourceTaskContext, Task, Ticket,
};
pub use tls::tls_client;
pub(crate) use transaction::TransactionEnd;
pub use transaction::{ConnectorTransactionBoundaries, TransactionContext};

/// A boxed future that may borrow from its task.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub use crate::config::ConfigMap;
pub use crate::data::OffsetMap;

/// Source or sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorKind {
    /// From a system into Kafka.
    Source,
    /// From Kafka into a system.
    Sink,
}

impl ConnectorKind {
    /// The word that the REST API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectorKind::Source => "source",
            ConnectorKind::Sink => "sink",
        }
    }
}

/// What the worker may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// The same call may succeed later: the worker waits and repeats it (a sink gets the same batch again).
    Retriable,
    /// Repeating does not help: the task fails and shows the error as its trace.
    Fatal,
}

/// An error of a connector: one line that names the thing and the remedy, and what caused it.
#[derive(Debug)]
pub struct ConnectError {
    kind: ConnectErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectError {
    /// An error that repeating the call may cure.
    pub fn retriable(message: impl Into<String>) -> ConnectError {
        ConnectError { kind: ConnectErrorKind::Retriable, message: message.into(), source: None }
    }

    /// An error that fails the task.
    pub fn fatal(message: impl Into<String>) -> ConnectError {
        ConnectError { kind: ConnectErrorKind::Fatal, message: message.into(), source: None }
    }

    /// Adds what caused it.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConnectError {
        self.source = Some(source.into());
        self
    }

    /// Whether repeating the call may help.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Whether repeating the call may help.
    pub fn is_retriable(&self) -> bool {
        self.kind == ConnectErrorKind::Retriable
    }

    /// The whole cause chain in the form of a Java stack trace without frames: what REST shows as `trace`.
    pub fn trace(&self) -> String {
        let class = match self.kind {
            ConnectErrorKind::Retriable => "org.apache.kafka.connect.errors.RetriableException",
            ConnectErrorKind::Fatal => "org.apache.kafka.connect.errors.ConnectException",
        };
        let mut trace = format!("{class}: {}\n", self.message);
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            trace.push_str("Caused by: ");
            trace.push_str(&error.to_string());
            trace.push('\n');
            cause = error.source();
        }
        trace
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
