//! Settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Text that does not print.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Client credentials for an OAuth token end point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// Where tokens are had.
    pub endpoint: String,
    /// Who we are.
    pub client_id: String,
    /// And its proof.
    pub client_secret: Secret,
    /// What for.
    pub scope: Option<String>,
    /// How long before its end a token is renewed.
    pub renew_before: Duration,
}

/// How we say who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all, unless a URL carries user and password.
    #[default]
    None,
    /// User and password.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// A token that does not change.
    Bearer(Secret),
    /// Tokens by client credentials.
    OAuth(OAuth),
}

/// Settings of a client. The defaults are Confluent's.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base URLs, tried in turn; or one `mock://name`: a registry of that name within the process, empty at first.
    pub urls: Vec<String>,
    /// Who we are.
    pub auth: Auth,
    /// Headers of every request, such as `target-sr-cluster`.
    pub headers: Vec<(String, String)>,
    /// For `https`; the system's certificates where `None`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// To be connected.
    pub connect_timeout: Duration,
    /// For an answer.
    pub read_timeout: Duration,
    /// Tries after the first, each over all URLs.
    pub max_retries: u32,
    /// Before the second try; doubled each time, with jitter.
    pub retry_wait: Duration,
    /// Longest wait between tries, whatever the registry asks for.
    pub retry_max_wait: Duration,
    /// Schemas that are kept, of ids and of subjects each.
    pub cache: usize,
    /// How long "there is no such schema" is remembered.
    pub missing_ttl: Duration,
    /// How long the latest version of a subject is remembered; `None`: for good.
    pub latest_ttl: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            auth: Auth::None,
            headers: Vec::new(),
            tls: None,
            connect_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            max_retries: 3,
            retry_wait: Duration::from_secs(1),
            retry_max_wait: Duration::from_secs(20),
            cache: 1000,
            missing_ttl: Duration::from_secs(5),
            latest_ttl: None,
        }
    }
}
