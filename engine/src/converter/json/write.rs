//! Values to JSON text, as Jackson prints them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Dialect;
use super::lead::Lead;
use super::text_scan;
use super::union::is_union;
use crate::converter::Failure;
use crate::data::{
    Batch, DATE, DECIMAL, Range32, Schema, SchemaRef, TIME, TIMESTAMP, Type, Value, append, decimal_string,
    java_double, java_float,
};

/// How decimals are written (`decimal.format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecimalFormat {
    Base64,
    Numeric,
    /// As the nearest double: what an index keeps.
    Double,
}

/// Options of the writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) decimal: DecimalFormat,
    pub(super) replace_null_with_default: bool,
    pub(super) dialect: Dialect,
}

type Result = std::result::Result<(), Failure>;

/// Bytes that cannot stand in a JSON string as they are: quotes, backslashes, controls, and the first byte of what lies
/// beyond the basic plane, which Jackson writes as a pair of escapes.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        special[byte] = byte < 0x20 || byte == b'"' as usize || byte == b'\\' as usize || byte >= 0xf0;
        byte += 1;
    }
    special
};

/// Appends a JSON string of UTF-8 text, quotes included.
pub fn quoted(text: &[u8], out: &mut Vec<u8>) {
    if text_scan::is_plain::<0xf0>(text) {
        append::between_quotes(text, out);
        return;
    }
    out.push(b'"');
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        if !SPECIAL[usize::from(byte)] {
            at += 1;
            continue;
        }
        out.extend_from_slice(&text[start..at]);
        at += escape(&text[at..], out);
        start = at;
    }
    out.extend_from_slice(&text[start.min(text.len())..]);
    out.push(b'"');
}

/// Writes the escape of the first character; gives how many bytes it takes in the text.
fn escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    let short = match text[0] {
        b'"' => b'"',
        b'\\' => b'\\',
        8 => b'b',
        9 => b't',
        10 => b'n',
        12 => b'f',
        13 => b'r',
        control if control < 0x20 => {
            out.extend_from_slice(format!("\\u{control:04X}").as_bytes());
            return 1;
        }
        _ => {
            let len = text.len().min(4);
            let char =
                std::str::from_utf8(&text[..len]).ok().and_then(|text| text.chars().next()).unwrap_or('?');
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
            }
            return len;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
    1
}

/// A schema made ready for writing.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schema: SchemaRef,
    /// The schema's type if its values are written by it alone: no logical type, nothing nested.
    plain: Option<Type>,
    /// Null is written as `null`, whatever the options.
    nullable: bool,
    logical: Option<&'static str>,
    union: bool,
    /// Of a struct: its fields.
    fields: Vec<(Lead, Plan)>,
    key: Option<Box<Plan>>,
    value: Option<Box<Plan>>,
}

impl Plan {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let logical = [DECIMAL, DATE, TIME, TIMESTAMP].into_iter().find(|name| schema.is_named(name));
        let field = |(index, field): (usize, &crate::data::Field)| {
            (Lead::new(if index > 0 { b"," } else { b"" }, &field.name), Plan::new(&field.schema))
        };
        let nested = matches!(schema.kind, Type::Struct | Type::Array | Type::Map);
        Self {
            schema: SchemaRef::clone(schema),
            plain: (logical.is_none() && !nested).then_some(schema.kind),
            nullable: schema.optional && schema.default.is_none(),
            logical,
            union: is_union(schema),
            fields: schema.fields.iter().enumerate().map(field).collect(),
            key: schema.key.as_ref().map(|key| Box::new(Plan::new(key))),
            value: schema.value.as_ref().map(|value| Box::new(Plan::new(value))),
        }
    }
}

#[inline]
fn integer(value: i64, out: &mut Vec<u8>) {
    append::integer(value, out);
}

fn float64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        return java_double(value, out);
    }
    out.push(b'"');
    java_double(value, out);
    out.push(b'"');
}

