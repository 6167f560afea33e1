//! Schemas as JSON: the `schema` member of an envelope.

use std::sync::Arc;

use serde_json::Value as Json;

use super::scan::MAX_DEPTH;
use super::write::{self, Options, quoted};
use crate::data::{Batch, Constant, DATE, DECIMAL, Schema, SchemaBuilder, SchemaRef, TIME, TIMESTAMP, Type};
use crate::data::{low_bits, parse_decimal};

/// Reads a schema; `None` for JSON null.
pub(super) fn parse(json: &Json, depth: u32) -> Result<Option<SchemaRef>, String> {
    if json.is_null() {
        return Ok(None);
    }
    if depth > MAX_DEPTH {
        return Err("Schema is nested too deeply".to_owned());
    }
    let Some(kind) = json.get("type").and_then(Json::as_str) else {
        return Err("Schema must contain 'type' field".to_owned());
    };
    let builder = match kind {
        "boolean" => SchemaBuilder::new(Type::Boolean),
        "int8" => SchemaBuilder::new(Type::Int8),
        "int16" => SchemaBuilder::new(Type::Int16),
        "int32" => SchemaBuilder::new(Type::Int32),
        "int64" => SchemaBuilder::new(Type::Int64),
        "float" => SchemaBuilder::new(Type::Float32),
        "double" => SchemaBuilder::new(Type::Float64),
        "bytes" => SchemaBuilder::new(Type::Bytes),
        "string" => SchemaBuilder::new(Type::String),
        "array" => {
            let items = member(json, "items", "Array schema did not specify the element type", depth)?;
            SchemaBuilder::array(items)
        }
        "map" => {
            let keys = member(json, "keys", "Map schema did not specify the key type", depth)?;
            let values = member(json, "values", "Map schema did not specify the value type", depth)?;
            SchemaBuilder::map(keys, values)
        }
        "struct" => structure(json, depth)?,
        other => return Err(format!("Unknown schema type: {other}")),
    };
    let schema = describe(builder, json)?;
    let Some(default) = json.get("default").filter(|default| !default.is_null()) else {
        return Ok(Some(schema.build()));
    };
    let bare = schema.clone().build();
    Ok(Some(schema.default_value(Some(constant(&bare, default, depth)?)).build()))
}

fn member(json: &Json, name: &str, missing: &str, depth: u32) -> Result<SchemaRef, String> {
    let schema = json.get(name).ok_or(missing)?;
    parse(schema, depth + 1)?.ok_or_else(|| missing.to_owned())
}

fn structure(json: &Json, depth: u32) -> Result<SchemaBuilder, String> {
    let Some(fields) = json.get("fields").and_then(Json::as_array) else {
        return Err("Struct schema's \"fields\" argument is not an array.".to_owned());
    };
    let mut builder = SchemaBuilder::structure();
    let mut names = std::collections::HashSet::new();
    for field in fields {
        let Some(name) = field.get("field").and_then(Json::as_str) else {
            return Err("Struct schema's field name not specified properly".to_owned());
        };
        if !names.insert(name) {
            return Err(format!("Cannot create field because of field name duplication {name}"));
        }
        let schema = parse(field, depth + 1)?.ok_or("Struct schema's field is null")?;
        builder = builder.field(name, schema);
    }
    Ok(builder)
}

fn describe(mut builder: SchemaBuilder, json: &Json) -> Result<SchemaBuilder, String> {
    if json.get("optional") == Some(&Json::Bool(true)) {
        builder = builder.optional();
    }
    if let Some(name) = json.get("name").filter(|name| !name.is_null()) {
        builder = builder.name(name.as_str().ok_or("Invalid schema name: it must be a string")?);
    }
    if let Some(version) = json.get("version").filter(|version| !version.is_null()) {
        let Some(version) = version.as_i64().filter(|_| version.is_i64() || version.is_u64()) else {
            return Err("Invalid schema version: it must be an integer".to_owned());
        };
        builder = builder.version(version as i32);
    }
    if let Some(doc) = json.get("doc").filter(|doc| !doc.is_null()) {
        builder = builder.doc(doc.as_str().ok_or("Invalid schema doc: it must be a string")?);
    }
    if let Some(parameters) = json.get("parameters").and_then(Json::as_object) {
        for (name, value) in parameters {
            let value = value.as_str().ok_or("Schema parameters must have string values.")?;
            builder = builder.parameter(name, value);
        }
    }
    Ok(builder)
}

