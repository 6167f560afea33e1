//! Transactions, by both protocols: version 1 (KIP-98), where partitions are added before they are written to, and
//! version 2 (KIP-890), where writing adds them and every transaction ends with a raised epoch. The cluster's finalized
//! `transaction.version` decides.

mod calls;

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest,
    InitProducerIdRequest, ProducerId, TopicName, TransactionalId, add_partitions_to_txn_request,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashMap;
use std::sync::Arc;

use super::Producer;
use super::partition::Partition;
use super::sequence::ProducerIdentity;
use super::session::AppendError;
use super::shared::Shared;
use crate::client::{CoordinatorKind, NodeTarget};
use crate::{Error, ErrorCode, ErrorKind, Result};

pub use calls::{GroupMetadata, TransactionOffset};

/// Feature whose finalized level 2 means the second protocol.
const FEATURE: &str = "transaction.version";

/// Where a producer is between its transactions.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Transactional, and `init_transactions` is still to come.
    Uninitialized,
    /// Between transactions, or not transactional.
    Ready,
    /// Records may be appended.
    Open,
    /// Being committed: what is there is sent.
    Committing,
    /// Being aborted: what isn't sent yet is dropped.
    Aborting,
    /// It can only be aborted, for this reason.
    Abortable(Error),
    /// Nothing can be done any more, for this reason.
    Fatal(Error),
}

/// Producer identity and transaction of a producer.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) transactional: bool,
    pub(super) state: State,
    /// Counts transactions; tells to which of them a partition was added.
    pub(super) number: u64,
    pub(super) identity: Option<ProducerIdentity>,
    /// Whether the second protocol is in use.
    pub(super) v2: bool,
    /// Whether the coordinator may know of the transaction, so that it has to be told of its end.
    pub(super) started: bool,
    /// Whether sequence numbers have a gap, so that the epoch must be raised before the next transaction.
    pub(super) raise_epoch: bool,
}

impl Transaction {
    pub(super) fn new(transactional: bool) -> Self {
        Self {
            transactional,
            state: if transactional { State::Uninitialized } else { State::Ready },
            number: 0,
            identity: None,
            v2: false,
            started: false,
            raise_epoch: false,
        }
    }

    /// Why no record may be appended now.
    pub(super) fn refusal(&self) -> AppendError {
        match &self.state {
            State::Abortable(error) => {
                AppendError::Failed(error.clone().context("the transaction failed and must be aborted"))
            }
            State::Fatal(error) => AppendError::Failed(error.clone()),
            _ => AppendError::NoTransaction,
        }
    }

    /// Whether batches may be sent.
    pub(super) const fn may_send(&self) -> bool {
        match self.state {
            State::Open | State::Committing => true,
            State::Ready => !self.transactional,
            _ => false,
        }
    }

