//! How far the snapshot of a database is, in the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use aqueduct_engine::metrics::gauge_values;

const BAR: usize = 20;
/// How often a line is written where it cannot be overwritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress on standard error: the rows themselves are on standard output.
pub(super) struct Progress {
    /// The line can be overwritten, and no rows come between.
    overwrites: bool,
    shown: Option<Instant>,
    done: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let overwrites = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        Progress { overwrites, shown: None, done: false }
    }

    /// Looks once more.
    pub(super) fn show(&mut self) {
        let running = gauge("debezium_metrics_SnapshotRunning");
        if self.done || running.is_none() {
            return;
        }
        self.done = running == Some(0.0);
        let due = self.shown.is_none_or(|shown| self.overwrites || shown.elapsed() >= PLAIN_EVERY);
        if !due && !self.done {
            return;
        }
        self.shown = Some(Instant::now());
        let rows = tables("debezium_metrics_RowsScanned").into_iter().map(|(_, rows)| rows).sum();
        let expected = tables("aqueduct_postgres_snapshot_rows_expected");
        let expected = expected.into_iter().map(|(_, rows)| rows).sum::<f64>();
        let left = gauge("aqueduct_postgres_snapshot_seconds_left").filter(|left| left.is_finite());
        let line = match self.done {
            true => format!("snapshot: all {rows} rows are read"),
            false => line(rows, expected, left),
        };
        let (start, end) = match (self.overwrites, self.done) {
            (true, false) => ("\r\x1b[2K", ""),
            (true, true) => ("\r\x1b[2K", "\n"),
            _ => ("", "\n"),
        };
        let _ = write!(std::io::stderr(), "{start}{line}{end}");
    }
}

fn tables(name: &str) -> Vec<(String, f64)> {
    let table = |labels: Vec<(String, String)>| labels.into_iter().find(|(key, _)| key == "table");
    let of_tables = gauge_values(name).into_iter();
    of_tables.filter_map(|(labels, value)| Some((table(labels)?.1, value))).collect()
}

fn gauge(name: &str) -> Option<f64> {
    gauge_values(name).first().map(|(_, value)| *value)
}

/// `expected` is NaN if it is not known.
fn line(rows: f64, expected: f64, seconds_left: Option<f64>) -> String {
    if expected.is_nan() || expected <= 0.0 {
        return format!("snapshot: {rows} rows so far; ANALYZE the tables to see how many there are");
    }
    let part = (rows / expected).clamp(0.0, 1.0);
    let filled = (part * BAR as f64) as usize;
    let (full, empty) = ("#".repeat(filled), ".".repeat(BAR - filled));
    let left = seconds_left.map_or(String::new(), |left| format!(", {left:.0} s left"));
    format!("snapshot [{full}{empty}] {:.0} %: {rows} of about {expected} rows{left}", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn lines() {
        let half = "snapshot [##########..........] 50 %: 500 of about 1000 rows, 7 s left";
        assert_eq!(line(500.0, 1000.0, Some(6.6)), half);
        assert_eq!(
            line(1200.0, 1000.0, None),
            "snapshot [####################] 100 %: 1200 of about 1000 rows"
        );
        assert!(line(5.0, f64::NAN, None).starts_with("snapshot: 5 rows so far"));
    }
}
