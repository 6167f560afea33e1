//! `Filter`: drops what it sees; its predicate decides what that is.

use super::Transform;
use crate::config::{ConfigDef, ConfigError, ParsedConfig};
use crate::data::{Batch, RecordState, Side};

pub(super) static DEF: ConfigDef = ConfigDef { keys: &[] };

pub(super) fn make(_: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(Filter))
}

struct Filter;

impl Transform for Filter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        for row in rows {
            batch.records[*row as usize].state = RecordState::Dropped;
        }
    }
}
