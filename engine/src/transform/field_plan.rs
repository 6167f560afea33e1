//! What the transforms on fields share: the operating value of a record, plans by schema, and copies of structs and maps.

use std::sync::Arc;

use super::data_error;
use crate::config::{ConfigKey, ConfigType, Importance};
use crate::data::{
    Batch, Constant, Header, Range32, RecordError, Schema, SchemaId, SchemaRef, Side, Span, Type, Value,
};

/// What a record's key or value is to a transform.
pub(super) enum Operand {
    /// A struct and its schema's id.
    Struct(SchemaId, Range32),
    /// A map without schema.
    Map(Range32),
    /// Null.
    Null,
}

/// Key or value of record `index`, or why it is neither struct nor map. A null is given as such.
#[inline]
pub(super) fn operand(
    batch: &Batch,
    index: usize,
    side: Side,
    purpose: &str,
) -> Result<Operand, RecordError> {
    match batch.records[index].side(side) {
        (_, Value::Null) => Ok(Operand::Null),
        (0, Value::Map(range)) => Ok(Operand::Map(range)),
        (0, other) => Err(not_a_map(other, purpose)),
        (schema, Value::Struct(range)) => Ok(Operand::Struct(schema, range)),
        (_, other) => Err(not_a_struct(other, purpose)),
    }
}

/// A value where a map without schema is needed.
#[cold]
pub(super) fn not_a_map(found: Value, purpose: &str) -> RecordError {
    let class = found.java_class();
    data_error(format!("Only Map objects supported in absence of schema for [{purpose}], found: {class}"))
}

/// A value where a struct is needed.
#[cold]
pub(super) fn not_a_struct(found: Value, purpose: &str) -> RecordError {
    data_error(format!("Only Struct objects supported for [{purpose}], found: {}", found.java_class()))
}

/// A null where a struct or map is needed.
pub(super) fn null_error(schema: SchemaId, purpose: &str) -> RecordError {
    if schema == 0 { not_a_map(Value::Null, purpose) } else { not_a_struct(Value::Null, purpose) }
}

/// `SchemaBuilderException`.
pub(super) fn schema_error(message: impl Into<String>) -> RecordError {
    let java_class = "org.apache.kafka.connect.errors.SchemaBuilderException";
    RecordError { java_class, ..data_error(message) }
}

/// `NullPointerException`, where Java meets a null that it did not expect.
pub(super) fn null_pointer(message: impl Into<String>) -> RecordError {
    RecordError { java_class: "java.lang.NullPointerException", ..data_error(message) }
}

/// `ClassCastException`.
pub(super) fn class_cast(found: Value, wanted: &str) -> RecordError {
    let message = format!("class {} cannot be cast to class {wanted}", found.java_class());
    RecordError { java_class: "java.lang.ClassCastException", ..data_error(message) }
}

/// Null in a field that needs a value.
pub(super) fn null_in_required(field: &str, kind: Type) -> RecordError {
    let kind = kind.name();
    data_error(format!("Invalid value: null used for required field: \"{field}\", schema type: {kind}"))
}

/// As Java prints a class: `class java.lang.Long`.
pub(super) fn java_class_of(value: Value) -> String {
    format!("class {}", value.java_class())
}

/// What `SchemaBuilder.field` refuses: names that are empty or there already.
pub(super) fn check_fields(schema: &Schema) -> Result<(), RecordError> {
    for (at, field) in schema.fields.iter().enumerate() {
        if field.name.is_empty() {
            return Err(schema_error("fieldName cannot be null."));
        }
        if schema.fields[..at].iter().any(|other| other.name == field.name) {
            let name = &field.name;
            return Err(schema_error(format!(
                "Cannot create field because of field name duplication {name}"
            )));
        }
    }
    Ok(())
}

/// The key of `replace.null.with.default`, which most transforms have.
pub(super) const REPLACE_NULL: &str = "replace.null.with.default";
/// Its row in a table.
pub(super) const REPLACE_NULL_KEY: ConfigKey = ConfigKey::with_default(
    REPLACE_NULL,
    ConfigType::Boolean,
    "true",
    Importance::Medium,
    "Whether a field that is null and has a default counts as that default.",
);

/// Schemas whose plans a transform keeps.
const CACHED_PLANS: usize = 16;

/// Plans by schema. The one used last is tried first, by pointer.
pub(super) struct PlanCache<P> {
    plans: Vec<(SchemaRef, P)>,
    last: usize,
}

