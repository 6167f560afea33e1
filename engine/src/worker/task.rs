//! Starting, supervising and stopping one task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::Instant;

use super::auto_restart::AutoRestart;
use super::config_provider::Watcher;
use super::exactly_once::ExactlyOnce;
use super::status::{State, Status};
use super::{Shared, sink, source};
use crate::connector::{ConfigMap, ConnectError, ConnectorPlugin, StopSignal, Task};

/// Time beyond the graceful limit that a cut-off task gets to drop what it holds.
const CUT_OFF: Duration = Duration::from_secs(1);

/// What to start.
pub struct TaskSpec {
    /// The connector's name.
    pub connector: Arc<str>,
    /// The task's number.
    pub task: usize,
    /// What it is of.
    pub plugin: Arc<dyn ConnectorPlugin>,
    /// The connector's configuration.
    pub connector_config: Arc<ConfigMap>,
    /// The task's own configuration.
    pub task_config: Arc<ConfigMap>,
    /// Whether it begins paused.
    pub paused: bool,
    /// Of a source that delivers exactly once.
    pub exactly_once: Option<ExactlyOnce>,
}

/// A task as its loop sees it.
pub(super) struct TaskRun {
    pub(super) shared: Arc<Shared>,
    pub(super) id: TaskId,
    pub(super) plugin: Arc<dyn ConnectorPlugin>,
    pub(super) connector_config: Arc<ConfigMap>,
    pub(super) task_config: ConfigMap,
    pub(super) stop: StopSignal,
    pub(super) paused: watch::Receiver<bool>,
    pub(super) exactly_once: Option<ExactlyOnce>,
}

/// A connector's name and a task's number, as in `name-0`.
#[derive(Debug, Clone)]
pub(super) struct TaskId {
    pub(super) connector: Arc<str>,
    pub(super) task: usize,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.task)
    }
}

impl TaskRun {
    pub(super) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    pub(super) fn set_state(&self, state: State) {
        self.shared.statuses.task(&self.id.connector, self.id.task, Status::of(state, self.plugin.version()));
    }

    /// The task reads or writes this topic: told once per batch.
    pub(super) fn used_topic(&self, topic: &str) {
        if self.shared.config.topic_tracking {
            self.shared.statuses.topic(&self.id.connector, self.id.task, topic);
        }
    }

    /// Returns when the task shall work, or shall stop: then false.
    pub(super) async fn wait_until_resumed(&mut self) -> bool {
        if self.is_paused() && !self.stop.is_stopped() {
            self.set_state(State::Paused);
            tokio::select! {
                _ = self.paused.wait_for(|paused| !paused) => {}
                () = self.stop.stopped() => {}
            }
        }
        if self.stop.is_stopped() {
            return false;
        }
        self.set_state(State::Running);
        true
    }
}

/// The way to a running task.
pub struct TaskHandle {
    id: TaskId,
    stop: watch::Sender<bool>,
    paused: watch::Sender<bool>,
    /// The attempt that runs now.
    current: Arc<Mutex<Option<AbortHandle>>>,
    supervisor: JoinHandle<()>,
}

impl TaskHandle {
    /// Pauses or resumes.
    pub fn set_paused(&self, paused: bool) {
        self.paused.send_replace(paused);
    }
}

pub(super) fn start(shared: Arc<Shared>, spec: TaskSpec) -> TaskHandle {
    let (stop, stop_signal) = StopSignal::new();
    let (paused, paused_seen) = watch::channel(spec.paused);
    let id = TaskId { connector: Arc::clone(&spec.connector), task: spec.task };
    let current = Arc::default();
    let supervisor = Supervisor {
        shared,
        spec,
        id: id.clone(),
        stop: stop_signal,
        paused: paused_seen,
        current: Arc::clone(&current),
    };
    let supervisor = tokio::spawn(supervisor.run());
    TaskHandle { id, stop, paused, current, supervisor }
}

/// Runs a task, and tells how it goes.
struct Supervisor {
    shared: Arc<Shared>,
    spec: TaskSpec,
    id: TaskId,
    stop: StopSignal,
    paused: watch::Receiver<bool>,
    current: Arc<Mutex<Option<AbortHandle>>>,
}

impl Supervisor {
    /// Whatever way a task ends, its status tells: an error and a panic are FAILED with the whole cause chain. With
    /// `errors.auto.restart` it is started again.
    async fn run(mut self) {
        let mut restart = AutoRestart::from_config(&self.spec.connector_config);
        loop {
            let began = Instant::now();
            let error = match self.attempt().await {
                Ended::Stopped => break,
                Ended::Failed(error) => error,
                Ended::Reload => continue,
            };
            let Some(wait) = restart.next(began.elapsed(), &error) else { break };
            tracing::warn!(
                connector = &*self.id.connector,
                task = self.id.task,
                "errors.auto.restart: the task is started again in {} ms",
                wait.as_millis()
            );
            if !self.stop.sleep(wait).await {
                break;
            }
            self.report(Status::of(State::Restarting, self.spec.plugin.version()));
        }
        crate::metrics::forget(&self.id.connector, self.id.task);
    }

