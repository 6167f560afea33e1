//! Values from the bytes of messages, by a plan: text and bytes stay where they are.
//!
//! Single scalars are read as they come. Everything else is noted and read at the end of its message, field by field: repeated
//! fields may be mixed with others, messages that are there more than once add up, and of a oneof the last member counts.

use super::input::{Cursor, Malformed, zig_zag};
use super::model::{Scalar, WireType};
use super::plan::{EnumPlan, FieldPlan, Leaf, MessagePlan, Place, Read, ReadPlan};
use crate::converter::charset::decode_utf8;
use crate::converter::entries;
use crate::converter::registry::{Failure, Input};
use crate::data::{Batch, Range32, Span, Type, Value, civil, days_from_civil};

const DAY_MS: i64 = 86_400_000;
const NANOS_PER_MS: i64 = 1_000_000;
/// Seconds from 0001-01-01 to 9999-12-31, as Java's `Timestamps` takes them.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Bytes of a number whose digits are counted one by one.
const MAX_COUNTED: usize = 1024;
const ILLEGAL_ARGUMENT: &str = "java.lang.IllegalArgumentException";

/// What reading needs and keeps between messages.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    values: Vec<Value>,
    pending: Vec<Pending>,
}

/// A value that is read at the end of its message.
#[derive(Debug, Clone, Copy)]
struct Pending {
    group: u32,
    /// Its place in the plan.
    field: u32,
    start: u32,
    len: u32,
    packed: bool,
}

/// Why a message cannot be read. Small: it is part of every result on the way.
#[derive(Debug)]
enum ReadError {
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

/// Reads one message.
pub(super) fn read(
    plan: &ReadPlan,
    input: Input<'_>,
    batch: &mut Batch,
    scratch: &mut Scratch,
) -> std::result::Result<Value, Failure> {
    scratch.values.clear();
    scratch.pending.clear();
    let mut reader = Reader { plan, whole: input, batch, scratch, depth: 0 };
    reader.value(plan.root, input).map(Option::unwrap_or_default).map_err(|error| match error {
        ReadError::Failure(failure) => *failure,
        ReadError::Malformed(Malformed(why)) => {
            Failure::serializer(format!("the message of {} bytes is malformed: {why}", input.bytes.len()))
        }
    })
}

struct Reader<'a, 'b> {
    plan: &'a ReadPlan,
    /// The payload, which is out of the batch meanwhile.
    whole: Input<'a>,
    batch: &'b mut Batch,
    scratch: &'b mut Scratch,
    depth: u32,
}

fn part<'a>(input: Input<'a>, start: u32, len: u32) -> Input<'a> {
    let (start, len) = (start as usize, len as usize);
    let bytes = input.bytes.get(start..).and_then(|rest| rest.get(..len)).unwrap_or_default();
    Input { bytes, place: input.span(start, len) }
}

impl Reader<'_, '_> {
    /// A value from its own bytes; `None` for a number that is none of an enumeration's.
    fn value(&mut self, read: Read, input: Input<'_>) -> Result<Option<Value>> {
        Ok(Some(match read {
            Read::Leaf(leaf) => self.leaf(leaf, input)?,
            Read::Enum(place) => {
                let number = Cursor::new(input.bytes).varint()? as i32;
                return Ok(self.symbol(place, number));
            }
            Read::Struct(place) => self.message(place, input)?,
            Read::Wrapper(leaf) => self.wrapped(leaf, input)?,
            Read::Decimal => self.decimal(input)?,
            Read::Date => date(numbers(input.bytes)?)?,
            Read::Time => time(numbers(input.bytes)?)?,
            Read::Timestamp => timestamp(numbers(input.bytes)?)?,
        }))
    }

    fn leaf(&mut self, leaf: Leaf, input: Input<'_>) -> Result<Value> {
        match leaf.scalar {
            Scalar::String => self.text(input, leaf.strict),
            Scalar::Bytes => Ok(Value::Bytes(input.place)),
            _ => number(leaf, &mut Cursor::new(input.bytes)),
        }
    }

