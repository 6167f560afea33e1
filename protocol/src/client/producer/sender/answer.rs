//! Settling answers: acknowledged, sent again, split, or given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ApiKey, ProduceResponse};

use super::super::batch::Batch;
use super::super::partition::Partition;
use super::super::sequence::Verdict;
use super::{Request, Sender, Sent, backoff};
use crate::guard::decode_response;
use crate::wire::TopicPartition;
use crate::wire::fetch::{LeaderAndEpoch, NodeEndpoint};
use crate::{Error, ErrorCode, ErrorKind, Result};

/// What a broker says of one batch.
struct Outcome {
    code: Option<ErrorCode>,
    message: Option<String>,
    base_offset: i64,
    log_start: i64,
}

impl Sender {
    /// The oldest request of a broker has its answer.
    pub(super) fn answered(&mut self, node: i32, answer: Result<Bytes>) {
        let Some(broker) = self.brokers.get_mut(&node) else { return };
        let Some(mut request) = broker.requests.pop_front() else { return };
        let sent = request.batches.iter().flatten().map(|sent| sent.batch.record_count() as usize).sum();
        let left = request.deadline.saturating_duration_since(Instant::now());
        self.shared.metrics.answered(sent, self.shared.client.config().request_timeout.saturating_sub(left));
        let decoded = answer.and_then(|bytes| decode(node, &request, bytes));
        match decoded {
            Ok(response) => {
                let throttle = response.as_ref().map_or(0, |response| response.throttle_time_ms);
                if let Ok(throttle @ 1..) = u64::try_from(throttle) {
                    broker.not_before = Some(Instant::now() + Duration::from_millis(throttle));
                }
                self.settle(&mut request, response);
                let error = Error::new(
                    ErrorKind::Protocol,
                    format!("broker {node} left a partition out of its answer"),
                );
                self.unanswered(request, &error);
            }
            Err(error) => {
                tracing::warn!(broker = node, %error, "produce request failed");
                // The connection is gone or of no use; what was behind this request fails the same way.
                broker.version = None;
                broker.last_error = Some(error.clone());
                self.shared.client.request_metadata_update();
                self.unanswered(request, &error);
            }
        }
    }

    fn settle(&mut self, request: &mut Request, response: Option<ProduceResponse>) {
        let Some(response) = response else {
            for sent in request.batches.iter_mut().filter_map(Option::take) {
                self.acknowledged(sent, -1);
            }
            return;
        };
        let mut leaders = Vec::new();
        for topic in response.responses {
            let found = request.topics.iter().find(|sent| {
                if topic.name.is_empty() {
                    sent.id == topic.topic_id
                } else {
                    *sent.name == *topic.name.as_str()
                }
            });
            let Some((name, start, end)) = found.map(|sent| (&sent.name, sent.start, sent.end)) else {
                continue;
            };
            for partition in topic.partition_responses {
                let leader = &partition.current_leader;
                if leader.leader_id.0 >= 0 {
                    let (leader_id, leader_epoch) = (leader.leader_id.0, leader.leader_epoch);
                    let place = TopicPartition::new(Arc::clone(name), partition.index);
                    leaders.push((place, LeaderAndEpoch { leader_id, leader_epoch }));
                }
                let range = &mut request.batches[start..end];
                let at = range.binary_search_by_key(&partition.index, |sent| {
                    // Taken ones are looked for a second time only by a broker that answers twice.
                    sent.as_ref().map_or(i32::MIN, |sent| sent.partition.index)
                });
                let at = at.ok().or_else(|| {
                    range.iter().position(|sent| {
                        sent.as_ref().is_some_and(|sent| sent.partition.index == partition.index)
                    })
                });
                if let Some(sent) = at.and_then(|at| range[at].take()) {
                    self.outcome(sent, outcome(partition));
                }
            }
        }
        // a broker that leads no more knows who does (KIP-951)
        if !leaders.is_empty() {
            let endpoints = response.node_endpoints.into_iter().map(|node| NodeEndpoint {
                node_id: node.node_id.0,
                host: node.host,
                port: node.port,
                rack: node.rack,
            });
            self.shared.client.learn_leaders(&leaders, &endpoints.collect::<Vec<_>>());
            self.shared.wake.notify_one();
        }
    }

    fn outcome(&mut self, sent: Sent, outcome: Outcome) {
        let Some(code) = outcome.code else { return self.acknowledged(sent, outcome.base_offset) };
        let Sent { partition, batch } = sent;
        partition.queue.lock().on_wire -= 1;
        if code == ErrorCode::MessageTooLarge && batch.record_count() > 1 {
            return self.split(&partition, batch);
        }
        let error = refused(code, outcome.message.as_deref(), &partition, &batch);
        let verdict = self.judge(&partition, &batch, code, outcome.log_start);
        match verdict {
            Verdict::Duplicate => {
                partition.queue.lock().on_wire += 1;
                self.acknowledged(Sent { partition, batch }, -1);
            }
            Verdict::Fail => self.give_up(&partition, batch, &error),
            Verdict::Retry | Verdict::Restart => {
                if error.needs_metadata_refresh() {
                    self.shared.client.request_metadata_update();
                }
                self.again(partition, batch, error, verdict == Verdict::Restart);
            }
        }
    }

    fn judge(&self, partition: &Partition, batch: &Batch, code: ErrorCode, log_start: i64) -> Verdict {
        let Some(stamp) = batch.stamp else {
            return if code.is_retriable() { Verdict::Retry } else { Verdict::Fail };
        };
        let queue = partition.queue.lock();
        let verdict = queue.sequences.judge(code, stamp.base_sequence, batch.restarted, log_start);
        // Epochs of a transaction are the coordinator's to raise: it has to be aborted.
        let transactional = self.shared.settings.transactional_id.is_some();
        if transactional && verdict == Verdict::Restart { Verdict::Fail } else { verdict }
    }

