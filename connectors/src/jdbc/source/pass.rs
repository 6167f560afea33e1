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

/// A buffer of rows.
struct Rows {
    bytes: Bytes,
    places: Vec<Range<u32>>,
    next: usize,
}

/// A row of a buffer.
#[derive(Clone, Copy)]
struct Raw<'a> {
    bytes: &'a Bytes,
    start: u32,
    end: u32,
}

/// A row that waits for the next one, in its buffer, and its time.
struct Held {
    bytes: Bytes,
    place: Range<u32>,
    time: Option<i64>,
}

/// The reading under way.
pub(super) struct Pass {
    pub(super) columns: Arc<Columns>,
    /// Places of the columns of time; none outside the timestamp modes.
    timestamps: Vec<usize>,
    incrementing: Option<usize>,
    /// What has arrived and was not given out yet.
    rows: Option<Rows>,
    /// In timestamp mode the last row waits for the next one: only the last row of a time moves the offset to it.
    held: Option<Held>,
    ended: bool,
    /// As far as the rows that were given out.
    pub(super) offset: Offset,
    /// How many those are.
    pub(super) given: u64,
}

impl Pass {
    /// Begins: the COPY has been started on the connection.
    pub(super) fn new(
        columns: Arc<Columns>,
        timestamps: Vec<usize>,
        incrementing: Option<usize>,
        offset: Offset,
    ) -> Pass {
        Pass { columns, timestamps, incrementing, rows: None, held: None, ended: false, offset, given: 0 }
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
            let left = settings.max_rows.saturating_sub(batch.records.len() - before);
            if left == 0 {
                return Ok(false);
            }
            if let Some(mut rows) = self.rows.take() {
                self.take(settings, batch, topic, &mut rows, left).map_err(PassError::Row)?;
                self.rows = (rows.next < rows.places.len()).then_some(rows);
                continue;
            }
            if self.ended {
                if let Some(held) = self.held.take() {
                    self.give_held(batch, topic, &held).map_err(PassError::Row)?;
                    self.offset.timestamp = held.time.or(self.offset.timestamp);
                }
                return Ok(true);
            }
            // what is here goes out at once; only a batch without rows waits
            let limit = if batch.records.len() > before { Duration::ZERO } else { wait };
            let Ok(block) = tokio::time::timeout(limit, wire.block()).await else { return Ok(false) };
            let block = block?;
            let places: Vec<Range<u32>> = copy_rows(&block).collect();
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
            self.rows = Some(Rows { bytes: block.bytes, places, next: 0 });
        }
    }

    /// Gives out at most `most` rows of a buffer.
    fn take(
        &mut self,
        settings: &Settings,
        batch: &mut Batch,
        topic: u32,
        rows: &mut Rows,
        most: usize,
    ) -> Result<(), BadRow> {
        let until = rows.places.len().min(rows.next.saturating_add(most));
        let places = &rows.places[rows.next..until];
        rows.next = until;
        if settings.mode.timestamp && !settings.mode.incrementing {
            return places.iter().try_for_each(|place| self.hold(settings, batch, topic, &rows.bytes, place));
        }
        let Some(last) = places.last() else { return Ok(()) };
        let id = segment(batch, &rows.bytes);
        let value_schema = batch.intern_schema(&self.columns.schema);
        batch.records.reserve(places.len());
        for place in places {
            let raw = Raw { bytes: &rows.bytes, start: place.start, end: place.end };
            let value = self.row(batch, raw, id)?;
            batch.records.push(Record { topic, value_schema, value, ..Record::default() });
        }
        self.given += places.len() as u64;
        // the batch ends here at the earliest: the last row says how far it goes
        let last = Raw { bytes: &rows.bytes, start: last.start, end: last.end };
        if settings.mode.timestamp {
            self.offset.timestamp = self.time_of(settings, last)?.or(self.offset.timestamp);
        }
        if let Some(column) = self.incrementing {
            let named = || BadRow::Number(self.columns.all[column].name.clone());
            self.offset.incrementing = Some(self.number_of(last, column).ok_or_else(named)?);
        }
        Ok(())
    }

    /// Holds a row back, and gives out the one before.
    fn hold(
        &mut self,
        settings: &Settings,
        batch: &mut Batch,
        topic: u32,
        bytes: &Bytes,
        place: &Range<u32>,
    ) -> Result<(), BadRow> {
        let time = self.time_of(settings, Raw { bytes, start: place.start, end: place.end })?;
        let held = Held { bytes: bytes.clone(), place: place.clone(), time };
        if let Some(before) = self.held.replace(held) {
            self.give_held(batch, topic, &before)?;
            if before.time != time {
                self.offset.timestamp = before.time.or(self.offset.timestamp);
            }
        }
        Ok(())
    }

    /// Appends the record of a row that was held back.
    fn give_held(&mut self, batch: &mut Batch, topic: u32, held: &Held) -> Result<(), BadRow> {
        let id = segment(batch, &held.bytes);
        let raw = Raw { bytes: &held.bytes, start: held.place.start, end: held.place.end };
        let value = self.row(batch, raw, id)?;
        let value_schema = batch.intern_schema(&self.columns.schema);
        batch.records.push(Record { topic, value_schema, value, ..Record::default() });
        self.given += 1;
        Ok(())
    }

    /// The first time of a row that is not null.
    fn time_of(&self, settings: &Settings, raw: Raw<'_>) -> Result<Option<i64>, BadRow> {
        for column in &self.timestamps {
            let Some((_, bytes)) = cell(raw, *column)? else { continue };
            let planned = &self.columns.all[*column];
            let why = |why| BadRow::Column { column: planned.name.clone(), why };
            let moment = planned.moment.ok_or(Unreadable::Malformed).map_err(why)?;
            return decode::instant(bytes, moment, settings.zone).map(Some).map_err(why);
        }
        Ok(None)
    }

    fn number_of(&self, raw: Raw<'_>, column: usize) -> Option<i64> {
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

    fn row(&self, batch: &mut Batch, raw: Raw<'_>, segment: u16) -> Result<Value, BadRow> {
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
    fn new(raw: Raw<'a>) -> Option<Cells<'a>> {
        let (at, end) = (raw.start as usize, raw.end as usize);
        let count = raw.bytes.get(at..end)?.first_chunk::<2>()?;
        Some(Cells { bytes: raw.bytes, at: at + 2, end, left: usize::from(u16::from_be_bytes(*count)) })
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

fn cell(raw: Raw<'_>, column: usize) -> Result<Option<(u32, &[u8])>, BadRow> {
    let mut cells = Cells::new(raw).ok_or(BadRow::Misshapen)?;
    for _ in 0..column {
        cells.next_cell().ok_or(BadRow::Misshapen)?;
    }
    cells.next_cell().ok_or(BadRow::Misshapen)
}
