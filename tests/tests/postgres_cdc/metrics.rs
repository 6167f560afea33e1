//! What `/metrics` says of snapshots and streams.

use aqueduct_tests::{Database, Worker, wait_for};
use serde_json::json;

use super::WAIT;
use super::support::connector;

/// Debezium's names as its rules for the JMX exporter make them, and ours.
#[test]
fn metrics_tell_of_snapshot_stream_and_slot() {
    let database = Database::shared("cdcmetrics");
    database.sql(
        "create table t (id int primary key, v int); insert into t select g, 0 from generate_series(1, 10) g; analyze t",
    );
    let prefix = database.name("m");
    let worker = Worker::aqueduct(&[connector(&database, &prefix, &json!({}))]);
    let value = |name: &str, wanted: &[&str]| -> Option<f64> {
        let metrics = worker.get("/metrics");
        let line = metrics.lines().find(|line| {
            line.starts_with(&format!("{name}{{")) && wanted.iter().all(|label| line.contains(label))
        });
        line?.rsplit_once(' ')?.1.parse().ok()
    };
    let labels = |context: &str| [format!("name=\"{prefix}\""), format!("context=\"{context}\"")];
    let debezium = |name: &str, context: &str| {
        let [name_label, context] = labels(context);
        value(&format!("debezium_metrics_{name}"), &[&name_label, &context, "plugin=\"postgres\""])
    };
    wait_for(&format!("the stream; {}", worker.log()), WAIT, || {
        debezium("Connected", "streaming") == Some(1.0)
    });
    assert_eq!(debezium("SnapshotCompleted", "snapshot"), Some(1.0));
    assert_eq!(debezium("SnapshotRunning", "snapshot"), Some(0.0));
    assert_eq!(debezium("TotalTableCount", "snapshot"), Some(1.0));
    assert_eq!(debezium("RemainingTableCount", "snapshot"), Some(0.0));
    let name = format!("name=\"{prefix}\"");
    assert_eq!(value("debezium_metrics_RowsScanned", &[&name, "table=\"public.t\""]), Some(10.0));
    let expected = value("aqueduct_postgres_snapshot_rows_expected", &[&name, "table=\"public.t\""]);
    assert_eq!(expected, Some(10.0), "as ANALYZE has it");
    assert_eq!(value("aqueduct_postgres_snapshot_seconds_left", &[&name]), Some(0.0));
    database.sql("begin; insert into t values (11, 1), (12, 1); update t set v = 2 where id <= 3; delete from t where id = 12; commit");
    database.sql("insert into t values (13, 1)");
    wait_for(&format!("the changes; {}", worker.log()), WAIT, || {
        debezium("NumberOfCommittedTransactions", "streaming") == Some(2.0)
    });
    assert_eq!(debezium("TotalNumberOfCreateEventsSeen", "streaming"), Some(3.0));
    assert_eq!(debezium("TotalNumberOfUpdateEventsSeen", "streaming"), Some(3.0));
    assert_eq!(debezium("TotalNumberOfDeleteEventsSeen", "streaming"), Some(1.0));
    assert_eq!(debezium("TotalNumberOfEventsSeen", "streaming"), Some(7.0));
    let behind = debezium("MilliSecondsBehindSource", "streaming").unwrap();
    assert!((0.0..60_000.0).contains(&behind), "{behind} ms behind");
    let connector = format!("connector=\"{prefix}\"");
    assert!(value("aqueduct_postgres_slot_retained_bytes", &[&connector]).unwrap() > 0.0);
    assert!(value("aqueduct_postgres_slot_lag_bytes", &[&connector]).unwrap() >= 0.0);
    assert_eq!(value("aqueduct_postgres_uncommitted_memory_bytes", &[&connector]), Some(0.0));
}
