//! Columns that are masked, cut and hashed.

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
