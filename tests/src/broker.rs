//! An Apache Kafka of a test's own, which may be killed.

use std::process::Command;

use tempfile::TempDir;

use crate::{free_ports, repository};

/// Kafka listens on this many neighbouring ports.
const PORTS: u16 = 5;

/// An Apache Kafka broker of one test's own, of the jars that `tests/run` installed; stopped when dropped.
#[derive(Debug)]
pub struct OwnBroker {
    folder: TempDir,
    port: u16,
    settings: String,
}

impl OwnBroker {
    /// Starts an empty broker on free ports.
    #[track_caller]
    pub fn start() -> OwnBroker {
        OwnBroker::start_with("")
    }

    /// The same with these lines added to the broker's properties.
    #[track_caller]
    pub fn start_with(settings: &str) -> OwnBroker {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let broker = OwnBroker { folder, port: free_ports(PORTS), settings: settings.to_owned() };
        broker.script("up");
        broker
    }

    /// Host and port of the PLAINTEXT listener.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Host and port of the SASL_PLAINTEXT listener.
    pub fn sasl(&self) -> String {
        format!("127.0.0.1:{}", self.port + 1)
    }

    /// Host and port of the SSL listener.
    pub fn ssl(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    /// Kills it (-9). Its data stays.
    #[track_caller]
    pub fn kill(&self) {
        self.script("kill");
    }

    /// Starts it again on its data, after a kill.
    #[track_caller]
    pub fn restart(&self) {
        self.script("start");
    }

    fn command(&self, command: &str) -> Command {
        let mut script = Command::new(repository().join("tests/services/kafka"));
        script.arg(command).env("AQ_RUN", self.folder.path()).env("AQ_PORT", self.port.to_string());
        script.env("AQ_HEAP", "384m").env("AQ_SETTINGS", &self.settings);
        script
    }

    #[track_caller]
    fn script(&self, command: &str) {
        // its output goes to the test's: the broker would hold a pipe open
        let status = self.command(command).status();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "kafka {command}: {status:?}");
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        let _ = self.command("down").status();
    }
}
