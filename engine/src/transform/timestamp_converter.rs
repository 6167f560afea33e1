//! `TimestampConverter`: timestamps between strings, Unix time and Connect's Date, Time and Timestamp.

use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, Text, constant_of,
    each_row, java_class_of, map_get, null_pointer, operand, schema_of,
};
use super::java_date::DateFormat;
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig, Validator};
use crate::data::{
    Batch, DATE, RecordError, Schema, SchemaBuilder, SchemaId, SchemaRef, Side, TIME, TIMESTAMP, Type, Value,
};

const PURPOSE: &str = "converting timestamp formats";
const DAY: i64 = 86_400_000;

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::with_default(
            "field",
            ConfigType::String,
            "",
            Importance::High,
            "The field containing the timestamp, or empty if the entire value is a timestamp.",
        ),
        ConfigKey::required(
            "target.type",
            ConfigType::String,
            Importance::High,
            "The desired timestamp representation.",
        )
        .valid(Validator::OneOf(&["string", "unix", "Date", "Time", "Timestamp"])),
        ConfigKey::with_default(
            "format",
            ConfigType::String,
            "",
            Importance::Medium,
            "A SimpleDateFormat pattern of strings, in both directions.",
        ),
        ConfigKey::with_default(
            "unix.precision",
            ConfigType::String,
            "milliseconds",
            Importance::Low,
            "The precision of Unix time, in both directions.",
        )
        .valid(Validator::OneOf(&["nanoseconds", "microseconds", "milliseconds", "seconds"])),
        REPLACE_NULL_KEY,
    ],
};

/// How a timestamp is represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    String,
    Unix,
    Date,
    Time,
    Timestamp,
}

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let target = match config.string("target.type") {
        Some("string") => Form::String,
        Some("unix") => Form::Unix,
        Some("Date") => Form::Date,
        Some("Time") => Form::Time,
        _ => Form::Timestamp,
    };
    let format = match config.string("format").unwrap_or_default() {
        "" if target == Form::String => {
            let message = "TimestampConverter requires format option to be specified when using string timestamps";
            return Err(ConfigError::new("format", message));
        }
        "" => None,
        pattern => Some(DateFormat::new(pattern).map_err(|why| {
            let message = format!(
                "Invalid value java.lang.IllegalArgumentException: {why} for configuration TimestampConverter requires a \
                 SimpleDateFormat-compatible pattern for string timestamps: {pattern}"
            );
            ConfigError::new("format", message)
        })?),
    };
    let unix = match config.string("unix.precision") {
        Some("seconds") => Unix::Coarser(1000),
        Some("microseconds") => Unix::Finer(1000),
        Some("nanoseconds") => Unix::Finer(1_000_000),
        _ => Unix::Coarser(1),
    };
    Ok(Box::new(TimestampConverter {
        side,
        field: Text::new(config.string("field").unwrap_or_default()),
        conversion: Conversion { target, format, unix, text: String::new() },
        replace_null: config.boolean(REPLACE_NULL),
        plans: PlanCache::default(),
        map: MapBuilder::default(),
    }))
}

/// The unit of Unix time: so many milliseconds, or so many in a millisecond.
#[derive(Debug, Clone, Copy)]
enum Unix {
    Coarser(i64),
    Finer(i64),
}

struct Conversion {
    target: Form,
    format: Option<DateFormat>,
    unix: Unix,
    text: String,
}

impl Conversion {
    fn schema(&self, optional: bool) -> SchemaRef {
        match self.target {
            Form::String => SchemaRef::clone(Schema::primitive(Type::String, optional)),
            Form::Unix => SchemaRef::clone(Schema::primitive(Type::Int64, optional)),
            Form::Date => SchemaBuilder::date().set_optional(optional).build(),
            Form::Time => SchemaBuilder::time().set_optional(optional).build(),
            Form::Timestamp => SchemaBuilder::timestamp().set_optional(optional).build(),
        }
    }

