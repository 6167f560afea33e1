//! Avro's schema for one of Connect.
//!
//! The order in which properties are added is Confluent's: it shows in the text, and the text is what a registry knows a
//! schema by.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::super::registry::Failure;
use super::defaults::{self, has_text_keys, is_union};
use super::model::{AvroField, AvroSchema, Kind, Name, Named, NodeId, Symbols};
use super::names::{check, scrubbed, scrubbed_full, split};
use super::options::Options;
use super::parse::{check_union, parse};
use super::vocabulary::*;
use crate::data::{DATE, DECIMAL, Field, Schema, SchemaRef, TIME, TIMESTAMP, Type};

/// Nesting of Connect schemas that is followed.
const MAX_DEPTH: u32 = 512;

const AVRO_EXCEPTION: &str = "org.apache.avro.AvroRuntimeException";
const NULL_POINTER: &str = "java.lang.NullPointerException";
const NUMBER_FORMAT: &str = "java.lang.NumberFormatException";
const ILLEGAL_ARGUMENT: &str = "java.lang.IllegalArgumentException";

/// What is made of a schema, and which node stands for which part of it.
pub(super) fn convert(schema: Option<&SchemaRef>, options: Options) -> Result<AvroSchema, Failure> {
    let Some(schema) = schema else {
        return parse(ANYTHING, &[]).map_err(Failure::data);
    };
    let mut maker = Maker {
        avro: AvroSchema::default(),
        options,
        known: Vec::new(),
        cycles: Vec::new(),
        seen_names: HashSet::new(),
        unnamed: 0,
        depth: 0,
    };
    maker.avro.root = maker.node(schema, false)?;
    Ok(maker.avro)
}

struct Maker {
    avro: AvroSchema,
    options: Options,
    /// Required schemas that have been converted.
    known: Vec<(SchemaRef, NodeId)>,
    /// Records by name. Java compares the pointers here, and so do we: names of one schema that contains itself are one.
    cycles: Vec<(Arc<str>, NodeId)>,
    seen_names: HashSet<String>,
    unnamed: u32,
    depth: u32,
}

type Made = Result<NodeId, Failure>;

