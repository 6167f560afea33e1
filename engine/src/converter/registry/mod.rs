//! What the Avro, JSON Schema and Protobuf converters share: Confluent's wire format, subjects, and the way to the registry.
//!
//! A batch is read in three steps: [`Converter::prepare_decode`] scans the ids of its messages and gives a future that
//! fetches the unknown ones, each once; the worker waits for it; [`Converter::decode`] compiles a plan for each new schema
//! and runs the plans. Writing is the same with schemas of Connect in place of ids. Nothing has to be waited for while every
//! schema is known.

mod config;
mod format;
mod lookup;
mod shared;
mod subject;
pub(super) mod unroll;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::{Converter, Encoded, Slot, Wait, stage};
use crate::config::{ConfigDef, ConfigError, ConfigMap};
use crate::data::{Batch, RecordState, SchemaId, SchemaRef, Side, Span, TopicId, Value};
use config::Options;
pub(super) use format::{Derived, Failure, Fetched, Format, Input};
use lookup::{Answers, Link, ReadKey, WriteKey};

/// The common keys before a converter's own. Called once per class: the table stays.
pub(super) fn with_common_keys(own: &ConfigDef) -> ConfigDef {
    let keys: Vec<_> = config::CONFIG.keys.iter().chain(own.keys).copied().collect();
    ConfigDef { keys: keys.leak() }
}

/// Bytes of a payload that a look-up may see, to tell which message of a schema it is.
const PAYLOAD_HEAD: usize = 64;

/// A plan to read with, or why there is none.
type Readers<R> = HashMap<Arc<str>, HashMap<i32, Result<R, Failure>>>;

struct WriterEntry<W> {
    key: WriteKey,
    id: i32,
    writer: W,
}

/// A converter of the language `F`.
pub(super) struct RegistryConverter<F: Format> {
    format: F,
    link: Link,
    readers: Readers<F::Reader>,
    /// Successes in [`Self::readers`].
    compiled: usize,
    read_answers: Answers<ReadKey, Fetched>,
    writers: Vec<WriterEntry<F::Writer>>,
    /// Of this batch only: the next one asks again.
    unwritable: Vec<(WriteKey, Failure)>,
    write_answers: Answers<WriteKey, (Derived, Fetched, bool)>,
    scratch: Vec<u8>,
}

impl<F: Format> RegistryConverter<F> {
    /// A converter with the common settings of `config`.
    pub(super) fn new(format: F, config: &ConfigMap, is_key: bool) -> Result<Self, ConfigError> {
        let (options, client) = config::parse(config, is_key)?;
        let client = shared::client(config, client)?;
        let link = Link {
            client,
            options: Arc::new(options),
            language: F::SCHEMA_TYPE,
            record_name: F::record_name,
        };
        Ok(Self {
            format,
            link,
            readers: HashMap::new(),
            compiled: 0,
            read_answers: Answers::default(),
            writers: Vec::new(),
            unwritable: Vec::new(),
            write_answers: Answers::default(),
            scratch: Vec::new(),
        })
    }

    fn options(&self) -> &Options {
        &self.link.options
    }

    /// Ids that no plan is known for, with the beginning of a payload each.
    fn unread(&self, batch: &Batch, side: Side) -> Vec<(ReadKey, Vec<u8>)> {
        let mut unread: Vec<(ReadKey, Vec<u8>)> = Vec::new();
        let mut last = None;
        for record in batch.records.iter().filter(|record| record.state == RecordState::Live) {
            let Some(span) = record.raw(side) else { continue };
            let Some((id, payload)) = wire::split(batch.bytes(span)) else { continue };
            if last == Some((record.topic, id)) {
                continue;
            }
            last = Some((record.topic, id));
            let topic = batch.topic(record.topic);
            let known = self.readers.get(topic).is_some_and(|readers| readers.contains_key(&id));
            if known || unread.iter().any(|(key, _)| key.id == id && *key.topic == *topic) {
                continue;
            }
            let head = payload.get(..PAYLOAD_HEAD).unwrap_or(payload).to_vec();
            unread.push((ReadKey { topic: topic.into(), id }, head));
        }
        unread
    }

    /// Takes the answers that have come, and compiles.
    fn take_read_answers(&mut self) {
        for (key, answer) in self.read_answers.take() {
            let reader = answer.and_then(|fetched| self.format.reader(&fetched));
            self.compiled += usize::from(reader.is_ok());
            self.readers.entry(key.topic).or_default().insert(key.id, reader);
        }
        if self.compiled > self.options().cache {
            // far more schemas than are meant to be kept: begin anew
            self.forget_readers();
        }
    }

    fn forget_readers(&mut self) {
        self.readers.clear();
        self.compiled = 0;
    }

    /// Failed look-ups hold for one batch: the client remembers briefly that there is no such schema.
    fn forget_failures(&mut self) {
        for readers in self.readers.values_mut() {
            readers.retain(|_, reader| reader.is_ok());
        }
        self.unwritable.clear();
    }

