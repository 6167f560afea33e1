//! What a task measures: under the names that Prometheus' JMX exporter gives for Debezium's MBeans with the rules that Debezium
//! publishes (`debezium_metrics_…`), and ours beside them (`aqueduct_postgres_…`).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge};

use super::catalog::Catalog;
use super::event::Operation;
use super::setup::slot_distances;

/// How often the server is asked for what the slot retains.
const SLOT_INTERVAL: Duration = Duration::from_secs(10);

/// Events of a poll.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By operation.
    changes: [u64; 5],
    messages: u64,
    transactions: u64,
}

impl Counts {
    pub(super) fn change(&mut self, operation: Operation) {
        self.changes[operation as usize] += 1;
    }

    pub(super) fn message(&mut self) {
        self.messages += 1;
    }

    pub(super) fn transaction(&mut self) {
        self.transactions += 1;
    }
}

pub(super) type Labels = [(&'static str, String); 5];

pub(super) fn labels(context: &str, connector: &str, task: usize, prefix: &str) -> Labels {
    [
        ("plugin", "postgres".to_owned()),
        ("name", prefix.to_owned()),
        ("context", context.to_owned()),
        ("connector", connector.to_owned()),
        ("task", task.to_string()),
    ]
}

pub(super) fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Of the stream.
pub(super) struct StreamMetrics {
    events: Counter,
    creates: Counter,
    updates: Counter,
    deletes: Counter,
    transactions: Counter,
    connected: Gauge,
    behind_ms: Gauge,
    /// Ours: WAL that the server keeps for the slot.
    retained: Gauge,
    /// Ours: WAL that is not confirmed yet.
    lag: Gauge,
    /// Ours: bytes of transactions that are not committed yet, in memory.
    gathered: Gauge,
    slot_due: Option<Instant>,
}

impl StreamMetrics {
    pub(super) fn new(connector: &str, task: usize, prefix: &str) -> StreamMetrics {
        let labels = labels("streaming", connector, task, prefix);
        let counter = |name: &str| metrics::counter!(format!("debezium_metrics_{name}"), &labels);
        let gauge = |name: &str| metrics::gauge!(format!("debezium_metrics_{name}"), &labels);
        let own = [("connector", connector.to_owned()), ("task", task.to_string())];
        let ours = |name: &str| metrics::gauge!(format!("aqueduct_postgres_{name}"), &own);
        StreamMetrics {
            events: counter("TotalNumberOfEventsSeen"),
            creates: counter("TotalNumberOfCreateEventsSeen"),
            updates: counter("TotalNumberOfUpdateEventsSeen"),
            deletes: counter("TotalNumberOfDeleteEventsSeen"),
            transactions: counter("NumberOfCommittedTransactions"),
            connected: gauge("Connected"),
            behind_ms: gauge("MilliSecondsBehindSource"),
            retained: ours("slot_retained_bytes"),
            lag: ours("slot_lag_bytes"),
            gathered: ours("uncommitted_memory_bytes"),
            slot_due: None,
        }
    }

    /// The stream has begun, or broken.
    pub(super) fn connected(&self, connected: bool) {
        self.connected.set(truth(connected));
    }

    /// Adds what was given out; `commit_micros` is the commit time of the last event, `gathered` what is held of transactions that
    /// are not committed.
    pub(super) fn polled(&self, counts: Counts, commit_micros: i64, gathered: usize) {
        let [_, creates, updates, deletes, _] = counts.changes;
        let events = counts.changes.iter().sum::<u64>() + counts.messages;
        if events > 0 {
            self.events.increment(events);
            self.creates.increment(creates);
            self.updates.increment(updates);
            self.deletes.increment(deletes);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
            self.behind_ms.set(now.saturating_sub(commit_micros).max(0) as f64 / 1000.0);
        }
        self.transactions.increment(counts.transactions);
        self.gathered.set(gathered as f64);
    }

    /// Asks the server from time to time what the slot retains. A failure is met by what needs the connection.
    pub(super) async fn look_at_slot(&mut self, catalog: &mut Catalog, slot: &str) {
        if self.slot_due.is_some_and(|due| Instant::now() < due) {
            return;
        }
        self.slot_due = Some(Instant::now() + SLOT_INTERVAL);
        match slot_distances(catalog, slot).await {
            Ok([retained, lag]) => {
                self.retained.set(retained);
                self.lag.set(lag);
            }
            Err(error) => tracing::debug!(slot, "the slot cannot be measured: {error}"),
        }
    }
}
