//! Standalone workers, ours and the JVM's with Debezium's connectors, and what their topics hold.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Aqueduct, HttpAnswer, env, free_port, kcat, run, tool, wait_for};

#[derive(Debug)]
enum Process {
    Aqueduct(Aqueduct),
    Jvm(Child),
}

/// A standalone worker, ours or the JVM's with Debezium; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
}

impl Worker {
    /// Ours.
    #[track_caller]
    pub fn aqueduct(connectors: &[Value]) -> Worker {
        Worker::start(connectors, None, true)
    }

    /// Ours, with its offsets in this file.
    #[track_caller]
    pub fn aqueduct_at(connectors: &[Value], offsets: &Path) -> Worker {
        Worker::start(connectors, Some(offsets), true)
    }

    /// The JVM's.
    #[track_caller]
    pub fn debezium(connectors: &[Value]) -> Worker {
        Worker::start(connectors, None, false)
    }

    /// The JVM's, with its offsets in this file.
    #[track_caller]
    pub fn debezium_at(connectors: &[Value], offsets: &Path) -> Worker {
        Worker::start(connectors, Some(offsets), false)
    }

    #[track_caller]
    fn start(connectors: &[Value], offsets: Option<&Path>, ours: bool) -> Worker {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let offsets = offsets.map_or_else(|| path("offsets"), |path| path.display().to_string());
        let properties = format!(
            "bootstrap.servers={}\nlisteners=http://127.0.0.1:{port}\noffset.storage.file.filename={offsets}\noffset.flush.interval.ms=200\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter=org.apache.kafka.connect.json.JsonConverter\n\
             plugin.path={}\nplugin.discovery=service_load\n",
            env("AQ_KAFKA"),
            env("AQ_DEBEZIUM"),
        );
        fs::write(path("worker.properties"), properties).unwrap();
        let mut arguments = vec![path("worker.properties")];
        for (at, connector) in connectors.iter().enumerate() {
            let file = path(&format!("{at}.json"));
            fs::write(&file, connector.to_string()).unwrap();
            arguments.push(file);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = if ours {
            Process::Aqueduct(Aqueduct::start(
                &[&["standalone"], &arguments[..]].concat(),
                &folder.path().join("log"),
            ))
        } else {
            let log = fs::File::create(folder.path().join("log")).unwrap();
            let mut command = tool("org.apache.kafka.connect.cli.ConnectStandalone", &arguments);
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            Process::Jvm(command.spawn().unwrap())
        };
        let worker = Worker { process: Some(process), port, folder };
        wait_for("the worker's REST", Duration::from_secs(60), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        worker
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it (-9); its log stays.
    pub fn kill(&mut self) {
        self.end();
    }

    /// Stops it in order.
    #[track_caller]
    pub fn stop(mut self) {
        match self.process.take() {
            Some(Process::Aqueduct(process)) => {
                let status = process.terminate();
                assert!(status.success(), "it ended with {status}: {}", self.log());
            }
            Some(Process::Jvm(mut child)) => {
                run(Command::new("kill").arg(child.id().to_string()), b"");
                wait_for("the JVM's end", Duration::from_secs(60), || child.try_wait().unwrap().is_some());
            }
            None => {}
        }
    }

    fn end(&mut self) {
        // ours is killed when it is dropped
        if let Some(Process::Jvm(mut child)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// An answer of its REST API.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        crate::http(self.port, method, path, &[], body.map(Value::to_string).as_deref())
    }

    /// The body of the answer to a PUT.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> String {
        let headers = [("Content-Type", "application/json")];
        crate::http(self.port, "PUT", path, &headers, Some(&body.to_string())).text()
    }

    /// The body of an answer.
    pub fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.write_all(
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
            );
            let _ = stream.read_to_string(&mut answer);
        }
        answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// All topics.
pub fn topics() -> Vec<String> {
    let listed: Value = serde_json::from_str(&run(&mut kcat(&env("AQ_KAFKA"), &["-L", "-J"]), b"")).unwrap();
    listed["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic["topic"].as_str().unwrap().to_owned())
        .collect()
}

/// All records of a topic as kcat prints them; none if there is no such topic.
pub fn records(topic: &str) -> Vec<Value> {
    let output =
        kcat(&env("AQ_KAFKA"), &["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
