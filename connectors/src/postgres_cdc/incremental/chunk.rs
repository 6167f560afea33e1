//! Chunks of a table: the statements, and reading one in a transaction that tells what it shows.

use std::sync::Arc;

use super::state::KeyTexts;
use super::window::Visible;
use crate::postgres::{Block, BlockEnd, PgError, Wire, quote_ident, quote_literal};
use crate::postgres_cdc::catalog::single;
use crate::postgres_cdc::table::TablePlan;

/// Page of the WAL; its header holds no record.
const WAL_PAGE: u64 = 8192;
/// Largest header of such a page.
const WAL_PAGE_HEADER: u64 = 40;

/// How a table is read in chunks.
#[derive(Debug, Clone)]
pub(super) struct ChunkPlan {
    pub(super) plan: Arc<TablePlan>,
    /// Columns that order the rows.
    pub(super) key: Vec<String>,
    /// Columns that tell a row from others, all of them captured.
    pub(super) identity: Vec<String>,
    /// What stands behind WHERE; empty for all rows.
    pub(super) condition: String,
    /// Rows of a chunk.
    pub(super) rows: usize,
}

fn list(names: impl Iterator<Item = impl AsRef<str>>, each: impl Fn(&str) -> String) -> String {
    names.map(|name| each(name.as_ref())).collect::<Vec<_>>().join(", ")
}

impl ChunkPlan {
    fn table(&self) -> String {
        format!("{}.{}", quote_ident(&self.plan.schema), quote_ident(&self.plan.table))
    }

    fn compared(&self, operator: &str, key: &KeyTexts) -> String {
        let columns = list(self.key.iter(), quote_ident);
        let values = list(key.iter(), |text| quote_literal(text).trim_start().to_owned());
        match self.key.len() {
            1 => format!("{columns} {operator} {values}"),
            _ => format!("({columns}) {operator} ({values})"),
        }
    }

    fn condition(&self) -> Option<String> {
        (!self.condition.is_empty()).then(|| format!("({})", self.condition))
    }

    /// Under names that no column has: ORDER BY means the columns.
    fn key_texts(&self) -> String {
        let text = |(at, name): (usize, &String)| format!("{}::text AS aqueduct_key_{at}", quote_ident(name));
        self.key.iter().enumerate().map(text).collect::<Vec<_>>().join(", ")
    }

    /// The largest key.
    pub(super) fn maximum(&self) -> String {
        let filter = self.condition().map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        let order = list(self.key.iter(), |name| format!("{} DESC NULLS LAST", quote_ident(name)));
        format!("SELECT {} FROM {}{filter} ORDER BY {order} LIMIT 1", self.key_texts(), self.table())
    }

    /// The rows behind `last`, up to the largest key, and behind each row its key as texts.
    pub(super) fn chunk(&self, last: Option<&KeyTexts>, maximum: &KeyTexts) -> String {
        let columns = self.plan.column_names().map(quote_ident);
        let columns: Vec<String> = columns.chain([self.key_texts()]).collect();
        let mut filters = vec![self.compared("<=", maximum)];
        filters.extend(last.map(|last| self.compared(">", last)));
        filters.extend(self.condition());
        format!(
            "COPY (SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}) TO STDOUT (FORMAT binary)",
            columns.join(", "),
            self.table(),
            filters.join(" AND "),
            list(self.key.iter(), quote_ident),
            self.rows
        )
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) blocks: Vec<Block>,
    /// What was to be seen; none on a standby, which decodes only what it shows.
    pub(super) visible: Option<Visible>,
    /// All that it shows is in the WAL before this.
    pub(super) high: u64,
}

/// The largest key of the table, or none if it has no rows.
pub(super) async fn maximum(wire: &mut Wire, plan: &ChunkPlan) -> Result<Option<KeyTexts>, PgError> {
    let row = wire.query(&plan.maximum()).await?.into_iter().next();
    Ok(row.and_then(|row| row.into_iter().collect()))
}