    /// A value of a known form, or of one that its class says, to the target. Null stays null.
    fn convert(&mut self, batch: &mut Batch, value: Value, form: Option<Form>) -> Result<Value, RecordError> {
        let form = match (form, value) {
            (_, Value::Null) => return Ok(value),
            (Some(form), _) => form,
            (None, Value::Date(_)) => Form::Timestamp,
            (None, Value::Int64(_)) => Form::Unix,
            (None, Value::String(_)) => Form::String,
            (None, other) => {
                let class = java_class_of(other);
                return Err(data_error(format!(
                    "TimestampConverter does not support {class} objects as timestamps"
                )));
            }
        };
        let ms = self.millis(batch, value, form)?;
        Ok(match self.target {
            Form::Timestamp => Value::Date(ms),
            Form::Date => Value::Date(ms.div_euclid(DAY).wrapping_mul(DAY)),
            Form::Time => Value::Date(ms.rem_euclid(DAY)),
            Form::Unix => Value::Int64(match self.unix {
                Unix::Coarser(unit) => ms / unit,
                Unix::Finer(parts) => ms.saturating_mul(parts),
            }),
            Form::String => {
                self.text.clear();
                if let Some(format) = &self.format {
                    format.print(ms, &mut self.text);
                }
                Value::String(batch.put_str(&self.text))
            }
        })
    }

    fn millis(&mut self, batch: &Batch, value: Value, form: Form) -> Result<i64, RecordError> {
        let wrong = |expected: &str| {
            let class = java_class_of(value);
            Err(data_error(format!("Expected {expected}, but found {class}")))
        };
        match (form, value) {
            (Form::Unix, Value::Int64(time)) => Ok(match self.unix {
                Unix::Coarser(unit) => time.saturating_mul(unit),
                Unix::Finer(parts) => time / parts,
            }),
            (Form::Unix, _) => wrong("Unix timestamp to be a Long"),
            (Form::String, Value::String(span)) => {
                let text = batch.str(span);
                let format = self.format.as_mut().ok_or_else(|| {
                    null_pointer("Cannot invoke \"java.text.SimpleDateFormat.parse(String)\" because \"config.format\" is null")
                })?;
                format.parse(text).ok_or_else(|| {
                    data_error(format!(
                        "Could not parse timestamp: value ({text}) does not match pattern ({})",
                        format.pattern()
                    ))
                })
            }
            (Form::String, _) => wrong("string timestamp to be a String"),
            (_, Value::Date(ms)) => Ok(ms),
            (Form::Date, _) => wrong("Date to be a java.util.Date"),
            (Form::Time, _) => wrong("Time to be a java.util.Date"),
            (Form::Timestamp, _) => wrong("Timestamp to be a java.util.Date"),
        }
    }
}

/// The form that a schema says.
fn form_of(schema: &Schema) -> Result<Form, RecordError> {
    match (schema.name.as_deref(), schema.kind) {
        (Some(TIMESTAMP), _) => Ok(Form::Timestamp),
        (Some(DATE), _) => Ok(Form::Date),
        (Some(TIME), _) => Ok(Form::Time),
        (_, Type::String) => Ok(Form::String),
        (_, Type::Int64) => Ok(Form::Unix),
        (name, kind) => {
            let name = name.map_or(String::new(), |name| format!("{name}:"));
            let shown = format!("Schema{{{name}{}}}", kind.name());
            let message = format!("Schema {shown} does not correspond to a known timestamp type format");
            let java_class = "org.apache.kafka.connect.errors.ConnectException";
            Err(RecordError { java_class, ..data_error(message) })
        }
    }
}

struct Plan {
    target: Target,
    copies: Copies,
    /// Place and form of the field; the error of a form that is none.
    field: Option<(usize, Result<Form, RecordError>)>,
}

struct TimestampConverter {
    side: Side,
    field: Text,
    conversion: Conversion,
    replace_null: bool,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
}

