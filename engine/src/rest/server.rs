//! Listeners: plain and TLS, what is served on each, how long clients may take, and an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::patience::{Coming, Taken};

/// How long requests under way may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(1);
/// Wait after the operating system has refused a connection: mostly for want of file descriptors.
const REFUSED: Duration = Duration::from_millis(200);
/// Connections at a time: more clients wait at the socket, until one of them is idle for too long.
const CONNECTIONS: usize = 512;

/// How long a client may keep its connection waiting.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// For its handshake.
    handshake: Duration,
    /// From the start of a connection, or the end of a request, to the end of the next one's headers; between two parts of a
    /// body, and until it has taken some of what is sent to it.
    idle: Duration,
}

/// Jetty's idle timeout is the JVM worker's.
const LIMITS: Limits = Limits { handshake: Duration::from_secs(10), idle: Duration::from_secs(30) };

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Everything but `/admin`.
    Public,
    /// `/admin` only.
    Admin,
}

/// A bound listener.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// TLS, for `https`.
    pub tls: Option<Arc<ServerConfig>>,
    /// What it serves.
    pub scope: Scope,
}

/// Serves until `stopped` resolves.
pub(super) async fn run(listener: Listener, router: Router, stopped: impl Future<Output = ()>) {
    let tls = listener.tls.map(TlsAcceptor::from);
    serve(listener.socket, Server { tls, router, limits: LIMITS }, stopped).await;
}

async fn serve(socket: TcpListener, server: Server, stopped: impl Future<Output = ()>) {
    let server = Arc::new(server);
    let (drain, draining) = watch::channel(false);
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
            match socket.accept().await {
                Ok((stream, address)) => {
                    let (server, draining) = (Arc::clone(&server), draining.clone());
                    tokio::spawn(async move {
                        server.connection(stream, address, draining).await;
                        drop(turn);
                    });
                }
                Err(error) => {
                    tracing::warn!("REST: a connection was refused: {error}");
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stopped => {}
    }
    drop(socket);
    drain.send_replace(true);
    // what has not ended then is cut off, as the sender goes
    let all = turns.acquire_many(CONNECTIONS as u32);
    let _ = tokio::time::timeout(DRAIN, all).await;
}

/// What the connections of a listener share.
struct Server {
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
}

impl Server {
    async fn connection(&self, stream: TcpStream, address: SocketAddr, draining: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = &self.tls else { return self.requests(stream, address, draining).await };
        match tokio::time::timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.requests(stream, address, draining).await,
            Ok(Err(error)) => tracing::debug!("REST: TLS with {address} failed: {error}"),
            Err(_) => tracing::debug!("REST: {address} did not finish its TLS handshake in time"),
        }
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        address: SocketAddr,
        mut draining: watch::Receiver<bool>,
    ) {
        let idle = self.limits.idle;
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            router.call(request.map(|body| Coming::new(body, idle)))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .serve_connection(TokioIo::new(Taken::new(stream, idle)), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = becomes(&mut draining, true) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = becomes(&mut draining, false) => return, // never, but the sender goes
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!("REST: the connection of {address} has ended: {error}");
        }
    }
}

/// Returns also when the sender is gone.
async fn becomes(draining: &mut watch::Receiver<bool>, value: bool) {
    let _ = draining.wait_for(|draining| *draining == value).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::routing::{get, put};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::super::forward::Incoming;
    use super::*;

    /// Much more than a busy machine delays anything.
    const IDLE: Duration = Duration::from_secs(1);
    /// Longer than anything of these tests takes, on a busy machine too.
    const LIMIT: Duration = Duration::from_secs(20);
    /// More than the buffers of a connection on loopback hold.
    const LARGE: usize = 64 << 20;

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: tokio::task::JoinHandle<()>,
    }

    async fn served() -> Served {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let slow = || async {
            tokio::time::sleep(IDLE * 4).await;
            "worked"
        };
        let router = Router::new()
            .route("/slow", put(slow))
            .route("/large", get(|| async { Bytes::from(vec![b'x'; LARGE]) }))
            .route("/body", put(|incoming: Incoming| async move { incoming.body }));
        let limits = Limits { handshake: IDLE, idle: IDLE };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server { tls: None, router, limits };
        let ended = tokio::spawn(serve(socket, server, async move {
            let _ = stopped.await;
        }));
        Served { address, stop, ended }
    }

    impl Served {
        async fn connect(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }
    }

    /// What comes until the server closes, which it has to.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut text)).await;
        let _ = read.expect("the server leaves the connection open"); // a reset is an end too
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes a byte at a time, each well within the limit, until the server does not take them any more.
    async fn trickle(stream: &mut TcpStream) -> Duration {
        let began = Instant::now();
        while stream.write_all(b"x").await.is_ok() {
            assert!(began.elapsed() < LIMIT, "the server goes on reading");
            tokio::time::sleep(IDLE / 10).await;
        }
        began.elapsed()
    }

    #[tokio::test]
    async fn whoever_sends_nothing_or_too_slowly_is_cut_off() {
        let server = served().await;
        let mut silent = server.connect("").await;
        assert_eq!(rest(&mut silent).await, "");
        trickle(&mut server.connect("PUT /slow HTTP/1.1\r\nX-Slow: ").await).await;
        let mut kept = server.connect("PUT /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok").await;
        let answer = rest(&mut kept).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "then idle: {answer}");
        let mut body = server.connect("PUT /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx").await;
        let answer = rest(&mut body).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("Idle timeout expired"), "{answer}");
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_cut_off() {
        let server = served().await;
        let mut stream = server.connect("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await;
        tokio::time::sleep(IDLE * 4).await;
        assert!(rest(&mut stream).await.len() < LARGE, "all of it, long after");
    }

    #[tokio::test]
    async fn a_request_may_take_its_time() {
        let server = served().await;
        let request = "PUT /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n";
        let mut two = server.connect(&format!("{request}\r\n{request}Connection: close\r\n\r\n")).await;
        assert_eq!(rest(&mut two).await.matches("worked").count(), 2);
    }

    #[tokio::test]
    async fn more_connections_than_there_may_be() {
        let server = served().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS + 50 {
            silent.push(server.connect("").await);
        }
        let request = "PUT /body HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        assert!(rest(&mut server.connect(request).await).await.ends_with("ok"), "once idle ones are cut off");
        assert_eq!(rest(&mut silent[0]).await, "");
    }

    #[tokio::test]
    async fn the_end_waits_for_requests_but_not_for_ever() {
        let server = served().await;
        let request = "PUT /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n";
        let mut body = server.connect(request).await;
        tokio::time::sleep(IDLE / 20).await;
        server.stop.send(()).unwrap();
        tokio::time::sleep(IDLE / 20).await;
        body.write_all(b"ok").await.unwrap();
        let answer = rest(&mut body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {}", StatusCode::OK.as_u16())), "{answer}");
        tokio::time::timeout(LIMIT, server.ended).await.expect("the end").unwrap();
    }
}