    fn text(&mut self, input: Input<'_>, strict: bool) -> Result<Value> {
        if std::str::from_utf8(input.bytes).is_ok() {
            return Ok(Value::String(input.place));
        }
        if strict {
            return Err(Malformed("a text is not UTF-8").into());
        }
        let text = decode_utf8(input.bytes);
        Ok(Value::String(self.batch.put_str(&text)))
    }

    fn symbol(&mut self, place: usize, number: i32) -> Option<Value> {
        let EnumPlan { name, symbols, open, as_number } = &self.plan.enums[place];
        let found = symbols.binary_search_by_key(&number, |(number, _)| *number);
        if found.is_err() && !open {
            return None;
        }
        if *as_number {
            return Some(Value::Int32(number));
        }
        Some(Value::String(match found {
            Ok(index) => self.batch.put_str(&symbols[index].1),
            Err(_) => self.batch.put_str(&format!("UNKNOWN_ENUM_VALUE_{name}_{number}")),
        }))
    }

    fn message(&mut self, place: usize, input: Input<'_>) -> Result<Value> {
        self.depth += 1;
        if self.depth > self.plan.max_depth {
            let what = format!("messages are nested deeper than {}", self.plan.max_depth);
            return Err(Failure::serializer(what).into());
        }
        let plan = self.plan;
        let plan = &plan.messages[place];
        // the places first: what lies within comes behind them
        let start = self.batch.values.len();
        self.batch.values.extend_from_slice(&plan.initial);
        let bottom = self.scratch.pending.len();
        self.scan(plan, input, start)?;
        if self.scratch.pending.len() > bottom {
            self.settle(plan, input, start, bottom)?;
        }
        for (slot, constant) in &plan.late {
            let slot = start + *slot as usize;
            if self.batch.values[slot].is_null() {
                let value = self.batch.put_constant(constant);
                self.batch.values[slot] = value;
            }
        }
        for (slot, read) in &plan.from_nothing {
            let slot = start + *slot as usize;
            if self.batch.values[slot].is_null() {
                let value = self.value(*read, part(input, 0, 0))?;
                self.batch.values[slot] = value.unwrap_or_default();
            }
        }
        if let Some((_, name)) =
            plan.required.iter().find(|(slot, _)| self.batch.values[start + *slot as usize].is_null())
        {
            return Err(Failure::serializer(format!("Message missing required fields: {name}")).into());
        }
        self.depth -= 1;
        Ok(Value::Struct(Range32 { start: start as u32, len: plan.initial.len() as u32 }))
    }

    /// Goes through a message once: scalars are read, the rest is noted.
    fn scan(&mut self, plan: &MessagePlan, input: Input<'_>, start: usize) -> Result<()> {
        let mut cursor = Cursor::new(input.bytes);
        let mut next = 0;
        while !cursor.is_at_end() {
            let (number, wire) = cursor.tag()?;
            // fields come in the order of their numbers, mostly
            let found = match plan.fields.get(next) {
                Some(field) if field.number == number => Some(next),
                _ => plan.fields.binary_search_by_key(&number, |field| field.number).ok(),
            };
            let Some(index) = found else {
                cursor.skip(number, wire)?;
                continue;
            };
            next = index + 1;
            let field = &plan.fields[index];
            let wanted = field.read.wire_type();
            let packed = wire == WireType::Length && wanted != wire && field.place == Place::Repeated;
            if wire != wanted && !packed {
                cursor.skip(number, wire)?;
                continue;
            }
            if field.place == Place::Single && !field.read.is_message() {
                self.single(field, &mut cursor, input, start)?;
                continue;
            }
            let from = cursor.at;
            let (from, len) = match wire {
                WireType::Length => {
                    let len = cursor.delimited()?.len();
                    (cursor.at - len, len)
                }
                _ => {
                    cursor.skip(number, wire)?;
                    (from, cursor.at - from)
                }
            };
            self.scratch.pending.push(Pending {
                group: field.group,
                field: index as u32,
                start: from as u32,
                len: len as u32,
                packed,
            });
        }
        Ok(())
    }

