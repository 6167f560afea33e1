//! `Filter`: drops what it sees; its predicate decides what that is.

use super::Transform;
use crate::data::{Batch, RecordState};

pub(super) struct Filter;

impl Transform for Filter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        for row in rows {
            batch.records[*row as usize].state = RecordState::Dropped;
        }
    }
}
