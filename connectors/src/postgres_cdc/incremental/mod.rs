//! Incremental snapshots: tables read in chunks by their key while the stream goes on, without marks in the database.
//!
//! A chunk is read in a transaction of its own. While it is, and until the stream has come to where the WAL ended then, the keys
//! of the table's changes are noted ([`window`]); rows of the chunk that have changed are left out, since the stream has brought
//! them newer. A transaction that the stream had brought before, and the chunk does not show yet, makes it read again.

mod chunk;
mod plan;
mod state;
mod window;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::{Batch, OffsetMap, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::chunk::{Chunk, ChunkPlan};
use self::plan::Unreadable;
pub(super) use self::plan::matching;
use self::state::KeyTexts;
pub(super) use self::state::{Collection, State};
use self::window::Verdict;
pub(super) use self::window::{Recent, Window};
use super::catalog::Catalog;
use super::config::Settings;
use super::event::{EventWriter, Operation, Origin, SnapshotMark, TableTexts};
use super::feed::Feed;
use super::filter::TableMatcher;
use super::notification::Notifier;
use super::row::{self, Segment};
use super::signal::Request;
use super::stream::Decoder;
use crate::postgres::{PgError, Session, Wire, copy_rows, segment};

/// How often the stream is asked for its position while a chunk waits for it.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// After this long the server is made to write out what keeps the stream from going on.
const NUDGE_AFTER: Duration = Duration::from_millis(200);
/// Longest wait for the answer to that.
const NUDGE_LIMIT: Duration = Duration::from_secs(5);
/// A chunk that showed too little is read again after this.
const AGAIN: Duration = Duration::from_millis(10);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// How often a table is tried whose rows the server refuses to give.
const MAX_REFUSALS: u32 = 3;
/// How often a chunk is read again because a change does not tell its row.
const MAX_AGAIN: u32 = 1000;

/// What a reading came to.
struct Outcome {
    wire: Option<Wire>,
    /// The largest key, and the chunk; nothing of a table without rows.
    read: Result<Option<(KeyTexts, Chunk)>, PgError>,
}

enum Phase {
    Idle,
    Reading(JoinHandle<Outcome>),
    /// For the stream to come to where the chunk was read.
    Waiting {
        chunk: Chunk,
        since: Instant,
        asked: Instant,
        nudged: bool,
    },
}

/// What it works on.
pub(super) struct Surroundings<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) writer: &'a mut EventWriter,
    pub(super) decoder: &'a mut Decoder,
    pub(super) feed: &'a Feed,
    pub(super) catalog: &'a mut Catalog,
    pub(super) notifier: &'a mut Notifier,
}

/// The incremental snapshot of a task, if one is asked for.
pub(super) struct Incremental {
    settings: Arc<Settings>,
    state: State,
    paused: bool,
    phase: Phase,
    /// Of the table that is being read.
    plan: Option<ChunkPlan>,
    wire: Option<Wire>,
    finished: Arc<Notify>,
    not_before: Instant,
    refusals: u32,
    again: u32,
    chunks: u64,
    rows: u64,
}

impl Incremental {
    /// Goes on with what a stored offset holds.
    pub(super) fn new(settings: Arc<Settings>, state: State) -> Incremental {
        if let Some(first) = state.collections.front() {
            tracing::info!(
                table = first.table,
                tables = state.collections.len(),
                from = state.last.as_ref().map(|key| key.join(",")),
                "the incremental snapshot goes on"
            );
        }
        Incremental {
            settings,
            state,
            paused: false,
            phase: Phase::Idle,
            plan: None,
            wire: None,
            finished: Arc::new(Notify::new()),
            not_before: Instant::now(),
            refusals: 0,
            again: 0,
            chunks: 0,
            rows: 0,
        }
    }

    /// Writes it into an offset.
    pub(super) fn store(&self, offset: &mut OffsetMap) {
        self.state.store(offset);
    }

    /// Returns when there is something to do: at once, or when a chunk has been read. Safe to cancel.
    pub(super) async fn ready(&self) {
        match &self.phase {
            Phase::Reading(reading) if !reading.is_finished() => self.finished.notified().await,
            Phase::Reading(_) => {}
            Phase::Waiting { .. } => tokio::time::sleep(ASK_INTERVAL).await,
            Phase::Idle if self.paused || self.state.collections.is_empty() => std::future::pending().await,
            Phase::Idle => tokio::time::sleep_until(self.not_before).await,
        }
    }

