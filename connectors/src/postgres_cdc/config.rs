//! Debezium's configuration keys: the table, and what they come to.

mod identities;
mod keys;
mod signals;

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_engine::config::ParsedConfig;
use aqueduct_engine::connector::{ConfigMap, ConnectError};

pub(super) use identities::{Identities, ReplicaIdentity};
pub(super) use keys::CONFIG;
pub(super) use signals::Signals;

use super::filter::{Filters, TableMatcher, lists};
use super::naming::{Adjustment, Naming};
use super::notification::NotificationSettings;
use super::types::{
    BinaryMode, DecimalHandling, HStoreHandling, IntervalHandling, TimePrecision, TypeSettings,
};
use crate::postgres::{ConnectionSettings, KeyNames, SslMode, SslSettings};

/// `snapshot.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotMode {
    Always,
    Initial,
    InitialOnly,
    NoData,
    WhenNeeded,
}

/// `publication.autocreate.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Autocreate {
    AllTables,
    Disabled,
    Filtered,
    NoTables,
}

/// `snapshot.isolation.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    Serializable,
    RepeatableRead,
    ReadCommitted,
}

/// `skipped.operations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Skipped {
    pub(super) create: bool,
    pub(super) update: bool,
    pub(super) delete: bool,
    pub(super) truncate: bool,
}

/// The replication slot.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) drop_on_stop: bool,
    pub(super) failover: bool,
    pub(super) max_retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) status_interval: Duration,
    /// Further options of START_REPLICATION.
    pub(super) stream_params: Vec<(String, String)>,
}

/// The publication.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) name: String,
    pub(super) autocreate: Autocreate,
    pub(super) via_root: bool,
}

/// The initial reading of tables.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) mode: SnapshotMode,
    pub(super) isolation: Isolation,
    pub(super) threads: usize,
    pub(super) delay: Duration,
    pub(super) tables: Option<TableMatcher>,
    /// `schema.table` and the SELECT to use for it.
    pub(super) overrides: Vec<(String, String)>,
}

/// Transactions that the server sends before their commit.
#[derive(Debug)]
pub(super) struct Streaming {
    pub(super) enabled: bool,
    /// Bytes of all of them that stay in memory.
    pub(super) memory: usize,
    /// Where the rest goes.
    pub(super) folder: PathBuf,
}

/// Heartbeats.
#[derive(Debug, Clone)]
pub(super) struct Heartbeat {
    pub(super) interval: Duration,
    pub(super) action_query: Option<String>,
}

/// Everything that the task goes by.
pub(super) struct Settings {
    pub(super) connection: ConnectionSettings,
    pub(super) initial_statements: Vec<String>,
    pub(super) slot: Slot,
    pub(super) publication: Publication,
    pub(super) identities: Identities,
    pub(super) filters: Filters,
    pub(super) naming: Naming,
    pub(super) types: TypeSettings,
    pub(super) placeholder: Vec<u8>,
    pub(super) snapshot: Snapshot,
    pub(super) streaming: Streaming,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) skipped: Skipped,
    pub(super) tombstones: bool,
    pub(super) transaction_metadata: bool,
    pub(super) extended_headers: bool,
    /// Records of one poll at most.
    pub(super) max_batch: usize,
    pub(super) poll_interval: Duration,
    /// -1: as often as it takes.
    pub(super) max_retries: i64,
    pub(super) restart_wait: Duration,
    /// Only messages with these prefixes.
    pub(super) message_prefixes: Option<(bool, TableMatcher)>,
    pub(super) skip_unchanged: bool,
    pub(super) signals: Signals,
    pub(super) notifications: NotificationSettings,
}

/// Most records of one poll where the configuration does not say: blocks of the server are smaller.
const MAX_BATCH_DEFAULT: usize = 32_768;

fn wrong(key: &str, value: &str, why: &str) -> ConnectError {
    ConnectError::fatal(format!("Invalid value {value} for configuration {key}: {why}"))
}

/// Values by key, with errors that name them.
struct Values<'a> {
    parsed: ParsedConfig,
    given: &'a ConfigMap,
}

impl Values<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.parsed.string(key).map(str::trim).filter(|value| !value.is_empty())
    }

    fn or(&self, key: &str, default: &str) -> String {
        self.text(key).unwrap_or(default).to_owned()
    }

    fn flag(&self, key: &str) -> bool {
        self.parsed.boolean(key)
    }

    fn millis(&self, key: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.parsed.long(key)).unwrap_or(0))
    }

    /// One of the named values, whatever the case.
    fn one<T: Copy>(&self, key: &str, values: &[(&str, T)]) -> Result<T, ConnectError> {
        let given = self.text(key).unwrap_or_default();
        let found = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
            wrong(key, given, &format!("one of {}", names.join(", ")))
        })
    }
}

