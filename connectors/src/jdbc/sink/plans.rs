//! Plans by the shape of records, and the tables that they were made for.

use std::collections::HashMap;
use std::sync::Arc;

use aqueduct_engine::data::{Batch, Record, SchemaRef};

use super::config::{Flavour, KeyMode, Quoting, Settings};
use super::ddl::{self, Refused};
use super::fields::{Action, Row, fields};
use super::plan::Plan;
use super::table::{self, Table, TableId};
use crate::postgres::{PgError, Wire};

/// Plans that are kept; a source whose schemas are never the same would otherwise fill the memory.
const MAX_PLANS: usize = 1024;

/// What is written how, or why not.
#[derive(Debug, Clone)]
pub(super) enum Planned {
    Plan(Arc<Plan>),
    /// There is nothing to do: a row of a table that does not exist is deleted.
    Nothing,
    /// With the remedy.
    Refused(String),
}

#[derive(Debug)]
struct Entry {
    topic: String,
    key_schema: Option<SchemaRef>,
    row_schema: Option<SchemaRef>,
    action: Action,
    planned: Planned,
}

#[derive(Debug)]
struct Known {
    table: Arc<Table>,
    number: u32,
}

/// All plans of a task.
#[derive(Debug, Default)]
pub(super) struct Plans {
    entries: Vec<Entry>,
    tables: HashMap<TableId, Known>,
    next: usize,
}

impl Plans {
    /// Tables may have been changed: everything is looked up again.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.tables.clear();
    }

    /// What was refused is tried again: somebody may have mended it.
    pub(super) fn forget_refused(&mut self) {
        self.entries.retain(|entry| matches!(entry.planned, Planned::Plan(_)));
    }

    /// The plan for records of this shape.
    pub(super) async fn get(
        &mut self,
        wire: &mut Wire,
        settings: &Settings,
        batch: &Batch,
        record: &Record,
        row: &Row,
    ) -> Result<Planned, PgError> {
        let topic = batch.topic(record.topic);
        // the key's schema matters only where the key is written
        let key_schema = (settings.key_mode == KeyMode::RecordKey)
            .then(|| batch.schema_ref(record.key_schema))
            .flatten()
            .cloned();
        let row_schema = row.schema.get(batch).cloned();
        let same = |a: &Option<SchemaRef>, b: &Option<SchemaRef>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (a, b) => a.is_none() && b.is_none(),
        };
        let is = |entry: &&Entry| {
            entry.topic == topic
                && entry.action == row.action
                && same(&entry.key_schema, &key_schema)
                && same(&entry.row_schema, &row_schema)
        };
        if let Some(entry) = self.entries.iter().find(is) {
            return Ok(entry.planned.clone());
        }
        let shape = Shape { topic, key: key_schema.as_ref(), row: row_schema.as_ref(), action: row.action };
        let planned = match self.make(wire, settings, &shape).await {
            Ok(planned) => planned,
            Err(Refused::Person(why)) => Planned::Refused(why),
            Err(Refused::Pg(error)) => return Err(error),
        };
        if self.entries.len() >= MAX_PLANS {
            self.entries.clear();
        }
        let topic = topic.to_owned();
        self.entries.push(Entry {
            topic,
            key_schema,
            row_schema,
            action: row.action,
            planned: planned.clone(),
        });
        Ok(planned)
    }

    async fn make(
        &mut self,
        wire: &mut Wire,
        settings: &Settings,
        shape: &Shape<'_>,
    ) -> Result<Planned, Refused> {
        let id = table_id(settings, shape.topic).map_err(Refused::Person)?;
        if shape.action == Action::Write {
            let fields = fields(settings, shape.topic, shape.key, shape.row).map_err(Refused::Person)?;
            let known = self.tables.get(&id).map(|known| Arc::clone(&known.table));
            let table = ddl::ensure(wire, settings, &id, &fields, known.as_ref()).await?;
            let numbers = self.numbers(&id, &table);
            let plan =
                Plan::new(settings, &table, &fields, Action::Write, numbers).map_err(Refused::Person)?;
            return Ok(Planned::Plan(Arc::new(plan)));
        }
        let table = match self.tables.get(&id) {
            Some(known) => Arc::clone(&known.table),
            None => match table::load(wire, &id).await? {
                Some(table) => Arc::new(table),
                None => return Ok(Planned::Nothing),
            },
        };
        let numbers = self.numbers(&id, &table);
        if shape.action == Action::Truncate {
            return Ok(Planned::Plan(Arc::new(Plan::truncate(&table, numbers))));
        }
        let fields = fields(settings, shape.topic, shape.key, None).map_err(Refused::Person)?;
        let plan = Plan::new(settings, &table, &fields, Action::Delete, numbers).map_err(Refused::Person)?;
        Ok(Planned::Plan(Arc::new(plan)))
    }

    /// Remembers the table; gives the numbers of its next plan.
    fn numbers(&mut self, id: &TableId, table: &Arc<Table>) -> (usize, u32) {
        let count = self.tables.len() as u32;
        let known = self
            .tables
            .entry(id.clone())
            .or_insert_with(|| Known { table: Arc::clone(table), number: count });
        known.table = Arc::clone(table);
        self.next += 1;
        (self.next, known.number)
    }
}

struct Shape<'a> {
    topic: &'a str,
    key: Option<&'a SchemaRef>,
    row: Option<&'a SchemaRef>,
    action: Action,
}

/// The table of a topic.
fn table_id(settings: &Settings, topic: &str) -> Result<TableId, String> {
    let topic = match settings.flavour {
        Flavour::Confluent => topic.to_owned(),
        // dots part schema and table only where the format has them
        Flavour::Debezium => topic.replace('.', "_"),
    };
    let mut id = TableId::parse(&settings.table_text(&topic));
    id.name = settings.table_names.apply(&id.name);
    if id.name.is_empty() {
        return Err(format!("topic {topic:?} gives no table name: check table.name.format"));
    }
    Ok(if settings.quoting == Quoting::Never { id.folded() } else { id })
}
