//! Sequence numbers of one partition: what makes retries of an idempotent producer neither lose, double nor reorder.
//!
//! Pure bookkeeping, as the JVM's `TransactionManager` and `TxnPartitionEntry` do it. A batch gets its number when it is
//! first sent and keeps it over its retries. Only when the broker's and our idea of the sequence can't be brought
//! together any more is the partition *restarted*: once nothing of it is on the wire, what waits gets new numbers from 0
//! under a raised epoch.

use std::collections::VecDeque;

use crate::ErrorCode;

/// Who produces: id and epoch as given by InitProducerId.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
}

/// A batch that has its numbers and is not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outstanding {
    base: i32,
    count: i32,
}

/// What to do with a batch that the broker refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it again with its numbers.
    Retry,
    /// Send it again after its partition was restarted under a raised epoch.
    Restart,
    /// The broker has it already.
    Duplicate,
    /// Give it up.
    Fail,
}

/// The sequence of one partition.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    identity: Option<ProducerIdentity>,
    next: i32,
    last_acked: Option<i32>,
    outstanding: VecDeque<Outstanding>,
    unresolved: bool,
}

/// `base + count` in the ring of non-negative `i32`s.
const fn advance(base: i32, count: i32) -> i32 {
    ((base as i64 + count as i64) % (i32::MAX as i64 + 1)) as i32
}

impl Sequences {
    /// Whether a batch without numbers may get some: not while an expired batch leaves it open what the broker has, and
    /// not while batches of an older identity are outstanding. The first batch of an identity goes alone: a broker that
    /// doesn't know the identity takes any number for its first, so that a second batch could overtake a failed one.
    pub(super) fn may_assign(&self, identity: ProducerIdentity) -> bool {
        let known = self.identity == Some(identity) && self.last_acked.is_some();
        !self.unresolved && (self.outstanding.is_empty() || known)
    }

    /// Numbers the next batch, of `count` records; gives its first number.
    pub(super) fn assign(&mut self, identity: ProducerIdentity, count: i32) -> i32 {
        if self.identity != Some(identity) {
            self.begin(identity);
        }
        let base = self.next;
        self.next = advance(base, count);
        self.outstanding.push_back(Outstanding { base, count });
        base
    }

    fn begin(&mut self, identity: ProducerIdentity) {
        self.identity = Some(identity);
        self.next = 0;
        self.last_acked = None;
        self.unresolved = false;
    }

    /// Starts again from 0 under `identity`. Every outstanding batch has to be numbered anew by [`Self::assign`], in
    /// order.
    pub(super) fn restart(&mut self, identity: ProducerIdentity) {
        self.outstanding.clear();
        self.begin(identity);
    }

    /// Whether a batch that has its numbers may be sent now: in order, so only the oldest one.
    pub(super) fn may_resend(&self, base: i32) -> bool {
        self.outstanding.front().is_none_or(|first| first.base == base)
    }

    /// The broker has the batch.
    pub(super) fn acknowledged(&mut self, base: i32) {
        if let Some(batch) = self.remove(base) {
            self.last_acked = Some(advance(batch.base, batch.count - 1));
        }
    }

    /// The batch was given up without the broker having taken it, so that a gap is left for those behind it. Gives
    /// whether any are behind it.
    pub(super) fn given_up(&mut self, base: i32) -> bool {
        self.remove(base);
        self.next != 0 || !self.outstanding.is_empty()
    }

    /// The batch was given up while it is unknown whether the broker has it. Nothing new is numbered until
    /// [`Self::resolve`] says so.
    pub(super) fn lost(&mut self, base: i32) {
        self.remove(base);
        self.unresolved = true;
    }

    /// Settles what [`Self::lost`] left open, once nothing is outstanding: `Some(true)` if what was acknowledged since
    /// shows that the broker had the batch, `Some(false)` if the partition has to be restarted.
    pub(super) fn resolve(&mut self) -> Option<bool> {
        if !self.unresolved || !self.outstanding.is_empty() {
            return None;
        }
        let settled = self.last_acked.map_or(self.next == 0, |acked| advance(acked, 1) == self.next);
        if settled {
            self.unresolved = false;
        }
        Some(settled)
    }

