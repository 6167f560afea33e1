//! The client on tokio: connections, metadata, coordinators; producer, consumer and admin are built on [`Client`].

mod admin;
mod config;
mod connection;
pub mod consumer;
pub mod group;
mod handshake;
mod list_offsets;
mod messages;
mod metadata;
mod network;
pub mod producer;
mod security;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::{Message, Request, StrBytes};

pub use admin::{
    Admin, Cluster, ConfigChange, ConfigEntry, ConfigResource, GroupDescription, GroupListing,
    GroupMemberDescription, ListedOffset, NewTopic, OffsetSpec,
};
pub use config::{
    ClientConfig, ClientRole, MAX_FRAME, Properties, Setting, SettingKind, check_settings, describe_setting,
    nearest,
};
pub use connection::Answer;
pub use metadata::{Metadata, Node, PartitionMetadata, TopicMetadata};

pub use security::{StoreContent, inspect_store, jaas_login, tls_config, tls_server_config};

use crate::guard::decode_response;
use crate::wire::TopicPartition;
use crate::wire::fetch::{LeaderAndEpoch, NodeEndpoint};
use crate::{Error, ErrorCode, ErrorKind, Result};
use network::Network;
use tokio::time::Instant;

/// What a connection is for. Fetches wait at the broker, so they and what must not wait behind them are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Metadata, admin, groups.
    General,
    /// Fetch.
    Fetch,
    /// Produce and what a producer's order depends on.
    Produce,
    /// A group's coordinator: joins wait there.
    Coordinator,
}

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTarget {
    /// Any broker.
    Any,
    /// The controller.
    Controller,
    /// The broker with this node id.
    Id(i32),
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoordinatorKind {
    /// A group, by group id.
    Group,
    /// Transactions, by transactional id.
    Transaction,
}

/// A client of one cluster: its connections and what it knows. Clones share both; all ends with the last one.
#[derive(Clone)]
pub struct Client {
    network: Arc<Network>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("client_id", &self.config().client_id).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connects when it is first asked something.
    ///
    /// # Errors
    /// [`ErrorKind::Config`].
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        Ok(Self { network: Network::new(config) })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.network.config
    }

    /// What is known of the cluster now.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        self.network.metadata()
    }

    /// Keeps a topic in the metadata from the next answer on.
    pub(crate) fn watch_topic(&self, topic: &str) {
        self.network.watch_topics(&[topic]);
    }

    /// A topic is not wanted any more; it is in the metadata until [`Self::drop_unwatched`].
    pub(crate) fn unwatch_topic(&self, topic: &str) {
        self.network.unwatch_topic(topic);
    }

    /// Drops the topics from the metadata that are not wanted any more.
    pub(crate) fn drop_unwatched(&self) {
        self.network.drop_unwatched();
    }

    /// Keeps these topics in the metadata and no others.
    pub(crate) fn watch_only(&self, topics: &[&str]) {
        self.network.watch_only(topics);
    }

    /// Takes leaders that an answer has named (KIP-951), where they are newer than what is known.
    pub(crate) fn learn_leaders(
        &self,
        leaders: &[(TopicPartition, LeaderAndEpoch)],
        endpoints: &[NodeEndpoint],
    ) {
        self.network.learn_leaders(leaders, endpoints);
    }

    /// Asks for fresh metadata soon. Many calls make one request.
    pub fn request_metadata_update(&self) {
        self.network.request_update();
    }

    /// Waits for metadata newer than `version`.
    pub async fn metadata_updated_since(&self, version: u64) -> Arc<Metadata> {
        let mut snapshots = self.network.snapshots();
        loop {
            {
                let snapshot = snapshots.borrow_and_update();
                if snapshot.version > version {
                    return Arc::clone(&snapshot);
                }
            }
            if snapshots.changed().await.is_err() {
                return self.metadata();
            }
        }
    }

    /// Metadata that has all of `topics`; they are kept fresh from now on. Topics that don't exist (yet) are in it with
    /// their error.
    ///
    /// # Errors
    /// If no broker could be asked within `default.api.timeout.ms`.
    pub async fn topic_metadata(&self, topics: &[&str]) -> Result<Arc<Metadata>> {
        let known = self.metadata();
        if topics.iter().all(|topic| known.topic(topic).is_some()) {
            return Ok(known);
        }
        self.network.watch_topics(topics);
        self.network.fetch_metadata().await
    }

    /// Metadata of these topics, once, as a broker has it now. Topics that don't exist are in it with their error; none is created.
    ///
    /// # Errors
    /// If no broker could be asked within `default.api.timeout.ms`.
    pub async fn topics_now(&self, topics: &[&str]) -> Result<Metadata> {
        self.network.fetch_topics(topics).await
    }

    /// Metadata of every topic, once.
    ///
    /// # Errors
    /// If no broker could be asked within `default.api.timeout.ms`.
    pub async fn all_topics(&self) -> Result<Arc<Metadata>> {
        self.network.fetch_all_topics().await
    }

    /// Node id of a partition's leader, waiting for one if there is none now.
    ///
    /// # Errors
    /// After `default.api.timeout.ms` the reason why there is none.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<i32> {
        let deadline = Instant::now() + self.config().api_timeout;
        let mut backoff = self.config().retry_backoff.0;
        loop {
            let metadata = self.topic_metadata(&[topic]).await?;
            if let Some(leader) =
                metadata.partition(topic, partition).map(|p| p.leader).filter(|leader| *leader >= 0)
            {
                return Ok(leader);
            }
            let code = metadata.topics.get(topic).and_then(|topic| topic.error);
            let code = code.unwrap_or(ErrorCode::LeaderNotAvailable);
            if !code.is_retriable() || Instant::now() + backoff > deadline {
                return Err(Error::broker(code, format_args!("the leader of {topic}-{partition}")));
            }
            self.request_metadata_update();
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(self.config().retry_backoff.1);
        }
    }

    /// Node id of a group's or transactional id's coordinator; looked up once, until [`Self::forget_coordinator`].
    ///
    /// # Errors
    /// After `default.api.timeout.ms` of retriable errors, or at once with another one.
    pub async fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<i32> {
        if let Some(node) = self.network.coordinator(kind, key) {
            return Ok(node);
        }
        let deadline = Instant::now() + self.config().api_timeout;
        let mut backoff = self.config().retry_backoff.0;
        loop {
            let error = match self.find_coordinator(kind, key).await {
                Ok(node) => {
                    self.network.set_coordinator(kind, key, node.id);
                    self.network.learn_node(node.clone());
                    return Ok(node.id);
                }
                Err(error) => error,
            };
            if !error.is_retriable() || Instant::now() + backoff > deadline {
                return Err(error);
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(self.config().retry_backoff.1);
        }
    }

    /// Forgets a coordinator that is none any more.
    pub fn forget_coordinator(&self, kind: CoordinatorKind, key: &str) {
        self.network.forget_coordinator(kind, key);
    }

    async fn find_coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<Node> {
        let key_type = match kind {
            CoordinatorKind::Group => 0,
            CoordinatorKind::Transaction => 1,
        };
        let key_text = StrBytes::from_string(key.to_owned());
        // Version 4 asks for many keys at once (KIP-699); both forms are filled, the version picks one.
        let make = |version: i16| {
            let request = FindCoordinatorRequest::default().with_key_type(key_type);
            if version >= 4 {
                request.with_coordinator_keys(vec![key_text.clone()])
            } else {
                request.with_key(key_text.clone())
            }
        };
        let answer: FindCoordinatorResponse = self.send_with(NodeTarget::Any, 1..=5, None, make).await?;
        let what = format!("the coordinator of {kind:?} {key}");
        let (code, node, host, port) = match answer.coordinators.first() {
            Some(found) => (found.error_code, found.node_id.0, found.host.to_string(), found.port),
            None => (answer.error_code, answer.node_id.0, answer.host.to_string(), answer.port),
        };
        if let Some(code) = ErrorCode::try_from_code(code) {
            return Err(Error::broker(code, what));
        }
        let port = u16::try_from(port)
            .map_err(|_| Error::new(ErrorKind::Protocol, format!("{what}: {port} is not a port")))?;
        Ok(Node { id: node, host, port, rack: None })
    }

    /// Sends a request in the highest version that both sides have, and decodes the answer. `timeout` replaces
    /// `request.timeout.ms`.
    ///
    /// # Errors
    /// Network, time-out, no common version, an answer that can't be read. Error codes inside the answer are the
    /// caller's.
    pub async fn send<R: Request>(
        &self,
        node: NodeTarget,
        request: R,
        timeout: Option<Duration>,
    ) -> Result<R::Response> {
        let versions = <R as Message>::VERSIONS;
        self.send_versioned(node, request, versions.min..=versions.max, timeout).await
    }

    /// The same, in a version within `versions`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_versioned<R: Request>(
        &self,
        node: NodeTarget,
        request: R,
        versions: RangeInclusive<i16>,
        timeout: Option<Duration>,
    ) -> Result<R::Response> {
        self.send_with(node, versions, timeout, |_| request).await
    }

    /// The same, where the request itself depends on the version.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_with<R: Request>(
        &self,
        node: NodeTarget,
        versions: RangeInclusive<i16>,
        timeout: Option<Duration>,
        make: impl FnOnce(i16) -> R,
    ) -> Result<R::Response> {
        let limit = timeout.unwrap_or(self.config().request_timeout);
        let deadline = Instant::now() + limit;
        let api = api_key::<R>()?;
        let Ok(node) = tokio::time::timeout_at(deadline, self.network.pick(node)).await else {
            let message = format!("no broker was found for {api:?} within {} ms", limit.as_millis());
            return Err(Error::new(ErrorKind::Timeout, message));
        };
        let node = node?;
        let Ok(version) = tokio::time::timeout_at(deadline, self.api_version(node, api, versions)).await
        else {
            return Err(self.network.unreachable(node, Purpose::General, api, limit));
        };
        let version = version?;
        self.exchange(node, make(version), version, deadline).await
    }

    async fn exchange<R: Request>(
        &self,
        node: i32,
        request: R,
        version: i16,
        deadline: Instant,
    ) -> Result<R::Response> {
        let api = api_key::<R>()?;
        let mut body = BytesMut::new();
        request.encode(&mut body, version).map_err(|error| {
            let message = format!("a {api:?} request cannot be written in version {version}: {error}");
            Error::new(ErrorKind::Protocol, message)
        })?;
        let purpose = match api {
            ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::ConsumerGroupHeartbeat => {
                Purpose::Coordinator
            }
            _ => Purpose::General,
        };
        let (to, what) = ((node, purpose), (api, version));
        let mut answer = self.network.send(to, what, vec![body.freeze()], deadline).await?;
        decode_response(api, version, &mut answer).map_err(|error| {
            let message =
                format!("the answer of broker {node} to {api:?} version {version} is malformed: {error}");
            Error::new(ErrorKind::Protocol, message)
        })
    }

    /// The highest version of `api` within `ours` that broker `node` has.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedVersion`], or why the broker could not be asked.
    pub async fn api_version(&self, node: i32, api: ApiKey, ours: RangeInclusive<i16>) -> Result<i16> {
        let versions = self.network.versions(node).await?;
        versions.pick(api, ours, node)
    }

    /// The finalized level of a feature such as `transaction.version` at broker `node` (KIP-584), 0 if it has none.
    ///
    /// # Errors
    /// Why the broker could not be asked.
    pub async fn feature_level(&self, node: i32, feature: &str) -> Result<i16> {
        let versions = self.network.versions(node).await?;
        Ok(versions.features.get(feature).copied().unwrap_or(0))
    }

    /// Queues a request on the connection that is there, in the order of calls, or says that there is none
    /// ([`Self::ready`] makes one). `answered` is false for Produce with `acks=0`. The caller sets the time limit and
    /// calls [`Self::disconnect`] when it passes.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] if there is no connection.
    pub fn enqueue_raw(
        &self,
        node: i32,
        purpose: Purpose,
        api: ApiKey,
        version: i16,
        parts: Vec<Bytes>,
        answered: bool,
    ) -> Result<Answer> {
        match self.network.existing(node, purpose) {
            Some(connection) => connection.enqueue(api, version, parts, answered),
            None => Err(Error::new(ErrorKind::Network, format!("there is no connection to broker {node}"))),
        }
    }

    /// Makes sure that there is a connection, so that [`Self::enqueue_raw`] finds it.
    ///
    /// # Errors
    /// Why it could not be made; the broker is then left alone for `reconnect.backoff.ms` and longer each time.
    pub async fn ready(&self, node: i32, purpose: Purpose) -> Result<()> {
        self.network.connection(node, purpose).await.map(drop)
    }

    /// Closes a connection, e.g. because an answer did not come in time; whoever waits on it gets an error.
    pub fn disconnect(&self, node: i32, purpose: Purpose) {
        self.network.drop_connection(node, purpose);
    }
}

fn api_key<R: Request>() -> Result<ApiKey> {
    ApiKey::try_from(R::KEY)
        .map_err(|()| Error::new(ErrorKind::Protocol, format!("there is no API key {}", R::KEY)))
}
