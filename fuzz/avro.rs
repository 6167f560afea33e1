//! What the fuzz targets of Avro do with their bytes. Shared with the smoke test of `aqueduct-engine`, so nothing here needs
//! nightly. A target panics when a promise is broken; an error from the code under test is fine.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{Converter, Encoded, avro_to_json, create};
use aqueduct_engine::data::{Batch, Record, RecordState, Side, Span, Value};
use aqueduct_schema_registry::{Client, Config, Schema, SchemaType};
use bytes::Bytes;

/// Schemas whose data is fuzzed: the first byte chooses.
pub(crate) const SCHEMAS: [&str; 8] = [
    r#"{"type":"record","name":"A","fields":[{"name":"i","type":"int"},{"name":"l","type":"long"},{"name":"s","type":"string"},{"name":"b","type":"boolean"},{"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"o","type":["null","string"],"default":null}]}"#,
    r#"{"type":"array","items":{"type":"map","values":["int","null"]}}"#,
    r#"{"type":"record","name":"N","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","N"]}]}"#,
    r#"{"type":"record","name":"T","fields":[{"name":"left","type":["null","T"]},{"name":"right","type":["null","T"]},{"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y","Z"]}}]}"#,
    r#"["null","int","string","bytes",{"type":"fixed","name":"F","size":3},{"type":"array","items":"null"}]"#,
    r#"{"type":"record","name":"L","fields":[{"name":"c","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"t","type":{"type":"int","logicalType":"time-millis"}},{"name":"y","type":{"type":"int","logicalType":"date"}},{"name":"x","type":{"type":"fixed","name":"D","size":5,"logicalType":"decimal","precision":9,"scale":1}}]}"#,
    r#"{"type":"array","items":{"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro","fields":[{"name":"key","type":"int"},{"name":"value","type":["null","string"]}]}}"#,
    r#"{"type":"array","items":{"type":"record","name":"Empty","fields":[]}}"#,
];

struct Under {
    avro: Box<dyn Converter>,
    json: Box<dyn Converter>,
    text: Box<dyn Converter>,
}

fn settings(entries: &[(&str, &str)]) -> ConfigMap {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn register(url: &str, schema: &str) -> Option<i32> {
    let client = Client::new(Config { urls: vec![url.to_owned()], ..Config::default() }).expect("a client");
    let schema = Arc::new(Schema::new(SchemaType::Avro, schema));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(client.register("t-value", &schema, false)).ok().map(|registered| registered.id)
}

fn under(url: &str) -> Under {
    let (registry, plain) =
        (settings(&[("schema.registry.url", url)]), settings(&[("schemas.enable", "false")]));
    Under {
        avro: create("AvroConverter", &registry, false).expect("a converter"),
        json: create("JsonConverter", &plain, false).expect("a converter"),
        text: avro_to_json(&registry, &plain, false).expect("a converter"),
    }
}

thread_local! {
    static UNDER: RefCell<Under> = RefCell::new({
        for schema in SCHEMAS {
            register("mock://fuzz-avro", schema).expect("a schema");
        }
        under("mock://fuzz-avro")
    });
}

fn batch(message: Vec<u8>) -> Batch {
    let mut batch = Batch::default();
    let topic = batch.intern_topic("t");
    let len = message.len() as u32;
    let segment = batch.add_segment(Bytes::from(message));
    let raw_value = Some(Span { segment, offset: 0, len });
    batch.records.push(Record { topic, raw_value, ..Record::default() });
    batch
}

fn message(id: i32, datum: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), datum].concat()
}

fn failed(batch: &Batch) -> bool {
    batch.records[0].state != RecordState::Live
}

/// Data of a known schema: memory stays in proportion, both ways to text agree, and what was read is written and read again alike.
pub(crate) fn data(data: &[u8]) {
    let [choice, datum @ ..] = data else { return };
    let id = i32::from(*choice % SCHEMAS.len() as u8) + 1;
    UNDER.with_borrow_mut(|under| {
        let mut rows = batch(message(id, datum));
        under.avro.decode(&mut rows, Side::Value);
        assert!(rows.values.len() <= 64 * (datum.len() + 4096), "{} values", rows.values.len());
        let mut text = batch(message(id, datum));
        under.text.decode(&mut text, Side::Value);
        let mut out = Encoded::default();
        if failed(&rows) {
            assert!(failed(&text), "text of what cannot be read");
            return;
        }
        under.json.encode(&mut rows, Side::Value, &mut out);
        let by_rows = out.get(&rows, 0).map(<[u8]>::to_vec);
        let straight = match text.records[0].value {
            Value::String(span) => Some(text.bytes(span).to_vec()),
            _ => None,
        };
        assert_eq!((failed(&rows), &by_rows), (failed(&text), &straight));
        if failed(&rows) {
            return;
        }
        under.avro.encode(&mut rows, Side::Value, &mut out);
        let Some(again) = out.get(&rows, 0).map(<[u8]>::to_vec) else { return };
        let mut rows = batch(again);
        under.avro.decode(&mut rows, Side::Value);
        under.json.encode(&mut rows, Side::Value, &mut out);
        assert_eq!(out.get(&rows, 0).map(<[u8]>::to_vec), by_rows, "written and read again");
    });
}

/// A schema from outside, and a few bytes of its data. Each has a registry of its own, which stays: a long run wants memory.
pub(crate) fn schema(data: &[u8]) {
    static SCOPE: AtomicU64 = AtomicU64::new(0);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let url = format!("mock://fuzz-avro-{}", SCOPE.fetch_add(1, Ordering::Relaxed));
    let Some(id) = register(&url, text) else { return };
    let mut avro =
        create("AvroConverter", &settings(&[("schema.registry.url", &url)]), false).expect("a converter");
    for datum in [&[0_u8; 16][..], &[2; 40], &[0xff; 20]] {
        let mut rows = batch(message(id, datum));
        avro.decode(&mut rows, Side::Value);
        avro.encode(&mut rows, Side::Value, &mut Encoded::default());
    }
}
