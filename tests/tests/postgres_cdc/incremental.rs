//! Snapshots that signals ask for: beside the stream in chunks, and instead of it for a while.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use aqueduct_tests::{Database, Worker, create_topic, env, kcat, records, run, wait_for};
use serde_json::{Value, json};

use super::support::{compare, connector, replayed, rows};
use super::{RaiseOnDrop, WAIT};

const TABLES: &str = "create table t (id int primary key, v text, n numeric(8, 2)); \
    insert into t select g, 'row ' || g, g / 3.0 from generate_series(1, 7) g; \
    create table c (b text, a int, v bytea, primary key (a, b)); \
    insert into c select 'b''' || g, g / 2, '\\x00' from generate_series(1, 5) g; \
    create table n (x int, v text); insert into n select g, 'n' from generate_series(1, 3) g; alter table n replica identity full; \
    create table empty (id int primary key); \
    create table other (id int primary key); insert into other values (1); \
    create table finish (id int primary key)";

fn values(topic: &str) -> Vec<Value> {
    let value = |record: &Value| serde_json::from_str(record["payload"].as_str()?).ok();
    records(topic).iter().filter_map(value).collect()
}

/// The notifications of one kind of snapshot, in their order.
fn notified(topic: &str, aggregate: &str) -> Vec<String> {
    let of = |value: &Value| {
        let value = &value["payload"];
        let details = &value["additional_data"];
        let status = details["status"].as_str();
        let status = status.map(|status| format!(" {status} {}", details["total_rows_scanned"]));
        (value["aggregate_type"] == aggregate)
            .then(|| format!("{}{}", value["type"].as_str().unwrap(), status.unwrap_or_default()))
    };
    values(topic).iter().filter_map(of).collect()
}

/// The same signals to both: events of chunks and of blocking snapshots are Debezium's, and so are notifications.
#[test]
fn snapshots_by_signal_are_debezium_s() {
    let database = Database::shared("signals");
    database.sql(TABLES);
    let (ours, theirs) = (database.name("a"), database.name("d"));
    let notify = |name: &str| format!("notify.{name}");
    let config = |name: &str| {
        database.sql(&format!(
            "create table sig_{name} (id varchar(64) primary key, type varchar(64), data varchar(2048))"
        ));
        connector(
            &database,
            name,
            &json!({"snapshot.mode": "no_data", "signal.data.collection": format!("public.sig_{name}"),
                "table.include.list": "public.t,public.c,public.n,public.empty,public.finish", "incremental.snapshot.chunk.size": "2",
                "notification.enabled.channels": "sink", "notification.sink.topic.name": notify(name)}),
        )
    };
    let (our_config, their_config) = (config(&ours), config(&theirs));
    let aqueduct = Worker::aqueduct(&[our_config]);
    let debezium = Worker::debezium(&[their_config]);
    let slots = || {
        database
            .sql("select count(*) from pg_replication_slots where active and database = current_database()")
    };
    wait_for(&format!("the slots; {}; {}", aqueduct.log(), debezium.log()), WAIT, || slots().trim() == "2");
    let signal = |id: &str, kind: &str, data: &Value| {
        for name in [&ours, &theirs] {
            database.sql(&format!("insert into sig_{name} values ('{id}', '{kind}', '{data}')"));
        }
    };
    let completed = |name: &str, aggregate: &str, count: usize| {
        notified(&notify(name), aggregate).iter().filter(|kind| *kind == "COMPLETED").count() == count
    };
    let both = |what: &str, aggregate: &str, count: usize| {
        for name in [&theirs, &ours] {
            let what = format!("{what} of {name}; {}", aqueduct.log());
            wait_for(&what, WAIT, || completed(name, aggregate, count));
        }
    };
    let tables =
        json!({"data-collections": ["public.t", "\"public\".\"c\"", "public.empty"], "type": "incremental"});
    signal("one", "execute-snapshot", &tables);
    both("the first incremental snapshot", "Incremental Snapshot", 1);
    database.sql("insert into t values (100, 'streamed', 1); update t set v = 'changed' where id = 3; delete from t where id = 1");
    let some = json!({"data-collections": ["public.t"], "type": "incremental",
        "additional-conditions": [{"data-collection": "public.t", "filter": "id between 2 and 5"}]});
    signal("two", "execute-snapshot", &some);
    both("the filtered one", "Incremental Snapshot", 2);
    let block = json!({"data-collections": ["public.t", "public.c"], "type": "blocking"});
    signal("three", "execute-snapshot", &block);
    both("the blocking snapshot", "Initial Snapshot", 1);
    database.sql("insert into t values (101, 'after', 1); insert into finish values (1)");
    for name in [&theirs, &ours] {
        let topic = format!("{name}.public.finish");
        wait_for(&format!("the last event of {name}; {}", aqueduct.log()), WAIT, || {
            records(&topic).len() == 1
        });
    }
    let mut found = Vec::new();
    let compared = compare(&ours, &theirs, "", &mut found);
    // Debezium's own marks
    found.retain(|difference| !difference.contains("public.sig_"));
    assert!(
        found.is_empty(),
        "{} differences in {compared} records:\n{}\n{}",
        found.len(),
        found.join("\n"),
        aqueduct.log()
    );
    assert!(compared > 30, "only {compared} records were compared");
    for aggregate in ["Incremental Snapshot", "Initial Snapshot"] {
        let of = |name: &str| -> Vec<String> {
            let left_out = ["IN_PROGRESS", "DATA_COLLECTIONS_RESOLVED"];
            let kinds = notified(&notify(name), aggregate).into_iter();
            kinds.filter(|kind| !left_out.contains(&kind.as_str())).collect()
        };
        assert_eq!(of(&ours), of(&theirs), "{aggregate}");
    }
    // rows without a key have no place in Debezium's window: ours come all of them
    let surrogate = json!({"data-collections": ["public.n", "public.other"], "type": "incremental", "surrogate-key": "x"});
    database.sql(&format!("insert into sig_{ours} values ('four', 'execute-snapshot', '{surrogate}')"));
    let of_n =
        || values(&format!("{ours}.public.n")).iter().filter(|value| value["payload"]["op"] == "r").count();
    wait_for(&format!("rows without a key; {}", aqueduct.log()), WAIT, || of_n() == 3);
    assert!(records(&format!("{ours}.public.other")).is_empty(), "a table that is not captured");
}

