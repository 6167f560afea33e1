//! `aqueduct dry-run` as users run it.

use std::process::{Command, Output, Stdio};

use aqueduct_tests::{create_topic, env, kcat, run, unique};
use serde_json::{Value, json};

const LINES: &str = concat!(
    r#"{"topic":"orders","partition":0,"offset":7,"timestamp":null,"key":null,"value":"eyJhIjoxLCJiIjoyfQ==","headers":[]}"#,
    "\n",
    r#"{"topic":"orders","partition":0,"offset":8,"timestamp":5,"key":null,"value":"bm90IGpzb24=","headers":[]}"#,
    "\n",
);

fn config(more: &[(&str, &str)]) -> Value {
    let mut config = json!({
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": false,
        "transforms": "r", "transforms.r.type": "org.apache.kafka.connect.transforms.ReplaceField$Value",
        "transforms.r.renames": "a:c",
    });
    for (key, value) in more {
        config[key] = (*value).into();
    }
    config
}

/// Runs it to its end.
fn dry_run(config: &Value, arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let (path, lines) = (folder.path().join("connector.json"), folder.path().join("in.jsonl"));
    std::fs::write(&path, config.to_string()).unwrap();
    std::fs::write(&lines, input).unwrap();
    let mut command = Command::new(env("AQ_BIN"));
    command.arg("dry-run").arg("--config").arg(path).args(arguments);
    command.stdin(Stdio::from(std::fs::File::open(lines).unwrap())).output().unwrap()
}

#[test]
fn a_line_for_each_record() {
    let output = dry_run(&config(&[]), &[], LINES);
    assert!(output.status.success());
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["valueJava"], "{c=1, b=2}");
    assert_eq!(answers[1]["error"]["stage"], "VALUE_CONVERTER");
}

#[test]
fn a_bad_configuration_is_one_line_and_exit_code_2() {
    let output = dry_run(&config(&[("value.converter", "NoSuch")]), &[], LINES);
    assert_eq!(output.status.code(), Some(2));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["configError"]["class"], "org.apache.kafka.common.config.ConfigException");
}

#[test]
fn pretty_shows_what_changed() {
    let output = dry_run(&config(&[]), &["--pretty"], LINES);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("orders-0 offset 7") && text.contains("- value.a: 1") && text.contains("+ value.c: 1"),
        "{text}"
    );
    assert!(text.contains("ERROR in VALUE_CONVERTER"), "{text}");
}

#[test]
fn records_of_a_topic() {
    let (topic, kafka) = (unique("dry-run"), env("AQ_KAFKA"));
    create_topic(&kafka, &topic, &["--partitions", "2"]);
    let messages: String = (0..20).map(|a| format!("{{\"a\":{a}}}\n")).collect();
    run(&mut kcat(&kafka, &["-P", "-t", &topic, "-H", "h=1"]), messages.as_bytes());
    let from_topic = ["--topic", &topic, "--bootstrap-servers", &kafka, "--max"];
    for (max, expected) in [("7", 7), ("100", 20)] {
        let output = dry_run(&config(&[]), &[&from_topic[..], &[max]].concat(), "");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.lines().count(), expected, "{text}");
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["headers"], json!([{"key": "h", "value": "MQ=="}]));
    }
    let output = dry_run(&config(&[]), &["--topic", "no-such-topic", "--bootstrap-servers", &kafka], "");
    assert!(String::from_utf8(output.stderr).unwrap().contains("no-such-topic does not exist"));
}
