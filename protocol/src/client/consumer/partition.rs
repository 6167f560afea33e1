//! A partition that is ours: where it stands, and what has been fetched of it.

use tokio::time::Instant;

use super::settings::Settings;
use crate::wire::TopicPartition;
use crate::wire::compression::Decompressor;
use crate::wire::fetch::FetchedPartition;
use crate::wire::records::{
    AbortedTransactions, BatchHeader, BatchIter, RecordError, RecordSet, batches, control_record,
};
use crate::{Error, ErrorKind, Result};

/// A place in the log: the offset of the next record, and the leader epoch of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: i64,
    /// -1 where it is not known.
    pub(super) epoch: i32,
}

impl Position {
    pub(super) const fn new(offset: i64) -> Self {
        Self { offset, epoch: -1 }
    }
}

/// Where a partition whose place is not known is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Find {
    /// At the committed offset, else where the reset says.
    Committed,
    /// Where `auto.offset.reset` says.
    Reset,
    /// At the first record.
    Beginning,
    /// Behind the last record.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    At(Position),
    Unknown(Find),
}

pub(super) struct Partition {
    pub(super) place: Place,
    pub(super) paused: bool,
    /// The request that is to answer for it; a seek takes it back.
    pub(super) asked: Option<u64>,
    /// Not before this time after an error.
    pub(super) retry_at: Option<Instant>,
    /// High watermark, or last stable offset with `read_committed`; -1 if unknown.
    pub(super) end_offset: i64,
    /// A replica nearer than the leader (KIP-392), until that time.
    pub(super) replica: Option<(i32, Instant)>,
    /// An answer that is not given out yet.
    pub(super) ready: Option<Ready>,
}

impl Partition {
    pub(super) const fn new(place: Place) -> Self {
        Self { place, paused: false, asked: None, retry_at: None, end_offset: -1, replica: None, ready: None }
    }

    pub(super) const fn position(&self) -> Option<Position> {
        match self.place {
            Place::At(position) => Some(position),
            Place::Unknown(_) => None,
        }
    }

    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| at > now)
    }

    /// Goes on elsewhere: what was fetched or asked for is of no more use.
    pub(super) fn move_to(&mut self, place: Place) {
        self.place = place;
        self.ready = None;
        self.asked = None;
        self.retry_at = None;
    }
}

/// Batches of an answer.
pub(super) struct Ready {
    batches: BatchIter,
    /// Whether the answer has had a whole batch.
    had_batch: bool,
    aborted: AbortedTransactions,
    /// Rest of a batch that was given out in part.
    current: RecordSet,
}

impl Ready {
    pub(super) fn new(fetched: FetchedPartition) -> Self {
        Self {
            batches: batches(fetched.records),
            had_batch: false,
            aborted: AbortedTransactions::new(fetched.aborted),
            current: RecordSet::empty(),
        }
    }
}

/// The next records of an answer, at most `room`; the position goes on behind them. None when the answer is used up.
pub(super) fn next_records(
    name: &TopicPartition,
    partition: &mut Partition,
    settings: &Settings,
    decompressor: &mut Decompressor,
    room: usize,
) -> Result<Option<RecordSet>> {
    let (Some(ready), Place::At(position)) = (&mut partition.ready, &mut partition.place) else {
        return Ok(None);
    };
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
        if batch.header.next_offset() <= position.offset {
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
        records.advance_to(position.offset);
        if control || (hidden && settings.read_committed) || records.is_empty() {
            *position = behind(&batch.header);
            continue;
        }
        ready.current = records;
    }
    let header = *ready.current.header();
    let records = match ready.current.len() <= room {
        true => std::mem::take(&mut ready.current),
        false => ready.current.split_to(room),
    };
    *position = match records.get(records.len() - 1) {
        // offsets that compaction has taken out of the end of a batch are passed as well
        _ if ready.current.is_empty() => behind(&header),
        Some(last) => Position { offset: last.offset() + 1, epoch: header.partition_leader_epoch },
        None => *position,
    };
    Ok(Some(records))
}

fn behind(header: &BatchHeader) -> Position {
    Position { offset: header.next_offset(), epoch: header.partition_leader_epoch }
}