/// A default, read as the payload of its schema would be.
fn constant(schema: &SchemaRef, json: &Json, depth: u32) -> Result<Constant, String> {
    let number = || json.as_f64().unwrap_or(0.0);
    let integer = || match json {
        Json::Number(number) => {
            let text = number.to_string();
            parse_decimal(&text).map_or(0, |(unscaled, scale)| low_bits(&unscaled, scale))
        }
        _ => 0,
    };
    match schema.name.as_deref() {
        Some(DECIMAL) => {
            let scale = schema.parameters.get("scale").and_then(|scale| scale.parse().ok()).unwrap_or(0);
            return match json {
                Json::Number(number) => parse_decimal(&number.to_string())
                    .map(|(unscaled, scale)| Constant::Decimal(unscaled.into(), scale))
                    .ok_or_else(|| "Invalid Decimal default".to_owned()),
                _ => Ok(Constant::Decimal(bytes(json)?, scale)),
            };
        }
        Some(DATE) => return Ok(Constant::Date(integer().wrapping_mul(86_400_000))),
        Some(TIME | TIMESTAMP) => return Ok(Constant::Date(integer())),
        _ => {}
    }
    Ok(match schema.kind {
        Type::Boolean => Constant::Boolean(json.as_bool().unwrap_or(false)),
        Type::Int8 => Constant::Int8(integer() as i8),
        Type::Int16 => Constant::Int16(integer() as i16),
        Type::Int32 => Constant::Int32(integer() as i32),
        Type::Int64 => Constant::Int64(integer()),
        Type::Float32 => Constant::Float32(number() as f32),
        Type::Float64 => Constant::Float64(number()),
        Type::String => json.as_str().map_or(Constant::Null, |text| Constant::String(text.into())),
        Type::Bytes => Constant::Bytes(bytes(json)?),
        Type::Array => {
            let (Some(items), Some(schema)) = (json.as_array(), &schema.value) else {
                return Ok(Constant::Array(vec![]));
            };
            Constant::Array(items.iter().map(|item| nullable(schema, item, depth)).collect::<Result<_, _>>()?)
        }
        Type::Map => map(schema, json, depth)?,
        Type::Struct => {
            let Some(members) = json.as_object() else {
                return Err("Structs should be encoded as JSON objects".to_owned());
            };
            let field = |field: &crate::data::Field| {
                nullable(&field.schema, members.get(&*field.name).unwrap_or(&Json::Null), depth)
            };
            Constant::Struct(schema.fields.iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

fn map(schema: &Schema, json: &Json, depth: u32) -> Result<Constant, String> {
    let (Some(keys), Some(values)) = (&schema.key, &schema.value) else { return Ok(Constant::Map(vec![])) };
    let mut entries = Vec::new();
    match json {
        Json::Object(members) if keys.kind == Type::String => {
            for (name, value) in members {
                entries.push((Constant::String(name.as_str().into()), nullable(values, value, depth)?));
            }
        }
        Json::Array(pairs) if keys.kind != Type::String => {
            for pair in pairs {
                let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
                    return Err("Found invalid map entry instead of array tuple".to_owned());
                };
                entries.push((nullable(keys, key, depth)?, nullable(values, value, depth)?));
            }
        }
        _ => return Err("Invalid default of a map".to_owned()),
    }
    Ok(Constant::Map(entries))
}

fn nullable(schema: &SchemaRef, json: &Json, depth: u32) -> Result<Constant, String> {
    match (json, &schema.default) {
        (Json::Null, Some(default)) => Ok(default.clone()),
        (Json::Null, None) if schema.optional => Ok(Constant::Null),
        (Json::Null, None) => Err(format!("Invalid null value for required {} field", schema.kind.name())),
        _ => constant(schema, json, depth + 1),
    }
}

fn bytes(json: &Json) -> Result<Box<[u8]>, String> {
    use base64::Engine as _;
    let text = json.as_str().ok_or("Invalid bytes field")?;
    base64::prelude::BASE64_STANDARD
        .decode(text)
        .map(Vec::into_boxed_slice)
        .map_err(|_| "Invalid bytes field".to_owned())
}

/// Writes a schema in Connect's order of members; `field` comes last.
pub(super) fn write(
    schema: &SchemaRef,
    field: Option<&str>,
    options: Options,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let kind = match schema.kind {
        Type::Boolean => "boolean",
        Type::Int8 => "int8",
        Type::Int16 => "int16",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Float32 => "float",
        Type::Float64 => "double",
        Type::Bytes => "bytes",
        Type::String => "string",
        Type::Array => "array",
        Type::Map => "map",
        Type::Struct => "struct",
    };
    out.extend_from_slice(b"{\"type\":");
    quoted(kind.as_bytes(), out);
    match (schema.kind, &schema.key, &schema.value) {
        (Type::Array, _, Some(items)) => {
            out.extend_from_slice(b",\"items\":");
            write(items, None, options, out)?;
        }
        (Type::Map, Some(keys), Some(values)) => {
            out.extend_from_slice(b",\"keys\":");
            write(keys, None, options, out)?;
            out.extend_from_slice(b",\"values\":");
            write(values, None, options, out)?;
        }
        (Type::Struct, ..) => {
            out.extend_from_slice(b",\"fields\":[");
            for (index, field) in schema.fields.iter().enumerate() {
                out.extend((index > 0).then_some(b','));
                write(&field.schema, Some(&field.name), options, out)?;
            }
            out.push(b']');
        }
        _ => {}
    }
    out.extend_from_slice(if schema.optional { b",\"optional\":true" } else { b",\"optional\":false" });
    if let Some(name) = &schema.name {
        out.extend_from_slice(b",\"name\":");
        quoted(name.as_bytes(), out);
    }
    if let Some(version) = schema.version {
        out.extend_from_slice(format!(",\"version\":{version}").as_bytes());
    }
    if let Some(doc) = &schema.doc {
        out.extend_from_slice(b",\"doc\":");
        quoted(doc.as_bytes(), out);
    }
    parameters(schema, out);
    if let Some(default) = &schema.default {
        out.extend_from_slice(b",\"default\":");
        let mut batch = Batch::default();
        let value = batch.put_constant(default);
        write::typed(&batch, &write::Plan::new(&Arc::clone(schema)), value, options, out)?;
    }
    if let Some(field) = field {
        out.extend_from_slice(b",\"field\":");
        quoted(field.as_bytes(), out);
    }
    out.push(b'}');
    Ok(())
}

fn parameters(schema: &Schema, out: &mut Vec<u8>) {
    if schema.parameters.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"parameters\":{");
    for (index, (name, value)) in schema.parameters.iter().enumerate() {
        out.extend((index > 0).then_some(b','));
        quoted(name.as_bytes(), out);
        out.push(b':');
        quoted(value.as_bytes(), out);
    }
    out.push(b'}');
}
