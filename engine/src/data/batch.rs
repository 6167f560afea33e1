//! The batch: what flows through a task, and the unit of every call.

use std::sync::Arc;

use bytes::Bytes;

use super::{Constant, Range32, RecordError, Schema, SchemaRef, Span, Value, ValueReader};

/// A source partition or a source offset: an ordered JSON object of primitives.
pub type OffsetMap = serde_json::Map<String, serde_json::Value>;

/// A topic's place in [`Batch::topics`].
pub type TopicId = u32;
/// A schema's place in [`Batch::schemas`], from 1; 0 stands for no schema.
pub type SchemaId = u32;

/// Key or value of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// Who set a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The broker.
    LogAppendTime,
    /// Nobody.
    None,
}

/// What has become of a record so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordState {
    /// Goes on.
    #[default]
    Live,
    /// Filtered out.
    Dropped,
    /// Failed; the index is its place in [`Batch::errors`].
    Failed(u32),
}

/// Where a sink record was read, whatever transforms make of its topic (KIP-793).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Topic.
    pub topic: TopicId,
    /// Partition.
    pub partition: i32,
    /// Offset; -1 for a source record.
    pub offset: i64,
}

/// A record of a batch: a row of places, not of content.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Topic that it is for (source) or from (sink).
    pub topic: TopicId,
    /// Partition, -1 for none.
    pub partition: i32,
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Schema of the key.
    pub key_schema: SchemaId,
    /// Key.
    pub key: Value,
    /// Schema of the value.
    pub value_schema: SchemaId,
    /// Value.
    pub value: Value,
    /// Places in [`Batch::headers`].
    pub headers: Range32,
    /// Where a sink record was read.
    pub origin: Origin,
    /// The key as it was in the message.
    pub raw_key: Option<Span>,
    /// The value as it was in the message.
    pub raw_value: Option<Span>,
    /// Place in [`Batch::positions`] of a source record's position.
    pub position: u32,
    /// What has become of it.
    pub state: RecordState,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            topic: 0,
            partition: -1,
            timestamp: -1,
            timestamp_type: TimestampType::CreateTime,
            key_schema: 0,
            key: Value::Null,
            value_schema: 0,
            value: Value::Null,
            headers: Range32::default(),
            origin: Origin { topic: 0, partition: -1, offset: -1 },
            raw_key: None,
            raw_value: None,
            position: 0,
            state: RecordState::Live,
        }
    }
}

impl Record {
    /// Key or value.
    #[must_use]
    pub const fn side(&self, side: Side) -> (SchemaId, Value) {
        match side {
            Side::Key => (self.key_schema, self.key),
            Side::Value => (self.value_schema, self.value),
        }
    }

    /// Replaces key or value.
    pub const fn set_side(&mut self, side: Side, schema: SchemaId, value: Value) {
        match side {
            Side::Key => {
                self.key_schema = schema;
                self.key = value;
            }
            Side::Value => {
                self.value_schema = schema;
                self.value = value;
            }
        }
    }

    /// Key or value as it was in the message.
    #[must_use]
    pub const fn raw(&self, side: Side) -> Option<Span> {
        match side {
            Side::Key => self.raw_key,
            Side::Value => self.raw_value,
        }
    }
}

/// A header of a record.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Its key, UTF-8.
    pub key: Span,
    /// Schema of the value.
    pub schema: SchemaId,
    /// Value.
    pub value: Value,
    /// The value as it was in the message.
    pub raw: Option<Span>,
}

/// Where a source record stands in its source.
#[derive(Debug, Clone)]
pub struct SourcePosition {
    /// Source partition.
    pub partition: Arc<OffsetMap>,
    /// Source offset: where to go on once the record is acknowledged.
    pub offset: Arc<OffsetMap>,
}

/// Records with all that they hold.
#[derive(Debug, Default)]
pub struct Batch {
    /// Buffers that spans point into, from segment 1 on.
    pub segments: Vec<Bytes>,
    /// Segment 0: what was made for this batch.
    pub arena: Vec<u8>,
    /// Content of arrays, maps, structs and decimals.
    pub values: Vec<Value>,
    /// Schemas; [`SchemaId`] is a place here plus 1.
    pub schemas: Vec<SchemaRef>,
    /// Topic names.
    pub topics: Vec<Arc<str>>,
    /// Headers of all records.
    pub headers: Vec<Header>,
    /// The records.
    pub records: Vec<Record>,
    /// Errors of failed records.
    pub errors: Vec<RecordError>,
    /// Positions of source records.
    pub positions: Vec<SourcePosition>,
    /// A struct that is a record's key or value and lies here or behind in `values` is that record's alone: it may be changed
    /// where it is. What lies before may be shared; without a place, all.
    pub(crate) own_from: Option<usize>,
}

