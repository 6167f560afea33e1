//! Sources that deliver exactly once (KIP-618): whatever is killed, a reader of committed records sees each line once.

#[path = "exactly_once/boundaries.rs"]
mod boundaries;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use aqueduct_protocol::client::producer::Producer;
use aqueduct_tests::{Group, GroupWorker, kcat, run, wait_for};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(90);
const SETTINGS: &str = "exactly.once.source.support=enabled\nscheduled.rebalance.max.delay.ms=0\n";

fn append(group: &Group, file: &str, lines: std::ops::Range<usize>) {
    let mut out = std::fs::OpenOptions::new().append(true).create(true).open(group.path(file)).unwrap();
    let text: String = lines.map(|line| format!("{file} {line:06}\n")).collect();
    out.write_all(text.as_bytes()).unwrap();
}

fn source(group: &Group, name: &str) -> Value {
    json!({
        "connector.class": "FileStreamSource", "tasks.max": "1", "file": group.path(name), "batch.size": "100",
        "topic": format!("{}-{name}", group.name), "exactly.once.support": "required",
        "topic.creation.default.partitions": "2", "topic.creation.default.replication.factor": "1",
    })
}

fn put(worker: &GroupWorker, name: &str, config: &Value, status: u16) {
    let answer = worker.ask("PUT", &format!("/connectors/{name}/config"), Some(&config.to_string()));
    assert_eq!(answer.status, status, "{}", answer.text());
}

/// How often each line is in the topic, for readers of what is committed.
fn committed(group: &Group, topic: &str) -> BTreeMap<String, usize> {
    let arguments = ["-C", "-q", "-e", "-X", "isolation.level=read_committed", "-t", topic];
    let mut counts = BTreeMap::new();
    let output = std::process::Command::new("kcat").args(["-b", group.bootstrap()]).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("kcat: {error}"));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until all lines of a file are there, each once.
#[track_caller]
fn wait_for_each_once(group: &Group, file: &str, lines: usize) {
    let topic = format!("{}-{file}", group.name);
    wait_for(&format!("{lines} lines in {topic}"), WAIT, || {
        std::thread::sleep(Duration::from_millis(200));
        committed(group, &topic).len() >= lines
    });
    let counts = committed(group, &topic);
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).take(3).collect();
    assert!(repeated.is_empty() && counts.len() == lines, "{} lines; {repeated:?}", counts.len());
}

#[test]
fn a_worker_killed_again_and_again_repeats_nothing() {
    let group = Group::new("once", SETTINGS);
    let mut polls = source(&group, "polls");
    polls["batch.size"] = "10".into();
    let mut intervals = source(&group, "intervals");
    intervals["transaction.boundary"] = "interval".into();
    intervals["transaction.boundary.interval.ms"] = "300".into();
    intervals["offsets.storage.topic"] = format!("{}-own", group.name).into();
    let mut worker = group.ours();
    put(&worker, "polls", &polls, 201);
    put(&worker, "intervals", &intervals, 201);
    for round in 0..3 {
        for file in ["polls", "intervals"] {
            append(&group, file, round * 5_000..(round + 1) * 5_000);
        }
        // in the middle of them
        let some = |file: &str| !committed(&group, &format!("{}-{file}", group.name)).is_empty();
        wait_for("the first of them", WAIT, || some("polls") && some("intervals"));
        worker.kill();
        worker = group.ours();
    }
    wait_for_each_once(&group, "polls", 15_000);
    wait_for_each_once(&group, "intervals", 15_000);
    // offsets are where they belong: the connector's own topic, and a copy in the worker's
    let offsets = |topic: &str| {
        let arguments = ["-C", "-q", "-e", "-X", "isolation.level=read_committed", "-t", topic];
        run(&mut kcat(group.bootstrap(), &[&arguments[..], &["-f", "%k %s\n"]].concat()), b"")
    };
    let end = format!("{{\"position\":{}}}", std::fs::metadata(group.path("intervals")).unwrap().len());
    assert!(offsets(&format!("{}-own", group.name)).contains(&end));
    wait_for("the copy", WAIT, || offsets(&group.topic("offset")).contains(&end));

    // offsets changed by a user are read by the next task
    assert_eq!(worker.ask("PUT", "/connectors/polls/stop", None).status, 204);
    wait_for("the stop", WAIT, || worker.ask("GET", "/connectors/polls/tasks", None).text() == "[]");
    let half = "polls 000000\n".len() * 14_000;
    let change =
        json!({"offsets": [{"partition": {"filename": group.path("polls")}, "offset": {"position": half}}]});
    let changed = worker.ask("PATCH", "/connectors/polls/offsets", Some(&change.to_string()));
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(worker.ask("PUT", "/connectors/polls/resume", None).status, 202);
    let topic = format!("{}-polls", group.name);
    wait_for("the last thousand again", WAIT, || {
        committed(&group, &topic).values().filter(|count| **count == 2).count() == 1_000
    });
}

