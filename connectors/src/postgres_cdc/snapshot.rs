//! The initial reading of tables: binary COPY on one or several connections that see the same snapshot.

use std::sync::Arc;

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::Batch;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::catalog::{Catalog, TableInfo, single};
use super::config::{Isolation, Settings};
use super::event::{EventWriter, Operation, Origin, SnapshotMark, TableTexts};
use super::row::{self, Segment};
use super::setup::failed;
use super::table::TablePlan;
use crate::postgres::{
    Block, BlockEnd, PgError, Session, Wire, copy_rows, quote_ident, quote_literal, segment,
};

/// Blocks that wait to be converted, of 256 KiB mostly.
const QUEUED_BLOCKS: usize = 32;
/// Pages of 8 KiB that one connection reads at a time where several share a table.
const RANGE_PAGES: u64 = 16_384;

/// A table to read.
pub(super) struct SnapshotTable {
    pub(super) plan: Arc<TablePlan>,
    pub(super) info: TableInfo,
    /// SELECT to use instead of all rows.
    pub(super) select: Option<String>,
}

impl SnapshotTable {
    /// `schema.table`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.info.schema, self.info.table)
    }
}

/// A piece of work of one connection.
#[derive(Debug, Clone)]
struct Piece {
    table: usize,
    sql: String,
}

/// What a connection has read.
enum Reading {
    Block { table: usize, block: Block },
    PieceDone { table: usize },
    Failed { table: usize, error: PgError },
}

/// Where the snapshot stands in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct SnapshotPoint {
    pub(super) lsn: u64,
    pub(super) xid: u64,
    pub(super) micros: i64,
}

struct TableState {
    pieces: usize,
    rows: u64,
    /// The last row, held back until it is known whether it is the last of all.
    held: Option<(Bytes, (u32, u32))>,
    texts: TableTexts,
    started: bool,
}

/// A running snapshot.
pub(super) struct Snapshot {
    tables: Vec<SnapshotTable>,
    states: Vec<TableState>,
    readings: mpsc::Receiver<Reading>,
    open_tables: usize,
    first: bool,
    point: SnapshotPoint,
    /// Its place stands for a commit as well, as Debezium has it of those that interrupt the stream.
    last_commit: Option<u64>,
    /// Tables that were read to their end since they were asked for, with their rows.
    finished: Vec<(String, u64)>,
    /// All that were, in this snapshot and in the one that it goes on with.
    done: Vec<String>,
    rows: u64,
    /// Ends the readers with it.
    _readers: JoinSet<()>,
}

