//! Batches into the database: one transaction, sent in one go; and what is done when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use aqueduct_engine::connector::{ConnectError, FailedRecord, SinkTaskContext, TopicPartition};
use aqueduct_engine::data::{Batch, Record, RecordError, RecordState, Stage};

use super::config::{InsertMode, Settings};
use super::fields::{self, Action, Row, RowSchema};
use super::group::{Grouping, Placed, Run};
use super::offsets::{self, Offsets};
use super::plans::{Planned, Plans};
use super::session::{Session, UnfitRow};
use super::trouble::{self, Meaning, Trouble};
use crate::jdbc::connection::with_causes;
use crate::postgres::{PgError, ServerError};

/// Rounds of one batch in which bad rows are found; each finds at least one.
const MAX_ROUNDS: usize = 10_000;

/// The writing half of a task.
pub(super) struct Writer {
    settings: Arc<Settings>,
    context: SinkTaskContext,
    session: Option<Session>,
    plans: Plans,
    grouping: Grouping,
    offsets: Option<Offsets>,
    /// Plans of the batches under way by topic, schemas and action.
    shapes: Vec<(Shape, Planned)>,
}

/// What a record's plan depends on, as numbers of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    batch: u32,
    topic: u32,
    key_schema: u32,
    row_schema: RowSchema,
    action: Action,
}

/// Records that are out by batch and place, and why.
type Bad = BTreeMap<(u32, u32), String>;

impl From<PgError> for Trouble {
    fn from(error: PgError) -> Trouble {
        Trouble::Lost(error)
    }
}

impl Writer {
    pub(super) fn new(settings: Arc<Settings>, context: SinkTaskContext) -> Writer {
        let offsets = settings.offsets_table.as_deref().map(|table| Offsets::new(&context.connector, table));
        Writer {
            settings,
            context,
            session: None,
            plans: Plans::default(),
            grouping: Grouping::default(),
            offsets,
            shapes: Vec::new(),
        }
    }

