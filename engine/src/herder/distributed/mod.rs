//! The herder of a distributed worker: a member of the `connect` group, beside JVM workers or alone.
//!
//! | part | what it does |
//! |---|---|
//! | [`protocol`], [`assignor`], [`leader`] | what members tell each other, and the leader's plans: pure |
//! | [`actor`], [`requests`], [`work`] | the one owner of what changes with the group |
//! | [`runner`] | one connector's own instance |
//! | [`statuses`] | the status topic, both ways |
//! | [`exactly_once`] | zombies of exactly-once sources are fenced off |
//! | [`session`], [`peers`] | signed and forwarded requests to other workers |
//!
//! The config, offset and status topics are those of [`crate::store`]. Readers look at what was read from them and never wait.

mod actor;
mod assignor;
mod exactly_once;
mod leader;
mod peers;
mod protocol;
mod requests;
mod runner;
mod session;
mod settings;
mod shared;
mod statuses;
mod work;

use std::sync::Arc;

use aqueduct_protocol::client::group::GroupMember;
use aqueduct_protocol::client::{Client, ClientConfig, Properties};
use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    ConfigPatch, ConnectorView, ForwardAnswer, ForwardRequest, Health, Herder, HerderError, InternalRequest,
    OffsetEntry, PutMode, PutResult, Reply, RestartPlan, RestartScope, TargetState, check_config, merge,
};
use crate::connector::{BoxFuture, ConfigMap, ConnectorKind, Registry};
use crate::loggers::Loggers;
use crate::store::{ConfigRecord, ConfigStore, KafkaOffsetStore, KafkaStatusStore, StoreError};
use crate::worker::{ConnectorStatus, OffsetStores, Worker, WorkerConfig, WorkerConfigError, worker_client};
use actor::{Actor, Command};
use exactly_once::Fencing;
use leader::Owners;
use peers::Peers;
use protocol::ConnectProtocol;
use requests::not_written;
use settings::{Settings, SourceSupport};
use shared::{GroupView, Shared};
use statuses::GroupStatuses;

/// Requests waiting for the actor; more callers than that wait in line.
const MAILBOX: usize = 256;

/// Connectors that hand in task configurations at the same time; more wait in line.
const HANDING_IN: usize = 16;

/// Why a distributed worker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] WorkerConfigError),
    /// One of its topics.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its clients.
    #[error("a client of the worker")]
    Client(#[from] aqueduct_protocol::Error),
}

/// The way to the herder.
pub struct DistributedHerder {
    shared: Arc<Shared>,
    /// The actor ends with it.
    _commands: mpsc::Sender<Command>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

impl DistributedHerder {
    /// Opens the three topics, and begins to join the group. REST of this worker has to answer at its advertised address.
    pub async fn start(
        mut config: WorkerConfig,
        registry: Registry,
        loggers: Loggers,
    ) -> Result<DistributedHerder, StartError> {
        let settings = Settings::from_properties(&config.properties)?;
        let properties = config.properties.clone();
        let client = |purpose: &str| client_properties(&properties, &settings.group.group_id, purpose);
        let (offsets, statuses, configs) = (client("offsets"), client("statuses"), client("configs"));
        let exactly_once = settings.exactly_once == SourceSupport::Enabled;
        config.distributed = true;
        config.exactly_once_source = exactly_once;
        let leader = (settings.exactly_once >= SourceSupport::Preparing)
            .then(|| (client("configs-leader"), settings.leader_transactional_id()));
        let (offsets, statuses, store) = tokio::try_join!(
            KafkaOffsetStore::open(settings.offset_topic.clone(), &offsets, exactly_once),
            KafkaStatusStore::open(settings.status_topic.clone(), &statuses),
            ConfigStore::open(settings.config_topic.clone(), &configs, leader),
        )?;
        let statuses = GroupStatuses::start(statuses, &config.advertised, settings.topic_tracking);
        let scheme = if config.advertised_tls { "https" } else { "http" };
        let url = format!("{scheme}://{}/", config.advertised);
        let peers = Peers::new(&aqueduct_protocol::client::tls_config(&config.https_settings())?);
        let mut member_client = client("");
        let id = config.properties.get("client.id").map(|id| id.trim()).filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("connect-{}", config.advertised), str::to_owned);
        member_client.insert("client.id".to_owned(), id);
        let member_client = Client::connect(ClientConfig::from_properties(&member_client)?).await?;
        let member = GroupMember::start(member_client, settings.group.clone())?;
        let offsets = OffsetStores::in_topic(Arc::new(offsets), exactly_once);
        let fencing_client = client("fencing");
        let worker = Worker::new(config, registry, offsets, Arc::new(statuses.clone()), loggers);
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let (stop, stopping) = mpsc::channel(1);
        let group = RwLock::new(GroupView {
            leader_url: None,
            leads: false,
            protocol: settings.protocol,
            owners: Owners::default(),
            joined: false,
        });
        let shared = Arc::new(Shared {
            worker,
            settings,
            store,
            statuses,
            peers,
            url,
            group,
            commands: commands.downgrade(),
            handing_in: Semaphore::new(HANDING_IN),
            fencing: Fencing::new(fencing_client),
        });
        tokio::spawn(Box::pin(Actor::new(Arc::clone(&shared), member).run(mailbox, stopping)));
        Ok(DistributedHerder { shared, _commands: commands, stop })
    }

