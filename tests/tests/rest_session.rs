//! One session of requests to a JVM worker and to ours: the same status and the same JSON shape for each.
//!
//! `AQ_SESSION_OUT` names a folder for both transcripts.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aqueduct_tests::{Aqueduct, HttpAnswer, env, free_port, http, repository, unique, wait_for};
use serde_json::Value;
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(60);
/// Answers that differ on purpose: the whole request, and why. One that has become the same must go from here.
const DIFFERENT: [(&str, &str); 5] = [
    (
        "PUT /connectors/nope/stop",
        "an internal error of the standalone JVM worker; ours is the distributed one's answer",
    ),
    ("POST /connectors/nope/restart", "the same"),
    ("POST /connectors/nope/tasks/0/restart", "the same"),
    (
        "POST /connectors {\"name\":\"x\",\"config\":{\"connector.class\":\"FileStreamSource\",\"topic\":\"$N-t\",\"topic.creation.default.partitions\":\"2\"}}",
        "the JVM says 500 and keeps a connector that cannot start; we say what is missing and keep nothing",
    ),
    ("DELETE /connectors/x", "so there is nothing to delete"),
];
/// Keys that only our plugins have.
const OURS: [&str; 2] = ["max.line.bytes", "integer.overflow"];

/// A worker with its own files.
struct Worker {
    folder: TempDir,
    port: u16,
    name: String,
    process: Process,
}

