//! One schema for the items of an array or a map, and the items made to fit it.

use super::parse::{Literal, Refused};
use crate::data::{Constant, DATE, SchemaBuilder, SchemaRef, TIME, TIMESTAMP, Type};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// The schema that all items so far have in common.
#[derive(Debug, Default)]
pub(super) struct Merger {
    common: Option<SchemaRef>,
    apart: bool,
}

impl Merger {
    pub(super) fn merge(&mut self, item: Option<&Literal>) {
        let Some(item) = item.filter(|_| !self.apart) else { return };
        self.common = match self.common.take() {
            None => Some(SchemaRef::clone(&item.schema)),
            Some(common) => wider(common, &item.schema),
        };
        self.apart = self.common.is_none();
    }

    pub(super) const fn schema(&self) -> Option<&SchemaRef> {
        self.common.as_ref()
    }
}

/// Numbers widen in this order.
const fn rank(kind: Type) -> Option<u8> {
    Some(match kind {
        Type::Int8 => 0,
        Type::Int16 => 1,
        Type::Int32 => 2,
        Type::Int64 => 3,
        Type::Float32 => 4,
        Type::Float64 => 5,
        _ => return None,
    })
}

fn wider(common: SchemaRef, new: &SchemaRef) -> Option<SchemaRef> {
    if common.kind == new.kind {
        return Some(SchemaRef::clone(new));
    }
    let (old_rank, new_rank) = (rank(common.kind)?, rank(new.kind)?);
    Some(if new_rank > old_rank { SchemaRef::clone(new) } else { common })
}

pub(super) fn align(schema: &SchemaRef, items: Vec<Constant>) -> Result<Vec<Constant>, Refused> {
    items.into_iter().map(|item| fit(schema, item).ok_or(Refused::Malformed)).collect()
}

pub(super) fn map(
    keys: &Merger,
    values: &Merger,
    entries: Vec<(Constant, Constant)>,
) -> Result<Literal, Refused> {
    let (builder, entries) = match (keys.schema(), values.schema()) {
        (Some(keys), values) => {
            let mut aligned = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key = fit(keys, key).ok_or(Refused::Malformed)?;
                let value = match values {
                    Some(values) => fit(values, value).ok_or(Refused::Malformed)?,
                    None => value,
                };
                put(&mut aligned, key, value);
            }
            let builder = match values {
                Some(values) => SchemaBuilder::map(SchemaRef::clone(keys), SchemaRef::clone(values)),
                None => SchemaBuilder::new(Type::Map).key(SchemaRef::clone(keys)),
            };
            (builder, aligned)
        }
        (None, _) => (SchemaBuilder::new(Type::Map), entries),
    };
    Ok(Literal { schema: builder.build(), value: Constant::Map(entries) })
}

/// A later value takes the place of an earlier one of the same key.
pub(super) fn put(entries: &mut Vec<(Constant, Constant)>, key: Constant, value: Constant) {
    match entries.iter_mut().find(|(known, _)| *known == key) {
        Some(entry) => entry.1 = value,
        None => entries.push((key, value)),
    }
}

const fn whole(value: &Constant) -> Option<i64> {
    Some(match value {
        Constant::Int8(value) => *value as i64,
        Constant::Int16(value) => *value as i64,
        Constant::Int32(value) => *value as i64,
        Constant::Int64(value) => *value,
        _ => return None,
    })
}

/// The value as one of the schema's type; `None` where Connect refuses it. Arrays and maps stay as they are.
fn fit(schema: &SchemaRef, value: Constant) -> Option<Constant> {
    if let (Some(name), Constant::Date(_)) = (&schema.name, &value) {
        return [DATE, TIME, TIMESTAMP].contains(&&**name).then_some(value);
    }
    if let Some(name) = &schema.name
        && let Some(number) = whole(&value)
    {
        match &**name {
            DATE => return Some(Constant::Date(i64::from(number as i32) * DAY)),
            TIME => return (0..=DAY).contains(&i64::from(number as i32)).then_some(Constant::Date(number)),
            TIMESTAMP => return Some(Constant::Date(number)),
            _ => {}
        }
    }
    Some(match (schema.kind, value) {
        (_, Constant::Null | Constant::Date(_)) => return None,
        (Type::Int16, value) => Constant::Int16(whole(&value)? as i16),
        (Type::Int32, value) => Constant::Int32(whole(&value)? as i32),
        (Type::Int64, value) => Constant::Int64(whole(&value)?),
        (Type::Float32, Constant::Float32(value)) => Constant::Float32(value),
        (Type::Float32, value) => Constant::Float32(whole(&value)? as f64 as f32),
        (Type::Float64, Constant::Float64(value)) => Constant::Float64(value),
        (Type::Float64, Constant::Float32(value)) => Constant::Float64(value.into()),
        (Type::Float64, value) => Constant::Float64(whole(&value)? as f64),
        (_, value) => value,
    })
}