/// A worker is killed while it reads the third table of its first snapshot: the first two are not read again, and what changed
/// meanwhile comes by the stream.
#[test]
fn a_snapshot_goes_on_with_the_tables_that_are_left() {
    const LARGE: i64 = 100_000;
    let database = Database::shared("resumed");
    database.sql(&format!(
        "create table a (id int primary key, v int not null); insert into a select g, 0 from generate_series(1, 10) g; \
         create table b (id int primary key, v int not null); insert into b select g, 0 from generate_series(1, 10) g; \
         create table t (id int primary key, v int not null); insert into t select g, 0 from generate_series(1, {LARGE}) g"
    ));
    let prefix = database.name("p");
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("offsets");
    let schemaless =
        json!({"key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false"});
    let config = connector(&database, &prefix, &schemaless);
    let mut worker = Worker::aqueduct_at(std::slice::from_ref(&config), &offsets);
    let stored = || String::from_utf8_lossy(&fs::read(&offsets).unwrap_or_default()).into_owned();
    wait_for(&format!("the first tables; {}", worker.log()), WAIT, || stored().contains("public.b"));
    worker.kill();
    assert!(!stored().contains("snapshot_completed\":true"), "the snapshot was over before the kill");
    database.sql("update a set v = 1 where id = 3; insert into b values (11, 1); update t set v = 1 where id = 5; delete from t where id = 6");
    let worker = Worker::aqueduct_at(std::slice::from_ref(&config), &offsets);
    let topic = |table: &str| format!("{prefix}.public.{table}");
    let operations = |table: &str| -> Vec<String> {
        let operation = |record: &Value| {
            let value: Value = serde_json::from_str(record["payload"].as_str()?).unwrap();
            Some(value["op"].as_str()?.to_owned())
        };
        records(&topic(table)).iter().filter_map(operation).collect()
    };
    wait_for(&format!("the stream; {}", worker.log()), WAIT, || {
        operations("t").last().is_some_and(|last| last == "d")
    });
    let expected = |last: &str| -> Vec<String> {
        std::iter::repeat_n("r", 10).chain([last]).map(str::to_owned).collect()
    };
    assert_eq!(operations("a"), expected("u"));
    assert_eq!(operations("b"), expected("c"));
    let read = operations("t").iter().filter(|operation| *operation == "r").count() as i64;
    assert!(read >= LARGE - 1, "{read} rows were read");
}

