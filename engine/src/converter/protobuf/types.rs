//! The types of a schema and of what it imports, with names resolved.

use std::collections::HashMap;

use super::model::{Enum, Field, FieldKind, File, Label, Message, Scalar};
use super::vocabulary::{ENTRY, KEY, VALUE};
use super::{descriptor, known, names, parse};
use crate::converter::registry::Fetched;

/// Messages and enumerations that a schema may come to with its imports.
const MAX_TYPES: usize = 1 << 14;

type Result<T> = std::result::Result<T, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeRef {
    Scalar(Scalar),
    Message(usize),
    Enum(usize),
    Group,
}

#[derive(Debug, Clone)]
pub(super) struct FieldType {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) label: Label,
    pub(super) kind: TypeRef,
    /// Its place in [`MessageType::oneofs`].
    pub(super) oneof: Option<usize>,
    pub(super) default: Option<String>,
    pub(super) params: Vec<(String, String)>,
}

impl FieldType {
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone)]
pub(super) struct MessageType {
    pub(super) name: String,
    pub(super) full_name: String,
    pub(super) proto3: bool,
    pub(super) fields: Vec<FieldType>,
    pub(super) oneofs: Vec<String>,
    /// Messages inside, as message indexes count them.
    inner: Vec<usize>,
}

