//! One connection per broker and purpose.

use std::sync::Arc;

use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::config::MAX_FRAME;
use super::super::connection::{BoxedStream, SocketOptions, connect_tcp};
use super::super::handshake;
use super::super::security::authenticate;
use super::{Connection, Error, ErrorKind, Network, Purpose, Result, Versions, backoff};
use crate::guard;

/// What becomes of an attempt to connect.
type Outcome = watch::Receiver<Option<Result<Arc<Connection>>>>;

/// A place in the pool.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) connection: Option<Arc<Connection>>,
    /// The attempt under way: all who want the connection wait for it together.
    attempt: Option<Outcome>,
    failures: u32,
    pub(super) not_before: Option<Instant>,
    /// Why there is no connection.
    last_error: Option<Error>,
    /// The broker wants to be left alone until then (KIP-219).
    throttled_until: Option<Instant>,
}

impl Network {
    pub(in crate::client) fn existing(&self, node: i32, purpose: Purpose) -> Option<Arc<Connection>> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(&(node, purpose))?;
        if slot.connection.as_ref().is_some_and(|connection| connection.is_expired())
            && let Some(expired) = slot.connection.take()
        {
            // What is under way is still answered there; the next request logs in anew.
            expired.drain();
        }
        let connection = slot.connection.as_ref()?;
        connection.broken().is_none().then(|| Arc::clone(connection))
    }

    pub(in crate::client) fn drop_connection(&self, node: i32, purpose: Purpose) {
        let connection = self.slots.lock().get_mut(&(node, purpose)).and_then(|slot| slot.connection.take());
        drop(connection);
    }

    /// Closes the connections to a broker that is somewhere else now.
    pub(super) fn forget_broker(&self, node: i32) {
        let mut slots = self.slots.lock();
        let gone: Vec<Slot> = slots.extract_if(|(id, _), _| *id == node).map(|(_, slot)| slot).collect();
        drop(slots);
        drop(gone);
        self.versions.lock().remove(&node);
    }

    /// The connection to `node`, made now if there is none.
    pub(in crate::client) async fn connection(&self, node: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        if let Some(connection) = self.existing(node, purpose) {
            return Ok(connection);
        }
        let mut attempt = self.attempt(node, purpose)?;
        let gone = || Error::new(ErrorKind::Network, format!("connecting to broker {node} was given up"));
        let outcome = attempt.wait_for(Option::is_some).await.map_err(|_| gone())?.clone();
        outcome.unwrap_or_else(|| Err(gone()))
    }

    /// The attempt that is under way, or a new one.
    fn attempt(&self, node: i32, purpose: Purpose) -> Result<Outcome> {
        let mut slots = self.slots.lock();
        let slot = slots.entry((node, purpose)).or_default();
        if let Some(attempt) = slot.attempt.clone().filter(|attempt| attempt.has_changed().is_ok()) {
            return Ok(attempt);
        }
        let closed = || Error::new(ErrorKind::Closed, "the client is closed");
        let network = self.this.upgrade().ok_or_else(closed)?;
        let (sender, receiver) = watch::channel(None);
        slot.attempt = Some(receiver.clone());
        let (wait, failures) = (slot.not_before, slot.failures);
        drop(slots);
        tokio::spawn(async move {
            if let Some(until) = wait {
                tokio::time::sleep_until(until).await;
            }
            let made = network.open(node, failures).await;
            network.settle(node, purpose, &made);
            let _ = sender.send(Some(made));
        });
        Ok(receiver)
    }

    fn settle(&self, node: i32, purpose: Purpose, made: &Result<Arc<Connection>>) {
        let mut slots = self.slots.lock();
        let slot = slots.entry((node, purpose)).or_default();
        slot.attempt = None;
        match made {
            Ok(connection) => {
                *slot = Slot { connection: Some(Arc::clone(connection)), ..Slot::default() };
            }
            Err(error) => {
                let (first, most) = self.config.reconnect_backoff;
                slot.not_before = Some(Instant::now() + backoff(first, most, slot.failures));
                slot.failures = slot.failures.saturating_add(1);
                slot.last_error = Some(error.clone());
            }
        }
    }

    async fn open(&self, node: i32, failures: u32) -> Result<Arc<Connection>> {
        let (host, port) = self.address(node)?;
        let peer: Arc<str> = format!("{host}:{port}").into();
        let (first, most) = self.config.connection_setup_timeout;
        let limit = backoff(first, most, failures);
        let (send_buffer, receive_buffer) = self.config.socket_buffers;
        let options = SocketOptions { send_buffer, receive_buffer };
        let handshake = async {
            let socket = connect_tcp(&host, port, limit, &options).await?;
            let stream: BoxedStream = match &self.config.security.tls {
                Some(tls) => Box::new(tls.connect(&host, port, socket).await?),
                None => Box::new(socket),
            };
            let connection = Connection::start(stream, Arc::clone(&peer), &self.config.client_id, MAX_FRAME);
            let versions = handshake::api_versions(&connection).await?;
            if let Some(sasl) = &self.config.security.sasl {
                let lifetime_ms = authenticate(&connection, sasl, &peer).await?;
                connection.expires_after(lifetime_ms);
            }
            Ok((connection, versions))
        };
        let all = limit.max(self.config.request_timeout);
        let (connection, versions) = tokio::time::timeout(all, handshake).await.map_err(|_| {
            let message = format!("{peer} did not answer the handshake within {} ms", all.as_millis());
            Error::new(ErrorKind::Timeout, message)
        })??;
        self.versions.lock().insert(node, Arc::new(versions));
        Ok(Arc::new(connection))
    }

    /// What `node` speaks, asked when a connection to it is made.
    pub(in crate::client) async fn versions(&self, node: i32) -> Result<Arc<Versions>> {
        if let Some(versions) = self.versions.lock().get(&node) {
            return Ok(Arc::clone(versions));
        }
        self.connection(node, Purpose::General).await?;
        let versions = self.versions.lock().get(&node).cloned();
        versions.ok_or_else(|| {
            Error::new(ErrorKind::Network, format!("broker {node} did not say what it speaks"))
        })
    }

    /// Sends a body and gives the answer after its header, all of it before `deadline`.
    pub(in crate::client) async fn send(
        &self,
        (node, purpose): (i32, Purpose),
        (api, version): (ApiKey, i16),
        parts: Vec<bytes::Bytes>,
        deadline: Instant,
    ) -> Result<bytes::Bytes> {
        let began = Instant::now();
        let connected = async {
            self.until_unthrottled(node, purpose).await;
            self.connection(node, purpose).await
        };
        let Ok(connection) = tokio::time::timeout_at(deadline, connected).await else {
            return Err(self.unreachable(node, purpose, api, deadline - began));
        };
        let answer = connection?.enqueue(api, version, parts, true)?;
        let Ok(answer) = tokio::time::timeout_at(deadline, answer).await else {
            self.drop_connection(node, purpose);
            let waited = (deadline - began).as_millis();
            let message = format!("broker {node} did not answer {api:?} within {waited} ms");
            return Err(Error::new(ErrorKind::Timeout, message));
        };
        let answer = answer?;
        if let Some(throttle) = guard::throttle_time(api, version, &answer) {
            tracing::debug!(node, ?api, ?throttle, "the broker throttles us");
            let mut slots = self.slots.lock();
            slots.entry((node, purpose)).or_default().throttled_until = Some(Instant::now() + throttle);
        }
        Ok(answer)
    }

    /// Waits while the broker wants to be left alone on this connection.
    async fn until_unthrottled(&self, node: i32, purpose: Purpose) {
        let until = self.slots.lock().get(&(node, purpose)).and_then(|slot| slot.throttled_until);
        if let Some(until) = until.filter(|until| *until > Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }

    /// The error for a request that found no connection in time.
    pub(in crate::client) fn unreachable(
        &self,
        node: i32,
        purpose: Purpose,
        api: ApiKey,
        waited: std::time::Duration,
    ) -> Error {
        let last = self.slots.lock().get(&(node, purpose)).and_then(|slot| slot.last_error.clone());
        let waited = waited.as_millis();
        let message = format!("no connection to broker {node} for {api:?} within {waited} ms");
        match last {
            Some(last) => Error::new(ErrorKind::Timeout, format!("{message}: {last}")).with_source(last),
            None => Error::new(ErrorKind::Timeout, message),
        }
    }

    /// Closes connections that were not used for `connections.max.idle.ms`.
    pub(super) fn close_idle(&self) {
        let limit = self.config.connections_max_idle;
        let mut idle = Vec::new();
        for slot in self.slots.lock().values_mut() {
            let is_idle = slot.connection.as_ref().is_some_and(|connection| {
                let (last, busy) = connection.last_used();
                !busy && last.is_some_and(|last| last.elapsed() > limit)
            });
            if is_idle {
                idle.extend(slot.connection.take());
            }
        }
        drop(idle);
    }
}
