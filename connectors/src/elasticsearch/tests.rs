//! The task against nodes that misbehave.

mod stand_in;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aqueduct_engine::connector::{ConfigMap, PutOutcome, SinkTask as _, SinkTaskContext, StopSignal, Ticket};
use aqueduct_engine::data::{Batch, Origin, Record, Value};
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::watch;

use super::settings::Flavor;
use super::task::SearchTask;
use stand_in::{Reply, StandIn};

struct Started {
    task: SearchTask,
    stop: watch::Sender<bool>,
}

/// A task on these nodes; retries come soon.
async fn start(url: &str, settings: &[(&str, &str)]) -> Started {
    let mut config: ConfigMap = [
        ("connection.url", url),
        ("topics", "t"),
        ("schema.ignore", "true"),
        ("retry.backoff.ms", "5"),
        ("read.timeout.ms", "2000"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    config.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let (stop, signal) = StopSignal::new();
    let context =
        SinkTaskContext { connector: "test".into(), task: 0, stop: signal, positions: Default::default() };
    let mut task = SearchTask::new(Flavor::Elasticsearch);
    task.start(&config, context).await.unwrap();
    Started { task, stop }
}

/// Records of topic `t` from an offset on: key and text.
fn batch(first: i64, records: &[(&str, &str)]) -> Arc<Batch> {
    let mut batch = Batch::default();
    let topic = batch.intern_topic("t");
    for (at, (key, value)) in records.iter().enumerate() {
        let key = Value::String(batch.put_str(key));
        let value = if value.is_empty() { Value::Null } else { Value::String(batch.put_str(value)) };
        let origin = Origin { topic, partition: 0, offset: first + at as i64 };
        batch.records.push(Record { topic, partition: 0, key, value, origin, ..Record::default() });
    }
    Arc::new(batch)
}

fn numbered(count: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("k{number}"), format!("{{\"n\":{number}}}"))).collect()
}

