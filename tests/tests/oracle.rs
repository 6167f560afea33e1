//! Converters, headers, transforms and predicates against answers of JVM Connect: recorded ones, and fresh ones of random
//! cases.
//!
//! `tests/oracle-cases/THEME.jsonl.gz` holds a case a line: configuration, input, and what the JVM's classes made of it.
//! With AQUEDUCT_ORACLE_CASES it is the cases of that folder instead, THEME/NAME.json.

#[path = "oracle/compare.rs"]
mod compare;
#[path = "oracle/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::dry_run::{DryRun, Message};
use aqueduct_tests::{env, repository, run};
use compare::Digits;
use serde_json::{Value as Json, json};

/// Cases that are not answered as the JVM answers them, and why.
const KNOWN: [(&str, &str); 1] =
    [("json-plain/strings", "half of a surrogate pair is no text in Rust: it is read as ?")];
/// Failures that are shown of each theme.
const SHOWN: usize = 3;
/// Stack of the thread that runs the cases.
const STACK: usize = 16 << 20;
/// Random cases that are asked of the JVM.
const RANDOM_CASES: usize = 250;

/// Scalars become text, as in the REST API; a null is as if it were not there.
fn config(json: &Json) -> ConfigMap {
    let text = |(key, value): (&String, &Json)| match value {
        Json::Null => None,
        Json::String(text) => Some((key.clone(), text.clone())),
        other => Some((key.clone(), other.to_string())),
    };
    json.as_object().unwrap().iter().filter_map(text).collect()
}

/// Checks cases with room for the deepest nesting: functions that are not optimized take much of a stack.
fn check(cases: Vec<Json>, digits: Digits) {
    let checked = std::thread::Builder::new().stack_size(STACK).spawn(move || check_all(&cases, digits));
    if let Err(panic) = checked.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Our answers, one record at a time; the same are asked for all records at once.
fn answers(case: &Json) -> Vec<Json> {
    let config = config(&case["config"]);
    let mut dry_run = match DryRun::new(&config) {
        Ok(dry_run) => dry_run,
        Err(error) => {
            return vec![json!({"configError": {"class": error.java_class, "message": error.message}})];
        }
    };
    let messages: Vec<Message> = case["input"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| Message::from_json(&line.to_string()).unwrap())
        .collect();
    let single: Vec<Json> =
        messages.chunks(1).flat_map(|message| dry_run.run(message)).map(|answer| answer.to_json()).collect();
    let batched = DryRun::new(&config).unwrap().run(&messages);
    let batched: Vec<Json> = batched.iter().map(|answer| answer.to_json()).collect();
    assert_eq!(single, batched, "{}: one by one, and as a batch", case["name"]);
    single
}

/// What is wrong with our answers to a case.
fn problem(case: &Json, digits: Digits) -> Option<String> {
    let expected = case["expected"].as_array().unwrap();
    let got = answers(case);
    if expected.len() != got.len() {
        return Some(format!("{} answers, not {}: {:?}", got.len(), expected.len(), got.first()));
    }
    let differ = |(index, (expected, got)): (usize, (&Json, &Json))| {
        let what = compare::differ(expected, got, &case["config"], digits)?;
        Some(format!(
            "record {index}: {what}\n    config {}\n    input {}",
            case["config"], case["input"][index]
        ))
    };
    expected.iter().zip(&got).enumerate().find_map(differ)
}

/// Checks cases; a panic tells the first failures of each theme.
fn check_all(cases: &[Json], digits: Digits) {
    assert!(!cases.is_empty(), "no cases");
    let mut failures: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let problem = problem(case, digits);
        if let Some((_, why)) = KNOWN.iter().find(|(known, _)| *known == name) {
            assert!(problem.is_some(), "{name} agrees now, so it is no longer true that {why}");
        } else if let Some(problem) = problem {
            failures.entry(case["theme"].as_str().unwrap()).or_default().push(format!("{name}: {problem}"));
        }
    }
    let mut report = String::new();
    for (theme, failed) in &failures {
        let _ = writeln!(
            report,
            "\n{theme}: {} failed\n  {}",
            failed.len(),
            failed[..failed.len().min(SHOWN)].join("\n  ")
        );
    }
    let failed: usize = failures.values().map(Vec::len).sum();
    assert!(failures.is_empty(), "{failed} of {} cases differ from JVM Connect{report}", cases.len());
    println!("{} cases agree", cases.len());
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.to_string_lossy().ends_with(extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn recorded() -> Vec<Json> {
    if let Ok(folder) = std::env::var("AQUEDUCT_ORACLE_CASES") {
        let read = |path: &PathBuf| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        return files(Path::new(&folder), ".json").iter().map(read).collect();
    }
    let mut cases = Vec::new();
    for path in files(&repository().join("tests/oracle-cases"), ".jsonl.gz") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        cases.extend(text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()));
    }
    cases
}

#[test]
fn recorded_answers_of_the_jvm() {
    check(recorded(), Digits::Exact);
}

#[test]
fn random_cases_are_answered_as_the_jvm_answers_them() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut generator = random::Generator::new(seed);
    let mut cases: Vec<Json> = (0..RANDOM_CASES).map(|_| generator.case()).collect();
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/services/Referee.java");
    let mut java = std::process::Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.level=off", "-Duser.timezone=UTC"]);
    java.arg("-cp").arg(format!("{}/*", env("AQ_KAFKA_JARS"))).arg(source);
    let out = run(&mut java, lines.as_bytes());
    let (version, out) = out.split_once('\n').unwrap();
    let digits = if version.parse::<u32>().unwrap() < 19 { Digits::OldJava } else { Digits::Exact };
    let answers: Vec<Json> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len(), "seed {seed}");
    for (case, answer) in cases.iter_mut().zip(answers) {
        case["expected"] = answer;
    }
    println!("seed {seed}");
    check(cases, digits);
}

#[test]
fn the_comparison_sees_differences() {
    let config = json!({"value.converter": "org.apache.kafka.connect.json.JsonConverter"});
    let record = |value: &str, java: &str| {
        json!({"topic": "t", "partition": 0, "timestamp": null, "key": null, "value": compare::base64(value),
            "headers": [], "keyJava": "null", "valueJava": java, "keySchema": null, "valueSchema": null})
    };
    let differ = |one: &Json, other: &Json| compare::differ(one, other, &config, Digits::Exact);
    let one = record(r#"{"a":1,"b":{"c":[1,2]}}"#, "{a=1, b={c=[1, 2]}}");
    assert_eq!(differ(&one, &one), None);
    assert_eq!(differ(&one, &record(r#"{"b":{"c":[1,2]},"a":1}"#, "{b={c=[1, 2]}, a=1}")), None);
    assert!(differ(&one, &record(r#"{"a":1.0,"b":{"c":[1,2]}}"#, "{a=1, b={c=[1, 2]}}")).is_some());
    assert!(differ(&one, &record(r#"{"a":1,"b":{"c":[2,1]}}"#, "{a=1, b={c=[1, 2]}}")).is_some());
    assert!(differ(&one, &record(r#"{"a":1,"b":{"c":[1,2]}}"#, "{a=2, b={c=[1, 2]}}")).is_some());
    assert!(differ(&one, &json!({"dropped": true})).is_some());
    let error = |class: &str| json!({"error": {"stage": "VALUE_CONVERTER", "class": class, "message": "m"}});
    assert!(differ(&error("a.B"), &error("a.C")).is_some());
    assert!(differ(&error("a.B"), &one).is_some());
    assert_eq!(differ(&error("a.B"), &error("x.B")), None);
}
