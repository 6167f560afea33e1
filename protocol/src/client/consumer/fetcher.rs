//! Fetches ahead: at most one request per broker is on its way or waits to be given out.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest};
use kafka_protocol::protocol::Encodable;
use tokio::time::Instant;

use super::PartitionBatch;
use super::offsets::{self, topic_name};
use super::settings::Settings;
use crate::client::{Answer, Client, Purpose};
use crate::wire::TopicPartition;
use crate::wire::compression::Decompressor;
use crate::wire::fetch::{FetchedPartition, TopicRef, decode_fetch_response};
use crate::wire::records::{AbortedTransactions, BatchIter, RecordError, RecordSet, batches, control_record};
use crate::{Error, ErrorCode, ErrorKind, Result};

/// Newest version that names topics; later ones want ids.
const FETCH: std::ops::RangeInclusive<i16> = 4..=12;
/// Time beyond `fetch.max.wait.ms` and `request.timeout.ms` is not given.
const RETRY: Duration = Duration::from_millis(100);

/// A partition that is ours.
struct Partition {
    name: TopicPartition,
    /// Next record to give out; -1 while it is not known.
    position: i64,
    paused: bool,
    /// Whether a request for it is on its way.
    in_flight: bool,
    /// Not before this time after an error.
    retry_at: Option<Instant>,
    end_offset: i64,
    /// An answer that is not given out yet.
    ready: Option<Ready>,
    /// Grows with every seek, so that an answer to an earlier question is not taken.
    era: u64,
}

struct Ready {
    batches: BatchIter,
    /// Whether the answer has had a whole batch.
    had_batch: bool,
    aborted: AbortedTransactions,
    /// Rest of a batch that was given out in part.
    current: RecordSet,
}

struct InFlight {
    node: i32,
    version: i16,
    answer: Answer,
    /// What `answer` has given.
    arrived: Option<Result<bytes::Bytes>>,
    deadline: Instant,
    asked: Vec<(TopicPartition, u64)>,
}

impl InFlight {
    /// Ready once the answer is there; it stays in `arrived`.
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.arrived.is_none() {
            let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(context) else { return Poll::Pending };
            self.arrived = Some(answer);
        }
        Poll::Ready(())
    }
}

pub(super) struct Fetcher {
    client: Client,
    settings: Arc<Settings>,
    partitions: Vec<Partition>,
    in_flight: Vec<InFlight>,
    decompressor: Decompressor,
    /// Whose turn it is to be given out first.
    turn: usize,
}

impl Fetcher {
    pub(super) fn new(client: Client, settings: Arc<Settings>) -> Self {
        Self {
            client,
            settings,
            partitions: Vec::new(),
            in_flight: Vec::new(),
            decompressor: Decompressor::default(),
            turn: 0,
        }
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.partitions.iter().map(|partition| partition.name.clone()).collect()
    }

    pub(super) fn replace(&mut self, partitions: &[(TopicPartition, i64)]) {
        self.partitions.clear();
        self.add(partitions);
    }

    pub(super) fn add(&mut self, partitions: &[(TopicPartition, i64)]) {
        let new = |(name, position): &(TopicPartition, i64)| Partition {
            name: name.clone(),
            position: *position,
            paused: false,
            in_flight: false,
            retry_at: None,
            end_offset: -1,
            ready: None,
            era: fastrand::u64(..),
        };
        self.partitions.extend(partitions.iter().map(new));
    }

    pub(super) fn remove(&mut self, names: &[TopicPartition]) {
        self.partitions.retain(|partition| !names.contains(&partition.name));
    }

