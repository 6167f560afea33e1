//! `ExtractField`: one field in place of the whole.

use super::field_plan::{
    Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, each_row, field_value, map_get, not_a_map,
    not_a_struct, operand, schema_of,
};
use super::{Transform, data_error, field_path};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, Range32, RecordError, SchemaRef, Side, Type, Value};

const PURPOSE: &str = "field extraction";
const NESTED: &str = "nested field access";

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required("field", ConfigType::String, Importance::Medium, "Field name to extract."),
        REPLACE_NULL_KEY,
        field_path::VERSION_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(ExtractField {
        side,
        path: config.string("field").unwrap_or_default().to_owned(),
        steps: field_path::steps(config, "field")?,
        replace_null: config.boolean(REPLACE_NULL),
        plans: PlanCache::default(),
    }))
}

/// The field's place in each struct on the way, and its schema.
struct Plan {
    way: Vec<(usize, SchemaRef)>,
    target: Target,
}

struct ExtractField {
    side: Side,
    path: String,
    steps: Vec<String>,
    replace_null: bool,
    plans: PlanCache<Result<Plan, RecordError>>,
}

/// A path without a step.
fn no_step() -> RecordError {
    illegal("fromIndex(0) > toIndex(-1)".to_owned())
}

fn illegal(message: String) -> RecordError {
    RecordError { java_class: "java.lang.IllegalArgumentException", ..data_error(message) }
}

fn compile(steps: &[String], path: &str, schema: &SchemaRef) -> Result<Plan, RecordError> {
    let mut way = Vec::with_capacity(steps.len());
    let mut current = schema;
    for step in steps {
        if current.kind != Type::Struct {
            return Err(data_error("Cannot look up fields on non-struct type"));
        }
        let (at, field) = current.field(step).ok_or_else(|| illegal(format!("Unknown field: {path}")))?;
        way.push((at, SchemaRef::clone(&field.schema)));
        current = &field.schema;
    }
    match way.last() {
        Some((_, schema)) => Ok(Plan { target: Target::new(SchemaRef::clone(schema)), way }),
        None => Err(no_step()),
    }
}

/// The value at the end of the way. Structs on the way take their defaults, whatever the option says.
fn walk(plan: &Plan, replace_null: bool, batch: &mut Batch, range: Range32) -> Result<Value, RecordError> {
    let mut range = range;
    let last = plan.way.len() - 1;
    for (step, (at, schema)) in plan.way.iter().enumerate() {
        let value = batch.items(range).get(*at).copied().unwrap_or_default();
        let value = field_value(batch, schema, value, replace_null || step < last);
        if step == last {
            return Ok(value);
        }
        match value {
            Value::Struct(nested) => range = nested,
            Value::Null => return Ok(Value::Null),
            other => return Err(not_a_struct(other, NESTED)),
        }
    }
    Ok(Value::Null)
}

fn walk_map(steps: &[String], batch: &Batch, range: Range32) -> Result<Value, RecordError> {
    let (last, way) = steps.split_last().ok_or_else(no_step)?;
    let mut range = range;
    for step in way {
        match map_get(batch, range, step) {
            Value::Map(nested) => range = nested,
            Value::Null => return Ok(Value::Null),
            other => return Err(not_a_map(other, NESTED)),
        }
    }
    Ok(map_get(batch, range, last))
}

impl Transform for ExtractField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| {
            let operand = operand(batch, index, self.side, PURPOSE)?;
            let id = batch.records[index].side(self.side).0;
            if id == 0 {
                let value = match operand {
                    Operand::Map(range) => walk_map(&self.steps, batch, range)?,
                    _ => Value::Null,
                };
                batch.records[index].set_side(self.side, 0, value);
                return Ok(());
            }
            let compiled = |schema: &SchemaRef| compile(&self.steps, &self.path, schema);
            let plan = self.plans.get(schema_of(batch, id), compiled);
            let plan = plan.as_mut().map_err(|error| error.clone())?;
            let value = match operand {
                Operand::Struct(_, range) => walk(plan, self.replace_null, batch, range)?,
                _ => Value::Null,
            };
            let schema = plan.target.id(batch);
            batch.records[index].set_side(self.side, schema, value);
            Ok(())
        });
    }
}
