//! JSON Schema to a schema of Connect.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::Options;
use super::documents::{Documents, Place};
use super::model::{self, Criterion, Kind, MAX_DEPTH, Node, Object};
use super::vocabulary::{
    ENUM, ENUM_NULL, GENERAL_ENUM, GENERAL_FIELD_PREFIX, GENERAL_PREFIX, ID, ID_PREFIX, ONE_OF_FIELD_PREFIX,
};
use crate::converter::json::payload::{TextError, TextReader};
use crate::converter::json::union::{ONE_OF, UNION};
use crate::converter::registry::Failure;
use crate::data::{Batch, Constant, Schema, SchemaBuilder, SchemaRef, Span, Type};

type Result<T> = std::result::Result<T, Failure>;

const ILLEGAL_ARGUMENT: &str = "java.lang.IllegalArgumentException";

fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(Failure::data(what))
}

/// The schema of Connect. `version` is the registry's.
pub(super) fn convert(documents: &Documents, version: Option<i32>, options: Options) -> Result<SchemaRef> {
    let root = model::parse(documents.root(), 0).map_err(invalid)?;
    let mut conversion =
        Conversion { documents, options, known: HashMap::new(), under_way: Vec::new(), ids: 0, unions: 0 };
    conversion.schema(&Documents::start(), &root, version, false, 0)
}

fn invalid(why: String) -> Failure {
    Failure::serializer(format!("Invalid JSON Schema: {why}"))
}

struct Conversion<'a> {
    documents: &'a Documents,
    options: Options,
    /// Structs that a `$ref` has led to.
    known: HashMap<Place, SchemaRef>,
    under_way: Vec<Place>,
    ids: u32,
    unions: u32,
}

/// A property of an object, or of several that all hold.
struct Property {
    name: String,
    place: Place,
    node: Node,
    required: bool,
}

