//! Batches in the order in which they have to be written: runs of rows of one plan, only the last row of each key.
//!
//! A row may join an earlier run of its plan as long as no later run has the same key; so shapes that alternate between
//! partitions do not tear the batch apart.

use std::sync::Arc;

use aqueduct_engine::data::{Batch, Record, Value};

use super::fields::Action;
use super::plan::{Plan, Unfit};

/// A row's place in the batches that are written together, and its fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) batch: u32,
    pub(super) record: u32,
    pub(super) value: Value,
}

impl Placed {
    /// Its batch and its record.
    pub(super) fn find(self, batches: &[Arc<Batch>]) -> Option<(&Batch, &Record)> {
        let batch = batches.get(self.batch as usize)?;
        Some((batch, batch.records.get(self.record as usize)?))
    }
}

/// Rows that are written by one plan.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) rows: Vec<Placed>,
}

/// A key that has been seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    hash: u64,
    start: u32,
    end: u32,
    /// Where the key's last row is.
    run: u32,
    row: u32,
}

/// Where the place of a key that is not there yet would be, or its entry.
enum Slot {
    Vacant(usize),
    Taken(usize),
}

/// Keys by content: their bytes lie one after another, nothing is allocated for a single one.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    seen: Vec<Seen>,
    /// Place in `seen` plus 1; 0 is free. A power of two of them, at most half taken.
    slots: Vec<u32>,
}

impl Keys {
    fn clear(&mut self) {
        self.bytes.clear();
        self.seen.clear();
        self.slots.fill(0);
    }

    /// FNV-1a, eight bytes at a time.
    fn hash(bytes: &[u8]) -> u64 {
        const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut hash = bytes.len() as u64;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            hash = (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
        }
        for byte in chunks.remainder() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME).rotate_left(29);
        }
        hash ^ hash >> 32
    }

    fn find(&self, hash: u64, key: &[u8]) -> Slot {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                0 => return Slot::Vacant(at),
                taken => {
                    let seen = &self.seen[taken as usize - 1];
                    if seen.hash == hash && &self.bytes[seen.start as usize..seen.end as usize] == key {
                        return Slot::Taken(taken as usize - 1);
                    }
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The key that was appended at `start`: its entry, and whether it was there before. An old key's bytes are taken off again.
    fn enter(&mut self, start: usize) -> (usize, bool) {
        const FIRST_SLOTS: usize = 1024;
        if (self.seen.len() + 1) * 2 > self.slots.len() {
            let size = (self.slots.len() * 2).max(FIRST_SLOTS);
            self.slots.clear();
            self.slots.resize(size, 0);
            for (place, seen) in self.seen.iter().enumerate() {
                let mut at = seen.hash as usize & (size - 1);
                while self.slots[at] != 0 {
                    at = (at + 1) & (size - 1);
                }
                self.slots[at] = place as u32 + 1;
            }
        }
        let hash = Keys::hash(&self.bytes[start..]);
        match self.find(hash, &self.bytes[start..]) {
            Slot::Taken(place) => {
                self.bytes.truncate(start);
                (place, true)
            }
            Slot::Vacant(slot) => {
                let (start, end) = (start as u32, self.bytes.len() as u32);
                self.seen.push(Seen { hash, start, end, run: 0, row: 0 });
                self.slots[slot] = self.seen.len() as u32;
                (self.seen.len() - 1, false)
            }
        }
    }
}

/// Makes the runs of a batch.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    keys: Keys,
    runs: Vec<Run>,
    /// The last run of each plan, by the plan's number.
    open: Vec<(usize, u32)>,
    /// Runs before this one are closed: a truncate lies between.
    barrier: u32,
}

/// Stands for a row that a later one has made needless.
const GONE: u32 = u32::MAX;

