//! A column's plan: the schema of its field and how its bytes are read, made once per table version.

use std::sync::Arc;

use aqueduct_engine::data::{
    Batch, Constant, DATE, DECIMAL, Schema, SchemaBuilder, SchemaRef, Span, TIME, TIMESTAMP, Type, Value,
};

use super::decoder::{BinaryMode, Cell, Decoder, Format, unavailable};
use super::geometry::Shape;
use super::mask::{Hash, Mask};
use super::numeric::DecimalMode;
use super::range::Bound;
use super::temporal::{DateMode, IntervalMode, TimeMode, TimestampMode, ZonedMode};
use super::{DecimalHandling, HStoreHandling, IntervalHandling, TimePrecision, TypeSettings};

/// A type as the catalogue tells it, domains resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgType {
    /// Name without schema, of an array its element's.
    pub(crate) name: Arc<str>,
    /// Whether it is an array of that.
    pub(crate) array: bool,
    /// Labels of an enum in their order.
    pub(crate) labels: Option<Vec<String>>,
    /// `atttypmod`: length, precision and scale in the type's own coding; -1 for none.
    pub(crate) modifier: i32,
}

/// A column as the catalogue tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnInfo {
    /// Name.
    pub(crate) name: String,
    /// Type.
    pub(crate) data_type: PgType,
    /// NOT NULL.
    pub(crate) required: bool,
    /// Expression of its default.
    pub(crate) default: Option<String>,
}

/// A field of the row's schema and where it comes from.
#[derive(Debug)]
pub(crate) struct ColumnPlan {
    /// The column's name.
    pub(crate) name: Arc<str>,
    /// The field's schema.
    pub(crate) schema: SchemaRef,
    decoder: Decoder,
    /// What a NULL becomes; other than null where the column is required.
    null: Constant,
    masked: Option<Mask>,
}

/// A value that cannot be read as its column's type.
#[derive(Debug, thiserror::Error)]
#[error("column {column}: the server sent {length} bytes that are not of its type")]
pub(crate) struct Unreadable {
    column: Arc<str>,
    length: usize,
}

impl ColumnPlan {
    /// The plan; `None` for a type that is left out.
    pub(crate) fn new(info: &ColumnInfo, settings: &TypeSettings, mask: Option<Mask>) -> Option<ColumnPlan> {
        let mut described = describe(&info.data_type, settings)?;
        if let Some(mask) = &mask {
            let (name, value) = mask.parameter();
            described.schema = described.schema.parameter(name, &value);
        }
        let optional = !info.required;
        let default = info.default.as_deref().and_then(|expression| default_value(expression, &described));
        if let Some(constant) = &default {
            described.schema = described.schema.default_value(Some(constant.clone()));
        }
        let null = match default {
            _ if optional => Constant::Null,
            Some(constant) => constant,
            None => described.zero.clone(),
        };
        let schema = described.schema.set_optional(optional).build();
        let text = schema.kind == Type::String && is_characters(&info.data_type);
        let mask = mask.map(|mask| match mask {
            Mask::Hash(hash) => Mask::Hash(Hash { most: length(&info.data_type), ..hash }),
            mask => mask,
        });
        Some(ColumnPlan {
            name: Arc::from(&*info.name),
            schema,
            decoder: described.decoder,
            null,
            masked: mask.filter(|_| text),
        })
    }

    /// Reads a value.
    pub(crate) fn decode(&self, batch: &mut Batch, cell: Cell<'_>) -> Result<Value, Unreadable> {
        let value = self
            .decoder
            .decode(batch, cell)
            .ok_or_else(|| Unreadable { column: Arc::clone(&self.name), length: cell.bytes.len() })?;
        let value = match &self.masked {
            Some(mask) => mask.apply(batch, value),
            None => value,
        };
        Ok(if value.is_null() { self.null(batch) } else { value })
    }

    /// What NULL becomes.
    pub(crate) fn null(&self, batch: &mut Batch) -> Value {
        match &self.masked {
            // whether there was a value is hidden too
            Some(mask @ Mask::Asterisks(_)) => mask.apply(batch, Value::String(Span::default())),
            _ => batch.put_constant(&self.null),
        }
    }

    /// What a TOASTed value becomes that the server did not send.
    pub(crate) fn unavailable(&self, batch: &mut Batch, placeholder: &[u8]) -> Value {
        match unavailable(&self.decoder, batch, placeholder) {
            Value::Null => self.null(batch),
            value => self.masked.as_ref().map_or(value, |mask| mask.apply(batch, value)),
        }
    }
}

