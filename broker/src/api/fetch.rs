//! Fetch: long poll over many partitions.
//!
//! No fetch sessions: every answer carries session id 0, which tells a client (KIP-227) to send whole requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::fetch_frame::{PartitionAnswer, TopicAnswer, encode};
use crate::dispatch::Context;
use crate::log::LEADER_EPOCH;
use crate::topics::Partition;

/// First version with topic ids instead of names.
const TOPIC_IDS: i16 = 13;

/// First version with an error code for the whole response.
const TOP_LEVEL_ERROR: i16 = 7;

/// Most bytes one response carries, whatever was asked for (`fetch.max.bytes` of the broker).
const MAX_BYTES: usize = 55 << 20;

/// Longest wait a client can ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// One partition of the request, found.
struct Target {
    partition: Arc<Partition>,
    index: i32,
    offset: i64,
    leader_epoch: i32,
    max_bytes: usize,
    committed: bool,
}

/// One topic of the request: its partitions, or the code to give for each.
struct Wanted {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<Result<Target, (i32, i16)>>,
}

/// Fetch; gives the response's body in pieces.
pub(crate) async fn fetch(c: &Context<'_>, request: FetchRequest) -> Vec<Bytes> {
    if request.session_id != 0 && c.version >= TOP_LEVEL_ERROR {
        return encode(c.version, ResponseError::FetchSessionIdNotFound.code(), Vec::new());
    }
    let wanted = resolve(c, &request);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    wait_for_bytes(&wanted, min_bytes, Instant::now() + wait).await;
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    encode(c.version, 0, read(wanted, max_bytes))
}

fn resolve(c: &Context<'_>, request: &FetchRequest) -> Vec<Wanted> {
    let committed = request.isolation_level == 1;
    let topics = c.shared.topics.read();
    let one = |asked: &kafka_protocol::messages::fetch_request::FetchTopic| {
        let by_id = c.version >= TOPIC_IDS;
        let (topic, code) = if by_id {
            (topics.get_by_id(&asked.topic_id), ResponseError::UnknownTopicId)
        } else {
            (topics.get(&asked.topic), ResponseError::UnknownTopicOrPartition)
        };
        let target = |p: &FetchPartition| {
            let Some(topic) = &topic else { return Err((p.partition, code.code())) };
            let Some(partition) = topic.partition(p.partition) else {
                return Err((p.partition, ResponseError::UnknownTopicOrPartition.code()));
            };
            Ok(Target {
                partition,
                index: p.partition,
                offset: p.fetch_offset,
                leader_epoch: p.current_leader_epoch,
                max_bytes: usize::try_from(p.partition_max_bytes).unwrap_or(0),
                committed,
            })
        };
        Wanted {
            name: asked.topic.0.clone(),
            id: asked.topic_id,
            partitions: asked.partitions.iter().map(target).collect(),
        }
    };
    request.topics.iter().map(one).collect()
}

impl Target {
    /// The code of what makes this fetch fail, if anything.
    fn error(&self, start: i64, end: i64) -> Option<i16> {
        if self.leader_epoch > LEADER_EPOCH {
            Some(ResponseError::UnknownLeaderEpoch.code())
        } else if self.offset < start || self.offset > end {
            Some(ResponseError::OffsetOutOfRange.code())
        } else {
            None
        }
    }

    /// Bytes there are, up to `enough`; `None` when there is an error to tell at once.
    fn available(&self, enough: usize) -> Option<usize> {
        let log = self.partition.log.lock();
        if self.error(log.start_offset(), log.end_offset()).is_some() {
            return None;
        }
        let limit = if self.committed { log.last_stable_offset() } else { log.end_offset() };
        Some(log.available(self.offset, limit, enough.min(self.max_bytes)))
    }
}

/// Returns when there are enough bytes, an error to tell, or no time left.
async fn wait_for_bytes(wanted: &[Wanted], min_bytes: usize, deadline: Instant) {
    let waiter = Arc::new(Notify::new());
    loop {
        // Registered before looking, so that nothing that comes between is missed.
        for target in wanted.iter().flat_map(|w| w.partitions.iter().flatten()) {
            target.partition.register(&waiter);
        }
        let mut bytes = 0;
        for partition in wanted.iter().flat_map(|w| &w.partitions) {
            let available = partition.as_ref().ok().and_then(|t| t.available(min_bytes - bytes));
            let Some(available) = available else { return };
            bytes += available;
            if bytes >= min_bytes {
                return;
            }
        }
        if timeout_at(deadline, waiter.notified()).await.is_err() {
            return;
        }
    }
}

fn read(wanted: Vec<Wanted>, max_bytes: usize) -> Vec<TopicAnswer> {
    let mut budget = max_bytes;
    let mut empty = true;
    let mut answers = Vec::with_capacity(wanted.len());
    for topic in wanted {
        let one = |target: Result<Target, (i32, i16)>| match target {
            Err((index, code)) => PartitionAnswer::error(index, code),
            Ok(target) => {
                let answer = read_partition(&target, budget, empty);
                let bytes: usize = answer.records.iter().map(Bytes::len).sum();
                budget = budget.saturating_sub(bytes);
                empty &= bytes == 0;
                answer
            }
        };
        let partitions = topic.partitions.into_iter().map(one).collect();
        answers.push(TopicAnswer { name: topic.name, id: topic.id, partitions });
    }
    answers
}

fn read_partition(target: &Target, budget: usize, at_least_one: bool) -> PartitionAnswer {
    let log = target.partition.log.lock();
    let (start, end, stable) = (log.start_offset(), log.end_offset(), log.last_stable_offset());
    if let Some(code) = target.error(start, end) {
        let mut answer = PartitionAnswer::error(target.index, code);
        answer.high_watermark = end;
        answer.log_start = start;
        return answer;
    }
    let limit = if target.committed { stable } else { end };
    let plan = log.read(target.offset, limit, target.max_bytes.min(budget), at_least_one);
    let aborted =
        (target.committed && plan.bytes > 0).then(|| log.producers().aborted_in(target.offset, limit));
    drop(log);
    // Files are read without the lock.
    let records: std::io::Result<Vec<Bytes>> = plan.pieces.into_iter().map(crate::log::Piece::load).collect();
    match records {
        Ok(records) => PartitionAnswer {
            index: target.index,
            code: 0,
            high_watermark: end,
            last_stable: stable,
            log_start: start,
            aborted: if target.committed { Some(aborted.unwrap_or_default()) } else { None },
            records,
        },
        Err(error) => {
            tracing::error!(partition = target.index, %error, "a log cannot be read");
            PartitionAnswer::error(target.index, ResponseError::KafkaStorageError.code())
        }
    }
}
