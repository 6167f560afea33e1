//! JSON text to values by a schema. What does not fit is read as leniently as Jackson's accessors do.

use std::sync::Arc;

use super::name::Name;
use super::number::Number;
use super::scan::{Kind, Malformed, Scanner, Text};
use super::shapes::Shapes;
use super::union;
use super::{Dialect, base64};
use crate::converter::Failure;
use crate::data::{
    Batch, DATE, DECIMAL, Range32, Schema, SchemaRef, Span, TIME, TIMESTAMP, Type, Value, parse_decimal,
    redundant_sign_bytes,
};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// Why a message was not read.
pub(super) enum ReadError {
    /// It is no JSON.
    Malformed(Malformed),
    /// It is JSON, but not what the schema says.
    Data(Failure),
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl ReadError {
    pub(super) fn data(message: impl Into<String>) -> Self {
        Self::Data(Failure::data(message))
    }

    /// What the record's error says.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Data(failure) => failure,
            Self::Malformed(Malformed { at, what }) => Failure::data(format!(
                "Converting byte[] to Kafka Connect data failed due to serialization error: at byte {at}: {what}"
            )),
        }
    }
}

type Result<T> = std::result::Result<T, ReadError>;

/// A schema made ready for reading.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schema: SchemaRef,
    logical: Logical,
    /// The schema's type if nothing but it says how values are read.
    plain: Option<Type>,
    /// Whether the struct stands for one of its fields, in the dialect that has such.
    union: bool,
    /// Of a struct: each field's `"name":` and its plan.
    pub(super) fields: Vec<(Name, Plan)>,
    /// Of an array or map.
    key: Option<Box<Plan>>,
    value: Option<Box<Plan>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logical {
    None,
    Decimal,
    Date,
    Time,
    Timestamp,
}

impl Plan {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let logical = match schema.name.as_deref() {
            Some(DECIMAL) => Logical::Decimal,
            Some(DATE) => Logical::Date,
            Some(TIME) => Logical::Time,
            Some(TIMESTAMP) => Logical::Timestamp,
            _ => Logical::None,
        };
        let field = |field: &crate::data::Field| (Name::new(&field.name), Plan::new(&field.schema));
        Self {
            schema: Arc::clone(schema),
            logical,
            plain: (logical == Logical::None).then_some(schema.kind),
            union: union::is_union(schema),
            fields: schema.fields.iter().map(field).collect(),
            key: schema.key.as_ref().map(|key| Box::new(Plan::new(key))),
            value: schema.value.as_ref().map(|value| Box::new(Plan::new(value))),
        }
    }
}

/// Reads one message. `span` is the message's place in the batch: strings without escapes point there.
pub(super) struct Reader<'a> {
    pub(super) scanner: Scanner<'a>,
    pub(super) batch: &'a mut Batch,
    /// Children of what is being read; reused from message to message.
    pub(super) stack: &'a mut Vec<Value>,
    pub(super) span: Span,
    pub(super) options: ReadOptions,
    /// Names of objects without schema.
    pub(super) shapes: &'a mut Shapes,
    /// Structs around the value: what is inside one is checked as `Struct.put` does.
    pub(super) structs: u32,
}

/// Options of the reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadOptions {
    pub(super) replace_null_with_default: bool,
    /// Whether an integer that does not fit its type is an error; Java keeps its low bits.
    pub(super) fail_on_overflow: bool,
    pub(super) dialect: Dialect,
}

