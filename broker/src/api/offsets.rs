//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use aqueduct_protocol::wire::compression::{DEFAULT_DECOMPRESSED_LIMIT, Decompressor};
use aqueduct_protocol::wire::records::batches;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use crate::dispatch::Context;
use crate::log::{LEADER_EPOCH, Piece};
use crate::state::now_ms;
use crate::topics::Topic;

/// Special timestamps of ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// First version whose answer has a leader epoch.
const EPOCHS: i16 = 4;

/// An offset and its timestamp, -1 and -1 when there is none.
type Found = (i64, i64);

/// ListOffsets.
pub(crate) fn list_offsets(c: &Context<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = request.isolation_level == 1;
    let topics = request
        .topics
        .into_iter()
        .map(|asked| {
            let topic = c.shared.topics.read().get(&asked.name);
            let one = |p: &ListOffsetsPartition| {
                let response =
                    ListOffsetsPartitionResponse::default().with_partition_index(p.partition_index);
                match find(topic.as_deref(), p, committed) {
                    Ok((offset, timestamp)) => {
                        response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(
                            if offset >= 0 && c.version >= EPOCHS { LEADER_EPOCH } else { -1 },
                        )
                    }
                    Err(error) => response.with_error_code(error.code()).with_offset(-1).with_timestamp(-1),
                }
            };
            ListOffsetsTopicResponse::default()
                .with_partitions(asked.partitions.iter().map(one).collect())
                .with_name(asked.name)
        })
        .collect();
    ListOffsetsResponse::default().with_topics(topics)
}

fn find(
    topic: Option<&Topic>,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<Found, ResponseError> {
    let partition = topic
        .and_then(|t| t.partition(asked.partition_index))
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    if asked.current_leader_epoch > LEADER_EPOCH {
        return Err(ResponseError::UnknownLeaderEpoch);
    }
    let log = partition.log.lock();
    let limit = if committed { log.last_stable_offset() } else { log.end_offset() };
    let start = log.start_offset();
    match asked.timestamp {
        LATEST => Ok((limit, -1)),
        EARLIEST | EARLIEST_LOCAL => Ok((start, -1)),
        LATEST_TIERED => Ok((-1, -1)),
        MAX_TIMESTAMP => {
            let best = log.batch_of_max_timestamp();
            drop(log);
            best.map_or(Ok((-1, -1)), |(timestamp, piece)| first_at(piece, timestamp, start))
        }
        timestamp if timestamp >= 0 => {
            let batch = log.batch_at_time(timestamp, limit);
            drop(log);
            batch.map_or(Ok((-1, -1)), |piece| first_at(piece, timestamp, start))
        }
        _ => Err(ResponseError::InvalidRequest),
    }
}

/// The first record of the batch that is not older than `timestamp`.
fn first_at(piece: Piece, timestamp: i64, start: i64) -> Result<Found, ResponseError> {
    let bytes = piece.load().map_err(|_| ResponseError::KafkaStorageError)?;
    let Some(Ok(batch)) = batches(bytes).next() else { return Err(ResponseError::KafkaStorageError) };
    let records = batch
        .records(&mut Decompressor::new(DEFAULT_DECOMPRESSED_LIMIT))
        .map_err(|_| ResponseError::CorruptMessage)?;
    let found = records.iter().find(|r| r.timestamp() >= timestamp && r.offset() >= start);
    Ok(found.map_or((-1, -1), |r| (r.offset(), r.timestamp())))
}

/// OffsetForLeaderEpoch: there is one epoch, which reaches to the end of the log.
pub(crate) fn offset_for_leader_epoch(
    c: &Context<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = c.shared.topics.read().get(&asked.topic);
        let one = |p: &OffsetForLeaderPartition| {
            let answer = EpochEndOffset::default().with_partition(p.partition);
            let Some(partition) = topic.as_ref().and_then(|t| t.partition(p.partition)) else {
                return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            if p.current_leader_epoch > LEADER_EPOCH {
                return answer.with_error_code(ResponseError::UnknownLeaderEpoch.code());
            }
            if p.leader_epoch != LEADER_EPOCH {
                return answer;
            }
            answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(partition.log.lock().end_offset())
        };
        OffsetForLeaderTopicResult::default()
            .with_partitions(asked.partitions.iter().map(one).collect())
            .with_topic(asked.topic)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// DeleteRecords: moves the start of logs.
pub(crate) fn delete_records(c: &Context<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = c.shared.topics.read().get(&asked.name);
        let one = |p: &kafka_protocol::messages::delete_records_request::DeleteRecordsPartition| {
            let result = DeleteRecordsPartitionResult::default().with_partition_index(p.partition_index);
            match delete_before(c, topic.as_deref(), p.partition_index, p.offset) {
                Ok(low) => result.with_low_watermark(low),
                Err(code) => result.with_error_code(code).with_low_watermark(-1),
            }
        };
        DeleteRecordsTopicResult::default()
            .with_partitions(asked.partitions.iter().map(one).collect())
            .with_name(asked.name)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete_before(c: &Context<'_>, topic: Option<&Topic>, index: i32, offset: i64) -> Result<i64, i16> {
    let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition.code())?;
    let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition.code())?;
    if !topic.config.read().log.delete {
        return Err(ResponseError::PolicyViolation.code());
    }
    let (start, end) = {
        let log = partition.log.lock();
        (log.start_offset(), log.end_offset())
    };
    let to = if offset == -1 { end } else { offset };
    if to < 0 || to > end {
        return Err(ResponseError::OffsetOutOfRange.code());
    }
    if to > start {
        // Noted first, and without the log's lock: a cut that is repeated after a crash is better than one forgotten.
        c.shared.record_log_start(&topic.name, index, to).map_err(|refusal| refusal.code)?;
    }
    let mut log = partition.log.lock();
    log.delete_before(to, now_ms()).map_err(|_| ResponseError::KafkaStorageError.code())
}
