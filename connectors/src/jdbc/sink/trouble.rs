//! What errors of the server mean to a sink, and what mends them.

use std::fmt::Write as _;
use std::sync::Arc;

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::{Batch, Record};

use super::plan::{Plan, PlanColumn, Unfit};
use crate::postgres::{PgError, ServerError, quote_ident};

/// What is to be done about an error.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection is lost, or could not be made.
    Lost(PgError),
    /// The transaction was rolled back for reasons that pass: deadlock, serialization, a lock.
    Again(ServerError),
    /// Tables are not what they were; with the plan that failed, if one did.
    Stale(ServerError, Option<Arc<Plan>>),
    /// Bad rows were found and are out: the rest is to be written.
    Found,
    /// Somebody has to mend something.
    Fatal(ConnectError),
}

/// What the state of an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Again,
    Stale,
    /// A row is at fault.
    Row,
}

pub(super) fn meaning(error: &ServerError) -> Meaning {
    match error.code.as_str() {
        // the schema does not fit: also a cast that is not there, or a conflict target without index
        code if code.starts_with("42") || code == "0A000" || code == "26000" || code == "3F000" => {
            Meaning::Stale
        }
        // connection, resources, operator, system, transaction, lock, read-only after a fail-over
        code if ["08", "53", "57", "58", "40", "25", "XX"].iter().any(|class| code.starts_with(class)) => {
            Meaning::Again
        }
        "55P03" | "55006" => Meaning::Again,
        _ => Meaning::Row,
    }
}

/// The server's text without the values that it quotes.
pub(super) fn brief(error: &ServerError) -> String {
    let message = error.message.split(": \"").next().unwrap_or_default();
    format!("{message} (SQLSTATE {})", error.code)
}

/// Where a record came from.
fn place(batch: &Batch, record: &Record) -> String {
    let origin = record.origin;
    format!("record {}-{}@{}", batch.topic(origin.topic), origin.partition, origin.offset)
}

/// A record that was refused before it came to a table.
pub(super) fn unplanned(batch: &Batch, record: &Record, why: &str) -> String {
    format!("{} cannot be written: {why}", place(batch, record))
}

fn column_text(column: &PlanColumn) -> String {
    format!(
        "column {} ({}, field of type {})",
        quote_ident(&column.name),
        column.type_name,
        column.value_type
    )
}

/// A value that does not go into its column.
pub(super) fn unfit(batch: &Batch, record: &Record, plan: &Plan, unfit: Unfit) -> String {
    let column = plan.columns.get(unfit.column).map(column_text).unwrap_or_default();
    format!("{} cannot be written to {}, {column}: {}", place(batch, record), plan.table, unfit.why)
}

/// A row that the server refused.
pub(super) fn refused(batch: &Batch, record: &Record, plan: &Plan, error: &ServerError) -> String {
    let mut text = format!("{} cannot be written to {}", place(batch, record), plan.table);
    let columns: Vec<String> = columns_at_fault(plan, error).map(column_text).collect();
    if !columns.is_empty() {
        let _ = write!(text, ", {}", columns.join(" or "));
    }
    if let Some(constraint) = &error.more.constraint {
        let _ = write!(text, ", constraint {}", quote_ident(constraint));
    }
    let _ = write!(text, ": {}", brief(error));
    if let Some(remedy) = remedy(plan, error) {
        let _ = write!(text, "; {remedy}");
    }
    text
}

/// The column that the error names, else those of the type that its text names.
fn columns_at_fault<'a>(plan: &'a Plan, error: &'a ServerError) -> impl Iterator<Item = &'a PlanColumn> {
    let message = error.message.split(": \"").next().unwrap_or_default();
    plan.columns.iter().filter(move |column| match &error.more.column {
        Some(name) => column.name == *name,
        None => error.is_class("22") && message.contains(&column.type_name),
    })
}

fn remedy(plan: &Plan, error: &ServerError) -> Option<String> {
    let table = &plan.table;
    let column = error.more.column.as_deref().map(quote_ident);
    Some(match error.code.as_str() {
        "23502" => format!(
            "give the field a value or a default, or run ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL;",
            column.unwrap_or_default()
        ),
        "23505" => "a row of this key is there already: use insert.mode=upsert".to_owned(),
        "22001" => {
            let name = columns_at_fault(plan, error).next().map(|column| quote_ident(&column.name))?;
            format!("run ALTER TABLE {table} ALTER COLUMN {name} TYPE text;")
        }
        "22003" => {
            let name = columns_at_fault(plan, error).next().map(|column| quote_ident(&column.name))?;
            format!("run ALTER TABLE {table} ALTER COLUMN {name} TYPE numeric;")
        }
        _ => return None,
    })
}

/// What somebody has to do about an error that is not one row's.
pub(super) fn mend(plan: Option<&Plan>, error: &ServerError) -> Option<String> {
    let table = plan.map_or("the table", |plan| &plan.table);
    Some(match error.code.as_str() {
        "42P10" => {
            let keys: Vec<String> = plan
                .map(Plan::key_columns)
                .unwrap_or_default()
                .iter()
                .map(|column| quote_ident(&column.name))
                .collect();
            format!("run ALTER TABLE {table} ADD PRIMARY KEY ({});", keys.join(", "))
        }
        "42501" => {
            format!("run GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO the role of connection.user;")
        }
        "42P01" => "set auto.create=true, or create the table".to_owned(),
        "42804" | "42846" => "change the column's type, or the field's by the Cast transform".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> ServerError {
        let mut error = ServerError::default();
        (error.code, error.message) = (code.to_owned(), message.to_owned());
        error
    }

    #[test]
    fn states() {
        let of = |code: &str| meaning(&error(code, ""));
        assert_eq!(of("40P01"), Meaning::Again);
        assert_eq!(of("57P01"), Meaning::Again);
        assert_eq!(of("25006"), Meaning::Again);
        assert_eq!(of("42P10"), Meaning::Stale);
        assert_eq!(of("23505"), Meaning::Row);
        assert_eq!(of("22P02"), Meaning::Row);
        assert_eq!(of("P0001"), Meaning::Row);
    }

    #[test]
    fn values_are_not_shown() {
        let error = error("22P02", "invalid input syntax for type integer: \"secret\"");
        assert_eq!(brief(&error), "invalid input syntax for type integer (SQLSTATE 22P02)");
    }
}
