//! What signals ask for: incremental snapshots beside the stream, blocking ones instead of it for a while.

use std::collections::VecDeque;

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::{Batch, OffsetMap};
use serde_json::Value as Json;

use super::{Phase, Running, Stream};
use crate::postgres_cdc::incremental::{self, Collection, Surroundings};
use crate::postgres_cdc::offset::Progress;
use crate::postgres_cdc::progress::SnapshotMetrics;
use crate::postgres_cdc::setup::failed;
use crate::postgres_cdc::signal::{RawSignal, Request, Signal};
use crate::postgres_cdc::snapshot::{self, Snapshot, SnapshotTable};
use crate::postgres_cdc::table::TablePlan;

/// Of an offset: blocking snapshots that are asked for and not done.
const BLOCKING: &str = "aqueduct_blocking_snapshots";

/// Blocking snapshots that a stored offset asks for.
pub(super) fn stored(offset: &OffsetMap) -> VecDeque<Request> {
    let listed = offset.get(BLOCKING).and_then(Json::as_str).and_then(|text| serde_json::from_str(text).ok());
    listed.unwrap_or_default()
}

impl Running {
    /// Puts the position of everything given out of the stream. With `seen` that is the end of all that was seen: the batch has
    /// nothing of the stream that could come again.
    pub(super) fn put_position(&mut self, batch: &mut Batch, seen: bool) {
        let stream = match &self.phase {
            Phase::Stream(stream) => Some(stream),
            _ => self.suspended.as_ref(),
        };
        let Some(stream) = stream else { return };
        let mut progress = *stream.decoder.progress();
        let seen = seen || progress.lsn == 0;
        if let Some(settled) = stream.decoder.settled().filter(|_| seen && stream.rest.is_none()) {
            progress.last_commit = Some(progress.last_commit.unwrap_or(0).max(settled));
        }
        let offset = self.offset(&progress);
        self.positions.put(batch, offset);
    }

    /// The offset of what was given out of the stream, with what signals have asked for.
    pub(super) fn offset(&self, progress: &Progress) -> OffsetMap {
        let mut offset = progress.offset();
        self.incremental.store(&mut offset);
        if !self.blocking.is_empty()
            && let Ok(text) = serde_json::to_string(&self.blocking)
        {
            offset.insert(BLOCKING.to_owned(), text.into());
        }
        offset
    }

    /// Writes waiting notifications, where their batch has a position.
    pub(super) fn notify(&mut self, batch: &mut Batch) {
        let records = batch.records.len();
        if !batch.positions.is_empty() || matches!(self.phase, Phase::Stream(_)) {
            self.notifier.write(batch, self.writer.now_ms());
        }
        if batch.records.len() > records && batch.positions.is_empty() {
            self.put_position(batch, true);
        }
    }

    /// Answers signals and goes on with what they asked for; true if there is a new position.
    pub(super) async fn ad_hoc(&mut self, batch: &mut Batch) -> Result<bool, ConnectError> {
        let Phase::Stream(stream) = &mut self.phase else { return Ok(false) };
        self.signals.extend(stream.decoder.signals.drain(..));
        while let Some(signal) = self.channels.try_next() {
            self.signals.push_back(signal);
        }
        let mut changed = false;
        while let Some(signal) = self.signals.front().cloned() {
            changed |= self.answer(&signal).await?;
            self.signals.pop_front();
        }
        changed |= self.interrupt().await?;
        let (Phase::Stream(stream), Some(catalog)) = (&mut self.phase, &mut self.catalog) else {
            return Ok(changed);
        };
        let Stream { feed, decoder, .. } = &mut **stream;
        let (writer, notifier) = (&mut self.writer, &mut self.notifier);
        let mut around = Surroundings { batch, writer, decoder, feed, catalog, notifier };
        Ok(self.incremental.step(&mut around).await? || changed)
    }

