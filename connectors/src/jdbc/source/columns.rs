//! The columns of a result: what schema each has, and how its bytes become a value.

use std::collections::HashMap;
use std::sync::Arc;

use aqueduct_engine::data::{Schema, SchemaBuilder, SchemaRef, Type};

use super::config::{Granularity, NumericMapping, Settings};
use super::decode::{Decoder, Moment};
use crate::postgres::{PgError, ResultColumn, Wire};

/// Types that fit a Connect type are known by their ids.
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
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const MONEY: u32 = 790;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIME: u32 = 1083;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const TIMETZ: u32 = 1266;
    pub(super) const BIT: u32 = 1560;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// A column of the result.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// `None`: there is no type for it in Connect, and it is left out.
    pub(super) decoder: Option<Decoder>,
    /// For comparing with bounds.
    pub(super) moment: Option<Moment>,
    pub(super) not_null: bool,
    /// Serial or identity.
    pub(super) numbers_itself: bool,
}

/// The columns of a result, and the schema of its rows.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) all: Vec<Column>,
    pub(super) schema: SchemaRef,
    described: Vec<ResultColumn>,
    /// What the catalog says of columns may change without their description.
    nullability: Vec<(bool, bool)>,
}

/// What the catalog knows of a table's column.
#[derive(Debug, Clone, Copy, Default)]
struct Fact {
    not_null: bool,
    numbers_itself: bool,
}

impl Columns {
    /// Describes a statement. What was known before is given again if nothing has changed, so that its schema stays the same.
    pub(super) async fn of(
        wire: &mut Wire,
        settings: &Settings,
        sql: &str,
        name: Option<&str>,
        known: Option<&Arc<Columns>>,
    ) -> Result<Arc<Columns>, PgError> {
        let described = wire.describe(sql).await?;
        let facts = facts(wire, &described).await?;
        let fact =
            |column: &ResultColumn| facts.get(&(column.table, column.number)).copied().unwrap_or_default();
        let nullability: Vec<(bool, bool)> =
            described.iter().map(|column| (fact(column).not_null, fact(column).numbers_itself)).collect();
        if let Some(known) = known
            && known.described == described
            && known.nullability == nullability
        {
            return Ok(Arc::clone(known));
        }
        let enums = enums(wire, &described).await?;
        let mut builder = SchemaBuilder::structure();
        if let Some(name) = name {
            builder = builder.name(name);
        }
        let mut all = Vec::with_capacity(described.len());
        for column in &described {
            let fact = fact(column);
            let is_enum = enums.contains(&column.type_id);
            let mapped = mapped(settings, column, is_enum);
            let decoder = mapped.map(|(field, decoder)| {
                let field = field.set_optional(!fact.not_null).build();
                let field = simple(field);
                builder = builder.clone().field(column.name.as_str(), field);
                decoder
            });
            if decoder.is_none() {
                tracing::warn!(
                    column = column.name,
                    type_id = column.type_id,
                    "there is no type for the column in Connect: it is left out; a query can cast it (column::text)"
                );
            }
            let moment = match column.type_id {
                oid::DATE => Some(Moment::Date),
                oid::TIMESTAMP => Some(Moment::Wall),
                oid::TIMESTAMPTZ => Some(Moment::Instant),
                _ => None,
            };
            all.push(Column {
                name: column.name.clone(),
                decoder,
                moment,
                not_null: fact.not_null,
                numbers_itself: fact.numbers_itself,
            });
        }
        Ok(Arc::new(Columns { all, schema: builder.build(), described, nullability }))
    }

    /// The column of that name, or the only one that differs in case.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let exact = self.all.iter().position(|column| column.name == name);
        exact.or_else(|| {
            let alike = |column: &Column| column.name.eq_ignore_ascii_case(name);
            let first = self.all.iter().position(alike)?;
            (!self.all[first + 1..].iter().any(alike)).then_some(first)
        })
    }
}

