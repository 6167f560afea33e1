//! Avro to JSON text in one pass: bytes of the message to text, with no value between.
//!
//! Only what goes right is done here. Whatever is out of the ordinary (malformed bytes, keys twice, text that has to be repaired,
//! values that JsonConverter refuses) ends the attempt, and the record takes the way over rows, which knows what to say.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::json::{JsonText, Lead, is_plain, quoted};
use super::input::{Cursor, Items, Malformed};
use super::plan::{Read, ReadPlan};
use crate::data::{Schema, SchemaRef, append, java_double, java_float};

/// Records within records that the short way follows.
const MAX_DEPTH: u32 = 64;
/// Entries of a map whose keys are compared with each other here.
const MAX_ENTRIES: usize = 32;

/// How the bytes of one type become text.
#[derive(Debug)]
enum Text {
    Boolean,
    Int8,
    Int16,
    Int,
    Long,
    Float,
    Double,
    String,
    Bytes,
    Fixed(usize),
    /// Symbols, quoted.
    Enum(Box<[Box<[u8]>]>),
    /// Milliseconds of a day.
    Time,
    Array(Box<Text>),
    Map(Box<Text>),
    /// What precedes each field (brace or comma, name, colon), and the field.
    Struct(Box<[(Lead, Text)]>),
    /// Null is written as these bytes.
    Optional {
        index: usize,
        inner: Box<Text>,
        null: Box<[u8]>,
    },
}

/// A writer schema made ready.
#[derive(Debug)]
pub(in crate::converter) struct TextPlan {
    root: Text,
    /// Around the payload, where schemas are enabled.
    prefix: Box<[u8]>,
    suffix: &'static [u8],
    /// A null at the top is no message.
    null_at_top: Option<usize>,
}

/// The attempt is given up.
#[derive(Debug)]
pub(super) struct NotSo;

impl From<Malformed> for NotSo {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl TextPlan {
    /// `None` where a schema has parts that only the way over rows knows.
    pub(super) fn new(plan: &ReadPlan, json: &JsonText) -> Option<Self> {
        let schema = plan.schema.as_ref().filter(|_| !plan.raw)?;
        let null_at_top = match &plan.root {
            Read::Optional { index, .. } => Some(1 - usize::from(*index)),
            _ => None,
        };
        let (prefix, suffix) = json.envelope(schema)?;
        let root = compile(plan, &plan.root, schema, json, 0)?;
        Some(Self { root, prefix, suffix, null_at_top })
    }

