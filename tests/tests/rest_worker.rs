//! What surrounds the REST API: https, client certificates, users; metrics, secrets, restarts; `aqueduct validate`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aqueduct_protocol::client::producer::Producer;
use aqueduct_tests::{Aqueduct, create_topic, env, free_port, http, run, unique, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(60);

/// A worker's folder, port and process.
struct Lab {
    folder: TempDir,
    port: u16,
    worker: Option<Aqueduct>,
}

impl Lab {
    fn new(scheme: &str, extra: &str) -> Lab {
        let lab = Lab { folder: tempfile::tempdir().unwrap(), port: free_port(), worker: None };
        let properties = format!(
            "bootstrap.servers={}\nlisteners={scheme}://127.0.0.1:{}\noffset.storage.file.filename={}\noffset.flush.interval.ms=300\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n{extra}\n",
            env("AQ_KAFKA"),
            lab.port,
            lab.path("offsets").display(),
        );
        std::fs::write(lab.path("worker.properties"), properties).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(mut self, variables: &[(&str, &str)]) -> Lab {
        let properties = self.path("worker.properties");
        let arguments = ["standalone", properties.to_str().unwrap()];
        let worker = Aqueduct::start_with(&arguments, variables, &self.path("log"));
        worker.wait_for_port(self.port);
        self.worker = Some(worker);
        self
    }

    fn create(&self, name: &str, config: &Value) {
        let path = format!("/connectors/{name}/config");
        let answer = http(self.port, "PUT", &path, &[], Some(&config.to_string()));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    fn text(&self, path: &str) -> String {
        http(self.port, "GET", path, &[], None).text()
    }

    fn wait_for_task(&self, name: &str, state: &str) {
        let task = || -> Value {
            serde_json::from_str(&self.text(&format!("/connectors/{name}/tasks/0/status"))).unwrap()
        };
        wait_for(&format!("{name} {state}"), WAIT, || task()["state"] == state);
    }
}

/// The status that curl gets, or none if there is no connection.
fn curl(port: u16, arguments: &[&str]) -> Option<String> {
    let tls = env("AQ_TLS_DIR");
    let mut command = Command::new("curl");
    command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &format!("{tls}/ca.pem")]);
    command.args(arguments).arg(format!("https://127.0.0.1:{port}/connectors"));
    let output = command.stdin(Stdio::null()).output().expect("curl is not installed");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn https_wants_a_client_certificate_and_a_user() {
    let tls = env("AQ_TLS_DIR");
    let extra = format!(
        "listeners.https.ssl.keystore.location={tls}/server.p12\nlisteners.https.ssl.keystore.password=lab-secret\n\
         listeners.https.ssl.keystore.type=PKCS12\nlisteners.https.ssl.truststore.location={tls}/trust.p12\n\
         listeners.https.ssl.truststore.password=lab-secret\nlisteners.https.ssl.truststore.type=PKCS12\n\
         listeners.https.ssl.client.auth=required\n\
         rest.extension.classes=org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension"
    );
    let lab = Lab::new("https", &extra);
    std::fs::write(lab.path("users"), "ada=love\n").unwrap();
    let jaas = format!(
        "KafkaConnect {{\n  org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule required\n  file=\"{}\";\n}};\n",
        lab.path("users").display()
    );
    std::fs::write(lab.path("jaas"), jaas).unwrap();
    let options = format!("-Xmx1g -Djava.security.auth.login.config={}", lab.path("jaas").display());
    let lab = lab.start(&[("KAFKA_OPTS", &options)]);
    let (certificate, key) = (format!("{tls}/client.pem"), format!("{tls}/client.key"));
    let known = ["--cert", certificate.as_str(), "--key", key.as_str()];
    let as_ada = |password: &str| {
        let user = format!("ada:{password}");
        curl(lab.port, &[&known[..], &["-u", &user]].concat())
    };
    assert_eq!(as_ada("love").as_deref(), Some("200"));
    assert_eq!(as_ada("hate").as_deref(), Some("401"));
    assert_eq!(curl(lab.port, &known).as_deref(), Some("401"));
    assert_eq!(curl(lab.port, &["-u", "ada:love"]), None, "without a certificate there is no connection");
}

#[test]
fn admin_listeners_browsers_and_headers() {
    let admin = free_port();
    let extra = format!(
        "admin.listeners=http://127.0.0.1:{admin}\naccess.control.allow.origin=http://a.example\n\
         access.control.allow.methods=GET,PUT\nresponse.http.headers.config=add X-Own: 1"
    );
    let lab = Lab::new("http", &extra).start(&[]);
    assert_eq!(http(lab.port, "GET", "/admin/loggers", &[], None).status, 404);
    assert_eq!(http(admin, "GET", "/admin/loggers/root", &[], None).status, 200);
    assert_eq!(http(admin, "GET", "/connectors", &[], None).status, 404);
    let asked = http(lab.port, "GET", "/", &[("Origin", "http://a.example")], None);
    assert_eq!(asked.header("access-control-allow-origin"), Some("http://a.example"));
    assert_eq!(asked.header("x-own"), Some("1"));
    let other = http(lab.port, "GET", "/", &[("Origin", "http://b.example")], None);
    assert_eq!(other.header("access-control-allow-origin"), None);
    let before = [("Origin", "http://a.example"), ("Access-Control-Request-Method", "PUT")];
    let preflight = http(lab.port, "OPTIONS", "/connectors", &before, None);
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (200, Some("GET,PUT")));
    let body = format!("{{\"level\":\"debug\",\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let huge = http(admin, "PUT", "/admin/loggers/root", &[], Some(&body));
    assert_eq!(huge.status, 413, "{}", huge.text());
    http(admin, "PUT", "/admin/loggers/root", &[], Some("{\"level\":\"debug\"}"));
    lab.text("/connectors");
    assert!(lab.worker.as_ref().unwrap().log().contains("DEBUG"), "the level acts at once");
}

#[test]
fn metrics_count_records_and_states() {
    let (lab, topic) = (Lab::new("http", "").start(&[]), unique("metrics"));
    std::fs::write(lab.path("in.txt"), "one\ntwo\nthree\n").unwrap();
    let (source, sink) = (format!("{topic}-source"), format!("{topic}-sink"));
    lab.create(
        &source,
        &json!({"connector.class": "FileStreamSource", "file": lab.path("in.txt"), "topic": topic,
            "topic.creation.default.partitions": 1, "topic.creation.default.replication.factor": 1}),
    );
    lab.create(
        &sink,
        &json!({"connector.class": "FileStreamSink", "file": lab.path("out.txt"), "topics": topic}),
    );
    let expected = [
        format!(
            "kafka_connect_source_task_metrics_source_record_poll_total{{connector=\"{source}\",task=\"0\"}} 3\n"
        ),
        format!(
            "kafka_connect_source_task_metrics_source_record_write_total{{connector=\"{source}\",task=\"0\"}} 3\n"
        ),
        format!(
            "kafka_connect_sink_task_metrics_sink_record_send_total{{connector=\"{sink}\",task=\"0\"}} 3\n"
        ),
        format!(
            "kafka_connect_connector_task_metrics_status{{connector=\"{sink}\",task=\"0\",status=\"running\"}} 1\n"
        ),
        format!(
            "kafka_connect_connector_task_metrics_batch_size_max{{connector=\"{source}\",task=\"0\"}} 3\n"
        ),
        "kafka_connect_connect_worker_metrics_connector_count 2\n".to_owned(),
        format!(
            "kafka_connect_connect_worker_metrics_connector_running_task_count{{connector=\"{sink}\"}} 1\n"
        ),
    ];
    for line in expected {
        wait_for(&line, WAIT, || lab.text("/metrics").contains(&line));
    }
    let value = |name: &str, client: &str| -> Option<f64> {
        let line = format!("kafka_{name}{{client_id=\"connector-{client}-0\"}} ");
        lab.text("/metrics").lines().find_map(|text| text.strip_prefix(&line)?.parse().ok())
    };
    let (producer, consumer) = (format!("producer-{source}"), format!("consumer-{sink}"));
    for (name, client, least) in [
        ("producer_producer_metrics_record_send_total", &producer, 3.0),
        ("producer_producer_metrics_outgoing_byte_total", &producer, 11.0),
        ("producer_producer_metrics_batch_size_avg", &producer, 11.0),
        ("producer_producer_metrics_request_latency_max", &producer, 0.0),
        ("producer_producer_metrics_record_error_total", &producer, 0.0),
        ("producer_producer_metrics_bufferpool_wait_time_ns_total", &producer, 0.0),
        ("consumer_consumer_fetch_manager_metrics_records_consumed_total", &consumer, 3.0),
        ("consumer_consumer_fetch_manager_metrics_bytes_consumed_total", &consumer, 11.0),
        ("consumer_consumer_fetch_manager_metrics_records_consumed_rate", &consumer, 0.0),
        ("consumer_consumer_coordinator_metrics_commit_total", &consumer, 1.0),
        ("consumer_consumer_coordinator_metrics_assigned_partitions", &consumer, 1.0),
    ] {
        wait_for(name, WAIT, || value(name, client).is_some_and(|value| value >= least));
    }
    let lag = "kafka_consumer_consumer_fetch_manager_metrics_records_lag";
    wait_for(lag, WAIT, || {
        lab.text("/metrics").lines().any(|line| line.starts_with(lag) && line.ends_with("} 0"))
    });
    http(lab.port, "DELETE", &format!("/connectors/{sink}"), &[], None);
    assert!(!lab.text("/metrics").contains(&sink), "nothing is left of a connector that is gone");
}

/// Ours beside those of the JVM: how far tasks are behind in time, what waits, and where the time goes.
#[test]
fn metrics_show_lag_back_pressure_and_stages() {
    /// Lag is reported every 5 s: there are more than are taken by then.
    const RECORDS: usize = 2_000;
    const RECORD: [u8; 10_000] = [b'x'; 10_000];
    const AGE_SECONDS: i64 = 3_600;
    let (lab, topic) = (Lab::new("http", "").start(&[]), unique("lag"));
    let value = |name: &str, labels: &[(&str, &str)]| -> Option<f64> {
        let labelled =
            |line: &&str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
        let text = lab.text("/metrics");
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && labelled(line))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let wait_for_value = |name: &str, labels: &[(&str, &str)], wanted: &dyn Fn(f64) -> bool| {
        let what = format!("{name} {labels:?}");
        wait_for(&what, WAIT, || value(name, labels).is_some_and(wanted));
    };

    // a producer whose memory holds a hundredth of the file
    let (source, line) = (format!("{topic}-source"), "x".repeat(99) + "\n");
    std::fs::write(lab.path("in.txt"), line.repeat(30_000)).unwrap();
    lab.create(
        &source,
        &json!({"connector.class": "FileStreamSource", "file": lab.path("in.txt"), "topic": format!("{topic}-full"),
            "topic.creation.default.partitions": 1, "topic.creation.default.replication.factor": 1,
            "producer.override.buffer.memory": 32_768, "producer.override.batch.size": 16_384}),
    );
    let client = format!("connector-producer-{source}-0");
    let blocked = "kafka_producer_producer_metrics_bufferpool_wait_time_ns_total";
    wait_for_value(blocked, &[("client_id", &client)], &|ns| ns > 0.0);
    let task = [("connector", source.as_str()), ("task", "0")];
    wait_for_value("aqueduct_source_buffered_bytes", &task, &|bytes| (0.0..=32_768.0).contains(&bytes));
    wait_for_value("aqueduct_source_lag_seconds", &task, &|seconds| (0.0..600.0).contains(&seconds));
    wait_for_value("aqueduct_task_convert_max_time_ms", &task, &|ms| ms > 0.0);
    wait_for_value("aqueduct_task_convert_avg_time_ms", &task, &|ms| ms > 0.0);

    // a sink that cannot keep up, and records of an hour ago
    create_topic(&env("AQ_KAFKA"), &topic, &["--partitions", "1"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let settings = [("bootstrap.servers".to_owned(), env("AQ_KAFKA"))].into_iter().collect();
        let producer = Producer::new(&settings).await.unwrap();
        let handle = producer.topic(&topic).await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let mut session = producer.session();
        for _ in 0..RECORDS {
            let then = Some((now - AGE_SECONDS) * 1000);
            while session.append(&handle, Some(0), then, None, Some(&RECORD), &[]).is_err() {
                session.wait_capacity().await.unwrap();
            }
        }
        session.finish().await.unwrap();
    });
    let (sink, pipe) = (format!("{topic}-sink"), lab.path("pipe"));
    run(Command::new("mkfifo").arg(&pipe), b"");
    lab.create(
        &sink,
        &json!({"connector.class": "FileStreamSink", "file": pipe, "topics": topic,
            "consumer.override.max.poll.records": 10}),
    );
    std::thread::spawn(move || {
        let (mut pipe, mut bytes) = (std::fs::File::open(pipe).unwrap(), vec![0; 10 * RECORD.len()]);
        while pipe.read_exact(&mut bytes).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let client = format!("connector-consumer-{sink}-0");
    let partition = [("client_id", client.as_str()), ("topic", topic.as_str()), ("partition", "0")];
    let seconds = "aqueduct_consumer_lag_seconds";
    wait_for_value(seconds, &partition, &|seconds| {
        (AGE_SECONDS as f64..2.0 * AGE_SECONDS as f64).contains(&seconds)
    });
    let records = "kafka_consumer_consumer_fetch_manager_metrics_records_lag";
    let bound = RECORDS as f64;
    assert!(
        value(records, &partition).is_some_and(|lag| lag > 0.0 && lag < bound),
        "{}",
        lab.text("/metrics")
    );
}

#[test]
fn a_failed_task_starts_again_by_itself() {
    let (lab, name) = (Lab::new("http", "").start(&[]), unique("again"));
    let file = lab.path("later/out.txt");
    let config = json!({"connector.class": "FileStreamSink", "file": file, "topics": name, "errors.auto.restart": true});
    lab.create(&name, &config);
    lab.wait_for_task(&name, "FAILED");
    std::fs::create_dir(lab.path("later")).unwrap();
    lab.wait_for_task(&name, "RUNNING");
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    const SECRET: &str = "k33p-th1s-qu13t";
    let extra = "config.providers=file\nconfig.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider";
    let (lab, name) = (Lab::new("http", extra), unique("secret"));
    std::fs::write(lab.path("secrets.properties"), format!("password={SECRET}\nnumber=seven{SECRET}\n"))
        .unwrap();
    let lab = lab.start(&[("AQUEDUCT_LOG", "trace")]);
    let reference = |key: &str| format!("${{file:{}:{key}}}", lab.path("secrets.properties").display());
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"nobody\" password=\"{}\";",
        reference("password")
    );
    let config = json!({
        "connector.class": "FileStreamSource", "file": lab.path("in.txt"), "topic": name,
        "producer.override.bootstrap.servers": env("AQ_KAFKA_SASL"),
        "producer.override.security.protocol": "SASL_PLAINTEXT", "producer.override.sasl.mechanism": "PLAIN",
        "producer.override.sasl.jaas.config": jaas,
    });
    std::fs::write(lab.path("in.txt"), "one\n").unwrap();
    lab.create(&name, &config);
    lab.wait_for_task(&name, "FAILED");
    let validated = http(
        lab.port,
        "PUT",
        "/connector-plugins/FileStreamSource/config/validate",
        &[],
        Some(&config.to_string()),
    );
    let mut seen = vec![validated.text(), lab.worker.as_ref().unwrap().log(), lab.text("/metrics")];
    for path in ["/connectors?expand=status&expand=info", "/connectors", "/admin/loggers"] {
        seen.push(lab.text(path));
    }
    for what in ["", "/config", "/status", "/tasks", "/tasks/0/status", "/offsets", "/topics"] {
        seen.push(lab.text(&format!("/connectors/{name}{what}")));
    }
    assert!(seen.iter().any(|text| text.contains("${file:")), "the reference is what is shown");
    for text in seen {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn files_are_checked_without_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, config: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, config.to_string()).unwrap();
        let output = Command::new(env("AQ_BIN")).args([Path::new("validate"), &path]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let good = json!({"name": "a", "connector.class": "FileStreamSource", "topic": "t", "task.max": "3",
        "producer.override.liger.ms": "5"});
    let (valid, said) = check("good.json", &good);
    assert!(valid && said.contains("ok: ") && said.contains("did you mean tasks.max?"), "{said}");
    assert!(
        said.contains("producer.override.liger.ms") && said.contains("did you mean linger.ms?"),
        "{said}"
    );
    let bad = json!({"name": "a", "connector.class": "FileStreamSource", "tasks.max": "0", "transforms": "x",
        "producer.override.linger.ms": "soon"});
    let (valid, said) = check("bad.json", &bad);
    assert!(!valid, "{said}");
    for expected in [
        "topic: Missing required",
        "tasks.max: Invalid value 0",
        "transforms.x.type: Missing required",
        "producer.override.linger.ms: Invalid value soon",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn connections_are_tried_when_asked_for() {
    let lab = Lab::new("http", "").start(&[]);
    let (nowhere, database) = (format!("127.0.0.1:{}", free_port()), free_port());
    let sink = json!({
        "name": "a", "connector.class": "io.confluent.connect.jdbc.JdbcSinkConnector", "topics": unique("absent"),
        "connection.url": format!("jdbc:postgresql://127.0.0.1:{database}/x"), "connection.user": "ada", "connection.password": "s3cret-word",
    });
    let source = json!({"name": "b", "connector.class": "FileStreamSource", "topic": "t",
        "producer.override.bootstrap.servers": nowhere, "producer.override.default.api.timeout.ms": "2000"});
    let check = |name: &str, config: &Value, connect: bool| {
        let path = lab.path(name);
        std::fs::write(&path, config.to_string()).unwrap();
        let mut command = Command::new(env("AQ_BIN"));
        command.args([Path::new("validate"), &path, Path::new("--worker"), &lab.path("worker.properties")]);
        let output = command.args(connect.then_some("--connect")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(check("sink.json", &sink, false).0);
    let (valid, said) = check("sink.json", &sink, true);
    assert!(!valid && said.contains("connection.url: ") && said.contains("does not exist yet"), "{said}");
    assert!(said.contains(&database.to_string()) && !said.contains("s3cret-word"), "{said}");
    let (valid, said) = check("source.json", &source, true);
    assert!(
        !valid && said.contains("producer.override.bootstrap.servers: ") && said.contains(&nowhere),
        "{said}"
    );
    let path = "/connector-plugins/JdbcSinkConnector/config/validate";
    let count = |query: &str| {
        let answer = http(lab.port, "PUT", &format!("{path}{query}"), &[], Some(&sink.to_string()));
        serde_json::from_slice::<Value>(&answer.body).unwrap()["error_count"].clone()
    };
    assert_eq!((count(""), count("?connect=true")), (json!(0), json!(1)));
}
