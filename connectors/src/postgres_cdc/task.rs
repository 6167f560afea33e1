//! The task: snapshot, then the stream, with new connections after failures.

mod ad_hoc;
mod boundary;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, OffsetMap, SourceTask, SourceTaskContext,
};
use aqueduct_engine::data::{Batch, Schema, SchemaBuilder, SchemaRef, SourcePosition, Type, Value};
use tokio::time::Instant;

use self::boundary::Boundaries;
use super::catalog::Catalog;
use super::config::{Settings, SnapshotMode};
use super::event::EventWriter;
use super::feed::Feed;
use super::incremental::{Incremental, State};
use super::metrics::StreamMetrics;
use super::notification::Notifier;
use super::offset::{Progress, Stored, confirmable, partition, snapshot_offset};
use super::progress::SnapshotMetrics;
use super::setup::{self, failed};
use super::signal::{Channels, RawSignal, Request};
use super::snapshot::{self, Snapshot, SnapshotPoint, SnapshotTable};
use super::stream::Decoder;
use super::table::TablePlan;
use crate::postgres::Block;

/// First wait before connecting again; it doubles up to `retriable.restart.connector.wait.ms`.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Bytes of blocks that one poll takes.
const POLL_BYTES: usize = 2 * 1024 * 1024;

/// What the task is at.
enum Phase {
    /// Nothing is connected; it begins with what is stored.
    Disconnected,
    Snapshot(Box<Snapshot>, Box<SnapshotMetrics>),
    Stream(Box<Stream>),
    /// `initial_only`: everything is done.
    Done,
}

struct Stream {
    feed: Feed,
    decoder: Decoder,
    /// A block that was too large for one batch, and the message to go on with.
    rest: Option<(Block, usize)>,
}

struct Running {
    settings: Arc<Settings>,
    context: SourceTaskContext,
    positions: Positions,
    writer: EventWriter,
    metrics: StreamMetrics,
    phase: Phase,
    catalog: Option<Catalog>,
    /// Where to go on: what is stored at the start, then what has been given out.
    stored: Option<Stored>,
    failures: u32,
    retry_at: Option<Instant>,
    heartbeat_due: Option<Instant>,
    /// A snapshot is made once per start, whatever the mode.
    snapshot_made: bool,
    confirmed: u64,
    incremental: Incremental,
    notifier: Notifier,
    /// Signals from elsewhere than the stream.
    channels: Channels,
    /// Signals that are not answered yet.
    signals: VecDeque<RawSignal>,
    /// Blocking snapshots that are asked for; the first of them may be running.
    blocking: VecDeque<Request>,
    /// The stream while it waits for a blocking snapshot.
    suspended: Option<Box<Stream>>,
    boundaries: Boundaries,
}

/// What has been given out, and how far it is stored.
struct Positions {
    partition: Arc<OffsetMap>,
    last: Option<Arc<OffsetMap>>,
    /// Nothing is on the way.
    all_stored: bool,
}

impl Positions {
    /// The position of the whole batch.
    fn put(&mut self, batch: &mut Batch, offset: OffsetMap) {
        let offset = Arc::new(offset);
        batch
            .positions
            .push(SourcePosition { partition: Arc::clone(&self.partition), offset: Arc::clone(&offset) });
        self.last = Some(offset);
        self.all_stored = false;
    }

    fn stored(&mut self, offset: &OffsetMap) {
        self.all_stored = self.last.as_ref().is_some_and(|last| **last == *offset);
    }
}

/// The task: one per connector.
#[derive(Default)]
pub(super) struct PostgresTask {
    running: Option<Running>,
}

