//! `io.confluent.connect.jdbc.JdbcSourceConnector`: its keys, and what they come to.

mod keys;

use std::time::Duration;

use aqueduct_engine::config::{ConfigError, ParsedConfig};
use aqueduct_engine::connector::ConfigMap;
use fancy_regex::Regex;

pub(in crate::jdbc) use keys::CONFIG;
pub(super) use keys::{TABLES, TABLES_FETCHED};

use crate::jdbc::connection::Connections;
use crate::jdbc::zone::Zone;

/// How new rows are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) incrementing: bool,
    pub(super) timestamp: bool,
}

impl Mode {
    /// Every row, every time.
    pub(super) const fn is_bulk(self) -> bool {
        !self.incrementing && !self.timestamp
    }
}

/// `numeric.mapping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumericMapping {
    None,
    PrecisionOnly,
    BestFit,
    BestFitEagerDouble,
}

/// Unit of `timestamp.granularity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    Micros,
    Nanos,
}

/// `timestamp.granularity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granularity {
    /// Connect's Timestamp, milliseconds.
    Logical,
    Long(Grain),
    Text(Grain),
    Iso(Grain),
}

/// Which tables are read.
#[derive(Debug, Clone)]
pub(super) enum TableFilter {
    /// Exactly these, by any of their names.
    Whitelist(Vec<String>),
    Blacklist(Vec<String>),
    /// `schema.table` matches one of the first and none of the second.
    Patterns(Vec<Regex>, Vec<Regex>),
    All,
}

/// A column for tables whose `schema.table` matches.
#[derive(Debug, Clone)]
pub(super) struct ColumnMapping {
    pattern: Regex,
    columns: Vec<String>,
}

/// Everything that connector and tasks go by.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) connections: Connections,
    pub(super) mode: Mode,
    pub(super) query: Option<String>,
    pub(super) suffix: String,
    pub(super) incrementing: String,
    pub(super) timestamps: Vec<String>,
    incrementing_mapping: Vec<ColumnMapping>,
    timestamp_mapping: Vec<ColumnMapping>,
    /// Milliseconds; -1 is the database's present.
    pub(super) timestamp_initial: Option<i64>,
    pub(super) timestamp_delay: Duration,
    pub(super) validate_non_null: bool,
    pub(super) filter: TableFilter,
    pub(super) schema_pattern: Option<String>,
    pub(super) catalog: Option<String>,
    pub(super) table_types: Vec<String>,
    pub(super) numeric: NumericMapping,
    pub(super) granularity: Granularity,
    pub(super) zone: Zone,
    pub(super) quote: bool,
    pub(super) isolation: Option<&'static str>,
    pub(super) poll_interval: Duration,
    pub(super) linger: Duration,
    pub(super) table_poll_interval: Duration,
    pub(super) startup_limit: Duration,
    pub(super) max_rows: usize,
    /// 0 or below: for ever.
    pub(super) retries: i64,
    pub(super) topic_prefix: String,
}

fn wrong(key: &str, value: &str, why: &str) -> ConfigError {
    ConfigError::invalid(key, value, why)
}

fn millis(parsed: &ParsedConfig, key: &str) -> Duration {
    Duration::from_millis(u64::try_from(parsed.long(key)).unwrap_or(0))
}

fn patterns(key: &str, texts: &[&str]) -> Result<Vec<Regex>, ConfigError> {
    let pattern = |text: &&str| {
        Regex::new(&format!("^(?:{text})$")).map_err(|error| wrong(key, text, &error.to_string()))
    };
    texts.iter().map(pattern).collect()
}

/// `regex:[c1|c2],regex2:c3`.
fn mapping(key: &str, entries: &[&str]) -> Result<Vec<ColumnMapping>, ConfigError> {
    let entry = |text: &&str| {
        let (pattern, columns) = text.rsplit_once(':').ok_or_else(|| {
            wrong(key, text, "each entry is a regular expression of schema.table, a colon and its column")
        })?;
        let columns = columns.trim_start_matches('[').trim_end_matches(']').split('|');
        let pattern = patterns(key, &[pattern])?.swap_remove(0);
        Ok(ColumnMapping { pattern, columns: columns.map(|column| column.trim().to_owned()).collect() })
    };
    entries.iter().map(entry).collect()
}