    /// Refuses an internal request that no worker of the group has signed.
    fn verify(&self, request: &InternalRequest) -> Result<(), HerderError> {
        if self.shared.group.read().protocol != ConnectProtocol::Sessioned {
            return Ok(());
        }
        let snapshot = self.shared.store.snapshot();
        self.shared.settings.keys.verify(snapshot.session_key.as_ref(), request)
    }

    /// A class that this worker does not have may be one that the leader has.
    async fn check(&self, name: &str, config: &mut ConfigMap) -> Result<(), HerderError> {
        if config.contains_key("connector.class") && self.shared.plugin(config).is_none() {
            self.shared.must_lead()?;
        }
        let plugin = check_config(&self.shared.worker, name, config).await?;
        check_in_group(name, plugin.kind(), config, &self.shared.settings.group.group_id)
    }
}

/// What only a group of workers can refuse.
fn check_in_group(
    name: &str,
    kind: ConnectorKind,
    config: &ConfigMap,
    worker_group: &str,
) -> Result<(), HerderError> {
    let error = match kind {
        ConnectorKind::Sink => {
            let group = config.get("consumer.override.group.id").map(|group| group.trim());
            match group.filter(|group| !group.is_empty()) {
                Some(group) if group == worker_group => {
                    format!("Consumer group {group} conflicts with Connect worker group {worker_group}")
                }
                None if format!("connect-{name}") == worker_group => format!(
                    "Consumer group for sink connector named {name} conflicts with Connect worker group {worker_group}"
                ),
                _ => return Ok(()),
            }
        }
        ConnectorKind::Source => return Ok(()),
    };
    Err(HerderError::invalid_config(&[error]))
}

/// Connections of the worker's own, by the names that JVM workers give them.
fn client_properties(properties: &ConfigMap, group_id: &str, purpose: &str) -> Properties {
    let id = properties.get("client.id").map(|id| id.trim()).filter(|id| !id.is_empty());
    let id = id.map_or_else(|| format!("{group_id}-{purpose}"), |id| format!("{group_id}-{id}-{purpose}"));
    worker_client(properties, &id)
}

impl Herder for DistributedHerder {
    fn worker(&self) -> &Worker {
        &self.shared.worker
    }

    fn names(&self) -> Vec<String> {
        self.shared.store.snapshot().connectors.keys().map(ToString::to_string).collect()
    }

    fn view(&self, name: &str) -> Option<ConnectorView> {
        let snapshot = self.shared.store.snapshot();
        let connector = snapshot.connector(name)?;
        Some(ConnectorView {
            config: Arc::clone(&connector.config),
            task_configs: Arc::clone(&connector.tasks),
            target: connector.target,
            kind: self.shared.plugin(&connector.config).map(|plugin| plugin.kind()),
        })
    }

    fn status(&self, name: &str) -> Option<ConnectorStatus> {
        self.shared.statuses.get(name)
    }

    fn active_topics(&self, name: &str) -> Vec<String> {
        self.shared.statuses.topics(name)
    }

    fn reset_active_topics<'a>(&'a self, name: &'a str) -> Reply<'a, ()> {
        self.shared.statuses.reset_topics(name);
        Box::pin(std::future::ready(Ok(())))
    }

    fn put<'a>(&'a self, name: &'a str, mut config: ConfigMap, mode: PutMode) -> Reply<'a, PutResult> {
        Box::pin(async move {
            self.check(name, &mut config).await?;
            self.shared.ask(|answer| Command::Put { name: name.into(), config, mode, answer }).await
        })
    }