fn compile(
    conversion: &mut Conversion,
    name: &str,
    replace_null: bool,
    schema: &SchemaRef,
) -> Result<Plan, RecordError> {
    let copies = Copies::all(schema, replace_null);
    if name.is_empty() {
        let target = Target::new(conversion.schema(schema.optional));
        return Ok(Plan { target, copies, field: Some((0, form_of(schema))) });
    }
    if schema.kind != Type::Struct {
        return Err(data_error("Cannot list fields on non-struct type"));
    }
    let mut builder = schema.like().set_optional(schema.optional);
    let mut place = None;
    for (at, field) in schema.fields.iter().enumerate() {
        let converted = if *field.name == *name {
            place = Some((at, form_of(&field.schema)));
            conversion.schema(field.schema.optional)
        } else {
            SchemaRef::clone(&field.schema)
        };
        builder = builder.field(&*field.name, converted);
    }
    if let Some(default) = &schema.default {
        let mut batch = Batch::default();
        if let Value::Struct(range) = batch.put_constant(default) {
            let range = copies.run(&mut batch, range)?;
            if let Some((at, form)) = &place {
                let at = range.start as usize + at;
                let value = batch.values[at];
                batch.values[at] = conversion.convert(&mut batch, value, Some(form.clone()?))?;
            }
            builder = builder.default_value(Some(constant_of(&batch, Value::Struct(range))));
        }
    }
    Ok(Plan { target: Target::new(builder.build()), copies, field: place })
}

impl TimestampConverter {
    fn with_schema(&mut self, batch: &mut Batch, index: usize, id: SchemaId) -> Result<(), RecordError> {
        let (conversion, name, replace_null) = (&mut self.conversion, &self.field.text, self.replace_null);
        let value = batch.records[index].side(self.side).1;
        let range = match value {
            _ if name.is_empty() => None,
            Value::Struct(range) => Some(range),
            Value::Null => None,
            other => return Err(super::field_plan::not_a_struct(other, PURPOSE)),
        };
        let compiled = |schema: &SchemaRef| compile(conversion, name, replace_null, schema);
        let plan = self.plans.get(schema_of(batch, id), compiled);
        let plan = plan.as_mut().map_err(|error| error.clone())?;
        let converted = match range {
            Some(range) => {
                let conversion = &mut self.conversion;
                let one = |batch: &mut Batch, (_, form): &(usize, Result<Form, RecordError>), at: usize| {
                    batch.values[at] = conversion.convert(batch, batch.values[at], Some(form.clone()?))?;
                    Ok(())
                };
                Value::Struct(plan.copies.change(
                    batch,
                    range,
                    plan.field.as_slice(),
                    |field| field.0,
                    one,
                )?)
            }
            None => match &plan.field {
                Some((_, form)) if self.field.text.is_empty() => {
                    self.conversion.convert(batch, value, Some(form.clone()?))?
                }
                _ => Value::Null,
            },
        };
        let schema = plan.target.id(batch);
        batch.records[index].set_side(self.side, schema, converted);
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize) -> Result<(), RecordError> {
        let value = batch.records[index].side(self.side).1;
        let converted = if value.is_null() || self.field.text.is_empty() {
            self.conversion.convert(batch, value, None)?
        } else {
            let Operand::Map(range) = operand(batch, index, self.side, PURPOSE)? else { return Ok(()) };
            let value = map_get(batch, range, &self.field.text);
            let value = self.conversion.convert(batch, value, None)?;
            self.map.copy(batch, range);
            self.map.put(batch, &mut self.field, value);
            self.map.finish(batch)
        };
        batch.records[index].set_side(self.side, 0, converted);
        Ok(())
    }
}

impl Transform for TimestampConverter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.field.begin();
        each_row(batch, rows, |batch, index| match batch.records[index].side(self.side).0 {
            0 => self.without_schema(batch, index),
            id => self.with_schema(batch, index, id),
        });
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }
}