impl Maker {
    fn node(&mut self, schema: &SchemaRef, ignore_optional: bool) -> Made {
        if !is_union(schema) && !schema.optional {
            let found = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, schema));
            let found = found.or_else(|| self.known.iter().find(|(known, _)| known == schema));
            if let Some((_, node)) = found {
                return Ok(*node);
            }
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::data(format!("the schema is nested deeper than {MAX_DEPTH}")));
        }
        let base = self.base(schema)?;
        self.depth -= 1;
        let mut node = base;
        if !matches!(self.avro.kind(base), Kind::Union(_)) {
            self.describe(base, schema)?;
            if !ignore_optional {
                node = self.optional(schema, base);
            }
        }
        if !schema.optional {
            self.known.push((Arc::clone(schema), node));
        }
        Ok(node)
    }

    /// A type within another, which may be one that is being made.
    fn within(&mut self, schema: &SchemaRef, ignore_optional: bool) -> Made {
        let cycle = schema.name.as_ref().and_then(|name| {
            self.cycles.iter().find(|(known, _)| Arc::ptr_eq(known, name)).map(|(_, node)| *node)
        });
        match cycle {
            Some(node) if ignore_optional => Ok(node),
            Some(node) => Ok(self.optional(schema, node)),
            None => self.node(schema, ignore_optional),
        }
    }

    /// With a default, the type comes first: the default must be of the first.
    fn optional(&mut self, schema: &Schema, base: NodeId) -> NodeId {
        if !schema.optional {
            return base;
        }
        let null = self.avro.add(Kind::Null);
        let branches = if schema.default.is_some() { vec![base, null] } else { vec![null, base] };
        self.avro.add(Kind::Union(branches))
    }

    fn union(&mut self, branches: Vec<NodeId>) -> Made {
        check_union(&self.avro, &branches).map_err(|why| Failure::class(AVRO_EXCEPTION, why))?;
        Ok(self.avro.add(Kind::Union(branches)))
    }

    fn base(&mut self, schema: &SchemaRef) -> Made {
        let kind = match schema.kind {
            Type::Int8 | Type::Int16 | Type::Int32 => Kind::Int,
            Type::Int64 => Kind::Long,
            Type::Float32 => Kind::Float,
            Type::Float64 => Kind::Double,
            Type::Boolean => Kind::Boolean,
            Type::String if self.enum_parameter(schema).is_some() => return self.enumeration(schema),
            Type::String => Kind::String,
            Type::Bytes => return self.bytes(schema),
            Type::Array => Kind::Array(self.within(part(schema.value.as_ref())?, false)?),
            Type::Map => return self.map(schema),
            Type::Struct => return self.structure(schema),
        };
        Ok(self.avro.add(kind))
    }

    /// The parameter that names an enum, if the schema is to become one.
    fn enum_parameter(&self, schema: &Schema) -> Option<&'static str> {
        let Options { generalized, enhanced, .. } = self.options;
        let has = |name: &str| schema.parameters.contains_key(name);
        let wanted = (generalized || enhanced) && (has(GENERAL_ENUM) || has(ENUM));
        wanted.then_some(if generalized { GENERAL_ENUM } else { ENUM })
    }

    fn enumeration(&mut self, schema: &Schema) -> Made {
        let parameter = self.enum_parameter(schema).unwrap_or(ENUM);
        let parameters = &schema.parameters;
        let prefix = format!("{parameter}.");
        let symbols: Vec<String> =
            parameters.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect();
        let (_, simple) = self.name_or_default(schema);
        let Some(full) = parameters.get(parameter) else {
            return Err(Failure::class(NULL_POINTER, "Type must have a name"));
        };
        let name = Name::parse(full, None);
        check(&name.name)?;
        let text = |key: &str| parameters.get(key).map(|text| text.to_string());
        let (doc, default) = match self.options.discard {
            true => (text(CONNECT_ENUM_DOC), None),
            false => {
                (text(&format!("{ENUM_DOC_PREFIX}{simple}")), text(&format!("{ENUM_DEFAULT_PREFIX}{simple}")))
            }
        };
        let mut seen = HashSet::new();
        for symbol in &symbols {
            check(symbol)?;
            if !seen.insert(symbol) {
                let what = format!("Duplicate enum symbol: {symbol}");
                return Err(Failure::class("org.apache.avro.SchemaParseException", what));
            }
        }
        if let Some(default) = default.as_ref().filter(|default| !symbols.contains(default)) {
            let what = format!("The Enum Default: {default} is not in the enum symbol set: {symbols:?}");
            return Err(Failure::class("org.apache.avro.SchemaParseException", what));
        }
        let named = Named { name, doc, aliases: Vec::new() };
        Ok(self.avro.add(Kind::Enum(named, Symbols { symbols, default })))
    }

    fn bytes(&mut self, schema: &Schema) -> Made {
        let kind = match fixed_size(schema)? {
            Some(size) => {
                let (space, name) = self.name_or_default(schema);
                check(&name)?;
                Kind::Fixed(Named { name: Name { space, name }, ..Named::default() }, size)
            }
            None => Kind::Bytes,
        };
        let node = self.avro.add(kind);
        if is_decimal(schema) {
            let scale = integer(schema.parameters.get(SCALE))?;
            self.set(node, SCALE, scale.into())?;
            let precision = match schema.parameters.get(DECIMAL_PRECISION) {
                Some(precision) => i64::from(integer(Some(precision))?),
                None => DEFAULT_PRECISION,
            };
            self.set(node, PRECISION, precision.into())?;
        }
        Ok(node)
    }

    fn map(&mut self, schema: &SchemaRef) -> Made {
        let (keys, values) = (part(schema.key.as_ref())?, part(schema.value.as_ref())?);
        if has_text_keys(keys, self.options) {
            let values = self.within(values, false)?;
            return Ok(self.avro.add(Kind::Map(values)));
        }
        let (space, name) = match schema.name {
            Some(_) => self.name_or_default(schema),
            None => (Some(NAMESPACE.to_owned()), MAP_ENTRY.to_owned()),
        };
        check(&name)?;
        let named = Named { name: Name { space, name }, ..Named::default() };
        let entry = self.avro.add(Kind::Record(named, Vec::new()));
        if schema.name.is_some() {
            self.set(entry, CONNECT_INTERNAL_TYPE, MAP_ENTRY.into())?;
        }
        let fields = vec![self.field(KEY, keys, None)?, self.field(VALUE, values, None)?];
        self.set_fields(entry, fields)?;
        Ok(self.avro.add(Kind::Array(entry)))
    }

    fn structure(&mut self, schema: &SchemaRef) -> Made {
        if is_union(schema) {
            let mut branches = Vec::with_capacity(schema.fields.len() + 1);
            if schema.optional {
                branches.push(self.avro.add(Kind::Null));
            }
            for field in &schema.fields {
                branches.push(self.within(&required(&field.schema), true)?);
            }
            return self.union(branches);
        }
        if schema.optional {
            let null = self.avro.add(Kind::Null);
            let record = self.within(&required(schema), false)?;
            return self.union(vec![null, record]);
        }
        let (space, name) = self.name_or_default(schema);
        check(&name)?;
        let doc = schema.parameters.get(if self.options.discard { CONNECT_RECORD_DOC } else { RECORD_DOC });
        let named =
            Named { name: Name { space, name }, doc: doc.map(|doc| doc.to_string()), aliases: Vec::new() };
        let record = self.avro.add(Kind::Record(named, Vec::new()));
        if let Some(name) = &schema.name {
            self.cycles.push((Arc::clone(name), record));
        }
        let mut fields = Vec::with_capacity(schema.fields.len());
        for Field { name, schema: of } in &schema.fields {
            let doc = schema.parameters.get(format!("{FIELD_DOC_PREFIX}{name}").as_str());
            let doc = doc.filter(|_| !self.options.discard).map(|doc| doc.to_string());
            fields.push(self.field(&scrubbed(name, self.options.scrub), of, doc)?);
        }
        self.set_fields(record, fields)?;
        Ok(record)
    }

    fn set_fields(&mut self, record: NodeId, fields: Vec<AvroField>) -> Result<(), Failure> {
        let mut names = HashSet::with_capacity(fields.len());
        if let Some(twin) = fields.iter().find(|field| !names.insert(field.name.as_str())) {
            let what = format!("Duplicate field {} in record", twin.name);
            return Err(Failure::class(AVRO_EXCEPTION, what));
        }
        if let Kind::Record(_, place) = &mut self.avro.nodes[record].kind {
            *place = fields;
        }
        Ok(())
    }

    fn field(&mut self, name: &str, schema: &SchemaRef, doc: Option<String>) -> Result<AvroField, Failure> {
        let default = match &schema.default {
            Some(default) => {
                Some(defaults::from_connect(schema, default, self.options, false).map_err(Failure::data)?)
            }
            None if schema.optional => Some(Json::Null),
            None => None,
        };
        let full = schema.name.as_deref().map(|name| scrubbed_full(name, self.options.scrub));
        let seen = full.is_some_and(|full| !self.seen_names.insert(full));
        let node = self.node(schema, false)?;
        check(name)?;
        let doc = if self.options.discard { schema.doc.as_deref().map(str::to_owned) } else { doc };
        let default = default.filter(|default| {
            let valid = defaults::is_valid(&self.avro, node, default);
            if !valid {
                tracing::warn!("Ignoring invalid default for field {name}");
            }
            valid
        });
        let mut props = IndexMap::new();
        if self.options.meta && seen && self.has_named_type(node) {
            let parameters = self.parameters(schema);
            if parameters.as_object().is_some_and(|parameters| !parameters.is_empty()) {
                props.insert(CONNECT_PARAMETERS.to_owned(), parameters);
            }
        }
        Ok(AvroField { name: name.to_owned(), node, doc, default, props })
    }

    fn has_named_type(&self, node: NodeId) -> bool {
        match self.avro.kind(node) {
            Kind::Union(branches) => branches.iter().any(|branch| self.avro.kind(*branch).named().is_some()),
            kind => kind.named().is_some(),
        }
    }

    fn name_or_default(&mut self, schema: &Schema) -> (Option<String>, String) {
        if let Some(name) = &schema.name {
            return split(name, self.options.scrub);
        }
        self.unnamed += 1;
        let number = if self.unnamed > 1 { self.unnamed.to_string() } else { String::new() };
        (Some(NAMESPACE.to_owned()), format!("{DEFAULT_NAME}{number}"))
    }

    /// Adds a property. One that is there must be the same.
    fn set(&mut self, node: NodeId, name: &str, value: Json) -> Result<(), Failure> {
        let props = &mut self.avro.nodes[node].props;
        match props.get(name) {
            Some(known) if *known == value => {}
            Some(_) => {
                return Err(Failure::class(AVRO_EXCEPTION, format!("Can't overwrite property: {name}")));
            }
            None => drop(props.insert(name.to_owned(), value)),
        }
        Ok(())
    }

    fn parameters(&self, schema: &Schema) -> Json {
        let kept = schema
            .parameters
            .iter()
            .filter(|(name, _)| self.options.discard || &***name != FIELD_DEFAULT)
            .map(|(name, value)| (name.to_string(), Json::from(&**value)));
        Json::Object(kept.collect())
    }

    /// What Connect says of the type, as properties.
    fn describe(&mut self, node: NodeId, schema: &SchemaRef) -> Result<(), Failure> {
        if self.options.meta {
            self.describe_for_connect(node, schema)?;
        }
        let by_name = |name: &str| schema.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        if is_decimal(schema) {
            self.decimal(node, schema)?;
        } else if by_name(TIME) {
            self.logical(node, "time-millis", &Kind::Int)?;
        } else if by_name(TIMESTAMP) {
            self.logical(node, "timestamp-millis", &Kind::Long)?;
        } else if by_name(DATE) {
            self.logical(node, "date", &Kind::Int)?;
        }
        for (name, value) in schema.parameters.iter().filter(|(name, _)| name.starts_with(AVRO_PREFIX)) {
            self.set(node, name, Json::from(&**value))?;
        }
        Ok(())
    }

    fn describe_for_connect(&mut self, node: NodeId, schema: &SchemaRef) -> Result<(), Failure> {
        if let Some(doc) = &schema.doc {
            self.set(node, CONNECT_DOC, Json::from(&**doc))?;
        }
        if let Some(version) = schema.version {
            self.set(node, CONNECT_VERSION, version.into())?;
        }
        let parameters = self.parameters(schema);
        if parameters.as_object().is_some_and(|parameters| !parameters.is_empty()) {
            self.set(node, CONNECT_PARAMETERS, parameters)?;
        }
        if let Some(default) = &schema.default
            && (self.options.discard || !schema.parameters.contains_key(FIELD_DEFAULT))
        {
            let default =
                defaults::from_connect(schema, default, self.options, true).map_err(Failure::data)?;
            self.set(node, CONNECT_DEFAULT, default)?;
        }
        if let Some(name) = &schema.name {
            self.set(node, CONNECT_NAME, Json::from(&**name))?;
        }
        match schema.kind {
            Type::Int8 => self.set(node, CONNECT_TYPE, "int8".into()),
            Type::Int16 => self.set(node, CONNECT_TYPE, "int16".into()),
            _ => Ok(()),
        }
    }

    fn logical(&mut self, node: NodeId, name: &str, on: &Kind) -> Result<(), Failure> {
        if std::mem::discriminant(self.avro.kind(node)) != std::mem::discriminant(on) {
            let what = format!("Logical type {name} must be backed by {}", on.type_name());
            return Err(Failure::class(ILLEGAL_ARGUMENT, what));
        }
        self.set(node, LOGICAL_TYPE, name.into())
    }

    fn decimal(&mut self, node: NodeId, schema: &Schema) -> Result<(), Failure> {
        let precision = schema.parameters.get(DECIMAL_PRECISION);
        let precision = precision.map_or(Ok(DEFAULT_PRECISION as i32), |text| integer(Some(text)))?;
        let scale = schema.parameters.get(SCALE).map_or(Ok(0), |text| integer(Some(text)))?;
        // Avro knows no such decimals: the properties stand without its checks
        if (0..=precision).contains(&scale) {
            let invalid = |what: String| Err(Failure::class(ILLEGAL_ARGUMENT, what));
            match self.avro.kind(node) {
                _ if precision <= 0 => {
                    return invalid(format!("Invalid decimal precision: {precision} (must be positive)"));
                }
                Kind::Bytes => {}
                Kind::Fixed(_, size) => {
                    let most = (2_f64.log10() * (8.0 * *size as f64 - 1.0)).floor();
                    if f64::from(precision) > most {
                        return invalid(format!(
                            "fixed({size}) cannot store {precision} digits (max {most})"
                        ));
                    }
                }
                _ => return invalid("Logical type decimal must be backed by fixed or bytes".to_owned()),
            }
        }
        self.set(node, LOGICAL_TYPE, "decimal".into())
    }
}

