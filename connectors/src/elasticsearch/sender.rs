//! What a task has under way: the bulk that is being filled, those that are on the wire, and who waits for whom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::connector::{ConnectError, StopSignal};
use aqueduct_engine::data::{Batch, RecordError, RecordState};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backoff;
use super::bulk::{Bulk, MOST_BYTES};
use super::delivery;
use super::document::Trouble;
use super::http::{Answer, Http, Message, refusal};
use super::metrics::SearchMetrics;
use super::outcome::{Refusal, of_status};
use super::pace::Pace;
use super::plan::{Planned, Planner, Target};
use super::settings::{Batching, OnRefusal, Settings, Writing};
use super::tracker::Tracked;

/// Why a task cannot go on.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) message: String,
    /// The task was stopped in the middle: nothing is wrong, the rest comes again.
    pub(super) stopped: bool,
}

impl Failure {
    pub(super) fn fatal(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), stopped: false }
    }

    pub(super) fn stopped() -> Failure {
        let message = "stopped before the cluster had acknowledged everything";
        Failure { message: message.to_owned(), stopped: true }
    }

    pub(super) fn error(&self) -> ConnectError {
        match self.stopped {
            true => ConnectError::retriable(&*self.message),
            false => ConnectError::fatal(&*self.message),
        }
    }
}

struct State {
    open: Bulk,
    /// Whether what is open has waited long enough.
    due: bool,
    /// Whether a timer runs.
    armed: bool,
    in_flight: usize,
    /// Bulks that have their outcome.
    landed: u64,
    /// Records without outcome.
    buffered: usize,
    pace: Pace,
    /// Identities of documents on the wire whose operations must stay in order.
    identities: HashMap<u64, u32>,
    failure: Option<Failure>,
    tasks: JoinSet<()>,
}

/// Shared by the task and its requests.
pub(super) struct Sender {
    pub(super) http: Http,
    pub(super) batching: Batching,
    pub(super) writing: Writing,
    pub(super) stop: StopSignal,
    pub(super) connector: Arc<str>,
    pub(super) task: usize,
    pub(super) metrics: SearchMetrics,
    state: Mutex<State>,
    changed: Notify,
}

/// Why taking records paused.
pub(super) enum Taken {
    /// All of them are taken.
    All,
    /// There is no room, or a document has to wait for its predecessor; the number of bulks that had landed then.
    NoRoom(u64),
    /// A record has no operation.
    Trouble(Trouble),
    /// A record without value is passed over, and reported.
    Ignored,
}

