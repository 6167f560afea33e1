//! What the stream has brought while a chunk of a table was read: of a row that both have, the stream's is newer.

use std::collections::{HashSet, VecDeque};

use aqueduct_engine::data::{Batch, Value};

use crate::postgres_cdc::pgoutput::TupleCell;
use crate::postgres_cdc::table::TablePlan;

/// Transactions that are remembered. Those that the server has sent and does not show yet are fewer than its connections.
const REMEMBERED: usize = 8192;

/// Changed rows that a window notes: where the stream is far behind, a chunk is read again later instead.
const MOST_CHANGED: usize = 1 << 20;

/// Transactions that the stream has brought, the latest of them.
#[derive(Debug, Default)]
pub(in crate::postgres_cdc) struct Recent {
    xids: VecDeque<u32>,
    count: u64,
}

impl Recent {
    pub(in crate::postgres_cdc) fn note(&mut self, xid: u32) {
        if self.xids.len() == REMEMBERED {
            self.xids.pop_front();
        }
        self.xids.push_back(xid);
        self.count += 1;
    }

    /// How many there have been.
    pub(in crate::postgres_cdc) const fn count(&self) -> u64 {
        self.count
    }

    /// Whether one of the first `count` of them is not to be seen in a snapshot.
    pub(in crate::postgres_cdc) fn hides(&self, snapshot: &Visible, count: u64) -> bool {
        let later = usize::try_from(self.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let before = self.xids.len().saturating_sub(later);
        self.xids.iter().take(before).any(|xid| !snapshot.sees(*xid))
    }
}

/// What a snapshot of the server shows: `xmin:xmax:xip,…` of `txid_current_snapshot()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres_cdc) struct Visible {
    next: u32,
    running: Vec<u32>,
}

impl Visible {
    /// Reads the server's text; without their epochs, as the stream has no more.
    pub(in crate::postgres_cdc) fn parse(text: &str) -> Option<Visible> {
        let low = |text: &str| text.parse::<u64>().ok().map(|xid| xid as u32);
        let mut parts = text.split(':');
        let (_, next, running) = (parts.next()?, low(parts.next()?)?, parts.next()?);
        let running =
            running.split(',').filter(|xid| !xid.is_empty()).map(low).collect::<Option<Vec<u32>>>()?;
        Some(Visible { next, running })
    }

    /// Whether a committed transaction's rows are in it.
    fn sees(&self, xid: u32) -> bool {
        // numbers go round: what is half of them ahead or less is later
        let is_later = (xid.wrapping_sub(self.next) as i32) >= 0;
        !is_later && !self.running.contains(&xid)
    }
}

/// The window of one chunk.
#[derive(Debug, Default)]
pub(in crate::postgres_cdc) struct Window {
    pub(in crate::postgres_cdc) schema: String,
    pub(in crate::postgres_cdc) table: String,
    /// Columns that tell a row from others.
    identity: Vec<String>,
    changed: HashSet<Vec<u8>>,
    /// All rows of before are gone.
    truncated: bool,
    /// A row was changed of which the stream does not tell which.
    unknown: bool,
    /// The table has other columns than when the chunk was planned.
    restructured: bool,
    /// Transactions that the stream had brought when it was opened.
    opened_at: u64,
}

/// What is to be done with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres_cdc) enum Verdict {
    /// Rows that have not changed are good.
    Good,
    /// It has to be read again.
    Again,
    /// It has to be planned and read again.
    PlanAgain,
}

impl Window {
    pub(in crate::postgres_cdc) fn open(plan: &TablePlan, identity: &[String], opened_at: u64) -> Window {
        Window {
            schema: plan.schema.to_string(),
            table: plan.table.to_string(),
            identity: identity.to_vec(),
            opened_at,
            ..Window::default()
        }
    }

    pub(in crate::postgres_cdc) fn is_of(&self, schema: &str, table: &str) -> bool {
        self.table == table && self.schema == schema
    }

    /// A change was given out: the row before and after it, as far as they are told; neither for a truncation. `old` is what the
    /// stream told of the row before.
    pub(in crate::postgres_cdc) fn note(
        &mut self,
        batch: &Batch,
        plan: &TablePlan,
        rows: [Value; 2],
        old: &[TupleCell],
    ) {
        self.truncated |= rows.iter().all(|row| row.is_null());
        // of another replica identity than the key a required column would be its type's zero
        self.unknown |= !rows[0].is_null() && !self.is_told(plan, old);
        for row in rows.into_iter().filter(|row| !row.is_null()) {
            match identity(batch, plan, &self.identity, row) {
                Some(key) if self.changed.len() < MOST_CHANGED && !self.unknown => {
                    self.changed.insert(key);
                }
                // the chunk is of no use: nothing has to be kept for it
                _ => {
                    self.unknown = true;
                    self.changed = HashSet::new();
                }
            }
        }
    }

