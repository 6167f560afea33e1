//! `io.confluent.connect.jdbc.JdbcSinkConnector`: its table of keys.

use std::time::Duration;

use aqueduct_engine::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, Validator, Width};
use aqueduct_engine::connector::ConfigMap;

use super::config::{
    FieldFilter, Flavour, InsertMode, KeyMode, Naming, OFFSETS_TABLE, Precision, Quoting, Settings, tolerant,
    wrong,
};
use crate::jdbc::connection::Connections;
use crate::jdbc::keys;
use crate::jdbc::zone::Zone;

use ConfigType::{Boolean, Int, List, String as Text};
use Importance::{High, Low, Medium};
use Width::{Long, Medium as Middle, Short};

const WRITES: &str = "Writes";
const MAPPING: &str = "Data Mapping";
const DDL: &str = "DDL Support";
const QUOTING: &str = "SQL/DDL Support";
const RETRIES: &str = "Retries";

/// The keys, in the order in which Confluent shows them.
pub(in crate::jdbc) static CONFIG: ConfigDef = ConfigDef {
    keys: &[
        keys::url(
            ConfigKey::required(keys::URL_NAME, Text, High, keys::URL_DOC).valid(Validator::NonEmpty),
        ),
        keys::user(2),
        keys::password(3),
        keys::credentials(4),
        keys::dialect(keys::CONNECTION, 5),
        keys::attempts(6),
        keys::backoff(7),
        ConfigKey::with_default(
            "insert.mode",
            Text,
            "insert",
            High,
            "insert; upsert: rows whose key is there already are updated; update: rows whose key is not there are passed over.",
        )
        .valid(Validator::OneOf(&["insert", "INSERT", "upsert", "UPSERT", "update", "UPDATE"]))
        .shown(WRITES, 1, Middle, "Insert Mode"),
        ConfigKey::with_default("batch.size", Int, "3000", Medium, "Rows of one statement at most. A plain insert is one binary COPY of all that has arrived.")
            .valid(Validator::AtLeast(0))
            .shown(WRITES, 2, Short, "Batch Size"),
        ConfigKey::with_default("delete.enabled", Boolean, "false", Medium, "Whether a record without value deletes the row of its key; needs pk.mode=record_key.")
            .shown(WRITES, 3, Short, "Enable deletes"),
        ConfigKey::with_default("table.types", List, "TABLE", Low, "Kinds of tables that may be written: TABLE, PARTITIONED TABLE, VIEW.")
            .valid(Validator::Check(table_types))
            .shown(WRITES, 4, Middle, "Table Types"),
        ConfigKey::with_default("replace.null.with.default", Boolean, "true", Low, "Whether a null of a field that has a default is written as that default.")
            .shown(WRITES, 5, Short, "Replace null with default"),
        ConfigKey::with_default("table.name.format", Text, "${topic}", Medium, "The table of a topic: ${topic} is its name; a schema may stand before it, with a dot between.")
            .valid(Validator::NonEmpty)
            .shown(MAPPING, 1, Long, "Table Name Format"),
        ConfigKey::with_default("pk.mode", Text, "none", High, "Where the primary key comes from: none, kafka (topic, partition, offset), record_key, record_value.")
            .valid(Validator::OneOf(&["none", "NONE", "kafka", "KAFKA", "record_key", "RECORD_KEY", "record_value", "RECORD_VALUE"]))
            .shown(MAPPING, 2, Long, "Primary Key Mode"),
        ConfigKey::with_default("pk.fields", List, "", Medium, "Names of the key's columns: the three of the kafka mode, the fields of key or value; empty for all of them.")
            .shown(MAPPING, 3, Long, "Primary Key Fields"),
        ConfigKey::with_default("fields.whitelist", List, "", Medium, "Fields of the value that are written; empty for all. Columns of the key are always written.")
            .shown(MAPPING, 4, Long, "Fields Whitelist"),
        keys::time_zone(MAPPING, 5, Middle, "DB Time Zone"),
        ConfigKey::with_default("date.timezone", Text, "DB_TIMEZONE", Medium, "Zone in which dates are taken: DB_TIMEZONE (that of db.timezone) or UTC.")
            .valid(Validator::OneOfIgnoringCase(&["DB_TIMEZONE", "UTC"]))
            .shown(MAPPING, 6, Middle, "Date Time Zone"),
        keys::calendar(MAPPING, 7),
        ConfigKey::with_default("timestamp.fields.list", List, "", Medium, "INT64 and STRING fields that are written as timestamps.")
            .shown(MAPPING, 8, Long, "Timestamp Fields"),
        ConfigKey::with_default("timestamp.precision.mode", Text, "MICROSECONDS", Low, "Unit of the INT64 fields of timestamp.fields.list: MICROSECONDS or NANOSECONDS.")
            .valid(Validator::OneOfIgnoringCase(&["MICROSECONDS", "NANOSECONDS"]))
            .shown(MAPPING, 9, Middle, "Timestamp Precision Mode"),
        ConfigKey::with_default("string.output.value.column.name", Text, "record_value", Low, "Column of values that are plain strings.")
            .valid(Validator::NonEmpty)
            .shown(MAPPING, 10, Middle, "String Value Column Name"),
        ConfigKey::with_default("auto.create", Boolean, "false", Medium, "Whether a table that is missing is created from the record's schema.")
            .shown(DDL, 1, Short, "Auto-Create"),
        ConfigKey::with_default("auto.evolve", Boolean, "false", Medium, "Whether columns that are missing are added.")
            .shown(DDL, 2, Short, "Auto-Evolve"),
        keys::quoting(QUOTING, 3),
        ConfigKey::with_default("mssql.use.merge.holdlock", Boolean, "true", Low, "For SQL Server; without effect.")
            .shown(QUOTING, 4, Short, "SQL Server - Use HOLDLOCK in MERGE"),
        ConfigKey::with_default("max.retries", Int, "10", Medium, "How often a batch is tried again after a lost connection, a deadlock or a serialization failure.")
            .valid(Validator::AtLeast(0))
            .shown(RETRIES, 1, Short, "Maximum Retries"),
        ConfigKey::with_default("retry.backoff.ms", Int, "3000", Medium, "Wait before a batch is tried again, in milliseconds.")
            .valid(Validator::AtLeast(0))
            .shown(RETRIES, 2, Short, "Retry Backoff (millis)"),
        ConfigKey::with_default("trim.sensitive.log", Boolean, "false", Low, "Without effect: values of rows are never logged."),
        ConfigKey::with_default(OFFSETS_TABLE, Text, "", Low, "Ours: a table of the target database (created if it is missing) that keeps the offsets, written in the transaction of the rows: every record is written exactly once, also with insert.mode=insert and when a worker is killed. Empty: at least once.")
            .shown(WRITES, 6, Long, "Exactly-once offsets table"),
    ],
};

