//! Schemas both ways, and values through a registry within the process.

use std::sync::Arc;

use aqueduct_schema_registry::{Resolved, Schema as Text, SchemaType};
use proptest::prelude::*;

use super::documents::Documents;
use super::*;
use crate::converter::{Converter, Encoded};
use crate::data::{Constant, Record, RecordState, Schema, SchemaBuilder, Side, Type};

const OPTIONS: Options = Options {
    generalized_sum_type_support: false,
    use_optional_for_nonrequired: false,
    numeric_decimals: false,
    object_additional_properties: true,
    flatten_singleton_unions: true,
    ignore_default: false,
};

fn text(schema: &SchemaRef) -> String {
    from_connect::convert(schema, OPTIONS).unwrap().to_string()
}

fn fetched(schema: &str, references: &[(&str, &str)]) -> Fetched {
    let json = |text: &str| Arc::new(Text::new(SchemaType::Json, text));
    let reference = |(name, text): &(&str, &str)| Resolved { name: (*name).to_owned(), schema: json(text) };
    Fetched {
        id: 1,
        version: None,
        schema: json(schema),
        references: references.iter().map(reference).collect(),
    }
}

fn connect_with(schema: &str, references: &[(&str, &str)], options: Options) -> Result<SchemaRef, Failure> {
    let documents = Documents::parse(&fetched(schema, references)).unwrap();
    to_connect::convert(&documents, None, options)
}

fn connect(schema: &str) -> SchemaRef {
    connect_with(schema, &[], OPTIONS).unwrap()
}