impl Settings {
    /// Reads a connector's configuration.
    pub(super) fn new(config: &ConfigMap) -> Result<Settings, ConnectError> {
        let parsed = CONFIG.parse(config).map_err(|error| ConnectError::fatal(error.to_string()))?;
        let values = Values { parsed, given: config };
        plugin_name(&values)?;
        Ok(Settings {
            connection: connection(&values)?,
            initial_statements: statements(&values.or("database.initial.statements", "")),
            slot: slot(&values)?,
            publication: publication(&values)?,
            identities: identities::identities(&values.or("replica.identity.autoset.values", ""))?,
            filters: filters(&values)?,
            naming: naming(&values)?,
            types: types(&values)?,
            placeholder: placeholder(&values)?,
            snapshot: snapshot(&values)?,
            streaming: Streaming {
                enabled: values.flag("streaming.transactions.enabled"),
                memory: usize::try_from(values.parsed.long("streaming.memory.bytes")).unwrap_or(usize::MAX),
                folder: values
                    .text("streaming.spill.directory")
                    .map_or_else(std::env::temp_dir, PathBuf::from),
            },
            heartbeat: heartbeat(&values),
            skipped: skipped(&values)?,
            tombstones: values.flag("tombstones.on.delete"),
            transaction_metadata: values.flag("provide.transaction.metadata"),
            extended_headers: values.flag("extended.headers.enabled"),
            max_batch: match values.given.contains_key("max.batch.size") {
                true => values.parsed.long("max.batch.size").clamp(1, 1 << 20) as usize,
                false => MAX_BATCH_DEFAULT,
            },
            poll_interval: values
                .millis("poll.interval.ms")
                .clamp(Duration::from_millis(1), Duration::from_secs(1)),
            max_retries: values.parsed.long("errors.max.retries"),
            restart_wait: values.millis("retriable.restart.connector.wait.ms"),
            message_prefixes: message_prefixes(&values)?,
            skip_unchanged: values.flag("skip.messages.without.change"),
            signals: signals::signals(&values)?,
            notifications: signals::notifications(&values)?,
        })
    }

    /// Whether changes of a table are wanted: those of the signal table are, as in Debezium.
    pub(super) fn captures(&self, schema: &str, table: &str) -> bool {
        self.filters.table(schema, table) || self.signals.is_table(schema, table)
    }
}

fn plugin_name(values: &Values<'_>) -> Result<(), ConnectError> {
    match values.text("plugin.name") {
        Some("pgoutput") => Ok(()),
        Some("decoderbufs") => {
            tracing::warn!("plugin.name=decoderbufs: pgoutput is used instead, which every server has");
            Ok(())
        }
        other => Err(wrong(
            "plugin.name",
            other.unwrap_or_default(),
            "only pgoutput is supported; it is part of every server since PostgreSQL 10",
        )),
    }
}

fn connection(values: &Values<'_>) -> Result<ConnectionSettings, ConnectError> {
    let file = |key: &str| values.text(key).map(PathBuf::from);
    let mode = values.or("database.sslmode", "prefer");
    Ok(ConnectionSettings {
        host: values.or("database.hostname", "localhost"),
        port: u16::try_from(values.parsed.long("database.port"))
            .map_err(|error| wrong("database.port", &values.or("database.port", ""), &error.to_string()))?,
        user: values.or("database.user", ""),
        password: values.parsed.string("database.password").map(str::to_owned),
        database: values.or("database.dbname", ""),
        ssl: SslSettings {
            mode: SslMode::parse(&mode).ok_or_else(|| {
                wrong(
                    "database.sslmode",
                    &mode,
                    "one of disable, allow, prefer, require, verify-ca, verify-full",
                )
            })?,
            root_cert: file("database.sslrootcert"),
            cert: file("database.sslcert"),
            key: file("database.sslkey"),
        },
        connect_timeout: values.millis("connection.validation.timeout.ms").max(Duration::from_secs(1)),
        application_name: "Aqueduct".to_owned(),
        parameters: Vec::new(),
        names: &NAMES,
    })
}

