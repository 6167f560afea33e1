//! One reading of a table or a query: a binary COPY of the mode's statement, as far as it is asked for.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::data::{Batch, Range32, Record, Span, Value};
use bytes::Bytes;

use super::columns::Columns;
use super::config::Settings;
use super::decode::{self, Unreadable};
use super::offset::Offset;
use crate::postgres::{BlockEnd, PgError, Wire, copy_rows, segment};

/// Why a row could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRow {
    /// The row as a whole.
    #[error("a row has not the columns that were described")]
    Misshapen,
    /// One of its columns.
    #[error("column {column:?} cannot be read: {why}")]
    Column {
        /// Its name.
        column: String,
        /// What is wrong.
        why: Unreadable,
    },
    /// The incrementing column.
    #[error(
        "the incrementing column {0:?} is NULL or no whole number: declare it NOT NULL, with an integer type"
    )]
    Number(String),
}

/// Why a pass ended early.
#[derive(Debug)]
pub(super) enum PassError {
    Pg(PgError),
    Row(BadRow),
}

impl From<PgError> for PassError {
    fn from(error: PgError) -> PassError {
        PassError::Pg(error)
    }
}

/// A row that has arrived: its place in the buffer.
#[derive(Debug, Clone)]
struct Raw {
    bytes: Bytes,
    place: Range<u32>,
}

/// The reading under way.
pub(super) struct Pass {
    pub(super) columns: Arc<Columns>,
    /// Places of the columns of time; none outside the timestamp modes.
    pub(super) timestamps: Vec<usize>,
    pub(super) incrementing: Option<usize>,
    /// What has arrived and was not given out yet.
    block: Option<(Bytes, Vec<Range<u32>>, usize)>,
    /// In timestamp mode the last row waits for the next one: only the last row of a time moves the offset to it.
    held: Option<(Raw, Option<i64>)>,
    ended: bool,
    /// As far as the rows that were given out.
    pub(super) offset: Offset,
    pub(super) rows: u64,
}

impl Pass {
    /// Begins: the COPY has been started on the connection.
    pub(super) fn new(
        columns: Arc<Columns>,
        timestamps: Vec<usize>,
        incrementing: Option<usize>,
        offset: Offset,
    ) -> Pass {
        Pass { columns, timestamps, incrementing, block: None, held: None, ended: false, offset, rows: 0 }
    }

    /// Appends rows: those that are there, after waiting `wait` at most for the first. True once all were given out.
    pub(super) async fn fill(
        &mut self,
        wire: &mut Wire,
        settings: &Settings,
        batch: &mut Batch,
        topic: u32,
        wait: Duration,
    ) -> Result<bool, PassError> {
        let before = batch.records.len();
        loop {
            if batch.records.len() - before >= settings.max_rows {
                return Ok(false);
            }
            if let Some(raw) = self.next_raw() {
                self.take(settings, batch, topic, raw).map_err(PassError::Row)?;
                continue;
            }
            if self.ended {
                if let Some((raw, time)) = self.held.take() {
                    self.give(batch, topic, &raw).map_err(PassError::Row)?;
                    self.offset.timestamp = time.or(self.offset.timestamp);
                }
                return Ok(true);
            }
            // what is here goes out at once; only a batch without rows waits
            let limit = if batch.records.len() > before { Duration::ZERO } else { wait };
            let Ok(block) = tokio::time::timeout(limit, wire.block()).await else { return Ok(false) };
            let block = block?;
            let rows: Vec<Range<u32>> = copy_rows(&block).collect();
            match block.end {
                None => {}
                Some(BlockEnd::Done) => {
                    wire.finish_copy().await?;
                    self.ended = true;
                }
                Some(BlockEnd::Failed(error)) => {
                    wire.finish_copy().await?;
                    return Err(PgError::Server(error).into());
                }
            }
            self.block = Some((block.bytes, rows, 0));
        }
    }

    fn next_raw(&mut self) -> Option<Raw> {
        let (bytes, rows, next) = self.block.as_mut()?;
        let Some(place) = rows.get(*next).cloned() else {
            self.block = None;
            return None;
        };
        *next += 1;
        Some(Raw { bytes: bytes.clone(), place })
    }

