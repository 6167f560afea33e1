//! What every client needs to know to reach a cluster. [`tables`] has every setting; whoever needs one asks [`Values`].

mod key;
mod nearest;
mod tables;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use indexmap::IndexMap;

use super::security::Security;
use crate::{Error, ErrorKind, Result};

pub use key::SettingKind;
pub use nearest::nearest;
pub(crate) use values::Values;
pub use values::{ClientRole, Setting, check_settings, describe_setting};

/// Settings under Kafka's own names.
pub type Properties = IndexMap<String, String>;

/// Largest answer that a client takes, in bytes; Kafka's own bound for a response is an `i32`.
pub const MAX_FRAME: usize = 1 << 30;

/// What calls of producers are given, which have no `default.api.timeout.ms`.
const API_TIMEOUT_MS: i64 = 60_000;

/// The settings that all clients share. See Kafka's documentation of each key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// `bootstrap.servers`: host and port of each.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// `client.id`.
    pub client_id: String,
    /// `client.rack`, empty for none.
    pub client_rack: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms` and `socket.connection.setup.timeout.max.ms`.
    pub connection_setup_timeout: (Duration, Duration),
    /// `send.buffer.bytes` and `receive.buffer.bytes`; none where the system decides, which is also the default.
    pub socket_buffers: (Option<u32>, Option<u32>),
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    pub reconnect_backoff: (Duration, Duration),
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: (Duration, Duration),
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `metadata.recovery.strategy` and `metadata.recovery.rebootstrap.trigger.ms` (KIP-899, KIP-1102): after how long without
    /// metadata the bootstrap servers are asked again; none for never.
    pub rebootstrap_after: Option<Duration>,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
    /// `default.api.timeout.ms`.
    pub api_timeout: Duration,
    /// `allow.auto.create.topics`.
    pub allow_auto_create_topics: bool,
    /// `security.protocol` with its `ssl.*` and `sasl.*`.
    pub(crate) security: Security,
}

impl ClientConfig {
    /// Reads the settings that all clients share; other keys may be anything.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] names the key, its value and what is allowed.
    pub fn from_properties(properties: &Properties) -> Result<Self> {
        Self::read(&Values::new(ClientRole::Consumer, properties))
    }

    /// Reads the settings of an admin client. What has no effect is a warning in the log.
    ///
    /// # Errors
    /// As [`Self::from_properties`].
    pub fn for_admin(properties: &Properties) -> Result<Self> {
        let values = Values::new(ClientRole::Admin, properties);
        values.check_and_warn()?;
        Self::read(&values)
    }

    pub(crate) fn read(values: &Values<'_>) -> Result<Self> {
        let text = |key: &str| values.text(key).unwrap_or_default().to_owned();
        // the JVM's defaults would keep the system from fitting a socket's buffers to the network
        let buffer = |key: &str| match values.given(key) {
            Some(_) => values.number(key).map(|bytes| u32::try_from(bytes).ok()),
            None => Ok(None),
        };
        let rebootstraps = values
            .text("metadata.recovery.strategy")
            .is_some_and(|of| of.eq_ignore_ascii_case("rebootstrap"));
        let rebootstrap_after = values.millis("metadata.recovery.rebootstrap.trigger.ms")?;
        let api_timeout = values.number_or("default.api.timeout.ms", API_TIMEOUT_MS)?;
        Ok(Self {
            bootstrap_servers: bootstrap_servers(values)?,
            client_id: text("client.id"),
            client_rack: text("client.rack"),
            request_timeout: values.millis("request.timeout.ms")?,
            connection_setup_timeout: growing(values, "socket.connection.setup.timeout")?,
            socket_buffers: (buffer("send.buffer.bytes")?, buffer("receive.buffer.bytes")?),
            reconnect_backoff: growing(values, "reconnect.backoff")?,
            retry_backoff: growing(values, "retry.backoff")?,
            metadata_max_age: values.millis("metadata.max.age.ms")?,
            rebootstrap_after: rebootstraps.then_some(rebootstrap_after),
            connections_max_idle: values.millis("connections.max.idle.ms")?,
            api_timeout: Duration::from_millis(api_timeout.unsigned_abs()),
            allow_auto_create_topics: match values.role() {
                ClientRole::Admin => false,
                ClientRole::Producer => true,
                ClientRole::Consumer => values.boolean("allow.auto.create.topics")?,
            },
            security: Security::read(values)?,
        })
    }
}

/// A time that doubles from `FAMILY.ms` to `FAMILY.max.ms`.
fn growing(values: &Values<'_>, family: &str) -> Result<(Duration, Duration)> {
    let (first_key, most_key) = (format!("{family}.ms"), format!("{family}.max.ms"));
    let (first, most) = (values.millis(&first_key)?, values.millis(&most_key)?);
    let only_first = values.given(&first_key).is_some() && values.given(&most_key).is_none();
    // As the JVM: whoever sets only the first wants a reconnect back-off that does not grow.
    if only_first && family == "reconnect.backoff" {
        return Ok((first, first));
    }
    if first > most {
        tracing::warn!(
            "{first_key}={} is more than {most_key}={}, which is used instead",
            first.as_millis(),
            most.as_millis()
        );
    }
    Ok((first.min(most), most))
}

/// The error for a value that a key does not allow.
pub(crate) fn invalid(key: &str, value: &str, allowed: &str) -> Error {
    Error::new(ErrorKind::Config, format!("Invalid value {value} for configuration {key}: must be {allowed}"))
}

/// `bootstrap.servers`: `host:port`, comma separated; IPv6 addresses in brackets.
fn bootstrap_servers(values: &Values<'_>) -> Result<Vec<(String, u16)>> {
    const KEY: &str = "bootstrap.servers";
    let mut servers = Vec::new();
    for entry in values.list(KEY) {
        // A listener's protocol in front is tolerated as Kafka does.
        let address = entry.rsplit_once("//").map_or(entry, |(_, address)| address);
        let server = address.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
        });
        servers.push(server.ok_or_else(|| invalid(KEY, entry, "a list of host:port, comma separated"))?);
    }
    if servers.is_empty() {
        let message =
            format!("Missing required configuration \"{KEY}\": name at least one host:port of the cluster");
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(servers)
}
