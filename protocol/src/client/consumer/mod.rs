//! The consumer: partitions assigned by hand or by a group (classic protocol), fetched ahead, given out as whole batches.
//!
//! All work but heartbeats happens inside [`Consumer::poll`]; the next fetch is on the wire while the caller works on the
//! last one. What is held is bounded: one answer of at most `fetch.max.bytes` per broker.

mod fetcher;
mod group;
mod offsets;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Client, ClientConfig, Properties};
use crate::wire::TopicPartition;
use crate::wire::records::RecordSet;
use crate::{Error, ErrorKind, Result};
use fetcher::Fetcher;
use group::Group;
use settings::Settings;

pub use offsets::Committer;

/// A boxed future of a listener.
pub type ListenerFuture<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// An offset to commit: that of the next record to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Offset of the next record.
    pub offset: i64,
    /// Free text.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// An offset without text.
    #[must_use]
    pub const fn new(offset: i64) -> Self {
        Self { offset, metadata: String::new() }
    }
}

/// What happens to a member's partitions; called inside [`Consumer::poll`] and [`Consumer::close`], one at a time.
pub trait RebalanceListener: Send {
    /// These partitions are ours from now on; `positions` are where they go on.
    fn assigned<'a>(&'a mut self, positions: &'a [(TopicPartition, i64)]) -> ListenerFuture<'a>;
    /// These partitions are about to go: the last time to commit for them.
    fn revoked<'a>(
        &'a mut self,
        partitions: &'a [TopicPartition],
        committer: &'a Committer,
    ) -> ListenerFuture<'a>;
    /// These partitions are somebody else's already: too late to commit.
    fn lost<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> ListenerFuture<'a>;
}

/// A listener that does nothing.
#[derive(Debug, Default)]
pub struct NoListener;

