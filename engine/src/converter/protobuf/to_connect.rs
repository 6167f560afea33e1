//! Connect's schema for a message type, and the plan to read its values.

use std::collections::HashMap;
use std::sync::Arc;

use super::known;
use super::model::{Label, Scalar};
use super::names;
use super::options::Options;
use super::plan::{EnumPlan, FieldPlan, Leaf, MessagePlan, Place, Read, ReadPlan};
use super::types::{FieldType, TypeRef, Types};
use super::vocabulary::{
    CONNECT_PRECISION, CONNECT_TYPE, DATE_TYPE, DECIMAL_TYPE, ENUM, GENERAL_ENUM, GENERAL_UNION, PRECISION,
    SCALE, TAG, TIME_TYPE, TIMESTAMP_TYPE, TYPE, UNION, WRAPPER,
};
use crate::converter::registry::{Failure, unroll};
use crate::data::{Constant, Range32, Schema, SchemaBuilder, SchemaRef, Span, Type, Value};

/// Messages within messages that are read, as Java's parser has it.
const MAX_DEPTH: u32 = 100;
/// Schemas that are inside a schema, each counted wherever it stands.
const MAX_SCHEMAS: u64 = 1 << 18;

type Result<T> = std::result::Result<T, Failure>;

/// Compiles a message type. `version` is the registry's.
pub(super) fn compile(
    types: &Types,
    root: usize,
    version: Option<i32>,
    options: Options,
) -> Result<ReadPlan> {
    let levels = unroll::levels(root, types.messages.len(), |id, push| {
        for field in &types.messages[id].fields {
            if let TypeRef::Message(inner) = field.kind {
                push(inner);
            }
        }
    });
    let mut compiler = Compiler {
        types,
        options,
        levels: levels.unwrap_or_default(),
        level: 0,
        path: Vec::new(),
        unrolled: HashMap::new(),
        root_within: false,
        root,
        messages: Vec::new(),
        message_of: HashMap::new(),
        enums: Vec::new(),
        enum_of: HashMap::new(),
    };
    let message = &types.messages[root];
    let wrapped = known::wrapped(&message.full_name).filter(|_| options.wrapper_raw);
    let (schema, root) = match wrapped {
        Some(scalar) => {
            let leaf = Leaf { scalar, kind: number(scalar), strict: true };
            (SchemaBuilder::new(leaf.kind).build(), Read::Wrapper(leaf))
        }
        None => {
            let (schema, _, place) = compiler.message(root)?;
            (schema, Read::Struct(place))
        }
    };
    let mut schema = Schema::clone(&schema);
    // a message that contains itself shares its schema with the field
    schema.optional = compiler.root_within;
    schema.version = version;
    Ok(ReadPlan {
        schema: Arc::new(schema),
        root,
        messages: compiler.messages,
        enums: compiler.enums,
        max_depth: levels.unwrap_or(MAX_DEPTH),
    })
}

/// What a scalar is in Connect.
const fn number(scalar: Scalar) -> Type {
    match scalar {
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => Type::Int32,
        Scalar::Float => Type::Float32,
        Scalar::Double => Type::Float64,
        Scalar::Bool => Type::Boolean,
        Scalar::String => Type::String,
        Scalar::Bytes => Type::Bytes,
        _ => Type::Int64,
    }
}

struct Compiler<'a> {
    types: &'a Types,
    options: Options,
    levels: u32,
    /// How often a message has been met within itself on the way here.
    level: u32,
    /// Messages that are being compiled.
    path: Vec<usize>,
    /// Structs with their sizes, by level.
    unrolled: HashMap<(usize, u32), (SchemaRef, u64)>,
    root: usize,
    root_within: bool,
    messages: Vec<MessagePlan>,
    message_of: HashMap<usize, usize>,
    enums: Vec<EnumPlan>,
    enum_of: HashMap<usize, usize>,
}

/// A field's schema, how many schemas that is, and how it is read.
struct Compiled {
    schema: SchemaBuilder,
    size: u64,
    read: Read,
}

