//! How a table is read in chunks: by which columns, and what tells its rows apart.

use std::sync::Arc;

use aqueduct_engine::connector::ConnectError;

use super::chunk::ChunkPlan;
use super::state::Collection;
use crate::postgres_cdc::catalog::{Catalog, TableInfo};
use crate::postgres_cdc::config::Settings;
use crate::postgres_cdc::filter::TableMatcher;
use crate::postgres_cdc::setup::{captured, failed};
use crate::postgres_cdc::signal::Request;
use crate::postgres_cdc::table::TablePlan;

/// Why a table cannot be read in chunks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is not there any more, or not captured (table.include.list)")]
    Unknown,
    #[error("it has no primary key; name a column that tells its rows apart as surrogate-key in the signal")]
    NoKey,
    #[error(
        "column {0} of its key is not captured as it is (column.exclude.list, column masks); name another column as surrogate-key in the signal"
    )]
    NotCaptured(String),
    #[error(transparent)]
    Failed(ConnectError),
}

impl Unreadable {
    /// As Debezium's notifications call it.
    pub(super) const fn status(&self) -> &'static str {
        match self {
            Unreadable::Unknown => "UNKNOWN_SCHEMA",
            Unreadable::NoKey | Unreadable::NotCaptured(_) => "NO_PRIMARY_KEY",
            Unreadable::Failed(_) => "SQL_EXCEPTION",
        }
    }
}

/// The captured tables that a request's expressions match, each with its condition.
pub(in crate::postgres_cdc) async fn matching(
    settings: &Settings,
    catalog: &mut Catalog,
    request: &Request,
) -> Result<Vec<(TableInfo, Collection)>, ConnectError> {
    let mut found: Vec<(TableInfo, Collection)> = Vec::new();
    let tables = captured(catalog, settings).await?;
    // in the order of the request
    for pattern in &request.collections {
        let matcher = TableMatcher::new("data-collections", pattern)?;
        let before = found.len();
        for info in &tables {
            let table = format!("{}.{}", info.schema, info.table);
            let is_new = !found.iter().any(|(_, known)| known.table == table);
            if is_new && matcher.matches(&table) && !settings.signals.is_table(&info.schema, &info.table) {
                found.push((info.clone(), collection(request, table)?));
            }
        }
        if found.len() == before {
            tracing::warn!(
                signal = request.id,
                "data-collections: {pattern} is none of the captured tables (table.include.list)"
            );
        }
    }
    Ok(found)
}

fn collection(request: &Request, table: String) -> Result<Collection, ConnectError> {
    let mut condition = String::new();
    for one in &request.conditions {
        if TableMatcher::new("data-collection", &one.collection)?.matches(&table) {
            condition.clone_from(&one.filter);
            break;
        }
    }
    let surrogate_key = request.surrogate_key.clone().unwrap_or_default();
    Ok(Collection { table, condition, surrogate_key })
}

/// Plans the reading of a table.
pub(super) async fn plan(
    settings: &Settings,
    catalog: &mut Catalog,
    collection: &Collection,
) -> Result<ChunkPlan, Unreadable> {
    let tables = captured(catalog, settings).await.map_err(Unreadable::Failed)?;
    let info = tables
        .into_iter()
        .find(|info| format!("{}.{}", info.schema, info.table) == collection.table)
        .ok_or(Unreadable::Unknown)?;
    let structure = catalog.structure(info.oid).await.map_err(|error| {
        Unreadable::Failed(failed(format!("table {}: cannot be looked up", collection.table), error))
    })?;
    let plan = Arc::new(TablePlan::of_structure(settings, &info.schema, &info.table, &structure));
    let surrogate = (!collection.surrogate_key.is_empty()).then(|| vec![collection.surrogate_key.clone()]);
    let is_captured = |name: &String| {
        plan.fields.iter().any(|field| *field.name == **name)
            && settings.filters.mask(&info.schema, &info.table, name).is_none()
    };
    let is_nullable =
        |name: &String| structure.columns.iter().any(|column| column.name == *name && !column.required);
    if let Some(nullable) = surrogate.iter().flatten().find(|name| is_nullable(name)) {
        tracing::warn!(
            table = collection.table,
            "surrogate-key: rows whose {nullable} is NULL have no place in the order of the others and are not read"
        );
    }
    let mut identity = structure.key;
    if let Some(surrogate) = &surrogate
        && (identity.is_empty() || !identity.iter().all(is_captured))
    {
        identity.clone_from(surrogate);
    }
    if identity.is_empty() {
        return Err(Unreadable::NoKey);
    }
    if let Some(missing) = identity.iter().find(|name| !is_captured(name)) {
        return Err(Unreadable::NotCaptured(missing.clone()));
    }
    let key = surrogate.unwrap_or_else(|| identity.clone());
    Ok(ChunkPlan {
        plan,
        key,
        identity,
        condition: collection.condition.clone(),
        rows: settings.signals.chunk_rows,
    })
}
