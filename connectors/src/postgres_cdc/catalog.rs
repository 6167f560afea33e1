//! What the server's catalogue says of tables and types.

use std::collections::HashMap;
use std::sync::Arc;

use super::types::{ColumnInfo, PgType};
use crate::postgres::{ConnectionSettings, PgError, Session, Wire, quote_literal};

/// A table to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableInfo {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) table: String,
    /// An ordinary table, not one that is partitioned.
    pub(super) plain: bool,
    /// Pages of 8 KiB, as last counted.
    pub(super) pages: u64,
    /// Rows, as last estimated by VACUUM or ANALYZE; none if it never was.
    pub(super) rows: Option<u64>,
}

/// Columns and key of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Structure {
    pub(super) columns: Vec<ColumnInfo>,
    /// Columns of the primary key, or of the first unique index without nullable columns.
    pub(super) key: Vec<String>,
}

/// A type of the server.
#[derive(Debug, Clone)]
struct CatalogType {
    name: Arc<str>,
    /// b(ase), d(omain), e(num), r(ange), …
    kind: u8,
    array: bool,
    element: u32,
    base: u32,
    base_modifier: i32,
}

/// Domains within domains, and arrays of them, are followed so far.
const MAX_NESTING: usize = 16;

/// A connection for questions, and what it has learned of types.
pub(super) struct Catalog {
    wire: Wire,
    types: HashMap<u32, CatalogType>,
    labels: HashMap<u32, Vec<String>>,
}

/// The first value of the first row.
pub(super) fn single(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().next().and_then(|row| row.into_iter().next().flatten())
}

fn text(row: &mut [Option<String>], index: usize) -> String {
    row.get_mut(index).and_then(Option::take).unwrap_or_default()
}

fn parsed<T: std::str::FromStr + Default>(row: &mut [Option<String>], index: usize) -> T {
    text(row, index).parse().unwrap_or_default()
}

impl Catalog {
    /// Connects; runs the initial statements.
    pub(super) async fn connect(
        settings: &ConnectionSettings,
        initial: &[String],
    ) -> Result<Catalog, PgError> {
        let mut wire = Wire::connect(settings, Session::Plain).await?;
        for statement in initial {
            wire.query(statement).await?;
        }
        Ok(Catalog { wire, types: HashMap::new(), labels: HashMap::new() })
    }

