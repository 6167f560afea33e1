//! Tables of the target as its catalog has them.

use crate::postgres::{PgError, Wire, quote_ident, quote_literal};

/// A table's name, and its schema where one is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::jdbc) struct TableId {
    pub(in crate::jdbc) schema: Option<String>,
    pub(in crate::jdbc) name: String,
}

/// Bytes of a name that PostgreSQL keeps.
const NAME_BYTES: usize = 63;

impl TableId {
    /// Reads `table`, `schema.table` or `database.schema.table`; parts may stand in double quotes.
    pub(in crate::jdbc) fn parse(text: &str) -> TableId {
        let mut parts = vec![String::new()];
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    push(&mut parts, '"');
                }
                '"' => quoted = !quoted,
                '.' if !quoted => parts.push(String::new()),
                char => push(&mut parts, char),
            }
        }
        let name = cut(parts.pop().unwrap_or_default());
        TableId { schema: parts.pop().filter(|schema| !schema.is_empty()).map(cut), name }
    }

    /// For a statement.
    pub(in crate::jdbc) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&self.name)),
            None => quote_ident(&self.name),
        }
    }

    /// The same name in lower case: what PostgreSQL makes of one that is not quoted.
    pub(in crate::jdbc) fn folded(self) -> TableId {
        TableId { schema: self.schema.map(|schema| schema.to_lowercase()), name: self.name.to_lowercase() }
    }
}

fn push(parts: &mut [String], char: char) {
    if let Some(part) = parts.last_mut() {
        part.push(char);
    }
}

/// What the server keeps of a long name.
fn cut(mut name: String) -> String {
    if name.len() > NAME_BYTES {
        let mut end = NAME_BYTES;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As declarations have it, `numeric(10,2)`; for casts and messages.
    pub(super) type_name: String,
    /// The type beneath all domains.
    pub(super) base: u32,
    /// Its name.
    pub(super) base_name: String,
    /// The type of its arrays; 0 if there is none.
    pub(super) array: u32,
    pub(super) is_enum: bool,
    pub(super) is_array: bool,
    /// `GENERATED ALWAYS AS (…)`: cannot be written.
    pub(super) generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`.
    pub(super) always_identity: bool,
}

/// A table, or what may be written like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) id: TableId,
    /// `pg_class.relkind`.
    pub(super) kind: char,
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<String>,
    /// Triggers, rules or policies: COPY may behave differently from INSERT.
    pub(super) has_rules: bool,
}

impl Table {
    /// The column of a name: exactly so, else the only one that differs in case.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name).or_else(|| {
            let mut alike = self.columns.iter().filter(|column| column.name.eq_ignore_ascii_case(name));
            alike.next().filter(|_| alike.next().is_none())
        })
    }
}

const COLUMNS: &str = "\
SELECT n.nspname, c.relname, c.relkind, c.relhasrules OR c.relrowsecurity, a.attname, \
pg_catalog.format_type(a.atttypid, a.atttypmod), b.oid, b.typname, b.typarray, b.typtype = 'e', \
b.typelem <> 0 AND b.typlen = -1 AND b.typcategory = 'A', a.attgenerated <> '', a.attidentity = 'a', \
pg_catalog.array_position(i.indkey::int2[], a.attnum) \
FROM pg_catalog.pg_class c \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
LEFT JOIN LATERAL ( \
  WITH RECURSIVE base AS ( \
    SELECT t.*, t.oid AS id FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid \
    UNION ALL SELECT t.*, t.oid FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype WHERE base.typtype = 'd') \
  SELECT id AS oid, typname, typarray, typtype, typelem, typlen, typcategory FROM base WHERE typtype <> 'd' LIMIT 1) b ON true \
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary \
WHERE c.oid = pg_catalog.to_regclass(";

/// Looks a table up; `None` if there is none. Without a schema the search path decides.
pub(super) async fn load(wire: &mut Wire, id: &TableId) -> Result<Option<Table>, PgError> {
    let name = quote_literal(&id.quoted());
    let rows = wire.query(&format!("{COLUMNS}{name}) ORDER BY a.attnum")).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let text = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let flag = |row: &[Option<String>], at: usize| row.get(at).and_then(Option::as_deref) == Some("t");
    let mut table = Table {
        id: TableId { schema: Some(text(first, 0)), name: text(first, 1) },
        kind: text(first, 2).chars().next().unwrap_or('r'),
        has_rules: flag(first, 3),
        columns: Vec::with_capacity(rows.len()),
        key: Vec::new(),
    };
    let mut key: Vec<(u32, String)> = Vec::new();
    for row in &rows {
        if row.get(4).is_none_or(Option::is_none) {
            continue; // a table without columns
        }
        let name = text(row, 4);
        if let Ok(place) = text(row, 13).parse() {
            key.push((place, name.clone()));
        }
        table.columns.push(Column {
            name,
            type_name: text(row, 5),
            base: text(row, 6).parse().unwrap_or(0),
            base_name: text(row, 7),
            array: text(row, 8).parse().unwrap_or(0),
            is_enum: flag(row, 9),
            is_array: flag(row, 10),
            generated: flag(row, 11),
            always_identity: flag(row, 12),
        });
    }
    key.sort();
    table.key = key.into_iter().map(|(_, name)| name).collect();
    Ok(Some(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let id = |schema: Option<&str>, name: &str| TableId {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        };
        assert_eq!(TableId::parse("t"), id(None, "t"));
        assert_eq!(TableId::parse("s.t"), id(Some("s"), "t"));
        assert_eq!(TableId::parse("d.s.t"), id(Some("s"), "t"));
        assert_eq!(TableId::parse("\"a.b\".\"c\"\"d\""), id(Some("a.b"), "c\"d"));
        assert_eq!(TableId::parse("S.T").folded(), id(Some("s"), "t"));
        assert_eq!(TableId::parse(&"é".repeat(40)).name.len(), 62);
        assert_eq!(id(Some("s"), "T").quoted(), "\"s\".\"T\"");
    }
}
