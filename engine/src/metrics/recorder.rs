//! The process's metrics: what the `metrics` crate's macros count, kept until asked for.
//!
//! Beside totals the JVM shows rates, averages and maxima over a window of its samples; the same are worked out here when somebody
//! asks, so that the paths of records pay for an addition only.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
};
use parking_lot::{Mutex, RwLock};

/// Length of a sample; averages and maxima are of the current one and the one before (`metrics.sample.window.ms`,
/// `metrics.num.samples`).
const SAMPLE: Duration = Duration::from_secs(30);
/// Most series; further ones are not kept.
const MOST_SERIES: usize = 200_000;
/// What the place of `avg` and `max` is in the name of a histogram.
pub(super) const AVERAGE_OR_MAX: &str = "{}";
/// End of the names of totals of which a rate is shown too.
const RATED: [&str; 13] = [
    "record_send_total",
    "record_error_total",
    "record_retry_total",
    "outgoing_byte_total",
    "records_consumed_total",
    "bytes_consumed_total",
    "metrics_commit_total",
    "source_record_poll_total",
    "source_record_write_total",
    "sink_record_read_total",
    "sink_record_send_total",
    "offset_commit_completion_total",
    "offset_commit_skip_total",
];

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

#[derive(Default)]
struct Registry {
    totals: RwLock<IndexMap<Key, Arc<Total>>>,
    values: RwLock<IndexMap<Key, Arc<Current>>>,
    windows: RwLock<IndexMap<Key, Arc<Window>>>,
}

/// A number that grows.
struct Total {
    value: AtomicU64,
    /// Marks of time and value, the older one first: a rate is that since the older.
    marks: Mutex<[(Instant, u64); 2]>,
}

impl CounterFn for Total {
    fn increment(&self, value: u64) {
        self.value.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.value.fetch_max(value, Ordering::Relaxed);
    }
}

impl Total {
    fn new() -> Total {
        let now = Instant::now();
        Total { value: AtomicU64::new(0), marks: Mutex::new([(now, 0); 2]) }
    }

    fn rate(&self, now: Instant) -> f64 {
        let value = self.value.load(Ordering::Relaxed);
        let mut marks = self.marks.lock();
        if now.duration_since(marks[1].0) >= SAMPLE {
            *marks = [marks[1], (now, value)];
        }
        let (since, before) = marks[0];
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { (value - before) as f64 / seconds } else { 0.0 }
    }
}

/// A number as it is now: the bits of a float.
#[derive(Default)]
struct Current(AtomicU64);

