//! The converter on a registry within the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_schema_registry::{Client, Config, Schema as Text, SchemaType, Version};
use bytes::Bytes;

use crate::config::ConfigMap;
use crate::converter::{Converter, Encoded, create};
use crate::data::{Batch, Constant, Record, Schema, SchemaBuilder, SchemaRef, Side, Span, Type};

struct Under {
    url: String,
    converter: Box<dyn Converter>,
}

impl Under {
    fn new(options: &[(&str, &str)]) -> Under {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = format!("mock://protobuf-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut config = ConfigMap::from([("schema.registry.url".to_owned(), url.clone())]);
        config.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let converter = create(super::CLASS, &config, false).unwrap();
        Under { url, converter }
    }

    fn client(&self) -> Client {
        Client::new(Config { urls: vec![self.url.clone()], ..Config::default() }).unwrap()
    }

    fn register(&self, text: &str) -> i32 {
        let schema = Arc::new(Text::new(SchemaType::Protobuf, text));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.client().register("t-value", &schema, false)).unwrap().id
    }

    fn registered(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(self.client().version("t-value", Version::Latest)).unwrap();
        found.schema.text.to_string()
    }

    fn write(&mut self, schema: &SchemaRef, value: &Constant) -> Result<Vec<u8>, String> {
        let mut batch = Batch::default();
        let topic = batch.intern_topic("t");
        let (schema, value) = (batch.intern_schema(schema), batch.put_constant(value));
        let mut record = Record { topic, ..Record::default() };
        record.set_side(Side::Value, schema, value);
        batch.records.push(record);
        let mut out = Encoded::default();
        self.converter.encode(&mut batch, Side::Value, &mut out);
        match batch.errors.first() {
            Some(error) => Err(error.to_string()),
            None => Ok(out.get(&batch, 0).map(<[u8]>::to_vec).unwrap_or_default()),
        }
    }

    fn read(&mut self, message: &[u8]) -> Result<(SchemaRef, Constant), String> {
        let mut batch = Batch::default();
        let topic = batch.intern_topic("t");
        let segment = batch.add_segment(Bytes::copy_from_slice(message));
        let raw_value = Some(Span { segment, offset: 0, len: message.len() as u32 });
        batch.records.push(Record { topic, raw_value, ..Record::default() });
        self.converter.decode(&mut batch, Side::Value);
        match batch.errors.first() {
            Some(error) => Err(error.to_string()),
            None => {
                let (schema, value) = batch.records[0].side(Side::Value);
                Ok((Arc::clone(batch.schema_ref(schema).unwrap()), batch.constant(value)))
            }
        }
    }

    /// A message of a schema that is registered first.
    fn read_as(&mut self, text: &str, payload: &[u8]) -> Result<(SchemaRef, Constant), String> {
        let id = self.register(text);
        self.read(&[&[0][..], &id.to_be_bytes(), payload].concat())
    }
}

fn primitive(kind: Type, optional: bool) -> SchemaRef {
    Arc::clone(Schema::primitive(kind, optional))
}

fn text(text: &str) -> Constant {
    Constant::String(text.into())
}

fn everything() -> (SchemaRef, Constant) {
    let inner = SchemaBuilder::structure().name("x.Inner").field("a", primitive(Type::Int64, false)).build();
    let schema = SchemaBuilder::structure()
        .name("shop.Order")
        .field("i8", primitive(Type::Int8, false))
        .field("i32", primitive(Type::Int32, false))
        .field("s", primitive(Type::String, true))
        .field("d", SchemaBuilder::decimal(2).optional().build())
        .field("t", SchemaBuilder::timestamp().build())
        .field("day", SchemaBuilder::date().build())
        .field("clock", SchemaBuilder::time().build())
        .field("inner", Arc::clone(&inner))
        .field("list", SchemaBuilder::array(primitive(Type::Int32, false)).build())
        .field("structs", SchemaBuilder::array(inner).build())
        .field(
            "map",
            SchemaBuilder::map(Schema::string(), primitive(Type::Int32, false)).name("tags").build(),
        )
        .build();
    let value = Constant::Struct(vec![
        Constant::Int8(-5),
        Constant::Int32(0),
        Constant::Null,
        Constant::Decimal([0x01, 0x00].into(), 2),
        Constant::Date(-1500),
        Constant::Date(86_400_000 * 365),
        Constant::Date(3_723_004),
        Constant::Struct(vec![Constant::Int64(7)]),
        Constant::Array(vec![Constant::Int32(1), Constant::Int32(-1), Constant::Int32(300)]),
        Constant::Array(vec![
            Constant::Struct(vec![Constant::Int64(0)]),
            Constant::Struct(vec![Constant::Int64(200)]),
        ]),
        Constant::Map(vec![(text("k"), Constant::Int32(1)), (text("l"), Constant::Int32(0))]),
    ]);
    (schema, value)
}

