//! Metrics: the names that the JVM's JMX exporter gives for Connect's MBeans, so that boards and alerts keep working, and ours
//! beside them (`aqueduct_…`). `GET /metrics` writes them in Prometheus' text format.

mod recorder;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram};

use crate::herder::Herder;
use crate::worker::State;

pub(crate) use recorder::forget;
use recorder::line;
pub use recorder::{gauge_values, install};

const STATES: [(State, &str); 5] = [
    (State::Running, "running"),
    (State::Paused, "paused"),
    (State::Failed, "failed"),
    (State::Unassigned, "unassigned"),
    (State::Restarting, "restarting"),
];

/// Makes the names of one kind of MBean for one task.
struct Bean<'a> {
    kind: &'a str,
    connector: &'a str,
    task: String,
}

impl Bean<'_> {
    fn name(&self, attribute: &str) -> String {
        format!("kafka_connect_{}_metrics_{attribute}", self.kind)
    }

    fn labels(&self) -> [(String, String); 2] {
        [("connector".to_owned(), self.connector.to_owned()), ("task".to_owned(), self.task.clone())]
    }

    fn counter(&self, attribute: &str) -> Counter {
        metrics::counter!(self.name(attribute), &self.labels())
    }

    fn gauge(&self, attribute: &str) -> Gauge {
        metrics::gauge!(self.name(attribute), &self.labels())
    }

    fn histogram(&self, attribute: &str) -> Histogram {
        metrics::histogram!(self.name(attribute), &self.labels())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What tasks of both kinds have.
pub(crate) struct TaskMetrics {
    batch_size: Histogram,
    commit_time: Histogram,
    commit_success: Histogram,
    commit_failure: Histogram,
    /// Ours: time in converters and transforms, per batch.
    convert_time: Histogram,
}

impl TaskMetrics {
    fn new(connector: &str, task: usize) -> TaskMetrics {
        let bean = Bean { kind: "connector_task", connector, task: task.to_string() };
        let labels = bean.labels();
        TaskMetrics {
            batch_size: bean.histogram("batch_size_{}"),
            commit_time: bean.histogram("offset_commit_{}_time_ms"),
            commit_success: bean.histogram("offset_commit_success_percentage"),
            commit_failure: bean.histogram("offset_commit_failure_percentage"),
            convert_time: metrics::histogram!("aqueduct_task_convert_{}_time_ms", &labels),
        }
    }

    /// Offsets were committed, or not.
    pub(crate) fn committed(&self, began: Instant, success: bool) {
        self.commit_time.record(millis(began.elapsed()));
        self.commit_success.record(f64::from(u8::from(success)));
        self.commit_failure.record(f64::from(u8::from(!success)));
    }

    /// A batch has been through converters and transforms.
    pub(crate) fn converted(&self, began: Instant) {
        self.convert_time.record(millis(began.elapsed()));
    }
}

/// Of a source task.
pub(crate) struct SourceMetrics {
    pub(crate) task: TaskMetrics,
    polled: Counter,
    written: Counter,
    active: Gauge,
    poll_time: Histogram,
    /// Records of a transaction.
    transaction_size: Histogram,
    /// Ours: age of the newest record when it was sent.
    lag: Gauge,
    /// Ours: bytes that wait in the producer.
    buffered: Gauge,
    /// Time in which the producer's memory was full: back-pressure.
    blocked: Counter,
}

impl SourceMetrics {
    pub(crate) fn new(connector: &str, task: usize) -> SourceMetrics {
        let bean = Bean { kind: "source_task", connector, task: task.to_string() };
        SourceMetrics {
            task: TaskMetrics::new(connector, task),
            polled: bean.counter("source_record_poll_total"),
            written: bean.counter("source_record_write_total"),
            active: bean.gauge("source_record_active_count"),
            poll_time: bean.histogram("poll_batch_{}_time_ms"),
            transaction_size: bean.histogram("transaction_size_{}"),
            lag: metrics::gauge!("aqueduct_source_lag_seconds", &bean.labels()),
            buffered: metrics::gauge!("aqueduct_source_buffered_bytes", &bean.labels()),
            blocked: client_counter(
                "producer",
                "producer_metrics_bufferpool_wait_time_ns_total",
                connector,
                task,
            ),
        }
    }

    /// The producer has this much to send; `newest` is the timestamp of the last record that was handed to it.
    pub(crate) fn buffered(&self, bytes: usize, newest: Option<i64>) {
        self.buffered.set(bytes as f64);
        if let Some(newest) = newest {
            let age = (chrono::Utc::now().timestamp_millis() - newest).max(0);
            self.lag.set(age as f64 / 1000.0);
        }
    }

    /// The task has waited so long for room in the producer.
    pub(crate) fn blocked(&self, began: Instant) {
        self.blocked.increment(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    /// A transaction with this many records was committed.
    pub(crate) fn transaction(&self, records: usize) {
        self.transaction_size.record(records as f64);
    }

    /// A poll gave this many records.
    pub(crate) fn polled(&self, began: Instant, records: usize) {
        if records > 0 {
            self.polled.increment(records as u64);
            self.poll_time.record(millis(began.elapsed()));
            self.task.batch_size.record(records as f64);
        }
    }

    /// This many records were handed to the producer; `in_flight` batches wait for their acknowledgement.
    pub(crate) fn written(&self, records: usize, in_flight: usize) {
        self.written.increment(records as u64);
        self.active.set(in_flight as f64);
    }
}

/// Of a sink task.
pub(crate) struct SinkMetrics {
    pub(crate) task: TaskMetrics,
    read: Counter,
    sent: Counter,
    put_time: Histogram,
    partitions: Gauge,
    active: Gauge,
    lag_max: Gauge,
    completed: Counter,
    skipped: Counter,
    consumer: ConsumerMetrics,
}

/// What the Java consumer counts, for the consumer of a task.
struct ConsumerMetrics {
    records: Counter,
    bytes: Counter,
    fetch_size: Histogram,
    records_per_request: Histogram,
    lag_max: Gauge,
    assigned: Gauge,
    commits: Counter,
    commit_latency: Histogram,
}

impl ConsumerMetrics {
    fn new(connector: &str, task: usize) -> ConsumerMetrics {
        let counter = |attribute: &str| client_counter("consumer", attribute, connector, task);
        let labels = client_label("consumer", connector, task);
        let gauge = |attribute: &str| metrics::gauge!(format!("kafka_consumer_{attribute}"), &labels);
        let histogram = |attribute: &str| metrics::histogram!(format!("kafka_consumer_{attribute}"), &labels);
        ConsumerMetrics {
            records: counter("consumer_fetch_manager_metrics_records_consumed_total"),
            bytes: counter("consumer_fetch_manager_metrics_bytes_consumed_total"),
            fetch_size: histogram("consumer_fetch_manager_metrics_fetch_size_{}"),
            records_per_request: histogram("consumer_fetch_manager_metrics_records_per_request_avg"),
            lag_max: gauge("consumer_fetch_manager_metrics_records_lag_max"),
            assigned: gauge("consumer_coordinator_metrics_assigned_partitions"),
            commits: counter("consumer_coordinator_metrics_commit_total"),
            commit_latency: histogram("consumer_coordinator_metrics_commit_latency_{}"),
        }
    }
}

/// The label of a task's client.
fn client_label(role: &str, connector: &str, task: usize) -> [(String, String); 1] {
    [("client_id".to_owned(), format!("connector-{role}-{connector}-{task}"))]
}

fn client_counter(role: &str, attribute: &str, connector: &str, task: usize) -> Counter {
    metrics::counter!(format!("kafka_{role}_{attribute}"), &client_label(role, connector, task))
}

impl SinkMetrics {
    pub(crate) fn new(connector: &str, task: usize) -> SinkMetrics {
        let bean = Bean { kind: "sink_task", connector, task: task.to_string() };
        SinkMetrics {
            task: TaskMetrics::new(connector, task),
            read: bean.counter("sink_record_read_total"),
            sent: bean.counter("sink_record_send_total"),
            put_time: bean.histogram("put_batch_{}_time_ms"),
            partitions: bean.gauge("partition_count"),
            active: bean.gauge("sink_record_active_count"),
            lag_max: bean.gauge("sink_record_lag_max"),
            completed: bean.counter("offset_commit_completion_total"),
            skipped: bean.counter("offset_commit_skip_total"),
            consumer: ConsumerMetrics::new(connector, task),
        }
    }

    /// The consumer gave this many records of this size in Kafka.
    pub(crate) fn read(&self, records: usize, bytes: usize) {
        self.read.increment(records as u64);
        self.task.batch_size.record(records as f64);
        self.consumer.records.increment(records as u64);
        self.consumer.bytes.increment(bytes as u64);
        self.consumer.fetch_size.record(bytes as f64);
        self.consumer.records_per_request.record(records as f64);
    }

    /// The task took a batch with this many live records.
    pub(crate) fn put(&self, began: Instant, records: usize) {
        self.sent.increment(records as u64);
        self.put_time.record(millis(began.elapsed()));
    }

    /// Offsets were committed, or could not be.
    pub(crate) fn committed(&self, began: Instant, success: bool) {
        self.task.committed(began, success);
        if success {
            self.completed.increment(1)
        } else {
            self.skipped.increment(1)
        }
        self.consumer.commits.increment(1);
        self.consumer.commit_latency.record(millis(began.elapsed()));
    }

    /// The partitions of the task, and the records that are read and not committed.
    pub(crate) fn assigned(&self, partitions: usize, active: i64) {
        self.partitions.set(partitions as f64);
        self.consumer.assigned.set(partitions as f64);
        self.active.set(active as f64);
    }

    /// How far behind the task is at most.
    pub(crate) fn lag_max(&self, records: i64) {
        self.lag_max.set(records as f64);
        self.consumer.lag_max.set(records as f64);
    }
}

/// How far behind one partition is: records under the consumer's own name, and (ours) the age of the last record read.
pub(crate) fn partition_lag(
    connector: &str,
    task: usize,
    topic: &str,
    partition: i32,
    records: i64,
    seconds: f64,
) {
    let labels = [
        ("client_id".to_owned(), format!("connector-consumer-{connector}-{task}")),
        ("connector".to_owned(), connector.to_owned()),
        ("task".to_owned(), task.to_string()),
        ("topic".to_owned(), topic.to_owned()),
        ("partition".to_owned(), partition.to_string()),
    ];
    metrics::gauge!("kafka_consumer_consumer_fetch_manager_metrics_records_lag", &labels).set(records as f64);
    metrics::gauge!("aqueduct_consumer_lag_seconds", &labels).set(seconds);
}

/// Of a task's errors.
#[derive(Clone)]
pub(crate) struct ErrorMetrics {
    pub(crate) failures: Counter,
    pub(crate) errors: Counter,
    pub(crate) skipped: Counter,
    pub(crate) retries: Counter,
    pub(crate) logged: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) dead_letter_failures: Counter,
    pub(crate) last: Gauge,
}

impl ErrorMetrics {
    pub(crate) fn new(connector: &str, task: usize) -> ErrorMetrics {
        let bean = Bean { kind: "task_error", connector, task: task.to_string() };
        ErrorMetrics {
            failures: bean.counter("total_record_failures"),
            errors: bean.counter("total_record_errors"),
            skipped: bean.counter("total_records_skipped"),
            retries: bean.counter("total_retries"),
            logged: bean.counter("total_errors_logged"),
            dead_letters: bean.counter("deadletterqueue_produce_requests"),
            dead_letter_failures: bean.counter("deadletterqueue_produce_failures"),
            last: bean.gauge("last_error_timestamp"),
        }
    }
}

impl std::fmt::Debug for ErrorMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ErrorMetrics")
    }
}

