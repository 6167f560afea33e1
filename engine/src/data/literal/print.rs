//! Values to literals.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::data::java_time::print_iso;
use crate::data::{Batch, Range32, Schema, Value, append_java_string};

/// Appends a value as JVM Connect writes it into a header: a string as it is, bytes as base64, numbers as Java prints them;
/// inside arrays, maps and structs strings are quoted. Null is the text `null`.
pub fn print_literal(batch: &Batch, schema: Option<&Schema>, value: Value, out: &mut Vec<u8>) {
    append(batch, schema, value, false, out);
}

fn append(batch: &Batch, schema: Option<&Schema>, value: Value, embedded: bool, out: &mut Vec<u8>) {
    match value {
        Value::String(span) if embedded => quoted(batch.bytes(span), out),
        Value::Bytes(span) => {
            let quote = embedded.then_some(b'"');
            out.extend(quote);
            out.extend_from_slice(BASE64_STANDARD.encode(batch.bytes(span)).as_bytes());
            out.extend(quote);
        }
        Value::Array(range) => {
            let items = schema.and_then(|schema| schema.value.as_deref());
            out.push(b'[');
            for (index, item) in batch.items(range).iter().enumerate() {
                out.extend((index > 0).then_some(b','));
                append(batch, items, *item, true, out);
            }
            out.push(b']');
        }
        Value::Map(range) => {
            let keys = schema.and_then(|schema| schema.key.as_deref());
            let values = schema.and_then(|schema| schema.value.as_deref());
            out.push(b'{');
            for (index, (key, value)) in batch.entries(range).enumerate() {
                out.extend((index > 0).then_some(b','));
                append(batch, keys, key, true, out);
                out.push(b':');
                append(batch, values, value, true, out);
            }
            out.push(b'}');
        }
        Value::Struct(range) => structure(batch, schema, range, out),
        Value::Date(ms) => print_iso(ms, out),
        other => append_java_string(batch, schema, other, out),
    }
}

fn structure(batch: &Batch, schema: Option<&Schema>, range: Range32, out: &mut Vec<u8>) {
    out.push(b'{');
    let fields = schema.map_or(&[][..], |schema| &schema.fields);
    for (index, (field, value)) in fields.iter().zip(batch.items(range)).enumerate() {
        out.extend((index > 0).then_some(b','));
        quoted(field.name.as_bytes(), out);
        out.push(b':');
        match &field.schema.default {
            Some(default) if value.is_null() => {
                let mut batch = Batch::default();
                let value = batch.put_constant(default);
                append(&batch, Some(&field.schema), value, true, out);
            }
            _ => append(batch, Some(&field.schema), *value, true, out),
        }
    }
    out.push(b'}');
}

fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
