//! How a caller learns what became of its records: one ticket for all records of a session, however many batches and
//! partitions they went to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::Error;

/// Most failed records that a ticket lists one by one. More than these failed if [`DeliveryErrors::total`] is greater.
pub const MAX_LISTED_ERRORS: usize = 100_000;

/// Where a run of records of a session went.
#[derive(Debug, Clone)]
pub struct Written {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Offset of the first record of the run; -1 if the broker didn't tell (acks=0, or it had the batch already).
    pub base_offset: i64,
    /// Index in the session of the first record of the run.
    pub first: u32,
    /// Records of the run, with following indices and offsets.
    pub count: u32,
}

/// What became of a session whose records are all acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Delivered {
    /// How many records.
    pub records: u64,
    /// Where they went; kept only for a session that was made with
    /// [`Producer::session_with_offsets`](super::Producer::session_with_offsets). In order of acknowledgement.
    pub written: Vec<Written>,
}

/// Some records of a session failed; those not listed are acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{total} of the records could not be delivered, the first one because: {}", .failed.first().map_or_else(String::new, |(_, error)| error.to_string()))]
pub struct DeliveryErrors {
    /// How many failed.
    pub total: u64,
    /// Index in the session and cause, by index; at most [`MAX_LISTED_ERRORS`].
    pub failed: Vec<(u32, Error)>,
}

/// What session, ticket and batches share.
#[derive(Debug)]
pub(super) struct SessionState {
    /// Records appended (added when the session is finished) less records settled.
    pending: AtomicI64,
    done: AtomicBool,
    with_offsets: bool,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    records: u64,
    failed_total: u64,
    failed: Vec<(u32, Error)>,
    written: Vec<Written>,
    waker: Option<Waker>,
}

impl SessionState {
    pub(super) fn new(with_offsets: bool) -> Arc<Self> {
        Arc::new(Self {
            pending: AtomicI64::new(0),
            done: AtomicBool::new(false),
            with_offsets,
            outcome: Mutex::default(),
        })
    }

    /// The session ends with so many records appended.
    pub(super) fn finish(&self, appended: u32) {
        self.outcome.lock().records = u64::from(appended);
        self.settle(-i64::from(appended));
    }

    fn settle(&self, count: i64) {
        if self.pending.fetch_sub(count, Ordering::AcqRel) - count == 0 {
            // Either this is `finish`, or `finish` came before: a session still open keeps `pending` negative.
            self.done.store(true, Ordering::Release);
            let waker = self.outcome.lock().waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn fail(&self, runs: &[Run], error: &Error) {
        let mut outcome = self.outcome.lock();
        for run in runs {
            outcome.failed_total += u64::from(run.count);
            let room = MAX_LISTED_ERRORS.saturating_sub(outcome.failed.len()).min(run.count as usize) as u32;
            outcome.failed.extend((run.first..run.first + room).map(|index| (index, error.clone())));
        }
    }
}

/// Following records of one session in one batch.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: u32,
    count: u32,
}

/// The sessions whose records a batch holds.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    /// Each with where its runs end in `runs`.
    sessions: Vec<(Arc<SessionState>, usize)>,
    runs: Vec<Run>,
}

impl Recipients {
    /// The next record of the batch is the one with this index in `session`.
    #[inline]
    pub(super) fn push(&mut self, session: &Arc<SessionState>, index: u32) {
        let runs = self.runs.len();
        match self.sessions.last_mut() {
            Some((last, end)) if Arc::ptr_eq(last, session) => {
                if let Some(run) = self.runs.last_mut()
                    && run.first + run.count == index
                {
                    run.count += 1;
                    return;
                }
                *end = runs + 1;
            }
            _ => self.sessions.push((Arc::clone(session), runs + 1)),
        }
        self.runs.push(Run { first: index, count: 1 });
    }

    /// Every record of the batch in order, as (session, index in it).
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<SessionState>, u32)> {
        let mut start = 0;
        self.sessions.iter().flat_map(move |(session, end)| {
            let runs = &self.runs[start..*end];
            start = *end;
            runs.iter()
                .flat_map(move |run| (run.first..run.first + run.count).map(move |index| (session, index)))
        })
    }

    /// The batch was written at `base_offset`, -1 if unknown. Leaves nobody to tell.
    pub(super) fn acknowledge(&mut self, topic: &Arc<str>, partition: i32, base_offset: i64) {
        let mut offset = base_offset;
        self.each(|session, runs| {
            let mut count = 0;
            for run in runs {
                count += i64::from(run.count);
            }
            if session.with_offsets {
                let mut outcome = session.outcome.lock();
                let mut at = offset;
                for run in runs {
                    let Run { first, count } = *run;
                    let base_offset = if base_offset < 0 { -1 } else { at };
                    outcome.written.push(Written {
                        topic: Arc::clone(topic),
                        partition,
                        base_offset,
                        first,
                        count,
                    });
                    at += i64::from(count);
                }
            }
            offset += count;
            session.settle(count);
        });
    }

    /// The batch was given up. Leaves nobody to tell.
    pub(super) fn fail(&mut self, error: &Error) {
        self.each(|session, runs| {
            session.fail(runs, error);
            session.settle(runs.iter().map(|run| i64::from(run.count)).sum());
        });
    }

    fn each(&mut self, mut tell: impl FnMut(&SessionState, &[Run])) {
        let mut start = 0;
        for (session, end) in self.sessions.drain(..) {
            tell(&session, &self.runs[start..end]);
            start = end;
        }
        self.runs.clear();
    }
}

/// Resolves when every record of a session is acknowledged or given up, which `delivery.timeout.ms` bounds.
///
/// Dropping it is allowed; the records are sent all the same.
#[derive(Debug)]
#[must_use = "without its ticket nobody learns of records that could not be delivered"]
pub struct DeliveryTicket {
    state: Arc<SessionState>,
}

impl DeliveryTicket {
    pub(super) const fn new(state: Arc<SessionState>) -> Self {
        Self { state }
    }

    /// Whether awaiting gives an answer at once.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state.done.load(Ordering::Acquire)
    }

    /// Waits for the outcome; the same as awaiting the ticket.
    ///
    /// # Errors
    /// The records that could not be delivered, with the causes.
    pub async fn wait(self) -> Result<Delivered, DeliveryErrors> {
        self.await
    }

    fn outcome(&self) -> Result<Delivered, DeliveryErrors> {
        let mut outcome = self.state.outcome.lock();
        if outcome.failed_total == 0 {
            return Ok(Delivered { records: outcome.records, written: std::mem::take(&mut outcome.written) });
        }
        let mut failed = std::mem::take(&mut outcome.failed);
        failed.sort_unstable_by_key(|(index, _)| *index);
        Err(DeliveryErrors { total: outcome.failed_total, failed })
    }
}

impl Future for DeliveryTicket {
    type Output = Result<Delivered, DeliveryErrors>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_done() {
            let mut outcome = self.state.outcome.lock();
            // Looked at again under the lock that the waker is taken with: one of the two sides sees the other.
            if !self.is_done() {
                outcome.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(self.outcome())
    }
}
