//! Which tables and columns are captured, and what is done to columns: Debezium's lists of regular expressions.

use aqueduct_engine::connector::{ConfigMap, ConnectError};
use fancy_regex::Regex;

use super::types::{Algorithm, Hash, Mask};

/// A list of regular expressions: anchored, whatever the case.
#[derive(Debug, Clone)]
pub(super) struct TableMatcher(Vec<Regex>);

impl TableMatcher {
    /// Compiles the list of `key`.
    pub(super) fn new(key: &str, list: &str) -> Result<TableMatcher, ConnectError> {
        let compile = |pattern: &String| {
            Regex::new(&format!("(?i)\\A(?:{pattern})\\z")).map_err(|error| {
                ConnectError::fatal(format!("{key}: {pattern} is not a regular expression")).caused_by(error)
            })
        };
        Ok(TableMatcher(lists(list).iter().map(compile).collect::<Result<_, _>>()?))
    }

    /// Whether one of them matches all of the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|regex| regex.is_match(text).unwrap_or(false))
    }
}

/// Parts between commas; a comma behind a backslash belongs to its part.
pub(super) fn lists(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('\\', Some(',')) => {
                chars.next();
                parts.last_mut().map(|part| part.push(',')).unwrap_or_default();
            }
            (',', _) => parts.push(String::new()),
            _ => parts.last_mut().map(|part| part.push(char)).unwrap_or_default(),
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Include (true) or exclude.
type Choice = Option<(bool, TableMatcher)>;

fn chosen(choice: &Choice, text: &str) -> bool {
    choice.as_ref().is_none_or(|(include, matcher)| matcher.matches(text) == *include)
}

/// All of them.
#[derive(Debug)]
pub(super) struct Filters {
    schemas: Choice,
    tables: Choice,
    columns: Choice,
    keys: Vec<(TableMatcher, Vec<String>)>,
    masks: Vec<(TableMatcher, Mask)>,
}

/// Schemas of the server's own.
const SYSTEM_SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "pg_toast"];

impl Filters {
    pub(super) fn new(
        schemas: Choice,
        tables: Choice,
        columns: Choice,
        key_columns: Option<&str>,
        config: &ConfigMap,
    ) -> Result<Filters, ConnectError> {
        let keys = key_columns.unwrap_or_default().split(';').map(str::trim).filter(|part| !part.is_empty());
        let keys = keys.map(|part| {
            let (table, columns) = part.rsplit_once(':').ok_or_else(|| {
                ConnectError::fatal(format!(
                    "message.key.columns: {part}: expected schema.table:column,column"
                ))
            })?;
            Ok((TableMatcher::new("message.key.columns", table)?, lists(columns)))
        });
        let masks = config.iter().filter_map(|(key, value)| {
            let matched = |mask| TableMatcher::new(key, value).map(|matcher| (matcher, mask));
            if let Some(count) =
                key.strip_prefix("column.mask.with.").and_then(|rest| rest.strip_suffix(".chars"))
            {
                return Some(number(key, count).and_then(|count| matched(Mask::Asterisks(count))));
            }
            if let Some(how) = key.strip_prefix("column.mask.hash.") {
                return Some(hash(key, how).and_then(matched));
            }
            let count = key.strip_prefix("column.truncate.to.")?.strip_suffix(".chars")?;
            Some(number(key, count).and_then(|count| matched(Mask::Truncate(count))))
        });
        Ok(Filters {
            schemas,
            tables,
            columns,
            keys: keys.collect::<Result<_, ConnectError>>()?,
            masks: masks.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a table is captured.
    pub(super) fn table(&self, schema: &str, table: &str) -> bool {
        if SYSTEM_SCHEMAS.contains(&schema) || schema.starts_with("pg_temp") || table == "spatial_ref_sys" {
            return false;
        }
        chosen(&self.schemas, schema) && chosen(&self.tables, &format!("{schema}.{table}"))
    }

    /// Whether a column is captured.
    pub(super) fn column(&self, schema: &str, table: &str, column: &str) -> bool {
        self.columns.is_none() || chosen(&self.columns, &format!("{schema}.{table}.{column}"))
    }

    /// Columns of the key that the configuration names.
    pub(super) fn key_columns(&self, schema: &str, table: &str) -> Option<&[String]> {
        let name = format!("{schema}.{table}");
        self.keys.iter().find(|(matcher, _)| matcher.matches(&name)).map(|(_, columns)| columns.as_slice())
    }

    /// What is done to a column's texts.
    pub(super) fn mask(&self, schema: &str, table: &str, column: &str) -> Option<Mask> {
        let name = format!("{schema}.{table}.{column}");
        self.masks.iter().find(|(matcher, _)| matcher.matches(&name)).map(|(_, mask)| mask.clone())
    }
}

/// `ALGORITHM.with.salt.SALT`, with `v2.` before it for plain bytes.
fn hash(key: &str, how: &str) -> Result<Mask, ConnectError> {
    let (plain, how) = how.strip_prefix("v2.").map_or((false, how), |how| (true, how));
    let (name, salt) = how.split_once(".with.salt.").ok_or_else(|| {
        ConnectError::fatal(format!("{key}: expected column.mask.hash.ALGORITHM.with.salt.SALT"))
    })?;
    let known = Algorithm::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, algorithm) = known.ok_or_else(|| {
        let names = Algorithm::NAMES.map(|(name, _)| name);
        ConnectError::fatal(format!("{key}: {name} is not one of {}", names.join(", ")))
    })?;
    Ok(Mask::Hash(Hash { algorithm: *algorithm, salt: salt.to_owned(), plain, most: usize::MAX }))
}

fn number(key: &str, text: &str) -> Result<usize, ConnectError> {
    text.parse().map_err(|error| {
        ConnectError::fatal(format!("{key}: {text} is not a number of characters")).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching_is_anchored_and_ignores_case() {
        let tables = TableMatcher::new("table.include.list", r"public\.a, public.b\,c, S\.(x|y)").unwrap();
        assert!(
            tables.matches("public.a")
                && tables.matches("PUBLIC.A")
                && tables.matches("s.y")
                && tables.matches("public.b,c")
        );
        assert!(!tables.matches("public.ab") && !tables.matches("xpublic.a"));
        assert!(TableMatcher::new("table.include.list", "(").is_err());
    }

    #[test]
    fn filters() {
        let matcher = |list: &str| Some((true, TableMatcher::new("k", list).unwrap()));
        let config: ConfigMap =
            [("column.mask.with.3.chars".to_owned(), "public.a.name".to_owned())].into_iter().collect();
        let filters = Filters::new(None, matcher("public.*"), None, Some("public.a:x,y"), &config).unwrap();
        assert!(
            filters.table("public", "a")
                && !filters.table("other", "a")
                && !filters.table("pg_catalog", "pg_class")
        );
        assert_eq!(filters.key_columns("public", "a"), Some(&["x".to_owned(), "y".to_owned()][..]));
        assert_eq!(filters.mask("public", "a", "name"), Some(Mask::Asterisks(3)));
        assert_eq!(filters.mask("public", "a", "other"), None);
    }
}