/// Whether it is one of the types of characters: others are not masked, though their values may be texts.
fn is_characters(data_type: &PgType) -> bool {
    let named = ["text", "varchar", "bpchar", "name", "char"].contains(&&*data_type.name);
    !data_type.array && (named || data_type.labels.is_some())
}

/// Characters that a column takes at most.
fn length(data_type: &PgType) -> usize {
    match (&*data_type.name, usize::try_from(data_type.modifier)) {
        // the modifier counts a header of four bytes
        ("varchar" | "bpchar", Ok(modifier)) => modifier.saturating_sub(4),
        _ => usize::MAX,
    }
}

struct Described {
    decoder: Decoder,
    schema: SchemaBuilder,
    /// What stands for null where null is not allowed.
    zero: Constant,
}

fn plain(decoder: Decoder, kind: Type, zero: Constant) -> Described {
    Described { decoder, schema: SchemaBuilder::new(kind), zero }
}

fn named(decoder: Decoder, kind: Type, zero: Constant, name: &str) -> Described {
    Described { decoder, schema: SchemaBuilder::new(kind).name(name).version(1), zero }
}

fn text(decoder: Decoder) -> Described {
    plain(decoder, Type::String, Constant::String("".into()))
}

fn named_text(decoder: Decoder, name: &str) -> Described {
    named(decoder, Type::String, Constant::String("".into()), name)
}

fn describe(data_type: &PgType, settings: &TypeSettings) -> Option<Described> {
    if data_type.array {
        let element = PgType { array: false, ..data_type.clone() };
        if ["money", "name", "interval", "varbit", "bit", "xml", "point", "refcursor"]
            .contains(&&*element.name)
        {
            return unknown(settings);
        }
        let inner = describe(&element, settings)?;
        let schema = SchemaBuilder::array(inner.schema.set_optional(element.labels.is_none()).build());
        return Some(Described {
            decoder: Decoder::Array(Box::new(inner.decoder)),
            schema,
            zero: Constant::Array(Vec::new()),
        });
    }
    if let Some(labels) = &data_type.labels {
        let mut described = named_text(Decoder::Text, "io.debezium.data.Enum");
        described.schema = described.schema.parameter("allowed", &labels.join(","));
        return Some(described);
    }
    scalar(data_type, settings).or_else(|| unknown(settings))
}

fn unknown(settings: &TypeSettings) -> Option<Described> {
    settings.include_unknown.then(|| bytes_like(Decoder::Unknown(settings.binary), settings.binary))
}

fn bytes_like(decoder: Decoder, mode: BinaryMode) -> Described {
    match mode {
        BinaryMode::Bytes => plain(decoder, Type::Bytes, Constant::Bytes(Box::default())),
        _ => text(decoder),
    }
}