impl RebalanceListener for NoListener {
    fn assigned<'a>(&'a mut self, _: &'a [(TopicPartition, i64)]) -> ListenerFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn revoked<'a>(&'a mut self, _: &'a [TopicPartition], _: &'a Committer) -> ListenerFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn lost<'a>(&'a mut self, _: &'a [TopicPartition]) -> ListenerFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Records of one partition: a batch of the log, or a part of one.
#[derive(Debug)]
pub struct PartitionBatch {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The records; never empty, control records and aborted ones are not among them.
    pub records: RecordSet,
    /// Where the partition goes on after these.
    pub next_offset: i64,
}

/// What to read.
pub enum Subscription {
    /// These topics.
    Topics(Vec<Arc<str>>),
    /// Every topic whose name fits.
    Matching(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

/// The consumer; one owner, which polls it.
pub struct Consumer {
    client: Client,
    settings: Arc<Settings>,
    fetcher: Fetcher,
    group: Option<Group>,
    /// Taken from the fetcher and not given out yet.
    held: Vec<PartitionBatch>,
    /// An error for the next poll.
    failed: Option<Error>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("group", &self.settings.group).finish_non_exhaustive()
    }
}

/// Longest wait inside a poll before the state of the group and of the metadata is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Consumer {
    /// A consumer that has no partitions yet. Connects when it is first polled.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] names the key, its value and what is allowed.
    pub async fn new(properties: &Properties) -> Result<Self> {
        let settings = Arc::new(Settings::from_properties(properties)?);
        let mut config = ClientConfig::from_properties(properties)?;
        // a consumer creates topics only if it is told to
        if !properties.contains_key("allow.auto.create.topics") {
            config.allow_auto_create_topics = true;
        }
        let client = Client::connect(config).await?;
        let fetcher = Fetcher::new(client.clone(), Arc::clone(&settings));
        Ok(Self { client, settings, fetcher, group: None, held: Vec::new(), failed: None })
    }

    /// Joins `group.id` for these topics at the next poll.
    ///
    /// # Errors
    /// If `group.id` is not set.
    pub fn subscribe(&mut self, subscription: Subscription) -> Result<()> {
        self.group = Some(Group::new(self.client.clone(), Arc::clone(&self.settings), subscription)?);
        Ok(())
    }

    /// Reads these partitions from these offsets, without a group's assignment; -1 for the committed offset or the reset.
    pub fn assign(&mut self, partitions: &[(TopicPartition, i64)]) {
        self.group = None;
        self.held.clear();
        self.fetcher.replace(partitions);
    }

    /// The partitions that are ours.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.fetcher.partitions()
    }

    /// Records, at most `max.poll.records` of them, or none after `timeout`.
    ///
    /// Dropping the future loses no records; a rebalance under way goes on at the next poll.
    ///
    /// # Errors
    /// What the caller has to decide: a listener's error, no permission, a corrupt batch, no offset with
    /// `auto.offset.reset=none`. Errors that pass are waited out.
    pub async fn poll(
        &mut self,
        timeout: Duration,
        listener: &mut dyn RebalanceListener,
    ) -> Result<Vec<PartitionBatch>> {
        let deadline = Instant::now() + timeout;
        loop {
            if !self.held.is_empty() {
                // The next answer comes while the caller works on this one. Positions have gone on behind what is held:
                // it stays here until it is given out, and an error waits for the next poll.
                if let Err(error) = self.fetcher.prepare().await {
                    self.failed = Some(error);
                }
                return Ok(std::mem::take(&mut self.held));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Some(group) = &mut self.group {
                group.maintain(&mut self.fetcher, listener).await?;
            }
            self.fetcher.prepare().await?;
            self.held = self.fetcher.take()?;
            if !self.held.is_empty() {
                continue;
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            let until = deadline.min(now + LOOK_AGAIN);
            match &mut self.group {
                Some(group) => tokio::select! {
                    () = self.fetcher.answered(until) => {}
                    () = group.changed() => {}
                },
                None => self.fetcher.answered(until).await,
            }
        }
    }

    /// Commits offsets, and waits for the coordinator's answer.
    ///
    /// # Errors
    /// If the group has gone on without this member, or the coordinator refuses.
    pub async fn commit(&self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        self.committer()?.commit(offsets).await
    }

    /// Commits for the membership as it is now.
    ///
    /// # Errors
    /// If `group.id` is not set.
    pub fn committer(&self) -> Result<Committer> {
        let membership = self.group.as_ref().map(Group::membership).unwrap_or_default();
        Ok(Committer::new(self.client.clone(), Arc::clone(&self.settings), membership))
    }

    /// Committed offsets, in the order asked; none where nothing was committed.
    ///
    /// # Errors
    /// If the coordinator could not be asked, or refuses.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>> {
        offsets::committed(&self.client, &self.settings, partitions).await
    }

    /// Offset of the next record that a poll gives; none while it is not known.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetcher.position(partition)
    }

    /// Goes on at this offset; records fetched ahead are dropped.
    ///
    /// # Errors
    /// If the partition is not ours.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        if self.fetcher.seek(partition, offset) {
            self.held
                .retain(|batch| batch.topic != partition.topic || batch.partition != partition.partition);
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::State,
            format!("{partition} is not assigned to this consumer: it cannot be sought"),
        ))
    }

    /// Gives no records of these partitions until they are resumed. Records fetched ahead are kept.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        self.fetcher.set_paused(partitions, true);
    }

    /// Ends a pause.
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        self.fetcher.set_paused(partitions, false);
    }

    /// Records between the position and the end of the partition, as of the last answer.
    #[must_use]
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.fetcher.lag(partition)
    }

    /// Gives the partitions back to the group (static members stay), within `timeout`.
    ///
    /// # Errors
    /// The listener's.
    pub async fn close(mut self, timeout: Duration, listener: &mut dyn RebalanceListener) -> Result<()> {
        let Some(mut group) = self.group.take() else { return Ok(()) };
        let close = group.leave(&mut self.fetcher, listener);
        tokio::time::timeout(timeout, close).await.unwrap_or(Ok(()))
    }
}
