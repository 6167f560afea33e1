//! Search servers, workers and topics of these tests.

use std::process::Command;
use std::time::Duration;

use aqueduct_tests::{
    HttpAnswer, Worker, create_topic, env, free_ports, http, kcat, repository, run, unique, wait_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// Servers that `tests/run` starts.
pub(crate) const KINDS: [&str; 3] = ["AQ_ELASTICSEARCH", "AQ_ELASTICSEARCH7", "AQ_OPENSEARCH"];

/// A search server on loopback.
#[derive(Clone, Copy)]
pub(crate) struct Search {
    pub(crate) port: u16,
}

impl Search {
    /// One of [`KINDS`].
    pub(crate) fn of(variable: &str) -> Search {
        let url = env(variable);
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        Search { port: port.unwrap_or_else(|| panic!("{variable}={url} has no port")) }
    }

    pub(crate) fn url(self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    #[track_caller]
    pub(crate) fn ask(self, method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        http(self.port, method, path, &[], body.map(Value::to_string).as_deref())
    }

    /// An answer that has to be good.
    #[track_caller]
    pub(crate) fn json(self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.ask(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    /// A document, whether it can be searched yet or not.
    pub(crate) fn document(self, index: &str, id: &str) -> Option<Value> {
        let answer = self.ask("GET", &format!("/{index}/_doc/{id}"), None);
        let found: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (found["found"] == true).then_some(found)
    }

    /// How many documents there are now; none without the index.
    pub(crate) fn count(self, index: &str) -> u64 {
        if self.ask("POST", &format!("/{index}/_refresh"), None).status != 200 {
            return 0;
        }
        let answer = self.ask("GET", &format!("/{index}/_count"), None);
        let count: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        count["count"].as_u64().unwrap_or(0)
    }

    #[track_caller]
    pub(crate) fn wait_for_count(self, index: &str, count: u64, worker: &Worker) {
        wait_for(&format!("{count} documents in {index}; log: {}", worker.log()), WAIT, || {
            self.count(index) == count
        });
    }

    /// All documents: ids and sources.
    #[track_caller]
    pub(crate) fn all(self, index: &str) -> Vec<(String, Value)> {
        self.json("POST", &format!("/{index}/_refresh"), None);
        let mut documents = Vec::new();
        let query = json!({"size": 5000, "sort": ["_doc"]});
        let mut page = self.json("POST", &format!("/{index}/_search?scroll=1m"), Some(&query));
        loop {
            let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
            if hits.is_empty() {
                return documents;
            }
            documents.extend(
                hits.iter().map(|hit| (hit["_id"].as_str().unwrap().to_owned(), hit["_source"].clone())),
            );
            let next = json!({"scroll": "1m", "scroll_id": page["_scroll_id"]});
            page = self.json("POST", "/_search/scroll", Some(&next));
        }
    }
}

/// An Elasticsearch of one test's own, which may be killed.
pub(crate) struct OwnSearch {
    folder: TempDir,
    pub(crate) search: Search,
}

impl OwnSearch {
    pub(crate) fn start() -> OwnSearch {
        let own = OwnSearch { folder: tempfile::tempdir().unwrap(), search: Search { port: free_ports(2) } };
        own.script("up");
        own
    }

    pub(crate) fn kill(&self) {
        self.script("kill");
    }

    pub(crate) fn restart(&self) {
        self.script("start");
    }

    fn command(&self, command: &str) -> Command {
        let mut script = Command::new(repository().join("tests/services/search"));
        script.args([command, "elasticsearch"]).env("AQ_SEARCH_RUN", self.folder.path());
        script.env("AQ_SEARCH_PORT", self.search.port.to_string());
        script
    }

    #[track_caller]
    fn script(&self, command: &str) {
        let status = self.command(command).status();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "search {command}: {status:?}");
    }
}

impl Drop for OwnSearch {
    fn drop(&mut self) {
        let _ = self.command("down").status();
    }
}

/// TLS in front of a server: whoever comes must show a certificate of the tests' authority. Killed when dropped.
pub(crate) struct TlsFront {
    process: std::process::Child,
    pub(crate) port: u16,
}

impl TlsFront {
    pub(crate) fn start(search: Search) -> TlsFront {
        const FORWARD: &str = r#"
import socket, ssl, sys, threading
port, target, tls = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(tls + "/server.pem", tls + "/server.key")
context.load_verify_locations(tls + "/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try: end.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(plain):
    try: client = context.wrap_socket(plain, server_side=True)
    except OSError: return
    server = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=copy, args=(client, server), daemon=True).start()
    copy(server, client)
listener = socket.create_server(("127.0.0.1", port))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;
        let port = free_ports(1);
        let arguments = [port.to_string(), search.port.to_string(), env("AQ_TLS_DIR")];
        let process = Command::new("python3").args(["-c", FORWARD]).args(arguments).spawn();
        let front = TlsFront { process: process.unwrap_or_else(|error| panic!("python3: {error}")), port };
        wait_for("the TLS front", WAIT, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        front
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// State of a connector's first task and what it failed of.
pub(crate) fn task(worker: &Worker, connector: &str) -> (String, String) {
    let answer = worker.ask("GET", &format!("/connectors/{connector}/tasks/0/status"), None);
    let status: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("trace"))
}

/// Waits until the task has failed; gives its trace.
#[track_caller]
pub(crate) fn failure(worker: &Worker, connector: &str) -> String {
    wait_for(&format!("the failure of {connector}; log: {}", worker.log()), WAIT, || {
        task(worker, connector).0 == "FAILED"
    });
    task(worker, connector).1
}

/// A counter of the worker's metrics, for one connector.
pub(crate) fn metric(worker: &Worker, name: &str, connector: &str) -> u64 {
    let text = worker.ask("GET", "/metrics", None).text();
    let label = format!("connector=\"{connector}\"");
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(&label));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) as u64
}

/// A sink of a topic, under a name of its own: `settings` are added.
pub(crate) fn sink(name: &str, search: Search, topic: &str, settings: &Value) -> Value {
    let mut config = json!({
        "connector.class": "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector",
        "tasks.max": "1",
        "connection.url": search.url(),
        "topics": topic,
        "schema.ignore": "true",
        "read.timeout.ms": "30000",
        "errors.deadletterqueue.topic.replication.factor": "1",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
    });
    for (key, value) in settings.as_object().unwrap() {
        config[key] = value.clone();
    }
    json!({"name": name, "config": config})
}

/// A topic of one partition.
#[track_caller]
pub(crate) fn topic(name: &str) -> String {
    let topic = unique(name);
    create_topic(&env("AQ_KAFKA"), &topic, &["--partitions", "1"]);
    topic
}

/// Writes `key<TAB>value` lines; an empty value is a tombstone.
#[track_caller]
pub(crate) fn produce(topic: &str, lines: &str, more: &[&str]) {
    let mut arguments = vec!["-P", "-t", topic, "-K", "\t", "-Z"];
    arguments.extend(more);
    run(&mut kcat(&env("AQ_KAFKA"), &arguments), lines.as_bytes());
}

/// The text of a record's header.
pub(crate) fn header(record: &Value, name: &str) -> String {
    let headers = record["headers"].as_array().cloned().unwrap_or_default();
    let found = headers.chunks(2).find(|pair| pair[0] == name);
    found.and_then(|pair| pair[1].as_str()).unwrap_or_default().to_owned()
}
