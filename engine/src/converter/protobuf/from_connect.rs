//! The file of proto3 for a schema of Connect.

use super::known;
use super::model::{Enum, Field, FieldKind, File, Label, Message, Scalar};
use super::names::{entry, scrubbed};
use super::options::Options;
use super::vocabulary::{
    CONNECT_PRECISION, CONNECT_TYPE, DATE_TYPE, DECIMAL_TYPE, DEFAULT_NAME, ENUM, GENERAL_ENUM,
    GENERAL_UNION, KEY, PRECISION, SCALE, TAG, TIME_TYPE, TIMESTAMP_TYPE, TYPE, UNION, VALUE, WRAPPER,
};
use crate::converter::registry::Failure;
use crate::data::{DATE, DECIMAL, Schema, TIME, TIMESTAMP, Type};

/// Structs within structs that are written.
pub(super) const MAX_DEPTH: u32 = 100;
const ILLEGAL_ARGUMENT: &str = "java.lang.IllegalArgumentException";

type Result<T> = std::result::Result<T, Failure>;

/// What a schema is written as.
pub(super) enum Root {
    /// A message of a file of its own, by its full name.
    File(File, String),
    /// A wrapper message.
    Wrapper(Scalar),
}

/// Makes the file.
pub(super) fn convert(schema: &Schema, options: Options) -> Result<Root> {
    if schema.kind != Type::Struct {
        let scalar = match schema.kind {
            Type::Array | Type::Map => {
                let what = format!("Unsupported root schema of type {}", schema.kind.name());
                return Err(Failure::class(ILLEGAL_ARGUMENT, what));
            }
            kind => plain(kind),
        };
        return Ok(Root::Wrapper(scalar));
    }
    let mut builder = Builder { options, imports: Vec::new(), names: 0, depth: 0 };
    let full = builder.name_or_default(schema.name.as_deref());
    let mut parts: Vec<String> = full
        .trim_end_matches('.')
        .split('.')
        .map(|part| scrubbed(part, options.scrub).into_owned())
        .collect();
    let name = parts.pop().unwrap_or_default();
    let package = (!parts.is_empty()).then(|| parts.join("."));
    let message = builder.message(&name, schema)?;
    let full = package.as_ref().map_or_else(|| name.clone(), |package| format!("{package}.{name}"));
    let file =
        File { proto3: true, package, imports: builder.imports, messages: vec![message], enums: Vec::new() };
    Ok(Root::File(file, full))
}

/// What Connect's primitives are.
const fn plain(kind: Type) -> Scalar {
    match kind {
        Type::Int64 => Scalar::Int64,
        Type::Float32 => Scalar::Float,
        Type::Float64 => Scalar::Double,
        Type::Boolean => Scalar::Bool,
        Type::String => Scalar::String,
        Type::Bytes => Scalar::Bytes,
        _ => Scalar::Int32,
    }
}

/// Whether a struct stands for a oneof.
pub(super) fn is_union(schema: &Schema) -> bool {
    schema.kind == Type::Struct
        && (schema.name.as_deref().is_some_and(|name| name.starts_with(UNION))
            || schema.parameters.contains_key(GENERAL_UNION))
}

fn is_enum(schema: &Schema) -> bool {
    matches!(schema.kind, Type::Int8 | Type::Int16 | Type::Int32 | Type::String)
        && (schema.parameters.contains_key(GENERAL_ENUM) || schema.parameters.contains_key(ENUM))
}

/// The wrapper message of a scalar.
pub(super) const fn wrapper(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Double => "google.protobuf.DoubleValue",
        Scalar::Float => "google.protobuf.FloatValue",
        Scalar::Uint32 | Scalar::Fixed32 => "google.protobuf.UInt32Value",
        Scalar::Uint64 | Scalar::Fixed64 => "google.protobuf.UInt64Value",
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => "google.protobuf.Int64Value",
        Scalar::Bool => "google.protobuf.BoolValue",
        Scalar::String => "google.protobuf.StringValue",
        Scalar::Bytes => "google.protobuf.BytesValue",
        _ => "google.protobuf.Int32Value",
    }
}