impl GaugeFn for Current {
    fn increment(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// Average and maximum of the last two samples.
struct Window(Mutex<[Sample; 2]>);

#[derive(Clone, Copy)]
struct Sample {
    since: Instant,
    sum: f64,
    count: u64,
    max: f64,
}

impl Sample {
    fn new(since: Instant) -> Sample {
        Sample { since, sum: 0.0, count: 0, max: f64::NEG_INFINITY }
    }
}

impl Window {
    fn new() -> Window {
        Window(Mutex::new([Sample::new(Instant::now()); 2]))
    }

    fn current(samples: &mut [Sample; 2], now: Instant) -> &mut Sample {
        if now.duration_since(samples[1].since) >= SAMPLE * 2 {
            *samples = [Sample::new(now); 2];
        } else if now.duration_since(samples[1].since) >= SAMPLE {
            *samples = [samples[1], Sample::new(now)];
        }
        &mut samples[1]
    }

    /// NaN where nothing was recorded, as in the JVM.
    fn read(&self, now: Instant) -> (f64, f64) {
        let mut samples = self.0.lock();
        Window::current(&mut samples, now);
        let (sum, count) =
            samples.iter().fold((0.0, 0), |(sum, count), sample| (sum + sample.sum, count + sample.count));
        let max = samples[0].max.max(samples[1].max);
        if count == 0 { (f64::NAN, f64::NAN) } else { (sum / count as f64, max) }
    }
}

impl HistogramFn for Window {
    fn record(&self, value: f64) {
        let mut samples = self.0.lock();
        let sample = Window::current(&mut samples, Instant::now());
        sample.sum += value;
        sample.count += 1;
        sample.max = sample.max.max(value);
    }
}

/// The same series for the same key; none beyond the bound.
fn series<T>(all: &RwLock<IndexMap<Key, Arc<T>>>, key: &Key, new: impl FnOnce() -> T) -> Option<Arc<T>> {
    if let Some(found) = all.read().get(key) {
        return Some(Arc::clone(found));
    }
    let mut all = all.write();
    if all.len() >= MOST_SERIES {
        return None;
    }
    Some(Arc::clone(all.entry(key.clone()).or_insert_with(|| Arc::new(new()))))
}

/// What the macros find.
struct Recorder;

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        series(&REGISTRY.totals, key, Total::new).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        series(&REGISTRY.values, key, Current::default).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        series(&REGISTRY.windows, key, Window::new).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

/// Counts from now on; a second call changes nothing, nor does it where the program has a recorder of its own.
pub fn install() {
    let _ = metrics::set_global_recorder(Recorder);
}

/// The series of a gauge of that name: labels and value. O(series).
#[must_use]
pub fn gauge_values(name: &str) -> Vec<(Vec<(String, String)>, f64)> {
    let values = REGISTRY.values.read();
    let of_name = values.iter().filter(|(key, _)| key.name() == name);
    of_name.map(|(key, value)| (labels(key), f64::from_bits(value.0.load(Ordering::Relaxed)))).collect()
}

fn labels(key: &Key) -> Vec<(String, String)> {
    key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect()
}

/// Forgets the series of a task.
pub(crate) fn forget(connector: &str, task: usize) {
    let task = task.to_string();
    let clients =
        ["producer", "consumer", "dlq-producer"].map(|role| format!("connector-{role}-{connector}-{task}"));
    let of_task = |key: &Key| {
        let has =
            |name: &str, value: &str| key.labels().any(|label| label.key() == name && label.value() == value);
        has("connector", connector) && has("task", &task)
            || clients.iter().any(|client| has("client_id", client))
    };
    REGISTRY.totals.write().retain(|key, _| !of_task(key));
    REGISTRY.values.write().retain(|key, _| !of_task(key));
    REGISTRY.windows.write().retain(|key, _| !of_task(key));
}

/// A line of Prometheus' text format.
pub(super) fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    out.push_str(name);
    for (place, (key, value)) in labels.iter().enumerate() {
        out.push(if place == 0 { '{' } else { ',' });
        let _ = write!(out, "{key}=\"");
        for char in value.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                char => out.push(char),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = match value {
        value if value.is_nan() => writeln!(out, " NaN"),
        value => writeln!(out, " {value}"),
    };
}

/// All series in Prometheus' text format. O(series).
pub(super) fn write(out: &mut String) {
    let now = Instant::now();
    let put = |out: &mut String, name: &str, labels: &[(String, String)], value: f64| {
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        line(out, name, &labels, value);
    };
    for (key, total) in REGISTRY.totals.read().iter() {
        let (name, labels) = (key.name(), labels(key));
        put(out, name, &labels, total.value.load(Ordering::Relaxed) as f64);
        if RATED.iter().any(|rated| name.ends_with(rated)) {
            let rate = name.strip_suffix("_total").unwrap_or(name);
            put(out, &format!("{rate}_rate"), &labels, total.rate(now));
        }
    }
    for (key, value) in REGISTRY.values.read().iter() {
        put(out, key.name(), &labels(key), f64::from_bits(value.0.load(Ordering::Relaxed)));
    }
    for (key, window) in REGISTRY.windows.read().iter() {
        let (average, max) = window.read(now);
        let (name, labels) = (key.name(), labels(key));
        if name.contains(AVERAGE_OR_MAX) {
            put(out, &name.replace(AVERAGE_OR_MAX, "avg"), &labels, average);
            put(out, &name.replace(AVERAGE_OR_MAX, "max"), &labels, max);
        } else {
            put(out, name, &labels, average);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_rates() {
        let window = Window::new();
        assert!(window.read(Instant::now()).0.is_nan());
        window.record(1.0);
        window.record(3.0);
        assert_eq!(window.read(Instant::now()), (2.0, 3.0));
        assert_eq!(window.read(Instant::now() + SAMPLE), (2.0, 3.0), "the sample before counts");
        assert!(window.read(Instant::now() + SAMPLE * 4).0.is_nan());
        let total = Total::new();
        total.increment(60);
        let rate = total.rate(Instant::now() + Duration::from_secs(20));
        assert!((2.9..3.1).contains(&rate), "{rate}");
    }

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        line(&mut out, "n", &[("a", "x\"\\\n"), ("b", "")], 1.0);
        line(&mut out, "n", &[], f64::NAN);
        assert_eq!(out, "n{a=\"x\\\"\\\\\\n\",b=\"\"} 1\nn NaN\n");
    }
}
