//! What every client needs to know to reach a cluster.

use std::time::Duration;

use indexmap::IndexMap;

use super::security::Security;
use crate::{Error, ErrorKind, Result};

/// Settings under Kafka's own names.
pub type Properties = IndexMap<String, String>;

/// Largest answer that a client takes, in bytes; Kafka's own bound for a response is an `i32`.
pub const MAX_FRAME: usize = 1 << 30;

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
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    pub reconnect_backoff: (Duration, Duration),
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: (Duration, Duration),
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
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
    /// Reads the shared settings; keys of one kind of client are left to it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] names the key, its value and what is allowed.
    pub fn from_properties(properties: &Properties) -> Result<Self> {
        let millis = |key: &str, default: u64| -> Result<Duration> {
            let Some(text) = properties.get(key) else { return Ok(Duration::from_millis(default)) };
            let number = text.trim().parse::<u64>().ok();
            // Two of Kafka's keys are ints, the others longs; 24 days are for ever here.
            let is_int = matches!(key, "request.timeout.ms" | "default.api.timeout.ms");
            match number {
                Some(number) if number <= i32::MAX as u64 => Ok(Duration::from_millis(number)),
                Some(_) if !is_int => Ok(Duration::from_millis(i32::MAX as u64)),
                _ => Err(invalid(
                    key,
                    text,
                    "a number of milliseconds, 0 or more, and at most 2147483647 for a timeout",
                )),
            }
        };
        let text = |key: &str| properties.get(key).cloned().unwrap_or_default();
        Ok(Self {
            bootstrap_servers: bootstrap_servers(properties)?,
            client_id: text("client.id"),
            client_rack: text("client.rack"),
            request_timeout: millis("request.timeout.ms", 30_000)?,
            connection_setup_timeout: millis("socket.connection.setup.timeout.ms", 10_000)?,
            reconnect_backoff: (
                millis("reconnect.backoff.ms", 50)?,
                millis("reconnect.backoff.max.ms", 1_000)?,
            ),
            retry_backoff: (millis("retry.backoff.ms", 100)?, millis("retry.backoff.max.ms", 1_000)?),
            metadata_max_age: millis("metadata.max.age.ms", 300_000)?,
            connections_max_idle: millis("connections.max.idle.ms", 540_000)?,
            api_timeout: millis("default.api.timeout.ms", 60_000)?,
            allow_auto_create_topics: boolean(properties, "allow.auto.create.topics", true)?,
            security: Security::from_properties(properties)?,
        })
    }
}

/// A boolean of the configuration.
fn boolean(properties: &Properties, key: &str, default: bool) -> Result<bool> {
    match properties.get(key).map(|text| text.trim()) {
        None => Ok(default),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => Err(invalid(key, text, "true or false")),
    }
}

/// The error for a value that a key does not allow.
pub(crate) fn invalid(key: &str, value: &str, allowed: &str) -> Error {
    Error::new(ErrorKind::Config, format!("Invalid value {value} for configuration {key}: must be {allowed}"))
}

/// `bootstrap.servers`: `host:port`, comma separated; IPv6 addresses in brackets.
fn bootstrap_servers(properties: &Properties) -> Result<Vec<(String, u16)>> {
    const KEY: &str = "bootstrap.servers";
    let list = properties.get(KEY).map(String::as_str).unwrap_or_default();
    let mut servers = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
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