    /// Appends the text; false for a null at the top, which has none.
    pub(super) fn write(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, NotSo> {
        let mut cursor = Cursor::new(bytes);
        if self.null_at_top.is_some() && cursor.index(2, "")? == self.null_at_top.unwrap_or(2) {
            return Ok(false);
        }
        let mut cursor = Cursor::new(bytes);
        out.extend_from_slice(&self.prefix);
        text(&self.root, &mut cursor, out)?;
        out.extend_from_slice(self.suffix);
        Ok(true)
    }
}

fn compile(plan: &ReadPlan, read: &Read, schema: &SchemaRef, json: &JsonText, depth: u32) -> Option<Text> {
    if depth > MAX_DEPTH {
        return None;
    }
    let part =
        |read: &Read, schema: Option<&SchemaRef>| compile(plan, read, schema?, json, depth + 1).map(Box::new);
    Some(match read {
        Read::Boolean => Text::Boolean,
        Read::Int8 => Text::Int8,
        Read::Int16 => Text::Int16,
        Read::Int32 | Read::Date => Text::Int,
        Read::Int64 | Read::Timestamp => Text::Long,
        Read::Float32 => Text::Float,
        Read::Float64 => Text::Double,
        Read::String => Text::String,
        Read::Bytes => Text::Bytes,
        Read::Fixed(size) => Text::Fixed(*size),
        Read::Time => Text::Time,
        Read::Enum(symbols) => {
            let quote = |symbol: &str| {
                let mut out = Vec::new();
                quoted(symbol.as_bytes(), &mut out);
                out.into_boxed_slice()
            };
            Text::Enum(symbols.iter().map(|symbol| quote(symbol)).collect())
        }
        Read::Array(item) => Text::Array(part(item, schema.value.as_ref())?),
        Read::Map(value) => Text::Map(part(value, schema.value.as_ref())?),
        Read::Struct(record) => structure(plan, plan.records.get(*record)?, schema, json, depth)?,
        Read::Optional { index, inner } => {
            let null = json.null(schema)?;
            Text::Optional { index: usize::from(*index), inner: part(inner, Some(schema))?, null }
        }
        _ => return None,
    })
}

fn structure(plan: &ReadPlan, reads: &[Read], schema: &Schema, json: &JsonText, depth: u32) -> Option<Text> {
    if reads.is_empty() || reads.len() != schema.fields.len() {
        return None;
    }
    let fields = reads.iter().zip(&schema.fields).enumerate().map(|(index, (read, field))| {
        Some((
            Lead::new(if index == 0 { b"{" } else { b"," }, &field.name),
            compile(plan, read, &field.schema, json, depth + 1)?,
        ))
    });
    Some(Text::Struct(fields.collect::<Option<_>>()?))
}

/// The usual types, within the loop over a struct's fields.
#[inline]
fn text(plan: &Text, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), NotSo> {
    let plan = match plan {
        Text::Optional { index, inner, null } => {
            if cursor.index(2, "")? != *index {
                out.extend_from_slice(null);
                return Ok(());
            }
            inner
        }
        plan => plan,
    };
    match plan {
        Text::String => string(cursor.bytes()?, out)?,
        Text::Long => append::integer(cursor.long()?, out),
        Text::Int => append::integer(cursor.int()?.into(), out),
        Text::Boolean if cursor.boolean()? => out.extend_from_slice(b"true"),
        Text::Boolean => out.extend_from_slice(b"false"),
        other => other_text(other, cursor, out)?,
    }
    Ok(())
}

#[inline(never)]
fn other_text(plan: &Text, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), NotSo> {
    match plan {
        Text::Optional { .. } | Text::String | Text::Long | Text::Int | Text::Boolean => {
            return text(plan, cursor, out);
        }
        Text::Double => {
            let value = f64::from_le_bytes(cursor.array()?);
            if value.is_finite() {
                java_double(value, out);
            } else {
                out.push(b'"');
                java_double(value, out);
                out.push(b'"');
            }
        }
        Text::Float => {
            let value = f32::from_le_bytes(cursor.array()?);
            out.extend((!value.is_finite()).then_some(b'"'));
            java_float(value, out);
            out.extend((!value.is_finite()).then_some(b'"'));
        }
        Text::Struct(fields) => {
            for (lead, field) in fields {
                lead.write(out);
                text(field, cursor, out)?;
            }
            out.push(b'}');
        }
        Text::Enum(symbols) => out.extend_from_slice(&symbols[cursor.index(symbols.len(), "")?]),
        Text::Int8 => append::integer((cursor.int()? as i8).into(), out),
        Text::Int16 => append::integer((cursor.int()? as i16).into(), out),
        Text::Bytes => base64(cursor.bytes()?, out),
        Text::Fixed(size) => base64(cursor.take(*size)?, out),
        Text::Time => match cursor.int()? {
            ms @ 0..86_400_000 => append::integer(ms.into(), out),
            _ => return Err(NotSo),
        },
        Text::Array(item) => {
            let mut lead = b'[';
            let mut seen = Items::default();
            loop {
                let count = cursor.block(&mut seen)?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    out.push(lead);
                    lead = b',';
                    text(item, cursor, out)?;
                }
            }
            out.extend((lead == b'[').then_some(b'['));
            out.push(b']');
        }
        Text::Map(value) => map(value, cursor, out)?,
    }
    Ok(())
}

fn map(value: &Text, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), NotSo> {
    let mut keys: [&[u8]; MAX_ENTRIES] = [&[]; MAX_ENTRIES];
    let mut entries = 0;
    let mut seen = Items::default();
    out.push(b'{');
    loop {
        let count = cursor.block(&mut seen)?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            let key = cursor.bytes()?;
            // of equal keys the last one counts: the way over rows sees to it
            if entries == MAX_ENTRIES || keys[..entries].contains(&key) {
                return Err(NotSo);
            }
            keys[entries] = key;
            out.extend((entries > 0).then_some(b','));
            entries += 1;
            string(key, out)?;
            out.push(b':');
            text(value, cursor, out)?;
        }
    }
    out.push(b'}');
    Ok(())
}

#[inline]
fn string(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NotSo> {
    if is_plain::<0x80>(bytes) {
        append::between_quotes(bytes, out);
        return Ok(());
    }
    std::str::from_utf8(bytes).map_err(|_| NotSo)?;
    quoted(bytes, out);
    Ok(())
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}