#[test]
fn with_a_jvm_worker_in_one_group() {
    let group = Group::new("once-mixed", SETTINGS);
    let jvm = group.jvm();
    let ours = group.ours();
    let files = ["one", "two", "three", "four"];
    for (place, file) in files.into_iter().enumerate() {
        append(&group, file, 0..3_000);
        put(if place % 2 == 0 { &ours } else { &jvm }, file, &source(&group, file), 201);
    }
    let some = || files.iter().all(|file| !committed(&group, &format!("{}-{file}", group.name)).is_empty());
    wait_for("the first lines", WAIT, some);
    // ours takes over from the JVM
    files.iter().for_each(|file| append(&group, file, 3_000..6_000));
    jvm.kill();
    files.iter().for_each(|file| wait_for_each_once(&group, file, 6_000));
    // and the JVM, back, from ours
    let jvm = group.jvm();
    files.iter().for_each(|file| append(&group, file, 6_000..9_000));
    // tasks of the JVM's fail for good where the leader that they ask to fence is gone
    let share = || {
        let tasks = files
            .iter()
            .map(|file| jvm.ask("GET", &format!("/connectors/{file}/tasks/0/status"), None).text());
        tasks.filter(|status| status.contains("RUNNING") && status.contains(&jvm.id())).count()
    };
    wait_for("the JVM's share of the tasks", WAIT, || share() == files.len() / 2);
    ours.kill();
    files.iter().for_each(|file| wait_for_each_once(&group, file, 9_000));
    assert_eq!(jvm.ask("GET", "/connectors", None).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn zombies_of_former_tasks_are_shut_out() {
    let group = Group::new("fence", SETTINGS);
    let worker = group.ours();
    append(&group, "in", 0..10);
    put(&worker, "in", &source(&group, "in"), 201);
    wait_for_each_once(&group, "in", 10);
    // a former configuration had three tasks, one of which does not know that it is over
    run(
        &mut kcat(group.bootstrap(), &["-P", "-K", "\t", "-t", &group.topic("config")]),
        b"tasks-fencing-in\t{\"task-count\":3}\n",
    );
    let topic = format!("{}-in", group.name);
    let settings = [
        ("bootstrap.servers", group.bootstrap().to_owned()),
        ("transactional.id", format!("{}-in-2", group.name)),
    ];
    let zombie = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let zombie = Producer::new(&zombie).await.unwrap();
    zombie.init_transactions().await.unwrap();
    zombie.begin_transaction().unwrap();
    zombie.send(&topic, None, None, None, Some(b"from the grave"), &[]).await.unwrap();
    let mut config = source(&group, "in");
    config["batch.size"] = "200".into();
    put(&worker, "in", &config, 200);
    append(&group, "in", 10..20);
    wait_for_each_once(&group, "in", 20);
    let error = zombie.commit_transaction().await.unwrap_err();
    assert!(error.to_string().contains("newer producer"), "{error}");
    let arguments = ["-C", "-q", "-e", "-t", &group.topic("config"), "-f", "%k %s\n"];
    let records = run(&mut kcat(group.bootstrap(), &arguments), b"");
    assert!(
        records.lines().next_back().unwrap().starts_with("tasks-fencing-in {\"task-count\":1}"),
        "{records}"
    );

    // what cannot be delivered exactly once is refused, in the JVM's words
    let refused = |change: (&str, &str)| {
        let mut config = source(&group, "in");
        config[change.0] = change.1.into();
        let answer = worker.ask("PUT", "/connectors/refused/config", Some(&config.to_string()));
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.text()
    };
    let said = refused(("transaction.boundary", "connector"));
    assert!(said.contains("does not support connector-defined transaction boundaries"), "{said}");
    let said = refused(("file", ""));
    assert!(said.contains("does not support exactly-once semantics"), "{said}");
    let unsigned = worker.ask("PUT", "/connectors/in/fence", None);
    assert_eq!(unsigned.status, 400, "{}", unsigned.text());
}

#[test]
fn a_group_is_prepared_before_it_is_switched() {
    let group = Group::new("prepare", "scheduled.rebalance.max.delay.ms=0\n");
    let first = group.ours();
    append(&group, "in", 0..10);
    let mut config = source(&group, "in");
    let refused = first.ask("PUT", "/connectors/in/config", Some(&config.to_string()));
    assert!(
        refused.text().contains("does not have exactly-once source support enabled"),
        "{}",
        refused.text()
    );
    config["exactly.once.support"] = "requested".into();
    config["transaction.boundary"] = "connector".into();
    let refused = first.ask("PUT", "/connectors/in/config", Some(&config.to_string()));
    let said = refused.text();
    assert!(said.contains("does not support connector-defined transaction boundaries"), "{said}");
    config["transaction.boundary"] = "poll".into();
    put(&first, "in", &config, 201);
    let second = group.ours_with("exactly.once.source.support=preparing\n");
    first.terminate();
    wait_for("the second", WAIT, || {
        second.ask("GET", "/connectors/in/status", None).text().contains("RUNNING")
    });
    let third = group.ours_with("exactly.once.source.support=enabled\n");
    second.terminate();
    append(&group, "in", 10..20);
    wait_for_each_once(&group, "in", 20);
    put(&third, "in", &source(&group, "in"), 200);
    append(&group, "in", 20..30);
    wait_for_each_once(&group, "in", 30);
}
