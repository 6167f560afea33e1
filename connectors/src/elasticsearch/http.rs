//! Requests to the cluster: nodes in turn, bounded answers, and what went wrong in words.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_engine::config::ConfigError;
use aqueduct_engine::connector::{ConfigMap, tls_client};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Response};
use parking_lot::Mutex;
use rustls::ClientConfig;
use serde_json::Value as Json;
use thiserror::Error;

use super::body::{BulkBody, Outgoing};
use super::bulk::Bulk;
use super::connect::{Conn, Pool};
use super::nodes::Nodes;
use super::outcome::remedy;
use super::response::{FILTER, error_text, without_values};
use super::settings::{Connection, Secret};

/// Largest answer that is read.
const MAX_ANSWER: usize = 128 * 1024 * 1024;
/// Longest part of an answer that is no error of the cluster's which is shown.
const MAX_SHOWN: usize = 200;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the cluster says, without what it quotes.
    pub(super) fn reason(&self) -> String {
        let error = serde_json::from_slice::<Json>(&self.body).ok();
        match error.as_ref().and_then(|json| json.get("error")) {
            Some(error) => without_values(&error_text(error)),
            None => String::from_utf8_lossy(&self.body).chars().take(MAX_SHOWN).collect(),
        }
    }
}

/// A request that got no answer.
#[derive(Debug, Error)]
#[error("{node}: {what}{remedy}")]
pub(super) struct Unanswered {
    node: String,
    what: String,
    remedy: &'static str,
    /// Whether trying again is of use.
    pub(super) passes: bool,
}

/// What is sent.
#[derive(Clone)]
pub(super) enum Message {
    /// Method, path and JSON, if any.
    Small(Method, String, Option<Bytes>),
    /// Operations of a bulk.
    Bulk(Arc<Bulk>, Arc<[u32]>),
}

/// The cluster.
pub(super) struct Http {
    settings: Connection,
    pools: Vec<Pool>,
    nodes: Mutex<Nodes>,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(settings: Connection, config: &ConfigMap) -> Result<Http, ConfigError> {
        let https = settings.nodes.iter().any(|node| node.https);
        let tls = https.then(|| tls_client(config, settings.flavor.tls_prefix())).transpose()?;
        let nodes = Mutex::new(Nodes::new(settings.nodes.len()));
        let pools = settings.nodes.iter().cloned().map(Pool::new).collect();
        Ok(Http { settings, pools, nodes, tls })
    }