    /// Why batches that are not sent yet have to be dropped, if they have.
    pub(super) fn drop_reason(&self) -> Option<Error> {
        match &self.state {
            State::Aborting => {
                Some(Error::new(ErrorKind::State, "the record was dropped: its transaction was aborted"))
            }
            State::Abortable(error) | State::Fatal(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// A batch was given up, or a call of the transaction failed.
    pub(super) fn failed(&mut self, error: &Error) {
        if is_fatal(error) {
            self.state = State::Fatal(error.clone());
        } else if self.transactional && matches!(self.state, State::Open | State::Committing) {
            self.state = State::Abortable(error.clone());
            self.raise_epoch = true;
        }
    }
}

/// Whether the producer can't go on after an error, whatever is aborted.
fn is_fatal(error: &Error) -> bool {
    use ErrorCode::{
        ClusterAuthorizationFailed, ProducerFenced, TransactionalIdAuthorizationFailed,
        UnsupportedForMessageFormat,
    };
    error.kind() == ErrorKind::UnsupportedVersion
        || matches!(
            error.code(),
            Some(
                ProducerFenced
                    | TransactionalIdAuthorizationFailed
                    | ClusterAuthorizationFailed
                    | UnsupportedForMessageFormat
            )
        )
}

/// What a coordinator says of a producer's epoch, in words.
fn fenced(id: &str, code: ErrorCode) -> Error {
    let code = if code == ErrorCode::InvalidProducerEpoch { ErrorCode::ProducerFenced } else { code };
    Error::broker(
        code,
        format_args!(
            "transactional.id {id}: a newer producer with this id has taken over, or the transaction ran longer than \
             transaction.timeout.ms; this producer can't go on"
        ),
    )
}

impl Producer {
    fn transactional_id(&self) -> Result<&str> {
        self.shared.transactional_id()
    }

    /// Claims the `transactional.id`: fences older producers that have it and waits for their transactions to end. Once,
    /// before the first transaction.
    ///
    /// # Errors
    /// No `transactional.id`, not authorized, or no coordinator within `max.block.ms`; in the last case it may be called
    /// again.
    pub async fn init_transactions(&self) -> Result<()> {
        let id = self.transactional_id()?;
        match &self.shared.transaction.lock().state {
            State::Uninitialized => {}
            State::Fatal(error) => return Err(error.clone()),
            _ => return Err(Error::new(ErrorKind::State, "init_transactions was called before")),
        }
        let identity = self.shared.init_producer_id(None).await?;
        let node = self.shared.client.coordinator(CoordinatorKind::Transaction, id).await?;
        let v2 = self.shared.client.feature_level(node, FEATURE).await? >= 2;
        let mut transaction = self.shared.transaction.lock();
        transaction.identity = Some(identity);
        transaction.v2 = v2;
        transaction.state = State::Ready;
        Ok(())
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if one is open or [`Self::init_transactions`] is to come; the error that ended the producer.
    pub fn begin_transaction(&self) -> Result<()> {
        self.transactional_id()?;
        let mut transaction = self.shared.transaction.lock();
        match &transaction.state {
            State::Ready => {}
            State::Uninitialized => {
                return Err(Error::new(ErrorKind::State, "call init_transactions before begin_transaction"));
            }
            State::Fatal(error) => return Err(error.clone()),
            State::Abortable(error) => {
                return Err(error.clone().context("the last transaction failed and must be aborted first"));
            }
            State::Open | State::Committing | State::Aborting => {
                return Err(Error::new(ErrorKind::State, "a transaction is open already"));
            }
        }
        transaction.state = State::Open;
        transaction.number += 1;
        transaction.started = false;
        drop(transaction);
        self.shared.gate.set(true);
        Ok(())
    }

    /// Sends what is left and commits. When it fails with an error that isn't fatal, the transaction has to be aborted.
    ///
    /// # Errors
    /// The first error of the transaction's records; fenced; or no answer within `max.block.ms`.
    pub async fn commit_transaction(&self) -> Result<()> {
        self.change(State::Committing)?;
        self.shared.flush().await;
        let identity = {
            let transaction = self.shared.transaction.lock();
            match &transaction.state {
                State::Abortable(error) => {
                    return Err(error.clone().context("the transaction can't be committed"));
                }
                State::Fatal(error) => return Err(error.clone()),
                _ => transaction.started.then_some(transaction.identity).flatten(),
            }
        };
        self.end(identity, true).await
    }

    /// Drops what isn't sent yet and aborts.
    ///
    /// # Errors
    /// Fenced, or no answer within `max.block.ms`, after which it may be called again.
    pub async fn abort_transaction(&self) -> Result<()> {
        self.change(State::Aborting)?;
        self.shared.flush().await;
        let identity = {
            let transaction = self.shared.transaction.lock();
            if let State::Fatal(error) = &transaction.state {
                return Err(error.clone());
            }
            transaction.started.then_some(transaction.identity).flatten()
        };
        self.end(identity, false).await
    }

    /// Begins the end of a transaction.
    fn change(&self, to: State) -> Result<()> {
        let aborting = matches!(to, State::Aborting);
        let mut transaction = self.shared.transaction.lock();
        match &transaction.state {
            State::Open => {}
            State::Abortable(_) | State::Aborting | State::Committing if aborting => {}
            State::Abortable(error) => {
                return Err(error.clone().context("the transaction can't be committed"));
            }
            State::Fatal(error) => return Err(error.clone()),
            _ => {
                return Err(Error::new(
                    ErrorKind::State,
                    "no transaction is open; call begin_transaction first",
                ));
            }
        }
        transaction.state = to;
        drop(transaction);
        self.shared.gate.set(false);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Tells the coordinator, unless it doesn't know of the transaction.
    async fn end(&self, identity: Option<ProducerIdentity>, committed: bool) -> Result<()> {
        let shared = &self.shared;
        let raised = match identity {
            Some(identity) => match shared.end_transaction(identity, committed).await {
                Ok(raised) => raised,
                Err(error) => {
                    shared.fail_transaction(&error);
                    return Err(error);
                }
            },
            None => None,
        };
        let (mut next, raise, v2) = {
            let transaction = shared.transaction.lock();
            (raised.or(transaction.identity), transaction.raise_epoch, transaction.v2)
        };
        // In the second protocol the end of a transaction has raised the epoch.
        if raise && !(v2 && raised.is_some()) {
            match shared.init_producer_id(next).await {
                Ok(identity) => next = Some(identity),
                Err(error) => {
                    shared.fail_transaction(&error);
                    return Err(error);
                }
            }
        }
        let mut transaction = shared.transaction.lock();
        transaction.identity = next;
        transaction.raise_epoch = false;
        transaction.started = false;
        transaction.state = State::Ready;
        Ok(())
    }
}

impl Shared {
    pub(super) fn transactional_id(&self) -> Result<&str> {
        self.settings.transactional_id.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::State,
                "transactions need a transactional.id in the producer's configuration",
            )
        })
    }

    /// Notes a failure in the transaction, or the end of a producer that isn't transactional.
    pub(super) fn fail_transaction(&self, error: &Error) {
        let mut transaction = self.transaction.lock();
        transaction.failed(error);
        let closed = matches!(transaction.state, State::Abortable(_) | State::Fatal(_));
        drop(transaction);
        if closed {
            self.gate.set(false);
        }
        self.wake.notify_one();
    }

    /// A producer id; with `current`, the same one with a raised epoch (KIP-360).
    pub(super) async fn init_producer_id(
        &self,
        current: Option<ProducerIdentity>,
    ) -> Result<ProducerIdentity> {
        let id = self.settings.transactional_id.as_deref();
        let request = InitProducerIdRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(StrBytes::from_string(id.to_owned()))))
            .with_transaction_timeout_ms(if id.is_some() {
                self.settings.transaction_timeout_ms
            } else {
                i32::MAX
            })
            .with_producer_id(ProducerId(current.map_or(-1, |current| current.id)))
            .with_producer_epoch(current.map_or(-1, |current| current.epoch));
        let target = id.map(|id| (CoordinatorKind::Transaction, id));
        let answer = self
            .retry(target, "InitProducerId", |node| {
                let request = request.clone();
                async move {
                    let answer = self.client.send_versioned(node, request, 0..=5, None).await?;
                    Ok((ErrorCode::try_from_code(answer.error_code), answer))
                }
            })
            .await?;
        Ok(ProducerIdentity { id: answer.producer_id.0, epoch: answer.producer_epoch })
    }

