//! Sockets: TCP now, TLS over it where asked.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::{Error, ErrorKind, Result};

/// What a connection reads and writes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A socket with whatever wraps it.
pub(crate) type BoxedStream = Box<dyn Stream>;

/// Opens a TCP connection to `host`:`port`, trying each of its addresses in turn.
pub(crate) async fn connect_tcp(host: &str, port: u16, timeout: Duration) -> Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| {
        Error::new(ErrorKind::Network, format!("the host name {host} cannot be resolved: {error}"))
            .with_source(error)
    })?;
    let mut last = None;
    for address in addresses {
        match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => {
                let message = format!("no connection to {host}:{port} ({address}): {error}");
                last = Some(Error::new(ErrorKind::Network, message).with_source(error));
            }
            Err(_) => {
                let message = format!("no connection to {host}:{port} ({address}) within {timeout:?}");
                last = Some(Error::new(ErrorKind::Timeout, message));
            }
        }
    }
    Err(last
        .unwrap_or_else(|| Error::new(ErrorKind::Network, format!("the host name {host} has no address"))))
}