impl Grouping {
    /// Starts anew with the same memory.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.runs.clear();
        self.open.clear();
        self.barrier = 0;
    }

    /// The runs in their order; rows that later ones made needless are gone.
    pub(super) fn take_runs(&mut self) -> Vec<Run> {
        let mut runs = std::mem::take(&mut self.runs);
        for run in &mut runs {
            run.rows.retain(|row| row.record != GONE);
        }
        runs.retain(|run| !run.rows.is_empty() || run.plan.action == Action::Truncate);
        runs
    }

    /// A row whose key does not matter.
    pub(super) fn push(&mut self, plan: &Arc<Plan>, row: Placed) {
        let run = self.run_of(plan, self.barrier);
        self.runs[run as usize].rows.push(row);
    }

    /// The table is emptied.
    pub(super) fn truncate(&mut self, plan: &Arc<Plan>) {
        self.runs.push(Run { plan: Arc::clone(plan), rows: Vec::new() });
        self.barrier = self.runs.len() as u32;
        self.open.clear();
        self.keys.clear();
    }

    /// A row with a key, which `put_key` appends. With `reduce` it takes the place of the row before of the same key.
    pub(super) fn push_keyed(
        &mut self,
        plan: &Arc<Plan>,
        row: Placed,
        reduce: bool,
        put_key: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        let start = self.keys.bytes.len();
        // keys of several tables are kept apart
        self.keys.bytes.extend_from_slice(&plan.table_number.to_be_bytes());
        if let Err(unfit) = put_key(&mut self.keys.bytes) {
            self.keys.bytes.truncate(start);
            return Err(unfit);
        }
        let (entry, known) = self.keys.enter(start);
        let mut earliest = self.barrier;
        if known {
            let seen = self.keys.seen[entry];
            let before = &mut self.runs[seen.run as usize];
            if reduce && before.plan.number == plan.number {
                before.rows[seen.row as usize] = row;
                return Ok(());
            }
            if reduce && plan.action == Action::Delete {
                before.rows[seen.row as usize].record = GONE;
            }
            earliest = seen.run;
        }
        let run = self.run_of(plan, earliest);
        let rows = &mut self.runs[run as usize].rows;
        rows.push(row);
        let place = rows.len() as u32 - 1;
        let seen = &mut self.keys.seen[entry];
        (seen.run, seen.row) = (run, place);
        Ok(())
    }

    /// The last run of the plan if it is not before `earliest`, else a new one.
    fn run_of(&mut self, plan: &Arc<Plan>, earliest: u32) -> u32 {
        let open = self.open.iter_mut().find(|(number, _)| *number == plan.number);
        if let Some((_, run)) = &open
            && *run >= earliest
        {
            return *run;
        }
        let run = self.runs.len() as u32;
        self.runs.push(Run { plan: Arc::clone(plan), rows: Vec::new() });
        match open {
            Some((_, last)) => *last = run,
            None => self.open.push((plan.number, run)),
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(number: usize, action: Action) -> Arc<Plan> {
        Arc::new(Plan::for_tests(number, action))
    }

    /// What a table holds after rows of (key, plan): for a key the last write and who was before it since the last delete.
    fn replay(
        rows: impl Iterator<Item = (u8, usize, bool, u32)>,
    ) -> std::collections::BTreeMap<u8, Vec<(usize, u32)>> {
        let mut table: std::collections::BTreeMap<u8, Vec<(usize, u32)>> = std::collections::BTreeMap::new();
        for (key, plan, delete, record) in rows {
            if delete {
                table.remove(&key);
                continue;
            }
            // each plan writes columns of its own: only the last of each plan is to be seen
            let columns = table.entry(key).or_default();
            columns.retain(|(other, _)| *other != plan);
            columns.push((plan, record));
        }
        table
    }

    proptest! {
        /// The runs lead to the same table as the records one by one; and they are few where keys differ.
        #[test]
        fn runs_do_what_the_records_say(steps in proptest::collection::vec((0_u8..6, 0_usize..4), 0..60)) {
            let plans = [
                plan(0, Action::Write),
                plan(1, Action::Write),
                plan(2, Action::Write),
                plan(3, Action::Delete),
            ];
            let mut grouping = Grouping::default();
            for (record, (key, plan)) in steps.iter().enumerate() {
                let row = Placed { batch: 0, record: record as u32, value: Value::Int32(i32::from(*key)) };
                grouping.push_keyed(&plans[*plan], row, true, |out| { out.push(*key); Ok(()) }).unwrap();
            }
            let runs = grouping.take_runs();
            for run in &runs {
                let mut keys: Vec<i64> = run.rows.iter().map(|row| match row.value { Value::Int32(key) => key.into(), _ => -1 }).collect();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(keys.len(), run.rows.len(), "a key twice in one statement");
            }
            let written = runs.iter().flat_map(|run| run.rows.iter().map(|row| {
                let Value::Int32(key) = row.value else { unreachable!() };
                (key as u8, run.plan.number, run.plan.action == Action::Delete, row.record)
            }));
            let expected = steps.iter().enumerate().map(|(record, (key, plan))| (*key, *plan, *plan == 3, record as u32));
            prop_assert_eq!(replay(written), replay(expected));
        }
    }

    #[test]
    fn shapes_that_alternate_make_two_runs() {
        let (a, b) = (plan(0, Action::Write), plan(1, Action::Write));
        let mut grouping = Grouping::default();
        for key in 0..3000_u32 {
            let plan = if key % 2 == 0 { &a } else { &b };
            let row = Placed { batch: 0, record: key, value: Value::Null };
            grouping
                .push_keyed(plan, row, true, |out| {
                    out.extend_from_slice(&key.to_be_bytes());
                    Ok(())
                })
                .unwrap();
        }
        let runs = grouping.take_runs();
        assert_eq!(runs.iter().map(|run| run.rows.len()).collect::<Vec<_>>(), [1500, 1500]);
    }

    #[test]
    fn a_truncate_is_a_barrier() {
        let (write, empty) = (plan(0, Action::Write), plan(1, Action::Truncate));
        let mut grouping = Grouping::default();
        for record in 0..2 {
            let row = Placed { batch: 0, record, value: Value::Null };
            grouping.push_keyed(&write, row, true, |_| Ok(())).unwrap();
            grouping.truncate(&empty);
        }
        assert_eq!(grouping.take_runs().len(), 4);
    }
}
