//! A connector that says itself where its transactions end: `transaction.boundary=connector`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::config::{ConfigDef, ConfigKey, ConfigType, Importance};
use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorKind, ConnectorPlugin,
    ConnectorTransactionBoundaries, ExactlyOnceSupport, OffsetMap, Registry, SourceTask, SourceTaskContext,
    Task, TransactionContext,
};
use aqueduct_engine::data::{Batch, Record, Schema, SourcePosition, Value};
use aqueduct_engine::herder::{DistributedHerder, Herder, PutMode, read_properties};
use aqueduct_engine::loggers::Loggers;
use aqueduct_engine::worker::WorkerConfig;
use aqueduct_tests::{Group, free_port, kcat, run, wait_for};

const WAIT: Duration = Duration::from_secs(60);
const LINES_PER_POLL: usize = 4;

static CONFIG: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required("script", ConfigType::String, Importance::High, "Its lines."),
        ConfigKey::required("topic", ConfigType::String, Importance::High, "Where they go."),
    ],
};

/// A source that reads a script: `text` is a record, `text commit` and `text abort` one behind which the transaction ends;
/// `-- commit` and `-- abort` end it with the poll.
struct Script;

impl ConnectorPlugin for Script {
    fn class(&self) -> &'static str {
        "test.ScriptSourceConnector"
    }

    fn task_class(&self) -> &'static str {
        "test.ScriptSourceTask"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> &'static ConfigDef {
        &CONFIG
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::<ScriptConnector>::default()
    }

    fn task(&self) -> Task {
        Task::Source(Box::<ScriptTask>::default())
    }
}

#[derive(Default)]
struct ScriptConnector {
    config: ConfigMap,
}

impl Connector for ScriptConnector {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        _context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        self.config = config.clone();
        Box::pin(std::future::ready(Ok(())))
    }

    fn task_configs(&mut self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn exactly_once_support(&self, _config: &ConfigMap) -> ExactlyOnceSupport {
        ExactlyOnceSupport::Supported
    }

    fn transaction_boundaries(&self, _config: &ConfigMap) -> ConnectorTransactionBoundaries {
        ConnectorTransactionBoundaries::Supported
    }
}

#[derive(Default)]
struct ScriptTask {
    script: PathBuf,
    topic: String,
    line: usize,
    transactions: Option<TransactionContext>,
}

fn map(key: &str, value: serde_json::Value) -> Arc<OffsetMap> {
    Arc::new([(key.to_owned(), value)].into_iter().collect())
}

impl ScriptTask {
    fn read(&mut self, batch: &mut Batch) {
        let transactions = self.transactions.as_ref().expect("a context of transactions");
        let text = std::fs::read_to_string(&self.script).unwrap_or_default();
        let (topic, schema) = (batch.intern_topic(&self.topic), batch.intern_schema(&Schema::string()));
        for line in text.lines().skip(self.line).take(LINES_PER_POLL) {
            self.line += 1;
            match line {
                "-- commit" => return transactions.commit(),
                "-- abort" => return transactions.abort(),
                _ => {}
            }
            let (text, end) = line.split_once(' ').unwrap_or((line, ""));
            let index = batch.records.len();
            if matches!(end, "commit" | "both") {
                transactions.commit_after(index);
            }
            if matches!(end, "abort" | "both") {
                transactions.abort_after(index);
            }
            let position = batch.positions.len() as u32;
            batch.positions.push(SourcePosition {
                partition: map("script", "the only one".into()),
                offset: map("line", self.line.into()),
            });
            let value = Value::String(batch.put_str(text));
            batch.records.push(Record { topic, value_schema: schema, value, position, ..Record::default() });
        }
    }
}

impl SourceTask for ScriptTask {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SourceTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            (self.script, self.topic) = (PathBuf::from(&config["script"]), config["topic"].clone());
            let offset = context.offsets.offset(&map("script", "the only one".into())).await?;
            self.line = offset.map_or(0, |offset| offset["line"].as_u64().unwrap() as usize);
            self.transactions = context.transactions;
            Ok(())
        })
    }

    fn poll<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            self.read(batch);
            if batch.records.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        })
    }
}

/// A worker within this process; it ends like a killed one when it is dropped.
struct InProcess {
    runtime: Option<tokio::runtime::Runtime>,
    herder: Arc<DistributedHerder>,
}

