//! From a record to an operation: identity, version, action line.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use aqueduct_engine::converter::{Failure, json_string};
use aqueduct_engine::data::{Batch, Record, Type, Value};

use super::bulk::{Action, Bulk, Doc, Op};
use super::document::{self, Documents, Trouble};
use super::settings::{IdSource, OnNull, Routing, Settings, Writing};
use super::tracker::Tracked;

/// Longest id that clusters take, in bytes.
const MOST_ID: usize = 512;

/// Where a topic's records go.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Arc<str>,
    /// `"_index":"NAME"`.
    member: Vec<u8>,
    id: IdSource,
    pub(super) ignore_schema: bool,
}

impl Target {
    pub(super) fn new(settings: &Settings, topic: &str, name: &str) -> Target {
        let mut member = b"\"_index\":".to_vec();
        json_string(name.as_bytes(), &mut member);
        let writing = &settings.writing;
        let id = if writing.key_ignore.is_set(topic) { writing.ignored_id } else { IdSource::Key };
        Target { name: name.into(), member, id, ignore_schema: writing.schema_ignore.is_set(topic) }
    }
}

/// What a record leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Planned {
    /// An operation was added to the bulk.
    Added,
    /// Nothing has to be done.
    Nothing,
    /// The same, and the worker shall hear of it.
    Ignored,
    /// Its document is in a request that is under way: it waits for that.
    Busy,
}

/// Makes operations.
#[derive(Debug)]
pub(super) struct Planner {
    writing: Writing,
    stream: bool,
    documents: Documents,
    hasher: RandomState,
    /// The id of the record at hand, quoted.
    id: Vec<u8>,
}

impl Planner {
    pub(super) fn new(settings: &Settings) -> Planner {
        Planner {
            writing: settings.writing.clone(),
            stream: settings.is_data_stream(),
            documents: Documents::new(settings),
            hasher: RandomState::new(),
            id: Vec::new(),
        }
    }

    /// Adds the operation of a record. `busy` says whether an identity is under way; what was written is taken back unless
    /// an operation was added.
    pub(super) fn plan(
        &mut self,
        tracked: &Tracked,
        index: usize,
        target: &Target,
        bulk: &mut Bulk,
        busy: impl Fn(u64) -> bool,
    ) -> Result<Planned, Trouble> {
        let batch = &tracked.batch;
        let Some(record) = batch.records.get(index) else { return Ok(Planned::Nothing) };
        if record.value.is_null()
            && let Some(planned) = self.null(record)?
        {
            return Ok(planned);
        }
        let source =
            if record.value.is_null() && target.id == IdSource::Cluster { IdSource::Key } else { target.id };
        self.write_id(batch, record, source)?;
        let action = match (record.value.is_null(), self.writing.upsert, self.stream) {
            (true, ..) => Action::Delete,
            (false, true, _) => Action::Update,
            (false, false, true) => Action::Create,
            (false, false, false) => Action::Index,
        };
        // whole documents carry the order as their version; updates have none
        let identity = if self.writing.upsert && source == IdSource::Key { self.identity(target) } else { 0 };
        if identity != 0 && busy(identity) {
            return Ok(Planned::Busy);
        }
        let (lines, written) = (bulk.lines.len(), bulk.written.len());
        let added = self.write(batch, record, target, (action, source), bulk);
        let (doc, versioned) = added.inspect_err(|_| {
            bulk.lines.truncate(lines);
            bulk.written.truncate(written);
        })?;
        let line = (lines as u32, bulk.lines.len() as u32);
        let batch = bulk.batch(tracked);
        bulk.push(Op { action, versioned, doc, line, batch, record: index as u32, identity });
        Ok(Planned::Added)
    }

    /// What becomes of a record without value; `None`: a delete.
    fn null(&self, record: &Record) -> Result<Option<Planned>, Trouble> {
        match self.writing.on_null {
            OnNull::Ignore => Ok(Some(Planned::Ignored)),
            OnNull::Delete if record.key.is_null() => Ok(Some(Planned::Nothing)),
            OnNull::Delete => Ok(None),
            OnNull::Fail => Err(Failure::data(
                "the record has a null value (to ignore future records like this change the configuration property 'behavior.on.null.values' from 'FAIL' to 'IGNORE')",
            )
            .into()),
        }
    }

    fn write_id(&mut self, batch: &Batch, record: &Record, source: IdSource) -> Result<(), Trouble> {
        self.id.clear();
        match source {
            IdSource::Cluster => Ok(()),
            IdSource::Key => key_id(batch, record, &mut self.id),
            IdSource::Offset => {
                let topic = batch.topic(record.topic);
                let id = format!("{topic}+{}+{}", record.origin.partition, record.origin.offset);
                json_string(id.as_bytes(), &mut self.id);
                Ok(())
            }
        }
    }