impl Running {
    async fn start(config: &ConfigMap, context: SourceTaskContext) -> Result<Running, ConnectError> {
        let settings = Arc::new(Settings::new(config)?);
        let partition = partition(&settings.naming.prefix);
        let offset = context.offsets.offset(&partition).await?;
        let stored = match &offset {
            None => None,
            Some(offset) => Some(Stored::of(offset).ok_or_else(|| {
                ConnectError::fatal(format!(
                    "the stored offset {} has no lsn; delete the connector's offsets (DELETE /connectors/{}/offsets) to begin anew",
                    serde_json::Value::Object(offset.clone()),
                    context.connector
                ))
            })?),
        };
        let empty = OffsetMap::new();
        let at = offset.as_ref().unwrap_or(&empty);
        let incremental = Incremental::new(Arc::clone(&settings), State::of(at));
        let writer = EventWriter::new(
            &settings.naming.prefix,
            &settings.connection.database,
            settings.extended_headers,
            context.task,
        );
        let metrics = StreamMetrics::new(&context.connector, context.task, &settings.naming.prefix);
        let heartbeat_due = settings.heartbeat.as_ref().map(|heartbeat| Instant::now() + heartbeat.interval);
        let notifier = Notifier::new(settings.notifications.clone(), &settings.naming.prefix);
        Ok(Running {
            channels: Channels::open(&settings.signals.channels),
            blocking: ad_hoc::stored(at),
            signals: VecDeque::new(),
            suspended: None,
            boundaries: Boundaries::default(),
            incremental,
            notifier,
            settings,
            context,
            positions: Positions { partition, last: None, all_stored: true },
            writer,
            metrics,
            phase: Phase::Disconnected,
            catalog: None,
            stored,
            failures: 0,
            retry_at: None,
            heartbeat_due,
            snapshot_made: false,
            confirmed: 0,
        })
    }