    /// Gives a row out, or the one that was held back for it.
    fn take(&mut self, settings: &Settings, batch: &mut Batch, topic: u32, raw: Raw) -> Result<(), BadRow> {
        if settings.mode.timestamp && !settings.mode.incrementing {
            let time = self.time_of(settings, &raw)?;
            if let Some((held, held_time)) = self.held.replace((raw, time)) {
                self.give(batch, topic, &held)?;
                if held_time != time {
                    self.offset.timestamp = held_time.or(self.offset.timestamp);
                }
            }
            return Ok(());
        }
        self.give(batch, topic, &raw)?;
        if settings.mode.timestamp {
            self.offset.timestamp = self.time_of(settings, &raw)?.or(self.offset.timestamp);
        }
        if let Some(column) = self.incrementing {
            let named = || BadRow::Number(self.columns.all[column].name.clone());
            self.offset.incrementing = Some(self.number_of(&raw, column).ok_or_else(named)?);
        }
        Ok(())
    }

    /// The first time of a row that is not null.
    fn time_of(&self, settings: &Settings, raw: &Raw) -> Result<Option<i64>, BadRow> {
        for column in &self.timestamps {
            let Some((_, bytes)) = cell(raw, *column)? else { continue };
            let planned = &self.columns.all[*column];
            let why = |why| BadRow::Column { column: planned.name.clone(), why };
            let moment = planned.moment.ok_or(Unreadable::Malformed).map_err(why)?;
            return decode::instant(bytes, moment, settings.zone).map(Some).map_err(why);
        }
        Ok(None)
    }

    fn number_of(&self, raw: &Raw, column: usize) -> Option<i64> {
        let (_, bytes) = cell(raw, column).ok()??;
        let mut scratch = Batch::default();
        match self.columns.all[column].decoder?.decode(&mut scratch, bytes, Span::default()).ok()? {
            Value::Int8(number) => Some(number.into()),
            Value::Int16(number) => Some(number.into()),
            Value::Int32(number) => Some(number.into()),
            Value::Int64(number) => Some(number),
            Value::Decimal(_) => super::numeric::Numeric::read(bytes)?.whole(),
            _ => None,
        }
    }

    /// Appends the record of a row.
    fn give(&mut self, batch: &mut Batch, topic: u32, raw: &Raw) -> Result<(), BadRow> {
        let id = segment(batch, &raw.bytes);
        let value = self.row(batch, raw, id)?;
        let value_schema = batch.intern_schema(&self.columns.schema);
        batch.records.push(Record { topic, value_schema, value, ..Record::default() });
        self.rows += 1;
        Ok(())
    }

    fn row(&self, batch: &mut Batch, raw: &Raw, segment: u16) -> Result<Value, BadRow> {
        let fields = self.columns.schema.fields.len();
        let start = batch.values.len();
        batch.values.resize(start + fields, Value::Null);
        let mut cells = Cells::new(raw).ok_or(BadRow::Misshapen)?;
        if cells.left != self.columns.all.len() {
            return Err(BadRow::Misshapen);
        }
        let mut slot = start;
        for column in &self.columns.all {
            let cell = cells.next_cell().ok_or(BadRow::Misshapen)?;
            let Some(decoder) = &column.decoder else { continue };
            if let Some((at, bytes)) = cell {
                let span = Span { segment, offset: at, len: bytes.len() as u32 };
                let value = decoder
                    .decode(batch, bytes, span)
                    .map_err(|why| BadRow::Column { column: column.name.clone(), why })?;
                batch.values[slot] = value;
            }
            slot += 1;
        }
        Ok(Value::Struct(Range32 { start: start as u32, len: fields as u32 }))
    }
}

/// The columns of a row in turn.
struct Cells<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    left: usize,
}

impl<'a> Cells<'a> {
    fn new(raw: &'a Raw) -> Option<Cells<'a>> {
        let (at, end) = (raw.place.start as usize, raw.place.end as usize);
        let count = raw.bytes.get(at..end)?.first_chunk::<2>()?;
        Some(Cells { bytes: &raw.bytes, at: at + 2, end, left: usize::from(u16::from_be_bytes(*count)) })
    }

    /// Place and bytes of the next column, the inner `None` for NULL; the outer one if the row ends early.
    #[inline]
    fn next_cell(&mut self) -> Option<Option<(u32, &'a [u8])>> {
        self.left = self.left.checked_sub(1)?;
        let length = self.bytes.get(self.at..self.end)?.first_chunk::<4>()?;
        self.at += 4;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Some(None) };
        let content = self.bytes.get(self.at..self.end)?.get(..length)?;
        let place = self.at as u32;
        self.at += length;
        Some(Some((place, content)))
    }
}

fn cell(raw: &Raw, column: usize) -> Result<Option<(u32, &[u8])>, BadRow> {
    let mut cells = Cells::new(raw).ok_or(BadRow::Misshapen)?;
    for _ in 0..column {
        cells.next_cell().ok_or(BadRow::Misshapen)?;
    }
    cells.next_cell().ok_or(BadRow::Misshapen)
}