#[test]
fn the_registered_text_is_confluents() {
    let mut under = Under::new(&[]);
    let (schema, value) = everything();
    under.write(&schema, &value).unwrap();
    let expected = r#"syntax = "proto3";
package shop;

import "confluent/type/decimal.proto";
import "google/protobuf/timestamp.proto";
import "google/type/date.proto";
import "google/type/timeofday.proto";

message Order {
  int32 i8 = 1 [(confluent.field_meta) = {
    params: [
      {
        key: "connect.type",
        value: "int8"
      }
    ]
  }];
  int32 i32 = 2;
  string s = 3;
  confluent.type.Decimal d = 4 [(confluent.field_meta) = {
    params: [
      {
        value: "2",
        key: "scale"
      }
    ]
  }];
  google.protobuf.Timestamp t = 5;
  google.type.Date day = 6;
  google.type.TimeOfDay clock = 7;
  Inner inner = 8;
  repeated int32 list = 9;
  repeated Inner structs = 10;
  repeated tagsEntry map = 11;

  message Inner {
    int64 a = 1;
  }
  message tagsEntry {
    string key = 1;
    int32 value = 2;
  }
}
"#;
    assert_eq!(under.registered(), expected);
}

#[test]
fn what_is_written_is_read_again() {
    let mut under = Under::new(&[]);
    let (schema, value) = everything();
    let message = under.write(&schema, &value).unwrap();
    assert_eq!(message[5], 0, "the first message of the schema");
    let (read_schema, read) = under.read(&message).unwrap();
    let Constant::Struct(mut expected) = value else { unreachable!() };
    // without presence null is nothing, and nothing is the empty text
    expected[2] = text("");
    assert_eq!(read, Constant::Struct(expected));
    assert_eq!((read_schema.name.as_deref(), read_schema.version), (Some("Order"), Some(1)));
    assert!(read_schema.fields.iter().all(|field| field.schema.optional));
    let kinds: Vec<Type> = read_schema.fields.iter().map(|field| field.schema.kind).collect();
    assert_eq!(kinds[..2], [Type::Int8, Type::Int32]);
    // and what was read is written as the same message
    assert_eq!(under.write(&read_schema, &read).unwrap()[5..], message[5..]);
}

#[test]
fn options_for_nulls() {
    let schema = SchemaBuilder::structure()
        .field("a", primitive(Type::Int32, true))
        .field("b", primitive(Type::String, true))
        .build();
    let value = Constant::Struct(vec![Constant::Int32(0), Constant::Null]);
    for (option, line) in [
        ("optional.for.nullables", "  optional int32 a = 1;\n"),
        ("wrapper.for.nullables", "  google.protobuf.Int32Value a = 1;\n"),
    ] {
        let mut under = Under::new(&[(option, "true")]);
        let message = under.write(&schema, &value).unwrap();
        let registered = under.registered();
        assert!(
            registered.contains(line) && registered.contains("message ConnectDefault1 {"),
            "{registered}"
        );
        assert_eq!(under.read(&message).unwrap().1, value, "{option}");
    }
}

#[test]
fn values_that_are_no_structs() {
    let mut under = Under::new(&[]);
    let message = under.write(&Schema::string(), &text("hello")).unwrap();
    assert_eq!(message[5..], [&[2, 14, 0x0a, 5][..], b"hello"].concat());
    let (schema, read) = under.read(&message).unwrap();
    assert_eq!((schema.kind, read), (Type::String, text("hello")));
    let array = SchemaBuilder::array(Schema::string()).build();
    assert!(under.write(&array, &Constant::Array(vec![])).unwrap_err().contains("Unsupported root schema"));
}

const ONEOF: &str = "syntax = \"proto3\"; package p;
    enum Color { RED = 0; BLUE = 5; }
    message M { oneof pick { int32 i = 1; string s = 2; M m = 3; } repeated Color colors = 4; map<string, M> by = 5; }";

