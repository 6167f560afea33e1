//! Connections to a node: TCP, a proxy's tunnel, TLS; and the pool of those that wait for use.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body::Outgoing;
use super::settings::{Connection, Proxy};
use super::url::NodeUrl;

/// Longest answer of a proxy to CONNECT.
const MOST_PROXY_ANSWER: usize = 16 * 1024;
/// Most connections to one node that are kept without use.
const MOST_IDLE: usize = 1000;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that can take a request.
pub(super) struct Conn {
    pub(super) sender: SendRequest<Outgoing>,
    /// Whether it has served a request before: then it may have been closed meanwhile.
    pub(super) used: bool,
    task: tokio::task::AbortHandle,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections to one node.
pub(super) struct Pool {
    node: NodeUrl,
    idle: Mutex<Vec<(Conn, Instant)>>,
}

impl Pool {
    pub(super) fn new(node: NodeUrl) -> Pool {
        Pool { node, idle: Mutex::default() }
    }

    pub(super) fn node(&self) -> &NodeUrl {
        &self.node
    }

    /// A connection that waits for use, or a new one.
    pub(super) async fn get(
        &self,
        settings: &Connection,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Conn> {
        if let Some(conn) = self.waiting(settings.idle) {
            return Ok(conn);
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection within connection.timeout.ms");
        // 0 is without limit, as for the JVM's client
        let limit = if settings.connect_timeout.is_zero() { Duration::MAX } else { settings.connect_timeout };
        tokio::time::timeout(limit, self.connect(settings, tls)).await.unwrap_or_else(|_| Err(late()))
    }

    fn waiting(&self, longest: Option<Duration>) -> Option<Conn> {
        let mut idle = self.idle.lock();
        let now = Instant::now();
        idle.retain(|(conn, since)| {
            conn.sender.is_ready() && longest.is_none_or(|longest| now.duration_since(*since) < longest)
        });
        idle.pop().map(|(conn, _)| conn)
    }

    /// Gives a connection back whose answer has been read.
    pub(super) fn put(&self, mut conn: Conn) {
        conn.used = true;
        let mut idle = self.idle.lock();
        if !conn.sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push((conn, Instant::now()));
        }
    }

    async fn connect(&self, settings: &Connection, tls: Option<&Arc<ClientConfig>>) -> io::Result<Conn> {
        let node = &self.node;
        let stream = match &settings.proxy {
            None => TcpStream::connect((node.host.as_str(), node.port)).await?,
            Some(proxy) => {
                let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await?;
                if node.https {
                    tunnel(&mut stream, proxy, &node.authority()).await?;
                }
                stream
            }
        };
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls.filter(|_| node.https) {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(node.host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // errors of the connection come out of its requests
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Conn { sender, used: false, task })
    }
}

/// Asks a proxy for a tunnel.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, authority: &str) -> io::Result<()> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {}\r\n", authorization.0));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MOST_PROXY_ANSWER {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        answer.push(stream.read_u8().await?);
    }
    let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if status != b"200" {
        return Err(io::Error::other(format!(
            "the proxy refuses a tunnel: status {} (see proxy.username and proxy.password)",
            String::from_utf8_lossy(status.get(..3).unwrap_or(status))
        )));
    }
    Ok(())
}
