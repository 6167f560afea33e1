//! Events written into a batch: Debezium's envelope, its source block, keys and headers.

use std::sync::Arc;

use aqueduct_engine::data::{
    Batch, Header, Range32, Record, Schema, SchemaId, SchemaRef, Span, TopicId, Value,
};

use super::table::TablePlan;
use super::transaction::EventPlace;

/// The release whose events these are: it stands in `source.version`.
pub(super) const DEBEZIUM_VERSION: &str = "3.7.0.Final";
const CONNECTOR: &str = "postgresql";

/// What an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Create,
    Update,
    Delete,
    Truncate,
}

/// A row's place in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotMark {
    Streaming,
    First,
    FirstOfTable,
    Inner,
    LastOfTable,
    Last,
    Incremental,
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) mark: SnapshotMark,
    pub(super) lsn: u64,
    pub(super) last_commit: Option<u64>,
    /// `None` for messages outside of transactions.
    pub(super) xid: Option<u64>,
    /// Commit time, or the snapshot's, in microseconds since 1970.
    pub(super) micros: i64,
    /// Its name and LSN on the server it first happened on.
    pub(super) replicated: Option<(&'a str, Option<u64>)>,
}

/// Texts that many events share, put into a batch once.
#[derive(Debug, Clone, Copy)]
struct Shared {
    version: Span,
    connector: Span,
    name: Span,
    database: Span,
    operations: [Span; 6],
    marks: [Span; 7],
    headers: Range32,
}

/// What all events of a table in one batch share.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TableTexts {
    batch: u64,
    schema: Span,
    table: Span,
    topic: TopicId,
    value_schema: SchemaId,
    key_schema: SchemaId,
    /// The source block of the rows within a snapshot: the same for all of them.
    source: Option<Value>,
}

/// Writes events.
pub(super) struct EventWriter {
    prefix: Arc<str>,
    database: Arc<str>,
    extended_headers: bool,
    task: usize,
    run: String,
    string: SchemaRef,
    shared: Option<Shared>,
    /// Number of the batch that is written.
    batch: u64,
    /// Now, in nanoseconds since 1970.
    now: i64,
    sequence: String,
}

impl EventWriter {
    pub(super) fn new(prefix: &str, database: &str, extended_headers: bool, task: usize) -> EventWriter {
        EventWriter {
            prefix: Arc::from(prefix),
            database: Arc::from(database),
            extended_headers,
            task,
            run: uuid::Uuid::new_v4().to_string(),
            string: Schema::string(),
            shared: None,
            batch: 0,
            now: 0,
            sequence: String::new(),
        }
    }

    /// A new batch begins: nothing of the last one is valid.
    pub(super) fn begin(&mut self) {
        self.shared = None;
        self.batch += 1;
        self.now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    }

    fn shared(&mut self, batch: &mut Batch) -> Shared {
        if let Some(shared) = self.shared {
            return shared;
        }
        let headers = self.context_headers(batch);
        let shared = Shared {
            version: batch.put_str(DEBEZIUM_VERSION),
            connector: batch.put_str(CONNECTOR),
            name: batch.put_str(&self.prefix),
            database: batch.put_str(&self.database),
            operations: ["r", "c", "u", "d", "t", "m"].map(|text| batch.put_str(text)),
            marks: [
                "false",
                "first",
                "first_in_data_collection",
                "true",
                "last_in_data_collection",
                "last",
                "incremental",
            ]
            .map(|text| batch.put_str(text)),
            headers,
        };
        self.shared = Some(shared);
        shared
    }

    fn context_headers(&self, batch: &mut Batch) -> Range32 {
        let start = batch.headers.len() as u32;
        if !self.extended_headers {
            return Range32 { start, len: 0 };
        }
        let schema = batch.intern_schema(&self.string);
        let task = self.task.to_string();
        let headers = [
            ("connectorLogicalName", &*self.prefix),
            ("taskId", &task),
            ("connectorName", CONNECTOR),
            ("runId", &self.run),
        ];
        for (name, text) in headers {
            let key = batch.put_str(&format!("__debezium.context.{name}"));
            let value = Value::String(batch.put_str(text));
            batch.headers.push(Header { key, schema, value, raw: None });
        }
        Range32 { start, len: batch.headers.len() as u32 - start }
    }

