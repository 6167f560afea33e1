//! Consumed offsets as part of a transaction.

use std::collections::HashMap;

use kafka_protocol::messages::{
    ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest, txn_offset_commit_request,
};
use kafka_protocol::protocol::StrBytes;

use super::State;
use crate::client::CoordinatorKind;
use crate::client::producer::Producer;
use crate::client::producer::sequence::ProducerIdentity;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Who commits offsets: a consumer's membership in its group (KIP-447), so that one that lost its partitions can't.
#[derive(Debug, Clone, Default)]
pub struct GroupMetadata {
    /// `group.id`.
    pub group_id: String,
    /// Generation, or member epoch of the new protocol; -1 outside of a membership.
    pub generation_id: i32,
    /// Member id; empty outside of a membership.
    pub member_id: String,
    /// `group.instance.id`.
    pub group_instance_id: Option<String>,
}

impl GroupMetadata {
    /// A group without membership: the offsets are committed whoever consumes.
    #[must_use]
    pub fn without_member(group_id: &str) -> Self {
        Self { group_id: group_id.to_owned(), generation_id: -1, ..Self::default() }
    }
}

/// An offset to commit: that of the next record to consume.
#[derive(Debug, Clone)]
pub struct TransactionOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next record's offset.
    pub offset: i64,
    /// Leader epoch of the last record consumed, -1 if unknown.
    pub leader_epoch: i32,
    /// The consumer's own text.
    pub metadata: String,
}

impl Producer {
    /// Makes offsets part of the open transaction: they are committed with it or not at all.
    ///
    /// # Errors
    /// No open transaction; fenced; the group moved on without this member, after which the transaction has to be
    /// aborted.
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: &[TransactionOffset],
        group: &GroupMetadata,
    ) -> Result<()> {
        let shared = &self.shared;
        let (identity, v2) = {
            let mut transaction = shared.transaction.lock();
            match &transaction.state {
                State::Open => {}
                State::Abortable(error) | State::Fatal(error) => return Err(error.clone()),
                _ => {
                    return Err(Error::new(
                        ErrorKind::State,
                        "no transaction is open; call begin_transaction first",
                    ));
                }
            }
            if offsets.is_empty() {
                return Ok(());
            }
            transaction.started = true;
            let Some(identity) = transaction.identity else {
                return Err(Error::new(ErrorKind::State, "call init_transactions first"));
            };
            (identity, transaction.v2)
        };
        let sent = async {
            if !v2 {
                shared.add_offsets(identity, &group.group_id).await?;
            }
            self.commit_offsets(identity, v2, offsets, group).await
        };
        let sent = sent.await;
        if let Err(error) = &sent {
            shared.fail_transaction(error);
        }
        sent
    }

    async fn commit_offsets(
        &self,
        identity: ProducerIdentity,
        v2: bool,
        offsets: &[TransactionOffset],
        group: &GroupMetadata,
    ) -> Result<()> {
        let id = self.transactional_id()?;
        let mut topics: HashMap<&str, Vec<_>> = HashMap::new();
        for offset in offsets {
            topics.entry(&offset.topic).or_default().push(
                txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
                    .with_partition_index(offset.partition)
                    .with_committed_offset(offset.offset)
                    .with_committed_leader_epoch(offset.leader_epoch)
                    .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone()))),
            );
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(TopicName(StrBytes::from_string(name.to_owned())))
                .with_partitions(partitions)
        });
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(id.to_owned())))
            .with_group_id(StrBytes::from_string(group.group_id.clone()).into())
            .with_producer_id(ProducerId(identity.id))
            .with_producer_epoch(identity.epoch)
            .with_generation_id(group.generation_id)
            .with_member_id(StrBytes::from_string(group.member_id.clone()))
            .with_group_instance_id(group.group_instance_id.clone().map(StrBytes::from_string))
            .with_topics(topics.collect());
        // Membership has to be checked by the broker where there is one, which version 3 began (KIP-447).
        let least = if group.member_id.is_empty() { 0 } else { 3 };
        let versions = if v2 { 5..=5 } else { least..=4 };
        let shared = &self.shared;
        let coordinator = Some((CoordinatorKind::Group, group.group_id.as_str()));
        shared
            .retry(coordinator, "TxnOffsetCommit", |node| {
                let (request, versions) = (request.clone(), versions.clone());
                async move {
                    let answer = shared.client.send_versioned(node, request, versions, None).await?;
                    let code = answer
                        .topics
                        .iter()
                        .flat_map(|topic| &topic.partitions)
                        .find_map(|partition| ErrorCode::try_from_code(partition.error_code));
                    Ok((code, ()))
                }
            })
            .await
            .map_err(|error| error.context(format_args!("offsets of group {}", group.group_id)))
    }
}
