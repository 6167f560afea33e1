//! Connect's schema for one of Avro, and the plan to read its values.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::registry::{Failure, unroll};
use super::defaults::{self, Origin};
use super::model::{AvroSchema, Kind, NodeId};
use super::options::Options;
use super::plan::{Branch, EntryRead, Read, ReadPlan, Target};
use super::print::print;
use super::vocabulary::*;
use crate::data::{DATE, DECIMAL, Schema, SchemaBuilder, SchemaRef, TIME, TIMESTAMP, Type};

/// Records within records, and collections within collections, that are read.
const MAX_DEPTH: u32 = 512;

/// Compiles a writer schema. `unions` numbers the generalized unions of one converter.
pub(super) fn compile(
    avro: &AvroSchema,
    version: Option<i32>,
    options: Options,
    unions: &mut u32,
) -> Result<ReadPlan, Failure> {
    let raw = matches!(avro.kind(avro.root), Kind::Bytes);
    if is_anything(avro) {
        let records = Vec::new();
        return Ok(ReadPlan { schema: None, root: Read::Anything, records, max_depth: MAX_DEPTH, raw });
    }
    let levels = levels(avro);
    let mut compiler = Compiler {
        avro,
        options,
        unions,
        levels: levels.unwrap_or_default(),
        path: Vec::new(),
        level: 0,
        names: HashMap::new(),
        unrolled: HashMap::new(),
        records: Vec::new(),
        record_of: HashMap::new(),
    };
    let (schema, root) = compiler.node(avro.root, Context { version, ..Context::default() })?;
    let max_depth = levels.unwrap_or(MAX_DEPTH);
    Ok(ReadPlan { schema: Some(schema), root, records: compiler.records, max_depth, raw })
}

fn is_anything(avro: &AvroSchema) -> bool {
    matches!(avro.kind(avro.root), Kind::Record(named, _) if named.name.name == "Anything")
        && print(avro) == ANYTHING
}

/// How deep to unroll, if a record contains itself.
fn levels(avro: &AvroSchema) -> Option<u32> {
    unroll::levels(avro.root, avro.nodes.len(), |id, push| match avro.kind(id) {
        Kind::Array(item) | Kind::Map(item) => push(*item),
        Kind::Union(branches) => branches.iter().for_each(|branch| push(*branch)),
        Kind::Record(_, fields) => fields.iter().for_each(|field| push(field.node)),
        _ => {}
    })
}

/// What surrounds a type.
#[derive(Debug, Clone, Copy, Default)]
struct Context<'a> {
    optional: bool,
    /// The default of the record's field.
    default: Option<&'a Json>,
    /// The doc of the record's field.
    doc: Option<&'a str>,
    /// The registry's version: of the top only.
    version: Option<i32>,
}

struct Compiler<'a> {
    avro: &'a AvroSchema,
    options: Options,
    unions: &'a mut u32,
    levels: u32,
    /// Records that are being compiled.
    path: Vec<NodeId>,
    /// How often a record has been met within itself on the way here.
    level: u32,
    /// One pointer per node's name: writing knows a type that contains itself by it.
    names: HashMap<NodeId, Arc<str>>,
    /// Records by level, and whether they are optional.
    unrolled: HashMap<(NodeId, u32, bool), (SchemaRef, Read)>,
    records: Vec<Box<[Read]>>,
    record_of: HashMap<NodeId, usize>,
}

type Compiled = Result<(SchemaRef, Read), Failure>;