/// Reads a configuration, of the connector or of a task.
pub(super) fn settings(config: &ConfigMap) -> Result<Settings, ConfigError> {
    let parsed = CONFIG.parse(config)?;
    let text = |key: &str| parsed.string(key).map(str::trim).unwrap_or_default();
    let given = |key: &str| Some(text(key)).filter(|text| !text.is_empty()).map(str::to_owned);
    let upper = |key: &str| text(key).to_ascii_uppercase();
    let mode = match text("mode") {
        "bulk" => Mode { incrementing: false, timestamp: false },
        "incrementing" => Mode { incrementing: true, timestamp: false },
        "timestamp" => Mode { incrementing: false, timestamp: true },
        "timestamp+incrementing" => Mode { incrementing: true, timestamp: true },
        _ => return Err(ConfigError::new("mode", "Query mode must be specified")),
    };
    let query = given("query.masked").or_else(|| given("query"));
    let settings = Settings {
        connections: Connections::new(&parsed, config)?,
        mode,
        suffix: text("query.suffix").to_owned(),
        incrementing: text("incrementing.column.name").to_owned(),
        timestamps: parsed.list("timestamp.column.name").into_iter().map(str::to_owned).collect(),
        incrementing_mapping: mapping(
            "incrementing.column.mapping",
            &parsed.list("incrementing.column.mapping"),
        )?,
        timestamp_mapping: mapping("timestamp.columns.mapping", &parsed.list("timestamp.columns.mapping"))?,
        timestamp_initial: text("timestamp.initial").parse().ok(),
        timestamp_delay: millis(&parsed, "timestamp.delay.interval.ms"),
        validate_non_null: parsed.boolean("validate.non.null"),
        filter: filter(&parsed)?,
        schema_pattern: given("schema.pattern"),
        catalog: given("catalog.pattern"),
        table_types: parsed.list("table.types").iter().map(|kind| kind.to_ascii_uppercase()).collect(),
        numeric: match upper("numeric.mapping").as_str() {
            "PRECISION_ONLY" => NumericMapping::PrecisionOnly,
            "BEST_FIT" => NumericMapping::BestFit,
            "BEST_FIT_EAGER_DOUBLE" => NumericMapping::BestFitEagerDouble,
            "" if parsed.boolean("numeric.precision.mapping") => NumericMapping::PrecisionOnly,
            _ => NumericMapping::None,
        },
        granularity: match text("timestamp.granularity") {
            "micros_long" => Granularity::Long(Grain::Micros),
            "nanos_long" => Granularity::Long(Grain::Nanos),
            "micros_string" => Granularity::Text(Grain::Micros),
            "nanos_string" => Granularity::Text(Grain::Nanos),
            "micros_iso_datetime_string" => Granularity::Iso(Grain::Micros),
            "nanos_iso_datetime_string" => Granularity::Iso(Grain::Nanos),
            _ => Granularity::Logical,
        },
        zone: Zone::parse(text("db.timezone"))
            .ok_or_else(|| wrong("db.timezone", text("db.timezone"), "Invalid time zone identifier"))?,
        quote: !text("quote.sql.identifiers").eq_ignore_ascii_case("never"),
        isolation: match upper("transaction.isolation.mode").as_str() {
            "READ_UNCOMMITTED" => Some("READ UNCOMMITTED"),
            "READ_COMMITTED" => Some("READ COMMITTED"),
            "REPEATABLE_READ" => Some("REPEATABLE READ"),
            "SERIALIZABLE" => Some("SERIALIZABLE"),
            _ => None,
        },
        poll_interval: millis(&parsed, "poll.interval.ms"),
        linger: millis(&parsed, "poll.linger.ms"),
        table_poll_interval: millis(&parsed, "table.poll.interval.ms"),
        startup_limit: millis(&parsed, "table.monitoring.startup.polling.limit.ms"),
        max_rows: usize::try_from(parsed.long("batch.max.rows")).unwrap_or(1).max(1),
        retries: parsed.long("query.retry.attempts"),
        topic_prefix: text("topic.prefix").to_owned(),
        query,
    };
    settings.check(&parsed)
}

fn filter(parsed: &ParsedConfig) -> Result<TableFilter, ConfigError> {
    let list = |key: &str| parsed.list(key);
    let (white, black) = (list("table.whitelist"), list("table.blacklist"));
    let (include, exclude) = (list("table.include.list"), list("table.exclude.list"));
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let both = |key: &str, value: &[&str], other: &str| {
        Err(wrong(key, &value.join(","), &format!("cannot be set together with {other}")))
    };
    if !white.is_empty() && !black.is_empty() {
        return both("table.blacklist", &black, "table.whitelist");
    }
    if !(include.is_empty() && exclude.is_empty()) {
        if !(white.is_empty() && black.is_empty()) {
            return both("table.include.list", &include, "table.whitelist or table.blacklist");
        }
        if include.is_empty() {
            return Err(wrong("table.exclude.list", &exclude.join(","), "needs table.include.list"));
        }
        return Ok(TableFilter::Patterns(
            patterns("table.include.list", &include)?,
            patterns("table.exclude.list", &exclude)?,
        ));
    }
    Ok(match (white.is_empty(), black.is_empty()) {
        (false, _) => TableFilter::Whitelist(owned(white)),
        (_, false) => TableFilter::Blacklist(owned(black)),
        _ => TableFilter::All,
    })
}