/// Everything in Prometheus' text format: what was counted, and the states of connectors and tasks.
pub(crate) fn text(herder: &dyn Herder, worker_id: &str) -> String {
    let mut out = String::new();
    let (mut connectors, mut tasks) = (0, 0);
    for name in herder.names() {
        let (Some(status), Some(view)) = (herder.status(&name), herder.view(&name)) else { continue };
        if status.connector.worker_id == worker_id {
            connectors += 1;
            let state = status.connector.state.as_str().to_ascii_lowercase();
            let labels = [
                ("connector", name.as_str()),
                ("connector_type", view.type_name()),
                ("connector_version", status.connector.version.as_deref().unwrap_or("unknown")),
                ("status", state.as_str()),
            ];
            line(&mut out, "kafka_connect_connector_metrics_status", &labels, 1.0);
        }
        let mut counts: BTreeMap<&str, usize> = STATES.iter().map(|(_, name)| (*name, 0)).collect();
        let mut own = 0;
        for (task, entry) in status.tasks.iter().filter(|(_, entry)| entry.worker_id == worker_id) {
            own += 1;
            let state = entry.state.as_str().to_ascii_lowercase();
            if let Some((_, word)) = STATES.iter().find(|(known, _)| *known == entry.state) {
                *counts.entry(word).or_default() += 1;
            }
            let task = task.to_string();
            let labels = [("connector", name.as_str()), ("task", task.as_str()), ("status", state.as_str())];
            line(&mut out, "kafka_connect_connector_task_metrics_status", &labels, 1.0);
            let (running, paused) = (entry.state == State::Running, entry.state == State::Paused);
            for (ratio, now) in [("running_ratio", running), ("pause_ratio", paused)] {
                let name = format!("kafka_connect_connector_task_metrics_{ratio}");
                line(&mut out, &name, &labels[..2], f64::from(u8::from(now)));
            }
        }
        tasks += own;
        if own > 0 {
            let labels = [("connector", name.as_str())];
            let prefix = "kafka_connect_connect_worker_metrics_connector";
            line(&mut out, &format!("{prefix}_total_task_count"), &labels, own as f64);
            for (state, count) in counts {
                line(&mut out, &format!("{prefix}_{state}_task_count"), &labels, count as f64);
            }
        }
    }
    line(&mut out, "kafka_connect_connect_worker_metrics_connector_count", &[], f64::from(connectors));
    line(&mut out, "kafka_connect_connect_worker_metrics_task_count", &[], tasks as f64);
    recorder::write(&mut out);
    out
}
