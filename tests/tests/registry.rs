//! A real schema registry, and messages of an independent client: Confluent's for Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::create;
use aqueduct_engine::data::{Batch, Record, Side, Span};
use aqueduct_schema_registry::{
    Auth, Client, Compatibility, Config, ErrorKind, Mode, Reference, Schema, SchemaType, Secret, Version,
};
use aqueduct_tests::{Aqueduct, env, free_port, repository, run, unique, wait_for};
use bytes::Bytes;

const WAIT: Duration = Duration::from_secs(60);

fn client() -> Client {
    Client::new(Config { urls: vec![env("AQ_REGISTRY")], ..Config::default() }).unwrap()
}

fn avro(text: &str) -> Arc<Schema> {
    Arc::new(Schema::new(SchemaType::Avro, text))
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new(env("AQ_REGISTRY_PYTHON"));
    command.arg(repository().join("tests/clients/registry.py")).args(arguments);
    command
}

#[tokio::test]
async fn schemas_are_registered_and_found() {
    let (client, subject) = (client(), unique("registry-value"));
    let first = avro(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#);
    let id = client.register(&subject, &first, false).await.unwrap().id;
    // another client has learnt nothing yet
    let other = self::client();
    assert_eq!(other.schema_by_id(id, "").await.unwrap().schema_type, SchemaType::Avro);
    let known = other.look_up(&subject, &first, false).await.unwrap();
    assert_eq!((known.id, known.version), (id, 1));
    let latest = other.version(&subject, Version::Latest).await.unwrap();
    assert_eq!((latest.id, latest.version), (id, 1));
    assert!(other.subjects(false).await.unwrap().contains(&subject));
    assert_eq!(other.versions(&subject, false).await.unwrap(), [1]);
    assert!(other.uses_of(id).await.unwrap().contains(&(subject.clone(), 1)));

    let second = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}"#;
    assert!(client.compatibility_with(&subject, Version::Latest, &avro(second)).await.unwrap().is_compatible);
    assert_eq!(client.register(&subject, &avro(second), false).await.unwrap().version.max(2), 2);
    let misfit = avro(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#);
    assert!(!client.compatibility_with(&subject, Version::Latest, &misfit).await.unwrap().is_compatible);
    assert_eq!(client.register(&subject, &misfit, false).await.unwrap_err().kind, ErrorKind::Incompatible);
    let nonsense = client.register(&subject, &avro(r#"{"type":"nothing"}"#), false).await.unwrap_err();
    assert_eq!((nonsense.kind, nonsense.code), (ErrorKind::Refused, Some(42201)));

    for (error, code) in [
        (client.schema_by_id(1_999_999_999, "").await.map(drop).unwrap_err(), 40403),
        (client.version("no-such-subject", Version::Latest).await.map(drop).unwrap_err(), 40401),
        (client.version(&subject, Version::Number(77)).await.map(drop).unwrap_err(), 40402),
    ] {
        assert_eq!((error.kind, error.code), (ErrorKind::NotFound, Some(code)), "{error}");
    }

    client.set_compatibility(Some(&subject), Compatibility::None).await.unwrap();
    assert_eq!(client.compatibility(Some(&subject)).await.unwrap(), Compatibility::None);
    assert!(client.register(&subject, &misfit, false).await.is_ok());
    assert_eq!(client.mode(None).await.unwrap(), Mode::ReadWrite);
    assert!(!client.contexts().await.unwrap().is_empty());
    assert_eq!(client.delete_version(&subject, Version::Number(1), false).await.unwrap(), 1);
    assert!(client.delete_subject(&subject, false).await.unwrap().ends_with(&[2, 3]));
    assert!(!client.subjects(false).await.unwrap().contains(&subject));
}

#[tokio::test]
async fn references_are_followed() {
    let (client, subject) = (client(), unique("registry-references"));
    let inner = format!("{subject}-inner");
    let color = avro(r#"{"type":"enum","name":"n.Color","symbols":["RED"]}"#);
    client.register(&inner, &color, false).await.unwrap();
    let outer = Schema {
        references: vec![Reference { name: "n.Color".to_owned(), subject: inner.clone(), version: 1 }],
        ..Schema::new(
            SchemaType::Avro,
            r#"{"type":"record","name":"O","fields":[{"name":"c","type":"n.Color"}]}"#,
        )
    };
    let id = client.register(&subject, &Arc::new(outer), false).await.unwrap().id;
    let other = self::client();
    let found = other.schema_by_id(id, "").await.unwrap();
    let used = other.resolve(&found).await.unwrap();
    assert_eq!(used.iter().map(|used| used.name.as_str()).collect::<Vec<_>>(), ["n.Color"]);
    assert!(used[0].schema.text.contains("RED"));
    assert_eq!(other.referenced_by(&inner, Version::Number(1)).await.unwrap(), [id]);
}

/// A converter's settings for the registry with users and TLS.
fn secure(user: &str) -> ConfigMap {
    let ca = format!("{}/ca.pem", env("AQ_TLS_DIR"));
    [
        ("schema.registry.url", env("AQ_REGISTRY_SECURE")),
        ("basic.auth.credentials.source", "USER_INFO".to_owned()),
        ("basic.auth.user.info", user.to_owned()),
        ("schema.registry.ssl.truststore.type", "PEM".to_owned()),
        ("schema.registry.ssl.truststore.location", ca),
        ("max.retries", "0".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Encodes a text with the Avro converter; gives the record's error, if it has one.
async fn encode(settings: &ConfigMap) -> Option<String> {
    let mut json = create("StringConverter", &ConfigMap::new(), false).unwrap();
    let mut avro = create("AvroConverter", settings, false).unwrap();
    let mut batch = Batch::default();
    let topic = batch.intern_topic(&unique("registry-secure"));
    let segment = batch.add_segment(Bytes::from_static(b"text"));
    let raw_value = Some(Span { segment, offset: 0, len: 4 });
    batch.records.push(Record { topic, raw_value, ..Record::default() });
    json.decode(&mut batch, Side::Value);
    let wait = avro.prepare_encode(&batch, Side::Value).expect("the schema is not known yet");
    tokio::time::timeout(WAIT, wait).await.expect("the registry answers");
    avro.encode(&mut batch, Side::Value, &mut aqueduct_engine::converter::Encoded::default());
    batch.errors.first().map(ToString::to_string)
}

#[tokio::test]
async fn users_and_certificates() {
    assert_eq!(encode(&secure("app:app-secret")).await, None);
    for user in ["reader:reader-secret", "app:wrong"] {
        let error = encode(&secure(user)).await.unwrap();
        assert!(error.contains("ConfigException") && !error.contains("secret"), "{error}");
    }
    let untrusted = Client::new(Config {
        urls: vec![env("AQ_REGISTRY_SECURE")],
        auth: Auth::Basic { user: "app".to_owned(), password: Secret::new("app-secret") },
        ..Config::default()
    });
    let error = untrusted.unwrap().subjects(false).await.unwrap_err();
    assert!(error.to_string().contains("schema.registry.ssl.truststore.location"), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_waited_for() {
    let port = free_port();
    let settings: ConfigMap =
        [("schema.registry.url", format!("http://127.0.0.1:{port}")), ("max.retries", "0".to_owned())]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
    let mut converter = create("AvroConverter", &settings, false).unwrap();
    let mut batch = Batch::default();
    let topic = batch.intern_topic("t");
    let segment = batch.add_segment(Bytes::from_static(&[0, 0, 0, 0, 9, 2]));
    let raw_value = Some(Span { segment, offset: 0, len: 6 });
    batch.records.push(Record { topic, raw_value, ..Record::default() });
    batch.records.push(Record { topic, ..Record::default() });
    let mut wait = converter.prepare_decode(&batch, Side::Value).expect("the schema is not known yet");
    let waited = tokio::time::timeout(Duration::from_secs(2), &mut wait).await;
    assert!(waited.is_err(), "it waits as long as nobody answers");
    // a tombstone needs no schema
    batch.records.remove(0);
    assert!(converter.prepare_decode(&batch, Side::Value).is_none());
}

/// A worker's folder with its files.
struct Worker {
    folder: tempfile::TempDir,
    port: u16,
}

impl Worker {
    fn new() -> Worker {
        let worker = Worker { folder: tempfile::tempdir().unwrap(), port: free_port() };
        worker.write(
            "worker.properties",
            &format!(
                "bootstrap.servers={}\nlisteners=http://127.0.0.1:{}\nkey.converter=StringConverter\n\
                 value.converter=io.confluent.connect.avro.AvroConverter\nvalue.converter.schema.registry.url={}\n\
                 offset.storage.file.filename={}\noffset.flush.interval.ms=500\n",
                env("AQ_KAFKA"),
                worker.port,
                env("AQ_REGISTRY"),
                worker.path("offsets").display()
            ),
        );
        worker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn start(&self) -> Aqueduct {
        let text = |path: &Path| path.display().to_string();
        let (worker, connector) = (text(&self.path("worker.properties")), text(&self.path("c.properties")));
        let process = Aqueduct::start(&["standalone", &worker, &connector], &self.path("log"));
        process.wait_for_port(self.port);
        process
    }
}

#[test]
fn our_sink_reads_what_another_client_wrote() {
    const COUNT: usize = 500;
    let (worker, topic) = (Worker::new(), unique("registry-in"));
    aqueduct_tests::create_topic(&env("AQ_KAFKA"), &topic, &["--partitions", "1"]);
    run(&mut python(&["produce", &env("AQ_KAFKA"), &env("AQ_REGISTRY"), &topic, &COUNT.to_string()]), b"");
    let out = worker.path("out.txt");
    worker.write(
        "c.properties",
        &format!("name={topic}\nconnector.class=FileStreamSink\ntopics={topic}\nfile={}\n", out.display()),
    );
    let process = worker.start();
    let lines = || fs::read_to_string(&out).unwrap_or_default();
    wait_for("all orders", WAIT, || lines().lines().count() > COUNT);
    assert!(process.terminate().success());
    let text = lines();
    let all: Vec<&str> = text.lines().collect();
    assert_eq!(
        all[5],
        "Struct{id=5,customer=customer ü 5,amount=1.25,created=Fri Jan 02 03:04:05 UTC 2026,color=GREEN,note=nnnnn,\
         either=Struct{string=text},tags={t=5},parts=[Struct{name=p0}]}"
    );
    assert!(all[0].ends_with("color=RED,tags={t=0},parts=[]}"), "{}", all[0]);
    assert_eq!(all[COUNT], "null");
}

#[test]
fn another_client_reads_what_our_source_writes() {
    const COUNT: usize = 300;
    let (worker, topic) = (Worker::new(), unique("registry-out"));
    let file = worker.path("in.txt");
    let lines: String = (0..COUNT).map(|number| format!("line ü {number}\n")).collect();
    worker.write("in.txt", &lines);
    worker.write(
        "c.properties",
        &format!(
            "name={topic}\nconnector.class=FileStreamSource\nfile={}\ntopic={topic}\ntopic.creation.default.partitions=1\n\
             topic.creation.default.replication.factor=1\ntransforms=hoist,insert\n\
             transforms.hoist.type=org.apache.kafka.connect.transforms.HoistField$Value\ntransforms.hoist.field=line\n\
             transforms.insert.type=org.apache.kafka.connect.transforms.InsertField$Value\n\
             transforms.insert.static.field=from\ntransforms.insert.static.value=file\n",
            file.display()
        ),
    );
    let process = worker.start();
    let read = run(
        &mut python(&["consume", &env("AQ_KAFKA"), &env("AQ_REGISTRY"), &topic, &COUNT.to_string()]),
        b"",
    );
    assert!(process.terminate().success());
    for (number, line) in read.lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value, serde_json::json!({"line": format!("line ü {number}"), "from": "file"}));
    }
    assert_eq!(read.lines().count(), COUNT);
}