    fn table_texts(&self, batch: &mut Batch, plan: &TablePlan, texts: &mut TableTexts) {
        if texts.batch != self.batch {
            *texts = TableTexts {
                batch: self.batch,
                schema: batch.put_str(&plan.schema),
                table: batch.put_str(&plan.table),
                topic: batch.intern_topic(&plan.topic),
                value_schema: batch.intern_schema(&plan.envelope),
                key_schema: plan.key.as_ref().map_or(0, |key| batch.intern_schema(&key.schema)),
                source: None,
            };
        }
    }

    /// The source block; schema and table are empty for logical messages.
    fn source(&mut self, batch: &mut Batch, schema: Span, table: Span, origin: &Origin<'_>) -> Value {
        let mut digits = itoa::Buffer::new();
        self.sequence.clear();
        match origin.last_commit {
            Some(last) => self.sequence.extend(["[\"", digits.format(last), "\",\""]),
            None => self.sequence.push_str("[null,\""),
        }
        self.sequence.extend([digits.format(origin.lsn), "\"]"]);
        let sequence = batch.put_str(&self.sequence);
        let (name, lsn) = match origin.replicated {
            Some((name, lsn)) => {
                let lsn = lsn.map_or(Value::Null, |lsn| Value::Int64(lsn as i64));
                (Value::String(batch.put_str(name)), lsn)
            }
            None => (Value::Null, Value::Null),
        };
        let micros = origin.micros;
        // rows of chunks have no place in the log
        let own_lsn = match origin.mark {
            SnapshotMark::Incremental => Value::Null,
            _ => Value::Int64(origin.lsn as i64),
        };
        let shared = self.shared(batch);
        let fields = [
            Value::String(shared.version),
            Value::String(shared.connector),
            Value::String(shared.name),
            Value::Int64(micros.div_euclid(1000)),
            Value::String(shared.marks[origin.mark as usize]),
            Value::String(shared.database),
            Value::String(sequence),
            Value::Int64(micros),
            Value::Int64(micros.saturating_mul(1000)),
            Value::String(schema),
            Value::String(table),
            origin.xid.map_or(Value::Null, |xid| Value::Int64(xid as i64)),
            own_lsn,
            Value::Null,
            name,
            lsn,
        ];
        Value::Struct(batch.push_values(&fields))
    }

    /// The key of a row.
    pub(super) fn key(&self, batch: &mut Batch, plan: &TablePlan, row: Value) -> Value {
        let (Some(key), Value::Struct(row)) = (&plan.key, row) else { return Value::Null };
        let start = batch.values.len() as u32;
        for field in &key.fields {
            let value = batch.items(row).get(*field).copied().unwrap_or_default();
            batch.values.push(value);
        }
        Value::Struct(Range32 { start, len: key.fields.len() as u32 })
    }

    /// An event of a table. `before` and `after` are rows or null.
    #[allow(clippy::too_many_arguments, reason = "the parts of one event, each of another kind")]
    pub(super) fn change(
        &mut self,
        batch: &mut Batch,
        plan: &TablePlan,
        texts: &mut TableTexts,
        operation: Operation,
        before: Value,
        after: Value,
        origin: &Origin<'_>,
        place: Option<&EventPlace>,
    ) {
        self.table_texts(batch, plan, texts);
        let is_shared = matches!(origin.mark, SnapshotMark::Inner | SnapshotMark::Incremental);
        let source = match texts.source {
            Some(source) if is_shared => source,
            _ => self.source(batch, texts.schema, texts.table, origin),
        };
        texts.source = is_shared.then_some(source);
        let transaction = place.map_or(Value::Null, |place| place.put(batch));
        let now = self.now;
        let shared = self.shared(batch);
        let (op, headers) = (Value::String(shared.operations[operation as usize]), shared.headers);
        let envelope = [
            before,
            after,
            source,
            transaction,
            op,
            Value::Int64(now / 1_000_000),
            Value::Int64(now / 1000),
            Value::Int64(now),
        ];
        let value = Value::Struct(batch.push_values(&envelope));
        let row = if after.is_null() { before } else { after };
        let key = self.key(batch, plan, row);
        batch.records.push(Record {
            topic: texts.topic,
            key_schema: if key.is_null() { 0 } else { texts.key_schema },
            key,
            value_schema: texts.value_schema,
            value,
            headers,
            ..Record::default()
        });
    }

