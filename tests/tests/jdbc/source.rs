//! The source.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{create, source};
use aqueduct_tests::{Database, OwnPostgres, Worker, records, unique, wait_for};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);

/// The values of a topic, of schema and payload.
fn values(topic: &str) -> Vec<Value> {
    let value = |record: &Value| serde_json::from_str(record["payload"].as_str().unwrap()).unwrap();
    records(topic).iter().map(value).collect()
}

/// A column of a topic's rows.
fn column(topic: &str, name: &str) -> Vec<i64> {
    values(topic).iter().map(|value| value["payload"][name].as_i64().unwrap()).collect()
}

#[track_caller]
fn wait_for_column(worker: &Worker, topic: &str, name: &str, expected: &[i64]) {
    let began = Instant::now();
    while column(topic, name) != expected {
        assert!(
            began.elapsed() < WAIT,
            "{:?} instead of {expected:?}\n{}",
            column(topic, name),
            worker.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every type, with the schema that Confluent's connector gives it.
#[test]
fn every_type_leaves() {
    let database = Database::shared("types");
    let prefix = unique("types");
    database.sql(
        "create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);
         create table every (id bigint primary key, i2 int2 not null, i4 int4, f4 real, f8 double precision, b boolean, n numeric(10,2), ni numeric(9,0), \
           t text, v varchar(10), c char(4), u uuid, j json, jb jsonb, x xml, m mood, p positive, by bytea, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, \
           mo money, o oid, b1 bit(1), b3 bit(3), b9 bit(9), na name, arr int[], iv interval);
         insert into every values (1, 2, 3, 1.5, -2.25, true, 123.45, 42, 'é', 'v', 'c', '00112233-4455-6677-8899-aabbccddeeff', '{\"a\": 1}', '{\"b\":2}', '<a/>', 'ok', 5, \
           '\\x000102', '2024-02-29', '01:02:03.004005', '01:00:00+01', '2023-11-14 22:13:20.123456', '2023-11-14 22:13:20.123456+00', '$12.34', 99, B'1', B'101', B'101010101', 'na', '{1}', '1 day');
         insert into every (id, i2) values (2, 0)",
    );
    create(&format!("{prefix}-every"), 1);
    create(&format!("{prefix}-q-every"), 1);
    let settings = json!({"mode": "bulk", "topic.prefix": format!("{prefix}-"), "poll.interval.ms": "3600000", "table.whitelist": "every"});
    let mut fitted = settings.clone();
    for (key, value) in [
        ("topic.prefix", format!("{prefix}-q-")),
        ("numeric.mapping", "best_fit".into()),
        ("timestamp.granularity", "micros_iso_datetime_string".into()),
        ("db.timezone", "Europe/Berlin".into()),
    ] {
        fitted[key] = json!(value);
    }
    let worker =
        Worker::aqueduct(&[source(&database, "types", &settings), source(&database, "fitted", &fitted)]);
    let every = format!("{prefix}-every");
    wait_for(&format!("two rows; {}", worker.log()), WAIT, || values(&every).len() == 2);
    let record = &values(&every)[0];
    let expected = json!({"id": 1, "i2": 2, "i4": 3, "f4": 1.5, "f8": -2.25, "b": true, "n": "MDk=", "ni": "Kg==", "t": "é", "v": "v", "c": "c   ",
        "u": "00112233-4455-6677-8899-aabbccddeeff", "j": "{\"a\": 1}", "jb": "{\"b\": 2}", "x": "<a/>", "m": "ok", "p": 5, "by": "AAEC", "d": 19782, "ti": 3_723_004,
        "tz": 0, "ts": 1_700_000_000_123_i64, "tstz": 1_700_000_000_123_i64, "mo": 12.34, "o": 99, "b1": true, "b3": 101, "b9": "MTAxMDEwMTAx", "na": "na"});
    assert_eq!(record["payload"], expected);
    let schema = &record["schema"];
    assert_eq!((schema["name"].as_str(), schema["optional"].as_bool()), (Some("every"), Some(false)));
    let described: Vec<String> = schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            let text =
                |name: &str| field[name].as_str().unwrap_or_default().rsplit('.').next().unwrap().to_owned();
            let optional = if field["optional"] == json!(true) { "?" } else { "" };
            format!("{}:{}{}{optional}", text("field"), text("type"), text("name"))
        })
        .collect();
    assert_eq!(
        described.join(" "),
        "id:int64 i2:int16 i4:int32? f4:float? f8:double? b:boolean? n:bytesDecimal? ni:bytesDecimal? t:string? v:string? c:string? u:string? j:string? jb:string? x:string? \
         m:string? p:int32? by:bytes? d:int32Date? ti:int32Time? tz:int32Time? ts:int64Timestamp? tstz:int64Timestamp? mo:double? o:int64? b1:boolean? b3:int8? b9:bytes? na:string?"
    );
    assert_eq!(schema["fields"][6]["parameters"], json!({"scale": "2", "connect.decimal.precision": "10"}));
    assert!(
        values(&every)[1]["payload"]
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, value)| value.is_null() || name == "id" || name == "i2")
    );
    let fitted = format!("{prefix}-q-every");
    wait_for("the fitted rows", WAIT, || values(&fitted).len() == 2);
    let row = &values(&fitted)[0]["payload"];
    assert_eq!((&row["n"], &row["ni"]), (&json!(123.45), &json!(42)));
    assert_eq!(row["ts"], json!("2023-11-14T22:13:20.123456"), "wall clock time stays");
    assert_eq!(row["tstz"], json!("2023-11-14T23:13:20.123456"));
    assert!(
        worker.log().contains("\"arr\"") || worker.log().contains("column=\"arr\""),
        "a column that is left out is named"
    );
}