impl Reader<'_> {
    /// A value by its schema. `depth` is the number of arrays and objects around it.
    pub(super) fn typed(&mut self, plan: &Plan, depth: u32) -> Result<Value> {
        let kind = self.scanner.kind()?;
        if kind == Kind::Null {
            self.scanner.literal(b"null")?;
            return self.absent(&plan.schema);
        }
        if plan.logical != Logical::None {
            return self.logical(plan, kind, depth);
        }
        Ok(match (plan.schema.kind, kind) {
            (Type::String, Kind::String) => {
                let text = self.scanner.string()?;
                Value::String(self.text(text)?)
            }
            (Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64, Kind::Number) => {
                let number = self.scanner.number()?;
                self.integer(plan.schema.kind, number)?
            }
            (Type::Struct, _) if plan.union && self.options.dialect == Dialect::JsonSchema => {
                self.union(plan, kind, depth)?
            }
            (Type::Struct, Kind::Object) => self.structure(plan, depth)?,
            (Type::Boolean, Kind::Boolean) => Value::Boolean(self.scanner.boolean()?),
            (Type::Float64, Kind::Number) => Value::Float64(self.scanner.number()?.double()),
            (Type::Float32, Kind::Number) => Value::Float32(self.scanner.number()?.float()),
            (Type::Array, _) => self.array(plan, kind, depth)?,
            (Type::Map, _) => self.map(plan, kind, depth)?,
            (Type::Bytes, Kind::String) => Value::Bytes(self.base64("Invalid bytes field")?),
            (Type::Struct, other) => {
                return Err(ReadError::data(format!(
                    "Structs should be encoded as JSON objects, but found {}",
                    other.node_type()
                )));
            }
            (_, _) => {
                self.scanner.skip(depth)?;
                return self.misfit(&plan.schema);
            }
        })
    }

    /// A member's value into its place, which is null so far. The usual ones are written there at once: a value that is given
    /// on in parts and read as a whole is waited for.
    #[inline]
    fn member(&mut self, plan: &Plan, at: usize, depth: u32) -> Result<()> {
        let kind = self.scanner.kind()?;
        match (plan.plain, kind) {
            (Some(Type::String), Kind::String) => {
                let text = self.scanner.string()?;
                let span = self.text(text)?;
                self.batch.values[at] = Value::String(span);
            }
            (Some(Type::Int64), Kind::Number) if !self.options.fail_on_overflow => {
                let long = self.scanner.number()?.long();
                self.batch.values[at] = Value::Int64(long);
            }
            (Some(Type::Int32), Kind::Number) if !self.options.fail_on_overflow => {
                let long = self.scanner.number()?.long();
                self.batch.values[at] = Value::Int32(long as i32);
            }
            (Some(Type::Float64), Kind::Number) => {
                let double = self.scanner.number()?.double();
                self.batch.values[at] = Value::Float64(double);
            }
            (Some(Type::Boolean), Kind::Boolean) => {
                let boolean = self.scanner.boolean()?;
                self.batch.values[at] = Value::Boolean(boolean);
            }
            (None, Kind::Number) if plan.logical == Logical::Timestamp && !self.options.fail_on_overflow => {
                let number = self.scanner.number()?;
                if number.fraction {
                    return Err(no_integer(Logical::Timestamp, Kind::Number));
                }
                self.batch.values[at] = Value::Date(number.long());
            }
            _ => self.batch.values[at] = self.typed(plan, depth)?,
        }
        Ok(())
    }

    /// Null, or the default that stands for it.
    pub(super) fn absent(&mut self, schema: &Schema) -> Result<Value> {
        match &schema.default {
            Some(default) if self.options.replace_null_with_default => Ok(self.batch.put_constant(default)),
            _ if schema.optional => Ok(Value::Null),
            _ => {
                Err(ReadError::data(format!("Invalid null value for required {} field", schema.kind.name())))
            }
        }
    }

    /// A member that is not there.
    fn left_out(&mut self, schema: &Schema) -> Result<Value> {
        if self.options.dialect == Dialect::JsonSchema && schema.default.is_none() {
            return Ok(Value::Null);
        }
        self.absent(schema)
    }

    /// What Jackson's accessor of a type gives for a value of another kind.
    fn misfit(&self, schema: &Schema) -> Result<Value> {
        Ok(match schema.kind {
            Type::Int8 => Value::Int8(0),
            Type::Int16 => Value::Int16(0),
            Type::Int32 => Value::Int32(0),
            Type::Int64 => Value::Int64(0),
            Type::Float32 => Value::Float32(0.0),
            Type::Float64 => Value::Float64(0.0),
            Type::Boolean => Value::Boolean(false),
            kind if self.structs > 0 && !schema.optional => {
                return Err(ReadError::data(format!(
                    "Invalid value: null used for required field, schema type: {}",
                    kind.name()
                )));
            }
            _ => Value::Null,
        })
    }

    /// A whole message of any shape; null if it is empty.
    pub(super) fn root(&mut self) -> Result<Value> {
        self.scanner.skip_blanks();
        if self.scanner.peek().is_none() {
            return Ok(Value::Null);
        }
        let kind = self.scanner.kind()?;
        let value = self.any(0)?;
        self.end_of_root(kind)?;
        Ok(value)
    }

    /// A whole message by a schema.
    pub(super) fn typed_root(&mut self, plan: &Plan) -> Result<Value> {
        self.scanner.skip_blanks();
        if self.scanner.peek().is_none() {
            return self.missing(plan);
        }
        let kind = self.scanner.kind()?;
        let value = self.typed(plan, 0)?;
        self.end_of_root(kind)?;
        Ok(value)
    }

    /// A number that stands alone ends with the text or at a blank; what follows anything else is not looked at.
    fn end_of_root(&self, kind: Kind) -> Result<()> {
        match self.scanner.peek() {
            None | Some(b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            Some(_) if kind != Kind::Number => Ok(()),
            Some(_) => Ok(self.scanner.malformed("a malformed number")?),
        }
    }

    /// What Java makes of an empty text, for which a schema is known by configuration.
    fn missing(&mut self, plan: &Plan) -> Result<Value> {
        match (plan.logical, plan.schema.kind) {
            (Logical::None, Type::Array) => Ok(Value::Array(Range32::default())),
            (Logical::None, kind) if !matches!(kind, Type::Map | Type::Struct) => self.misfit(&plan.schema),
            _ => Err(ReadError::data("the message is empty, the schema of schema.content asks for more")),
        }
    }

    fn structure(&mut self, plan: &Plan, depth: u32) -> Result<Value> {
        self.scanner.open(depth)?;
        self.structs += 1;
        // the places first: what lies within comes behind them
        let base = self.batch.values.len();
        self.batch.values.resize(base + plan.fields.len(), Value::Null);
        // Fields that have been read: all before `next`, if they come in the schema's order.
        let mut next = 0;
        let mut out_of_order: Option<Vec<bool>> = None;
        if !self.scanner.take(b'}') {
            loop {
                let index = self.field(plan, next, &mut out_of_order)?;
                match index {
                    Some(index) => {
                        self.member(&plan.fields[index].1, base + index, depth + 1)?;
                        match &mut out_of_order {
                            Some(seen) => seen[index] = true,
                            None => next = index + 1,
                        }
                    }
                    None => self.scanner.skip(depth + 1)?,
                }
                if self.scanner.take(b'}') {
                    break;
                }
                self.scanner.expect(b',', "no comma between the members of an object")?;
            }
        }
        if next < plan.fields.len() {
            for (index, (_, field)) in plan.fields.iter().enumerate() {
                let missing = out_of_order.as_ref().map_or(index >= next, |seen| !seen[index]);
                if missing {
                    self.batch.values[base + index] = self.left_out(&field.schema)?;
                }
            }
        }
        self.structs -= 1;
        Ok(Value::Struct(Range32 { start: base as u32, len: plan.fields.len() as u32 }))
    }

    /// The next member's place in the schema, by guess if the members come in its order, else by name.
    #[inline]
    fn field(
        &mut self,
        plan: &Plan,
        next: usize,
        out_of_order: &mut Option<Vec<bool>>,
    ) -> Result<Option<usize>> {
        self.scanner.skip_blanks();
        if out_of_order.is_none()
            && let Some((name, _)) = plan.fields.get(next)
            && let Some(length) = name.begins(&self.scanner.text[self.scanner.at..])
        {
            self.scanner.at += length;
            return Ok(Some(next));
        }
        let name = self.scanner.name()?;
        let name = self.scanner.content(name)?;
        let found = plan.schema.fields.iter().position(|field| field.name.as_bytes() == &*name);
        if found.is_some_and(|index| index != next) && out_of_order.is_none() {
            let seen = (0..plan.fields.len()).map(|index| index < next).collect();
            *out_of_order = Some(seen);
        }
        Ok(found)
    }

    /// An integer of the schema's type: the low bits, as Java narrows.
    #[inline]
    fn integer(&self, kind: Type, number: Number<'_>) -> Result<Value> {
        let long = number.long();
        let (value, kept) = match kind {
            Type::Int8 => (Value::Int8(long as i8), i64::from(long as i8)),
            Type::Int16 => (Value::Int16(long as i16), i64::from(long as i16)),
            Type::Int32 => (Value::Int32(long as i32), i64::from(long as i32)),
            _ => (Value::Int64(long), long),
        };
        if self.options.fail_on_overflow && number.exact() != Some(kept) {
            return Err(overflow(kind));
        }
        Ok(value)
    }

    /// An integer without schema.
    #[inline]
    pub(super) fn whole(&self, number: Number<'_>) -> Result<Value> {
        self.integer(Type::Int64, number)
    }

    pub(super) fn pop(&mut self, start: usize) -> Range32 {
        let range = self.batch.push_values(&self.stack[start..]);
        self.stack.truncate(start);
        range
    }

    #[inline]
    pub(super) fn text(&mut self, text: Text) -> Result<Span> {
        if text.escaped {
            let content = self.scanner.content(text)?;
            return Ok(self.batch.put_bytes(&content));
        }
        let Span { segment, offset, .. } = self.span;
        Ok(Span { segment, offset: offset + text.start as u32, len: (text.end - text.start) as u32 })
    }

    /// Jackson goes through the values of an object as through the items of an array; nothing else has any.
    fn array(&mut self, plan: &Plan, kind: Kind, depth: u32) -> Result<Value> {
        let Some(items) = &plan.value else {
            return Err(ReadError::data("Array schema did not specify the element type"));
        };
        let close = match kind {
            Kind::Array => b']',
            Kind::Object => b'}',
            _ => {
                self.scanner.skip(depth)?;
                return Ok(Value::Array(Range32::default()));
            }
        };
        self.scanner.open(depth)?;
        let start = self.stack.len();
        if !self.scanner.take(close) {
            loop {
                if kind == Kind::Object {
                    let name = self.scanner.name()?;
                    let name = self.text(name)?;
                    let item = self.typed(items, depth + 1)?;
                    self.put(start, name, item);
                } else {
                    let item = self.typed(items, depth + 1)?;
                    self.stack.push(item);
                }
                if self.scanner.take(close) {
                    break;
                }
                self.scanner.expect(b',', "no comma between the items of an array")?;
            }
        }
        if kind == Kind::Object {
            let Value::Map(entries) = self.pop_map(start) else { return Ok(Value::Null) };
            self.stack.extend(self.batch.entries(entries).map(|(_, value)| value));
        }
        Ok(Value::Array(self.pop(start)))
    }

    /// A map with text keys is an object, any other an array of pairs.
    fn map(&mut self, plan: &Plan, kind: Kind, depth: u32) -> Result<Value> {
        let (Some(keys), Some(values)) = (&plan.key, &plan.value) else {
            return Err(ReadError::data("Map schema did not specify the key or the value type"));
        };
        let text_keys = self.options.dialect.is_object(&keys.schema);
        let (wanted, close, what) = if text_keys {
            (Kind::Object, b'}', "Maps with string fields should be encoded as JSON objects, but found ")
        } else if self.options.dialect == Dialect::JsonSchema {
            let what = "Maps with non-string fields should be encoded as JSON array of objects, but found ";
            (Kind::Array, b']', what)
        } else {
            let what = "Maps with non-string fields should be encoded as JSON array of tuples, but found ";
            (Kind::Array, b']', what)
        };
        if kind != wanted {
            return Err(ReadError::data(format!("{what}{}", kind.node_type())));
        }
        self.scanner.open(depth)?;
        let start = self.stack.len();
        if !self.scanner.take(close) {
            loop {
                if text_keys {
                    let name = self.scanner.name()?;
                    let name = self.text(name)?;
                    let value = self.typed(values, depth + 1)?;
                    self.put(start, name, value);
                } else if self.options.dialect == Dialect::JsonSchema {
                    self.entry_object(keys, values, depth + 1)?;
                } else {
                    self.scanner.expect(b'[', "a map's entry is no array of key and value")?;
                    let key = self.typed(keys, depth + 2)?;
                    self.scanner.expect(b',', "a map's entry is no array of key and value")?;
                    let value = self.typed(values, depth + 2)?;
                    self.scanner.expect(b']', "a map's entry has more than key and value")?;
                    self.stack.extend([key, value]);
                }
                if self.scanner.take(close) {
                    break;
                }
                self.scanner.expect(b',', "no comma between the entries of a map")?;
            }
        }
        Ok(if text_keys { self.pop_map(start) } else { self.pop_pairs(start, &keys.schema) })
    }

    fn base64(&mut self, wrong: &str) -> Result<Span> {
        let text = self.scanner.string()?;
        let content = self.scanner.content(text)?;
        let offset = self.batch.arena.len();
        if base64::decode(&content, &mut self.batch.arena).is_none() {
            self.batch.arena.truncate(offset);
            return Err(ReadError::data(wrong));
        }
        Ok(Span { segment: 0, offset: offset as u32, len: (self.batch.arena.len() - offset) as u32 })
    }

    fn logical(&mut self, plan: &Plan, kind: Kind, depth: u32) -> Result<Value> {
        match (plan.logical, kind) {
            (Logical::None, _) => self.typed(plan, depth),
            (Logical::Decimal, Kind::Number) => {
                let number = self.scanner.number()?;
                let Some((unscaled, scale)) = parse_decimal(number.text()) else {
                    return Err(ReadError::data("the number of a Decimal field cannot be read"));
                };
                let bytes = self.batch.put_bytes(&unscaled);
                Ok(self.decimal(bytes, scale))
            }
            (Logical::Decimal, Kind::String) => {
                const WRONG: &str = "Invalid bytes for Decimal field";
                let bytes = self.base64(WRONG)?;
                let scale = plan.schema.parameters.get("scale").and_then(|scale| scale.parse().ok());
                let scale = scale.filter(|_| bytes.len > 0).ok_or_else(|| ReadError::data(WRONG))?;
                let skipped = redundant_sign_bytes(self.batch.bytes(bytes)) as u32;
                let shortest = Span { offset: bytes.offset + skipped, len: bytes.len - skipped, ..bytes };
                Ok(self.decimal(shortest, scale))
            }
            (Logical::Decimal, _) => Err(ReadError::data(format!(
                "Invalid type for Decimal, underlying representation should be numeric or bytes but was {}",
                kind.node_type()
            ))),
            (logical, Kind::Number) => {
                let number = self.scanner.number()?;
                self.time(logical, number)
            }
            (logical, kind) => Err(no_integer(logical, kind)),
        }
    }

    fn time(&self, logical: Logical, number: Number<'_>) -> Result<Value> {
        let int = number.exact().and_then(|number| i32::try_from(number).ok()).map(i64::from);
        match (logical, int) {
            (Logical::Timestamp, _) if !number.fraction => {
                let Value::Int64(ms) = self.whole(number)? else { return Ok(Value::Null) };
                Ok(Value::Date(ms))
            }
            (Logical::Date, Some(days)) => Ok(Value::Date(days * DAY)),
            (Logical::Time, Some(ms)) if (0..=DAY).contains(&ms) => Ok(Value::Date(ms)),
            (Logical::Time, Some(_)) => Err(ReadError::data(
                "Time values must use number of milliseconds greater than 0 and less than 86400000",
            )),
            _ => Err(no_integer(logical, Kind::Number)),
        }
    }

    fn decimal(&mut self, unscaled: Span, scale: i32) -> Value {
        Value::Decimal(self.batch.push_values(&[Value::Bytes(unscaled), Value::Int32(scale)]))
    }
}

fn no_integer(logical: Logical, kind: Kind) -> ReadError {
    let (name, what) = match logical {
        Logical::Date => ("Date", "integer"),
        Logical::Time => ("Time", "integer"),
        _ => ("Timestamp", "integral"),
    };
    let found = kind.node_type();
    ReadError::data(format!(
        "Invalid type for {name}, underlying representation should be {what} but was {found}"
    ))
}

#[cold]
fn overflow(kind: Type) -> ReadError {
    ReadError::data(format!(
        "a number does not fit {}; integer.overflow=wrap takes its low bits, as JVM Connect does",
        kind.name()
    ))
}
