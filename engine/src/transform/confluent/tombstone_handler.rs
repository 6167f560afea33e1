//! `TombstoneHandler`: what becomes of records without a value.

use super::super::field_plan::each_row;
use super::super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, RecordState, Side};

const BEHAVIOR: &str = "behavior";

pub(in super::super) static DEF: ConfigDef = ConfigDef {
    keys: &[ConfigKey::with_default(
        BEHAVIOR,
        ConfigType::String,
        "drop_warn",
        Importance::Medium,
        "drop_silent, drop_warn, ignore or fail.",
    )
    .valid(Validator::OneOfIgnoringCase(&["drop_silent", "drop_warn", "ignore", "fail"]))],
};

/// What to do.
#[derive(Debug, Clone, Copy)]
enum Behavior {
    Drop { warn: bool },
    Ignore,
    Fail,
}

pub(in super::super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let behavior = match config.string(BEHAVIOR).unwrap_or_default().to_ascii_lowercase().as_str() {
        "ignore" => Behavior::Ignore,
        "fail" => Behavior::Fail,
        word => Behavior::Drop { warn: word == "drop_warn" },
    };
    Ok(Box::new(TombstoneHandler { behavior }))
}

struct TombstoneHandler {
    behavior: Behavior,
}

impl Transform for TombstoneHandler {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        let mut dropped = 0_u64;
        each_row(batch, rows, |batch, index| {
            if !batch.records[index].value.is_null() {
                return Ok(());
            }
            match self.behavior {
                Behavior::Ignore => {}
                Behavior::Fail => {
                    return Err(data_error("a tombstone, and TombstoneHandler's behavior is fail"));
                }
                Behavior::Drop { .. } => {
                    batch.records[index].state = RecordState::Dropped;
                    dropped += 1;
                }
            }
            Ok(())
        });
        if dropped > 0 && matches!(self.behavior, Behavior::Drop { warn: true }) {
            tracing::warn!(dropped, "tombstones dropped by TombstoneHandler");
        }
    }
}
