//! Statements of the modes.

use chrono::DateTime;

use super::config::Settings;
use super::offset::Offset;
use crate::jdbc::sink::TableId;
use crate::jdbc::zone::Zone;
use crate::postgres::quote_ident;

/// What is read: a table, or the configured query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Table(TableId),
    Query(String),
}

impl Target {
    /// For messages, unquoted.
    pub(super) fn name(&self) -> String {
        match self {
            Target::Table(TableId { schema: Some(schema), name }) => format!("{schema}.{name}"),
            Target::Table(TableId { schema: None, name }) => name.clone(),
            Target::Query(_) => "the query".to_owned(),
        }
    }

    /// Everything of it.
    pub(super) fn select(&self, settings: &Settings) -> String {
        match self {
            Target::Table(table) => format!("SELECT * FROM {}", table_text(settings, table)),
            Target::Query(query) => query.trim().trim_end_matches(';').to_owned(),
        }
    }

    fn column(&self, settings: &Settings, name: &str) -> String {
        let name = ident(settings, name);
        match self {
            Target::Table(table) => format!("{}.{name}", table_text(settings, table)),
            Target::Query(_) => name,
        }
    }
}

fn ident(settings: &Settings, name: &str) -> String {
    if settings.quote { quote_ident(name) } else { name.to_owned() }
}

fn table_text(settings: &Settings, table: &TableId) -> String {
    let schema = table.schema.as_deref().map(|schema| format!("{}.", ident(settings, schema)));
    format!("{}{}", schema.unwrap_or_default(), ident(settings, &table.name))
}

/// The bounds of one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Behind what was read.
    pub(super) from: Offset,
    /// Before this time, in microseconds.
    pub(super) until: i64,
}

/// The statement of a pass; column names as they are in the result.
pub(super) fn statement(
    settings: &Settings,
    target: &Target,
    timestamps: &[String],
    incrementing: &str,
    bounds: &Bounds,
) -> String {
    let all = target.select(settings);
    let number = || target.column(settings, incrementing);
    let time = || {
        let columns: Vec<String> = timestamps.iter().map(|name| target.column(settings, name)).collect();
        if columns.len() == 1 { columns.concat() } else { format!("COALESCE({})", columns.join(",")) }
    };
    let id = bounds.from.incrementing.unwrap_or(-1);
    let begin = moment(bounds.from.timestamp.unwrap_or(0), settings.zone);
    let end = moment(bounds.until, settings.zone);
    let mut text = match (settings.mode.timestamp, settings.mode.incrementing) {
        (false, false) => all,
        (false, true) => {
            let number = number();
            format!("{all} WHERE {number} > {id} ORDER BY {number} ASC")
        }
        (true, false) => {
            let time = time();
            format!("{all} WHERE {time} > {begin} AND {time} < {end} ORDER BY {time} ASC")
        }
        (true, true) => {
            let (time, number) = (time(), number());
            format!(
                "{all} WHERE {time} < {end} AND (({time} = {begin} AND {number} > {id}) OR {time} > {begin}) ORDER BY {time},{number} ASC"
            )
        }
    };
    if !settings.suffix.is_empty() {
        text.push(' ');
        text.push_str(&settings.suffix);
    }
    text
}

/// A literal that is right for columns with a zone and for those without: these do not look at its offset.
fn moment(micros: i64, zone: Zone) -> String {
    let wall = zone.wall(micros);
    let offset = (wall - micros) / 1_000_000;
    let Some(local) = DateTime::from_timestamp_micros(wall) else {
        return if micros < 0 { "'-infinity'" } else { "'infinity'" }.to_owned();
    };
    let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    format!(
        "'{}{sign}{:02}:{:02}:{:02}'",
        local.format("%Y-%m-%d %H:%M:%S%.6f"),
        offset / 3600,
        offset / 60 % 60,
        offset % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_engine::connector::ConfigMap;

    fn text(mode: &str, quote: &str, target: &Target) -> String {
        let config: ConfigMap = [
            ("connection.url", "jdbc:postgresql://h/d"),
            ("connection.user", "u"),
            ("topic.prefix", "p"),
            ("mode", mode),
            ("timestamp.column.name", "a,b"),
            ("incrementing.column.name", "id"),
            ("db.timezone", "GMT+2"),
            ("quote.sql.identifiers", quote),
            ("query.suffix", "LIMIT 5"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
        let settings = super::super::config::settings(&config).unwrap();
        let from = Offset { incrementing: Some(7), timestamp: Some(5) };
        let bounds = Bounds { from, until: 1_000_000 };
        statement(&settings, target, &["a".to_owned(), "b".to_owned()], "id", &bounds)
    }

    #[test]
    fn every_mode() {
        let table = Target::Table(TableId { schema: Some("s".into()), name: "T".into() });
        assert_eq!(text("bulk", "always", &table), "SELECT * FROM \"s\".\"T\" LIMIT 5");
        assert_eq!(
            text("incrementing", "never", &table),
            "SELECT * FROM s.T WHERE s.T.id > 7 ORDER BY s.T.id ASC LIMIT 5"
        );
        let query = Target::Query("select * from x;".into());
        assert_eq!(
            text("timestamp", "always", &query),
            "select * from x WHERE COALESCE(\"a\",\"b\") > '1970-01-01 02:00:00.000005+02:00:00' AND COALESCE(\"a\",\"b\") < '1970-01-01 02:00:01.000000+02:00:00' ORDER BY COALESCE(\"a\",\"b\") ASC LIMIT 5"
        );
        assert!(text("timestamp+incrementing", "always", &query).contains(
            "WHERE COALESCE(\"a\",\"b\") < '1970-01-01 02:00:01.000000+02:00:00' AND ((COALESCE(\"a\",\"b\") = '1970-01-01 02:00:00.000005+02:00:00' AND \"id\" > 7) OR COALESCE(\"a\",\"b\") > "
        ));
    }
}
