//! Starting, supervising and stopping one task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::Instant;

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
    pub task_config: ConfigMap,
    /// Whether it begins paused.
    pub paused: bool,
}

/// A task as its loop sees it.
pub(super) struct TaskRun {
    pub(super) shared: Arc<Shared>,
    pub(super) id: TaskId,
    /// The plugin's version.
    version: &'static str,
    pub(super) connector_config: Arc<ConfigMap>,
    pub(super) task_config: ConfigMap,
    pub(super) stop: StopSignal,
    pub(super) paused: watch::Receiver<bool>,
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
        self.shared.statuses.task(&self.id.connector, self.id.task, Status::of(state, self.version));
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
    abort: AbortHandle,
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
    let id = TaskId { connector: spec.connector, task: spec.task };
    let version = spec.plugin.version();
    let run = TaskRun {
        shared: Arc::clone(&shared),
        id: id.clone(),
        version,
        connector_config: spec.connector_config,
        task_config: spec.task_config,
        stop: stop_signal,
        paused: paused_seen,
    };
    let plugin = spec.plugin;
    let work = tokio::spawn(async move {
        let mut run = run;
        let providers = Arc::clone(&run.shared.config.providers);
        run.connector_config = Arc::new(providers.resolve(&run.connector_config)?);
        run.task_config = providers.resolve(&run.task_config)?;
        match plugin.task() {
            Task::Source(task) => Box::pin(source::run(run, task)).await,
            Task::Sink(task) => Box::pin(sink::run(run, task)).await,
        }
    });
    let abort = work.abort_handle();
    let supervisor = tokio::spawn(supervise(shared, id.clone(), version, work));
    TaskHandle { id, stop, paused, abort, supervisor }
}

/// Whatever way a task ends, its status tells: an error and a panic are FAILED with the whole cause chain.
async fn supervise(
    shared: Arc<Shared>,
    id: TaskId,
    version: &'static str,
    work: JoinHandle<Result<(), ConnectError>>,
) {
    let report = |status| shared.statuses.task(&id.connector, id.task, status);
    let error = match work.await {
        Ok(Ok(())) => return report(Status::of(State::Unassigned, version)),
        Ok(Err(error)) => error,
        Err(cut_off) if cut_off.is_cancelled() => return report(Status::of(State::Unassigned, version)),
        Err(panic) => panicked(panic),
    };
    let trace = error.trace();
    tracing::error!(
        connector = &*id.connector,
        task = id.task,
        "Task threw an uncaught and unrecoverable exception. Task is being killed and will not recover until manually restarted: {trace}"
    );
    report(Status::failed(trace, version));
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
            task.abort.abort();
            let _ = tokio::time::timeout(CUT_OFF, task.supervisor).await;
        }
    }
}
