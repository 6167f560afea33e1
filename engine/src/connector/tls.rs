//! TLS towards other systems by the settings of Kafka's clients.

use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use crate::config::{ConfigError, ConfigMap, with_prefix};

/// What Kafka's `ssl.*` below a prefix describe: stores in JKS, PKCS12 and PEM, protocols, the check of host names. The system's
/// certificates are trusted where no store is named.
///
/// # Errors
/// Names the key that is wrong.
pub fn tls_client(config: &ConfigMap, prefix: &str) -> Result<Arc<ClientConfig>, ConfigError> {
    let own = with_prefix(config, prefix);
    aqueduct_protocol::client::tls_config(&own)
        .map_err(|error| ConfigError::new(&format!("{prefix}ssl"), format!("{prefix}{error}")))
}
