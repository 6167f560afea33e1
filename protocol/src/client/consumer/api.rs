//! The consumer's calls beside polling: assignment by hand, offsets, positions.

use tokio::time::Instant;

use super::commit::{self, CommitTicket};
use super::offsets::{self, Committer};
use super::partition::{Find, Place, Position};
use super::{Consumer, OffsetAndMetadata, Wakeup};
use crate::client::list_offsets::{EARLIEST, LATEST, list};
use crate::client::producer::GroupMetadata;
use crate::wire::TopicPartition;
use crate::{Error, ErrorKind, Result};

/// The first record that is not older than a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, milliseconds since 1970.
    pub timestamp: i64,
    /// Its leader epoch, if known.
    pub leader_epoch: Option<i32>,
}

impl Consumer {
    /// Reads these partitions from these offsets, without a group's assignment. -1 is the committed offset if `group.id` is
    /// set and there is one, else what `auto.offset.reset` says.
    pub fn assign(&mut self, partitions: &[(TopicPartition, i64)]) {
        self.group = None;
        *self.live.lock() = offsets::Membership::default();
        self.held.clear();
        self.failed = None;
        self.fetcher.remove(&self.fetcher.names());
        let place = |(name, offset): &(TopicPartition, i64)| {
            let place = if *offset >= 0 {
                Place::At(Position::new(*offset))
            } else {
                Place::Unknown(Find::Committed)
            };
            (name.clone(), place)
        };
        self.fetcher.add(partitions.iter().map(place));
        let topics: Vec<&str> = partitions.iter().map(|(name, _)| &*name.topic).collect();
        self.client.watch_only(&topics);
    }

