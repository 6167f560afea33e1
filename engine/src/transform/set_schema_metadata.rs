//! `SetSchemaMetadata`: another name or version of the schema.

use super::field_plan::{Copies, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, each_row, schema_of};
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, Schema, Side, Type, Value};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::nullable("schema.name", ConfigType::String, Importance::High, "Schema name to set."),
        ConfigKey::nullable("schema.version", ConfigType::Int, Importance::High, "Schema version to set."),
        REPLACE_NULL_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let name = config.string("schema.name").map(str::to_owned);
    let version = config.string("schema.version").map(|_| config.long("schema.version") as i32);
    if name.is_none() && version.is_none() {
        return Err(ConfigError::new("schema.name", "Neither schema name nor version configured"));
    }
    let replace_null = config.boolean(REPLACE_NULL);
    Ok(Box::new(SetSchemaMetadata { side, name, version, replace_null, plans: PlanCache::default() }))
}

struct Plan {
    target: Target,
    copies: Copies,
}

struct SetSchemaMetadata {
    side: Side,
    name: Option<String>,
    version: Option<i32>,
    replace_null: bool,
    plans: PlanCache<Plan>,
}

impl Transform for SetSchemaMetadata {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        let (name, version, replace_null) = (&self.name, self.version, self.replace_null);
        let compile = |schema: &Schema| {
            let mut renamed = schema.clone();
            if let Some(name) = name {
                renamed.name = Some(name.as_str().into());
            }
            renamed.version = version.or(renamed.version);
            Plan { target: Target::new(renamed.into()), copies: Copies::all(schema, replace_null) }
        };
        each_row(batch, rows, |batch, index| {
            let (id, value) = batch.records[index].side(self.side);
            if id == 0 {
                let nothing = value.is_null().then_some(());
                return nothing.ok_or_else(|| data_error("Schema required for [updating schema metadata]"));
            }
            if schema_of(batch, id).kind != Type::Struct {
                return Err(data_error("Cannot list fields on non-struct type"));
            }
            let plan = self.plans.get(schema_of(batch, id), |schema| compile(schema));
            let value = match value {
                Value::Struct(range) => Value::Struct(plan.copies.take(batch, range)?),
                other => other,
            };
            let schema = plan.target.id(batch);
            batch.records[index].set_side(self.side, schema, value);
            Ok(())
        });
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }
}