/// Reads a chunk.
pub(super) async fn read(wire: &mut Wire, sql: &str) -> Result<Chunk, PgError> {
    wire.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let first = wire
        .query("SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE txid_current_snapshot()::text END")
        .await?;
    let visible = single(first);
    let visible = match &visible {
        Some(text) => Some(
            Visible::parse(text)
                .ok_or_else(|| PgError::Protocol(format!("{text} is no snapshot of transactions")))?,
        ),
        None => None,
    };
    let mut blocks = Vec::new();
    wire.start_copy(sql).await?;
    loop {
        let mut block = wire.block().await?;
        let end = block.end.take();
        blocks.push(block);
        match end {
            None => {}
            Some(BlockEnd::Done) => break,
            Some(BlockEnd::Failed(error)) => return Err(PgError::Server(error)),
        }
    }
    wire.finish_copy().await?;
    let high = single(
        wire.query(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
             ELSE pg_current_wal_insert_lsn() END - '0/0'",
        )
        .await?,
    );
    let high = high
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| PgError::Protocol("the server does not tell the end of its WAL".to_owned()))?;
    wire.query("COMMIT").await?;
    Ok(Chunk { blocks, visible, high: before_page_header(high) })
}

/// Where the last record before this place has ended: the next one's place may lie behind the header of a page that is not begun.
const fn before_page_header(lsn: u64) -> u64 {
    let within = lsn % WAL_PAGE;
    if within <= WAL_PAGE_HEADER { lsn - within } else { lsn }
}

/// Has the server write out what a transaction left in its buffers: changes are sent only from there on. What this writes is a
/// commit of nothing.
pub(super) async fn nudge(wire: &mut Wire) -> Result<(), PgError> {
    wire.query("SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE txid_current() END").await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres_cdc::config::Settings;
    use crate::postgres_cdc::types::{ColumnInfo, PgType};

    #[test]
    fn statements() {
        let info = |name: &str| ColumnInfo {
            name: name.to_owned(),
            data_type: PgType { name: "text".into(), array: false, labels: None, modifier: -1 },
            required: true,
            default: None,
        };
        let config = [
            ("topic.prefix", "p"),
            ("database.hostname", "h"),
            ("database.user", "u"),
            ("database.dbname", "d"),
        ];
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::new(&config).unwrap();
        let key = vec!["a".to_owned(), "B".to_owned()];
        let plan = TablePlan::new(&settings, "s", "t", &[info("a"), info("B"), info("v")], &key);
        let plan = ChunkPlan {
            plan: plan.into(),
            identity: key.clone(),
            key,
            condition: "v <> 'x'".to_owned(),
            rows: 7,
        };
        assert_eq!(
            plan.maximum(),
            "SELECT \"a\"::text AS aqueduct_key_0, \"B\"::text AS aqueduct_key_1 FROM \"s\".\"t\" WHERE (v <> 'x') \
             ORDER BY \"a\" DESC NULLS LAST, \"B\" DESC NULLS LAST LIMIT 1"
        );
        let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        assert_eq!(
            plan.chunk(Some(&texts(["1", "it's"])), &texts(["9", "a\\"])),
            "COPY (SELECT \"a\", \"B\", \"v\", \"a\"::text AS aqueduct_key_0, \"B\"::text AS aqueduct_key_1 FROM \"s\".\"t\" \
             WHERE (\"a\", \"B\") <= ('9', E'a\\\\') AND (\"a\", \"B\") > ('1', 'it''s') AND (v <> 'x') \
             ORDER BY \"a\", \"B\" LIMIT 7) TO STDOUT (FORMAT binary)"
        );
    }

    #[test]
    fn pages_begin_with_a_header() {
        assert_eq!(before_page_header(8192 * 3 + 24), 8192 * 3);
        assert_eq!(before_page_header(8192 * 3), 8192 * 3);
        assert_eq!(before_page_header(8192 * 3 + 48), 8192 * 3 + 48);
        assert_eq!(before_page_header(0x0100_0028), 0x0100_0000);
    }
}
