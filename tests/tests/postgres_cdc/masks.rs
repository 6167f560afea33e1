//! Columns that are masked, cut and hashed; replica identities that are set.

use aqueduct_tests::{Database, Worker, records, wait_for};
use serde_json::json;

use super::WAIT;
use super::support::{compare, connector};

/// Snapshot and stream, schemas included, beside Debezium's.
#[test]
fn masks_are_debezium_s() {
    let database = Database::shared("masks");
    let rows = "(1, 'plain', 'plain', 'plain', 'plain', 'plain', '{\"a\": 1}', 'plain', 'plain', 'plain'), \
                (2, null, null, null, null, null, null, 'ä', 'ä', 'ä'), (3, '', '', '', '', '', null, 'x😀', 'x😀', 'x😀')";
    database.sql(&format!(
        "create extension citext; create type mood as enum ('sad', 'happy'); \
         create table other (id int primary key, e mood, ci citext, z timestamptz, n name, q \"char\", u uuid, a text[], big text, small int, \
         req text not null); \
         insert into other values (1, 'sad', 'CiText', '2020-01-01', 'name', 'q', gen_random_uuid(), '{{x}}', \
         (select string_agg(md5(g::text), '') from generate_series(1, 1000) g), 1, 'required'); \
         create table t (id int primary key, m varchar(10), h varchar(10), cut text, h2 text, c char(8), j json, \
         hm text not null, h1 text not null, h5 text not null default 'd'); insert into t values {rows}"
    ));
    let settings = json!({
        "column.mask.with.4.chars": "public.t.m,public.other.(e|ci|z|n|q|u|a|req)", "column.truncate.to.2.chars": "public.t.cut",
        "column.mask.hash.SHA-256.with.salt.Czq.0": "public.t.h,public.t.c",
        "column.mask.hash.v2.SHA-256.with.salt.Czq.0": "public.t.h2,public.t.j",
        "column.mask.hash.MD5.with.salt.x": "public.t.hm,public.other.big", "column.mask.hash.v2.SHA-1.with.salt.y": "public.t.h1",
        "column.mask.hash.SHA-512.with.salt.z": "public.t.h5",
    });
    let (ours, theirs) = (database.name("a"), database.name("d"));
    let aqueduct = Worker::aqueduct(&[connector(&database, &ours, &settings)]);
    let debezium = Worker::debezium(&[connector(&database, &theirs, &settings)]);
    let count = |prefix: &str| {
        records(&format!("{prefix}.public.t")).len() + records(&format!("{prefix}.public.other")).len()
    };
    wait_for(&format!("our snapshot; {}", aqueduct.log()), WAIT, || count(&ours) == 4);
    wait_for(&format!("Debezium's snapshot; {}", debezium.log()), WAIT, || count(&theirs) == 4);
    database.sql(&format!(
        "truncate t; insert into t values {rows}; update t set m = 'other', h = 'other', cut = 'other'; update other set small = 2; delete from other"
    ));
    wait_for(&format!("our changes; {}", aqueduct.log()), WAIT, || count(&ours) == 13);
    wait_for(&format!("Debezium's changes; {}", debezium.log()), WAIT, || count(&theirs) == 13);
    drop((aqueduct, debezium));
    let mut found = Vec::new();
    assert_eq!(compare(&ours, &theirs, "", &mut found), 13);
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// `replica.identity.autoset.values`, beside Debezium's own on tables of the same kind; what cannot be set is said.
#[test]
fn replica_identities_are_set() {
    let tables = |database: &Database| {
        database.sql(
            "create table f (id int primary key); create table \"F x\" (id int primary key); create table n (id int primary key); \
             create table i (id int primary key, u int not null); create unique index \"by u\" on i (u); \
             create table d (id int primary key); alter table d replica identity full; create table untouched (id int primary key)",
        );
    };
    let identities = |database: &Database| {
        database.sql("select relname, relreplident from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1")
    };
    let settings = |more: &str| json!({"replica.identity.autoset.values": format!("public.f:FULL,public.n:NOTHING,public.d:DEFAULT{more}")});
    let (ours, theirs) = (Database::shared("identity"), Database::shared("identityd"));
    let expected = "F x|f\nd|d\nf|f\ni|d\nn|n\nuntouched|d\n";
    for database in [&ours, &theirs] {
        tables(database);
    }
    let aqueduct = Worker::aqueduct(&[connector(&ours, &ours.name("p"), &settings(",public.F x:FULL"))]);
    let debezium = Worker::debezium(&[connector(&theirs, &theirs.name("p"), &settings(""))]);
    wait_for(&format!("our identities; {}", aqueduct.log()), WAIT, || identities(&ours) == expected);
    wait_for(&format!("Debezium's identities; {}", debezium.log()), WAIT, || {
        identities(&theirs) == expected.replace("F x|f", "F x|d")
    });
    drop((aqueduct, debezium));
    let more =
        |identity: &str| json!({"replica.identity.autoset.values": format!("public.i:INDEX {identity}")});
    let worker = Worker::aqueduct(&[
        connector(&ours, &ours.name("q"), &more("by u")),
        connector(&ours, &ours.name("r"), &more("missing")),
    ]);
    wait_for("the index", WAIT, || identities(&ours).contains("i|i"));
    wait_for(&format!("the error; {}", worker.log()), WAIT, || {
        worker
            .log()
            .contains("ALTER TABLE \\\"public\\\".\\\"i\\\" REPLICA IDENTITY USING INDEX \\\"missing\\\"")
            || worker.log().contains("ALTER TABLE \"public\".\"i\" REPLICA IDENTITY USING INDEX \"missing\"")
    });
}
