//! `ReplaceField`: fields left out or renamed.

use super::field_plan::{Operand, field_value, names, operand, replaces_null};
use super::{PlanCache, Transform};
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, Range32, RecordError, Schema, SchemaRef, Side, Stage, Value};

const PURPOSE: &str = "field replacement";

struct Plan {
    /// The new schema, and where each of its fields stood.
    target: Result<(SchemaRef, Vec<usize>), String>,
    defaults: bool,
}

pub(super) struct ReplaceField {
    side: Side,
    exclude: Vec<String>,
    include: Vec<String>,
    renames: Vec<(String, String)>,
    replace_null: bool,
    plans: PlanCache<Plan>,
    scratch: Vec<Value>,
}

impl ReplaceField {
    pub(super) fn new(config: &ConfigMap, side: Side) -> Result<Self, ConfigError> {
        let mut renames = Vec::new();
        for rename in names(config, "renames") {
            let mut parts = rename.split(':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(from), Some(to), None) => renames.push((from.to_owned(), to.to_owned())),
                _ => {
                    let list = names(config, "renames").join(", ");
                    let why = format!("Invalid rename mapping: {rename}");
                    return Err(ConfigError::invalid("renames", format!("[{list}]"), why));
                }
            }
        }
        Ok(Self {
            side,
            exclude: names(config, "exclude"),
            include: names(config, "include"),
            renames,
            replace_null: replaces_null(config)?,
            plans: PlanCache::default(),
            scratch: Vec::new(),
        })
    }

    fn keeps(&self, name: &str) -> bool {
        !self.exclude.iter().any(|excluded| excluded == name)
            && (self.include.is_empty() || self.include.iter().any(|included| included == name))
    }

    fn renamed<'a>(&'a self, name: &'a str) -> &'a str {
        self.renames.iter().rev().find(|(from, _)| from == name).map_or(name, |(_, to)| to)
    }

    fn compile(&self, schema: &Schema) -> Plan {
        let mut builder = schema.like();
        let mut places = Vec::new();
        let mut taken: Vec<&str> = Vec::new();
        let mut duplicate = None;
        for (at, field) in schema.fields.iter().enumerate().filter(|(_, field)| self.keeps(&field.name)) {
            let name = self.renamed(&field.name);
            if taken.contains(&name) {
                duplicate.get_or_insert_with(|| {
                    format!("Cannot create field because of field name duplication {name}")
                });
            }
            taken.push(name);
            places.push(at);
            builder = builder.field(name, SchemaRef::clone(&field.schema));
        }
        Plan {
            target: duplicate.map_or_else(|| Ok((builder.build(), places)), Err),
            defaults: schema.fields.iter().any(|field| field.schema.default.is_some()),
        }
    }

    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: Range32,
    ) -> Result<(), String> {
        let Some(schema) = batch.schema_ref(id).cloned() else { return Ok(()) };
        // Taken out for the compilation, which reads the settings beside it.
        let mut plans = std::mem::take(&mut self.plans);
        let plan = plans.get(&schema, || self.compile(&schema));
        let defaults = plan.defaults && self.replace_null;
        let result = plan.target.as_ref().map_err(String::clone).map(|(target, places)| {
            self.scratch.clear();
            for at in places {
                let mut value = batch.items(range).get(*at).copied().unwrap_or_default();
                if defaults {
                    value = field_value(batch, &schema.fields[*at], value, true);
                }
                self.scratch.push(value);
            }
            let range = batch.push_values(&self.scratch);
            let id = batch.intern_schema(target);
            batch.records[index].set_side(self.side, id, Value::Struct(range));
        });
        self.plans = plans;
        result
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: Range32) {
        let entries: Vec<(Value, Value)> = batch.entries(range).collect();
        let mut kept: Vec<Value> = Vec::with_capacity(entries.len() * 2);
        for (key, value) in entries {
            let Value::String(span) = key else {
                kept.extend([key, value]);
                continue;
            };
            let name = batch.str(span).to_owned();
            if !self.keeps(&name) {
                continue;
            }
            let new = self.renamed(&name);
            let key = if new == name { span } else { batch.put_str(new) };
            let same = |entry: &&mut [Value]| matches!(entry[0], Value::String(span) if batch.bytes(span) == new.as_bytes());
            match kept.chunks_exact_mut(2).find(same) {
                Some(entry) => entry[1] = value,
                None => kept.extend([Value::String(key), value]),
            }
        }
        let range = batch.push_values(&kept);
        let range = Range32 { start: range.start, len: range.len / 2 };
        batch.records[index].set_side(self.side, 0, Value::Map(range));
    }
}

impl Transform for ReplaceField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        for row in rows {
            let index = *row as usize;
            match operand(batch, index, self.side, PURPOSE) {
                Ok(Operand::Null) => {}
                Ok(Operand::Map(range)) => self.without_schema(batch, index, range),
                Ok(Operand::Struct(schema, range)) => {
                    if let Err(message) = self.with_schema(batch, index, schema, range) {
                        let java_class = "org.apache.kafka.connect.errors.SchemaBuilderException";
                        batch.fail(index, RecordError { stage: Stage::Transformation, java_class, message });
                    }
                }
                Err(error) => batch.fail(index, error),
            }
        }
    }
}
