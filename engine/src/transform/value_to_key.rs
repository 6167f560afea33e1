//! `ValueToKey`: a key made of fields of the value.

use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, Text, check_fields,
    each_row, map_get, null_error, operand, schema_of,
};
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{Batch, RecordError, SchemaBuilder, SchemaRef, Side, Value};

const PURPOSE: &str = "copying fields from value to key";

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            "fields",
            ConfigType::List,
            Importance::High,
            "Field names on the record value to extract as the record key.",
        )
        .valid(Validator::Names { empty: false }),
        REPLACE_NULL_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(ValueToKey {
        fields: config.set("fields").into_iter().map(Text::new).collect(),
        replace_null: config.boolean(REPLACE_NULL),
        plans: PlanCache::default(),
        map: MapBuilder::default(),
    }))
}

struct Plan {
    target: Target,
    copies: Copies,
}

struct ValueToKey {
    fields: Vec<Text>,
    replace_null: bool,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
}

fn compile(fields: &[Text], replace_null: bool, schema: &SchemaRef) -> Result<Plan, RecordError> {
    let mut builder = SchemaBuilder::structure();
    let mut places = Vec::with_capacity(fields.len());
    for name in fields {
        let missing = || data_error(format!("Field does not exist: {}", name.text));
        let (at, field) = schema.field(&name.text).ok_or_else(missing)?;
        builder = builder.field(&*name.text, SchemaRef::clone(&field.schema));
        places.push(at);
    }
    let key = builder.build();
    check_fields(&key)?;
    Ok(Plan { target: Target::new(key), copies: Copies::new(schema, places, replace_null) })
}

impl Transform for ValueToKey {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.fields.iter_mut().for_each(Text::begin);
        each_row(batch, rows, |batch, index| {
            let (schema, key) = match operand(batch, index, Side::Value, PURPOSE)? {
                Operand::Null => return Err(null_error(batch.records[index].value_schema, PURPOSE)),
                Operand::Map(range) => {
                    self.map.clear();
                    for field in &mut self.fields {
                        let value = map_get(batch, range, &field.text);
                        self.map.put(batch, field, value);
                    }
                    (0, self.map.finish(batch))
                }
                Operand::Struct(id, range) => {
                    let compiled = |schema: &SchemaRef| compile(&self.fields, self.replace_null, schema);
                    let plan = self.plans.get(schema_of(batch, id), compiled);
                    let plan = plan.as_mut().map_err(|error| error.clone())?;
                    let range = plan.copies.run(batch, range)?;
                    (plan.target.id(batch), Value::Struct(range))
                }
            };
            batch.records[index].set_side(Side::Key, schema, key);
            Ok(())
        });
    }
}