fn config(scope: &str, more: &[(&str, &str)]) -> ConfigMap {
    let url = format!("mock://json-schema-{scope}");
    let all = [("schema.registry.url", url.as_str())];
    all.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A batch of one record.
fn one(schema: Option<&SchemaRef>, value: &Constant) -> Batch {
    let mut batch = Batch::default();
    let topic = batch.intern_topic("t");
    let value_schema = schema.map_or(0, |schema| batch.intern_schema(schema));
    let value = batch.put_constant(value);
    batch.records.push(Record { topic, value_schema, value, ..Record::default() });
    batch
}

fn encode(
    schema: Option<&SchemaRef>,
    value: &Constant,
    config: &ConfigMap,
) -> Result<Option<Vec<u8>>, String> {
    let mut batch = one(schema, value);
    let mut out = Encoded::default();
    create(config, false).unwrap().encode(&mut batch, Side::Value, &mut out);
    match batch.records[0].state {
        RecordState::Failed(at) => Err(batch.errors[at as usize].message.clone()),
        _ => Ok(out.get(&batch, 0).map(<[u8]>::to_vec)),
    }
}

fn decode(bytes: &[u8], config: &ConfigMap) -> Result<(Option<SchemaRef>, Constant), String> {
    let mut batch = Batch::default();
    let topic = batch.intern_topic("t");
    let segment = batch.add_segment(bytes.to_vec().into());
    let raw = Some(crate::data::Span { segment, offset: 0, len: bytes.len() as u32 });
    batch.records.push(Record { topic, raw_value: raw, ..Record::default() });
    create(config, false).unwrap().decode(&mut batch, Side::Value);
    let record = batch.records[0];
    match record.state {
        RecordState::Failed(at) => Err(batch.errors[at as usize].message.clone()),
        _ => Ok((batch.schema_ref(record.value_schema).cloned(), batch.constant(record.value))),
    }
}

fn order() -> SchemaRef {
    SchemaBuilder::structure()
        .name("shop.Order")
        .field("id", Arc::clone(Schema::primitive(Type::Int64, false)))
        .field("note", Arc::clone(Schema::primitive(Type::String, true)))
        .field("price", SchemaBuilder::decimal(2).build())
        .field("tags", SchemaBuilder::array(Schema::string()).build())
        .build()
}

#[test]
fn schemas_are_printed_member_by_member_as_everit_does() {
    let expected = concat!(
        r#"{"type":"object","title":"shop.Order","properties":{"note":{"connect.index":1,"oneOf":["#,
        r#"{"type":"null"},{"type":"string"}]},"price":{"type":"string","title":"org.apache.kafka.connect.data.Decimal","#,
        r#""connect.index":2,"connect.version":1,"connect.type":"bytes","connect.parameters":{"scale":"2"}},"#,
        r#""id":{"type":"integer","connect.index":0,"connect.type":"int64"},"#,
        r#""tags":{"type":"array","connect.index":3,"items":{"type":"string"}}}}"#
    );
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    let printed = text(&order());
    let printed_json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed_json, expected);
    assert!(printed.contains(r#"{"type":"integer","connect.index":0,"connect.type":"int64"}"#), "{printed}");
    let maps =
        SchemaBuilder::map(Arc::clone(Schema::primitive(Type::Int32, false)), Schema::string()).build();
    let entry = r#"{"type":"array","connect.type":"map","items":{"type":"object","properties":{"#;
    assert!(text(&maps).starts_with(entry), "{}", text(&maps));
    let flag = SchemaBuilder::new(Type::Boolean).default_value(Some(Constant::Boolean(true))).build();
    assert_eq!(text(&flag), r#"{"default":true,"type":"boolean"}"#);
}

#[test]
fn what_connect_wrote_reads_as_it_was() {
    assert_eq!(connect(&text(&order())), order());
}

#[test]
fn schemas_of_others() {
    let schema = connect(
        r##"{"$schema":"http://json-schema.org/draft-07/schema#","title":"User","type":"object",
        "properties":{"home":{"$ref":"#/definitions/Address"},"work":{"$ref":"#/definitions/Address"},
        "age":{"anyOf":[{"type":"integer"},{"type":"null"}]},"kind":{"type":"string","enum":["a","b"]},
        "either":{"oneOf":[{"type":"string"},{"type":"number"}]},"names":{"type":["string","null"]}},
        "definitions":{"Address":{"type":"object","title":"Address","properties":{"city":{"type":"string"}}}}}"##,
    );
    let field = |name: &str| Arc::clone(&schema.field(name).unwrap().1.schema);
    assert_eq!(field("age"), *Schema::primitive(Type::Int64, true));
    assert_eq!(field("names"), *Schema::primitive(Type::String, true));
    assert_eq!(field("kind").parameters.get("io.confluent.connect.json.Enum.a").map(|a| &**a), Some("a"));
    let either = field("either");
    assert!(
        either.is_named("io.confluent.connect.json.OneOf") && either.fields[1].schema.kind == Type::Float64
    );
    assert_eq!(&*either.fields[0].name, "io.confluent.connect.json.OneOf.field.0");
    let ids: Vec<bool> = ["home", "work"]
        .iter()
        .map(|name| field(name).parameters.contains_key("io.confluent.connect.json.Id"))
        .collect();
    assert!(ids.contains(&true) && ids.contains(&false), "the second use is marked: {ids:?}");
    assert_eq!(field("work").fields, field("home").fields);
}

#[test]
fn references_to_other_subjects_and_to_oneself() {
    let address = r#"{"type":"object","title":"Address","properties":{"city":{"type":"string"}}}"#;
    let user = r#"{"type":"object","properties":{"home":{"$ref":"address.json"}}}"#;
    let schema = connect_with(user, &[("address.json", address)], OPTIONS).unwrap();
    assert!(schema.fields[0].schema.is_named("Address"));
    assert!(connect_with(user, &[], OPTIONS).is_err());
    let endless = r##"{"type":"object","properties":{"next":{"$ref":"#"}}}"##;
    assert!(connect_with(endless, &[], OPTIONS).is_err());
    let circle = r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}"##;
    assert!(connect_with(circle, &[], OPTIONS).is_err());
}

#[test]
fn optional_where_not_required() {
    let options = Options { use_optional_for_nonrequired: true, ..OPTIONS };
    let text =
        r#"{"type":"object","required":["a"],"properties":{"a":{"type":"string"},"b":{"type":"string"}}}"#;
    let schema = connect_with(text, &[], options).unwrap();
    assert!(!schema.field("a").unwrap().1.schema.optional && schema.field("b").unwrap().1.schema.optional);
    assert!(!connect(text).field("b").unwrap().1.schema.optional);
}

#[test]
fn unions_are_told_apart_by_shape() {
    let union = connect(
        r#"{"oneOf":[{"type":"object","properties":{"a":{"type":"string"}}},
        {"type":"object","properties":{"b":{"type":"string"},"c":{"type":"string"}}},{"type":"integer"}]}"#,
    );
    let config = config("unions", &[]);
    let second = Constant::Struct(vec![
        Constant::Null,
        Constant::Struct(vec![Constant::String("x".into()), Constant::Null]),
        Constant::Null,
    ]);
    let bytes = encode(Some(&union), &second, &config).unwrap().unwrap();
    assert_eq!(&bytes[5..], br#"{"b":"x"}"#);
}

#[test]
fn nulls_and_bad_bytes() {
    let config = config("nulls", &[]);
    assert_eq!(encode(None, &Constant::Null, &config), Ok(None));
    let optional = Schema::optional_string();
    let null = encode(Some(&optional), &Constant::Null, &config).unwrap().unwrap();
    assert_eq!(&null[5..], b"null");
    assert_eq!(decode(&null, &config).unwrap().1, Constant::Null);
    assert!(encode(None, &Constant::Int64(1), &config).unwrap_err().contains("without schema"));
    for bad in [&b"{}"[..], b"", b"\0\0\0", b"\0\0\0\x09\x01{}"] {
        let lead = "Converting byte[] to Kafka Connect data failed due to serialization error of topic t:";
        let error = decode(bad, &config).unwrap_err();
        assert!(error.starts_with(lead), "{bad:?}: {error}");
    }
    for broken in [&b"\""[..], b"{", b"\"\xff\"", b"[[["] {
        let mut bytes = null[..5].to_vec();
        bytes.extend_from_slice(broken);
        assert!(decode(&bytes, &config).is_err(), "{broken:?}");
    }
}