/// What a message's plan is made of.
#[derive(Default)]
struct Parts {
    fields: Vec<FieldPlan>,
    initial: Vec<Value>,
    late: Vec<(u32, Constant)>,
    from_nothing: Vec<(u32, Read)>,
    required: Vec<(u32, Box<str>)>,
}

impl Parts {
    fn slot(&self) -> u32 {
        self.initial.len() as u32
    }

    /// A slot with what it holds before anything is read.
    fn push(&mut self, default: Option<Constant>) {
        let slot = self.slot();
        let value = match default {
            None => Value::Null,
            Some(Constant::Boolean(value)) => Value::Boolean(value),
            Some(Constant::Int8(value)) => Value::Int8(value),
            Some(Constant::Int16(value)) => Value::Int16(value),
            Some(Constant::Int32(value)) => Value::Int32(value),
            Some(Constant::Int64(value)) => Value::Int64(value),
            Some(Constant::Float32(value)) => Value::Float32(value),
            Some(Constant::Float64(value)) => Value::Float64(value),
            Some(Constant::String(text)) if text.is_empty() => Value::String(Span::default()),
            Some(Constant::Bytes(bytes)) if bytes.is_empty() => Value::Bytes(Span::default()),
            Some(other) => {
                self.late.push((slot, other));
                Value::Null
            }
        };
        self.initial.push(value);
    }
}

