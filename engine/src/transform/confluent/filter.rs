//! Confluent's `Filter`: records kept or dropped by a condition, a JSON path.

use super::super::field_plan::each_row;
use super::super::{Transform, data_error};
use super::json_path::{JsonPath, Node};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, RecordState, Side};

const CONDITION: &str = "filter.condition";
const TYPE: &str = "filter.type";
const MISSING: &str = "missing.or.null.behavior";

pub(in super::super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            CONDITION,
            ConfigType::String,
            Importance::High,
            "A JSON path that finds something in the records that match, such as $[?(@.state == 'new')].",
        )
        .valid(Validator::NonEmpty),
        ConfigKey::required(
            TYPE,
            ConfigType::String,
            Importance::High,
            "include: records that match pass, others are dropped; exclude: the other way round.",
        )
        .valid(Validator::OneOfIgnoringCase(&["include", "exclude"])),
        ConfigKey::with_default(
            MISSING,
            ConfigType::String,
            "fail",
            Importance::Medium,
            "What a record is that has not what the condition names: fail, include (it passes) or exclude.",
        )
        .valid(Validator::OneOfIgnoringCase(&["fail", "include", "exclude"])),
    ],
};

/// What becomes of a record without what the condition names.
#[derive(Debug, Clone, Copy)]
enum Missing {
    Fail,
    Pass,
    Drop,
}

pub(in super::super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let is = |key, word| config.string(key).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let missing = match () {
        () if is(MISSING, "include") => Missing::Pass,
        () if is(MISSING, "exclude") => Missing::Drop,
        () => Missing::Fail,
    };
    let condition = JsonPath::new(CONDITION, config.string(CONDITION).unwrap_or_default())?;
    Ok(Box::new(Filter { side, condition, includes: is(TYPE, "include"), missing }))
}

struct Filter {
    side: Side,
    condition: JsonPath,
    includes: bool,
    missing: Missing,
}

impl Transform for Filter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| {
            let (schema, value) = batch.records[index].side(self.side);
            let root = Node { schema: batch.schema(schema), value };
            let (found, missing) = self.condition.find(batch, root);
            let passes = match (found.is_empty(), missing, self.missing) {
                (true, true, Missing::Fail) => {
                    let message = format!("what the {CONDITION} names is missing or null; see {MISSING}");
                    return Err(data_error(message));
                }
                (true, true, Missing::Pass) => true,
                (true, true, Missing::Drop) => false,
                (is_empty, ..) => is_empty != self.includes,
            };
            if !passes {
                batch.records[index].state = RecordState::Dropped;
            }
            Ok(())
        });
    }
}