impl Conversion<'_> {
    /// `place` says in which document `$ref`s are looked for; `depth` is the number of schemas around it.
    fn schema(
        &mut self,
        place: &Place,
        node: &Node,
        version: Option<i32>,
        optional: bool,
        depth: u32,
    ) -> Result<SchemaRef> {
        if depth > MAX_DEPTH {
            return unsupported(format!("more than {MAX_DEPTH} JSON Schemas are inside each other"));
        }
        let builder = match &node.kind {
            Kind::Boolean => SchemaBuilder::new(Type::Boolean),
            Kind::Number { integer } => SchemaBuilder::new(number(*integer, node.connect_type.as_deref())?),
            Kind::String if node.connect_type.as_deref() == Some("bytes") => SchemaBuilder::new(Type::Bytes),
            Kind::String => SchemaBuilder::new(Type::String),
            Kind::Const(value) => self.enumeration(std::slice::from_ref(value)),
            Kind::Enum(values) => self.enumeration(values),
            Kind::Combined { criterion, parts } => {
                if let [part] = &parts[..]
                    && self.options.flatten_singleton_unions
                {
                    return self.schema(place, part, None, false, depth + 1);
                }
                if *criterion == Criterion::All {
                    return self.all_of(place, parts, version, optional, depth);
                }
                if let [one, other] = &parts[..] {
                    match (&one.kind, &other.kind) {
                        (_, Kind::Null) if one.kind != Kind::Null => {
                            return self.schema(place, one, version, true, depth + 1);
                        }
                        (Kind::Null, _) if other.kind != Kind::Null => {
                            return self.schema(place, other, version, true, depth + 1);
                        }
                        _ => {}
                    }
                }
                self.union(place, parts, depth)?
            }
            Kind::Array { items } => self.array(place, node, items.as_deref(), depth)?,
            Kind::Object(object) => self.object(place, node, object, depth)?,
            Kind::Reference(reference) => return self.reference(place, reference, version, optional, depth),
            Kind::Empty => {
                return unsupported("Unsupported schema type: a JSON Schema that says nothing of its values");
            }
            Kind::Null => return unsupported("Unsupported schema type org.everit.json.schema.NullSchema"),
            Kind::Other(name) => {
                return unsupported(format!("Unsupported schema type org.everit.json.schema.{name}"));
            }
        };
        described(builder, node, version, optional)
    }

    fn union(&mut self, place: &Place, parts: &[Node], depth: u32) -> Result<SchemaBuilder> {
        let general = self.options.generalized_sum_type_support;
        let mut builder = SchemaBuilder::structure();
        if general {
            let name = format!("{GENERAL_PREFIX}{}", self.unions);
            self.unions += 1;
            builder = builder.name(&name).parameter(UNION, &name);
        } else {
            builder = builder.name(ONE_OF);
        }
        let prefix = if general { GENERAL_FIELD_PREFIX } else { ONE_OF_FIELD_PREFIX };
        let mut index = 0;
        for part in parts {
            if part.kind == Kind::Null {
                builder = builder.optional();
                continue;
            }
            let schema = self.schema(place, part, None, true, depth + 1)?;
            builder = builder.field(format!("{prefix}{index}"), schema);
            index += 1;
        }
        Ok(builder)
    }

    fn array(
        &mut self,
        place: &Place,
        node: &Node,
        items: Option<&Node>,
        depth: u32,
    ) -> Result<SchemaBuilder> {
        let Some(items) = items else {
            return unsupported("Array schema did not specify the items type");
        };
        if let (Some("map"), Kind::Object(entry)) = (node.connect_type.as_deref(), &items.kind) {
            let mut side = |name: &str| {
                let part = entry.properties.iter().find(|(property, _)| property == name);
                let Some((_, part)) = part else {
                    return unsupported(format!("the entries of a map have no property {name}"));
                };
                self.schema(place, part, None, false, depth + 1)
            };
            return Ok(SchemaBuilder::map(side("key")?, side("value")?));
        }
        Ok(SchemaBuilder::array(self.schema(place, items, None, false, depth + 1)?))
    }

    fn object(&mut self, place: &Place, node: &Node, object: &Object, depth: u32) -> Result<SchemaBuilder> {
        if node.connect_type.as_deref() == Some("map") {
            let Some(values) = &object.additional else {
                return unsupported(
                    "a map's schema does not specify the type of its values (additionalProperties)",
                );
            };
            let values = self.schema(place, values, None, false, depth + 1)?;
            return Ok(SchemaBuilder::map(Schema::string(), values));
        }
        // By index; without one a property comes where as many precede it, and may take another's place, as in Java.
        let mut order: std::collections::BTreeMap<i32, &(String, Node)> = std::collections::BTreeMap::new();
        for property in &object.properties {
            let index = property.1.connect_index.unwrap_or(order.len() as i32);
            order.insert(index, property);
        }
        let mut builder = SchemaBuilder::structure();
        for (name, property) in order.into_values() {
            let optional = self.options.use_optional_for_nonrequired && !object.required.contains(name);
            let schema = self.schema(place, property, None, optional, depth + 1)?;
            builder = builder.field(name.as_str(), schema);
        }
        Ok(builder)
    }

    fn reference(
        &mut self,
        place: &Place,
        reference: &str,
        version: Option<i32>,
        optional: bool,
        depth: u32,
    ) -> Result<SchemaRef> {
        let (target, json) = self.documents.resolve(place, reference).map_err(invalid)?;
        if let Some(known) = self.known.get(&target) {
            self.ids += 1;
            let mut again = Schema::clone(known);
            again.optional = optional;
            again.parameters.insert(ID.into(), format!("{ID_PREFIX}{}", self.ids).into());
            return Ok(Arc::new(again));
        }
        if self.under_way.contains(&target) {
            return unsupported(format!(
                "the JSON Schema refers to itself by {reference}: such schemas are not supported"
            ));
        }
        let node = model::parse(json, 0).map_err(invalid)?;
        self.under_way.push(target.clone());
        let schema = self.schema(&target, &node, version, optional, depth + 1);
        self.under_way.pop();
        let schema = schema?;
        let is_struct = match &node.kind {
            Kind::Object(_) => schema.kind == Type::Struct,
            Kind::Combined { criterion, .. } => *criterion == Criterion::All && schema.kind == Type::Struct,
            _ => false,
        };
        if is_struct {
            self.known.insert(target, Arc::clone(&schema));
        }
        Ok(schema)
    }

    /// Schemas that all hold: the properties of all objects, or the one that says most.
    fn all_of(
        &mut self,
        place: &Place,
        parts: &[Node],
        version: Option<i32>,
        optional: bool,
        depth: u32,
    ) -> Result<SchemaRef> {
        let mut properties = Vec::new();
        let mut visited = Vec::new();
        for part in parts {
            self.collect(place, part, &mut properties, &mut visited, depth + 1)?;
        }
        if !properties.is_empty() {
            let mut builder = SchemaBuilder::structure();
            for Property { name, place, node, required } in properties {
                let optional = self.options.use_optional_for_nonrequired && !required;
                let schema = self.schema(&place, &node, None, optional, depth + 1)?;
                builder = builder.field(name, schema);
            }
            return Ok(builder.set_optional(optional).build());
        }
        let last = |is: fn(&Kind) -> bool| parts.iter().rev().find(|part| is(&part.kind));
        let string = last(|kind| matches!(kind, Kind::String));
        let number = last(|kind| matches!(kind, Kind::Number { .. }));
        let combined = last(|kind| matches!(kind, Kind::Combined { .. }));
        let enumeration = last(|kind| matches!(kind, Kind::Enum(_)));
        let chosen = if combined.is_some() {
            combined
        } else if last(|kind| matches!(kind, Kind::Const(_))).is_some() {
            string.or(number)
        } else if enumeration.is_some() {
            string.and(enumeration).or(number)
        } else if string.is_some() {
            number.or(string)
        } else {
            last(|kind| matches!(kind, Kind::Reference(_)))
        };
        match chosen {
            Some(part) => self.schema(place, part, version, optional, depth + 1),
            None => Err(Failure::class(
                ILLEGAL_ARGUMENT,
                "Unsupported criterion allOf for schemas that are no objects",
            )),
        }
    }

    fn collect(
        &mut self,
        place: &Place,
        node: &Node,
        properties: &mut Vec<Property>,
        visited: &mut Vec<Place>,
        depth: u32,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return unsupported(format!("more than {MAX_DEPTH} JSON Schemas are inside each other"));
        }
        match &node.kind {
            Kind::Combined { criterion: Criterion::All, parts } => {
                for part in parts {
                    self.collect(place, part, properties, visited, depth + 1)?;
                }
            }
            Kind::Object(object) => {
                for (name, node) in &object.properties {
                    let required = object.required.contains(name);
                    let found =
                        Property { name: name.clone(), place: place.clone(), node: node.clone(), required };
                    match properties.iter_mut().find(|known| known.name == *name) {
                        Some(known) => *known = found,
                        None => properties.push(found),
                    }
                }
            }
            Kind::Reference(reference) => {
                let (target, json) = self.documents.resolve(place, reference).map_err(invalid)?;
                if !visited.contains(&target) {
                    visited.push(target.clone());
                    let node = model::parse(json, 0).map_err(invalid)?;
                    self.collect(&target, &node, properties, visited, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn enumeration(&self, values: &[Json]) -> SchemaBuilder {
        let general = self.options.generalized_sum_type_support;
        let parameter = if general { GENERAL_ENUM } else { ENUM };
        let mut builder = SchemaBuilder::new(Type::String).parameter(parameter, "");
        for (index, value) in values.iter().enumerate() {
            let symbol = match value {
                Json::Null => ENUM_NULL.to_owned(),
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let number = index.to_string();
            let given = if general { &number } else { &symbol };
            builder = builder.parameter(&format!("{parameter}.{symbol}"), given);
        }
        builder
    }
}

fn number(integer: bool, connect_type: Option<&str>) -> Result<Type> {
    Ok(match connect_type {
        None if integer => Type::Int64,
        None => Type::Float64,
        Some("int8") => Type::Int8,
        Some("int16") => Type::Int16,
        Some("int32") => Type::Int32,
        Some("int64") => Type::Int64,
        Some("float32") => Type::Float32,
        Some("float64") => Type::Float64,
        Some("bytes") => Type::Bytes,
        Some(other) => {
            return Err(Failure::class(ILLEGAL_ARGUMENT, format!("Unsupported type {other} (connect.type)")));
        }
    })
}

/// Name, version, documentation, parameters and default.
fn described(builder: SchemaBuilder, node: &Node, version: Option<i32>, optional: bool) -> Result<SchemaRef> {
    let mut schema = Schema::clone(&builder.build());
    if schema.name.is_none() {
        schema.name = node.title.as_deref().map(Arc::from);
    }
    schema.version = node.connect_version.or(version);
    schema.doc = node.description.as_deref().map(Arc::from);
    for (name, value) in &node.connect_parameters {
        schema.parameters.insert(name.as_str().into(), value.as_str().into());
    }
    let mut schema = Arc::new(schema);
    if let Some(default) = &node.default {
        let default = default_value(&schema, default)?;
        let mut with_default = Schema::clone(&schema);
        with_default.default = (default != Constant::Null).then_some(default);
        schema = Arc::new(with_default);
    }
    if optional && !schema.optional {
        let mut nullable = Schema::clone(&schema);
        nullable.optional = true;
        schema = Arc::new(nullable);
    }
    Ok(schema)
}

fn default_value(schema: &SchemaRef, default: &Json) -> Result<Constant> {
    let text = default.to_string();
    let mut batch = Batch::default();
    let place = batch.put_str(&text);
    let read = TextReader::new(schema).read(text.as_bytes(), Span { ..place }, &mut batch);
    match read {
        Ok(value) => Ok(batch.constant(value)),
        Err(TextError::Misfit(failure)) => {
            Err(Failure::data(format!("Invalid default value: {}", failure.message)))
        }
        Err(TextError::Malformed(why)) => Err(Failure::data(format!("Invalid default value: {why}"))),
    }
}
