//! Config providers in a group: values of an HTTP server that change, and secrets that are nowhere to be seen.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_tests::{Group, GroupWorker, create_topic, http, kcat, run, unique, wait_for};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "hvs.pl4nted-t0ken";

/// A stand-in for Vault: one document, for who has the token.
struct Vault {
    port: u16,
    document: Arc<Mutex<Option<Value>>>,
}

impl Vault {
    fn start() -> Vault {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let document: Arc<Mutex<Option<Value>>> = Arc::default();
        let shared = Arc::clone(&document);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), &shared);
            }
        });
        Vault { port, document }
    }

    /// What it answers from now on; nothing: it is out of order.
    fn set(&self, data: Option<Value>) {
        *self.document.lock().unwrap() =
            data.map(|data| json!({"lease_duration": 1, "data": {"data": data, "metadata": {"version": 3}}}));
    }

    fn settings(&self) -> String {
        format!(
            "config.providers=vault,file\nconfig.providers.vault.class=HttpConfigProvider\n\
             config.providers.vault.param.url=http://127.0.0.1:{}/v1/{{path}}\n\
             config.providers.vault.param.header.X-Vault-Token={TOKEN}\n\
             config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n",
            self.port
        )
    }
}

fn answer(stream: TcpStream, document: &Mutex<Option<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut admitted) = (String::new(), false);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        admitted |= line.to_ascii_lowercase().starts_with("x-vault-token:") && line.contains(TOKEN);
        if line.trim().is_empty() {
            break;
        }
    }
    let (status, body) = match &*document.lock().unwrap() {
        _ if !admitted => ("403 Forbidden", String::new()),
        Some(document) if first.starts_with("GET /v1/secret/data/app ") => ("200 OK", document.to_string()),
        Some(_) => ("404 Not Found", String::new()),
        None => ("503 Service Unavailable", String::new()),
    };
    let length = body.len();
    write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn put(worker: &GroupWorker, name: &str, config: &Value) -> String {
    let answer = worker.ask("PUT", &format!("/connectors/{name}/config"), Some(&config.to_string()));
    format!("{} {}", answer.status, answer.text())
}

#[test]
fn a_task_restarts_when_the_server_has_another_value() {
    let vault = Vault::start();
    let group = Group::new("vault", &vault.settings());
    let file = |name: &str| json!({"file": group.path(name), "unused": 7});
    vault.set(Some(file("first.txt")));
    let worker = group.ours();
    let topic = unique("vault");
    create_topic(group.bootstrap(), &topic, &["--partitions", "1"]);
    let write = |line: &str| {
        run(&mut kcat(group.bootstrap(), &["-P", "-t", &topic]), format!("{line}\n").as_bytes());
    };
    let text = |name: &str| std::fs::read_to_string(group.path(name)).unwrap_or_default();
    let config = json!({"connector.class": "FileStreamSink", "file": "${vault:secret/data/app:file}", "topics": topic});
    let name = unique("sink");
    assert!(put(&worker, &name, &config).starts_with("201 "));
    write("one");
    wait_for("the first file", WAIT, || text("first.txt") == "one\n");
    vault.set(Some(file("second.txt")));
    wait_for("the restart", WAIT, || worker.log().contains("the task is started anew"));
    write("two");
    wait_for("the second file", WAIT, || text("second.txt") == "two\n");

    // a server that is out of order leaves everything as it is
    vault.set(None);
    wait_for("the warning", WAIT, || worker.log().contains("older values stay in use"));
    write("three");
    wait_for("the third line", WAIT, || text("second.txt") == "two\nthree\n");
    let restarted = worker.ask("POST", &format!("/connectors/{name}/tasks/0/restart"), None);
    assert_eq!(restarted.status, 204);
    write("four");
    wait_for("the fourth line", WAIT, || text("second.txt") == "two\nthree\nfour\n");
    assert_eq!(text("first.txt"), "one\n");

    // who does not want that is left alone
    vault.set(Some(file("second.txt")));
    let still = unique("still");
    let mut unmoved = config.clone();
    unmoved["config.action.reload"] = "none".into();
    assert!(put(&worker, &still, &unmoved).starts_with("201 "));
    let status = || worker.ask("GET", &format!("/connectors/{still}/status"), None).text();
    wait_for("the second sink", WAIT, || status().matches("RUNNING").count() == 2);
    let starts = worker.log().matches("sink task is started").count();
    vault.set(Some(file("third.txt")));
    wait_for("the restart of the first", WAIT, || {
        worker.log().matches("sink task is started").count() == starts + 1
    });
    let unknown = json!({"connector.class": "FileStreamSink", "file": "${vault:nope:file}", "topics": topic});
    let refused = put(&worker, "refused", &unknown);
    assert!(refused.starts_with("500 ") && refused.contains("HTTP 404"), "{refused}");
    assert!(!worker.log().contains(TOKEN));
}

