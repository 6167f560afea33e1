//! What is asked of the coordinators, with retries.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest,
    InitProducerIdRequest, ProducerId, TopicName, TransactionalId, add_partitions_to_txn_request,
};
use kafka_protocol::protocol::StrBytes;

use super::State;
use crate::client::producer::partition::Partition;
use crate::client::producer::sequence::ProducerIdentity;
use crate::client::producer::shared::{Closing, Shared};
use crate::client::{CoordinatorKind, NodeTarget};
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Pause before asking again while the coordinator finishes the transaction before.
const CONCURRENT_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

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

impl Shared {
    pub(in crate::client::producer) fn transactional_id(&self) -> Result<&str> {
        self.settings.transactional_id.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::State,
                "transactions need a transactional.id in the producer's configuration",
            )
        })
    }

    /// Notes a failure in the transaction, or the end of a producer that isn't transactional.
    pub(in crate::client::producer) fn fail_transaction(&self, error: &Error) {
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
    pub(in crate::client::producer) async fn init_producer_id(
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
    pub(super) async fn end_transaction(
        &self,
        identity: ProducerIdentity,
        committed: bool,
    ) -> Result<Option<ProducerIdentity>> {
        let _changing = self.changing.lock().await;
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
    pub(in crate::client::producer) async fn add_partitions(
        self: Arc<Self>,
        number: u64,
        partitions: Vec<Arc<Partition>>,
    ) {
        let _changing = self.changing.lock().await;
        let was_started = {
            let mut transaction = self.transaction.lock();
            // It may have been aborted in the meantime; adding to it now would open it again.
            if transaction.number != number || !transaction.may_send() {
                return;
            }
            std::mem::replace(&mut transaction.started, true)
        };
        match self.ask_add_partitions(&partitions).await {
            Ok(()) => {
                for partition in &partitions {
                    partition.queue.lock().in_transaction = number;
                }
                self.wake.notify_one();
            }
            Err(error) => {
                if error.code().is_some() {
                    // Refused: the coordinator knows of no more than before.
                    self.transaction.lock().started = was_started;
                }
                self.fail_transaction(&error);
            }
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
    pub(in crate::client::producer) async fn add_offsets(
        &self,
        identity: ProducerIdentity,
        group: &str,
    ) -> Result<()> {
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
    pub(in crate::client::producer) async fn retry<T, F: Future<Output = Result<(Option<ErrorCode>, T)>>>(
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
            if self.closing() == Closing::Now {
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
