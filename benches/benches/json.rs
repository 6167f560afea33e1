//! The JSON converter on the record of eight fields (180 bytes of JSON): text to rows and rows to text, with and without
//! schema. Times are of a batch of 1000 records, so a figure in microseconds is nanoseconds a record.

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{self, Converter, Encoded};
use aqueduct_engine::data::{Batch, Record, Side, Span};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: usize = 1000;
const CLASS: &str = "org.apache.kafka.connect.json.JsonConverter";
const SCHEMA: &str = r#"{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":false,"field":"name"},{"type":"string","optional":true,"field":"email"},{"type":"double","optional":false,"field":"amount"},{"type":"boolean","optional":false,"field":"active"},{"type":"int64","optional":false,"name":"org.apache.kafka.connect.data.Timestamp","version":1,"field":"created_at"},{"type":"string","optional":true,"field":"comment"},{"type":"int32","optional":false,"field":"visits"}],"optional":false,"name":"shop.Customer"}"#;

/// A record of 180 bytes.
fn payload(index: usize) -> String {
    format!(
        r#"{{"id":{},"name":"customer {:06}","email":"customer{:06}@example.com","amount":{}.25,"active":{},"created_at":{},"comment":"rang twice, no reply","visits":{}}}"#,
        1_000_000 + index,
        index,
        index,
        1000 + index,
        if index.is_multiple_of(2) { "true " } else { "false" },
        1_700_000_000_123_i64 + index as i64,
        10 + index % 90,
    )
}

fn converter(envelope: bool) -> Box<dyn Converter> {
    let mut config = ConfigMap::new();
    config.insert("schemas.enable".into(), envelope.to_string());
    converter::create(CLASS, &config, false).expect("the configuration is good")
}

/// The records, as they come from a broker: in one buffer.
fn messages(envelope: bool) -> (Bytes, Vec<Record>) {
    let mut buffer = Vec::new();
    let mut records = Vec::new();
    for index in 0..RECORDS {
        let payload = payload(index);
        assert_eq!(payload.len(), 180);
        let text = if envelope { format!("{{\"schema\":{SCHEMA},\"payload\":{payload}}}") } else { payload };
        let span = Span { segment: 1, offset: buffer.len() as u32, len: text.len() as u32 };
        records.push(Record { raw_value: Some(span), ..Record::default() });
        buffer.extend_from_slice(text.as_bytes());
    }
    (buffer.into(), records)
}

fn fill(batch: &mut Batch, (buffer, records): &(Bytes, Vec<Record>)) {
    batch.clear();
    batch.add_segment(buffer.clone());
    batch.records.extend_from_slice(records);
}

fn name(envelope: bool) -> &'static str {
    if envelope { "envelope" } else { "plain" }
}

fn json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for envelope in [false, true] {
        let messages = messages(envelope);
        let mut converter = converter(envelope);
        let mut batch = Batch::default();
        group.bench_function(BenchmarkId::new("to rows", name(envelope)), |bencher| {
            bencher.iter(|| {
                fill(&mut batch, &messages);
                converter.decode(&mut batch, Side::Value);
                assert!(batch.errors.is_empty());
            });
        });
        fill(&mut batch, &messages);
        converter.decode(&mut batch, Side::Value);
        let mut out = Encoded::default();
        group.bench_function(BenchmarkId::new("from rows", name(envelope)), |bencher| {
            bencher.iter(|| {
                converter.encode(&mut batch, Side::Value, &mut out);
                assert!(batch.errors.is_empty());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, json);
criterion_main!(benches);