static NAMES: KeyNames = KeyNames {
    host: "database.hostname and database.port",
    login: "database.user, database.dbname",
    password: "database.password",
    ssl_mode: "database.sslmode",
    root_cert: "database.sslrootcert",
    cert: "database.sslcert",
    key: "database.sslkey",
};

/// Separated by semicolons; two of them stand for one.
fn statements(text: &str) -> Vec<String> {
    let marked = text.replace(";;", "\u{0}");
    marked
        .split(';')
        .map(|sql| sql.replace('\u{0}', ";").trim().to_owned())
        .filter(|sql| !sql.is_empty())
        .collect()
}

fn slot(values: &Values<'_>) -> Result<Slot, ConnectError> {
    let name = values.or("slot.name", "debezium");
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.len() > 63 || !name.bytes().all(allowed) {
        return Err(wrong(
            "slot.name",
            &name,
            "lower-case letters, digits and underscores, 63 of them at most",
        ));
    }
    let stream_params = values.or("slot.stream.params", "");
    let param = |pair: &str| {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| wrong("slot.stream.params", pair, "expected name=value;name=value"))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    Ok(Slot {
        name,
        drop_on_stop: values.flag("slot.drop.on.stop"),
        failover: values.flag("slot.failover"),
        max_retries: u32::try_from(values.parsed.long("slot.max.retries")).unwrap_or(0),
        retry_delay: values.millis("slot.retry.delay.ms"),
        status_interval: values.millis("status.update.interval.ms").max(Duration::from_millis(10)),
        stream_params: stream_params
            .split(';')
            .filter(|pair| !pair.trim().is_empty())
            .map(param)
            .collect::<Result<_, _>>()?,
    })
}

fn publication(values: &Values<'_>) -> Result<Publication, ConnectError> {
    let modes = [
        ("all_tables", Autocreate::AllTables),
        ("disabled", Autocreate::Disabled),
        ("filtered", Autocreate::Filtered),
        ("no_tables", Autocreate::NoTables),
    ];
    Ok(Publication {
        name: values.or("publication.name", "dbz_publication"),
        autocreate: values.one("publication.autocreate.mode", &modes)?,
        via_root: values.flag("publish.via.partition.root"),
    })
}

fn filters(values: &Values<'_>) -> Result<Filters, ConnectError> {
    let pair = |what: &str| -> Result<Option<(bool, TableMatcher)>, ConnectError> {
        let (include, exclude) = (format!("{what}.include.list"), format!("{what}.exclude.list"));
        match (values.text(&include), values.text(&exclude)) {
            (Some(_), Some(_)) => Err(ConnectError::fatal(format!(
                "{include} and {exclude} are both set; only one of them may be"
            ))),
            (Some(list), None) => Ok(Some((true, TableMatcher::new(&include, list)?))),
            (None, Some(list)) => Ok(Some((false, TableMatcher::new(&exclude, list)?))),
            (None, None) => Ok(None),
        }
    };
    Filters::new(
        pair("schema")?,
        pair("table")?,
        pair("column")?,
        values.text("message.key.columns"),
        values.given,
    )
}

fn naming(values: &Values<'_>) -> Result<Naming, ConnectError> {
    let modes =
        [("none", Adjustment::None), ("avro", Adjustment::Avro), ("avro_unicode", Adjustment::AvroUnicode)];
    let prefix = values.or("topic.prefix", "");
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if prefix.is_empty() || !prefix.bytes().all(legal) {
        return Err(wrong("topic.prefix", &prefix, "letters, digits, dots, underscores and hyphens only"));
    }
    Ok(Naming {
        delimiter: values.or("topic.delimiter", "."),
        heartbeat_prefix: values.or("topic.heartbeat.prefix", "__debezium-heartbeat"),
        transaction: values.or("topic.transaction", "transaction"),
        schema_names: values.one("schema.name.adjustment.mode", &modes)?,
        field_names: values.one("field.name.adjustment.mode", &modes)?,
        prefix,
    })
}

