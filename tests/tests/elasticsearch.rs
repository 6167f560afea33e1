//! The search sink as users run it: the built binary against real Elasticsearch 9 and 7 and OpenSearch 3.

#[path = "elasticsearch/support.rs"]
mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use aqueduct_tests::{Database, Worker, env, records, repository, unique, wait_for};
use serde_json::{Value, json};
use support::{
    KINDS, OwnSearch, Search, TlsFront, WAIT, failure, header, metric, produce, sink, task, topic,
};

/// `count` lines of a key and a document each.
fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "k{number}\t{{\"n\": {number},\"text\":\"some text \\u00e9 {number}\"}}");
        text
    })
}

#[test]
fn documents_tombstones_and_replays_on_every_server() {
    for kind in KINDS {
        let (search, topic) = (Search::of(kind), topic("search-insert"));
        produce(&topic, &lines(3000), &[]);
        let settings = json!({"behavior.on.null.values": "delete", "connection.compression": "true"});
        let first = format!("{topic}-sink");
        let worker = Worker::aqueduct(&[sink(&first, search, &topic, &settings)]);
        search.wait_for_count(&topic, 3000, &worker);
        let document = search.document(&topic, "k7").unwrap();
        assert_eq!(document["_source"], json!({"n": 7, "text": "some text é 7"}));
        assert_eq!(document["_version"], 7, "the version is the offset");
        produce(&topic, "k7\t\nk8\t{\"n\":-8}\n", &[]);
        search.wait_for_count(&topic, 2999, &worker);
        wait_for("the change of k8", WAIT, || search.document(&topic, "k8").unwrap()["_version"] == 3001);
        assert_eq!(metric(&worker, "aqueduct_search_stale_versions_total", &first), 0);
        worker.stop();

        // another connector reads everything again: nothing changes, old versions are counted
        let before = search.all(&topic);
        let second = format!("{topic}-again");
        let worker = Worker::aqueduct(&[sink(&second, search, &topic, &settings)]);
        let stale = || metric(&worker, "aqueduct_search_stale_versions_total", &second);
        wait_for("the replay", WAIT, || stale() >= 3001);
        assert_eq!(task(&worker, &second).0, "RUNNING", "{}", worker.log());
        let sorted = |mut documents: Vec<(String, Value)>| {
            documents.sort_by(|a, b| a.0.cmp(&b.0));
            documents
        };
        assert!(sorted(before) == sorted(search.all(&topic)), "{kind}: the replay changed documents");
        worker.stop();
    }
}

#[test]
fn upserts_merge_in_order() {
    for kind in KINDS {
        let (search, topic) = (Search::of(kind), topic("search-upsert"));
        let mut text = String::from("a\t{\"first\":1,\"kept\":true}\na\t{\"second\":2}\n");
        // a few documents that many records change, in small bulks of which several are under way
        for number in 0..2000 {
            let _ = writeln!(text, "hot{}\t{{\"n\":{number},\"f{}\":{number}}}", number % 5, number % 7);
        }
        text.push_str("b\t{\"x\":1}\nb\t\nb\t{\"y\":2}\n");
        produce(&topic, &text, &[]);
        let settings = json!({
            "write.method": "UPSERT", "behavior.on.null.values": "delete", "batch.size": "100", "max.retries": "20",
        });
        let name = format!("{topic}-sink");
        let worker = Worker::aqueduct(&[sink(&name, search, &topic, &settings)]);
        wait_for(&format!("the last document; log: {}", worker.log()), WAIT, || {
            search.document(&topic, "b").is_some_and(|found| found["_source"] == json!({"y": 2}))
        });
        let merged = search.document(&topic, "a").unwrap()["_source"].clone();
        assert_eq!(merged, json!({"first": 1, "kept": true, "second": 2}));
        for hot in 0..5 {
            let found = search.document(&topic, &format!("hot{hot}")).unwrap()["_source"].clone();
            assert_eq!(found["n"], 1995 + hot, "{kind}: {found}");
            for field in 0..7 {
                let last = (0..2000).rev().find(|number| number % 5 == hot && number % 7 == field).unwrap();
                assert_eq!(found[format!("f{field}")], last, "{kind}: {found}");
            }
        }
        worker.stop();
    }
}