fn float32(value: f32, out: &mut Vec<u8>) {
    let quote = !value.is_finite();
    out.extend(quote.then_some(b'"'));
    java_float(value, out);
    out.extend(quote.then_some(b'"'));
}

/// A value without schema.
pub(super) fn untyped(batch: &Batch, value: Value, out: &mut Vec<u8>) -> Result {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Int8(value) => integer(i64::from(value), out),
        Value::Int16(value) => integer(i64::from(value), out),
        Value::Int32(value) => integer(i64::from(value), out),
        Value::Int64(value) => integer(value, out),
        Value::Float32(value) => float32(value, out),
        Value::Float64(value) => float64(value, out),
        Value::String(span) => quoted(batch.bytes(span), out),
        Value::Bytes(span) => base64(batch.bytes(span), out),
        Value::Array(range) => {
            out.push(b'[');
            for (index, item) in batch.items(range).iter().enumerate() {
                out.extend((index > 0).then_some(b','));
                untyped(batch, *item, out)?;
            }
            out.push(b']');
        }
        Value::Map(range) => {
            let text_keys = batch.entries(range).all(|(key, _)| matches!(key, Value::String(_)));
            let style = (text_keys, Dialect::Envelope);
            entries(batch, range, style, out, |value, _, out| untyped(batch, value, out))?;
        }
        Value::Decimal(_) | Value::Date(_) | Value::Struct(_) => {
            return Err(Failure::data(format!(
                "Java class class {} does not have corresponding schema type.",
                value.java_class()
            )));
        }
    }
    Ok(())
}

