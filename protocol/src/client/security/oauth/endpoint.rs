//! A token end point: client credentials for a token (RFC 6749, 4.4).

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::super::Secret;
use super::super::jaas::{self, Jaas};
use super::super::tls::Tls;
use super::{URL, checked, login_error};
use crate::client::config::Values;
use crate::client::connection::{BoxedStream, SocketOptions, connect_tcp};
use crate::client::network::backoff;
use crate::client::security::config_error;
use crate::{Error, Result};

/// Largest answer.
const MAX_ANSWER: usize = 1 << 20;
/// Where `sasl.login.connect.timeout.ms` and `sasl.login.read.timeout.ms` are not set.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An end point with who we are there.
pub(super) struct Endpoint {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<Tls>,
    credentials: Secret,
    body: String,
    connect_timeout: Duration,
    read_timeout: Duration,
    /// First pause, and for how long in all it is tried again.
    retry: (Duration, Duration),
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.url)
    }
}

impl Endpoint {
    pub(super) fn read(values: &Values<'_>, jaas: &Jaas, url: &str) -> Result<Self> {
        let bad = || config_error(URL, format!("{url} is not an http, https or file URL"));
        let url: Uri = url.parse().map_err(|_| bad())?;
        let (default_port, is_https) = match url.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => return Err(bad()),
        };
        let host = url.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        // the JVM looks for the end point's stores among the options of the login module
        let tls = is_https.then(|| Tls::read(&Values::new(values.role(), jaas.options()))).transpose();
        let tls = tls.map_err(|error| error.context(jaas::KEY))?;
        let (id, secret) = credentials(values, jaas)?;
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(scope) = values.text("sasl.oauthbearer.scope").or_else(|| jaas.option("scope")) {
            body.push_str(&format!("&scope={}", encoded(scope)));
        }
        let timeout = |key: &str| values.given(key).map_or(Ok(TIMEOUT), |_| values.millis(key));
        Ok(Self {
            port: url.port_u16().unwrap_or(default_port),
            url,
            host,
            tls,
            credentials: Secret::new(BASE64_STANDARD.encode(format!("{id}:{}", secret.reveal()))),
            body,
            connect_timeout: timeout("sasl.login.connect.timeout.ms")?,
            read_timeout: timeout("sasl.login.read.timeout.ms")?,
            retry: (
                values.millis("sasl.login.retry.backoff.ms")?,
                values.millis("sasl.login.retry.backoff.max.ms")?,
            ),
        })
    }

    /// A token with its life; asked for again where that may help.
    pub(super) async fn fetch(&self) -> Result<(Secret, Duration)> {
        let (first, most) = self.retry;
        let deadline = Instant::now() + most;
        let mut attempt = 0;
        loop {
            let error = match self.ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = backoff(first, most, attempt);
            attempt += 1;
            if !error.is_retriable() || Instant::now() + pause > deadline {
                return Err(error);
            }
            tracing::debug!(%error, "no token yet");
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&self) -> Result<(Secret, Duration)> {
        let late = || login_error(true, format_args!("{} did not answer in time", self.url));
        let exchange = tokio::time::timeout(self.connect_timeout + self.read_timeout, self.exchange());
        let (status, body) = exchange.await.map_err(|_| late())??;
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            let why = answer.get("error_description").or_else(|| answer.get("error"));
            let why = why.and_then(serde_json::Value::as_str).unwrap_or("no reason is given");
            let what = format!("{} gives no token: {status}, {why}; check client id and secret", self.url);
            return Err(login_error(is_worth_retrying(status), what));
        }
        let malformed = |what: &str| login_error(false, format_args!("the answer of {}: {what}", self.url));
        let token = answer.get("access_token").and_then(serde_json::Value::as_str);
        let token = token.ok_or_else(|| malformed("there is no access_token in it"))?;
        let life = answer.get("expires_in").and_then(serde_json::Value::as_u64).map(Duration::from_secs);
        checked(token, life).map_err(malformed)
    }

    async fn exchange(&self) -> Result<(StatusCode, Bytes)> {
        let failed =
            |error: hyper::Error| login_error(true, format_args!("{}: {error}", self.url)).with_source(error);
        let options = SocketOptions::default();
        let socket = connect_tcp(&self.host, self.port, self.connect_timeout, &options).await;
        let named = |error: Error| error.context(URL);
        let socket = socket.map_err(named)?;
        let stream: BoxedStream = match &self.tls {
            Some(tls) => Box::new(tls.connect(&self.host, self.port, socket).await.map_err(named)?),
            None => Box::new(socket),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let connection = tokio::spawn(connection);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(path)
            .header(HOST, authority)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, format!("Basic {}", self.credentials.reveal()))
            .header(CACHE_CONTROL, "no-cache")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(self.body.clone())))
            .map_err(|error| config_error(URL, error))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(failed)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| login_error(true, format_args!("{}: {error}", self.url)))?;
            Ok((status, body.to_bytes()))
        };
        let answer = answer.await;
        connection.abort();
        answer
    }
}

/// Id and secret, of the settings or of the login module (KIP-1139).
fn credentials(values: &Values<'_>, jaas: &Jaas) -> Result<(String, Secret)> {
    const ID: &str = "sasl.oauthbearer.client.credentials.client.id";
    const SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
    let find = |key: &str, option: &str| {
        values.text(key).or_else(|| jaas.option(option)).ok_or_else(|| {
            config_error(
                key,
                format!("needed for {URL}, and neither it nor {option} in {} is set", jaas::KEY),
            )
        })
    };
    let (id, secret) = (find(ID, "clientId")?, find(SECRET, "clientSecret")?);
    if values.boolean("sasl.oauthbearer.header.urlencode")? {
        return Ok((encoded(id), Secret::new(encoded(secret))));
    }
    Ok((id.to_owned(), Secret::new(secret)))
}

/// The statuses after which the JVM does not try again.
fn is_worth_retrying(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 400..=407 | 409..=415 | 501 | 505)
}

/// As Java's `URLEncoder` does it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
