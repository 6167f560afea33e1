//! PostgreSQL CDC against real servers: beside Debezium on the same database, from Debezium's offsets and back, and with
//! everything killed in turn.

#[path = "postgres_cdc/boundary.rs"]
mod boundary;
#[path = "postgres_cdc/heartbeat.rs"]
mod heartbeat;
#[path = "postgres_cdc/incremental.rs"]
mod incremental;
#[path = "postgres_cdc/masks.rs"]
mod masks;
#[path = "postgres_cdc/metrics.rs"]
mod metrics;
#[path = "postgres_cdc/streamed.rs"]
mod streamed;
#[path = "postgres_cdc/support.rs"]
mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_tests::{Aqueduct, Database, OwnPostgres, Worker, env, records, topics, wait_for};
use serde_json::{Value, json};
use support::{compare, connector, replayed, rows};

pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// The same snapshot and the same changes through both, in several modes of types, schemas included.
#[test]
fn events_are_debezium_s() {
    let database = Database::shared("events");
    database.sql(include_str!("postgres_cdc/types.sql"));
    let modes = [
        json!({"topic.prefix": "MODE"}),
        json!({"time.precision.mode": "connect", "decimal.handling.mode": "string", "hstore.handling.mode": "map",
            "binary.handling.mode": "base64", "interval.handling.mode": "string", "provide.transaction.metadata": "true"}),
        json!({"time.precision.mode": "isostring", "decimal.handling.mode": "double", "binary.handling.mode": "hex"}),
        json!({"time.precision.mode": "nanoseconds", "skipped.operations": "none"}),
        json!({"time.precision.mode": "structured", "column.exclude.list": "public.types.vc,public.types.ai",
            "message.key.columns": "public.composite:v"}),
    ];
    let prefixes = |who: &str| -> Vec<String> {
        (0..modes.len()).map(|mode| database.name(&format!("{who}{mode}"))).collect()
    };
    let (ours, theirs) = (prefixes("a"), prefixes("d"));
    let connectors = |names: &[String]| -> Vec<Value> {
        names.iter().zip(&modes).map(|(name, mode)| connector(&database, name, mode)).collect()
    };
    let aqueduct = Worker::aqueduct(&connectors(&ours));
    let debezium = Worker::debezium(&connectors(&theirs));
    let counts = |prefixes: &[String]| -> usize {
        topics()
            .iter()
            .filter(|topic| prefixes.iter().any(|prefix| topic.starts_with(&format!("{prefix}."))))
            .map(|topic| records(topic).len())
            .sum()
    };
    let snapshot = database.sql("select (select count(*) from types) + (select count(*) from composite) + (select count(*) from nokey)");
    let rows = snapshot.trim().parse::<usize>().unwrap() * modes.len();
    wait_for(&format!("{rows} rows of Debezium's snapshots; {}", debezium.log()), WAIT, || {
        counts(&theirs) == rows
    });
    wait_for(&format!("{rows} rows of our snapshots; {}", aqueduct.log()), WAIT, || counts(&ours) == rows);
    database.sql(include_str!("postgres_cdc/changes.sql"));
    let last = |prefix: &String| records(&format!("{prefix}.public.finish")).len() == 1;
    wait_for("Debezium's last event", WAIT, || theirs.iter().all(last));
    wait_for(&format!("our last event; {}", aqueduct.log()), WAIT, || ours.iter().all(last));
    drop((aqueduct, debezium));
    // Debezium has no structured form for the end of the day and gives null
    let better =
        |difference: &String| difference.contains("mode 4/value/payload/after/t6: ours {\"hour\":24,");
    let (mut compared, mut found) = (0, Vec::new());
    for (mode, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        compared += compare(ours, theirs, &format!("mode {mode}"), &mut found);
    }
    found.retain(|difference| !better(difference));
    assert!(
        found.is_empty(),
        "{} differences in {compared} records:\n{}",
        found.len(),
        found[..found.len().min(40)].join("\n")
    );
    assert!(compared > 100, "only {compared} records were compared");
}

