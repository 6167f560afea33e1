//! `MaskField`: fields emptied, or replaced by a constant.

use super::field_plan::{Operand, field_value, names, null_error, operand, replaces_null};
use super::{PlanCache, Transform, data_error};
use crate::config::{ConfigError, ConfigMap};
use crate::data::{Batch, Range32, RecordError, SchemaRef, Side, Span, Value};

const PURPOSE: &str = "mask fields";

/// Places of a schema's masked fields, and whether any field has a default.
struct Plan {
    masked: Vec<usize>,
    defaults: bool,
}

pub(super) struct MaskField {
    side: Side,
    fields: Vec<String>,
    replacement: Option<String>,
    replace_null: bool,
    plans: PlanCache<Plan>,
    replacement_span: Option<Span>,
    scratch: Vec<Value>,
}

impl MaskField {
    pub(super) fn new(config: &ConfigMap, side: Side) -> Result<Self, ConfigError> {
        let fields = names(config, "fields");
        if !config.contains_key("fields") {
            return Err(ConfigError::missing("fields"));
        }
        if fields.is_empty() {
            return Err(ConfigError::invalid("fields", "[]", "Empty list"));
        }
        let replacement = config.get("replacement").map(|text| text.trim().to_owned());
        if replacement.as_deref() == Some("") {
            return Err(ConfigError::invalid("replacement", "", "String must be non-empty"));
        }
        Ok(Self {
            side,
            fields,
            replacement,
            replace_null: replaces_null(config)?,
            plans: PlanCache::default(),
            replacement_span: None,
            scratch: Vec::new(),
        })
    }

    fn masked(&mut self, batch: &mut Batch, value: Value) -> Result<Value, RecordError> {
        match &self.replacement {
            None => empty(batch, value),
            Some(_) if value.is_null() => Ok(value),
            Some(text) => {
                let text = text.clone();
                self.replaced(batch, value, &text)
            }
        }
    }

    fn replaced(&mut self, batch: &mut Batch, value: Value, text: &str) -> Result<Value, RecordError> {
        let not_a_number =
            || data_error(format!("Unable to convert {text} (class java.lang.String) to a number"));
        let whole = || lenient_integer(text).ok_or_else(not_a_number);
        let fraction = || text.parse::<f64>().map_err(|_| not_a_number());
        Ok(match value {
            Value::Int8(_) => Value::Int8(whole()? as i8),
            Value::Int16(_) => Value::Int16(whole()? as i16),
            Value::Int32(_) => Value::Int32(whole()? as i32),
            Value::Int64(_) => Value::Int64(whole()?),
            Value::Float32(_) => Value::Float32(fraction()? as f32),
            Value::Float64(_) => Value::Float64(fraction()?),
            Value::String(_) => {
                Value::String(*self.replacement_span.get_or_insert_with(|| batch.put_str(text)))
            }
            Value::Decimal(_) => {
                let (unscaled, scale) = crate::converter::decimal_text(text).ok_or_else(not_a_number)?;
                let bytes = Value::Bytes(batch.put_bytes(&unscaled));
                Value::Decimal(batch.push_values(&[bytes, Value::Int32(scale)]))
            }
            other => {
                return Err(data_error(format!(
                    "Cannot mask value of type {} with custom replacement.",
                    java_class_of(other)
                )));
            }
        })
    }

    fn with_schema(
        &mut self,
        batch: &mut Batch,
        index: usize,
        id: u32,
        range: Range32,
    ) -> Result<(), RecordError> {
        let Some(schema) = batch.schema_ref(id).cloned() else { return Ok(()) };
        // Taken out, because masking needs the settings beside it.
        let mut plans = std::mem::take(&mut self.plans);
        let plan = plans.get(&schema, || Plan {
            masked: self.fields.iter().filter_map(|name| schema.field(name)).map(|(at, _)| at).collect(),
            defaults: schema.fields.iter().any(|field| field.schema.default.is_some()),
        });
        let result = self.mask(batch, &schema, plan, range);
        self.plans = plans;
        let range = result?;
        batch.records[index].set_side(self.side, id, Value::Struct(range));
        Ok(())
    }

    fn mask(
        &mut self,
        batch: &mut Batch,
        schema: &SchemaRef,
        plan: &Plan,
        range: Range32,
    ) -> Result<Range32, RecordError> {
        let mut values = std::mem::take(&mut self.scratch);
        values.clear();
        values.extend_from_slice(batch.items(range));
        if plan.defaults && self.replace_null {
            for (value, field) in values.iter_mut().zip(&schema.fields) {
                *value = field_value(batch, field, *value, true);
            }
        }
        let mut result = Ok(());
        for at in &plan.masked {
            if let Some(value) = values.get_mut(*at) {
                match self.masked(batch, *value) {
                    Ok(masked) => *value = masked,
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        let range = batch.push_values(&values);
        self.scratch = values;
        result.map(|()| range)
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, range: Range32) -> Result<(), RecordError> {
        let mut entries = batch.items(Range32 { start: range.start, len: range.len * 2 }).to_vec();
        for at in 0..self.fields.len() {
            let is_it = |entry: &[Value]| matches!(entry[0], Value::String(span) if batch.bytes(span) == self.fields[at].as_bytes());
            match entries.chunks_exact(2).position(is_it) {
                Some(entry) => entries[entry * 2 + 1] = self.masked(batch, entries[entry * 2 + 1])?,
                None => {
                    let name = Value::String(batch.put_str(&self.fields[at]));
                    entries.extend([name, Value::Null]);
                }
            }
        }
        let range = batch.push_values(&entries);
        let range = Range32 { start: range.start, len: range.len / 2 };
        batch.records[index].set_side(self.side, 0, Value::Map(range));
        Ok(())
    }
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

/// As Java prints a class.
fn java_class_of(value: Value) -> String {
    format!("class {}", value.java_class())
}

/// A whole number of a lenient parse: a fraction is cut off, what is too large wraps.
fn lenient_integer(text: &str) -> Option<i64> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    text.parse::<f64>().ok()?;
    match whole.parse::<i128>() {
        Ok(number) => Some(number as i64),
        Err(_) => text.parse::<f64>().ok().map(|number| number as i64),
    }
}

impl Transform for MaskField {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.replacement_span = None;
        for row in rows {
            let index = *row as usize;
            let schema = batch.records[index].side(self.side).0;
            let result = match operand(batch, index, self.side, PURPOSE) {
                Ok(Operand::Null) => Err(null_error(schema, PURPOSE)),
                Ok(Operand::Map(range)) => self.without_schema(batch, index, range),
                Ok(Operand::Struct(schema, range)) => self.with_schema(batch, index, schema, range),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                batch.fail(index, error);
            }
        }
    }
}
