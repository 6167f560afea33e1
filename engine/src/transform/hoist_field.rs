//! `HoistField`: the whole becomes the one field of a new struct or map.

use super::Transform;
use super::field_plan::{
    MapBuilder, PlanCache, Target, Text, check_fields, each_row, null_in_required, schema_of,
};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, RecordError, SchemaBuilder, SchemaRef, Side, Value};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[ConfigKey::required(
        "field",
        ConfigType::String,
        Importance::Medium,
        "Field name for the single field that will be created in the resulting Struct or Map.",
    )],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(HoistField {
        side,
        field: Text::new(config.string("field").unwrap_or_default()),
        plans: PlanCache::default(),
        map: MapBuilder::default(),
    }))
}

/// The schema around, and whether what is inside may be null.
struct Plan {
    target: Target,
    /// The error of a null.
    null: Option<RecordError>,
}

struct HoistField {
    side: Side,
    field: Text,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
}

fn compile(field: &str, schema: &SchemaRef) -> Result<Plan, RecordError> {
    let around = SchemaBuilder::structure().field(field, SchemaRef::clone(schema)).build();
    check_fields(&around)?;
    let null = (!schema.optional).then(|| null_in_required(field, schema.kind));
    Ok(Plan { target: Target::new(around), null })
}

impl Transform for HoistField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.field.begin();
        each_row(batch, rows, |batch, index| {
            let (id, value) = batch.records[index].side(self.side);
            let (schema, hoisted) = if id == 0 {
                self.map.clear();
                self.map.put(batch, &mut self.field, value);
                (0, self.map.finish(batch))
            } else {
                let plan = self.plans.get(schema_of(batch, id), |schema| compile(&self.field.text, schema));
                let plan = plan.as_mut().map_err(|error| error.clone())?;
                if let Some(error) = plan.null.as_ref().filter(|_| value.is_null()) {
                    return Err(error.clone());
                }
                let range = batch.push_values(&[value]);
                (plan.target.id(batch), Value::Struct(range))
            };
            batch.records[index].set_side(self.side, schema, hoisted);
            Ok(())
        });
    }
}