impl InProcess {
    fn start(group: &Group) -> InProcess {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let properties = read_properties(&group.properties(free_port())).unwrap();
        let config = WorkerConfig::from_properties(properties).unwrap();
        let registry = Registry::new(vec![Arc::new(Script)]);
        let herder = runtime.block_on(DistributedHerder::start(config, registry, Loggers::default()));
        InProcess { runtime: Some(runtime), herder: Arc::new(herder.unwrap()) }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    fn put(&self, name: &str, config: &ConfigMap) {
        wait_for("a group that is at rest", WAIT, || {
            match self.wait(self.herder.put(name, config.clone(), PutMode::Replace)) {
                Ok(_) => true,
                Err(error) if error.status == 409 => false,
                Err(error) => panic!("{error}"),
            }
        });
    }

    /// The line that is committed.
    fn line(&self, name: &str) -> Option<u64> {
        let offsets = self.wait(self.herder.offsets(name)).ok()?;
        offsets.first()?.1.as_ref()?["line"].as_u64()
    }

    fn trace(&self, name: &str) -> Option<String> {
        self.herder.status(name)?.tasks.values().next()?.trace.clone()
    }

    fn shutdown(self) {
        self.wait(self.herder.shutdown());
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[test]
fn the_connector_says_where_transactions_end() {
    let group = Group::new("boundaries", super::SETTINGS);
    let (script, topic) = (group.path("script"), format!("{}-out", group.name));
    let script_is = |lines: &[&str]| std::fs::write(&script, lines.join("\n") + "\n").unwrap();
    let read = |isolation: &str| {
        let isolation = format!("isolation.level={isolation}");
        let arguments = ["-C", "-q", "-e", "-X", &isolation, "-t", &topic];
        let text = run(&mut kcat(group.bootstrap(), &arguments), b"");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let committed = || read("read_committed");
    let config: ConfigMap = [
        ("connector.class", "ScriptSource"),
        ("script", script.to_str().unwrap()),
        ("topic", &topic),
        ("transaction.boundary", "connector"),
        ("exactly.once.support", "required"),
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.default.replication.factor", "1"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();

    // within a batch, over several batches, with a poll, and given up
    let mut lines =
        vec!["a1", "a2 commit", "b1", "b2", "b3 abort", "c1", "-- commit", "d1", "d2", "-- abort"];
    script_is(&lines);
    let worker = InProcess::start(&group);
    worker.put("s", &config);
    wait_for("the position of what was given up", WAIT, || worker.line("s") == Some(9));
    assert_eq!(committed(), ["a1", "a2", "c1"]);

    // an open transaction is not seen, and read again after a kill
    lines.extend(["e1", "e2 commit", "f1"]);
    script_is(&lines);
    wait_for("a record of an open transaction", WAIT, || read("read_uncommitted").contains(&"f1".to_owned()));
    assert_eq!(worker.line("s"), Some(12));
    assert_eq!(committed(), ["a1", "a2", "c1", "e1", "e2"]);
    drop(worker);
    lines.push("f2 commit");
    script_is(&lines);
    let worker = InProcess::start(&group);
    wait_for("the transaction as a whole", WAIT, || worker.line("s") == Some(14));
    assert_eq!(committed(), ["a1", "a2", "c1", "e1", "e2", "f1", "f2"]);

    // the same after an orderly stop
    lines.push("g1");
    script_is(&lines);
    wait_for("a record of an open transaction", WAIT, || read("read_uncommitted").contains(&"g1".to_owned()));
    worker.shutdown();
    assert!(!committed().contains(&"g1".to_owned()));
    lines.push("g2 commit");
    script_is(&lines);
    let worker = InProcess::start(&group);
    wait_for("the transaction as a whole", WAIT, || worker.line("s") == Some(16));
    assert_eq!(committed()[7..], ["g1", "g2"]);

    // what cannot be fails the task, and commits nothing
    lines.push("h1 both");
    script_is(&lines);
    wait_for("the failure", WAIT, || worker.trace("s").is_some());
    let trace = worker.trace("s").unwrap();
    assert!(trace.contains("Connector requested both commit and abort of same transaction"), "{trace}");
    assert_eq!(worker.line("s"), Some(16));
    worker.shutdown();
}