fn scalar(data_type: &PgType, settings: &TypeSettings) -> Option<Described> {
    let modifier = data_type.modifier;
    Some(match &*data_type.name {
        "bool" => plain(Decoder::Boolean, Type::Boolean, Constant::Boolean(false)),
        "int2" => plain(Decoder::Int16, Type::Int16, Constant::Int16(0)),
        "int4" => plain(Decoder::Int32, Type::Int32, Constant::Int32(0)),
        "int8" => plain(Decoder::Int64, Type::Int64, Constant::Int64(0)),
        "oid" => plain(Decoder::Oid, Type::Int64, Constant::Int64(0)),
        "float4" => plain(Decoder::Float32, Type::Float32, Constant::Float32(0.0)),
        "float8" => plain(Decoder::Float64, Type::Float64, Constant::Float64(0.0)),
        "text" | "varchar" | "bpchar" | "char" | "name" | "citext" => text(Decoder::Text),
        "json" => named_text(Decoder::Text, "io.debezium.data.Json"),
        "jsonb" => named_text(Decoder::VersionedText, "io.debezium.data.Json"),
        "xml" => named_text(Decoder::Text, "io.debezium.data.Xml"),
        "ltree" => named_text(Decoder::VersionedText, "io.debezium.data.Ltree"),
        "tsvector" => named_text(Decoder::TsVector, "io.debezium.data.Tsvector"),
        "uuid" => Described {
            zero: Constant::String("00000000-0000-0000-0000-000000000000".into()),
            ..named_text(Decoder::Uuid, "io.debezium.data.Uuid")
        },
        "isbn" | "isbn13" | "issn" | "ismn" | "ean13" | "upc" => text(Decoder::Text),
        "bytea" => bytes_like(Decoder::Bytea(settings.binary), settings.binary),
        "bit" | "varbit" if modifier == 1 => plain(Decoder::Bit, Type::Boolean, Constant::Boolean(false)),
        "bit" | "varbit" => bits(data_type),
        "numeric" => numeric(modifier, settings),
        "money" => money(settings),
        "date" => date(settings),
        "time" => time_of_day(modifier, settings),
        "timetz" => zoned_time(modifier, settings),
        "timestamp" => timestamp(modifier, settings),
        "timestamptz" => zoned_timestamp(modifier, settings),
        "interval" => interval(settings),
        "inet" => text(Decoder::Address { always_mask: false }),
        "cidr" => text(Decoder::Address { always_mask: true }),
        "macaddr" | "macaddr8" => text(Decoder::Mac),
        "int4range" => text(Decoder::Range(Bound::Int4)),
        "int8range" => text(Decoder::Range(Bound::Int8)),
        "numrange" => text(Decoder::Range(Bound::Numeric)),
        "daterange" => text(Decoder::Range(Bound::Date)),
        "tsrange" => text(Decoder::Range(Bound::Timestamp)),
        "tstzrange" => text(Decoder::Range(Bound::TimestampTz)),
        "hstore" => match settings.hstore {
            HStoreHandling::Json => named_text(Decoder::HStoreJson, "io.debezium.data.Json"),
            HStoreHandling::Map => {
                let schema = SchemaBuilder::map(Schema::string(), Schema::optional_string());
                Described { decoder: Decoder::HStoreMap, schema, zero: Constant::Map(Vec::new()) }
            }
        },
        "vector" => vector(Decoder::DoubleVector, Type::Float64, "io.debezium.data.DoubleVector"),
        "halfvec" => vector(Decoder::FloatVector, Type::Float32, "io.debezium.data.FloatVector"),
        other => return shape(other),
    })
}

fn vector(decoder: Decoder, element: Type, name: &str) -> Described {
    let schema = SchemaBuilder::array(SchemaBuilder::new(element).build()).name(name).version(1);
    Described { decoder, schema, zero: Constant::Array(Vec::new()) }
}

fn bits(data_type: &PgType) -> Described {
    let padded = &*data_type.name == "bit";
    let zero = Constant::Bytes(Box::default());
    let mut described = named(Decoder::Bits { padded }, Type::Bytes, zero, "io.debezium.data.Bits");
    // an unlimited varbit has Integer.MAX_VALUE
    let length = if data_type.modifier > 0 { data_type.modifier } else { i32::MAX };
    described.schema = described.schema.parameter("length", &length.to_string());
    described
}

fn decimal_schema(scale: i32, precision: Option<i32>) -> SchemaBuilder {
    let schema =
        SchemaBuilder::new(Type::Bytes).name(DECIMAL).version(1).parameter("scale", &scale.to_string());
    match precision {
        Some(precision) => schema.parameter("connect.decimal.precision", &precision.to_string()),
        None => schema,
    }
}

fn numeric(modifier: i32, settings: &TypeSettings) -> Described {
    let simple = |mode: DecimalMode| match mode {
        DecimalMode::Double => plain(Decoder::Numeric(mode), Type::Float64, Constant::Float64(0.0)),
        _ => plain(Decoder::Numeric(mode), Type::String, Constant::String("0".into())),
    };
    match settings.decimal {
        DecimalHandling::Double => simple(DecimalMode::Double),
        DecimalHandling::Text => simple(DecimalMode::Text),
        DecimalHandling::Precise if modifier < 4 => {
            let schema = SchemaBuilder::structure()
                .name("io.debezium.data.VariableScaleDecimal")
                .version(1)
                .doc("Variable scaled decimal")
                .field("scale", SchemaBuilder::new(Type::Int32).build())
                .field("value", SchemaBuilder::new(Type::Bytes).build());
            let zero = Constant::Struct(vec![Constant::Int32(0), Constant::Bytes(Box::new([0]))]);
            Described { decoder: Decoder::Numeric(DecimalMode::Variable), schema, zero }
        }
        DecimalHandling::Precise => {
            let (precision, scale) = precision_and_scale(modifier);
            let zero = Constant::Decimal(Box::new([0]), scale);
            Described {
                decoder: Decoder::Numeric(DecimalMode::Fixed(scale)),
                schema: decimal_schema(scale, Some(precision)),
                zero,
            }
        }
    }
}