    /// The tombstone that follows a delete, with its headers; without a key there is none.
    pub(super) fn tombstone(batch: &mut Batch) {
        let Some(last) = batch.records.last().copied() else { return };
        if !last.key.is_null() {
            batch.records.push(Record { value_schema: 0, value: Value::Null, ..last });
        }
    }

    /// Puts a header with a key in front of the last record's: `__debezium.newkey` or `__debezium.oldkey`.
    pub(super) fn key_header(&mut self, batch: &mut Batch, plan: &TablePlan, name: &str, key: Value) {
        let Some(key_plan) = &plan.key else { return };
        let schema = batch.intern_schema(&key_plan.schema);
        let start = batch.headers.len() as u32;
        let name = batch.put_str(name);
        let Some(shared) = batch.records.last().map(|record| record.headers) else { return };
        batch.headers.push(Header { key: name, schema, value: key, raw: None });
        batch.headers.extend_from_within(shared.start as usize..(shared.start + shared.len) as usize);
        if let Some(record) = batch.records.last_mut() {
            record.headers = Range32 { start, len: shared.len + 1 };
        }
    }

    /// A record of another kind: heartbeat, transaction, logical message.
    pub(super) fn other(
        batch: &mut Batch,
        topic: &str,
        key: (&SchemaRef, Value),
        value: (&SchemaRef, Value),
    ) {
        let topic = batch.intern_topic(topic);
        let (key_schema, value_schema) = (batch.intern_schema(key.0), batch.intern_schema(value.0));
        batch.records.push(Record {
            topic,
            key_schema,
            key: key.1,
            value_schema,
            value: value.1,
            ..Record::default()
        });
    }

    /// A logical message's value.
    pub(super) fn message(
        &mut self,
        batch: &mut Batch,
        prefix: Value,
        content: Value,
        origin: &Origin<'_>,
        place: Option<&EventPlace>,
    ) -> Value {
        let nothing = batch.put_str("");
        let source = self.source(batch, nothing, nothing, origin);
        let transaction = place.map_or(Value::Null, |place| place.put(batch));
        let message = Value::Struct(batch.push_values(&[prefix, content]));
        let now = self.now;
        let op = Value::String(self.shared(batch).operations[5]);
        Value::Struct(batch.push_values(&[op, Value::Int64(now / 1_000_000), source, transaction, message]))
    }

    /// Milliseconds since 1970 when this batch was begun.
    pub(super) const fn now_ms(&self) -> i64 {
        self.now / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::SOURCE;
    use super::*;

    #[test]
    fn the_source_block_has_a_value_for_each_field() {
        let mut writer = EventWriter::new("p", "db", true, 0);
        let mut batch = Batch::default();
        writer.begin();
        let origin = Origin {
            mark: SnapshotMark::Last,
            lsn: 7,
            last_commit: None,
            xid: Some(3),
            micros: 1_500_000,
            replicated: None,
        };
        let (schema, table) = (batch.put_str("public"), batch.put_str("t"));
        let Value::Struct(range) = writer.source(&mut batch, schema, table, &origin) else { panic!() };
        let values = batch.items(range).to_vec();
        assert_eq!(values.len(), SOURCE.fields.len());
        let shown = |name: &str| match values[SOURCE.field(name).unwrap().0] {
            Value::String(span) => batch.str(span).to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(shown("snapshot"), "last");
        assert_eq!(shown("sequence"), "[null,\"7\"]");
        assert_eq!(shown("ts_ms"), "Int64(1500)");
        assert_eq!(shown("txId"), "Int64(3)");
    }
}
