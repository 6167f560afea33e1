//! Errors of starting the broker and of reading requests.

use std::io;
use std::path::PathBuf;

/// Why the broker did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The listen address cannot be used.
    #[error("cannot listen on {addr}: choose a free address with --listen")]
    Listen {
        /// The address asked for.
        addr: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be read or written.
    #[error(
        "cannot use {path} of the data folder: check that it exists, is writable and belongs to one broker only"
    )]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another broker has the data folder.
    #[error(
        "another broker is using the data folder {path}: stop it, or choose another folder with --data-dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A command line argument is wrong.
    #[error("{0}")]
    Usage(String),
}

impl BrokerError {
    pub(crate) fn storage(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BrokerError {
        let path = path.into();
        move |source| BrokerError::Storage { path, source }
    }
}

/// Why a connection is closed. The peer is told nothing, as with Kafka: its bytes are not a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("request of {size} bytes, the limit is {limit}")]
    FrameSize { size: i64, limit: usize },
    #[error("request header cannot be read")]
    Header,
    #[error("API key {key} version {version} is not supported")]
    Unsupported { key: i16, version: i16 },
    #[error("request of API key {key} version {version} cannot be read: {reason}")]
    Body { key: i16, version: i16, reason: String },
    #[error("response of API key {key} version {version} cannot be written: {reason}")]
    Response { key: i16, version: i16, reason: String },
    #[error("a batch sent with acks=0 was refused")]
    Unacknowledged,
    #[error(transparent)]
    Io(#[from] io::Error),
}