impl Sender {
    pub(super) fn new(
        settings: &Settings,
        http: Http,
        stop: StopSignal,
        connector: Arc<str>,
        task: usize,
    ) -> Arc<Sender> {
        let batching = settings.batching;
        let state = State {
            open: Bulk::default(),
            due: false,
            armed: false,
            in_flight: 0,
            landed: 0,
            buffered: 0,
            pace: Pace::new(batching.in_flight, batching.records),
            identities: HashMap::new(),
            failure: None,
            tasks: JoinSet::new(),
        };
        Arc::new(Sender {
            http,
            batching,
            writing: settings.writing.clone(),
            stop,
            metrics: SearchMetrics::new(&connector, task),
            connector,
            task,
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    /// The task cannot go on; the first reason stays.
    pub(super) fn fail(&self, failure: Failure) {
        self.state.lock().failure.get_or_insert(failure);
        self.changed.notify_waiters();
    }

    /// # Errors
    /// Why the task cannot go on.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        self.state.lock().failure.as_ref().map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn is_full(&self, state: &State) -> bool {
        state.open.ops.len() >= self.batching.records.min(state.pace.records())
            || state.open.bytes >= self.batching.bytes.min(MOST_BYTES)
    }

    /// Sends what is open, if that is allowed; false if it has to wait.
    fn dispatch(self: &Arc<Self>, state: &mut State) -> bool {
        if state.open.ops.is_empty() {
            state.due = false;
            return true;
        }
        if state.in_flight >= state.pace.requests() || state.failure.is_some() {
            return false;
        }
        while state.tasks.try_join_next().is_some() {}
        let bulk = std::mem::take(&mut state.open);
        for op in bulk.ops.iter().filter(|op| op.identity != 0) {
            *state.identities.entry(op.identity).or_default() += 1;
        }
        state.due = false;
        state.in_flight += 1;
        state.tasks.spawn(delivery::deliver(Arc::clone(self), bulk));
        true
    }

    /// A bulk has its outcome.
    pub(super) fn landed(self: &Arc<Self>, bulk: &Bulk) {
        let mut state = self.state.lock();
        state.in_flight -= 1;
        state.landed += 1;
        state.buffered = state.buffered.saturating_sub(bulk.ops.len());
        for op in bulk.ops.iter().filter(|op| op.identity != 0) {
            if let Some(count) = state.identities.get_mut(&op.identity) {
                *count -= 1;
                if *count == 0 {
                    state.identities.remove(&op.identity);
                }
            }
        }
        if state.due || self.is_full(&state) {
            self.dispatch(&mut state);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The cluster said that it has too much to do, or did what was asked.
    pub(super) fn pace(&self, slower: bool) {
        let mut state = self.state.lock();
        if slower { state.pace.slower() } else { state.pace.went_well() }
    }

    /// Takes records from `next` on until something is in the way.
    pub(super) fn take(
        self: &Arc<Self>,
        planner: &mut Planner,
        tracked: &Tracked,
        targets: &[Option<Arc<Target>>],
        next: &mut usize,
    ) -> Taken {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        while let Some(record) = tracked.batch.records.get(*next) {
            if record.state != RecordState::Live {
                *next += 1;
                continue;
            }
            if self.is_full(state) && !self.dispatch(state) {
                return Taken::NoRoom(state.landed);
            }
            if state.buffered >= self.batching.buffered {
                state.due = true;
                self.dispatch(state);
                return Taken::NoRoom(state.landed);
            }
            let Some(target) = targets.get(record.topic as usize).and_then(Option::as_ref) else {
                *next += 1;
                continue;
            };
            let identities = &state.identities;
            let planned =
                planner.plan(tracked, *next, target, &mut state.open, |id| identities.contains_key(&id));
            match planned {
                Ok(Planned::Busy) => {
                    state.due = true;
                    self.dispatch(state);
                    return Taken::NoRoom(state.landed);
                }
                Ok(planned) => {
                    *next += 1;
                    match planned {
                        Planned::Added => {
                            state.buffered += 1;
                            tracked.tracker.begun();
                        }
                        Planned::Ignored => return Taken::Ignored,
                        Planned::Nothing | Planned::Busy => {}
                    }
                }
                Err(trouble) => {
                    *next += 1;
                    return Taken::Trouble(trouble);
                }
            }
        }
        if self.is_full(state) {
            self.dispatch(state);
        }
        Taken::All
    }

    /// What is open is sent after `linger.ms` at the latest.
    pub(super) fn linger(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.open.ops.is_empty() || state.armed {
            return;
        }
        if self.batching.linger.is_zero() {
            state.due = true;
            self.dispatch(&mut state);
            return;
        }
        state.armed = true;
        let sender = Arc::clone(self);
        state.tasks.spawn(async move {
            tokio::time::sleep(sender.batching.linger).await;
            let mut state = sender.state.lock();
            state.armed = false;
            state.due = true;
            sender.dispatch(&mut state);
        });
    }

    /// Waits until something has changed since `seen` said false.
    async fn wait(&self, what: &str, mut done: impl FnMut(&mut State) -> bool) -> Result<(), ConnectError> {
        let deadline = Instant::now() + self.batching.flush_timeout;
        let mut stop = self.stop.clone();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if let Some(failure) = &state.failure {
                    return Err(failure.error());
                }
                if done(&mut state) {
                    return Ok(());
                }
            }
            let late = || {
                ConnectError::fatal(format!(
                    "{what} within flush.timeout.ms={}: the cluster is too slow or does not answer; see the log for its reasons, and raise flush.timeout.ms or lower what is sent",
                    self.batching.flush_timeout.as_millis()
                ))
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(deadline) => return Err(late()),
                () = stop.stopped(), if !stop.is_stopped() => {}
            }
        }
    }

    /// Waits until more bulks have landed than had before; ends soon after a stop.
    pub(super) async fn wait_for_room(self: &Arc<Self>, landed: u64) -> Result<(), ConnectError> {
        let room = |state: &mut State| state.landed != landed || self.stop.is_stopped();
        self.wait("no room for more records", room).await?;
        if self.stop.is_stopped() { Err(Failure::stopped().error()) } else { Ok(()) }
    }

    /// Sends everything and waits for its outcome.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), ConnectError> {
        self.wait("not everything was acknowledged", |state| {
            state.due = true;
            self.dispatch(state);
            state.open.ops.is_empty() && state.in_flight == 0
        })
        .await
    }

    /// Logs what is wrong with a record; why the task ends, if it does.
    pub(super) fn judge(
        &self,
        batch: &Batch,
        record: usize,
        error: &RecordError,
        how: OnRefusal,
    ) -> Option<Failure> {
        let (topic, partition, offset) = batch.records.get(record).map_or(("", -1, -1), |record| {
            (batch.topic(record.origin.topic), record.origin.partition, record.origin.offset)
        });
        let text =
            format!("record from topic={topic} partition={partition} offset={offset}: {}", error.message);
        match how {
            OnRefusal::Ignore => tracing::debug!(connector = &*self.connector, task = self.task, "{text}"),
            OnRefusal::Warn | OnRefusal::Report => {
                tracing::warn!(connector = &*self.connector, task = self.task, "{text}");
            }
            OnRefusal::Fail => return Some(Failure::fatal(text)),
        }
        None
    }

    /// Ends all requests.
    pub(super) fn abort(&self) {
        self.state.lock().tasks.abort_all();
    }

    /// Waits before another try; an error once there were enough of them, or when the task is stopped.
    pub(super) async fn retry(&self, retries: &mut u32, what: &str) -> Result<(), Failure> {
        *retries += 1;
        if *retries > self.batching.max_retries {
            return Err(Failure::fatal(format!(
                "Failed to execute bulk request due to {what} (tried {retries} times; max.retries={})",
                self.batching.max_retries
            )));
        }
        if self.stop.is_stopped() {
            return Err(Failure::stopped());
        }
        let delay: Duration = backoff::delay(self.batching.backoff, *retries, fastrand::f64());
        tracing::warn!(
            connector = &*self.connector,
            task = self.task,
            "retry {retries} of {} in {} ms: {what}",
            self.batching.max_retries,
            delay.as_millis()
        );
        self.metrics.retries.increment(1);
        match self.stop.clone().sleep(delay).await {
            true => Ok(()),
            false => Err(Failure::stopped()),
        }
    }

    /// A request that is no bulk, with retries; any answer that trying again does not change.
    pub(super) async fn small(&self, message: Message) -> Result<Answer, Failure> {
        let mut retries = 0;
        loop {
            let what = match self.http.send(&message).await {
                Ok(answer) => match of_status(answer.status) {
                    Refusal::Retry(_) if !answer.is_success() => refusal(&answer),
                    _ => return Ok(answer),
                },
                Err(error) if error.passes => error.to_string(),
                Err(error) => return Err(Failure::fatal(error.to_string())),
            };
            self.retry(&mut retries, &what).await?;
        }
    }
}