impl MessageType {
    /// Whether it is what a map's entries are on the wire.
    pub(super) fn is_entry(&self) -> bool {
        match self.fields.as_slice() {
            [key, value] => {
                let is = |field: &FieldType, name: &str| field.name == name && field.label != Label::Repeated;
                self.name.ends_with(ENTRY) && is(key, KEY) && is(value, VALUE)
            }
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct EnumType {
    pub(super) name: String,
    pub(super) full_name: String,
    /// Whether numbers without a name are values.
    pub(super) open: bool,
    pub(super) values: Vec<(String, i32)>,
}

/// All types of a schema.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) messages: Vec<MessageType>,
    pub(super) enums: Vec<EnumType>,
    by_name: HashMap<String, TypeRef>,
    /// Messages at the top of the schema itself.
    roots: Vec<usize>,
}

/// A text, or a descriptor in Base64.
fn read(text: &str) -> Result<File> {
    parse::parse(text).or_else(|why| descriptor::parse(text).ok_or(why))
}

impl Types {
    /// Of a schema of the registry, with its references.
    pub(super) fn of(schema: &Fetched) -> Result<Self> {
        let mut files = vec![read(&schema.schema.text)?];
        let mut seen: Vec<String> = Vec::new();
        let mut next = 0;
        while let Some(file) = files.get(next) {
            next += 1;
            for path in file.imports.clone() {
                if seen.contains(&path) {
                    continue;
                }
                let given = schema.references.iter().find(|reference| reference.name == path);
                let text = given.map(|reference| &*reference.schema.text).or_else(|| known::text(&path));
                let text = text.ok_or_else(|| {
                    format!("import \"{path}\" is not known: register the file as a reference of that name")
                })?;
                if !text.is_empty() {
                    files.push(read(text).map_err(|why| format!("import \"{path}\": {why}"))?);
                }
                seen.push(path);
            }
        }
        Self::resolve(&files)
    }

    /// Of a text that imports nothing but what everybody knows.
    pub(super) fn of_text(text: &str) -> Result<Self> {
        let schema = aqueduct_schema_registry::Schema::new(
            aqueduct_schema_registry::SchemaType::Protobuf,
            text.to_owned(),
        );
        Self::of(&Fetched { id: 0, version: None, schema: schema.into(), references: Vec::new() })
    }

    fn resolve(files: &[File]) -> Result<Self> {
        let mut types = Self::default();
        let mut unresolved: Vec<(usize, &Message)> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let scope = file.package.as_deref().unwrap_or_default();
            for message in &file.messages {
                let id = types.declare(message, scope, file.proto3, &mut unresolved)?;
                if index == 0 {
                    types.roots.push(id);
                }
            }
            for found in &file.enums {
                types.declare_enum(found, scope, file.proto3)?;
            }
        }
        for (id, message) in unresolved {
            for field in &message.fields {
                let field = types.field(id, field)?;
                types.messages[id].fields.push(field);
            }
        }
        Ok(types)
    }

    fn register(&mut self, name: String, found: TypeRef) -> Result<()> {
        if self.by_name.len() >= MAX_TYPES {
            return Err(format!("the schema has more than {MAX_TYPES} types"));
        }
        match self.by_name.insert(name.clone(), found) {
            None => Ok(()),
            Some(_) => Err(format!("the type {name} is there twice")),
        }
    }

    fn declare<'a>(
        &mut self,
        message: &'a Message,
        scope: &str,
        proto3: bool,
        unresolved: &mut Vec<(usize, &'a Message)>,
    ) -> Result<usize> {
        let full_name = join(scope, &message.name);
        let id = self.messages.len();
        self.register(full_name.clone(), TypeRef::Message(id))?;
        self.messages.push(MessageType {
            name: message.name.clone(),
            full_name: full_name.clone(),
            proto3,
            fields: Vec::new(),
            oneofs: message.oneofs.clone(),
            inner: Vec::new(),
        });
        unresolved.push((id, message));
        for inner in &message.messages {
            let inner = self.declare(inner, &full_name, proto3, unresolved)?;
            self.messages[id].inner.push(inner);
        }
        for inner in &message.enums {
            self.declare_enum(inner, &full_name, proto3)?;
        }
        Ok(id)
    }

    fn declare_enum(&mut self, found: &Enum, scope: &str, proto3: bool) -> Result<()> {
        let full_name = join(scope, &found.name);
        self.register(full_name.clone(), TypeRef::Enum(self.enums.len()))?;
        let (name, values) = (found.name.clone(), found.values.clone());
        self.enums.push(EnumType { name, full_name, open: proto3, values });
        Ok(())
    }

    /// A name as the fields of a message mean it: from the inside out.
    pub(super) fn find(&self, scope: &str, name: &str) -> Option<TypeRef> {
        if let Some(full) = name.strip_prefix('.') {
            return self.by_name.get(full).copied();
        }
        let mut scope = scope;
        loop {
            if let Some(found) = self.by_name.get(&join(scope, name)) {
                return Some(*found);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }

    fn kind(&self, id: usize, field: &Field, kind: &FieldKind) -> Result<TypeRef> {
        let scope = &self.messages[id].full_name;
        Ok(match kind {
            FieldKind::Scalar(scalar) => TypeRef::Scalar(*scalar),
            FieldKind::Group | FieldKind::Map(..) => TypeRef::Group,
            FieldKind::Named(name) => self
                .find(scope, name)
                .ok_or_else(|| format!("field {} of {scope}: there is no type {name}", field.name))?,
        })
    }

    fn field(&mut self, id: usize, field: &Field) -> Result<FieldType> {
        let mut label = field.label;
        let kind = match &field.kind {
            FieldKind::Map(key, value) => {
                label = Label::Repeated;
                let entry = self.entry(id, field, *key, value)?;
                TypeRef::Message(entry)
            }
            kind => self.kind(id, field, kind)?,
        };
        let message = &self.messages[id];
        let twice = |known: &FieldType| known.number == field.number || known.name == field.name;
        if message.fields.iter().any(twice) {
            let full_name = &message.full_name;
            return Err(format!("field {} of {full_name}: name or number is there twice", field.name));
        }
        Ok(FieldType {
            name: field.name.clone(),
            number: field.number,
            label,
            kind,
            oneof: field.oneof.filter(|oneof| *oneof < message.oneofs.len()),
            default: field.default.clone(),
            params: field.params.clone(),
        })
    }

    /// The message that a field `map<…>` stands for. Message indexes do not count it.
    fn entry(&mut self, id: usize, field: &Field, key: Scalar, value: &FieldKind) -> Result<usize> {
        let value = self.kind(id, field, value)?;
        let part = |name: &str, number, kind| FieldType {
            name: name.to_owned(),
            number,
            label: Label::None,
            kind,
            oneof: None,
            default: None,
            params: Vec::new(),
        };
        let (name, parent) = (names::entry(&field.name), &self.messages[id]);
        let entry = MessageType {
            full_name: join(&parent.full_name, &name),
            name,
            proto3: parent.proto3,
            fields: vec![part(KEY, 1, TypeRef::Scalar(key)), part(VALUE, 2, value)],
            oneofs: Vec::new(),
            inner: Vec::new(),
        };
        if self.messages.len() >= 2 * MAX_TYPES {
            return Err(format!("the schema has more than {MAX_TYPES} maps"));
        }
        self.messages.push(entry);
        Ok(self.messages.len() - 1)
    }

    /// The message at a path of indexes.
    pub(super) fn at(&self, path: &[usize]) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let first = *self.roots.get(*first)?;
        rest.iter().try_fold(first, |id, index| self.messages[id].inner.get(*index).copied())
    }

    /// The path of indexes to a message of the schema itself.
    pub(super) fn path_to(&self, full_name: &str) -> Option<Vec<usize>> {
        let mut siblings = self.roots.as_slice();
        let mut path = Vec::new();
        loop {
            let fits = |id: &usize| {
                let name = &self.messages[*id].full_name;
                full_name
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let place = siblings.iter().position(fits)?;
            path.push(place);
            let found = &self.messages[siblings[place]];
            if found.full_name == full_name {
                return Some(path);
            }
            siblings = &found.inner;
        }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
