//! Which tables there are, and which of them are read.

use super::config::{Settings, TableFilter};
use crate::jdbc::sink::TableId;
use crate::postgres::{PgError, Wire, quote_literal};

/// The tables to read, in the order of the catalog.
pub(super) async fn list(wire: &mut Wire, settings: &Settings) -> Result<Vec<TableId>, PgError> {
    let system = "(n.nspname ~ '^pg_' OR n.nspname = 'information_schema')";
    let kinds: Vec<String> = settings
        .table_types
        .iter()
        .filter_map(|kind| {
            let (relation, of_system) = match kind.as_str() {
                "TABLE" => ('r', false),
                "PARTITIONED TABLE" => ('p', false),
                "VIEW" => ('v', false),
                "MATERIALIZED VIEW" => ('m', false),
                "FOREIGN TABLE" => ('f', false),
                "SYSTEM TABLE" => ('r', true),
                "SYSTEM VIEW" => ('v', true),
                _ => return None,
            };
            Some(format!("(c.relkind = '{relation}' AND {}{system})", if of_system { "" } else { "NOT " }))
        })
        .collect();
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = format!(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ({})",
        kinds.join(" OR ")
    );
    if let Some(pattern) = &settings.schema_pattern {
        sql.push_str(&format!(" AND n.nspname LIKE {}", quote_literal(pattern)));
    }
    if let Some(catalog) = &settings.catalog {
        sql.push_str(&format!(" AND pg_catalog.current_database() LIKE {}", quote_literal(catalog)));
    }
    sql.push_str(" ORDER BY c.relkind, n.nspname, c.relname");
    let rows = wire.query(&sql).await?;
    let table = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some(TableId { schema: row.next(), name: row.next()? })
    };
    Ok(rows.into_iter().filter_map(table).filter(|table| takes(&settings.filter, table)).collect())
}

fn takes(filter: &TableFilter, table: &TableId) -> bool {
    let full = match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    let named = |names: &[String]| {
        names.iter().any(|name| *name == table.name || *name == full || *name == table.quoted())
    };
    match filter {
        TableFilter::All => true,
        TableFilter::Whitelist(names) => named(names),
        TableFilter::Blacklist(names) => !named(names),
        TableFilter::Patterns(include, exclude) => {
            let any = |patterns: &[fancy_regex::Regex]| {
                patterns.iter().any(|pattern| pattern.is_match(&full).unwrap_or(false))
            };
            any(include) && !any(exclude)
        }
    }
}

/// Two tables that would share a topic.
pub(super) fn clash(tables: &[TableId]) -> Option<(&TableId, &TableId)> {
    tables.iter().enumerate().find_map(|(at, table)| {
        tables[..at].iter().find(|other| other.name == table.name).map(|other| (other, table))
    })
}

/// Consecutive groups; the first ones get one more where it does not divide.
pub(super) fn groups(tables: &[TableId], most: usize) -> Vec<&[TableId]> {
    let count = most.min(tables.len()).max(1);
    let (size, more) = (tables.len() / count, tables.len() % count);
    let mut rest = tables;
    (0..count)
        .map(|group| {
            let (taken, left) = rest.split_at(size + usize::from(group < more));
            rest = left;
            taken
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str) -> TableId {
        TableId { schema: Some(schema.into()), name: name.into() }
    }

    #[test]
    fn names_and_patterns() {
        let t = table("s", "t");
        for name in ["t", "s.t", "\"s\".\"t\""] {
            assert!(takes(&TableFilter::Whitelist(vec![name.into()]), &t), "{name}");
            assert!(!takes(&TableFilter::Blacklist(vec![name.into()]), &t), "{name}");
        }
        assert!(!takes(&TableFilter::Whitelist(vec!["T".into()]), &t));
        let regex = |text: &str| fancy_regex::Regex::new(&format!("^(?:{text})$")).unwrap();
        assert!(takes(&TableFilter::Patterns(vec![regex("s\\..*")], vec![regex("s\\.x")]), &t));
        assert!(!takes(&TableFilter::Patterns(vec![regex("s\\..*")], vec![regex(".*t")]), &t));
    }

    #[test]
    fn groups_are_even() {
        let tables: Vec<TableId> = (0..7).map(|at| table("s", &at.to_string())).collect();
        let sizes = |most| groups(&tables, most).iter().map(|group| group.len()).collect::<Vec<_>>();
        assert_eq!(sizes(3), [3, 2, 2]);
        assert_eq!(sizes(20), [1; 7]);
        assert_eq!(groups(&[], 3).len(), 1);
        assert_eq!(clash(&[table("a", "t"), table("b", "t")]), Some((&table("a", "t"), &table("b", "t"))));
    }
}