    /// The partitions that are ours.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.fetcher.names()
    }

    /// Commits offsets, and waits for the coordinator's answer. Commits of [`Self::commit_async`] go first.
    ///
    /// # Errors
    /// If the group has gone on without this member, a topic does not exist, or the coordinator refuses.
    pub async fn commit(&self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        commit::wait(self.commits.newest()).await;
        self.committer()?.commit(offsets).await
    }

    /// Commits offsets without waiting, after those of earlier calls.
    ///
    /// # Errors
    /// If `group.id` is not set. What becomes of the commit is told by the ticket.
    pub fn commit_async(
        &mut self,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    ) -> Result<CommitTicket> {
        let committer = self.committer()?;
        Ok(self.commits.start(committer, offsets))
    }

    /// Commits for the membership as it is now.
    ///
    /// # Errors
    /// If `group.id` is not set.
    pub fn committer(&self) -> Result<Committer> {
        self.settings.group()?;
        if let Some(group) = &self.group {
            group.refresh_membership();
        }
        Ok(Committer::new(self.client.clone(), self.settings.clone(), self.live.clone()))
    }

    /// Commits what was given out by earlier polls, if that is on and due.
    pub(super) fn auto_commit(&mut self) {
        if !self.commits.is_due() {
            return;
        }
        let offsets: Vec<_> = self.fetcher.positions().collect();
        if let Ok(committer) = self.committer().map_err(|error| tracing::warn!("{error}"))
            && !offsets.is_empty()
        {
            let ticket = self.commits.start(committer, offsets);
            tokio::spawn(async move {
                if let Err(error) = ticket.await {
                    tracing::warn!("enable.auto.commit: {error}; the next commit tries again");
                }
            });
        }
    }

    /// Committed offsets, in the order asked; none where nothing was committed.
    ///
    /// # Errors
    /// If `group.id` is not set, the coordinator could not be asked, or it refuses.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<OffsetAndMetadata>>> {
        commit::wait(self.commits.newest()).await;
        if let Some(group) = &self.group {
            group.refresh_membership();
        }
        let membership = self.live.lock().clone();
        offsets::committed(&self.client, &self.settings, &membership, partitions).await
    }

    /// Who this consumer is in its group, for offsets that a producer makes part of a transaction (KIP-447).
    ///
    /// # Errors
    /// If `group.id` is not set.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        let group_id = self.settings.group()?.to_string();
        if let Some(group) = &self.group {
            group.refresh_membership();
        }
        let membership = self.live.lock().clone();
        Ok(GroupMetadata {
            group_id,
            generation_id: membership.generation,
            member_id: membership.member.to_string(),
            group_instance_id: self.settings.instance.as_ref().map(ToString::to_string),
        })
    }

    /// Offset of the next record that a poll gives; none while it is not known.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let is_it = |batch: &&super::PartitionBatch| {
            batch.topic == partition.topic && batch.partition == partition.partition
        };
        // what is held has not been given out
        let held = self.held.iter().find(is_it).and_then(|batch| batch.records.get(0));
        let position = || self.fetcher.position(partition).map(|position| position.offset);
        held.map(|record| record.offset()).or_else(position)
    }

    /// Waits for the position of a partition that is ours, at most `timeout`. For partitions assigned by hand; those of a
    /// group come with their position.
    ///
    /// # Errors
    /// If the partition is not ours, there is no offset with `auto.offset.reset=none`, or time is over.
    pub async fn wait_for_position(
        &mut self,
        partition: &TopicPartition,
        timeout: std::time::Duration,
    ) -> Result<i64> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(position) = self.position(partition) {
                return Ok(position);
            }
            if !self.fetcher.partitions.contains_key(partition) {
                return Err(not_ours(partition));
            }
            if Instant::now() >= deadline {
                let message = format!("the position of {partition} was not found in time");
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            self.fetcher.prepare()?;
            self.fetcher.answered(deadline).await;
        }
    }

    /// Goes on at this offset; records fetched ahead are dropped.
    ///
    /// # Errors
    /// If the partition is not ours.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.move_to(partition, Place::At(Position::new(offset)))
    }

    /// Goes on at the first record of each; the offsets are found at the next poll.
    ///
    /// # Errors
    /// If one of the partitions is not ours.
    pub fn seek_to_beginning(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        partitions.iter().try_for_each(|name| self.move_to(name, Place::Unknown(Find::Beginning)))
    }

    /// Goes on behind the last record of each, with `read_committed` behind the last decided one; the offsets are found at
    /// the next poll.
    ///
    /// # Errors
    /// If one of the partitions is not ours.
    pub fn seek_to_end(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        partitions.iter().try_for_each(|name| self.move_to(name, Place::Unknown(Find::End)))
    }

    fn move_to(&mut self, partition: &TopicPartition, place: Place) -> Result<()> {
        if !self.fetcher.seek(partition, place) {
            return Err(not_ours(partition));
        }
        self.held.retain(|batch| batch.topic != partition.topic || batch.partition != partition.partition);
        Ok(())
    }

    /// Gives no records of these partitions until they are resumed. Records fetched ahead are kept.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        self.fetcher.set_paused(partitions, true);
    }

    /// Ends a pause.
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        self.fetcher.set_paused(partitions, false);
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        let paused = self.fetcher.partitions.iter().filter(|(_, partition)| partition.paused);
        paused.map(|(name, _)| name.clone()).collect()
    }

    /// Records between the position and the end of the partition (with `read_committed` its last stable offset), as of the
    /// last answer.
    #[must_use]
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetcher.lag(partition)
    }

    /// A handle that ends a waiting poll.
    #[must_use]
    pub fn wakeup(&self) -> Wakeup {
        Wakeup(self.wakeup.clone())
    }

    /// Offsets of the first records, in the order asked.
    ///
    /// # Errors
    /// If a partition does not exist, may not be read, or has no leader for `default.api.timeout.ms`.
    pub async fn beginning_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.offsets_at(partitions, EARLIEST).await
    }

    /// Offsets behind the last records (with `read_committed` the last stable offsets), in the order asked.
    ///
    /// # Errors
    /// As [`Self::beginning_offsets`].
    pub async fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>> {
        self.offsets_at(partitions, LATEST).await
    }

    async fn offsets_at(&self, partitions: &[TopicPartition], time: i64) -> Result<Vec<i64>> {
        let wanted: Vec<_> = partitions.iter().map(|name| (name.clone(), time)).collect();
        let listed = list(&self.client, self.settings.read_committed, &wanted).await?;
        Ok(listed.into_iter().map(|of| of.offset).collect())
    }

    /// The first records whose timestamps are at or after the given ones (milliseconds since 1970), in the order asked; none
    /// where there is no such record.
    ///
    /// # Errors
    /// As [`Self::beginning_offsets`]; [`ErrorKind::State`] for a negative time.
    pub async fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
    ) -> Result<Vec<Option<OffsetAndTimestamp>>> {
        if let Some((name, time)) = times.iter().find(|(_, time)| *time < 0) {
            return Err(Error::new(
                ErrorKind::State,
                format!("{name}: {time} is not a time: 0 is the least"),
            ));
        }
        let listed = list(&self.client, self.settings.read_committed, times).await?;
        let found = |of: crate::client::list_offsets::Listed| {
            let leader_epoch = Some(of.epoch).filter(|epoch| *epoch >= 0);
            (of.offset >= 0).then_some(OffsetAndTimestamp {
                offset: of.offset,
                timestamp: of.timestamp,
                leader_epoch,
            })
        };
        Ok(listed.into_iter().map(found).collect())
    }
}

fn not_ours(partition: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::State,
        format!("{partition} is not assigned to this consumer: assign it or subscribe to it"),
    )
}
