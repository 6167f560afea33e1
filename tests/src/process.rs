//! Programs: ours, and those of others.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{env, wait_for};

/// Longest time that a tool may take.
const TOOL_LIMIT: Duration = Duration::from_secs(120);

/// Runs a program to its end with `input`, and gives its standard output. Panics with all it said when it fails or takes
/// more than two minutes.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> String {
    let shown = format!("{command:?}");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (id, mut stdin, input) = (child.id(), child.stdin.take(), input.to_vec());
    std::thread::spawn(move || stdin.take().map(|mut stdin| stdin.write_all(&input)));
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(TOOL_LIMIT) else {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        panic!("{shown} took more than {TOOL_LIMIT:?}");
    };
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{shown}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A class of Kafka's jars. One compiler tier and the simplest collector start fastest.
pub fn tool(class: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.level=error"]);
    command.arg("-cp").arg(format!("{}/*", env("AQ_KAFKA_JARS"))).arg(class).args(arguments);
    command
}

/// Makes a topic by Kafka's own tool; `options` are further ones of `kafka-topics.sh`.
#[track_caller]
pub fn create_topic(bootstrap: &str, topic: &str, options: &[&str]) {
    let create = ["--bootstrap-server", bootstrap, "--create", "--topic", topic];
    run(tool("org.apache.kafka.tools.TopicCommand", &create).args(options), b"");
}

/// librdkafka's command line client.
pub fn kcat(bootstrap: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", bootstrap]).args(arguments);
    command
}

/// The binary under test as a process; killed when dropped.
#[derive(Debug)]
pub struct Aqueduct {
    process: Child,
    log: PathBuf,
}

impl Aqueduct {
    /// Starts `aqueduct` with these arguments; what it says goes to `log`.
    #[track_caller]
    pub fn start(arguments: &[&str], log: &Path) -> Aqueduct {
        Aqueduct::start_with(arguments, &[], log)
    }

    /// The same with variables of its environment.
    #[track_caller]
    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)], log: &Path) -> Aqueduct {
        let binary = env("AQ_BIN");
        let file = std::fs::OpenOptions::new().append(true).create(true).open(log);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut command = Command::new(&binary);
        command.args(arguments).envs(variables.iter().copied());
        let output = file.try_clone().unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdin(Stdio::null()).stdout(output).stderr(file);
        let process = command.spawn().unwrap_or_else(|error| panic!("{binary}: {error}"));
        Aqueduct { process, log: log.to_owned() }
    }

    /// Waits until it listens on a port of loopback.
    #[track_caller]
    pub fn wait_for_port(&self, port: u16) {
        let open = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_for(&format!("port {port}; log: {}", self.log()), Duration::from_secs(30), open);
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop (SIGTERM) and gives how it ended. Panics when that takes more than a minute.
    #[track_caller]
    pub fn terminate(mut self) -> std::process::ExitStatus {
        run(Command::new("kill").arg(self.process.id().to_string()), b"");
        let began = Instant::now();
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) if began.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(25));
                }
                other => panic!("it does not stop: {other:?}; log: {}", self.log()),
            }
        }
    }
}

impl Drop for Aqueduct {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