    /// Any other question.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, PgError> {
        self.wire.query(sql).await
    }

    /// Ends the connection.
    pub(super) async fn close(self) {
        self.wire.close().await;
    }

    /// All tables of the database, in the order of their names.
    pub(super) async fn tables(&mut self) -> Result<Vec<TableInfo>, PgError> {
        let rows = self
            .query(
                "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpages, c.reltuples::bigint FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
                 AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
            )
            .await?;
        let mut tables: Vec<TableInfo> = rows
            .into_iter()
            .map(|mut row| TableInfo {
                oid: parsed(&mut row, 0),
                schema: text(&mut row, 1),
                table: text(&mut row, 2),
                plain: text(&mut row, 3) == "r",
                pages: parsed(&mut row, 4),
                rows: u64::try_from(parsed::<i64>(&mut row, 5)).ok().filter(|rows| *rows > 0),
            })
            .collect();
        tables.sort_unstable_by(|a, b| (&a.schema, &a.table).cmp(&(&b.schema, &b.table)));
        Ok(tables)
    }

    /// Columns and key of a table; none if it is gone. Generated columns are left out, as the stream does not have them.
    pub(super) async fn structure(&mut self, oid: u32) -> Result<Structure, PgError> {
        let rows = self
            .query(&format!(
                "SELECT a.attname, a.atttypid, a.atttypmod, a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
                 a.attidentity FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d \
                 ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = {oid} AND a.attnum > 0 \
                 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
            ))
            .await?;
        let mut columns = Vec::with_capacity(rows.len());
        for mut row in rows {
            let (type_oid, modifier) = (parsed(&mut row, 1), parsed::<i32>(&mut row, 2));
            let identity = !text(&mut row, 5).is_empty();
            let default = row.get_mut(4).and_then(Option::take);
            columns.push(ColumnInfo {
                name: text(&mut row, 0),
                data_type: self.data_type(type_oid, modifier).await?,
                required: text(&mut row, 3) == "t",
                // an identity column is filled by a sequence
                default: default.or_else(|| identity.then(|| "nextval()".to_owned())),
            });
        }
        Ok(Structure { columns, key: self.key(oid).await? })
    }

    async fn key(&mut self, oid: u32) -> Result<Vec<String>, PgError> {
        let rows = self
            .query(&format!(
                "SELECT i.indexrelid, a.attname, a.attnotnull FROM pg_catalog.pg_index i \
                 JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
                 CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place) \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                 WHERE i.indrelid = {oid} AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL \
                 AND k.place <= i.indnkeyatts ORDER BY i.indisprimary DESC, c.relname, k.place"
            ))
            .await?;
        let mut indexes: Vec<(String, bool, Vec<String>)> = Vec::new();
        for mut row in rows {
            let (index, column, required) = (text(&mut row, 0), text(&mut row, 1), text(&mut row, 2) == "t");
            match indexes.last_mut() {
                Some((last, all_required, columns)) if *last == index => {
                    *all_required &= required;
                    columns.push(column);
                }
                _ => indexes.push((index, required, vec![column])),
            }
        }
        Ok(indexes
            .into_iter()
            .find(|(_, required, _)| *required)
            .map(|(_, _, columns)| columns)
            .unwrap_or_default())
    }

    /// A type, domains followed down to what they are made of.
    pub(super) async fn data_type(&mut self, oid: u32, modifier: i32) -> Result<PgType, PgError> {
        if !self.types.contains_key(&oid) {
            self.read_types().await?;
        }
        let (mut oid, mut modifier, mut array) = (oid, modifier, false);
        for _ in 0..MAX_NESTING {
            let Some(known) = self.types.get(&oid) else { break };
            match known {
                CatalogType { kind: b'd', base, base_modifier, .. } => {
                    oid = *base;
                    modifier = if *base_modifier >= 0 { *base_modifier } else { modifier };
                }
                CatalogType { array: true, element, .. } if !array => {
                    oid = *element;
                    array = true;
                }
                CatalogType { name, kind, .. } => {
                    let labels = (*kind == b'e').then(|| self.labels.get(&oid).cloned().unwrap_or_default());
                    return Ok(PgType { name: Arc::clone(name), array, labels, modifier });
                }
            }
        }
        Ok(PgType { name: Arc::from("unknown"), array, labels: None, modifier })
    }

    /// Reads all types anew: a few hundred rows.
    pub(super) async fn read_types(&mut self) -> Result<(), PgError> {
        let rows = self
            .query(
                "SELECT oid, typname, typtype, typcategory = 'A' AND typelem <> 0, typelem, typbasetype, typtypmod \
                 FROM pg_catalog.pg_type",
            )
            .await?;
        self.types = rows
            .into_iter()
            .map(|mut row| {
                let found = CatalogType {
                    name: Arc::from(text(&mut row, 1)),
                    kind: text(&mut row, 2).bytes().next().unwrap_or_default(),
                    array: text(&mut row, 3) == "t",
                    element: parsed(&mut row, 4),
                    base: parsed(&mut row, 5),
                    base_modifier: parsed(&mut row, 6),
                };
                (parsed(&mut row, 0), found)
            })
            .collect();
        let rows = self
            .query("SELECT enumtypid, enumlabel FROM pg_catalog.pg_enum ORDER BY enumtypid, enumsortorder")
            .await?;
        self.labels.clear();
        for mut row in rows {
            self.labels.entry(parsed(&mut row, 0)).or_default().push(text(&mut row, 1));
        }
        Ok(())
    }

    /// A setting of the server.
    pub(super) async fn setting(&mut self, name: &str) -> Result<String, PgError> {
        let rows = self.query(&format!("SELECT pg_catalog.current_setting({})", quote_literal(name))).await?;
        Ok(single(rows).unwrap_or_default())
    }
}
