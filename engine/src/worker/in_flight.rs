//! Which source offsets may be committed: those whose records, and all before them of the same source partition, are acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::connector::OffsetMap;
use crate::data::SourcePosition;

/// Batches that were sent and not acknowledged yet, in order; `T` is what tells of the acknowledgement.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    batches: VecDeque<SentBatch<T>>,
    committable: IndexMap<Arc<OffsetMap>, Arc<OffsetMap>>,
}

#[derive(Debug)]
struct SentBatch<T> {
    ticket: Option<T>,
    /// The last position of each source partition in the batch.
    positions: Vec<SourcePosition>,
}

impl<T> InFlight<T> {
    pub(super) fn new() -> InFlight<T> {
        InFlight { batches: VecDeque::new(), committable: IndexMap::new() }
    }

    /// Batches that wait.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// A batch is on its way; a batch whose records were all dropped has no ticket and is acknowledged by its turn.
    pub(super) fn push(
        &mut self,
        ticket: Option<T>,
        positions: impl DoubleEndedIterator<Item = SourcePosition>,
    ) {
        let mut last = IndexMap::new();
        for position in positions {
            last.insert(position.partition, position.offset);
        }
        let positions =
            last.into_iter().map(|(partition, offset)| SourcePosition { partition, offset }).collect();
        self.batches.push_back(SentBatch { ticket, positions });
    }

    /// Asks each ticket whether it is done, and frees the acknowledged batches at the front. Cost: O(batches in flight).
    pub(super) fn settle<E>(
        &mut self,
        mut done: impl FnMut(&mut T) -> Option<Result<(), E>>,
    ) -> Result<(), E> {
        for batch in &mut self.batches {
            match batch.ticket.as_mut().map(&mut done) {
                Some(Some(Ok(()))) => batch.ticket = None,
                Some(Some(Err(error))) => return Err(error),
                Some(None) | None => {}
            }
        }
        while self.batches.front().is_some_and(|batch| batch.ticket.is_none()) {
            let positions = self.batches.pop_front().map(|batch| batch.positions).unwrap_or_default();
            self.committable
                .extend(positions.into_iter().map(|position| (position.partition, position.offset)));
        }
        Ok(())
    }

    /// The oldest ticket that is not done: what to wait for.
    pub(super) fn oldest(&mut self) -> Option<&mut T> {
        self.batches.iter_mut().find_map(|batch| batch.ticket.as_mut())
    }

    /// The oldest ticket has been waited for.
    pub(super) fn oldest_is_done(&mut self) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.ticket.is_some()) {
            batch.ticket = None;
        }
    }

    /// What may be committed now and was not taken before. Batches behind an unacknowledged one count for the source
    /// partitions that no unacknowledged batch before them has.
    pub(super) fn take_committable(&mut self) -> Vec<(Arc<OffsetMap>, Arc<OffsetMap>)> {
        let mut blocked: Vec<Arc<OffsetMap>> = Vec::new();
        for batch in &mut self.batches {
            if batch.ticket.is_some() {
                blocked.extend(batch.positions.iter().map(|position| Arc::clone(&position.partition)));
                continue;
            }
            batch.positions.retain(|position| {
                let held_back = blocked.contains(&position.partition);
                if !held_back {
                    self.committable.insert(Arc::clone(&position.partition), Arc::clone(&position.offset));
                }
                held_back
            });
            blocked.extend(batch.positions.iter().map(|position| Arc::clone(&position.partition)));
        }
        self.committable.drain(..).collect()
    }

    /// Gives back what could not be written, unless something newer has come.
    pub(super) fn give_back(&mut self, offsets: Vec<(Arc<OffsetMap>, Arc<OffsetMap>)>) {
        for (partition, offset) in offsets {
            self.committable.entry(partition).or_insert(offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(key: &str, value: u64) -> Arc<OffsetMap> {
        Arc::new([(key.to_owned(), value.into())].into_iter().collect())
    }

    fn position(partition: u64, offset: u64) -> SourcePosition {
        SourcePosition { partition: map("p", partition), offset: map("o", offset) }
    }

    fn committable(in_flight: &mut InFlight<u32>) -> Vec<(u64, u64)> {
        let number = |map: &OffsetMap, key: &str| map[key].as_u64().unwrap();
        let mut taken: Vec<_> =
            in_flight.take_committable().iter().map(|(p, o)| (number(p, "p"), number(o, "o"))).collect();
        taken.sort_unstable();
        taken
    }

    fn settle(in_flight: &mut InFlight<u32>, done: &[u32]) {
        in_flight.settle(|ticket| done.contains(ticket).then_some(Ok::<(), ()>(()))).unwrap();
    }

    #[test]
    fn only_the_acknowledged_prefix_of_each_partition() {
        let mut in_flight = InFlight::new();
        in_flight.push(Some(1), [position(1, 10), position(1, 11)].into_iter());
        in_flight.push(Some(2), [position(2, 20)].into_iter());
        in_flight.push(Some(3), [position(1, 12), position(2, 21)].into_iter());
        settle(&mut in_flight, &[2, 3]);
        assert_eq!(committable(&mut in_flight), [(2, 21)], "partition 1 waits for its first batch");
        assert_eq!(committable(&mut in_flight), []);
        settle(&mut in_flight, &[1]);
        assert_eq!(committable(&mut in_flight), [(1, 12)]);
        assert_eq!(in_flight.len(), 0);
    }

    #[test]
    fn dropped_batches_wait_their_turn_and_newer_offsets_win() {
        let mut in_flight = InFlight::new();
        in_flight.push(Some(1), [position(1, 10)].into_iter());
        in_flight.push(None, [position(1, 11)].into_iter());
        settle(&mut in_flight, &[]);
        assert_eq!(committable(&mut in_flight), []);
        settle(&mut in_flight, &[1]);
        let taken = in_flight.take_committable();
        in_flight.push(None, [position(1, 12)].into_iter());
        settle(&mut in_flight, &[]);
        in_flight.give_back(taken);
        assert_eq!(committable(&mut in_flight), [(1, 12)]);
    }

    #[test]
    fn a_failed_ticket_is_an_error() {
        let mut in_flight = InFlight::new();
        in_flight.push(Some(1), [position(1, 10)].into_iter());
        assert_eq!(in_flight.settle(|_| Some(Err("lost"))), Err("lost"));
        assert_eq!(committable(&mut in_flight), []);
    }
}
