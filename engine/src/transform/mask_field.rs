//! `MaskField`: fields emptied, or replaced by a constant.

use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Text, each_row, java_class_of,
    map_get, null_error, operand, schema_of,
};
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{
    Batch, Range32, RecordError, Schema, SchemaId, Side, Span, Value, low_bits, parse_decimal,
};

const PURPOSE: &str = "mask fields";

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required("fields", ConfigType::List, Importance::High, "Names of fields to mask.")
            .valid(Validator::Names { empty: false }),
        ConfigKey::nullable(
            "replacement",
            ConfigType::String,
            Importance::Low,
            "What takes the place of the fields' values: of numbers and of strings only.",
        )
        .valid(Validator::NonEmpty),
        REPLACE_NULL_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(MaskField {
        side,
        fields: config.set("fields").into_iter().map(Text::new).collect(),
        mask: Mask { replacement: config.string("replacement").map(Text::new) },
        replace_null: config.boolean(REPLACE_NULL),
        plans: PlanCache::default(),
        map: MapBuilder::default(),
    }))
}

/// Places of a schema's masked fields.
struct Plan {
    masked: Vec<usize>,
    copies: Copies,
}

struct MaskField {
    side: Side,
    fields: Vec<Text>,
    mask: Mask,
    replace_null: bool,
    plans: PlanCache<Plan>,
    map: MapBuilder,
}

/// What takes the place of a value.
struct Mask {
    replacement: Option<Text>,
}

impl Mask {
    #[inline]
    fn masked(&mut self, batch: &mut Batch, value: Value) -> Result<Value, RecordError> {
        match &mut self.replacement {
            None => empty(batch, value),
            Some(_) if value.is_null() => Ok(value),
            Some(text) => replaced(batch, value, text),
        }
    }
}

fn replaced(batch: &mut Batch, value: Value, replacement: &mut Text) -> Result<Value, RecordError> {
    let text = replacement.text.as_str();
    let not_a_number =
        || data_error(format!("Unable to convert {text} (class java.lang.String) to a number"));
    let decimal = || parse_decimal(text).ok_or_else(not_a_number);
    let whole = || decimal().map(|(unscaled, scale)| low_bits(&unscaled, scale));
    // BigDecimal has no negative zero.
    let fraction =
        || decimal().and_then(|_| text.parse::<f64>().map_err(|_| not_a_number())).map(|value| value + 0.0);
    Ok(match value {
        Value::Int8(_) => Value::Int8(whole()? as i8),
        Value::Int16(_) => Value::Int16(whole()? as i16),
        Value::Int32(_) => Value::Int32(whole()? as i32),
        Value::Int64(_) => Value::Int64(whole()?),
        Value::Float32(_) => Value::Float32(fraction()? as f32),
        Value::Float64(_) => Value::Float64(fraction()?),
        Value::String(_) => Value::String(replacement.span(batch)),
        Value::Decimal(_) => {
            let (unscaled, scale) = decimal()?;
            let bytes = Value::Bytes(batch.put_bytes(&unscaled));
            Value::Decimal(batch.push_values(&[bytes, Value::Int32(scale)]))
        }
        other => {
            let class = java_class_of(other);
            return Err(data_error(format!("Cannot mask value of type {class} with custom replacement.")));
        }
    })
}

/// The empty value of a value's own type.
fn empty(batch: &mut Batch, value: Value) -> Result<Value, RecordError> {
    Ok(match value {
        Value::Null => Value::Null,
        Value::Boolean(_) => Value::Boolean(false),
        Value::Int8(_) => Value::Int8(0),
        Value::Int16(_) => Value::Int16(0),
        Value::Int32(_) => Value::Int32(0),
        Value::Int64(_) => Value::Int64(0),
        Value::Float32(_) => Value::Float32(0.0),
        Value::Float64(_) => Value::Float64(0.0),
        Value::String(_) => Value::String(Span::default()),
        Value::Array(_) => Value::Array(Range32::default()),
        Value::Map(_) => Value::Map(Range32::default()),
        Value::Date(_) => Value::Date(0),
        Value::Decimal(_) => {
            let zero = Value::Bytes(batch.put_bytes(&[0]));
            Value::Decimal(batch.push_values(&[zero, Value::Int32(0)]))
        }
        Value::Bytes(_) | Value::Struct(_) => {
            return Err(data_error(format!("Cannot mask value of type: {}", java_class_of(value))));
        }
    })
}

impl MaskField {
    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: SchemaId,
        range: Range32,
    ) -> Result<(), RecordError> {
        let (fields, replace_null) = (&self.fields, self.replace_null);
        let compile = |schema: &Schema| Plan {
            masked: fields.iter().filter_map(|name| schema.field(&name.text)).map(|(at, _)| at).collect(),
            copies: Copies::all(schema, replace_null),
        };
        let plan = self.plans.get(schema_of(batch, id), |schema| compile(schema));
        let mask = &mut self.mask;
        let one = |batch: &mut Batch, _: &usize, at: usize| match (batch.values[at], &mut mask.replacement) {
            (Value::String(_), Some(text)) => {
                let text = text.value(batch);
                batch.values[at] = *text;
                Ok(())
            }
            (value, _) => {
                batch.values[at] = mask.masked(batch, value)?;
                Ok(())
            }
        };
        let range = plan.copies.change(batch, range, &plan.masked, |at| *at, one)?;
        batch.records[index].set_side(self.side, id, Value::Struct(range));
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: Range32) -> Result<(), RecordError> {
        self.map.copy(batch, range);
        for name in &mut self.fields {
            let value = map_get(batch, range, &name.text);
            let value = self.mask.masked(batch, value)?;
            self.map.put(batch, name, value);
        }
        let map = self.map.finish(batch);
        batch.records[index].set_side(self.side, 0, map);
        Ok(())
    }
}

impl Transform for MaskField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.fields.iter_mut().chain(&mut self.mask.replacement).for_each(Text::begin);
        each_row(batch, rows, |batch, index| match operand(batch, index, self.side, PURPOSE)? {
            Operand::Null => Err(null_error(batch.records[index].side(self.side).0, PURPOSE)),
            Operand::Map(range) => self.without_schema(batch, index, range),
            Operand::Struct(schema, range) => self.with_schema(batch, index, schema, range),
        });
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }
}