    fn names(&self) -> String {
        self.state.collections.iter().map(|of| &*of.table).collect::<Vec<_>>().join(",")
    }

    /// Tables to read are added.
    pub(super) fn request(&mut self, request: &Request, tables: Vec<Collection>, notifier: &mut Notifier) {
        notifier.incremental(&request.id, "STARTED", &[("data_collections", &request.collections.join(","))]);
        let fresh = tables
            .into_iter()
            .filter(|of| !self.state.collections.iter().any(|known| known.table == of.table));
        let fresh: Vec<Collection> = fresh.collect();
        let names = fresh.iter().map(|of| &*of.table).collect::<Vec<_>>().join(",");
        notifier.incremental(&request.id, "DATA_COLLECTIONS_RESOLVED", &[("data_collections", &names)]);
        tracing::info!(signal = request.id, tables = names, "an incremental snapshot is asked for");
        self.state.correlation.clone_from(&request.id);
        self.state.collections.extend(fresh);
        if self.state.collections.is_empty() {
            notifier.incremental(&request.id, "COMPLETED", &[]);
        }
    }

    /// Reads no further until it is told to.
    pub(super) fn pause(&mut self, pauses: bool, decoder: &mut Decoder, notifier: &mut Notifier) {
        if self.paused != pauses && !self.state.collections.is_empty() {
            let what = if pauses { "PAUSED" } else { "RESUMED" };
            tracing::info!(
                tables = self.names(),
                "the incremental snapshot is {}",
                what.to_ascii_lowercase()
            );
            notifier.incremental(&self.state.correlation, what, &[("data_collections", &self.names())]);
        }
        self.paused = pauses;
        if pauses {
            self.abandon(decoder);
        }
    }

    /// Leaves tables out; all without names.
    pub(super) fn stop(&mut self, names: &[String], decoder: &mut Decoder, notifier: &mut Notifier) {
        let matcher = TableMatcher::new("data-collections", &names.join(",")).ok();
        let is_named = |of: &Collection| {
            names.is_empty() || matcher.as_ref().is_some_and(|matcher| matcher.matches(&of.table))
        };
        if self.state.collections.front().is_some_and(is_named) {
            self.abandon(decoder);
            self.plan = None;
            self.state.last = None;
            self.state.maximum = None;
        }
        let before = self.state.collections.len();
        self.state.collections.retain(|of| !is_named(of));
        if self.state.collections.len() < before {
            tracing::info!(tables = names.join(","), "the incremental snapshot leaves tables out as asked");
            notifier.incremental(&self.state.correlation, "STOPPED", &[]);
        }
    }

    /// The chunk that is being read is dropped.
    pub(super) fn abandon(&mut self, decoder: &mut Decoder) {
        if let Phase::Reading(reading) = std::mem::replace(&mut self.phase, Phase::Idle) {
            reading.abort();
        }
        decoder.window = None;
    }

