//! Values from Avro's bytes, by a plan: strings and bytes stay where they are.

use super::super::charset::decode_utf8;
use super::super::entries;
use super::super::registry::{Failure, Input};
use super::input::{Cursor, Items, Malformed};
use super::plan::{Branch, EntryRead, Read, ReadPlan, Target};
use crate::data::{Batch, Range32, Value};

const DAY_MS: i64 = 86_400_000;

/// Why one datum cannot be read. Small: it is part of every result on the way.
#[derive(Debug)]
pub(super) enum ReadError {
    Malformed(Malformed),
    Failure(Box<Failure>),
}

impl From<Malformed> for ReadError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

type Result<T> = std::result::Result<T, ReadError>;

/// Reads one datum. Bytes after it are not looked at, as in Java.
pub(super) fn read(
    plan: &ReadPlan,
    input: Input<'_>,
    batch: &mut Batch,
    stack: &mut Vec<Value>,
) -> std::result::Result<Value, Failure> {
    stack.clear();
    let mut reader = Reader { plan, input, cursor: Cursor::new(input.bytes), batch, stack, depth: 0 };
    let value = if plan.raw { reader.raw(&plan.root) } else { reader.value(&plan.root) };
    value.map_err(|error| reader.failure(error))
}

/// Reads one datum whose schema is a record, [`ReadPlan::record`]: its fields.
#[inline]
pub(super) fn read_record(
    plan: &ReadPlan,
    record: usize,
    input: Input<'_>,
    batch: &mut Batch,
    stack: &mut Vec<Value>,
) -> std::result::Result<Range32, Failure> {
    stack.clear();
    let mut reader = Reader { plan, input, cursor: Cursor::new(input.bytes), batch, stack, depth: 0 };
    reader.fields(record).map_err(|error| reader.failure(error))
}

struct Reader<'a, 'b> {
    plan: &'a ReadPlan,
    input: Input<'a>,
    cursor: Cursor<'a>,
    batch: &'b mut Batch,
    /// Values of collections whose end is not yet reached.
    stack: &'b mut Vec<Value>,
    depth: u32,
}