impl<P> Default for PlanCache<P> {
    fn default() -> Self {
        Self { plans: Vec::new(), last: 0 }
    }
}

impl<P> PlanCache<P> {
    /// The plan for `schema`, compiled if there is none for a schema of the same content.
    #[inline]
    pub(super) fn get(&mut self, schema: &SchemaRef, compile: impl FnOnce(&SchemaRef) -> P) -> &mut P {
        let is_it = |entry: &(SchemaRef, P)| Arc::ptr_eq(&entry.0, schema);
        if !self.plans.get(self.last).is_some_and(is_it) {
            let found = self.plans.iter().position(is_it);
            let found = found.or_else(|| self.plans.iter().position(|entry| entry.0 == *schema));
            self.last = found.unwrap_or_else(|| {
                if self.plans.len() >= CACHED_PLANS {
                    self.plans.remove(0);
                }
                self.plans.push((Arc::clone(schema), compile(schema)));
                self.plans.len() - 1
            });
        }
        &mut self.plans[self.last].1
    }
}

/// The schema of an id; one without fields for an id that is none.
#[inline]
pub(super) fn schema_of(batch: &Batch, id: SchemaId) -> &SchemaRef {
    batch.schema_ref(id).unwrap_or_else(|| Schema::primitive(Type::Bytes, true))
}

/// A schema that a plan makes, with its id in the batch at hand.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) schema: SchemaRef,
    id: SchemaId,
}

impl Target {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, id: 0 }
    }

    /// The id: the one of last time if it still holds.
    #[inline]
    pub(super) fn id(&mut self, batch: &mut Batch) -> SchemaId {
        if !batch.schema_ref(self.id).is_some_and(|known| Arc::ptr_eq(known, &self.schema)) {
            self.id = batch.intern_schema(&self.schema);
        }
        self.id
    }
}

/// What stands for a null field.
enum Nulls {
    Stay,
    Default(Constant),
    Fail(RecordError),
}

/// Fields taken from one struct to another, nulls replaced by defaults where that is asked.
pub(super) struct Copies {
    places: Vec<(usize, Nulls)>,
    /// Stretches of fields that follow each other; empty if one has a default, so that nulls need a look.
    runs: Vec<std::ops::Range<usize>>,
    /// Whether the runs go up, so that the fields can be taken where they are.
    rising: bool,
    /// Whether they are all fields in one run.
    whole: bool,
    /// Fields that a row must have for the runs.
    fields: usize,
    /// Values of the row at hand that have been changed.
    old: Vec<Value>,
}

