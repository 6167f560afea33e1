//! What the fuzz targets of the engine do with their bytes; see `targets.rs`.
#![allow(dead_code)]

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{self, Encoded};
use aqueduct_engine::data::{Batch, Header, Range32, Record, RecordState, Side, Span, Value, java_string};
use bytes::Bytes;

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const SIMPLE: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

fn span(data: &[u8]) -> Span {
    Span { segment: 1, offset: 0, len: data.len() as u32 }
}

/// A message with and without envelope. What was read can be written, and is read as the same again: twice, since the
/// second time the converter expects what it has seen.
pub(crate) fn json(data: &[u8]) {
    for envelope in [false, true] {
        let config = ConfigMap::from([("schemas.enable".to_owned(), envelope.to_string())]);
        let mut converter = converter::create(JSON, &config, false).expect("the configuration is good");
        let mut message = data.to_vec();
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for _ in 0..3 {
            let mut batch = Batch::default();
            batch.add_segment(Bytes::copy_from_slice(&message));
            batch.records.push(Record { raw_value: Some(span(&message)), ..Record::default() });
            converter.decode(&mut batch, Side::Value);
            let mut out = Encoded::default();
            converter.encode(&mut batch, Side::Value, &mut out);
            let record = batch.records[0];
            if record.state != RecordState::Live {
                assert_eq!(batch.errors.len(), 1);
                // what a converter has written itself it reads
                assert!(texts.is_empty() || envelope, "{}", batch.errors[0].message);
                break;
            }
            let mut text = Vec::new();
            java_string(&batch, record.value_schema, record.value, &mut text);
            assert!(std::str::from_utf8(&text).is_ok());
            let Some(written) = out.get(&batch, 0) else { break };
            message = written.to_vec();
            texts.push(message.clone());
        }
        // one round may make numbers shorter, such as 1e400; after that nothing changes
        if let [_, second, third] = &texts[..] {
            assert_eq!(second, third);
        }
    }
}

/// A header. What was read can be written, and what was written is read again without a change of what is written then.
pub(crate) fn header_literal(data: &[u8]) {
    let mut converter = converter::create_header(SIMPLE, &ConfigMap::new()).expect("there is such a class");
    let mut batch = Batch::default();
    batch.add_segment(Bytes::copy_from_slice(data));
    let header = Header { key: Span::default(), schema: 0, value: Value::Null, raw: Some(span(data)) };
    batch.headers.push(header);
    batch.records.push(Record { headers: Range32 { start: 0, len: 1 }, ..Record::default() });
    converter.decode(&mut batch);
    let mut out = Encoded::default();
    converter.encode(&mut batch, &mut out);
    assert_eq!(batch.records[0].state, RecordState::Live);
    let written = out.get(&batch, 0).map(<[u8]>::to_vec);
    assert_eq!(written.is_none(), batch.headers[0].value.is_null());
    if let Value::String(place) = batch.headers[0].value {
        assert_eq!(written.as_deref(), Some(batch.bytes(place)));
    }
}
