//! Which binary form a field takes for a column, and which type a new column gets.

use aqueduct_engine::data::{Constant, DATE, DECIMAL, Schema, TIME, TIMESTAMP, Type, decimal_string};
use chrono::DateTime;

use super::config::Flavour;
use super::encode::{Meaning, Target, Unit};
use super::table::Column;
use crate::postgres::quote_literal;

/// Types by their fixed ids.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const XML: u32 = 142;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIME: u32 = 1083;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// How a field travels to its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transfer {
    pub(super) meaning: Meaning,
    pub(super) target: Target,
    /// Type of the parameter's elements, and of arrays of it.
    pub(super) element: u32,
    pub(super) array: u32,
    /// The server converts to this type.
    pub(super) cast: Option<String>,
}

/// The way of a field to a column; `None` if there is none.
pub(super) fn transfer(meaning: Meaning, column: &Column) -> Option<Transfer> {
    // into numbers, times go as the numbers that they are
    let meaning = match (meaning, column.base) {
        (
            Meaning::Date(Unit::Days) | Meaning::Time(Unit::Millis),
            oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC,
        ) => Meaning::Plain(Type::Int32),
        (Meaning::Time(_) | Meaning::Wall(_) | Meaning::Instant(_), oid::INT8 | oid::NUMERIC) => {
            Meaning::Plain(Type::Int64)
        }
        _ => meaning,
    };
    if let Some(target) = direct(meaning, column)
        && column.array != 0
    {
        return Some(Transfer { meaning, target, element: column.base, array: column.array, cast: None });
    }
    let (target, element, array) = natural(meaning)?;
    // no text is bytes, and the other way round: the server would take it for an escape format
    let is_bytes = meaning == Meaning::Plain(Type::Bytes);
    if is_bytes && is_text(column) {
        return None;
    }
    Some(Transfer { meaning, target, element, array, cast: Some(column.type_name.clone()) })
}

fn is_text(column: &Column) -> bool {
    matches!(column.base, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON | oid::XML)
        || column.is_enum
        || column.base_name == "citext"
}

/// The column's own form, where a value of this meaning can be written in it without the server's help.
fn direct(meaning: Meaning, column: &Column) -> Option<Target> {
    use Meaning::{Date, Decimal, Instant, Plain, Time, VariableDecimal, Wall};
    use Type::{Boolean, Bytes, Float32, Float64, Int8, Int16, Int32, Int64, String};
    let whole = matches!(meaning, Plain(Int8 | Int16 | Int32 | Int64));
    let number = whole || matches!(meaning, Plain(Float32 | Float64));
    Some(match (column.base, meaning) {
        (oid::BOOL, Plain(Boolean)) => Target::Bool,
        (oid::INT2, _) if whole => Target::Int2,
        (oid::INT4, _) if whole => Target::Int4,
        (oid::INT8, _) if whole => Target::Int8,
        (oid::OID, _) if whole => Target::Oid,
        (oid::FLOAT4, Plain(Float32 | Float64 | Int8 | Int16)) => Target::Float4,
        (oid::FLOAT8, _) if number => Target::Float8,
        (oid::NUMERIC, Decimal | VariableDecimal) => Target::Numeric,
        (oid::NUMERIC, _) if whole => Target::Numeric,
        (oid::UUID, Plain(String)) => Target::Uuid,
        (oid::JSONB, Plain(String)) => Target::Jsonb,
        (oid::BYTEA, Plain(Bytes)) => Target::Bytea,
        (oid::DATE, Date(_) | Instant(_) | Wall(_)) => Target::Date,
        (oid::TIME, Time(_) | Instant(_) | Wall(_)) => Target::Time,
        (oid::TIMESTAMP, Instant(_) | Wall(_) | Date(_)) => Target::Timestamp,
        (oid::TIMESTAMPTZ, Instant(_) | Wall(_)) => Target::TimestampTz,
        (
            oid::TEXT | oid::VARCHAR,
            Plain(String | Boolean) | Date(_) | Time(_) | Instant(_) | Wall(_) | Decimal,
        ) => Target::Text,
        (oid::TEXT | oid::VARCHAR, _) if number => Target::Text,
        (_, Plain(String)) if is_text(column) => Target::Text,
        _ => return None,
    })
}

