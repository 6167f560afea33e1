//! Avro in Confluent's wire format: to rows, to JSON text, and from rows. Records of 8 fields, 87 bytes of Avro, 180 of JSON.
//!
//! `cargo bench -p aqueduct-benches --bench avro`; the figures to hold are 60 ns a record to rows, and 90 ns straight to
//! JSON text. `apache-avro` reads the same bytes beside it.

use std::hint::black_box;
use std::sync::Arc;

use apache_avro::types::Value as AvroValue;
use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{Converter, Encoded, avro_to_json, create};
use aqueduct_engine::data::{Batch, Record, Side, Span};
use aqueduct_schema_registry::{Client, Config, Schema, SchemaType};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: usize = 1000;
const URL: &str = "mock://bench-avro";
const SCHEMA: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"long"},{"name":"customer","type":"string"},{"name":"email","type":"string"},
    {"name":"amount","type":"double"},{"name":"created","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"paid","type":"boolean"},{"name":"country","type":["null","string"],"default":null},
    {"name":"note","type":"string"}]}"#;

fn settings(entries: &[(&str, &str)]) -> ConfigMap {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Messages, all behind each other, and their lengths.
fn messages() -> (Bytes, Vec<usize>) {
    let schema = apache_avro::Schema::parse_str(SCHEMA).expect("a schema");
    let mut random = fastrand::Rng::with_seed(7);
    let (mut all, mut lengths) = (Vec::new(), Vec::new());
    for id in 0..RECORDS as i64 {
        let text = |length: usize, random: &mut fastrand::Rng| -> AvroValue {
            AvroValue::String(std::iter::repeat_with(|| random.lowercase()).take(length).collect())
        };
        let record = AvroValue::Record(vec![
            ("id".to_owned(), AvroValue::Long(1_000_000 + id)),
            ("customer".to_owned(), text(12, &mut random)),
            ("email".to_owned(), text(19, &mut random)),
            ("amount".to_owned(), AvroValue::Double(f64::from(random.u32(..1_000_000)) / 100.0)),
            ("created".to_owned(), AvroValue::TimestampMillis(1_760_000_000_000 + id)),
            ("paid".to_owned(), AvroValue::Boolean(random.bool())),
            ("country".to_owned(), AvroValue::Union(1, Box::new(text(2, &mut random)))),
            ("note".to_owned(), text(20, &mut random)),
        ]);
        let start = all.len();
        all.extend_from_slice(&[0, 0, 0, 0, 1]);
        all.extend(apache_avro::to_avro_datum(&schema, record).expect("encodes"));
        lengths.push(all.len() - start);
    }
    (all.into(), lengths)
}

fn fill(batch: &mut Batch, messages: &Bytes, lengths: &[usize]) {
    batch.clear();
    let topic = batch.intern_topic("orders");
    let segment = batch.add_segment(messages.clone());
    let mut offset = 0;
    for len in lengths {
        let span = Span { segment, offset, len: *len as u32 };
        offset += span.len;
        batch.records.push(Record { topic, raw_value: Some(span), ..Record::default() });
    }
}

fn register() {
    let client = Client::new(Config { urls: vec![URL.to_owned()], ..Config::default() }).expect("a client");
    let schema = Arc::new(Schema::new(SchemaType::Avro, SCHEMA));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(client.register("orders-value", &schema, false)).expect("registers");
}

fn avro(criterion: &mut Criterion) {
    register();
    let (messages, lengths) = messages();
    let (config, plain) =
        (settings(&[("schema.registry.url", URL)]), settings(&[("schemas.enable", "false")]));
    let make = |class: &str, config: &ConfigMap| -> Box<dyn Converter> {
        create(class, config, false).expect("a converter")
    };
    let mut converter = make("AvroConverter", &config);
    let mut json = make("JsonConverter", &plain);
    let mut fused = avro_to_json(&config, &plain, false).expect("a converter");
    let mut out = Encoded::default();
    let mut batch = Batch::default();

    fill(&mut batch, &messages, &lengths);
    fused.decode(&mut batch, Side::Value);
    let text = batch.arena.len() / RECORDS;
    println!("{} bytes of Avro a record, {text} of JSON", messages.len() / RECORDS);

    let mut group = criterion.benchmark_group("avro");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("fill a batch", |bench| bench.iter(|| fill(&mut batch, &messages, &lengths)));
    group.bench_function("to rows", |bench| {
        bench.iter(|| {
            fill(&mut batch, &messages, &lengths);
            converter.decode(&mut batch, Side::Value);
            black_box(batch.values.len())
        });
    });
    group.bench_function("to JSON text, straight", |bench| {
        bench.iter(|| {
            fill(&mut batch, &messages, &lengths);
            fused.decode(&mut batch, Side::Value);
            black_box(batch.arena.len())
        });
    });
    group.bench_function("to JSON text, over rows", |bench| {
        bench.iter(|| {
            fill(&mut batch, &messages, &lengths);
            converter.decode(&mut batch, Side::Value);
            json.encode(&mut batch, Side::Value, &mut out);
            black_box(out.buffer.len())
        });
    });
    fill(&mut batch, &messages, &lengths);
    converter.decode(&mut batch, Side::Value);
    group.bench_function("from rows", |bench| {
        bench.iter(|| {
            converter.encode(&mut batch, Side::Value, &mut out);
            black_box(out.buffer.len())
        });
    });
    let schema = apache_avro::Schema::parse_str(SCHEMA).expect("a schema");
    group.bench_function("apache-avro to values", |bench| {
        bench.iter(|| {
            let mut at = 0;
            for len in &lengths {
                let mut datum = &messages[at + 5..at + len];
                at += len;
                black_box(apache_avro::from_avro_datum(&schema, &mut datum, None).expect("decodes"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, avro);
criterion_main!(benches);
