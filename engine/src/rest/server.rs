//! Listeners: plain and TLS, what is served on each, and an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// How long requests under way may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that wait to be served.
const READY: usize = 64;
/// Handshakes at a time: more clients wait at the socket.
const HANDSHAKES: usize = 256;
/// Wait after the operating system has refused a connection: mostly for want of file descriptors.
const REFUSED: Duration = Duration::from_millis(200);

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
pub(super) async fn run(
    listener: Listener,
    router: Router,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (drain, mut draining) = tokio::sync::watch::channel(false);
    let graceful = async move {
        stopped.await;
        let _ = drain.send(true);
    };
    let ended = async {
        let _ = draining.wait_for(|draining| *draining).await;
        tokio::time::sleep(DRAIN).await;
    };
    match listener.tls {
        None => {
            let served = axum::serve(listener.socket, router).with_graceful_shutdown(graceful);
            tokio::select! { result = async { served.await } => result, () = ended => Ok(()) }
        }
        Some(tls) => {
            let served = axum::serve(TlsListener::start(listener.socket, tls), router)
                .with_graceful_shutdown(graceful);
            tokio::select! { result = async { served.await } => result, () = ended => Ok(()) }
        }
    }
}

/// Gives connections whose handshake is done: a client that is slow at it holds up nobody.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    fn start(socket: TcpListener, tls: Arc<ServerConfig>) -> TlsListener {
        let address = socket.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let (done, ready) = mpsc::channel(READY);
        tokio::spawn(accept(socket, TlsAcceptor::from(tls), done));
        TlsListener { ready, address }
    }
}

async fn accept(
    socket: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let turns = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = done.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("REST: a connection was refused: {error}");
                tokio::time::sleep(REFUSED).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(done.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!("REST: TLS with {address} failed: {error}"),
                Err(_) => tracing::debug!("REST: {address} did not finish its TLS handshake in time"),
            }
            drop(turn);
        });
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await, // the end of the worker
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
