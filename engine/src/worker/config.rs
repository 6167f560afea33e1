//! The worker's own settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::client_config::OverridePolicy;
use super::config_provider::ConfigProviders;
use crate::config::with_prefix;
use crate::connector::ConfigMap;

/// A bad setting of the worker: the key, the value, and what is allowed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerConfigError {
    /// A reference of a config provider cannot be resolved.
    #[error("{message}")]
    Reference {
        /// The key and what is wrong.
        message: String,
        /// Why.
        #[source]
        source: Arc<crate::connector::ConnectError>,
    },
    /// A required key is missing.
    #[error("Missing required configuration \"{key}\" which has no default value: {remedy}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to write.
        remedy: &'static str,
    },
    /// A value that is not allowed.
    #[error("Invalid value {value} for configuration {key}: {allowed}")]
    Invalid {
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// The parsed settings of a worker of either mode, and all its properties for the clients.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Every property as written.
    pub properties: ConfigMap,
    /// Where REST listens.
    pub listeners: Vec<ListenerAddress>,
    /// `admin.listeners`: where `/admin` is served instead; none: on every listener; empty: nowhere.
    pub admin_listeners: Option<Vec<ListenerAddress>>,
    /// `host:port` that REST shows as the worker's id.
    pub advertised: String,
    /// Whether other workers find it there by `https`.
    pub advertised_tls: bool,
    /// `offset.flush.interval.ms`.
    pub offset_flush_interval: Duration,
    /// `offset.flush.timeout.ms`.
    pub offset_flush_timeout: Duration,
    /// `task.shutdown.graceful.timeout.ms`.
    pub graceful_timeout: Duration,
    /// `topic.creation.enable`.
    pub topic_creation: bool,
    /// `connector.client.config.override.policy`.
    pub override_policy: OverridePolicy,
    /// Whether it is a worker of a group.
    pub distributed: bool,
    /// Whether sources may deliver exactly once: `exactly.once.source.support=enabled` of a distributed worker.
    pub exactly_once_source: bool,
    /// `topic.tracking.enable`.
    pub topic_tracking: bool,
    /// `topic.tracking.allow.reset`.
    pub topic_tracking_reset: bool,
    /// `config.providers`.
    pub providers: Arc<ConfigProviders>,
}

/// A listener of REST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerAddress {
    /// Whether it is `https`: then `listeners.https.ssl.*` or `ssl.*` tell its certificate.
    pub tls: bool,
    /// `host:port`; an empty host is all interfaces.
    pub address: String,
}

const DEFAULT_BOOTSTRAP: &str = "localhost:9092";
const DEFAULT_LISTENERS: &str = "http://:8083";

impl WorkerConfig {
    /// The file of a standalone worker's source offsets: `offset.storage.file.filename`.
    pub fn offset_file(&self) -> Result<PathBuf, WorkerConfigError> {
        match text(&self.properties, "offset.storage.file.filename", "") {
            "" => Err(WorkerConfigError::Missing {
                key: "offset.storage.file.filename",
                remedy: "name a file for the source offsets, for instance /var/lib/aqueduct/offsets",
            }),
            path => Ok(path.into()),
        }
    }

    /// TLS of `https` listeners, and of requests to other workers: `ssl.*`, and over them `listeners.https.ssl.*`.
    pub fn https_settings(&self) -> ConfigMap {
        let below = |prefix: &str| with_prefix(&self.properties, prefix);
        let mut settings: ConfigMap = below("").into_iter().chain(below("listeners.https.")).collect();
        settings.retain(|key, _| key.starts_with("ssl."));
        settings
    }

    /// Reads what workers of both modes have.
    pub fn from_properties(mut properties: ConfigMap) -> Result<WorkerConfig, WorkerConfigError> {
        for (key, remedy) in [
            ("key.converter", "for instance org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter", "for instance org.apache.kafka.connect.json.JsonConverter"),
        ] {
            if properties.get(key).is_none_or(|value| value.trim().is_empty()) {
                return Err(WorkerConfigError::Missing { key, remedy });
            }
        }
        let providers = ConfigProviders::from_worker(&properties)?;
        properties = providers.resolve_blocking(&properties).map_err(|error| {
            WorkerConfigError::Reference { message: error.to_string(), source: Arc::new(error) }
        })?;
        properties.entry("bootstrap.servers".to_owned()).or_insert_with(|| DEFAULT_BOOTSTRAP.to_owned());
        let configured = properties.get("listeners").map(String::as_str).unwrap_or(DEFAULT_LISTENERS);
        let admin_listeners =
            properties.get("admin.listeners").map(|value| listeners("admin.listeners", value)).transpose()?;
        let listeners = listeners("listeners", configured)?;
        let policy = text(&properties, "connector.client.config.override.policy", "All");
        let allowlist = text(&properties, "connector.client.config.override.allowlist", "");
        let override_policy =
            OverridePolicy::parse(policy, allowlist).ok_or_else(|| WorkerConfigError::Invalid {
                key: "connector.client.config.override.policy".to_owned(),
                value: policy.to_owned(),
                allowed: "allowed are All, None, Principal and Allowlist",
            })?;
        let (advertised, advertised_tls) = advertised(&properties, &listeners);
        Ok(WorkerConfig {
            advertised,
            advertised_tls,
            listeners,
            admin_listeners,
            offset_flush_interval: millis(&properties, "offset.flush.interval.ms", 60_000)?,
            offset_flush_timeout: millis(&properties, "offset.flush.timeout.ms", 5_000)?,
            graceful_timeout: millis(&properties, "task.shutdown.graceful.timeout.ms", 5_000)?,
            topic_creation: boolean(&properties, "topic.creation.enable", true)?,
            override_policy,
            distributed: false,
            exactly_once_source: false,
            topic_tracking: boolean(&properties, "topic.tracking.enable", true)?,
            topic_tracking_reset: boolean(&properties, "topic.tracking.allow.reset", true)?,
            providers: Arc::new(providers),
            properties,
        })
    }
}

