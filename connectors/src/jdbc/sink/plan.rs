//! How records of one shape are written: statements, and an encoder for each column. Made once per shape.

use aqueduct_engine::data::{Batch, Record, SchemaRef, Type, Value};

use super::config::{InsertMode, Precision, Settings};
use super::encode::{Encoder, Meaning, Mismatch, Unit};
use super::fields::{Action, Field, Source};
use super::table::Table;
use super::types::transfer;
use crate::postgres::{quote_ident, sized_parameter};

/// `numeric` has its scale in these bytes: numbers that are equal may differ in it.
const NUMERIC_SCALE: std::ops::Range<usize> = 6..8;

/// A column of the statement.
#[derive(Debug, Clone)]
pub(super) struct PlanColumn {
    pub(super) name: String,
    /// The type in the table.
    pub(super) type_name: String,
    /// What the record calls its type.
    pub(super) value_type: String,
    source: Source,
    encoder: Encoder,
    element: u32,
    array: u32,
    cast: Option<String>,
    /// The encoded default for null.
    default: Option<Box<[u8]>>,
}

/// The plan of one shape of records.
#[derive(Debug)]
pub(super) struct Plan {
    /// A number of its own.
    pub(super) number: usize,
    /// The same for all plans of a table.
    pub(super) table_number: u32,
    pub(super) action: Action,
    /// The table's name in quotes.
    pub(super) table: String,
    pub(super) columns: Vec<PlanColumn>,
    /// So many of them, the first ones, are the key.
    keys: usize,
    /// Takes one array per column.
    pub(super) sql: String,
    /// Where COPY does as well.
    pub(super) copy: Option<String>,
    /// Types of the arrays.
    pub(super) types: Vec<u32>,
}

/// A value that does not go into its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) column: usize,
    pub(super) why: Mismatch,
}

impl Plan {
    /// Makes the plan of `fields` for a table that has all of their columns.
    pub(super) fn new(
        settings: &Settings,
        table: &Table,
        fields: &[Field],
        action: Action,
        (number, table_number): (usize, u32),
    ) -> Result<Plan, String> {
        let wanted = fields.iter().filter(|field| field.key || action == Action::Write);
        let mut columns = Vec::new();
        let mut always_identity = false;
        let mut keys = 0;
        for field in wanted {
            let Some(column) = table.column(&field.name) else {
                return Err(format!("the table has no column {:?}", field.name));
            };
            if column.generated {
                continue; // the server computes it
            }
            always_identity |= column.always_identity;
            keys += usize::from(field.key);
            columns.push(plan_column(settings, field, column)?);
        }
        let needs_key = action == Action::Delete || settings.insert_mode != InsertMode::Insert;
        if columns.is_empty() || (needs_key && keys == 0) {
            return Err("no column to write: check pk.fields and fields.whitelist".to_owned());
        }
        let name = table.id.quoted();
        let override_identity = if always_identity { " OVERRIDING SYSTEM VALUE" } else { "" };
        let sql = match (action, settings.insert_mode) {
            (Action::Truncate, _) => format!("TRUNCATE {name}"),
            (Action::Delete, _) => delete(&name, &columns),
            (Action::Write, InsertMode::Update) => update(&name, &columns, keys),
            (Action::Write, InsertMode::Insert) => insert(&name, &columns, override_identity),
            (Action::Write, InsertMode::Upsert) => {
                format!("{} {}", insert(&name, &columns, override_identity), on_conflict(&columns, keys))
            }
        };
        let copyable = action == Action::Write
            && settings.insert_mode == InsertMode::Insert
            && matches!(table.kind, 'r' | 'p')
            && !table.has_rules
            && columns.iter().all(|column| column.cast.is_none());
        let copy = copyable.then(|| {
            let names: Vec<String> = columns.iter().map(|column| quote_ident(&column.name)).collect();
            format!("COPY {name} ({}) FROM STDIN (FORMAT binary)", names.join(", "))
        });
        let types = columns.iter().map(|column| column.array).collect();
        Ok(Plan { number, table_number, action, table: name, columns, keys, sql, copy, types })
    }

