//! The TCP side: accepting connections, frames in, frames out.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::dispatch;
use crate::error::RequestError;
use crate::state::Shared;

/// Largest request (`socket.request.max.bytes`).
pub(crate) const MAX_REQUEST: usize = 100 << 20;

/// Most connections at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 4096;

/// Read buffer of a connection; larger reads go around it.
const READ_BUFFER: usize = 16 << 10;

/// First allocation for a request: the rest is reserved as the bytes come, so that a length alone costs no memory.
const FIRST_ALLOCATION: usize = 1 << 20;

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
}

/// Accepts until `shutdown` changes, then closes all connections.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let accepted = tokio::select! {
            _ = shutdown.changed() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, addr)) => {
                let shared = Arc::clone(&shared);
                let mut shutdown = shutdown.clone();
                connections.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        _ = shutdown.changed() => {}
                        () = connection(stream, Peer { addr }, shared) => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, usually: give others time to close.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, peer: Peer, shared: Arc<Shared>) {
    if let Err(error) = exchange(stream, &peer, &shared).await {
        tracing::warn!(peer = %peer.addr, %error, "connection closed");
    }
}

/// Requests of one connection are answered one after the other, in order, as Kafka does.
async fn exchange(stream: TcpStream, peer: &Peer, shared: &Arc<Shared>) -> Result<(), RequestError> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(READ_BUFFER, read);
    while let Some(frame) = read_frame(&mut read).await? {
        if let Some(parts) = Box::pin(dispatch::answer(shared, peer, frame)).await? {
            write.write_all_buf(&mut Parts::new(parts)).await?;
        }
    }
    Ok(())
}

/// The next request without its length, `None` when the peer closed or went away.
async fn read_frame(read: &mut (impl AsyncReadExt + Unpin)) -> Result<Option<Bytes>, RequestError> {
    let mut length = [0_u8; 4];
    if read.read_exact(&mut length).await.is_err() {
        return Ok(None);
    }
    let size = i32::from_be_bytes(length);
    let length = usize::try_from(size).ok().filter(|n| *n <= MAX_REQUEST);
    let Some(length) = length else {
        return Err(RequestError::FrameSize { size: i64::from(size), limit: MAX_REQUEST });
    };
    let mut frame = BytesMut::with_capacity(length.min(FIRST_ALLOCATION));
    while frame.len() < length {
        let missing = (length - frame.len()) as u64;
        if (&mut *read).take(missing).read_buf(&mut frame).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(frame.freeze()))
}

/// A response in pieces, written with vectored writes.
struct Parts {
    parts: VecDeque<Bytes>,
    remaining: usize,
}

impl Parts {
    fn new(parts: Vec<Bytes>) -> Parts {
        let remaining = parts.iter().map(Bytes::len).sum();
        Parts { parts: parts.into(), remaining }
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.parts.iter().find(|p| !p.is_empty()).map_or(&[], |p| p)
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, part) in dst.iter_mut().zip(self.parts.iter().filter(|p| !p.is_empty())) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining -= count;
        while let Some(front) = self.parts.front_mut() {
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.parts.pop_front();
        }
    }
}