/// The form of a value by itself: the server's casts do the rest. With ids of the type and of its arrays.
const fn natural(meaning: Meaning) -> Option<(Target, u32, u32)> {
    Some(match meaning {
        Meaning::Plain(kind) => match kind {
            Type::Boolean => (Target::Bool, oid::BOOL, 1000),
            Type::Int8 | Type::Int16 => (Target::Int2, oid::INT2, 1005),
            Type::Int32 => (Target::Int4, oid::INT4, 1007),
            Type::Int64 => (Target::Int8, oid::INT8, 1016),
            Type::Float32 => (Target::Float4, oid::FLOAT4, 1021),
            Type::Float64 => (Target::Float8, oid::FLOAT8, 1022),
            Type::String => (Target::Text, oid::TEXT, 1009),
            Type::Bytes => (Target::Bytea, oid::BYTEA, 1001),
            Type::Array => (Target::ArrayText, oid::TEXT, 1009),
            Type::Map | Type::Struct => return None,
        },
        Meaning::Decimal | Meaning::VariableDecimal => (Target::Numeric, oid::NUMERIC, 1231),
        Meaning::Date(_) => (Target::Date, oid::DATE, 1182),
        Meaning::Time(_) => (Target::Time, oid::TIME, 1183),
        Meaning::Instant(_) | Meaning::Wall(_) => (Target::Timestamp, oid::TIMESTAMP, 1115),
    })
}

/// The declaration of a new column for a schema; `None` if there is no type for it.
pub(super) fn declared(schema: &Schema, flavour: Flavour, is_timestamp: bool) -> Option<String> {
    if flavour == Flavour::Debezium {
        return debezium_type(schema);
    }
    let name = schema.name.as_deref().unwrap_or_default();
    let text = match (schema.kind, name) {
        (Type::Bytes, DECIMAL) => "DECIMAL",
        (Type::Int32, DATE) => "DATE",
        (Type::Int32, TIME) => "TIME",
        (Type::Int64, TIMESTAMP) => "TIMESTAMP",
        (Type::Int64 | Type::String, _) if is_timestamp => "TIMESTAMP",
        (Type::Array, _) => {
            let element = schema.value.as_deref()?;
            let simple = !matches!(element.kind, Type::Array | Type::Map | Type::Struct | Type::Bytes);
            return simple
                .then(|| declared(element, flavour, false))
                .flatten()
                .map(|element| format!("{element}[]"));
        }
        (kind, _) => primitive(kind)?,
    };
    Some(text.to_owned())
}

const fn primitive(kind: Type) -> Option<&'static str> {
    Some(match kind {
        Type::Int8 | Type::Int16 => "SMALLINT",
        Type::Int32 => "INT",
        Type::Int64 => "BIGINT",
        Type::Float32 => "REAL",
        Type::Float64 => "DOUBLE PRECISION",
        Type::Boolean => "BOOLEAN",
        Type::String => "TEXT",
        Type::Bytes => "BYTEA",
        Type::Array | Type::Map | Type::Struct => return None,
    })
}

/// As Debezium's JDBC sink declares columns.
fn debezium_type(schema: &Schema) -> Option<String> {
    let parameter = |name: &str| schema.parameters.get(name).map(|value| &**value);
    let name = schema.name.as_deref().unwrap_or_default();
    let text = match (schema.kind, name) {
        (Type::Bytes, DECIMAL) => {
            let scale = parameter("scale").unwrap_or("0");
            return Some(match parameter("connect.decimal.precision") {
                Some(precision) => format!("decimal({precision},{scale})"),
                None => format!("decimal(38,{scale})"),
            });
        }
        (Type::Struct, "io.debezium.data.VariableScaleDecimal") => "numeric",
        (Type::Int32, DATE | "io.debezium.time.Date") => "date",
        (Type::Int32, TIME | "io.debezium.time.Time") => "time(6)",
        (Type::Int64, "io.debezium.time.MicroTime" | "io.debezium.time.NanoTime") => "time(6)",
        (Type::Int64, TIMESTAMP | "io.debezium.time.Timestamp") => "timestamp(6)",
        (Type::Int64, "io.debezium.time.MicroTimestamp" | "io.debezium.time.NanoTimestamp") => "timestamp(6)",
        (Type::String, "io.debezium.time.ZonedTimestamp") => "timestamp(6) with time zone",
        (Type::String, "io.debezium.time.ZonedTime") => "time(6) with time zone",
        (Type::String, "io.debezium.time.Interval") => "interval",
        (Type::String, "io.debezium.data.Json") => "json",
        (Type::String, "io.debezium.data.Xml") => "xml",
        (Type::String, "io.debezium.data.Uuid") => "uuid",
        (Type::String, "io.debezium.data.Ltree") => "ltree",
        (Type::Array, _) => {
            let element = schema.value.as_deref()?;
            let simple = !matches!(element.kind, Type::Array | Type::Map | Type::Struct);
            return simple.then(|| debezium_type(element)).flatten().map(|element| format!("{element}[]"));
        }
        (Type::Int32, _) => "integer",
        (kind, _) => return primitive(kind).map(str::to_lowercase),
    };
    Some(text.to_owned())
}