#[test]
fn oneofs_enums_and_messages_within_themselves() {
    let mut under = Under::new(&[]);
    // i = 1, then s = "x": the last counts; colors 5, 0 and one that has no name
    let (schema, read) = under.read_as(ONEOF, &[0, 8, 1, 0x12, 1, b'x', 0x22, 3, 5, 0, 9]).unwrap();
    let Constant::Struct(values) = read.clone() else { panic!("{read:?}") };
    assert_eq!(schema.fields[0].name.as_ref(), "pick_0");
    assert_eq!(schema.fields[0].schema.name.as_deref(), Some("io.confluent.connect.protobuf.Union.pick"));
    assert_eq!(values[0], Constant::Struct(vec![Constant::Null, text("x"), Constant::Null]));
    assert_eq!(
        values[1],
        Constant::Array(vec![text("BLUE"), text("RED"), text("UNKNOWN_ENUM_VALUE_Color_9")])
    );
    assert!(schema.optional, "shared with the fields that refer to it");
    // parts of a message that is there twice add up, also after something else
    let (_, read) = under.read_as(ONEOF, &[0, 0x1a, 2, 0x22, 0, 0x22, 1, 5, 0x1a, 3, 0x12, 1, b'y']).unwrap();
    let Constant::Struct(values) = read else { panic!() };
    let Constant::Struct(members) = &values[0] else { panic!() };
    let Constant::Struct(inner) = &members[2] else { panic!("{members:?}") };
    assert_eq!(inner[0], Constant::Struct(vec![Constant::Null, text("y"), Constant::Null]));
    // an entry without its parts has their defaults
    let (_, read) = under.read_as(ONEOF, &[0, 0x2a, 0]).unwrap();
    let Constant::Struct(values) = read else { panic!() };
    let Constant::Map(entries) = &values[2] else { panic!() };
    assert_eq!(entries[0].0, text(""));
    assert!(matches!(&entries[0].1, Constant::Struct(inner) if inner[0] == Constant::Null));
    // deeper than it is unrolled
    let mut deep = vec![0x22, 1, 5];
    for _ in 0..90 {
        let mut outer = vec![0x1a];
        super::input::put_varint(deep.len() as u64, &mut outer);
        outer.extend(&deep);
        deep = outer;
    }
    deep.insert(0, 0);
    assert!(under.read_as(ONEOF, &deep).unwrap_err().contains("nested deeper"));
}

#[test]
fn proto2_and_its_defaults() {
    let schema = "syntax = \"proto2\";
        message Outer { message In { required int32 r = 1; optional string o = 2; optional int32 d = 3 [default = -7];
          repeated sint32 packed = 4 [packed = true]; optional group G = 5 { optional int32 x = 1; } } }
        message Plain { required int32 r = 1; optional string o = 2 [default = \"a\\tb\"]; repeated sint32 n = 4; }";
    let mut under = Under::new(&[("optional.for.proto2", "false")]);
    // the second message; n packed and not packed; an unknown group between
    let (schema_read, read) =
        under.read_as(schema, &[2, 2, 8, 3, 0x22, 2, 1, 2, 0x33, 8, 1, 0x34, 0x20, 4]).unwrap();
    let expected = vec![
        Constant::Int32(3),
        text("a\tb"),
        Constant::Array(vec![Constant::Int32(-1), Constant::Int32(1), Constant::Int32(2)]),
    ];
    assert_eq!((schema_read.name.as_deref(), read), (Some("Plain"), Constant::Struct(expected)));
    assert!(under.read_as(schema, &[2, 2]).unwrap_err().contains("required fields: r"));
    assert!(under.read_as(schema, &[4, 0, 0, 8, 1]).unwrap_err().contains("groups are not supported"));
    assert!(under.read_as(schema, &[2, 8]).unwrap_err().contains("no message at the indexes"));
}

#[test]
fn bad_messages_are_errors() {
    let schema = "syntax = \"proto3\"; import \"google/type/date.proto\";
        message A { string s = 1; google.type.Date d = 2; int32 i = 3; }";
    for payload in [
        &[][..],
        &[0, 0x0a, 5, b'x'],
        &[0, 0x0a, 1, 0xff],
        &[0, 0x12, 2, 8, 1],
        &[0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0, 0x1c],
        &[0, 0x02],
        &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    ] {
        assert!(Under::new(&[]).read_as(schema, payload).is_err(), "{payload:?}");
    }
    for text in
        ["message A { int32 a = 0; }", "message A {", "message A { B b = 1; }", "import \"x.proto\";", "{}"]
    {
        assert!(Under::new(&[]).read_as(text, &[0]).is_err(), "{text}");
    }
}

#[test]
fn a_descriptor_in_base64_is_a_schema() {
    // syntax proto3; message T { string s = 1; }
    let descriptor = b"\x0a\x01f\x22\x0e\x0a\x01T\x12\x09\x0a\x01s\x18\x01\x20\x01\x28\x09\x62\x06proto3";
    let text_of = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, descriptor);
    let (schema, read) = Under::new(&[]).read_as(&text_of, &[0, 0x0a, 1, b'x']).unwrap();
    assert_eq!((schema.name.as_deref(), read), (Some("T"), Constant::Struct(vec![text("x")])));
}