/// Schemas that say nothing but their type are Connect's own constants.
fn simple(schema: SchemaRef) -> SchemaRef {
    if Type::PRIMITIVES.contains(&schema.kind) {
        let constant = Schema::primitive(schema.kind, schema.optional);
        if **constant == *schema {
            return Arc::clone(constant);
        }
    }
    schema
}

async fn facts(wire: &mut Wire, described: &[ResultColumn]) -> Result<HashMap<(u32, i16), Fact>, PgError> {
    let mut tables: Vec<String> =
        described.iter().filter(|column| column.table != 0).map(|column| column.table.to_string()).collect();
    tables.sort();
    tables.dedup();
    if tables.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = wire
        .query(&format!(
            "SELECT a.attrelid, a.attnum, a.attnotnull, a.attidentity <> '' OR coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) \
             FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid IN ({}) AND a.attnum > 0",
            tables.join(", ")
        ))
        .await?;
    let number = |row: &[Option<String>], at: usize| {
        row.get(at).and_then(Option::as_deref).unwrap_or_default().to_owned()
    };
    let fact = |row: &Vec<Option<String>>| {
        let fact = Fact { not_null: number(row, 2) == "t", numbers_itself: number(row, 3) == "t" };
        Some(((number(row, 0).parse().ok()?, number(row, 1).parse().ok()?), fact))
    };
    Ok(rows.iter().filter_map(fact).collect())
}

/// Which of the types are enumerations.
async fn enums(wire: &mut Wire, described: &[ResultColumn]) -> Result<Vec<u32>, PgError> {
    // the first id that is not PostgreSQL's own
    const FIRST_NORMAL: u32 = 16_384;
    let own: Vec<String> = described
        .iter()
        .filter(|column| column.type_id >= FIRST_NORMAL)
        .map(|column| column.type_id.to_string())
        .collect();
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        format!("SELECT oid FROM pg_catalog.pg_type WHERE typtype = 'e' AND oid IN ({})", own.join(", "));
    let rows = wire.query(&sql).await?;
    Ok(rows.iter().filter_map(|row| row.first()?.as_deref()?.parse().ok()).collect())
}

/// The schema and the way to a value.
fn mapped(settings: &Settings, column: &ResultColumn, is_enum: bool) -> Option<(SchemaBuilder, Decoder)> {
    let plain = |kind: Type, decoder: Decoder| Some((SchemaBuilder::new(kind), decoder));
    match column.type_id {
        oid::BOOL => plain(Type::Boolean, Decoder::Boolean),
        oid::INT2 => plain(Type::Int16, Decoder::Int16),
        oid::INT4 => plain(Type::Int32, Decoder::Int32),
        oid::INT8 => plain(Type::Int64, Decoder::Int64),
        oid::OID => plain(Type::Int64, Decoder::Oid),
        oid::FLOAT4 => plain(Type::Float32, Decoder::Float32),
        oid::FLOAT8 => plain(Type::Float64, Decoder::Float64),
        oid::MONEY => plain(Type::Float64, Decoder::Money),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON | oid::XML | oid::UNKNOWN => {
            plain(Type::String, Decoder::Text)
        }
        oid::JSONB => plain(Type::String, Decoder::Jsonb),
        oid::UUID => plain(Type::String, Decoder::Uuid),
        oid::BYTEA => plain(Type::Bytes, Decoder::Bytes),
        oid::BIT => match column.modifier {
            1 => plain(Type::Boolean, Decoder::Bit),
            2..=8 => plain(Type::Int8, Decoder::ShortBits),
            _ => plain(Type::Bytes, Decoder::Bits),
        },
        oid::DATE => Some((SchemaBuilder::date(), Decoder::Date)),
        oid::TIME => Some((SchemaBuilder::time(), Decoder::Time(settings.zone))),
        oid::TIMETZ => Some((SchemaBuilder::time(), Decoder::TimeTz)),
        oid::TIMESTAMP => Some(timestamp(settings, Moment::Wall)),
        oid::TIMESTAMPTZ => Some(timestamp(settings, Moment::Instant)),
        oid::NUMERIC => Some(numeric(settings.numeric, column.modifier)),
        _ if is_enum => plain(Type::String, Decoder::Text),
        _ => None,
    }
}