impl<'a> Reader<'a, '_> {
    #[cold]
    fn failure(&self, error: ReadError) -> Failure {
        match error {
            ReadError::Failure(failure) => *failure,
            ReadError::Malformed(Malformed(why)) => {
                let (at, len) = (self.cursor.at, self.input.bytes.len());
                Failure::serializer(format!(
                    "the Avro datum of {len} bytes is malformed: {why} (at byte {at})"
                ))
            }
        }
    }

    /// Reads a field into its place, which is null so far. The usual values are written there at once: one that is given on
    /// in parts and read as a whole is waited for.
    fn field(&mut self, read: &Read, at: usize) -> Result<()> {
        match read {
            Read::Int32 => self.batch.values[at] = Value::Int32(self.cursor.int()?),
            Read::Int64 => self.batch.values[at] = Value::Int64(self.cursor.long()?),
            Read::Boolean => self.batch.values[at] = Value::Boolean(self.cursor.boolean()?),
            Read::Float64 => self.batch.values[at] = Value::Float64(f64::from_le_bytes(self.cursor.array()?)),
            Read::Timestamp => self.batch.values[at] = Value::Date(self.cursor.long()?),
            Read::String => {
                let bytes = self.cursor.bytes()?;
                if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
                    let span = self.input.span(self.cursor.at - bytes.len(), bytes.len());
                    self.batch.values[at] = Value::String(span);
                } else {
                    // as Java: what is no UTF-8 is replaced
                    self.batch.values[at] = Value::String(self.batch.put_str(&decode_utf8(bytes)));
                }
            }
            Read::Optional { index, inner } => {
                if self.cursor.index(2, UNION)? == usize::from(*index) {
                    return self.field(inner, at);
                }
            }
            Read::Struct(record) => self.batch.values[at] = Value::Struct(self.fields(*record)?),
            other => self.batch.values[at] = self.value(other)?,
        }
        Ok(())
    }

    fn value(&mut self, read: &Read) -> Result<Value> {
        Ok(match read {
            Read::Int32 => Value::Int32(self.cursor.int()?),
            Read::Int64 => Value::Int64(self.cursor.long()?),
            Read::String => self.string()?,
            Read::Boolean => Value::Boolean(self.cursor.boolean()?),
            Read::Float64 => Value::Float64(f64::from_le_bytes(self.cursor.array()?)),
            Read::Float32 => Value::Float32(f32::from_le_bytes(self.cursor.array()?)),
            Read::Optional { index, inner } => match self.cursor.index(2, UNION)? {
                branch if branch == usize::from(*index) => return self.value(inner),
                _ => Value::Null,
            },
            Read::Struct(record) => Value::Struct(self.fields(*record)?),
            Read::Timestamp => Value::Date(self.cursor.long()?),
            Read::Date => Value::Date(i64::from(self.cursor.int()?) * DAY_MS),
            Read::Bytes => {
                let bytes = self.cursor.bytes()?;
                self.bytes(bytes.len())
            }
            Read::Enum(symbols) => {
                let index = self.cursor.index(symbols.len(), "an enum's index is beyond its symbols")?;
                Value::String(self.batch.put_str(&symbols[index]))
            }
            Read::Decimal { scale, size } => return self.decimal(*scale, *size),
            Read::Array(item) => return self.array(item),
            Read::Map(value) => return self.map(value),
            Read::Union { fields, branches } => return self.union(*fields, branches),
            Read::Int8 => Value::Int8(self.cursor.int()? as i8),
            Read::Int16 => Value::Int16(self.cursor.int()? as i16),
            Read::Time => time(self.cursor.int()?)?,
            Read::Fixed(size) => {
                self.cursor.take(*size)?;
                self.bytes(*size)
            }
            Read::Entries(entry) => return self.entries(entry),
            Read::Null => Value::Null,
            Read::Single(inner) => {
                self.cursor.index(1, UNION)?;
                return self.value(inner);
            }
            Read::Anything => return self.anything(),
            Read::Refused(inner, why) => {
                self.value(inner)?;
                return Err(Failure::data(&**why).into());
            }
        })
    }

    /// The top of a schema of bytes: all of the payload.
    fn raw(&mut self, read: &Read) -> Result<Value> {
        let bytes = self.cursor.take(self.input.bytes.len())?;
        match read {
            Read::Decimal { scale, .. } => self.unscaled(bytes, *scale),
            Read::Refused(_, why) => Err(Failure::data(&**why).into()),
            _ => Ok(self.bytes(bytes.len())),
        }
    }

    /// The bytes that have just been taken.
    fn bytes(&self, len: usize) -> Value {
        Value::Bytes(self.input.span(self.cursor.at - len, len))
    }

    #[inline]
    fn string(&mut self) -> Result<Value> {
        let bytes = self.cursor.bytes()?;
        Ok(match std::str::from_utf8(bytes) {
            Ok(_) => Value::String(self.input.span(self.cursor.at - bytes.len(), bytes.len())),
            // as Java: what is no UTF-8 is replaced
            Err(_) => Value::String(self.batch.put_str(&decode_utf8(bytes))),
        })
    }

    fn decimal(&mut self, scale: i32, size: Option<usize>) -> Result<Value> {
        let bytes = match size {
            Some(size) => self.cursor.take(size)?,
            None => self.cursor.bytes()?,
        };
        self.unscaled(bytes, scale)
    }

    /// The bytes that have just been taken, as a decimal. Leading bytes that only repeat the sign go.
    fn unscaled(&mut self, bytes: &'a [u8], scale: i32) -> Result<Value> {
        if bytes.is_empty() {
            return Err(Failure::class("java.lang.NumberFormatException", "Zero length BigInteger").into());
        }
        let redundant =
            |pair: &[u8]| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80);
        let skip = bytes.windows(2).take_while(|pair| redundant(pair)).count();
        let unscaled = self.bytes(bytes.len() - skip);
        Ok(Value::Decimal(self.batch.push_values(&[unscaled, Value::Int32(scale)])))
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > self.plan.max_depth {
            let what = format!("records are nested deeper than {}", self.plan.max_depth);
            return Err(Failure::serializer(what).into());
        }
        Ok(())
    }

    fn fields(&mut self, record: usize) -> Result<Range32> {
        self.deeper()?;
        let plan = self.plan;
        let fields = plan.records.get(record).map_or(&[][..], |fields| fields);
        // the places first: what lies within comes behind them
        let start = self.batch.values.len();
        self.batch.values.resize(start + fields.len(), Value::Null);
        for (index, field) in fields.iter().enumerate() {
            self.field(field, start + index)?;
        }
        self.depth -= 1;
        Ok(Range32 { start: start as u32, len: fields.len() as u32 })
    }

    /// Whether values of that kind may take no bytes.
    fn may_be_empty(&self, read: &Read, depth: u32) -> bool {
        match read {
            Read::Null | Read::Fixed(0) | Read::Decimal { size: Some(0), .. } => true,
            Read::Struct(record) => {
                depth > 8
                    || self
                        .plan
                        .records
                        .get(*record)
                        .is_none_or(|fields| fields.iter().all(|field| self.may_be_empty(field, depth + 1)))
            }
            Read::Refused(inner, _) => self.may_be_empty(inner, depth),
            _ => false,
        }
    }

    fn array(&mut self, item: &Read) -> Result<Value> {
        self.deeper()?;
        let bottom = self.stack.len();
        let mut seen = Items { count: 0, may_be_empty: self.may_be_empty(item, 0) };
        loop {
            let count = self.cursor.block(&mut seen)?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let value = self.value(item)?;
                self.stack.push(value);
            }
        }
        self.depth -= 1;
        let range = self.batch.push_values(&self.stack[bottom..]);
        self.stack.truncate(bottom);
        Ok(Value::Array(range))
    }

    fn map(&mut self, item: &Read) -> Result<Value> {
        self.deeper()?;
        let bottom = self.stack.len();
        let mut seen = Items::default();
        loop {
            let count = self.cursor.block(&mut seen)?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let key = self.string()?;
                let value = self.value(item)?;
                self.stack.extend([key, value]);
            }
        }
        Ok(self.close_map(bottom))
    }

    fn entries(&mut self, entry: &EntryRead) -> Result<Value> {
        self.deeper()?;
        let bottom = self.stack.len();
        let mut seen = Items { count: 0, may_be_empty: true };
        loop {
            let count = self.cursor.block(&mut seen)?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let (key, value);
                if entry.key_first {
                    key = self.value(&entry.key)?;
                    value = self.value(&entry.value)?;
                } else {
                    value = self.value(&entry.value)?;
                    key = self.value(&entry.key)?;
                }
                self.stack.extend([key, value]);
            }
        }
        Ok(self.close_map(bottom))
    }

    /// The entries above `bottom` as a map; of equal keys the last one counts.
    fn close_map(&mut self, bottom: usize) -> Value {
        self.depth -= 1;
        let mut entries = self.stack.split_off(bottom);
        entries::keep_last(&mut entries, |span| self.span(span));
        let range = self.batch.push_values(&entries);
        Value::Map(Range32 { start: range.start, len: (entries.len() / 2) as u32 })
    }

    /// The payload is out of the batch while it is read.
    fn span(&self, span: crate::data::Span) -> &[u8] {
        if span.segment == 0 && self.input.place.segment != 0 {
            return self.batch.bytes(span);
        }
        let start = span.offset.checked_sub(self.input.place.offset).map(|start| start as usize);
        let inside = start.and_then(|start| self.input.bytes.get(start..start + span.len as usize));
        inside.unwrap_or_else(|| self.batch.bytes(span))
    }

    fn union(&mut self, fields: u32, branches: &[Branch]) -> Result<Value> {
        self.deeper()?;
        let index = self.cursor.index(branches.len(), UNION)?;
        let branch = &branches[index];
        let value = self.value(&branch.read)?;
        self.depth -= 1;
        let field = match &branch.target {
            Target::Null => return Ok(Value::Null),
            Target::Nowhere => return Err(Failure::data("Did not find matching union field for data").into()),
            Target::Field(field) => *field,
            Target::BySize(sizes) => {
                let len = if let Value::Bytes(span) = value { span.len as usize } else { 0 };
                let fits = sizes.iter().find(|(size, _)| size.is_none_or(|size| size == len));
                fits.map(|(_, field)| *field)
                    .ok_or_else(|| Failure::data("Did not find matching union field for data"))?
            }
        };
        let start = self.batch.values.len();
        self.batch.values.resize(start + fields as usize, Value::Null);
        self.batch.values[start + field as usize] = value;
        Ok(Value::Struct(Range32 { start: start as u32, len: fields }))
    }

    /// The first member that is set, in the order in which Confluent's converter looks.
    fn anything(&mut self) -> Result<Value> {
        self.deeper()?;
        let mut found = Value::Null;
        for member in 0..9 {
            if self.cursor.index(2, UNION)? == 0 {
                continue;
            }
            let value = match member {
                0 => Value::Boolean(self.cursor.boolean()?),
                1 => {
                    let bytes = self.cursor.bytes()?;
                    self.bytes(bytes.len())
                }
                2 => Value::Float64(f64::from_le_bytes(self.cursor.array()?)),
                3 => Value::Float32(f32::from_le_bytes(self.cursor.array()?)),
                4 => Value::Int32(self.cursor.int()?),
                5 => Value::Int64(self.cursor.long()?),
                6 => self.string()?,
                7 => self.array(&Read::Anything)?,
                _ => self.entries(&ANYTHING_ENTRY)?,
            };
            if found.is_null() {
                found = value;
            }
        }
        self.depth -= 1;
        Ok(found)
    }
}

static ANYTHING_ENTRY: EntryRead = EntryRead { key: Read::Anything, value: Read::Anything, key_first: true };

const UNION: &str = "a union's index is beyond its types";

fn time(ms: i32) -> Result<Value> {
    if !(0..=DAY_MS).contains(&i64::from(ms)) {
        let what = "Time values must use number of milliseconds greater than 0 and less than 86400000";
        return Err(Failure::data(what).into());
    }
    Ok(Value::Date(i64::from(ms)))
}
