//! Converters and transforms together, over whole batches.

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{self, Encoded};
use aqueduct_engine::data::{Batch, Record, RecordState, Side, java_string};
use aqueduct_engine::transform::Chain;
use bytes::Bytes;

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

fn config(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Messages through a converter and a chain; each as `String.valueOf()` and as the converter writes it again.
fn run(
    settings: &[(&str, &str)],
    chain: &[(&str, &str)],
    messages: &[&str],
) -> Vec<Result<(String, String), String>> {
    let mut batch = Batch::default();
    let topic = batch.intern_topic("orders");
    for message in messages {
        let segment = batch.add_segment(Bytes::copy_from_slice(message.as_bytes()));
        let span = aqueduct_engine::data::Span { segment, offset: 0, len: message.len() as u32 };
        batch.records.push(Record { topic, raw_value: Some(span), timestamp: 5, ..Record::default() });
    }
    let mut converter = converter::create(JSON, &config(settings), false).unwrap();
    converter.decode(&mut batch, Side::Value);
    Chain::from_config(&config(chain)).unwrap().apply(&mut batch);
    let mut out = Encoded::default();
    converter.encode(&mut batch, Side::Value, &mut out);
    let one = |(index, record): (usize, &Record)| match record.state {
        RecordState::Failed(error) => Err(batch.errors[error as usize].message.clone()),
        RecordState::Dropped => Err("dropped".to_owned()),
        RecordState::Live => {
            let mut text = Vec::new();
            java_string(&batch, record.value_schema, record.value, &mut text);
            let written = out.get(&batch, index).unwrap_or(b"(null)");
            Ok((String::from_utf8(text).unwrap(), String::from_utf8(written.to_vec()).unwrap()))
        }
    };
    batch.records.iter().enumerate().map(one).collect()
}

#[test]
fn an_envelope_goes_through_insert_and_mask() {
    let schema = r#"{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":true,"field":"ssn"},{"type":"double","optional":true,"field":"amount"}],"optional":false,"name":"order"}"#;
    let messages: Vec<String> = [
        r#"{"id":1,"ssn":"123","amount":1.5}"#,
        r#"{"amount":2,"id":2,"ssn":"a\"\u00e9"}"#,
        r#"{"id":3}"#,
        r#"{"id":null}"#,
        r#"{"id":4,"other":[1,{"a":2}],"ssn":null,"amount":1e10}"#,
    ]
    .iter()
    .map(|payload| format!("{{\"schema\":{schema},\"payload\":{payload}}}"))
    .collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let chain = [
        ("transforms", "i,m"),
        ("transforms.i.type", "org.apache.kafka.connect.transforms.InsertField$Value"),
        ("transforms.i.static.field", "source"),
        ("transforms.i.static.value", "lab"),
        ("transforms.m.type", "org.apache.kafka.connect.transforms.MaskField$Value"),
        ("transforms.m.fields", "ssn"),
    ];
    let out = run(&[], &chain, &messages);
    let texts: Vec<_> = out.iter().map(|one| one.as_ref().map(|(text, _)| text.as_str())).collect();
    assert_eq!(texts[0], Ok("Struct{id=1,ssn=,amount=1.5,source=lab}"));
    assert_eq!(texts[1], Ok("Struct{id=2,ssn=,amount=2.0,source=lab}"));
    assert_eq!(texts[2], Ok("Struct{id=3,source=lab}"));
    assert_eq!(texts[3], Err(&"Invalid null value for required INT64 field".to_owned()));
    assert_eq!(texts[4], Ok("Struct{id=4,amount=1.0E10,source=lab}"));
    let extended = schema.replace(
        "\"field\":\"amount\"}]",
        "\"field\":\"amount\"},{\"type\":\"string\",\"optional\":true,\"field\":\"source\"}]",
    );
    let written = format!(
        "{{\"schema\":{extended},\"payload\":{{\"id\":1,\"ssn\":\"\",\"amount\":1.5,\"source\":\"lab\"}}}}"
    );
    assert_eq!(out[0].as_ref().unwrap().1, written);
}

#[test]
fn schemaless_json_keeps_what_it_is() {
    let plain = [("schemas.enable", "false")];
    let messages = [
        r#"{"a":1,"b":[true,null,"x\n😀"],"c":1.0,"a":2}"#,
        "12345678901234567890",
        "",
        "nul",
        "{\"a\":",
        "[1,2",
        "1x",
        "1.e5",
    ];
    let out = run(&plain, &[], &messages);
    let (text, written) = out[0].as_ref().unwrap();
    assert_eq!(text, "{a=2, b=[true, null, x\n😀], c=1.0}");
    assert_eq!(written, r#"{"a":2,"b":[true,null,"x\n\uD83D\uDE00"],"c":1.0}"#);
    assert_eq!(out[1].as_ref().unwrap().1, "-6101065172474983726");
    assert_eq!(out[2].as_ref().unwrap().1, "(null)");
    assert!(
        out[3..].iter().all(|one| one.as_ref().is_err_and(|message| message.contains("serialization error")))
    );
}

#[test]
fn names_that_are_expected_are_looked_at() {
    let messages = [
        r#"{"a":1,"b":{"c":2}}"#,
        r#"{"a":1,"b":{"c":3},"a":4}"#,
        r#"{"b":{"d":1},"a":2}"#,
        r#"{"a"b":1}"#,
        r#"{"a\"b":1}"#,
        r#"{"a"b":1}"#,
        r#"{"a" : 5 , "b" : {}}"#,
    ];
    let out = run(&[("schemas.enable", "false")], &[], &messages);
    let texts: Vec<_> = out.iter().map(|one| one.as_ref().map(|(text, _)| text.as_str()).ok()).collect();
    let expected = [
        Some("{a=1, b={c=2}}"),
        Some("{a=4, b={c=3}}"),
        Some("{b={d=1}, a=2}"),
        None,
        Some("{a\"b=1}"),
        None,
        Some("{a=5, b={}}"),
    ];
    assert_eq!(texts, expected);
}

#[test]
fn replace_route_and_filter() {
    let chain = [
        ("transforms", "r,f,d"),
        ("transforms.r.type", "org.apache.kafka.connect.transforms.ReplaceField$Value"),
        ("transforms.r.exclude", "x"),
        ("transforms.r.renames", "a:b"),
        ("transforms.f.type", "org.apache.kafka.connect.transforms.RegexRouter"),
        ("transforms.f.regex", "ord(.*)"),
        ("transforms.f.replacement", "new$1"),
        ("transforms.d.type", "org.apache.kafka.connect.transforms.Filter"),
        ("transforms.d.predicate", "t"),
        ("transforms.d.negate", "true"),
        ("predicates", "t"),
        ("predicates.t.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
        ("predicates.t.pattern", "newers"),
    ];
    let out = run(&[("schemas.enable", "false")], &chain, &[r#"{"a":1,"x":2}"#, "7"]);
    assert_eq!(out[0], Ok(("{b=1}".to_owned(), "{\"b\":1}".to_owned())));
    let message =
        "Only Map objects supported in absence of schema for [field replacement], found: java.lang.Long";
    assert_eq!(out[1], Err(message.to_owned()));
}

#[test]
fn a_bad_chain_names_its_key() {
    let message = |pairs: &[(&str, &str)]| Chain::from_config(&config(pairs)).err().unwrap().to_string();
    assert_eq!(
        message(&[("transforms", "t")]),
        "Invalid value null for configuration transforms.t.type: Not a Transformation"
    );
    assert!(
        message(&[("transforms", "t"), ("transforms.t.type", "Nope")])
            .contains("Class Nope could not be found.")
    );
}

#[test]
fn nesting_is_bounded() {
    let deep = "[".repeat(100_000);
    let out = run(&[("schemas.enable", "false")], &[], &[&deep]);
    assert!(out[0].as_ref().is_err_and(|message| message.contains("nested too deeply")));
}