impl Settings {
    /// What no single key can tell.
    fn check(self, parsed: &ParsedConfig) -> Result<Settings, ConfigError> {
        let given = |key: &str| parsed.string(key).is_some_and(|value| !value.trim().is_empty());
        if given("query") && given("query.masked") {
            return Err(ConfigError::new("query.masked", "give either query or query.masked"));
        }
        let key = if given("query.masked") { "query.masked" } else { "query" };
        if let Some(query) = &self.query {
            let filters = ["table.whitelist", "table.blacklist", "table.include.list", "table.exclude.list"];
            if let Some(filter) = filters.into_iter().find(|filter| given(filter)) {
                return Err(ConfigError::new(key, format!("a query and {filter} cannot be set together")));
            }
            let first =
                query.trim_start().split(|char: char| !char.is_alphabetic()).next().unwrap_or_default();
            if !["select", "with", "values", "table"].contains(&first.to_ascii_lowercase().as_str()) {
                return Err(ConfigError::new(key, "only SELECT statements are allowed"));
            }
            if self.mode.incrementing && self.incrementing.is_empty() {
                return Err(ConfigError::new(
                    "incrementing.column.name",
                    "a query has no column that numbers itself: name the column",
                ));
            }
        }
        if self.mode.timestamp && self.timestamps.is_empty() && self.timestamp_mapping.is_empty() {
            return Err(ConfigError::new(
                "timestamp.column.name",
                "the timestamp modes need the columns that hold the time of the last change",
            ));
        }
        Ok(self)
    }

    /// The columns of time for a table, unquoted `schema.table`.
    pub(super) fn timestamps_of(&self, table: &str) -> &[String] {
        mapped(&self.timestamp_mapping, table).unwrap_or(&self.timestamps)
    }

    /// The incrementing column of a table; empty: the one that numbers itself.
    pub(super) fn incrementing_of(&self, table: &str) -> &str {
        mapped(&self.incrementing_mapping, table)
            .and_then(|columns| columns.first())
            .map_or(&self.incrementing, String::as_str)
    }
}

fn mapped<'a>(mapping: &'a [ColumnMapping], table: &str) -> Option<&'a [String]> {
    let entry = mapping.iter().find(|entry| entry.pattern.is_match(table).unwrap_or(false));
    entry.map(|entry| entry.columns.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let base = [
            ("connection.url", "jdbc:postgresql://h/d"),
            ("connection.user", "u"),
            ("topic.prefix", "p-"),
            ("mode", "bulk"),
        ];
        let config: ConfigMap =
            base.iter().chain(given).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        settings(&config)
    }

    #[test]
    fn what_does_not_go_together() {
        for (given, expected) in [
            (vec![("mode", "")], "Query mode must be specified"),
            (vec![("mode", "other")], "mode"),
            (vec![("mode", "timestamp")], "need the columns"),
            (vec![("query", "select 1"), ("table.whitelist", "t")], "cannot be set together"),
            (vec![("query", "delete from t")], "only SELECT"),
            (vec![("query", "select 1"), ("mode", "incrementing")], "name the column"),
            (vec![("table.whitelist", "t"), ("table.blacklist", "t")], "cannot be set together"),
            (vec![("table.exclude.list", "t")], "needs table.include.list"),
            (vec![("table.include.list", "(")], "table.include.list"),
            (vec![("numeric.mapping", "Best_fit")], "numeric.mapping"),
            (vec![("topic.prefix", "with space")], "topic.prefix"),
        ] {
            let error = read(&given).unwrap_err().message;
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn columns_by_table() {
        let settings = read(&[
            ("mode", "timestamp+incrementing"),
            ("timestamp.columns.mapping", "public\\.a.*:[created|updated],public\\.b:at"),
            ("incrementing.column.mapping", "public\\.a.*:number"),
            ("incrementing.column.name", "id"),
        ])
        .unwrap();
        assert_eq!(settings.timestamps_of("public.ab"), ["created", "updated"]);
        assert_eq!(settings.timestamps_of("public.b"), ["at"]);
        assert_eq!(
            (settings.incrementing_of("public.a"), settings.incrementing_of("public.b")),
            ("number", "id")
        );
    }
}
