//! Mappings from Connect schemas.

use aqueduct_engine::data::{Constant, DATE, DECIMAL, Schema, TIME, TIMESTAMP, Type, decimal_string};
use serde_json::{Map, Value as Json, json};

/// Most schemas inside each other; Connect's schemas are trees, and clusters take 20 levels unless told otherwise.
const MOST_DEPTH: u32 = 100;

/// The body of a mapping request; `None` for a schema that is nested too deeply.
pub(super) fn of(schema: &Schema) -> Option<Json> {
    node(schema, 0)
}

fn node(schema: &Schema, depth: u32) -> Option<Json> {
    if depth > MOST_DEPTH {
        return None;
    }
    match schema.name.as_deref() {
        Some(DATE | TIME | TIMESTAMP) => return Some(primitive("date", schema)),
        Some(DECIMAL) => return Some(primitive("double", schema)),
        _ => {}
    }
    let below = |schema: &Option<aqueduct_engine::data::SchemaRef>| {
        schema.as_ref().map_or(Some(json!({})), |schema| node(schema, depth + 1))
    };
    Some(match schema.kind {
        Type::Array => return below(&schema.value),
        Type::Map => json!({"properties": {"key": below(&schema.key)?, "value": below(&schema.value)?}}),
        Type::Struct => {
            let mut properties = Map::new();
            for field in &schema.fields {
                properties.insert(field.name.to_string(), node(&field.schema, depth + 1)?);
            }
            json!({"properties": properties})
        }
        Type::Boolean => primitive("boolean", schema),
        Type::Int8 => primitive("byte", schema),
        Type::Int16 => primitive("short", schema),
        Type::Int32 => primitive("integer", schema),
        Type::Int64 => primitive("long", schema),
        Type::Float32 => primitive("float", schema),
        Type::Float64 => primitive("double", schema),
        Type::String => {
            json!({"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}})
        }
        Type::Bytes => json!({"type": "binary"}),
    })
}

fn primitive(kind: &str, schema: &Schema) -> Json {
    let mut node = Map::new();
    node.insert("type".to_owned(), kind.into());
    let default = match &schema.default {
        Some(Constant::Boolean(value)) => Some(Json::from(*value)),
        Some(Constant::Int8(value)) => Some(Json::from(*value)),
        Some(Constant::Int16(value)) => Some(Json::from(*value)),
        Some(Constant::Int32(value)) => Some(Json::from(*value)),
        Some(Constant::Int64(value) | Constant::Date(value)) => Some(Json::from(*value)),
        Some(Constant::Float32(value)) => Some(Json::from(*value)),
        Some(Constant::Float64(value)) => Some(Json::from(*value)),
        Some(Constant::Decimal(unscaled, scale)) => {
            decimal_string(unscaled, *scale).parse::<f64>().ok().map(Json::from)
        }
        _ => None,
    };
    // what is no number in JSON has no place here
    if let Some(default) = default.filter(|default| !default.is_null()) {
        node.insert("null_value".to_owned(), default);
    }
    Json::Object(node)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aqueduct_engine::data::SchemaBuilder as B;

    use super::*;

    #[test]
    fn of_every_type() {
        let p = |kind| Arc::clone(Schema::primitive(kind, true));
        let schema = B::structure()
            .field("id", B::new(Type::Int64).default_value(Some(Constant::Int64(7))).build())
            .field("name", p(Type::String))
            .field("at", B::timestamp().default_value(Some(Constant::Date(5))).build())
            .field("price", B::decimal(2).default_value(Some(Constant::Decimal([0x7b].into(), 2))).build())
            .field("raw", p(Type::Bytes))
            .field("tags", B::array(p(Type::Int8)).build())
            .field("map", B::map(p(Type::String), p(Type::Float32)).build())
            .field("in", B::structure().field("ok", p(Type::Boolean)).build())
            .field("debezium", B::new(Type::Int64).name("io.debezium.time.MicroTimestamp").build())
            .build();
        let text = json!({"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}});
        assert_eq!(
            of(&schema).unwrap(),
            json!({"properties": {
                "id": {"type": "long", "null_value": 7},
                "name": text,
                "at": {"type": "date", "null_value": 5},
                "price": {"type": "double", "null_value": 1.23},
                "raw": {"type": "binary"},
                "tags": {"type": "byte"},
                "map": {"properties": {"key": text, "value": {"type": "float"}}},
                "in": {"properties": {"ok": {"type": "boolean"}}},
                "debezium": {"type": "long"},
            }})
        );
    }

    #[test]
    fn too_deep() {
        let mut schema = Arc::clone(Schema::primitive(Type::Int8, false));
        for _ in 0..200 {
            schema = B::array(schema).build();
        }
        assert_eq!(of(&schema), None);
    }
}
