//! Where the server is and how to come in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// No TLS.
    Disable,
    /// TLS only if the server asks for it.
    Allow,
    /// TLS if the server has it.
    Prefer,
    /// TLS, without looking at the certificate unless a root certificate is given.
    Require,
    /// TLS with a certificate of a known authority.
    VerifyCa,
    /// The same, and the host's name in the certificate.
    VerifyFull,
}

impl SslMode {
    /// Reads the setting.
    pub(crate) fn parse(text: &str) -> Option<SslMode> {
        Some(match text.to_ascii_lowercase().as_str() {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" | "required" => SslMode::Require,
            "verify-ca" | "verify_ca" => SslMode::VerifyCa,
            "verify-full" | "verify_full" => SslMode::VerifyFull,
            _ => return None,
        })
    }
}

/// TLS of a connection.
#[derive(Debug, Clone)]
pub(crate) struct SslSettings {
    /// The mode.
    pub(crate) mode: SslMode,
    /// Certificates of authorities, PEM; the system's without it.
    pub(crate) root_cert: Option<PathBuf>,
    /// Our certificate, PEM.
    pub(crate) cert: Option<PathBuf>,
    /// Its key, PEM or PKCS #8 DER.
    pub(crate) key: Option<PathBuf>,
}

/// What the settings are called in a connector's configuration: errors name what the user wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyNames {
    /// Of host and port.
    pub(crate) host: &'static str,
    /// Of role and database.
    pub(crate) login: &'static str,
    /// Of the password.
    pub(crate) password: &'static str,
    /// Of [`SslSettings::mode`].
    pub(crate) ssl_mode: &'static str,
    /// Of [`SslSettings::root_cert`].
    pub(crate) root_cert: &'static str,
    /// Of [`SslSettings::cert`].
    pub(crate) cert: &'static str,
    /// Of [`SslSettings::key`].
    pub(crate) key: &'static str,
}

/// Everything that a connection needs.
#[derive(Clone)]
pub(crate) struct ConnectionSettings {
    /// Host name or address.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Role.
    pub(crate) user: String,
    /// Its password; never printed.
    pub(crate) password: Option<String>,
    /// Database.
    pub(crate) database: String,
    /// TLS.
    pub(crate) ssl: SslSettings,
    /// Limit of TCP, TLS and authentication together.
    pub(crate) connect_timeout: Duration,
    /// `application_name` in `pg_stat_activity`.
    pub(crate) application_name: String,
    /// Further parameters of the session.
    pub(crate) parameters: Vec<(String, String)>,
    /// What all of this is called in the configuration.
    pub(crate) names: &'static KeyNames,
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{} as {}", self.host, self.port, self.database, self.user)
    }
}