#[test]
fn secrets_are_in_no_topic_answer_or_log() {
    const SECRET: &str = "k33p-th1s-qu13t";
    let vault = Vault::start();
    vault.set(Some(json!({"password": SECRET})));
    let group = Group::new("secrets", &vault.settings());
    std::fs::write(group.path("secrets.properties"), format!("password={SECRET}\nfile=/no/{SECRET}/out\n"))
        .unwrap();
    let of_file = |key: &str| format!("${{file:{}:{key}}}", group.path("secrets.properties").display());
    let worker = group.ours_with_environment(&[("AQUEDUCT_LOG", "trace")]);
    let topic = unique("secrets");
    create_topic(group.bootstrap(), &topic, &["--partitions", "1"]);
    let jaas = |password: &str| {
        format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"nobody\" password=\"{password}\";"
        )
    };
    let mut seen = Vec::new();
    let mut names = Vec::new();
    for password in [of_file("password"), "${vault:secret/data/app:password}".to_owned()] {
        let config = json!({
            "connector.class": "FileStreamSource", "file": group.path("in.txt"), "topic": topic,
            "producer.override.bootstrap.servers": aqueduct_tests::env("AQ_KAFKA_SASL"),
            "producer.override.security.protocol": "SASL_PLAINTEXT", "producer.override.sasl.mechanism": "PLAIN",
            "producer.override.sasl.jaas.config": jaas(&password),
        });
        names.push(unique("sasl"));
        seen.push(put(&worker, &names[names.len() - 1], &config));
    }
    std::fs::write(group.path("in.txt"), "one\n").unwrap();
    // a task that fails with the value in its error, and values that are refused
    let unwritable = json!({"connector.class": "FileStreamSink", "file": of_file("file"), "topics": topic});
    names.push(unique("file"));
    seen.push(put(&worker, &names[2], &unwritable));
    for (key, value) in [
        ("tasks.max", of_file("password")),
        ("transforms", of_file("password")),
        ("value.converter", of_file("password")),
        (SECRET_KEY, of_file("password")),
        ("connector.class", of_file("password")),
    ] {
        let mut config = unwritable.clone();
        config[key] = value.into();
        seen.push(put(&worker, "refused", &config));
        let path = "/connector-plugins/FileStreamSink/config/validate";
        let answer = http(worker.port, "PUT", path, &[], Some(&config.to_string()));
        seen.push(format!("{:?} {}", answer.headers, answer.text()));
    }
    for name in &names {
        let status = || worker.ask("GET", &format!("/connectors/{name}/tasks/0/status"), None).text();
        wait_for(&format!("{name} failed"), WAIT, || status().contains("FAILED"));
        for what in ["", "/config", "/status", "/tasks", "/tasks/0/status", "/offsets", "/topics"] {
            seen.push(worker.ask("GET", &format!("/connectors/{name}{what}"), None).text());
        }
    }
    for path in ["/connectors?expand=status&expand=info", "/admin/loggers", "/metrics"] {
        seen.push(worker.ask("GET", path, None).text());
    }
    for storage in ["config", "offset", "status"] {
        let arguments = ["-C", "-q", "-e", "-t", &group.topic(storage), "-f", "%k %s\n"];
        seen.push(run(&mut kcat(group.bootstrap(), &arguments), b""));
    }
    let shown = |text: &str| seen.iter().any(|seen| seen.contains(text));
    assert!(shown("${file:") && shown("${vault:") && shown("[hidden]"), "references are what is shown");
    seen.push(worker.log());
    for text in &seen {
        let at = text.find(SECRET).or_else(|| text.find(TOKEN));
        let around = |at: usize| text.get(at.saturating_sub(300)..(at + 50).min(text.len())).unwrap_or(text);
        assert!(at.is_none(), "…{}…", at.map(around).unwrap_or_default());
    }
}

/// A key that nothing uses.
const SECRET_KEY: &str = "filex";
