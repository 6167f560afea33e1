//! JSON text to values: of any shape, or by a schema.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::scan::{Kind, MAX_DEPTH, Malformed, Scanner, Text};
use crate::data::{Batch, DATE, DECIMAL, Range32, Schema, SchemaRef, Span, TIME, TIMESTAMP, Type, Value};
use crate::data::{low_bits, parse_decimal};

/// Why a message was not read.
pub(super) enum ReadError {
    /// It is no JSON.
    Malformed(Malformed),
    /// It is JSON, but not what the schema says.
    Data(String),
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

type Result<T> = std::result::Result<T, ReadError>;

/// A schema made ready for reading.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schema: SchemaRef,
    logical: Logical,
    /// Of a struct: each field's `"name":` and its plan.
    fields: Vec<(Box<[u8]>, Plan)>,
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
        let field = |field: &crate::data::Field| {
            let mut name = Vec::new();
            super::write::quoted(field.name.as_bytes(), &mut name);
            name.push(b':');
            (name.into_boxed_slice(), Plan::new(&field.schema))
        };
        Self {
            schema: Arc::clone(schema),
            logical,
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
    pub(super) replace_null_with_default: bool,
}

impl Reader<'_> {
    /// A value of any shape: integers become INT64 (wrapping as Java does beyond 64 bits), fractions FLOAT64.
    pub(super) fn any(&mut self, depth: u32) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Ok(self.scanner.malformed("nested too deeply")?);
        }
        Ok(match self.scanner.kind()? {
            Kind::Null => {
                self.scanner.literal(b"null")?;
                Value::Null
            }
            Kind::Boolean => Value::Boolean(self.scanner.boolean()?),
            Kind::Number => {
                let (text, fraction) = self.scanner.number()?;
                if fraction {
                    Value::Float64(text.parse().unwrap_or(0.0))
                } else {
                    Value::Int64(wrapping(text))
                }
            }
            Kind::String => {
                let text = self.scanner.string()?;
                Value::String(self.text(text)?)
            }
            Kind::Array => self.any_array(depth)?,
            Kind::Object => self.any_object(depth)?,
        })
    }

    fn any_array(&mut self, depth: u32) -> Result<Value> {
        self.scanner.at += 1;
        let start = self.stack.len();
        if !self.scanner.take(b']') {
            loop {
                let item = self.any(depth + 1)?;
                self.stack.push(item);
                if self.scanner.take(b']') {
                    break;
                }
                self.scanner.expect(b',', "no comma between the items of an array")?;
            }
        }
        Ok(Value::Array(self.pop(start)))
    }

    fn any_object(&mut self, depth: u32) -> Result<Value> {
        self.scanner.at += 1;
        let start = self.stack.len();
        if !self.scanner.take(b'}') {
            loop {
                let name = self.scanner.name()?;
                let name = self.text(name)?;
                let value = self.any(depth + 1)?;
                self.put(start, name, value);
                if self.scanner.take(b'}') {
                    break;
                }
                self.scanner.expect(b',', "no comma between the members of an object")?;
            }
        }
        let range = self.pop(start);
        Ok(Value::Map(Range32 { start: range.start, len: range.len / 2 }))
    }

    /// A member of the object whose members start at `start`: the last of a name wins.
    fn put(&mut self, start: usize, name: Span, value: Value) {
        let bytes = self.batch.bytes(name);
        let batch = &*self.batch;
        let mut known = self.stack[start..].chunks_exact_mut(2);
        let same = known.find(|entry| matches!(entry[0], Value::String(span) if span.len == name.len && batch.bytes(span) == bytes));
        match same {
            Some(entry) => entry[1] = value,
            None => self.stack.extend([Value::String(name), value]),
        }
    }

    fn pop(&mut self, start: usize) -> Range32 {
        let range = self.batch.push_values(&self.stack[start..]);
        self.stack.truncate(start);
        range
    }

    fn text(&mut self, text: Text) -> Result<Span> {
        if text.escaped {
            let content = self.scanner.content(text)?;
            return Ok(self.batch.put_bytes(&content));
        }
        let Span { segment, offset, .. } = self.span;
        Ok(Span { segment, offset: offset + text.start as u32, len: (text.end - text.start) as u32 })
    }

    /// A value by its schema. What does not fit is read as leniently as Jackson's accessors do.
    pub(super) fn typed(&mut self, plan: &Plan, depth: u32) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Ok(self.scanner.malformed("nested too deeply")?);
        }
        let kind = self.scanner.kind()?;
        if kind == Kind::Null {
            self.scanner.literal(b"null")?;
            return self.absent(&plan.schema);
        }
        if plan.logical != Logical::None {
            return self.logical(plan, kind, depth);
        }
        Ok(match (plan.schema.kind, kind) {
            (Type::Struct, Kind::Object) => self.structure(plan, depth)?,
            (Type::String, Kind::String) => {
                let text = self.scanner.string()?;
                Value::String(self.text(text)?)
            }
            (Type::Boolean, Kind::Boolean) => Value::Boolean(self.scanner.boolean()?),
            (Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64, Kind::Number) => {
                let number = self.integer()?;
                narrow(plan.schema.kind, number)
            }
            (Type::Float64, Kind::Number) => Value::Float64(self.float()?),
            (Type::Float32, Kind::Number) => {
                let (text, _) = self.scanner.number()?;
                Value::Float32(text.parse().unwrap_or(0.0))
            }
            (Type::Array, Kind::Array) => self.array(plan, depth)?,
            (Type::Map, _) => self.map(plan, kind, depth)?,
            (Type::Bytes, Kind::String) => self.base64()?,
            (Type::Struct, other) => {
                return Err(ReadError::Data(format!(
                    "Structs should be encoded as JSON objects, but found {}",
                    other.node_type()
                )));
            }
            (wanted, _) => {
                self.scanner.skip(depth)?;
                misfit(wanted)
            }
        })
    }

    /// Null, or the default that stands for it.
    fn absent(&mut self, schema: &Schema) -> Result<Value> {
        match &schema.default {
            Some(default) if !schema.optional || self.replace_null_with_default => {
                Ok(self.batch.put_constant(default))
            }
            _ if schema.optional => Ok(Value::Null),
            _ => {
                Err(ReadError::Data(format!("Invalid null value for required {} field", schema.kind.name())))
            }
        }
    }

    fn structure(&mut self, plan: &Plan, depth: u32) -> Result<Value> {
        self.scanner.at += 1;
        let base = self.stack.len();
        self.stack.resize(base + plan.fields.len(), Value::Null);
        // Fields that have been read: all before `next`, if they come in the schema's order.
        let mut next = 0;
        let mut out_of_order: Option<Vec<bool>> = None;
        if !self.scanner.take(b'}') {
            loop {
                let index = self.field(plan, next, &mut out_of_order)?;
                match index {
                    Some(index) => {
                        let value = self.typed(&plan.fields[index].1, depth + 1)?;
                        self.stack[base + index] = value;
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
        for (index, (_, field)) in plan.fields.iter().enumerate() {
            let missing = out_of_order.as_ref().map_or(index >= next, |seen| !seen[index]);
            if missing {
                self.stack[base + index] = self.absent(&field.schema)?;
            }
        }
        Ok(Value::Struct(self.pop(base)))
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
            && self.scanner.text[self.scanner.at..].starts_with(name)
        {
            self.scanner.at += name.len();
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

    #[inline]
    fn integer(&mut self) -> Result<i64> {
        let (text, fraction) = self.scanner.number()?;
        if fraction {
            // BigDecimal.intValue() and longValue() drop the fraction and keep the low bits.
            let low = parse_decimal(text).map_or(0, |(unscaled, scale)| low_bits(&unscaled, scale));
            return Ok(low);
        }
        Ok(wrapping(text))
    }

    fn float(&mut self) -> Result<f64> {
        let (text, _) = self.scanner.number()?;
        Ok(text.parse().unwrap_or(0.0))
    }

    fn array(&mut self, plan: &Plan, depth: u32) -> Result<Value> {
        let Some(items) = &plan.value else {
            return Err(ReadError::Data("Array schema did not specify the element type".into()));
        };
        self.scanner.at += 1;
        let start = self.stack.len();
        if !self.scanner.take(b']') {
            loop {
                let item = self.typed(items, depth + 1)?;
                self.stack.push(item);
                if self.scanner.take(b']') {
                    break;
                }
                self.scanner.expect(b',', "no comma between the items of an array")?;
            }
        }
        Ok(Value::Array(self.pop(start)))
    }

    /// A map with text keys is an object, any other an array of pairs.
    fn map(&mut self, plan: &Plan, kind: Kind, depth: u32) -> Result<Value> {
        let (Some(keys), Some(values)) = (&plan.key, &plan.value) else {
            return Err(ReadError::Data("Map schema did not specify the key or the value type".into()));
        };
        let text_keys = keys.schema.kind == Type::String;
        let (wanted, close, what) = if text_keys {
            (Kind::Object, b'}', "Maps with string fields should be encoded as JSON objects, but found ")
        } else {
            (
                Kind::Array,
                b']',
                "Maps with non-string fields should be encoded as JSON array of tuples, but found ",
            )
        };
        if kind != wanted {
            return Err(ReadError::Data(format!("{what}{}", kind.node_type())));
        }
        self.scanner.at += 1;
        let start = self.stack.len();
        if !self.scanner.take(close) {
            loop {
                if text_keys {
                    let name = self.scanner.name()?;
                    let name = self.text(name)?;
                    let value = self.typed(values, depth + 1)?;
                    self.put(start, name, value);
                } else {
                    self.scanner.expect(b'[', "a map's entry is no array of key and value")?;
                    let key = self.typed(keys, depth + 1)?;
                    self.scanner.expect(b',', "a map's entry is no array of key and value")?;
                    let value = self.typed(values, depth + 1)?;
                    self.scanner.expect(b']', "a map's entry has more than key and value")?;
                    self.stack.extend([key, value]);
                }
                if self.scanner.take(close) {
                    break;
                }
                self.scanner.expect(b',', "no comma between the entries of a map")?;
            }
        }
        let range = self.pop(start);
        Ok(Value::Map(Range32 { start: range.start, len: range.len / 2 }))
    }

    fn base64(&mut self) -> Result<Value> {
        let text = self.scanner.string()?;
        let content = self.scanner.content(text)?;
        let bytes =
            BASE64_STANDARD.decode(&*content).map_err(|_| ReadError::Data("Invalid bytes field".into()))?;
        Ok(Value::Bytes(self.batch.put_bytes(&bytes)))
    }

    fn logical(&mut self, plan: &Plan, kind: Kind, depth: u32) -> Result<Value> {
        let integer = |name: &str| {
            ReadError::Data(format!(
                "Invalid type for {name}, underlying representation should be integer but was {}",
                kind.node_type()
            ))
        };
        match plan.logical {
            Logical::Decimal if kind == Kind::Number => {
                let (text, _) = self.scanner.number()?;
                let Some((unscaled, scale)) = parse_decimal(text) else {
                    return Err(ReadError::Data("the exponent of a Decimal field is out of range".into()));
                };
                Ok(self.decimal(&unscaled, scale))
            }
            Logical::Decimal if kind == Kind::String => {
                let Value::Bytes(span) = self.base64()? else { return Ok(Value::Null) };
                let scale = plan.schema.parameters.get("scale").and_then(|scale| scale.parse().ok());
                let scale = scale.ok_or_else(|| {
                    ReadError::Data("Invalid Decimal schema: scale parameter not found.".into())
                })?;
                let range = self.batch.push_values(&[Value::Bytes(span), Value::Int32(scale)]);
                Ok(Value::Decimal(range))
            }
            Logical::Decimal => Err(ReadError::Data(format!(
                "Invalid type for Decimal, underlying representation should be numeric or bytes but was {}",
                kind.node_type()
            ))),
            Logical::Date | Logical::Time | Logical::Timestamp => {
                let name = match plan.logical {
                    Logical::Date => "Date",
                    Logical::Time => "Time",
                    _ => "Timestamp",
                };
                if kind != Kind::Number {
                    return Err(integer(name));
                }
                let (text, fraction) = self.scanner.number()?;
                let number: Option<i64> = text.parse().ok();
                match (plan.logical, number) {
                    _ if fraction => Err(integer(name)),
                    (Logical::Timestamp, number) => Ok(Value::Date(number.unwrap_or_else(|| wrapping(text)))),
                    (Logical::Date, Some(days)) if i32::try_from(days).is_ok() => {
                        Ok(Value::Date(days * 86_400_000))
                    }
                    (Logical::Time, Some(ms)) if (0..=86_400_000).contains(&ms) => Ok(Value::Date(ms)),
                    (Logical::Time, Some(ms)) if i32::try_from(ms).is_ok() => Err(ReadError::Data(
                        "Time values must use number of milliseconds greater than 0 and less than 86400000"
                            .into(),
                    )),
                    _ => Err(integer(name)),
                }
            }
            Logical::None => self.typed(plan, depth),
        }
    }

    fn decimal(&mut self, unscaled: &[u8], scale: i32) -> Value {
        let bytes = Value::Bytes(self.batch.put_bytes(unscaled));
        Value::Decimal(self.batch.push_values(&[bytes, Value::Int32(scale)]))
    }
}

/// What Jackson's accessor of a type gives for a value of another kind.
const fn misfit(wanted: Type) -> Value {
    match wanted {
        Type::Int8 => Value::Int8(0),
        Type::Int16 => Value::Int16(0),
        Type::Int32 => Value::Int32(0),
        Type::Int64 => Value::Int64(0),
        Type::Float32 => Value::Float32(0.0),
        Type::Float64 => Value::Float64(0.0),
        Type::Boolean => Value::Boolean(false),
        _ => Value::Null,
    }
}

#[inline]
const fn narrow(kind: Type, number: i64) -> Value {
    match kind {
        Type::Int8 => Value::Int8(number as i8),
        Type::Int16 => Value::Int16(number as i16),
        Type::Int32 => Value::Int32(number as i32),
        _ => Value::Int64(number),
    }
}

/// An integer's low 64 bits, as `BigInteger.longValue()`.
#[inline]
fn wrapping(text: &str) -> i64 {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = digits
        .bytes()
        .fold(0_i64, |value, digit| value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')));
    if negative { value.wrapping_neg() } else { value }
}