    /// Commits or aborts at the coordinator; gives the raised identity in the second protocol.
    async fn end_transaction(
        &self,
        identity: ProducerIdentity,
        committed: bool,
    ) -> Result<Option<ProducerIdentity>> {
        let id = self.transactional_id()?;
        let v2 = self.transaction.lock().v2;
        let versions = if v2 { 5..=5 } else { 0..=4 };
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(id.to_owned())))
            .with_producer_id(ProducerId(identity.id))
            .with_producer_epoch(identity.epoch)
            .with_committed(committed);
        let answer = self
            .retry(Some((CoordinatorKind::Transaction, id)), "EndTxn", |node| {
                let (request, versions) = (request.clone(), versions.clone());
                async move {
                    let answer = self.client.send_versioned(node, request, versions, None).await?;
                    Ok((ErrorCode::try_from_code(answer.error_code), answer))
                }
            })
            .await?;
        let raised = ProducerIdentity { id: answer.producer_id.0, epoch: answer.producer_epoch };
        Ok((v2 && raised.id >= 0).then_some(raised))
    }

    /// First protocol: adds partitions to the open transaction, then lets the sender have them.
    pub(super) async fn add_partitions(self: Arc<Self>, number: u64, partitions: Vec<Arc<Partition>>) {
        match self.ask_add_partitions(&partitions).await {
            Ok(()) => {
                for partition in &partitions {
                    partition.queue.lock().in_transaction = number;
                }
                self.wake.notify_one();
            }
            Err(error) => self.fail_transaction(&error),
        }
    }

    async fn ask_add_partitions(&self, partitions: &[Arc<Partition>]) -> Result<()> {
        let id = self.transactional_id()?;
        let Some(identity) = self.transaction.lock().identity else { return Ok(()) };
        let mut topics: HashMap<&Arc<str>, Vec<i32>> = HashMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().push(partition.index);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(TopicName(StrBytes::from_string(name.to_string())))
                .with_partitions(partitions)
        });
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(StrBytes::from_string(id.to_owned())))
            .with_v3_and_below_producer_id(ProducerId(identity.id))
            .with_v3_and_below_producer_epoch(identity.epoch)
            .with_v3_and_below_topics(topics.collect());
        self.retry(Some((CoordinatorKind::Transaction, id)), "AddPartitionsToTxn", |node| {
            let request = request.clone();
            async move {
                let answer = self.client.send_versioned(node, request, 0..=3, None).await?;
                Ok((first_error(&answer), ()))
            }
        })
        .await
    }

    /// First protocol: tells the coordinator that the group's offsets are part of the transaction.
    pub(super) async fn add_offsets(&self, identity: ProducerIdentity, group: &str) -> Result<()> {
        let id = self.transactional_id()?;
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(id.to_owned())))
            .with_producer_id(ProducerId(identity.id))
            .with_producer_epoch(identity.epoch)
            .with_group_id(StrBytes::from_string(group.to_owned()).into());
        self.retry(Some((CoordinatorKind::Transaction, id)), "AddOffsetsToTxn", |node| {
            let request = request.clone();
            async move {
                let answer = self.client.send_versioned(node, request, 0..=4, None).await?;
                Ok((ErrorCode::try_from_code(answer.error_code), ()))
            }
        })
        .await
    }

    /// Asks a coordinator (without one, any broker) until it answers without a retriable error, `max.block.ms` at most.
    pub(super) async fn retry<T, F: Future<Output = Result<(Option<ErrorCode>, T)>>>(
        &self,
        coordinator: Option<(CoordinatorKind, &str)>,
        what: &str,
        ask: impl Fn(NodeTarget) -> F,
    ) -> Result<T> {
        let (mut backoff, longest) = self.client.config().retry_backoff;
        let deadline = tokio::time::Instant::now().checked_add(self.settings.max_block);
        loop {
            let (error, pause) = match self.ask_once(coordinator, what, &ask).await {
                Ok(answer) => return Ok(answer),
                // The end of the last transaction is being written: soon done, and not worth a whole back-off.
                Err(error) if error.code() == Some(ErrorCode::ConcurrentTransactions) => {
                    (error, CONCURRENT_PAUSE)
                }
                Err(error) if error.is_retriable() => (error, backoff),
                Err(error) => return Err(error),
            };
            if deadline.is_some_and(|deadline| tokio::time::Instant::now() + pause > deadline) {
                let limit = self.settings.max_block.as_millis();
                return Err(
                    error.context(format_args!("{what} had no success within max.block.ms = {limit}"))
                );
            }
            if self.closing() == super::shared::Closing::Now {
                return Err(Error::new(ErrorKind::Closed, "the producer is closed"));
            }
            tokio::time::sleep(pause).await;
            backoff = (backoff * 2).min(longest);
        }
    }

    async fn ask_once<T, F: Future<Output = Result<(Option<ErrorCode>, T)>>>(
        &self,
        coordinator: Option<(CoordinatorKind, &str)>,
        what: &str,
        ask: impl Fn(NodeTarget) -> F,
    ) -> Result<T> {
        let node = match coordinator {
            Some((kind, key)) => NodeTarget::Id(self.client.coordinator(kind, key).await?),
            None => NodeTarget::Any,
        };
        let forget = || {
            if let Some((kind, key)) = coordinator {
                self.client.forget_coordinator(kind, key);
            }
        };
        let (code, answer) = match ask(node).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.kind() == ErrorKind::Network || error.kind() == ErrorKind::Timeout {
                    forget();
                }
                return Err(error);
            }
        };
        match code {
            None => Ok(answer),
            Some(code @ (ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch)) => {
                Err(fenced(self.settings.transactional_id.as_deref().unwrap_or_default(), code))
            }
            Some(code) => {
                if matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) {
                    forget();
                }
                let id =
                    self.settings.transactional_id.as_deref().map(|id| format!(" for transactional.id {id}"));
                Err(Error::broker(code, format_args!("{what}{}", id.unwrap_or_default())))
            }
        }
    }
}

/// Pause before asking again while the coordinator finishes the transaction before.
const CONCURRENT_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The first partition's error that isn't only the consequence of another partition's.
fn first_error(answer: &AddPartitionsToTxnResponse) -> Option<ErrorCode> {
    let codes = answer
        .results_by_topic_v3_and_below
        .iter()
        .flat_map(|topic| &topic.results_by_partition)
        .filter_map(|partition| ErrorCode::try_from_code(partition.partition_error_code));
    let mut consequence = None;
    for code in codes {
        if code != ErrorCode::OperationNotAttempted {
            return Some(code);
        }
        consequence = Some(code);
    }
    consequence
}