impl Compiler<'_> {
    fn node(&mut self, id: NodeId, context: Context<'_>) -> Compiled {
        let avro = self.avro;
        match avro.kind(id) {
            Kind::Union(branches) => match self.flattened(branches) {
                Some((inner, null)) => {
                    let inner_context =
                        Context { optional: null.is_some(), doc: context.doc, ..Context::default() };
                    let (schema, read) = self.within(branches[inner], inner_context)?;
                    let read = match null {
                        Some(_) => Read::Optional { index: inner as u8, inner: Box::new(read) },
                        None => Read::Single(Box::new(read)),
                    };
                    Ok((schema, read))
                }
                None => self.union(id, branches, context),
            },
            Kind::Record(..) => self.record(id, context),
            _ => self.simple(id, context),
        }
    }

    /// A union that is its one type, or null and its other type: that type, and the place of null.
    fn flattened(&self, branches: &[NodeId]) -> Option<(usize, Option<usize>)> {
        match branches {
            [_] if self.options.flatten => Some((0, None)),
            [one, other] if self.avro.is_null(*one) && !self.avro.is_null(*other) => Some((1, Some(0))),
            [one, other] if self.avro.is_null(*other) && !self.avro.is_null(*one) => Some((0, Some(1))),
            _ => None,
        }
    }

    /// A type within another, which may contain itself.
    fn within(&mut self, id: NodeId, context: Context<'_>) -> Compiled {
        if !self.path.contains(&id) {
            return self.once(id, context);
        }
        let key = (id, self.level + 1, context.optional);
        if let Some((schema, read)) = self.unrolled.get(&key) {
            return Ok((Arc::clone(schema), read.clone()));
        }
        let record = self.place_of(id);
        if self.level >= self.levels {
            let mut builder = SchemaBuilder::structure().set_optional(context.optional);
            if let Some(name) = self.names.get(&id) {
                builder = builder.name(name);
            }
            return Ok((builder.build(), Read::Struct(record)));
        }
        self.level += 1;
        let path = std::mem::take(&mut self.path);
        let compiled = self.node(id, context);
        self.path = path;
        self.level -= 1;
        let (schema, _) = compiled?;
        let pair = (schema, Read::Struct(record));
        self.unrolled.insert(key, pair.clone());
        Ok(pair)
    }

    /// A record that is used in many places is compiled once, where the places do not differ.
    fn once(&mut self, id: NodeId, context: Context<'_>) -> Compiled {
        let plain = context.default.is_none() && !self.options.discard && !self.options.generalized;
        if !plain || !matches!(self.avro.kind(id), Kind::Record(..)) {
            return self.node(id, context);
        }
        let key = (id, self.level, context.optional);
        if let Some((schema, read)) = self.unrolled.get(&key) {
            return Ok((Arc::clone(schema), read.clone()));
        }
        let pair = self.node(id, context)?;
        self.unrolled.insert(key, pair.clone());
        Ok(pair)
    }

    /// The place of a record's fields in the plan.
    fn place_of(&mut self, id: NodeId) -> usize {
        if let Some(place) = self.record_of.get(&id) {
            return *place;
        }
        self.records.push(Box::default());
        self.record_of.insert(id, self.records.len() - 1);
        self.records.len() - 1
    }

    fn record(&mut self, id: NodeId, context: Context<'_>) -> Compiled {
        let avro = self.avro;
        let Kind::Record(named, fields) = avro.kind(id) else { return self.simple(id, context) };
        let keeps_docs = !self.options.discard && self.options.meta;
        let place = self.place_of(id);
        let mut builder = SchemaBuilder::structure();
        if let Some(doc) = named.doc.as_deref().filter(|_| keeps_docs) {
            builder = builder.parameter(RECORD_DOC, doc);
        }
        // known before its fields: they may name it
        let name = self.name_of(id)?;
        if let Some(name) = &name {
            self.names.insert(id, Arc::clone(name));
        }
        self.path.push(id);
        let mut reads = Vec::with_capacity(fields.len());
        for field in fields {
            if let Some(doc) = field.doc.as_deref().filter(|_| keeps_docs) {
                builder = builder.parameter(&format!("{FIELD_DOC_PREFIX}{}", field.name), doc);
            }
            let default =
                field.default.as_ref().filter(|default| defaults::is_readable(avro, field.node, default));
            let inner = Context { default, doc: field.doc.as_deref(), ..Context::default() };
            let (mut schema, read) = self.within(field.node, inner)?;
            if let Some(Json::Object(own)) = field.props.get(CONNECT_PARAMETERS).filter(|_| self.options.meta)
            {
                schema = with_parameters(&schema, own);
            }
            builder = builder.field(field.name.as_str(), schema);
            reads.push(read);
        }
        self.path.pop();
        self.records[place] = reads.into();
        let schema = self.describe(id, builder, context, name)?;
        Ok((schema, Read::Struct(place)))
    }

    fn simple(&mut self, id: NodeId, context: Context<'_>) -> Compiled {
        let avro = self.avro;
        let node = avro.node(id);
        let logical = node.text(LOGICAL_TYPE);
        let is = |name: &str| logical.is_some_and(|logical| logical.eq_ignore_ascii_case(name));
        let (builder, read) = match &node.kind {
            Kind::Boolean => (SchemaBuilder::new(Type::Boolean), Read::Boolean),
            Kind::Double => (SchemaBuilder::new(Type::Float64), Read::Float64),
            Kind::Float => (SchemaBuilder::new(Type::Float32), Read::Float32),
            Kind::String => (SchemaBuilder::new(Type::String), Read::String),
            Kind::Long if is("timestamp-millis") => (SchemaBuilder::timestamp(), Read::Int64),
            Kind::Long => (SchemaBuilder::new(Type::Int64), Read::Int64),
            Kind::Int if is("date") => (SchemaBuilder::new(Type::Int32).name(DATE).version(1), Read::Int32),
            Kind::Int if is("time-millis") => {
                (SchemaBuilder::new(Type::Int32).name(TIME).version(1), Read::Int32)
            }
            Kind::Int if logical.is_some() => (SchemaBuilder::new(Type::Int32), Read::Int32),
            Kind::Int => match node.text(CONNECT_TYPE) {
                None => (SchemaBuilder::new(Type::Int32), Read::Int32),
                Some("int8") => (SchemaBuilder::new(Type::Int8), Read::Int8),
                Some("int16") => (SchemaBuilder::new(Type::Int16), Read::Int16),
                Some(_) => return Err(Failure::data("Connect type annotation for Avro int field is null")),
            },
            Kind::Bytes => (self.bytes(id, is("decimal"))?, Read::Bytes),
            Kind::Fixed(_, size) => {
                let builder = self.bytes(id, is("decimal"))?;
                (builder.parameter(FIXED_SIZE, &size.to_string()), Read::Fixed(*size))
            }
            Kind::Enum(_, symbols) => {
                let symbols = symbols.symbols.iter().map(|symbol| symbol.as_str().into()).collect();
                (self.enumeration(id), Read::Enum(symbols))
            }
            Kind::Array(item) => self.array(*item)?,
            Kind::Map(value) => {
                let (schema, read) = self.within(*value, Context::default())?;
                (SchemaBuilder::map(Schema::string(), schema), Read::Map(Box::new(read)))
            }
            Kind::Null => {
                return Err(Failure::data("Standalone null schemas are not supported by this converter"));
            }
            Kind::Union(_) | Kind::Record(..) => return Err(Failure::data("Couldn't translate schema type")),
        };
        let name = self.name_of(id)?;
        let schema = self.describe(id, builder, context, name)?;
        let read = logical_read(&schema, read);
        Ok((schema, read))
    }

    fn bytes(&self, id: NodeId, is_decimal: bool) -> Result<SchemaBuilder, Failure> {
        if !is_decimal {
            return Ok(SchemaBuilder::new(Type::Bytes));
        }
        let node = self.avro.node(id);
        let integer = |json: &Json| json.as_i64().or_else(|| json.as_f64().map(|number| number as i64));
        let scale = node.prop(SCALE).and_then(integer).unwrap_or(0);
        let mut builder = SchemaBuilder::new(Type::Bytes)
            .name(DECIMAL)
            .version(1)
            .parameter(SCALE, &(scale as i32).to_string());
        if let Some(precision) = node.prop(PRECISION) {
            let precision = precision.is_number().then(|| integer(precision)).flatten().ok_or_else(|| {
                Failure::data(
                    "precision property must be a JSON Integer, as Avro's specification of decimals says",
                )
            })?;
            if precision != DEFAULT_PRECISION {
                builder = builder.parameter(DECIMAL_PRECISION, &precision.to_string());
            }
        }
        Ok(builder)
    }

    fn enumeration(&self, id: NodeId) -> SchemaBuilder {
        let mut builder = SchemaBuilder::new(Type::String);
        let Kind::Enum(named, symbols) = self.avro.kind(id) else { return builder };
        let Options { meta, discard, generalized, .. } = self.options;
        if let Some(doc) = named.doc.as_deref().filter(|_| meta) {
            let key = match discard {
                true => CONNECT_ENUM_DOC.to_owned(),
                false => format!("{ENUM_DOC_PREFIX}{}", named.name.name),
            };
            builder = builder.parameter(&key, doc);
        }
        if let Some(default) = symbols.default.as_deref().filter(|_| meta && !discard) {
            builder = builder.parameter(&format!("{ENUM_DEFAULT_PREFIX}{}", named.name.name), default);
        }
        let parameter = if generalized { GENERAL_ENUM } else { ENUM };
        builder = builder.parameter(parameter, &named.name.full());
        for (index, symbol) in symbols.symbols.iter().enumerate() {
            let value = if generalized { index.to_string() } else { symbol.clone() };
            builder = builder.parameter(&format!("{parameter}.{symbol}"), &value);
        }
        builder
    }

    fn array(&mut self, item: NodeId) -> Result<(SchemaBuilder, Read), Failure> {
        let avro = self.avro;
        if !is_map_entry(avro, item) {
            let (schema, read) = self.within(item, Context::default())?;
            return Ok((SchemaBuilder::array(schema), Read::Array(Box::new(read))));
        }
        let Kind::Record(_, fields) = avro.kind(item) else { return Err(Failure::data(BAD_ENTRY)) };
        let [first, second] = fields.as_slice() else { return Err(Failure::data(BAD_ENTRY)) };
        let (key, value) = match (first.name.as_str(), second.name.as_str()) {
            (KEY, VALUE) => (first, second),
            (VALUE, KEY) => (second, first),
            _ => return Err(Failure::data(BAD_ENTRY)),
        };
        let (key_schema, key_read) = self.within(key.node, Context::default())?;
        let (value_schema, value_read) = self.within(value.node, Context::default())?;
        let entry = EntryRead { key: key_read, value: value_read, key_first: first.name == KEY };
        Ok((SchemaBuilder::map(key_schema, value_schema), Read::Entries(Box::new(entry))))
    }

    fn union(&mut self, id: NodeId, branches: &[NodeId], context: Context<'_>) -> Compiled {
        let avro = self.avro;
        let generalized = self.options.generalized;
        let mut builder = SchemaBuilder::structure();
        if generalized {
            let name = format!("{GENERAL_UNION_PREFIX}{}", self.unions);
            *self.unions += 1;
            builder = builder.name(&name).parameter(GENERAL_UNION, &name);
        } else {
            builder = builder.name(UNION);
        }
        let mut members: Vec<(NodeId, Read, SchemaRef)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        for (index, branch) in branches.iter().enumerate() {
            if matches!(avro.kind(*branch), Kind::Null) {
                builder = builder.optional();
                continue;
            }
            let name = self.member_name(*branch, index);
            if !names.insert(name.clone()) {
                return Err(Failure::data("Multiple union schemas map to the Connect union field name"));
            }
            let (schema, read) = self.within(*branch, Context { optional: true, ..Context::default() })?;
            builder = builder.field(name, Arc::clone(&schema));
            members.push((*branch, read, schema));
        }
        let reads = branches.iter().map(|branch| {
            let Some((_, read, _)) = members.iter().find(|(id, ..)| id == branch) else {
                return Branch { read: Read::Null, target: Target::Null };
            };
            Branch { read: read.clone(), target: self.target(*branch, &members) }
        });
        let read = Read::Union { fields: members.len() as u32, branches: reads.collect() };
        let schema = self.describe(id, builder, context, None)?;
        Ok((schema, read))
    }

    /// Which field takes a member's values: the first whose Java class fits, as Confluent's converter looks for it.
    fn target(&self, branch: NodeId, members: &[(NodeId, Read, SchemaRef)]) -> Target {
        let avro = self.avro;
        let own = members.iter().position(|(id, ..)| *id == branch);
        let field = |place: Option<usize>| place.map_or(Target::Nowhere, |place| Target::Field(place as u32));
        match avro.kind(branch) {
            Kind::Record(..) if self.options.generalized && contains_union(avro, branch) => Target::Nowhere,
            Kind::Int if members.iter().any(|(id, _, s)| *id == branch && s.kind != Type::Int32) => {
                Target::Nowhere
            }
            Kind::Array(item) if is_map_entry(avro, *item) => Target::Nowhere,
            Kind::Fixed(..) => field(
                members.iter().position(|(id, ..)| *id == branch || matches!(avro.kind(*id), Kind::Bytes)),
            ),
            Kind::Bytes => {
                let sizes =
                    members.iter().enumerate().filter_map(|(place, (id, _, schema))| match avro.kind(*id) {
                        Kind::Bytes => Some((None, place as u32)),
                        Kind::Fixed(_, size) if schema.name.is_some() => Some((Some(*size), place as u32)),
                        _ => None,
                    });
                Target::BySize(sizes.collect())
            }
            _ => field(own),
        }
    }

    fn member_name(&self, id: NodeId, index: usize) -> String {
        if self.options.generalized {
            return format!("{GENERAL_FIELD_PREFIX}{index}");
        }
        match self.avro.kind(id).named() {
            Some(named) if self.options.enhanced => named.name.full(),
            Some(named) => super::names::split(&named.name.name, self.options.scrub).1,
            None => self.avro.kind(id).type_name().to_owned(),
        }
    }

    /// The name that a schema gets beyond what its logical type gives it.
    fn name_of(&mut self, id: NodeId) -> Result<Option<Arc<str>>, Failure> {
        if let Some(name) = self.names.get(&id) {
            return Ok(Some(Arc::clone(name)));
        }
        let node = self.avro.node(id);
        let name = match (node.prop(CONNECT_NAME), &node.kind) {
            (Some(Json::String(name)), _) => Some(name.clone()),
            (Some(other), _) => return Err(Failure::data(format!("Invalid schema name: {other}"))),
            (None, Kind::Record(named, _) | Kind::Enum(named, _)) => Some(named.name.full()),
            (None, Kind::Fixed(named, _)) => {
                let is_decimal =
                    node.text(LOGICAL_TYPE).is_some_and(|logical| logical.eq_ignore_ascii_case("decimal"));
                (!is_decimal).then(|| named.name.full())
            }
            _ => None,
        };
        let name: Option<Arc<str>> = name.filter(|name| !name.starts_with(DEFAULT_FULL_NAME)).map(Arc::from);
        if let Some(name) = &name {
            self.names.insert(id, Arc::clone(name));
        }
        Ok(name)
    }

    /// Doc, version, parameters, default, name: what every type may say of itself.
    fn describe(
        &self,
        id: NodeId,
        mut builder: SchemaBuilder,
        context: Context<'_>,
        name: Option<Arc<str>>,
    ) -> Result<SchemaRef, Failure> {
        let node = self.avro.node(id);
        let Options { meta, discard, .. } = self.options;
        let own_doc = node.kind.named().and_then(|named| named.doc.as_deref());
        if discard {
            if let Some(doc) = context.doc.or(own_doc).or(node.text(CONNECT_DOC)) {
                builder = builder.doc(doc);
            }
            if let Some(doc) = own_doc.filter(|_| meta) {
                builder = builder.parameter(CONNECT_RECORD_DOC, doc);
            }
        } else if let Some(doc) = node.text(CONNECT_DOC).filter(|_| meta) {
            builder = builder.doc(doc);
        }
        builder = self.version(id, builder, context.version)?;
        builder = self.parameters(id, builder)?;
        let connect_default = node.prop(CONNECT_DEFAULT);
        let default = match (context.default, connect_default) {
            (Some(default), None) => {
                if !discard && meta {
                    builder = builder.parameter(FIELD_DEFAULT, "true");
                }
                Some((default, Origin::Avro))
            }
            (Some(default), Some(_)) => Some((default, Origin::Avro)),
            (None, Some(default)) => Some((default, Origin::Connect)),
            (None, None) => None,
        };
        if let Some((json, origin)) = default {
            let bare = builder.clone().build();
            let value = defaults::to_connect(self.avro, id, &bare, json, origin, self.options.scrub);
            match value {
                Ok(value) => builder = builder.default_value(value),
                Err(why) => tracing::warn!("a default of an Avro schema is ignored: {why}"),
            }
        }
        if let Some(name) = name {
            builder = named(builder, &name)?;
        }
        if context.optional {
            builder = builder.optional();
        }
        Ok(builder.build())
    }

    fn version(
        &self,
        id: NodeId,
        builder: SchemaBuilder,
        version: Option<i32>,
    ) -> Result<SchemaBuilder, Failure> {
        let version = match self.avro.node(id).prop(CONNECT_VERSION) {
            Some(json) if json.is_number() => json
                .as_i64()
                .or_else(|| json.as_f64().map(|number| number as i64))
                .map(|number| number as i32),
            Some(other) => return Err(Failure::data(format!("Invalid Connect version found: {other}"))),
            None => version,
        };
        let Some(version) = version.filter(|version| *version >= 0) else { return Ok(builder) };
        match builder.clone().build().version {
            None => Ok(builder.version(version)),
            Some(own) if own == version => Ok(builder),
            Some(own) => Err(Failure::data(format!(
                "Mismatched versions: version already added to SchemaBuilder ({own}) differs from version in source \
                 schema ({version})"
            ))),
        }
    }

    fn parameters(&self, id: NodeId, mut builder: SchemaBuilder) -> Result<SchemaBuilder, Failure> {
        let node = self.avro.node(id);
        match node.prop(CONNECT_PARAMETERS).filter(|_| self.options.meta) {
            Some(Json::Object(parameters)) => {
                for (name, value) in parameters {
                    let value = value.as_str().ok_or_else(|| {
                        Failure::data(format!(
                            "Expected schema parameter values to be strings but found: {value}"
                        ))
                    })?;
                    builder = builder.parameter(name, value);
                }
            }
            Some(other) => {
                let what = format!("Expected JSON object for schema parameters but found: {other}");
                return Err(Failure::data(what));
            }
            None => {}
        }
        for (name, value) in node.props.iter().filter(|(name, _)| name.starts_with(AVRO_PREFIX)) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            builder = builder.parameter(name, &text);
        }
        Ok(builder)
    }
}