/// Debezium stops, Aqueduct goes on from its offsets; Aqueduct stops, Debezium goes on. Nothing is lost, nothing comes twice.
#[test]
fn offsets_go_from_one_to_the_other_and_back() {
    let database = Database::shared("offsets");
    database.sql("create table t (id serial primary key, v text); insert into t (v) select 'snapshot' from generate_series(1, 100)");
    let prefix = database.name("p");
    let config = connector(&database, &prefix, &json!({}));
    let topic = format!("{prefix}.public.t");
    let ids = || -> Vec<i64> {
        let id = |record: &Value| {
            serde_json::from_str::<Value>(record["key"].as_str().unwrap()).unwrap()["payload"]["id"]
                .as_i64()
                .unwrap()
        };
        records(&topic).iter().map(id).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("offsets");
    let mut rows = 100;
    for turn in 0..4 {
        let worker = if turn % 2 == 0 {
            Worker::debezium_at(std::slice::from_ref(&config), &offsets)
        } else {
            Worker::aqueduct_at(std::slice::from_ref(&config), &offsets)
        };
        // changes of a running worker, and one transaction of many rows
        database.sql(
            "insert into t (v) values ('one'); insert into t (v) select 'many' from generate_series(1, 49)",
        );
        rows += 50;
        wait_for(&format!("{rows} rows in turn {turn}; {}", worker.log()), WAIT, || ids().len() >= rows);
        worker.stop();
        // and changes that nobody watches
        database.sql("insert into t (v) select 'unwatched' from generate_series(1, 10)");
        rows += 10;
    }
    let worker = Worker::aqueduct_at(&[config], &offsets);
    wait_for(&format!("{rows} rows; {}", worker.log()), WAIT, || ids().len() >= rows);
    worker.stop();
    let expected: Vec<i64> = (1..=i64::try_from(rows).unwrap()).collect();
    assert_eq!(ids(), expected, "every row once, in order");
}

/// Tells a thread to end, also when the test fails.
struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Inserts, updates and deletes go on while the worker and the server are killed (-9): what the topic says in the end is what the
/// table holds.
#[test]
fn kills_lose_nothing() {
    let own = OwnPostgres::start();
    let database = own.database("kills");
    database.sql("create table t (id int primary key, v int not null); insert into t select g, 0 from generate_series(1, 200) g");
    let prefix = database.name("p");
    let config = connector(&database, &prefix, &json!({"retriable.restart.connector.wait.ms": "500"}));
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("offsets");
    let mut worker = Some(Worker::aqueduct_at(std::slice::from_ref(&config), &offsets));
    let topic = format!("{prefix}.public.t");
    wait_for("the snapshot", WAIT, || records(&topic).len() >= 200);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let raised_at_the_end = RaiseOnDrop(&stop);
        let writer = scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                std::thread::sleep(Duration::from_millis(5));
                // the server may be down just now
                database.try_sql(&format!(
                    "update t set v = {round} where id % 10 = {round} % 10; insert into t values (1000 + {round}, {round}) on conflict do nothing; delete from t where id = 1000 + {round} - 5; \
                     begin; update t set v = -1; rollback"
                ));
            }
        });
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(700));
            drop(worker.take()); // kills it
            worker = Some(Worker::aqueduct_at(std::slice::from_ref(&config), &offsets));
            std::thread::sleep(Duration::from_millis(700));
            own.kill_and_restart();
        }
        std::thread::sleep(Duration::from_millis(700));
        drop(raised_at_the_end);
        writer.join().unwrap();
    });
    database.sql("insert into t values (999999, 1)");
    let log = worker.as_ref().map(Worker::log).unwrap_or_default();
    wait_for(&format!("the last row; {log}"), WAIT, || replayed(&topic).contains_key(&999_999));
    assert_eq!(replayed(&topic), rows(&database));
}

/// What is wrong is said, with the statement that mends it.
#[test]
fn bad_settings_and_servers_are_named() {
    let database = Database::shared("bad");
    database.sql("create table t (id int primary key)");
    let cases = [
        (json!({"database.user": "app", "database.password": "wrong"}), "password authentication failed"),
        (json!({"database.dbname": "nowhere"}), "database \\\"nowhere\\\" does not exist"),
        (
            json!({"publication.autocreate.mode": "disabled", "publication.name": "missing"}),
            "CREATE PUBLICATION",
        ),
        (
            json!({"publication.autocreate.mode": "filtered", "publication.name": "nothing", "table.include.list": "public.other"}),
            "no table matches",
        ),
    ];
    let named = |at: usize| database.name(&format!("b{at}"));
    let connectors: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(at, (settings, _))| connector(&database, &named(at), settings))
        .collect();
    let worker = Worker::aqueduct(&connectors);
    for (at, (_, expected)) in cases.iter().enumerate() {
        let status = || worker.get(&format!("/connectors/{}/status", named(at)));
        wait_for(&format!("{expected} in {}", status()), WAIT, || {
            status().contains("FAILED") && status().contains(expected)
        });
        assert!(!status().contains("wrong"), "a password is shown: {}", status());
    }
    assert!(!worker.log().contains("\"wrong\""), "a password is logged");
}

/// `aqueduct quickstart --postgres`: the changes of a database in the terminal, and its slot gone afterwards.
#[test]
fn the_quickstart_shows_changes() {
    let database = Database::shared("quickstart");
    database.sql(
        "create table shown (id serial primary key, v text); \
         insert into shown (id, v) select -g, 'before' from generate_series(1, 1000) g; analyze shown",
    );
    let log = tempfile::NamedTempFile::new().unwrap();
    let url =
        format!("postgres://postgres:planted-secret@127.0.0.1:{}/{}", env("AQ_PG_PORT"), database.name(""));
    let url = url.replace("/_", "/");
    let process =
        Aqueduct::start(&["quickstart", "--postgres", &url, "--snapshot", "--rest-port", "0"], log.path());
    let slots = || {
        let query = format!(
            "select count(*) from pg_replication_slots where database = '{}' and active",
            &database.name("")[1..]
        );
        database.sql(&query).trim().to_owned()
    };
    wait_for(&format!("the slot; {}", process.log()), WAIT, || slots() == "1");
    database.sql("insert into shown (v) values ('seen')");
    wait_for("the change", WAIT, || process.log().contains(r#""after":{"id":1,"v":"seen"}"#));
    assert!(process.log().contains(r#""after":{"id":-1000,"v":"before"}"#));
    assert!(process.log().contains("snapshot: all 1000 rows are read"), "{}", process.log());
    assert!(process.terminate().success());
    assert_eq!(slots(), "0");
    assert!(!fs::read_to_string(log.path()).unwrap().contains("planted-secret"));
}
