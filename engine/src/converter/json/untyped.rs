//! JSON of any shape: maps, lists, INT64 and FLOAT64.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::read::{ReadError, Reader};
use super::scan::Kind;
use crate::data::{Range32, Schema, Span, Type, Value, append_java_string};

type Result<T> = std::result::Result<T, ReadError>;

/// Members up to which a name is sought among those before it; beyond, all are compared at the end of the object.
const FEW: usize = 24;

impl Reader<'_> {
    /// A value of any shape: integers become INT64 (wrapping as Java does beyond 64 bits), fractions FLOAT64. `depth` is
    /// the number of arrays and objects around it.
    pub(super) fn any(&mut self, depth: u32) -> Result<Value> {
        Ok(match self.scanner.kind()? {
            Kind::String => {
                let text = self.scanner.string()?;
                Value::String(self.text(text)?)
            }
            Kind::Number => {
                let number = self.scanner.number()?;
                if number.fraction { Value::Float64(number.double()) } else { self.whole(number)? }
            }
            Kind::Null => {
                self.scanner.literal(b"null")?;
                Value::Null
            }
            Kind::Boolean => Value::Boolean(self.scanner.boolean()?),
            Kind::Array => self.any_array(depth)?,
            Kind::Object => self.any_object(depth)?,
        })
    }

    fn any_array(&mut self, depth: u32) -> Result<Value> {
        self.scanner.open(depth)?;
        let start = self.stack.len();
        if !self.scanner.take(b']') {
            loop {
                let item = self.any(depth + 1)?;
                self.stack.push(item);
                if self.scanner.take(b']') {
                    break;
                }
                self.scanner.expect(b',', "no comma between the items of an array")?;
            }
        }
        Ok(Value::Array(self.pop(start)))
    }

    fn any_object(&mut self, depth: u32) -> Result<Value> {
        self.scanner.open(depth)?;
        let start = self.stack.len();
        if self.scanner.take(b'}') {
            return Ok(self.pop_map(start));
        }
        let object = self.shapes.begin();
        // members whose names are those of the object at this place of an earlier message: all different, and not sought
        let mut known = Some(0);
        loop {
            let name = known.and_then(|at| self.expected(object, at));
            match name {
                Some(name) => {
                    known = known.map(|at| at + 1);
                    let value = self.any(depth + 1)?;
                    self.stack.extend([Value::String(name), value]);
                }
                None => {
                    known = None;
                    let name = self.scanner.name()?;
                    let name = self.text(name)?;
                    let value = self.any(depth + 1)?;
                    self.put(start, name, value);
                }
            }
            if self.scanner.take(b'}') {
                break;
            }
            self.scanner.expect(b',', "no comma between the members of an object")?;
        }
        if known.is_none() && self.stack.len() - start <= FEW * 2 {
            let names = self.stack[start..].chunks_exact(2).map(|entry| match entry[0] {
                Value::String(name) => self.batch.bytes(name),
                _ => &[],
            });
            self.shapes.learn(object, names);
        }
        Ok(self.pop_map(start))
    }

    /// The name's place, if the next member has the name that is expected.
    #[inline]
    fn expected(&mut self, object: usize, member: usize) -> Option<Span> {
        self.scanner.skip_blanks();
        let name = self.shapes.name(object, member)?;
        if !self.scanner.text.get(self.scanner.at..)?.starts_with(name) {
            return None;
        }
        // a quote, the name, a quote and a colon
        let Span { segment, offset, .. } = self.span;
        let place = Span { segment, offset: offset + self.scanner.at as u32 + 1, len: name.len() as u32 - 3 };
        self.scanner.at += name.len();
        Some(place)
    }

    /// A member of the object whose members start at `start`: the last of a name wins.
    pub(super) fn put(&mut self, start: usize, name: Span, value: Value) {
        if self.stack.len() - start < FEW * 2 {
            let batch = &*self.batch;
            let bytes = batch.bytes(name);
            let is_it = |key: Value| matches!(key, Value::String(span) if span.len == name.len && batch.bytes(span) == bytes);
            if let Some(entry) = self.stack[start..].chunks_exact_mut(2).find(|entry| is_it(entry[0])) {
                entry[1] = value;
                return;
            }
        }
        self.stack.extend([Value::String(name), value]);
    }

    /// The entries from `start` on, whose keys are strings, become a map.
    pub(super) fn pop_map(&mut self, start: usize) -> Value {
        if self.stack.len() - start > FEW * 2 {
            let batch = &*self.batch;
            unite(self.stack, start, |key| match key {
                Value::String(span) => batch.bytes(span),
                _ => &[],
            });
        }
        self.pop_entries(start)
    }

    /// The entries from `start` on become a map; keys of any type but bytes, which are never the same to Java.
    pub(super) fn pop_pairs(&mut self, start: usize, keys: &Schema) -> Value {
        if keys.kind != Type::Bytes || keys.name.is_some() {
            let batch = &*self.batch;
            unite(self.stack, start, |key| {
                let mut text = Vec::new();
                append_java_string(batch, Some(keys), key, &mut text);
                text
            });
        }
        self.pop_entries(start)
    }

    fn pop_entries(&mut self, start: usize) -> Value {
        let range = self.pop(start);
        Value::Map(Range32 { start: range.start, len: range.len / 2 })
    }
}

/// Of entries with the same key the first place and the last value stay.
fn unite<K: Hash + Eq>(stack: &mut Vec<Value>, start: usize, name: impl Fn(Value) -> K) {
    let mut firsts = HashMap::with_capacity((stack.len() - start) / 2);
    let mut kept = start;
    for at in (start..stack.len()).step_by(2) {
        let (key, value) = (stack[at], stack[at + 1]);
        match firsts.entry(name(key)) {
            Entry::Occupied(first) => {
                let first: usize = *first.get();
                stack[first + 1] = value;
            }
            Entry::Vacant(entry) => {
                entry.insert(kept);
                stack[kept] = key;
                stack[kept + 1] = value;
                kept += 2;
            }
        }
    }
    stack.truncate(kept);
}
