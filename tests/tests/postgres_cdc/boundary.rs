//! `transaction.boundary=connector`: a transaction of the database is seen as a whole, or not at all.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::{Database, Group, GroupWorker, wait_for};
use serde_json::{Value, json};

use super::WAIT;
use super::support::connector;

const SETTINGS: &str = "exactly.once.source.support=enabled\nscheduled.rebalance.max.delay.ms=0\n";
const TRANSACTIONS: usize = 40;

/// Rows of a transaction: of one batch, or of many.
const fn rows(transaction: usize) -> usize {
    [3, 2500, 50, 1, 49, 4000][transaction % 6]
}

/// Rows by transaction that a reader of what is committed finds.
fn seen(group: &Group, topic: &str) -> BTreeMap<usize, usize> {
    // an end is told where a fetch finds nothing for this long
    let quick = ["-X", "isolation.level=read_committed", "-X", "fetch.wait.max.ms=10"];
    let mut kcat = Command::new("timeout");
    kcat.args(["20", "kcat", "-b", group.bootstrap(), "-C", "-q", "-e", "-t", topic]).args(quick);
    let output = kcat.output().unwrap_or_else(|error| panic!("kcat: {error}"));
    let mut seen = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let transaction = value["after"]["v"].as_u64().unwrap() as usize;
        *seen.entry(transaction).or_default() += 1;
    }
    seen
}

#[test]
fn transactions_of_the_database_are_seen_whole() {
    let database = Database::shared("boundary");
    database.sql("create table t (id serial primary key, v int not null)");
    let group = Group::new("pgonce", SETTINGS);
    let name = database.name("b");
    let settings = json!({"snapshot.mode": "no_data", "max.batch.size": "50", "transaction.boundary": "connector",
        "exactly.once.support": "required", "streaming.transactions.enabled": "true", "topic.creation.default.partitions": "1",
        "key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false"});
    let config = connector(&database, &name, &settings)["config"].to_string();
    let put = |worker: &GroupWorker| worker.ask("PUT", &format!("/connectors/{name}/config"), Some(&config));
    let worker = group.ours();
    let answer = put(&worker);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let slot = || {
        database
            .ask("select count(*) from pg_replication_slots where active and database = current_database()")
    };
    wait_for(&format!("the slot; {}", worker.log()), WAIT, || slot().trim() == "1");
    let topic = format!("{name}.public.t");
    let mut samples = 0;
    let worker = std::thread::scope(|scope| {
        let mut worker = worker;
        let writer = scope.spawn(|| {
            for transaction in 0..TRANSACTIONS {
                database.sql(&format!(
                    "insert into t (v) select {transaction} from generate_series(1, {}); begin; insert into t (v) values (-1); rollback",
                    rows(transaction)
                ));
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        let mut kills = [TRANSACTIONS / 3, 2 * TRANSACTIONS / 3].into_iter().peekable();
        while !writer.is_finished() {
            let seen = seen(&group, &topic);
            samples += usize::from(!seen.is_empty());
            for (transaction, count) in &seen {
                assert_eq!(*count, rows(*transaction), "of transaction {transaction}");
            }
            if kills.next_if(|at| seen.len() >= *at).is_some() {
                worker.kill();
                worker = group.ours();
            }
        }
        writer.join().unwrap();
        worker
    });
    wait_for(&format!("all of it; {}", worker.log()), WAIT, || seen(&group, &topic).len() == TRANSACTIONS);
    let expected: BTreeMap<usize, usize> =
        (0..TRANSACTIONS).map(|transaction| (transaction, rows(transaction))).collect();
    assert_eq!(seen(&group, &topic), expected, "every row once");
    assert!(samples > 5, "{samples} samples");
}