    /// Where partitions go on by what the database has stored; none without an offsets table.
    pub(super) async fn opened(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, ConnectError> {
        if self.offsets.is_none() {
            return Ok(Vec::new());
        }
        let mut tries = 0;
        loop {
            match self.stored(partitions).await {
                Ok(stored) => return Ok(stored),
                Err(error) => self.after_loss(error, &mut tries).await?,
            }
        }
    }

    async fn stored(&mut self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, PgError> {
        self.connect().await?;
        let (Some(session), Some(offsets)) = (&mut self.session, &mut self.offsets) else {
            return Ok(Vec::new());
        };
        // whoever had them before has written meanwhile
        offsets.forget();
        offsets.load(&mut session.wire, partitions.iter().cloned()).await?;
        let next = |name: &TopicPartition| (name.clone(), offsets.next(name));
        Ok(partitions.iter().map(next).filter(|(_, next)| *next > 0).collect())
    }

    /// Writes batches in one transaction; gives for each the records that the database does not take.
    pub(super) async fn write(
        &mut self,
        batches: &[Arc<Batch>],
    ) -> Result<Vec<Vec<FailedRecord>>, ConnectError> {
        let mut bad = Bad::new();
        let (mut tries, mut stale, mut copy) = (0, false, true);
        self.plans.forget_refused();
        for _ in 0..MAX_ROUNDS {
            match self.attempt(batches, &mut bad, copy).await {
                Ok(()) => return Ok(failed(bad, batches.len())),
                Err(Trouble::Found) => {}
                Err(Trouble::Lost(error)) => self.after_loss(error, &mut tries).await?,
                Err(Trouble::Again(error)) => {
                    copy = false; // should COPY itself be what the server does not like
                    self.wait(&brief(&error), &mut tries, PgError::Server(error)).await?;
                }
                Err(Trouble::Stale(error, _)) if !stale => {
                    stale = true;
                    tracing::debug!(
                        connector = &*self.context.connector,
                        "tables are looked at again: {error}"
                    );
                    self.plans.forget();
                    if let Some(session) = &mut self.session
                        && session.forget_statements().await.is_err()
                    {
                        self.session = None;
                    }
                }
                Err(Trouble::Stale(error, plan)) => {
                    let plan = plan.as_deref();
                    let remedy = trouble::mend(plan, &error);
                    let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
                    let table = plan.map_or("the table", |plan| &plan.table);
                    return Err(ConnectError::fatal(format!("cannot write to {table}{remedy}"))
                        .caused_by(PgError::Server(error)));
                }
                Err(Trouble::Fatal(error)) => return Err(error),
            }
        }
        Err(ConnectError::fatal(format!("{MAX_ROUNDS} rounds did not find all bad rows of a batch")))
    }

    async fn connect(&mut self) -> Result<(), PgError> {
        if self.session.is_none() {
            let wire = self.settings.connections.connect(&mut self.context.stop).await?;
            self.session = Some(Session::new(wire));
            if let Some(offsets) = &mut self.offsets {
                // the last commit may have been done although its answer was lost
                offsets.forget();
            }
        }
        Ok(())
    }

    async fn after_loss(&mut self, error: PgError, tries: &mut u32) -> Result<(), ConnectError> {
        self.session = None;
        let place = self.settings.connections.place();
        if !error.is_retriable() {
            return Err(ConnectError::fatal(format!("{place}: the database cannot be used")).caused_by(error));
        }
        self.wait(&format!("{place}: {}", with_causes(&error)), tries, error).await
    }

    /// Waits before the next try; an error if there is none left.
    async fn wait(&mut self, what: &str, tries: &mut u32, error: PgError) -> Result<(), ConnectError> {
        if *tries >= self.settings.max_retries {
            let text = format!("a batch could not be written after {} retries", *tries);
            return Err(ConnectError::fatal(text).caused_by(error));
        }
        *tries += 1;
        tracing::warn!(
            connector = &*self.context.connector,
            task = self.context.task,
            "a batch has to be written again (retry {} of {}): {what}",
            *tries,
            self.settings.max_retries
        );
        if !self.context.stop.sleep(self.settings.retry_backoff).await {
            return Err(
                ConnectError::retriable("stopped while a batch was to be written again").caused_by(error)
            );
        }
        Ok(())
    }

    async fn attempt(&mut self, batches: &[Arc<Batch>], bad: &mut Bad, copy: bool) -> Result<(), Trouble> {
        self.connect().await?;
        let Some(session) = &mut self.session else { return Ok(()) };
        if let Some(offsets) = &mut self.offsets {
            offsets.load(&mut session.wire, offsets::partitions(batches)).await?;
        }
        self.group(batches, bad).await?;
        let runs = self.grouping.take_runs();
        let Some(session) = &mut self.session else { return Ok(()) };
        let moves = self.offsets.as_ref().map(|offsets| offsets.statements(batches)).unwrap_or_default();
        if runs.is_empty() && moves.is_empty() {
            return Ok(());
        }
        session.begin();
        session.query("BEGIN");
        for statement in &moves {
            session.query(statement);
        }
        let first = session.units();
        // where the units of each run begin
        let mut starts = Vec::with_capacity(runs.len());
        for run in &runs {
            starts.push(session.units());
            if let Err(UnfitRow { row, unfit }) = session.run(batches, run, self.settings.batch_size, copy) {
                let Some((batch, record)) = row.find(batches) else { continue };
                let why = trouble::unfit(batch, record, &run.plan, unfit);
                return Err(self.exclude(bad, (row.batch, row.record), why));
            }
        }
        session.query("COMMIT");
        let (bytes, outcomes) = (session.len(), session.fly().await?);
        let error = outcomes.iter().enumerate().find_map(|(at, outcome)| Some((at, outcome.as_ref().err()?)));
        let Some((at, error)) = error else {
            if let Some(offsets) = &mut self.offsets {
                offsets.committed(batches);
            }
            tracing::trace!(runs = runs.len(), bytes, "batch is written");
            return Ok(());
        };
        let error = error.clone();
        if at < first {
            // moved by somebody else, or the table is gone: both are looked at anew
            if let Some(offsets) = &mut self.offsets {
                offsets.start_over();
            }
            return Err(Trouble::Again(error));
        }
        let culprit = starts.partition_point(|start| *start <= at).checked_sub(1);
        let plan = culprit.map(|run| Arc::clone(&runs[run].plan));
        match trouble::meaning(&error) {
            Meaning::Again => Err(Trouble::Again(error)),
            Meaning::Stale => Err(Trouble::Stale(error, plan)),
            Meaning::Row => self.search(batches, &runs, bad, error).await,
        }
    }

    /// Takes a record out; fatal where bad records are not tolerated.
    fn exclude(&self, bad: &mut Bad, record: (u32, u32), why: String) -> Trouble {
        if self.settings.tolerant {
            bad.insert(record, why);
            Trouble::Found
        } else {
            Trouble::Fatal(ConnectError::fatal(why))
        }
    }

    /// Sorts the batches into runs. Records without a way to their table are bad.
    async fn group(&mut self, batches: &[Arc<Batch>], bad: &mut Bad) -> Result<(), Trouble> {
        self.grouping.clear();
        self.shapes.clear();
        for (number, batch) in batches.iter().enumerate() {
            self.group_one(number as u32, batch, bad).await?;
        }
        Ok(())
    }

    async fn group_one(&mut self, number: u32, batch: &Batch, bad: &mut Bad) -> Result<(), Trouble> {
        let mut stored: Option<(u32, i32, i64)> = None;
        for (index, record) in batch.records.iter().enumerate() {
            let place = (number, index as u32);
            if record.state != RecordState::Live || bad.contains_key(&place) {
                continue;
            }
            if let Some(offsets) = &self.offsets {
                let origin = record.origin;
                let next = match stored {
                    Some((topic, partition, next))
                        if (topic, partition) == (origin.topic, origin.partition) =>
                    {
                        next
                    }
                    _ => offsets.next(&TopicPartition::new(batch.topic(origin.topic), origin.partition)),
                };
                stored = Some((origin.topic, origin.partition, next));
                if origin.offset < next {
                    continue; // written before
                }
            }
            let placed = match fields::row(&self.settings, batch, record) {
                Ok(None) => continue,
                Ok(Some(row)) => self.place(batch, place, record, &row).await?,
                Err(why) => Err(trouble::unplanned(batch, record, &why)),
            };
            if let Err(why) = placed
                && let fatal @ Trouble::Fatal(_) = self.exclude(bad, place, why)
            {
                return Err(fatal);
            }
        }
        Ok(())
    }

    /// Puts a row into its run; the inner error is the record's.
    async fn place(
        &mut self,
        batch: &Batch,
        at: (u32, u32),
        record: &Record,
        row: &Row,
    ) -> Result<Result<(), String>, Trouble> {
        let shape = Shape {
            batch: at.0,
            topic: record.topic,
            key_schema: record.key_schema,
            row_schema: row.schema,
            action: row.action,
        };
        let known = match self.shapes.iter().rposition(|(known, _)| *known == shape) {
            Some(known) => known,
            None => {
                let Some(session) = &mut self.session else { return Ok(Ok(())) };
                let planned = self.plans.get(&mut session.wire, &self.settings, batch, record, row).await;
                let planned = planned.map_err(|error| match error {
                    PgError::Server(error) if trouble::meaning(&error) == Meaning::Stale => {
                        Trouble::Stale(error, None)
                    }
                    error => Trouble::Lost(error),
                })?;
                self.shapes.push((shape, planned));
                self.shapes.len() - 1
            }
        };
        let plan = match &self.shapes[known].1 {
            Planned::Plan(plan) => plan,
            Planned::Nothing => return Ok(Ok(())),
            Planned::Refused(why) => return Ok(Err(trouble::unplanned(batch, record, why))),
        };
        let placed = Placed { batch: at.0, record: at.1, value: row.value };
        let plain_insert = self.settings.insert_mode == InsertMode::Insert;
        if row.action == Action::Truncate {
            self.grouping.truncate(plan);
        } else if plain_insert && !self.settings.delete_enabled {
            self.grouping.push(plan, placed);
        } else {
            let keyed = |out: &mut Vec<u8>| plan.put_key(batch, record, row.value, out);
            if let Err(unfit) = self.grouping.push_keyed(plan, placed, !plain_insert, keyed) {
                return Ok(Err(trouble::unfit(batch, record, plan, unfit)));
            }
        }
        Ok(Ok(()))
    }

    /// Finds the rows that the server refuses: every run in a transaction that is rolled back, halved where it fails.
    async fn search(
        &mut self,
        batches: &[Arc<Batch>],
        runs: &[Run],
        bad: &mut Bad,
        error: ServerError,
    ) -> Result<(), Trouble> {
        let before = bad.len();
        let mut first = None;
        {
            let Some(session) = &mut self.session else { return Err(Trouble::Again(error)) };
            session.begin();
            session.query("BEGIN");
            // what is checked at the end of the transaction is checked with its row
            session.query("SET CONSTRAINTS ALL IMMEDIATE");
            session.fly().await?;
            for run in runs {
                let mut open: Vec<&[Placed]> = vec![&run.rows];
                while let Some(rows) = open.pop() {
                    let Some(error) = savepoint(session, batches, run, rows).await? else { continue };
                    match trouble::meaning(&error) {
                        Meaning::Row => {}
                        Meaning::Again => return Err(rolled_back(session, Trouble::Again(error)).await?),
                        Meaning::Stale => {
                            let plan = Some(Arc::clone(&run.plan));
                            return Err(rolled_back(session, Trouble::Stale(error, plan)).await?);
                        }
                    }
                    if let [row] = rows {
                        let Some((batch, record)) = row.find(batches) else { continue };
                        let why = trouble::refused(batch, record, &run.plan, &error);
                        let place = (row.batch, row.record);
                        first.get_or_insert(place);
                        bad.insert(place, why);
                        if !self.settings.tolerant {
                            break;
                        }
                        continue;
                    }
                    let (left, right) = rows.split_at(rows.len() / 2);
                    open.extend([right, left]);
                }
                if !self.settings.tolerant && first.is_some() {
                    break;
                }
            }
            rolled_back(session, Trouble::Found).await?;
        }
        match first {
            Some(record) if !self.settings.tolerant => {
                let why = bad.remove(&record).unwrap_or_default();
                Err(Trouble::Fatal(ConnectError::fatal(why)))
            }
            // one by one they all go: another transaction was in the way, or COPY minds what INSERT does not
            _ if bad.len() == before => Err(Trouble::Again(error)),
            _ => Err(Trouble::Found),
        }
    }
}

/// Runs rows in a savepoint of their own; gives the server's error after which nothing of them is left.
async fn savepoint(
    session: &mut Session,
    batches: &[Arc<Batch>],
    run: &Run,
    rows: &[Placed],
) -> Result<Option<ServerError>, PgError> {
    session.begin();
    session.query("SAVEPOINT row");
    let unit = session.units();
    if run.plan.action == Action::Truncate {
        session.query(&run.plan.sql);
    } else if session.rows(batches, &run.plan, rows).is_err() {
        return Ok(None); // was encoded before: cannot be
    }
    let outcomes = session.fly().await?;
    let error = outcomes.into_iter().skip(unit).find_map(Result::err);
    if error.is_some() {
        session.begin();
        session.query("ROLLBACK TO SAVEPOINT row");
        session.fly().await?;
    }
    Ok(error)
}

async fn rolled_back(session: &mut Session, trouble: Trouble) -> Result<Trouble, PgError> {
    session.begin();
    session.query("ROLLBACK");
    session.fly().await?;
    Ok(trouble)
}

fn brief(error: &ServerError) -> String {
    trouble::brief(error)
}

fn failed(bad: Bad, batches: usize) -> Vec<Vec<FailedRecord>> {
    let mut failed: Vec<Vec<FailedRecord>> = (0..batches).map(|_| Vec::new()).collect();
    for ((batch, record), why) in bad {
        if let Some(failed) = failed.get_mut(batch as usize) {
            failed.push(FailedRecord {
                record: record as usize,
                error: RecordError::data(Stage::TaskPut, why),
            });
        }
    }
    failed
}
