//! The table of keys, which validates, answers REST and documents.

use aqueduct_engine::config::{ConfigDef, ConfigKey, ConfigType, Importance, Validator};

use ConfigType::{Boolean, Int, List, Long, Password, String as Text};
use Importance::{High, Low, Medium};

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    importance: Importance,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey::with_default(name, kind, default, importance, doc)
}

const fn none(name: &'static str, kind: ConfigType, importance: Importance, doc: &'static str) -> ConfigKey {
    ConfigKey::nullable(name, kind, importance, doc)
}

const fn must(name: &'static str, doc: &'static str) -> ConfigKey {
    ConfigKey::required(name, Text, High, doc).valid(Validator::NonEmpty)
}

/// Debezium's keys that act here, then those that are accepted because configurations have them.
pub(in crate::postgres_cdc) static CONFIG: ConfigDef = ConfigDef {
    keys: &[
        must(
            "topic.prefix",
            "Name of this source: first part of every topic and schema name. Changing it starts a new source.",
        ),
        must("database.hostname", "Host name or address of the PostgreSQL server."),
        key("database.port", Int, "5432", High, "Port of the server.").valid(Validator::AtLeast(1)),
        must("database.user", "Role to log in as; it needs LOGIN and REPLICATION, and SELECT on the tables."),
        none("database.password", Password, High, "Password of the role."),
        must("database.dbname", "Database whose changes are captured."),
        key(
            "database.sslmode",
            Text,
            "prefer",
            Medium,
            "disable, allow, prefer, require, verify-ca or verify-full, as libpq means them.",
        ),
        none("database.sslcert", Text, Medium, "PEM file of our certificate."),
        none("database.sslkey", Text, Medium, "PEM or PKCS #8 file of our certificate's key."),
        none("database.sslpassword", Password, Medium, "Password of the key."),
        none("database.sslrootcert", Text, Medium, "PEM file of the authorities to trust."),
        none(
            "database.initial.statements",
            Text,
            Low,
            "SQL to run on every new connection, separated by semicolons (two for one).",
        ),
        key(
            "connection.validation.timeout.ms",
            Long,
            "60000",
            Low,
            "How long a connection may take to be made.",
        ),
        key("plugin.name", Text, "pgoutput", Medium, "The logical decoding plugin: pgoutput."),
        key("slot.name", Text, "debezium", Medium, "Name of the replication slot."),
        key(
            "slot.drop.on.stop",
            Boolean,
            "false",
            Medium,
            "Drop the slot when the task stops. Changes made meanwhile are lost: for tests.",
        ),
        key(
            "slot.failover",
            Boolean,
            "false",
            Medium,
            "Create the slot so that standbys keep it (PostgreSQL 17).",
        ),
        key(
            "streaming.transactions.enabled",
            Boolean,
            "true",
            Low,
            "Ours: take large transactions before their commit (PostgreSQL 14), instead of having the server keep them until then.",
        ),
        key(
            "streaming.memory.bytes",
            Long,
            "33554432",
            Low,
            "Ours: bytes of transactions that are not committed yet to keep in memory; what is more goes to disk.",
        )
        .valid(Validator::AtLeast(0)),
        none(
            "streaming.spill.directory",
            Text,
            Low,
            "Ours: folder for it, on a disk with room for the largest transactions; the system's temporary folder without it.",
        ),
        none("slot.stream.params", Text, Low, "Further options of the stream: name=value;name=value."),
        key("slot.max.retries", Int, "6", Low, "How often to try to take a slot that is in use."),
        key("slot.retry.delay.ms", Long, "10000", Low, "Wait between these tries."),
        key(
            "status.update.interval.ms",
            Int,
            "10000",
            Low,
            "How often the server is told what has been stored.",
        ),
        key("publication.name", Text, "dbz_publication", Medium, "Name of the publication."),
        key(
            "publication.autocreate.mode",
            Text,
            "all_tables",
            Medium,
            "What to do without that publication: all_tables, disabled, filtered or no_tables.",
        ),
        key(
            "publish.via.partition.root",
            Boolean,
            "false",
            Low,
            "A new publication names a partition's changes after its root.",
        ),
        none(
            "replica.identity.autoset.values",
            Text,
            Medium,
            "Replica identities that tables get at the start: schema.table:FULL,other.table:INDEX name; DEFAULT and NOTHING too.",
        ),
        none("schema.include.list", List, High, "Regular expressions of schemas to capture."),
        none("schema.exclude.list", List, High, "Regular expressions of schemas not to capture."),
        none("table.include.list", List, High, "Regular expressions of tables to capture, as schema.table."),
        none("table.exclude.list", List, High, "Regular expressions of tables not to capture."),
        none(
            "column.include.list",
            List,
            Medium,
            "Regular expressions of columns to capture, as schema.table.column.",
        ),
        none("column.exclude.list", List, Medium, "Regular expressions of columns not to capture."),
        none(
            "message.key.columns",
            Text,
            Medium,
            "Columns of the key by table: schema.table:c1,c2;other.table:c3.",
        ),
        key("skipped.operations", List, "t", Low, "Operations to leave out: c, u, d, t; none."),
        key(
            "skip.messages.without.change",
            Boolean,
            "false",
            Low,
            "Leave out updates that change no captured column (needs REPLICA IDENTITY FULL).",
        ),
        key("tombstones.on.delete", Boolean, "true", Medium, "A tombstone follows every delete."),
        none(
            "message.prefix.include.list",
            List,
            Medium,
            "Regular expressions of logical messages' prefixes to capture.",
        ),
        none("message.prefix.exclude.list", List, Medium, "Regular expressions of prefixes not to capture."),
        key(
            "include.unknown.datatypes",
            Boolean,
            "false",
            Medium,
            "Columns of unknown types as bytes, instead of leaving them out.",
        ),
        key(
            "time.precision.mode",
            Text,
            "adaptive",
            Medium,
            "adaptive, adaptive_time_microseconds, connect, microseconds, nanoseconds, isostring or structured.",
        ),
        key("decimal.handling.mode", Text, "precise", Medium, "precise, double or string."),
        key("binary.handling.mode", Text, "bytes", Low, "bytes, base64, base64-url-safe or hex."),
        key("interval.handling.mode", Text, "numeric", Low, "numeric or string."),
        key("hstore.handling.mode", Text, "json", Low, "json or map."),
        key("money.fraction.digits", Int, "2", Low, "Digits of money behind the point."),
        key(
            "schema.name.adjustment.mode",
            Text,
            "none",
            Medium,
            "Schema names for a converter: none, avro or avro_unicode.",
        ),
        key(
            "field.name.adjustment.mode",
            Text,
            "none",
            Medium,
            "Field names for a converter: none, avro or avro_unicode.",
        ),
        key(
            "unavailable.value.placeholder",
            Text,
            "__debezium_unavailable_value",
            Low,
            "Stands for a TOASTed value that the server did not send; hex: before pairs of digits.",
        ),
        key(
            "snapshot.mode",
            Text,
            "initial",
            Medium,
            "always, initial, initial_only, no_data or when_needed.",
        ),
        key(
            "snapshot.isolation.mode",
            Text,
            "serializable",
            Low,
            "Isolation of a snapshot beside an existing slot: serializable, repeatable_read, read_committed.",
        ),
        key("snapshot.max.threads", Int, "1", Medium, "Connections that read tables at the same time.")
            .valid(Validator::AtLeast(1)),
        none(
            "snapshot.include.collection.list",
            List,
            Medium,
            "Regular expressions of tables to read in the snapshot; all captured ones without it.",
        ),
        none(
            "snapshot.select.statement.overrides",
            List,
            Medium,
            "Tables that have a SELECT of their own, at snapshot.select.statement.overrides.SCHEMA.TABLE.",
        ),
        key("snapshot.delay.ms", Long, "0", Low, "Wait before the snapshot."),
        key("heartbeat.interval.ms", Int, "0", Medium, "How often a heartbeat is written; 0 for never."),
        none("heartbeat.action.query", Text, Low, "SQL to run at every heartbeat."),
        key(
            "provide.transaction.metadata",
            Boolean,
            "false",
            Low,
            "Events carry their transaction, which has a topic of its own.",
        ),
        key("topic.delimiter", Text, ".", Medium, "Stands between the parts of topic names."),
        key(
            "topic.heartbeat.prefix",
            Text,
            "__debezium-heartbeat",
            Low,
            "First part of the heartbeats' topic.",
        ),
        key("topic.transaction", Text, "transaction", Low, "Last part of the transactions' topic."),
        key(
            "extended.headers.enabled",
            Boolean,
            "true",
            Low,
            "Records carry headers that tell the connector.",
        ),
        key(
            "max.batch.size",
            Int,
            "2048",
            Medium,
            "Records of one batch at most; without it as many as arrive together.",
        )
        .valid(Validator::AtLeast(1)),
        key("poll.interval.ms", Long, "500", Medium, "How long to wait for changes."),
        key(
            "errors.max.retries",
            Int,
            "-1",
            Medium,
            "How often to connect again after a failure; -1 for as often as it takes.",
        ),
        key(
            "retriable.restart.connector.wait.ms",
            Long,
            "10000",
            Low,
            "Longest wait before connecting again.",
        ),
        key("max.queue.size", Int, "8192", Medium, "Accepted; what waits is bounded in bytes here."),
        key("max.queue.size.in.bytes", Long, "0", Low, "Accepted; what waits is bounded at 8 MiB."),
        key("snapshot.fetch.size", Int, "10240", Low, "Accepted; rows come as a stream."),
        key("snapshot.locking.mode", Text, "none", Low, "Accepted; snapshots take no locks."),
        key("snapshot.lock.timeout.ms", Long, "10000", Low, "Accepted; snapshots take no locks."),
        key("database.tcpKeepAlive", Boolean, "true", Low, "Accepted."),
        key("database.query.timeout.ms", Int, "600000", Low, "Accepted."),
        key(
            "schema.refresh.mode",
            Text,
            "columns_diff",
            Low,
            "Accepted; a table's schema is read again whenever the server announces the table.",
        ),
        key(
            "lsn.flush.mode",
            Text,
            "connector",
            Low,
            "Accepted; the slot is confirmed up to what is stored, and up to the server's position when nothing is on the way.",
        ),
        key(
            "topic.naming.strategy",
            Text,
            "io.debezium.schema.SchemaTopicNamingStrategy",
            Medium,
            "Accepted: topics are named prefix.schema.table.",
        ),
    ],
};