    fn report(&self, status: Status) {
        self.shared.statuses.task(&self.id.connector, self.id.task, status);
    }

    /// One start to its end.
    async fn attempt(&mut self) -> Ended {
        let mut stop = self.stop.clone();
        let resolved = tokio::select! {
            resolved = self.resolve() => resolved,
            () = stop.stopped() => return self.stopped(),
        };
        let (connector, task) = match resolved {
            Ok(resolved) => resolved,
            Err(error) => return self.failed(error),
        };
        let providers = Arc::clone(&self.shared.config.providers);
        let raw = (Arc::clone(&self.spec.connector_config), Arc::clone(&self.spec.task_config));
        let secrets = [providers.secrets(&raw.0), providers.secrets(&raw.1)];
        let mut watcher = providers.watch(vec![(raw.0, connector.clone()), (raw.1, task.clone())]);
        let (stop_this, stop_signal) = StopSignal::new();
        let mut work = self.work(connector, task, stop_signal);
        *self.current.lock() = Some(work.abort_handle());
        let (mut reloading, mut stopping) = (false, false);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                () = stop.stopped(), if !stopping => stopping = true,
                () = changed(&mut watcher), if !stopping && !reloading => reloading = true,
            }
            stop_this.send_replace(true);
        };
        let error = match ended {
            Ok(Ok(())) if reloading && !self.stop.is_stopped() => {
                tracing::info!(
                    connector = &*self.id.connector,
                    task = self.id.task,
                    "values of a config provider have changed: the task is started anew"
                );
                return Ended::Reload;
            }
            Ok(Ok(())) => return self.stopped(),
            Ok(Err(error)) => error,
            Err(cut_off) if cut_off.is_cancelled() => return self.stopped(),
            Err(panic) => panicked(panic),
        };
        self.failed(secrets.iter().fold(error, |error, secrets| secrets.hide_in(error)))
    }

    async fn resolve(&self) -> Result<(ConfigMap, ConfigMap), ConnectError> {
        let providers = &self.shared.config.providers;
        let connector = providers.resolve(&self.spec.connector_config).await?;
        Ok((connector, providers.resolve(&self.spec.task_config).await?))
    }

    fn stopped(&self) -> Ended {
        self.report(Status::of(State::Unassigned, self.spec.plugin.version()));
        Ended::Stopped
    }

    fn failed(&self, error: ConnectError) -> Ended {
        let trace = error.trace();
        tracing::error!(
            connector = &*self.id.connector,
            task = self.id.task,
            "Task threw an uncaught and unrecoverable exception. Task is being killed and will not recover until manually restarted: {trace}"
        );
        self.report(Status::failed(trace, self.spec.plugin.version()));
        Ended::Failed(error)
    }

    fn work(
        &self,
        connector_config: ConfigMap,
        task_config: ConfigMap,
        stop: StopSignal,
    ) -> JoinHandle<Result<(), ConnectError>> {
        let run = TaskRun {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
            plugin: Arc::clone(&self.spec.plugin),
            connector_config: Arc::new(connector_config),
            task_config,
            stop,
            paused: self.paused.clone(),
            exactly_once: self.spec.exactly_once.clone(),
        };
        tokio::spawn(async move {
            match run.plugin.task() {
                Task::Source(task) => Box::pin(source::run(run, task)).await,
                Task::Sink(task) => Box::pin(sink::run(run, task)).await,
            }
        })
    }
}

/// How a start of a task ended.
enum Ended {
    Stopped,
    Failed(ConnectError),
    /// It shall start again with other values of config providers.
    Reload,
}

async fn changed(watcher: &mut Option<Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// The error that a panic of a connector is.
pub(super) fn panicked(error: JoinError) -> ConnectError {
    let message = match error.try_into_panic() {
        Ok(payload) => match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "no message".to_owned(),
        },
        Err(_) => return ConnectError::fatal("the task was cut off"),
    };
    ConnectError::fatal(format!("the connector panicked: {message}"))
}

pub(super) async fn stop(tasks: Vec<TaskHandle>, graceful: Duration) {
    for task in &tasks {
        task.stop.send_replace(true);
    }
    let deadline = Instant::now() + graceful;
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task.supervisor).await.is_err() {
            tracing::warn!(
                connector = &*task.id.connector,
                task = task.id.task,
                "the task did not stop within task.shutdown.graceful.timeout.ms={}: it is cut off; what it had not committed is read again",
                graceful.as_millis()
            );
            if let Some(current) = task.current.lock().take() {
                current.abort();
            }
            let _ = tokio::time::timeout(CUT_OFF, task.supervisor).await;
        }
    }
}
