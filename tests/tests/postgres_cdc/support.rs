//! Databases, workers and topics of these tests.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aqueduct_tests::{Aqueduct, env, free_port, kcat, repository, run, tool, unique, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A database of a test's own.
pub(crate) struct Database {
    port: String,
    name: String,
}

impl Database {
    /// On the server that all tests share.
    pub(crate) fn shared(test: &str) -> Database {
        Database::create(env("AQ_PG_PORT"), test)
    }

    fn create(port: String, test: &str) -> Database {
        let database = Database { port, name: unique(test).replace('-', "_") };
        let server = Database { port: database.port.clone(), name: "postgres".to_owned() };
        server.sql(&format!("create database {}", database.name));
        database
    }

    /// A name that only this database has: of a source, its slot and its publication.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}_{}", self.name)
    }

    fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port,
            "-U",
            "postgres",
            "-d",
            &self.name,
            "-tAq",
            "-v",
            "ON_ERROR_STOP=1",
        ]);
        command
    }

    /// Runs statements; gives what they print.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        run(&mut self.psql(), sql.as_bytes())
    }

    /// Runs statements that may fail.
    pub(crate) fn try_sql(&self, sql: &str) {
        let _ = self.psql().args(["-c", sql]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// A connector on this database.
    pub(crate) fn connector(&self, name: &str, settings: &Value) -> Value {
        let mut config = json!({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": "127.0.0.1", "database.port": self.port, "database.user": "postgres", "database.password": "x",
            "database.dbname": self.name, "topic.prefix": name, "plugin.name": "pgoutput", "slot.name": name,
            "publication.name": format!("{}_publication", self.name), "status.update.interval.ms": "200",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
        });
        for (key, value) in settings.as_object().unwrap() {
            if key != "topic.prefix" {
                config[key] = value.clone();
            }
        }
        json!({"name": name, "config": config})
    }
}

/// A server of one test's own.
pub(crate) struct Own {
    port: String,
    folder: TempDir,
}

impl Own {
    pub(crate) fn start() -> Own {
        // the server's user has to get in
        let folder = tempfile::Builder::new().prefix("aqueduct-postgres-").tempdir_in("/tmp").unwrap();
        let own = Own { port: free_port().to_string(), folder };
        own.script("up");
        own
    }

    pub(crate) fn database(&self, test: &str) -> Database {
        Database::create(self.port.clone(), test)
    }

    /// Kills it (-9) and starts it again.
    pub(crate) fn kill_and_restart(&self) {
        self.script("kill");
        self.script("start");
    }

    fn command(&self, command: &str) -> Command {
        let mut script = Command::new(repository().join("tests/services/postgres"));
        script.arg(command).env("AQ_PG_RUN", self.folder.path().join("server")).env("AQ_PG_PORT", &self.port);
        script
    }

    #[track_caller]
    fn script(&self, command: &str) {
        fs::set_permissions(self.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let status = self.command(command).status();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "postgres {command}: {status:?}");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.command("down").status();
    }
}

enum Process {
    Aqueduct(Aqueduct),
    Jvm(Child),
}

/// A standalone worker, ours or the JVM's with Debezium; killed when dropped.
pub(crate) struct Worker {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
}

impl Worker {
    pub(crate) fn aqueduct(connectors: &[Value]) -> Worker {
        Worker::start(connectors, None, true)
    }

    pub(crate) fn aqueduct_at(connectors: &[Value], offsets: &Path) -> Worker {
        Worker::start(connectors, Some(offsets), true)
    }

    pub(crate) fn debezium(connectors: &[Value]) -> Worker {
        Worker::start(connectors, None, false)
    }

    pub(crate) fn debezium_at(connectors: &[Value], offsets: &Path) -> Worker {
        Worker::start(connectors, Some(offsets), false)
    }

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
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops it in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
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

    /// The body of an answer.
    pub(crate) fn get(&self, path: &str) -> String {
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
        if let Some(Process::Jvm(child)) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All topics.
pub(crate) fn topics() -> Vec<String> {
    let listed: Value = serde_json::from_str(&run(&mut kcat(&env("AQ_KAFKA"), &["-L", "-J"]), b"")).unwrap();
    listed["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic["topic"].as_str().unwrap().to_owned())
        .collect()
}

/// All records of a topic as kcat prints them; none if there is no such topic.
pub(crate) fn records(topic: &str) -> Vec<Value> {
    let output =
        kcat(&env("AQ_KAFKA"), &["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
