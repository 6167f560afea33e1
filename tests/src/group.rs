//! Workers of a Connect group, of either kind.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Aqueduct, HttpAnswer, env, free_port, http, unique, wait_for};

/// How long a worker may take to start, and a group to come to rest.
const LIMIT: Duration = Duration::from_secs(60);

/// Lines of each worker's log that a failed test shows.
const COMPLAINTS: usize = 40;

/// A group of workers with its folder, topics and settings.
#[derive(Debug)]
pub struct Group {
    folder: TempDir,
    /// `group.id`, and what the names of its topics begin with.
    pub name: String,
    bootstrap: String,
    settings: String,
}

/// One worker of a group; killed (-9) when dropped.
#[derive(Debug)]
pub struct GroupWorker {
    /// Where its REST answers on loopback.
    pub port: u16,
    log: PathBuf,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Jvm(Child),
    Ours(Option<Aqueduct>),
}

impl Group {
    /// A group on the cluster of `AQ_KAFKA` with these lines added to its workers' properties; `{port}` is that of the worker.
    #[track_caller]
    pub fn new(name: &str, settings: &str) -> Group {
        Group::on(env("AQ_KAFKA"), name, settings)
    }

    /// The same on another cluster.
    #[track_caller]
    pub fn on(bootstrap: String, name: &str, settings: &str) -> Group {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        Group { folder, name: unique(name), bootstrap, settings: settings.to_owned() }
    }

    /// A file of the group's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The cluster.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The name of `config`, `offset` or `status` storage.
    pub fn topic(&self, storage: &str) -> String {
        format!("{}-{storage}", self.name)
    }

    /// Writes the properties of a worker on this port. Deaths are noticed after 6 s, the least that brokers allow.
    #[track_caller]
    pub fn properties(&self, port: u16) -> PathBuf {
        let mut text = format!(
            "bootstrap.servers={}\ngroup.id={}\nlisteners=http://127.0.0.1:{port}\nsession.timeout.ms=6000\nheartbeat.interval.ms=500\n\
             offset.flush.interval.ms=500\nplugin.path={}/file\nplugin.discovery=service_load\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n",
            self.bootstrap,
            self.name,
            env("AQ_CONNECT_PLUGINS"),
        );
        for storage in ["config", "offset", "status"] {
            let topic = self.topic(storage);
            text.push_str(&format!(
                "{storage}.storage.topic={topic}\n{storage}.storage.replication.factor=1\n"
            ));
        }
        text.push_str(&self.settings.replace("{port}", &port.to_string()));
        let path = self.path(&format!("{port}.properties"));
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Starts a worker of ours, and waits until it is a member.
    #[track_caller]
    pub fn ours(&self) -> GroupWorker {
        let worker = self.ours_starting();
        worker.wait_until_healthy();
        worker
    }

    /// Starts a worker of ours with these lines added to its properties, and waits until it is a member.
    #[track_caller]
    pub fn ours_with(&self, settings: &str) -> GroupWorker {
        let worker = self.start_ours(settings, &[]);
        worker.wait_until_healthy();
        worker
    }

    /// Starts a worker of ours with these variables of its environment, and waits until it is a member.
    #[track_caller]
    pub fn ours_with_environment(&self, variables: &[(&str, &str)]) -> GroupWorker {
        let worker = self.start_ours("", variables);
        worker.wait_until_healthy();
        worker
    }

    /// Starts a worker of ours.
    #[track_caller]
    pub fn ours_starting(&self) -> GroupWorker {
        self.start_ours("", &[])
    }

    #[track_caller]
    fn start_ours(&self, settings: &str, variables: &[(&str, &str)]) -> GroupWorker {
        let port = free_port();
        let (properties, log) = (self.properties(port), self.path(&format!("{port}.log")));
        let all = std::fs::read_to_string(&properties).map(|text| text + settings);
        let written = all.and_then(|text| std::fs::write(&properties, text));
        written.unwrap_or_else(|error| panic!("{}: {error}", properties.display()));
        let started =
            Aqueduct::start_with(&["distributed", &properties.display().to_string()], variables, &log);
        GroupWorker { port, log, process: Process::Ours(Some(started)) }
    }

    /// Starts a JVM worker, and waits until it is a member.
    #[track_caller]
    pub fn jvm(&self) -> GroupWorker {
        let worker = self.jvm_starting();
        worker.wait_until_healthy();
        worker
    }

    /// Starts a JVM worker.
    #[track_caller]
    pub fn jvm_starting(&self) -> GroupWorker {
        let port = free_port();
        let (properties, log) = (self.properties(port), self.path(&format!("{port}.log")));
        let file = std::fs::File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut command = Command::new("java");
        command.args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.level=warn"]);
        command.arg("-cp").arg(format!("{}/*", env("AQ_KAFKA_JARS")));
        command.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(properties);
        let output = file.try_clone().unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let child = command.stdin(Stdio::null()).stdout(output).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("java: {error}"));
        GroupWorker { port, log, process: Process::Jvm(child) }
    }
}

/// What workers complained of is shown when the test fails: their folder goes.
impl Drop for Group {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for file in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_none_or(|kind| kind != "log") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let complaints: Vec<_> = text
                .lines()
                .filter(|line| line.contains("WARN") || line.contains("ERROR") || line.contains("Caused by"))
                .collect();
            let last = &complaints[complaints.len().saturating_sub(COMPLAINTS)..];
            eprintln!("-- {}\n{}", path.display(), last.join("\n"));
        }
    }
}

impl GroupWorker {
    /// `host:port` as statuses show it.
    pub fn id(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until it is a member that answers.
    #[track_caller]
    pub fn wait_until_healthy(&self) {
        let open = || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        let said = || assert!(!self.log().contains("aqueduct: "), "the worker ended: {}", self.log());
        let healthy = || {
            said();
            open() && http(self.port, "GET", "/health", &[], None).status == 200
        };
        wait_for(&format!("worker {}; log: {}", self.port, self.log.display()), LIMIT, healthy);
    }

    /// Asks it; what is refused because the group rebalances is asked again.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> HttpAnswer {
        let began = Instant::now();
        loop {
            let answer = http(self.port, method, path, &[], body);
            if answer.status != 409 || began.elapsed() > LIMIT {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it (-9).
    pub fn kill(self) {}

    /// Asks it to stop, and waits for that.
    #[track_caller]
    pub fn terminate(mut self) {
        match &mut self.process {
            Process::Jvm(child) => {
                crate::run(Command::new("kill").arg(child.id().to_string()), b"");
                let _ = child.wait();
            }
            Process::Ours(ours) => {
                if let Some(ours) = ours.take() {
                    let status = ours.terminate();
                    assert!(status.success(), "{status}; log: {}", self.log());
                }
            }
        }
    }
}

impl Drop for GroupWorker {
    fn drop(&mut self) {
        if let Process::Jvm(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