#[test]
fn mappings_come_from_schemas() {
    let search = Search::of(KINDS[0]);
    let topic = topic("search-schema");
    let schema = json!({"type": "struct", "optional": false, "fields": [
        {"field": "id", "type": "int64"},
        {"field": "name", "type": "string", "optional": true},
        {"field": "price", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": {"scale": "2"}},
        {"field": "at", "type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1},
        {"field": "raw", "type": "bytes"},
        {"field": "tags", "type": "map", "keys": {"type": "string"}, "values": {"type": "int32"}},
    ]});
    let payload = json!({"id": 1, "name": "é", "price": "BNI=", "at": 1_700_000_000_123_i64, "raw": "AQID", "tags": {"x": 1}});
    produce(&topic, &format!("k\t{}\n", json!({"schema": schema, "payload": payload})), &[]);
    let settings = json!({
        "schema.ignore": "false", "key.ignore": "true", "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
    });
    let worker = Worker::aqueduct(&[sink(&format!("{topic}-sink"), search, &topic, &settings)]);
    search.wait_for_count(&topic, 1, &worker);
    let document = search.document(&topic, &format!("{topic}%2B0%2B0")).unwrap();
    let expected = json!({"id": 1, "name": "é", "price": 12.34, "at": 1_700_000_000_123_i64, "raw": "AQID", "tags": {"x": 1}});
    assert_eq!(document["_source"], expected);
    let mapping = search.json("GET", &format!("/{topic}/_mapping"), None);
    let properties = &mapping[topic.as_str()]["mappings"]["properties"];
    for (field, kind) in
        [("id", "long"), ("price", "double"), ("at", "date"), ("raw", "binary"), ("name", "text")]
    {
        assert_eq!(properties[field]["type"], kind, "{properties}");
    }
    assert_eq!(properties["name"]["fields"]["keyword"]["ignore_above"], 256);
    worker.stop();
}

#[test]
fn refused_documents_go_to_the_dead_letter_queue_with_the_reason() {
    for kind in KINDS {
        let (search, topic) = (Search::of(kind), topic("search-refused"));
        let mapping =
            json!({"mappings": {"properties": {"n": {"type": "long"}, "word": {"type": "keyword"}}}});
        search.json("PUT", &format!("/{topic}"), Some(&mapping));
        let long = "x".repeat(600);
        let huge = "y".repeat(40_000);
        let text = format!(
            "good1\t{{\"n\":1}}\nconflict\t{{\"n\":\"secret-word\"}}\n{long}\t{{\"n\":2}}\nlist\t[1]\nhuge\t{{\"word\":\"{huge}\"}}\ngood2\t{{\"n\":3}}\n"
        );
        produce(&topic, &text, &[]);
        let letters = format!("{topic}-dlq");
        let settings = json!({
            "behavior.on.malformed.documents": "warn", "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": letters, "errors.deadletterqueue.context.headers.enable": "true",
        });
        let name = format!("{topic}-sink");
        let worker = Worker::aqueduct(&[sink(&name, search, &topic, &settings)]);
        search.wait_for_count(&topic, 2, &worker);
        wait_for(&format!("four dead letters; log: {}", worker.log()), WAIT, || records(&letters).len() == 4);
        let mut reasons: HashMap<String, String> = HashMap::new();
        for record in records(&letters) {
            let key = record["key"].as_str().unwrap().to_owned();
            assert_eq!(header(&record, "__connect.errors.topic"), topic);
            assert_eq!(header(&record, "__connect.errors.stage"), "TASK_PUT");
            reasons.insert(key, header(&record, "__connect.errors.exception.message"));
        }
        assert!(
            reasons["conflict"].contains("failed to parse field [n] of type [long]"),
            "{kind}: {reasons:?}"
        );
        assert!(!reasons["conflict"].contains("secret-word"), "{kind}: {reasons:?}");
        assert!(reasons[&long].contains("600 bytes"), "{kind}: {reasons:?}");
        assert!(reasons["list"].contains("no JSON object"), "{kind}: {reasons:?}");
        assert!(reasons["huge"].contains("word"), "{kind}: {reasons:?}");
        assert_eq!(task(&worker, &name).0, "RUNNING");
        worker.stop();
    }
}

#[test]
fn without_tolerance_a_refused_document_fails_the_task_and_is_read_again() {
    let (search, topic) = (Search::of(KINDS[0]), topic("search-fail"));
    let mapping = json!({"mappings": {"properties": {"n": {"type": "long"}}}});
    search.json("PUT", &format!("/{topic}"), Some(&mapping));
    produce(&topic, "a\t{\"n\":1}\nb\t{\"n\":\"word\"}\nc\t{\"n\":2}\n", &[]);
    let name = format!("{topic}-sink");
    let connector = sink(&name, search, &topic, &json!({}));
    let worker = Worker::aqueduct(std::slice::from_ref(&connector));
    let trace = failure(&worker, &name);
    assert!(trace.contains("offset=1") && trace.contains("failed to parse field [n]"), "{trace}");
    assert!(!trace.contains("word'"), "{trace}");
    // once the index can take it, a restart goes on where it stopped
    search.json("DELETE", &format!("/{topic}"), None);
    assert_eq!(worker.ask("POST", &format!("/connectors/{name}/tasks/0/restart"), None).status, 204);
    wait_for("the others", WAIT, || search.document(&topic, "a").is_some());
    worker.stop();
}

/// A mapping that may not grow any more refuses the documents that would make it grow, and no others.
#[test]
fn a_document_with_too_many_fields_goes_to_the_dead_letter_queue() {
    for kind in KINDS {
        let (search, topic) = (Search::of(kind), topic("search-explosion"));
        let settings = json!({"settings": {"index.mapping.total_fields.limit": 5}});
        search.json("PUT", &format!("/{topic}"), Some(&settings));
        let fields: Vec<String> = (0..9).map(|field| format!("\"f{field}\":{field}")).collect();
        let explosion = format!("{{{}}}", fields.join(","));
        produce(&topic, &format!("one\t{{\"n\":1}}\nmany\t{explosion}\ntwo\t{{\"n\":2}}\n"), &[]);
        let letters = format!("{topic}-dlq");
        let settings = json!({
            "behavior.on.malformed.documents": "warn", "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": letters, "errors.deadletterqueue.context.headers.enable": "true",
        });
        let name = format!("{topic}-sink");
        let worker = Worker::aqueduct(&[sink(&name, search, &topic, &settings)]);
        search.wait_for_count(&topic, 2, &worker);
        wait_for(&format!("the dead letter; log: {}", worker.log()), WAIT, || records(&letters).len() == 1);
        let letter = &records(&letters)[0];
        assert_eq!(letter["key"], "many");
        let reason = header(letter, "__connect.errors.exception.message");
        assert!(reason.contains("Limit of total fields [5]"), "{kind}: {reason}");
        assert_eq!(task(&worker, &name).0, "RUNNING");
        worker.stop();
    }
}

/// Nothing is lost while an index takes no writes: because somebody has said so, or because the disk is full up to the flood stage's
/// watermark, when the server sets `read_only_allow_delete`.
#[test]
fn a_blocked_index_is_waited_for() {
    for (kind, block) in [
        (KINDS[0], "write"),
        (KINDS[2], "write"),
        (KINDS[0], "read_only_allow_delete"),
        (KINDS[1], "read_only_allow_delete"),
        (KINDS[2], "read_only_allow_delete"),
    ] {
        let (search, topic) = (Search::of(kind), topic("search-blocked"));
        let set = |on: bool| {
            let setting = format!("index.blocks.{block}");
            search.json("PUT", &format!("/{topic}/_settings"), Some(&json!({setting: on})));
        };
        search.json("PUT", &format!("/{topic}"), None);
        set(true);
        produce(&topic, &lines(50), &[]);
        let name = format!("{topic}-sink");
        let settings = json!({"max.retries": "50", "retry.backoff.ms": "20"});
        let worker = Worker::aqueduct(&[sink(&name, search, &topic, &settings)]);
        wait_for(&format!("retries; {kind} {block}; log: {}", worker.log()), WAIT, || {
            metric(&worker, "aqueduct_search_retries_total", &name) > 1
        });
        assert_eq!(search.count(&topic), 0, "{kind} {block}");
        set(false);
        search.wait_for_count(&topic, 50, &worker);
        assert_eq!(task(&worker, &name).0, "RUNNING", "{kind} {block}");
        worker.stop();
    }
}

#[test]
fn missing_targets_and_wrong_settings_are_told() {
    let (search, topic) = (Search::of(KINDS[0]), topic("search-missing"));
    produce(&topic, &lines(1), &[]);
    let name = format!("{topic}-sink");
    let settings = json!({
        "external.resource.usage": "INDEX", "topic.to.external.resource.mapping": format!("{topic}:no-such-index"),
    });
    let worker = Worker::aqueduct(&[sink(&name, search, &topic, &settings)]);
    let trace = failure(&worker, &name);
    assert!(trace.contains("'no-such-index' does not exist"), "{trace}");
    let class = "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector";
    let config = json!({
        "connector.class": class, "name": "x", "topics": "t", "connection.url": "http://h", "batch.size": "9000",
    });
    let path = format!("/connector-plugins/{class}/config/validate");
    let report: Value = serde_json::from_str(&worker.put(&path, &config)).unwrap();
    let errors = |key: &str| {
        let configs = report["configs"].as_array().unwrap();
        let found = configs.iter().find(|config| config["value"]["name"] == key).unwrap();
        found["value"]["errors"].as_array().unwrap().len()
    };
    assert_eq!((errors("batch.size"), errors("max.buffered.records"), errors("linger.ms")), (1, 1, 0));
    worker.stop();
}

#[test]
fn data_streams() {
    let (search, topic) = (Search::of(KINDS[2]), topic("search-stream"));
    produce(&topic, "a\t{\"n\":1}\nb\t{\"n\":2,\"@timestamp\":\"2020-01-01T00:00:00Z\"}\n", &[]);
    let settings = json!({
        "connector.class": "io.aiven.kafka.connect.opensearch.OpensearchSinkConnector",
        "data.stream.enabled": "true", "data.stream.prefix": "test",
    });
    let worker = Worker::aqueduct(&[sink(&format!("{topic}-sink"), search, &topic, &settings)]);
    let stream = format!("test-{topic}");
    search.wait_for_count(&stream, 2, &worker);
    let found = search.all(&stream);
    let stamps: HashMap<&str, &Value> =
        found.iter().map(|(id, source)| (id.as_str(), &source["@timestamp"])).collect();
    assert!(stamps["a"].as_i64().is_some_and(|ms| ms > 1_600_000_000_000), "{found:?}");
    assert_eq!(stamps["b"], "2020-01-01T00:00:00Z");
    worker.stop();
}

/// An example's file with these texts in place of others.
fn example(file: &str, replace: &[(&str, &str)]) -> Value {
    let path = repository().join("examples/postgres-to-elasticsearch").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = replace.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{file} has no {from}");
        text.replace(from, to)
    });
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_example_keeps_an_index_like_its_table() {
    let (search, database) = (Search::of(KINDS[0]), Database::shared("search"));
    // names that only this run has, in place of the example's
    let name = unique("shop").replace('-', "_");
    let url = search.url();
    let source = example(
        "source.json",
        &[
            ("\"shop-source\"", &format!("\"{name}-source\"")),
            ("\"localhost\"", "\"127.0.0.1\""),
            ("\"5432\"", &format!("\"{}\"", database.port())),
            ("dbname\": \"shop\"", &format!("dbname\": \"{}\"", database.database())),
            ("\"slot.name\": \"shop\"", &format!("\"slot.name\": \"{name}\"")),
            ("\"publication.name\": \"shop\"", &format!("\"publication.name\": \"{name}\"")),
            ("\"topic.prefix\": \"shop\"", &format!("\"topic.prefix\": \"{name}\"")),
        ],
    );
    let index = format!("{name}_products");
    let sink = example(
        "sink.json",
        &[
            ("\"shop-sink\"", &format!("\"{name}-sink\"")),
            ("shop.public.products", &format!("{name}.public.products")),
            ("shop[.]", &format!("{name}[.]")),
            ("\"$1\"", &format!("\"{name}_$1\"")),
            ("http://localhost:9200", &url),
        ],
    );
    database.sql("create table products (id int primary key, name text, price numeric(10,2), stock int)");
    database.sql("insert into products values (1, 'tea', 3.20, 12), (2, 'coffee', 5.40, 7)");
    let worker = Worker::aqueduct(&[source, sink]);
    search.wait_for_count(&index, 2, &worker);
    assert_eq!(
        search.document(&index, "1").unwrap()["_source"],
        json!({"id": 1, "name": "tea", "price": 3.2, "stock": 12})
    );
    database.sql("update products set stock = 11 where id = 1; delete from products where id = 2; insert into products values (3, 'salt', 0.5, null)");
    wait_for(&format!("the changes; log: {}", worker.log()), WAIT, || {
        search.document(&index, "3").is_some() && search.document(&index, "2").is_none()
    });
    assert_eq!(search.document(&index, "1").unwrap()["_source"]["stock"], 11);
    let mapping = search.json("GET", &format!("/{index}/_mapping"), None);
    let properties = &mapping[index.as_str()]["mappings"]["properties"];
    assert_eq!(
        (&properties["price"]["type"], &properties["id"]["type"]),
        (&json!("double"), &json!("integer"))
    );
    worker.stop();
}

#[test]
fn https_with_the_jvms_stores() {
    let (search, topic) = (Search::of(KINDS[0]), topic("search-tls"));
    let front = TlsFront::start(search);
    produce(&topic, &lines(100), &[]);
    let store = |name: &str| format!("{}/{name}", env("AQ_TLS_DIR"));
    let url = format!("https://127.0.0.1:{}", front.port);
    let trusting = json!({
        "connection.url": url, "elastic.security.protocol": "SSL",
        "elastic.https.ssl.truststore.location": store("trust.p12"), "elastic.https.ssl.truststore.password": "lab-secret",
        "elastic.https.ssl.keystore.location": store("client.p12"), "elastic.https.ssl.keystore.password": "lab-secret",
    });
    let (good, bad) = (format!("{topic}-sink"), format!("{topic}-untrusting"));
    let worker = Worker::aqueduct(&[
        sink(&good, search, &topic, &trusting),
        sink(&bad, search, &topic, &json!({"connection.url": url})),
    ]);
    search.wait_for_count(&topic, 100, &worker);
    let trace = failure(&worker, &bad);
    assert!(trace.contains("ssl.truststore.location"), "{trace}");
    worker.stop();
}

#[test]
fn versions_come_from_a_header() {
    let (search, topic) = (Search::of(KINDS[0]), topic("search-header"));
    produce(&topic, "k\t{\"n\":1}\n", &["-H", "v=500"]);
    produce(&topic, "k\t{\"n\":2}\n", &["-H", "v=400"]);
    produce(&topic, "l\t{\"n\":3}\n", &["-H", "v=7"]);
    let settings = json!({"external.version.header": "v"});
    let worker = Worker::aqueduct(&[sink(&format!("{topic}-sink"), search, &topic, &settings)]);
    search.wait_for_count(&topic, 2, &worker);
    let document = search.document(&topic, "k").unwrap();
    assert_eq!((&document["_version"], &document["_source"]), (&json!(500), &json!({"n": 1})));
    worker.stop();
}

#[test]
fn server_killed_twice_in_mid_load_and_every_document_is_there() {
    const DOCUMENTS: usize = 60_000;
    let (own, topic) = (OwnSearch::start(), topic("search-kill"));
    let search = own.search;
    // every key comes three times: the last one counts
    let mut text = String::new();
    for number in 0..DOCUMENTS {
        let _ = writeln!(
            text,
            "k{}\t{{\"n\":{number},\"pad\":\"{}\"}}",
            number % (DOCUMENTS / 3),
            "p".repeat(number % 50)
        );
    }
    produce(&topic, &text, &[]);
    let name = format!("{topic}-sink");
    let settings = json!({"batch.size": "500", "max.retries": "100", "retry.backoff.ms": "50", "read.timeout.ms": "5000"});
    let worker = Worker::aqueduct(&[sink(&name, search, &topic, &settings)]);
    let written = || metric(&worker, "aqueduct_search_documents_total", &name);
    for round in 1..3 {
        let before = written();
        wait_for(&format!("documents in round {round}; log: {}", worker.log()), WAIT, || {
            written() > before + 3000
        });
        own.kill();
        std::thread::sleep(Duration::from_millis(500));
        own.restart();
    }
    let done = || written() + metric(&worker, "aqueduct_search_stale_versions_total", &name);
    wait_for(&format!("the end; {} done; log: {}", done(), worker.log()), 2 * WAIT, || {
        done() >= DOCUMENTS as u64
    });
    assert_eq!(task(&worker, &name).0, "RUNNING", "{}", worker.log());
    let expected: HashMap<String, u64> =
        (0..DOCUMENTS).map(|number| (format!("k{}", number % (DOCUMENTS / 3)), number as u64)).collect();
    let found = search.all(&topic);
    assert_eq!(found.len(), expected.len());
    for (id, source) in found {
        assert_eq!(source["n"].as_u64(), expected.get(&id).copied(), "{id}");
        assert_eq!(source["pad"].as_str().unwrap().len(), expected[&id] as usize % 50, "{id}");
    }
    worker.stop();
}
