//! Schemas as JSON: the `schema` member of an envelope.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;

use super::read::{Plan, ReadOptions, Reader};
use super::scan::{MAX_DEPTH, Scanner};
use super::shapes::Shapes;
use super::write::{self, Options, quoted};
use crate::converter::Failure;
use crate::data::{Batch, Constant, Schema, SchemaBuilder, SchemaRef, Span, Type};

type Result<T> = std::result::Result<T, Failure>;

fn data<T>(message: impl Into<String>) -> Result<T> {
    Err(Failure::data(message))
}

/// A failure of Connect's `SchemaBuilder`.
fn builder(message: impl Into<String>) -> Failure {
    Failure { java_class: "org.apache.kafka.connect.errors.SchemaBuilderException", message: message.into() }
}

/// Reads a schema; `None` for JSON null.
pub(super) fn parse(json: &Json, options: ReadOptions) -> Result<Option<SchemaRef>> {
    SchemaReader { options }.schema(json, 0)
}

struct SchemaReader {
    options: ReadOptions,
}

impl SchemaReader {
    fn schema(&self, json: &Json, depth: u32) -> Result<Option<SchemaRef>> {
        if json.is_null() {
            return Ok(None);
        }
        if depth > MAX_DEPTH {
            return data("Schema is nested too deeply");
        }
        let Some(kind) = json.get("type").and_then(Json::as_str) else {
            return data("Schema must contain 'type' field");
        };
        let schema = match kind {
            "boolean" => SchemaBuilder::new(Type::Boolean),
            "int8" => SchemaBuilder::new(Type::Int8),
            "int16" => SchemaBuilder::new(Type::Int16),
            "int32" => SchemaBuilder::new(Type::Int32),
            "int64" => SchemaBuilder::new(Type::Int64),
            "float" => SchemaBuilder::new(Type::Float32),
            "double" => SchemaBuilder::new(Type::Float64),
            "bytes" => SchemaBuilder::new(Type::Bytes),
            "string" => SchemaBuilder::new(Type::String),
            "array" => match json.get("items").filter(|items| !items.is_null()) {
                Some(items) => SchemaBuilder::array(self.part(items, "valueSchema", depth)?),
                None => return data("Array schema did not specify the element type"),
            },
            "map" => {
                let Some(keys) = json.get("keys") else {
                    return data("Map schema did not specify the key type");
                };
                let Some(values) = json.get("values") else {
                    return data("Map schema did not specify the value type");
                };
                let (keys, values) = (self.schema(keys, depth + 1)?, self.schema(values, depth + 1)?);
                let keys = keys.ok_or_else(|| builder("keySchema cannot be null."))?;
                SchemaBuilder::map(keys, values.ok_or_else(|| builder("valueSchema cannot be null."))?)
            }
            "struct" => self.structure(json, depth)?,
            other => return data(format!("Unknown schema type: {other}")),
        };
        let schema = describe(schema, json)?;
        let Some(default) = json.get("default") else { return Ok(Some(schema.build())) };
        let default = self.default(&schema.clone().build(), default)?;
        Ok(Some(schema.default_value(default).build()))
    }

    fn part(&self, json: &Json, name: &str, depth: u32) -> Result<SchemaRef> {
        self.schema(json, depth + 1)?.ok_or_else(|| builder(format!("{name} cannot be null.")))
    }

    fn structure(&self, json: &Json, depth: u32) -> Result<SchemaBuilder> {
        let Some(fields) = json.get("fields").and_then(Json::as_array) else {
            return data("Struct schema's \"fields\" argument is not an array.");
        };
        let mut schema = SchemaBuilder::structure();
        let mut names = std::collections::HashSet::new();
        for field in fields {
            let Some(name) = field.get("field").and_then(Json::as_str) else {
                return data("Struct schema's field name not specified properly");
            };
            let field = self.part(field, "fieldSchema", depth)?;
            if name.is_empty() {
                return Err(builder("fieldName cannot be null."));
            }
            if !names.insert(name) {
                return Err(builder(format!("Cannot create field because of field name duplication {name}")));
            }
            schema = schema.field(name, field);
        }
        Ok(schema)
    }

    /// A default, read as the payload of its schema would be. `None` where it is null.
    fn default(&self, schema: &SchemaRef, json: &Json) -> Result<Option<Constant>> {
        let mut batch = Batch::default();
        let text = Bytes::from(json.to_string());
        let segment = batch.add_segment(text.clone());
        let mut reader = Reader {
            scanner: Scanner::new(&text, 0),
            batch: &mut batch,
            stack: &mut Vec::new(),
            shapes: &mut Shapes::default(),
            span: Span { segment, offset: 0, len: text.len() as u32 },
            options: self.options,
            structs: 0,
        };
        let value = reader.typed(&Plan::new(schema), 0).map_err(super::ReadError::into_failure)?;
        let value = batch.constant(value);
        if !is_valid(schema, &value) || matches!(value, Constant::Struct(_)) {
            // a struct never equals the schema that is being built, so Connect takes none as default
            return Err(builder("Invalid default value"));
        }
        Ok(if value == Constant::Null { None } else { Some(value) })
    }
}

/// Whether no null is where the schema asks for a value.
fn is_valid(schema: &Schema, value: &Constant) -> bool {
    match (value, &schema.key, &schema.value) {
        (Constant::Null, ..) => schema.optional,
        (Constant::Array(items), _, Some(schema)) => items.iter().all(|item| is_valid(schema, item)),
        (Constant::Map(entries), Some(keys), Some(values)) => {
            entries.iter().all(|(key, value)| is_valid(keys, key) && is_valid(values, value))
        }
        _ => true,
    }
}

fn describe(mut schema: SchemaBuilder, json: &Json) -> Result<SchemaBuilder> {
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    if json.get("optional") == Some(&Json::Bool(true)) {
        schema = schema.optional();
    }
    if let Some(name) = text("name") {
        schema = schema.name(name);
    }
    if let Some(Json::Number(version)) = json.get("version")
        && let Ok(number) = super::Scanner::new(version.to_string().as_bytes(), 0).number()
        && !number.fraction
    {
        schema = schema.version(number.long() as i32);
    }
    if let Some(doc) = text("doc") {
        schema = schema.doc(doc);
    }
    for (name, value) in json.get("parameters").and_then(Json::as_object).into_iter().flatten() {
        let Some(value) = value.as_str() else { return data("Schema parameters must have string values.") };
        schema = schema.parameter(name, value);
    }
    Ok(schema)
}

/// Writes a schema in Connect's order of members; `field` comes last.
pub(super) fn write(
    schema: &SchemaRef,
    field: Option<&str>,
    options: Options,
    out: &mut Vec<u8>,
) -> Result<()> {
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
    match schema.kind {
        Type::Array => part("items", schema.value.as_ref(), options, out)?,
        Type::Map => {
            part("keys", schema.key.as_ref(), options, out)?;
            part("values", schema.value.as_ref(), options, out)?;
        }
        Type::Struct => {
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

/// Schema of items, keys or values; null where there is none.
fn part(name: &str, schema: Option<&SchemaRef>, options: Options, out: &mut Vec<u8>) -> Result<()> {
    out.push(b',');
    quoted(name.as_bytes(), out);
    out.push(b':');
    match schema {
        Some(schema) => write(schema, None, options, out),
        None => {
            out.extend_from_slice(b"null");
            Ok(())
        }
    }
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
