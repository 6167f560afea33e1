//! Heartbeats: what is stored moves on although no captured table changes.

use std::fs;

use aqueduct_tests::{Database, Worker, records, wait_for};
use serde_json::json;

use super::WAIT;
use super::support::connector;

#[test]
fn heartbeats_move_offsets_and_the_slot_on() {
    let database = Database::shared("heartbeat");
    database.sql("create table t (id int primary key); create table busy (id serial primary key)");
    let prefix = database.name("p");
    let settings = json!({"table.include.list": "public.t", "heartbeat.interval.ms": "1500", "snapshot.mode": "no_data"});
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("offsets");
    let worker = Worker::aqueduct_at(&[connector(&database, &prefix, &settings)], &offsets);
    let topic = format!("__debezium-heartbeat.{prefix}");
    wait_for(&format!("a heartbeat; {}", worker.log()), WAIT, || !records(&topic).is_empty());
    database.sql("insert into busy select from generate_series(1, 1000)");
    let end: u64 = database.sql("select pg_current_wal_flush_lsn() - '0/0'").trim().parse().unwrap();
    let stored = || -> u64 {
        let text = String::from_utf8_lossy(&fs::read(&offsets).unwrap_or_default()).into_owned();
        let (_, after) = text.rsplit_once("lsn_commit\":").unwrap_or_default();
        after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    };
    wait_for(&format!("the offset at {end}; {}", worker.log()), WAIT, || stored() >= end);
    let confirmed =
        format!("select confirmed_flush_lsn - '0/0' from pg_replication_slots where slot_name = '{prefix}'");
    wait_for("the slot", WAIT, || database.ask(&confirmed).trim().parse::<u64>().is_ok_and(|lsn| lsn >= end));
}