/// LSN, transaction and time of a snapshot that begins now.
pub(super) async fn point(catalog: &mut Catalog, lsn: Option<u64>) -> Result<SnapshotPoint, ConnectError> {
    let rows = catalog
        .query(
            "SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE txid_current() END, \
             CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0', \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        )
        .await
        .map_err(|error| failed("cannot ask for the server's position", error))?;
    let row = rows.into_iter().next().unwrap_or_default();
    let number = |index: usize| {
        row.get(index).and_then(Option::as_deref).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(SnapshotPoint { lsn: lsn.unwrap_or_else(|| number(1)), xid: number(0), micros: number(2) as i64 })
}

impl Snapshot {
    /// Starts the readers. With an exported snapshot they all see exactly that.
    pub(super) async fn start(
        settings: &Arc<Settings>,
        tables: Vec<SnapshotTable>,
        exported: Option<String>,
        point: SnapshotPoint,
    ) -> Result<Snapshot, ConnectError> {
        let threads = settings.snapshot.threads;
        let (pieces, counts) = pieces(&tables, threads);
        let (blocks, readings) = mpsc::channel(QUEUED_BLOCKS);
        let mut readers = JoinSet::new();
        let queue = Arc::new(Mutex::new(pieces.into_iter()));
        // without an exported snapshot the first connection exports its own for the others
        let mut exported = exported;
        for _ in 0..threads.min(counts.iter().sum()).max(1) {
            let (wire, snapshot) = transaction(settings, exported.as_deref())
                .await
                .map_err(|error| failed("the snapshot's transaction cannot be begun", error))?;
            exported = exported.or(snapshot);
            readers.spawn(read(wire, Arc::clone(&queue), blocks.clone()));
        }
        let states = counts
            .into_iter()
            .map(|pieces| TableState {
                pieces,
                rows: 0,
                held: None,
                texts: TableTexts::default(),
                started: false,
            })
            .collect();
        let open_tables = tables.len();
        Ok(Snapshot {
            tables,
            states,
            readings,
            open_tables,
            first: true,
            point,
            last_commit: None,
            finished: Vec::new(),
            done: Vec::new(),
            rows: 0,
            _readers: readers,
        })
    }

    /// It goes on where one broke off that had read these tables.
    pub(super) fn after(mut self, done: Vec<String>) -> Snapshot {
        self.done = done;
        self
    }

    /// Tables that are read to their end.
    pub(super) fn done(&self) -> &[String] {
        &self.done
    }

    /// It interrupts a stream.
    pub(super) fn interrupting(mut self) -> Snapshot {
        self.last_commit = Some(self.point.lsn);
        self
    }

    /// Tables that were read to their end since the last call, with their rows.
    pub(super) fn finished(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.finished)
    }

    /// Where it stands in the log.
    pub(super) const fn point(&self) -> SnapshotPoint {
        self.point
    }

    /// Names of the tables, and how many rows each has if that is known: nobody knows what a SELECT of the user's own gives.
    pub(super) fn expected(&self) -> Vec<(String, Option<u64>)> {
        let rows = |table: &SnapshotTable| table.info.rows.filter(|_| table.select.is_none());
        self.tables.iter().map(|table| (table.name(), rows(table))).collect()
    }

    /// Names of the tables.
    pub(super) fn names(&self) -> Vec<String> {
        self.tables.iter().map(SnapshotTable::name).collect()
    }

    /// Of each table its rows so far, and whether it is read to its end.
    pub(super) fn progress(&self) -> impl Iterator<Item = (u64, bool)> {
        self.states.iter().map(|state| (state.rows, state.pieces == 0))
    }

    /// Rows given out so far.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Fills the batch; true once everything has been given out. Waits for the first block only. Safe to cancel.
    pub(super) async fn poll(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        most: usize,
    ) -> Result<bool, ConnectError> {
        if self.open_tables == 0 {
            return Ok(true);
        }
        let gone = || ConnectError::retriable("the snapshot's connections ended before it was whole");
        let mut reading = self.readings.recv().await.ok_or_else(gone)?;
        loop {
            match reading {
                Reading::Block { table, block } => self.block(batch, writer, table, block)?,
                Reading::PieceDone { table } => self.piece_done(batch, writer, table)?,
                Reading::Failed { table, error } => {
                    let info = &self.tables[table].info;
                    return Err(failed(
                        format!("table {}.{}: cannot be read", info.schema, info.table),
                        error,
                    ));
                }
            }
            if self.open_tables == 0 {
                return Ok(true);
            }
            if batch.records.len() >= most {
                return Ok(false);
            }
            reading = match self.readings.try_recv() {
                Ok(next) => next,
                Err(_) => return Ok(false),
            };
        }
    }

    fn block(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        table: usize,
        block: Block,
    ) -> Result<(), ConnectError> {
        let mut within: Option<(u32, u32)> = None;
        for row in copy_rows(&block) {
            // rows of this block are held back by their place alone; the buffer is shared once, for the last one
            match within.replace((row.start, row.end)) {
                Some(place) => self.row(batch, writer, table, (&block.bytes, place), false, false)?,
                None => {
                    if let Some((bytes, place)) = self.states[table].held.take() {
                        self.row(batch, writer, table, (&bytes, place), false, false)?;
                    }
                }
            }
        }
        if let Some(place) = within {
            self.states[table].held = Some((block.bytes, place));
        }
        Ok(())
    }

    fn piece_done(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        table: usize,
    ) -> Result<(), ConnectError> {
        self.states[table].pieces -= 1;
        if self.states[table].pieces > 0 {
            return Ok(());
        }
        self.open_tables -= 1;
        let last = self.open_tables == 0;
        if let Some((bytes, place)) = self.states[table].held.take() {
            self.row(batch, writer, table, (&bytes, place), true, last)?;
        }
        let info = &self.tables[table].info;
        let (name, rows) = (format!("{}.{}", info.schema, info.table), self.states[table].rows);
        tracing::info!(table = name, rows, tables_left = self.open_tables, "the table is read");
        self.done.push(name.clone());
        self.finished.push((name, rows));
        Ok(())
    }

    fn row(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        table: usize,
        (bytes, (start, end)): (&Bytes, (u32, u32)),
        last_of_table: bool,
        last: bool,
    ) -> Result<(), ConnectError> {
        let state = &mut self.states[table];
        let plan = &self.tables[table].plan;
        let mark = match () {
            () if last => SnapshotMark::Last,
            () if std::mem::take(&mut self.first) => SnapshotMark::First,
            () if last_of_table => SnapshotMark::LastOfTable,
            () if !state.started => SnapshotMark::FirstOfTable,
            () => SnapshotMark::Inner,
        };
        state.started = true;
        state.rows += 1;
        self.rows += 1;
        let id = segment(batch, bytes);
        let (row, _) = row::of_copy(batch, plan, Segment { bytes, id }, (start, end), 0)?;
        let origin = Origin {
            mark,
            lsn: self.point.lsn,
            last_commit: self.last_commit,
            xid: Some(self.point.xid),
            micros: self.point.micros,
            replicated: None,
        };
        let nothing = aqueduct_engine::data::Value::Null;
        writer.change(batch, plan, &mut state.texts, Operation::Read, nothing, row, &origin, None);
        Ok(())
    }
}

/// The work, and how many pieces each table has.
fn pieces(tables: &[SnapshotTable], threads: usize) -> (Vec<Piece>, Vec<usize>) {
    let mut pieces = Vec::new();
    let mut counts = Vec::with_capacity(tables.len());
    for (table, wanted) in tables.iter().enumerate() {
        let statements = statements(wanted, threads);
        counts.push(statements.len());
        pieces.extend(statements.into_iter().map(|sql| Piece { table, sql }));
    }
    (pieces, counts)
}

/// The SELECT of a table's rows that a condition lets through; the condition may be a whole SELECT itself.
pub(super) fn filtered(info: &TableInfo, condition: &str) -> String {
    if condition.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("select ")) {
        return condition.to_owned();
    }
    format!("SELECT * FROM {}.{} WHERE {condition}", quote_ident(&info.schema), quote_ident(&info.table))
}

