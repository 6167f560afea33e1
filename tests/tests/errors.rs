//! Records that fail: tolerance, retries, log and dead letter queue, beside a JVM worker where it has the same.

use std::process::Command;
use std::time::Duration;

use aqueduct_tests::{Group, GroupWorker, create_topic, free_port, kcat, run, unique, wait_for};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);

fn create(worker: &GroupWorker, name: &str, config: &Value) {
    let answer = worker.ask("PUT", &format!("/connectors/{name}/config"), Some(&config.to_string()));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// A new topic of one partition.
fn new_topic(group: &Group, name: &str) -> String {
    let topic = unique(name);
    create_topic(group.bootstrap(), &topic, &["--partitions", "1"]);
    topic
}

fn task_state(worker: &GroupWorker, name: &str) -> Value {
    let answer = worker.ask("GET", &format!("/connectors/{name}/tasks/0/status"), None);
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// A topic's records as kcat prints them: headers are one list of names and values.
fn records(group: &Group, topic: &str) -> Vec<Value> {
    let output =
        Command::new("kcat").args(["-b", group.bootstrap(), "-C", "-q", "-e", "-J", "-t", topic]).output();
    let output = output.unwrap_or_else(|error| panic!("kcat: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// Key, value and headers; what tells a worker's own stack is left out.
fn comparable(record: &Value) -> Value {
    let headers = record["headers"].as_array().cloned().unwrap_or_default();
    let pairs: Vec<Value> = headers
        .chunks(2)
        .filter(|pair| pair[0] != "__connect.errors.exception.stacktrace")
        .filter(|pair| pair[0] != "__connect.errors.connector.name")
        .map(|pair| json!([pair[0], pair[1]]))
        .collect();
    let traced = headers.chunks(2).any(|pair| pair[0] == "__connect.errors.exception.stacktrace");
    json!({"key": record["key"], "payload": record["payload"], "ts": record["ts"], "headers": pairs, "traced": traced})
}

#[test]
fn dead_letters_are_those_of_the_jvm() {
    let (ours, jvm) = (Group::new("letters", ""), Group::new("letters-jvm", ""));
    let jvm_worker = jvm.jvm_starting();
    let worker = ours.ours();
    let topic = new_topic(&ours, "bad");
    let produce = |arguments: &[&str], text: &str| {
        let arguments = [&["-P", "-t", &topic, "-p", "0"], arguments].concat();
        run(&mut kcat(ours.bootstrap(), &arguments), text.as_bytes());
    };
    produce(&[], "{\"a\":\"12\"}\nnot json\n{\"a\":\"x\"}\n");
    produce(&["-K", "\t", "-H", "colour=blue", "-H", "n=1"], "{bad\t{\"a\":\"3\"}\n\"k\"\t{\"a\": \n");
    produce(&["-Z", "-K", "\t"], "\"gone\"\t\n");
    produce(&[], "{\"a\":\"99999999999\"}\n{\"a\":{\"b\":1}}\n{\"a\":\"4\"}\n");
    let config = |group: &Group| {
        json!({
            "connector.class": "FileStreamSink", "tasks.max": "1", "topics": topic,
            "file": group.path("out.txt"),
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": "false",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "transforms": "cast", "transforms.cast.type": "org.apache.kafka.connect.transforms.Cast$Value",
            "transforms.cast.spec": "a:int32",
            "errors.tolerance": "all", "errors.log.enable": "true", "errors.log.include.messages": "true",
            "errors.deadletterqueue.topic.name": format!("{}-dlq", group.name),
            "errors.deadletterqueue.topic.replication.factor": "1",
            "errors.deadletterqueue.context.headers.enable": "true",
        })
    };
    create(&worker, &ours.name, &config(&ours));
    jvm_worker.wait_until_healthy();
    create(&jvm_worker, &jvm.name, &config(&jvm));
    let letters = |group: &Group| -> Vec<Value> {
        records(group, &format!("{}-dlq", group.name)).iter().map(comparable).collect()
    };
    let output = |group: &Group| std::fs::read_to_string(group.path("out.txt")).unwrap_or_default();
    for group in [&ours, &jvm] {
        wait_for("the last good record", WAIT, || output(group).ends_with("{a=4}\n"));
        wait_for("the dead letters", WAIT, || letters(group).len() >= 6);
    }
    assert_eq!(output(&ours), output(&jvm));
    let (mine, theirs) = (letters(&ours), letters(&jvm));
    for (mine, theirs) in mine.iter().zip(&theirs) {
        assert_eq!(mine, theirs, "\nours: {mine:#}\ntheirs: {theirs:#}");
    }
    assert_eq!(mine.len(), theirs.len());

    // the log says the same of the records
    let line = |log: &str| -> Vec<String> {
        let lines = log.lines().filter_map(|line| line.split_once("Error encountered in task "));
        let record = |text: &str| -> String {
            let (_, text) = text.split_once(". ").unwrap_or_default();
            text.split_once("}.").map_or(text, |(line, _)| line).to_owned()
        };
        lines.map(|(_, line)| record(line)).collect()
    };
    assert_eq!(line(&worker.log()).len(), 6, "{}", worker.log());
    wait_for("the log of the JVM", WAIT, || line(&jvm_worker.log()).len() >= 6);
    assert_eq!(line(&worker.log()), line(&jvm_worker.log()));
    let metrics = worker.ask("GET", "/metrics", None).text();
    for (metric, count) in [
        ("total_record_failures", 6),
        ("total_record_errors", 6),
        ("total_records_skipped", 6),
        ("total_errors_logged", 6),
        ("deadletterqueue_produce_requests", 6),
        ("deadletterqueue_produce_failures", 0),
    ] {
        let line = format!(
            "kafka_connect_task_error_metrics_{metric}{{connector=\"{}\",task=\"0\"}} {count}\n",
            ours.name
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn a_source_has_dead_letters_too() {
    let group = Group::new("letters-source", "");
    let worker = group.ours();
    let (name, dlq) = (unique("source"), format!("{}-dlq", group.name));
    std::fs::write(group.path("in.txt"), "1\ntwo\n3\nfour\n5\n").unwrap();
    let topic = format!("{}-data", group.name);
    let config = json!({
        "connector.class": "FileStreamSource", "tasks.max": "1", "topic": topic, "file": group.path("in.txt"),
        "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1",
        "value.converter": "org.apache.kafka.connect.converters.IntegerConverter",
        "transforms": "cast", "transforms.cast.type": "org.apache.kafka.connect.transforms.Cast$Value",
        "transforms.cast.spec": "int32", "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dlq,
        "errors.deadletterqueue.topic.replication.factor": "1",
        "errors.deadletterqueue.context.headers.enable": "true",
    });
    create(&worker, &name, &config);
    wait_for("the dead letters", WAIT, || records(&group, &dlq).len() == 2);
    let letters = records(&group, &dlq);
    let header = |letter: &Value, wanted: &str| {
        let headers = letter["headers"].as_array().unwrap();
        let found = headers.chunks(2).find(|pair| pair[0] == format!("__connect.errors.{wanted}"));
        found.map(|pair| pair[1].as_str().unwrap_or_default().to_owned())
    };
    let value: Value = serde_json::from_str(letters[0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(value, json!({"schema": {"type": "string", "optional": false}, "payload": "two"}));
    let first = |wanted| header(&letters[0], wanted).unwrap_or_default();
    assert_eq!((first("topic"), first("stage")), (topic.clone(), "TRANSFORMATION".to_owned()));
    assert_eq!(first("class.name"), "org.apache.kafka.connect.transforms.Cast$Value");
    assert_eq!(first("source.offset"), r#"{"position":15}"#, "where the batch ends");
    assert!(first("source.partition").contains("in.txt"));
    wait_for("the good records", WAIT, || {
        run(&mut kcat(group.bootstrap(), &["-C", "-q", "-e", "-t", &topic, "-s", "value=>i"]), b"")
            == "1\n3\n5\n"
    });
    let metrics = worker.ask("GET", "/metrics", None).text();
    for (metric, count) in [("deadletterqueue_produce_requests", 2), ("total_records_skipped", 2)] {
        let line =
            format!("kafka_connect_task_error_metrics_{metric}{{connector=\"{name}\",task=\"0\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }

    // without tolerance the task fails, and the record is reported all the same
    let mut strict = config.clone();
    strict["errors.tolerance"] = "none".into();
    let again = unique("strict");
    create(&worker, &again, &strict);
    wait_for("the failure", WAIT, || task_state(&worker, &again)["state"] == "FAILED");
    let trace = task_state(&worker, &again)["trace"].to_string();
    assert!(trace.contains("Tolerance exceeded in error handler"), "{trace}");
    wait_for("the third letter", WAIT, || records(&group, &dlq).len() >= 3);
}

#[test]
fn a_registry_that_is_away_is_waited_for_as_long_as_asked() {
    let group = Group::new("retry", "");
    let worker = group.ours();
    let (topic, nowhere) = (new_topic(&group, "avro"), format!("http://127.0.0.1:{}", free_port()));
    // what an Avro converter takes for schema 1
    run(&mut kcat(group.bootstrap(), &["-P", "-t", &topic]), b"\0\0\0\0\x01\x02x\n");
    let config = |timeout: &str, tolerance: &str| {
        let mut config = json!({
            "connector.class": "FileStreamSink", "tasks.max": "1", "topics": topic, "file": group.path("out.txt"),
            "value.converter": "io.confluent.connect.avro.AvroConverter",
            "value.converter.schema.registry.url": nowhere, "value.converter.max.retries": "0",
            "errors.retry.delay.max.ms": "200", "errors.tolerance": tolerance,
            "errors.deadletterqueue.topic.name": format!("{}-dlq", group.name),
            "errors.deadletterqueue.topic.replication.factor": "1",
        });
        if !timeout.is_empty() {
            config["errors.retry.timeout"] = timeout.into();
        }
        config
    };
    let (patient, limited, tolerant) = (unique("patient"), unique("limited"), unique("tolerant"));
    create(&worker, &patient, &config("", "none"));
    create(&worker, &limited, &config("1500", "none"));
    wait_for("the failure", WAIT, || task_state(&worker, &limited)["state"] == "FAILED");
    let trace = task_state(&worker, &limited)["trace"].to_string();
    assert!(trace.contains("Tolerance exceeded") && trace.contains("errors.retry.timeout"), "{trace}");
    create(&worker, &tolerant, &config("1500", "all"));
    wait_for("the dead letters", WAIT, || records(&group, &format!("{}-dlq", group.name)).len() == 2);
    assert_eq!(task_state(&worker, &tolerant)["state"], "RUNNING");
    assert_eq!(task_state(&worker, &patient)["state"], "RUNNING");
    let retries =
        format!("kafka_connect_task_error_metrics_total_retries{{connector=\"{tolerant}\",task=\"0\"}} 1\n");
    let metrics = worker.ask("GET", "/metrics", None).text();
    assert!(metrics.contains(&retries), "{metrics}");
}
