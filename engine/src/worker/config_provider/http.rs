//! `${vault:path:key}`: values of a JSON document that an HTTP server gives for a path, as HashiCorp Vault does.
//!
//! | `config.providers.NAME.param.…` | |
//! |---|---|
//! | `url` | where a path is found: `https://vault:8200/v1/{path}` |
//! | `header.X` | a header of every request, such as `header.X-Vault-Token` |
//! | `token.file` | a file with the token for `X-Vault-Token`, read for each request |
//! | `data` | where the keys are in the document (RFC 6901): by itself `/data/data`, `/data` or the whole |
//! | `ttl.ms` | how long values are good for; otherwise `lease_duration` of the document says |
//! | `timeout.ms` | how long the server may take; 10000 |
//! | `ssl.…` | trust and key stores, as those of Kafka's clients |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::Value;

use crate::config::with_prefix;
use crate::connector::{ConfigMap, ConnectError};
use crate::https::{self, HttpClient};
use crate::worker::WorkerConfigError;

/// Largest document that is read.
const MAX_ANSWER: usize = 1 << 20;
/// Most paths that are kept.
const MAX_PATHS: usize = 1000;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time after which values are asked for again.
const SHORTEST_TTL: Duration = Duration::from_millis(500);
/// Wait after an answer that did not come, while older values are there.
const RETRY: Duration = Duration::from_secs(10);
const TOKEN: &str = "x-vault-token";

/// One provider. What it has read does not print.
pub(super) struct HttpProvider {
    name: String,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    token_file: Option<PathBuf>,
    data: Option<String>,
    ttl: Option<Duration>,
    timeout: Duration,
    client: HttpClient,
    read: Mutex<IndexMap<String, Document>>,
}

impl std::fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProvider")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What the server said of a path.
struct Document {
    values: ConfigMap,
    /// When it has to be asked for again.
    expires: Option<Instant>,
}

impl HttpProvider {
    pub(super) fn from_worker(name: &str, properties: &ConfigMap) -> Result<HttpProvider, WorkerConfigError> {
        let prefix = format!("config.providers.{name}.param.");
        let parameters = with_prefix(properties, &prefix);
        let invalid = |key: &str, value: &str, allowed| WorkerConfigError::Invalid {
            key: format!("{prefix}{key}"),
            value: value.to_owned(),
            allowed,
        };
        let url = parameters.get("url").map(|url| url.trim()).unwrap_or_default();
        if !url.contains("{path}") {
            return Err(invalid("url", url, "a URL with {path} in it, such as https://vault:8200/v1/{path}"));
        }
        let millis = |key: &str| match parameters.get(key) {
            None => Ok(None),
            Some(text) => match text.trim().parse() {
                Ok(ms) => Ok(Some(Duration::from_millis(ms))),
                Err(_) => Err(invalid(key, text, "milliseconds")),
            },
        };
        let mut headers = Vec::new();
        for (header, value) in with_prefix(&parameters, "header.") {
            // the value may be a secret: it is not shown
            let bad = || invalid(&format!("header.{header}"), "[hidden]", "a name and value as in HTTP");
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.push((HeaderName::try_from(header.as_str()).map_err(|_| bad())?, value));
        }
        let mut tls = parameters.clone();
        tls.retain(|key, _| key.starts_with("ssl."));
        let tls =
            aqueduct_protocol::client::tls_config(&tls).map_err(|error| WorkerConfigError::Reference {
                message: format!("{prefix}{error}"),
                source: Arc::new(ConnectError::fatal("TLS of a config provider")),
            })?;
        Ok(HttpProvider {
            name: name.to_owned(),
            url: url.to_owned(),
            headers,
            token_file: parameters.get("token.file").map(|file| file.trim().into()),
            data: parameters.get("data").cloned(),
            ttl: millis("ttl.ms")?,
            timeout: millis("timeout.ms")?.unwrap_or(DEFAULT_TIMEOUT),
            client: https::client(&tls),
            read: Mutex::default(),
        })
    }

    /// A value that has been read.
    pub(super) fn known(&self, path: &str, key: &str) -> Option<String> {
        self.read.lock().get(path)?.values.get(key).cloned()
    }

    /// Makes sure that a path has been read, and is good still. Older values do where the server does not answer.
    pub(super) async fn prepare(&self, path: &str) -> Result<(), ConnectError> {
        let good = |document: &Document| document.expires.is_none_or(|expires| Instant::now() < expires);
        if self.read.lock().get(path).is_some_and(good) {
            return Ok(());
        }
        self.refresh(path).await.map(drop)
    }