fn statements(table: &SnapshotTable, threads: usize) -> Vec<String> {
    let columns: Vec<String> = table.plan.column_names().map(quote_ident).collect();
    let columns = columns.join(", ");
    let name = format!("{}.{}", quote_ident(&table.info.schema), quote_ident(&table.info.table));
    let copy = |select: &str| format!("COPY ({select}) TO STDOUT (FORMAT binary)");
    match &table.select {
        Some(select) => vec![copy(&format!(
            "SELECT {columns} FROM ({}) AS overridden",
            select.trim().trim_end_matches(';')
        ))],
        // tables with few pages are not worth sharing; ranges of ctid are scanned as such since PostgreSQL 14
        None if threads > 1 && table.info.plain && table.info.pages > RANGE_PAGES => {
            let ranges = table.info.pages.div_ceil(RANGE_PAGES);
            (0..ranges)
                .map(|range| {
                    let from = range * RANGE_PAGES;
                    let mut select = format!("SELECT {columns} FROM ONLY {name} WHERE ctid >= '({from},0)'");
                    if range + 1 < ranges {
                        select.push_str(&format!(" AND ctid < '({},0)'", from + RANGE_PAGES));
                    }
                    copy(&select)
                })
                .collect()
        }
        None if columns.is_empty() => vec![copy(&format!("SELECT FROM {name}"))],
        None => vec![copy(&format!(
            "SELECT {columns} FROM {}{name}",
            if table.info.plain { "ONLY " } else { "" }
        ))],
    }
}

/// A connection within a transaction that sees the snapshot; gives the snapshot that it exports itself.
async fn transaction(settings: &Settings, exported: Option<&str>) -> Result<(Wire, Option<String>), PgError> {
    let mut wire = Wire::connect(&settings.connection, Session::Plain).await?;
    for statement in &settings.initial_statements {
        wire.query(statement).await?;
    }
    wire.query("SET statement_timeout = 0").await?;
    if let Some(exported) = exported {
        wire.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        wire.query(&format!("SET TRANSACTION SNAPSHOT {}", quote_literal(exported).trim_start())).await?;
        return Ok((wire, None));
    }
    let level = match settings.snapshot.isolation {
        Isolation::Serializable => "SERIALIZABLE READ ONLY DEFERRABLE",
        Isolation::RepeatableRead => "REPEATABLE READ READ ONLY",
        Isolation::ReadCommitted => "READ COMMITTED READ ONLY",
    };
    wire.query(&format!("BEGIN ISOLATION LEVEL {level}")).await?;
    if settings.snapshot.threads == 1 {
        return Ok((wire, None));
    }
    let exported = single(wire.query("SELECT pg_catalog.pg_export_snapshot()").await?);
    Ok((wire, exported))
}

/// Reads pieces until none is left. The transaction stays open to the end, for the others that share its snapshot.
async fn read(mut wire: Wire, queue: Arc<Mutex<std::vec::IntoIter<Piece>>>, blocks: mpsc::Sender<Reading>) {
    loop {
        let piece = queue.lock().next();
        let Some(Piece { table, sql }) = piece else { break };
        match copy(&mut wire, table, &sql, &blocks).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let _ = blocks.send(Reading::Failed { table, error }).await;
                return;
            }
        }
        if blocks.send(Reading::PieceDone { table }).await.is_err() {
            return;
        }
    }
    blocks.closed().await;
}

/// Runs one COPY; false if nobody listens any more.
async fn copy(
    wire: &mut Wire,
    table: usize,
    sql: &str,
    blocks: &mpsc::Sender<Reading>,
) -> Result<bool, PgError> {
    wire.start_copy(sql).await?;
    loop {
        let mut block = wire.block().await?;
        let end = block.end.take();
        if !block.messages.is_empty() && blocks.send(Reading::Block { table, block }).await.is_err() {
            return Ok(false);
        }
        match end {
            None => {}
            Some(BlockEnd::Done) => {
                wire.finish_copy().await?;
                return Ok(true);
            }
            Some(BlockEnd::Failed(error)) => return Err(PgError::Server(error)),
        }
    }
}
