//! A compacted topic as a log that is read whole and then followed, and written to: what the stores of a distributed
//! worker rest on.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_protocol::client::consumer::{Consumer, NoListener, PartitionBatch};
use aqueduct_protocol::client::producer::{AppendError, DeliveryTicket, Producer, TopicHandle};
use aqueduct_protocol::client::{Admin, Client, ClientConfig, Properties};
use aqueduct_protocol::wire::TopicPartition;
use aqueduct_protocol::{Error, ErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::storage_topic::StorageTopic;
use super::transactional::KeyValue;
use super::{StoreError, storage_topic};

/// Longest wait of a poll; new records end it at once.
const POLL: Duration = Duration::from_secs(1);
/// The same while somebody waits for the end of the topic.
const POLL_TO_END: Duration = Duration::from_millis(20);
/// Wait after an error of reading.
const RETRY: Duration = Duration::from_millis(500);
/// How long the end of the topic is asked for before it is an error, and the wait between.
const ENDS_LIMIT: Duration = Duration::from_secs(60);
const ENDS_RETRY: Duration = Duration::from_millis(100);
/// Callers that wait for the end of the topic; more wait in line.
const WAITING: usize = 1024;

/// A record of the topic.
pub(super) struct LogRecord<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

/// Takes in what is read.
pub(super) trait LogReader: Send + 'static {
    /// The next records of some partitions, in order for each.
    fn read(&mut self, records: &mut dyn Iterator<Item = LogRecord<'_>>);
}

type Ends = oneshot::Sender<Result<(), Error>>;

/// The log; it is followed until this is dropped.
pub(super) struct KafkaLog {
    topic: TopicHandle,
    producer: Producer,
    to_end: mpsc::Sender<Ends>,
    tail: AbortHandle,
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.tail.abort();
    }
}

impl KafkaLog {
    /// Creates the topic if it is missing, checks it, and reads it to its end.
    ///
    /// `read_committed` hides what open and aborted transactions wrote.
    pub(super) async fn open(
        topic: &StorageTopic,
        client: &Properties,
        read_committed: bool,
        reader: impl LogReader,
    ) -> Result<KafkaLog, StoreError> {
        let failed = |error: Error| topic.error("cannot be read", error);
        let mut client = client.clone();
        client.insert("allow.auto.create.topics".to_owned(), "false".to_owned());
        let config = ClientConfig::from_properties(&client).map_err(failed)?;
        let admin = Admin::new(Client::connect(config.clone()).await.map_err(failed)?);
        let count = storage_topic::prepare(topic, &admin, &config).await?;

        let mut properties = client.clone();
        properties.insert("auto.offset.reset".to_owned(), "earliest".to_owned());
        let isolation = if read_committed { "read_committed" } else { "read_uncommitted" };
        properties.insert("isolation.level".to_owned(), isolation.to_owned());
        let mut consumer = Consumer::new(&properties).await.map_err(failed)?;
        let partition = |number| TopicPartition::new(topic.name.as_str(), number);
        let partitions: Vec<TopicPartition> = (0..count).map(partition).collect();
        let positions: Vec<_> = partitions.iter().map(|partition| (partition.clone(), 0)).collect();
        consumer.assign(&positions);

        let mut properties = client;
        // of consumers only
        properties.shift_remove("allow.auto.create.topics");
        for (key, value) in [("acks", "all"), ("enable.idempotence", "true"), ("linger.ms", "0")] {
            properties.insert(key.to_owned(), value.to_owned());
        }
        let producer = Producer::new(&properties).await.map_err(failed)?;
        let handle = producer.topic(&topic.name).await.map_err(failed)?;

        let (to_end, asked) = mpsc::channel(WAITING);
        let tail = Tail {
            name: topic.name.clone(),
            consumer,
            admin,
            partitions: partitions.into(),
            committed_first: read_committed,
            reader: Box::new(reader),
            waiting: Vec::new(),
        };
        let tail = tokio::spawn(tail.run(asked)).abort_handle();
        let log = KafkaLog { topic: handle, producer, to_end, tail };
        log.read_to_end().await.map_err(failed)?;
        Ok(log)
    }

