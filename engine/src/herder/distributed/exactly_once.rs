//! Exactly-once sources in a group (KIP-618): before the tasks of a new configuration start, the producers of the former ones
//! are shut out, as many as there were, by the leader and once for all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::Properties;
use tokio::time::Instant;

use super::actor::Command;
use super::shared::Shared;
use crate::connector::{BoxFuture, ConnectError};
use crate::herder::HerderError;
use crate::rest::percent_encode;
use crate::worker::{ExactlyOnce, StartGate};

/// How long a task that starts asks for its fencing, and the wait between.
const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(250);
/// How long reading the config topic may take before a task starts.
const REFRESH: Duration = Duration::from_secs(30);

/// The leader's side.
pub(super) struct Fencing {
    client: Properties,
    /// One fencing at a time for each connector; those that come meanwhile find it done.
    turns: parking_lot::Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
}

impl Fencing {
    pub(super) fn new(client: Properties) -> Fencing {
        Fencing { client, turns: parking_lot::Mutex::default() }
    }

    fn turn(&self, name: &Arc<str>) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(Arc::clone(name)).or_default())
    }
}

impl Shared {
    /// As the leader: shuts out the producers of a connector's former tasks, unless that has been done since its task
    /// configurations changed.
    pub(super) async fn fence_here(&self, name: &Arc<str>) -> Result<(), HerderError> {
        self.must_lead()?;
        let turn = self.fencing.turn(name);
        let _turn = turn.lock().await;
        let refreshed = self.store.refresh(self.settings.sync_timeout).await;
        refreshed.map_err(|error| HerderError::new(500, crate::store::chain(&error)))?;
        let snapshot = self.store.snapshot();
        let connector = snapshot.connector(name).ok_or_else(|| HerderError::not_found(name))?;
        if !snapshot.pending_fencing.contains(name) {
            return Ok(());
        }
        let (tasks, before) = (connector.tasks.len(), snapshot.fenced.get(name).copied());
        // a single task shuts its predecessor out itself
        if let Some(before) = before.filter(|before| (*before, tasks) != (1, 1)) {
            tracing::info!(
                connector = &**name,
                tasks = before,
                "the producers of former tasks are fenced off"
            );
            let ids = (0..before).map(|task| self.settings.task_transactional_id(name, task));
            let fenced = crate::store::fence(&self.fencing.client, ids).await;
            fenced.map_err(|error| {
                HerderError::new(500, format!("Failed to fence zombie tasks of connector {name}: {error}"))
            })?;
        }
        let generation = connector.generation;
        self.ask(|answer| Command::Fenced { name: Arc::clone(name), generation, answer }).await
    }

    /// The same for another worker, whose task would fail for good if it were refused because the group rebalances.
    pub(super) async fn fence_when_settled(&self, name: &Arc<str>) -> Result<(), HerderError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.ask(|answer| Command::Ping { answer }).await?; // answered between rebalances
            match self.fence_here(name).await {
                Err(error) if error.status == 409 && error.forward.is_none() && Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                fenced => return fenced,
            }
        }
    }

    /// By way of the leader.
    async fn fence_by_leader(&self, name: &Arc<str>) -> Result<(), HerderError> {
        let (leads, url) = {
            let group = self.group.read();
            (group.leads, group.leader_url.clone())
        };
        let url = url.ok_or_else(|| HerderError::ask_other(None))?;
        if leads {
            return self.fence_here(name).await;
        }
        let signature = self.sign(&[])?;
        let path = format!("connectors/{}/fence", percent_encode(name));
        self.peers.ask("PUT", &url, path, bytes::Bytes::new(), signature).await
    }
}

/// What a source task has to pass, if sources deliver exactly once. `generation` is that of the task configurations.
pub(super) fn of_task(
    shared: &Arc<Shared>,
    name: &Arc<str>,
    task: usize,
    generation: u64,
) -> Option<ExactlyOnce> {
    shared.worker.config().exactly_once_source.then(|| ExactlyOnce {
        transactional_id: shared.settings.task_transactional_id(name, task),
        gate: Arc::new(Gate { shared: Arc::clone(shared), name: Arc::clone(name), task, generation }),
    })
}

struct Gate {
    shared: Arc<Shared>,
    name: Arc<str>,
    task: usize,
    generation: u64,
}

impl StartGate for Gate {
    /// Tasks start while the group is still settling: what a rebalance refuses is asked again.
    fn fence(&self) -> BoxFuture<'_, Result<(), ConnectError>> {
        Box::pin(async {
            let deadline = Instant::now() + LIMIT;
            loop {
                let error = match self.shared.fence_by_leader(&self.name).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                };
                if Instant::now() >= deadline {
                    return Err(ConnectError::fatal(format!(
                        "the tasks that ran before this one could not be fenced off within {} s",
                        LIMIT.as_secs()
                    ))
                    .caused_by(error));
                }
                tracing::debug!(connector = &*self.name, task = self.task, "not fenced yet: {error}");
                tokio::time::sleep(AGAIN).await;
            }
        })
    }

    fn verify(&self) -> BoxFuture<'_, Result<(), ConnectError>> {
        Box::pin(async {
            let store = &self.shared.store;
            store.refresh(REFRESH).await.map_err(|error| {
                ConnectError::fatal("Failed to read to end of config topic").caused_by(error)
            })?;
            let snapshot = store.snapshot();
            match snapshot.connector(&self.name) {
                Some(connector) if connector.generation == self.generation => Ok(()),
                _ => Err(ConnectError::fatal(format!(
                    "Cannot start source task {}-{} with exactly-once support as the connector has already generated a new set of task configs",
                    self.name, self.task
                ))),
            }
        })
    }
}