/// Chunks are read while rows change, come and go and change their keys, and while the worker is killed: what the topic says in the
/// end is what the table holds, and a restart does not begin anew.
#[test]
fn an_incremental_snapshot_under_changes_and_kills() {
    const ROWS: i64 = 8_000;
    let database = Database::shared("chunks");
    database.sql(&format!("create table t (id int primary key, v int not null); insert into t select g, 0 from generate_series(1, {ROWS}) g"));
    let prefix = database.name("p");
    let folder = tempfile::tempdir().unwrap();
    let (offsets, signals) = (folder.path().join("offsets"), folder.path().join("signals"));
    let config = connector(
        &database,
        &prefix,
        &json!({"snapshot.mode": "no_data", "signal.enabled.channels": "file,kafka", "signal.file": signals,
            "signal.poll.interval.ms": "100", "incremental.snapshot.chunk.size": "20",
            "signal.kafka.bootstrap.servers": env("AQ_KAFKA"), "signal.kafka.groupId": prefix}),
    );
    let by_kafka = format!("{prefix}-signal");
    create_topic(&env("AQ_KAFKA"), &by_kafka, &["--partitions", "1"]);
    let mut worker = Worker::aqueduct_at(std::slice::from_ref(&config), &offsets);
    let topic = format!("{prefix}.public.t");
    let slot = || {
        database
            .sql("select count(*) from pg_replication_slots where active and database = current_database()")
    };
    wait_for(&format!("the slot; {}", worker.log()), WAIT, || slot().trim() == "1");
    let stop = AtomicBool::new(false);
    let round = AtomicI64::new(0);
    // the largest key that was read, as the offsets tell: the topic has no end while it is written
    let read = || -> i64 {
        let text = String::from_utf8_lossy(&fs::read(&offsets).unwrap_or_default()).into_owned();
        let (_, after) = text.rsplit_once("snapshot_last_key").unwrap_or_default();
        let digits = after.chars().skip_while(|char| !char.is_ascii_digit());
        digits.take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    };
    let sends = |line: &str| {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&signals).unwrap();
        writeln!(file, "{line}").unwrap();
    };
    std::thread::scope(|scope| {
        let raised_at_the_end = RaiseOnDrop(&stop);
        for writer in 3..6_i64 {
            let (database, stop, round) = (&database, &stop, &round);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(30));
                    let now = round.fetch_add(1, Ordering::Relaxed) + 1;
                    let at = (now * 7919) % ROWS;
                    database.try_sql(&format!(
                        "update t set v = {now} where id between {at} and {at} + 5; delete from t where id = {at} + 30; \
                         insert into t values ({ROWS} * 2 + {now}, {now}); update t set id = {ROWS} * {writer} * 10 + {now} where id = {at} + 40; \
                         begin; update t set v = -1 where id between {at} and {at} + 200; rollback"
                    ));
                }
            });
        }
        let execute = json!({"id": "k", "type": "execute-snapshot",
            "data": {"data-collections": ["public.t"], "type": "incremental"}});
        run(
            &mut kcat(&env("AQ_KAFKA"), &["-P", "-t", &by_kafka, "-K", "|"]),
            format!("{prefix}|{execute}\n").as_bytes(),
        );
        wait_for(&format!("the first chunks; {}", worker.log()), WAIT, || read() > 300);
        sends(r#"{"id": "p", "type": "pause-snapshot", "data": {"type": "incremental"}}"#);
        let paused = || {
            let before = read();
            std::thread::sleep(Duration::from_millis(400));
            read() == before
        };
        wait_for(&format!("the pause; {}", worker.log()), WAIT, paused);
        sends(r#"{"id": "r", "type": "resume-snapshot", "data": {"type": "incremental"}}"#);
        for _ in 0..2 {
            let before = read();
            wait_for(&format!("more chunks; {}", worker.log()), WAIT, || read() > before + 1000);
            worker.kill();
            worker = Worker::aqueduct_at(std::slice::from_ref(&config), &offsets);
        }
        let done = || worker.log().contains("the incremental snapshot is done with a table");
        wait_for(&format!("all chunks; {}", worker.log()), WAIT, done);
        drop(raised_at_the_end);
    });
    database.sql("insert into t values (-1, 1)");
    wait_for(&format!("the last row; {}", worker.log()), WAIT, || replayed(&topic).contains_key(&-1));
    assert_eq!(replayed(&topic), rows(&database));
    // what was read twice is what was not committed at a kill
    let given = values(&topic).iter().filter(|value| value["payload"]["op"] == "r").count() as i64;
    assert!((ROWS / 2..ROWS * 3 / 2).contains(&given), "{given} rows of chunks");
}
