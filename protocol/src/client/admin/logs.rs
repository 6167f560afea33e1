//! The logs of partitions: where they begin and end, and what is deleted from them.

use std::collections::BTreeMap;

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use super::{Admin, unanswered};
use crate::Result;
use crate::client::NodeTarget;
use crate::client::list_offsets::{self, EARLIEST, LATEST, Listed};
use crate::client::messages::{check, topic_name};
use crate::wire::TopicPartition;

const DELETE_RECORDS: std::ops::RangeInclusive<i16> = 0..=2;
/// The record with the latest time (KIP-734).
const MAX_TIMESTAMP: i64 = -3;

/// Which offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Of the first record that is there.
    Earliest,
    /// After the last record.
    Latest,
    /// Of the record with the latest time.
    MaxTimestamp,
    /// Of the first record that is not older, in milliseconds since 1970.
    Timestamp(i64),
}

impl OffsetSpec {
    const fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            Self::MaxTimestamp => MAX_TIMESTAMP,
            Self::Timestamp(at) => at,
        }
    }
}

/// An offset that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset, -1 if there is no such record.
    pub offset: i64,
    /// The record's time, -1 for the begin and end of a log.
    pub timestamp: i64,
    /// Its leader epoch, -1 if not known.
    pub leader_epoch: i32,
}

impl From<Listed> for ListedOffset {
    fn from(of: Listed) -> Self {
        Self { offset: of.offset, timestamp: of.timestamp, leader_epoch: of.epoch }
    }
}

impl Admin {
    /// The offset after the last record of each partition, in their order: with `read_committed` that before the first
    /// open transaction. One request per leader.
    ///
    /// # Errors
    /// If a partition has no leader, or its leader does not answer; a retriable error may pass.
    pub async fn end_offsets(&self, partitions: &[TopicPartition], read_committed: bool) -> Result<Vec<i64>> {
        for partition in partitions {
            self.client.leader(&partition.topic, partition.partition).await?;
        }
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), LATEST)).collect();
        let found = list_offsets::list_once(&self.client, read_committed, &wanted).await?;
        found.into_iter().map(|found| found.map(|listed| listed.offset)).collect()
    }

    /// Offsets of partitions, in their order; what may pass is tried again within `default.api.timeout.ms`.
    ///
    /// # Errors
    /// The first partition that does not exist, or could not be asked.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        read_committed: bool,
    ) -> Result<Vec<ListedOffset>> {
        let wanted: Vec<_> = wanted.iter().map(|(name, spec)| (name.clone(), spec.timestamp())).collect();
        let found = list_offsets::list(&self.client, read_committed, &wanted).await?;
        Ok(found.into_iter().map(ListedOffset::from).collect())
    }

    /// Deletes the records before these offsets (-1: all that are there), and gives where each log begins then, in their order.
    ///
    /// # Errors
    /// The first partition whose records could not be deleted; those before it in the list are deleted then.
    pub async fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>> {
        let mut by_leader: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, (name, _)) in before.iter().enumerate() {
            let leader = self.client.leader(&name.topic, name.partition).await?;
            by_leader.entry(leader).or_default().push(place);
        }
        let mut begins = vec![None; before.len()];
        let timeout = self.client.config().request_timeout;
        for (leader, places) in by_leader {
            let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
            for (name, offset) in places.iter().map(|place| &before[*place]) {
                let partition = DeleteRecordsPartition::default().with_partition_index(name.partition);
                topics.entry(&name.topic).or_default().push(partition.with_offset(*offset));
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
            });
            let request = DeleteRecordsRequest::default()
                .with_topics(topics.collect())
                .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
            let answer =
                self.client.send_versioned(NodeTarget::Id(leader), request, DELETE_RECORDS, None).await?;
            for place in places {
                let name = &before[place].0;
                let what = || format!("deleting records of {name}");
                let topic = answer.topics.iter().find(|topic| *topic.name.0 == *name.topic);
                let found = topic.and_then(|topic| {
                    topic.partitions.iter().find(|found| found.partition_index == name.partition)
                });
                let found = found.ok_or_else(|| unanswered(format_args!("{}", what())))?;
                if let Err(error) = check(found.error_code, what) {
                    self.client.request_metadata_update();
                    return Err(error);
                }
                begins[place] = Some(found.low_watermark);
            }
        }
        Ok(begins.into_iter().map(|begin| begin.unwrap_or(-1)).collect())
    }
}
