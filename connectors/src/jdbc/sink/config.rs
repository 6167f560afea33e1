//! What a sink goes by, whichever connector's keys it came from.

use std::time::Duration;

use aqueduct_engine::config::ConfigError;
use aqueduct_engine::connector::ConfigMap;

use crate::jdbc::connection::Connections;
use crate::jdbc::zone::Zone;

/// `insert.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertMode {
    Insert,
    Upsert,
    Update,
}

/// `pk.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyMode {
    None,
    Kafka,
    RecordKey,
    RecordValue,
}

/// Whose keys and habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Confluent,
    Debezium,
}

/// How a name of a record becomes one of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// As it is.
    Always,
    /// Folded to lower case, as PostgreSQL does with names that are not quoted.
    Never,
}

/// Units of `timestamp.fields.list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    Micros,
    Nanos,
}

/// Everything that a task goes by.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) flavour: Flavour,
    pub(super) connections: Connections,
    pub(super) insert_mode: InsertMode,
    /// Rows of one statement.
    pub(super) batch_size: usize,
    pub(super) delete_enabled: bool,
    pub(super) truncate_enabled: bool,
    /// Kinds of tables that may be written: `pg_class.relkind`.
    pub(super) relation_kinds: String,
    pub(super) null_as_default: bool,
    /// With `${topic}`.
    pub(super) table_format: String,
    pub(super) key_mode: KeyMode,
    pub(super) key_fields: Vec<String>,
    pub(super) fields: FieldFilter,
    pub(super) zone: Zone,
    /// For dates.
    pub(super) date_zone: Zone,
    pub(super) timestamp_fields: Vec<String>,
    pub(super) timestamp_precision: Precision,
    /// Column of a plain text value.
    pub(super) text_column: String,
    pub(super) auto_create: bool,
    pub(super) auto_evolve: bool,
    pub(super) quoting: Quoting,
    pub(super) max_retries: u32,
    pub(super) retry_backoff: Duration,
    /// `errors.tolerance=all`: bad rows go to the dead letter queue and the others on.
    pub(super) tolerant: bool,
    /// Table of the offsets that are stored with the rows.
    pub(super) offsets_table: Option<String>,
    /// Names of columns.
    pub(super) column_names: Naming,
    /// Names of tables.
    pub(super) table_names: Naming,
}

/// Which fields of the value become columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldFilter {
    /// None: all.
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
}

impl FieldFilter {
    pub(super) fn takes(&self, topic: &str, field: &str) -> bool {
        let is = |entry: &String| match entry.split_once(':') {
            Some((entry_topic, entry_field)) => entry_topic == topic && entry_field == field,
            None => entry == field,
        };
        (self.include.is_empty() || self.include.iter().any(is)) && !self.exclude.iter().any(is)
    }
}

/// How names are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Naming {
    pub(super) style: Style,
    pub(super) prefix: String,
    pub(super) suffix: String,
}

/// Which letters and what stands between words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    AsIs,
    Snake,
    Camel,
    Kebab,
    Upper,
    Lower,
}

/// `exactly.once.offsets.table`.
pub(super) const OFFSETS_TABLE: &str = "exactly.once.offsets.table";

/// Whether bad rows are tolerated.
pub(super) fn tolerant(config: &ConfigMap) -> bool {
    config.get("errors.tolerance").is_some_and(|value| value.trim().eq_ignore_ascii_case("all"))
}

pub(super) fn wrong(key: &str, value: &str, why: &str) -> ConfigError {
    ConfigError::invalid(key, value, why)
}

impl Settings {
    /// What no single key can tell.
    pub(super) fn check(self) -> Result<Settings, ConfigError> {
        let keys = match self.flavour {
            Flavour::Confluent => ("pk.mode", "pk.fields"),
            Flavour::Debezium => ("primary.key.mode", "primary.key.fields"),
        };
        let mode = format!("{:?}", self.key_mode).to_ascii_lowercase();
        if self.delete_enabled && self.key_mode != KeyMode::RecordKey {
            return Err(wrong(
                "delete.enabled",
                "true",
                &format!("Deletes are only supported for {} record_key", keys.0),
            ));
        }
        if self.insert_mode != InsertMode::Insert && self.key_mode == KeyMode::None {
            return Err(wrong(
                keys.0,
                &mode,
                "insert.mode upsert and update need to know the key; set it to record_key, record_value or kafka",
            ));
        }
        if self.key_mode == KeyMode::Kafka && !matches!(self.key_fields.len(), 0 | 3) {
            return Err(wrong(
                keys.1,
                &self.key_fields.join(","),
                "with the kafka mode exactly three names (topic, partition, offset) or none",
            ));
        }
        Ok(self)
    }

    /// A table's name for a topic, before it is split into schema and table.
    pub(super) fn table_text(&self, topic: &str) -> String {
        self.table_format.replace("${topic}", topic)
    }
}

impl Naming {
    /// A name written this way.
    pub(super) fn apply(&self, name: &str) -> String {
        if *self == Naming::default() {
            return name.to_owned();
        }
        let styled = match self.style {
            Style::AsIs => name.to_owned(),
            Style::Snake => words(name).join("_"),
            Style::Kebab => words(name).join("-"),
            Style::Camel => {
                let mut words = words(name).into_iter();
                let mut camel = words.next().unwrap_or_default();
                for word in words {
                    let mut chars = word.chars();
                    camel.extend(chars.next().map(|first| first.to_ascii_uppercase()));
                    camel.extend(chars);
                }
                camel
            }
            Style::Upper => name.to_uppercase(),
            Style::Lower => name.to_lowercase(),
        };
        format!("{}{styled}{}", self.prefix, self.suffix)
    }
}

/// Lower case words of a name in any style.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for char in name.chars() {
        let separates = matches!(char, '_' | '-' | '.' | ' ');
        if separates || (char.is_uppercase() && lower) {
            words.push(String::new());
        }
        if !separates && let Some(word) = words.last_mut() {
            word.extend(char.to_lowercase());
        }
        lower = char.is_lowercase() || char.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles() {
        let name = |style, name: &str| Naming { style, ..Naming::default() }.apply(name);
        assert_eq!(name(Style::Snake, "userFirstName"), "user_first_name");
        assert_eq!(name(Style::Camel, "user_first_name"), "userFirstName");
        assert_eq!(name(Style::Kebab, "userFirst_name"), "user-first-name");
        assert_eq!(name(Style::Upper, "userName"), "USERNAME");
        let all = Naming { style: Style::Lower, prefix: "a_".to_owned(), suffix: "_z".to_owned() };
        assert_eq!(all.apply("Name"), "a_name_z");
    }

    #[test]
    fn filters() {
        let filter = FieldFilter { include: vec!["a".into(), "t:b".into()], exclude: vec!["t:a".into()] };
        assert!(filter.takes("x", "a") && filter.takes("t", "b"));
        assert!(!filter.takes("t", "a") && !filter.takes("x", "b"));
        assert!(FieldFilter::default().takes("t", "anything"));
    }
}
