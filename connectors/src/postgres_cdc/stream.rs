//! Changes of the stream to events.

mod replay;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::{Batch, Schema, SchemaBuilder, SchemaRef, Type, Value};

use super::catalog::Catalog;
use super::config::Settings;
use super::event::{EventWriter, Operation, Origin, SnapshotMark, TableTexts};
use super::feed::{StreamMessage, frame};
use super::incremental::{Recent, Window};
use super::metrics::Counts;
use super::offset::Progress;
use super::pgoutput::{Malformed, Message, OldTuple, Relation, StreamCommit, TupleCell, Tuples, parse};
use super::row::{self, Segment};
use super::setup::failed;
use super::signal::RawSignal;
use super::streamed::Streams;
use super::table::{SOURCE, TRANSACTION, TablePlan};
use super::transaction::{EventPlace, TransactionCounts};
use super::types::{BinaryMode, ColumnInfo};
use crate::postgres::{Block, segment};

/// Microseconds from 1970 to 2000, where the server's clock begins.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

static MESSAGE_KEY: LazyLock<SchemaRef> = LazyLock::new(|| {
    SchemaBuilder::structure()
        .name("io.debezium.connector.postgresql.MessageKey")
        .version(1)
        .field("prefix", Schema::optional_string())
        .build()
});

/// A logical message's value; its content is bytes or, with another `binary.handling.mode`, text.
fn message_value(binary: BinaryMode) -> SchemaRef {
    let content = if binary == BinaryMode::Bytes {
        SchemaBuilder::new(Type::Bytes).optional().build()
    } else {
        Schema::optional_string()
    };
    let message = SchemaBuilder::structure()
        .name("io.debezium.connector.postgresql.Message")
        .version(1)
        .field("prefix", Schema::optional_string())
        .field("content", content);
    SchemaBuilder::structure()
        .name("io.debezium.connector.postgresql.MessageValue")
        .version(1)
        .field("op", Schema::string())
        .field("ts_ms", SchemaBuilder::new(Type::Int64).optional().build())
        .field("source", Arc::clone(&SOURCE))
        .field("transaction", Arc::clone(&TRANSACTION))
        .field("message", message.build())
        .build()
}

/// A table that the stream has announced.
struct Known {
    announced: Relation,
    /// `None`: not captured.
    plan: Option<Arc<TablePlan>>,
    texts: TableTexts,
}

/// The open transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Transaction {
    xid: Option<u32>,
    micros: i64,
}

/// Turns blocks into events.
pub(super) struct Decoder {
    settings: Arc<Settings>,
    tables: HashMap<u32, Known>,
    transaction: Option<Transaction>,
    /// Transactions that are not committed yet.
    streams: Streams,
    /// One of them that is committed, and more than one batch.
    replaying: Option<replay::Replaying>,
    /// Where the transaction was made first, and its LSN there if that is told.
    replicated_from: Option<(String, Option<u64>)>,
    counts: TransactionCounts,
    tuples: Tuples,
    message_value: SchemaRef,
    /// What has been given out.
    progress: Progress,
    /// What had been given out before the stream was begun; nothing once it is passed.
    resume: Option<Progress>,
    /// Commit time of the last transaction, which messages outside of one take.
    last_micros: i64,
    /// LSN of the last change, and how many came with it.
    at_lsn: (u64, u64),
    /// What was given out since it was last asked for.
    counted: Counts,
    /// Up to where the stream has been seen, if no transaction is open.
    seen: u64,
    /// Records of the batch when the last transaction ended in it, and what had been given out then.
    ended: Option<(usize, Progress)>,
    /// Signals that the signal table has brought.
    pub(super) signals: Vec<RawSignal>,
    /// Transactions that have begun.
    pub(super) recent: Recent,
    /// Notes changes of the table that an incremental snapshot reads.
    pub(super) window: Option<Window>,
}