    fn is_told(&self, plan: &TablePlan, cells: &[TupleCell]) -> bool {
        self.identity.iter().all(|name| {
            let field = plan.fields.iter().position(|field| *field.name == **name);
            let place = field.and_then(|_| plan.columns.iter().position(|column| *column == field));
            place.is_some_and(|place| matches!(cells.get(place), Some(TupleCell::Value { .. })))
        })
    }

    /// The table has got other columns.
    pub(in crate::postgres_cdc) const fn restructured(&mut self) {
        self.restructured = true;
    }

    /// Judges a chunk that was read while the window was open; without what it saw, it saw all that was committed.
    pub(in crate::postgres_cdc) fn verdict(&self, recent: &Recent, visible: Option<&Visible>) -> Verdict {
        if self.restructured {
            Verdict::PlanAgain
        } else if self.unknown || visible.is_some_and(|visible| recent.hides(visible, self.opened_at)) {
            Verdict::Again
        } else {
            Verdict::Good
        }
    }

    /// Whether a row of the chunk is to be given out.
    pub(in crate::postgres_cdc) fn keeps(&self, batch: &Batch, plan: &TablePlan, row: Value) -> bool {
        !self.truncated
            && identity(batch, plan, &self.identity, row).is_none_or(|key| !self.changed.contains(&key))
    }
}

/// The identity of a row as bytes; none if one of its columns is not there.
fn identity(batch: &Batch, plan: &TablePlan, columns: &[String], row: Value) -> Option<Vec<u8>> {
    let Value::Struct(row) = row else { return None };
    let mut key = Vec::with_capacity(16);
    for column in columns {
        let field = plan.fields.iter().position(|field| *field.name == **column)?;
        let value = batch.items(row).get(field).copied()?;
        if value.is_null() {
            return None;
        }
        append(&mut key, batch, value);
    }
    (!key.is_empty()).then_some(key)
}

fn append(key: &mut Vec<u8>, batch: &Batch, value: Value) {
    let mut sized = |tag: u8, bytes: &[u8]| {
        key.push(tag);
        key.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        key.extend_from_slice(bytes);
    };
    match value {
        Value::Null => sized(0, &[]),
        Value::Boolean(value) => sized(1, &[u8::from(value)]),
        Value::Int8(value) => sized(2, &value.to_be_bytes()),
        Value::Int16(value) => sized(3, &value.to_be_bytes()),
        Value::Int32(value) => sized(4, &value.to_be_bytes()),
        Value::Int64(value) | Value::Date(value) => sized(5, &value.to_be_bytes()),
        Value::Float32(value) => sized(6, &value.to_bits().to_be_bytes()),
        Value::Float64(value) => sized(7, &value.to_bits().to_be_bytes()),
        Value::String(span) | Value::Bytes(span) => sized(8, batch.bytes(span)),
        Value::Array(items) | Value::Struct(items) | Value::Decimal(items) => {
            sized(9, &items.len.to_be_bytes());
            for item in batch.items(items) {
                append(key, batch, *item);
            }
        }
        Value::Map(entries) => {
            sized(10, &entries.len.to_be_bytes());
            for (name, item) in batch.entries(entries) {
                append(key, batch, name);
                append(key, batch, item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_tell_what_they_show() {
        let visible = Visible::parse("100:110:100,105").unwrap();
        assert!(visible.sees(99) && visible.sees(101) && visible.sees(109));
        assert!(!visible.sees(100) && !visible.sees(105) && !visible.sees(110) && !visible.sees(111));
        let none_running = Visible::parse("4294967299:4294967299:").unwrap();
        assert!(none_running.sees(2) && none_running.sees(u32::MAX), "numbers go round");
        assert!(!none_running.sees(3));
        assert_eq!(Visible::parse("100:x:"), None);
        assert_eq!(Visible::parse(""), None);
    }

    #[test]
    fn what_was_streamed_before_the_window_must_show() {
        let mut recent = Recent::default();
        recent.note(7);
        let window = Window { opened_at: recent.count(), ..Window::default() };
        recent.note(9);
        let hides_9 = Visible::parse("9:10:9").unwrap();
        assert_eq!(window.verdict(&recent, Some(&hides_9)), Verdict::Good, "9 came while it was open");
        let hides_7 = Visible::parse("7:10:7").unwrap();
        assert_eq!(window.verdict(&recent, Some(&hides_7)), Verdict::Again);
        assert_eq!(window.verdict(&recent, None), Verdict::Good);
        for xid in 0..2 * REMEMBERED as u32 {
            recent.note(xid + 1000);
        }
        assert_eq!(recent.xids.len(), REMEMBERED);
        assert!(!recent.hides(&hides_7, window.opened_at), "it is forgotten by now");
    }
}