    #[inline]
    fn single(
        &mut self,
        field: &FieldPlan,
        cursor: &mut Cursor<'_>,
        input: Input<'_>,
        start: usize,
    ) -> Result<()> {
        let value = match field.read {
            Read::Leaf(leaf) if leaf.scalar.wire_type() == WireType::Length => {
                let len = cursor.delimited()?.len();
                self.leaf(leaf, part(input, (cursor.at - len) as u32, len as u32))?
            }
            Read::Leaf(leaf) => number(leaf, cursor)?,
            Read::Enum(place) => {
                let number = cursor.varint()? as i32;
                match self.symbol(place, number) {
                    Some(value) => value,
                    None => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        self.batch.values[start + field.slot as usize] = value;
        Ok(())
    }

    /// Reads what was noted above `bottom`, field by field.
    fn settle(&mut self, plan: &MessagePlan, input: Input<'_>, start: usize, bottom: usize) -> Result<()> {
        let noted = &mut self.scratch.pending[bottom..];
        if !noted.is_sorted_by_key(|pending| pending.group) {
            noted.sort_by_key(|pending| pending.group);
        }
        let end = self.scratch.pending.len();
        let mut from = bottom;
        while from < end {
            let group = self.scratch.pending[from].group;
            let rest = self.scratch.pending[from..end].iter();
            let to = from + rest.take_while(|pending| pending.group == group).count();
            let field = &plan.fields[self.scratch.pending[from].field as usize];
            match field.place {
                Place::Repeated => self.repeated(field, input, start, from, to)?,
                Place::Map => self.map(field, input, start, from, to)?,
                _ => self.last(plan, input, start, from, to)?,
            }
            from = to;
        }
        self.scratch.pending.truncate(bottom);
        Ok(())
    }

    fn repeated(
        &mut self,
        field: &FieldPlan,
        input: Input<'_>,
        start: usize,
        from: usize,
        to: usize,
    ) -> Result<()> {
        let bottom = self.scratch.values.len();
        for index in from..to {
            let Pending { start, len, packed, .. } = self.scratch.pending[index];
            let inner = part(input, start, len);
            if !packed {
                if let Some(value) = self.value(field.read, inner)? {
                    self.scratch.values.push(value);
                }
                continue;
            }
            let mut cursor = Cursor::new(inner.bytes);
            while !cursor.is_at_end() {
                let value = match field.read {
                    Read::Leaf(leaf) => Some(number(leaf, &mut cursor)?),
                    Read::Enum(place) => {
                        let number = cursor.varint()? as i32;
                        self.symbol(place, number)
                    }
                    _ => return Ok(()),
                };
                self.scratch.values.extend(value);
            }
        }
        let range = self.batch.push_values(&self.scratch.values[bottom..]);
        self.scratch.values.truncate(bottom);
        self.batch.values[start + field.slot as usize] = Value::Array(range);
        Ok(())
    }

    fn map(
        &mut self,
        field: &FieldPlan,
        input: Input<'_>,
        start: usize,
        from: usize,
        to: usize,
    ) -> Result<()> {
        let bottom = self.scratch.values.len();
        for index in from..to {
            let Pending { start, len, .. } = self.scratch.pending[index];
            if let Some(Value::Struct(entry)) = self.value(field.read, part(input, start, len))? {
                self.scratch.values.extend_from_slice(self.batch.items(entry));
            }
        }
        let mut values = self.scratch.values.split_off(bottom);
        let (whole, batch) = (self.whole, &*self.batch);
        entries::keep_last(&mut values, |span| bytes(whole, batch, span));
        let range = self.batch.push_values(&values);
        let map = Value::Map(Range32 { start: range.start, len: (values.len() / 2) as u32 });
        self.batch.values[start + field.slot as usize] = map;
        Ok(())
    }

    /// The last value of a message's field or of a oneof; of messages that follow each other in one field the sum.
    fn last(
        &mut self,
        plan: &MessagePlan,
        input: Input<'_>,
        start: usize,
        from: usize,
        to: usize,
    ) -> Result<()> {
        let last = self.scratch.pending[to - 1];
        let field = &plan.fields[last.field as usize];
        let run =
            self.scratch.pending[from..to].iter().rev().take_while(|one| one.field == last.field).count();
        let value = if run > 1 && field.read.is_message() {
            let noted = &self.scratch.pending[to - run..to];
            let joined: Vec<u8> =
                noted.iter().flat_map(|one| part(input, one.start, one.len).bytes).copied().collect();
            let place = self.batch.put_bytes(&joined);
            self.value(field.read, Input { bytes: &joined, place })?
        } else {
            self.value(field.read, part(input, last.start, last.len))?
        };
        let Some(value) = value else { return Ok(()) };
        let slot = start + field.slot as usize;
        self.batch.values[slot] = match field.place {
            Place::Union { member, members } => {
                let start = self.batch.values.len();
                self.batch.values.resize(start + members as usize, Value::Null);
                self.batch.values[start + member as usize] = value;
                Value::Struct(Range32 { start: start as u32, len: members })
            }
            _ => value,
        };
        Ok(())
    }

    /// The field `value` of a wrapper.
    fn wrapped(&mut self, leaf: Leaf, input: Input<'_>) -> Result<Value> {
        let mut cursor = Cursor::new(input.bytes);
        let mut found = None;
        while !cursor.is_at_end() {
            let (number, wire) = cursor.tag()?;
            let from = cursor.at;
            cursor.skip(number, wire)?;
            if number == 1 && wire == leaf.scalar.wire_type() {
                found = Some((from, cursor.at, wire));
            }
        }
        let Some((from, to, wire)) = found else {
            return Ok(match leaf.kind {
                Type::String => Value::String(Span::default()),
                Type::Bytes => Value::Bytes(Span::default()),
                // no bytes are a zero for every number
                _ => self::number(leaf, &mut Cursor::new(&[0; 8]))?,
            });
        };
        if wire == WireType::Length {
            let mut cursor = Cursor { bytes: input.bytes, at: from };
            let len = cursor.delimited()?.len();
            return self.leaf(leaf, part(input, (to - len) as u32, len as u32));
        }
        self.leaf(leaf, part(input, from as u32, (to - from) as u32))
    }

    fn decimal(&mut self, input: Input<'_>) -> Result<Value> {
        let mut cursor = Cursor::new(input.bytes);
        let (mut unscaled, mut precision, mut scale) = (None, 0_u32, 0_i32);
        while !cursor.is_at_end() {
            match cursor.tag()? {
                (1, WireType::Length) => {
                    let len = cursor.delimited()?.len();
                    unscaled = Some((cursor.at - len, len));
                }
                (2, WireType::Varint) => precision = cursor.varint()? as u32,
                (3, WireType::Varint) => scale = cursor.varint()? as i32,
                (number, wire) => cursor.skip(number, wire)?,
            }
        }
        let Some((from, len)) = unscaled.filter(|(_, len)| *len > 0) else {
            const CLASS: &str = "java.lang.NumberFormatException";
            return Err(Failure::class(CLASS, "Zero length BigInteger: a decimal without its value").into());
        };
        let Input { bytes, place } = part(input, from as u32, len as u32);
        let redundant = crate::data::redundant_sign_bytes(bytes);
        if precision > 0 && digits(&bytes[redundant..]) > u64::from(precision) {
            let what = format!("a decimal has more digits than its precision of {precision}");
            return Err(Failure::data(what).into());
        }
        let redundant = redundant as u32;
        let place = Span { offset: place.offset + redundant, len: place.len - redundant, ..place };
        Ok(Value::Decimal(self.batch.push_values(&[Value::Bytes(place), Value::Int32(scale)])))
    }
}

/// Decimal digits of a number in two's complement; of a huge one at least as many as it has bytes.
fn digits(unscaled: &[u8]) -> u64 {
    if unscaled.len() > MAX_COUNTED {
        return unscaled.len() as u64 * 2;
    }
    let text = crate::data::decimal_string(unscaled, 0);
    text.trim_start_matches('-').len() as u64
}

/// Bytes of a span while the payload is out of the batch.
fn bytes<'a>(whole: Input<'a>, batch: &'a Batch, span: Span) -> &'a [u8] {
    if span.segment != whole.place.segment || span.len == 0 {
        return batch.bytes(span);
    }
    let start = span.offset.checked_sub(whole.place.offset).map(|start| start as usize);
    let inside = start.and_then(|start| whole.bytes.get(start..start + span.len as usize));
    inside.unwrap_or_else(|| batch.bytes(span))
}

#[inline]
fn number(leaf: Leaf, cursor: &mut Cursor<'_>) -> Result<Value> {
    let whole = match leaf.scalar {
        Scalar::Double => return Ok(Value::Float64(f64::from_le_bytes(cursor.array()?))),
        Scalar::Float => return Ok(Value::Float32(f32::from_le_bytes(cursor.array()?))),
        Scalar::Bool => return Ok(Value::Boolean(cursor.varint()? != 0)),
        Scalar::Int32 => i64::from(cursor.varint()? as i32),
        Scalar::Uint32 => i64::from(cursor.varint()? as u32),
        Scalar::Sint32 => zig_zag(cursor.varint()? & 0xffff_ffff),
        Scalar::Sint64 => zig_zag(cursor.varint()?),
        Scalar::Fixed32 => i64::from(u32::from_le_bytes(cursor.array()?)),
        Scalar::Sfixed32 => i64::from(i32::from_le_bytes(cursor.array()?)),
        Scalar::Fixed64 | Scalar::Sfixed64 => i64::from_le_bytes(cursor.array()?),
        _ => cursor.varint()? as i64,
    };
    Ok(match leaf.kind {
        Type::Int8 => Value::Int8(whole as i8),
        Type::Int16 => Value::Int16(whole as i16),
        Type::Int32 => Value::Int32(whole as i32),
        _ => Value::Int64(whole),
    })
}

/// The first four fields of a message of whole numbers.
fn numbers(bytes: &[u8]) -> Result<[i64; 4]> {
    let mut found = [0; 4];
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_at_end() {
        match cursor.tag()? {
            (number @ 1..=4, WireType::Varint) => found[number as usize - 1] = cursor.varint()? as i64,
            (number, wire) => cursor.skip(number, wire)?,
        }
    }
    Ok(found)
}

fn wrong(what: &str, parts: &[i64]) -> ReadError {
    Failure::class(ILLEGAL_ARGUMENT, format!("{what} {parts:?} is none that there is")).into()
}

fn date([year, month, day, _]: [i64; 4]) -> Result<Value> {
    let (year, month, day) = (year as i32, month as i32, day as i32);
    let parts = [i64::from(year), i64::from(month), i64::from(day)];
    if year < 1 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(wrong("the google.type.Date", &parts));
    }
    let days = days_from_civil(parts[0], parts[1], parts[2]);
    if civil(days) != (parts[0], parts[1], parts[2]) {
        return Err(wrong("the google.type.Date", &parts));
    }
    Ok(Value::Date(days * DAY_MS))
}

fn time(parts: [i64; 4]) -> Result<Value> {
    let [hours, minutes, seconds, nanos] = parts.map(|part| i64::from(part as i32));
    let fits = (0..24).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    if !fits || !(0..1_000_000_000).contains(&nanos) {
        return Err(wrong("the google.type.TimeOfDay", &parts));
    }
    Ok(Value::Date(((hours * 60 + minutes) * 60 + seconds) * 1000 + nanos / NANOS_PER_MS))
}

fn timestamp([seconds, nanos, ..]: [i64; 4]) -> Result<Value> {
    let nanos = i64::from(nanos as i32);
    if !SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(wrong("the google.protobuf.Timestamp", &[seconds, nanos]));
    }
    Ok(Value::Date(seconds * 1000 + nanos / NANOS_PER_MS))
}