    /// Resolves when everything has been read that was in the topic when this was called.
    pub(super) async fn read_to_end(&self) -> Result<(), Error> {
        let gone =
            || Error::new(ErrorKind::Closed, format!("topic {} is not followed any more", self.topic.name()));
        let (reply, answer) = oneshot::channel();
        self.to_end.send(reply).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Writes records, and waits until all replicas in sync have them.
    pub(super) async fn append(&self, records: &[KeyValue]) -> Result<(), Error> {
        match append(&self.producer, &self.topic, records).await?.await {
            Ok(_) => Ok(()),
            Err(errors) => Err(errors.failed.into_iter().next().map_or_else(
                || Error::new(ErrorKind::State, format!("topic {}: not written", self.topic.name())),
                |(_, error)| error,
            )),
        }
    }
}

/// Hands records to a producer; the ticket tells what becomes of them.
pub(super) async fn append(
    producer: &Producer,
    topic: &TopicHandle,
    records: &[KeyValue],
) -> Result<DeliveryTicket, Error> {
    let mut session = producer.session();
    for (key, value) in records {
        loop {
            match session.append(topic, None, None, Some(key), value.as_deref(), &[]) {
                Ok(_) => break,
                Err(AppendError::Full { .. }) => session.wait_capacity().await?,
                Err(AppendError::Failed(error)) => return Err(error),
                Err(error) => {
                    let message = format!("topic {}: {error}", topic.name());
                    return Err(Error::new(ErrorKind::Record, message).with_source(error));
                }
            }
        }
    }
    Ok(session.finish())
}

/// What follows the topic.
struct Tail {
    name: String,
    consumer: Consumer,
    admin: Admin,
    partitions: Arc<[TopicPartition]>,
    /// Whether the next question for the ends leaves open transactions out: the first does, since those of a worker that was
    /// killed end only when its work is taken up again.
    committed_first: bool,
    reader: Box<dyn LogReader>,
    /// Those that wait, with how far to read for them.
    waiting: Vec<(Vec<i64>, Vec<Ends>)>,
}

/// Where the partitions end. Errors that pass, as of a topic that was just made, are waited out.
async fn ends(admin: &Admin, partitions: &[TopicPartition], committed: bool) -> Result<Vec<i64>, Error> {
    let deadline = Instant::now() + ENDS_LIMIT;
    loop {
        match admin.end_offsets(partitions, committed).await {
            Err(error) if error.is_retriable() && Instant::now() < deadline => {
                tracing::debug!("the end of a topic is not known yet: {error}");
                tokio::time::sleep(ENDS_RETRY).await;
            }
            answer => return answer,
        }
    }
}

impl Tail {
    async fn run(mut self, mut asked: mpsc::Receiver<Ends>) {
        // one question for the ends at a time: those that come meanwhile are answered by the next
        let (answers, mut found) = mpsc::channel(1);
        let (mut asking, mut queued): (Vec<Ends>, Vec<Ends>) = (Vec::new(), Vec::new());
        let mut listener = NoListener;
        loop {
            if asking.is_empty() && !queued.is_empty() {
                asking = std::mem::take(&mut queued);
                let (admin, partitions) = (self.admin.clone(), Arc::clone(&self.partitions));
                // open transactions included: what they write may be what is waited for
                let committed = std::mem::take(&mut self.committed_first);
                let answers = answers.clone();
                tokio::spawn(async move {
                    let _ = answers.send(ends(&admin, &partitions, committed).await).await;
                });
            }
            let wait = if self.waiting.is_empty() { POLL } else { POLL_TO_END };
            tokio::select! {
                biased;
                request = asked.recv() => match request {
                    Some(request) => queued.push(request),
                    None => return,
                },
                Some(ends) = found.recv() => match ends {
                    Ok(ends) => self.waiting.push((ends, std::mem::take(&mut asking))),
                    Err(error) => asking.drain(..).for_each(|request| drop(request.send(Err(error.clone())))),
                },
                batches = self.consumer.poll(wait, &mut listener) => match batches {
                    Ok(batches) => self.take(&batches),
                    Err(error) => {
                        tracing::error!(topic = self.name, "the topic cannot be read, trying again: {error}");
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
            self.answer();
        }
    }

    fn take(&mut self, batches: &[PartitionBatch]) {
        for batch in batches {
            let partition = batch.partition;
            let mut records = batch.records.iter().map(|record| LogRecord {
                partition,
                offset: record.offset(),
                key: record.key(),
                value: record.value(),
            });
            self.reader.read(&mut records);
        }
    }

    /// Answers those for whom enough was read.
    fn answer(&mut self) {
        let (consumer, partitions) = (&self.consumer, &self.partitions);
        let reached = |ends: &[i64]| {
            let mut pairs = partitions.iter().zip(ends);
            pairs.all(|(partition, end)| consumer.position(partition).unwrap_or(0) >= *end)
        };
        self.waiting.retain_mut(|(ends, replies)| {
            let done = reached(ends);
            if done {
                replies.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
            }
            !done
        });
    }
}
