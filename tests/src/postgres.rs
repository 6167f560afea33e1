//! PostgreSQL: databases of tests' own, on the server that they share or on one that may be killed.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{env, free_port, repository, run, unique};

/// A database of a test's own.
#[derive(Debug)]
pub struct Database {
    port: String,
    name: String,
}

impl Database {
    /// On the server that all tests share.
    pub fn shared(test: &str) -> Database {
        Database::create(env("AQ_PG_PORT"), test)
    }

    fn create(port: String, test: &str) -> Database {
        let database = Database { port, name: unique(test).replace('-', "_") };
        let create = format!("create database {}", database.name);
        run(database.psql().args(["-d", "postgres", "-c", &create]), b"");
        database
    }

    /// The server's port.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Its name.
    pub fn database(&self) -> &str {
        &self.name
    }

    /// A name that only this database has: of a source, its slot and its publication.
    pub fn name(&self, what: &str) -> String {
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
    pub fn sql(&self, sql: &str) -> String {
        run(&mut self.psql(), sql.as_bytes())
    }

    /// The server: for statements about its databases.
    fn server(&self) -> Command {
        let mut command = self.psql();
        command.args(["-d", "postgres"]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What a query prints; nothing if it fails, as while its table or its server is not there.
    pub fn ask(&self, sql: &str) -> String {
        let output = self.psql().args(["-c", sql]).stderr(Stdio::null()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// Runs statements that may fail, each for itself: what is rolled back is only what lies behind its BEGIN.
    pub fn try_sql(&self, sql: &str) {
        let mut psql = self.psql();
        psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = psql.spawn() {
            let input = child.stdin.take();
            let _ = input.map(|mut input| input.write_all(sql.as_bytes()));
            let _ = child.wait();
        }
    }
}

impl Drop for Database {
    /// Its slots go, since a server has a limited number of them; and it goes itself.
    fn drop(&mut self) {
        let of_it = format!("from pg_replication_slots where database = '{}'", self.name);
        let end = format!("select pg_terminate_backend(active_pid) {of_it} and active");
        let slots = format!("select pg_drop_replication_slot(slot_name) {of_it}");
        let database = format!("drop database {}", self.name);
        for _ in 0..3 {
            let dropped = self.server().args(["-c", &end, "-c", &slots, "-c", &database]).status();
            if dropped.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

/// A server of one test's own.
#[derive(Debug)]
pub struct OwnPostgres {
    port: String,
    folder: TempDir,
}

impl OwnPostgres {
    /// Starts it.
    #[track_caller]
    pub fn start() -> OwnPostgres {
        // the server's user has to get in
        let folder = tempfile::Builder::new().prefix("aqueduct-postgres-").tempdir_in("/tmp").unwrap();
        let own = OwnPostgres { port: free_port().to_string(), folder };
        own.script("up");
        own
    }

    /// A database on it.
    pub fn database(&self, test: &str) -> Database {
        Database::create(self.port.clone(), test)
    }

    /// Kills it (-9) and starts it again.
    pub fn kill_and_restart(&self) {
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

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        let _ = self.command("down").status();
    }
}