    /// When the first path has to be read again.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.read.lock().values().filter_map(|document| document.expires).min()
    }

    /// Reads what has to be read again; whether a value is another.
    pub(super) async fn refresh_expired(&self) -> bool {
        let now = Instant::now();
        let due = |(path, document): (&String, &Document)| {
            document.expires.is_some_and(|expires| expires <= now).then(|| path.clone())
        };
        let expired: Vec<String> = self.read.lock().iter().filter_map(due).collect();
        let mut changed = false;
        for path in expired {
            changed |= self.refresh(&path).await.unwrap_or(false);
        }
        changed
    }

    /// Reads a path; whether a value is another than before. An error only if nothing is known of the path.
    async fn refresh(&self, path: &str) -> Result<bool, ConnectError> {
        let fetched = self.fetch(path).await;
        let mut read = self.read.lock();
        match (fetched, read.get_mut(path)) {
            (Ok((values, ttl)), known) => {
                let changed = known.is_some_and(|known| known.values != values);
                if read.len() >= MAX_PATHS {
                    read.shift_remove_index(0);
                }
                let expires = ttl.map(|ttl| Instant::now() + ttl.max(SHORTEST_TTL));
                read.insert(path.to_owned(), Document { values, expires });
                Ok(changed)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(
                    provider = self.name,
                    path,
                    "older values stay in use: {}",
                    error.trace().trim_end()
                );
                known.expires = Some(Instant::now() + RETRY);
                Ok(false)
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, path: &str) -> Result<(ConfigMap, Option<Duration>), ConnectError> {
        let url = self.url.replace("{path}", path.trim_start_matches('/'));
        let failed =
            |what: String| ConnectError::fatal(format!("config provider {}: {url}: {what}", self.name));
        let mut request = Request::get(&url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(file) = &self.token_file {
            let token = tokio::fs::read_to_string(file).await;
            let token = token.map_err(|error| failed(format!("{}: {error}", file.display())))?;
            request = request.header(TOKEN, token.trim());
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| failed(crate::store::chain(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            // an answer that is no success may repeat what it was asked with
            if status.is_success() { Ok(body) } else { Err(failed(format!("HTTP {status}"))) }
        };
        let late = |_| Err(failed(format!("no answer within {} ms", self.timeout.as_millis())));
        let body = tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(late)?;
        let document: Value =
            serde_json::from_slice(&body).map_err(|_| failed("the answer is not JSON".to_owned()))?;
        let values =
            self.values(&document).ok_or_else(|| failed("no object with values is in it".to_owned()))?;
        let lease = document["lease_duration"].as_u64().filter(|lease| *lease > 0).map(Duration::from_secs);
        Ok((values, self.ttl.or(lease)))
    }

    /// Strings, numbers and booleans of the object that has the keys.
    fn values(&self, document: &Value) -> Option<ConfigMap> {
        let places = match &self.data {
            Some(data) => vec![data.as_str()],
            None => vec!["/data/data", "/data", ""],
        };
        let object = places.into_iter().find_map(|place| document.pointer(place)?.as_object())?;
        let text = |(key, value): (&String, &Value)| match value {
            Value::String(text) => Some((key.clone(), text.clone())),
            Value::Number(_) | Value::Bool(_) => Some((key.clone(), value.to_string())),
            _ => None,
        };
        Some(object.iter().filter_map(text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(parameters: &[(&str, &str)]) -> Result<HttpProvider, WorkerConfigError> {
        let key = |key: &str| format!("config.providers.v.param.{key}");
        let all = parameters.iter().map(|(name, value)| (key(name), (*value).to_owned()));
        HttpProvider::from_worker("v", &all.collect())
    }

    #[test]
    fn documents_of_vault_and_of_others() {
        let vault = provider(&[("url", "http://v/{path}"), ("header.X-Vault-Token", "t0ken")]).unwrap();
        assert!(!format!("{vault:?}").contains("t0ken"));
        let values =
            |provider: &HttpProvider, text: &str| provider.values(&serde_json::from_str(text).unwrap());
        for text in [
            r#"{"data":{"data":{"user":"ada","port":7,"deep":{}},"metadata":{"version":1}}}"#,
            r#"{"lease_duration":5,"data":{"user":"ada","port":7}}"#,
            r#"{"user":"ada","port":7}"#,
        ] {
            let values = values(&vault, text).unwrap();
            assert_eq!((values["user"].as_str(), values["port"].as_str(), values.len()), ("ada", "7", 2));
        }
        assert!(values(&vault, "[]").is_none());
        let elsewhere = provider(&[("url", "http://v/{path}"), ("data", "/a/b")]).unwrap();
        assert_eq!(values(&elsewhere, r#"{"a":{"b":{"x":true}}}"#).unwrap()["x"], "true");
        assert!(values(&elsewhere, r#"{"a":1}"#).is_none());
    }

    #[test]
    fn bad_parameters_are_named_and_hidden() {
        let said = |parameters: &[(&str, &str)]| provider(parameters).unwrap_err().to_string();
        assert!(said(&[("url", "http://v")]).contains("config.providers.v.param.url"));
        let bad = said(&[("url", "http://v/{path}"), ("header.X-Y", "s3cret\n\u{1}")]);
        assert!(bad.contains("header.X-Y") && !bad.contains("s3cret"), "{bad}");
        assert!(said(&[("url", "http://v/{path}"), ("ttl.ms", "soon")]).contains("ttl.ms"));
    }
}
