//! Who we are and whom we trust: `security.protocol`, `ssl.*` and `sasl.*`.

mod jaas;
mod jks;
mod oauth;
mod pem;
mod sasl;
mod stores;
mod tls;

use super::ClientRole;
use super::config::{Properties, Values, invalid};
use crate::{Error, ErrorKind, Result};

pub(crate) use sasl::{Sasl, authenticate};
pub use stores::{StoreContent, inspect_store};
pub(crate) use tls::{Tls, refusal};

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// The way in, as configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Security {
    pub(crate) tls: Option<Tls>,
    pub(crate) sasl: Option<Sasl>,
}

impl Security {
    /// Reads `security.protocol` and what it needs.
    pub(crate) fn read(values: &Values<'_>) -> Result<Self> {
        const KEY: &str = "security.protocol";
        let protocol = values.text(KEY).unwrap_or("PLAINTEXT");
        let (tls, sasl) = match protocol.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            _ => return Err(invalid(KEY, protocol, "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")),
        };
        Ok(Self {
            tls: tls.then(|| Tls::read(values)).transpose()?,
            sasl: sasl.then(|| Sasl::read(values)).transpose()?,
        })
    }
}

/// The `rustls` settings that `ssl.*` describe, for other clients that read the same stores.
///
/// # Errors
/// Names the key that is wrong.
pub fn tls_config(properties: &Properties) -> Result<std::sync::Arc<rustls::ClientConfig>> {
    Tls::read(&Values::new(ClientRole::Admin, properties)).map(Tls::into_config)
}

/// The `rustls` settings of a server that `ssl.*` describe.
///
/// # Errors
/// Names the key that is wrong.
pub fn tls_server_config(properties: &Properties) -> Result<std::sync::Arc<rustls::ServerConfig>> {
    tls::server_config(&Values::new(ClientRole::Admin, properties))
}

/// User and password of a `sasl.jaas.config`, for other clients that log in alike.
///
/// # Errors
/// Says what is wrong with the text.
pub fn jaas_login(text: &str) -> Result<(String, String)> {
    let jaas = jaas::Jaas::parse(text)?;
    Ok((jaas.required("username")?.to_owned(), jaas.required("password")?.to_owned()))
}

/// An error of the configuration that names its key.
fn config_error(key: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("{key}: {what}"))
}
