//! The transaction coordinator (KIP-98; KIP-890's second protocol with an epoch bump at every end).
//!
//! One process holds the coordinator and all partitions, so a transaction ends in one step: state written, markers
//! appended, offsets decided. A step that was interrupted by a crash is finished at the next start.

pub(crate) mod admin;
pub(crate) mod api;
mod end;

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::ResponseError;
use parking_lot::Mutex;

use crate::journal::{StateRecord, TxnRecord};
use crate::state::{Refusal, Shared, now_ms};

/// Producer ids noted in the journal ahead of use, so that most allocations write nothing.
const ID_BLOCK: i64 = 1000;

/// The last epoch a producer may have; then it gets a new id. The one above is left for fencing.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// Where a transactional id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
        }
    }

    const ALL: [State; 6] = [
        State::Empty,
        State::Ongoing,
        State::PrepareCommit,
        State::PrepareAbort,
        State::CompleteCommit,
        State::CompleteAbort,
    ];

    fn number(self) -> i8 {
        Self::ALL.iter().position(|s| *s == self).map_or(0, |n| n as i8)
    }

    fn from_number(number: i8) -> State {
        usize::try_from(number).ok().and_then(|n| Self::ALL.get(n)).copied().unwrap_or(State::Empty)
    }
}

/// A producer as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// A transactional id.
#[derive(Debug, Clone)]
pub(crate) struct Txn {
    pub(crate) producer: ProducerId,
    /// The producer before the last bump, whose repeated request gets the same answer.
    pub(super) last: ProducerId,
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    pub(crate) start_ms: i64,
    /// Whether the transaction uses the second protocol.
    pub(super) v2: bool,
    pub(crate) partitions: BTreeSet<(String, i32)>,
    pub(super) groups: BTreeSet<String>,
}

const NO_PRODUCER: ProducerId = ProducerId { id: -1, epoch: -1 };

impl Txn {
    fn record(&self, transactional_id: &str) -> StateRecord {
        StateRecord::Transaction(TxnRecord {
            transactional_id: transactional_id.to_owned(),
            producer_id: self.producer.id,
            epoch: self.producer.epoch,
            last_producer_id: self.last.id,
            last_epoch: self.last.epoch,
            timeout_ms: self.timeout_ms,
            state: self.state.number(),
            start_ms: self.start_ms,
            v2: self.v2,
            partitions: self.partitions.iter().cloned().collect(),
            groups: self.groups.iter().cloned().collect(),
        })
    }

    /// Begins a transaction, if none is open.
    fn begin(&mut self, v2: bool) {
        if self.state != State::Ongoing {
            self.state = State::Ongoing;
            self.start_ms = now_ms();
            self.v2 = v2;
            self.partitions.clear();
            self.groups.clear();
        }
    }

    fn timed_out(&self, now: i64) -> bool {
        self.state == State::Ongoing && now.saturating_sub(self.start_ms) > i64::from(self.timeout_ms)
    }
}

/// All transactional ids, and the source of producer ids.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    next_id: i64,
    /// Ids below are noted in the journal.
    reserved: i64,
    pub(super) ids: HashMap<String, Txn>,
}

impl Inner {
    /// A producer id that nobody had.
    fn new_producer(&mut self, shared: &Shared) -> Result<ProducerId, Refusal> {
        if self.next_id >= self.reserved {
            shared.record(&[StateRecord::ProducerIds { next: self.next_id + ID_BLOCK }])?;
            self.reserved = self.next_id + ID_BLOCK;
        }
        let id = self.next_id;
        self.next_id += 1;
        Ok(ProducerId { id, epoch: 0 })
    }

    /// The producer that follows `current`: the next epoch, or a new id after the last.
    fn next_producer(&mut self, shared: &Shared, current: ProducerId) -> Result<ProducerId, Refusal> {
        if current.epoch >= LAST_EPOCH {
            return self.new_producer(shared);
        }
        Ok(ProducerId { id: current.id, epoch: current.epoch + 1 })
    }