fn table_types(types: &str) -> Option<String> {
    relation_kinds(types).is_none().then(|| "must be of TABLE, PARTITIONED TABLE, VIEW".to_owned())
}

/// `pg_class.relkind` of `table.types`.
fn relation_kinds(types: &str) -> Option<String> {
    let kind = |name: &str| match name.trim().to_ascii_uppercase().as_str() {
        "TABLE" => Some('r'),
        "PARTITIONED TABLE" => Some('p'),
        "VIEW" => Some('v'),
        _ => None,
    };
    types.split(',').map(kind).collect()
}

/// Reads a configuration.
pub(super) fn settings(config: &ConfigMap) -> Result<Settings, ConfigError> {
    let parsed = CONFIG.parse(config)?;
    let text = |key: &str| parsed.string(key).map(str::trim).unwrap_or_default();
    let is = |key: &str, value: &str| text(key).eq_ignore_ascii_case(value);
    let names = |key: &str| parsed.list(key).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let zone = Zone::parse(text("db.timezone"))
        .ok_or_else(|| wrong("db.timezone", text("db.timezone"), "Invalid time zone identifier"))?;
    Settings {
        flavour: Flavour::Confluent,
        connections: Connections::new(&parsed, config)?,
        insert_mode: match text("insert.mode").to_ascii_lowercase().as_str() {
            "upsert" => InsertMode::Upsert,
            "update" => InsertMode::Update,
            _ => InsertMode::Insert,
        },
        batch_size: usize::try_from(parsed.long("batch.size")).unwrap_or(0).max(1),
        delete_enabled: parsed.boolean("delete.enabled"),
        truncate_enabled: false,
        relation_kinds: relation_kinds(text("table.types")).unwrap_or_default(),
        null_as_default: parsed.boolean("replace.null.with.default"),
        table_format: text("table.name.format").to_owned(),
        key_mode: match text("pk.mode").to_ascii_lowercase().as_str() {
            "kafka" => KeyMode::Kafka,
            "record_key" => KeyMode::RecordKey,
            "record_value" => KeyMode::RecordValue,
            _ => KeyMode::None,
        },
        key_fields: names("pk.fields"),
        fields: FieldFilter { include: names("fields.whitelist"), exclude: Vec::new() },
        zone,
        date_zone: if is("date.timezone", "UTC") { Zone::Utc } else { zone },
        timestamp_fields: names("timestamp.fields.list"),
        timestamp_precision: if is("timestamp.precision.mode", "NANOSECONDS") {
            Precision::Nanos
        } else {
            Precision::Micros
        },
        text_column: text("string.output.value.column.name").to_owned(),
        auto_create: parsed.boolean("auto.create"),
        auto_evolve: parsed.boolean("auto.evolve"),
        quoting: if is("quote.sql.identifiers", "never") { Quoting::Never } else { Quoting::Always },
        max_retries: u32::try_from(parsed.long("max.retries")).unwrap_or(0),
        retry_backoff: Duration::from_millis(u64::try_from(parsed.long("retry.backoff.ms")).unwrap_or(0)),
        tolerant: tolerant(config),
        offsets_table: Some(text(OFFSETS_TABLE).to_owned()).filter(|table| !table.is_empty()),
        column_names: Naming::default(),
        table_names: Naming::default(),
    }
    .check()
}
