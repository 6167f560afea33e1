//! How long a client may keep a connection waiting: what it sends, and what it is to take.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A wait that is begun when nothing comes, and forgotten when something does.
struct Wait {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    fn new(limit: Duration) -> Wait {
        Wait { limit, sleep: None }
    }

    /// Nothing came: ready once that has lasted too long.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx).map(|()| {
            io::Error::new(io::ErrorKind::TimedOut, format!("Idle timeout expired: {} ms", limit.as_millis()))
        })
    }

    /// What `polled` says, or an error once nothing has come for too long.
    fn or_over<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            return self.poll_over(cx).map(Err);
        }
        self.sleep = None;
        polled
    }
}

/// A stream whose other side has to take what is written to it. Reading is not watched: while a request is worked on, nothing is
/// to come.
pub(super) struct Taken<S> {
    stream: S,
    wait: Wait,
}

impl<S> Taken<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Taken<S> {
        Taken { stream, wait: Wait::new(limit) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wait.or_over(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wait.or_over(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait.or_over(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wait.or_over(shut, cx)
    }
}

/// A request body that has to go on coming.
pub(super) struct Coming<B> {
    body: B,
    wait: Wait,
}

impl<B> Coming<B> {
    pub(super) fn new(body: B, limit: Duration) -> Coming<B> {
        Coming { body, wait: Wait::new(limit) }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Coming<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            return self.wait.poll_over(cx).map(|error| Some(Err(error)));
        }
        self.wait.sleep = None;
        frame.map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether an error, or what caused it, is that a body did not go on.
pub(super) fn is_over(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(cause) = error {
        if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        error = cause.source();
    }
    false
}
