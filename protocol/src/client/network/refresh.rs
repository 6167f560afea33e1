//! The metadata snapshot kept fresh, and the way back to a cluster whose brokers are all gone (KIP-899, KIP-1102).

use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::{Encodable, Message};
use tokio::time::Instant;

use super::super::messages::topic_name;
use super::{Error, ErrorKind, Metadata, Network, Purpose, Result, backoff};
use crate::ErrorCode;
use crate::guard::decode_response;

/// Whether the brokers of the snapshot are still of use.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Since when no broker gives metadata.
    since: Option<Instant>,
    /// Only the bootstrap servers are asked, until one of them answers.
    rebootstraps: bool,
}

impl Network {
    /// A broker that is connected, else one that isn't being left alone, else any. Bootstrap servers are asked before there are
    /// others, and again where `metadata.recovery.strategy` says so: when no broker is left to ask, or none has answered for long.
    pub(super) fn any_node(&self) -> i32 {
        let metadata = self.metadata();
        let mut bootstrap: Vec<i32> =
            (1..=self.config.bootstrap_servers.len() as i32).map(|index| -index).collect();
        fastrand::shuffle(&mut bootstrap);
        let mut nodes: Vec<i32> = metadata.nodes.keys().copied().collect();
        fastrand::shuffle(&mut nodes);
        let rebootstraps = self.lost.lock().rebootstraps;
        if nodes.is_empty() || rebootstraps {
            nodes = bootstrap;
        } else if self.config.rebootstrap_after.is_some() {
            nodes.extend(bootstrap);
        }
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
        let found = nodes.iter().find(connected).or_else(|| nodes.iter().find(rested)).or(nodes.first());
        found.copied().unwrap_or(-1)
    }

    /// Asks for the watched topics, again until a broker answers or `default.api.timeout.ms` is over.
    pub(in crate::client) async fn fetch_metadata(&self) -> Result<Arc<Metadata>> {
        let deadline = Instant::now() + self.config.api_timeout;
        let before = self.metadata().version;
        let late =
            || Error::new(ErrorKind::Timeout, "no broker of bootstrap.servers gave the cluster's metadata");
        let turn = tokio::time::timeout_at(deadline, self.fetching.lock()).await;
        let _turn = turn.map_err(|_| late())?;
        let watched: Vec<String> = self.topics.lock().iter().cloned().collect();
        let now = self.metadata();
        // Somebody else's answer may have been what we want.
        if now.version > before && watched.iter().all(|topic| now.topic(topic).is_some()) {
            return Ok(now);
        }
        let topics = watched.iter().map(|name| named(name)).collect();
        let answer = self.ask_metadata(Some(topics), self.config.allow_auto_create_topics, deadline).await?;
        let next = Arc::new(self.metadata().updated(&answer, false));
        self.forget_moved(&next);
        self.snapshot.send_replace(Arc::clone(&next));
        Ok(next)
    }

    /// Metadata of these topics alone; the snapshot is left as it is.
    pub(in crate::client) async fn fetch_topics(&self, topics: &[&str]) -> Result<Metadata> {
        let topics = topics.iter().map(|name| named(name)).collect();
        let deadline = Instant::now() + self.config.api_timeout;
        let answer = self.ask_metadata(Some(topics), false, deadline).await?;
        Ok(self.metadata().updated(&answer, true))
    }

    /// Metadata of all topics; the snapshot is left as it is but for the brokers.
    pub(in crate::client) async fn fetch_all_topics(&self) -> Result<Arc<Metadata>> {
        let deadline = Instant::now() + self.config.api_timeout;
        let answer = self.ask_metadata(None, false, deadline).await?;
        Ok(Arc::new(self.metadata().updated(&answer, true)))
    }

    /// Connections to brokers that have another address in `next` lead nowhere.
    fn forget_moved(&self, next: &Metadata) {
        let known = self.metadata();
        for (id, node) in &next.nodes {
            let moved =
                known.nodes.get(id).is_some_and(|known| (&known.host, known.port) != (&node.host, node.port));
            if moved {
                tracing::info!(
                    broker = id,
                    host = node.host,
                    port = node.port,
                    "broker has another address now"
                );
                self.forget_broker(*id);
            }
        }
    }

    async fn ask_metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        creates: bool,
        deadline: Instant,
    ) -> Result<MetadataResponse> {
        let mut attempt = 0;
        loop {
            let node = self.any_node();
            let error = match self.ask_metadata_of(node, topics.clone(), creates, deadline).await {
                Ok(answer) => {
                    *self.lost.lock() = Lost::default();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            self.note_failure(&error);
            let wait = backoff(self.config.retry_backoff.0, self.config.retry_backoff.1, attempt);
            attempt += 1;
            let is_over = Instant::now() + wait > deadline;
            if is_over || !(error.is_retriable() || error.code() == Some(ErrorCode::RebootstrapRequired)) {
                return Err(error.context("no broker of bootstrap.servers gave the cluster's metadata"));
            }
            tracing::debug!(%error, node, "metadata request failed");
            tokio::time::sleep(wait).await;
        }
    }

    /// Goes back to the bootstrap servers where a broker says so, or none has answered for as long as is set.
    fn note_failure(&self, error: &Error) {
        let Some(after) = self.config.rebootstrap_after else { return };
        let mut lost = self.lost.lock();
        let since = *lost.since.get_or_insert_with(Instant::now);
        let is_told = error.code() == Some(ErrorCode::RebootstrapRequired);
        if !lost.rebootstraps && (is_told || since.elapsed() >= after) {
            tracing::info!(%error, "asking the bootstrap servers again for the cluster");
            lost.rebootstraps = true;
        }
    }

    async fn ask_metadata_of(
        &self,
        node: i32,
        topics: Option<Vec<MetadataRequestTopic>>,
        creates: bool,
        deadline: Instant,
    ) -> Result<MetadataResponse> {
        let deadline = deadline.min(Instant::now() + self.config.request_timeout);
        let began = Instant::now();
        let ours = <MetadataRequest as Message>::VERSIONS;
        let Ok(versions) = tokio::time::timeout_at(deadline, self.versions(node)).await else {
            return Err(self.unreachable(node, Purpose::General, ApiKey::Metadata, deadline - began));
        };
        let version = versions?.pick(ApiKey::Metadata, ours.min..=ours.max, node)?;
        // Before version 1 an empty list means all topics.
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(creates || version < 4);
        let mut body = bytes::BytesMut::new();
        let malformed =
            |error| Error::new(ErrorKind::Protocol, format!("metadata of broker {node}: {error}"));
        request.encode(&mut body, version).map_err(malformed)?;
        let (to, what) = ((node, Purpose::General), (ApiKey::Metadata, version));
        let mut answer = self.send(to, what, vec![body.freeze()], deadline).await?;
        let refused = |error| {
            Error::new(ErrorKind::Protocol, format!("metadata of broker {node} is malformed: {error}"))
        };
        let answer: MetadataResponse =
            decode_response(ApiKey::Metadata, version, &mut answer).map_err(refused)?;
        match ErrorCode::try_from_code(answer.error_code) {
            None => Ok(answer),
            Some(code) => Err(Error::broker(code, format_args!("metadata of broker {node}"))),
        }
    }

    fn is_stale(&self, age: Duration) -> bool {
        self.metadata().fetched_at.is_none_or(|at| at.elapsed() >= age)
    }
}

fn named(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic_name(topic)))
}

/// Refreshes metadata by age and on request, until the last client is gone.
pub(super) async fn keep_fresh(network: Weak<Network>) {
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
