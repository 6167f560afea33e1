//! The task: reads its tables in turn, one after another on one connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, OffsetMap, SourceTask, SourceTaskContext,
};
use aqueduct_engine::data::{Batch, SourcePosition};
use tokio::time::Instant;

use super::columns::Columns;
use super::config::{self, Settings, TABLES, TABLES_FETCHED};
use super::offset::{self, Offset};
use super::pass::{Pass, PassError};
use super::query::{Bounds, Target, statement};
use crate::jdbc::connection::with_causes;
use crate::jdbc::sink::TableId;
use crate::postgres::{PgError, Wire};

/// Longest wait of one poll.
const POLL: Duration = Duration::from_secs(1);
/// Wait after a failure before the next try of the table.
const RETRY: Duration = Duration::from_millis(500);

/// A table, or the query, and how far it has been read.
struct Source {
    target: Target,
    topic: String,
    /// `None` in bulk mode: nothing is stored.
    partition: Option<Arc<OffsetMap>>,
    offset: Offset,
    /// Nothing is stored, and `timestamp.initial` is the database's present.
    begins_now: bool,
    columns: Option<Arc<Columns>>,
    due: Instant,
    failures: i64,
}

struct Running {
    settings: Settings,
    context: SourceTaskContext,
    sources: Vec<Source>,
    wire: Option<Wire>,
    /// The source that is being read.
    pass: Option<(usize, Pass)>,
}

/// The task.
#[derive(Default)]
pub(super) struct JdbcSourceTask {
    running: Option<Running>,
}

/// What a failure of a pass comes to.
enum Failure {
    /// Tried again, as often as is configured.
    Passing(PgError),
    Fatal(ConnectError),
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Failure {
        Failure::Passing(error)
    }
}

impl Running {
    async fn start(config: &ConfigMap, context: SourceTaskContext) -> Result<Running, ConnectError> {
        let settings = config::settings(config).map_err(|error| ConnectError::fatal(error.message))?;
        let targets = targets(config, &settings)?;
        let mut sources = Vec::with_capacity(targets.len());
        for target in targets {
            sources.push(source(&settings, &context, target).await?);
        }
        Ok(Running { settings, context, sources, wire: None, pass: None })
    }

