//! What can go wrong between us and a PostgreSQL server.

use std::fmt;

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{ErrorField, ErrorResponseBody};

/// An error that the server sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerError {
    /// SQLSTATE, five characters.
    pub(crate) code: String,
    /// The text.
    pub(crate) message: String,
    /// What else it says.
    pub(crate) more: Box<ErrorDetails>,
}

/// Parts of an error that it may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorDetails {
    detail: Option<String>,
    hint: Option<String>,
    /// The column at fault.
    pub(crate) column: Option<String>,
    /// The constraint at fault.
    pub(crate) constraint: Option<String>,
}

impl ServerError {
    pub(super) fn of(body: &ErrorResponseBody) -> ServerError {
        let mut error = ServerError::default();
        for field in fields(body) {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                b'D' => error.more.detail = Some(text()),
                b'H' => error.more.hint = Some(text()),
                b'c' => error.more.column = Some(text()),
                b'n' => error.more.constraint = Some(text()),
                _ => {}
            }
        }
        error
    }

    /// Whether the server ends the connection with it: shut down, killed, too many clients, login refused.
    pub(crate) fn ends_the_connection(&self) -> bool {
        self.is_class("57P") || self.is_class("28") || self.code == "53300"
    }

    /// Whether the state is of this class (its first two characters).
    pub(crate) fn is_class(&self, class: &str) -> bool {
        self.code.starts_with(class)
    }
}

/// The fields of an error; one that cannot be read ends them.
fn fields(body: &ErrorResponseBody) -> impl Iterator<Item = ErrorField<'_>> {
    let mut fields = body.fields();
    std::iter::from_fn(move || fields.next().ok().flatten())
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)?;
        if let Some(detail) = &self.more.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(hint) = &self.more.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

/// An error of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PgError {
    /// The network.
    #[error("{what}")]
    Io {
        /// What was tried, with host and port.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The server refused.
    #[error("PostgreSQL says: {0}")]
    Server(ServerError),
    /// A setting, a certificate, a password.
    #[error("{0}")]
    Setup(String),
    /// The server sent what the protocol does not allow here.
    #[error("unexpected answer of the server: {0}")]
    Protocol(String),
}

impl PgError {
    /// The server's error behind it.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            PgError::Server(error) => Some(&error.code),
            _ => None,
        }
    }

    /// Whether trying again may help: anything but what a person has to mend (authentication, settings, a lost slot).
    pub(crate) fn is_retriable(&self) -> bool {
        match (self, self.code()) {
            (PgError::Setup(_) | PgError::Protocol(_), _) => false,
            // invalid authorization, insufficient privilege, unknown database, invalid name
            (_, Some(code)) => {
                !(code.starts_with("28")
                    || ["42501", "3D000", "42602", "42704", "42P01", "58P01", "55000"].contains(&code))
            }
            _ => true,
        }
    }
}
