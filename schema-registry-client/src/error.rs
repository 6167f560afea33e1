//! What a registry, or the way to it, can answer instead.

use thiserror::Error as ThisError;

/// Whose fault it is, and whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong.
    Config,
    /// The registry cannot be reached, or broke off.
    Network,
    /// It did not answer in time.
    Timeout,
    /// It has trouble of its own, or too much to do: 5xx, 408, 429.
    Unavailable,
    /// We are not known, or not allowed: 401, 403, or no token to be had.
    Authentication,
    /// There is no such thing: 404.
    NotFound,
    /// The schema does not fit to its older versions: 409.
    Incompatible,
    /// It refuses what was asked: 422 and other 4xx.
    Refused,
    /// Its answer cannot be read.
    Malformed,
}

/// A failed request.
#[derive(Debug, Clone, ThisError)]
#[error("{message}")]
pub struct Error {
    /// What it is about.
    pub kind: ErrorKind,
    /// The registry's own code, such as 40401 (subject), 40402 (version), 40403 (schema), 42201 (invalid schema), 409.
    pub code: Option<i32>,
    /// What went wrong, with the URL and the remedy where there is one.
    pub message: String,
    /// What lies below.
    #[source]
    pub source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
    /// How long the registry asks us to wait.
    pub(crate) retry_after: Option<std::time::Duration>,
}

impl Error {
    /// An error with a text.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), source: None, retry_after: None }
    }

    /// The same with the registry's code.
    #[must_use]
    pub fn with_code(mut self, code: i32) -> Self {
        self.code = Some(code);
        self
    }

    /// The same with what lies below.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(std::sync::Arc::new(source));
        self
    }

    /// Whether the same request may succeed later without anybody's doing.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self.kind, ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Unavailable)
    }
}