/// The worker is stopped and started with the same offsets.
fn aqueduct_at(connector: &Value, offsets: &Path) -> Worker {
    Worker::aqueduct_at(std::slice::from_ref(connector), offsets)
}

/// Incrementing, timestamp and both: new rows come once, over restarts; offsets are those of the JVM.
#[test]
fn new_rows_come_once() {
    let database = Database::shared("modes");
    database.sql(
        "create table t (id serial primary key, v int not null, at timestamp not null, other timestamptz)",
    );
    let folder = tempfile::tempdir().unwrap();
    let insert = |id: i64, at: &str| {
        database.sql(&format!(
            "insert into t (id, v, at) values ({id}, {id}, timestamp '2024-01-01' + interval '{at}')"
        ));
    };
    for (mode, columns) in [
        ("incrementing", json!({})),
        ("timestamp", json!({"timestamp.column.name": "other,at"})),
        ("timestamp+incrementing", json!({"timestamp.column.name": "AT", "incrementing.column.name": "id"})),
    ] {
        database.sql("truncate t");
        let prefix = unique(&format!("m-{}", mode.replace('+', "-")));
        let name = format!("{prefix}t");
        create(&name, 1);
        let mut settings = columns.clone();
        for (key, value) in [
            ("mode", mode),
            ("topic.prefix", &prefix),
            ("table.whitelist", "t"),
            ("poll.interval.ms", "50"),
            ("batch.max.rows", "3"),
        ] {
            settings[key] = json!(value);
        }
        let connector = source(&database, mode, &settings);
        let offsets = folder.path().join(mode);
        for id in 1..=10 {
            insert(id, &format!("{id} s"));
        }
        let worker = aqueduct_at(&connector, &offsets);
        wait_for_column(&worker, &name, "v", &(1..=10).collect::<Vec<i64>>());
        insert(11, "11.000001 s");
        insert(12, "11.000002 s");
        wait_for_column(&worker, &name, "v", &(1..=12).collect::<Vec<i64>>());
        worker.stop();
        insert(13, "13 s");
        let worker = aqueduct_at(&connector, &offsets);
        wait_for_column(&worker, &name, "v", &(1..=13).collect::<Vec<i64>>());
        if mode != "incrementing" {
            // a change is seen by its time
            database.sql("update t set v = 100, at = timestamp '2024-01-01' + interval '20 s' where id = 5");
            let all: Vec<i64> = (1..=13).chain([100]).collect();
            wait_for_column(&worker, &name, "v", &all);
        }
        std::thread::sleep(Duration::from_millis(300));
        let stored: Value = serde_json::from_str(
            &worker.get(&format!("/connectors/{}/offsets", connector["name"].as_str().unwrap())),
        )
        .unwrap();
        let expected = match mode {
            "incrementing" => json!({"incrementing": 13}),
            "timestamp" => json!({"timestamp": 1_704_067_220_000_i64, "timestamp_nanos": 0}),
            _ => json!({"incrementing": 5, "timestamp": 1_704_067_220_000_i64, "timestamp_nanos": 0}),
        };
        assert_eq!(
            stored["offsets"],
            json!([{"partition": {"protocol": "1", "table": "public.t"}, "offset": expected}])
        );
    }
}

