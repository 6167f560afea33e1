//! One bulk from its first try to the outcome of each of its records.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use aqueduct_engine::connector::FailedRecord;
use aqueduct_engine::data::{RecordError, Stage};

use super::bulk::{Bulk, Op};
use super::http::{Message, refusal};
use super::outcome::{Fate, Refusal, of_item, of_status, remedy};
use super::response::{self, BulkAnswer, ItemError, without_values};
use super::sender::{Failure, Sender};
use super::settings::OnRefusal;

/// Sends a bulk until each operation has its outcome, and tells the batches.
pub(super) async fn deliver(sender: Arc<Sender>, bulk: Bulk) {
    let bulk = Arc::new(bulk);
    let mut delivery = Delivery {
        sender: Arc::clone(&sender),
        bulk: Arc::clone(&bulk),
        failed: Vec::new(),
        fatal: None,
        retries: 0,
    };
    let result = delivery.run().await;
    let Delivery { failed, fatal, .. } = delivery;
    for (op, error) in failed {
        if let Some(op) = bulk.ops.get(op as usize)
            && let Some(tracked) = bulk.batches.get(op.batch as usize)
        {
            tracked.tracker.failed(FailedRecord { record: op.record as usize, error });
        }
    }
    if let Err(failure) = &result {
        bulk.batches.iter().for_each(|tracked| tracked.tracker.error(failure.error()));
    }
    if let Some(failure) = result.err().or(fatal) {
        sender.fail(failure);
    }
    sender.landed(&bulk);
    let mut counts = vec![0; bulk.batches.len()];
    for op in &bulk.ops {
        if let Some(count) = counts.get_mut(op.batch as usize) {
            *count += 1;
        }
    }
    let trackers: Vec<_> = bulk.batches.iter().map(|tracked| Arc::clone(&tracked.tracker)).collect();
    // the worker uses its batches again once nobody else has them
    drop(bulk);
    trackers.iter().zip(counts).for_each(|(tracker, count)| tracker.done(count));
}

struct Delivery {
    sender: Arc<Sender>,
    bulk: Arc<Bulk>,
    /// Operations whose records the worker shall report.
    failed: Vec<(u32, RecordError)>,
    /// Why the task ends although every record has its outcome.
    fatal: Option<Failure>,
    retries: u32,
}