fn types(values: &Values<'_>) -> Result<TypeSettings, ConnectError> {
    Ok(TypeSettings {
        time: values.one(
            "time.precision.mode",
            &[
                ("adaptive", TimePrecision::Adaptive),
                ("adaptive_time_microseconds", TimePrecision::AdaptiveTimeMicroseconds),
                ("connect", TimePrecision::Connect),
                ("microseconds", TimePrecision::Microseconds),
                ("nanoseconds", TimePrecision::Nanoseconds),
                ("isostring", TimePrecision::IsoString),
                ("structured", TimePrecision::Structured),
            ],
        )?,
        decimal: values.one(
            "decimal.handling.mode",
            &[
                ("precise", DecimalHandling::Precise),
                ("double", DecimalHandling::Double),
                ("string", DecimalHandling::Text),
            ],
        )?,
        binary: values.one(
            "binary.handling.mode",
            &[
                ("bytes", BinaryMode::Bytes),
                ("base64", BinaryMode::Base64),
                ("base64-url-safe", BinaryMode::Base64UrlSafe),
                ("hex", BinaryMode::Hex),
            ],
        )?,
        hstore: values
            .one("hstore.handling.mode", &[("json", HStoreHandling::Json), ("map", HStoreHandling::Map)])?,
        interval: values.one(
            "interval.handling.mode",
            &[("numeric", IntervalHandling::Numeric), ("string", IntervalHandling::Text)],
        )?,
        money_fraction: values.parsed.long("money.fraction.digits").clamp(0, 18) as i32,
        include_unknown: values.flag("include.unknown.datatypes"),
    })
}

fn placeholder(values: &Values<'_>) -> Result<Vec<u8>, ConnectError> {
    let text = values.or("unavailable.value.placeholder", "__debezium_unavailable_value");
    let Some(hex) = text.strip_prefix("hex:") else { return Ok(text.into_bytes()) };
    let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    bytes.ok_or_else(|| {
        wrong("unavailable.value.placeholder", &text, "pairs of hexadecimal digits after hex:")
    })
}

fn snapshot(values: &Values<'_>) -> Result<Snapshot, ConnectError> {
    let key = "snapshot.mode";
    let mode = values.one(
        key,
        &[
            ("always", SnapshotMode::Always),
            ("initial", SnapshotMode::Initial),
            ("initial_only", SnapshotMode::InitialOnly),
            ("no_data", SnapshotMode::NoData),
            ("never", SnapshotMode::NoData),
            ("when_needed", SnapshotMode::WhenNeeded),
        ],
    )?;
    let isolation = values.one(
        "snapshot.isolation.mode",
        &[
            ("serializable", Isolation::Serializable),
            ("repeatable_read", Isolation::RepeatableRead),
            ("read_committed", Isolation::ReadCommitted),
            ("read_uncommitted", Isolation::ReadCommitted),
        ],
    )?;
    let tables = values.text("snapshot.include.collection.list");
    let override_of = |table: &str| {
        let key = format!("snapshot.select.statement.overrides.{table}");
        let select = values.given.get(&key).ok_or_else(|| {
            ConnectError::fatal(format!(
                "{key}: not set, but snapshot.select.statement.overrides names {table}"
            ))
        })?;
        Ok((table.to_owned(), select.clone()))
    };
    Ok(Snapshot {
        mode,
        isolation,
        threads: values.parsed.long("snapshot.max.threads").clamp(1, 64) as usize,
        delay: values.millis("snapshot.delay.ms"),
        tables: tables.map(|list| TableMatcher::new("snapshot.include.collection.list", list)).transpose()?,
        overrides: lists(values.text("snapshot.select.statement.overrides").unwrap_or_default())
            .iter()
            .map(|table| override_of(table))
            .collect::<Result<_, ConnectError>>()?,
    })
}

fn heartbeat(values: &Values<'_>) -> Option<Heartbeat> {
    let interval = values.millis("heartbeat.interval.ms");
    let action_query = values.text("heartbeat.action.query").map(str::to_owned);
    (!interval.is_zero()).then_some(Heartbeat { interval, action_query })
}

fn skipped(values: &Values<'_>) -> Result<Skipped, ConnectError> {
    let mut skipped = Skipped::default();
    for operation in values.parsed.list("skipped.operations") {
        match operation {
            "c" | "r" => skipped.create = true,
            "u" => skipped.update = true,
            "d" => skipped.delete = true,
            "t" => skipped.truncate = true,
            "none" => {}
            other => return Err(wrong("skipped.operations", other, "c, u, d, t or none")),
        }
    }
    Ok(skipped)
}

fn message_prefixes(values: &Values<'_>) -> Result<Option<(bool, TableMatcher)>, ConnectError> {
    for (key, include) in [("message.prefix.include.list", true), ("message.prefix.exclude.list", false)] {
        if let Some(list) = values.text(key) {
            return Ok(Some((include, TableMatcher::new(key, list)?)));
        }
    }
    Ok(None)
}
