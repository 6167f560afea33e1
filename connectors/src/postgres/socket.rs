//! A TCP socket that can be left alone for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket. Each segment that arrives wakes a thread that watches for it, even if nobody reads: a walsender makes a
/// segment of each change. While nobody watches they gather in the kernel at no cost.
pub(super) enum Socket {
    Watched(TcpStream),
    Unwatched(std::net::TcpStream),
    /// Between the two, or after one could not be made of the other.
    Gone,
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Socket {
    /// Is not told of what arrives until the next read or write.
    pub(super) fn leave_alone(&mut self) -> io::Result<()> {
        if let Socket::Watched(stream) = std::mem::replace(self, Socket::Gone) {
            *self = Socket::Unwatched(stream.into_std()?);
        }
        Ok(())
    }

    fn watched(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Socket::Unwatched(_) = self
            && let Socket::Unwatched(stream) = std::mem::replace(self, Socket::Gone)
        {
            *self = Socket::Watched(TcpStream::from_std(stream)?);
        }
        match self {
            Socket::Watched(stream) => Ok(Pin::new(stream)),
            _ => Err(gone()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().watched()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_arrives_unwatched_is_read_later() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut socket, mut peer) = (Socket::Watched(ours.unwrap()), theirs.unwrap().0);
        for round in 0..3_u8 {
            socket.leave_alone().unwrap();
            assert!(matches!(socket, Socket::Unwatched(_)));
            peer.write_all(&[round, round + 1]).await.unwrap();
            let mut read = [0; 2];
            socket.read_exact(&mut read).await.unwrap();
            assert_eq!(read, [round, round + 1]);
            socket.leave_alone().unwrap();
            socket.write_all(&read).await.unwrap();
            peer.read_exact(&mut read).await.unwrap();
            assert_eq!(read, [round, round + 1]);
        }
        drop(peer);
        socket.leave_alone().unwrap();
        assert_eq!(socket.read(&mut [0; 2]).await.unwrap(), 0);
    }
}