fn malformed(lsn: u64, error: Malformed) -> ConnectError {
    ConnectError::fatal(format!(
        "the replication stream cannot be read at LSN {}",
        crate::postgres::lsn_text(lsn)
    ))
    .caused_by(error)
}

/// What a message asks for that needs the catalogue.
enum Step {
    Done,
    Announced(Relation),
    /// A streamed transaction is to be given out.
    Committed(StreamCommit),
}

/// One message of a block.
struct Change<'a> {
    segment: Segment<'a>,
    /// Where its content begins in the segment.
    base: u32,
    lsn: u64,
}

impl Decoder {
    pub(super) fn new(settings: Arc<Settings>, progress: Progress, resume: bool) -> Decoder {
        let message_value = message_value(settings.types.binary);
        let streams = Streams::new(settings.streaming.memory);
        Decoder {
            settings,
            tables: HashMap::new(),
            transaction: None,
            streams,
            replaying: None,
            replicated_from: None,
            counts: TransactionCounts::default(),
            tuples: Tuples::default(),
            message_value,
            progress,
            resume: resume.then_some(progress),
            last_micros: progress.commit_micros,
            at_lsn: (0, 0),
            counted: Counts::default(),
            seen: 0,
            ended: None,
            signals: Vec::new(),
            recent: Recent::default(),
            window: None,
        }
    }

    /// What has been given out.
    pub(super) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Events since the last call, and bytes of transactions that are not committed.
    pub(super) fn measured(&mut self) -> (Counts, usize) {
        (std::mem::take(&mut self.counted), self.streams.bytes())
    }

    /// The end of what has been seen, if no transaction is open: it may be confirmed once everything given out is stored. Of those
    /// that are streamed and not committed yet the server keeps everything, whatever is confirmed.
    pub(super) fn settled(&self) -> Option<u64> {
        (self.transaction.is_none() && self.seen > 0).then_some(self.seen)
    }

    /// Where in the batch that was decoded last a transaction has ended last: records before that, and what had been given out. Asked
    /// for once a batch.
    pub(super) const fn ended_at(&mut self) -> Option<(usize, Progress)> {
        self.ended.take()
    }

    /// Whether a transaction has ended in this batch before any record.
    pub(super) fn ended_before_records(&self) -> bool {
        matches!(self.ended, Some((0, _)))
    }

    /// Whether a transaction is given out in part.
    pub(super) const fn is_within(&self) -> bool {
        self.transaction.is_some()
    }

    /// Decodes a block from its message `from` on, until the batch has `most` records, or with `until_end` until a transaction ends
    /// before there is any; gives the message to go on with.
    #[allow(clippy::too_many_arguments, reason = "what it works on, and how far")]
    pub(super) async fn block(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        catalog: &mut Catalog,
        block: &Block,
        from: usize,
        most: usize,
        until_end: bool,
    ) -> Result<usize, ConnectError> {
        let id = segment(batch, &block.bytes);
        let segment = Segment { bytes: &block.bytes, id };
        for (index, range) in block.messages.iter().enumerate().skip(from) {
            if batch.records.len() >= most || (until_end && self.ended_before_records()) {
                return Ok(index);
            }
            match self.message(batch, writer, segment, range)? {
                Step::Done => {}
                Step::Announced(relation) => self.announced(catalog, relation).await?,
                Step::Committed(commit) => {
                    if !self.replay(batch, writer, catalog, commit, most).await? {
                        return Ok(index);
                    }
                }
            }
        }
        self.make_room().await?;
        Ok(block.messages.len())
    }