    fn find(&self, name: &TopicPartition) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == *name)
    }

    pub(super) fn position(&self, name: &TopicPartition) -> Option<i64> {
        self.find(name).map(|partition| partition.position).filter(|position| *position >= 0)
    }

    pub(super) fn lag(&self, name: &TopicPartition) -> Option<i64> {
        let partition =
            self.find(name).filter(|partition| partition.position >= 0 && partition.end_offset >= 0)?;
        Some((partition.end_offset - partition.position).max(0))
    }

    pub(super) fn seek(&mut self, name: &TopicPartition, offset: i64) -> bool {
        let Some(partition) = self.partitions.iter_mut().find(|partition| partition.name == *name) else {
            return false;
        };
        partition.position = offset;
        partition.ready = None;
        partition.era = partition.era.wrapping_add(1);
        partition.in_flight = false;
        true
    }

    pub(super) fn set_paused(&mut self, names: &[TopicPartition], paused: bool) {
        for partition in &mut self.partitions {
            if names.contains(&partition.name) {
                partition.paused = paused;
            }
        }
    }

    /// Takes answers that are there, finds missing positions, and asks every broker that has nothing to do.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        self.receive()?;
        self.find_positions().await?;
        let metadata = self.client.metadata();
        let now = Instant::now();
        let mut wanted: HashMap<i32, Vec<usize>> = HashMap::new();
        for (index, partition) in self.partitions.iter().enumerate() {
            let waits = partition.retry_at.is_some_and(|at| at > now);
            if partition.paused
                || partition.in_flight
                || partition.ready.is_some()
                || partition.position < 0
                || waits
            {
                continue;
            }
            match metadata
                .partition(&partition.name.topic, partition.name.partition)
                .filter(|found| found.leader >= 0)
            {
                Some(found) => wanted.entry(found.leader).or_default().push(index),
                None => {
                    self.client.watch_topic(&partition.name.topic);
                    self.client.request_metadata_update();
                }
            }
        }
        for (node, indices) in wanted {
            if self.in_flight.iter().all(|request| request.node != node) {
                self.ask(node, &indices).await;
            }
        }
        Ok(())
    }

    async fn find_positions(&mut self) -> Result<()> {
        let now = Instant::now();
        let missing =
            |partition: &Partition| partition.position < 0 && partition.retry_at.is_none_or(|at| at <= now);
        if !self.partitions.iter().any(missing) {
            return Ok(());
        }
        let names: Vec<TopicPartition> =
            self.partitions.iter().filter(|p| missing(p)).map(|p| p.name.clone()).collect();
        for name in names {
            let found = offsets::reset(&self.client, &self.settings, &name).await;
            let Some(partition) = self.partitions.iter_mut().find(|partition| partition.name == name) else {
                continue;
            };
            match found {
                Ok(offset) => partition.position = offset,
                Err(error) if error.is_retriable() => {
                    tracing::debug!("no offset of {name} yet: {error}");
                    partition.retry_at = Some(now + RETRY);
                    self.client.request_metadata_update();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn ask(&mut self, node: i32, indices: &[usize]) {
        if let Err(error) = self.send(node, indices).await {
            tracing::debug!("broker {node} cannot be fetched from: {error}");
            self.client.request_metadata_update();
            for index in indices {
                self.partitions[*index].retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    async fn send(&mut self, node: i32, indices: &[usize]) -> Result<()> {
        let version = self.client.api_version(node, ApiKey::Fetch, FETCH).await?;
        self.client.ready(node, Purpose::Fetch).await?;
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut asked = Vec::with_capacity(indices.len());
        for index in indices {
            let partition = &self.partitions[*index];
            asked.push((partition.name.clone(), partition.era));
            let entry = FetchPartition::default()
                .with_partition(partition.name.partition)
                .with_current_leader_epoch(-1)
                .with_last_fetched_epoch(-1)
                .with_log_start_offset(-1)
                .with_fetch_offset(partition.position)
                .with_partition_max_bytes(self.settings.partition_fetch_bytes);
            match topics.iter_mut().find(|topic| *topic.topic.0 == *partition.name.topic) {
                Some(topic) => topic.partitions.push(entry),
                None => topics.push(
                    FetchTopic::default()
                        .with_topic(topic_name(&partition.name.topic))
                        .with_partitions(vec![entry]),
                ),
            }
        }
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(self.settings.fetch_max_wait.as_millis() as i32)
            .with_min_bytes(self.settings.fetch_min_bytes)
            .with_max_bytes(self.settings.fetch_max_bytes)
            .with_isolation_level(i8::from(self.settings.read_committed))
            .with_session_epoch(-1)
            .with_topics(topics);
        let mut body = BytesMut::new();
        request.encode(&mut body, version).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("a Fetch request cannot be written in version {version}: {error}"),
            )
        })?;
        let answer = self.client.enqueue_raw(
            node,
            Purpose::Fetch,
            ApiKey::Fetch,
            version,
            vec![body.freeze()],
            true,
        )?;
        let deadline = Instant::now() + self.client.config().request_timeout + self.settings.fetch_max_wait;
        for index in indices {
            self.partitions[*index].in_flight = true;
        }
        self.in_flight.push(InFlight { node, version, answer, arrived: None, deadline, asked });
        Ok(())
    }

    /// Takes the answers that have come, without waiting.
    fn receive(&mut self) -> Result<()> {
        let mut nobody = Context::from_waker(Waker::noop());
        let mut index = 0;
        while index < self.in_flight.len() {
            let request = &mut self.in_flight[index];
            let answer = match request.poll_arrival(&mut nobody) {
                Poll::Ready(()) => Err(Error::new(ErrorKind::Closed, "an answer was taken twice")),
                Poll::Pending if Instant::now() < request.deadline => {
                    index += 1;
                    continue;
                }
                Poll::Pending => {
                    self.client.disconnect(request.node, Purpose::Fetch);
                    Err(Error::new(
                        ErrorKind::Timeout,
                        format!("broker {} did not answer a fetch", request.node),
                    ))
                }
            };
            let mut request = self.in_flight.swap_remove(index);
            let answer = request.arrived.take().unwrap_or(answer);
            self.take_answer(&request, answer)?;
        }
        Ok(())
    }

    fn take_answer(&mut self, request: &InFlight, answer: Result<bytes::Bytes>) -> Result<()> {
        for (name, era) in &request.asked {
            if let Some(partition) = self.partitions.iter_mut().find(|p| p.name == *name && p.era == *era) {
                partition.in_flight = false;
            }
        }
        let decoded = answer.and_then(|frame| {
            let decoded = decode_fetch_response(request.version, frame).map_err(|error| {
                let message = format!("the answer of broker {} to Fetch is malformed", request.node);
                Error::new(ErrorKind::Protocol, message).with_source(error)
            })?;
            offsets::check(decoded.error_code, || format!("a fetch from broker {}", request.node))?;
            Ok(decoded)
        });
        match decoded {
            Ok(decoded) => {
                decoded.partitions.into_iter().try_for_each(|fetched| self.take_partition(request, fetched))
            }
            Err(error) if error.kind() == ErrorKind::Protocol => Err(error),
            Err(error) => {
                tracing::debug!("{error}");
                self.client.request_metadata_update();
                for (name, _) in &request.asked {
                    if let Some(partition) =
                        self.partitions.iter_mut().find(|partition| partition.name == *name)
                    {
                        partition.retry_at = Some(Instant::now() + RETRY);
                    }
                }
                Ok(())
            }
        }
    }

    fn take_partition(&mut self, request: &InFlight, fetched: FetchedPartition) -> Result<()> {
        let TopicRef::Name(topic) = &fetched.topic else { return Ok(()) };
        let asked = request
            .asked
            .iter()
            .find(|(name, _)| name.partition == fetched.partition && *name.topic == **topic);
        let Some((name, era)) = asked else { return Ok(()) };
        let Some(partition) = self.partitions.iter_mut().find(|p| p.name == *name && p.era == *era) else {
            return Ok(());
        };
        partition.retry_at = None;
        let Some(code) = ErrorCode::try_from_code(fetched.error_code) else {
            partition.end_offset = if self.settings.read_committed {
                fetched.last_stable_offset
            } else {
                fetched.high_watermark
            };
            if !fetched.records.is_empty() {
                partition.ready = Some(Ready {
                    batches: batches(fetched.records),
                    had_batch: false,
                    aborted: AbortedTransactions::new(fetched.aborted),
                    current: RecordSet::empty(),
                });
            }
            return Ok(());
        };
        match code {
            ErrorCode::OffsetOutOfRange => {
                tracing::warn!(
                    "{name}: offset {} is out of range, it is reset by auto.offset.reset",
                    partition.position
                );
                partition.position = -1;
                Ok(())
            }
            ErrorCode::TopicAuthorizationFailed | ErrorCode::CorruptMessage => {
                Err(Error::broker(code, format_args!("fetching {name} at offset {}", partition.position)))
            }
            _ => {
                tracing::debug!("fetching {name}: {code}");
                self.client.request_metadata_update();
                partition.retry_at = Some(Instant::now() + RETRY);
                Ok(())
            }
        }
    }

    /// Returns when an answer may have come, or at `until`.
    pub(super) async fn answered(&mut self, until: Instant) {
        let retry = self.partitions.iter().filter_map(|partition| partition.retry_at).min();
        let until = retry.map_or(until, |at| until.min(at.max(Instant::now() + RETRY)));
        let in_flight = &mut self.in_flight;
        let any = std::future::poll_fn(|context| {
            // all are asked, so that each knows whom to wake
            let arrived = in_flight
                .iter_mut()
                .fold(0, |arrived, request| arrived + usize::from(request.poll_arrival(context).is_ready()));
            if arrived > 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout_at(until, any).await;
    }

    /// Gives out what is there, at most `max.poll.records` records, partitions in turn.
    pub(super) fn take(&mut self) -> Result<Vec<PartitionBatch>> {
        let mut taken = Vec::new();
        let mut room = self.settings.max_poll_records;
        let count = self.partitions.len();
        let mut turns: VecDeque<usize> = (0..count).map(|step| (self.turn + step) % count).collect();
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        while let Some(index) = turns.pop_front().filter(|_| room > 0) {
            let partition = &mut self.partitions[index];
            if partition.paused {
                continue;
            }
            while room > 0 {
                let records = match next_records(partition, &self.settings, &mut self.decompressor, room) {
                    Ok(Some(records)) => records,
                    Ok(None) => break,
                    Err(error) => {
                        // The position stays before what cannot be read: it is fetched and refused again, never
                        // skipped. What was read before it goes out first.
                        partition.ready = None;
                        if taken.is_empty() {
                            return Err(error);
                        }
                        break;
                    }
                };
                room -= records.len();
                taken.push(PartitionBatch {
                    topic: Arc::clone(&partition.name.topic),
                    partition: partition.name.partition,
                    records,
                    next_offset: partition.position,
                });
            }
        }
        Ok(taken)
    }
}

/// The next records of an answer, at most `room`; the position goes on behind them. None when the answer is used up.
fn next_records(
    partition: &mut Partition,
    settings: &Settings,
    decompressor: &mut Decompressor,
    room: usize,
) -> Result<Option<RecordSet>> {
    let Some(ready) = &mut partition.ready else { return Ok(None) };
    let name = &partition.name;
    let corrupt = |error: RecordError| {
        let message = format!("{name}: a malformed batch; the partition cannot be read beyond it");
        Error::new(ErrorKind::Record, message).with_source(error)
    };
    while ready.current.is_empty() {
        let Some(batch) = ready.batches.next() else {
            let left = ready.batches.remainder();
            if !ready.had_batch {
                // A broker always sends the first batch whole: its length is wrong, and asking again would not end.
                ready.batches.finish().map_err(corrupt)?;
            }
            partition.ready = None;
            tracing::trace!("{name}: {left} bytes of a partial batch are fetched again");
            return Ok(None);
        };
        let batch = batch.map_err(corrupt)?;
        ready.had_batch = true;
        if batch.header.next_offset() <= partition.position {
            continue;
        }
        if settings.check_crcs {
            batch.verify_crc().map_err(corrupt)?;
        }
        let mut records = batch.records(decompressor).map_err(corrupt)?;
        let control = batch.header.attributes.is_control();
        let kind = records
            .get(0)
            .filter(|_| control)
            .and_then(|record| control_record(&record))
            .map(|record| record.kind);
        let hidden = ready.aborted.hides(&batch.header, kind);
        records.advance_to(partition.position);
        if control || (hidden && settings.read_committed) || records.is_empty() {
            partition.position = batch.header.next_offset();
            continue;
        }
        ready.current = records;
    }
    let header = *ready.current.header();
    let records = match ready.current.len() <= room {
        true => std::mem::take(&mut ready.current),
        false => ready.current.split_to(room),
    };
    let last = records.get(records.len() - 1).map_or(partition.position, |record| record.offset() + 1);
    // offsets that compaction has taken out of the end of a batch are passed as well
    partition.position = if ready.current.is_empty() { header.next_offset() } else { last };
    Ok(Some(records))
}
