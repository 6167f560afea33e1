//! Transactions that the server streams before their commit.

use std::collections::BTreeSet;
use std::time::Duration;

use aqueduct_tests::{Database, Worker, records, wait_for};
use serde_json::{Value, json};

use super::WAIT;
use super::support::{compare, connector};

/// Waits, in the middle of a transaction, for somebody to take a value of the sequence `gate`; two minutes at most.
const UNTIL_THE_GATE_OPENS: &str = "do $$ begin for i in 1..2400 loop exit when (select is_called from gate); \
    perform pg_sleep(0.05); end loop; end $$;";

/// A database whose transactions are streamed as soon as they are more than a few hundred changes.
fn streaming(test: &str) -> Database {
    let database = Database::shared(test);
    database.sql(&format!("alter database {} set logical_decoding_work_mem = '64kB'", database.database()));
    database
}

/// Transactions that a slot has streamed.
fn streamed(database: &Database, slot: &str) -> u64 {
    let query = format!("select stream_txns from pg_stat_replication_slots where slot_name = '{slot}'");
    database.sql(&query).trim().parse().unwrap_or(0)
}

/// Savepoints rolled back, whole transactions rolled back, tables altered within, transactions that run at the same time: events
/// and transactions' records are Debezium's, who gets everything after the commit.
#[test]
fn streamed_transactions_are_debezium_s() {
    let database = streaming("streamed");
    database.sql(
        "create table a (id int primary key, v text); create table b (id int primary key, v text, n numeric(12, 4)); \
         create table empty (id int primary key); create table finish (id int primary key); create sequence gate",
    );
    let theirs = database.name("d");
    // without snapshots, that of one may come later than the first transaction
    let common = json!({"provide.transaction.metadata": "true", "skipped.operations": "none", "snapshot.mode": "no_data"});
    let with = |more: &[(&str, &str)]| {
        let mut settings = common.clone();
        for (key, value) in more {
            settings[key] = json!(value);
        }
        settings
    };
    let folder = tempfile::tempdir().unwrap();
    let spill =
        [("streaming.memory.bytes", "0"), ("streaming.spill.directory", folder.path().to_str().unwrap())];
    let modes = [with(&[]), with(&spill), with(&[("streaming.transactions.enabled", "false")])];
    let ours: Vec<String> = (0..modes.len()).map(|mode| database.name(&format!("a{mode}"))).collect();
    let connectors: Vec<Value> =
        ours.iter().zip(&modes).map(|(name, mode)| connector(&database, name, mode)).collect();
    let aqueduct = Worker::aqueduct(&connectors);
    let debezium = Worker::debezium(&[connector(&database, &theirs, &common)]);
    let slots = || {
        database
            .sql("select count(*) from pg_replication_slots where active and database = current_database()")
    };
    wait_for(&format!("the slots; {}; {}", aqueduct.log(), debezium.log()), WAIT, || slots().trim() == "4");
    database.sql(include_str!("streamed.sql"));
    let halves = |from: i32| {
        let half = |from: i32| {
            format!("insert into a select {from} + g, 'beside others' from generate_series(1, 600) g;")
        };
        format!("begin; {} {UNTIL_THE_GATE_OPENS} {} commit;", half(from), half(from + 1000))
    };
    std::thread::scope(|scope| {
        let writers = [100_000, 200_000, 300_000].map(|first| {
            let (database, statements) = (&database, halves(first));
            scope.spawn(move || database.sql(&statements))
        });
        // they end only when one of them has come before its commit, however slow the machine is
        wait_for(&format!("a spill; {}", aqueduct.log()), WAIT, || aqueduct.log().contains("goes to disk"));
        database.sql("select nextval('gate')");
        writers.into_iter().for_each(|writer| drop(writer.join().unwrap()));
    });
    database.sql("insert into finish values (1)");
    let finished = |prefix: &String| records(&format!("{prefix}.public.finish")).len() == 1;
    wait_for(&format!("Debezium's last event; {}", debezium.log()), WAIT, || finished(&theirs));
    wait_for(&format!("our last event; {}", aqueduct.log()), WAIT, || ours.iter().all(finished));
    let counts: Vec<u64> = ours.iter().map(|slot| streamed(&database, slot)).collect();
    assert!(counts[0] >= 5 && counts[1] >= 5 && counts[2] == 0, "streamed transactions: {counts:?}");
    drop((aqueduct, debezium));
    let (mut compared, mut found) = (0, Vec::new());
    for (prefix, mode) in ours.iter().zip(["in memory", "spilled", "not streamed"]) {
        compared += compare(prefix, &theirs, mode, &mut found);
    }
    // Debezium counts logical messages under an object's address, and lists what it counted in no order
    found.retain(|difference| !difference.contains("/payload/data_collections/"));
    assert!(
        found.is_empty(),
        "{} differences in {compared} records:\n{}",
        found.len(),
        found[..found.len().min(20)].join("\n")
    );
    assert!(compared > 10_000, "only {compared} records were compared");
}

