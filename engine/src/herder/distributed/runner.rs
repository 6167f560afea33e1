//! One connector's own instance on this worker: a task of its own starts, pauses and stops it, and keeps the task
//! configurations in the config topic as the instance wants them. A slow connector delays nobody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use super::shared::Shared;
use crate::connector::{ConfigMap, ConnectorContext, ConnectorEvent, ConnectorPlugin};
use crate::herder::{HerderError, RELOADED, TargetState};
use crate::worker::{ConnectorHandle, State, Status, StatusListener as _, connector_config};

/// Commands waiting for a runner.
const MAILBOX: usize = 16;
/// How long stopping may take before the instance is left to itself.
const STOP: Duration = Duration::from_secs(6);
/// First and longest wait before task configurations are tried again that could not be handed in.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

type Answer = oneshot::Sender<Result<(), HerderError>>;

enum Command {
    /// Starts, or starts anew, with this configuration.
    Start {
        config: Arc<ConfigMap>,
        target: TargetState,
        answer: Option<Answer>,
    },
    Target(TargetState),
    Event(ConnectorEvent),
    Stop(oneshot::Sender<()>),
}

/// The way to a runner; it ends without a word when this is dropped.
pub(super) struct Runner {
    commands: mpsc::Sender<Command>,
    task: AbortHandle,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Runner {
    /// A runner that has nothing to do yet.
    pub(super) fn new(shared: &Arc<Shared>, name: &Arc<str>) -> Runner {
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let instance = Instance {
            shared: Arc::clone(shared),
            name: Arc::clone(name),
            events: commands.downgrade(),
            config: Arc::default(),
            target: TargetState::Stopped,
            running: None,
            handing_in: None,
        };
        let task = tokio::spawn(instance.run(mailbox)).abort_handle();
        Runner { commands, task }
    }

    /// Starts, or starts anew; `answer` learns whether it runs.
    pub(super) async fn start(&self, config: Arc<ConfigMap>, target: TargetState, answer: Option<Answer>) {
        let _ = self.commands.send(Command::Start { config, target, answer }).await;
    }

    /// The user wants another state.
    pub(super) async fn set_target(&self, target: TargetState) {
        let _ = self.commands.send(Command::Target(target)).await;
    }

    /// Stops it, and waits for that a few seconds.
    pub(super) async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        let stop = async {
            let _ = self.commands.send(Command::Stop(done)).await;
            let _ = stopped.await;
        };
        if tokio::time::timeout(STOP, stop).await.is_err() {
            tracing::warn!("a connector did not stop within {STOP:?}: it is left to itself");
        }
    }
}