impl Copies {
    /// Copies of the fields of `schema` at `places`.
    pub(super) fn new(schema: &Schema, places: impl IntoIterator<Item = usize>, replace_null: bool) -> Self {
        let nulls = |at: usize| {
            let field = schema.fields.get(at)?;
            Some(match &field.schema.default {
                Some(default) if replace_null => Nulls::Default(default.clone()),
                _ if field.schema.optional => Nulls::Stay,
                _ => Nulls::Fail(null_in_required(&field.name, field.schema.kind)),
            })
        };
        let places: Vec<(usize, Nulls)> =
            places.into_iter().filter_map(|at| Some((at, nulls(at)?))).collect();
        let plain = places.iter().all(|(at, _)| schema.fields[*at].schema.default.is_none());
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, _) in places.iter().filter(|_| plain) {
            match runs.last_mut() {
                Some(run) if run.end == *at => run.end += 1,
                _ => runs.push(*at..*at + 1),
            }
        }
        let rising = runs.is_sorted_by(|one, next| one.end <= next.start);
        let whole = matches!(&runs[..], [run] if run.len() == schema.fields.len());
        Self { runs, rising, whole, fields: schema.fields.len(), places, old: Vec::new() }
    }

    /// Copies of all fields.
    pub(super) fn all(schema: &Schema, replace_null: bool) -> Self {
        Self::new(schema, 0..schema.fields.len(), replace_null)
    }

    /// Copies the fields of the struct at `range`.
    #[inline]
    pub(super) fn run(&self, batch: &mut Batch, range: Range32) -> Result<Range32, RecordError> {
        let start = batch.values.len();
        if !self.is_plain(batch, range) {
            return self.run_with_defaults(batch, range);
        }
        for run in &self.runs {
            let first = range.start as usize;
            batch.values.extend_from_within(first + run.start..first + run.end);
        }
        Ok(Range32 { start: start as u32, len: self.places.len() as u32 })
    }

    #[inline]
    fn is_plain(&self, batch: &Batch, range: Range32) -> bool {
        let fits = range.len as usize == self.fields && range.places().end <= batch.values.len();
        fits && (!self.runs.is_empty() || self.places.is_empty())
    }

    /// The same for fields that may change: where they are if the struct is its record's own, else copied.
    #[inline]
    pub(super) fn take(&self, batch: &mut Batch, range: Range32) -> Result<Range32, RecordError> {
        let first = range.start as usize;
        let own = batch.own_from.is_some_and(|from| first >= from);
        if own && self.whole && range.len as usize == self.fields && range.places().end <= batch.values.len()
        {
            return Ok(range);
        }
        self.take_some(batch, range, own)
    }

    fn take_some(&self, batch: &mut Batch, range: Range32, own: bool) -> Result<Range32, RecordError> {
        let first = range.start as usize;
        if !own || !self.rising || !self.is_plain(batch, range) {
            return self.run(batch, range);
        }
        let mut to = first;
        for run in &self.runs {
            let from = first + run.start..first + run.end;
            if from.start != to {
                batch.values.copy_within(from, to);
            }
            to += run.len();
        }
        Ok(Range32 { start: range.start, len: self.places.len() as u32 })
    }

    /// Takes the fields, and has those that `place` finds for `fields` changed where they are: a value that is written in
    /// parts and soon read as a whole would be waited for. If one of them fails, the struct is as it was.
    #[inline]
    pub(super) fn change<F>(
        &mut self,
        batch: &mut Batch,
        range: Range32,
        fields: &[F],
        place: impl Fn(&F) -> usize,
        mut change: impl FnMut(&mut Batch, &F, usize) -> Result<(), RecordError>,
    ) -> Result<Range32, RecordError> {
        let taken = self.take(batch, range)?;
        let first = taken.start as usize;
        self.old.clear();
        for field in fields {
            let at = first + place(field);
            self.old.push(batch.values[at]);
            if let Err(error) = change(batch, field, at) {
                for (field, old) in fields.iter().zip(&self.old) {
                    batch.values[first + place(field)] = *old;
                }
                return Err(error);
            }
        }
        Ok(taken)
    }

    #[cold]
    fn run_with_defaults(&self, batch: &mut Batch, range: Range32) -> Result<Range32, RecordError> {
        let mut values = Vec::with_capacity(self.places.len());
        for (at, nulls) in &self.places {
            let value = batch.items(range).get(*at).copied().unwrap_or_default();
            values.push(match nulls {
                Nulls::Default(default) if value.is_null() => batch.put_constant(default),
                Nulls::Fail(error) if value.is_null() => return Err(error.clone()),
                _ => value,
            });
        }
        Ok(batch.push_values(&values))
    }
}

/// A field's value, with the default for null where that is asked.
pub(super) fn field_value(batch: &mut Batch, schema: &Schema, value: Value, replace_null: bool) -> Value {
    match &schema.default {
        Some(default) if value.is_null() && replace_null => batch.put_constant(default),
        _ => value,
    }
}

/// Text of a configuration, put once into each batch.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: String,
    /// The text as a value of the batch, whole: see [`Copies::change`]. Null until it is there.
    value: Value,
}

impl Text {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), value: Value::Null }
    }

    /// To be called when a batch begins.
    pub(super) fn begin(&mut self) {
        self.value = Value::Null;
    }

    /// Its place in the batch.
    #[inline]
    pub(super) fn span(&mut self, batch: &mut Batch) -> Span {
        match self.value(batch) {
            Value::String(span) => *span,
            _ => Span::default(),
        }
    }

    /// The same as a value.
    #[inline]
    pub(super) fn value(&mut self, batch: &mut Batch) -> &Value {
        if self.value.is_null() {
            self.value = Value::String(batch.put_str(&self.text));
        }
        &self.value
    }
}

/// A map that is being made: keys and values in turn.
#[derive(Default)]
pub(super) struct MapBuilder(Vec<Value>);

impl MapBuilder {
    /// Starts empty.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Starts from a copy of the map at `range`.
    pub(super) fn copy(&mut self, batch: &Batch, range: Range32) {
        self.0.clear();
        self.0.extend_from_slice(batch.items(flat(range)));
    }

