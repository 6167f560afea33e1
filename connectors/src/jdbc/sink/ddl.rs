//! Tables and columns that are missing: created where that is allowed, named with the statement that mends it where it is not.

use std::sync::Arc;

use super::config::{Flavour, Settings};
use super::fields::Field;
use super::table::{self, Table, TableId};
use super::types::{declared, literal};
use crate::postgres::{PgError, Wire, quote_ident};

/// Tries of creating or altering: other tasks may be at it too.
const ATTEMPTS: usize = 5;

/// Why there is no table to write to.
#[derive(Debug)]
pub(super) enum Refused {
    /// Of the connection, or a statement that failed.
    Pg(PgError),
    /// Somebody has to change something; with the remedy.
    Person(String),
}

impl From<PgError> for Refused {
    fn from(error: PgError) -> Refused {
        Refused::Pg(error)
    }
}

/// The table with all columns that the fields ask for. `known` is what was loaded before.
pub(super) async fn ensure(
    wire: &mut Wire,
    settings: &Settings,
    id: &TableId,
    fields: &[Field],
    known: Option<&Arc<Table>>,
) -> Result<Arc<Table>, Refused> {
    let complete = |table: &Table| fields.iter().all(|field| table.column(&field.name).is_some());
    if let Some(table) = known.filter(|table| complete(table)) {
        return Ok(Arc::clone(table));
    }
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let found = table::load(wire, id).await?;
        let statement = match &found {
            Some(table) => {
                check_kind(settings, table)?;
                if complete(table) {
                    return Ok(Arc::new(table.clone()));
                }
                let statement = alter_table(settings, table, fields);
                if !settings.auto_evolve || table.kind == 'v' {
                    return Err(Refused::Person(missing_columns(settings, table, fields, &statement)));
                }
                statement.map_err(Refused::Person)?
            }
            None => {
                let statement = create_table(settings, id, fields);
                if !settings.auto_create {
                    return Err(Refused::Person(missing_table(settings, id, &statement)));
                }
                statement.map_err(Refused::Person)?
            }
        };
        tracing::info!("{statement}");
        match wire.query(&statement).await {
            Ok(_) => {}
            // another task may have been faster: the table is looked at again
            Err(PgError::Server(error)) if error.is_class("42") || error.is_class("23") => {
                tracing::debug!("{statement}: {error}");
                last = Some(PgError::Server(error));
            }
            Err(error) => return Err(Refused::Pg(error)),
        }
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Refused::Person(format!("table {} could not be created or altered: {why}", id.quoted())))
}

fn check_kind(settings: &Settings, table: &Table) -> Result<(), Refused> {
    let name = match table.kind {
        'r' => "TABLE",
        'p' => "PARTITIONED TABLE",
        'v' => "VIEW",
        _ => "other relation",
    };
    if settings.relation_kinds.contains(table.kind) {
        return Ok(());
    }
    let remedy = if matches!(table.kind, 'r' | 'p' | 'v') {
        format!("add {name} to table.types")
    } else {
        "name another by table.name.format".to_owned()
    };
    Err(Refused::Person(format!("{} is a {name}: {remedy}", table.id.quoted())))
}

fn missing_table(settings: &Settings, id: &TableId, statement: &Result<String, String>) -> String {
    let key = match settings.flavour {
        Flavour::Confluent => "auto.create=true",
        Flavour::Debezium => "schema.evolution=basic",
    };
    let remedy = match statement {
        Ok(statement) => format!("set {key}, or run {}", one_line(statement)),
        Err(why) => why.clone(),
    };
    format!("Table {} is missing and auto-creation is disabled: {remedy}", id.quoted())
}

fn missing_columns(
    settings: &Settings,
    table: &Table,
    fields: &[Field],
    statement: &Result<String, String>,
) -> String {
    let missing: Vec<String> = missing(table, fields).map(|field| quote_ident(&field.name)).collect();
    let key = match settings.flavour {
        Flavour::Confluent => "auto.evolve=true",
        Flavour::Debezium => "schema.evolution=basic",
    };
    let remedy = match statement {
        _ if table.kind == 'v' => {
            "a view is never altered; leave the fields out by fields.whitelist".to_owned()
        }
        Ok(statement) => format!("set {key}, or run {}", one_line(statement)),
        Err(why) => why.clone(),
    };
    format!(
        "{} has no column {} and auto-evolution is disabled: {remedy}",
        table.id.quoted(),
        missing.join(", ")
    )
}

fn one_line(statement: &str) -> String {
    format!("{};", statement.replace('\n', " "))
}

fn missing<'a>(table: &'a Table, fields: &'a [Field]) -> impl Iterator<Item = &'a Field> {
    fields.iter().filter(|field| table.column(&field.name).is_none())
}

/// `"name" TYPE DEFAULT …`, or ` NULL`, ` NOT NULL`.
fn declaration(settings: &Settings, field: &Field) -> Result<String, String> {
    let kind = declared(&field.schema, settings.flavour, field.is_timestamp).ok_or_else(|| {
        format!(
            "field {:?} of type {} has no type in PostgreSQL: take it apart by the Flatten transform, or leave it out",
            field.name,
            field.schema.kind.name()
        )
    })?;
    let default = field.default().and_then(|default| literal(&field.schema, default));
    let rest = match default {
        Some(default) => match settings.flavour {
            Flavour::Confluent => format!("DEFAULT {default}"),
            Flavour::Debezium if field.key || !field.schema.optional => format!("DEFAULT {default} NOT NULL"),
            Flavour::Debezium => format!("DEFAULT {default} NULL"),
        },
        None if field.key || !field.schema.optional => "NOT NULL".to_owned(),
        None => "NULL".to_owned(),
    };
    Ok(format!("{} {kind} {rest}", quote_ident(&field.name)))
}

/// The statement that creates the table.
pub(super) fn create_table(settings: &Settings, id: &TableId, fields: &[Field]) -> Result<String, String> {
    let mut lines =
        fields.iter().map(|field| declaration(settings, field)).collect::<Result<Vec<String>, String>>()?;
    let keys: Vec<String> =
        fields.iter().filter(|field| field.key).map(|field| quote_ident(&field.name)).collect();
    if !keys.is_empty() {
        lines.push(format!("PRIMARY KEY({})", keys.join(",")));
    }
    Ok(format!("CREATE TABLE {} (\n{})", id.quoted(), lines.join(",\n")))
}

/// The statement that adds what is missing.
fn alter_table(settings: &Settings, table: &Table, fields: &[Field]) -> Result<String, String> {
    let mut added = Vec::new();
    for field in missing(table, fields) {
        if !field.schema.optional && field.default().is_none() {
            return Err(format!(
                "column {:?} cannot be added to {}: its field is required and has no default; make the field optional in its schema, or run ALTER TABLE {} ADD {} {} NULL;",
                field.name,
                table.id.quoted(),
                table.id.quoted(),
                quote_ident(&field.name),
                declared(&field.schema, settings.flavour, field.is_timestamp).unwrap_or_default()
            ));
        }
        added.push(format!("ADD {}", declaration(settings, field)?));
    }
    let separator = if added.len() > 1 { "\n" } else { " " };
    Ok(format!("ALTER TABLE {}{separator}{}", table.id.quoted(), added.join(",\n")))
}
