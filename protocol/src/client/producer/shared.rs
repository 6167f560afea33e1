//! What the producer's handles, its sessions and its sender share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::batch::FlushToken;
use super::idle::Usage;
use super::memory::BufferMemory;
use super::metrics::ProducerMetrics;
use super::partition::Partition;
use super::session::{AppendError, Topic, TopicHandle};
use super::settings::Settings;
use super::transaction::Transaction;
use crate::client::Client;
use crate::wire::records::BatchOptions;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Topics from which on those are forgotten that nobody holds and that can be.
const MAX_TOPICS: usize = 100_000;

/// How long a topic without metadata is waited for in silence, and how often that is said then.
const FIRST_WARNING: Duration = Duration::from_secs(3);
const NEXT_WARNING: Duration = Duration::from_secs(30);

/// How the producer is being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Closing {
    No,
    /// No more records; what is there is sent.
    Gracefully,
    /// What is there fails.
    Now,
}

/// Whether records may be appended; looked at for each record.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicU8,
    changed: Notify,
}

impl Gate {
    fn new(open: bool) -> Self {
        Self { open: AtomicU8::new(u8::from(open)), changed: Notify::new() }
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 1
    }

    pub(super) fn set(&self, open: bool) {
        self.open.store(u8::from(open), Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until nothing may be appended.
    pub(super) async fn closed(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.is_open() {
                return;
            }
            changed.await;
        }
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) memory: BufferMemory,
    pub(super) metrics: ProducerMetrics,
    pub(super) gate: Gate,
    /// Wakes the sender.
    pub(super) wake: Notify,
    /// Partitions that the sender has to learn of.
    pub(super) listed: Mutex<Vec<Arc<Partition>>>,
    pub(super) topics: Mutex<HashMap<Arc<str>, Arc<Topic>>>,
    pub(super) transaction: Mutex<Transaction>,
    /// Held while partitions are added to a transaction or it is ended, so that neither overtakes the other.
    pub(super) changing: tokio::sync::Mutex<()>,
    flushes: Mutex<Vec<FlushToken>>,
    closing: AtomicU8,
}

impl Shared {
    pub(super) fn new(client: Client, settings: Settings) -> Self {
        let options = BatchOptions {
            compression: settings.compression,
            level: settings.level,
            batch_size: settings.batch_size,
            max_record_size: settings.max_request_size,
        };
        Self {
            metrics: ProducerMetrics::new(&client.config().client_id),
            client,
            memory: BufferMemory::new(settings.buffer_memory, options),
            gate: Gate::new(settings.transactional_id.is_none()),
            wake: Notify::new(),
            listed: Mutex::default(),
            topics: Mutex::default(),
            transaction: Mutex::new(Transaction::new(settings.transactional_id.is_some())),
            changing: tokio::sync::Mutex::default(),
            flushes: Mutex::default(),
            closing: AtomicU8::new(Closing::No as u8),
            settings,
        }
    }

    pub(super) fn closing(&self) -> Closing {
        match self.closing.load(Ordering::Acquire) {
            0 => Closing::No,
            1 => Closing::Gracefully,
            _ => Closing::Now,
        }
    }

    pub(super) fn close(&self, how: Closing) {
        self.closing.fetch_max(how as u8, Ordering::AcqRel);
        self.gate.set(false);
        self.wake.notify_one();
    }

    /// Why nothing may be appended.
    pub(super) fn refusal(&self) -> AppendError {
        if self.closing() != Closing::No {
            return AppendError::Failed(Error::new(ErrorKind::Closed, "the producer is closed"));
        }
        self.transaction.lock().refusal()
    }

    /// Has `token` dropped when all batches of now are done.
    pub(super) fn request_flush(&self, token: FlushToken) {
        self.flushes.lock().push(token);
        self.wake.notify_one();
    }

    pub(super) fn take_flushes(&self) -> Vec<FlushToken> {
        std::mem::take(&mut *self.flushes.lock())
    }

    pub(super) async fn flush(&self) {
        let (token, mut done) = mpsc::channel(1);
        self.request_flush(token);
        // Nobody sends: the channel ends when the last batch has dropped its token.
        let _ = done.recv().await;
    }

    /// A topic's handle, waiting up to `max.block.ms` for its metadata.
    pub(super) async fn topic(&self, name: &str) -> Result<TopicHandle> {
        let known = self.topics.lock().get(name).cloned();
        if let Some(topic) = known
            && topic.state.lock().usage != Usage::Forgotten
        {
            return Ok(TopicHandle { topic });
        }
        let limit = self.settings.max_block;
        let give_up = |last: Option<&Error>| {
            let because = last.map(|error| format!(": {error}")).unwrap_or_default();
            let message = format!(
                "topic {name} is not in the metadata after max.block.ms = {}{because}",
                limit.as_millis()
            );
            Error::new(ErrorKind::Timeout, message)
        };
        let deadline = Instant::now().checked_add(limit);
        let mut last = None;
        let mut warn_at = Instant::now() + FIRST_WARNING;
        loop {
            let names = [name];
            let asked = self.client.topic_metadata(&names);
            let answer = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, asked).await,
                None => Ok(asked.await),
            };
            let error = match answer {
                Err(_) => return Err(give_up(last.as_ref())),
                Ok(Err(error)) => error,
                Ok(Ok(metadata)) => match metadata.topics.get(name) {
                    Some(topic) if topic.error.is_none() && !topic.partitions.is_empty() => {
                        return Ok(self.remember(name, metadata.version, topic));
                    }
                    other => {
                        let code =
                            other.and_then(|topic| topic.error).unwrap_or(ErrorCode::UnknownTopicOrPartition);
                        Error::broker(code, format_args!("topic {name}"))
                    }
                },
            };
            if !error.is_retriable() || self.closing() != Closing::No {
                return Err(error);
            }
            let pause = self.client.config().retry_backoff.0;
            if deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
                return Err(give_up(Some(&error)).with_source(error));
            }
            // Connect waits for ever by default: it has to be seen for what
            if Instant::now() >= warn_at {
                tracing::warn!(
                    topic = name,
                    "still waiting for metadata, as max.block.ms allows: {error}; if the topic does not exist, create it"
                );
                warn_at = Instant::now() + NEXT_WARNING;
            }
            last = Some(error);
            tokio::time::sleep(pause).await;
        }
    }

    fn remember(&self, name: &str, version: u64, metadata: &crate::client::TopicMetadata) -> TopicHandle {
        if self.topics.lock().len() >= MAX_TOPICS {
            self.drop_dispensable(|_| true);
        }
        self.client.watch_topic(name); // also where it was in the metadata already
        let mut topics = self.topics.lock();
        let topic = topics
            .entry(Arc::from(name))
            .or_insert_with(|| Arc::new(Topic::new(name, self.settings.batch_size)));
        topic.update(version, metadata);
        topic.state.lock().usage = Usage::Used;
        TopicHandle { topic: Arc::clone(topic) }
    }
}
