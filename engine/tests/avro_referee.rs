//! `apache-avro` as referee of AvroConverter: random schemas and data, read and written by both.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apache_avro::Schema as RefereeSchema;
use apache_avro::types::Value as Avro;
use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{Converter, Encoded, avro_to_json, create};
use aqueduct_engine::data::{Batch, Constant, Record, Side, Span, Value};
use aqueduct_schema_registry::{Client, Config, Schema, SchemaType};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Data of each schema, in one batch.
const RECORDS: usize = 6;
const SYMBOLS: [&str; 3] = ["RED", "GREEN", "BLUE"];

#[derive(Debug, Clone)]
enum Shape {
    Int,
    Long,
    Float,
    Double,
    Boolean,
    String,
    Bytes,
    Enum,
    Fixed(usize),
    Optional(Box<Shape>),
    Array(Box<Shape>),
    Map(Box<Shape>),
    Record(Vec<Shape>),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Int),
        Just(Shape::Long),
        Just(Shape::Float),
        Just(Shape::Double),
        Just(Shape::Boolean),
        Just(Shape::String),
        Just(Shape::Bytes),
        Just(Shape::Enum),
        (1_usize..20).prop_map(Shape::Fixed),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let optional = inner.clone().prop_map(|shape| match shape {
            // a union is not directly in a union
            Shape::Optional(_) => shape,
            shape => Shape::Optional(Box::new(shape)),
        });
        prop_oneof![
            optional,
            inner.clone().prop_map(|shape| Shape::Array(Box::new(shape))),
            inner.clone().prop_map(|shape| Shape::Map(Box::new(shape))),
            prop::collection::vec(inner, 1..6).prop_map(Shape::Record),
        ]
    })
}

