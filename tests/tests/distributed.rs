//! Groups of distributed workers: ours beside JVM workers, either of them leading, and ours alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::{Group, GroupWorker, OwnBroker, create_topic, kcat, run, tool, wait_for};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);

/// What runs where: `connector` or `connector-task`, with its state and its worker.
type Placement = BTreeMap<String, (String, String)>;

fn placement(worker: &GroupWorker) -> Placement {
    let answer = worker.ask("GET", "/connectors?expand=status", None);
    let all: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let mut placement = Placement::new();
    for (name, entry) in all.as_object().into_iter().flatten() {
        let status = &entry["status"];
        let of = |item: &Value| {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            (text("state"), text("worker_id"))
        };
        placement.insert(name.clone(), of(&status["connector"]));
        for task in status["tasks"].as_array().into_iter().flatten() {
            placement.insert(format!("{name}-{}", task["id"]), of(task));
        }
    }
    placement
}

/// Waits until this many connectors, with as many tasks, run on exactly these workers, evenly.
#[track_caller]
fn wait_balanced(count: usize, asked: &GroupWorker, workers: &[&GroupWorker]) -> Placement {
    let ids: BTreeSet<String> = workers.iter().map(|worker| worker.id()).collect();
    let mut last = Placement::new();
    wait_for(&format!("{count} connectors on {ids:?}"), WAIT, || {
        last = placement(asked);
        let share = |tasks: bool, id: &String| {
            let of_kind = |name: &&String| {
                name.rsplit_once('-').is_some_and(|(_, end)| end.parse::<u32>().is_ok()) == tasks
            };
            last.keys().filter(of_kind).filter(|name| last[*name].1 == *id).count()
        };
        let even = |tasks| {
            let shares: Vec<usize> = ids.iter().map(|id| share(tasks, id)).collect();
            shares.iter().sum::<usize>() == count
                && shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1
        };
        last.values().all(|(state, _)| state == "RUNNING") && even(false) && even(true)
    });
    last
}

