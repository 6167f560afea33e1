//! Requests over HTTP: fail-over between URLs, retries with back-off, bounded answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body as _;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value as Json;

use crate::auth::Tokens;
use crate::config::{Auth, Config, Secret};
use crate::error::{Error, ErrorKind};
use crate::request::{Request, Verb};

/// Largest answer that is read. The largest schemas in practice have some hundred KiB.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Longest part of an answer that is no registry's error which is shown.
const MAX_SHOWN: usize = 200;
/// Connections that are kept open without use, per URL.
const IDLE_CONNECTIONS: usize = 2;

pub(crate) type HttpPool = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A base URL and what it says about us.
#[derive(Debug)]
struct Base {
    /// Without user, password and closing slash.
    url: String,
    basic: Option<(String, Secret)>,
}

#[derive(Debug)]
pub(crate) struct Http {
    pool: HttpPool,
    bases: Vec<Base>,
    /// The one that answered last.
    current: AtomicUsize,
    tokens: Tokens,
    config: Config,
}

impl Http {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let bases = config.urls.iter().map(|url| base(url)).collect::<Result<Vec<_>, _>>()?;
        if bases.is_empty() {
            return Err(Error::new(ErrorKind::Config, "schema.registry.url: there is no URL"));
        }
        Ok(Self {
            pool: pool(&config)?,
            bases,
            current: AtomicUsize::new(0),
            tokens: Tokens::default(),
            config,
        })
    }

    /// The answer, after as many tries as are allowed.
    pub(crate) async fn send(&self, request: &Request) -> Result<Json, Error> {
        let mut wait = self.config.retry_wait;
        for attempt in 0.. {
            let error = match self.try_all(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_retriable() || attempt >= self.config.max_retries {
                return Err(error);
            }
            // full jitter on the upper half keeps many askers apart
            let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            let pause = error.retry_after.unwrap_or(jittered).min(self.config.retry_max_wait);
            tracing::debug!("schema registry: try {} after {pause:?}: {error}", attempt + 2);
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(self.config.retry_max_wait);
        }
        Err(Error::new(ErrorKind::Network, "no tries are left"))
    }

    /// One try at each URL, from the one that answered last.
    async fn try_all(&self, request: &Request) -> Result<Json, Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..self.bases.len() {
            let index = (first + step) % self.bases.len();
            match self.try_one(&self.bases[index], request).await {
                Err(error) if error.is_retriable() => last = Some(error),
                answer => {
                    self.current.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Config, "schema.registry.url: there is no URL")))
    }

    async fn try_one(&self, base: &Base, request: &Request) -> Result<Json, Error> {
        let url = format!("{}{}", base.url, request.target());
        let method = match request.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Delete => Method::DELETE,
        };
        let body = request.body.as_ref().map(Json::to_string).unwrap_or_default();
        let mut builder = hyper::Request::builder().method(method).uri(&url).header(
            ACCEPT,
            "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json",
        );
        if request.body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/vnd.schemaregistry.v1+json");
        }
        if let Some(value) = self.authorization(base).await? {
            builder = builder.header(AUTHORIZATION, value);
        }
        for (name, value) in &self.config.headers {
            builder = builder.header(name, value);
        }
        let message = builder.body(Full::new(Bytes::from(body))).map_err(|error| {
            Error::new(ErrorKind::Config, format!("{url}: no request can be made of it")).caused_by(error)
        })?;
        let (status, retry_after, bytes) =
            exchange(&self.pool, message, &url, self.config.read_timeout).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Error::new(ErrorKind::Malformed, format!("{url}: the answer is not JSON")).caused_by(error)
            });
        }
        if status == StatusCode::UNAUTHORIZED {
            self.tokens.forget().await;
        }
        Err(refusal(&url, status, retry_after, &bytes))
    }

    async fn authorization(&self, base: &Base) -> Result<Option<String>, Error> {
        let basic = |user: &str, password: &Secret| {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.reveal())))
        };
        Ok(match &self.config.auth {
            Auth::None => base.basic.as_ref().map(|(user, password)| basic(user, password)),
            Auth::Basic { user, password } => Some(basic(user, password)),
            Auth::Bearer(token) => Some(format!("Bearer {}", token.reveal())),
            Auth::OAuth(oauth) => {
                let token = self.tokens.get(&self.pool, oauth, self.config.read_timeout).await?;
                Some(format!("Bearer {}", token.reveal()))
            }
        })
    }
}