#[test]
fn writing_with_the_latest_schema_is_checked() {
    let config = |strict: &str| {
        let latest = [("auto.register.schemas", "false"), ("use.latest.version", "true")];
        let strict = [("latest.compatibility.strict", strict)];
        config("latest", &[&latest[..], &strict[..]].concat())
    };
    let registering = self::config("latest", &[]);
    let number = Arc::clone(Schema::primitive(Type::Int64, false));
    encode(Some(&number), &Constant::Int64(1), &registering).unwrap();
    let error = encode(Some(&Schema::string()), &Constant::String("x".into()), &config("true")).unwrap_err();
    assert!(error.contains("latest.compatibility.strict"), "{error}");
    assert!(encode(Some(&Schema::string()), &Constant::String("x".into()), &config("false")).is_ok());
    assert!(encode(Some(&number), &Constant::Int64(7), &config("true")).is_ok());
}

#[test]
fn settings_that_cannot_be_kept_are_refused() {
    let error = Options::parse(&config("x", &[(VALIDATE, "true")])).unwrap_err();
    assert_eq!(error.key, VALIDATE);
    assert!(Options::parse(&config("x", &[(DECIMALS, "octal")])).is_err());
}

/// A schema and a value of it.
fn any_value() -> impl Strategy<Value = (SchemaRef, Constant)> {
    let plain = |kind: Type| Arc::clone(Schema::primitive(kind, false));
    let leaf = prop_oneof![
        any::<bool>().prop_map(move |value| (plain(Type::Boolean), Constant::Boolean(value))),
        any::<i8>().prop_map(move |value| (plain(Type::Int8), Constant::Int8(value))),
        any::<i32>().prop_map(move |value| (plain(Type::Int32), Constant::Int32(value))),
        any::<i64>().prop_map(move |value| (plain(Type::Int64), Constant::Int64(value))),
        (-1e30f64..1e30).prop_map(move |value| (plain(Type::Float64), Constant::Float64(value))),
        ".{0,12}".prop_map(move |value| (plain(Type::String), Constant::String(value.as_str().into()))),
        proptest::collection::vec(any::<u8>(), 0..8)
            .prop_map(move |value| (plain(Type::Bytes), Constant::Bytes(value.into()))),
        Just((Arc::clone(Schema::primitive(Type::String, true)), Constant::Null)),
        (-99_999i32..99_999)
            .prop_map(|days| (SchemaBuilder::date().build(), Constant::Date(i64::from(days) * 86_400_000))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..5).prop_map(|parts| {
                let mut builder = SchemaBuilder::structure().name("n.Part");
                let mut values = Vec::new();
                for (index, (schema, value)) in parts.into_iter().enumerate() {
                    builder = builder.field(format!("f{index}"), schema);
                    values.push(value);
                }
                (builder.build(), Constant::Struct(values))
            }),
            (inner.clone(), 0..3usize).prop_map(|((schema, value), count)| {
                (SchemaBuilder::array(schema).build(), Constant::Array(vec![value; count]))
            }),
            (any::<i32>(), inner).prop_map(|(key, (schema, value))| {
                let keys = Arc::clone(Schema::primitive(Type::Int32, false));
                let entries = vec![(Constant::Int32(key), value)];
                (SchemaBuilder::map(keys, schema).build(), Constant::Map(entries))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn values_come_back((schema, value) in any_value()) {
        let config = config("round-trips", &[("value.subject.name.strategy", "TopicNameStrategy")]);
        let bytes = encode(Some(&schema), &value, &config).unwrap();
        // a null at the top has a payload, since its schema allows it
        let (read, back) = decode(&bytes.unwrap(), &config).unwrap();
        let mut read = Schema::clone(&read.unwrap());
        read.version = schema.version;
        prop_assert_eq!(&read, &*schema);
        prop_assert_eq!(back, value);
    }

    #[test]
    fn hostile_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let config = config("hostile", &[]);
        let mut bytes = encode(Some(&order()), &sample(), &config).unwrap().unwrap();
        bytes.truncate(5);
        bytes.extend_from_slice(&payload);
        let _either = decode(&bytes, &config);
    }
}

fn sample() -> Constant {
    Constant::Struct(vec![
        Constant::Int64(1),
        Constant::Null,
        Constant::Decimal(vec![1, 0].into(), 2),
        Constant::Array(vec![]),
    ])
}