    fn message(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        segment: Segment<'_>,
        range: &Range<u32>,
    ) -> Result<Step, ConnectError> {
        let bytes = segment.bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
        let (lsn, content) = match frame(bytes) {
            Some(StreamMessage::Data { lsn, content }) => (lsn, content),
            Some(StreamMessage::KeepAlive { wal_end, .. }) => {
                self.seen = self.seen.max(wal_end);
                return Ok(Step::Done);
            }
            None => {
                return Err(ConnectError::fatal("the replication stream holds a message of an unknown kind"));
            }
        };
        let content_bytes = bytes.get(content as usize..).unwrap_or_default();
        if self.streams.is_open() && content_bytes.first() != Some(&b'E') {
            self.streams.gather(lsn, content_bytes).map_err(replay::disorder)?;
            return Ok(Step::Done);
        }
        let mut tuples = std::mem::take(&mut self.tuples);
        let parsed = parse(content_bytes, &mut tuples, false).map_err(|error| malformed(lsn, error));
        let change = Change { segment, base: range.start + content, lsn };
        let step = parsed.and_then(|message| self.step(batch, writer, &change, message, &tuples));
        self.tuples = tuples;
        step
    }

    fn step(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        change: &Change<'_>,
        message: Message<'_>,
        tuples: &Tuples,
    ) -> Result<Step, ConnectError> {
        match message {
            Message::Begin { commit_micros, xid } => {
                self.last_micros = commit_micros.saturating_add(EPOCH_MICROS);
                self.transaction = Some(Transaction { xid: Some(xid), micros: self.last_micros });
                self.replicated_from = None;
                self.recent.note(xid);
                self.begin(batch, change.lsn, xid);
            }
            Message::Commit { end_lsn } => self.ended(batch, end_lsn, true),
            Message::StreamStart { xid } => self.streams.start(xid).map_err(replay::disorder)?,
            Message::StreamStop => self.streams.stop().map_err(replay::disorder)?,
            Message::StreamAbort { xid, subxid } => self.streams.abort(xid, subxid),
            Message::StreamCommit(commit) => return Ok(Step::Committed(commit)),
            Message::Origin { lsn, name } => self.replicated_from = Some((name.to_owned(), Some(lsn))),
            Message::Relation(relation) => return Ok(Step::Announced(relation)),
            Message::Insert { relation } => {
                self.row_change(batch, writer, change, relation, tuples, Operation::Create, None)?
            }
            Message::Update { relation, old } => {
                self.row_change(batch, writer, change, relation, tuples, Operation::Update, old)?
            }
            Message::Delete { relation, old } => {
                self.row_change(batch, writer, change, relation, tuples, Operation::Delete, Some(old))?
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    self.row_change(batch, writer, change, relation, tuples, Operation::Truncate, None)?;
                }
            }
            Message::Logical { transactional, prefix, content } => {
                self.logical(batch, writer, change, transactional, prefix, content)
            }
            Message::Other => {}
        }
        Ok(Step::Done)
    }

    /// Counts a change at its LSN; true if it was given out before the stream was begun.
    fn given_before(&mut self, lsn: u64, xid: Option<u32>) -> bool {
        self.at_lsn = if self.at_lsn.0 == lsn { (lsn, self.at_lsn.1 + 1) } else { (lsn, 1) };
        self.resume.is_some_and(|resume| resume.covers(xid, lsn, self.at_lsn.1))
    }

    fn note(&mut self, lsn: u64, xid: Option<u32>, micros: i64, kind: &'static str) {
        self.progress.advance(lsn, kind);
        self.progress.events_at_lsn = self.at_lsn.1;
        self.progress.xid = xid;
        self.progress.commit_micros = micros;
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one message")]
    fn row_change(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        change: &Change<'_>,
        relation: u32,
        tuples: &Tuples,
        operation: Operation,
        old: Option<OldTuple>,
    ) -> Result<(), ConnectError> {
        let transaction = self.transaction.unwrap_or_default();
        let xid = transaction.xid;
        let known = self.tables.get(&relation).ok_or_else(|| {
            ConnectError::fatal(format!(
                "the replication stream has a change of table {relation} that it has not announced"
            ))
        })?;
        let Some(plan) = known.plan.clone() else { return Ok(()) };
        if self.given_before(change.lsn, xid) {
            return Ok(());
        }
        if operation == Operation::Create && self.settings.signals.is_table(&plan.schema, &plan.table) {
            self.signals.extend(signal(change, &tuples.new));
        }
        if self.is_skipped(operation) {
            return Ok(());
        }
        let given_out = batch.records.len();
        let place = self.place(xid, change.lsn, &plan);
        let settings = Arc::clone(&self.settings);
        let replicated = self.replicated_from.clone();
        let origin = Origin {
            mark: SnapshotMark::Streaming,
            lsn: change.lsn,
            last_commit: self.progress.last_commit,
            xid: xid.map(u64::from),
            micros: transaction.micros,
            replicated: replicated.as_ref().map(|(name, lsn)| (name.as_str(), *lsn)),
        };
        let tuple = |batch: &mut Batch, cells: &[TupleCell], old| {
            row::of_tuple(batch, &plan, change.segment, change.base, cells, old, &settings.placeholder)
        };
        let mut texts = self.tables.get(&relation).map(|known| known.texts).unwrap_or_default();
        let (kind, rows) = match operation {
            Operation::Create | Operation::Read => {
                let after = tuple(batch, &tuples.new, None)?;
                writer.change(
                    batch,
                    &plan,
                    &mut texts,
                    Operation::Create,
                    Value::Null,
                    after,
                    &origin,
                    place.as_ref(),
                );
                ("INSERT", [Value::Null, after])
            }
            Operation::Update => {
                let before = if old.is_some() { tuple(batch, &tuples.old, None)? } else { Value::Null };
                // what was not sent of the new row is in the old one, if that is whole
                let whole = (old == Some(OldTuple::Full)).then_some(before);
                let after = tuple(batch, &tuples.new, whole)?;
                self.update(batch, writer, &plan, &mut texts, old, before, after, &origin, place.as_ref());
                ("UPDATE", [before, after])
            }
            Operation::Delete => {
                let before = tuple(batch, &tuples.old, None)?;
                writer.change(
                    batch,
                    &plan,
                    &mut texts,
                    Operation::Delete,
                    before,
                    Value::Null,
                    &origin,
                    place.as_ref(),
                );
                if settings.tombstones {
                    EventWriter::tombstone(batch);
                }
                ("DELETE", [before, Value::Null])
            }
            Operation::Truncate => {
                writer.change(
                    batch,
                    &plan,
                    &mut texts,
                    Operation::Truncate,
                    Value::Null,
                    Value::Null,
                    &origin,
                    place.as_ref(),
                );
                ("TRUNCATE", [Value::Null; 2])
            }
        };
        if let Some(known) = self.tables.get_mut(&relation) {
            known.texts = texts;
        }
        if let Some(window) = &mut self.window
            && window.is_of(&plan.schema, &plan.table)
            && batch.records.len() > given_out
        {
            window.note(batch, &plan, rows, &tuples.old);
        }
        self.counted.change(operation);
        self.note(change.lsn, xid, transaction.micros, kind);
        Ok(())
    }

    /// An update; one that changes the key becomes a delete, a tombstone and a create.
    #[allow(clippy::too_many_arguments, reason = "the parts of one event")]
    fn update(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        plan: &TablePlan,
        texts: &mut TableTexts,
        old: Option<OldTuple>,
        before: Value,
        after: Value,
        origin: &Origin<'_>,
        place: Option<&EventPlace>,
    ) {
        if old.is_some() && self.key_changed(batch, plan, before, after) {
            let (old_key, new_key) = (writer.key(batch, plan, before), writer.key(batch, plan, after));
            writer.change(batch, plan, texts, Operation::Delete, before, Value::Null, origin, place);
            writer.key_header(batch, plan, "__debezium.newkey", new_key);
            if self.settings.tombstones {
                EventWriter::tombstone(batch);
            }
            // two events of the transaction
            let xid = origin.xid.and_then(|xid| u32::try_from(xid).ok());
            let second = self.place(xid, origin.lsn, plan);
            writer.change(batch, plan, texts, Operation::Create, Value::Null, after, origin, second.as_ref());
            writer.key_header(batch, plan, "__debezium.oldkey", old_key);
            return;
        }
        let before = if old == Some(OldTuple::Full) { before } else { Value::Null };
        if self.settings.skip_unchanged && !before.is_null() && same(batch, before, after) {
            return;
        }
        writer.change(batch, plan, texts, Operation::Update, before, after, origin, place);
    }

    fn key_changed(&self, batch: &Batch, plan: &TablePlan, before: Value, after: Value) -> bool {
        let (Some(key), Value::Struct(before), Value::Struct(after)) = (&plan.key, before, after) else {
            return false;
        };
        let (before, after) = (batch.items(before), batch.items(after));
        key.fields.iter().any(|field| match (before.get(*field), after.get(*field)) {
            (Some(before), Some(after)) => !same(batch, *before, *after),
            _ => false,
        })
    }

    fn is_skipped(&self, operation: Operation) -> bool {
        let skipped = &self.settings.skipped;
        match operation {
            Operation::Create | Operation::Read => skipped.create,
            Operation::Update => skipped.update,
            Operation::Delete => skipped.delete,
            Operation::Truncate => skipped.truncate,
        }
    }

    fn place(&mut self, xid: Option<u32>, lsn: u64, plan: &TablePlan) -> Option<EventPlace> {
        if !self.settings.transaction_metadata {
            return None;
        }
        Some(self.counts.next(xid?, lsn, &format!("{}.{}", plan.schema, plan.table)))
    }

    fn begin(&mut self, batch: &mut Batch, lsn: u64, xid: u32) {
        if !self.settings.transaction_metadata {
            return;
        }
        let micros = self.transaction.map_or(0, |transaction| transaction.micros);
        let record = self.counts.begin(batch, xid, lsn, micros);
        if self.resume.is_none_or(|resume| !resume.covers(Some(xid), lsn, 0)) {
            EventWriter::other(batch, &self.settings.naming.transaction_topic(), record.key, record.value);
        }
    }

    fn end(&mut self, batch: &mut Batch, lsn: u64) {
        let Some(Transaction { xid: Some(xid), micros }) = self.transaction else { return };
        if self.settings.transaction_metadata {
            let record = self.counts.end(batch, xid, lsn, micros);
            EventWriter::other(batch, &self.settings.naming.transaction_topic(), record.key, record.value);
        }
    }

    fn logical(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        change: &Change<'_>,
        transactional: bool,
        prefix: &str,
        content: Range<u32>,
    ) {
        let wanted = self.settings.message_prefixes.as_ref();
        if wanted.is_some_and(|(include, matcher)| matcher.matches(prefix) != *include) {
            return;
        }
        let transaction = self.transaction.filter(|_| transactional).unwrap_or_default();
        if self.given_before(change.lsn, transaction.xid) {
            return;
        }
        let micros = match self.last_micros {
            _ if transactional => transaction.micros,
            // nothing was committed since the start
            0 => writer.now_ms().saturating_mul(1000),
            last => last,
        };
        if !transactional {
            // it is whole by itself, as a transaction is at its commit
            self.progress.last_commit = Some(change.lsn);
        }
        let place = match transaction.xid {
            Some(xid) if self.settings.transaction_metadata => {
                Some(self.counts.next(xid, change.lsn, "message"))
            }
            _ => None,
        };
        let origin = Origin {
            mark: SnapshotMark::Streaming,
            lsn: change.lsn,
            last_commit: self.progress.last_commit,
            xid: transaction.xid.map(u64::from),
            micros,
            replicated: None,
        };
        let (start, end) = (change.base + content.start, change.base + content.end);
        let bytes = change.segment.bytes.get(start as usize..end as usize).unwrap_or_default();
        let prefix = Value::String(batch.put_str(prefix));
        let content = super::types::binary_value(batch, bytes, self.settings.types.binary);
        let key = Value::Struct(batch.push_values(&[prefix]));
        let value = writer.message(batch, prefix, content, &origin, place.as_ref());
        let topic = self.settings.naming.message_topic();
        let schema = Arc::clone(&self.message_value);
        EventWriter::other(batch, &topic, (&MESSAGE_KEY, key), (&schema, value));
        self.counted.message();
        self.note(change.lsn, transaction.xid, micros, "MESSAGE");
    }

    /// A table is announced: for the first time, or because it has changed.
    async fn announced(&mut self, catalog: &mut Catalog, relation: Relation) -> Result<(), ConnectError> {
        if let Some(known) = self.tables.get(&relation.oid)
            && known.announced == relation
        {
            return Ok(());
        }
        let (schema, table) = (&relation.schema, &relation.table);
        if let Some(window) = &mut self.window
            && self.tables.contains_key(&relation.oid)
            && window.is_of(schema, table)
        {
            window.restructured();
        }
        let mut plan = None;
        if self.settings.captures(schema, table) {
            let asking =
                |error| failed(format!("table {schema}.{table}: its columns cannot be looked up"), error);
            let structure = catalog.structure(relation.oid).await.map_err(asking)?;
            let mut columns = Vec::with_capacity(relation.columns.len());
            for column in &relation.columns {
                // the catalogue may be ahead of the stream: the stream's type holds
                let data_type = catalog.data_type(column.type_oid, column.modifier).await.map_err(asking)?;
                let known = structure.columns.iter().find(|known| known.name == column.name);
                columns.push(ColumnInfo {
                    name: column.name.clone(),
                    data_type,
                    required: known.is_some_and(|known| known.required),
                    default: known.and_then(|known| known.default.clone()),
                });
            }
            let present: Vec<String> = structure
                .key
                .iter()
                .filter(|name| columns.iter().any(|column| column.name == **name))
                .cloned()
                .collect();
            plan = Some(Arc::new(TablePlan::new(&self.settings, schema, table, &columns, &present)));
            tracing::debug!(
                table = format!("{schema}.{table}"),
                columns = columns.len(),
                "a table is announced"
            );
        }
        self.tables.insert(relation.oid, Known { announced: relation, plan, texts: TableTexts::default() });
        Ok(())
    }
}

