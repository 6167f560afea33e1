//! `io.debezium.connector.jdbc.JdbcSinkConnector`: its table of keys, and Debezium's envelopes.

use std::time::Duration;

use aqueduct_engine::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, Validator};
use aqueduct_engine::connector::ConfigMap;
use aqueduct_engine::data::{Batch, Record, Schema, SchemaId, Type, Value};

use super::config::{
    FieldFilter, Flavour, InsertMode, KeyMode, Naming, OFFSETS_TABLE, Precision, Quoting, Settings, Style,
    tolerant, wrong,
};
use super::fields::{Action, Row, RowSchema};
use crate::jdbc::connection::Connections;
use crate::jdbc::keys;
use crate::jdbc::zone::Zone;

use ConfigType::{Boolean, Class, Int, List, Long, Password, String as Text};
use Importance::{High, Low, Medium};

const COLUMN_STRATEGY: &str = "column.naming.strategy";
const COLLECTION_STRATEGY: &str = "collection.naming.strategy";

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    importance: Importance,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey::with_default(name, kind, default, importance, doc)
}

/// Debezium's keys that act here, then those that are accepted because configurations have them.
pub(in crate::jdbc) static CONFIG: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::required(keys::URL_NAME, Text, High, keys::URL_DOC).valid(Validator::NonEmpty),
        ConfigKey::nullable("connection.username", Text, High, "Role to log in as."),
        ConfigKey::nullable("connection.password", Password, High, "Password of the role."),
        key("insert.mode", Text, "insert", High, "insert, upsert (rows whose key is there already are updated) or update.")
            .valid(Validator::OneOfIgnoringCase(&["insert", "upsert", "update"])),
        key("delete.enabled", Boolean, "false", Medium, "Whether delete events and records without value delete the row of their key; needs primary.key.mode=record_key."),
        key("truncate.enabled", Boolean, "false", Medium, "Whether truncate events empty the table."),
        key("primary.key.mode", Text, "none", High, "Where the primary key comes from: none, kafka, record_key, record_value.")
            .valid(Validator::OneOfIgnoringCase(&["none", "kafka", "record_key", "record_value"])),
        ConfigKey::nullable("primary.key.fields", List, High, "Names of the key's columns; empty for all fields of key or value."),
        key("schema.evolution", Text, "none", Medium, "none, or basic: tables and columns that are missing are created.")
            .valid(Validator::OneOfIgnoringCase(&["none", "basic"])),
        key("collection.name.format", Text, "${topic}", Medium, "The table of a topic; ${topic} is the topic's name with underscores for dots. A schema may stand before it, with a dot between.")
            .valid(Validator::Check(table_format)),
        key("quote.identifiers", Boolean, "false", Medium, "Whether names keep their case. Without it PostgreSQL folds them to lower case."),
        key("use.time.zone", Text, "UTC", Medium, "Zone of points in time in columns without a zone; a Java zone id.")
            .valid(Validator::Check(keys::known_zone)),
        key("batch.size", Int, "500", Medium, "Rows of one statement at most. A plain insert is one binary COPY of all that has arrived.")
            .valid(Validator::AtLeast(1)),
        ConfigKey::nullable("field.include.list", List, Medium, "Fields that are written, as field or topic:field; all without it."),
        ConfigKey::nullable("field.exclude.list", List, Medium, "Fields that are not written, as field or topic:field."),
        key(COLUMN_STRATEGY, Class, "io.debezium.connector.jdbc.naming.DefaultColumnNamingStrategy", Low, "Names of columns: DefaultColumnNamingStrategy, or CustomColumnNamingStrategy with column.naming.style, .prefix and .suffix.")
            .valid(Validator::Check(column_strategy)),
        key("column.naming.style", Text, "default", Low, "snake_case, camel_case, kebab_case, upper_case, lower_case or default.")
            .valid(Validator::Check(known_style)),
        key("column.naming.prefix", Text, "", Low, "Put before every column's name."),
        key("column.naming.suffix", Text, "", Low, "Put after every column's name."),
        key(COLLECTION_STRATEGY, Class, "io.debezium.sink.naming.DefaultCollectionNamingStrategy", Low, "Names of tables: DefaultCollectionNamingStrategy, or CustomCollectionNamingStrategy with collection.naming.style, .prefix and .suffix.")
            .valid(Validator::Check(collection_strategy)),
        key("collection.naming.style", Text, "default", Low, "As column.naming.style, for tables.")
            .valid(Validator::Check(known_style)),
        key("collection.naming.prefix", Text, "", Low, "Put before every table's name."),
        key("collection.naming.suffix", Text, "", Low, "Put after every table's name."),
        key("flush.max.retries", Int, "5", Medium, "How often a batch is tried again after a lost connection, a deadlock or a serialization failure.")
            .valid(Validator::AtLeast(0)),
        key("flush.retry.delay.ms", Long, "1000", Medium, "Wait before a batch is tried again, in milliseconds.")
            .valid(Validator::AtLeast(0)),
        key("use.reduction.buffer", Boolean, "false", Low, "Without effect: only the last row of each key is written in any case."),
        key("dialect.postgres.unnest.insert.enabled", Boolean, "false", Low, "Without effect: arrays and COPY are used in any case."),
        key("dialect.postgres.postgis.schema", Text, "public", Low, "Accepted; geometry is not written."),
        key("dialect.sqlserver.identity.insert", Boolean, "false", Low, "For SQL Server; without effect."),
        key("connection.provider", Class, "org.hibernate.agroal.internal.AgroalConnectionProvider", Low, "Without effect."),
        key("connection.pool.min_size", Int, "5", Low, "Without effect: a task has one connection."),
        key("connection.pool.max_size", Int, "32", Low, "Without effect: a task has one connection."),
        key("connection.pool.timeout", Long, "1800", Low, "Without effect."),
        key("connection.restart.on.errors", Boolean, "false", Low, "Without effect: a lost connection is made anew in any case."),
        key(OFFSETS_TABLE, Text, "", Low, "Ours: a table of the target database (created if it is missing) that keeps the offsets, written in the transaction of the rows: every record is written exactly once. Empty: at least once."),
    ],
};