    fn acknowledged(&self, sent: Sent, base_offset: i64) {
        let Sent { partition, batch } = sent;
        {
            let mut queue = partition.queue.lock();
            queue.on_wire -= 1;
            queue.last_error = None;
            if let Some(stamp) = batch.stamp {
                queue.sequences.acknowledged(stamp.base_sequence);
            }
        }
        self.shared.metrics.acknowledged(&batch);
        batch.acknowledge(&self.shared.memory, &partition.topic, partition.index, base_offset);
    }

    /// Batches of which nothing is known.
    fn unanswered(&self, request: Request, error: &Error) {
        // From behind, so that each goes before those that were queued again already.
        for sent in request.batches.into_iter().rev().flatten() {
            sent.partition.queue.lock().on_wire -= 1;
            if error.is_retriable() || matches!(error.kind(), ErrorKind::Closed | ErrorKind::Protocol) {
                self.again(sent.partition, sent.batch, error.clone(), false);
            } else {
                self.give_up(&sent.partition, sent.batch, error);
            }
        }
    }

    /// Queues a batch again, if its time and its retries allow.
    fn again(&self, partition: Arc<Partition>, batch: Batch, error: Error, restart: bool) {
        let settings = &self.shared.settings;
        if batch.attempts > settings.retries {
            let error = error.context(format_args!("after {} attempts, as retries allows", batch.attempts));
            return self.give_up(&partition, batch, &error);
        }
        let now = Instant::now();
        if batch.created.checked_add(settings.delivery_timeout).is_some_and(|deadline| deadline <= now) {
            partition.queue.lock().last_error = Some(error);
            let error = self.too_late(&partition, None, &batch);
            return self.give_up(&partition, batch, &error);
        }
        tracing::debug!(topic = %partition.topic, partition = partition.index, attempts = batch.attempts, %error, "batch is sent again");
        self.shared.metrics.retried(&batch);
        let pause = backoff(self.shared.client.config().retry_backoff, batch.attempts);
        let mut queue = partition.queue.lock();
        queue.restart |= restart;
        queue.retry_at = Some(now + pause);
        queue.last_error = Some(error);
        queue.requeue(batch);
    }

    /// The broker takes smaller batches only.
    fn split(&self, partition: &Arc<Partition>, batch: Batch) {
        let stamp = batch.stamp;
        let attempts = batch.attempts;
        match batch.split(&self.shared.memory) {
            Ok(mut parts) => {
                tracing::info!(
                    topic = %partition.topic,
                    partition = partition.index,
                    parts = parts.len(),
                    "batch is larger than the topic's max.message.bytes and was split; a smaller batch.size avoids it"
                );
                let mut queue = partition.queue.lock();
                if let Some(stamp) = stamp {
                    let counts: Vec<i32> = parts.iter().map(Batch::record_count).collect();
                    let bases = queue.sequences.split(stamp.base_sequence, &counts);
                    for (part, base_sequence) in parts.iter_mut().zip(bases) {
                        part.stamp = Some(crate::wire::records::ProducerStamp { base_sequence, ..stamp });
                    }
                }
                // Numbered ones find their place; without numbers the last one is put to the front first.
                for part in parts.into_iter().rev() {
                    queue.requeue(part);
                }
            }
            Err(batch) => {
                debug_assert!(attempts > 0);
                let error = refused(ErrorCode::MessageTooLarge, None, partition, &batch);
                self.give_up(partition, *batch, &error);
            }
        }
    }
}

fn decode(node: i32, request: &Request, mut bytes: Bytes) -> Result<Option<ProduceResponse>> {
    if bytes.is_empty() {
        // acks=0: there is no answer.
        return Ok(None);
    }
    decode_response(ApiKey::Produce, request.version, &mut bytes).map(Some).map_err(|error| {
        let message = format!(
            "the answer of broker {node} to Produce version {} is malformed: {error}",
            request.version
        );
        Error::new(ErrorKind::Protocol, message)
    })
}

fn outcome(partition: PartitionProduceResponse) -> Outcome {
    Outcome {
        code: ErrorCode::try_from_code(partition.error_code),
        message: partition.error_message.map(|message| message.to_string()),
        base_offset: partition.base_offset,
        log_start: partition.log_start_offset,
    }
}

/// What is told of a batch that the broker refused.
fn refused(code: ErrorCode, message: Option<&str>, partition: &Partition, batch: &Batch) -> Error {
    let Partition { topic, index, .. } = partition;
    let said = message.map(|message| format!(" ({message})")).unwrap_or_default();
    let what = match code {
        ErrorCode::MessageTooLarge => format!(
            "{topic}-{index}: a record makes a batch of {} bytes, more than the topic's max.message.bytes; raise that or \
             make the record smaller{said}",
            batch.size()
        ),
        ErrorCode::TopicAuthorizationFailed => {
            format!("topic {topic}: this user may not write to it; grant WRITE on the topic{said}")
        }
        ErrorCode::InvalidRecord => format!("{topic}-{index}: the broker refuses the records{said}"),
        ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => format!(
            "{topic}-{index}: a newer producer with the same transactional.id has taken over, or the transaction ran \
             longer than transaction.timeout.ms{said}"
        ),
        _ => format!("{} records for {topic}-{index}{said}", batch.record_count()),
    };
    Error::broker(code, what)
}