/// A field's number, if its schema names one.
fn tag(schema: &Schema, name: &str) -> Result<Option<u32>> {
    let Some(text) = schema.parameters.get(TAG) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=536_870_911).contains(number));
    number.map(Some).ok_or_else(|| {
        Failure::class(ILLEGAL_ARGUMENT, format!("field {name}: {TAG}={text} is no field number"))
    })
}

struct Builder {
    options: Options,
    imports: Vec<String>,
    /// Names that were made up.
    names: u32,
    depth: u32,
}

impl Builder {
    fn name_or_default(&mut self, name: Option<&str>) -> String {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return name.to_owned();
        }
        self.names += 1;
        format!("{DEFAULT_NAME}{}", self.names)
    }

    /// The last part of a schema's name.
    fn short_name(&mut self, name: Option<&str>) -> String {
        let full = self.name_or_default(name);
        let short = full.rsplit('.').next().unwrap_or_default();
        scrubbed(short, self.options.scrub).into_owned()
    }

    fn message(&mut self, name: &str, schema: &Schema) -> Result<Message> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::data(format!("the schema is nested deeper than {MAX_DEPTH}")));
        }
        let mut message = Message { name: name.to_owned(), ..Message::default() };
        let mut next = 1;
        for field in &schema.fields {
            let number = match tag(&field.schema, &field.name)? {
                Some(number) => number,
                None => {
                    next += 1;
                    next - 1
                }
            };
            let name = scrubbed(&field.name, self.options.scrub).into_owned();
            if let Some(mut made) = self.field(&mut message, &field.schema, &name, number, None)? {
                if made.label == Label::None && self.options.optional && field.schema.optional {
                    made.label = Label::Optional;
                }
                message.fields.push(made);
            }
        }
        self.depth -= 1;
        Ok(message)
    }

    fn oneof(&mut self, message: &mut Message, schema: &Schema) -> Result<()> {
        let given = schema.parameters.get(GENERAL_UNION).filter(|_| self.options.generalized);
        let name = match given {
            Some(name) => name.to_string(),
            None => {
                let name = schema.name.as_deref().and_then(|name| name.strip_prefix(UNION));
                self.short_name(name.and_then(|name| name.strip_prefix('.')))
            }
        };
        message.oneofs.push(name);
        let oneof = Some(message.oneofs.len() - 1);
        for field in &schema.fields {
            let number = tag(&field.schema, &field.name)?.ok_or_else(|| {
                let name = &field.name;
                Failure::class(ILLEGAL_ARGUMENT, format!("member {name} of a oneof has no parameter {TAG}"))
            })?;
            let name = scrubbed(&field.name, self.options.scrub).into_owned();
            if let Some(field) = self.field(message, &field.schema, &name, number, oneof)? {
                message.fields.push(field);
            }
        }
        Ok(())
    }

    /// A field; `None` for a union, whose members were added.
    fn field(
        &mut self,
        message: &mut Message,
        schema: &Schema,
        name: &str,
        number: u32,
        oneof: Option<usize>,
    ) -> Result<Option<Field>> {
        let repeated = matches!(schema.kind, Type::Array | Type::Map);
        let schema = match &schema.value {
            Some(value) if schema.kind == Type::Array => value,
            _ => schema,
        };
        let mut field = Field::new(name, number, FieldKind::Group);
        field.oneof = oneof;
        if repeated {
            field.label = Label::Repeated;
        }
        field.kind = self.kind(schema, name, oneof.is_some(), &mut field.params)?;
        let FieldKind::Named(kind) = &field.kind else { return Ok(Some(field)) };
        if is_union(schema) {
            self.oneof(message, schema)?;
            return Ok(None);
        }
        match schema.kind {
            Type::Struct => {
                // a name that is known already is that message; that of the message around it is itself
                let known = message.name == *kind || message.messages.iter().any(|known| known.name == *kind);
                if !known {
                    let inner = self.message(kind, schema)?;
                    message.messages.push(inner);
                }
            }
            Type::Map => {
                let inner = self.entry(kind, schema)?;
                message.messages.push(inner);
            }
            _ if is_enum(schema) => {
                let name = self.short_name(schema.name.as_deref());
                if !message.enums.iter().any(|known| known.name == name) {
                    message.enums.push(self.enumeration(name, schema)?);
                }
            }
            _ => {
                if let Some(import) = known::import_of(kind)
                    && !self.imports.iter().any(|known| known == import)
                {
                    self.imports.push(import.to_owned());
                }
            }
        }
        Ok(Some(field))
    }

    fn entry(&mut self, name: &str, schema: &Schema) -> Result<Message> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::data(format!("the schema is nested deeper than {MAX_DEPTH}")));
        }
        let mut message = Message { name: name.to_owned(), ..Message::default() };
        for (number, (name, part)) in (1..).zip([(KEY, &schema.key), (VALUE, &schema.value)]) {
            let Some(part) = part else {
                return Err(Failure::data("a map's schema has no schemas of keys and values"));
            };
            if let Some(field) = self.field(&mut message, part, name, number, None)? {
                message.fields.push(field);
            }
        }
        self.depth -= 1;
        Ok(message)
    }

    fn enumeration(&self, name: String, schema: &Schema) -> Result<Enum> {
        let prefix = if self.options.generalized { GENERAL_ENUM } else { ENUM };
        let mut values = Vec::new();
        for (key, number) in &schema.parameters {
            let Some(symbol) = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let number = number.parse().map_err(|_| {
                const CLASS: &str = "java.lang.NumberFormatException";
                Failure::class(CLASS, format!("symbol {symbol} of the enum {name}: {number} is no number"))
            })?;
            values.push((symbol.to_owned(), number));
        }
        Ok(Enum { name, values })
    }

    fn kind(
        &mut self,
        schema: &Schema,
        field: &str,
        in_oneof: bool,
        params: &mut Vec<(String, String)>,
    ) -> Result<FieldKind> {
        let named = |name: &str| Ok(FieldKind::Named(name.to_owned()));
        match schema.name.as_deref() {
            Some(DECIMAL) => {
                for (from, to) in [(CONNECT_PRECISION, PRECISION), (SCALE, SCALE)] {
                    params
                        .extend(schema.parameters.get(from).map(|value| (to.to_owned(), value.to_string())));
                }
                return named(DECIMAL_TYPE);
            }
            Some(DATE) => return named(DATE_TYPE),
            Some(TIME) => return named(TIME_TYPE),
            Some(TIMESTAMP) => return named(TIMESTAMP_TYPE),
            _ => {}
        }
        let parameter = |name: &str| schema.parameters.get(name);
        let scalar = match schema.kind {
            Type::Array => return Err(Failure::class(ILLEGAL_ARGUMENT, "Array cannot be nested")),
            Type::Map => return Ok(FieldKind::Named(entry(&self.short_name(schema.name.as_deref())))),
            Type::Struct => {
                let name = self.short_name(schema.name.as_deref());
                let suffix = if name == field { "Message" } else { "" };
                return Ok(FieldKind::Named(name + suffix));
            }
            Type::Int8 | Type::Int16 => {
                let narrow = if schema.kind == Type::Int8 { "int8" } else { "int16" };
                params.push((CONNECT_TYPE.to_owned(), narrow.to_owned()));
                Scalar::Int32
            }
            Type::Int32 | Type::String if parameter(ENUM).is_some() || parameter(GENERAL_ENUM).is_some() => {
                let name = parameter(GENERAL_ENUM).filter(|_| schema.kind == Type::String);
                return named(name.or(parameter(ENUM)).map_or("", |name| name));
            }
            Type::Int32 | Type::Int64 => {
                let given = parameter(TYPE).map(|name| {
                    Scalar::by_name(name).ok_or_else(|| {
                        Failure::class(ILLEGAL_ARGUMENT, format!("field {field}: {TYPE}={name} is no type"))
                    })
                });
                given.transpose()?.unwrap_or(plain(schema.kind))
            }
            kind => plain(kind),
        };
        let marked = parameter(WRAPPER).is_some_and(|marked| marked.eq_ignore_ascii_case("true"));
        if self.options.wrapper && schema.optional && (!in_oneof || marked) {
            return named(wrapper(scalar));
        }
        Ok(FieldKind::Scalar(scalar))
    }
}