fn table_format(format: &str) -> Option<String> {
    let unknown = format.replace("${topic}", "").contains("${");
    (format.is_empty() || unknown).then(|| "a name in which only ${topic} is replaced".to_owned())
}

fn known_style(style: &str) -> Option<String> {
    self::style(style)
        .is_none()
        .then(|| "one of snake_case, camel_case, kebab_case, upper_case, lower_case, default".to_owned())
}

fn style(text: &str) -> Option<Style> {
    Some(match text.to_ascii_lowercase().as_str() {
        "default" | "" => Style::AsIs,
        "snake_case" => Style::Snake,
        "camel_case" => Style::Camel,
        "kebab_case" => Style::Kebab,
        "upper_case" => Style::Upper,
        "lower_case" => Style::Lower,
        _ => return None,
    })
}

fn strategy(class: &str, known: &[&str]) -> Option<String> {
    let simple = class.rsplit('.').next().unwrap_or_default();
    (!known.contains(&simple))
        .then(|| format!("classes cannot be loaded here; one of {} is possible", known.join(", ")))
}

fn column_strategy(class: &str) -> Option<String> {
    strategy(class, &["DefaultColumnNamingStrategy", "CustomColumnNamingStrategy"])
}

fn collection_strategy(class: &str) -> Option<String> {
    strategy(
        class,
        &["DefaultCollectionNamingStrategy", "DefaultTableNamingStrategy", "CustomCollectionNamingStrategy"],
    )
}

/// Reads a configuration.
pub(super) fn settings(config: &ConfigMap) -> Result<Settings, ConfigError> {
    let parsed = CONFIG.parse(config)?;
    let text = |key: &str| parsed.string(key).map(str::trim).unwrap_or_default();
    let names = |key: &str| parsed.list(key).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let zone = Zone::parse(text("use.time.zone"))
        .ok_or_else(|| wrong("use.time.zone", text("use.time.zone"), "Invalid time zone identifier"))?;
    let naming = |class: &str, what: &str| {
        if !text(class).contains("Custom") {
            return Naming::default();
        }
        let part = |part: &str| text(&format!("{what}.naming.{part}")).to_owned();
        Naming {
            style: style(&part("style")).unwrap_or_default(),
            prefix: part("prefix"),
            suffix: part("suffix"),
        }
    };
    let fields = FieldFilter { include: names("field.include.list"), exclude: names("field.exclude.list") };
    if !fields.include.is_empty() && !fields.exclude.is_empty() {
        return Err(wrong(
            "field.exclude.list",
            text("field.exclude.list"),
            "give this or field.include.list, not both",
        ));
    }
    let basic = text("schema.evolution").eq_ignore_ascii_case("basic");
    Settings {
        flavour: Flavour::Debezium,
        connections: Connections::of_url(
            text(keys::URL_NAME),
            parsed.string("connection.username"),
            parsed.string("connection.password"),
        )?,
        insert_mode: match text("insert.mode").to_ascii_lowercase().as_str() {
            "upsert" => InsertMode::Upsert,
            "update" => InsertMode::Update,
            _ => InsertMode::Insert,
        },
        batch_size: usize::try_from(parsed.long("batch.size")).unwrap_or(1).max(1),
        delete_enabled: parsed.boolean("delete.enabled"),
        truncate_enabled: parsed.boolean("truncate.enabled"),
        relation_kinds: "rpv".to_owned(),
        null_as_default: true,
        table_format: text("collection.name.format").to_owned(),
        key_mode: match text("primary.key.mode").to_ascii_lowercase().as_str() {
            "kafka" => KeyMode::Kafka,
            "record_key" => KeyMode::RecordKey,
            "record_value" => KeyMode::RecordValue,
            _ => KeyMode::None,
        },
        key_fields: names("primary.key.fields"),
        fields,
        zone,
        date_zone: Zone::Utc,
        timestamp_fields: Vec::new(),
        timestamp_precision: Precision::Micros,
        text_column: "value".to_owned(),
        auto_create: basic,
        auto_evolve: basic,
        quoting: if parsed.boolean("quote.identifiers") { Quoting::Always } else { Quoting::Never },
        max_retries: u32::try_from(parsed.long("flush.max.retries")).unwrap_or(0),
        retry_backoff: Duration::from_millis(u64::try_from(parsed.long("flush.retry.delay.ms")).unwrap_or(0)),
        tolerant: tolerant(config),
        offsets_table: Some(text(OFFSETS_TABLE).to_owned()).filter(|table| !table.is_empty()),
        column_names: naming(COLUMN_STRATEGY, "column"),
        table_names: naming(COLLECTION_STRATEGY, "collection"),
    }
    .check()
}