const BAD_ENTRY: &str =
    "Found map encoded as array of key-value pairs, but array elements do not match the expected format.";

/// Sets a name that must not contradict one that is there.
fn named(builder: SchemaBuilder, name: &Arc<str>) -> Result<SchemaBuilder, Failure> {
    let own = builder.clone().build().name.clone();
    match own {
        None => Ok(builder.shared_name(Arc::clone(name))),
        Some(own) if own == *name => Ok(builder),
        Some(own) => Err(Failure::data(format!(
            "Mismatched names: name already added to SchemaBuilder ({own}) differs from name in source schema ({name})"
        ))),
    }
}

/// A schema with parameters that its field gives it.
fn with_parameters(schema: &SchemaRef, own: &serde_json::Map<String, Json>) -> SchemaRef {
    let mut changed = Schema::clone(schema);
    for (name, value) in own {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        changed.parameters.insert(name.as_str().into(), text.into());
    }
    if changed.parameters == schema.parameters { Arc::clone(schema) } else { Arc::new(changed) }
}

fn is_map_entry(avro: &AvroSchema, id: NodeId) -> bool {
    let Kind::Record(named, _) = avro.kind(id) else { return false };
    let by_name = named.name.space.as_deref() == Some(NAMESPACE) && named.name.name == MAP_ENTRY;
    by_name || avro.node(id).text(CONNECT_INTERNAL_TYPE) == Some(MAP_ENTRY)
}