fn text<'a>(properties: &'a ConfigMap, key: &str, default: &'a str) -> &'a str {
    properties.get(key).map(|value| value.trim()).filter(|value| !value.is_empty()).unwrap_or(default)
}

fn millis(properties: &ConfigMap, key: &str, default: u64) -> Result<Duration, WorkerConfigError> {
    let Some(value) = properties.get(key) else { return Ok(Duration::from_millis(default)) };
    // i64::MAX ms is what "never" looks like in the JVM; timers here want less
    let bound = u64::from(u32::MAX) * 1000;
    let parsed = value.trim().parse::<i64>().ok().and_then(|ms| u64::try_from(ms).ok());
    parsed.map(|ms| Duration::from_millis(ms.min(bound))).ok_or_else(|| WorkerConfigError::Invalid {
        key: key.to_owned(),
        value: value.clone(),
        allowed: "milliseconds, 0 or more",
    })
}

fn boolean(properties: &ConfigMap, key: &str, default: bool) -> Result<bool, WorkerConfigError> {
    match properties.get(key).map(|value| value.trim().to_ascii_lowercase()) {
        None => Ok(default),
        Some(value) if value == "true" => Ok(true),
        Some(value) if value == "false" => Ok(false),
        Some(value) => Err(WorkerConfigError::Invalid {
            key: key.to_owned(),
            value,
            allowed: "Expected value to be either true or false",
        }),
    }
}

fn listeners(key: &str, value: &str) -> Result<Vec<ListenerAddress>, WorkerConfigError> {
    let parse = |listener: &str| {
        let invalid = || WorkerConfigError::Invalid {
            key: key.to_owned(),
            value: listener.to_owned(),
            allowed: "write http://host:port or https://host:port; an empty host means all interfaces",
        };
        let (scheme, address) = listener.split_once("://").ok_or_else(invalid)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(invalid()),
        };
        let address = address.trim_end_matches('/');
        let port = address.rsplit_once(':').ok_or_else(invalid)?.1;
        port.parse::<u16>().map_err(|_| invalid())?;
        Ok(ListenerAddress { tls, address: address.to_owned() })
    };
    value.split(',').map(str::trim).filter(|listener| !listener.is_empty()).map(parse).collect()
}

/// `rest.advertised.*`, else the first listener: of the scheme of `rest.advertised.listener`, or a plain one, as in the JVM.
fn advertised(properties: &ConfigMap, listeners: &[ListenerAddress]) -> (String, bool) {
    let scheme = text(properties, "rest.advertised.listener", "http");
    let wanted =
        listeners.iter().find(|one| scheme.eq_ignore_ascii_case(if one.tls { "https" } else { "http" }));
    let listener = wanted.or(listeners.first());
    let first = listener.map_or(":8083", |listener| listener.address.as_str());
    let (host, port) = first.rsplit_once(':').unwrap_or((first, "8083"));
    let host = match text(properties, "rest.advertised.host.name", host) {
        "" | "0.0.0.0" | "[::]" => "127.0.0.1",
        host => host,
    };
    let port = text(properties, "rest.advertised.port", port);
    (format!("{host}:{port}"), listener.is_some_and(|listener| listener.tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(extra: &[(&str, &str)]) -> Result<WorkerConfig, WorkerConfigError> {
        let base = [("key.converter", "K"), ("value.converter", "V")];
        let entries = base.iter().chain(extra);
        WorkerConfig::from_properties(entries.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn defaults() {
        let config = with(&[]).unwrap();
        assert_eq!(config.listeners[0], ListenerAddress { tls: false, address: ":8083".to_owned() });
        assert!(config.offset_file().unwrap_err().to_string().contains("offset.storage.file.filename"));
        assert_eq!(config.advertised, "127.0.0.1:8083");
        assert_eq!(config.offset_flush_interval, Duration::from_secs(60));
        assert_eq!(config.properties["bootstrap.servers"], "localhost:9092");
    }

    #[test]
    fn bad_values_are_named() {
        let error = with(&[("offset.flush.interval.ms", "soon")]).unwrap_err().to_string();
        assert!(error.contains("soon") && error.contains("offset.flush.interval.ms"), "{error}");
        assert!(with(&[("listeners", "ftp://:1")]).unwrap_err().to_string().contains("ftp://:1"));
        assert!(with(&[("listeners", "http://x")]).is_err());
        assert!(with(&[("value.converter", "")]).unwrap_err().to_string().contains("value.converter"));
        let two =
            with(&[("listeners", "http://0.0.0.0:9,HTTPS://h:10/"), ("rest.advertised.listener", "https")]);
        let two = two.unwrap();
        let shown: Vec<_> = two.listeners.iter().map(|one| (one.tls, one.address.as_str())).collect();
        assert_eq!(shown, [(false, "0.0.0.0:9"), (true, "h:10")]);
        assert_eq!((two.advertised.as_str(), two.advertised_tls), ("h:10", true));
        let both =
            with(&[("listeners", "https://h:10,http://h:9"), ("ssl.a", "1"), ("listeners.https.ssl.a", "2")]);
        let both = both.unwrap();
        assert_eq!((both.advertised.as_str(), both.advertised_tls), ("h:9", false));
        assert_eq!(
            both.https_settings().into_iter().collect::<Vec<_>>(),
            [("ssl.a".to_owned(), "2".to_owned())]
        );
    }
}
