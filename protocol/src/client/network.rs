//! The pool behind a client: one connection per broker and purpose, what each broker speaks, and the metadata snapshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::{Encodable, Message};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::config::{ClientConfig, MAX_FRAME};
use super::connection::{BoxedStream, Connection, SocketOptions, connect_tcp};
use super::handshake::{self, Versions};
use super::messages::topic_name;
use super::metadata::{Metadata, Node};
use super::security::authenticate;
use super::{CoordinatorKind, NodeTarget, Purpose};
use crate::guard::decode_response;
use crate::wire::TopicPartition;
use crate::wire::fetch::{LeaderAndEpoch, NodeEndpoint};
use crate::{Error, ErrorKind, Result};

/// A place in the pool.
#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    /// Held by whoever connects, so that there is one attempt at a time.
    connecting: Arc<tokio::sync::Mutex<()>>,
    failures: u32,
    not_before: Option<Instant>,
}

/// The shared half of a [`super::Client`].
pub(super) struct Network {
    pub(super) config: ClientConfig,
    slots: Mutex<HashMap<(i32, Purpose), Slot>>,
    versions: Mutex<HashMap<i32, Arc<Versions>>>,
    /// Coordinators and brokers that metadata doesn't list yet.
    learned: Mutex<HashMap<i32, Node>>,
    coordinators: Mutex<HashMap<(CoordinatorKind, String), i32>>,
    topics: Mutex<BTreeSet<String>>,
    snapshot: watch::Sender<Arc<Metadata>>,
    update: Notify,
    fetching: tokio::sync::Mutex<()>,
}

impl Network {
    pub(super) fn new(config: ClientConfig) -> Arc<Self> {
        let network = Arc::new(Self {
            config,
            slots: Mutex::default(),
            versions: Mutex::default(),
            learned: Mutex::default(),
            coordinators: Mutex::default(),
            topics: Mutex::default(),
            snapshot: watch::channel(Arc::default()).0,
            update: Notify::new(),
            fetching: tokio::sync::Mutex::default(),
        });
        tokio::spawn(keep_fresh(Arc::downgrade(&network)));
        network
    }

