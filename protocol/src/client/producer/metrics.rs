//! What a producer counts, under the names that the JMX exporter gives for the Java client's `producer-metrics`.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::batch::Batch;

/// The handles of one client id. A histogram's `{}` is where `avg` and `max` go.
pub(super) struct ProducerMetrics {
    records: Counter,
    bytes: Counter,
    errors: Counter,
    retries: Counter,
    batch_size: Histogram,
    records_per_request: Histogram,
    latency: Histogram,
}

impl ProducerMetrics {
    pub(super) fn new(client_id: &str) -> Self {
        let label = || [("client_id", client_id.to_owned())];
        Self {
            records: counter!("kafka_producer_producer_metrics_record_send_total", &label()),
            bytes: counter!("kafka_producer_producer_metrics_outgoing_byte_total", &label()),
            errors: counter!("kafka_producer_producer_metrics_record_error_total", &label()),
            retries: counter!("kafka_producer_producer_metrics_record_retry_total", &label()),
            batch_size: histogram!("kafka_producer_producer_metrics_batch_size_{}", &label()),
            records_per_request: histogram!(
                "kafka_producer_producer_metrics_records_per_request_avg",
                &label()
            ),
            latency: histogram!("kafka_producer_producer_metrics_request_latency_{}", &label()),
        }
    }

    pub(super) fn acknowledged(&self, batch: &Batch) {
        self.records.increment(batch.record_count() as u64);
        self.bytes.increment(batch.size() as u64);
        self.batch_size.record(batch.size() as f64);
    }

    pub(super) fn answered(&self, records: usize, after: Duration) {
        self.records_per_request.record(records as f64);
        self.latency.record(after.as_secs_f64() * 1000.0);
    }

    pub(super) fn retried(&self, batch: &Batch) {
        self.retries.increment(batch.record_count() as u64);
    }

    pub(super) fn given_up(&self, batch: &Batch) {
        self.errors.increment(batch.record_count() as u64);
    }
}

impl std::fmt::Debug for ProducerMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProducerMetrics")
    }
}
