//! The consumer: partitions assigned by hand or by a group, fetched ahead, given out as whole batches.
//!
//! All work but heartbeats, connecting and the finding of offsets happens inside [`Consumer::poll`]; the next fetch is on the
//! wire while the caller works on the last one. What is held is bounded: one answer of at most `fetch.max.bytes` per broker.
//!
//! * Groups: the classic protocol with range, roundrobin, sticky and cooperative-sticky assignors, and the new one (KIP-848).
//! * Fetches are incremental (KIP-227), name topics by id where the broker can (KIP-516), go to a nearer replica where
//!   `client.rack` finds one (KIP-392), and notice when the log was truncated under what was read (KIP-320).

mod answer;
mod api;
mod background;
mod commit;
mod duration;
mod fetcher;
mod group;
mod locate;
mod offsets;
mod partition;
mod session;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::config::Values;
use super::{Client, ClientConfig, ClientRole, Properties};
use crate::wire::TopicPartition;
use crate::wire::records::RecordSet;
use crate::{Error, Result};
use commit::Commits;
use fetcher::Fetcher;
use group::Group;
use offsets::LiveMembership;
use settings::Settings;

pub use api::OffsetAndTimestamp;
pub use commit::CommitTicket;
pub use offsets::Committer;
pub(in crate::client) use settings::is_offset_reset;

/// A boxed future of a listener.
pub type ListenerFuture<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// An offset to commit: that of the next record to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Offset of the next record.
    pub offset: i64,
    /// Free text.
    pub metadata: String,
    /// Leader epoch of the record before it, if known: lets a later reader notice that the log was truncated (KIP-320).
    pub leader_epoch: Option<i32>,
}

impl OffsetAndMetadata {
    /// An offset without text.
    #[must_use]
    pub const fn new(offset: i64) -> Self {
        Self { offset, metadata: String::new(), leader_epoch: None }
    }
}

/// What happens to a member's partitions; called inside [`Consumer::poll`] and [`Consumer::close`], one at a time.
pub trait RebalanceListener: Send {
    /// These partitions are ours from now on; `positions` are where they go on, -1 where that is not known yet because
    /// nothing was committed and the partition's leader is away.
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
    /// Every topic whose name fits; this client looks for them now and then.
    Matching(Box<dyn Fn(&str) -> bool + Send + Sync>),
    /// Every topic whose name fits this pattern of RE2/J, matched by the broker (`group.protocol=consumer` only).
    ServerPattern(String),
}

/// The consumer; one owner, which polls it.
pub struct Consumer {
    client: Client,
    settings: Arc<Settings>,
    fetcher: Fetcher,
    group: Option<Group>,
    live: LiveMembership,
    commits: Commits,
    wakeup: Arc<Notify>,
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

/// Ends a poll that waits; from any task or thread.
#[derive(Debug, Clone)]
pub struct Wakeup(Arc<Notify>);

impl Wakeup {
    /// The poll that waits, or else the next one, returns what is there, at once.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Consumer {
    /// A consumer that has no partitions yet. Connects when it is first polled.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] names the key, its value and what is allowed.
    pub async fn new(properties: &Properties) -> Result<Self> {
        let values = Values::new(ClientRole::Consumer, properties);
        values.check_and_warn()?;
        let settings = Arc::new(Settings::read(&values)?);
        let config = ClientConfig::read(&values)?;
        let client = Client::connect(config).await?;
        let live = LiveMembership::default();
        let fetcher = Fetcher::new(client.clone(), Arc::clone(&settings), Arc::clone(&live));
        let commits = Commits::new(settings.auto_commit);
        let wakeup = Arc::default();
        let (group, held, failed) = (None, Vec::new(), None);
        Ok(Self { client, settings, fetcher, group, live, commits, wakeup, held, failed })
    }

    /// Joins `group.id` for these topics at the next poll. A subscription that is there is replaced, and the member stays.
    ///
    /// # Errors
    /// If `group.id` is not set, or the subscription is not for this `group.protocol`.
    pub fn subscribe(&mut self, subscription: Subscription) -> Result<()> {
        match &mut self.group {
            Some(group) => group.subscribe(subscription)?,
            None => {
                self.assign(&[]);
                let (client, settings) = (self.client.clone(), Arc::clone(&self.settings));
                self.group = Some(Group::new(client, settings, subscription, Arc::clone(&self.live))?);
            }
        }
        Ok(())
    }

    /// Records, at most `max.poll.records` of them, or none after `timeout`.
    ///
    /// Only the listener can make it last longer. Dropping the future loses no records; a rebalance under way goes on at the
    /// next poll.
    ///
    /// # Errors
    /// What the caller has to decide: a listener's error, no permission, a corrupt batch, no offset with
    /// `auto.offset.reset=none`, a fenced instance. Errors that pass are waited out.
    pub async fn poll(
        &mut self,
        timeout: Duration,
        listener: &mut dyn RebalanceListener,
    ) -> Result<Vec<PartitionBatch>> {
        let deadline = Instant::now() + timeout;
        loop {
            if !self.held.is_empty() {
                // The next answer comes while the caller works on this one; an error waits for the next poll.
                if let Err(error) = self.fetcher.prepare() {
                    self.failed = Some(error);
                }
                return Ok(std::mem::take(&mut self.held));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.auto_commit();
            if let Some(group) = &mut self.group {
                group.maintain(&mut self.fetcher, listener).await?;
            }
            self.fetcher.prepare()?;
            self.held = self.fetcher.take()?;
            if !self.held.is_empty() {
                continue;
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            let until = deadline.min(now + LOOK_AGAIN);
            let woken = tokio::select! {
                () = self.fetcher.answered(until) => false,
                () = group_changed(&mut self.group) => false,
                () = self.wakeup.notified() => true,
            };
            if woken {
                return Ok(Vec::new());
            }
        }
    }

    /// Gives the partitions back to the group and leaves it (static members stay), within `timeout`; what was given out is
    /// committed if `enable.auto.commit` is on.
    ///
    /// # Errors
    /// The listener's.
    pub async fn close(mut self, timeout: Duration, listener: &mut dyn RebalanceListener) -> Result<()> {
        tokio::time::timeout(timeout, self.give_back(listener, "the consumer is being closed"))
            .await
            .unwrap_or(Ok(()))
    }

    /// Leaves the group, or drops what was assigned by hand.
    ///
    /// # Errors
    /// The listener's.
    pub async fn unsubscribe(&mut self, listener: &mut dyn RebalanceListener) -> Result<()> {
        let given = self.give_back(listener, "the consumer has unsubscribed").await;
        self.group = None;
        self.assign(&[]);
        given
    }

    async fn give_back(&mut self, listener: &mut dyn RebalanceListener, reason: &'static str) -> Result<()> {
        // fetched and not given out: somebody else reads it
        for batch in std::mem::take(&mut self.held).iter().rev() {
            self.fetcher.give_back(batch);
        }
        self.fetcher.close_sessions();
        self.commits.settle().await;
        match &mut self.group {
            Some(group) => group.leave(&mut self.fetcher, listener, reason).await,
            None => {
                if self.settings.auto_commit.is_some() {
                    let offsets: Vec<_> = self.fetcher.positions().collect();
                    if let Err(error) = self.committer()?.commit(&offsets).await {
                        tracing::warn!("offsets were not committed at the end: {error}");
                    }
                }
                Ok(())
            }
        }
    }
}

async fn group_changed(group: &mut Option<Group>) {
    match group {
        Some(group) => group.changed().await,
        None => std::future::pending().await,
    }
}