/// Whether a value is one of Debezium's change events.
fn is_envelope(schema: &Schema) -> bool {
    schema.kind == Type::Struct
        && (schema.name.as_deref().is_some_and(|name| name.ends_with(".Envelope"))
            || ["op", "after", "source"].iter().all(|name| schema.field(name).is_some()))
}

/// The row of a change event; the outer `None` if the record is none, the inner one if it asks for nothing.
pub(super) fn enveloped(
    settings: &Settings,
    batch: &Batch,
    record: &Record,
) -> Result<Option<Option<Row>>, String> {
    let (Some(schema), Value::Struct(range)) = (batch.schema(record.value_schema), record.value) else {
        return Ok(None);
    };
    if !is_envelope(schema) {
        return Ok(None);
    }
    let field = |name: &str| {
        let (at, _) = schema.field(name)?;
        Some((at, *batch.items(range).get(at)?))
    };
    let operation = match field("op") {
        Some((_, Value::String(span))) => batch.str(span),
        _ => return Err("it is a change event without operation (op)".to_owned()),
    };
    let row = |action, name: &str, id: SchemaId| match field(name) {
        Some((at, value @ Value::Struct(_))) => {
            Ok(Some(Row { action, schema: RowSchema::Field(id, at), value }))
        }
        _ => Err(format!("it is a change event of operation {operation} without {name}")),
    };
    let found = match operation {
        "c" | "r" | "u" => row(Action::Write, "after", record.value_schema)?,
        "d" if settings.delete_enabled => {
            Some(Row { action: Action::Delete, schema: RowSchema::None, value: Value::Null })
        }
        "t" if settings.truncate_enabled => {
            Some(Row { action: Action::Truncate, schema: RowSchema::None, value: Value::Null })
        }
        // messages (m), and what is not enabled
        _ => None,
    };
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_engine::data::SchemaBuilder;

    #[test]
    fn envelopes() {
        let row = SchemaBuilder::structure().field("id", Schema::string()).optional().build();
        let schema = SchemaBuilder::structure()
            .name("s.t.Envelope")
            .field("before", row.clone())
            .field("after", row)
            .field("op", Schema::string())
            .build();
        let mut batch = Batch::default();
        let id = batch.intern_schema(&schema);
        let config: ConfigMap = [
            ("connection.url", "jdbc:postgresql://h/d"),
            ("connection.username", "u"),
            ("primary.key.mode", "record_key"),
            ("delete.enabled", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
        let settings = settings(&config).unwrap();
        let mut action = |operation: &str, after: bool| {
            let content = Value::String(batch.put_str("x"));
            let inner = Value::Struct(batch.push_values(&[content]));
            let op = Value::String(batch.put_str(operation));
            let after = if after { inner } else { Value::Null };
            let value = Value::Struct(batch.push_values(&[Value::Null, after, op]));
            let record = Record { value_schema: id, value, ..Record::default() };
            enveloped(&settings, &batch, &record).map(|row| row.unwrap().map(|row| row.action))
        };
        assert_eq!(action("c", true), Ok(Some(Action::Write)));
        assert_eq!(action("d", false), Ok(Some(Action::Delete)));
        assert_eq!(action("t", false), Ok(None), "truncate is not enabled");
        assert_eq!(action("m", false), Ok(None));
        assert!(action("u", false).unwrap_err().contains("without after"));
    }
}