    /// The transactional id, if this producer is its current one.
    fn current(&mut self, id: &str, producer: ProducerId) -> Result<&mut Txn, Refusal> {
        let unknown = || {
            let reason = format!("producer id {} does not belong to transactional id {id}", producer.id);
            Refusal::new(ResponseError::InvalidProducerIdMapping, reason)
        };
        let txn = self.ids.get_mut(id).ok_or_else(unknown)?;
        if txn.producer.id != producer.id {
            return Err(unknown());
        }
        if txn.producer.epoch != producer.epoch {
            let reason = format!(
                "epoch {} of transactional id {id} was superseded by {}",
                producer.epoch, txn.producer.epoch
            );
            return Err(Refusal::new(ResponseError::ProducerFenced, reason));
        }
        if matches!(txn.state, State::PrepareCommit | State::PrepareAbort) {
            let reason = format!("the transaction of {id} is being completed");
            return Err(Refusal::new(ResponseError::ConcurrentTransactions, reason));
        }
        Ok(txn)
    }
}

impl Transactions {
    /// InitProducerId without a transactional id.
    pub(crate) fn idempotent_producer(&self, shared: &Shared) -> Result<ProducerId, Refusal> {
        self.inner.lock().new_producer(shared)
    }

    /// InitProducerId of a transactional id. `expected` is what the client has, when it recovers from an error.
    pub(crate) fn init_producer(
        &self,
        shared: &Shared,
        id: &str,
        timeout_ms: i32,
        expected: Option<ProducerId>,
    ) -> Result<ProducerId, Refusal> {
        let mut inner = self.inner.lock();
        let Some(txn) = inner.ids.get(id).cloned() else {
            let producer = inner.new_producer(shared)?;
            let txn = Txn {
                producer,
                last: NO_PRODUCER,
                timeout_ms,
                state: State::Empty,
                start_ms: -1,
                v2: false,
                partitions: BTreeSet::new(),
                groups: BTreeSet::new(),
            };
            shared.record(&[txn.record(id)])?;
            inner.ids.insert(id.to_owned(), txn);
            return Ok(producer);
        };
        if let Some(expected) = expected {
            if expected == txn.last {
                return Ok(txn.producer);
            }
            if expected != txn.producer {
                let reason = format!("a newer producer has the transactional id {id}");
                return Err(Refusal::new(ResponseError::ProducerFenced, reason));
            }
        }
        match txn.state {
            State::Ongoing => end::fence(&mut inner, shared, id)?,
            State::PrepareCommit | State::PrepareAbort => end::finish(&mut inner, shared, id)?,
            _ => {}
        }
        let current = inner.ids.get(id).map_or(txn.producer, |t| t.producer);
        let producer = inner.next_producer(shared, current)?;
        let last = expected.unwrap_or(NO_PRODUCER);
        let Some(txn) = inner.ids.get_mut(id) else { return Err(lost(id)) };
        txn.producer = producer;
        txn.last = last;
        txn.timeout_ms = timeout_ms;
        txn.state = State::Empty;
        txn.start_ms = -1;
        shared.record(&[txn.record(id)])?;
        Ok(producer)
    }