/// The schema's text; each named type has a name of its own.
fn schema(shape: &Shape, names: &mut u32) -> Json {
    let mut name = |kind: &str| {
        *names += 1;
        format!("{kind}{names}")
    };
    match shape {
        Shape::Int => json!("int"),
        Shape::Long => json!("long"),
        Shape::Float => json!("float"),
        Shape::Double => json!("double"),
        Shape::Boolean => json!("boolean"),
        Shape::String => json!("string"),
        Shape::Bytes => json!("bytes"),
        Shape::Enum => json!({"type": "enum", "name": name("E"), "symbols": SYMBOLS}),
        Shape::Fixed(size) => json!({"type": "fixed", "name": name("F"), "size": size}),
        Shape::Optional(inner) => json!(["null", schema(inner, names)]),
        Shape::Array(item) => json!({"type": "array", "items": schema(item, names)}),
        Shape::Map(value) => json!({"type": "map", "values": schema(value, names)}),
        Shape::Record(fields) => {
            let name = name("R");
            let field = |(index, shape): (usize, &Shape)| json!({"name": format!("f{index}"), "type": schema(shape, names)});
            let fields: Vec<Json> = fields.iter().enumerate().map(field).collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
    }
}

/// Texts around the lengths at which readers change their way, some of them not ASCII.
fn text(random: &mut fastrand::Rng) -> String {
    let len = random.usize(..40);
    let plain = random.u8(..4) != 0;
    std::iter::repeat_with(|| if plain { random.char(' '..='~') } else { random.char(..) })
        .take(len)
        .collect()
}

fn bytes(random: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// All magnitudes alike: varints of all lengths.
fn long(random: &mut fastrand::Rng) -> i64 {
    random.i64(..) >> random.u32(..64)
}

fn datum(shape: &Shape, random: &mut fastrand::Rng) -> Avro {
    match shape {
        Shape::Int => Avro::Int(random.i32(..) >> random.u32(..32)),
        Shape::Long => Avro::Long(long(random)),
        Shape::Float => Avro::Float(long(random) as f32 / 8.0),
        Shape::Double => Avro::Double(long(random) as f64 / 8.0),
        Shape::Boolean => Avro::Boolean(random.bool()),
        Shape::String => Avro::String(text(random)),
        Shape::Bytes => {
            let len = random.usize(..40);
            Avro::Bytes(bytes(random, len))
        }
        Shape::Enum => {
            let index = random.usize(..SYMBOLS.len());
            Avro::Enum(index as u32, SYMBOLS[index].to_owned())
        }
        Shape::Fixed(size) => Avro::Fixed(*size, bytes(random, *size)),
        Shape::Optional(_) if random.bool() => Avro::Union(0, Box::new(Avro::Null)),
        Shape::Optional(inner) => Avro::Union(1, Box::new(datum(inner, random))),
        Shape::Array(item) => Avro::Array((0..random.usize(..4)).map(|_| datum(item, random)).collect()),
        Shape::Map(value) => {
            let entries = (0..random.usize(..4)).map(|_| (text(random), datum(value, random)));
            Avro::Map(entries.collect::<HashMap<_, _>>())
        }
        Shape::Record(fields) => {
            let field = |(index, shape): (usize, &Shape)| (format!("f{index}"), datum(shape, random));
            Avro::Record(fields.iter().enumerate().map(field).collect())
        }
    }
}

/// What Connect makes of the referee's value; maps in the order of their keys.
fn connect(value: &Avro) -> Constant {
    match value {
        Avro::Null => Constant::Null,
        Avro::Boolean(value) => Constant::Boolean(*value),
        Avro::Int(value) => Constant::Int32(*value),
        Avro::Long(value) => Constant::Int64(*value),
        Avro::Float(value) => Constant::Float32(*value),
        Avro::Double(value) => Constant::Float64(*value),
        Avro::String(text) | Avro::Enum(_, text) => Constant::String(text.as_str().into()),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => Constant::Bytes(bytes.as_slice().into()),
        Avro::Union(_, inner) => connect(inner),
        Avro::Array(items) => Constant::Array(items.iter().map(connect).collect()),
        Avro::Map(entries) => {
            let entry =
                |(key, value): (&String, &Avro)| (Constant::String(key.as_str().into()), connect(value));
            sorted(Constant::Map(entries.iter().map(entry).collect()))
        }
        Avro::Record(fields) => Constant::Struct(fields.iter().map(|(_, value)| connect(value)).collect()),
        other => panic!("no such data here: {other:?}"),
    }
}

fn sorted(value: Constant) -> Constant {
    match value {
        Constant::Map(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by_key(|(key, _)| match key {
                Constant::String(text) => text.clone(),
                other => panic!("a key of a map is {other:?}"),
            });
            Constant::Map(entries)
        }
        Constant::Array(items) => Constant::Array(items.into_iter().map(sorted).collect()),
        Constant::Struct(fields) => Constant::Struct(fields.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn settings(entries: &[(&str, &str)]) -> ConfigMap {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A batch of messages, all in one segment.
fn batch(messages: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::default();
    let topic = batch.intern_topic("t");
    let segment = batch.add_segment(messages.concat().into());
    let mut offset = 0;
    for message in messages {
        let span = Span { segment, offset, len: message.len() as u32 };
        offset += span.len;
        batch.records.push(Record { topic, raw_value: Some(span), ..Record::default() });
    }
    batch
}

/// Converters on a registry of their own.
struct Under {
    client: Client,
    runtime: tokio::runtime::Runtime,
    avro: Box<dyn Converter>,
    json: Box<dyn Converter>,
    straight: Box<dyn Converter>,
}

impl Under {
    fn new() -> Self {
        static SCOPE: AtomicU64 = AtomicU64::new(0);
        let url = format!("mock://avro-referee-{}", SCOPE.fetch_add(1, Ordering::Relaxed));
        let registry = settings(&[("schema.registry.url", &url)]);
        let plain = settings(&[("schemas.enable", "false")]);
        Self {
            client: Client::new(Config { urls: vec![url], ..Config::default() }).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            avro: create("AvroConverter", &registry, false).unwrap(),
            json: create("JsonConverter", &plain, false).unwrap(),
            straight: avro_to_json(&registry, &plain, false).unwrap(),
        }
    }

    fn register(&self, text: &str) -> i32 {
        let schema = Arc::new(Schema::new(SchemaType::Avro, text));
        self.runtime.block_on(self.client.register("t-value", &schema, false)).unwrap().id
    }

    /// What the referee reads of a message of ours, by the schema that we registered for it.
    fn referee(&self, message: &[u8]) -> Constant {
        let id = i32::from_be_bytes(message[1..5].try_into().unwrap());
        let written = self.runtime.block_on(self.client.schema_by_id(id, "t-value")).unwrap();
        let schema = RefereeSchema::parse_str(&written.text).unwrap();
        let mut rest = &message[5..];
        let value = apache_avro::from_avro_datum(&schema, &mut rest, None).unwrap();
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
        connect(&value)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Rows hold what the referee wrote, the text straight from Avro is the one over rows, and the referee reads what we write.
    #[test]
    fn both_read_and_write_alike(fields in prop::collection::vec(shapes(), 1..8), seed in any::<u64>()) {
        let shape = Shape::Record(fields);
        let text = schema(&shape, &mut 0).to_string();
        let writer = RefereeSchema::parse_str(&text).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let data: Vec<Avro> = std::iter::repeat_with(|| datum(&shape, &mut random)).take(RECORDS).collect();
        let mut under = Under::new();
        let id = under.register(&text);
        let message = |value: &Avro| {
            let datum = apache_avro::to_avro_datum(&writer, value.clone()).unwrap();
            [&[0][..], &id.to_be_bytes(), &datum].concat()
        };
        let messages: Vec<Vec<u8>> = data.iter().map(message).collect();

        let mut rows = batch(&messages);
        under.avro.decode(&mut rows, Side::Value);
        prop_assert!(rows.errors.is_empty(), "{:?}", rows.errors);
        for (record, value) in rows.records.iter().zip(&data) {
            prop_assert_eq!(sorted(rows.constant(record.value)), connect(value));
        }

        let mut straight = batch(&messages);
        under.straight.decode(&mut straight, Side::Value);
        let mut out = Encoded::default();
        under.json.encode(&mut rows, Side::Value, &mut out);
        for index in 0..data.len() {
            let Value::String(span) = straight.records[index].value else { panic!("no text") };
            prop_assert_eq!(Some(straight.bytes(span)), out.get(&rows, index));
        }

        under.avro.encode(&mut rows, Side::Value, &mut out);
        prop_assert!(rows.errors.is_empty(), "{:?}", rows.errors);
        for (index, value) in data.iter().enumerate() {
            prop_assert_eq!(under.referee(out.get(&rows, index).unwrap()), connect(value));
        }
    }
}
