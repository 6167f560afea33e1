//! What a broker's answer to a fetch means for the partitions it was asked for.

use bytes::Bytes;
use tokio::time::Instant;

use super::fetcher::{Fetcher, InFlight, RETRY};
use super::partition::{Find, Partition, Place, Position, Ready};
use super::settings::Reset;
use crate::client::messages::check;
use crate::wire::TopicPartition;
use crate::wire::fetch::{EpochEndOffset, FetchResponse, FetchedPartition, decode_fetch_response};
use crate::{Error, ErrorCode, ErrorKind, Result};

impl Fetcher {
    pub(super) fn take_answer(&mut self, request: &InFlight, answer: Result<Bytes>) -> Result<()> {
        let decoded = answer.and_then(|frame| {
            decode_fetch_response(request.version, frame).map_err(|error| {
                let message = format!("the answer of broker {} to Fetch is malformed", request.node);
                Error::new(ErrorKind::Protocol, message).with_source(error)
            })
        });
        let broker = self.brokers.entry(request.node).or_default();
        broker.busy = false;
        let outcome = match decoded {
            Ok(decoded) => {
                let code = ErrorCode::try_from_code(decoded.error_code);
                broker.session.answered(code, decoded.session_id);
                if let Ok(throttled @ 1..) = u64::try_from(decoded.throttle_time_ms) {
                    broker.not_before = Some(Instant::now() + std::time::Duration::from_millis(throttled));
                }
                check(decoded.error_code, || format!("a fetch from broker {}", request.node))
                    .map(|()| decoded)
            }
            Err(error) => {
                broker.session.failed();
                Err(error)
            }
        };
        match outcome {
            Ok(decoded) => {
                let outcome = self.take_partitions(request, decoded);
                self.release(request, None);
                outcome
            }
            Err(error) => {
                let malformed = error.kind() == ErrorKind::Protocol;
                let session = matches!(
                    error.code(),
                    Some(ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch)
                );
                // a lost session is begun anew at once
                self.release(request, (!session).then(|| Instant::now() + RETRY));
                if malformed {
                    return Err(error);
                }
                tracing::debug!("{error}");
                if !session {
                    self.client.request_metadata_update();
                    self.forget_replica(request.node);
                }
                Ok(())
            }
        }
    }

    /// The request is answered: its partitions may be asked for again, at once or later.
    fn release(&mut self, request: &InFlight, retry_at: Option<Instant>) {
        for name in &request.asked {
            if let Some(partition) =
                self.partitions.get_mut(name).filter(|of| of.asked == Some(request.serial))
            {
                partition.asked = None;
                if retry_at.is_some() {
                    partition.retry_at = retry_at;
                }
            }
        }
    }

    fn take_partitions(&mut self, request: &InFlight, decoded: FetchResponse) -> Result<()> {
        let mut outcome = Ok(());
        let mut leaders = Vec::new();
        for fetched in decoded.partitions {
            let topic = self.brokers.get(&request.node).and_then(|of| of.session.topic(&fetched.topic));
            let Some(topic) = topic else { continue };
            let name = TopicPartition::new(std::sync::Arc::clone(topic), fetched.partition);
            if let Some(leader) = fetched.current_leader {
                leaders.push((name.clone(), leader));
            }
            outcome = outcome.and(self.take_partition(request, &name, fetched));
        }
        if !leaders.is_empty() {
            self.client.learn_leaders(&leaders, &decoded.node_endpoints);
        }
        outcome
    }

    fn take_partition(
        &mut self,
        request: &InFlight,
        name: &TopicPartition,
        fetched: FetchedPartition,
    ) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(name).filter(|of| of.asked == Some(request.serial))
        else {
            return Ok(());
        };
        let Place::At(position) = partition.place else { return Ok(()) };
        partition.retry_at = None;
        if let Some(code) = ErrorCode::try_from_code(fetched.error_code) {
            return self.take_error(request, name, position, code);
        }
        if fetched.preferred_read_replica >= 0 {
            let until = Instant::now() + self.client.config().metadata_max_age;
            partition.replica = Some((fetched.preferred_read_replica, until));
            tracing::debug!("{name}: fetched from replica {}", fetched.preferred_read_replica);
        }
        if let Some(end) = fetched.diverging_epoch {
            return truncated(name, partition, position, end, self.settings.reset);
        }
        let end =
            if self.settings.read_committed { fetched.last_stable_offset } else { fetched.high_watermark };
        if end >= 0 {
            partition.end_offset = end;
        }
        if !fetched.records.is_empty() {
            partition.ready = Some(Ready::new(fetched));
        }
        Ok(())
    }

    fn take_error(
        &mut self,
        request: &InFlight,
        name: &TopicPartition,
        position: Position,
        code: ErrorCode,
    ) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(name) else { return Ok(()) };
        let from_replica = partition.replica.take().is_some_and(|(node, _)| node == request.node);
        match code {
            // a replica may lag behind: the leader knows
            ErrorCode::OffsetOutOfRange if from_replica => Ok(()),
            ErrorCode::OffsetOutOfRange if self.settings.reset == Reset::None => {
                let message = format!(
                    "{name}: there is no offset {} (any more) and auto.offset.reset=none; seek to one that exists, or set earliest, latest or by_duration",
                    position.offset
                );
                Err(Error::broker(code, message))
            }
            ErrorCode::OffsetOutOfRange => {
                tracing::warn!(
                    "{name}: offset {} is out of range, it is reset by auto.offset.reset",
                    position.offset
                );
                partition.move_to(Place::Unknown(Find::Reset));
                Ok(())
            }
            ErrorCode::CorruptMessage => {
                Err(Error::broker(code, format_args!("fetching {name} at offset {}", position.offset)))
            }
            code if code.is_retriable() || code == ErrorCode::UnknownServerError => {
                tracing::debug!("fetching {name}: {code}");
                self.client.request_metadata_update();
                partition.retry_at = Some(Instant::now() + RETRY);
                Ok(())
            }
            code => Err(Error::broker(code, format_args!("fetching {name} at offset {}", position.offset))),
        }
    }
}

/// The log has parted from what was read (KIP-320): what comes after `end` was lost with an unclean election.
fn truncated(
    name: &TopicPartition,
    partition: &mut Partition,
    position: Position,
    end: EpochEndOffset,
    reset: Reset,
) -> Result<()> {
    let message = format!(
        "{name}: the log was truncated: offset {} of leader epoch {} was read, but epoch {} ends at {} now",
        position.offset, position.epoch, end.epoch, end.end_offset
    );
    if reset == Reset::None {
        let remedy = "auto.offset.reset=none: seek to where reading is to go on";
        return Err(Error::new(ErrorKind::State, format!("{message}; {remedy}")));
    }
    tracing::warn!("{message}; reading goes on there");
    let offset = end.end_offset.clamp(0, position.offset);
    partition.move_to(Place::At(Position { offset, epoch: end.epoch }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_log_is_read_from_where_it_parted_or_is_an_error() {
        let name = TopicPartition::new("t", 0);
        let at = Position { offset: 100, epoch: 5 };
        let end = EpochEndOffset { epoch: 4, end_offset: 80 };
        let mut partition = Partition::new(Place::At(at));
        let error = truncated(&name, &mut partition, at, end, Reset::None).unwrap_err();
        assert!(error.to_string().contains("t-0") && error.to_string().contains("80"), "{error}");
        assert_eq!(partition.position(), Some(at));
        truncated(&name, &mut partition, at, end, Reset::Latest).unwrap();
        assert_eq!(partition.position(), Some(Position { offset: 80, epoch: 4 }));
    }
}
