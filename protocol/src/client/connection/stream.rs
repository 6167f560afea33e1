//! Sockets: TCP now, TLS over it where asked.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use crate::{Error, ErrorKind, Result};

/// What a connection reads and writes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A socket with whatever wraps it.
pub(crate) type BoxedStream = Box<dyn Stream>;

/// How sockets are made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketOptions {
    /// `send.buffer.bytes`.
    pub(crate) send_buffer: Option<u32>,
    /// `receive.buffer.bytes`.
    pub(crate) receive_buffer: Option<u32>,
}

/// Opens a TCP connection to `host`:`port`, trying each of its addresses in turn, each for `timeout`.
pub(crate) async fn connect_tcp(
    host: &str,
    port: u16,
    timeout: Duration,
    options: &SocketOptions,
) -> Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| {
        Error::new(ErrorKind::Network, format!("the host name {host} cannot be resolved: {error}"))
            .with_source(error)
    })?;
    let mut last = None;
    for address in addresses {
        match tokio::time::timeout(timeout, connect_to(address, options)).await {
            Ok(Ok(stream)) => return Ok(stream),
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

async fn connect_to(address: SocketAddr, options: &SocketOptions) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
