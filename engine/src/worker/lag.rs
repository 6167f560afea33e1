//! How far a sink task is behind.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aqueduct_protocol::client::consumer::Consumer;

use super::task::TaskId;
use crate::connector::TopicPartition;
use crate::metrics::{SinkMetrics, partition_lag};

/// Time between two reports.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Reports the lag of every partition: in records, and as the age of the newest record that was read (its timestamp by
/// `newest`) while there are more. O(partitions).
pub(super) fn report(
    id: &TaskId,
    consumer: &Consumer,
    metrics: &SinkMetrics,
    newest: impl Fn(&TopicPartition) -> Option<i64>,
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let mut most = 0;
    for name in consumer.assignment() {
        let Some(records) = consumer.lag(&name) else { continue };
        most = most.max(records);
        let age = newest(&name).filter(|_| records > 0).map_or(0, |newest| (now - newest).max(0));
        let seconds = age as f64 / 1000.0;
        partition_lag(&id.connector, id.task, &name.topic, name.partition, records, seconds);
    }
    metrics.lag_max(most);
}
