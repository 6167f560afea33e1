//! The producer: records are encoded once, at their final place in the batch of their partition, and leave in one
//! Produce request per broker with the batches of every partition that is ready.
//!
//! A caller appends with a [`SendSession`] (synchronous, no allocation per record) and learns by one [`DeliveryTicket`]
//! what became of all its records. One background task, the *sender*, owns what is on the wire; it ends with the last
//! clone of the [`Producer`].
//!
//! Cost: one copy per record, and two uncontended locks for it or, in a run, for dozens; per batch one wake-up of the sender at most, none while the
//! broker has as many requests as it may have. Memory: `buffer.memory` bounds the batches, buffers are pooled.

mod batch;
mod idle;
mod memory;
mod metrics;
mod partition;
mod sender;
mod sequence;
mod session;
mod settings;
mod shared;
mod ticket;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::client::config::Values;
use crate::client::{Client, ClientConfig, ClientRole, Properties};
use crate::{Error, ErrorKind, Result};

pub use sequence::ProducerIdentity;
pub use session::{AppendError, Appended, RecordHeader, RunRecord, SendSession, TopicHandle};
pub use ticket::{Delivered, DeliveryErrors, DeliveryTicket, MAX_LISTED_ERRORS, Written};
pub use transaction::{GroupMetadata, TransactionOffset};

use settings::Settings;
use shared::{Closing, Shared};

/// Sends records to topics. Clones share everything; the last one to go ends the producer without waiting for what is
/// not sent yet: call [`Self::flush`] or [`Self::close`] first.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// Ends the sender with the last producer.
#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close(Closing::Now);
    }
}

/// Where a single record was written.
#[derive(Debug, Clone)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset, -1 with `acks=0`.
    pub offset: i64,
}

impl Producer {
    /// A producer with Kafka's own settings. Connects when it is first used.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming key, value and what is allowed.
    pub async fn new(properties: &Properties) -> Result<Self> {
        let values = Values::new(ClientRole::Producer, properties);
        values.check_and_warn()?;
        let mut config = ClientConfig::read(&values)?;
        let settings = Settings::read(&values, config.request_timeout)?;
        if config.client_id.is_empty() {
            config.client_id = match &settings.transactional_id {
                Some(id) => format!("producer-{id}"),
                None => "producer".to_owned(),
            };
        }
        let client = Client::connect(config).await?;
        let shared = Arc::new(Shared::new(client, settings));
        tokio::spawn(sender::run(Arc::clone(&shared)));
        Ok(Self { _guard: Arc::new(Guard(Arc::clone(&shared))), shared })
    }

    /// The client below, for what isn't the producer's.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// A topic to append to; asks the cluster for it the first time and waits up to `max.block.ms`.
    ///
    /// # Errors
    /// The topic doesn't exist (and isn't created by the broker), may not be written, or no broker answers.
    pub async fn topic(&self, name: &str) -> Result<TopicHandle> {
        self.shared.topic(name).await
    }

    /// Begins a batch of records.
    #[must_use]
    pub fn session(&self) -> SendSession {
        SendSession::new(Arc::clone(&self.shared), false)
    }

    /// The same, with a ticket that tells the offsets.
    #[must_use]
    pub fn session_with_offsets(&self) -> SendSession {
        SendSession::new(Arc::clone(&self.shared), true)
    }

    /// Sends one record and waits for its acknowledgement. For many records use a session.
    ///
    /// # Errors
    /// Why the record was refused or could not be delivered.
    pub async fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<RecordMetadata> {
        let topic = self.topic(topic).await?;
        let mut session = self.session_with_offsets();
        loop {
            match session.append(&topic, partition, timestamp, key, value, headers) {
                Ok(_) => break,
                Err(AppendError::Full { .. }) => session.wait_capacity().await?,
                Err(AppendError::Failed(error)) => return Err(error),
                Err(error) => {
                    let message = format!("topic {}: {error}", topic.name());
                    return Err(Error::new(ErrorKind::Record, message).with_source(error));
                }
            }
        }
        match session.finish().await {
            Ok(delivered) => {
                let run = delivered.written.first();
                Ok(RecordMetadata {
                    topic: Arc::clone(topic.name()),
                    partition: run.map_or(-1, |run| run.partition),
                    offset: run.map_or(-1, |run| run.base_offset),
                })
            }
            Err(errors) => Err(match errors.failed.into_iter().next() {
                Some((_, error)) => error,
                None => Error::new(ErrorKind::State, "the record was not delivered"),
            }),
        }
    }

    /// Sends everything appended so far without lingering and waits until it is acknowledged or given up. Tickets tell
    /// which; `delivery.timeout.ms` bounds the wait.
    pub async fn flush(&self) {
        self.shared.flush().await;
    }

    /// Flushes for at most `timeout` and ends the producer; what is not delivered then fails. Appending fails from now
    /// on. Other clones are closed as well.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if something was left.
    pub async fn close(&self, timeout: Duration) -> Result<()> {
        self.shared.close(Closing::Gracefully);
        let (token, mut done) = mpsc::channel(1);
        self.shared.request_flush(token);
        let flushed = tokio::time::timeout(timeout, done.recv()).await;
        self.shared.close(Closing::Now);
        flushed.map(drop).map_err(|_| {
            let message =
                format!("the producer was closed with records undelivered after {} ms", timeout.as_millis());
            Error::new(ErrorKind::Timeout, message)
        })
    }

    /// Bytes of `buffer.memory` in use.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.shared.memory.used()
    }
}
