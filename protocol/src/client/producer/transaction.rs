//! Transactions, by both protocols: version 1 (KIP-98), where partitions are added before they are written to, and
//! version 2 (KIP-890), where writing adds them and every transaction ends with a raised epoch. The cluster's finalized
//! `transaction.version` decides.

mod calls;
mod coordinator;

use super::Producer;
use super::sequence::ProducerIdentity;
use super::session::AppendError;
use crate::client::CoordinatorKind;
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