fn entries(
    batch: &Batch,
    range: Range32,
    (text_keys, dialect): (bool, Dialect),
    out: &mut Vec<u8>,
    write: impl Fn(Value, bool, &mut Vec<u8>) -> Result,
) -> Result {
    out.push(if text_keys { b'{' } else { b'[' });
    for (index, (key, value)) in batch.entries(range).enumerate() {
        out.extend((index > 0).then_some(b','));
        match key {
            Value::String(span) if text_keys => {
                quoted(batch.bytes(span), out);
                out.push(b':');
                write(value, false, out)?;
            }
            key => {
                let [open, between, close]: [&[u8]; 3] = match dialect {
                    Dialect::Envelope => [b"[", b",", b"]"],
                    Dialect::JsonSchema | Dialect::Document { .. } => [b"{\"key\":", b",\"value\":", b"}"],
                };
                out.extend_from_slice(open);
                write(key, true, out)?;
                out.extend_from_slice(between);
                write(value, false, out)?;
                out.extend_from_slice(close);
            }
        }
    }
    out.push(if text_keys { b'}' } else { b']' });
    Ok(())
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// A value by its schema.
pub(super) fn typed(batch: &Batch, plan: &Plan, value: Value, options: Options, out: &mut Vec<u8>) -> Result {
    let schema = &*plan.schema;
    match (schema.kind, value) {
        (_, Value::Null) => return absent(plan, options, out),
        _ if plan.logical.is_some() => return logical(batch, plan, value, options, out),
        (Type::Struct, Value::Struct(range)) if options.dialect == Dialect::JsonSchema => {
            return lenient_struct(batch, plan, range, options, out);
        }
        (Type::Struct, Value::Struct(range)) => {
            out.push(b'{');
            for ((lead, field), value) in plan.fields.iter().zip(batch.items(range)) {
                lead.write(out);
                member(batch, field, *value, options, out)?;
            }
            out.push(b'}');
        }
        (Type::Array, Value::Array(range)) => {
            let Some(items) = &plan.value else { return untyped(batch, value, out) };
            out.push(b'[');
            for (index, item) in batch.items(range).iter().enumerate() {
                out.extend((index > 0).then_some(b','));
                typed(batch, items, *item, options, out)?;
            }
            out.push(b']');
        }
        (Type::Map, Value::Map(range)) => {
            // a literal's map whose keys have no schema in common
            let Some(keys) = &plan.key else { return Err(no_key_schema()) };
            entries(
                batch,
                range,
                (options.dialect.is_object(&keys.schema), options.dialect),
                out,
                |value, is_key, out| match if is_key { Some(keys) } else { plan.value.as_ref() } {
                    Some(plan) => typed(batch, plan, value, options, out),
                    None => untyped(batch, value, out),
                },
            )?;
        }
        (Type::Boolean, Value::Boolean(_))
        | (Type::Int8, Value::Int8(_))
        | (Type::Int16, Value::Int16(_))
        | (Type::Int32, Value::Int32(_))
        | (Type::Int64, Value::Int64(_))
        | (Type::Float32, Value::Float32(_))
        | (Type::Float64, Value::Float64(_))
        | (Type::String, Value::String(_))
        | (Type::Bytes, Value::Bytes(_)) => untyped(batch, value, out)?,
        (kind, value) => {
            let class = value.java_class();
            return Err(Failure::data(match kind {
                Type::Bytes => format!("Invalid type for bytes type: class {class}"),
                kind => format!("Invalid type for {}: class {class}", kind.name()),
            }));
        }
    }
    Ok(())
}

/// A field's value: the usual ones without a look at the schema.
#[inline]
fn member(batch: &Batch, plan: &Plan, value: Value, options: Options, out: &mut Vec<u8>) -> Result {
    match (plan.plain, value) {
        (_, Value::Null) if plan.nullable => out.extend_from_slice(b"null"),
        (Some(Type::String), Value::String(span)) => quoted(batch.bytes(span), out),
        (Some(Type::Int64), Value::Int64(value)) => integer(value, out),
        (Some(Type::Int32), Value::Int32(value)) => integer(i64::from(value), out),
        (Some(Type::Boolean), Value::Boolean(true)) => out.extend_from_slice(b"true"),
        (Some(Type::Boolean), Value::Boolean(false)) => out.extend_from_slice(b"false"),
        (Some(Type::Float64), Value::Float64(value)) => float64(value, out),
        (_, value) => typed(batch, plan, value, options, out)?,
    }
    Ok(())
}

/// Where the structs within the last struct written are in the output: one that the next has too is copied as text.
#[derive(Debug, Default)]
pub(super) struct Written {
    structs: Vec<(Range32, std::ops::Range<usize>)>,
}

impl Written {
    /// What has been written is not valid any more: another batch, another output, or output taken back.
    pub(super) fn forget(&mut self) {
        self.structs.clear();
    }
}

/// [`typed`] of records that follow each other in one batch and one output. Many events share a struct: the source of a
/// snapshot's rows.
pub(super) fn next_typed(
    batch: &Batch,
    plan: &Plan,
    value: Value,
    options: Options,
    written: &mut Written,
    out: &mut Vec<u8>,
) -> Result {
    let Value::Struct(range) = value else { return typed(batch, plan, value, options, out) };
    if plan.schema.kind != Type::Struct || plan.logical.is_some() || options.dialect != Dialect::Envelope {
        return typed(batch, plan, value, options, out);
    }
    written.structs.resize(plan.fields.len(), (Range32::default(), 0..0));
    out.push(b'{');
    for (((lead, field), value), known) in
        plan.fields.iter().zip(batch.items(range)).zip(&mut written.structs)
    {
        lead.write(out);
        let Value::Struct(range) = *value else {
            member(batch, field, *value, options, out)?;
            continue;
        };
        if known.0 == range && range.len > 0 {
            out.extend_from_within(known.1.clone());
        } else {
            let start = out.len();
            typed(batch, field, *value, options, out)?;
            *known = (range, start..out.len());
        }
    }
    out.push(b'}');
    Ok(())
}

/// A struct whose required fields may be null: they are left out. A union is written as the one of its fields that is
/// not null.
fn lenient_struct(batch: &Batch, plan: &Plan, range: Range32, options: Options, out: &mut Vec<u8>) -> Result {
    let stands_for = |plan: &Plan| match plan.schema.default {
        Some(_) => options.replace_null_with_default,
        None => false,
    };
    let mut fields = plan.fields.iter().zip(batch.items(range));
    if plan.union {
        return match fields.find(|((_, field), value)| !value.is_null() || stands_for(field)) {
            Some(((_, field), value)) => typed(batch, field, *value, options, out),
            None => absent(plan, options, out),
        };
    }
    out.push(b'{');
    let mut first = true;
    for ((lead, field), value) in fields {
        if value.is_null() && !field.schema.optional && !stands_for(field) {
            continue;
        }
        // The lead begins with a comma, but for the first field's.
        let lead = lead.whole.strip_prefix(b",").unwrap_or(&lead.whole);
        out.extend((!first).then_some(b','));
        out.extend_from_slice(lead);
        typed(batch, field, *value, options, out)?;
        first = false;
    }
    out.push(b'}');
    Ok(())
}

fn absent(plan: &Plan, options: Options, out: &mut Vec<u8>) -> Result {
    match &plan.schema.default {
        Some(default) if options.replace_null_with_default => {
            // Rare and small: the default is written by way of a batch of its own.
            let mut batch = Batch::default();
            let value = batch.put_constant(default);
            typed(&batch, plan, value, options, out)
        }
        _ if plan.schema.optional || options.dialect == Dialect::JsonSchema => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        _ => {
            const MISSING: &str =
                "Conversion error: null value for field that is required and has no default value";
            Err(Failure::data(MISSING))
        }
    }
}

fn logical(batch: &Batch, plan: &Plan, value: Value, options: Options, out: &mut Vec<u8>) -> Result {
    match (plan.logical, value) {
        (Some(DECIMAL), Value::Decimal(range)) => {
            let (unscaled, scale) = batch.decimal(range);
            match options.decimal {
                DecimalFormat::Base64 => {}
                DecimalFormat::Numeric => {
                    out.extend_from_slice(decimal_string(unscaled, scale).as_bytes());
                    return Ok(());
                }
                DecimalFormat::Double => {
                    float64(decimal_string(unscaled, scale).parse().unwrap_or(f64::NAN), out);
                    return Ok(());
                }
            }
            let wanted = scale_of(&plan.schema)?;
            if wanted != scale {
                return Err(Failure::data(format!(
                    "Decimal value has mismatching scale for given Decimal schema. Schema has scale {wanted}, value has \
                     scale {scale}."
                )));
            }
            base64(unscaled, out);
        }
        (Some(DATE), Value::Date(ms)) if ms.rem_euclid(86_400_000) == 0 => {
            integer(i64::from(ms.div_euclid(86_400_000) as i32), out)
        }
        (Some(DATE), Value::Date(_)) => {
            return Err(Failure::data(
                "Kafka Connect Date type should not have any time fields set to non-zero values.",
            ));
        }
        (Some(TIME), Value::Date(ms)) if (0..=86_400_000).contains(&ms) => integer(ms, out),
        (Some(TIME), Value::Date(_)) => {
            return Err(Failure::data(
                "Kafka Connect Time type should not have any date fields set to non-zero values.",
            ));
        }
        (Some(TIMESTAMP), Value::Date(ms)) => integer(ms, out),
        (Some(name), value) => {
            let simple = name.rsplit('.').next().unwrap_or(name);
            return Err(Failure::data(format!(
                "Invalid type for {simple}, expected {} but was class {}",
                expected(name),
                value.java_class()
            )));
        }
        (None, _) => {}
    }
    Ok(())
}

fn expected(name: &str) -> &'static str {
    if name == DECIMAL { "BigDecimal" } else { "Date" }
}

fn scale_of(schema: &Schema) -> std::result::Result<i32, Failure> {
    if schema.parameters.is_empty() {
        return Err(Failure::null_pointer("Decimal schema without parameters"));
    }
    let scale = schema.parameters.get("scale");
    let scale = scale.ok_or_else(|| Failure::data("Invalid Decimal schema: scale parameter not found."))?;
    scale.parse().map_err(|_| Failure::data("Invalid scale parameter found in Decimal schema: "))
}

#[cold]
fn no_key_schema() -> Failure {
    Failure::null_pointer("a map's schema has no schema for its keys")
}
