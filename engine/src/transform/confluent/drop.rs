//! `Drop`: a null key or a null value.

use super::super::field_plan::each_row;
use super::super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, Side, Value};

const BEHAVIOR: &str = "schema.behavior";

pub(in super::super) static DEF: ConfigDef = ConfigDef {
    keys: &[ConfigKey::with_default(
        BEHAVIOR,
        ConfigType::String,
        "nullify",
        Importance::Medium,
        "nullify: the schema goes too; retain: it stays; validate: it stays, and has to be optional.",
    )
    .valid(Validator::OneOfIgnoringCase(&["nullify", "retain", "validate"]))],
};

pub(in super::super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let is = |word| config.string(BEHAVIOR).is_some_and(|value| value.eq_ignore_ascii_case(word));
    Ok(Box::new(Drop { side, nullify: is("nullify"), validate: is("validate") }))
}

struct Drop {
    side: Side,
    nullify: bool,
    validate: bool,
}

impl Transform for Drop {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| {
            let schema = batch.records[index].side(self.side).0;
            if self.validate && batch.schema(schema).is_some_and(|schema| !schema.optional) {
                return Err(data_error("Drop cannot put null under a schema that is not optional"));
            }
            let schema = if self.nullify { 0 } else { schema };
            batch.records[index].set_side(self.side, schema, Value::Null);
            Ok(())
        });
    }
}