/// Whether a union that becomes a struct lies within.
fn contains_union(avro: &AvroSchema, id: NodeId) -> bool {
    let mut seen = vec![false; avro.nodes.len()];
    let mut work = vec![id];
    while let Some(id) = work.pop() {
        if std::mem::replace(&mut seen[id], true) {
            continue;
        }
        match avro.kind(id) {
            Kind::Array(item) | Kind::Map(item) => work.push(*item),
            Kind::Record(_, fields) => work.extend(fields.iter().map(|field| field.node)),
            Kind::Union(branches) => {
                let nulls = branches.iter().filter(|branch| avro.is_null(**branch)).count();
                if branches.len() > 2 || (branches.len() == 2 && nulls == 0) {
                    return true;
                }
                work.extend(branches);
            }
            _ => {}
        }
    }
    false
}

/// The plan of a type whose schema's name says how its values are meant.
fn logical_read(schema: &Schema, read: Read) -> Read {
    let Some(name) = schema.name.as_deref() else { return read };
    let refused = |read: Read, simple: &str, form: &str| {
        let why =
            format!("Invalid type for {simple}, underlying representation should be {form} but was another");
        Read::Refused(Box::new(read), why.into())
    };
    match (name, read) {
        (DECIMAL, read @ (Read::Bytes | Read::Fixed(_))) => {
            let size = if let Read::Fixed(size) = read { Some(size) } else { None };
            match schema.parameters.get(SCALE).map(|scale| scale.parse()) {
                Some(Ok(scale)) => Read::Decimal { scale, size },
                Some(Err(_)) => {
                    Read::Refused(Box::new(read), "Invalid scale parameter found in Decimal schema: ".into())
                }
                None => {
                    Read::Refused(Box::new(read), "Invalid Decimal schema: scale parameter not found.".into())
                }
            }
        }
        (DECIMAL, read) => refused(read, "Decimal", "bytes"),
        (DATE, Read::Int32) => Read::Date,
        (DATE, read) => refused(read, "Date", "int32"),
        (TIME, Read::Int32) => Read::Time,
        (TIME, read) => refused(read, "Time", "int32"),
        (TIMESTAMP, Read::Int64) => Read::Timestamp,
        (TIMESTAMP, read) => refused(read, "Timestamp", "int64"),
        (_, read) => read,
    }
}