    fn identity(&self, target: &Target) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(&target.member);
        hasher.write(&self.id);
        hasher.finish().max(1)
    }

    /// Writes document and line; gives the document's place and whether there is a version.
    fn write(
        &mut self,
        batch: &Batch,
        record: &Record,
        target: &Target,
        (action, source): (Action, IdSource),
        bulk: &mut Bulk,
    ) -> Result<(Doc, bool), Trouble> {
        let doc = match action {
            Action::Delete => Doc::None,
            _ => self.documents.make(batch, record, target.ignore_schema, &mut bulk.written)?,
        };
        // an update has no version; so has no delete beside updates, where the order is kept instead
        let version = match action {
            Action::Index | Action::Delete
                if source == IdSource::Key && !self.writing.upsert && !self.stream =>
            {
                Some(self.version(batch, record)?)
            }
            _ => None,
        };
        let out = &mut bulk.lines;
        out.extend_from_slice(match action {
            Action::Index => b"{\"index\":{",
            Action::Create => b"{\"create\":{",
            Action::Update => b"{\"update\":{",
            Action::Delete => b"{\"delete\":{",
        });
        out.extend_from_slice(&target.member);
        if !self.id.is_empty() {
            out.extend_from_slice(b",\"_id\":");
            out.extend_from_slice(&self.id);
        }
        if let Some(version) = version {
            out.extend_from_slice(b",\"version\":");
            out.extend_from_slice(itoa::Buffer::new().format(version).as_bytes());
            out.extend_from_slice(b",\"version_type\":\"external\"");
        }
        if action == Action::Update {
            out.extend_from_slice(b",\"retry_on_conflict\":");
            out.extend_from_slice(itoa::Buffer::new().format(self.writing.retry_on_conflict).as_bytes());
        }
        self.write_routing(batch, record, (doc, &bulk.written), out)?;
        out.extend_from_slice(b"}}\n");
        Ok((doc, version.is_some()))
    }

    fn write_routing(
        &self,
        batch: &Batch,
        record: &Record,
        (doc, written): (Doc, &[u8]),
        out: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        match &self.writing.routing {
            Routing::None => {}
            Routing::Key => {
                out.extend_from_slice(b",\"routing\":");
                key_id(batch, record, out)?;
            }
            Routing::Value(_) if doc == Doc::None => {}
            Routing::Value(pointer) => {
                let routing = document::routing(document::bytes(batch, doc, written), pointer)?;
                out.extend_from_slice(b",\"routing\":");
                json_string(routing.as_bytes(), out);
            }
        }
        Ok(())
    }

    /// The record's offset, or the number in its last header of the configured name.
    fn version(&self, batch: &Batch, record: &Record) -> Result<i64, Trouble> {
        let name = self.writing.version_header.as_str();
        if name.is_empty() {
            return Ok(record.origin.offset);
        }
        let bad = |why: &str| Trouble::Data(Failure::data(format!("external.version.header={name}: {why}")));
        let header =
            batch.headers_of(record).iter().rev().find(|header| batch.bytes(header.key) == name.as_bytes());
        let version = match header.map(|header| header.value) {
            None => return Err(bad("the record has no such header")),
            Some(Value::Int8(version)) => i64::from(version),
            Some(Value::Int16(version)) => i64::from(version),
            Some(Value::Int32(version)) => i64::from(version),
            Some(Value::Int64(version)) => version,
            Some(Value::String(span) | Value::Bytes(span)) => std::str::from_utf8(batch.bytes(span))
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| bad("the header is no whole number"))?,
            Some(_) => return Err(bad("the header is no whole number")),
        };
        Ok(version)
    }
}

/// The key as a quoted id.
fn key_id(batch: &Batch, record: &Record, out: &mut Vec<u8>) -> Result<(), Trouble> {
    let kind = batch.schema(record.key_schema).map(|schema| schema.kind);
    let unsupported =
        |name: &str| Failure::data(format!("{name} is not supported as the document id.")).into();
    let mut number = |number: i64| {
        out.push(b'"');
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        out.push(b'"');
        Ok(())
    };
    match record.key {
        Value::Null => Err(Failure::data("Key is used as document id and can not be null.").into()),
        Value::Int8(key) => number(key.into()),
        Value::Int16(key) => number(key.into()),
        Value::Int32(key) => number(key.into()),
        Value::Int64(key) => number(key),
        Value::String(span) => {
            let key = batch.bytes(span);
            if key.is_empty() {
                return Err(Failure::data("Key is used as document id and can not be empty.").into());
            }
            if key.len() > MOST_ID {
                return Err(Trouble::Malformed(format!(
                    "the id is too long: {} bytes, must be no longer than {MOST_ID} bytes",
                    key.len()
                )));
            }
            json_string(key, out);
            Ok(())
        }
        other => Err(match kind {
            Some(kind) => unsupported(kind.name()),
            None => unsupported(match other {
                Value::Boolean(_) => Type::Boolean.name(),
                Value::Float32(_) => Type::Float32.name(),
                Value::Float64(_) => Type::Float64.name(),
                Value::Bytes(_) => Type::Bytes.name(),
                Value::Array(_) => Type::Array.name(),
                Value::Map(_) => Type::Map.name(),
                _ => Type::Struct.name(),
            }),
        }),
    }
}
