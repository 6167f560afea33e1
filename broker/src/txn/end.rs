//! Ending transactions: state, markers, offsets.

use kafka_protocol::ResponseError;

use super::{Inner, LAST_EPOCH, ProducerId, State, Transactions, lost};
use crate::journal::StateRecord;
use crate::log::Marker;
use crate::state::{Refusal, Shared, now_ms};

/// Epoch of the only coordinator.
const COORDINATOR_EPOCH: i32 = 0;

impl Transactions {
    /// EndTxn. With the second protocol the producer goes on with the next epoch, which is returned.
    pub(crate) fn end(
        &self,
        shared: &Shared,
        id: &str,
        producer: ProducerId,
        commit: bool,
        v2: bool,
    ) -> Result<ProducerId, Refusal> {
        let mut inner = self.inner.lock();
        let done = if commit { State::CompleteCommit } else { State::CompleteAbort };
        if v2 && let Some(txn) = inner.ids.get(id).filter(|t| t.last == producer && t.state == done) {
            // The answer was lost: the same again.
            return Ok(txn.producer);
        }
        let txn = inner.current(id, producer)?;
        let invalid = |state: State| {
            let word = if commit { "commit" } else { "abort" };
            let reason = format!("cannot {word} the transaction of {id}, which is {}", state.name());
            Err(Refusal::new(ResponseError::InvalidTxnState, reason))
        };
        match txn.state {
            State::Ongoing => {}
            state if state == done && !v2 => return Ok(producer),
            // An abort before anything was sent still bumps the epoch in the second protocol.
            _ if v2 && !commit => txn.begin(true),
            state => return invalid(state),
        }
        txn.v2 = v2;
        txn.state = if commit { State::PrepareCommit } else { State::PrepareAbort };
        if v2 {
            bump(&mut inner, shared, id)?;
        }
        if let Some(txn) = inner.ids.get(id) {
            shared.record(&[txn.record(id)])?;
        }
        finish(&mut inner, shared, id)?;
        Ok(inner.ids.get(id).map_or(producer, |t| t.producer))
    }
}

/// Gives the transactional id its next producer before the markers are written.
fn bump(inner: &mut Inner, shared: &Shared, id: &str) -> Result<(), Refusal> {
    let current = inner.ids.get(id).ok_or_else(|| lost(id))?.producer;
    let next = inner.next_producer(shared, current)?;
    let txn = inner.ids.get_mut(id).ok_or_else(|| lost(id))?;
    txn.last = current;
    txn.producer = next;
    Ok(())
}

/// Aborts an open transaction on behalf of somebody else: its producer's epoch is over.
pub(super) fn fence(inner: &mut Inner, shared: &Shared, id: &str) -> Result<(), Refusal> {
    let txn = inner.ids.get_mut(id).ok_or_else(|| lost(id))?;
    txn.state = State::PrepareAbort;
    txn.v2 = false;
    txn.last = super::NO_PRODUCER;
    // One above the last epoch is left for this.
    txn.producer.epoch = txn.producer.epoch.saturating_add(1);
    shared.record(&[txn.record(id)])?;
    finish(inner, shared, id)
}

/// Writes the markers of a prepared transaction and decides its offsets. Can be repeated.
pub(super) fn finish(inner: &mut Inner, shared: &Shared, id: &str) -> Result<(), Refusal> {
    let txn = inner.ids.get_mut(id).ok_or_else(|| lost(id))?;
    let commit = txn.state == State::PrepareCommit;
    // The second protocol's markers have the bumped epoch, so that nothing of the old one can follow them. When the bump
    // gave a new id, the old one's markers have the epoch that is left for that.
    let marked = match txn.v2 {
        true if txn.last.id != txn.producer.id => ProducerId { id: txn.last.id, epoch: LAST_EPOCH + 1 },
        _ => txn.producer,
    };
    let marker =
        Marker { producer_id: marked.id, epoch: marked.epoch, coordinator_epoch: COORDINATOR_EPOCH, commit };
    for (topic, index) in &txn.partitions {
        match write_marker(shared, topic, *index, marker) {
            // A newer epoch there: that producer's transaction is over in the partition.
            Err(refusal) if refusal.code == ResponseError::InvalidProducerEpoch.code() => {}
            other => other?,
        }
    }
    txn.state = if commit { State::CompleteCommit } else { State::CompleteAbort };
    let groups: Vec<String> = std::mem::take(&mut txn.groups).into_iter().collect();
    txn.partitions.clear();
    let decided =
        |group: &String| StateRecord::OffsetsDecided { group: group.clone(), producer_id: marked.id, commit };
    let mut records: Vec<StateRecord> = groups.iter().map(decided).collect();
    records.push(txn.record(id));
    shared.record(&records)?;
    shared.groups.decide(&groups, marked.id, commit);
    Ok(())
}

/// Ends a producer's transaction in one partition; a partition that is gone, or has nothing open, needs no marker.
pub(super) fn write_marker(shared: &Shared, topic: &str, index: i32, marker: Marker) -> Result<(), Refusal> {
    let Some(topic) = shared.topics.read().get(topic) else { return Ok(()) };
    let Some(partition) = topic.partition(index) else { return Ok(()) };
    let config = topic.config.read().log.clone();
    let written = partition.log.lock().append_marker(marker, &config, now_ms());
    partition.wake();
    written.map(|_| ()).map_err(|error| Refusal { code: error.code(), reason: error.to_string() })
}