/// From a numeric's modifier; the scale has 11 bits, signed.
fn precision_and_scale(modifier: i32) -> (i32, i32) {
    let packed = modifier - 4;
    ((packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400)
}

fn money(settings: &TypeSettings) -> Described {
    let fraction = settings.money_fraction;
    let decoder = |mode| Decoder::Money { mode, fraction };
    match settings.decimal {
        DecimalHandling::Double => plain(decoder(DecimalMode::Double), Type::Float64, Constant::Float64(0.0)),
        DecimalHandling::Text => {
            plain(decoder(DecimalMode::Text), Type::String, Constant::String("0".into()))
        }
        DecimalHandling::Precise => Described {
            decoder: decoder(DecimalMode::Fixed(fraction)),
            schema: decimal_schema(fraction, None),
            zero: Constant::Decimal(Box::new([0]), fraction),
        },
    }
}

/// Fields of the structured forms, all optional.
fn structured(name: &str, fields: &[(&str, Type)]) -> SchemaBuilder {
    let start = SchemaBuilder::structure().name(&format!("io.debezium.time.{name}")).version(1);
    fields
        .iter()
        .fold(start, |schema, (name, kind)| schema.field(*name, SchemaBuilder::new(*kind).optional().build()))
}

const DAY_FIELDS: [(&str, Type); 3] = [("year", Type::Int32), ("month", Type::Int8), ("day", Type::Int8)];
const CLOCK_FIELDS: [(&str, Type); 4] =
    [("hour", Type::Int8), ("minute", Type::Int8), ("second", Type::Int8), ("nanos", Type::Int32)];
const SPECIAL: (&str, Type) = ("specialValue", Type::String);
const PRECISION: (&str, Type) = ("precision", Type::Int32);
const OFFSET: (&str, Type) = ("offsetSeconds", Type::Int32);

fn structured_as(decoder: Decoder, name: &str, parts: &[&[(&str, Type)]]) -> Described {
    let fields = parts.concat();
    let zero = Constant::Struct(vec![Constant::Null; fields.len()]);
    Described { decoder, schema: structured(name, &fields), zero }
}

fn date(settings: &TypeSettings) -> Described {
    match settings.time {
        TimePrecision::Connect => {
            named(Decoder::Date(DateMode::Connect), Type::Int32, Constant::Date(0), DATE)
        }
        TimePrecision::IsoString => Described {
            zero: Constant::String("1970-01-01Z".into()),
            ..named_text(Decoder::Date(DateMode::Iso), "io.debezium.time.IsoDate")
        },
        TimePrecision::Structured => {
            structured_as(Decoder::Date(DateMode::Structured), "StructuredDate", &[&DAY_FIELDS, &[SPECIAL]])
        }
        _ => named(Decoder::Date(DateMode::Days), Type::Int32, Constant::Int32(0), "io.debezium.time.Date"),
    }
}

/// Digits of a second that a column keeps.
const fn digits(modifier: i32) -> i32 {
    if modifier < 0 { 6 } else { modifier }
}

fn time_of_day(modifier: i32, settings: &TypeSettings) -> Described {
    let decoder = Decoder::Time;
    match settings.time {
        TimePrecision::Adaptive if digits(modifier) <= 3 => {
            named(decoder(TimeMode::Millis), Type::Int32, Constant::Int32(0), "io.debezium.time.Time")
        }
        TimePrecision::Adaptive | TimePrecision::AdaptiveTimeMicroseconds | TimePrecision::Microseconds => {
            named(decoder(TimeMode::Micros), Type::Int64, Constant::Int64(0), "io.debezium.time.MicroTime")
        }
        TimePrecision::Nanoseconds => {
            named(decoder(TimeMode::Nanos), Type::Int64, Constant::Int64(0), "io.debezium.time.NanoTime")
        }
        TimePrecision::Connect => named(decoder(TimeMode::Connect), Type::Int32, Constant::Date(0), TIME),
        TimePrecision::IsoString => Described {
            zero: Constant::String("00:00:00Z".into()),
            ..named_text(decoder(TimeMode::Iso), "io.debezium.time.IsoTime")
        },
        TimePrecision::Structured => structured_as(
            decoder(TimeMode::Structured(digits(modifier))),
            "StructuredTime",
            &[&CLOCK_FIELDS, &[PRECISION]],
        ),
    }
}

fn zoned_time(modifier: i32, settings: &TypeSettings) -> Described {
    if settings.time == TimePrecision::Structured {
        let decoder = Decoder::TimeTz(ZonedMode::Structured(digits(modifier)));
        return structured_as(decoder, "StructuredZonedTime", &[&CLOCK_FIELDS, &[OFFSET, PRECISION]]);
    }
    Described {
        zero: Constant::String("00:00:00Z".into()),
        ..named_text(Decoder::TimeTz(ZonedMode::Text(digits(modifier) as u8)), "io.debezium.time.ZonedTime")
    }
}

fn timestamp(modifier: i32, settings: &TypeSettings) -> Described {
    let decoder = Decoder::Timestamp;
    let adaptive = matches!(settings.time, TimePrecision::Adaptive | TimePrecision::AdaptiveTimeMicroseconds);
    match settings.time {
        _ if adaptive && digits(modifier) <= 3 => named(
            decoder(TimestampMode::Millis),
            Type::Int64,
            Constant::Int64(0),
            "io.debezium.time.Timestamp",
        ),
        TimePrecision::Nanoseconds => named(
            decoder(TimestampMode::Nanos),
            Type::Int64,
            Constant::Int64(0),
            "io.debezium.time.NanoTimestamp",
        ),
        TimePrecision::Connect => {
            named(decoder(TimestampMode::Connect), Type::Int64, Constant::Date(0), TIMESTAMP)
        }
        TimePrecision::IsoString => Described {
            zero: Constant::String("1970-01-01T00:00:00Z".into()),
            ..named_text(decoder(TimestampMode::Iso), "io.debezium.time.IsoTimestamp")
        },
        TimePrecision::Structured => structured_as(
            decoder(TimestampMode::Structured(digits(modifier))),
            "StructuredTimestamp",
            &[&DAY_FIELDS, &CLOCK_FIELDS, &[SPECIAL, PRECISION]],
        ),
        _ => named(
            decoder(TimestampMode::Micros),
            Type::Int64,
            Constant::Int64(0),
            "io.debezium.time.MicroTimestamp",
        ),
    }
}

fn zoned_timestamp(modifier: i32, settings: &TypeSettings) -> Described {
    if settings.time == TimePrecision::Structured {
        let decoder = Decoder::TimestampTz(ZonedMode::Structured(digits(modifier)));
        let zone = [OFFSET, ("zoneId", Type::String), SPECIAL, PRECISION];
        return structured_as(decoder, "StructuredZonedTimestamp", &[&DAY_FIELDS, &CLOCK_FIELDS, &zone]);
    }
    let digits = digits(modifier) as u8;
    let mut batch = Batch::default();
    let decoder = Decoder::TimestampTz(ZonedMode::Text(digits));
    let epoch = decoder.decode(&mut batch, literal_cell("1970-01-01 00:00:00+00"));
    let zero = epoch.map_or(Constant::Null, |value| constant(&batch, value));
    Described { zero, ..named_text(decoder, "io.debezium.time.ZonedTimestamp") }
}

fn interval(settings: &TypeSettings) -> Described {
    match settings.interval {
        _ if settings.time == TimePrecision::Structured => {
            let fields = [
                ("years", Type::Int32),
                ("months", Type::Int32),
                ("days", Type::Int32),
                ("hours", Type::Int32),
                ("minutes", Type::Int32),
                ("seconds", Type::Int64),
                ("nanos", Type::Int32),
                PRECISION,
            ];
            structured_as(Decoder::Interval(IntervalMode::Structured(6)), "StructuredDuration", &[&fields])
        }
        IntervalHandling::Numeric => {
            let decoder = Decoder::Interval(IntervalMode::Micros);
            named(decoder, Type::Int64, Constant::Int64(0), "io.debezium.time.MicroDuration")
        }
        IntervalHandling::Text => Described {
            zero: Constant::String("P0Y0M0DT0H0M0S".into()),
            ..named_text(Decoder::Interval(IntervalMode::Text), "io.debezium.time.Interval")
        },
    }
}

fn point_schema() -> SchemaBuilder {
    let number = || SchemaBuilder::new(Type::Float64).build();
    SchemaBuilder::structure()
        .name("io.debezium.data.geometry.Point")
        .version(1)
        .doc("Geometry (POINT)")
        .field("x", number())
        .field("y", number())
        .field("wkb", SchemaBuilder::new(Type::Bytes).optional().build())
        .field("srid", SchemaBuilder::new(Type::Int32).optional().build())
}

fn shape(name: &str) -> Option<Described> {
    let number = || SchemaBuilder::new(Type::Float64).build();
    let (shape, schema, fields) = match name {
        "point" => (Shape::Point, point_schema(), 4),
        "circle" => {
            let schema = SchemaBuilder::structure()
                .name("io.debezium.data.geometry.Circle")
                .version(1)
                .doc("Geometry (CIRCLE)");
            (Shape::Circle, schema.field("center", point_schema().build()).field("radius", number()), 2)
        }
        "line" => {
            let schema = SchemaBuilder::structure()
                .name("io.debezium.data.geometry.Line")
                .version(1)
                .doc("Geometry (LINE)");
            (Shape::Line, schema.field("a", number()).field("b", number()).field("c", number()), 3)
        }
        _ => {
            let (shape, kind, doc) = match name {
                "box" => (Shape::Box, "Geometry", "Geometry"),
                "lseg" => (Shape::LineSegment, "Geometry", "Geometry"),
                "path" => (Shape::Path, "Geometry", "Geometry"),
                "polygon" => (Shape::Polygon, "Geometry", "Geometry"),
                "geometry" => (Shape::PostGis, "Geometry", "Geometry"),
                "geography" => (Shape::PostGis, "Geography", "Geography"),
                _ => return None,
            };
            let extensions = SchemaBuilder::map(Schema::string(), Schema::string()).optional().build();
            let schema = SchemaBuilder::structure()
                .name(&format!("io.debezium.data.geometry.{kind}"))
                .version(2)
                .doc(doc)
                .field("wkb", SchemaBuilder::new(Type::Bytes).build())
                .field("srid", SchemaBuilder::new(Type::Int32).optional().build())
                .field("extensions", extensions);
            (shape, schema, 3)
        }
    };
    Some(Described {
        decoder: Decoder::Geometry(shape),
        schema,
        zero: Constant::Struct(vec![Constant::Null; fields]),
    })
}

fn literal_cell(text: &str) -> Cell<'_> {
    // the span is not looked at: a literal's text is put into the batch by whoever needs it
    Cell { format: Format::Text, bytes: text.as_bytes(), span: Span { segment: 0, offset: 0, len: 0 } }
}