/// Schemas, and topics, that stay in a batch which is used again.
const KEPT_NAMES: usize = 1024;
/// Segments that a batch may have.
const MAX_SEGMENTS: usize = u16::MAX as usize;

impl Batch {
    /// Empties the batch and keeps its memory. Schemas and topics stay interned while they are few; so an id holds for
    /// one batch only.
    pub fn clear(&mut self) {
        if self.schemas.len() > KEPT_NAMES {
            self.schemas.clear();
        }
        if self.topics.len() > KEPT_NAMES {
            self.topics.clear();
        }
        self.segments.clear();
        self.arena.clear();
        self.values.clear();
        self.headers.clear();
        self.records.clear();
        self.errors.clear();
        self.positions.clear();
        self.own_from = None;
    }

    /// To be called when each key and value that is a struct was made for its record alone, as converters do: transforms then
    /// change fields where they are. Batches of which nothing is said are copied from.
    pub fn rows_are_own(&mut self) {
        self.own_from = Some(0);
    }

    /// Shares a buffer; gives its segment.
    ///
    /// # Panics
    /// With more than 65 535 segments: whoever fills a batch bounds it by far fewer.
    pub fn add_segment(&mut self, bytes: Bytes) -> u16 {
        assert!(self.segments.len() < MAX_SEGMENTS, "a batch has at most {MAX_SEGMENTS} segments");
        self.segments.push(bytes);
        self.segments.len() as u16
    }