    /// Who its numbers were given to last.
    pub(super) const fn identity(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    /// The batch goes as several ones with so many records each; gives their first numbers.
    pub(super) fn split(&mut self, base: i32, counts: &[i32]) -> Vec<i32> {
        let Some(at) = self.outstanding.iter().position(|batch| batch.base == base) else {
            return Vec::new();
        };
        self.outstanding.remove(at);
        let mut bases = Vec::with_capacity(counts.len());
        let mut next = base;
        for (index, count) in counts.iter().enumerate() {
            self.outstanding.insert(at + index, Outstanding { base: next, count: *count });
            bases.push(next);
            next = advance(next, *count);
        }
        bases
    }

    fn remove(&mut self, base: i32) -> Option<Outstanding> {
        let at = self.outstanding.iter().position(|batch| batch.base == base)?;
        self.outstanding.remove(at)
    }

    fn is_next(&self, base: i32) -> bool {
        base == self.last_acked.map_or(0, |acked| advance(acked, 1))
    }

    /// What to do with the batch at `base` that was refused with `code`. `restarted` tells that its numbers were given
    /// by a restart; `log_start` is the partition's first offset as the broker says, -1 if it doesn't.
    pub(super) fn judge(&self, code: ErrorCode, base: i32, restarted: bool, log_start: i64) -> Verdict {
        match code {
            ErrorCode::DuplicateSequenceNumber => Verdict::Duplicate,
            ErrorCode::OutOfOrderSequenceNumber => {
                // An earlier batch failed and comes again before this one.
                if !self.unresolved && (restarted || !self.is_next(base)) {
                    Verdict::Retry
                } else {
                    Verdict::Restart
                }
            }
            ErrorCode::UnknownProducerId => {
                if log_start == -1 || restarted && self.last_acked.is_none() {
                    Verdict::Retry
                } else {
                    Verdict::Restart
                }
            }
            // The broker forgot the id, or this batch was on its way while the epoch was raised.
            ErrorCode::InvalidProducerIdMapping => Verdict::Restart,
            // The coordinator is still ending the transaction before, to which writing has added this partition (KIP-890).
            ErrorCode::ConcurrentTransactions => Verdict::Retry,
            code if code.is_retriable() => Verdict::Retry,
            _ => Verdict::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
    const NEXT: ProducerIdentity = ProducerIdentity { id: 7, epoch: 1 };

    #[test]
    fn numbers_follow_each_other_and_wrap() {
        let mut sequences = Sequences::default();
        assert_eq!(sequences.assign(ME, 3), 0);
        assert_eq!(sequences.assign(ME, 2), 3);
        sequences.next = i32::MAX - 1;
        assert_eq!(sequences.assign(ME, 3), i32::MAX - 1);
        assert_eq!(sequences.next, 1);
    }

    #[test]
    fn a_transaction_that_is_still_ending_is_waited_for() {
        let verdict = Sequences::default().judge(ErrorCode::ConcurrentTransactions, 0, false, -1);
        assert_eq!(verdict, Verdict::Retry);
    }

    #[test]
    fn retries_go_in_order() {
        let mut sequences = Sequences::default();
        sequences.assign(ME, 3);
        sequences.assign(ME, 3);
        assert!(sequences.may_resend(0));
        assert!(!sequences.may_resend(3));
        sequences.acknowledged(0);
        assert!(sequences.may_resend(3));
    }

    #[test]
    fn out_of_order_waits_for_the_earlier_batch() {
        let mut sequences = Sequences::default();
        sequences.assign(ME, 1);
        sequences.assign(ME, 1);
        let judge = |s: &Sequences, base| s.judge(ErrorCode::OutOfOrderSequenceNumber, base, false, -1);
        assert_eq!(judge(&sequences, 1), Verdict::Retry);
        assert_eq!(judge(&sequences, 0), Verdict::Restart, "the first one can't be out of order");
        sequences.acknowledged(0);
        assert_eq!(judge(&sequences, 1), Verdict::Restart);
    }

    #[test]
    fn the_first_batch_goes_alone() {
        let mut sequences = Sequences::default();
        assert!(sequences.may_assign(ME));
        sequences.assign(ME, 1);
        assert!(!sequences.may_assign(ME));
        sequences.acknowledged(0);
        assert!(sequences.may_assign(ME));
        sequences.assign(ME, 1);
        assert!(sequences.may_assign(ME));
    }

    #[test]
    fn an_older_identity_drains_first() {
        let mut sequences = Sequences::default();
        sequences.assign(ME, 1);
        assert!(!sequences.may_assign(NEXT));
        sequences.acknowledged(0);
        assert!(sequences.may_assign(NEXT));
        assert_eq!(sequences.assign(NEXT, 1), 0);
    }

    #[test]
    fn a_lost_batch_blocks_until_it_is_settled() {
        let mut sequences = Sequences::default();
        sequences.assign(ME, 1);
        sequences.assign(ME, 1);
        sequences.lost(0);
        assert!(!sequences.may_assign(ME));
        assert_eq!(sequences.resolve(), None);
        sequences.acknowledged(1);
        assert_eq!(sequences.resolve(), Some(true), "the later one could not have been taken otherwise");
        assert!(sequences.may_assign(ME));
        sequences.assign(ME, 1);
        sequences.lost(2);
        assert_eq!(sequences.resolve(), Some(false));
        sequences.restart(NEXT);
        assert!(sequences.may_assign(NEXT));
    }

    #[test]
    fn verdicts() {
        let mut sequences = Sequences::default();
        sequences.assign(ME, 1);
        assert_eq!(sequences.judge(ErrorCode::DuplicateSequenceNumber, 0, false, -1), Verdict::Duplicate);
        assert_eq!(sequences.judge(ErrorCode::NotLeaderOrFollower, 0, false, -1), Verdict::Retry);
        assert_eq!(sequences.judge(ErrorCode::UnknownProducerId, 0, false, -1), Verdict::Retry);
        assert_eq!(sequences.judge(ErrorCode::UnknownProducerId, 0, false, 4), Verdict::Restart);
        assert_eq!(sequences.judge(ErrorCode::UnknownProducerId, 0, true, 4), Verdict::Retry);
        assert_eq!(sequences.judge(ErrorCode::TopicAuthorizationFailed, 0, false, -1), Verdict::Fail);
    }
}
