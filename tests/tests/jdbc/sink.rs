//! The sinks.

use std::time::Duration;

use crate::support::{Row, produce, sink, string, structure, topic};
use aqueduct_tests::{Database, OwnPostgres, Worker, records, unique, wait_for};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);

/// Waits until a query prints this.
#[track_caller]
fn wait_for_rows(database: &Database, worker: &Worker, sql: &str, expected: &str) {
    let mut last = String::new();
    let began = std::time::Instant::now();
    while last.trim() != expected {
        assert!(began.elapsed() < WAIT, "{sql} prints\n{last}\ninstead of\n{expected}\n{}", worker.log());
        std::thread::sleep(Duration::from_millis(50));
        last = database.ask(sql);
    }
}

/// Every type: into tables that the sink creates, and into columns of every other type that takes them.
#[test]
fn every_type_arrives() {
    let database = Database::shared("types");
    database.sql(
        "create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);
         create table others (id bigint primary key, n numeric(12,2), u uuid, j json, jb jsonb, m mood, p positive, i inet, \
           iv interval, tz timestamptz, f real, t text, v varchar(10), c char(3), a int[], ta text[], x xml, dn numeric, big bigint, d date)",
    );
    let created = topic("created", 1);
    let schema = structure(&[
        ("id", json!({"type": "int64"})),
        ("i8", json!({"type": "int8"})),
        ("i16", json!({"type": "int16"})),
        ("i32", json!({"type": "int32"})),
        ("f32", json!({"type": "float"})),
        ("f64", json!({"type": "double"})),
        ("b", json!({"type": "boolean"})),
        ("s", json!({"type": "string", "optional": true})),
        ("by", json!({"type": "bytes"})),
        (
            "dec",
            json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": {"scale": "2"}}),
        ),
        ("dt", json!({"type": "int32", "name": "org.apache.kafka.connect.data.Date", "version": 1})),
        ("tm", json!({"type": "int32", "name": "org.apache.kafka.connect.data.Time", "version": 1})),
        ("ts", json!({"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1})),
        ("ar", json!({"type": "array", "items": {"type": "string"}})),
        ("df", json!({"type": "int32", "optional": true, "default": 7})),
    ]);
    let value = json!({"id": 1, "i8": -8, "i16": -16, "i32": -32, "f32": 1.5, "f64": 1e300, "b": true, "s": "é\"\\", "by": "AAECYQ==",
        "dec": "MDk=", "dt": 19782, "tm": 3_723_004, "ts": 1_700_000_000_123_i64, "ar": ["a", "b\"\\,c"], "df": null});
    produce(&created, &[Row::new(json!(null), schema, value)]);
    let other = structure(&[
        ("id", json!({"type": "int32"})),
        ("n", json!({"type": "int64"})),
        ("u", string()),
        ("j", string()),
        ("jb", string()),
        ("m", string()),
        ("p", json!({"type": "int32"})),
        ("i", string()),
        ("iv", string()),
        ("tz", json!({"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1})),
        ("f", json!({"type": "double"})),
        ("t", json!({"type": "int64"})),
        ("v", string()),
        ("c", string()),
        ("a", json!({"type": "array", "items": {"type": "int32", "optional": true}})),
        ("ta", json!({"type": "array", "items": {"type": "string"}})),
        ("x", string()),
        (
            "dn",
            json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": {"scale": "3"}}),
        ),
        ("big", json!({"type": "int8"})),
        ("d", json!({"type": "int32", "name": "io.debezium.time.Date", "version": 1})),
    ]);
    let value = json!({"id": 1, "n": 12, "u": "00112233-4455-6677-8899-AABBCCDDEEFF", "j": "{\"a\": 1}", "jb": "[1,  2]", "m": "ok", "p": 5,
        "i": "10.0.0.1", "iv": "1 day", "tz": 1_700_000_000_123_i64, "f": 2.5, "t": 99, "v": "short", "c": "ab", "a": [1, null, 3], "ta": ["x"],
        "x": "<a/>", "dn": "/4U=", "big": 3, "d": 1});
    let topic = topic("others", 1);
    produce(&topic, &[Row::new(json!(null), other.clone(), value.clone())]);
    // the same by COPY: without the columns that the server converts
    database.sql(&format!("create table \"{topic}-copy\" (id bigint primary key, n numeric(12,2), u uuid, j json, jb jsonb, m mood, p positive, tz timestamptz, f real, t text, v varchar(10), c char(3), x xml, dn numeric, big bigint, d date)"));
    let worker = Worker::aqueduct(&[
        sink(
            &database,
            "created",
            &created,
            &json!({"auto.create": "true", "pk.mode": "record_value", "pk.fields": "id"}),
        ),
        sink(
            &database,
            "others",
            &topic,
            &json!({"table.name.format": "others", "insert.mode": "upsert", "pk.mode": "record_value", "pk.fields": "id"}),
        ),
        sink(
            &database,
            "copy",
            &topic,
            &json!({"table.name.format": format!("{topic}-copy"), "fields.whitelist": "id,n,u,j,jb,m,p,tz,f,t,v,c,x,dn,big,d"}),
        ),
    ]);
    wait_for_rows(
        &database,
        &worker,
        &format!("set timezone = 'UTC'; select * from \"{created}\""),
        "1|-8|-16|-32|1.5|1e+300|t|é\"\\|\\x00010261|123.45|2024-02-29|01:02:03.004|2023-11-14 22:13:20.123|{a,\"b\\\"\\\\,c\"}|7",
    );
    let columns = database.sql(&format!("select string_agg(format_type(atttypid, atttypmod) || case when attnotnull then '!' else '' end, ',' order by attnum) from pg_attribute where attrelid = '\"{created}\"'::regclass and attnum > 0"));
    assert_eq!(
        columns.trim(),
        "bigint!,smallint!,smallint!,integer!,real!,double precision!,boolean!,text,bytea!,numeric!,date!,time without time zone!,timestamp without time zone!,text[]!,integer"
    );
    let rest = "1|12.00|00112233-4455-6677-8899-aabbccddeeff|{\"a\": 1}|[1, 2]|ok|5|10.0.0.1|1 day|2023-11-14 22:13:20.123+00|2.5|99|short|ab |{1,NULL,3}|{x}|<a/>|-0.123|3|1970-01-02";
    wait_for_rows(&database, &worker, "set timezone = 'UTC'; select * from others", rest);
    let copied = rest.replace("|10.0.0.1|1 day", "").replace("|{1,NULL,3}|{x}", "");
    wait_for_rows(
        &database,
        &worker,
        &format!("set timezone = 'UTC'; select * from \"{topic}-copy\""),
        &copied,
    );
    assert!(!worker.log().contains("COPY itself"), "{}", worker.log());
}

/// Insert, upsert, update and delete, with every mode of the key.
#[test]
fn modes_and_keys() {
    let database = Database::shared("modes");
    let topic = topic("modes", 1);
    let key = |id: i64| json!({"schema": {"type": "struct", "fields": [{"field": "id", "type": "int64"}]}, "payload": {"id": id}});
    let schema = structure(&[
        ("v", json!({"type": "string", "optional": true})),
        ("w", json!({"type": "int32", "optional": true})),
    ]);
    let wider = structure(&[
        ("v", string()),
        ("w", json!({"type": "int32"})),
        ("extra", json!({"type": "int32", "optional": true})),
    ]);
    let row = |id: i64, v: &str| Row::new(key(id), schema.clone(), json!({"v": v, "w": id * 10}));
    produce(
        &topic,
        &[
            row(1, "a"),
            row(2, "b"),
            row(1, "c"),
            Row::deletion(key(2)),
            row(3, "d"),
            row(2, "e"),
            Row::new(key(1), wider.clone(), json!({"v": "f", "w": 11, "extra": 5})),
            row(4, "g"),
            Row::deletion(key(4)),
            row(3, "h"),
        ],
    );
    database.sql("create table \"upd\" (id bigint primary key, v text, w int); insert into upd values (1, 'old', 0), (9, 'kept', 0)");
    let upsert = json!({"insert.mode": "upsert", "pk.mode": "record_key", "delete.enabled": "true", "auto.create": "true", "auto.evolve": "true"});
    let worker = Worker::aqueduct(&[
        sink(&database, "ups", &topic, &{
            let mut settings = upsert.clone();
            settings["table.name.format"] = json!("ups");
            settings
        }),
        sink(&database, "lower", &topic, &{
            let mut settings = upsert.clone();
            settings["table.name.format"] = json!("public.LoWer");
            settings["quote.sql.identifiers"] = json!("never");
            settings["batch.size"] = json!("1");
            settings
        }),
        sink(
            &database,
            "upd",
            &topic,
            &json!({"insert.mode": "update", "pk.mode": "record_key", "delete.enabled": "true", "fields.whitelist": "v,w", "table.name.format": "upd"}),
        ),
        sink(
            &database,
            "kafka",
            &topic,
            &json!({"insert.mode": "insert", "pk.mode": "kafka", "table.name.format": "kafka", "auto.create": "true", "auto.evolve": "true", "errors.tolerance": "all"}),
        ),
        sink(
            &database,
            "ignored",
            &topic,
            &json!({"insert.mode": "upsert", "pk.mode": "record_key", "table.name.format": "keys", "auto.create": "true", "fields.whitelist": "nothing", "errors.tolerance": "all"}),
        ),
    ]);
    let all = "1|f|11|5\n2|e|20|\n3|h|30|";
    wait_for_rows(&database, &worker, "select id, v, w, extra from ups order by id", all);
    wait_for_rows(&database, &worker, "select id, v, w, extra from lower order by id", all);
    wait_for_rows(&database, &worker, "select * from upd order by id", "1|f|11\n9|kept|0");
    wait_for_rows(
        &database,
        &worker,
        "select __connect_partition, __connect_offset, v from kafka order by 2",
        "0|0|a\n0|1|b\n0|2|c\n0|4|d\n0|5|e\n0|6|f\n0|7|g\n0|9|h",
    );
    wait_for_rows(&database, &worker, "select id from keys order by id", "1\n2\n3\n4");
}

/// A bad row goes to the dead letter queue and says what was wrong; its batch goes on.
#[test]
fn bad_rows_go_to_the_dead_letter_queue() {
    let database = Database::shared("bad");
    let topic = topic("bad", 1);
    let letters = unique("letters");
    let schema = structure(&[
        ("id", json!({"type": "int64"})),
        ("v", json!({"type": "string", "optional": true})),
        ("n", string()),
    ]);
    let row =
        |id: i64, v: Value, n: &str| Row::new(json!(null), schema.clone(), json!({"id": id, "v": v, "n": n}));
    let mut rows: Vec<Row> = (0..500).map(|id| row(id, json!("ok"), "1")).collect();
    rows[17] = row(17, json!(null), "1");
    rows[250] = row(250, json!("much too long"), "1");
    rows[251] = row(251, json!("ok"), "secret");
    rows[400] = row(3, json!("ok"), "1");
    rows.push(Row::new(json!(null), json!(null), json!(null)));
    produce(&topic, &rows);
    for (table, mode) in [("copied", "insert"), ("upserted", "upsert")] {
        database
            .sql(&format!("create table {table} (id bigint primary key, v varchar(5) not null, n integer)"));
        let name = format!("{letters}-{mode}");
        let settings = json!({"table.name.format": table, "insert.mode": mode, "pk.mode": "record_value", "pk.fields": "id", "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": name, "errors.deadletterqueue.topic.replication.factor": "1", "errors.deadletterqueue.context.headers.enable": "true"});
        let worker = Worker::aqueduct(&[sink(&database, mode, &topic, &settings)]);
        // the key of row 400 is one that is there: upsert does not mind
        let (written, bad) = if mode == "insert" { (496, 5) } else { (496, 4) };
        wait_for_rows(&database, &worker, &format!("select count(*) from {table}"), &written.to_string());
        wait_for(&format!("{bad} dead letters; {}", worker.log()), WAIT, || records(&name).len() == bad);
        let messages: Vec<String> =
            records(&name).iter().map(|record| record["headers"].to_string()).collect();
        let all = messages.join("\n");
        for expected in [
            format!("{topic}-0@17"),
            "(character varying(5), field of type STRING)".to_owned(),
            "ALTER TABLE".to_owned(),
            format!("{topic}-0@250"),
            format!("{topic}-0@251"),
            "field of type STRING".to_owned(),
            "delete.enabled".to_owned(),
        ] {
            assert!(all.contains(&expected), "{expected} in {all}");
        }
        assert!(!all.contains("secret") && !worker.log().contains("secret"), "a value is shown: {all}");
    }
}

/// What is wrong is said, with what mends it.
#[test]
fn errors_name_their_remedy() {
    let database = Database::shared("errors");
    database.sql("create table narrow (id int); create table nokey (id int, v text); create table strict (id int, v text not null); create view seen as select * from narrow");
    let topic = topic("errors", 1);
    let schema =
        structure(&[("id", json!({"type": "int32"})), ("v", json!({"type": "string", "optional": true}))]);
    produce(&topic, &[Row::new(json!(null), schema, json!({"id": 1, "v": null}))]);
    let upsert = |table: &str| json!({"table.name.format": table, "insert.mode": "upsert", "pk.mode": "record_value", "pk.fields": "id"});
    let cases = [
        (json!({"connection.user": "app", "connection.password": "wrong"}), "password authentication failed"),
        (
            json!({"connection.url": format!("jdbc:postgresql://127.0.0.1:{}/nowhere", database.port())}),
            "does not exist",
        ),
        (
            json!({"table.name.format": "missing"}),
            "CREATE TABLE \\\"missing\\\" ( \\\"id\\\" INT NOT NULL, \\\"v\\\" TEXT NULL);",
        ),
        (
            json!({"table.name.format": "narrow"}),
            "ALTER TABLE \\\"public\\\".\\\"narrow\\\" ADD \\\"v\\\" TEXT NULL;",
        ),
        (upsert("nokey"), "ALTER TABLE \\\"public\\\".\\\"nokey\\\" ADD PRIMARY KEY (\\\"id\\\");"),
        (
            json!({"table.name.format": "strict"}),
            "ALTER TABLE \\\"public\\\".\\\"strict\\\" ALTER COLUMN \\\"v\\\" DROP NOT NULL;",
        ),
        (json!({"table.name.format": "seen"}), "add VIEW to table.types"),
        (json!({"pk.mode": "record_key"}), "no key with a schema"),
    ];
    let named = |at: usize| format!("e{at}-{}", database.database());
    let connectors: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(at, (settings, _))| {
            let mut settings = settings.clone();
            settings["connection.attempts"] = json!("1");
            settings["max.retries"] = json!("0");
            sink(&database, &format!("e{at}"), &topic, &settings)
        })
        .collect();
    let worker = Worker::aqueduct(&connectors);
    for (at, (_, expected)) in cases.iter().enumerate() {
        let status = || worker.get(&format!("/connectors/{}/status", named(at)));
        let began = std::time::Instant::now();
        while !(status().contains("FAILED") && status().contains(expected)) {
            assert!(began.elapsed() < WAIT, "{expected} in {}", status());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!status().contains("wrong"), "a password is shown: {}", status());
    }
    for (settings, expected) in [
        (json!({"connection.url": "jdbc:mysql://u:secret@h/d"}), "only jdbc:postgresql://"),
        (json!({"insert.mode": "upsert"}), "need to know the key"),
        (json!({"delete.enabled": "true"}), "Deletes are only supported for pk.mode record_key"),
        (json!({"db.timezone": "Nowhere"}), "Invalid time zone identifier"),
        (json!({"batch.size": "-1"}), "Value must be at least 0"),
    ] {
        let connector = sink(&database, "validated", &topic, &settings);
        let answer = worker.put("/connector-plugins/JdbcSinkConnector/config/validate", &connector["config"]);
        assert!(answer.contains(expected), "{expected} in {answer}");
    }
}

/// Rows of a plain insert without any key, the worker killed (-9) again and again, offsets in the database: each row once. And a
/// database that is put back to an earlier state gets again what it has lost.
#[test]
fn every_row_exactly_once() {
    let database = Database::shared("once");
    database.sql("create table t (topic text, part int, at bigint, round int, id bigint)");
    let topic = topic("once", 3);
    let schema = structure(&[("round", json!({"type": "int32"})), ("id", json!({"type": "int64"}))]);
    let name = unique("once");
    let settings = json!({"table.name.format": "t", "exactly.once.offsets.table": "aqueduct_offsets", "pk.mode": "kafka", "pk.fields": "topic,part,at", "tasks.max": "1",
        "consumer.override.group.instance.id": name, "consumer.override.max.poll.records": "50", "consumer.override.fetch.max.bytes": "20000"});
    let connector = sink(&database, &name, &topic, &settings);
    let (mut total, mut interrupted) = (0, 0);
    for round in 0..5 {
        let rows: Vec<Row> = (total..total + 10_000)
            .map(|id| {
                Row::new(
                    json!({"schema": {"type": "string"}, "payload": format!("key {id}")}),
                    schema.clone(),
                    json!({"round": round, "id": id}),
                )
            })
            .collect();
        produce(&topic, &rows);
        total += 10_000;
        let worker = Worker::aqueduct(std::slice::from_ref(&connector));
        // somewhere in the middle of it
        let before: i64 = database.ask("select count(*) from t").trim().parse().unwrap();
        wait_for(&format!("rows after {before}; {}", worker.log()), WAIT, || {
            database.ask("select count(*) from t").trim().parse().unwrap_or(0) > before
        });
        drop(worker); // kills it
        interrupted += i32::from(database.ask("select count(*) from t").trim() != total.to_string());
    }
    assert!(interrupted > 0, "the worker was always done before it was killed");
    let worker = Worker::aqueduct(std::slice::from_ref(&connector));
    let expected = format!("{total}|{total}|{}", total - 1);
    let check = "select count(*), count(distinct id), max(id) from t";
    wait_for_rows(&database, &worker, check, &expected);
    let offsets = "select sum(next_offset) from aqueduct_offsets";
    wait_for_rows(&database, &worker, offsets, &total.to_string());
    drop(worker);
    database.sql("delete from t where at >= 100; update aqueduct_offsets set next_offset = 100");
    let worker = Worker::aqueduct(&[connector]);
    wait_for_rows(&database, &worker, check, &expected);
}

/// The server is killed (-9) while rows go in: nothing is lost, and an upsert has nothing twice.
#[test]
fn a_killed_server_loses_nothing() {
    let own = OwnPostgres::start();
    let database = own.database("killed");
    let topic = topic("killed", 1);
    let schema = structure(&[("id", json!({"type": "int64"})), ("v", string())]);
    let rows = |from: i64| -> Vec<Row> {
        (from..from + 2000)
            .map(|id| Row::new(json!(null), schema.clone(), json!({"id": id, "v": "x"})))
            .collect()
    };
    produce(&topic, &rows(0));
    let settings = json!({"auto.create": "true", "table.name.format": "t", "insert.mode": "upsert", "pk.mode": "record_value", "pk.fields": "id",
        "retry.backoff.ms": "200", "max.retries": "100", "connection.backoff.ms": "200", "consumer.override.max.poll.records": "100"});
    let worker = Worker::aqueduct(&[sink(&database, "killed", &topic, &settings)]);
    for round in 1..=3 {
        own.kill_and_restart();
        produce(&topic, &rows(round * 2000));
    }
    wait_for_rows(&database, &worker, "select count(*), min(id), max(id) from t", "8000|0|7999");
    assert!(
        worker.log().contains("has to be written again") || worker.log().contains("no connection"),
        "it was never noticed"
    );
}

/// Debezium's own sink beside ours: the same tables, columns, types, keys and rows, from change events and from plain rows.
#[test]
fn tables_are_debezium_s() {
    let database = Database::shared("dbz");
    let (events, flat) = (topic("events", 1), topic("flat", 1));
    let named = |kind: &str, name: &str| json!({"type": kind, "optional": true, "name": name, "version": 1});
    let optional = |kind: &str| json!({"type": kind, "optional": true});
    let id = ("Id", json!({"type": "int32"}));
    let fields = [
        id.clone(),
        ("i8", optional("int8")),
        ("i16", optional("int16")),
        ("i64", optional("int64")),
        ("f32", optional("float")),
        ("f64", optional("double")),
        ("b", optional("boolean")),
        ("camelCase", optional("string")),
        ("by", optional("bytes")),
        (
            "dec",
            json!({"type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": {"scale": "2", "connect.decimal.precision": "10"}}),
        ),
        (
            "deci",
            json!({"type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": {"scale": "3"}}),
        ),
        ("dt", named("int32", "io.debezium.time.Date")),
        ("tm", named("int32", "io.debezium.time.Time")),
        ("mtm", named("int64", "io.debezium.time.MicroTime")),
        ("ntm", named("int64", "io.debezium.time.NanoTime")),
        ("ts", named("int64", "io.debezium.time.Timestamp")),
        ("mts", named("int64", "io.debezium.time.MicroTimestamp")),
        ("nts", named("int64", "io.debezium.time.NanoTimestamp")),
        ("zts", named("string", "io.debezium.time.ZonedTimestamp")),
        ("ztm", named("string", "io.debezium.time.ZonedTime")),
        ("cdt", named("int32", "org.apache.kafka.connect.data.Date")),
        ("ctm", named("int32", "org.apache.kafka.connect.data.Time")),
        ("cts", named("int64", "org.apache.kafka.connect.data.Timestamp")),
        ("js", named("string", "io.debezium.data.Json")),
        ("uu", named("string", "io.debezium.data.Uuid")),
        ("xm", named("string", "io.debezium.data.Xml")),
        ("df", json!({"type": "string", "optional": true, "default": "it's"})),
        ("arr", json!({"type": "array", "optional": true, "items": {"type": "string", "optional": true}})),
    ];
    let row = structure(&fields);
    let values = |id: i64| {
        json!({"Id": id, "i8": 1, "i16": -2, "i64": 3, "f32": 0.5, "f64": -1.25, "b": true, "camelCase": "text", "by": "AQI=",
        "dec": "MDk=", "deci": "MDk=", "dt": 19782, "tm": 3_723_004, "mtm": 3_723_004_005_i64, "ntm": 3_723_004_005_006_i64, "ts": 1_700_000_000_123_i64,
        "mts": 1_700_000_000_123_456_i64, "nts": 1_700_000_000_123_456_000_i64, "zts": "2024-02-29T10:20:30.5+02:00", "ztm": "10:20:30+02:00",
        "cdt": 19782, "ctm": 3_723_004, "cts": 1_700_000_000_123_i64, "js": "{\"a\": 1}", "uu": "00112233-4455-6677-8899-aabbccddeeff", "xm": "<a/>",
        "df": "x", "arr": ["a", null]})
    };
    let nulls = |id: i64| {
        let mut nulls = json!({});
        fields.iter().for_each(|(name, _)| nulls[*name] = Value::Null);
        nulls["Id"] = json!(id);
        nulls
    };
    let key =
        |id: i64| json!({"schema": structure(&[("Id", json!({"type": "int32"}))]), "payload": {"Id": id}});
    let mut inner = row.clone();
    inner["optional"] = json!(true);
    let mut envelope = structure(&[
        ("before", inner.clone()),
        ("after", inner),
        ("op", string()),
        ("ts_ms", json!({"type": "int64", "optional": true})),
    ]);
    envelope["name"] = json!("server.public.t.Envelope");
    let event = |id: i64, op: &str, before: Value, after: Value| {
        Row::new(key(id), envelope.clone(), json!({"op": op, "before": before, "after": after, "ts_ms": 1}))
    };
    produce(
        &events,
        &[
            event(1, "r", Value::Null, values(1)),
            event(2, "c", Value::Null, nulls(2)),
            event(3, "c", Value::Null, values(3)),
            event(2, "u", nulls(2), values(2)),
            event(3, "d", values(3), Value::Null),
            Row::deletion(key(3)),
            event(4, "c", Value::Null, values(4)),
            event(4, "d", values(4), Value::Null),
            event(4, "c", Value::Null, nulls(4)),
        ],
    );
    produce(
        &flat,
        &[
            Row::new(key(1), row.clone(), values(1)),
            Row::new(key(2), row.clone(), nulls(2)),
            Row::deletion(key(1)),
            Row::new(key(5), row, values(5)),
        ],
    );
    let connectors = |who: &str| -> Vec<Value> {
        let modes = [
            (
                "u",
                &events,
                json!({"insert.mode": "upsert", "primary.key.mode": "record_key", "delete.enabled": "true"}),
            ),
            (
                "q",
                &events,
                json!({"insert.mode": "upsert", "primary.key.mode": "record_key", "primary.key.fields": "Id", "delete.enabled": "true", "quote.identifiers": "true"}),
            ),
            (
                "f",
                &flat,
                json!({"insert.mode": "upsert", "primary.key.mode": "record_key", "delete.enabled": "true", "field.exclude.list": "f64,b"}),
            ),
            ("k", &flat, json!({"insert.mode": "insert", "primary.key.mode": "kafka"})),
            (
                "v",
                &flat,
                json!({"insert.mode": "upsert", "primary.key.mode": "record_value", "primary.key.fields": "Id"}),
            ),
        ];
        modes
            .iter()
            .map(|(mode, topic, settings)| {
                let mut connector = sink(&database, &format!("{who}{mode}"), topic, settings);
                let config = &mut connector["config"];
                config["connector.class"] = json!("io.debezium.connector.jdbc.JdbcSinkConnector");
                config["connection.username"] = config["connection.user"].take();
                config.as_object_mut().unwrap().remove("connection.user");
                config["schema.evolution"] = json!("basic");
                config["collection.name.format"] = json!(format!("{who}_{mode}"));
                connector
            })
            .collect()
    };
    let debezium = Worker::debezium(&connectors("d"));
    let aqueduct = Worker::aqueduct(&connectors("a"));
    for (table, order, rows) in [
        ("u", "id", "3"),
        ("q", "\"Id\"", "3"),
        ("f", "id", "2"),
        ("k", "__connect_offset", "3"),
        ("v", "id", "3"),
    ] {
        let count = |who: &str| format!("select count(*) from {who}_{table}");
        wait_for_rows(&database, &debezium, &count("d"), rows);
        wait_for_rows(&database, &aqueduct, &count("a"), rows);
        let definition = |who: &str| {
            database.sql(&format!(
            "select attname, format_type(atttypid, atttypmod), attnotnull, (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum) from pg_attribute where attrelid = '{who}_{table}'::regclass and attnum > 0 order by 1;\
             select pg_get_constraintdef(oid) from pg_constraint where conrelid = '{who}_{table}'::regclass"))
        };
        let content = |who: &str| {
            let columns = database.sql(&format!("select string_agg(quote_ident(attname), ',' order by attname) from pg_attribute where attrelid = '{who}_{table}'::regclass and attnum > 0"));
            database
                .sql(&format!("set timezone = 'UTC'; select {columns} from {who}_{table} order by {order}"))
        };
        let same =
            |ours: &str, theirs: &str| ours.replace("a_", "").lines().eq(theirs.replace("d_", "").lines());
        assert!(
            same(&definition("a"), &definition("d")),
            "table {table}: ours\n{}\nDebezium's\n{}",
            definition("a"),
            definition("d")
        );
        assert!(
            same(&content("a"), &content("d")),
            "table {table}: ours\n{}\nDebezium's\n{}",
            content("a"),
            content("d")
        );
    }
}
