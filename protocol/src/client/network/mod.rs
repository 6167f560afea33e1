//! The shared half of a client: the pool of connections, what each broker speaks, and the metadata snapshot.

mod pool;
mod refresh;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::config::ClientConfig;
use super::connection::Connection;
use super::handshake::Versions;
use super::metadata::{Metadata, Node};
use super::{CoordinatorKind, NodeTarget, Purpose};
use crate::wire::TopicPartition;
use crate::wire::fetch::{LeaderAndEpoch, NodeEndpoint};
use crate::{Error, ErrorKind, Result};
use pool::Slot;

/// The shared half of a [`super::Client`].
pub(super) struct Network {
    /// Ourselves, for tasks that outlive a call.
    this: Weak<Network>,
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
    /// Since when no broker gives metadata, and whether the bootstrap servers have to be asked for it.
    lost: Mutex<refresh::Lost>,
}

impl Network {
    pub(super) fn new(config: ClientConfig) -> Arc<Self> {
        let network = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            config,
            slots: Mutex::default(),
            versions: Mutex::default(),
            learned: Mutex::default(),
            coordinators: Mutex::default(),
            topics: Mutex::default(),
            snapshot: watch::channel(Arc::default()).0,
            update: Notify::new(),
            fetching: tokio::sync::Mutex::default(),
            lost: Mutex::default(),
        });
        tokio::spawn(refresh::keep_fresh(Arc::downgrade(&network)));
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
        *self.topics.lock() = topics.iter().map(ToString::to_string).collect();
        self.drop_unwatched();
    }

    pub(super) fn unwatch_topic(&self, topic: &str) {
        self.topics.lock().remove(topic);
    }

    pub(super) fn drop_unwatched(&self) {
        let wanted = self.topics.lock();
        let is_wanted = |name: &str| wanted.contains(name);
        self.snapshot.send_if_modified(|snapshot| {
            let surplus = snapshot.topics.keys().any(|name| !is_wanted(name));
            if surplus {
                *snapshot = Arc::new(snapshot.with_only(is_wanted));
            }
            surplus
        });
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
}

/// Wait before attempt `attempt + 1`: doubled each time up to `most`, plus or minus a fifth (KIP-580).
pub(super) fn backoff(first: Duration, most: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempt.min(20)).unwrap_or(u32::MAX));
    doubled.min(most).mul_f64(0.8 + 0.4 * fastrand::f64())
}