    async fn poll(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        let limit = POLL.min(self.settings.linger.max(Duration::from_millis(1)));
        if self.pass.is_none() {
            let next = self.sources.iter().enumerate().min_by_key(|(_, source)| source.due);
            let Some((place, due)) = next.map(|(place, source)| (place, source.due)) else {
                self.context.stop.sleep(limit).await;
                return Ok(());
            };
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                self.context.stop.sleep(wait.min(limit)).await;
                return Ok(());
            }
            match self.begin(place).await {
                Ok(pass) => self.pass = Some((place, pass)),
                Err(failure) => return self.failed(place, failure),
            }
        }
        self.read_on(batch, limit).await
    }

    /// Rows of the pass under way.
    async fn read_on(&mut self, batch: &mut Batch, limit: Duration) -> Result<(), ConnectError> {
        let (Some((place, pass)), Some(wire)) = (&mut self.pass, &mut self.wire) else { return Ok(()) };
        let place = *place;
        let source = &mut self.sources[place];
        let topic = batch.intern_topic(&source.topic);
        let filled = tokio::select! {
            filled = pass.fill(wire, &self.settings, batch, topic, limit) => filled,
            () = self.context.stop.stopped() => return Ok(()),
        };
        source.offset = pass.offset;
        if let Some(partition) = &source.partition
            && !batch.records.is_empty()
        {
            let offset = source.offset.write();
            batch.positions.push(SourcePosition { partition: Arc::clone(partition), offset });
        }
        match filled {
            Ok(false) => Ok(()),
            Ok(true) => {
                let rows = pass.given;
                tracing::debug!(table = source.target.name(), rows, "read to the end");
                source.due = Instant::now() + self.settings.poll_interval;
                source.failures = 0;
                self.pass = None;
                Ok(())
            }
            Err(PassError::Row(error)) => {
                let text = format!(
                    "{}: a row cannot be read; leave the column out by a query to go on",
                    source.target.name()
                );
                Err(ConnectError::fatal(text).caused_by(error))
            }
            Err(PassError::Pg(error)) => {
                // what was read so far goes its way; the next pass begins behind it
                self.pass = None;
                self.failed(place, Failure::Passing(error))
            }
        }
    }

    /// Begins to read a source.
    async fn begin(&mut self, place: usize) -> Result<Pass, Failure> {
        if self.wire.is_none() {
            self.wire = Some(self.settings.connections.connect(&mut self.context.stop).await?);
        }
        let Some(wire) = &mut self.wire else { return Err(gone()) };
        let source = &mut self.sources[place];
        let settings = &self.settings;
        let name = match &source.target {
            Target::Table(table) => Some(table.name.as_str()),
            Target::Query(_) => None,
        };
        if let Some(isolation) = settings.isolation {
            wire.query(&format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {isolation}"))
                .await?;
        }
        let all = source.target.select(settings);
        let columns = Columns::of(wire, settings, &all, name, source.columns.as_ref()).await?;
        source.columns = Some(Arc::clone(&columns));
        let (timestamps, incrementing) = mode_columns(settings, &source.target, &columns)?;
        let named = |place: &usize| columns.all[*place].name.clone();
        let until = if settings.mode.timestamp { now(wire).await? } else { 0 };
        if std::mem::take(&mut source.begins_now) {
            source.offset.timestamp = Some(until);
        }
        let delay = i64::try_from(settings.timestamp_delay.as_micros()).unwrap_or(i64::MAX);
        let bounds = Bounds { from: source.offset, until: until.saturating_sub(delay) };
        let sql = statement(
            settings,
            &source.target,
            &timestamps.iter().map(named).collect::<Vec<_>>(),
            &incrementing.as_ref().map(named).unwrap_or_default(),
            &bounds,
        );
        wire.start_copy(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)")).await?;
        Ok(Pass::new(columns, timestamps, incrementing, source.offset))
    }

    fn failed(&mut self, place: usize, failure: Failure) -> Result<(), ConnectError> {
        let source = &mut self.sources[place];
        let error = match failure {
            Failure::Fatal(error) => return Err(error),
            Failure::Passing(error) => error,
        };
        // whatever state it is in
        self.wire = None;
        source.failures += 1;
        let name = source.target.name();
        let most = self.settings.retries;
        let exhausted = most > 0 && source.failures >= most;
        if exhausted || mend(&error).is_some() {
            let remedy = mend(&error).map(|remedy| format!("; {remedy}")).unwrap_or_default();
            let text = format!("{name}: cannot be read after {} tries{remedy}", source.failures);
            return Err(ConnectError::fatal(text).caused_by(error));
        }
        tracing::warn!(
            connector = &*self.context.connector,
            task = self.context.task,
            "{name}: cannot be read, it is tried again (try {}): {}",
            source.failures,
            with_causes(&error)
        );
        source.due = Instant::now() + self.settings.poll_interval.max(RETRY);
        Ok(())
    }
}

fn gone() -> Failure {
    Failure::Fatal(ConnectError::fatal("the connection is gone"))
}

/// What somebody has to do about an error that trying again does not cure.
fn mend(error: &PgError) -> Option<&'static str> {
    match error.code() {
        // a table that was dropped leaves the list of tables in a while
        Some("42P01") => None,
        Some("42501") => Some("run GRANT SELECT ON it TO the role of connection.user;"),
        Some("42703") => Some(
            "a column of the mode or the query is not there: check timestamp.column.name and incrementing.column.name",
        ),
        Some(code) if code.starts_with("42") => Some(
            "check the query and query.suffix; a query with WHERE or ORDER BY of its own has to be wrapped: SELECT * FROM (…) t",
        ),
        Some(code) if code.starts_with("28") || code == "3D000" => {
            Some("check connection.url, connection.user and connection.password")
        }
        _ if !error.is_retriable() => Some("it does not pass by itself"),
        _ => None,
    }
}

/// The database's present, in microseconds.
async fn now(wire: &mut Wire) -> Result<i64, PgError> {
    let rows =
        wire.query("SELECT (pg_catalog.date_part('epoch', CURRENT_TIMESTAMP) * 1000000)::bigint").await?;
    let text = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    let fallback = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    };
    Ok(text.unwrap_or_else(fallback))
}

