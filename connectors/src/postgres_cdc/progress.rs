//! How far a snapshot is: rows read of each table, what they should come to, and how long the rest will take.

use std::time::{Duration, Instant};

use metrics::Gauge;

use super::metrics::{labels, truth};

/// How often the log tells.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// A table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Table {
    read: u64,
    /// All of them, as the server estimates; none if it does not.
    expected: Option<u64>,
    done: bool,
}

impl Table {
    /// Rows that are left. None if nobody knows.
    fn left(self) -> Option<u64> {
        if self.done { Some(0) } else { self.expected.map(|expected| expected.saturating_sub(self.read)) }
    }
}

/// How long the rest takes at the speed so far. None before the first row, and where a table's rows are not known.
fn time_left(tables: &[Table], elapsed: Duration) -> Option<Duration> {
    let read: u64 = tables.iter().map(|table| table.read).sum();
    let left = tables.iter().try_fold(0_u64, |sum, table| Some(sum.saturating_add(table.left()?)))?;
    if left == 0 {
        return Some(Duration::ZERO);
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * left as f64 / read as f64).ok()
}

/// Metrics of a snapshot, and what the log says of it.
pub(super) struct SnapshotMetrics {
    connector: String,
    running: Gauge,
    completed: Gauge,
    remaining: Gauge,
    seconds: Gauge,
    seconds_left: Gauge,
    names: Vec<String>,
    rows: Vec<Gauge>,
    tables: Vec<Table>,
    began: Instant,
    told: Instant,
}

impl SnapshotMetrics {
    /// A snapshot of these tables begins; of each its rows, if they are known.
    pub(super) fn new(
        connector: &str,
        task: usize,
        prefix: &str,
        expected: Vec<(String, Option<u64>)>,
    ) -> SnapshotMetrics {
        let labels = labels("snapshot", connector, task, prefix);
        let gauge = |name: &str| metrics::gauge!(format!("debezium_metrics_{name}"), &labels);
        let of_table = |name: &'static str, table: &str| {
            let mut labels = labels.to_vec();
            labels.push(("table", table.to_owned()));
            metrics::gauge!(name, &labels)
        };
        gauge("TotalTableCount").set(expected.len() as f64);
        for (table, rows) in &expected {
            of_table("aqueduct_postgres_snapshot_rows_expected", table)
                .set(rows.map_or(f64::NAN, |rows| rows as f64));
        }
        let now = Instant::now();
        let mut snapshot = SnapshotMetrics {
            connector: connector.to_owned(),
            running: gauge("SnapshotRunning"),
            completed: gauge("SnapshotCompleted"),
            remaining: gauge("RemainingTableCount"),
            seconds: gauge("SnapshotDurationInSeconds"),
            seconds_left: metrics::gauge!("aqueduct_postgres_snapshot_seconds_left", &labels),
            rows: expected.iter().map(|(table, _)| of_table("debezium_metrics_RowsScanned", table)).collect(),
            tables: expected
                .iter()
                .map(|(_, expected)| Table { read: 0, expected: *expected, done: false })
                .collect(),
            names: expected.into_iter().map(|(name, _)| name).collect(),
            began: now,
            told: now,
        };
        let nothing = vec![(0, false); snapshot.tables.len()];
        snapshot.polled(nothing.into_iter(), false);
        snapshot
    }

    /// Rows of each table so far, and whether it is read to its end.
    pub(super) fn polled(&mut self, progress: impl Iterator<Item = (u64, bool)>, done: bool) {
        for ((table, gauge), (read, done)) in self.tables.iter_mut().zip(&self.rows).zip(progress) {
            (table.read, table.done) = (read, done);
            gauge.set(read as f64);
        }
        let elapsed = self.began.elapsed();
        let left = time_left(&self.tables, elapsed);
        self.remaining.set(self.tables.iter().filter(|table| !table.done).count() as f64);
        self.running.set(truth(!done));
        self.completed.set(truth(done));
        self.seconds.set(elapsed.as_secs_f64());
        self.seconds_left.set(left.map_or(f64::NAN, |left| left.as_secs_f64()));
        if !done && self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            self.tell(left);
        }
    }

    /// One line for each table that is being read.
    fn tell(&self, left: Option<Duration>) {
        let seconds_left = left.map(|left| left.as_secs());
        for (name, table) in
            self.names.iter().zip(&self.tables).filter(|(_, table)| !table.done && table.read > 0)
        {
            tracing::info!(
                connector = self.connector,
                table = name,
                rows = table.read,
                rows_expected = table.expected,
                seconds_left,
                "the snapshot goes on"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_was_read() {
        let table = |read, expected, done| Table { read, expected, done };
        let left = |tables: &[Table]| time_left(tables, Duration::from_secs(10));
        assert_eq!(left(&[table(100, Some(400), false)]), Some(Duration::from_secs(30)));
        assert_eq!(
            left(&[table(100, Some(50), true), table(0, Some(100), false)]),
            Some(Duration::from_secs(10))
        );
        assert_eq!(left(&[table(100, Some(90), false)]), Some(Duration::ZERO), "more than were expected");
        assert_eq!(left(&[table(100, None, false)]), None);
        assert_eq!(left(&[table(100, None, true)]), Some(Duration::ZERO));
        assert_eq!(left(&[table(0, Some(5), false)]), None, "nothing is read yet");
        assert_eq!(left(&[]), Some(Duration::ZERO));
    }
}