/// The default of a column, if it is a literal; a function's is the type's zero, as Debezium has it.
fn default_value(expression: &str, described: &Described) -> Option<Constant> {
    // struct defaults are left out
    if matches!(described.zero, Constant::Struct(_)) {
        return None;
    }
    let literal = match Literal::of(expression) {
        Literal::Null => return None,
        Literal::Expression => return Some(described.zero.clone()),
        Literal::Text(text) => text,
    };
    let mut batch = Batch::default();
    let span = batch.put_str(&literal);
    let cell = Cell { span, ..literal_cell(&literal) };
    let value = described.decoder.decode(&mut batch, cell)?;
    Some(constant(&batch, value)).filter(|constant| *constant != Constant::Null)
}

enum Literal {
    Null,
    Text(String),
    Expression,
}

impl Literal {
    /// `'text'::type`, a number, a boolean, NULL; everything else is an expression.
    fn of(expression: &str) -> Literal {
        let expression = expression.trim();
        if let Some(rest) = expression.strip_prefix('\'') {
            let mut text = String::new();
            let mut chars = rest.char_indices();
            while let Some((at, char)) = chars.next() {
                if char != '\'' {
                    text.push(char);
                    continue;
                }
                if rest[at + 1..].starts_with('\'') {
                    text.push('\'');
                    chars.next();
                    continue;
                }
                let after = rest[at + 1..].trim_start();
                return if after.is_empty() || is_cast(after) {
                    Literal::Text(text)
                } else {
                    Literal::Expression
                };
            }
            return Literal::Expression;
        }
        let bare = expression.split_once("::").map_or(expression, |(bare, _)| bare);
        let bare = bare.trim().trim_start_matches('(').trim_end_matches(')');
        if bare.eq_ignore_ascii_case("null") {
            return Literal::Null;
        }
        let boolean = bare.eq_ignore_ascii_case("true") || bare.eq_ignore_ascii_case("false");
        if boolean || bare.parse::<f64>().is_ok() {
            return Literal::Text(bare.to_ascii_lowercase());
        }
        Literal::Expression
    }
}