/// The signal of a row of the signal table: its first three columns, whatever they are called.
fn signal(change: &Change<'_>, cells: &[TupleCell]) -> Option<RawSignal> {
    let text = |at: usize| match cells.get(at)? {
        TupleCell::Value { start, end, .. } => {
            let range = (change.base + start) as usize..(change.base + end) as usize;
            Some(String::from_utf8_lossy(change.segment.bytes.get(range)?).into_owned())
        }
        _ => None,
    };
    Some(RawSignal { id: text(0)?, kind: text(1)?, data: text(2).unwrap_or_default() })
}

/// Whether two values of one schema are the same.
fn same(batch: &Batch, a: Value, b: Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) | (Value::Bytes(a), Value::Bytes(b)) => {
            batch.bytes(a) == batch.bytes(b)
        }
        (Value::Struct(a), Value::Struct(b))
        | (Value::Array(a), Value::Array(b))
        | (Value::Decimal(a), Value::Decimal(b)) => {
            let (a, b) = (batch.items(a), batch.items(b));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(batch, *a, *b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len == b.len
                && batch
                    .entries(a)
                    .zip(batch.entries(b))
                    .all(|(a, b)| same(batch, a.0, b.0) && same(batch, a.1, b.1))
        }
        (Value::Float64(a), Value::Float64(b)) => a.to_bits() == b.to_bits(),
        (Value::Float32(a), Value::Float32(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}