#[track_caller]
fn create(worker: &GroupWorker, name: &str, config: Value) {
    let body = json!({"name": name, "config": config}).to_string();
    let answer = worker.ask("POST", "/connectors", Some(&body));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

fn source(group: &Group, file: &str) -> Value {
    json!({
        "connector.class": "FileStreamSource",
        "tasks.max": "1",
        "file": group.path(file),
        "topic": format!("{}-data", group.name),
        "topic.creation.default.partitions": "2",
        "topic.creation.default.replication.factor": "1",
    })
}

fn sink(group: &Group, file: &str) -> Value {
    json!({
        "connector.class": "FileStreamSink",
        "tasks.max": "1",
        "file": group.path(file),
        "topics": format!("{}-data", group.name),
        "consumer.override.session.timeout.ms": "6000",
        "consumer.override.metadata.max.age.ms": "1000",
    })
}

fn append(path: &Path, lines: std::ops::Range<usize>) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let text: String = lines.map(|line| format!("{name} line {line:06}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

/// Waits until a sink's file has each of these lines at least once, and nothing else.
#[track_caller]
fn wait_for_lines(path: &Path, expected: &BTreeSet<String>) {
    let lines = || -> BTreeSet<String> {
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    wait_for(&format!("{} lines in {}", expected.len(), path.display()), WAIT, || {
        lines().len() >= expected.len()
    });
    assert!(lines() == *expected, "{} has other lines than were written", path.display());
}

fn expected(sources: &[&str], lines: usize) -> BTreeSet<String> {
    let of = |file: &&str| (0..lines).map(|line| format!("{file} line {line:06}")).collect::<Vec<_>>();
    sources.iter().flat_map(of).collect()
}

#[test]
fn one_group_with_a_jvm_worker_either_leading_each_killed_in_turn() {
    let group = Group::new("mixed", "scheduled.rebalance.max.delay.ms=0\n");
    let sources = ["in1.txt", "in2.txt"];
    let write = |lines: std::ops::Range<usize>| {
        sources.iter().for_each(|file| append(&group.path(file), lines.clone()));
    };
    let outputs = [group.path("out1.txt"), group.path("out2.txt")];
    let arrived =
        |lines: usize| outputs.iter().for_each(|path| wait_for_lines(path, &expected(&sources, lines)));
    write(0..1000);

    // the JVM leads; each worker is asked for connectors
    let jvm = group.jvm();
    let ours = group.ours();
    create(&ours, "source1", source(&group, "in1.txt"));
    create(&jvm, "source2", source(&group, "in2.txt"));
    create(&ours, "sink1", sink(&group, "out1.txt"));
    create(&jvm, "sink2", sink(&group, "out2.txt"));
    wait_balanced(4, &ours, &[&jvm, &ours]);
    arrived(1000);
    assert!(ours.log().contains(&format!("leader=\"http://127.0.0.1:{}/\"", jvm.port)), "{}", ours.log());

    // the JVM dies: ours runs all of it, and leads when the JVM comes back
    jvm.kill();
    write(1000..2000);
    wait_balanced(4, &ours, &[&ours]);
    arrived(2000);
    let jvm = group.jvm();
    wait_balanced(4, &jvm, &[&jvm, &ours]);
    assert!(ours.log().contains(&format!("leader=\"http://127.0.0.1:{}/\"", ours.port)), "{}", ours.log());
    create(&jvm, "source3", source(&group, "none.txt"));
    wait_balanced(5, &ours, &[&jvm, &ours]);
    assert_eq!(jvm.ask("DELETE", "/connectors/source3", None).status, 204);
    wait_balanced(4, &jvm, &[&jvm, &ours]);
    assert_eq!(jvm.ask("POST", "/connectors/source1/restart?includeTasks=true", None).status, 202);
    wait_balanced(4, &ours, &[&jvm, &ours]);

    // ours dies, then the JVM stops: ours, started anew, goes on with its configurations and offsets
    ours.kill();
    write(2000..3000);
    wait_balanced(4, &jvm, &[&jvm]);
    arrived(3000);
    let offsets = jvm.ask("GET", "/connectors/source1/offsets", None).text();
    jvm.terminate();
    let ours = group.ours();
    wait_balanced(4, &ours, &[&ours]);
    assert!(ours.ask("GET", "/connectors/source1", None).text().contains("in1.txt"));
    let (key, topic) = (r#"["source1",{"filename":""#, group.topic("offset"));
    let stored = run(&mut kcat(group.bootstrap(), &["-C", "-q", "-e", "-t", &topic, "-f", "%k %s\n"]), b"");
    assert!(stored.lines().any(|line| line.starts_with(key)), "{stored}; REST: {offsets}");
    write(3000..4000);
    arrived(4000);
    let data = format!("{}-data", group.name);
    let in_topic = run(&mut kcat(group.bootstrap(), &["-C", "-q", "-e", "-t", &data]), b"");
    let in_topic: BTreeSet<String> = in_topic.lines().map(str::to_owned).collect();
    assert!(in_topic == expected(&sources, 4000), "the topic does not have every line");
    // nobody began at the start of a file again
    let repeated = fs::read_to_string(&outputs[0]).unwrap().lines().count() - in_topic.len();
    assert!(repeated < 4000, "{repeated} lines came more than once");
}

#[test]
fn older_protocols_beside_a_jvm_worker() {
    let group = Group::new("eager", "scheduled.rebalance.max.delay.ms=0\n");
    let jvm = group.jvm_starting();
    let with = |protocol: &str| group.ours_with(&format!("connect.protocol={protocol}\n"));
    let data = format!("{}-data", group.name);
    create_topic(group.bootstrap(), &data, &[]);
    let eager = with("eager");
    jvm.wait_until_healthy();
    create(&jvm, "one", source(&group, "in1.txt"));
    create(&eager, "two", source(&group, "in2.txt"));
    wait_balanced(2, &eager, &[&jvm, &eager]);
    assert!(eager.log().contains("protocol=\"default\""), "{}", eager.log());
    // without a session key in use internal requests need no signature: those of both kinds of workers have come through
    eager.terminate();
    let compatible = with("compatible");
    create(&compatible, "three", source(&group, "in3.txt"));
    create(&jvm, "four", source(&group, "in4.txt"));
    wait_balanced(4, &jvm, &[&jvm, &compatible]);
    assert!(compatible.log().contains("protocol=\"compatible\""), "{}", compatible.log());
    jvm.kill();
    append(&group.path("in1.txt"), 0..10);
    wait_balanced(4, &compatible, &[&compatible]);
    let lines = || run(&mut kcat(group.bootstrap(), &["-C", "-q", "-e", "-t", &data]), b"").lines().count();
    wait_for("the lines in the topic", WAIT, || lines() == 10);
}

#[test]
fn a_group_of_ours_alone() {
    let group = Group::new("ours", "scheduled.rebalance.max.delay.ms=0\n");
    let first = group.ours();
    let (second, third) = (group.ours_starting(), group.ours_starting());
    second.wait_until_healthy();
    third.wait_until_healthy();
    let names: Vec<String> = (0..9).map(|number| format!("c{number}")).collect();
    for (name, worker) in names.iter().zip([&first, &second, &third].into_iter().cycle()) {
        append(&group.path(name), 0..10);
        create(worker, name, source(&group, name));
    }
    let before = wait_balanced(9, &second, &[&first, &second, &third]);

    // the death of one moves only its own work
    let dead = third.id();
    third.kill();
    let after = wait_balanced(9, &first, &[&first, &second]);
    for (item, (_, worker)) in before.iter().filter(|(_, (_, worker))| *worker != dead) {
        assert_eq!(after[item].1, *worker, "{item} has moved");
    }
    let third = group.ours();
    wait_balanced(9, &third, &[&first, &second, &third]);

    // whoever is asked, it is done
    let state = |item: &str| placement(&first).get(item).map(|(state, _)| state.clone()).unwrap_or_default();
    assert_eq!(second.ask("PUT", "/connectors/c0/pause", None).status, 202);
    wait_for("c0 paused", WAIT, || state("c0") == "PAUSED" && state("c0-0") == "PAUSED");
    assert_eq!(third.ask("PUT", "/connectors/c0/resume", None).status, 202);
    wait_for("c0 resumed", WAIT, || state("c0") == "RUNNING" && state("c0-0") == "RUNNING");
    assert_eq!(second.ask("PUT", "/connectors/c0/stop", None).status, 204);
    wait_for("c0 stopped", WAIT, || state("c0") == "STOPPED" && state("c0-0").is_empty());
    let tasks = third.ask("GET", "/connectors/c0/tasks", None).text();
    assert_eq!(tasks, "[]");
    assert_eq!(third.ask("PUT", "/connectors/c0/resume", None).status, 202);
    wait_balanced(9, &second, &[&first, &second, &third]);
    for worker in [&first, &second, &third] {
        assert_eq!(worker.ask("POST", "/connectors/c1/restart", None).status, 204);
        assert_eq!(worker.ask("POST", "/connectors/c1/tasks/0/restart", None).status, 204);
        assert_eq!(worker.ask("POST", "/connectors/c1/tasks/7/restart", None).status, 404);
        assert_eq!(worker.ask("POST", "/connectors/nope/restart", None).status, 404);
    }
    let config = source(&group, "other.txt").to_string();
    for worker in [&first, &second, &third] {
        assert_eq!(worker.ask("PUT", "/connectors/c2/config", Some(&config)).status, 200);
    }
    wait_for("the new configuration in c2's task", WAIT, || {
        first.ask("GET", "/connectors/c2/tasks", None).text().contains("other.txt")
    });
    let unsigned = third.ask("POST", "/connectors/c2/tasks", Some("[]"));
    assert_eq!(unsigned.status, 400, "{}", unsigned.text());
    assert_eq!(second.ask("DELETE", "/connectors/c2", None).status, 204);
    wait_for("c2 forgotten", WAIT, || third.ask("GET", "/connectors/c2/status", None).status == 404);
    let clash = json!({"name": "c1", "config": source(&group, "c1")}).to_string();
    let clash = aqueduct_tests::http(second.port, "POST", "/connectors", &[], Some(&clash));
    assert_eq!(clash.status, 409, "{}", clash.text());
    [first, second, third].into_iter().for_each(GroupWorker::terminate);
}

#[test]
fn the_broker_is_killed_under_a_group_and_comes_back() {
    let broker = OwnBroker::start();
    let group = Group::on(broker.bootstrap(), "outage", "scheduled.rebalance.max.delay.ms=0\n");
    let (first, second) = (group.ours(), group.ours());
    append(&group.path("in.txt"), 0..1000);
    create(&first, "in", source(&group, "in.txt"));
    create(&second, "out", sink(&group, "out.txt"));
    wait_for_lines(&group.path("out.txt"), &expected(&["in.txt"], 1000));
    broker.kill();
    append(&group.path("in.txt"), 1000..2000);
    // long enough for the members to give their work up
    for worker in [&first, &second] {
        wait_for("the loss of the coordinator", WAIT, || {
            worker.log().contains("no answer from the group's coordinator")
        });
    }
    broker.restart();
    wait_balanced(2, &first, &[&first, &second]);
    wait_for_lines(&group.path("out.txt"), &expected(&["in.txt"], 2000));
    assert_eq!(second.ask("PUT", "/connectors/in/pause", None).status, 202);
    wait_for("the pause", WAIT, || placement(&first)["in"].0 == "PAUSED");
}

#[test]
fn topics_that_lose_records_are_refused_in_the_jvms_words() {
    let group = Group::new("refused", "");
    let config = group.topic("config");
    let make = |arguments: &[&str]| {
        let arguments = [&["--bootstrap-server", group.bootstrap(), "--topic", &config], arguments].concat();
        run(&mut tool("org.apache.kafka.tools.TopicCommand", &arguments), b"");
    };
    let refusal = || {
        let properties = group.properties(aqueduct_tests::free_port());
        let mut command = Command::new(aqueduct_tests::env("AQ_BIN"));
        let output = command.arg("distributed").arg(properties).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    make(&["--create", "--partitions", "1", "--config", "cleanup.policy=delete"]);
    let said = refusal();
    let words = format!(
        "Topic '{config}' supplied via the 'config.storage.topic' property is required to have 'cleanup.policy=compact' to guarantee consistency and durability of connector configurations, but found the topic currently has 'cleanup.policy=delete'."
    );
    assert!(said.contains(&words), "{said}");
}

#[test]
fn foreign_records_and_unknown_classes_do_not_stop_a_worker() {
    let group = Group::new("foreign", "scheduled.rebalance.max.delay.ms=0\n");
    let ours = group.ours();
    let put = |storage: &str, records: &str| {
        let topic = group.topic(storage);
        run(&mut kcat(group.bootstrap(), &["-P", "-K", "\t", "-t", &topic]), records.as_bytes());
    };
    let nope =
        json!({"properties": {"name": "nope", "connector.class": "com.example.Nope", "tasks.max": "1"}});
    let task = json!({"properties": {"task.class": "com.example.NopeTask"}});
    put(
        "config",
        &format!(
            "something\t{{}}\nconnector-bad\tnot json\ntask-x\t[]\ncommit-gone\t{{\"tasks\":2}}\nconnector-nope\t{nope}\ntask-nope-0\t{task}\ncommit-nope\t{{\"tasks\":1}}\n"
        ),
    );
    put("offset", "no offset\tno value\n");
    put("status", "status-task-x\t{}\n");
    append(&group.path("in.txt"), 0..100);
    create(&ours, "good", source(&group, "in.txt"));
    create(&ours, "out", sink(&group, "out.txt"));
    wait_for_lines(&group.path("out.txt"), &expected(&["in.txt"], 100));

    // what runs nowhere says why, and everything is the same after a new start
    let failed = |worker: &GroupWorker| {
        wait_for("nope failed", WAIT, || {
            let placement = placement(worker);
            let failed = |item| placement.get(item).is_some_and(|(state, _)| state == "FAILED");
            failed("nope") && failed("nope-0")
        });
        let status: Value =
            serde_json::from_slice(&worker.ask("GET", "/connectors/nope/status", None).body).unwrap();
        let words = "Failed to find any class that implements Connector and which name matches com.example.Nope, available connectors are: PluginDesc{";
        for trace in [&status["connector"]["trace"], &status["tasks"][0]["trace"]] {
            assert!(trace.as_str().unwrap_or_default().contains(words), "{status}");
        }
        assert_eq!(worker.ask("GET", "/connectors/bad", None).status, 404);
        assert_eq!(worker.ask("GET", "/connectors/gone", None).status, 404);
    };
    failed(&ours);
    ours.terminate();
    let ours = group.ours();
    failed(&ours);
    append(&group.path("in.txt"), 100..200);
    wait_for_lines(&group.path("out.txt"), &expected(&["in.txt"], 200));
    let refused = json!({"name": "new", "config": {"connector.class": "com.example.Nope"}}).to_string();
    assert_eq!(ours.ask("POST", "/connectors", Some(&refused)).status, 400);
}

/// Status and text that curl gets from a worker which wants a client certificate.
fn curl(worker: &GroupWorker, method: &str, path: &str, body: &str) -> (u16, String) {
    let tls = aqueduct_tests::env("AQ_TLS_DIR");
    let mut command = Command::new("curl");
    command.args([
        "-s",
        "-m",
        "60",
        "-w",
        "\n%{http_code}",
        "-X",
        method,
        "-H",
        "Content-Type: application/json",
    ]);
    command.args(["--cacert", &format!("{tls}/ca.pem"), "--cert", &format!("{tls}/client.pem")]);
    command.args(["--key", &format!("{tls}/client.key")]);
    if !body.is_empty() {
        command.args(["-d", body]);
    }
    let output = command.arg(format!("https://127.0.0.1:{}{path}", worker.port)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), body.to_owned())
}

#[test]
fn workers_speak_tls_to_each_other() {
    let tls = aqueduct_tests::env("AQ_TLS_DIR");
    let store = |kind: &str, file: &str| {
        format!(
            "listeners.https.ssl.{kind}.location={tls}/{file}.p12\nlisteners.https.ssl.{kind}.password=lab-secret\n\
             listeners.https.ssl.{kind}.type=PKCS12\n"
        )
    };
    let settings = format!(
        "listeners=https://127.0.0.1:{{port}}\nlisteners.https.ssl.client.auth=required\n\
         scheduled.rebalance.max.delay.ms=0\n{}{}",
        store("keystore", "server"),
        store("truststore", "trust")
    );
    let group = Group::new("tls", &settings);
    let (jvm, first, second) = (group.jvm_starting(), group.ours_starting(), group.ours_starting());
    let workers = [&jvm, &first, &second];
    for worker in workers {
        let healthy = || curl(worker, "GET", "/health", "").0 == 200;
        wait_for(&format!("worker {}: {}", worker.port, worker.log()), WAIT, healthy);
    }
    // asked again while the group rebalances
    let ask = |worker: &GroupWorker, method: &str, path: &str, body: &str, status: u16| {
        let mut last = (0, String::new());
        wait_for(&format!("{method} {path}"), WAIT, || {
            last = curl(worker, method, path, body);
            last.0 == status || (last.0 != 409 && panic!("{last:?}; log: {}", worker.log()))
        });
    };
    for (name, worker) in ["a", "b", "c"].into_iter().zip(workers) {
        ask(worker, "PUT", &format!("/connectors/{name}/config"), &source(&group, name).to_string(), 201);
    }
    let running = || {
        let (_, text) = curl(&first, "GET", "/connectors?expand=status", "");
        text.matches("\"RUNNING\"").count() == 6
    };
    wait_for("three connectors with their tasks", WAIT, running);
    for worker in workers {
        for name in ["a", "b", "c"] {
            ask(worker, "POST", &format!("/connectors/{name}/restart"), "", 204);
            ask(worker, "POST", &format!("/connectors/{name}/tasks/0/restart"), "", 204);
        }
    }
    wait_for("all of it again", WAIT, running);
    let (_, text) = curl(&second, "GET", "/connectors?expand=status", "");
    let ids = workers.iter().filter(|worker| text.contains(&worker.id())).count();
    assert_eq!(ids, 3, "{text}");
}

#[test]
fn half_compacted_records_odd_clocks_and_a_second_cluster_wedge_nobody() {
    let group = Group::new("odd", "scheduled.rebalance.max.delay.ms=0\n");
    let (first, second) = (group.ours(), group.ours());
    append(&group.path("in.txt"), 0..100);
    create(&first, "good", source(&group, "in.txt"));
    wait_balanced(1, &second, &[&first, &second]);
    let config = group.topic("config");
    let put = |records: String| {
        run(&mut kcat(group.bootstrap(), &["-P", "-K", "\t", "-t", &config]), records.as_bytes());
    };
    // a commit whose task configurations are gone: the connector's own instance hands them in again
    put("commit-good\t{\"tasks\":2}\n".to_owned());
    let tasks = || first.ask("GET", "/connectors/good/tasks", None).text();
    wait_for("the tasks again", WAIT, || tasks().contains("in.txt"));
    // keys of clocks that are years ahead and behind, and a record of a time to come
    for (created, key) in [(4_000_000_000_000_i64, "AQ=="), (0, "Ag==")] {
        put(format!(
            "session-key\t{{\"key\":\"{key}\",\"algorithm\":\"HmacSHA256\",\"creation-timestamp\":{created}}}\n"
        ));
        for (place, worker) in [&first, &second].into_iter().enumerate() {
            create(worker, &format!("c{created}of{place}"), source(&group, "none.txt"));
        }
    }
    wait_balanced(5, &first, &[&first, &second]);

    // another cluster on the same topics: everything runs twice, as on the JVM, and both answer
    let other = group.ours_with(&format!("group.id={}-other\n", group.name));
    let names = |worker: &GroupWorker| {
        let names: BTreeSet<String> =
            serde_json::from_slice(&worker.ask("GET", "/connectors", None).body).unwrap_or_default();
        names.len()
    };
    assert_eq!(names(&other), 5);
    create(&other, "theirs", source(&group, "theirs.txt"));
    wait_for("the other cluster's connector", WAIT, || names(&first) == 6);
    for _ in 0..3 {
        for worker in [&first, &second, &other] {
            assert_eq!(worker.ask("PUT", "/connectors/theirs/pause", None).status, 202);
            assert_eq!(worker.ask("PUT", "/connectors/theirs/resume", None).status, 202);
            assert_eq!(worker.ask("GET", "/health", None).status, 200, "{}", worker.log());
        }
    }
    assert_eq!(first.ask("DELETE", "/connectors/theirs", None).status, 204);
    wait_for("the deletion", WAIT, || names(&other) == 5);
    other.terminate();
    let data = format!("{}-data", group.name);
    let lines = || run(&mut kcat(group.bootstrap(), &["-C", "-q", "-e", "-t", &data]), b"").lines().count();
    let before = lines();
    append(&group.path("in.txt"), 100..200);
    wait_for("more lines", WAIT, || lines() == before + 100);
    create(&second, "last", source(&group, "none.txt"));
    wait_for("the last connector", WAIT, || {
        placement(&first).get("last-0").is_some_and(|(state, _)| state == "RUNNING")
    });
}
