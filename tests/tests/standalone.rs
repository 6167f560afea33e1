//! The standalone worker as users run it: the built binary as a process, against a real Kafka.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(40);

fn env(key: &str) -> String {
    std::env::var(key).unwrap_or_else(|_| panic!("{key} is not set: run these tests by tests/run"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn unique(name: &str) -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("E-{name}-{nanos}")
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < WAIT, "waited {WAIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// The binary beside the test's own.
fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("aqueduct");
    assert!(path.exists(), "{} is missing: run cargo build -p aqueduct first", path.display());
    path
}

/// A folder with a worker's files, and the worker while it runs.
struct Lab {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Lab {
    fn new() -> Lab {
        let lab = Lab { folder: tempfile::tempdir().unwrap(), port: free_port(), process: None };
        lab.write_worker("");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_worker(&self, extra: &str) {
        let properties = format!(
            "# as the distribution's connect-standalone.properties\nbootstrap.servers={}\nlisteners=http://127.0.0.1:{}\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n\
             offset.storage.file.filename={}\noffset.flush.interval.ms=500\n\
             plugin.path={}\nplugin.discovery=service_load\n{extra}\n",
            env("AQ_KAFKA"),
            self.port,
            self.path("offsets").display(),
            std::env::var("AQ_CONNECT_PLUGINS").unwrap_or_default(),
        );
        fs::write(self.path("worker.properties"), properties).unwrap();
    }

    fn source(&self, name: &str, topic: &str) -> PathBuf {
        let path = self.path("source.properties");
        let file = self.path("in.txt");
        let config = format!(
            "name={name}\nconnector.class=FileStreamSource\ntasks.max=1\nfile={}\ntopic={topic}\ntopic.creation.default.partitions=1\ntopic.creation.default.replication.factor=-1\n",
            file.display()
        );
        fs::write(&path, config).unwrap();
        path
    }

    fn sink(&self, name: &str, topic: &str) -> PathBuf {
        let path = self.path("sink.json");
        let file = self.path("out.txt");
        let class = "org.apache.kafka.connect.file.FileStreamSinkConnector";
        let config = serde_json::json!({"name": name, "config": {"connector.class": class, "file": file, "topics": topic}});
        fs::write(&path, config.to_string()).unwrap();
        path
    }

    fn start(&mut self, connectors: &[&PathBuf]) {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = Command::new(binary());
        command.arg("standalone").arg(self.path("worker.properties")).args(connectors);
        self.process = Some(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let port = self.port;
        wait_for("REST", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    fn start_jvm(&mut self, connectors: &[&PathBuf]) {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("jvm.log")).unwrap();
        let mut command = Command::new("java");
        command.args(["-Xmx256M", "-XX:TieredStopAtLevel=1", "-cp", &format!("{}/*", env("AQ_KAFKA_JARS"))]);
        command
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .arg(self.path("worker.properties"))
            .args(connectors);
        self.process =
            Some(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    fn signal(&mut self, signal: &str) {
        let mut process = self.process.take().unwrap();
        let killed = Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = process.wait().unwrap();
        if signal == "-TERM" {
            assert!(status.success() || status.code() == Some(143), "ended with {status}: {}", self.log());
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn rest(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !body.is_empty() {
            request.push_str("Content-Type: application/json\r\n");
        }
        write!(stream, "{request}\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn state(&self, connector: &str) -> (String, Vec<String>) {
        let (_, status) = self.rest("GET", &format!("/connectors/{connector}/status"), None);
        let state = |value: &Value| value["state"].as_str().unwrap_or("?").to_owned();
        let tasks =
            status["tasks"].as_array().map(|tasks| tasks.iter().map(state).collect()).unwrap_or_default();
        (state(&status["connector"]), tasks)
    }

    fn wait_for_state(&self, connector: &str, state: &str) {
        wait_for(&format!("{connector} {state}, log: {}", self.log()), || {
            let (own, tasks) = self.state(connector);
            own == state && !tasks.is_empty() && tasks.iter().all(|task| task == state)
        });
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("out.txt")).unwrap_or_default()
    }

    fn wait_for_output(&self, expected: &str) {
        let begun = Instant::now();
        while self.output() != expected {
            let output = self.output();
            let lines = (output.lines().count(), expected.lines().count());
            assert!(
                begun.elapsed() < WAIT,
                "{} of {} lines have arrived; log: {}",
                lines.0,
                lines.1,
                self.log()
            );
            assert!(output.len() <= expected.len(), "more than was written: {lines:?}");
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn append(&self, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path("in.txt")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "line {number:07} äöü {}", "x".repeat(number % 97));
        text
    })
}

#[test]
fn a_file_goes_through_a_topic_into_a_file_and_a_restart_resumes_exactly() {
    let (mut lab, topic) = (Lab::new(), unique("round"));
    let (first, second) = (lines(0..30_000), lines(30_000..35_000));
    lab.append(&first);
    let (source, sink) =
        (lab.source(&format!("{topic}-source"), &topic), lab.sink(&format!("{topic}-sink"), &topic));
    lab.start(&[&source, &sink]);
    lab.wait_for_output(&first);
    lab.append("kept back until it is");
    lab.signal("-TERM");
    assert!(!lab.log().contains("ERROR"), "{}", lab.log());
    lab.append(" whole\n");
    lab.append(&second);
    lab.start(&[&source, &sink]);
    lab.wait_for_output(&format!("{first}kept back until it is whole\n{second}"));
    lab.signal("-TERM");
}

#[test]
fn a_killed_worker_loses_nothing_and_keeps_the_order() {
    let (mut lab, topic) = (Lab::new(), unique("kill"));
    let (source, sink) =
        (lab.source(&format!("{topic}-source"), &topic), lab.sink(&format!("{topic}-sink"), &topic));
    // a killed member blocks its group until its session is over
    lab.write_worker("consumer.session.timeout.ms=6000\nconsumer.heartbeat.interval.ms=1000");
    lab.append(&lines(0..200_000));
    for _ in 0..3 {
        lab.start(&[&source, &sink]);
        std::thread::sleep(Duration::from_millis(700));
        lab.signal("-KILL");
    }
    lab.start(&[&source, &sink]);
    let last = lines(199_999..200_000);
    wait_for("the last line", || lab.output().ends_with(&last));
    let mut seen = vec![false; 200_000];
    for line in lab.output().lines() {
        let number: usize = line
            .get(5..12)
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("a broken line: {line}"));
        assert_eq!(format!("{line}\n"), lines(number..number + 1), "a broken line");
        // a repetition may step back, but never over a line that was not there yet
        assert!(number == 0 || seen[number - 1], "line {} is missing before {number}", number - 1);
        seen[number] = true;
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn rest_creates_pauses_resumes_restarts_and_deletes() {
    let (mut lab, topic) = (Lab::new(), unique("rest"));
    let (source, sink) = (format!("{topic}-source"), format!("{topic}-sink"));
    lab.start(&[]);
    let (status, root) = lab.rest("GET", "/", None);
    assert_eq!((status, root["version"].as_str()), (200, Some("4.3.1")));
    assert!(root["kafka_cluster_id"].is_string(), "{root}");
    lab.append("one\n");
    let config = serde_json::json!({"connector.class": "FileStreamSource", "file": lab.path("in.txt"), "topic": topic, "tasks.max": 1,
        "topic.creation.default.partitions": 1, "topic.creation.default.replication.factor": 1});
    let create = serde_json::json!({"name": source, "config": config});
    let (status, info) = lab.rest("POST", "/connectors", Some(&create));
    assert_eq!(status, 201, "{info}");
    assert_eq!(
        (info["type"].as_str(), info["config"]["name"].as_str()),
        (Some("source"), Some(source.as_str()))
    );
    assert_eq!(info["config"]["tasks.max"], "1", "scalars become strings");
    assert_eq!(lab.rest("POST", "/connectors", Some(&create)).0, 409);
    let sink_config = serde_json::json!({"connector.class": "FileStreamSinkConnector", "file": lab.path("out.txt"), "topics": topic});
    assert_eq!(lab.rest("PUT", &format!("/connectors/{sink}/config"), Some(&sink_config)).0, 201);
    lab.wait_for_output("one\n");
    lab.wait_for_state(&source, "RUNNING");

    assert_eq!(lab.rest("PUT", &format!("/connectors/{source}/pause"), None).0, 202);
    lab.wait_for_state(&source, "PAUSED");
    lab.append("two\n");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lab.output(), "one\n");
    assert_eq!(lab.rest("PUT", &format!("/connectors/{source}/resume"), None).0, 202);
    lab.wait_for_output("one\ntwo\n");

    assert_eq!(lab.rest("PUT", &format!("/connectors/{sink}/stop"), None).0, 204);
    assert_eq!(lab.state(&sink), ("STOPPED".to_owned(), vec![]));
    lab.append("three\n");
    assert_eq!(lab.rest("PUT", &format!("/connectors/{sink}/resume"), None).0, 202);
    lab.wait_for_output("one\ntwo\nthree\n");
    assert_eq!(lab.rest("POST", &format!("/connectors/{source}/tasks/0/restart"), None).0, 204);
    assert_eq!(lab.rest("POST", &format!("/connectors/{source}/restart"), None).0, 204);
    let (status, shown) = lab.rest("POST", &format!("/connectors/{source}/restart?includeTasks=true"), None);
    assert_eq!((status, shown["connector"]["state"].as_str()), (202, Some("RESTARTING")));
    lab.append("four\n");
    lab.wait_for_output("one\ntwo\nthree\nfour\n");

    let (_, tasks) = lab.rest("GET", &format!("/connectors/{source}/tasks"), None);
    assert_eq!(tasks[0]["id"], serde_json::json!({"connector": source, "task": 0}));
    assert_eq!(
        lab.rest("GET", "/connectors?expand=status&expand=info", None).1[&source]["status"]["type"],
        "source"
    );
    assert_eq!(lab.rest("DELETE", &format!("/connectors/{source}"), None).0, 204);
    assert_eq!(lab.rest("GET", &format!("/connectors/{source}/status"), None).0, 404);
    assert_eq!(lab.rest("GET", "/connectors", None).1, serde_json::json!([sink]));
    let (status, error) = lab.rest("GET", "/connectors/nope", None);
    assert_eq!(
        (status, error),
        (404, serde_json::json!({"error_code": 404, "message": "Connector nope not found"}))
    );
    lab.signal("-TERM");
}

#[test]
fn a_failed_task_shows_its_trace_and_a_bad_configuration_its_errors() {
    let mut lab = Lab::new();
    lab.start(&[]);
    let folder = lab.folder.path().to_owned();
    let unreadable = serde_json::json!({"connector.class": "FileStreamSource", "file": folder, "topic": "t"});
    assert_eq!(lab.rest("PUT", "/connectors/bad/config", Some(&unreadable)).0, 201);
    wait_for("the failure", || lab.state("bad").1 == ["FAILED"]);
    let (_, status) = lab.rest("GET", "/connectors/bad/tasks/0/status", None);
    let trace = status["trace"].as_str().unwrap();
    assert!(trace.contains(folder.to_str().unwrap()) && trace.contains("Caused by: "), "{trace}");
    assert_eq!(lab.state("bad").0, "RUNNING", "a failed task leaves the connector running");

    let no_topic =
        serde_json::json!({"connector.class": "FileStreamSource", "file": folder, "tasks.max": "0"});
    let (status, error) = lab.rest("PUT", "/connectors/worse/config", Some(&no_topic));
    assert_eq!(status, 400);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("Missing required configuration \"topic\" which has no default value."),
        "{message}"
    );
    assert!(message.contains("Invalid value 0 for configuration tasks.max"), "{message}");
    assert!(message.contains("contains the following 2 error(s)"), "{message}");
}

#[test]
fn jvm_and_aqueduct_take_over_each_others_offsets() {
    for jvm_first in [true, false] {
        let (mut lab, topic) = (Lab::new(), unique("jvm"));
        let (source, sink) =
            (lab.source(&format!("{topic}-source"), &topic), lab.sink(&format!("{topic}-sink"), &topic));
        let ascii = |range: std::ops::Range<usize>| lines(range).replace("äöü", "aou");
        let (first, second) = (ascii(0..3000), ascii(3000..6000));
        lab.append(&first);
        for (jvm, expected) in [(jvm_first, first.clone()), (!jvm_first, format!("{first}{second}"))] {
            match jvm {
                true => lab.start_jvm(&[&source, &sink]),
                false => lab.start(&[&source, &sink]),
            }
            lab.wait_for_output(&expected);
            std::thread::sleep(Duration::from_secs(1)); // past an offset.flush.interval.ms
            lab.signal("-TERM");
            lab.append(&second);
        }
    }
}

#[test]
fn bad_inputs_end_with_one_clear_line() {
    let lab = Lab::new();
    let run = |arguments: &[&Path]| {
        let output =
            Command::new(binary()).arg("standalone").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        let last = errors.lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("aqueduct: "), "{errors}");
        last
    };
    assert!(run(&[&lab.path("nope.properties")]).contains("nope.properties"));
    lab.write_worker("offset.flush.interval.ms=soon");
    let error = run(&[&lab.path("worker.properties")]);
    assert!(
        error.contains("worker.properties")
            && error.contains("soon")
            && error.contains("offset.flush.interval.ms"),
        "{error}"
    );
    lab.write_worker("");
    fs::write(lab.path("offsets"), "this is no offset file").unwrap();
    assert!(run(&[&lab.path("worker.properties")]).contains("offset.storage.file.filename"));
}

#[test]
fn bad_records_go_to_the_dead_letter_queue_and_the_rest_goes_on() {
    let (mut lab, topic) = (Lab::new(), unique("dlq"));
    let (source, sink) = (lab.source(&format!("{topic}-source"), &topic), lab.path("sink.json"));
    let config = serde_json::json!({
        "name": format!("{topic}-sink"), "connector.class": "FileStreamSink", "file": lab.path("out.txt"), "topics": topic,
        "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": false,
        "errors.tolerance": "all", "errors.deadletterqueue.topic.name": format!("{topic}-dlq"),
        "errors.deadletterqueue.topic.replication.factor": 1, "errors.deadletterqueue.context.headers.enable": true,
    });
    fs::write(&sink, config.to_string()).unwrap();
    lab.append("{\"a\":1}\nnot json\n{\"a\":2}\n");
    lab.start(&[&source, &sink]);
    lab.wait_for_output("{a=1}\n{a=2}\n");
    lab.signal("-TERM");
    let kafka = env("AQ_KAFKA");
    let arguments = ["-C", "-q", "-e", "-b", &kafka, "-t", &format!("{topic}-dlq"), "-f", "%s|%h\n"];
    let read = Command::new("kcat").args(arguments).output().expect("kcat is not installed");
    let letters = String::from_utf8(read.stdout).unwrap();
    assert_eq!(letters.matches("__connect.errors.stage=").count(), 1, "{letters}");
    assert!(letters.starts_with(&format!("not json|__connect.errors.topic={topic},")), "{letters}");
    for header in [
        "partition=0",
        "offset=1",
        "task.id=0",
        "stage=VALUE_CONVERTER",
        "exception.class.name=org.apache.kafka",
    ] {
        assert!(letters.contains(&format!("__connect.errors.{header}")), "{header} is not in {letters}");
    }
}