    fn patch<'a>(&'a self, name: &'a str, patch: ConfigPatch) -> Reply<'a, PutResult> {
        Box::pin(async move {
            self.shared.must_lead()?;
            let view = self.view(name).ok_or_else(|| HerderError::not_found(name))?;
            let config = merge(&view.config, patch);
            let plugin = self.shared.worker.validate(&config).await?;
            check_in_group(name, plugin.kind(), &config, &self.shared.settings.group.group_id)?;
            let mode = PutMode::Replace;
            self.shared.ask(|answer| Command::Put { name: name.into(), config, mode, answer }).await
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> Reply<'a, ()> {
        Box::pin(self.shared.ask(|answer| Command::Delete { name: name.into(), answer }))
    }

    /// Pause and resume are any worker's to write, stop is the leader's.
    fn set_target<'a>(&'a self, name: &'a str, target: TargetState) -> Reply<'a, ()> {
        Box::pin(async move {
            if target == TargetState::Stopped {
                return self.shared.ask(|answer| Command::Stop { name: name.into(), answer }).await;
            }
            if self.view(name).is_none() {
                return Err(HerderError::new(404, format!("Unknown connector {name}")));
            }
            let record = ConfigRecord::Target { connector: name.into(), state: Some(target) };
            let written = self.shared.store.put(record).await;
            written.map_err(|error| not_written("writing target state", &error))
        })
    }

    fn restart_connector<'a>(&'a self, name: &'a str) -> Reply<'a, ()> {
        Box::pin(self.shared.ask(|answer| Command::RestartConnector { name: name.into(), answer }))
    }

    fn restart<'a>(&'a self, name: &'a str, scope: RestartScope) -> Reply<'a, RestartPlan> {
        Box::pin(self.shared.ask(move |answer| Command::Restart { name: name.into(), scope, answer }))
    }

    fn restart_task<'a>(&'a self, name: &'a str, task: usize) -> Reply<'a, ()> {
        Box::pin(self.shared.ask(move |answer| Command::RestartTask { name: name.into(), task, answer }))
    }

    fn offsets<'a>(&'a self, name: &'a str) -> Reply<'a, Vec<OffsetEntry>> {
        Box::pin(async move {
            let view = self.view(name).ok_or_else(|| HerderError::not_found(name))?;
            self.shared.worker.offsets(name, &view.config).await
        })
    }

    fn alter_offsets<'a>(&'a self, name: &'a str, offsets: Option<Vec<OffsetEntry>>) -> Reply<'a, String> {
        Box::pin(self.shared.ask(|answer| Command::AlterOffsets { name: name.into(), offsets, answer }))
    }

    fn set_cluster_logger<'a>(&'a self, logger: &'a str, level: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let record = ConfigRecord::Logger { logger: logger.to_owned(), level: level.to_owned() };
            let written = self.shared.store.put(record).await;
            written.map_err(|error| not_written("writing logger level", &error))
        })
    }

    fn put_task_configs<'a>(&'a self, name: &'a str, request: InternalRequest) -> Reply<'a, ()> {
        Box::pin(async move {
            self.verify(&request)?;
            let tasks: Vec<ConfigMap> = serde_json::from_slice(&request.body).map_err(|error| {
                HerderError::new(500, format!("The body is not a list of task configurations: {error}"))
            })?;
            let taken = self.shared.ask(|answer| Command::Tasks { name: name.into(), tasks, answer }).await;
            // passed on, the request would lose its signature: the sender looks for the leader itself
            taken.map_err(|error| HerderError { forward: None, ..error })
        })
    }

    fn fence<'a>(&'a self, name: &'a str, request: InternalRequest) -> Reply<'a, ()> {
        Box::pin(async move {
            self.verify(&request)?;
            let fenced = self.shared.fence_when_settled(&name.into()).await;
            // as with task configurations
            fenced.map_err(|error| HerderError { forward: None, ..error })
        })
    }

    fn forward(&self, request: ForwardRequest) -> Reply<'_, ForwardAnswer> {
        Box::pin(self.shared.peers.forward(request))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(async {
            if !self.shared.group.read().joined {
                return Ok(Health::Starting);
            }
            self.shared.ask(|answer| Command::Ping { answer }).await.map(|()| Health::Healthy)
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let (stopped, done) = oneshot::channel();
            if self.stop.send(stopped).await.is_ok() {
                let _ = done.await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_must_not_join_the_workers_group() {
        let config = |pairs: &[(&str, &str)]| -> ConfigMap {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let check =
            |name, kind, pairs: &[(&str, &str)]| check_in_group(name, kind, &config(pairs), "connect-x");
        let (sink, source) = (ConnectorKind::Sink, ConnectorKind::Source);
        assert!(check("x", sink, &[]).is_err());
        assert!(check("x", sink, &[("consumer.override.group.id", "other")]).is_ok());
        assert!(check("y", sink, &[("consumer.override.group.id", "connect-x")]).is_err());
        assert!(check("x", source, &[]).is_ok());
    }
}