fn part(schema: Option<&SchemaRef>) -> Result<&SchemaRef, Failure> {
    schema.ok_or_else(|| Failure::class(NULL_POINTER, "a collection's schema says nothing of its items"))
}

pub(super) fn is_decimal(schema: &Schema) -> bool {
    schema.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(DECIMAL))
}

/// Size of bytes that are fixed in Avro.
pub(super) fn fixed_size(schema: &Schema) -> Result<Option<usize>, Failure> {
    let size =
        schema.parameters.get(FIXED_SIZE).filter(|_| schema.kind == Type::Bytes && schema.name.is_some());
    let Some(size) = size else { return Ok(None) };
    let size = integer(Some(size))?;
    let invalid = || Failure::class(ILLEGAL_ARGUMENT, format!("Invalid fixed size: {size}"));
    usize::try_from(size).map(Some).map_err(|_| invalid())
}

fn integer(text: Option<&Arc<str>>) -> Result<i32, Failure> {
    let Some(text) = text else {
        return Err(Failure::class(NUMBER_FORMAT, "Cannot parse null string: null"));
    };
    text.parse().map_err(|_| Failure::class(NUMBER_FORMAT, format!("For input string: \"{text}\"")))
}

/// The same schema, not optional.
fn required(schema: &SchemaRef) -> SchemaRef {
    if !schema.optional {
        return Arc::clone(schema);
    }
    let mut required = Schema::clone(schema);
    required.optional = false;
    Arc::new(required)
}
