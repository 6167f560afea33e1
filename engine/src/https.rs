//! The HTTP client of a worker: plain and TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::ClientConfig;

/// How long a connection is kept for the next request: less than the 30 s after which workers, ours and the JVM's, close idle
/// ones, so that no request meets a connection that is just being closed.
const KEPT: Duration = Duration::from_secs(20);

/// A client with its connections; clones share them.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that speaks TLS by these settings, and HTTP in the clear where a URL says so.
pub(crate) fn client(tls: &Arc<ClientConfig>) -> HttpClient {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(ClientConfig::clone(tls))
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(KEPT).build(connector)
}
