//! What the herder, its actor and the runners of connectors share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::actor::Command;
use super::exactly_once::Fencing;
use super::leader::Owners;
use super::peers::{Peers, Signature};
use super::protocol::ConnectProtocol;
use super::settings::Settings;
use super::statuses::GroupStatuses;
use crate::connector::{ConfigMap, ConnectorPlugin};
use crate::herder::HerderError;
use crate::rest::percent_encode;
use crate::store::ConfigStore;
use crate::worker::Worker;

/// The group as this worker last saw it.
#[derive(Debug)]
pub(super) struct GroupView {
    /// The leader's REST URL; none while a rebalance is under way.
    pub(super) leader_url: Option<String>,
    /// Whether this worker leads.
    pub(super) leads: bool,
    /// The protocol of the last generation.
    pub(super) protocol: ConnectProtocol,
    /// Who runs what: only the leader knows.
    pub(super) owners: Owners,
    /// Whether this worker has been a working member.
    pub(super) joined: bool,
}

pub(super) struct Shared {
    pub(super) worker: Worker,
    pub(super) settings: Settings,
    pub(super) store: ConfigStore,
    pub(super) statuses: GroupStatuses,
    pub(super) peers: Peers,
    /// `http://host:port/` of this worker.
    pub(super) url: String,
    pub(super) group: RwLock<GroupView>,
    pub(super) commands: mpsc::WeakSender<Command>,
    /// Connectors that may hand in task configurations at the same time.
    pub(super) handing_in: Semaphore,
    pub(super) fencing: Fencing,
}

impl Shared {
    /// Asks the actor, and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, HerderError>>) -> Command,
    ) -> Result<T, HerderError> {
        let stopping = || HerderError::new(503, "The worker is shutting down");
        let (sender, answer) = oneshot::channel();
        let commands = self.commands.upgrade().ok_or_else(stopping)?;
        commands.send(command(sender)).await.map_err(|_| stopping())?;
        drop(commands);
        answer.await.map_err(|_| stopping())?
    }

    /// Fails with the worker to ask where this one does not lead.
    pub(super) fn must_lead(&self) -> Result<(), HerderError> {
        let group = self.group.read();
        if group.leads && group.leader_url.is_some() {
            return Ok(());
        }
        Err(HerderError::ask_other(group.leader_url.clone()))
    }

    /// The plugin of a configuration, with references to config providers resolved.
    pub(super) fn plugin(&self, config: &ConfigMap) -> Option<Arc<dyn ConnectorPlugin>> {
        let class = config.get("connector.class")?;
        let registry = self.worker.registry();
        if let Some(plugin) = registry.find(class.trim()) {
            return Some(Arc::clone(plugin));
        }
        let resolved = self.worker.config().providers.resolve_known(config).ok()?;
        registry.find(resolved.get("connector.class")?.trim()).cloned()
    }

    /// Whether these task configurations have to be stored: they are others, or those in force were made of an older
    /// configuration of the connector.
    pub(super) fn tasks_differ(&self, name: &str, config: &ConfigMap, tasks: &[ConfigMap]) -> bool {
        let snapshot = self.store.snapshot();
        let Some(connector) = snapshot.connector(name) else { return false };
        // a newer configuration starts the connector anew anyway
        *connector.config == *config
            && (connector.tasks[..] != *tasks || connector.applied.as_deref() != Some(config))
    }

    /// Waits until the group has a leader that may be asked.
    pub(super) async fn has_leader(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(50);
        while self.group.read().leader_url.is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Stores task configurations by way of the leader.
    pub(super) async fn hand_in_tasks(
        &self,
        name: &Arc<str>,
        tasks: &[ConfigMap],
    ) -> Result<(), HerderError> {
        let (leads, url) = {
            let group = self.group.read();
            (group.leads, group.leader_url.clone())
        };
        if leads {
            return self
                .ask(|answer| Command::Tasks { name: Arc::clone(name), tasks: tasks.to_vec(), answer })
                .await;
        }
        let url = url.ok_or_else(|| HerderError::ask_other(None))?;
        let body = serde_json::to_vec(tasks).map_err(|error| HerderError::new(500, error.to_string()))?;
        let signature = self.sign(&body)?;
        let path = format!("connectors/{}/tasks", percent_encode(name));
        self.peers.ask("POST", &url, path, body.into(), signature).await
    }

    /// The signature of a request to another worker, where the group's protocol asks for one.
    pub(super) fn sign(&self, body: &[u8]) -> Result<Option<Signature>, HerderError> {
        if self.group.read().protocol != ConnectProtocol::Sessioned {
            return Ok(None);
        }
        let snapshot = self.store.snapshot();
        let key = snapshot.session_key.as_ref().ok_or_else(|| {
            HerderError::new(503, "the leader has not written a session key to the config topic yet")
        })?;
        let (text, algorithm) = self.settings.keys.sign(key, body);
        Ok(Some(Signature { text, algorithm }))
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
