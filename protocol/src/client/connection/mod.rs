//! One connection to a broker: requests are queued in call order and leave in one vectored write; each answer is read
//! into one buffer of its own and handed to whoever asked.
//!
//! Cost per request: one lock to queue, one wake-up of the writer, one of the asker. Nothing is copied on the way out.

mod io;
mod stream;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::{Error, ErrorKind, Result};

pub(crate) use stream::{BoxedStream, SocketOptions, connect_tcp};

/// Most requests that may wait for an answer on one connection; beyond it a broker is not answering.
const MAX_PENDING: usize = 10_000;

/// A request that waits for its answer.
struct Pending {
    correlation_id: i32,
    header_version: i16,
    answer: oneshot::Sender<Result<Bytes>>,
}

#[derive(Default)]
struct State {
    outgoing: VecDeque<Bytes>,
    pending: VecDeque<Pending>,
    next_correlation_id: i32,
    /// Why the connection is of no more use.
    broken: Option<Error>,
    last_used: Option<Instant>,
    /// When the login has to be said again (KIP-368).
    expires: Option<Instant>,
}

/// What the halves of a connection share.
struct Shared {
    state: Mutex<State>,
    wake: Notify,
    peer: Arc<str>,
}

impl Shared {
    /// Ends the connection: whoever waits gets `error`.
    fn fail(&self, error: Error) {
        let pending = {
            let mut state = self.state.lock();
            state.broken.get_or_insert_with(|| error.clone());
            state.outgoing.clear();
            std::mem::take(&mut state.pending)
        };
        for request in pending {
            let _ = request.answer.send(Err(error.clone()));
        }
        self.wake.notify_one();
    }
}

/// A connection with its reader and writer running. Dropping it closes the socket; requests under way fail.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    client_id: StrBytes,
    tasks: [AbortHandle; 2],
}

// What was under way may be asked again on another connection: a retriable error.
impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.fail(Error::new(
            ErrorKind::Network,
            format!("the connection to {} was closed", self.shared.peer),
        ));
    }
}

impl Connection {
    /// Starts reader and writer on `stream`. `max_frame` bounds an answer's bytes.
    pub(crate) fn start(stream: BoxedStream, peer: Arc<str>, client_id: &str, max_frame: usize) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Notify::new(), peer });
        let (reader, writer) = tokio::io::split(stream);
        let tasks = [
            tokio::spawn(io::read_answers(Arc::clone(&shared), reader, max_frame)).abort_handle(),
            tokio::spawn(io::write_requests(Arc::clone(&shared), writer)).abort_handle(),
        ];
        Self { shared, client_id: StrBytes::from_string(client_id.to_owned()), tasks }
    }

    /// Why the connection is of no more use, if it isn't.
    pub(crate) fn broken(&self) -> Option<Error> {
        self.shared.state.lock().broken.clone()
    }

    /// When the last request was queued or answered, and whether any is under way.
    pub(crate) fn last_used(&self) -> (Option<Instant>, bool) {
        let state = self.shared.state.lock();
        (state.last_used, !state.pending.is_empty())
    }

    /// The login lasts `lifetime_ms` (0: for ever); the connection counts as expired a little earlier.
    pub(crate) fn expires_after(&self, lifetime_ms: i64) {
        let lifetime = u64::try_from(lifetime_ms).unwrap_or(0);
        // As the JVM: somewhere between 85 and 95 % of the time, so that clients don't come back all at once.
        let part = Duration::from_millis(lifetime).mul_f64(0.85 + 0.1 * fastrand::f64());
        self.shared.state.lock().expires = (lifetime > 0).then(|| Instant::now() + part);
    }

    /// Whether the login is about to end: new requests belong on a new connection.
    pub(crate) fn is_expired(&self) -> bool {
        self.shared.state.lock().expires.is_some_and(|at| at <= Instant::now())
    }

    /// Keeps the connection until its last answer is there.
    pub(crate) fn drain(self: Arc<Self>) {
        tokio::spawn(async move {
            while self.last_used().1 && self.broken().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    /// Queues a request now; requests leave in the order of these calls. `parts` is the request's body.
    pub(crate) fn enqueue(
        &self,
        api: ApiKey,
        version: i16,
        parts: Vec<Bytes>,
        answered: bool,
    ) -> Result<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.state.lock();
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        if state.pending.len() >= MAX_PENDING {
            let message = format!("{} requests to {} wait for an answer", MAX_PENDING, self.shared.peer);
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        let correlation_id = state.next_correlation_id;
        state.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        state.outgoing.push_back(self.head(api, version, correlation_id, &parts)?);
        state.outgoing.extend(parts);
        if answered {
            let header_version = api.response_header_version(version);
            state.pending.push_back(Pending { correlation_id, header_version, answer: sender });
        } else {
            let _ = sender.send(Ok(Bytes::new()));
        }
        state.last_used = Some(Instant::now());
        drop(state);
        self.shared.wake.notify_one();
        Ok(Answer { receiver, peer: Arc::clone(&self.shared.peer) })
    }

    /// Length prefix and request header.
    fn head(&self, api: ApiKey, version: i16, correlation_id: i32, parts: &[Bytes]) -> Result<Bytes> {
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let mut head = BytesMut::with_capacity(64 + self.client_id.len());
        head.put_i32(0);
        header.encode(&mut head, api.request_header_version(version)).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("the header of a {api:?} request cannot be written: {error}"),
            )
        })?;
        let body: usize = parts.iter().map(Bytes::len).sum();
        let length = i32::try_from(head.len() - 4 + body).map_err(|_| {
            Error::new(
                ErrorKind::Protocol,
                format!("a {api:?} request of {body} bytes is too large for a frame"),
            )
        })?;
        head[..4].copy_from_slice(&length.to_be_bytes());
        Ok(head.freeze())
    }
}

/// An answer to come: the frame after its header.
#[derive(Debug)]
pub struct Answer {
    receiver: oneshot::Receiver<Result<Bytes>>,
    peer: Arc<str>,
}

impl Future for Answer {
    type Output = Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| {
                let message = format!("the connection to {} was closed", self.peer);
                Err(Error::new(ErrorKind::Network, message))
            })
        })
    }
}