fn borrowed(records: &[(String, String)]) -> Vec<(&str, &str)> {
    records.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

impl Started {
    async fn put(&mut self, first: i64, records: &[(&str, &str)]) -> Ticket {
        self.task.put(batch(first, records)).await.unwrap()
    }

    /// Puts, flushes, and gives the outcome.
    async fn write(&mut self, records: &[(&str, &str)]) -> PutOutcome {
        let ticket = self.put(0, records).await;
        self.task.flush().await.unwrap();
        ticket.await.unwrap()
    }
}

fn ids(node: &StandIn, bulk: usize) -> Vec<String> {
    let operations = node.bulks.lock()[bulk].operations();
    operations.iter().map(|operation| operation.line["_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_sent() {
    let node = StandIn::start(|_, _| Reply::done()).await;
    let settings = [
        ("behavior.on.null.values", "delete"),
        ("connection.username", "u"),
        ("connection.password", "p"),
        ("connection.compression", "true"),
    ];
    let mut started = start(&node.url(), &settings).await;
    let outcome = started.write(&[("a\"b", "{ \"x\":\n1}"), ("c", "")]).await;
    assert!(outcome.failed.is_empty());
    let bulks = node.bulks.lock();
    assert_eq!((bulks.len(), bulks[0].method.as_str()), (1, "POST"));
    assert_eq!(bulks[0].headers["authorization"], "Basic dTpw");
    assert_eq!(
        String::from_utf8_lossy(&bulks[0].body),
        "{\"index\":{\"_index\":\"t\",\"_id\":\"a\\\"b\",\"version\":0,\"version_type\":\"external\"}}\n{ \"x\": 1}\n\
         {\"delete\":{\"_index\":\"t\",\"_id\":\"c\",\"version\":1,\"version_type\":\"external\"}}\n"
    );
}

#[tokio::test]
async fn a_busy_cluster_gets_everything_again_and_only_what_it_refused() {
    let node = StandIn::start(|number, _| match number {
        0 => Reply::Status(429, "{}".to_owned()),
        1 => Reply::Status(503, "busy".to_owned()),
        2 => Reply::items(&[
            (201, ""),
            (429, "es_rejected_execution_exception"),
            (201, ""),
            (503, "unavailable_shards_exception"),
        ]),
        _ => Reply::done(),
    })
    .await;
    let mut started = start(&node.url(), &[]).await;
    let records = numbered(4);
    let outcome = started.write(&borrowed(&records)).await;
    assert!(outcome.failed.is_empty());
    assert_eq!(node.bulks.lock().len(), 4);
    assert_eq!(ids(&node, 3), ["k1", "k3"]);
}

#[tokio::test]
async fn too_large_bodies_are_split_and_what_is_too_large_alone_is_refused() {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&acknowledged);
    let node = StandIn::start(move |_, asked| {
        if asked.body.len() > 600 {
            return Reply::Status(413, String::new());
        }
        seen.fetch_add(asked.operations().len(), Ordering::SeqCst);
        Reply::done()
    })
    .await;
    let settings = [("behavior.on.malformed.documents", "warn"), ("errors.tolerance", "all")];
    let mut started = start(&node.url(), &settings).await;
    let mut records = numbered(20);
    records[7].1 = format!("{{\"n\":\"{}\"}}", "x".repeat(1000));
    let outcome = started.write(&borrowed(&records)).await;
    assert_eq!(acknowledged.load(Ordering::SeqCst), 19);
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(outcome.failed[0].record, 7);
    assert!(outcome.failed[0].error.message.contains("status 413"), "{}", outcome.failed[0].error);
    // the order is kept
    let count = node.bulks.lock().len();
    let sent: Vec<String> = (0..count)
        .filter(|bulk| node.bulks.lock()[*bulk].body.len() <= 600)
        .flat_map(|bulk| ids(&node, bulk))
        .collect();
    let expected: Vec<String> =
        (0..20).filter(|number| *number != 7).map(|number| format!("k{number}")).collect();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn broken_answers_are_asked_for_again() {
    let node = StandIn::start(|number, _| match number {
        0 => Reply::Status(502, "<html>bad gateway</html>".to_owned()),
        1 => Reply::Half("{\"errors\":false,\"it".to_owned()),
        2 => Reply::Status(200, "{\"errors\":true,\"items\":[{\"index\":{\"status\":201}}]}".to_owned()),
        3 => Reply::Status(200, "[]".to_owned()),
        _ => Reply::done(),
    })
    .await;
    let mut started = start(&node.url(), &[]).await;
    let outcome = started.write(&[("a", "{}"), ("b", "{}")]).await;
    assert!(outcome.failed.is_empty());
    let bulks = node.bulks.lock();
    assert_eq!(bulks.len(), 5);
    assert!(bulks.iter().all(|bulk| bulk.body == bulks[0].body));
}

#[tokio::test]
async fn dead_and_hanging_nodes_are_left_out() {
    let hanging = StandIn::start(|_, _| Reply::Hang).await;
    let good = StandIn::start(|_, _| Reply::done()).await;
    let refused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{refused},{},{}", hanging.url(), good.url());
    let mut started = start(&url, &[("read.timeout.ms", "200"), ("max.in.flight.requests", "1")]).await;
    let began = Instant::now();
    for number in 0..20 {
        let ticket = started.put(number, &[("k", "{}")]).await;
        started.task.flush().await.unwrap();
        assert!(ticket.await.unwrap().failed.is_empty());
    }
    assert_eq!(good.bulks.lock().len(), 20);
    assert!(hanging.bulks.lock().len() < 5);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_time_does_not_mend_fails_at_once() {
    for (status, remedy) in [(401, "connection.username"), (403, "privilege"), (404, "no such index")] {
        let node = StandIn::start(move |_, _| Reply::Status(status, "{}".to_owned())).await;
        let mut started = start(&node.url(), &[]).await;
        let ticket = started.put(0, &[("a", "{}")]).await;
        let error = started.task.flush().await.unwrap_err();
        assert!(!error.is_retriable() && error.to_string().contains(remedy), "{error}");
        assert!(ticket.await.unwrap_err().to_string().contains(remedy));
        assert_eq!(node.bulks.lock().len(), 1);
        assert!(started.task.put(batch(1, &[("b", "{}")])).await.is_err());
    }
}

#[tokio::test]
async fn retries_end() {
    let node = StandIn::start(|_, _| Reply::Status(503, "{}".to_owned())).await;
    let mut started = start(&node.url(), &[("max.retries", "2")]).await;
    let ticket = started.put(0, &[("a", "{}")]).await;
    let error = ticket.await.unwrap_err();
    assert!(error.to_string().contains("max.retries=2") && error.to_string().contains("503"), "{error}");
    assert_eq!(node.bulks.lock().len(), 3);
    assert!(started.task.flush().await.is_err());
}

#[tokio::test]
async fn a_stop_ends_retries_without_failing() {
    let node = StandIn::start(|_, _| Reply::Status(503, "{}".to_owned())).await;
    let settings = [("max.retries", "1000"), ("retry.backoff.ms", "10000")];
    let mut started = start(&node.url(), &settings).await;
    let ticket = started.put(0, &[("a", "{}")]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    started.stop.send_replace(true);
    assert!(ticket.await.unwrap_err().is_retriable());
    let flushed = tokio::time::timeout(Duration::from_secs(5), started.task.flush()).await.unwrap();
    assert!(flushed.unwrap_err().is_retriable(), "nothing may be committed");
}

#[tokio::test]
async fn one_bad_operation_does_not_spoil_its_bulk() {
    let node = StandIn::start(|_, asked| {
        let bad = asked.operations().iter().any(|operation| operation.line["_id"] == "k5");
        if bad {
            Reply::Status(400, "{\"error\":{\"type\":\"x\",\"reason\":\"bad line\"}}".to_owned())
        } else {
            Reply::done()
        }
    })
    .await;
    let settings = [("behavior.on.malformed.documents", "ignore"), ("errors.tolerance", "all")];
    let mut started = start(&node.url(), &settings).await;
    let records = numbered(16);
    let outcome = started.write(&borrowed(&records)).await;
    let failed: Vec<usize> = outcome.failed.iter().map(|failed| failed.record).collect();
    assert_eq!(failed, [5]);
    assert!(outcome.failed[0].error.message.contains("bad line"));
}

/// Documents by id.
type Store = Arc<Mutex<HashMap<String, Json>>>;

/// A store of merged documents; some operations are refused at first.
fn merging(
    refuse: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (Store, impl Fn(usize, &stand_in::Asked) -> Reply + Send + Sync) {
    let store = Arc::new(Mutex::new(HashMap::<String, Json>::new()));
    let inner = Arc::clone(&store);
    let seen = AtomicUsize::new(0);
    let answer = move |_: usize, asked: &stand_in::Asked| {
        let mut statuses = Vec::new();
        for operation in asked.operations() {
            if refuse(seen.fetch_add(1, Ordering::SeqCst)) {
                statuses.push((429, "es_rejected_execution_exception"));
                continue;
            }
            statuses.push((200, ""));
            let id = operation.line["_id"].as_str().unwrap().to_owned();
            let mut store = inner.lock();
            match operation.document {
                None => drop(store.remove(&id)),
                Some(update) => {
                    let fields = update["doc"].as_object().unwrap().clone();
                    let known = store.entry(id).or_insert_with(|| serde_json::json!({}));
                    known.as_object_mut().unwrap().extend(fields);
                }
            }
        }
        Reply::items(&statuses)
    };
    (store, answer)
}

#[tokio::test]
async fn updates_of_a_document_stay_in_order_whatever_is_refused() {
    let (store, answer) = merging(|number| number % 3 == 1 && number < 600);
    let node = StandIn::start(answer).await;
    let settings = [
        ("write.method", "upsert"),
        ("behavior.on.null.values", "delete"),
        ("batch.size", "7"),
        ("max.retries", "1000"),
    ];
    let mut started = start(&node.url(), &settings).await;
    let mut expected: HashMap<String, Json> = HashMap::new();
    let mut tickets = Vec::new();
    for number in 0..300_i64 {
        let key = format!("k{}", number % 4);
        let value = if number % 11 == 3 {
            String::new()
        } else {
            format!("{{\"n\":{number},\"f{}\":{number}}}", number % 5)
        };
        match serde_json::from_str::<Json>(&value) {
            Err(_) => drop(expected.remove(&key)),
            Ok(fields) => {
                let known = expected.entry(key.clone()).or_insert_with(|| serde_json::json!({}));
                known.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            }
        }
        tickets.push(started.put(number, &[(&key, &value)]).await);
    }
    started.task.flush().await.unwrap();
    for ticket in tickets {
        assert!(ticket.await.unwrap().failed.is_empty());
    }
    assert_eq!(*store.lock(), expected);
}

#[tokio::test]
async fn small_puts_become_one_bulk_and_large_ones_several() {
    let node = StandIn::start(|_, _| Reply::done()).await;
    let mut started = start(&node.url(), &[("linger.ms", "1000"), ("batch.size", "10")]).await;
    let mut tickets = Vec::new();
    for number in 0..5 {
        tickets.push(started.put(number, &[("k", "{}")]).await);
    }
    assert_eq!(node.bulks.lock().len(), 0, "it lingers");
    started.task.flush().await.unwrap();
    assert_eq!(node.bulks.lock().len(), 1);
    let records = numbered(35);
    tickets.push(started.put(5, &borrowed(&records)).await);
    started.task.flush().await.unwrap();
    let mut sizes: Vec<usize> = node.bulks.lock().iter().map(|bulk| bulk.operations().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 5, 10, 10, 10]);
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

#[tokio::test]
async fn bad_records_follow_their_settings() {
    let node = StandIn::start(|_, _| Reply::done()).await;
    let records = [("a", "{}"), ("", "{}"), ("b", "no json"), ("c", "")];
    let tolerant = ("errors.tolerance", "all");
    let lenient = [
        tolerant,
        ("drop.invalid.message", "true"),
        ("behavior.on.malformed.documents", "ignore"),
        ("behavior.on.null.values", "ignore"),
    ];
    let mut started = start(&node.url(), &lenient).await;
    let outcome = started.write(&records).await;
    let failed: Vec<(usize, &str)> =
        outcome.failed.iter().map(|failed| (failed.record, failed.error.message.as_str())).collect();
    assert_eq!(failed[0], (1, "Key is used as document id and can not be empty."));
    assert!(failed[1].1.contains("Not a JSON object"), "{failed:?}");
    assert_eq!(failed[2], (3, "Cannot write null valued record."));
    for (settings, bad) in [(&[tolerant][..], 1), (&[tolerant, lenient[1]], 2)] {
        let mut started = start(&node.url(), settings).await;
        let ticket = started.put(0, &records).await;
        let error = started.task.flush().await.unwrap_err();
        assert!(error.to_string().contains(&format!("offset={bad}")), "{error}");
        drop(ticket);
    }
    let mut started = start(&node.url(), &[]).await;
    let ticket = started.put(0, &[("c", "")]).await;
    let error = started.task.flush().await.unwrap_err();
    assert!(error.to_string().contains("'behavior.on.null.values'"), "{error}");
    drop(ticket);
}

#[tokio::test]
async fn a_proxy_gets_the_whole_url() {
    let proxy = StandIn::start(|_, _| Reply::done()).await;
    let port = proxy.address.port().to_string();
    let settings = [
        ("proxy.host", "127.0.0.1"),
        ("proxy.port", port.as_str()),
        ("proxy.username", "u"),
        ("proxy.password", "p"),
        ("connection.api.key", "KEY"),
    ];
    let mut started = start("http://search.example:9200/below", &settings).await;
    started.write(&[("a", "{}")]).await;
    let bulks = proxy.bulks.lock();
    assert!(bulks[0].path.starts_with("http://search.example:9200/below/_bulk?"), "{}", bulks[0].path);
    assert_eq!(bulks[0].headers["proxy-authorization"], "Basic dTpw");
    assert_eq!(bulks[0].headers["authorization"], "ApiKey KEY");
    assert_eq!(bulks[0].headers["host"], "search.example:9200");
}
