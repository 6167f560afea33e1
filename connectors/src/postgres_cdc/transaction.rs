//! Transaction metadata: which transaction an event belongs to, and the BEGIN and END records of `provide.transaction.metadata`.

use std::sync::LazyLock;

use aqueduct_engine::data::{Batch, Schema, SchemaBuilder, SchemaRef, Type, Value};
use indexmap::IndexMap;

static KEY: LazyLock<SchemaRef> = LazyLock::new(|| {
    SchemaBuilder::structure()
        .name("io.debezium.connector.common.TransactionMetadataKey")
        .version(1)
        .field("id", Schema::string())
        .build()
});

static VALUE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let count = |optional| SchemaBuilder::new(Type::Int64).set_optional(optional).build();
    let collection = SchemaBuilder::structure()
        .optional()
        .name("event.collection")
        .version(1)
        .field("data_collection", Schema::string())
        .field("event_count", count(false));
    SchemaBuilder::structure()
        .name("io.debezium.connector.common.TransactionMetadataValue")
        .version(1)
        .field("status", Schema::string())
        .field("id", Schema::string())
        .field("event_count", count(true))
        .field("data_collections", SchemaBuilder::array(collection.build()).optional().build())
        .field("ts_ms", count(false))
        .build()
});

/// An event's place in its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventPlace {
    id: String,
    total: i64,
    of_table: i64,
}

impl EventPlace {
    /// The `transaction` block.
    pub(super) fn put(&self, batch: &mut Batch) -> Value {
        let id = Value::String(batch.put_str(&self.id));
        Value::Struct(batch.push_values(&[id, Value::Int64(self.total), Value::Int64(self.of_table)]))
    }
}

/// Events of the open transaction, counted by table.
#[derive(Debug, Default)]
pub(super) struct TransactionCounts {
    tables: IndexMap<String, i64>,
    total: i64,
}

/// A record of the transactions' topic.
pub(super) struct TransactionRecord {
    pub(super) key: (&'static SchemaRef, Value),
    pub(super) value: (&'static SchemaRef, Value),
}

impl TransactionCounts {
    /// Counts an event of a table (`schema.table`), or of what else has events; `lsn` is its own.
    pub(super) fn next(&mut self, xid: u32, lsn: u64, table: &str) -> EventPlace {
        self.total += 1;
        let of_table = self.tables.entry(table.to_owned()).or_default();
        *of_table += 1;
        EventPlace { id: format!("{xid}:{lsn}"), total: self.total, of_table: *of_table }
    }

    /// The BEGIN record.
    pub(super) fn begin(&mut self, batch: &mut Batch, xid: u32, lsn: u64, micros: i64) -> TransactionRecord {
        self.tables.clear();
        self.total = 0;
        record(batch, "BEGIN", &format!("{xid}:{lsn}"), [Value::Null, Value::Null], micros)
    }

    /// The END record.
    pub(super) fn end(&mut self, batch: &mut Batch, xid: u32, lsn: u64, micros: i64) -> TransactionRecord {
        let mut collections = Vec::with_capacity(self.tables.len());
        for (table, count) in &self.tables {
            let name = Value::String(batch.put_str(table));
            collections.push(Value::Struct(batch.push_values(&[name, Value::Int64(*count)])));
        }
        let collections = Value::Array(batch.push_values(&collections));
        let counts = [Value::Int64(self.total), collections];
        self.tables.clear();
        self.total = 0;
        record(batch, "END", &format!("{xid}:{lsn}"), counts, micros)
    }
}

fn record(batch: &mut Batch, status: &str, id: &str, counts: [Value; 2], micros: i64) -> TransactionRecord {
    let id = Value::String(batch.put_str(id));
    let key = Value::Struct(batch.push_values(&[id]));
    let status = Value::String(batch.put_str(status));
    let ms = Value::Int64(micros.div_euclid(1000));
    let value = Value::Struct(batch.push_values(&[status, id, counts[0], counts[1], ms]));
    TransactionRecord { key: (&KEY, key), value: (&VALUE, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_table() {
        let mut batch = Batch::default();
        let mut counts = TransactionCounts::default();
        counts.begin(&mut batch, 7, 100, 5_000);
        assert_eq!(counts.total, 0);
        counts.next(7, 101, "public.a");
        counts.next(7, 102, "public.b");
        let third = counts.next(7, 103, "public.a");
        assert_eq!(third, EventPlace { id: "7:103".to_owned(), total: 3, of_table: 2 });
        let Value::Struct(range) = counts.end(&mut batch, 7, 110, 5_000).value.1 else { panic!() };
        let [_, _, Value::Int64(3), Value::Array(tables), Value::Int64(5)] = *batch.items(range) else {
            panic!()
        };
        assert_eq!(tables.len, 2);
        assert_eq!(counts.total, 0);
    }
}