fn is_cast(text: &str) -> bool {
    text.strip_prefix("::")
        .is_some_and(|name| name.chars().all(|char| char.is_alphanumeric() || " _\"()[],.".contains(char)))
}

/// A value of a batch as one that stands alone.
fn constant(batch: &Batch, value: Value) -> Constant {
    match value {
        Value::Boolean(value) => Constant::Boolean(value),
        Value::Int8(value) => Constant::Int8(value),
        Value::Int16(value) => Constant::Int16(value),
        Value::Int32(value) => Constant::Int32(value),
        Value::Int64(value) => Constant::Int64(value),
        Value::Float32(value) => Constant::Float32(value),
        Value::Float64(value) => Constant::Float64(value),
        Value::String(span) => Constant::String(batch.str(span).into()),
        Value::Bytes(span) => Constant::Bytes(batch.bytes(span).into()),
        Value::Decimal(range) => {
            let (unscaled, scale) = batch.decimal(range);
            Constant::Decimal(unscaled.into(), scale)
        }
        Value::Date(ms) => Constant::Date(ms),
        Value::Array(range) => {
            Constant::Array(batch.items(range).iter().map(|item| constant(batch, *item)).collect())
        }
        Value::Map(range) => Constant::Map(
            batch.entries(range).map(|(key, value)| (constant(batch, key), constant(batch, value))).collect(),
        ),
        Value::Null | Value::Struct(_) => Constant::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str, modifier: i32, default: Option<&str>) -> ColumnPlan {
        let data_type = PgType { name: Arc::from(name), array: false, labels: None, modifier };
        let info = ColumnInfo {
            name: "c".to_owned(),
            data_type,
            required: false,
            default: default.map(str::to_owned),
        };
        ColumnPlan::new(&info, &TypeSettings::default(), None).unwrap()
    }

    #[test]
    fn defaults() {
        let default = |name: &str, modifier, expression: &str| {
            plan(name, modifier, Some(expression)).schema.default.clone()
        };
        assert_eq!(default("int4", -1, "42"), Some(Constant::Int32(42)));
        assert_eq!(default("int4", -1, "(-5)"), Some(Constant::Int32(-5)));
        assert_eq!(default("int2", -1, "'7'::smallint"), Some(Constant::Int16(7)));
        assert_eq!(default("text", -1, "'it''s'::text"), Some(Constant::String("it's".into())));
        assert_eq!(
            default("varchar", 24, "'abc'::character varying(20)"),
            Some(Constant::String("abc".into()))
        );
        assert_eq!(default("numeric", 655_366, "1.50"), Some(Constant::Decimal(Box::new([0, 150]), 2)));
        assert_eq!(default("date", -1, "'2020-02-03'::date"), Some(Constant::Int32(18_295)));
        assert_eq!(
            default("timestamptz", -1, "now()"),
            Some(Constant::String("1970-01-01T00:00:00.000000Z".into()))
        );
        assert_eq!(default("int8", -1, "nextval('s'::regclass)"), Some(Constant::Int64(0)));
        assert_eq!(default("bool", -1, "true"), Some(Constant::Boolean(true)));
        assert_eq!(default("numeric", -1, "3.14"), None, "structs have none");
        assert_eq!(default("text", -1, "NULL::text"), None);
        assert_eq!(default("text", -1, "'a'::text || 'b'::text"), Some(Constant::String("".into())));
    }

    #[test]
    fn scales() {
        assert_eq!(precision_and_scale(655_366), (10, 2));
        assert_eq!(precision_and_scale(((3 << 16) | (-2_i32 & 0x7FF)) + 4), (3, -2));
    }

    #[test]
    fn precision_chooses_the_schema() {
        assert!(plan("timestamp", 3, None).schema.is_named("io.debezium.time.Timestamp"));
        assert!(plan("timestamp", -1, None).schema.is_named("io.debezium.time.MicroTimestamp"));
        assert!(plan("time", 0, None).schema.is_named("io.debezium.time.Time"));
    }
}