/// Places of the columns that the mode needs.
fn mode_columns(
    settings: &Settings,
    target: &Target,
    columns: &Columns,
) -> Result<(Vec<usize>, Option<usize>), Failure> {
    let name = target.name();
    let refuse = |text: String| Err(Failure::Fatal(ConnectError::fatal(text)));
    let mut timestamps = Vec::new();
    if settings.mode.timestamp {
        for wanted in settings.timestamps_of(&name) {
            match columns.find(wanted) {
                Some(place) if columns.all[place].moment.is_some() => timestamps.push(place),
                Some(_) => {
                    return refuse(format!(
                        "{name}: column {wanted:?} of timestamp.column.name is no timestamp"
                    ));
                }
                None => {
                    return refuse(format!(
                        "{name} has no column {wanted:?}, which timestamp.column.name names"
                    ));
                }
            }
        }
    }
    let incrementing = match (settings.mode.incrementing, settings.incrementing_of(&name)) {
        (false, _) => None,
        (true, "") => {
            let found = columns.all.iter().position(|column| column.numbers_itself);
            if found.is_none() {
                return refuse(format!(
                    "{name} has no serial or identity column: set incrementing.column.name"
                ));
            }
            found
        }
        (true, wanted) => match columns.all.iter().position(|column| column.name == wanted) {
            Some(place) => Some(place),
            None => {
                return refuse(format!(
                    "{name} has no column {wanted:?}, which incrementing.column.name names"
                ));
            }
        },
    };
    if settings.validate_non_null && matches!(target, Target::Table(_)) {
        let nullable = |place: &usize| !columns.all[*place].not_null;
        if let Some(place) = incrementing.filter(nullable) {
            let column = &columns.all[place].name;
            return refuse(format!(
                "{name}: the incrementing column {column:?} may be NULL: run ALTER TABLE {name} ALTER COLUMN {column} SET NOT NULL; or set validate.non.null=false"
            ));
        }
        if !timestamps.is_empty() && timestamps.iter().all(nullable) {
            let column = &columns.all[timestamps[0]].name;
            return refuse(format!(
                "{name}: all timestamp columns may be NULL: run ALTER TABLE {name} ALTER COLUMN {column} SET NOT NULL; or set validate.non.null=false"
            ));
        }
    }
    Ok((timestamps, incrementing))
}

/// What the task has to read.
fn targets(config: &ConfigMap, settings: &Settings) -> Result<Vec<Target>, ConnectError> {
    if let Some(query) = &settings.query {
        return Ok(vec![Target::Query(query.clone())]);
    }
    let list = config.get(TABLES).map(String::as_str).unwrap_or_default();
    let tables: Vec<Target> = split(list).iter().map(|table| Target::Table(TableId::parse(table))).collect();
    let fetched = config.get(TABLES_FETCHED).is_none_or(|fetched| fetched != "false");
    if tables.is_empty() && fetched {
        return Err(ConnectError::fatal(
            "the task has neither a table nor a query to read: no table of the database matches; check table.whitelist, table.types and schema.pattern",
        ));
    }
    Ok(tables)
}

/// Parts between commas that are not within quotes.
fn split(list: &str) -> Vec<&str> {
    let mut quoted = false;
    let comma = |char: char| {
        quoted ^= char == '"';
        char == ',' && !quoted
    };
    list.split(comma).map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// A target where it was left.
async fn source(
    settings: &Settings,
    context: &SourceTaskContext,
    target: Target,
) -> Result<Source, ConnectError> {
    let (topic, partitions) = match &target {
        Target::Table(table) => (
            format!("{}{}", settings.topic_prefix, table.name),
            vec![offset::of_table(table), offset::of_table_before(table)],
        ),
        Target::Query(_) => (settings.topic_prefix.clone(), vec![offset::of_query()]),
    };
    if topic.is_empty() {
        return Err(ConnectError::fatal(
            "topic.prefix is empty, and a query's topic has no other name: set it",
        ));
    }
    let mut stored = None;
    if !settings.mode.is_bulk() {
        for partition in &partitions {
            if stored.is_none() {
                stored = context.offsets.offset(partition).await?;
            }
        }
    }
    let initial = Offset {
        incrementing: None,
        timestamp: settings.timestamp_initial.map(|millis| millis.saturating_mul(1000)),
    };
    let begins_now = stored.is_none() && settings.timestamp_initial == Some(-1);
    let offset = stored.as_ref().map_or(initial, Offset::read);
    let partition = (!settings.mode.is_bulk()).then(|| partitions.into_iter().next().map(Arc::new)).flatten();
    Ok(Source {
        target,
        topic,
        partition,
        offset,
        begins_now,
        columns: None,
        due: Instant::now(),
        failures: 0,
    })
}

impl SourceTask for JdbcSourceTask {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SourceTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            self.running = Some(Running::start(config, context).await?);
            Ok(())
        })
    }

    fn poll<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            match &mut self.running {
                Some(running) => running.poll(batch).await,
                None => Err(ConnectError::fatal("the task was not started")),
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.running = None;
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_quoted_names() {
        assert_eq!(split("\"a,b\".\"c\",\"d\".\"e\""), ["\"a,b\".\"c\"", "\"d\".\"e\""]);
        assert!(split("").is_empty());
    }
}
