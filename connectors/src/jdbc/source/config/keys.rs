//! The table of keys, in the order in which Confluent shows them.

use aqueduct_engine::config::{ConfigDef, ConfigKey, ConfigType, Importance, Validator, Width};

use crate::jdbc::keys;

use ConfigType::{Boolean, Int, List, Long as Number, Password, String as Text};
use Importance::{High, Low, Medium};
use Width::{Long, Medium as Middle, Short};

const DATABASE: &str = "Database";
const MODE: &str = "Mode";
const CONNECTOR: &str = "Connector";

/// What the connector tells its tasks.
pub(in crate::jdbc::source) const TABLES: &str = "tables";
/// Whether [`TABLES`] is known yet.
pub(in crate::jdbc::source) const TABLES_FETCHED: &str = "tables.fetched";

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    importance: Importance,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey::with_default(name, kind, default, importance, doc)
}

/// Confluent's keys.
pub(in crate::jdbc) static CONFIG: ConfigDef = ConfigDef {
    keys: &[
        keys::url(ConfigKey::with_default(keys::URL_NAME, Text, "", High, keys::URL_DOC).valid(Validator::NonEmpty)),
        keys::user(2),
        keys::password(3),
        keys::credentials(4),
        keys::attempts(5),
        keys::backoff(6),
        key("table.whitelist", List, "", Medium, "Tables to read, by table, schema.table or both in quotes; not together with table.blacklist.").shown(DATABASE, 1, Long, "Table Whitelist"),
        key("table.blacklist", List, "", Medium, "Tables not to read, named likewise.").shown(DATABASE, 2, Long, "Table Blacklist"),
        key("table.include.list", List, "", Medium, "Regular expressions; tables whose schema.table matches one as a whole are read.").shown(DATABASE, 3, Long, "Table Include List"),
        key("table.exclude.list", List, "", Medium, "Regular expressions of tables of table.include.list that are not read.").shown(DATABASE, 4, Long, "Table Exclude List"),
        ConfigKey::nullable("catalog.pattern", Text, Medium, "Name of the database; tables of others are never read.").shown(DATABASE, 5, Short, "Catalog pattern"),
        ConfigKey::nullable("schema.pattern", Text, High, "Schemas whose tables are read: % stands for any text, _ for any letter. All without it.").shown(DATABASE, 6, Short, "Schema pattern"),
        key("numeric.precision.mapping", Boolean, "false", Low, "Older form of numeric.mapping=precision_only.").shown(DATABASE, 7, Short, "Map Numeric Values By Precision (deprecated)"),
        ConfigKey::nullable("numeric.mapping", Text, Low, "What numeric columns become: none (Decimal), precision_only (integers where the scale is 0), best_fit (integers and doubles up to 18 digits), best_fit_eager_double (a double wherever there is a scale).")
            .valid(Validator::OneOf(&["", "none", "NONE", "precision_only", "PRECISION_ONLY", "best_fit", "BEST_FIT", "best_fit_eager_double", "BEST_FIT_EAGER_DOUBLE"]))
            .shown(DATABASE, 8, Short, "Map Numeric Values, Integral or Decimal, By Precision and Scale"),
        keys::dialect(DATABASE, 9),
        keys::calendar(DATABASE, 10),
        key("mode", Text, "", High, "How new rows are found: bulk (all rows, every time), incrementing (a column that grows), timestamp (a column that is set at every change), timestamp+incrementing.")
            .valid(Validator::OneOf(&["", "bulk", "timestamp", "incrementing", "timestamp+incrementing"]))
            .shown(MODE, 1, Middle, "Table Loading Mode"),
        key("incrementing.column.name", Text, "", Medium, "The column that grows; empty: the table's first serial or identity column.").shown(MODE, 2, Middle, "Incrementing Column Name"),
        key("incrementing.column.mapping", List, "", Medium, "The same for tables by regular expression: regex:column.").shown(MODE, 3, Long, "Incrementing Column Mapping"),
        key("timestamp.column.name", List, "", Medium, "Columns of the time of the last change; of several the first one that is not null counts.").shown(MODE, 4, Middle, "Timestamp Column Name"),
        key("timestamp.columns.mapping", List, "", Medium, "The same for tables by regular expression: regex:[column|column].").shown(MODE, 5, Long, "Timestamp Columns Mapping"),
        ConfigKey::nullable("timestamp.initial", Number, Low, "Where the timestamp modes begin, in milliseconds since 1970; -1 is the database's present.").shown(MODE, 6, Middle, "Unix time value of initial timestamp"),
        key("validate.non.null", Boolean, "true", Low, "Whether the incrementing column and one of the timestamp columns have to be NOT NULL.").shown(MODE, 7, Short, "Validate Non Null"),
        key("query", Text, "", Medium, "A SELECT statement to read instead of tables; its records go to the topic of topic.prefix.").shown(MODE, 8, Short, "Query"),
        key("query.masked", Password, "", Medium, "The same, never shown.").shown(MODE, 9, Short, "Query (masked)"),
        keys::quoting(MODE, 10),
        key("query.suffix", Text, "", Low, "Put behind every statement, such as a LIMIT.").shown(MODE, 11, Middle, "Query suffix"),
        key("query.retry.attempts", Int, "-1", Low, "How often in a row reading a table may fail before the task does; -1: it is tried for ever.").shown(MODE, 12, Short, "Query Retry Attempts"),
        key("transaction.isolation.mode", Text, "DEFAULT", Low, "DEFAULT, READ_UNCOMMITTED, READ_COMMITTED, REPEATABLE_READ or SERIALIZABLE.")
            .valid(Validator::OneOfIgnoringCase(&["DEFAULT", "READ_UNCOMMITTED", "READ_COMMITTED", "REPEATABLE_READ", "SERIALIZABLE"]))
            .shown(MODE, 13, Middle, "Transaction Isolation Mode"),
        key("table.types", List, "TABLE", Low, "Kinds of tables that are looked for: TABLE, PARTITIONED TABLE, VIEW, MATERIALIZED VIEW, FOREIGN TABLE, SYSTEM TABLE, SYSTEM VIEW.").shown(CONNECTOR, 1, Middle, "Table Types"),
        key("poll.interval.ms", Int, "5000", High, "How long a table rests before it is read again.").valid(Validator::AtLeast(0)).shown(CONNECTOR, 2, Short, "Poll Interval (ms)"),
        key("batch.max.rows", Int, "1000", Low, "Rows of one batch.").valid(Validator::AtLeast(1)).shown(CONNECTOR, 3, Short, "Max Rows Per Batch"),
        key("max.buffer.size", Int, "0", Low, "Without effect: rows wait in the server until they are asked for.").shown(CONNECTOR, 4, Short, "Max Buffer Size"),
        key("poll.linger.ms", Number, "5000", Low, "Longest wait for a first row of one poll.").shown(CONNECTOR, 5, Short, "Poll Linger (ms)"),
        key("table.poll.interval.ms", Number, "60000", Low, "How often new and dropped tables are looked for.").valid(Validator::AtLeast(1)).shown(CONNECTOR, 6, Short, "Metadata Change Monitoring Interval (ms)"),
        key("table.monitoring.startup.polling.limit.ms", Number, "10000", Low, "How long the start waits for the first list of tables."),
        ConfigKey::with_default("topic.prefix", Text, "", High, "Put before a table's name to make its topic; the topic itself of a query.")
            .valid(Validator::Check(topic_prefix))
            .shown(CONNECTOR, 7, Middle, "Topic Prefix"),
        key("timestamp.delay.interval.ms", Number, "0", High, "Rows have to be so old to be read, so that transactions under way can end.").valid(Validator::AtLeast(0)).shown(CONNECTOR, 8, Middle, "Delay Interval (ms)"),
        keys::time_zone(CONNECTOR, 9, Middle, "DB time zone"),
        key("timestamp.granularity", Text, "connect_logical", Low, "What timestamps become: connect_logical (Connect's Timestamp, milliseconds), micros_long, micros_string, micros_iso_datetime_string, nanos_long, nanos_string, nanos_iso_datetime_string.")
            .valid(Validator::OneOf(&["connect_logical", "micros_long", "micros_string", "micros_iso_datetime_string", "nanos_long", "nanos_string", "nanos_iso_datetime_string"]))
            .shown(CONNECTOR, 10, Middle, "Timestamp granularity for timestamp columns"),
    ],
};

fn topic_prefix(prefix: &str) -> Option<String> {
    const LONGEST: usize = 249;
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    (prefix.len() > LONGEST || !prefix.chars().all(legal))
        .then(|| format!("at most {LONGEST} letters, digits, dots, underscores and hyphens"))
}
