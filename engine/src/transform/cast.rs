//! `Cast`: fields, or the whole, of another type.

mod convert;

use super::field_plan::{
    Copies, MapBuilder, Operand, PlanCache, REPLACE_NULL, REPLACE_NULL_KEY, Target, Text, constant_of,
    each_row, map_get, operand, schema_error, schema_of,
};
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{
    Batch, DATE, DECIMAL, Range32, RecordError, Schema, SchemaBuilder, SchemaId, SchemaRef, Side, TIME,
    TIMESTAMP, Type, Value,
};

use convert::{cast, cast_whole};

const PURPOSE: &str = "cast types";

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(
            "spec",
            ConfigType::List,
            Importance::High,
            "Fields and the types to cast them to, field1:type,field2:type; or one type for the entire value. Types are \
             int8, int16, int32, int64, float32, float64, boolean and string.",
        ),
        REPLACE_NULL_KEY,
    ],
};

pub(super) fn make(config: &ParsedConfig, side: Side) -> Result<Box<dyn Transform>, ConfigError> {
    let mut spec = Spec { whole: None, fields: Vec::new(), replace_null: config.boolean(REPLACE_NULL) };
    let list = config.set("spec");
    if list.is_empty() {
        return Err(ConfigError::new("spec", "Must specify at least one field to cast."));
    }
    for entry in &list {
        // String.split drops empty parts at the end.
        let parts: Vec<&str> = entry.trim_end_matches(':').split(':').collect();
        match parts[..] {
            [kind] if !entry.contains(':') || !kind.is_empty() => {
                let java_trimmed = kind.trim_matches(|char| char <= ' ');
                spec.whole = Some(target_type(java_trimmed)?);
            }
            [field, kind] => {
                let (field, kind) =
                    (field.trim_matches(|char| char <= ' '), kind.trim_matches(|char| char <= ' '));
                let kind = target_type(kind)?;
                match spec.fields.iter_mut().find(|(known, _)| known.text == field) {
                    Some(known) => known.1 = kind,
                    None => spec.fields.push((Text::new(field), kind)),
                }
            }
            _ if parts.len() < 2 => {
                let message = "Index 1 out of bounds for length 0";
                let error = ConfigError::new("spec", message);
                return Err(error.of_class("java.lang.ArrayIndexOutOfBoundsException"));
            }
            _ => {
                let why = format!("Invalid rename mapping: {entry}");
                return Err(ConfigError::invalid("spec", format!("[{}]", list.join(", ")), why));
            }
        }
    }
    if spec.whole.is_some() && list.len() > 1 {
        let message = "Cast transformations that specify a type to cast the entire value to may only specify a single cast \
                       in their spec";
        return Err(ConfigError::new("spec", message));
    }
    Ok(Box::new(Cast { side, spec, plans: PlanCache::default(), map: MapBuilder::default() }))
}

/// A type by its name, in any case.
fn target_type(name: &str) -> Result<Type, ConfigError> {
    let upper = name.to_uppercase();
    let is_it = |kind: &&Type| kind.name() == upper;
    if let Some(kind) = convert::TARGETS.iter().find(is_it) {
        return Ok(*kind);
    }
    if ["BYTES", "ARRAY", "MAP", "STRUCT"].contains(&upper.as_str()) {
        let targets = convert::names(&convert::TARGETS);
        let message =
            format!("Cast transformation does not support casting to {upper}; supported types are {targets}");
        return Err(ConfigError::new("spec", message));
    }
    let message = format!(
        "Invalid value java.lang.IllegalArgumentException: No enum constant \
         org.apache.kafka.connect.data.Schema.Type.{upper} for configuration Invalid type found in casting spec: {name}"
    );
    Err(ConfigError::new("spec", message))
}

struct Spec {
    whole: Option<Type>,
    fields: Vec<(Text, Type)>,
    replace_null: bool,
}

/// Fields to cast: place, schema, type.
struct Plan {
    target: Target,
    casts: Vec<(usize, SchemaRef, Type)>,
    copies: Copies,
}

struct Cast {
    side: Side,
    spec: Spec,
    plans: PlanCache<Result<Plan, RecordError>>,
    map: MapBuilder,
}

/// The builder of a type with the cast default, as `SchemaBuilder.defaultValue` takes it.
fn with_default(builder: SchemaBuilder, schema: &Schema, target: Type) -> Result<SchemaBuilder, RecordError> {
    let builder = builder.set_optional(schema.optional);
    let Some(default) = &schema.default else { return Ok(builder) };
    let mut batch = Batch::default();
    let value = batch.put_constant(default);
    let value = cast(&mut batch, Some(schema), value, target)?;
    // A logical name that was kept asks for another Java class.
    let logical = |name: &str| [DATE, TIME, TIMESTAMP, DECIMAL].contains(&name);
    let named = builder.clone().build();
    if named.name.as_deref().is_some_and(logical) && !value.is_null() {
        return Err(schema_error("Invalid default value"));
    }
    Ok(builder.default_value(Some(constant_of(&batch, value))))
}

