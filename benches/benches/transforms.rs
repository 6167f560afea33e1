//! Five transforms in a chain on the record of eight fields: InsertField, ReplaceField, MaskField, Cast and SetSchemaMetadata
//! over rows with a schema. Times are of a batch of 1000 records, so a figure in microseconds is nanoseconds a record.

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::data::{Batch, Record, SchemaBuilder, SchemaRef, Type, Value};
use aqueduct_engine::transform::Chain;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: usize = 1000;

const CHAIN: &[(&str, &str)] = &[
    ("transforms", "insert,replace,mask,cast,name"),
    ("transforms.insert.type", "org.apache.kafka.connect.transforms.InsertField$Value"),
    ("transforms.insert.topic.field", "topic"),
    ("transforms.insert.timestamp.field", "seen_at"),
    ("transforms.replace.type", "org.apache.kafka.connect.transforms.ReplaceField$Value"),
    ("transforms.replace.exclude", "comment"),
    ("transforms.replace.renames", "name:customer"),
    ("transforms.mask.type", "org.apache.kafka.connect.transforms.MaskField$Value"),
    ("transforms.mask.fields", "email"),
    ("transforms.mask.replacement", "***"),
    ("transforms.cast.type", "org.apache.kafka.connect.transforms.Cast$Value"),
    ("transforms.cast.spec", "visits:int64,active:int8"),
    ("transforms.name.type", "org.apache.kafka.connect.transforms.SetSchemaMetadata$Value"),
    ("transforms.name.schema.name", "shop.Masked"),
];

fn schema() -> SchemaRef {
    let field = |kind| SchemaBuilder::new(kind);
    SchemaBuilder::structure()
        .name("shop.Customer")
        .field("id", field(Type::Int64).build())
        .field("name", field(Type::String).build())
        .field("email", field(Type::String).optional().build())
        .field("amount", field(Type::Float64).build())
        .field("active", field(Type::Boolean).build())
        .field("created_at", SchemaBuilder::timestamp().build())
        .field("comment", field(Type::String).optional().build())
        .field("visits", field(Type::Int32).build())
        .build()
}

/// Fills the batch as a converter does; with the schema shared, as a cached one is.
fn fill(batch: &mut Batch, schema: &SchemaRef) {
    batch.clear();
    let topic = batch.intern_topic("customers");
    let id = batch.intern_schema(schema);
    let name = Value::String(batch.put_str("customer 000001"));
    let email = Value::String(batch.put_str("customer000001@example.com"));
    let comment = Value::String(batch.put_str("called twice, no answer"));
    for index in 0..RECORDS {
        let number = index as i64;
        let values = [
            Value::Int64(number),
            name,
            email,
            Value::Float64(number as f64 + 0.25),
            Value::Boolean(index.is_multiple_of(2)),
            Value::Date(1_700_000_000_123 + number),
            comment,
            Value::Int32(index as i32),
        ];
        let range = batch.push_values(&values);
        let value = Value::Struct(range);
        let timestamp = 1_700_000_000_123;
        batch.records.push(Record { topic, timestamp, value_schema: id, value, ..Record::default() });
    }
    batch.rows_are_own();
}

fn transforms(criterion: &mut Criterion) {
    let config: ConfigMap =
        CHAIN.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut chain = Chain::from_config(&config).expect("the configuration is good");
    let schema = schema();
    let mut batch = Batch::default();
    let mut group = criterion.benchmark_group("transforms");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("rows alone", |bencher| bencher.iter(|| fill(&mut batch, &schema)));
    group.bench_function("rows and five transforms", |bencher| {
        bencher.iter(|| {
            fill(&mut batch, &schema);
            chain.apply(&mut batch);
            assert!(batch.errors.is_empty());
        });
    });
    group.finish();
}

criterion_group!(benches, transforms);
criterion_main!(benches);
