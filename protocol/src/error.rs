//! The one error type of the client: what went wrong, whose fault it is, and whether trying again can help.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

pub use kafka_protocol::ResponseError as ErrorCode;

/// What the client's calls give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault an error is, and what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The connection could not be made or was lost. Retriable.
    Network,
    /// No answer in time. Retriable.
    Timeout,
    /// The broker answered with an error code; see [`Error::code`].
    Broker,
    /// A setting is missing or wrong; the message names the key.
    Config,
    /// The peer refused who we are, or we refused who it is.
    Authentication,
    /// The peer sent bytes that are not Kafka's protocol, or broke its rules.
    Protocol,
    /// Broker and client share no version of a request.
    UnsupportedVersion,
    /// A newer producer with the same transactional id, or a newer member, has taken over. Fatal.
    Fenced,
    /// The caller asked for something that the state does not allow.
    State,
    /// The client was closed.
    Closed,
    /// A record or batch is malformed or too large.
    Record,
}

/// An error of the client. Its `Display` is one line that names the thing; causes are chained as sources.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    code: Option<ErrorCode>,
    message: Arc<str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with its one line.
    pub fn new(kind: ErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, code: None, message: message.into(), source: None }
    }

    /// A broker's error code, in the context of `what` was asked.
    pub fn broker(code: ErrorCode, what: impl fmt::Display) -> Self {
        let kind = match code {
            ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch | ErrorCode::FencedInstanceId => {
                ErrorKind::Fenced
            }
            ErrorCode::SaslAuthenticationFailed => ErrorKind::Authentication,
            ErrorCode::RequestTimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Broker,
        };
        Self { kind, code: Some(code), message: format!("{what}: {code}").into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error said in the context of `what` was being done.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message).into();
        self
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The broker's error code, where the broker gave one.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// Whether the same request may succeed later without anybody's doing.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self.kind {
            ErrorKind::Network | ErrorKind::Timeout => true,
            _ => self.code.is_some_and(|code| code.is_retriable()),
        }
    }

    /// Whether the answer says that our metadata is out of date.
    #[must_use]
    pub fn needs_metadata_refresh(&self) -> bool {
        match self.kind {
            ErrorKind::Network => true,
            _ => self.code.is_some_and(code_needs_metadata),
        }
    }
}

/// Whether a broker's error code means that metadata is out of date (Kafka's `InvalidMetadataException` family).
#[must_use]
pub(crate) fn code_needs_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::NetworkException
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::ListenerNotFound
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
    )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