impl Spec {
    fn compile(&self, schema: &SchemaRef) -> Result<Plan, RecordError> {
        if let Some(kind) = self.whole {
            let builder = like(schema, kind);
            let target = with_default(builder, schema, kind)?.build();
            return Ok(Plan {
                target: Target::new(target),
                casts: Vec::new(),
                copies: Copies::all(schema, false),
            });
        }
        if schema.kind != Type::Struct {
            return Err(data_error("Cannot list fields on non-struct type"));
        }
        let mut builder = schema.like();
        let mut casts = Vec::new();
        for (at, field) in schema.fields.iter().enumerate() {
            let target = self.fields.iter().find(|(name, _)| *name.text == *field.name);
            let schema = match target {
                Some((_, kind)) => {
                    casts.push((at, SchemaRef::clone(&field.schema), *kind));
                    with_default(SchemaBuilder::new(*kind), &field.schema, *kind)?.build()
                }
                None => SchemaRef::clone(&field.schema),
            };
            builder = builder.field(&*field.name, schema);
        }
        let builder = with_default(builder, schema, Type::Struct)?;
        let copies = Copies::all(schema, self.replace_null);
        Ok(Plan { target: Target::new(builder.build()), casts, copies })
    }
}

/// A schema of another type with the name, version, doc and parameters of this one.
fn like(schema: &Schema, kind: Type) -> SchemaBuilder {
    let mut builder = SchemaBuilder::new(kind);
    if let Some(name) = &schema.name {
        builder = builder.name(name);
    }
    if let Some(version) = schema.version {
        builder = builder.version(version);
    }
    if let Some(doc) = &schema.doc {
        builder = builder.doc(doc);
    }
    schema.parameters.iter().fold(builder, |builder, (name, value)| builder.parameter(name, value))
}

impl Cast {
    fn with_schema(&mut self, batch: &mut Batch, index: usize, id: SchemaId) -> Result<(), RecordError> {
        let spec = &self.spec;
        let plan = self.plans.get(schema_of(batch, id), |schema| spec.compile(schema));
        let plan = plan.as_mut().map_err(|error| error.clone())?;
        if let Some(kind) = spec.whole {
            let value = batch.records[index].side(self.side).1;
            let schema = SchemaRef::clone(schema_of(batch, id));
            let value = cast(batch, Some(&schema), value, kind)?;
            let id = plan.target.id(batch);
            batch.records[index].set_side(self.side, id, value);
            return Ok(());
        }
        let Operand::Struct(_, range) = operand(batch, index, self.side, PURPOSE)? else { return Ok(()) };
        let one = |batch: &mut Batch, (_, schema, kind): &(usize, SchemaRef, Type), at: usize| {
            if schema.name.is_some() || !cast_whole(&mut batch.values[at], *kind) {
                batch.values[at] = cast(batch, Some(schema), batch.values[at], *kind)?;
            }
            Ok(())
        };
        let range = plan.copies.change(batch, range, &plan.casts, |cast| cast.0, one)?;
        let id = plan.target.id(batch);
        batch.records[index].set_side(self.side, id, Value::Struct(range));
        Ok(())
    }

    fn without_schema(&mut self, batch: &mut Batch, index: usize, value: Value) -> Result<(), RecordError> {
        let value = match self.spec.whole {
            Some(kind) => cast(batch, None, value, kind)?,
            None => {
                let Operand::Map(range) = operand(batch, index, self.side, PURPOSE)? else { return Ok(()) };
                self.cast_fields(batch, range)?
            }
        };
        batch.records[index].set_side(self.side, 0, value);
        Ok(())
    }

    /// A field that is not there appears as null.
    fn cast_fields(&mut self, batch: &mut Batch, range: Range32) -> Result<Value, RecordError> {
        self.map.copy(batch, range);
        for (name, kind) in &mut self.spec.fields {
            let value = map_get(batch, range, &name.text);
            let value = cast(batch, None, value, *kind)?;
            self.map.put(batch, name, value);
        }
        Ok(self.map.finish(batch))
    }
}

impl Transform for Cast {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        self.spec.fields.iter_mut().for_each(|(name, _)| name.begin());
        each_row(batch, rows, |batch, index| match batch.records[index].side(self.side) {
            (_, Value::Null) => Ok(()),
            (0, value) => self.without_schema(batch, index, value),
            (id, _) => self.with_schema(batch, index, id),
        });
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }
}