impl Delivery {
    async fn run(&mut self) -> Result<(), Failure> {
        let all: Arc<[u32]> = (0..self.bulk.ops.len() as u32).collect();
        let mut parts = VecDeque::from([all]);
        while let Some(part) = parts.pop_front() {
            self.sender.metrics.requests.increment(1);
            let message = Message::Bulk(Arc::clone(&self.bulk), Arc::clone(&part));
            let answer = match self.sender.http.send(&message).await {
                Ok(answer) => answer,
                Err(error) if error.passes => {
                    self.again(error.to_string()).await?;
                    parts.push_front(part);
                    continue;
                }
                Err(error) => return Err(Failure::fatal(error.to_string())),
            };
            if answer.is_success() {
                match response::parse(&answer.body) {
                    Ok(answer) if answer.items.is_none_or(|items| items == part.len()) => {
                        if let Some(again) = self.items(&part, &answer).await? {
                            parts.push_front(again);
                        }
                    }
                    _ => {
                        self.again("an answer to a bulk request that is none, or not whole".to_owned())
                            .await?;
                        parts.push_front(part);
                    }
                }
                continue;
            }
            match of_status(answer.status) {
                Refusal::Split if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push_front(second.into());
                    parts.push_front(first.into());
                }
                Refusal::Split => self.malformed(part[0], &refusal(&answer)),
                Refusal::Retry(slower) => {
                    if slower {
                        self.sender.pace(true);
                    }
                    self.again(refusal(&answer)).await?;
                    parts.push_front(part);
                }
                Refusal::Fatal => {
                    return Err(Failure::fatal(format!(
                        "Failed to execute bulk request due to {}",
                        refusal(&answer)
                    )));
                }
            }
        }
        Ok(())
    }

    async fn again(&mut self, what: String) -> Result<(), Failure> {
        self.sender.retry(&mut self.retries, &what).await
    }

    /// Sorts out the items of an answer; gives what has to be sent again, after the wait for it.
    async fn items(&mut self, part: &[u32], answer: &BulkAnswer) -> Result<Option<Arc<[u32]>>, Failure> {
        let (mut again, mut first, mut slower, mut overwhelmed) = (Vec::new(), None, false, 0);
        for error in &answer.failed {
            let Some(at) = part.get(error.item).copied() else { continue };
            let Some(op) = self.bulk.ops.get(at as usize).copied() else { continue };
            let fate = of_item(&op, error);
            let exhausted = self.retries >= self.sender.batching.max_retries;
            match fate {
                Fate::Done => {}
                Fate::Stale => self.stale(at, error),
                Fate::Malformed => self.malformed(at, &error.text),
                Fate::Conflict if exhausted => {
                    self.sender.metrics.conflicts.increment(1);
                    self.report(at, &error.text, OnRefusal::Warn);
                }
                Fate::Retry(_) | Fate::Conflict => {
                    slower |= fate == Fate::Retry(true);
                    overwhelmed += 1;
                    first.get_or_insert(error);
                    again.push(error.item);
                }
                Fate::Fatal => self.refused(at, error),
            }
        }
        let done = part.len() - overwhelmed;
        self.sender.metrics.documents.increment((part.len() - answer.failed.len()) as u64);
        let Some(first) = first else {
            self.sender.pace(false);
            self.retries = 0;
            return Ok(None);
        };
        if slower {
            self.sender.pace(true);
        }
        if done > 0 {
            self.retries = 0; // it goes on, if slowly
        }
        let what = format!(
            "{overwhelmed} of {} documents refused, the first with status {}: {}{}",
            part.len(),
            first.status,
            self.shown(&first.text),
            remedy(first.status)
        );
        self.again(what).await?;
        Ok(Some(with_successors(&self.bulk.ops, part, &again)))
    }

    fn shown(&self, text: &str) -> String {
        if self.sender.writing.log_sensitive { text.to_owned() } else { without_values(text) }
    }

    fn error(&self, text: &str) -> RecordError {
        RecordError {
            stage: Stage::TaskPut,
            java_class: "org.apache.kafka.connect.errors.ConnectException",
            message: format!("Indexing failed: {}", self.shown(text)),
        }
    }

    /// The cluster has a newer version of the document, or this one.
    fn stale(&mut self, at: u32, error: &ItemError) {
        self.sender.metrics.stale.increment(1);
        match self.sender.writing.on_conflict {
            OnRefusal::Ignore => {}
            how => self.report(at, &error.text, how),
        }
    }

    fn malformed(&mut self, at: u32, text: &str) {
        self.sender.metrics.malformed.increment(1);
        let how = self.sender.writing.on_malformed;
        self.report(at, text, how);
    }

    /// Something that neither the document nor time will mend.
    fn refused(&mut self, at: u32, error: &ItemError) {
        let text = format!("{}{}", error.text, remedy(error.status));
        self.report(at, &text, OnRefusal::Fail);
    }

    fn report(&mut self, at: u32, text: &str, how: OnRefusal) {
        let error = self.error(text);
        let op = self.bulk.ops.get(at as usize);
        let Some((op, tracked)) = op.and_then(|op| Some((op, self.bulk.batches.get(op.batch as usize)?)))
        else {
            return;
        };
        if let Some(failure) = self.sender.judge(&tracked.batch, op.record as usize, &error, how) {
            self.fatal.get_or_insert(failure);
        }
        if self.sender.writing.tolerant {
            self.failed.push((at, error));
        }
    }
}

/// The operations at these places of a part, and those after one of them on the same document.
fn with_successors(ops: &[Op], part: &[u32], again: &[usize]) -> Arc<[u32]> {
    let identity = |at: u32| ops.get(at as usize).map_or(0, |op| op.identity);
    let (mut again, mut documents, mut out) = (again.iter().copied().peekable(), HashSet::new(), Vec::new());
    for (place, at) in part.iter().enumerate() {
        let failed = again.next_if_eq(&place).is_some();
        let identity = identity(*at);
        if failed && identity != 0 {
            documents.insert(identity);
        }
        if failed || documents.contains(&identity) {
            out.push(*at);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::super::bulk::{Action, Doc};
    use super::*;

    #[test]
    fn a_retry_takes_the_later_operations_of_its_document_along() {
        let op = |identity| Op {
            action: Action::Update,
            versioned: false,
            doc: Doc::None,
            line: (0, 0),
            batch: 0,
            record: 0,
            identity,
        };
        let ops: Vec<Op> = [5, 6, 5, 0, 6, 5].into_iter().map(op).collect();
        let part = [0, 1, 2, 3, 4, 5];
        assert_eq!(&*with_successors(&ops, &part, &[2, 3]), [2, 3, 5]);
        assert_eq!(&*with_successors(&ops, &part[1..], &[0]), [1, 4]);
    }
}