    /// Topic and schema pairs that no plan is known for.
    fn unwritten(&mut self, batch: &Batch, side: Side) -> Vec<(WriteKey, Derived)> {
        let mut unwritten: Vec<(WriteKey, Derived)> = Vec::new();
        let mut last = None;
        for record in batch.records.iter().filter(|record| record.state == RecordState::Live) {
            let (schema, value) = record.side(side);
            if last == Some((record.topic, schema)) {
                continue;
            }
            let schema_ref = batch.schema_ref(schema);
            if value.is_null() && !matches!(self.format.writes_null(schema_ref), Ok(true)) {
                continue;
            }
            last = Some((record.topic, schema));
            let topic = batch.topic(record.topic);
            let is_new = self.writer(topic, schema_ref).is_none()
                && !unwritten.iter().any(|(key, _)| key.is(topic, schema_ref));
            if !is_new {
                continue;
            }
            let key = WriteKey { topic: topic.into(), schema: schema_ref.cloned() };
            match self.format.derive(schema_ref) {
                Ok(derived) => unwritten.push((key, derived)),
                Err(failure) => self.unwritable.push((key, failure)),
            }
        }
        unwritten
    }

    /// A plan's place. By pointer if it can be, else by content.
    fn writer(&self, topic: &str, schema: Option<&SchemaRef>) -> Option<usize> {
        let same = |one: &SchemaRef, other: &SchemaRef| Arc::ptr_eq(one, other);
        let by_pointer = self.writers.iter().position(|entry| {
            *entry.key.topic == *topic
                && match (&entry.key.schema, schema) {
                    (Some(one), Some(other)) => same(one, other),
                    (one, other) => one.is_none() && other.is_none(),
                }
        });
        by_pointer.or_else(|| self.writers.iter().position(|entry| entry.key.is(topic, schema)))
    }

    fn take_write_answers(&mut self) {
        for (key, answer) in self.write_answers.take() {
            let made = answer.and_then(|(derived, target, foreign)| {
                let strict = match self.options().use_id {
                    Some(_) => self.options().id_strict,
                    None => self.options().latest_strict,
                };
                if foreign && strict {
                    let fits = self.format.check_compatible(&derived, &target);
                    fits.map_err(|why| Failure::serializer(incompatible(self.options().use_id, &why)))?;
                }
                let writer = self.format.writer(key.schema.as_ref(), &derived, &target)?;
                Ok((target.id, writer))
            });
            match made {
                Ok((id, writer)) => {
                    if self.writers.len() >= self.options().cache {
                        self.writers.clear();
                    }
                    self.writers.push(WriterEntry { key, id, writer });
                }
                Err(failure) => self.unwritable.push((key, failure)),
            }
        }
    }

    fn unwritable(&self, topic: &str, schema: Option<&SchemaRef>) -> Failure {
        let found = self.unwritable.iter().find(|(key, _)| key.is(topic, schema));
        found.map_or_else(|| Failure::serializer(NOT_PREPARED), |(_, failure)| failure.clone())
    }