    /// One request, at whatever node: one that cannot be reached is passed over while there is another.
    pub(super) async fn send(&self, message: &Message) -> Result<Answer, Unanswered> {
        let mut tried = 0;
        loop {
            let at = self.nodes.lock().pick(Instant::now());
            let Some(pool) = self.pools.get(at) else {
                return Err(self.unanswered("connection.url", "there is no node".to_owned(), "", false));
            };
            tried += 1;
            let answer = self.send_to(pool, message).await;
            let mut nodes = self.nodes.lock();
            match answer {
                Ok(answer) => {
                    // a node that is up but cannot serve is no better than one that is down
                    if matches!(answer.status, 502..=504) {
                        nodes.failed(at, Instant::now());
                    } else {
                        nodes.answered(at);
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    nodes.failed(at, Instant::now());
                    if tried >= self.pools.len() || !nodes.has_other(at, Instant::now()) {
                        return Err(error);
                    }
                    tracing::warn!("a node is left out for a while: {error}");
                }
            }
        }
    }

    fn unanswered(&self, node: &str, what: String, remedy: &'static str, passes: bool) -> Unanswered {
        Unanswered { node: node.to_owned(), what, remedy, passes }
    }

    async fn send_to(&self, pool: &Pool, message: &Message) -> Result<Answer, Unanswered> {
        let node = pool.node().authority();
        loop {
            let conn = pool.get(&self.settings, self.tls.as_ref()).await.map_err(|error| {
                let (remedy, passes) = connect_remedy(&error);
                self.unanswered(&node, format!("cannot be reached: {error}"), remedy, passes)
            })?;
            let used = conn.used;
            match self.exchange(pool, conn, message).await {
                Ok(answer) => return Ok(answer),
                // it was closed while it waited for use: nothing of the request has left
                Err(Trouble::Hyper(error)) if used && (error.is_canceled() || error.is_closed()) => {}
                Err(trouble) => {
                    let remedy = if matches!(trouble, Trouble::Late) {
                        "; raise read.timeout.ms, or lower batch.size and bulk.size.bytes"
                    } else {
                        ""
                    };
                    return Err(self.unanswered(&node, trouble.to_string(), remedy, true));
                }
            }
        }
    }

    async fn exchange(&self, pool: &Pool, mut conn: Conn, message: &Message) -> Result<Answer, Trouble> {
        let progress = Arc::new(AtomicU64::new(0));
        let request = self.request(pool, message, Arc::clone(&progress))?;
        conn.sender.ready().await?;
        let limit = self.settings.read_timeout;
        let response = silent_for(limit, &progress, conn.sender.send_request(request)).await??;
        let answer = silent_for(limit, &progress, read(response)).await??;
        pool.put(conn);
        Ok(answer)
    }

    fn request(
        &self,
        pool: &Pool,
        message: &Message,
        progress: Arc<AtomicU64>,
    ) -> Result<Request<Outgoing>, Trouble> {
        let node = pool.node();
        let (method, path) = match message {
            Message::Small(method, path, _) => (method.clone(), path.clone()),
            Message::Bulk(..) => (Method::POST, format!("/_bulk?{FILTER}")),
        };
        // a proxy for plain HTTP wants the whole URL
        let proxy = self.settings.proxy.as_ref().filter(|_| !node.https);
        let target = match proxy {
            Some(_) => format!("http://{}{}{path}", node.authority(), node.path),
            None => format!("{}{path}", node.path),
        };
        let mut builder = Request::builder().method(method).uri(target).header(HOST, node.authority());
        if let Some(Secret(value)) = node.authorization.as_ref().or(self.settings.authorization.as_ref()) {
            builder = builder.header(AUTHORIZATION, secret(value)?);
        }
        if let Some(Secret(value)) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
            builder = builder.header(PROXY_AUTHORIZATION, secret(value)?);
        }
        let body = match message {
            Message::Small(_, _, None) => Outgoing::Whole(None),
            Message::Small(_, _, Some(json)) => {
                builder = builder.header(CONTENT_TYPE, "application/json");
                Outgoing::whole(json.clone())
            }
            Message::Bulk(bulk, which) => {
                builder = builder.header(CONTENT_TYPE, "application/x-ndjson");
                let gzip = self.settings.compression;
                if gzip {
                    builder = builder.header(CONTENT_ENCODING, "gzip");
                }
                Outgoing::Bulk(Box::new(BulkBody::new(Arc::clone(bulk), Arc::clone(which), gzip, progress)))
            }
        };
        builder.body(body).map_err(|error| Trouble::Request(error.to_string()))
    }
}

fn secret(value: &str) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Trouble::Request("user, password or API key have characters that a header cannot have".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why there is no answer.
#[derive(Debug, Error)]
enum Trouble {
    #[error("{}", deepest(.0))]
    Hyper(#[from] hyper::Error),
    #[error("no answer within read.timeout.ms")]
    Late,
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
    #[error("no request can be made: {0}")]
    Request(String),
}

fn deepest(error: &hyper::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    format!("the connection broke: {deepest}")
}

/// Waits as long as something moves; `limit` counts from the last move. 0 is without limit.
async fn silent_for<T>(
    limit: Duration,
    progress: &AtomicU64,
    work: impl Future<Output = T>,
) -> Result<T, Trouble> {
    if limit.is_zero() {
        return Ok(work.await);
    }
    let mut work = std::pin::pin!(work);
    let mut seen = progress.load(Ordering::Relaxed);
    loop {
        if let Ok(done) = tokio::time::timeout(limit, &mut work).await {
            return Ok(done);
        }
        let now = progress.load(Ordering::Relaxed);
        if std::mem::replace(&mut seen, now) == now {
            return Err(Trouble::Late);
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Trouble> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { Trouble::TooLong } else { Trouble::BrokeOff(error.to_string()) }
    })?;
    Ok(Answer { status, body: body.to_bytes() })
}

/// What to do about a connection that failed, and whether trying again is of use.
fn connect_remedy(error: &std::io::Error) -> (&'static str, bool) {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => (
            "; name its authority in ssl.truststore.location (with the connector's prefix for TLS keys)",
            false,
        ),
        Some(rustls::Error::AlertReceived(_)) => {
            ("; it may want a client certificate (ssl.keystore.location)", false)
        }
        Some(rustls::Error::InvalidMessage(_)) => ("; the port does not seem to speak TLS", false),
        _ => ("", true),
    }
}

/// An answer that is not 2xx, in words.
pub(super) fn refusal(answer: &Answer) -> String {
    format!("status {}: {}{}", answer.status, answer.reason(), remedy(answer.status))
}