/// Queries, bulk reading again and again, and tables that come later.
#[test]
fn queries_and_new_tables() {
    let database = Database::shared("tables");
    database.sql("create table a (id int primary key, name text); insert into a values (1, 'x'), (2, 'y'); create schema other; create table other.c (id int); insert into other.c values (7)");
    let prefix = unique("tables");
    for name in ["a", "b", "c", "query", "bulk"] {
        create(&format!("{prefix}-{name}"), 1);
    }
    let topic = |name: &str| format!("{prefix}-{name}");
    let worker = Worker::aqueduct(&[
        source(
            &database,
            "tables",
            &json!({"mode": "incrementing", "incrementing.column.name": "id", "validate.non.null": "false", "topic.prefix": format!("{prefix}-"),
            "table.include.list": "public\\..*,other\\.c", "table.exclude.list": ".*\\.excluded", "table.poll.interval.ms": "200", "poll.interval.ms": "50", "tasks.max": "2"}),
        ),
        source(
            &database,
            "query",
            &json!({"mode": "incrementing", "incrementing.column.name": "n", "topic.prefix": topic("query"), "poll.interval.ms": "50",
            "query": "select * from (select id as n, upper(name) as big from a) q"}),
        ),
        source(
            &database,
            "bulk",
            &json!({"mode": "bulk", "topic.prefix": topic("bulk"), "poll.interval.ms": "1500", "query": "select id, name from a order by id;", "query.suffix": "LIMIT 1"}),
        ),
    ]);
    wait_for_column(&worker, &topic("a"), "id", &[1, 2]);
    wait_for_column(&worker, &topic("c"), "id", &[7]);
    wait_for_column(&worker, &topic("query"), "n", &[1, 2]);
    let record = &values(&topic("query"))[0];
    assert_eq!((&record["payload"]["big"], &record["schema"]["name"]), (&json!("X"), &Value::Null));
    wait_for("bulk reads again", WAIT, || column(&topic("bulk"), "id").len() >= 2);
    assert!(column(&topic("bulk"), "id").iter().all(|id| *id == 1));
    database.sql("create table b (id int); insert into b values (5); create table excluded (id int); insert into a values (3, 'z')");
    wait_for_column(&worker, &topic("b"), "id", &[5]);
    wait_for_column(&worker, &topic("a"), "id", &[1, 2, 3]);
    wait_for_column(&worker, &topic("query"), "n", &[1, 2, 3]);
}

/// The server is killed (-9) while a large table is read: every row comes, in order, and none twice.
#[test]
fn a_killed_server_loses_nothing() {
    let own = OwnPostgres::start();
    let database = own.database("killed");
    database.sql("create table t (id bigint primary key, v text); insert into t select g, repeat('x', 200) from generate_series(1, 60000) g");
    let prefix = unique("killed");
    let name = format!("{prefix}t");
    create(&name, 1);
    let worker = Worker::aqueduct(&[source(
        &database,
        "killed",
        &json!({"mode": "incrementing", "incrementing.column.name": "id", "topic.prefix": prefix, "poll.interval.ms": "50",
        "connection.backoff.ms": "200", "connection.attempts": "100"}),
    )]);
    for _ in 0..2 {
        own.kill_and_restart();
    }
    database.sql("insert into t values (60001, 'last')");
    wait_for(&format!("the last row; {}", worker.log()), WAIT, || records(&name).len() >= 60_001);
    assert_eq!(column(&name, "id"), (1..=60_001).collect::<Vec<i64>>());
}

/// What is wrong is said, with what mends it.
#[test]
fn errors_name_their_remedy() {
    let database = Database::shared("errors");
    database.sql("create table t (id int, at timestamp, n numeric); insert into t values (1, now(), 1.5); create schema s; create table s.t (id int); create table hidden (id int)");
    let mode = |mode: &str, more: Value| {
        let mut settings = json!({"mode": mode, "topic.prefix": unique("e"), "schema.pattern": "public", "table.whitelist": "t", "connection.attempts": "1"});
        more.as_object().unwrap().iter().for_each(|(key, value)| settings[key] = value.clone());
        settings
    };
    let cases = [
        (
            mode("bulk", json!({"connection.user": "app", "connection.password": "wrong"})),
            "password authentication failed",
        ),
        (mode("bulk", json!({"schema.pattern": "%"})), "would be written to one topic"),
        (mode("bulk", json!({"table.whitelist": "nothing"})), "neither a table nor a query"),
        (mode("incrementing", json!({})), "no serial or identity column"),
        (mode("incrementing", json!({"incrementing.column.name": "id"})), "ALTER COLUMN id SET NOT NULL"),
        (mode("incrementing", json!({"incrementing.column.name": "no"})), "has no column \\\"no\\\""),
        (mode("timestamp", json!({"timestamp.column.name": "at"})), "ALTER COLUMN at SET NOT NULL"),
        (mode("timestamp", json!({"timestamp.column.name": "id"})), "is no timestamp"),
        (mode("bulk", json!({"query.suffix": "NONSENSE HERE"})), "check the query and query.suffix"),
        (
            mode(
                "bulk",
                json!({"connection.user": "app", "connection.password": "app-secret", "table.whitelist": "hidden"}),
            ),
            "GRANT SELECT",
        ),
        (mode("bulk", json!({"numeric.mapping": "best_fit"})), "declare precision and scale"),
    ];
    let connectors: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(at, (settings, _))| source(&database, &format!("e{at}"), settings))
        .collect();
    let worker = Worker::aqueduct(&connectors);
    for (connector, (_, expected)) in connectors.iter().zip(&cases) {
        let status = || worker.get(&format!("/connectors/{}/status", connector["name"].as_str().unwrap()));
        let began = Instant::now();
        while !(status().contains("FAILED") && status().contains(expected)) {
            assert!(began.elapsed() < WAIT, "{expected} in {}", status());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!status().contains("wrong"), "a password is shown: {}", status());
    }
}
