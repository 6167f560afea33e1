//! `delivery.timeout.ms`, `request.timeout.ms`, and batches that are given up.

use std::sync::Arc;
use std::time::Instant;

use super::super::batch::Batch;
use super::super::partition::Partition;
use super::Sender;
use crate::client::Purpose;
use crate::{Error, ErrorKind};

impl Sender {
    /// Gives up batches that waited too long, and connections whose answer is overdue.
    pub(super) fn expire(&mut self, now: Instant) {
        self.drop_aborted();
        let timeout = self.shared.settings.delivery_timeout;
        for at in 0..self.active.len() {
            let Active { partition, leader } = self.named(at);
            loop {
                let mut queue = partition.queue.lock();
                let Some(first) = queue.batches.front() else { break };
                let Some(deadline) = first.created.checked_add(timeout) else { break };
                if deadline > now {
                    drop(queue);
                    self.at(deadline);
                    break;
                }
                let Some(batch) = queue.batches.pop_front() else { break };
                drop(queue);
                let error = self.too_late(&partition, leader, &batch);
                self.give_up(&partition, batch, &error);
            }
        }
        let overdue: Vec<i32> = self
            .brokers
            .iter()
            .filter(|(_, broker)| broker.requests.front().is_some_and(|request| request.deadline <= now))
            .map(|(node, _)| *node)
            .collect();
        for node in overdue {
            // Whoever waits on the connection gets an error, which comes back as an answer.
            self.shared.client.disconnect(node, Purpose::Produce);
        }
        let deadlines: Vec<Instant> = self
            .brokers
            .values()
            .filter_map(|broker| broker.requests.front().map(|request| request.deadline))
            .filter(|deadline| *deadline > now)
            .collect();
        for deadline in deadlines {
            self.at(deadline);
        }
    }

    fn named(&self, at: usize) -> Active {
        let active = &self.active[at];
        Active { partition: Arc::clone(&active.partition), leader: active.leader }
    }

    /// Why a batch was not delivered in time, as far as is known.
    pub(super) fn too_late(&self, partition: &Partition, leader: Option<i32>, batch: &Batch) -> Error {
        let broker = leader.and_then(|node| self.brokers.get(&node));
        let last = broker
            .and_then(|broker| broker.last_error.clone())
            .or_else(|| partition.queue.lock().last_error.clone());
        let because = match &last {
            Some(error) => format!("the last error was: {error}"),
            None if leader.is_none() => "it has no leader now".to_owned(),
            None => "the broker takes batches more slowly than they come".to_owned(),
        };
        let message = format!(
            "{} records for {}-{} were not delivered within delivery.timeout.ms = {} ({} attempts): {because}",
            batch.record_count(),
            partition.topic,
            partition.index,
            self.shared.settings.delivery_timeout.as_millis(),
            batch.attempts,
        );
        let error = Error::new(ErrorKind::Timeout, message);
        match last {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// Drops what a failed or aborted transaction has not sent.
    fn drop_aborted(&mut self) {
        let reason = self.shared.transaction.lock().drop_reason();
        if let Some(error) = reason {
            for at in 0..self.active.len() {
                let Active { partition, .. } = self.named(at);
                let batches = std::mem::take(&mut partition.queue.lock().batches);
                for batch in batches {
                    self.give_up(&partition, batch, &error);
                }
            }
        }
    }

    /// Fails a batch that is not on the wire, and does what its gap in the sequence asks for.
    pub(super) fn give_up(&self, partition: &Arc<Partition>, batch: Batch, error: &Error) {
        let transactional = self.shared.settings.transactional_id.is_some();
        if let Some(stamp) = batch.stamp {
            let mut queue = partition.queue.lock();
            let unknown =
                batch.attempts > 0 && !matches!(error.kind(), ErrorKind::Broker | ErrorKind::Record);
            if unknown && !transactional {
                queue.sequences.lost(stamp.base_sequence);
            } else if queue.sequences.given_up(stamp.base_sequence) && !transactional {
                queue.restart = true;
            }
        }
        tracing::debug!(topic = %partition.topic, partition = partition.index, %error, "batch given up");
        self.shared.metrics.given_up(&batch);
        if transactional {
            // Numbers that were given and not used leave a gap.
            self.shared.transaction.lock().raise_epoch |= batch.stamp.is_some();
            self.shared.fail_transaction(error);
        }
        batch.fail(&self.shared.memory, error);
    }
}

/// A partition of the active ones, apart from the sender's borrow.
struct Active {
    partition: Arc<Partition>,
    leader: Option<i32>,
}