    pub(super) fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.snapshot.borrow())
    }

    pub(super) fn snapshots(&self) -> watch::Receiver<Arc<Metadata>> {
        self.snapshot.subscribe()
    }

    pub(super) fn request_update(&self) {
        self.update.notify_one();
    }

    pub(super) fn watch_topics(&self, topics: &[&str]) {
        self.topics.lock().extend(topics.iter().map(ToString::to_string));
    }

    pub(super) fn watch_only(&self, topics: &[&str]) {
        let wanted: BTreeSet<String> = topics.iter().map(ToString::to_string).collect();
        let is_wanted = |name: &str| wanted.contains(name);
        self.snapshot.send_if_modified(|snapshot| {
            let surplus = snapshot.topics.keys().any(|name| !is_wanted(name));
            if surplus {
                *snapshot = Arc::new(snapshot.with_only(is_wanted));
            }
            surplus
        });
        *self.topics.lock() = wanted;
    }

    pub(super) fn learn_leaders(
        &self,
        leaders: &[(TopicPartition, LeaderAndEpoch)],
        endpoints: &[NodeEndpoint],
    ) {
        self.snapshot.send_if_modified(|snapshot| {
            let next = snapshot.with_leaders(leaders, endpoints);
            next.map(|next| *snapshot = Arc::new(next)).is_some()
        });
    }

    pub(super) fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Option<i32> {
        self.coordinators.lock().get(&(kind, key.to_owned())).copied()
    }

    pub(super) fn set_coordinator(&self, kind: CoordinatorKind, key: &str, node: i32) {
        self.coordinators.lock().insert((kind, key.to_owned()), node);
    }

    pub(super) fn forget_coordinator(&self, kind: CoordinatorKind, key: &str) {
        self.coordinators.lock().remove(&(kind, key.to_owned()));
    }

    pub(super) fn learn_node(&self, node: Node) {
        self.learned.lock().insert(node.id, node);
    }

    /// Node id for a target. Bootstrap servers have the ids -1, -2, …
    pub(super) async fn pick(&self, target: NodeTarget) -> Result<i32> {
        match target {
            NodeTarget::Id(node) => Ok(node),
            NodeTarget::Any => Ok(self.any_node()),
            NodeTarget::Controller => {
                let mut metadata = self.metadata();
                if metadata.controller < 0 || metadata.version == 0 {
                    metadata = self.fetch_metadata().await?;
                }
                Ok(if metadata.controller >= 0 { metadata.controller } else { self.any_node() })
            }
        }
    }

    /// A broker that is connected, else one that isn't being left alone, else any.
    fn any_node(&self) -> i32 {
        let metadata = self.metadata();
        let mut nodes: Vec<i32> = metadata.nodes.keys().copied().collect();
        let bootstrap = (1..=self.config.bootstrap_servers.len() as i32).map(|index| -index);
        nodes.sort_unstable();
        fastrand::shuffle(&mut nodes);
        nodes.extend(bootstrap);
        let slots = self.slots.lock();
        let now = Instant::now();
        let slot = |node: &i32| slots.get(&(*node, Purpose::General));
        let connected = |node: &&i32| {
            slot(node)
                .and_then(|slot| slot.connection.as_ref())
                .is_some_and(|connection| connection.broken().is_none())
        };
        let rested =
            |node: &&i32| slot(node).and_then(|slot| slot.not_before).is_none_or(|until| until <= now);
        nodes
            .iter()
            .find(connected)
            .or_else(|| nodes.iter().find(rested))
            .or(nodes.first())
            .copied()
            .unwrap_or(-1)
    }

    fn address(&self, node: i32) -> Result<(String, u16)> {
        if node < 0 {
            let server =
                usize::try_from(-i64::from(node) - 1).ok().and_then(|i| self.config.bootstrap_servers.get(i));
            if let Some(server) = server {
                return Ok(server.clone());
            }
        }
        let metadata = self.metadata();
        if let Some(node) = metadata.nodes.get(&node) {
            return Ok((node.host.clone(), node.port));
        }
        let learned = self.learned.lock().get(&node).map(|node| (node.host.clone(), node.port));
        learned.ok_or_else(|| {
            Error::new(ErrorKind::Network, format!("broker {node} is not part of the cluster now"))
        })
    }

    pub(super) fn existing(&self, node: i32, purpose: Purpose) -> Option<Arc<Connection>> {
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

    pub(super) fn drop_connection(&self, node: i32, purpose: Purpose) {
        let connection = self.slots.lock().get_mut(&(node, purpose)).and_then(|slot| slot.connection.take());
        drop(connection);
    }

    /// The connection to `node`, made now if there is none.
    pub(super) async fn connection(&self, node: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        if let Some(connection) = self.existing(node, purpose) {
            return Ok(connection);
        }
        let connecting = Arc::clone(&self.slots.lock().entry((node, purpose)).or_default().connecting);
        let _turn = connecting.lock().await;
        if let Some(connection) = self.existing(node, purpose) {
            return Ok(connection);
        }
        let wait = self.slots.lock().get(&(node, purpose)).and_then(|slot| slot.not_before);
        if let Some(until) = wait {
            tokio::time::sleep_until(until).await;
        }
        let made = self.open(node).await;
        let mut slots = self.slots.lock();
        let slot = slots.entry((node, purpose)).or_default();
        match made {
            Ok(connection) => {
                slot.failures = 0;
                slot.not_before = None;
                slot.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                let (first, most) = self.config.reconnect_backoff;
                slot.not_before = Some(Instant::now() + backoff(first, most, slot.failures));
                slot.failures = slot.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    async fn open(&self, node: i32) -> Result<Arc<Connection>> {
        let (host, port) = self.address(node)?;
        let peer: Arc<str> = format!("{host}:{port}").into();
        let limit = self.config.connection_setup_timeout.0;
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
        let (connection, versions) =
            match tokio::time::timeout(limit.max(self.config.request_timeout), handshake).await {
                Ok(made) => made?,
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!("{peer} did not answer the handshake"),
                    ));
                }
            };
        self.versions.lock().insert(node, Arc::new(versions));
        Ok(Arc::new(connection))
    }

    /// What `node` speaks, asked when a connection to it is made.
    pub(super) async fn versions(&self, node: i32) -> Result<Arc<Versions>> {
        if let Some(versions) = self.versions.lock().get(&node) {
            return Ok(Arc::clone(versions));
        }
        self.connection(node, Purpose::General).await?;
        let versions = self.versions.lock().get(&node).cloned();
        versions.ok_or_else(|| {
            Error::new(ErrorKind::Network, format!("broker {node} did not say what it speaks"))
        })
    }

    /// Asks for the watched topics, again until a broker answers or `default.api.timeout.ms` is over.
    pub(super) async fn fetch_metadata(&self) -> Result<Arc<Metadata>> {
        let before = self.metadata().version;
        let _turn = self.fetching.lock().await;
        let watched: Vec<String> = self.topics.lock().iter().cloned().collect();
        let now = self.metadata();
        // Somebody else's answer may have been what we want.
        if now.version > before && watched.iter().all(|topic| now.topic(topic).is_some()) {
            return Ok(now);
        }
        let topics = watched.iter().map(|name| named(name)).collect();
        let answer = self.ask_metadata(Some(topics), self.config.allow_auto_create_topics).await?;
        let next = Arc::new(self.metadata().updated(&answer, false));
        self.snapshot.send_replace(Arc::clone(&next));
        Ok(next)
    }

    /// Metadata of these topics alone; the snapshot is left as it is.
    pub(super) async fn fetch_topics(&self, topics: &[&str]) -> Result<Metadata> {
        let topics = topics.iter().map(|name| named(name)).collect();
        let answer = self.ask_metadata(Some(topics), false).await?;
        Ok(self.metadata().updated(&answer, true))
    }

    /// Metadata of all topics; the snapshot is left as it is but for the brokers.
    pub(super) async fn fetch_all_topics(&self) -> Result<Arc<Metadata>> {
        let answer = self.ask_metadata(None, false).await?;
        Ok(Arc::new(self.metadata().updated(&answer, true)))
    }

    async fn ask_metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        creates: bool,
    ) -> Result<MetadataResponse> {
        let deadline = Instant::now() + self.config.api_timeout;
        let mut attempt = 0;
        loop {
            let node = self.any_node();
            let error = match self.ask_metadata_of(node, topics.clone(), creates).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = backoff(self.config.retry_backoff.0, self.config.retry_backoff.1, attempt);
            attempt += 1;
            if !error.is_retriable() || Instant::now() + wait > deadline {
                return Err(error.context("no broker of bootstrap.servers gave the cluster's metadata"));
            }
            tracing::debug!(%error, node, "metadata request failed");
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_metadata_of(
        &self,
        node: i32,
        topics: Option<Vec<MetadataRequestTopic>>,
        creates: bool,
    ) -> Result<MetadataResponse> {
        let ours = <MetadataRequest as Message>::VERSIONS;
        let version = self.versions(node).await?.pick(ApiKey::Metadata, ours.min..=ours.max, node)?;
        // Before version 1 an empty list means all topics.
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(creates || version < 4);
        let mut body = bytes::BytesMut::new();
        let malformed =
            |error| Error::new(ErrorKind::Protocol, format!("metadata of broker {node}: {error}"));
        request.encode(&mut body, version).map_err(malformed)?;
        let connection = self.connection(node, Purpose::General).await?;
        let answer = connection.enqueue(ApiKey::Metadata, version, vec![body.freeze()], true)?;
        let limit = self.config.request_timeout;
        let Ok(answer) = tokio::time::timeout(limit, answer).await else {
            self.drop_connection(node, Purpose::General);
            let message = format!("broker {node} did not give metadata within {} ms", limit.as_millis());
            return Err(Error::new(ErrorKind::Timeout, message));
        };
        let refused = |error| {
            Error::new(ErrorKind::Protocol, format!("metadata of broker {node} is malformed: {error}"))
        };
        decode_response::<MetadataResponse>(ApiKey::Metadata, version, &mut answer?).map_err(refused)
    }

    /// Closes connections that were not used for `connections.max.idle.ms`.
    fn close_idle(&self) {
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

fn named(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic_name(topic)))
}

/// Wait before attempt `attempt + 1`: doubled each time up to `most`, plus or minus a fifth (KIP-580).
pub(super) fn backoff(first: Duration, most: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempt.min(20)).unwrap_or(u32::MAX));
    doubled.min(most).mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Refreshes metadata by age and on request, until the last client is gone.
async fn keep_fresh(network: Weak<Network>) {
    loop {
        let Some(strong) = network.upgrade() else { return };
        let age = strong.config.metadata_max_age;
        let pause = strong.config.retry_backoff.0;
        // Woken now and then to see whether anybody is left.
        let wait = age.min(Duration::from_secs(5));
        let asked = tokio::time::timeout(wait, strong.update.notified()).await.is_ok();
        strong.close_idle();
        let known = strong.metadata().version > 0;
        drop(strong);
        let Some(strong) = network.upgrade() else { return };
        let due = asked || (known && strong.is_stale(age));
        if !due {
            continue;
        }
        if let Err(error) = strong.fetch_metadata().await {
            tracing::warn!(%error, "metadata could not be refreshed");
        }
        drop(strong);
        tokio::time::sleep(pause).await;
    }
}

impl Network {
    fn is_stale(&self, age: Duration) -> bool {
        self.metadata().fetched_at.is_none_or(|at| at.elapsed() >= age)
    }
}
