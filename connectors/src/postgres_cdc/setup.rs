//! Publication and slot: checked and made in Debezium's order, with messages that say which statement mends what is missing.

use aqueduct_engine::connector::{ConnectError, StopSignal};

use super::catalog::{Catalog, TableInfo, single};
use super::config::{Autocreate, ReplicaIdentity, Settings};
use crate::postgres::{PgError, Session, Wire, parse_lsn, quote_ident, quote_literal};

/// The version that has `pgoutput`'s protocol 2.
const STREAMING_SINCE: u32 = 140_000;

/// A slot of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotInfo {
    pub(super) confirmed: Option<u64>,
}

/// A slot that was just made: its start, and the snapshot that goes with it.
pub(super) struct NewSlot {
    pub(super) consistent_point: u64,
    pub(super) snapshot: Option<String>,
    /// Must stay idle as long as the snapshot is to be imported.
    _connection: Wire,
}

/// As an error of the task: retriable where trying again may help.
pub(super) fn failed(what: impl Into<String>, error: PgError) -> ConnectError {
    let retriable = error.is_retriable();
    let what = what.into();
    if retriable {
        ConnectError::retriable(what).caused_by(error)
    } else {
        ConnectError::fatal(what).caused_by(error)
    }
}

/// The server can do logical decoding.
pub(super) async fn check_server(catalog: &mut Catalog, settings: &Settings) -> Result<(), ConnectError> {
    let place = &settings.connection;
    let asking = |error| failed(format!("{place}: cannot ask for the server's settings"), error);
    let level = catalog.setting("wal_level").await.map_err(asking)?;
    if level != "logical" {
        return Err(ConnectError::fatal(format!(
            "{place}: Postgres server wal_level property must be 'logical' but is: '{level}'; run ALTER SYSTEM SET wal_level = logical; and restart the server"
        )));
    }
    let rights = catalog
        .query("SELECT rolcanlogin AND (rolreplication OR rolsuper) FROM pg_catalog.pg_roles WHERE rolname = current_user")
        .await;
    if !matches!(rights.map(single), Ok(Some(right)) if right == "t") {
        tracing::warn!(
            "{place}: the role has neither REPLICATION nor superuser rights; if the stream is refused run ALTER ROLE {} REPLICATION;",
            quote_ident(&place.user)
        );
    }
    Ok(())
}

/// The tables that are captured.
pub(super) async fn captured(
    catalog: &mut Catalog,
    settings: &Settings,
) -> Result<Vec<TableInfo>, ConnectError> {
    let tables = catalog.tables().await.map_err(|error| failed("cannot list the tables", error))?;
    Ok(tables.into_iter().filter(|table| settings.captures(&table.schema, &table.table)).collect())
}

/// The publication exists and holds what it should.
pub(super) async fn ensure_publication(
    catalog: &mut Catalog,
    settings: &Settings,
    tables: &[TableInfo],
) -> Result<(), ConnectError> {
    let publication = &settings.publication;
    let (name, quoted) = (&publication.name, quote_ident(&publication.name));
    let asking = |error| failed(format!("publication {name}: cannot be looked up"), error);
    let found = catalog
        .query(&format!(
            "SELECT puballtables FROM pg_catalog.pg_publication WHERE pubname = {}",
            quote_literal(name)
        ))
        .await
        .map_err(asking)?;
    let exists = single(found);
    let list = || {
        let names: Vec<String> = tables
            .iter()
            .map(|table| format!("{}.{}", quote_ident(&table.schema), quote_ident(&table.table)))
            .collect();
        names.join(", ")
    };
    let no_match = || {
        ConnectError::fatal(format!(
            "No table filters found for filtered publication {name}: no table matches schema.*.list and table.*.list"
        ))
    };
    let statement = match (exists.as_deref(), publication.autocreate) {
        (Some("t"), Autocreate::Filtered) => {
            return Err(ConnectError::fatal(format!(
                "A logical publication for all tables named '{name}' exists, publication.autocreate.mode=filtered cannot change it; run DROP PUBLICATION {quoted}; or name another publication"
            )));
        }
        (Some(_), Autocreate::Filtered) => {
            if tables.is_empty() {
                return Err(no_match());
            }
            let published = catalog
                .query(&format!(
                    "SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = {}",
                    quote_literal(name)
                ))
                .await
                .map_err(asking)?;
            let same = published.len() == tables.len()
                && tables.iter().all(|table| {
                    published.iter().any(|row| {
                        row.first().and_then(Option::as_deref) == Some(&table.schema)
                            && row.get(1).and_then(Option::as_deref) == Some(&table.table)
                    })
                });
            if same {
                return Ok(());
            }
            format!("ALTER PUBLICATION {quoted} SET TABLE {}", list())
        }
        (Some(_), _) => return Ok(()),
        (None, Autocreate::Disabled) => {
            return Err(ConnectError::fatal(format!(
                "Publication '{name}' does not exist and publication.autocreate.mode=disabled; run CREATE PUBLICATION {quoted} FOR TABLE …;"
            )));
        }
        (None, mode) => {
            let what = match mode {
                Autocreate::AllTables => " FOR ALL TABLES".to_owned(),
                Autocreate::Filtered if tables.is_empty() => return Err(no_match()),
                Autocreate::Filtered => format!(" FOR TABLE {}", list()),
                _ => String::new(),
            };
            let root = if publication.via_root { " WITH (publish_via_partition_root = true)" } else { "" };
            format!("CREATE PUBLICATION {quoted}{what}{root}")
        }
    };
    tracing::info!(publication = name, statement, "the publication is made to fit");
    catalog.query(&statement).await.map_err(|error| {
        failed(
            format!(
                "publication {name}: cannot be made; run as a superuser or the tables' owner: {statement};"
            ),
            error,
        )
    })?;
    Ok(())
}