    /// Copies bytes into the arena.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Span {
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Span { segment: 0, offset, len: bytes.len() as u32 }
    }

    /// Copies text into the arena.
    pub fn put_str(&mut self, text: &str) -> Span {
        self.put_bytes(text.as_bytes())
    }

    /// Appends values; gives their place.
    pub fn push_values(&mut self, values: &[Value]) -> Range32 {
        let start = self.values.len() as u32;
        self.values.extend_from_slice(values);
        Range32 { start, len: values.len() as u32 }
    }

    /// Copies a constant into the batch.
    pub fn put_constant(&mut self, constant: &Constant) -> Value {
        match constant {
            Constant::Null => Value::Null,
            Constant::Boolean(value) => Value::Boolean(*value),
            Constant::Int8(value) => Value::Int8(*value),
            Constant::Int16(value) => Value::Int16(*value),
            Constant::Int32(value) => Value::Int32(*value),
            Constant::Int64(value) => Value::Int64(*value),
            Constant::Float32(value) => Value::Float32(*value),
            Constant::Float64(value) => Value::Float64(*value),
            Constant::String(text) => Value::String(self.put_str(text)),
            Constant::Bytes(bytes) => Value::Bytes(self.put_bytes(bytes)),
            Constant::Decimal(unscaled, scale) => {
                let unscaled = Value::Bytes(self.put_bytes(unscaled));
                Value::Decimal(self.push_values(&[unscaled, Value::Int32(*scale)]))
            }
            Constant::Date(ms) => Value::Date(*ms),
            Constant::Array(items) => {
                let items: Vec<Value> = items.iter().map(|item| self.put_constant(item)).collect();
                Value::Array(self.push_values(&items))
            }
            Constant::Struct(fields) => {
                let fields: Vec<Value> = fields.iter().map(|field| self.put_constant(field)).collect();
                Value::Struct(self.push_values(&fields))
            }
            Constant::Map(entries) => {
                let mut flat = Vec::with_capacity(entries.len() * 2);
                for (key, value) in entries {
                    flat.push(self.put_constant(key));
                    flat.push(self.put_constant(value));
                }
                let range = self.push_values(&flat);
                Value::Map(Range32 { start: range.start, len: entries.len() as u32 })
            }
        }
    }

    /// A value of the batch as one that owns its content.
    #[must_use]
    pub fn constant(&self, value: Value) -> Constant {
        match value {
            Value::Null => Constant::Null,
            Value::Boolean(value) => Constant::Boolean(value),
            Value::Int8(value) => Constant::Int8(value),
            Value::Int16(value) => Constant::Int16(value),
            Value::Int32(value) => Constant::Int32(value),
            Value::Int64(value) => Constant::Int64(value),
            Value::Float32(value) => Constant::Float32(value),
            Value::Float64(value) => Constant::Float64(value),
            Value::String(span) => Constant::String(self.str(span).into()),
            Value::Bytes(span) => Constant::Bytes(self.bytes(span).into()),
            Value::Decimal(range) => {
                let (unscaled, scale) = self.decimal(range);
                Constant::Decimal(unscaled.into(), scale)
            }
            Value::Date(ms) => Constant::Date(ms),
            Value::Array(range) => Constant::Array(self.constants(range)),
            Value::Struct(range) => Constant::Struct(self.constants(range)),
            Value::Map(range) => {
                let entry = |(key, value)| (self.constant(key), self.constant(value));
                Constant::Map(self.entries(range).map(entry).collect())
            }
        }
    }

    fn constants(&self, range: Range32) -> Vec<Constant> {
        self.items(range).iter().map(|item| self.constant(*item)).collect()
    }

    /// The schema's id in this batch: found by pointer, which a cached plan keeps the same from record to record.
    pub fn intern_schema(&mut self, schema: &SchemaRef) -> SchemaId {
        // The last ones are asked first: batches alternate between few schemas.
        let found = self.schemas.iter().rposition(|known| Arc::ptr_eq(known, schema));
        let index = found.unwrap_or_else(|| {
            self.schemas.push(Arc::clone(schema));
            self.schemas.len() - 1
        });
        index as SchemaId + 1
    }

    /// The id of a schema of the same content, if one of the last schemas is such; else as [`Self::intern_schema`]. For
    /// schemas that are made anew for each value.
    pub fn intern_equal_schema(&mut self, schema: &SchemaRef) -> SchemaId {
        const LOOKED_AT: usize = 32;
        let first = self.schemas.len().saturating_sub(LOOKED_AT);
        let found =
            self.schemas[first..].iter().rposition(|known| Arc::ptr_eq(known, schema) || known == schema);
        found.map_or_else(|| self.intern_schema(schema), |at| (first + at) as SchemaId + 1)
    }

    /// The topic's id in this batch.
    pub fn intern_topic(&mut self, topic: &str) -> TopicId {
        let found = self.topics.iter().rposition(|known| &**known == topic);
        let index = found.unwrap_or_else(|| {
            self.topics.push(Arc::from(topic));
            self.topics.len() - 1
        });
        index as TopicId
    }

    /// A schema; `None` for id 0.
    #[must_use]
    pub fn schema(&self, id: SchemaId) -> Option<&Schema> {
        self.schema_ref(id).map(|schema| &**schema)
    }

    /// The same, shared.
    #[must_use]
    pub fn schema_ref(&self, id: SchemaId) -> Option<&SchemaRef> {
        self.schemas.get((id as usize).wrapping_sub(1))
    }

    /// A topic's name; empty for an id that is none.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> &str {
        self.topics.get(id as usize).map_or("", |topic| topic)
    }

    /// Bytes of a span; empty for a span that is not of this batch.
    #[inline]
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        let segment: &[u8] = match span.segment {
            0 => &self.arena,
            index => self.segments.get(usize::from(index) - 1).map_or(&[], |segment| segment),
        };
        segment.get(span.offset as usize..).and_then(|rest| rest.get(..span.len as usize)).unwrap_or_default()
    }

    /// Text of a span; spans of strings are checked when they are made, so this does not fail.
    #[must_use]
    pub fn str(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Values of a range; of a map's range use [`Self::entries`].
    #[inline]
    #[must_use]
    pub fn items(&self, range: Range32) -> &[Value] {
        self.values
            .get(range.start as usize..)
            .and_then(|rest| rest.get(..range.len as usize))
            .unwrap_or_default()
    }

    /// Keys and values of a map in turn.
    pub fn entries(&self, range: Range32) -> impl Iterator<Item = (Value, Value)> + '_ {
        let flat = self.items(Range32 { start: range.start, len: range.len.saturating_mul(2) });
        flat.chunks_exact(2).map(|entry| (entry[0], entry[1]))
    }

    /// Unscaled value and scale of a decimal.
    #[must_use]
    pub fn decimal(&self, range: Range32) -> (&[u8], i32) {
        match self.items(range) {
            [Value::Bytes(unscaled), Value::Int32(scale)] => (self.bytes(*unscaled), *scale),
            _ => (&[0], 0),
        }
    }

    /// Headers of a record.
    #[must_use]
    pub fn headers_of(&self, record: &Record) -> &[Header] {
        let Range32 { start, len } = record.headers;
        self.headers.get(start as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
    }

    /// A record's value to read.
    #[must_use]
    pub fn value_of(&self, record: &Record, side: Side) -> ValueReader<'_> {
        let (schema, value) = record.side(side);
        ValueReader::new(self, self.schema(schema), value)
    }

    /// Marks a record as failed; the first failure stays.
    pub fn fail(&mut self, index: usize, error: RecordError) {
        if let Some(record) = self.records.get_mut(index)
            && record.state == RecordState::Live
        {
            record.state = RecordState::Failed(self.errors.len() as u32);
            self.errors.push(error);
        }
    }
}