    fn position(&self, batch: &Batch, name: &str) -> Option<usize> {
        self.0.chunks_exact(2).position(|entry| is_text(batch, entry[0], name))
    }

    /// Sets the value of a key, which stays where it is if it is there.
    pub(super) fn put(&mut self, batch: &mut Batch, name: &mut Text, value: Value) {
        match self.position(batch, &name.text) {
            Some(at) => self.0[at * 2 + 1] = value,
            None => {
                let key = Value::String(name.span(batch));
                self.0.extend([key, value]);
            }
        }
    }

    /// Sets the value of a key that is in the batch already.
    pub(super) fn put_key(&mut self, batch: &Batch, key: Value, value: Value) {
        let same = |entry: &[Value]| match (entry[0], key) {
            (Value::String(one), Value::String(other)) => batch.bytes(one) == batch.bytes(other),
            (one, other) => one == other,
        };
        match self.0.chunks_exact(2).position(same) {
            Some(at) => self.0[at * 2 + 1] = value,
            None => self.0.extend([key, value]),
        }
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, batch: &Batch, name: &str) {
        if let Some(at) = self.position(batch, name) {
            self.0.drain(at * 2..at * 2 + 2);
        }
    }

    /// The map.
    pub(super) fn finish(&self, batch: &mut Batch) -> Value {
        let range = batch.push_values(&self.0);
        Value::Map(Range32 { start: range.start, len: range.len / 2 })
    }
}

/// Keys and values of a map as one range.
pub(super) fn flat(range: Range32) -> Range32 {
    Range32 { start: range.start, len: range.len.saturating_mul(2) }
}

/// Whether the value is this text.
pub(super) fn is_text(batch: &Batch, value: Value, text: &str) -> bool {
    matches!(value, Value::String(span) if batch.bytes(span) == text.as_bytes())
}

/// A map's value for a text key; null where it is not there.
pub(super) fn map_get(batch: &Batch, range: Range32, name: &str) -> Value {
    let found = batch.entries(range).find(|(key, _)| is_text(batch, *key, name));
    found.map_or(Value::Null, |(_, value)| value)
}

/// A value of the batch as one of its own, for a schema's default.
pub(super) fn constant_of(batch: &Batch, value: Value) -> Constant {
    let all = |range: Range32| batch.items(range).iter().map(|item| constant_of(batch, *item)).collect();
    match value {
        Value::Null => Constant::Null,
        Value::Boolean(value) => Constant::Boolean(value),
        Value::Int8(value) => Constant::Int8(value),
        Value::Int16(value) => Constant::Int16(value),
        Value::Int32(value) => Constant::Int32(value),
        Value::Int64(value) => Constant::Int64(value),
        Value::Float32(value) => Constant::Float32(value),
        Value::Float64(value) => Constant::Float64(value),
        Value::String(span) => Constant::String(batch.str(span).into()),
        Value::Bytes(span) => Constant::Bytes(batch.bytes(span).into()),
        Value::Array(range) => Constant::Array(all(range)),
        Value::Struct(range) => Constant::Struct(all(range)),
        Value::Map(range) => {
            let entry = |(key, value)| (constant_of(batch, key), constant_of(batch, value));
            Constant::Map(batch.entries(range).map(entry).collect())
        }
        Value::Decimal(range) => {
            let (unscaled, scale) = batch.decimal(range);
            Constant::Decimal(unscaled.into(), scale)
        }
        Value::Date(ms) => Constant::Date(ms),
    }
}

/// Runs `one` on each row; what fails marks its record.
#[inline]
pub(super) fn each_row(
    batch: &mut Batch,
    rows: &[u32],
    mut one: impl FnMut(&mut Batch, usize) -> Result<(), RecordError>,
) {
    for row in rows {
        let index = *row as usize;
        if let Err(error) = one(batch, index) {
            batch.fail(index, error);
        }
    }
}

/// Adds a header to a record.
pub(super) fn add_header(batch: &mut Batch, index: usize, header: Header) {
    let old = batch.records[index].headers;
    if old.len == 0 || old.places().end != batch.headers.len() {
        // Others lie behind it: it goes to the end.
        let start = batch.headers.len() as u32;
        for at in old.places() {
            batch.headers.push(batch.headers[at]);
        }
        batch.records[index].headers.start = start;
    }
    batch.headers.push(header);
    batch.records[index].headers.len = old.len + 1;
}
