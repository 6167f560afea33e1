//! Headers through a worker: from a source's transform to a JVM consumer, from a topic to a sink's transforms, and to the
//! dead letter queue as they were.

use std::fs;
use std::time::Duration;

use aqueduct_tests::{Aqueduct, create_topic, env, free_port, kcat, run, tool, unique, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(40);
const TRANSFORMS: &str = "org.apache.kafka.connect.transforms";

/// A standalone worker with one connector.
fn start(folder: &TempDir, connector: &Value) -> Aqueduct {
    let path = |name: &str| folder.path().join(name);
    let port = free_port();
    let worker = format!(
        "bootstrap.servers={}\nlisteners=http://127.0.0.1:{port}\noffset.storage.file.filename={}\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\noffset.flush.interval.ms=500\n",
        env("AQ_KAFKA"),
        path("offsets").display()
    );
    fs::write(path("worker.properties"), worker).unwrap();
    fs::write(path("connector.json"), connector.to_string()).unwrap();
    let files = [path("worker.properties"), path("connector.json")].map(|path| path.display().to_string());
    let aqueduct = Aqueduct::start(&["standalone", &files[0], &files[1]], &path("log"));
    aqueduct.wait_for_port(port);
    aqueduct
}

/// Everything in a topic, a line a record: its headers and its value.
fn read(topic: &str) -> String {
    run(&mut kcat(&env("AQ_KAFKA"), &["-C", "-q", "-e", "-t", topic, "-f", "%h|%s\n"]), b"")
}

#[test]
fn a_header_of_a_source_reaches_a_jvm_consumer() {
    let (folder, topic) = (tempfile::tempdir().unwrap(), unique("headers-source"));
    fs::write(folder.path().join("in.txt"), "one\n").unwrap();
    let _worker = start(
        &folder,
        &json!({
            "name": topic, "connector.class": "FileStreamSource", "file": folder.path().join("in.txt"), "topic": topic,
            "topic.creation.default.partitions": 1, "topic.creation.default.replication.factor": -1,
            "transforms": "number,map",
            "transforms.number.type": format!("{TRANSFORMS}.InsertHeader"),
            "transforms.number.header": "number", "transforms.number.value.literal": "1.50",
            "transforms.map.type": format!("{TRANSFORMS}.InsertHeader"),
            "transforms.map.header": "map", "transforms.map.value.literal": "{ \"a\" : [1, 2] }",
        }),
    );
    let arguments = ["--bootstrap-server", &env("AQ_KAFKA"), "--topic", &topic, "--from-beginning"];
    let limits =
        ["--max-messages", "1", "--timeout-ms", "60000", "--formatter-property", "print.headers=true"];
    let mut consumer = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments);
    let shown = run(consumer.args(limits), b"");
    assert_eq!(shown.trim(), "number:1.5,map:{\"a\":[1,2]}\tone");
}

#[test]
fn headers_of_a_topic_reach_transforms_and_dead_letters() {
    let (folder, topic) = (tempfile::tempdir().unwrap(), unique("headers-sink"));
    create_topic(&env("AQ_KAFKA"), &topic, &[]);
    let produce = |header: &str, value: &str| {
        let arguments = ["-P", "-t", &topic, "-H", header];
        run(&mut kcat(&env("AQ_KAFKA"), &arguments), value.as_bytes());
    };
    produce("n=007", "{\"a\":1}");
    produce("skip=1", "{\"a\":2}");
    produce("n=007", "not json");
    produce("n=1", "{\"a\":3}");
    let output = folder.path().join("out.txt");
    let dead_letters = format!("{topic}-dlq");
    let _worker = start(
        &folder,
        &json!({
            "name": topic, "connector.class": "FileStreamSink", "file": output, "topics": topic,
            "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": false,
            "header.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "errors.tolerance": "all", "errors.deadletterqueue.topic.name": dead_letters,
            "errors.deadletterqueue.topic.replication.factor": 1,
            "predicates": "skip", "predicates.skip.type": format!("{TRANSFORMS}.predicates.HasHeaderKey"),
            "predicates.skip.name": "skip",
            "transforms": "drop", "transforms.drop.type": format!("{TRANSFORMS}.Filter"),
            "transforms.drop.predicate": "skip",
        }),
    );
    let written = || fs::read_to_string(&output).unwrap_or_default();
    wait_for("the records without the header", WAIT, || written() == "{a=1}\n{a=3}\n");
    wait_for("the dead letter", WAIT, || read(&dead_letters) == "n=007|not json\n");
}