struct Instance {
    shared: Arc<Shared>,
    name: Arc<str>,
    events: mpsc::WeakSender<Command>,
    config: Arc<ConfigMap>,
    target: TargetState,
    running: Option<(ConnectorHandle, &'static str)>,
    /// Hands task configurations in; replaced by the next ones.
    handing_in: Option<JoinHandle<()>>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Instance {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Command>) {
        while let Some(command) = mailbox.recv().await {
            match command {
                Command::Start { config, target, answer } => {
                    self.halt().await;
                    (self.config, self.target) = (config, target);
                    let result = self.begin().await;
                    answer.map(|answer| answer.send(result));
                }
                Command::Target(target) if target == self.target => {}
                Command::Target(target) => {
                    self.target = target;
                    self.halt().await;
                    let _ = self.begin().await;
                }
                Command::Event(ConnectorEvent::Reconfigure) => self.reconfigure().await,
                Command::Event(ConnectorEvent::Reload) => {
                    tracing::info!(connector = &*self.name, "{RELOADED}: the connector is started anew");
                    self.halt().await;
                    let _ = self.begin().await;
                }
                Command::Event(ConnectorEvent::Failed(error)) => {
                    tracing::error!(
                        connector = &*self.name,
                        "the connector has failed: {}",
                        error.trace().trim_end()
                    );
                    self.fail(error.trace());
                }
                Command::Stop(done) => {
                    self.halt().await;
                    // what never could start stays as it is
                    if let Some(plugin) = self.plugin() {
                        self.report(State::Unassigned, plugin.version());
                    }
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    fn plugin(&self) -> Option<Arc<dyn ConnectorPlugin>> {
        self.shared.plugin(&self.config)
    }

    fn cancel(&mut self) {
        if let Some(handing_in) = self.handing_in.take() {
            handing_in.abort();
        }
    }

    /// Ends the instance, if one runs.
    async fn halt(&mut self) {
        self.cancel();
        if let Some((running, _)) = self.running.take() {
            running.stop().await;
        }
    }

    fn report(&self, state: State, version: &'static str) {
        self.shared.statuses.connector(&self.name, Status::of(state, version));
    }

    fn fail(&self, trace: String) {
        let version = self.plugin().map(|plugin| plugin.version());
        let status = Status { state: State::Failed, trace: Some(trace), version };
        self.shared.statuses.connector(&self.name, status);
    }

    /// Does what the target state asks, from a stand.
    async fn begin(&mut self) -> Result<(), HerderError> {
        let Some(plugin) = self.plugin() else {
            let error = connector_config::unknown_class(self.shared.worker.registry(), &self.config);
            tracing::error!(connector = &*self.name, "Failed to start connector: {error}");
            self.fail(error.trace());
            return Err(HerderError::new(500, format!("Failed to start connector: {}", self.name)));
        };
        match self.target {
            TargetState::Stopped => self.report(State::Stopped, plugin.version()),
            TargetState::Paused => self.report(State::Paused, plugin.version()),
            TargetState::Started => {
                let context = self.context();
                let worker = &self.shared.worker;
                let started = worker.start_connector(&self.name, &plugin, &self.config, context).await;
                match started {
                    Ok(running) => {
                        self.running = Some((running, plugin.version()));
                        self.report(State::Running, plugin.version());
                        self.reconfigure().await;
                    }
                    Err(error) => {
                        tracing::error!(connector = &*self.name, "Failed to start connector: {error}");
                        self.fail(error.trace());
                        let message = format!("Failed to start connector: {}", self.name);
                        return Err(HerderError::new(500, message));
                    }
                }
            }
        }
        Ok(())
    }

    fn context(&self) -> ConnectorContext {
        let events = self.events.clone();
        ConnectorContext::new(&self.name, move |event| {
            let Some(events) = events.upgrade() else { return };
            // from a task of its own: the connector must not wait for a runner that waits for it
            tokio::spawn(async move { events.send(Command::Event(event)).await });
        })
    }

    /// Asks the instance for task configurations, and has them stored if they are others than those in force.
    async fn reconfigure(&mut self) {
        self.cancel();
        let Some((running, _)) = &mut self.running else { return };
        let tasks = match running.task_configs().await {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::error!(
                    connector = &*self.name,
                    "no task configurations: {}",
                    error.trace().trim_end()
                );
                self.fail(error.trace());
                return;
            }
        };
        if !self.shared.tasks_differ(&self.name, &self.config, &tasks) {
            return;
        }
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.name));
        self.handing_in = Some(tokio::spawn(hand_in(shared, name, tasks)));
    }
}

/// Tries until the leader has them.
async fn hand_in(shared: Arc<Shared>, name: Arc<str>, tasks: Vec<ConfigMap>) {
    let mut wait = BACKOFF.0;
    loop {
        shared.has_leader().await;
        let handed_in = match shared.handing_in.acquire().await {
            Ok(_turn) => shared.hand_in_tasks(&name, &tasks).await,
            Err(_) => return,
        };
        match handed_in {
            Ok(()) => return,
            // a rebalance has come between
            Err(error) if error.status == 409 => {
                tracing::debug!(connector = &*name, "the task configurations are handed in again: {error}");
                tokio::time::sleep(BACKOFF.0).await;
                continue;
            }
            Err(error) => tracing::info!(
                connector = &*name,
                "the task configurations could not be handed in, trying again in {} ms: {error}",
                wait.as_millis()
            ),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}