/// Tables have the replica identities that the configuration asks for.
pub(super) async fn ensure_identities(
    catalog: &mut Catalog,
    settings: &Settings,
    tables: &[TableInfo],
) -> Result<(), ConnectError> {
    for table in tables {
        let name = format!("{}.{}", table.schema, table.table);
        let Some((_, wanted)) = settings.identities.iter().find(|(matcher, _)| matcher.matches(&name)) else {
            continue;
        };
        let (letter, identity) = match wanted {
            ReplicaIdentity::Default => ("d", "DEFAULT".to_owned()),
            ReplicaIdentity::Nothing => ("n", "NOTHING".to_owned()),
            ReplicaIdentity::Full => ("f", "FULL".to_owned()),
            ReplicaIdentity::Index(index) => ("i", format!("USING INDEX {}", quote_ident(index))),
        };
        let found = catalog
            .query(&format!(
                "SELECT relreplident, (SELECT c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c \
                 ON c.oid = i.indexrelid WHERE i.indrelid = t.oid AND i.indisreplident) \
                 FROM pg_catalog.pg_class t WHERE oid = {}",
                table.oid
            ))
            .await
            .map_err(|error| failed(format!("table {name}: its replica identity cannot be looked up"), error))?;
        let row = found.first().map(Vec::as_slice).unwrap_or_default();
        let text = |at: usize| row.get(at).and_then(Option::as_deref);
        let index = matches!(wanted, ReplicaIdentity::Index(index) if text(1) != Some(index));
        if text(0) == Some(letter) && !index {
            continue;
        }
        let (schema, quoted) = (quote_ident(&table.schema), quote_ident(&table.table));
        let statement = format!("ALTER TABLE {schema}.{quoted} REPLICA IDENTITY {identity}");
        catalog.query(&statement).await.map_err(|error| {
            failed(format!("table {name}: its replica identity cannot be set (replica.identity.autoset.values); run as its owner: {statement};"), error)
        })?;
        tracing::info!(table = name, identity, "the table's replica identity is set");
    }
    Ok(())
}

/// Looks the slot up.
pub(super) async fn find_slot(
    catalog: &mut Catalog,
    settings: &Settings,
) -> Result<Option<SlotInfo>, ConnectError> {
    let name = &settings.slot.name;
    let rows = catalog
        .query(&format!(
            "SELECT plugin, database, confirmed_flush_lsn, wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
            quote_literal(name)
        ))
        .await
        .map_err(|error| failed(format!("slot {name}: cannot be looked up"), error))?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let text = |index: usize| row.get(index).and_then(Option::as_deref).unwrap_or_default();
    if text(0) != "pgoutput" || text(1) != settings.connection.database {
        return Err(ConnectError::fatal(format!(
            "slot {name}: it belongs to plugin {} and database {}, not to pgoutput and {}; set slot.name to another name, or run SELECT pg_drop_replication_slot('{name}');",
            text(0),
            text(1),
            settings.connection.database
        )));
    }
    if text(3) == "lost" {
        return Err(ConnectError::fatal(format!(
            "slot {name}: the server has removed WAL that the slot still needed (max_slot_wal_keep_size): changes after {} are lost to it; run SELECT pg_drop_replication_slot('{name}');, delete the connector's offsets and restart it, so that a new snapshot is made",
            text(2)
        )));
    }
    Ok(Some(SlotInfo { confirmed: parse_lsn(text(2)) }))
}

