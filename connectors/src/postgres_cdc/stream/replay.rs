//! Streamed transactions: gathered until they are committed, then decoded as those that come whole.

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::Batch;

use super::{Change, Decoder, EPOCH_MICROS, Step, Transaction, malformed};
use crate::postgres::segment;
use crate::postgres_cdc::catalog::Catalog;
use crate::postgres_cdc::event::EventWriter;
use crate::postgres_cdc::pgoutput::{Message, StreamCommit, parse};
use crate::postgres_cdc::row::Segment;
use crate::postgres_cdc::spill::Spill;
use crate::postgres_cdc::streamed::{Disorder, Replay};

/// Bytes that one batch takes of a transaction.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The transaction that is being given out.
pub(super) struct Replaying {
    replay: Replay,
    /// Something of it has survived: it has begun.
    begun: bool,
}

pub(super) fn disorder(error: Disorder) -> ConnectError {
    ConnectError::fatal("the replication stream is out of order").caused_by(error)
}

impl Decoder {
    fn spill_failed(&self, error: std::io::Error) -> ConnectError {
        ConnectError::retriable(format!(
            "streaming.spill.directory {}: a transaction that is not committed yet cannot be kept there; make room, name another folder, raise streaming.memory.bytes, or set streaming.transactions.enabled=false to let the server keep it",
            self.settings.streaming.folder.display()
        ))
        .caused_by(error)
    }

    /// Puts away what is too much for memory.
    pub(super) async fn make_room(&mut self) -> Result<(), ConnectError> {
        while let Some((xid, gathered, chunks)) = self.streams.excess() {
            let folder = &self.settings.streaming.folder;
            let written: Result<(), std::io::Error> = async {
                if gathered.spilled.is_none() {
                    tracing::info!(
                        slot = self.settings.slot.name,
                        xid,
                        folder = %folder.display(),
                        "a transaction that is not committed yet goes to disk"
                    );
                    gathered.spilled = Some(Spill::create(folder.clone()).await?);
                }
                match &mut gathered.spilled {
                    Some(spill) => spill.append(chunks).await,
                    None => Ok(()),
                }
            }
            .await;
            written.map_err(|error| self.spill_failed(error))?;
        }
        Ok(())
    }

    /// Gives out a streamed transaction that is committed; false if there is more of it than the batch should have. Then it is
    /// called again with the same commit.
    pub(super) async fn replay(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        catalog: &mut Catalog,
        commit: StreamCommit,
        most: usize,
    ) -> Result<bool, ConnectError> {
        let mut replaying = match self.replaying.take() {
            Some(replaying) => replaying,
            None => self.committed(commit)?,
        };
        let mut taken = 0;
        loop {
            let chunk = replaying.replay.chunk().clone();
            let id = if chunk.is_empty() { 0 } else { segment(batch, &chunk) };
            let segment = Segment { bytes: &chunk, id };
            loop {
                if batch.records.len() >= most {
                    self.replaying = Some(replaying);
                    return Ok(false);
                }
                let Some(message) = replaying.replay.next().map_err(disorder)? else { break };
                // tables and origins are announced at no LSN; a transaction begins at its first change
                if message.lsn != 0 && !std::mem::replace(&mut replaying.begun, true) {
                    self.begin(batch, message.lsn, commit.xid);
                }
                let change = Change { segment, base: message.start, lsn: message.lsn };
                if let Step::Announced(relation) = self.replayed(batch, writer, &change, message.end)? {
                    self.announced(catalog, relation).await?;
                }
            }
            if taken >= BATCH_BYTES {
                self.replaying = Some(replaying);
                return Ok(false);
            }
            if !replaying.replay.advance().await.map_err(|error| self.spill_failed(error))? {
                break;
            }
            taken += replaying.replay.chunk().len();
        }
        self.ended(batch, commit.end_lsn, replaying.begun);
        Ok(true)
    }

    fn committed(&mut self, commit: StreamCommit) -> Result<Replaying, ConnectError> {
        let replay = self.streams.commit(commit.xid).map_err(disorder)?;
        self.last_micros = commit.commit_micros.saturating_add(EPOCH_MICROS);
        self.transaction = Some(Transaction { xid: Some(commit.xid), micros: self.last_micros });
        self.recent.note(commit.xid);
        self.replicated_from = None;
        Ok(Replaying { replay, begun: false })
    }

    /// One message of it, as it would have come had the transaction not been streamed.
    fn replayed(
        &mut self,
        batch: &mut Batch,
        writer: &mut EventWriter,
        change: &Change<'_>,
        end: u32,
    ) -> Result<Step, ConnectError> {
        let bytes = change.segment.bytes.get(change.base as usize..end as usize).unwrap_or_default();
        let mut tuples = std::mem::take(&mut self.tuples);
        let parsed = parse(bytes, &mut tuples, true).map_err(|error| malformed(change.lsn, error));
        let step = match parsed {
            Ok(Message::Origin { name, .. }) => {
                // where the origin committed is not told of streamed transactions
                self.replicated_from = Some((name.to_owned(), None));
                Ok(Step::Done)
            }
            parsed => parsed.and_then(|message| self.step(batch, writer, change, message, &tuples)),
        };
        self.tuples = tuples;
        step
    }

    /// A transaction is whole. One of which nothing was published does not count: the server does not send those that it does
    /// not stream.
    pub(super) fn ended(&mut self, batch: &mut Batch, end_lsn: u64, begun: bool) {
        if begun {
            self.end(batch, end_lsn);
            self.counted.transaction();
            self.progress.last_commit = Some(end_lsn);
        }
        self.transaction = None;
        self.ended = Some((batch.records.len(), self.progress));
        self.seen = self.seen.max(end_lsn);
    }
}