impl Compiler<'_> {
    /// A message's struct, its size, and its place among the plans.
    fn message(&mut self, id: usize) -> Result<(SchemaRef, u64, usize)> {
        let place = self.place_of(id);
        let within = self.path.contains(&id);
        self.root_within |= within && id == self.root;
        let level = self.level + u32::from(within);
        if let Some((schema, size)) = self.unrolled.get(&(id, level)) {
            return Ok((Arc::clone(schema), *size, place));
        }
        if within && self.level >= self.levels {
            let schema = SchemaBuilder::structure().name(self.name(id)).build();
            return Ok((schema, 1, place));
        }
        let path = if within { std::mem::take(&mut self.path) } else { Vec::new() };
        self.level = level;
        let built = self.build(id, place);
        if within {
            self.path = path;
            self.level -= 1;
        }
        let (schema, size) = built?;
        if size > MAX_SCHEMAS {
            let name = &self.types.messages[id].full_name;
            return Err(Failure::data(format!("the message {name} has more than {MAX_SCHEMAS} parts")));
        }
        self.unrolled.insert((id, level), (Arc::clone(&schema), size));
        Ok((schema, size, place))
    }

    fn name(&self, id: usize) -> &str {
        let message = &self.types.messages[id];
        if self.options.enhanced { &message.full_name } else { &message.name }
    }

    fn place_of(&mut self, id: usize) -> usize {
        let places = &mut self.messages;
        *self.message_of.entry(id).or_insert_with(|| {
            places.push(MessagePlan::default());
            places.len() - 1
        })
    }

    fn build(&mut self, id: usize, place: usize) -> Result<(SchemaRef, u64)> {
        if self.path.len() > MAX_DEPTH as usize {
            return Err(Failure::data(format!("more than {MAX_DEPTH} messages are inside each other")));
        }
        self.path.push(id);
        let mut builder = SchemaBuilder::structure().name(self.name(id));
        let (mut size, mut parts) = (1_u64, Parts::default());
        let message = &self.types.messages[id];
        for (index, oneof) in message.oneofs.iter().enumerate() {
            let members: Vec<&FieldType> =
                message.fields.iter().filter(|field| field.oneof == Some(index)).collect();
            if members.is_empty() {
                continue;
            }
            let (more, larger) =
                self.oneof(builder, oneof, index, &members, &message.full_name, &mut parts)?;
            builder = more;
            size = size.saturating_add(larger);
        }
        for field in message.fields.iter().filter(|field| field.oneof.is_none()) {
            let (schema, larger) = self.field(field, message.proto3, &mut parts)?;
            builder = builder.field(field.name.as_str(), schema);
            size = size.saturating_add(larger);
        }
        self.path.pop();
        parts.fields.sort_by_key(|field| field.number);
        self.messages[place] = MessagePlan {
            fields: parts.fields.into(),
            initial: parts.initial.into(),
            late: parts.late.into(),
            from_nothing: parts.from_nothing.into(),
            required: parts.required.into(),
        };
        Ok((builder.build(), size))
    }

    fn oneof(
        &mut self,
        mut builder: SchemaBuilder,
        name: &str,
        index: usize,
        members: &[&FieldType],
        message: &str,
        parts: &mut Parts,
    ) -> Result<(SchemaBuilder, u64)> {
        let options = self.options;
        let mut union = SchemaBuilder::structure();
        let (group, mut size) = (parts.slot(), 1_u64);
        for (member, field) in members.iter().enumerate() {
            let compiled = self.compiled(field, true)?;
            size = size.saturating_add(compiled.size);
            let mut schema = compiled.schema.optional();
            if options.wrapper && matches!(compiled.read, Read::Wrapper(_)) {
                schema = schema.parameter(WRAPPER, "true");
            }
            let schema = schema.parameter(TAG, &field.number.to_string()).build();
            let place = if options.flatten {
                builder = builder.field(field.name.as_str(), schema);
                Place::Flat
            } else {
                union = union.field(field.name.as_str(), schema);
                Place::Union { member: member as u32, members: members.len() as u32 }
            };
            let slot = if options.flatten { parts.slot() } else { group };
            parts.fields.push(FieldPlan { number: field.number, slot, group, place, read: compiled.read });
            if options.flatten {
                parts.push(None);
            }
        }
        if options.flatten {
            return Ok((builder, size));
        }
        parts.push(None);
        let union = if options.generalized {
            union.name(name).parameter(GENERAL_UNION, name)
        } else if options.enhanced {
            union.name(&format!("{UNION}.{message}.{name}"))
        } else {
            union.name(&format!("{UNION}.{name}"))
        };
        let field = if options.union_index { format!("{name}_{index}") } else { name.to_owned() };
        Ok((builder.field(field, union.optional().build()), size))
    }

    /// A field that is no member of a oneof.
    fn field(&mut self, field: &FieldType, proto3: bool, parts: &mut Parts) -> Result<(SchemaRef, u64)> {
        let options = self.options;
        let compiled = self.compiled(field, proto3)?;
        let has_word = field.label == Label::Optional;
        let repeated = field.label == Label::Repeated;
        let is_map = compiled.schema.clone().build().kind == Type::Map;
        let mut schema = compiled.schema;
        if repeated && !is_map {
            schema = SchemaBuilder::array(schema.optional().build()).optional();
        }
        if if options.optional { has_word } else { !options.wrapper } {
            schema = schema.optional();
        }
        let slot = parts.slot();
        let place = match (repeated, is_map) {
            (true, true) => Place::Map,
            (true, false) => Place::Repeated,
            (false, _) => Place::Single,
        };
        parts.fields.push(FieldPlan { number: field.number, slot, group: slot, place, read: compiled.read });
        // whether it is seen that it is not there
        let may_miss = has_word && (proto3 || options.optional_proto2);
        match place {
            Place::Map => parts.initial.push(Value::Map(Range32::default())),
            Place::Repeated => parts.initial.push(Value::Array(Range32::default())),
            _ if field.label == Label::Required => {
                parts.required.push((slot, field.name.as_str().into()));
                parts.push(None);
            }
            _ if compiled.read.is_message() => {
                if options.struct_for_nulls {
                    parts.from_nothing.push((slot, compiled.read));
                }
                parts.push(None);
            }
            _ if may_miss && !options.struct_for_nulls => parts.push(None),
            _ => parts.push(Some(self.default_of(field, compiled.read)?)),
        }
        let schema = schema.parameter(TAG, &field.number.to_string()).build();
        Ok((schema, compiled.size.saturating_add(1)))
    }

    /// What a field is without its label. Messages and enumerations are optional.
    fn compiled(&mut self, field: &FieldType, strict: bool) -> Result<Compiled> {
        match field.kind {
            TypeRef::Scalar(scalar) => Ok(scalar_schema(field, scalar, strict)),
            TypeRef::Enum(id) => Ok(self.enumeration(id)),
            TypeRef::Message(id) => self.inner(field, id),
            TypeRef::Group => Err(Failure::data(format!(
                "Unknown Connect schema type: GROUP (field {}): groups are not supported",
                field.name
            ))),
        }
    }

    fn inner(&mut self, field: &FieldType, id: usize) -> Result<Compiled> {
        let message = &self.types.messages[id];
        let plain = |schema: SchemaBuilder, read| Compiled { schema: schema.optional(), size: 1, read };
        Ok(match message.full_name.as_str() {
            DECIMAL_TYPE => plain(decimal(field), Read::Decimal),
            DATE_TYPE => plain(SchemaBuilder::date(), Read::Date),
            TIME_TYPE => plain(SchemaBuilder::time(), Read::Time),
            TIMESTAMP_TYPE => plain(SchemaBuilder::timestamp(), Read::Timestamp),
            full_name => match known::wrapped(full_name) {
                Some(scalar) if self.options.wrapper || self.options.wrapper_raw => {
                    let leaf = Leaf { scalar, kind: number(scalar), strict: true };
                    plain(SchemaBuilder::new(leaf.kind), Read::Wrapper(leaf))
                }
                _ if field.label == Label::Repeated && message.is_entry() => self.map(id)?,
                _ => {
                    let (schema, size, place) = self.message(id)?;
                    Compiled { schema: again(&schema).optional(), size, read: Read::Struct(place) }
                }
            },
        })
    }

    /// Entries: a message of two fields, which are there even where their bytes are not.
    fn map(&mut self, id: usize) -> Result<Compiled> {
        let message = &self.types.messages[id];
        let name = names::map(self.name(id));
        let place = self.place_of(id);
        let (mut schemas, mut size, mut parts) = (Vec::new(), 1_u64, Parts::default());
        self.path.push(id);
        if self.path.len() > MAX_DEPTH as usize {
            return Err(Failure::data(format!("more than {MAX_DEPTH} messages are inside each other")));
        }
        for field in &message.fields {
            let read_place = parts.fields.len();
            let (schema, larger) = self.field(field, message.proto3, &mut parts)?;
            let (slot, read) = (read_place as u32, parts.fields[read_place].read);
            let there = parts.initial[read_place] != Value::Null
                || parts.late.iter().any(|(late, _)| *late == slot)
                || parts.from_nothing.iter().any(|(known, _)| *known == slot);
            if !there && read.is_message() {
                parts.from_nothing.push((slot, read));
            } else if !there {
                parts.late.push((slot, self.default_of(field, read)?));
            }
            schemas.push(schema);
            size = size.saturating_add(larger);
        }
        self.path.pop();
        self.messages[place] = MessagePlan {
            fields: parts.fields.into(),
            initial: parts.initial.into(),
            late: parts.late.into(),
            from_nothing: parts.from_nothing.into(),
            required: Box::default(),
        };
        let (Some(value), Some(key)) = (schemas.pop(), schemas.pop()) else {
            return Err(Failure::data(format!("the entries of {name} have no key and value")));
        };
        let schema = SchemaBuilder::map(key, value).name(&name).optional();
        Ok(Compiled { schema, size, read: Read::Struct(place) })
    }

    fn enumeration(&mut self, id: usize) -> Compiled {
        let (options, found) = (self.options, &self.types.enums[id]);
        let kind = if options.int_enums { Type::Int32 } else { Type::String };
        let parameter = if options.generalized { GENERAL_ENUM } else { ENUM };
        let name = if options.enhanced { &found.full_name } else { &found.name };
        let mut schema = SchemaBuilder::new(kind).name(name).parameter(parameter, &found.name).optional();
        for (symbol, number) in &found.values {
            schema = schema.parameter(&format!("{parameter}.{symbol}"), &number.to_string());
        }
        let enums = &mut self.enums;
        let place = *self.enum_of.entry(id).or_insert_with(|| {
            let mut symbols: Vec<(i32, Box<str>)> =
                found.values.iter().map(|(name, number)| (*number, name.as_str().into())).collect();
            symbols.sort_by_key(|(number, _)| *number);
            symbols.dedup_by_key(|(number, _)| *number);
            enums.push(EnumPlan {
                name: found.name.as_str().into(),
                symbols: symbols.into(),
                open: found.open,
                as_number: options.int_enums,
            });
            enums.len() - 1
        });
        Compiled { schema, size: 1, read: Read::Enum(place) }
    }

    /// What stands for a field that is not there.
    fn default_of(&self, field: &FieldType, read: Read) -> Result<Constant> {
        let wrong = || {
            let given = field.default.as_deref().unwrap_or_default();
            Failure::serializer(format!("field {}: {given} is no default of its type", field.name))
        };
        match read {
            Read::Leaf(leaf) => leaf_default(leaf, field.default.as_deref()).ok_or_else(wrong),
            _ => {
                let TypeRef::Enum(id) = field.kind else { return Ok(Constant::Null) };
                let values = &self.types.enums[id].values;
                let found = match &field.default {
                    Some(name) => values.iter().find(|(known, _)| known == name).ok_or_else(wrong)?,
                    None => values.first().ok_or_else(wrong)?,
                };
                let number = self.options.int_enums;
                Ok(if number { Constant::Int32(found.1) } else { Constant::String(found.0.as_str().into()) })
            }
        }
    }
}