    /// A registry within the process answers at once: nobody has to wait for it.
    fn settle(&self, wait: Option<Wait>) {
        if let Some(mut wait) = wait.filter(|_| self.link.client.is_local()) {
            let _ready = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

const NOT_PREPARED: &str = "the schema registry has not answered within errors.retry.timeout";

fn incompatible(use_id: Option<i32>, why: &str) -> String {
    let (what, key) = match use_id {
        Some(id) => (format!("schema {id}"), "id.compatibility.strict"),
        None => ("the latest schema of the subject".to_owned(), "latest.compatibility.strict"),
    };
    format!(
        "Incompatible schema: {what} cannot read what is written ({why}). Set {key}=false to disable this check"
    )
}

impl WriteKey {
    fn is(&self, topic: &str, schema: Option<&SchemaRef>) -> bool {
        *self.topic == *topic && self.schema.as_ref() == schema
    }
}

fn fail<F: Format>(batch: &mut Batch, index: usize, side: Side, reads: bool, failure: Failure) {
    let mut cause = failure.cause;
    if failure.in_serializer {
        let topic = batch.records.get(index).map_or("", |record| batch.topic(record.topic));
        let lead = if reads { F::cannot_read(topic) } else { F::cannot_write(topic) };
        cause.message = format!("{lead} {}", cause.message);
    }
    batch.fail(index, cause.at(stage(side)));
}

impl<F: Format> Converter for RegistryConverter<F> {
    fn prepare_decode(&mut self, batch: &Batch, side: Side) -> Option<Wait> {
        let unread = self.unread(batch, side);
        if unread.is_empty() {
            return None;
        }
        let (link, answers) = (self.link.clone(), self.read_answers.clone());
        Some(Box::pin(async move {
            for (key, payload) in unread {
                let answer = link.for_reading(&key, &payload).await;
                answers.put(key, answer);
            }
        }))
    }

    fn decode(&mut self, batch: &mut Batch, side: Side) {
        self.take_read_answers();
        let wait = self.prepare_decode(batch, side);
        self.settle(wait);
        self.take_read_answers();
        // Out of the batch, so that payloads can be read where they are while the batch's arena grows.
        let segments = std::mem::take(&mut batch.segments);
        let mut last: Option<(TopicId, i32)> = None;
        let mut reader: Option<&mut Result<F::Reader, Failure>> = None;
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.state != RecordState::Live {
                continue;
            }
            let topic = record.topic;
            let Some(span) = record.raw(side) else {
                batch.records[index].set_side(side, 0, Value::Null);
                continue;
            };
            let message: &[u8] = match usize::from(span.segment).checked_sub(1) {
                Some(segment) => segments.get(segment).map_or(&[][..], |segment| part(segment, span)),
                None => {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(batch.bytes(span));
                    &self.scratch
                }
            };
            let Some((id, payload)) = wire::split(message) else {
                fail::<F>(batch, index, side, true, Failure::serializer(wire::refusal(message)));
                continue;
            };
            if last != Some((topic, id)) {
                last = Some((topic, id));
                reader = self.readers.get_mut(batch.topic(topic)).and_then(|readers| readers.get_mut(&id));
            }
            let place = Span { offset: span.offset + wire::PREFIX as u32, len: payload.len() as u32, ..span };
            let read = match &mut reader {
                Some(Ok(reader)) => {
                    self.format.read_record(reader, Input { bytes: payload, place }, batch, (index, side))
                }
                Some(Err(failure)) => Err(failure.clone()),
                None => Err(Failure::serializer(NOT_PREPARED)),
            };
            if let Err(failure) = read {
                fail::<F>(batch, index, side, true, failure);
            }
        }
        batch.segments = segments;
        self.forget_failures();
    }

    fn prepare_encode(&mut self, batch: &Batch, side: Side) -> Option<Wait> {
        self.unwritable.clear();
        let unwritten = self.unwritten(batch, side);
        if unwritten.is_empty() {
            return None;
        }
        let (link, answers) = (self.link.clone(), self.write_answers.clone());
        Some(Box::pin(async move {
            for (key, derived) in unwritten {
                let answer = link.for_writing(&key, &derived).await;
                answers.put(key, answer.map(|(target, foreign)| (derived, target, foreign)));
            }
        }))
    }

    fn encode(&mut self, batch: &mut Batch, side: Side, out: &mut Encoded) {
        out.clear();
        self.take_write_answers();
        let failed = std::mem::take(&mut self.unwritable);
        let wait = self.prepare_encode(batch, side);
        self.settle(wait);
        self.take_write_answers();
        self.unwritable.extend(failed);
        let mut last: Option<(TopicId, SchemaId, Option<usize>)> = None;
        for index in 0..batch.records.len() {
            let record = &batch.records[index];
            if record.state != RecordState::Live {
                out.slots.push(Slot::Skipped);
                continue;
            }
            let (topic, (schema, value)) = (record.topic, record.side(side));
            let schema_ref = batch.schema_ref(schema);
            if value.is_null() {
                match self.format.writes_null(schema_ref) {
                    Ok(true) => {}
                    Ok(false) => {
                        out.slots.push(Slot::Null);
                        continue;
                    }
                    Err(failure) => {
                        fail::<F>(batch, index, side, false, failure);
                        out.slots.push(Slot::Skipped);
                        continue;
                    }
                }
            }
            let place = match last {
                Some((last_topic, last_schema, place)) if (last_topic, last_schema) == (topic, schema) => {
                    place
                }
                _ => {
                    let place = self.writer(batch.topic(topic), schema_ref);
                    last = Some((topic, schema, place));
                    place
                }
            };
            let start = out.buffer.len();
            let written = match place.and_then(|place| self.writers.get_mut(place)) {
                Some(entry) => {
                    wire::put_prefix(entry.id, &mut out.buffer);
                    self.format.write(&mut entry.writer, batch, value, &mut out.buffer)
                }
                None => Err(self.unwritable(batch.topic(topic), schema_ref)),
            };
            match written {
                Ok(()) => {
                    let len = (out.buffer.len() - start) as u32;
                    out.slots.push(Slot::Own { start: start as u32, len });
                }
                Err(failure) => {
                    out.buffer.truncate(start);
                    fail::<F>(batch, index, side, false, failure);
                    out.slots.push(Slot::Skipped);
                }
            }
        }
        self.forget_failures();
    }
}

fn part(segment: &[u8], span: Span) -> &[u8] {
    segment.get(span.offset as usize..).and_then(|rest| rest.get(..span.len as usize)).unwrap_or_default()
}