    async fn poll(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        if let Some(at) = self.retry_at {
            let wait = at.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            self.context.stop.sleep(wait).await;
            if Instant::now() < at {
                return Ok(());
            }
            self.retry_at = None;
        }
        match self.work(batch).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_retriable() => {
                // what was decoded of this batch is read again
                batch.clear();
                self.disconnect();
                self.back_off(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts a failure; the error itself once there have been too many.
    fn back_off(&mut self, error: ConnectError) -> Result<(), ConnectError> {
        self.failures += 1;
        if self.settings.max_retries >= 0 && i64::from(self.failures) > self.settings.max_retries {
            return Err(ConnectError::fatal(format!(
                "given up after {} tries (errors.max.retries)",
                self.failures
            ))
            .caused_by(error));
        }
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.failures.min(16))
            .min(self.settings.restart_wait.max(FIRST_WAIT));
        tracing::warn!(
            connector = &*self.context.connector,
            task = self.context.task,
            wait_ms = wait.as_millis() as u64,
            "connecting again after: {}",
            error.trace().trim_end().replace('\n', "; ")
        );
        self.retry_at = Some(Instant::now() + wait);
        Ok(())
    }

    fn disconnect(&mut self) {
        let mut suspended = self.suspended.take();
        let stream = match &mut self.phase {
            Phase::Stream(stream) => Some(stream),
            _ => suspended.as_mut(),
        };
        if let Some(stream) = stream {
            self.stored = Some(Stored::Streaming(*stream.decoder.progress()));
            self.incremental.abandon(&mut stream.decoder);
        }
        self.phase = Phase::Disconnected;
        self.boundaries.stream_broke();
        self.catalog = None;
        self.metrics.connected(false);
    }

    async fn work(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        self.writer.begin();
        if matches!(self.phase, Phase::Disconnected) {
            self.connect().await?;
        }
        match &mut self.phase {
            Phase::Disconnected | Phase::Done => {
                self.context.stop.sleep(self.settings.poll_interval).await;
            }
            Phase::Snapshot(..) => self.poll_snapshot(batch).await?,
            Phase::Stream(_) => self.poll_stream(batch).await?,
        }
        self.heartbeat(batch).await?;
        self.notify(batch);
        self.end_transaction(batch);
        Ok(())
    }

    /// Publication, slot, and the snapshot or the stream: whatever comes next.
    async fn connect(&mut self) -> Result<(), ConnectError> {
        let settings = Arc::clone(&self.settings);
        let mut catalog = Catalog::connect(&settings.connection, &settings.initial_statements)
            .await
            .map_err(|error| failed(format!("{}: no connection", settings.connection), error))?;
        setup::check_server(&mut catalog, &settings).await?;
        let slot = setup::find_slot(&mut catalog, &settings).await?;
        let tables = setup::captured(&mut catalog, &settings).await?;
        let wanted = self.wants_snapshot(slot.as_ref());
        let streams = settings.snapshot.mode != SnapshotMode::InitialOnly;
        if streams {
            setup::ensure_publication(&mut catalog, &settings, &tables).await?;
            setup::ensure_identities(&mut catalog, &settings, &tables).await?;
        }
        if let (None, false, Some(Stored::Streaming(progress))) = (&slot, wanted, &self.stored) {
            return Err(ConnectError::fatal(format!(
                "slot {}: it is gone, and with it the changes after LSN {}; delete the connector's offsets and restart it for a new snapshot (or set snapshot.mode=when_needed, which does so by itself)",
                settings.slot.name,
                crate::postgres::lsn_text(progress.lsn)
            )));
        }
        let confirmed = slot.as_ref().and_then(|slot| slot.confirmed);
        let created = match slot {
            None if streams => Some(setup::create_slot(&settings).await?),
            _ => None,
        };
        if wanted {
            if !self.context.stop.clone().sleep(settings.snapshot.delay).await {
                return Ok(());
            }
            let exported = created.as_ref().and_then(|created| created.snapshot.clone());
            // with the slot of before the stream brings all changes since: what was read need not be read again
            let (lsn, done) = match (&created, &self.stored) {
                (Some(created), _) => (Some(created.consistent_point), Vec::new()),
                (None, Some(Stored::InSnapshot { lsn, done }))
                    if !done.is_empty() && confirmed.is_none_or(|confirmed| confirmed <= *lsn) =>
                {
                    (Some(*lsn), done.clone())
                }
                (None, _) => (None, Vec::new()),
            };
            let point = snapshot::point(&mut catalog, lsn).await?;
            let mut tables = self.snapshot_tables(&mut catalog, tables).await?;
            tables.retain(|table| !done.contains(&table.name()));
            tracing::info!(
                connector = &*self.context.connector,
                tables = tables.len(),
                read_before = done.len(),
                lsn = point.lsn,
                threads = settings.snapshot.threads,
                "the snapshot begins"
            );
            let running = Snapshot::start(&settings, tables, exported, point).await?.after(done);
            self.notifier.snapshot("STARTED", &[("data_collections", &running.names().join(","))]);
            let (connector, task) = (&self.context.connector, self.context.task);
            let metrics =
                Box::new(SnapshotMetrics::new(connector, task, &settings.naming.prefix, running.expected()));
            self.phase = Phase::Snapshot(Box::new(running), metrics);
            // the slot's connection must not go before the readers have imported its snapshot: they have
            drop(created);
        } else if streams {
            if !self.snapshot_made {
                self.notifier.snapshot("SKIPPED", &[]);
            }
            let from = created.map_or(0, |created| created.consistent_point);
            self.start_stream(&mut catalog, from).await?;
        } else {
            self.phase = Phase::Done;
        }
        self.catalog = Some(catalog);
        Ok(())
    }

    fn wants_snapshot(&self, slot: Option<&setup::SlotInfo>) -> bool {
        if self.snapshot_made {
            return false;
        }
        let unfinished = matches!(self.stored, None | Some(Stored::InSnapshot { .. }));
        match self.settings.snapshot.mode {
            SnapshotMode::NoData => false,
            SnapshotMode::Always => true,
            SnapshotMode::Initial | SnapshotMode::InitialOnly => unfinished,
            SnapshotMode::WhenNeeded => {
                let position = match &self.stored {
                    Some(Stored::Streaming(progress)) => progress.start_lsn(),
                    Some(Stored::SnapshotDone { lsn }) => *lsn,
                    _ => return true,
                };
                // what lies before the slot's confirmed position is not sent any more
                slot.and_then(|slot| slot.confirmed).is_none_or(|confirmed| position < confirmed)
            }
        }
    }

    async fn snapshot_tables(
        &self,
        catalog: &mut Catalog,
        tables: Vec<super::catalog::TableInfo>,
    ) -> Result<Vec<SnapshotTable>, ConnectError> {
        let mut planned = Vec::with_capacity(tables.len());
        for info in tables {
            let name = format!("{}.{}", info.schema, info.table);
            if !self.settings.filters.table(&info.schema, &info.table) {
                continue; // the signal table
            }
            if self.settings.snapshot.tables.as_ref().is_some_and(|wanted| !wanted.matches(&name)) {
                continue;
            }
            let structure = catalog
                .structure(info.oid)
                .await
                .map_err(|error| failed(format!("table {name}: cannot be looked up"), error))?;
            let plan =
                Arc::new(TablePlan::of_structure(&self.settings, &info.schema, &info.table, &structure));
            let select = self
                .settings
                .snapshot
                .overrides
                .iter()
                .find(|(table, _)| *table == name)
                .map(|(_, select)| select.clone());
            planned.push(SnapshotTable { plan, info, select });
        }
        Ok(planned)
    }

    async fn start_stream(&mut self, catalog: &mut Catalog, from: u64) -> Result<(), ConnectError> {
        let settings = Arc::clone(&self.settings);
        let (from, progress, resume) = match &self.stored {
            Some(Stored::Streaming(progress)) => (progress.start_lsn(), *progress, true),
            Some(Stored::SnapshotDone { lsn }) => (*lsn, Progress::default(), false),
            _ => (from, Progress::default(), false),
        };
        let version = catalog
            .setting("server_version_num")
            .await
            .map_err(|error| failed("cannot ask for the server's version", error))?;
        let version: u32 = version.parse().unwrap_or(0);
        // bytes of unknown types are their text
        let binary = !settings.types.include_unknown;
        let wire =
            setup::start_stream(&settings, from, binary, version, &mut self.context.stop.clone()).await?;
        tracing::info!(
            connector = &*self.context.connector,
            slot = settings.slot.name,
            lsn = crate::postgres::lsn_text(from),
            binary,
            "streaming"
        );
        let feed = Feed::new(wire, settings.slot.status_interval, self.confirmed);
        let decoder = Decoder::new(settings, progress, resume);
        self.phase = Phase::Stream(Box::new(Stream { feed, decoder, rest: None }));
        self.metrics.connected(true);
        self.failures = 0;
        Ok(())
    }

    async fn poll_snapshot(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        let Phase::Snapshot(running, metrics) = &mut self.phase else { return Ok(()) };
        let most = self.settings.max_batch;
        let polled = tokio::select! {
            polled = running.poll(batch, &mut self.writer, most) => polled,
            () = tokio::time::sleep(self.settings.poll_interval) => Ok(false),
        };
        let done = polled?;
        metrics.polled(running.progress(), done);
        let SnapshotPoint { lsn, xid, micros } = running.point();
        for (table, rows) in running.finished() {
            let details = [
                ("scanned_collection", &*table),
                ("total_rows_scanned", &rows.to_string()),
                ("status", "SUCCEEDED"),
            ];
            self.notifier.snapshot("TABLE_SCAN_COMPLETED", &details);
        }
        if done {
            self.notifier.snapshot("COMPLETED", &[]);
        }
        if self.suspended.is_some() {
            self.interrupted(batch, done);
            return Ok(());
        }
        if !batch.records.is_empty() || done {
            let tables = running.done();
            self.positions.put(batch, snapshot_offset(lsn, xid, micros, done, tables));
            self.stored = Some(Stored::InSnapshot { lsn, done: tables.to_vec() });
        }
        if !done {
            return Ok(());
        }
        tracing::info!(
            connector = &*self.context.connector,
            rows = running.rows(),
            "the snapshot is complete"
        );
        self.snapshot_made = true;
        self.stored = Some(Stored::SnapshotDone { lsn });
        self.phase = Phase::Done;
        if self.settings.snapshot.mode != SnapshotMode::InitialOnly {
            let mut catalog =
                self.catalog.take().ok_or_else(|| ConnectError::retriable("the connection is gone"))?;
            let started = self.start_stream(&mut catalog, lsn).await;
            self.catalog = Some(catalog);
            if let Err(error) = started {
                if !error.is_retriable() {
                    return Err(error);
                }
                // the snapshot's last rows are in the batch: they go on, the stream is begun at the next poll
                self.phase = Phase::Disconnected;
                self.catalog = None;
                self.back_off(error)?;
            }
        }
        Ok(())
    }

    async fn poll_stream(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        let Phase::Stream(stream) = &mut self.phase else { return Ok(()) };
        let catalog =
            self.catalog.as_mut().ok_or_else(|| ConnectError::retriable("the connection is gone"))?;
        let most = self.settings.max_batch;
        let before = *stream.decoder.progress();
        if stream.rest.is_none() {
            tokio::select! {
                block = stream.feed.next() => {
                    let block = block.map_err(|error| failed("the replication stream broke", error))?;
                    stream.rest = Some((block, 0));
                }
                () = self.incremental.ready() => {}
                () = tokio::time::sleep(self.settings.poll_interval) => {}
                () = self.context.stop.stopped() => {}
            }
        }
        let mut next = stream.rest.take();
        let mut bytes = 0;
        let mut broken = None;
        while let Some((block, from)) = next.take() {
            bytes += block.bytes.len();
            let decoded = stream
                .decoder
                .block(batch, &mut self.writer, catalog, &block, from, most, self.boundaries.open)
                .await;
            let at = match decoded {
                Ok(at) => at,
                Err(error) => {
                    // the batch is dropped: what it had of the stream comes again
                    self.stored = Some(Stored::Streaming(before));
                    self.incremental.abandon(&mut stream.decoder);
                    self.phase = Phase::Disconnected;
                    return Err(error);
                }
            };
            if at < block.messages.len() {
                stream.rest = Some((block, at));
                break;
            }
            // what is whole ends its transaction of Kafka before anything else joins it
            let ends = self.boundaries.open && stream.decoder.ended_before_records();
            if bytes >= POLL_BYTES || ends {
                break;
            }
            match stream.feed.try_next() {
                Some(Ok(block)) => next = Some((block, 0)),
                Some(Err(error)) => broken = Some(failed("the replication stream broke", error)),
                None => {}
            }
        }
        self.boundaries.polled(stream.decoder.ended_at(), stream.decoder.is_within());
        let progress = *stream.decoder.progress();
        let (counts, gathered) = stream.decoder.measured();
        self.metrics.polled(counts, progress.commit_micros, gathered);
        self.metrics.look_at_slot(catalog, &self.settings.slot.name).await;
        let settled = stream.decoder.settled().filter(|_| stream.rest.is_none());
        let moved = (progress.lsn, progress.events_at_lsn) != (before.lsn, before.events_at_lsn);
        let changed = match self.ad_hoc(batch).await {
            Ok(changed) => changed,
            Err(error) if error.is_retriable() => {
                broken = broken.or(Some(error));
                false
            }
            Err(error) => return Err(error),
        };
        if moved || changed || !batch.records.is_empty() {
            let nothing = batch.records.is_empty();
            self.put_position(batch, nothing);
        } else if let (true, Some(settled), Phase::Stream(stream)) =
            (self.positions.all_stored, settled, &self.phase)
        {
            // nothing is on the way: what the server has sent may be forgotten there, though no record says so
            stream.feed.confirmed().advance(settled);
        }
        match broken {
            Some(error) if batch.records.is_empty() => Err(error),
            Some(error) => {
                self.disconnect();
                self.back_off(error)
            }
            None => Ok(()),
        }
    }

    async fn heartbeat(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        let (Some(due), Some(heartbeat)) = (self.heartbeat_due, self.settings.heartbeat.clone()) else {
            return Ok(());
        };
        if !matches!(self.phase, Phase::Stream(_)) || Instant::now() < due {
            return Ok(());
        }
        self.heartbeat_due = Some(Instant::now() + heartbeat.interval);
        if let (Some(sql), Some(catalog)) = (&heartbeat.action_query, &mut self.catalog)
            && let Err(error) = catalog.query(sql).await
        {
            tracing::error!(connector = &*self.context.connector, "heartbeat.action.query failed: {error}");
        }
        self.put_heartbeat(batch);
        if batch.positions.is_empty() {
            self.put_position(batch, true);
        }
        Ok(())
    }

    fn put_heartbeat(&mut self, batch: &mut Batch) {
        let prefix = Value::String(batch.put_str(&self.settings.naming.prefix));
        let key = Value::Struct(batch.push_values(&[prefix]));
        let value = Value::Struct(batch.push_values(&[Value::Int64(self.writer.now_ms())]));
        let topic = self.settings.naming.heartbeat_topic();
        EventWriter::other(batch, &topic, (&heartbeat_schema(true), key), (&heartbeat_schema(false), value));
    }

    fn committed(&mut self, committed: &[SourcePosition]) {
        for position in committed {
            if position.partition != self.positions.partition {
                continue;
            }
            self.positions.stored(&position.offset);
            if let Some(lsn) = confirmable(&position.offset) {
                self.confirmed = self.confirmed.max(lsn);
            }
        }
        let stream = match &self.phase {
            Phase::Stream(stream) => Some(stream),
            _ => self.suspended.as_ref(),
        };
        if let Some(stream) = stream {
            stream.feed.confirmed().advance(self.confirmed);
        }
    }

    async fn stop(mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        if let Phase::Stream(stream) = phase {
            stream.feed.close().await;
        }
        if let Some(catalog) = self.catalog.take() {
            catalog.close().await;
        }
        if self.settings.slot.drop_on_stop {
            setup::drop_slot(&self.settings).await;
        }
    }
}

/// Schemas of the heartbeats: the same two objects for all of them.
fn heartbeat_schema(key: bool) -> SchemaRef {
    static SCHEMAS: std::sync::LazyLock<[SchemaRef; 2]> = std::sync::LazyLock::new(|| {
        let name =
            |name: &str| SchemaBuilder::structure().name(&format!("io.debezium.connector.common.{name}"));
        [
            name("ServerNameKey").version(1).field("serverName", Schema::string()).build(),
            name("Heartbeat").version(1).field("ts_ms", SchemaBuilder::new(Type::Int64).build()).build(),
        ]
    });
    Arc::clone(&SCHEMAS[usize::from(!key)])
}

impl SourceTask for PostgresTask {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SourceTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            self.running = Some(Running::start(config, context).await?);
            Ok(())
        })
    }

    fn poll<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            match &mut self.running {
                Some(running) => running.poll(batch).await,
                None => Err(ConnectError::fatal("the task was not started")),
            }
        })
    }

    fn commit<'a>(&'a mut self, committed: &'a [SourcePosition]) -> BoxFuture<'a, Result<(), ConnectError>> {
        if let Some(running) = &mut self.running {
            running.committed(committed);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(running) = self.running.take() {
                running.stop().await;
            }
        })
    }
}
