//! The owner of everything that changes with the group: it takes the group's events, the config topic's changes and
//! requests one after the other. Requests wait while the group rebalances.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::group::{GroupEvent, GroupMember, GroupProtocol, Joined};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::assignor::IncrementalAssignor;
use super::leader::{Owners, Round};
use super::protocol::{Assignment, ConnectProtocol, NO_ERROR, WorkerState};
use super::shared::{Shared, now_ms};
use super::work::{Item, Work};
use crate::connector::ConfigMap;
use crate::herder::{HerderError, OffsetEntry, PutMode, PutResult, RestartPlan, RestartScope, TargetState};
use crate::store::{ClusterConfig, ConfigRecord, RestartRequest};
use crate::worker::{State, Status, StatusListener as _};

pub(super) type Answer<T> = oneshot::Sender<Result<T, HerderError>>;

/// Requests that need the actor.
pub(super) enum Command {
    /// A configuration that has been checked.
    Put {
        name: Arc<str>,
        config: ConfigMap,
        mode: PutMode,
        answer: Answer<PutResult>,
    },
    Delete {
        name: Arc<str>,
        answer: Answer<()>,
    },
    Stop {
        name: Arc<str>,
        answer: Answer<()>,
    },
    RestartConnector {
        name: Arc<str>,
        answer: Answer<()>,
    },
    Restart {
        name: Arc<str>,
        scope: RestartScope,
        answer: Answer<RestartPlan>,
    },
    RestartTask {
        name: Arc<str>,
        task: usize,
        answer: Answer<()>,
    },
    AlterOffsets {
        name: Arc<str>,
        offsets: Option<Vec<OffsetEntry>>,
        answer: Answer<String>,
    },
    /// Task configurations of a connector, from its own instance.
    Tasks {
        name: Arc<str>,
        tasks: Vec<ConfigMap>,
        answer: Answer<()>,
    },
    /// The producers of former tasks of a connector are fenced off, as of this generation of its tasks.
    Fenced {
        name: Arc<str>,
        generation: u64,
        answer: Answer<()>,
    },
    Ping {
        answer: Answer<()>,
    },
}

/// Wait before joining again after an error that joining does not cure.
const FAILED_WAIT: Duration = Duration::from_secs(5);
/// How long nothing may have changed before the group rebalances for changes, and the longest wait for that.
const QUIET: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often reading the config topic is tried outside of the group before everything is stopped.
const UNSYNC_ATTEMPTS: u32 = 5;
/// How long the last statuses may take at the end.
const FLUSH: Duration = Duration::from_secs(5);

pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) work: Work,
    member: GroupMember,
    assignor: IncrementalAssignor,
    /// The configuration that the work follows; what has come since is taken in between rebalances.
    pub(super) config: Arc<ClusterConfig>,
    /// The assignment last received.
    assignment: Option<Assignment>,
    /// The generation of that.
    completed: i32,
    /// Made at the election, told when the generation is complete.
    owners: Option<Owners>,
    /// Whether the last rebalance is over and its work started.
    settled: bool,
    rejoin_at: Option<Instant>,
    /// When a rebalance was first wanted for changes of the configuration, and when it begins.
    wanted: Option<(Instant, Instant)>,
    key_due: Option<Instant>,
    unsynced: u32,
    /// The monotonic clock of the assignor begins here.
    began: Instant,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, member: GroupMember) -> Actor {
        let max_delay = u64::try_from(shared.settings.max_delay.as_millis()).unwrap_or(u64::MAX);
        Actor {
            work: Work::new(&shared),
            member,
            assignor: IncrementalAssignor::new(max_delay),
            config: shared.store.snapshot(),
            assignment: None,
            completed: -1,
            owners: None,
            settled: false,
            rejoin_at: None,
            wanted: None,
            key_due: None,
            unsynced: 0,
            began: Instant::now(),
            shared,
        }
    }

    /// Runs until `stop` is asked, and answers when everything has ended.
    pub(super) async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Command>,
        mut stop: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        self.join();
        let stopped = loop {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                stopped = stop.recv() => break stopped,
                event = self.member.event() => self.on_event(event).await,
                () = sleep_until(self.rejoin_at) => self.rejoin().await,
                () = sleep_until(self.wanted.map(|(_, due)| due)) => self.rejoin().await,
                () = shared.store.changed(), if self.settled => {
                    if self.apply_changes().await {
                        self.want_rebalance();
                    }
                }
                () = sleep_until(self.key_due), if self.settled => self.renew_key().await,
                Some(command) = mailbox.recv(), if self.settled => self.take(command).await,
            }
        };
        self.work.stop_all().await;
        self.member.leave("the worker is shutting down").await;
        self.shared.statuses.flush(FLUSH).await;
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    }

    /// Joins with what is run and read now.
    fn join(&mut self) {
        self.settled = false;
        (self.rejoin_at, self.wanted) = (None, None);
        let allocation = self.assignment.as_ref().map(|last| Assignment {
            version: last.version,
            error: NO_ERROR,
            leader: last.leader.clone(),
            leader_url: last.leader_url.clone(),
            offset: last.offset,
            assigned: self.work.allocation(),
            ..Assignment::default()
        });
        let state = WorkerState { url: self.shared.url.clone(), offset: self.config.offset, allocation };
        let offered = self.shared.settings.protocol.offered().iter();
        self.member.join(offered.map(|of| GroupProtocol::new(of.wire_name(), state.encode(*of))).collect());
    }

    /// Changes often come in a row: one rebalance for all of them, as soon as they pause.
    fn want_rebalance(&mut self) {
        let now = Instant::now();
        let first = self.wanted.map_or(now, |(first, _)| first);
        self.wanted = Some((first, (now + QUIET).min(first + LONGEST_WAIT)));
    }

    /// Begins a rebalance: the eager protocol demands that everything stops before.
    async fn rejoin(&mut self) {
        {
            let mut group = self.shared.group.write();
            group.leader_url = None;
            group.owners = Owners::default();
        }
        if self.shared.group.read().protocol == ConnectProtocol::Eager {
            self.work.stop_all().await;
        }
        self.join();
    }

    async fn on_event(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Elected(election) => {
                let Some(round) = Round::read(&election) else {
                    tracing::error!(protocol = election.protocol, "the group has chosen an unknown protocol");
                    return;
                };
                let assignments = self.lead(&round).await;
                self.member.assign(election.generation, assignments);
            }
            GroupEvent::Joined(joined) => self.joined(joined).await,
            GroupEvent::Rebalance { .. } => {
                self.apply_changes().await;
                self.rejoin().await;
            }
            GroupEvent::Lost { reason, .. } => {
                // as in the JVM work goes on: the leader waits for it, and revokes what runs twice
                tracing::warn!("this worker was put out of the group and joins again: {reason}");
                self.rejoin().await;
            }
            GroupEvent::Unreachable { silent_for } => {
                tracing::error!(
                    "no answer from the group's coordinator for {} ms: everything is stopped, for others may run it by now",
                    silent_for.as_millis()
                );
                self.work.stop_all().await;
                self.rejoin().await;
            }
            GroupEvent::Failed(error) => {
                tracing::error!("joining the group fails, trying again in {FAILED_WAIT:?}: {error}");
                self.rejoin_at = Some(Instant::now() + FAILED_WAIT);
            }
            _ => {}
        }
    }

    /// The leader's work: everybody's assignment.
    async fn lead(&mut self, round: &Round) -> Vec<(String, bytes::Bytes)> {
        if self.config.offset < round.max_offset() {
            if let Err(error) = self.shared.store.refresh(self.shared.settings.sync_timeout).await {
                tracing::warn!(
                    "the leader cannot read on in the config topic: {}",
                    crate::store::chain(&error)
                );
            }
            self.apply_changes().await;
        }
        if self.config.offset < round.max_offset() {
            return round.mismatch();
        }
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (assignments, owners) = round.assign(&mut self.assignor, now, self.completed, &self.config);
        self.owners = Some(owners);
        assignments
    }

    /// A generation is complete: stops what is revoked, catches up, starts what is assigned.
    async fn joined(&mut self, joined: Joined) {
        let assignment = match Assignment::decode(joined.assignment.clone()) {
            Ok(assignment) => assignment,
            Err(error) => {
                tracing::error!("the assignment cannot be read, joining again: {error}");
                self.rejoin_at = Some(Instant::now() + FAILED_WAIT);
                return;
            }
        };
        let protocol = ConnectProtocol::from_wire_name(&joined.protocol).unwrap_or(ConnectProtocol::Eager);
        self.completed = joined.generation;
        self.shared.statuses.set_generation(joined.generation);
        tracing::info!(
            generation = joined.generation,
            leader = assignment.leader_url,
            protocol = joined.protocol,
            assigned = assignment.assigned.iter().count(),
            revoked = assignment.revoked.iter().count(),
            delay_ms = assignment.delay_ms,
            "joined the group"
        );
        let began = Instant::now();
        self.take_over(&assignment, protocol).await;
        tracing::debug!(millis = began.elapsed().as_millis() as u64, "what was revoked is stopped");
        if !self.catch_up(&assignment).await {
            return;
        }
        let again = !assignment.revoked.is_empty();
        let delay = u64::try_from(assignment.delay_ms).unwrap_or(0);
        self.rejoin_at = (delay > 0).then(|| Instant::now() + Duration::from_millis(delay));
        {
            let mut group = self.shared.group.write();
            group.protocol = protocol;
            group.leads = joined.is_leader();
            group.leader_url = Some(assignment.leader_url.clone());
            group.owners = self.owners.take().unwrap_or_default();
            group.joined = true;
        }
        self.assignment = Some(assignment);
        let config = Arc::clone(&self.config);
        self.work.start(&config).await;
        tracing::debug!(millis = began.elapsed().as_millis() as u64, "what was assigned is started");
        self.settled = true;
        self.key_due = None;
        self.lead_or_follow(joined.is_leader()).await;
        if joined.is_leader() {
            self.shared.statuses.forget_deleted(&self.config);
            if protocol == ConnectProtocol::Sessioned {
                self.renew_key().await;
            }
        }
        if again {
            self.rejoin().await;
        }
    }

    /// A new leader shuts the former one out of the config topic.
    async fn lead_or_follow(&self, leads: bool) {
        if !leads {
            return self.shared.store.give_up().await;
        }
        if let Err(error) = self.shared.store.claim().await {
            // the next write tries again
            tracing::warn!(
                "the right to write to the config topic is not claimed yet: {}",
                crate::store::chain(&error)
            );
        }
    }

    /// Stops what is not ours any more.
    async fn take_over(&mut self, assignment: &Assignment, protocol: ConnectProtocol) {
        let items = |items: &super::protocol::Items| -> Vec<Item> {
            items.iter().map(|(name, task)| (Arc::clone(name), task)).collect()
        };
        let assigned = items(&assignment.assigned);
        let revoked: Vec<Item> = if protocol == ConnectProtocol::Eager {
            let kept = assigned.iter().cloned().collect();
            self.work.owned.difference(&kept).cloned().collect()
        } else {
            items(&assignment.revoked)
        };
        for item in &revoked {
            self.work.owned.remove(item);
        }
        self.work.stop(revoked).await;
        self.work.owned.extend(assigned);
    }

    /// Reads the config topic as far as the assignment wants it. False if nothing may be started by this assignment:
    /// then a new rebalance is on its way.
    async fn catch_up(&mut self, assignment: &Assignment) -> bool {
        if self.config.offset < assignment.offset || assignment.error != NO_ERROR {
            let limit = self.shared.settings.sync_timeout;
            if let Err(error) = self.shared.store.refresh(limit).await {
                self.out_of_sync(&crate::store::chain(&error)).await;
                return false;
            }
            self.apply_changes().await;
        }
        self.unsynced = 0;
        if assignment.error != NO_ERROR || self.config.offset != assignment.offset {
            tracing::info!(
                "the config topic was read to {}, the assignment is of {}: joining again",
                self.config.offset,
                assignment.offset
            );
            self.assignment = Some(assignment.clone());
            self.rejoin().await;
            return false;
        }
        true
    }

    /// Stays out of the group for a while, so that it does not rebalance for ever; after some attempts nothing runs on.
    async fn out_of_sync(&mut self, cause: &str) {
        self.unsynced += 1;
        let part = self.shared.settings.max_delay / (2 * UNSYNC_ATTEMPTS);
        let wait = if self.unsynced <= UNSYNC_ATTEMPTS { part } else { self.shared.settings.unsync_backoff };
        let wait = wait
            .clamp(FAILED_WAIT.min(self.shared.settings.unsync_backoff), self.shared.settings.unsync_backoff);
        tracing::error!(
            "the config topic cannot be read to its end, this worker leaves the group for {} ms: {cause}",
            wait.as_millis()
        );
        self.member.leave("the config topic cannot be read").await;
        if self.unsynced > UNSYNC_ATTEMPTS {
            self.work.stop_all().await;
        }
        self.shared.group.write().leader_url = None;
        self.settled = false;
        self.rejoin_at = Some(Instant::now() + wait);
    }

    /// Follows what has changed in the config topic; true if the group has to rebalance for it.
    async fn apply_changes(&mut self) -> bool {
        let (changes, config) = self.shared.store.take_changes();
        let before = std::mem::replace(&mut self.config, Arc::clone(&config));
        let new = changes.connectors.iter().any(|name| before.connector(name).is_none());
        let rebalance = new || !changes.removed.is_empty() || !changes.tasks.is_empty();
        if !changes.removed.is_empty() {
            self.work.stop_connectors(&changes.removed).await;
        }
        if !changes.tasks.is_empty() {
            self.work.stop_tasks_of(&changes.tasks).await;
        }
        // a set of tasks with gaps is nobody's: the connector's own instance makes it again
        let with_gaps =
            |name: &&Arc<str>| config.connector(name).is_some_and(|connector| connector.inconsistent);
        let again = changes.tasks.iter().filter(with_gaps).filter(|name| !changes.connectors.contains(*name));
        for name in changes.connectors.iter().chain(again) {
            if let (Some(runner), Some(connector)) = (self.work.runner(name), config.connector(name)) {
                runner.start(Arc::clone(&connector.config), connector.target, None).await;
            }
        }
        for name in &changes.targets {
            if let Some(connector) = config.connector(name) {
                self.work.set_target(name, connector.target).await;
            }
        }
        for request in changes.restarts.values() {
            self.restart_here(request).await;
        }
        for (logger, level) in &changes.loggers {
            if let Err(error) = self.shared.worker.loggers().set(logger, level) {
                tracing::warn!(logger, level, "a level of the config topic cannot be set: {error}");
            }
        }
        rebalance
    }

    /// Restarts what runs here of what was asked.
    async fn restart_here(&mut self, request: &RestartRequest) {
        let (name, config) = (&request.connector, Arc::clone(&self.config));
        let scope = RestartScope { include_tasks: request.include_tasks, only_failed: request.only_failed };
        let (Some(connector), Some(status)) = (config.connector(name), self.shared.statuses.get(name)) else {
            return;
        };
        if connector.target == TargetState::Stopped {
            return;
        }
        let plan = RestartPlan::new(scope, &status);
        if plan.connector
            && let Some(runner) = self.work.runner(name)
        {
            let version = self.shared.plugin(&connector.config).map(|plugin| plugin.version());
            let restarting = Status { state: State::Restarting, trace: None, version };
            self.shared.statuses.connector(name, restarting);
            runner.start(Arc::clone(&connector.config), connector.target, None).await;
        }
        if !plan.tasks.is_empty() {
            self.work.restart_tasks(name, &plan.tasks, &config).await;
        }
    }

    /// The leader's care for the session key.
    async fn renew_key(&mut self) {
        self.key_due = None;
        if !self.shared.group.read().leads {
            return;
        }
        let keys = &self.shared.settings.keys;
        let snapshot = self.shared.store.snapshot();
        if let Some(left) = keys.usable_for(snapshot.session_key.as_ref(), now_ms()) {
            self.key_due = Some(Instant::now() + left);
            return;
        }
        let written = self.shared.store.put(ConfigRecord::SessionKey(keys.generate(now_ms()))).await;
        self.key_due = Some(match written {
            Ok(()) => Instant::now() + keys.ttl,
            Err(error) => {
                tracing::error!("the session key was not written: {}", crate::store::chain(&error));
                Instant::now() + FAILED_WAIT
            }
        });
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