/// A default as a literal; `None` if it has no text form here.
pub(super) fn literal(schema: &Schema, value: &Constant) -> Option<String> {
    Some(match value {
        Constant::Boolean(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        Constant::Int8(number) => number.to_string(),
        Constant::Int16(number) => number.to_string(),
        Constant::Int32(number) => number.to_string(),
        Constant::Int64(number) => number.to_string(),
        Constant::Float32(number) if number.is_finite() => number.to_string(),
        Constant::Float64(number) if number.is_finite() => number.to_string(),
        Constant::String(text) => quote_literal(text).trim_start().to_owned(),
        Constant::Decimal(unscaled, scale) => decimal_string(unscaled, *scale),
        Constant::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{digits}'::bytea")
        }
        Constant::Date(ms) => {
            let format = match schema.name.as_deref() {
                Some(DATE) => "%Y-%m-%d",
                Some(TIME) => "%H:%M:%S%.3f",
                _ => "%Y-%m-%d %H:%M:%S%.3f",
            };
            format!("'{}'", DateTime::from_timestamp_millis(*ms)?.format(format))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_engine::data::SchemaBuilder;

    fn column(base: u32, array: u32, type_name: &str) -> Column {
        Column {
            name: "c".into(),
            type_name: type_name.into(),
            base,
            base_name: type_name.into(),
            array,
            is_enum: false,
            is_array: false,
            generated: false,
            always_identity: false,
        }
    }

    #[test]
    fn ways_to_columns() {
        let way = |meaning, base, array, name| {
            transfer(meaning, &column(base, array, name)).map(|way| (way.target, way.array, way.cast))
        };
        let text = Meaning::Plain(Type::String);
        assert_eq!(
            way(Meaning::Plain(Type::Int32), oid::INT8, 1016, "bigint"),
            Some((Target::Int8, 1016, None))
        );
        assert_eq!(way(text, oid::UUID, 2951, "uuid"), Some((Target::Uuid, 2951, None)));
        assert_eq!(way(text, 869, 1041, "inet"), Some((Target::Text, 1009, Some("inet".into()))));
        assert_eq!(way(text, oid::INT4, 1007, "integer"), Some((Target::Text, 1009, Some("integer".into()))));
        assert_eq!(way(Meaning::Decimal, oid::FLOAT8, 1022, "double precision").unwrap().0, Target::Numeric);
        assert_eq!(way(Meaning::Wall(Unit::Micros), oid::INT8, 1016, "bigint").unwrap().0, Target::Int8);
        assert_eq!(way(Meaning::Plain(Type::Bytes), oid::TEXT, 1009, "text"), None);
        assert_eq!(way(Meaning::Plain(Type::Struct), oid::JSONB, 3807, "jsonb"), None);
        assert_eq!(
            way(Meaning::Plain(Type::Array), 1007, 0, "integer[]"),
            Some((Target::ArrayText, 1009, Some("integer[]".into())))
        );
    }

    #[test]
    fn declarations() {
        let confluent = |schema: &Schema| declared(schema, Flavour::Confluent, false);
        assert_eq!(confluent(&SchemaBuilder::decimal(2).build()).as_deref(), Some("DECIMAL"));
        assert_eq!(confluent(&SchemaBuilder::timestamp().build()).as_deref(), Some("TIMESTAMP"));
        assert_eq!(declared(&Schema::string(), Flavour::Confluent, true).as_deref(), Some("TIMESTAMP"));
        assert_eq!(confluent(&SchemaBuilder::array(Schema::string()).build()).as_deref(), Some("TEXT[]"));
        assert_eq!(confluent(&SchemaBuilder::structure().build()), None);
        let decimal = SchemaBuilder::decimal(2).parameter("connect.decimal.precision", "10").build();
        assert_eq!(declared(&decimal, Flavour::Debezium, false).as_deref(), Some("decimal(10,2)"));
    }

    #[test]
    fn defaults() {
        let text = Schema::string();
        assert_eq!(literal(&text, &Constant::String("it's".into())).as_deref(), Some("'it''s'"));
        assert_eq!(literal(&text, &Constant::Boolean(true)).as_deref(), Some("TRUE"));
        assert_eq!(
            literal(&SchemaBuilder::date().build(), &Constant::Date(0)).as_deref(),
            Some("'1970-01-01'")
        );
        assert_eq!(literal(&text, &Constant::Null), None);
    }
}