fn base(url: &str) -> Result<Base, Error> {
    let url = url.trim().trim_end_matches('/');
    let bad = |why: &str| {
        // whatever stands before an @ may be a password
        let shown = url.rsplit('@').next().unwrap_or_default();
        Error::new(ErrorKind::Config, format!("schema.registry.url: {shown} {why}"))
    };
    let (scheme, rest) =
        url.split_once("://").ok_or_else(|| bad("is no URL: http:// or https:// is missing"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(bad("is neither http nor https"));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let basic = user.map(|user| {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        (decode(user), Secret::new(decode(password)))
    });
    let url = format!("{scheme}://{host}{path}");
    url.parse::<Uri>().map_err(|error| bad("is no URL").caused_by(error))?;
    Ok(Base { url, basic })
}

/// Takes percent encoding off.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push((hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0)) as u8);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pool(config: &Config) -> Result<HttpPool, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(config.connect_timeout));
    http.set_nodelay(true);
    let tls = match &config.tls {
        Some(tls) => rustls::ClientConfig::clone(tls),
        None => {
            let mut roots = rustls::RootCertStore::empty();
            if config.urls.iter().any(|url| url.trim().starts_with("https"))
                || matches!(config.auth, Auth::OAuth(_))
            {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::new(ErrorKind::Config, "TLS cannot be set up").caused_by(error))?
                .with_root_certificates(roots)
                .with_no_client_auth()
        }
    };
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector))
}

/// Status, the wait that is asked for, and the whole answer.
pub(crate) async fn exchange(
    pool: &HttpPool,
    message: hyper::Request<Full<Bytes>>,
    url: &str,
    timeout: Duration,
) -> Result<(StatusCode, Option<Duration>, Bytes), Error> {
    let whole = async {
        let response = pool.request(message).await.map_err(|error| unreachable(url, error))?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after =
            header(RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let too_long = || {
            let what = format!("{url}: the answer is longer than {MAX_ANSWER} bytes");
            Error::new(ErrorKind::Malformed, what)
        };
        if response.body().size_hint().lower() > MAX_ANSWER as u64 {
            return Err(too_long());
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                return too_long();
            }
            Error::new(ErrorKind::Network, format!("{url}: the answer broke off: {error}"))
        })?;
        Ok((status, retry_after, body.to_bytes()))
    };
    let late = |_| {
        Err(Error::new(ErrorKind::Timeout, format!("{url}: no answer within {} ms", timeout.as_millis())))
    };
    tokio::time::timeout(timeout, whole).await.unwrap_or_else(late)
}

fn inside<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(inner)
}

fn unreachable(url: &str, error: hyper_util::client::legacy::Error) -> Error {
    let mut deepest: &(dyn std::error::Error + 'static) = &error;
    // an error of I/O names the source of what it holds, not what it holds
    while let Some(below) = inside(deepest).or_else(|| deepest.source()) {
        deepest = below;
    }
    let remedy = match deepest.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "; name its CA in schema.registry.ssl.truststore.location"
        }
        Some(rustls::Error::AlertReceived(_)) => {
            "; it may want a client certificate (schema.registry.ssl.keystore.location)"
        }
        _ => "",
    };
    // a certificate does not become right by waiting
    let kind = if remedy.is_empty() { ErrorKind::Network } else { ErrorKind::Authentication };
    Error::new(kind, format!("{url} cannot be reached: {deepest}{remedy}")).caused_by(error)
}

/// The error of an answer that is not 2xx.
fn refusal(url: &str, status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> Error {
    let json: Option<Json> = serde_json::from_slice(bytes).ok();
    let code = json.as_ref().and_then(|json| json.get("error_code")).and_then(Json::as_i64);
    let text = match json.as_ref().and_then(|json| json.get("message")).and_then(Json::as_str) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(bytes).chars().take(MAX_SHOWN).collect(),
    };
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::Authentication,
        404 => ErrorKind::NotFound,
        408 | 429 | 500..=599 => ErrorKind::Unavailable,
        409 => ErrorKind::Incompatible,
        _ => ErrorKind::Refused,
    };
    let remedy = if kind == ErrorKind::Authentication { " (see basic.auth.* and bearer.auth.*)" } else { "" };
    let code = code.and_then(|code| i32::try_from(code).ok()).unwrap_or_else(|| i32::from(status.as_u16()));
    let mut error = Error::new(kind, format!("{url}: {text}; error code: {code}{remedy}")).with_code(code);
    error.retry_after = retry_after;
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_taken_out_of_urls() {
        let found = base("https://me:se%40cret@host:8081/api/").unwrap();
        assert_eq!(found.url, "https://host:8081/api");
        let (user, password) = found.basic.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("me", "se@cret"));
        assert!(base("http://host").unwrap().basic.is_none());
        assert!(!base("ftp://me:secret@host").unwrap_err().message.contains("secret"));
        assert!(base("host:8081").unwrap_err().message.contains("http://"));
    }

    #[test]
    fn errors_keep_the_registrys_code() {
        let body = br#"{"error_code":40403,"message":"Schema 7 not found"}"#;
        let error = refusal("http://r", StatusCode::NOT_FOUND, None, body);
        assert_eq!((error.kind, error.code), (ErrorKind::NotFound, Some(40403)));
        let error = refusal("http://r", StatusCode::BAD_GATEWAY, None, b"<html>");
        assert_eq!((error.kind, error.code, error.is_retriable()), (ErrorKind::Unavailable, Some(502), true));
    }
}