    /// Goes a step further; true if what the offset holds has changed.
    pub(super) async fn step(&mut self, around: &mut Surroundings<'_>) -> Result<bool, ConnectError> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => self.begin(around).await,
            Phase::Reading(reading) if !reading.is_finished() => {
                self.phase = Phase::Reading(reading);
                Ok(false)
            }
            Phase::Reading(reading) => {
                let outcome = reading.await.map_err(|error| {
                    ConnectError::retriable("an incremental snapshot's reader ended").caused_by(error)
                })?;
                self.wire = outcome.wire;
                match outcome.read {
                    Ok(Some((maximum, chunk))) => {
                        self.state.maximum = Some(maximum);
                        let now = Instant::now();
                        self.phase = Phase::Waiting { chunk, since: now, asked: now, nudged: false };
                        around.feed.confirmed().ask();
                        self.look(around).await
                    }
                    Ok(None) => {
                        around.decoder.window = None;
                        self.table_done(around.notifier, "EMPTY");
                        Ok(true)
                    }
                    Err(error) => Ok(self.failed(&error, around)),
                }
            }
            waiting @ Phase::Waiting { .. } => {
                self.phase = waiting;
                self.look(around).await
            }
        }
    }

    /// Begins to read a chunk.
    async fn begin(&mut self, around: &mut Surroundings<'_>) -> Result<bool, ConnectError> {
        let Some(collection) = self.state.collections.front() else { return Ok(false) };
        if self.paused || Instant::now() < self.not_before {
            return Ok(false);
        }
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => match plan::plan(&self.settings, around.catalog, collection).await {
                Ok(plan) => plan,
                Err(Unreadable::Failed(error)) => {
                    return if error.is_retriable() {
                        Err(error)
                    } else {
                        Ok(self.given_up(&error.to_string(), "SQL_EXCEPTION", around))
                    };
                }
                Err(unreadable) => {
                    return Ok(self.given_up(&unreadable.to_string(), unreadable.status(), around));
                }
            },
        };
        let recent = around.decoder.recent.count();
        around.decoder.window = Some(Window::open(&plan.plan, &plan.identity, recent));
        let reading = read(
            Arc::clone(&self.settings),
            self.wire.take(),
            plan.clone(),
            self.state.last.clone(),
            self.state.maximum.clone(),
        );
        let finished = Arc::clone(&self.finished);
        self.phase = Phase::Reading(tokio::spawn(async move {
            let outcome = reading.await;
            finished.notify_one();
            outcome
        }));
        self.plan = Some(plan);
        Ok(false)
    }

    /// Looks whether the stream has come far enough for the chunk.
    async fn look(&mut self, around: &mut Surroundings<'_>) -> Result<bool, ConnectError> {
        let Phase::Waiting { chunk, since, asked, nudged } = &mut self.phase else { return Ok(false) };
        if around.decoder.settled().is_none_or(|seen| seen < chunk.high) {
            let now = Instant::now();
            if now.duration_since(*asked) >= ASK_INTERVAL {
                *asked = now;
                around.feed.confirmed().ask();
            }
            if !*nudged && now.duration_since(*since) >= NUDGE_AFTER {
                *nudged = true;
                if let Some(mut wire) = self.wire.take()
                    && let Ok(Ok(())) = tokio::time::timeout(NUDGE_LIMIT, chunk::nudge(&mut wire)).await
                {
                    self.wire = Some(wire);
                }
            }
            return Ok(false);
        }
        let Phase::Waiting { chunk, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return Ok(false);
        };
        let Some(window) = around.decoder.window.take() else { return Ok(false) };
        match window.verdict(&around.decoder.recent, chunk.visible.as_ref()) {
            Verdict::Good => self.emit(&chunk, &window, around),
            Verdict::PlanAgain => {
                self.plan = None;
                Ok(false)
            }
            Verdict::Again if self.again < MAX_AGAIN => {
                self.again += 1;
                self.not_before = Instant::now() + AGAIN;
                Ok(false)
            }
            Verdict::Again => Ok(self.given_up(
                "changes do not tell which row they are of; run ALTER TABLE … REPLICA IDENTITY DEFAULT, or FULL",
                "SKIPPED",
                around,
            )),
        }
    }

    /// Gives the chunk's rows out.
    fn emit(
        &mut self,
        chunk: &Chunk,
        window: &Window,
        around: &mut Surroundings<'_>,
    ) -> Result<bool, ConnectError> {
        let Some(of) = &self.plan else { return Ok(false) };
        let (plan, batch) = (&of.plan, &mut *around.batch);
        let progress = around.decoder.progress();
        let origin = Origin {
            mark: SnapshotMark::Incremental,
            lsn: progress.lsn,
            last_commit: progress.last_commit,
            xid: None,
            micros: around.writer.now_ms().saturating_mul(1000),
            replicated: None,
        };
        let mut texts = TableTexts::default();
        let (mut read, mut last) = (0, None);
        for block in &chunk.blocks {
            if block.messages.is_empty() {
                continue;
            }
            let id = segment(batch, &block.bytes);
            for range in copy_rows(block) {
                let bytes = Segment { bytes: &block.bytes, id };
                let (value, rest) = row::of_copy(batch, plan, bytes, (range.start, range.end), of.key.len())?;
                read += 1;
                last = Some((&block.bytes, rest, range.end));
                if window.keeps(batch, plan, value) {
                    around.writer.change(
                        batch,
                        plan,
                        &mut texts,
                        Operation::Read,
                        Value::Null,
                        value,
                        &origin,
                        None,
                    );
                }
            }
        }
        let whole = read < of.rows;
        self.rows += read as u64;
        self.chunks += 1;
        (self.again, self.refusals) = (0, 0);
        if let Some((bytes, from, to)) = last {
            self.state.last = row::trailing_texts(bytes, from, to);
        }
        let maximum = self.state.maximum.as_ref().map(|key| key.join(",")).unwrap_or_default();
        let details = [
            ("data_collections", &*self.names()),
            ("current_collection_in_progress", &format!("{}.{}", plan.schema, plan.table)),
            ("chunk_index", &self.chunks.to_string()),
            ("last_processed_key", &self.state.last.as_ref().map(|key| key.join(",")).unwrap_or_default()),
            ("maximum_key", &maximum),
        ];
        around.notifier.incremental(&self.state.correlation, "IN_PROGRESS", &details);
        if whole || self.state.last == self.state.maximum {
            self.table_done(around.notifier, "SUCCEEDED");
        }
        Ok(true)
    }

    /// The table is read, or given up.
    fn table_done(&mut self, notifier: &mut Notifier, status: &str) {
        let names = self.names();
        self.plan = None;
        let (rows, _) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.chunks));
        (self.again, self.refusals) = (0, 0);
        let Some(table) = self.state.next() else { return };
        tracing::info!(
            table = table.table,
            rows,
            status,
            tables_left = self.state.collections.len(),
            "the incremental snapshot is done with a table"
        );
        let details = [
            ("data_collections", &*names),
            ("scanned_collection", &*table.table),
            ("total_rows_scanned", &rows.to_string()),
            ("status", status),
        ];
        notifier.incremental(&self.state.correlation, "TABLE_SCAN_COMPLETED", &details);
        if self.state.collections.is_empty() {
            notifier.incremental(&self.state.correlation, "COMPLETED", &[]);
        }
    }

    fn given_up(&mut self, why: &str, status: &str, around: &mut Surroundings<'_>) -> bool {
        let table = self.state.collections.front().map(|of| of.table.clone()).unwrap_or_default();
        tracing::error!(table, "the incremental snapshot leaves a table out: {why}");
        self.abandon(around.decoder);
        self.table_done(around.notifier, status);
        true
    }

    /// A chunk could not be read: it is tried again, unless the server refuses it for good.
    fn failed(&mut self, error: &PgError, around: &mut Surroundings<'_>) -> bool {
        around.decoder.window = None;
        self.plan = None;
        self.not_before = Instant::now() + RETRY;
        // a statement that the server does not understand, a value that it cannot compute
        let refused = error.code().is_some_and(|code| code.starts_with("42") || code.starts_with("22"));
        if refused {
            self.refusals += 1;
            if self.refusals >= MAX_REFUSALS {
                let mut why = error.to_string();
                if self.state.collections.front().is_some_and(|of| !of.condition.is_empty()) {
                    why.push_str(" (check the filter of its additional condition)");
                }
                return self.given_up(&why, "SQL_EXCEPTION", around);
            }
        }
        tracing::warn!(
            tables = self.names(),
            "a chunk of the incremental snapshot is read again after: {error}"
        );
        false
    }
}

/// Reads a chunk on the connection, or on a new one.
async fn read(
    settings: Arc<Settings>,
    wire: Option<Wire>,
    plan: ChunkPlan,
    last: Option<KeyTexts>,
    maximum: Option<KeyTexts>,
) -> Outcome {
    let reading = async {
        let mut wire = match wire {
            Some(wire) => wire,
            None => {
                let mut wire = Wire::connect(&settings.connection, Session::Plain).await?;
                for statement in &settings.initial_statements {
                    wire.query(statement).await?;
                }
                wire.query("SET statement_timeout = 0").await?;
                wire
            }
        };
        let maximum = match maximum {
            Some(maximum) => Some(maximum),
            None => chunk::maximum(&mut wire, &plan).await?,
        };
        let Some(maximum) = maximum else { return Ok((wire, None)) };
        let chunk = chunk::read(&mut wire, &plan.chunk(last.as_ref(), &maximum)).await?;
        Ok((wire, Some((maximum, chunk))))
    };
    match reading.await {
        Ok((wire, read)) => Outcome { wire: Some(wire), read: Ok(read) },
        Err(error) => Outcome { wire: None, read: Err(error) },
    }
}