/// A worker that is killed (-9) amid a streamed transaction gets all of it again; one that is killed while it gives it out goes
/// on. Nothing is left on disk.
#[test]
fn kills_amid_streamed_transactions_lose_nothing() {
    let database = streaming("streamkill");
    database.sql("create table t (id int primary key, v text); create sequence gate");
    let prefix = database.name("p");
    let folder = tempfile::tempdir().unwrap();
    let spills = folder.path().join("spills");
    std::fs::create_dir(&spills).unwrap();
    let config = connector(
        &database,
        &prefix,
        &json!({"streaming.memory.bytes": "65536", "streaming.spill.directory": spills.to_str().unwrap(),
            "key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false"}),
    );
    let start = || Worker::aqueduct_at(std::slice::from_ref(&config), &folder.path().join("offsets"));
    let ids = || -> Vec<i64> {
        let id = |record: &Value| {
            serde_json::from_str::<Value>(record["key"].as_str().unwrap()).unwrap()["id"].as_i64().unwrap()
        };
        records(&format!("{prefix}.public.t")).iter().map(id).collect()
    };
    let worker = start();
    database.sql("insert into t values (0, 'before')");
    wait_for(&format!("the first row; {}", worker.log()), WAIT, || ids() == [0]);
    let worker = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            database.sql(&format!(
                "begin; insert into t select g, 'first half' from generate_series(1, 3000) g; {UNTIL_THE_GATE_OPENS} \
                 insert into t select g, 'second half' from generate_series(3001, 6000) g; commit;",
            ))
        });
        wait_for(&format!("a streamed transaction; {}", worker.log()), WAIT, || {
            streamed(&database, &prefix) > 0
        });
        wait_for(&format!("a spill; {}", worker.log()), WAIT, || worker.log().contains("goes to disk"));
        drop(worker); // kills it
        assert_eq!(ids(), [0], "nothing before the commit");
        let worker = start();
        database.sql("select nextval('gate')");
        writer.join().unwrap();
        worker
    });
    wait_for(&format!("the transaction; {}", worker.log()), WAIT, || ids().len() >= 6001);
    assert_eq!(ids(), (0..=6000).collect::<Vec<i64>>());
    database.sql("insert into t select g, 'large' from generate_series(6001, 40000) g");
    wait_for(&format!("some of it; {}", worker.log()), WAIT, || ids().len() > 6001);
    drop(worker); // kills it
    let worker = start();
    database.sql("insert into t values (40001, 'after')");
    wait_for(&format!("the last row; {}", worker.log()), Duration::from_secs(90), || ids().contains(&40_001));
    worker.stop();
    assert_eq!(ids().into_iter().collect::<BTreeSet<i64>>(), (0..=40_001).collect::<BTreeSet<i64>>());
    assert_eq!(std::fs::read_dir(&spills).unwrap().count(), 0);
}