    /// The plan of emptying a table.
    pub(super) fn truncate(table: &Table, (number, table_number): (usize, u32)) -> Plan {
        let name = table.id.quoted();
        Plan {
            number,
            table_number,
            action: Action::Truncate,
            sql: format!("TRUNCATE {name}"),
            table: name,
            columns: Vec::new(),
            keys: 0,
            copy: None,
            types: Vec::new(),
        }
    }

    /// The columns of the key.
    pub(super) fn key_columns(&self) -> &[PlanColumn] {
        &self.columns[..self.keys]
    }

    /// A plan without columns.
    #[cfg(test)]
    pub(super) fn for_tests(number: usize, action: Action) -> Plan {
        Plan {
            number,
            table_number: 0,
            action,
            table: String::new(),
            columns: Vec::new(),
            keys: 0,
            sql: String::new(),
            copy: None,
            types: Vec::new(),
        }
    }

    /// Appends the key of a row, in a form that is the same for equal keys.
    pub(super) fn put_key(
        &self,
        batch: &Batch,
        record: &Record,
        row: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        for (at, column) in self.columns[..self.keys].iter().enumerate() {
            let start = out.len();
            column.put(batch, record, row, out).map_err(|why| Unfit { column: at, why })?;
            if matches!(column.encoder.target, super::encode::Target::Numeric)
                && let Some(scale) = out[start + 4..].get_mut(NUMERIC_SCALE)
            {
                scale.fill(0);
            }
        }
        Ok(())
    }

    /// A row of a binary COPY.
    pub(super) fn put_row(
        &self,
        batch: &Batch,
        record: &Record,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        out.extend_from_slice(&(self.columns.len() as u16).to_be_bytes());
        for (at, column) in self.columns.iter().enumerate() {
            column.put(batch, record, value, out).map_err(|why| Unfit { column: at, why })?;
        }
        Ok(())
    }

    /// One array of a column's values, as a parameter in binary form. Fails at the first row that does not fit, by its place.
    pub(super) fn put_array(
        &self,
        column: usize,
        rows: &[(&Batch, &Record, Value)],
        out: &mut Vec<u8>,
    ) -> Result<(), (usize, Unfit)> {
        let planned = &self.columns[column];
        let mut failed = Ok(());
        sized_parameter(out, |out| {
            // one dimension, NULLs possible, the elements' type, how many, counted from 1
            for word in [1_u32, 1, planned.element, rows.len() as u32, 1] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            for (place, (batch, record, value)) in rows.iter().enumerate() {
                if let Err(why) = planned.put(batch, record, *value, out) {
                    failed = Err((place, Unfit { column, why }));
                    break;
                }
            }
        });
        failed
    }
}