/// Bytes of WAL from what the server keeps for the slot, and from what is confirmed, to the WAL's end.
pub(super) async fn slot_distances(catalog: &mut Catalog, name: &str) -> Result<[f64; 2], PgError> {
    let rows = catalog
        .query(&format!(
            "SELECT wal.lsn - slot.restart_lsn, wal.lsn - slot.confirmed_flush_lsn \
             FROM pg_catalog.pg_replication_slots slot, (SELECT CASE WHEN pg_is_in_recovery() \
             THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn) wal WHERE slot_name = {}",
            quote_literal(name)
        ))
        .await?;
    let row = rows.into_iter().next().unwrap_or_default();
    Ok([0, 1].map(|at| {
        let text = row.get(at).and_then(Option::as_deref);
        text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }))
}

/// Makes the slot; its snapshot can be imported as long as the connection stays idle.
pub(super) async fn create_slot(settings: &Settings) -> Result<NewSlot, ConnectError> {
    let slot = &settings.slot;
    let name = &slot.name;
    let what = || {
        format!(
            "slot {name}: cannot be made; check max_replication_slots and max_wal_senders, and that no transaction stays open for long (SELECT * FROM pg_stat_activity WHERE xact_start IS NOT NULL;)"
        )
    };
    let mut wire = Wire::connect(&settings.connection, Session::Replication)
        .await
        .map_err(|error| failed(what(), error))?;
    let failover = if slot.failover { " (FAILOVER)" } else { "" };
    let rows = wire
        .query(&format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput{failover}", quote_ident(name)))
        .await
        .map_err(|error| failed(what(), error))?;
    let row = rows.into_iter().next().unwrap_or_default();
    let text = |index: usize| row.get(index).cloned().flatten();
    let consistent_point = text(1).as_deref().and_then(parse_lsn).ok_or_else(|| {
        ConnectError::fatal(format!("slot {name}: the server did not tell its consistent point"))
    })?;
    tracing::info!(slot = name, consistent_point, "the replication slot is made");
    Ok(NewSlot { consistent_point, snapshot: text(2), _connection: wire })
}

/// Begins the stream; a slot that is in use is waited for.
pub(super) async fn start_stream(
    settings: &Settings,
    from: u64,
    binary: bool,
    version: u32,
    stop: &mut StopSignal,
) -> Result<Wire, ConnectError> {
    let slot = &settings.slot;
    let given = |name: &str| slot.stream_params.iter().any(|(key, _)| key == name);
    let streamed = settings.streaming.enabled
        && version >= STREAMING_SINCE
        && !given("streaming")
        && !given("proto_version");
    let mut options = vec![format!(
        "publication_names {}",
        quote_literal(&quote_ident(&settings.publication.name)).trim_start()
    )];
    if streamed {
        options.extend(["proto_version '2'".to_owned(), "streaming 'on'".to_owned()]);
    } else if !given("proto_version") {
        options.push("proto_version '1'".to_owned());
    }
    if version >= 140_000 {
        options.push("messages 'true'".to_owned());
        if binary {
            options.push("binary 'true'".to_owned());
        }
    }
    options.extend(
        slot.stream_params
            .iter()
            .map(|(key, value)| format!("{} {}", quote_ident(key), quote_literal(value).trim_start())),
    );
    let statement = format!(
        "START_REPLICATION SLOT {} LOGICAL {} ({})",
        quote_ident(&slot.name),
        crate::postgres::lsn_text(from),
        options.join(", ")
    );
    let what = format!("slot {}: the stream cannot be started", slot.name);
    for attempt in 0.. {
        let mut wire = Wire::connect(&settings.connection, Session::Replication)
            .await
            .map_err(|error| failed(what.clone(), error))?;
        match wire.start_copy(&statement).await {
            Ok(()) => return Ok(wire),
            // object_in_use
            Err(error) if error.code() == Some("55006") && attempt < slot.max_retries => {
                tracing::warn!(
                    slot = slot.name,
                    attempt,
                    "the slot is in use by another connection; waiting for it: {error}"
                );
                if !stop.sleep(slot.retry_delay).await {
                    return Err(ConnectError::retriable(format!("{what}: the task was stopped meanwhile")));
                }
            }
            Err(error) => return Err(failed(what, error)),
        }
    }
    Err(ConnectError::retriable(what))
}

/// Drops the slot; for `slot.drop.on.stop`.
pub(super) async fn drop_slot(settings: &Settings) {
    let name = &settings.slot.name;
    let dropped = async {
        let mut wire = Wire::connect(&settings.connection, Session::Replication).await?;
        wire.query(&format!("DROP_REPLICATION_SLOT {} WAIT", quote_ident(name))).await
    };
    match dropped.await {
        Ok(_) => tracing::info!(slot = name, "the slot is dropped (slot.drop.on.stop)"),
        Err(error) => tracing::warn!(
            slot = name,
            "the slot is not dropped: {error}; run SELECT pg_drop_replication_slot('{name}');"
        ),
    }
}
