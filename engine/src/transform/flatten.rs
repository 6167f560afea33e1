//! `Flatten`: nested structs and maps dissolved, their fields named by the way to them.

use super::field_plan::{
    MapBuilder, Operand, PlanCache, Target, check_fields, each_row, field_value, java_class_of, operand,
    schema_of,
};
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, Constant, Range32, RecordError, Schema, SchemaRef, Side, Type, Value};

const PURPOSE: &str = "flattening";
/// Structs and maps within each other; converters refuse data before it is so deep.
const MAX_DEPTH: usize = 1000;

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[ConfigKey::with_default(
        "delimiter",
        ConfigType::String,
        ".",
        Importance::Medium,
        "What stands between the names of the fields on the way.",
    )],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(Flatten {
        side,
        delimiter: config.string("delimiter").unwrap_or_default().to_owned(),
        plans: PlanCache::default(),
        map: MapBuilder::default(),
        scratch: Vec::new(),
    }))
}

/// A field of the flat struct: the places on the way to it, and its schema.
struct Leaf {
    way: Vec<usize>,
    schema: SchemaRef,
}

struct Plan {
    target: Target,
    leaves: Vec<Leaf>,
}

struct Flatten {
    side: Side,
    delimiter: String,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
    scratch: Vec<Value>,
}

/// Walks a schema and collects the leaves.
struct Compiler<'a> {
    delimiter: &'a str,
    fields: Vec<(String, SchemaRef)>,
    leaves: Vec<Leaf>,
}

/// What is above a field.
struct Above<'a> {
    prefix: &'a str,
    way: &'a [usize],
    optional: bool,
    default: Option<&'a Constant>,
}

/// The name below a prefix.
fn joined(prefix: &str, delimiter: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { [prefix, delimiter, name].concat() }
}

impl Compiler<'_> {
    fn collect(&mut self, schema: &Schema, above: &Above<'_>) -> Result<(), RecordError> {
        if above.way.len() > MAX_DEPTH {
            return Err(data_error(format!("structs are nested more than {MAX_DEPTH} deep")));
        }
        for (at, field) in schema.fields.iter().enumerate() {
            let name = joined(above.prefix, self.delimiter, &field.name);
            let optional = above.optional || field.schema.optional;
            let inherited = match above.default {
                Some(Constant::Struct(values)) => values.get(at).filter(|value| **value != Constant::Null),
                _ => None,
            };
            let default = field.schema.default.as_ref().or(inherited);
            let way = [above.way, &[at]].concat();
            match field.schema.kind {
                Type::Struct => {
                    let above = Above { prefix: &name, way: &way, optional, default };
                    self.collect(&field.schema, &above)?;
                }
                Type::Map => return Err(unsupported("MAP", "schemas", &name)),
                _ => {
                    let mut flat = Schema::clone(&field.schema);
                    flat.optional = optional;
                    flat.default = default.cloned();
                    self.fields.push((name, flat.into()));
                    self.leaves.push(Leaf { way, schema: SchemaRef::clone(&field.schema) });
                }
            }
        }
        Ok(())
    }
}

fn unsupported(what: &str, with: &str, name: &str) -> RecordError {
    data_error(format!(
        "Flatten transformation does not support {what} for record with {with} (for field {name})."
    ))
}

fn compile(delimiter: &str, schema: &SchemaRef) -> Result<Plan, RecordError> {
    let mut compiler = Compiler { delimiter, fields: Vec::new(), leaves: Vec::new() };
    let above = Above { prefix: "", way: &[], optional: schema.optional, default: schema.default.as_ref() };
    compiler.collect(schema, &above)?;
    let mut builder = schema.like();
    for (name, field) in compiler.fields {
        builder = builder.field(name, field);
    }
    let target = builder.build();
    check_fields(&target)?;
    Ok(Plan { target: Target::new(target), leaves: compiler.leaves })
}

/// The value of a leaf: null behind a null struct, else with its default.
fn leaf_value(batch: &mut Batch, leaf: &Leaf, range: Range32) -> Value {
    let mut range = range;
    let (last, way) = match leaf.way.split_last() {
        Some((last, way)) => (*last, way),
        None => return Value::Null,
    };
    for at in way {
        match batch.items(range).get(*at) {
            Some(Value::Struct(nested)) => range = *nested,
            _ => return Value::Null,
        }
    }
    let value = batch.items(range).get(last).copied().unwrap_or_default();
    field_value(batch, &leaf.schema, value, true)
}

impl Flatten {
    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: Range32,
    ) -> Result<(), RecordError> {
        let delimiter = &self.delimiter;
        let plan = self.plans.get(schema_of(batch, id), |schema| compile(delimiter, schema));
        let plan = plan.as_mut().map_err(|error| error.clone())?;
        self.scratch.clear();
        for leaf in &plan.leaves {
            let value = leaf_value(batch, leaf, range);
            self.scratch.push(value);
        }
        let range = batch.push_values(&self.scratch);
        let schema = plan.target.id(batch);
        batch.records[index].set_side(self.side, schema, Value::Struct(range));
        Ok(())
    }

    /// Puts the leaves of a map into the flat one.
    fn collect(
        &mut self,
        batch: &mut Batch,
        range: Range32,
        prefix: &str,
        depth: usize,
    ) -> Result<(), RecordError> {
        if depth > MAX_DEPTH {
            return Err(data_error(format!("maps are nested more than {MAX_DEPTH} deep")));
        }
        for at in 0..range.len {
            let entry = batch.items(Range32 { start: range.start + at * 2, len: 2 });
            let &[key, value] = entry else { break };
            let Value::String(span) = key else {
                return Err(super::field_plan::class_cast(key, "java.lang.String"));
            };
            match value {
                Value::Map(nested) => {
                    let name = joined(prefix, &self.delimiter, batch.str(span));
                    self.collect(batch, nested, &name, depth + 1)?;
                }
                Value::Struct(_) => {
                    let name = joined(prefix, &self.delimiter, batch.str(span));
                    let class = java_class_of(value);
                    return Err(data_error(format!(
                        "Flatten transformation does not support {class} for record without schemas (for field {name})."
                    )));
                }
                Value::Date(_) | Value::Decimal(_) => {
                    return Err(data_error(format!(
                        "Flatten transformation was passed a value of type {} which is not supported by Connect's data API",
                        java_class_of(value)
                    )));
                }
                _ => {
                    let name = if prefix.is_empty() {
                        span
                    } else {
                        let name = joined(prefix, &self.delimiter, batch.str(span));
                        batch.put_str(&name)
                    };
                    self.map.put_key(batch, Value::String(name), value);
                }
            }
        }
        Ok(())
    }
}

impl Transform for Flatten {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| match operand(batch, index, self.side, PURPOSE)? {
            Operand::Null => Ok(()),
            Operand::Map(range) => {
                self.map.clear();
                self.collect(batch, range, "", 0)?;
                let map = self.map.finish(batch);
                batch.records[index].set_side(self.side, 0, map);
                Ok(())
            }
            Operand::Struct(id, range) => self.with_schema(batch, index, id, range),
        });
    }
}