enum Process {
    None,
    Jvm(Child),
    Ours(#[allow(dead_code)] Aqueduct),
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Process::Jvm(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Worker {
    fn new() -> Worker {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in.txt"), "one\ntwo\nthree\n").unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let worker = Worker { folder, port: free_port(), name: unique("rest"), process: Process::None };
        let properties = format!(
            "bootstrap.servers={}\nlisteners=http://127.0.0.1:{}\noffset.storage.file.filename={}\noffset.flush.interval.ms=300\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n\
             plugin.path={}/file\nplugin.discovery=service_load\nconsumer.metadata.max.age.ms=1000\n",
            env("AQ_KAFKA"),
            worker.port,
            worker.path("offsets").display(),
            env("AQ_CONNECT_PLUGINS"),
        );
        std::fs::write(worker.path("worker.properties"), properties).unwrap();
        worker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start_jvm(mut self) -> Worker {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new("java");
        command.args(["-Xmx384M", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=warn"]);
        command.arg("-cp").arg(format!("{}/*", env("AQ_KAFKA_JARS")));
        command.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg(self.path("worker.properties"));
        let output = log.try_clone().unwrap();
        self.process = Process::Jvm(command.stdin(Stdio::null()).stdout(output).stderr(log).spawn().unwrap());
        self.wait_for_health();
        self
    }

    fn start_ours(mut self) -> Worker {
        let properties = self.path("worker.properties");
        let started = Aqueduct::start(&["standalone", properties.to_str().unwrap()], &self.path("log"));
        self.process = Process::Ours(started);
        self.wait_for_health();
        self
    }

    fn wait_for_health(&self) {
        let port = self.port;
        wait_for("the worker's port", WAIT, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        wait_for("the worker", WAIT, || http(port, "GET", "/health", &[], None).status == 200);
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&http(self.port, "GET", path, &[], None).body).unwrap_or(Value::Null)
    }

    /// One line of the session.
    fn run(&self, line: &str) -> Option<HttpAnswer> {
        let line = line
            .replace("$N", &self.name)
            .replace("$F", self.folder.path().to_str().unwrap())
            .replace("$D", self.path("folder").to_str().unwrap());
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["@wait", connector, state, tasks] => self.wait_for_state(connector, state, tasks.parse().ok()),
            ["@topics", connector, count] => {
                let count: usize = count.parse().unwrap();
                let path = format!("/connectors/{connector}/topics");
                let topics = || self.json(&path)[*connector]["topics"].as_array().map_or(0, Vec::len);
                wait_for(&format!("{count} topics of {connector}"), WAIT, || topics() == count);
            }
            ["@offsets", connector] => {
                let path = format!("/connectors/{connector}/offsets");
                let some =
                    || self.json(&path)["offsets"].as_array().is_some_and(|offsets| !offsets.is_empty());
                wait_for(&format!("offsets of {connector}"), WAIT, some);
            }
            [method, path, "-H", header, body @ ..] => {
                let (name, value) = header.split_once(':').unwrap();
                return Some(http(self.port, method, path, &[(name, value)], Some(&body.join(" "))));
            }
            [method, path, body @ ..] => {
                let body = (!body.is_empty()).then(|| body.join(" "));
                return Some(http(self.port, method, path, &[], body.as_deref()));
            }
            other => panic!("not a line of a session: {other:?}"),
        }
        None
    }

    fn wait_for_state(&self, connector: &str, state: &str, tasks: Option<usize>) {
        let path = format!("/connectors/{connector}/status");
        let begun = std::time::Instant::now();
        loop {
            let status = self.json(&path);
            let list = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
            let own = status["connector"]["state"] == state || state == "FAILED";
            if own
                && tasks.is_none_or(|tasks| list.len() == tasks)
                && list.iter().all(|task| task["state"] == state)
            {
                return;
            }
            assert!(begun.elapsed() < WAIT, "{connector} is not {state} with {tasks:?} tasks: {status}");
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

/// Status and body without values: what two workers must have in common.
fn shape(answer: &HttpAnswer) -> String {
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(value) => shape_of("", &value),
        Err(_) if answer.body.is_empty() => "nothing".to_owned(),
        Err(_) => "text".to_owned(),
    };
    format!("{} {body}", answer.status)
}

/// Values that mean something to clients are part of the shape.
const MEANINGFUL: [&str; 5] = ["state", "error_code", "type", "status", "error_count"];

fn shape_of(key: &str, value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut shapes: Vec<String> =
                members.iter().map(|(key, value)| format!("{key}:{}", shape_of(key, value))).collect();
            shapes.sort(); // the order of members means nothing
            format!("{{{}}}", shapes.join(","))
        }
        Value::Array(items) => {
            let ours = |item: &Value| {
                let name = item["name"].as_str().or(item["value"]["name"].as_str()).unwrap_or_default();
                OURS.iter().any(|ours| name.ends_with(ours))
            };
            let theirs = items.iter().filter(|item| !ours(item));
            let mut shapes: Vec<String> = theirs.map(|item| shape_of("", item)).collect();
            shapes.sort();
            shapes.dedup();
            format!("[{}]", shapes.join(","))
        }
        value if MEANINGFUL.contains(&key) => value.to_string(),
        Value::String(_) => "string".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Null => "null".to_owned(),
    }
}

/// Names of one run taken out, so that transcripts can be compared.
fn neutral(worker: &Worker, text: &str) -> String {
    text.replace(&worker.name, "$N")
        .replace(worker.folder.path().to_str().unwrap(), "$F")
        .replace(&worker.port.to_string(), "$PORT")
}

fn transcript(worker: &Worker, session: &str) -> Vec<(String, HttpAnswer)> {
    let lines = session.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| Some((line.to_owned(), worker.run(line)?))).collect()
}

fn save(name: &str, worker: &Worker, transcript: &[(String, HttpAnswer)]) {
    let Ok(folder) = std::env::var("AQ_SESSION_OUT") else { return };
    let mut text = String::new();
    for (line, answer) in transcript {
        text.push_str(&format!("> {line}\n< {} {}\n", answer.status, neutral(worker, &answer.text())));
    }
    std::fs::write(Path::new(&folder).join(name), text).unwrap();
}

#[test]
fn the_answers_are_those_of_the_jvm() {
    let session = std::fs::read_to_string(repository().join("tests/rest-session/requests.txt")).unwrap();
    let ((jvm, theirs), (ours_worker, ours)) = std::thread::scope(|scope| {
        let jvm = scope.spawn(|| {
            let worker = Worker::new().start_jvm();
            let answers = transcript(&worker, &session);
            save("jvm.txt", &worker, &answers);
            (worker, answers)
        });
        let worker = Worker::new().start_ours();
        let answers = transcript(&worker, &session);
        save("aqueduct.txt", &worker, &answers);
        (jvm.join().unwrap(), (worker, answers))
    });
    assert!(ours.len() >= 150, "only {} requests", ours.len());
    let mut differences = String::new();
    for ((line, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        let (expected, found) = (neutral(&jvm, &shape(theirs)), neutral(&ours_worker, &shape(ours)));
        // loggers are named after modules: theirs are others than ours
        let same =
            expected == found || (line.starts_with("GET /admin/loggers") && theirs.status == ours.status);
        if same == DIFFERENT.iter().any(|(known, _)| line == known) {
            differences.push_str(&format!("{line}\n  JVM:  {expected}\n  ours: {found}\n"));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
