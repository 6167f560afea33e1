//! Three Apache Kafka brokers of a test's own, each of which may be killed.

use std::process::Command;

use tempfile::TempDir;

use crate::{free_ports, repository};

/// Kafka listens on this many neighbouring ports: two a broker.
const PORTS: u16 = 6;

/// Three Apache Kafka brokers with the ids 1 to 3, every topic on all of them; stopped when dropped.
#[derive(Debug)]
pub struct OwnCluster {
    folder: TempDir,
    port: u16,
}

impl OwnCluster {
    /// Starts three empty brokers on free ports.
    #[track_caller]
    pub fn start() -> OwnCluster {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let cluster = OwnCluster { folder, port: free_ports(PORTS) };
        cluster.script(&["up"]);
        cluster
    }

    /// Host and port of a broker.
    pub fn broker(&self, id: u16) -> String {
        format!("127.0.0.1:{}", self.port + 2 * (id - 1))
    }

    /// Host and port of all of them.
    pub fn bootstrap(&self) -> String {
        [1, 2, 3].map(|id| self.broker(id)).join(",")
    }

    /// Kills a broker (-9). Its data stays.
    #[track_caller]
    pub fn kill(&self, id: i32) {
        self.script(&["kill", &id.to_string()]);
    }

    /// Starts a broker again on its data, after a kill.
    #[track_caller]
    pub fn restart(&self, id: i32) {
        self.script(&["start", &id.to_string()]);
    }

    /// Stops a broker's clock: its connections stay, and it says nothing.
    #[track_caller]
    pub fn freeze(&self, id: i32) {
        self.script(&["freeze", &id.to_string()]);
    }

    /// Lets a frozen broker go on.
    #[track_caller]
    pub fn thaw(&self, id: i32) {
        self.script(&["thaw", &id.to_string()]);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut script = Command::new(repository().join("tests/services/kafka-cluster"));
        script.args(arguments).env("AQ_RUN", self.folder.path()).env("AQ_PORT", self.port.to_string());
        script
    }

    #[track_caller]
    fn script(&self, arguments: &[&str]) {
        // its output goes to the test's: a broker would hold a pipe open
        let status = self.command(arguments).status();
        let is_done = status.as_ref().is_ok_and(|status| status.success());
        assert!(is_done, "kafka-cluster {}: {status:?}", arguments.join(" "));
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).status();
    }
}