fn timestamp(settings: &Settings, moment: Moment) -> (SchemaBuilder, Decoder) {
    let schema = match settings.granularity {
        Granularity::Logical => SchemaBuilder::timestamp(),
        Granularity::Long(_) => SchemaBuilder::new(Type::Int64),
        Granularity::Text(_) | Granularity::Iso(_) => SchemaBuilder::new(Type::String),
    };
    (schema, Decoder::Timestamp { moment, granularity: settings.granularity, zone: settings.zone })
}

/// Precision and scale as JDBC reports them: 0 and 0 where none are declared.
fn numeric(mapping: NumericMapping, modifier: i32) -> (SchemaBuilder, Decoder) {
    const UNDECLARED_SCALE: i32 = 127;
    let declared = modifier >= 4;
    let (precision, scale) = if declared {
        let packed = modifier - 4;
        // 11 bits with a sign
        (packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400)
    } else {
        (0, 0)
    };
    const LONG_DIGITS: i32 = 18;
    let whole = (-84..1).contains(&scale) && precision <= LONG_DIGITS;
    let double = (SchemaBuilder::new(Type::Float64), Decoder::NumericDouble);
    match mapping {
        NumericMapping::PrecisionOnly if scale == 0 && precision <= LONG_DIGITS => integer(precision),
        NumericMapping::BestFit if whole => integer(precision),
        NumericMapping::BestFit if scale > 0 && precision <= LONG_DIGITS => double,
        NumericMapping::BestFitEagerDouble if scale > 0 => double,
        NumericMapping::BestFitEagerDouble if whole => integer(precision),
        _ => {
            let scale = if declared { scale } else { UNDECLARED_SCALE };
            let schema = SchemaBuilder::decimal(scale)
                .parameter("connect.decimal.precision", itoa::Buffer::new().format(precision));
            (schema, Decoder::Decimal(scale))
        }
    }
}

/// The smallest integer of so many digits.
fn integer(precision: i32) -> (SchemaBuilder, Decoder) {
    let kind = match precision {
        10.. => Type::Int64,
        5.. => Type::Int32,
        3.. => Type::Int16,
        _ => Type::Int8,
    };
    (SchemaBuilder::new(kind), Decoder::NumericInteger(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_precision_and_scale() {
        use NumericMapping::{BestFit, BestFitEagerDouble, None, PrecisionOnly};
        let of = |mapping, precision: i32, scale: i32| {
            let modifier = if precision == 0 { -1 } else { (precision << 16 | scale & 0x7FF) + 4 };
            numeric(mapping, modifier).1
        };
        let int = Decoder::NumericInteger;
        assert_eq!(of(None, 10, 2), Decoder::Decimal(2));
        assert_eq!(of(None, 0, 0), Decoder::Decimal(127));
        assert_eq!(of(None, 5, -2), Decoder::Decimal(-2));
        assert_eq!(of(PrecisionOnly, 10, 0), int(Type::Int64));
        assert_eq!(of(PrecisionOnly, 9, 0), int(Type::Int32));
        assert_eq!(of(PrecisionOnly, 4, 0), int(Type::Int16));
        assert_eq!(of(PrecisionOnly, 2, 0), int(Type::Int8));
        assert_eq!(of(PrecisionOnly, 19, 0), Decoder::Decimal(0));
        assert_eq!(of(PrecisionOnly, 4, 2), Decoder::Decimal(2));
        assert_eq!(of(BestFit, 18, 2), Decoder::NumericDouble);
        assert_eq!(of(BestFit, 19, 2), Decoder::Decimal(2));
        assert_eq!(of(BestFitEagerDouble, 30, 2), Decoder::NumericDouble);
        assert_eq!(of(BestFitEagerDouble, 30, 0), Decoder::Decimal(0));
        assert_eq!(of(BestFit, 0, 0), int(Type::Int8));
    }
}