impl PlanColumn {
    /// Appends length and bytes of the value, or the mark of NULL.
    #[inline]
    fn put(&self, batch: &Batch, record: &Record, row: Value, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let value = match self.source {
            Source::ValueField(at) => field(batch, row, at),
            Source::KeyField(at) => field(batch, record.key, at),
            Source::Value => row,
            Source::Key => record.key,
            Source::Partition => Value::Int32(record.origin.partition),
            Source::Offset => Value::Int64(record.origin.offset),
            Source::Topic => {
                let topic = batch.topic(record.topic).as_bytes();
                sized_parameter(out, |out| out.extend_from_slice(topic));
                return Ok(());
            }
        };
        if value.is_null() {
            match &self.default {
                Some(bytes) => sized_parameter(out, |out| out.extend_from_slice(bytes)),
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
            return Ok(());
        }
        let mut result = Ok(());
        sized_parameter(out, |out| result = self.encoder.encode(batch, value, out));
        result
    }
}

fn field(batch: &Batch, row: Value, at: usize) -> Value {
    match row {
        Value::Struct(range) => batch.items(range).get(at).copied().unwrap_or_default(),
        _ => Value::Null,
    }
}

fn plan_column(
    settings: &Settings,
    field: &Field,
    column: &super::table::Column,
) -> Result<PlanColumn, String> {
    let meaning = match (field.is_timestamp, field.schema.kind) {
        (true, Type::Int64) => Meaning::Instant(match settings.timestamp_precision {
            Precision::Micros => Unit::Micros,
            Precision::Nanos => Unit::Nanos,
        }),
        _ => Meaning::of(&field.schema),
    };
    let value_type = value_type(&field.schema);
    let way = transfer(meaning, column).ok_or_else(|| {
        format!(
            "a field of type {value_type} cannot be written to column {:?} of type {}: change the column, or the field by a transform (Flatten, Cast, ReplaceField)",
            column.name, column.type_name
        )
    })?;
    let encoder = Encoder {
        meaning: way.meaning,
        target: way.target,
        zone: settings.zone,
        date_zone: settings.date_zone,
    };
    let default = field.default().filter(|_| settings.null_as_default && !field.key).and_then(|default| {
        let mut batch = Batch::default();
        let value = batch.put_constant(default);
        let mut bytes = Vec::new();
        encoder.encode(&batch, value, &mut bytes).ok().map(|()| bytes.into_boxed_slice())
    });
    Ok(PlanColumn {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        value_type,
        source: field.source,
        encoder,
        element: way.element,
        array: way.array,
        cast: way.cast,
        default,
    })
}

/// `INT32`, or the name of a logical type.
fn value_type(schema: &SchemaRef) -> String {
    match &schema.name {
        Some(name) if schema.kind != Type::Struct => name.to_string(),
        _ => schema.kind.name().to_owned(),
    }
}

/// `ROWS FROM(unnest($1), …) AS u(c0, …)`.
fn rows_from(columns: &[PlanColumn]) -> String {
    let arrays: Vec<String> = (1..=columns.len()).map(|at| format!("pg_catalog.unnest(${at})")).collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    format!("ROWS FROM({}) AS u({})", arrays.join(", "), names.join(", "))
}

/// The value of a column in the statement.
fn value(at: usize, column: &PlanColumn) -> String {
    match &column.cast {
        Some(cast) => format!("u.c{at}::{cast}"),
        None => format!("u.c{at}"),
    }
}

fn insert(table: &str, columns: &[PlanColumn], override_identity: &str) -> String {
    let names: Vec<String> = columns.iter().map(|column| quote_ident(&column.name)).collect();
    let values: Vec<String> = columns.iter().enumerate().map(|(at, column)| value(at, column)).collect();
    format!(
        "INSERT INTO {table} ({}){override_identity} SELECT {} FROM {}",
        names.join(", "),
        values.join(", "),
        rows_from(columns)
    )
}

fn on_conflict(columns: &[PlanColumn], keys: usize) -> String {
    let names: Vec<String> = columns[..keys].iter().map(|column| quote_ident(&column.name)).collect();
    let sets: Vec<String> = columns[keys..]
        .iter()
        .map(|column| quote_ident(&column.name))
        .map(|name| format!("{name} = EXCLUDED.{name}"))
        .collect();
    let update =
        if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
    format!("ON CONFLICT ({}) DO {update}", names.join(", "))
}

fn where_key(columns: &[PlanColumn]) -> String {
    let conditions: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| format!("t.{} = {}", quote_ident(&column.name), value(at, column)))
        .collect();
    conditions.join(" AND ")
}

fn update(table: &str, columns: &[PlanColumn], keys: usize) -> String {
    let sets: Vec<String> = columns
        .iter()
        .enumerate()
        .skip(if keys == columns.len() { 0 } else { keys })
        .map(|(at, column)| format!("{} = {}", quote_ident(&column.name), value(at, column)))
        .collect();
    format!(
        "UPDATE {table} AS t SET {} FROM {} WHERE {}",
        sets.join(", "),
        rows_from(columns),
        where_key(&columns[..keys])
    )
}

fn delete(table: &str, columns: &[PlanColumn]) -> String {
    format!("DELETE FROM {table} AS t USING {} WHERE {}", rows_from(columns), where_key(columns))
}