/// A builder that goes on from a struct that is known already.
fn again(schema: &Schema) -> SchemaBuilder {
    let fields = schema.fields.iter();
    fields.fold(schema.like(), |builder, field| {
        builder.field(Arc::clone(&field.name), Arc::clone(&field.schema))
    })
}

fn scalar_schema(field: &FieldType, scalar: Scalar, strict: bool) -> Compiled {
    let narrow = match (number(scalar), field.param(CONNECT_TYPE)) {
        (Type::Int32, Some("int8")) => Some(Type::Int8),
        (Type::Int32, Some("int16")) => Some(Type::Int16),
        _ => None,
    };
    let leaf = Leaf { scalar, kind: narrow.unwrap_or(number(scalar)), strict };
    let mut schema = SchemaBuilder::new(leaf.kind);
    let is_plain = matches!(scalar, Scalar::Int32 | Scalar::Int64);
    if narrow.is_none() && !is_plain && matches!(leaf.kind, Type::Int32 | Type::Int64) {
        schema = schema.parameter(TYPE, scalar.name());
    }
    Compiled { schema, size: 1, read: Read::Leaf(leaf) }
}

fn decimal(field: &FieldType) -> SchemaBuilder {
    let number = |name: &str| field.param(name).and_then(|text| text.parse::<i32>().ok());
    let builder = SchemaBuilder::decimal(number(SCALE).unwrap_or(0));
    match number(PRECISION) {
        Some(precision) => builder.parameter(CONNECT_PRECISION, &precision.to_string()),
        None => builder,
    }
}

fn leaf_default(leaf: Leaf, given: Option<&str>) -> Option<Constant> {
    let whole = || -> Option<i64> {
        let Some(text) = given else { return Some(0) };
        match text.strip_prefix('-') {
            Some(digits) => super::lexer::integer(digits).map(i64::wrapping_neg),
            None => super::lexer::integer(text),
        }
    };
    Some(match leaf.kind {
        Type::Int8 => Constant::Int8(whole()? as i8),
        Type::Int16 => Constant::Int16(whole()? as i16),
        Type::Int32 => Constant::Int32(whole()? as i32),
        Type::Int64 => Constant::Int64(whole()?),
        Type::Float32 => Constant::Float32(given.unwrap_or("0").trim_end_matches(['f', 'F']).parse().ok()?),
        Type::Float64 => Constant::Float64(given.unwrap_or("0").parse().ok()?),
        Type::Boolean => Constant::Boolean(given == Some("true")),
        Type::String => Constant::String(given.unwrap_or_default().into()),
        _ => Constant::Bytes(given.unwrap_or_default().as_bytes().into()),
    })
}