    /// Adds partitions to the producer's transaction, beginning it if need be.
    pub(crate) fn add_partitions(
        &self,
        shared: &Shared,
        id: &str,
        producer: ProducerId,
        partitions: &[(String, i32)],
    ) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let txn = inner.current(id, producer)?;
        txn.begin(false);
        let before = txn.partitions.len();
        txn.partitions.extend(partitions.iter().cloned());
        if txn.partitions.len() == before { Ok(()) } else { shared.record(&[txn.record(id)]) }
    }

    /// Adds a group's offsets to the producer's transaction. `v2` begins it; before, it must be there (`implicit`).
    pub(crate) fn add_group(
        &self,
        shared: &Shared,
        id: &str,
        producer: ProducerId,
        group: &str,
        v2: bool,
    ) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let txn = inner.current(id, producer)?;
        txn.begin(v2);
        if txn.groups.insert(group.to_owned()) { shared.record(&[txn.record(id)]) } else { Ok(()) }
    }

    /// Whether the group is part of the producer's open transaction.
    pub(crate) fn check_group(&self, id: &str, producer: ProducerId, group: &str) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let txn = inner.current(id, producer)?;
        if txn.state == State::Ongoing && txn.groups.contains(group) {
            return Ok(());
        }
        let reason = format!("group {group} was not added to the transaction of {id}");
        Err(Refusal::new(ResponseError::InvalidTxnState, reason))
    }

    /// Appends a transactional batch. The coordinator's lock is held meanwhile, so that no transaction ends between the
    /// check and the append. `implicit` (the second protocol) adds the partition; otherwise it must have been added.
    pub(crate) fn append<T>(
        &self,
        shared: &Shared,
        id: &str,
        producer: ProducerId,
        partition: (&str, i32),
        implicit: bool,
        append: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut inner = self.inner.lock();
        let txn = inner.current(id, producer).map_err(|mut refusal| {
            if refusal.code == ResponseError::ProducerFenced.code() {
                // Producers learn of their fencing by this code.
                refusal.code = ResponseError::InvalidProducerEpoch.code();
            }
            refusal
        })?;
        let place = (partition.0.to_owned(), partition.1);
        if implicit {
            txn.begin(true);
            if txn.partitions.insert(place) {
                shared.record(&[txn.record(id)])?;
            }
        } else if txn.state != State::Ongoing || !txn.partitions.contains(&place) {
            let reason =
                format!("partition {}-{} was not added to the transaction of {id}", place.0, place.1);
            return Err(Refusal::new(ResponseError::InvalidTxnState, reason));
        }
        append()
    }

    /// Aborts transactions that took too long, and finishes those whose markers could not be written.
    pub(crate) fn tick(&self, shared: &Shared) {
        let now = now_ms();
        let mut inner = self.inner.lock();
        let due: Vec<(String, bool)> = inner
            .ids
            .iter()
            .filter(|(_, t)| {
                t.timed_out(now) || matches!(t.state, State::PrepareCommit | State::PrepareAbort)
            })
            .map(|(id, t)| (id.clone(), t.state == State::Ongoing))
            .collect();
        for (id, ongoing) in due {
            let done = if ongoing {
                tracing::info!(transactional_id = id, "transaction timed out, aborting it");
                end::fence(&mut inner, shared, &id)
            } else {
                end::finish(&mut inner, shared, &id)
            };
            if let Err(refusal) = done {
                tracing::error!(
                    transactional_id = id,
                    reason = refusal.reason,
                    "a transaction could not be ended"
                );
            }
        }
    }

    /// Applies a record of the journal.
    pub(crate) fn replay(&self, record: StateRecord) {
        let mut inner = self.inner.lock();
        match record {
            StateRecord::ProducerIds { next } => {
                inner.next_id = inner.next_id.max(next);
                inner.reserved = inner.next_id;
            }
            StateRecord::Transaction(t) => {
                let txn = Txn {
                    producer: ProducerId { id: t.producer_id, epoch: t.epoch },
                    last: ProducerId { id: t.last_producer_id, epoch: t.last_epoch },
                    timeout_ms: t.timeout_ms,
                    state: State::from_number(t.state),
                    start_ms: t.start_ms,
                    v2: t.v2,
                    partitions: t.partitions.into_iter().collect(),
                    groups: t.groups.into_iter().collect(),
                };
                inner.ids.insert(t.transactional_id, txn);
            }
            _ => {}
        }
    }

    /// Works on the records that make this state; nothing changes meanwhile.
    pub(crate) fn with_records<T>(&self, work: impl FnOnce(Vec<StateRecord>) -> T) -> T {
        let inner = self.inner.lock();
        let ids = StateRecord::ProducerIds { next: inner.next_id.max(inner.reserved) };
        work(std::iter::once(ids).chain(inner.ids.iter().map(|(id, txn)| txn.record(id))).collect())
    }
}

fn lost(id: &str) -> Refusal {
    Refusal::new(ResponseError::UnknownServerError, format!("transactional id {id} vanished"))
}