    async fn answer(&mut self, raw: &RawSignal) -> Result<bool, ConnectError> {
        let connector = &*self.context.connector;
        let signal = match raw.parse() {
            Ok(Some(signal)) => signal,
            Ok(None) => return Ok(false),
            Err(error) => {
                tracing::warn!(connector, signal = raw.id, kind = raw.kind, "a signal is left out: {error}");
                return Ok(false);
            }
        };
        let (Phase::Stream(stream), Some(catalog)) = (&mut self.phase, &mut self.catalog) else {
            return Ok(false);
        };
        match signal {
            Signal::Log(message) => {
                tracing::info!(connector, signal = raw.id, "{message}");
                return Ok(false);
            }
            Signal::Incremental(request) => {
                match incremental::matching(&self.settings, catalog, &request).await {
                    Ok(found) => {
                        let tables = found.into_iter().map(|(_, collection)| collection).collect();
                        self.incremental.request(&request, tables, &mut self.notifier);
                    }
                    Err(error) if error.is_retriable() => return Err(error),
                    Err(error) => tracing::warn!(connector, signal = raw.id, "a signal is left out: {error}"),
                }
            }
            Signal::Blocking(request) => self.blocking.push_back(request),
            Signal::Stop(names) => {
                self.incremental.stop(&names, &mut stream.decoder, &mut self.notifier);
            }
            Signal::Pause => self.incremental.pause(true, &mut stream.decoder, &mut self.notifier),
            Signal::Resume => self.incremental.pause(false, &mut stream.decoder, &mut self.notifier),
        }
        Ok(true)
    }

    /// Begins a blocking snapshot once no transaction is in the middle; true if one was asked for in vain.
    async fn interrupt(&mut self) -> Result<bool, ConnectError> {
        let (Some(request), Phase::Stream(stream), Some(catalog)) =
            (self.blocking.front(), &mut self.phase, &mut self.catalog)
        else {
            return Ok(false);
        };
        if stream.decoder.settled().is_none() || stream.rest.is_some() {
            return Ok(false);
        }
        let settings = &self.settings;
        let mut tables = Vec::new();
        for (info, Collection { table, condition, .. }) in
            incremental::matching(settings, catalog, request).await?
        {
            let structure = catalog
                .structure(info.oid)
                .await
                .map_err(|error| failed(format!("table {table}: cannot be looked up"), error))?;
            let plan = TablePlan::of_structure(settings, &info.schema, &info.table, &structure);
            let select = (!condition.is_empty()).then(|| snapshot::filtered(&info, &condition));
            tables.push(SnapshotTable { plan: plan.into(), info, select });
        }
        if tables.is_empty() {
            self.blocking.pop_front();
            return Ok(true);
        }
        let point = snapshot::point(catalog, None).await?;
        let running = Snapshot::start(settings, tables, None, point).await?.interrupting();
        let names = running.names();
        tracing::info!(
            connector = &*self.context.connector,
            signal = request.id,
            tables = names.join(","),
            "the stream waits for a blocking snapshot"
        );
        self.incremental.abandon(&mut stream.decoder);
        self.notifier.snapshot("STARTED", &[("data_collections", &names.join(","))]);
        let (connector, task) = (&self.context.connector, self.context.task);
        let metrics =
            Box::new(SnapshotMetrics::new(connector, task, &settings.naming.prefix, running.expected()));
        let phase = Phase::Snapshot(Box::new(running), metrics);
        if let Phase::Stream(stream) = std::mem::replace(&mut self.phase, phase) {
            self.suspended = Some(stream);
        }
        Ok(false)
    }

    /// A poll of a blocking snapshot is over; the stream goes on when all of it is given out.
    pub(super) fn interrupted(&mut self, batch: &mut Batch, done: bool) {
        if done {
            self.blocking.pop_front();
            if let Some(stream) = self.suspended.take() {
                self.phase = Phase::Stream(stream);
            }
            tracing::info!(connector = &*self.context.connector, "the blocking snapshot is complete");
        }
        if done || !batch.records.is_empty() {
            self.put_position(batch, false);
        }
    }
}
