//! `io.confluent.connect.jdbc.JdbcSourceConnector`: tables and queries by binary COPY.
//!
//! The rows of a pass stay in the server until they are asked for; texts and bytes are not copied on the way into a batch.

mod columns;
mod config;
mod decode;
mod numeric;
mod offset;
mod pass;
mod query;
mod tables;
mod task;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::config::{ConfigDef, ConfigError};
use aqueduct_engine::connector::{
    AlterOffsets, BoxFuture, ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorKind,
    ConnectorPlugin, ExactlyOnceSupport, OffsetMap, StopSignal, Task,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use config::{Settings, TABLES, TABLES_FETCHED};

use super::connection::with_causes;
use super::sink::TableId;
use crate::postgres::PgError;

/// The plugin.
pub(crate) struct JdbcSource;

impl ConnectorPlugin for JdbcSource {
    fn class(&self) -> &'static str {
        "io.confluent.connect.jdbc.JdbcSourceConnector"
    }

    fn task_class(&self) -> &'static str {
        "io.confluent.connect.jdbc.source.JdbcSourceTask"
    }

    fn version(&self) -> &'static str {
        super::CONFLUENT_VERSION
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> &'static ConfigDef {
        &config::CONFIG
    }

    fn validate(&self, config: &ConfigMap) -> Vec<ConfigError> {
        config::settings(config).err().into_iter().collect()
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::<JdbcSourceConnector>::default()
    }

    fn task(&self) -> Task {
        Task::Source(Box::<task::JdbcSourceTask>::default())
    }
}

/// The tables that were found last; `None` before the first time.
type Found = Arc<Mutex<Option<Vec<TableId>>>>;

#[derive(Default)]
struct JdbcSourceConnector {
    config: ConfigMap,
    query: bool,
    found: Found,
    monitor: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

async fn look(settings: &Settings, stop: &mut StopSignal) -> Result<Vec<TableId>, PgError> {
    let mut wire = settings.connections.connect(stop).await?;
    let tables = tables::list(&mut wire, settings).await;
    wire.close().await;
    tables
}

/// Two tables of a name: their records would be mixed up in one topic.
fn clash(found: &[TableId]) -> Option<ConnectError> {
    tables::clash(found).map(|(one, other)| {
        ConnectError::fatal(format!(
            "{} and {} would be written to one topic: set schema.pattern, or name one of them in table.whitelist",
            one.quoted(),
            other.quoted()
        ))
    })
}

/// Looks for tables from time to time, and tells when there are others.
async fn watch_tables(settings: Settings, context: ConnectorContext, found: Found, mut stop: StopSignal) {
    while stop.sleep(settings.table_poll_interval).await {
        let tables = match look(&settings, &mut stop).await {
            Ok(tables) => tables,
            Err(error) => {
                tracing::warn!(
                    connector = context.connector(),
                    "cannot look for tables, it is tried again: {}",
                    with_causes(&error)
                );
                continue;
            }
        };
        if let Some(error) = clash(&tables) {
            context.raise_error(error);
            return;
        }
        let changed = found.lock().as_ref() != Some(&tables);
        if changed {
            tracing::info!(connector = context.connector(), tables = tables.len(), "the tables have changed");
            *found.lock() = Some(tables);
            context.request_task_reconfiguration();
        }
    }
}

impl JdbcSourceConnector {
    async fn begin(&mut self, config: &ConfigMap, context: ConnectorContext) -> Result<(), ConnectError> {
        let settings = config::settings(config).map_err(|error| ConnectError::fatal(error.message))?;
        self.config = config.clone();
        self.query = settings.query.is_some();
        let (sender, mut stop) = StopSignal::new();
        if self.query {
            return Ok(());
        }
        let limit = settings.startup_limit.max(Duration::from_millis(1));
        match tokio::time::timeout(limit, look(&settings, &mut stop)).await {
            Ok(Ok(tables)) => {
                if let Some(error) = clash(&tables) {
                    return Err(error);
                }
                *self.found.lock() = Some(tables);
            }
            Ok(Err(error)) if !error.is_retriable() => {
                let place = settings.connections.place();
                return Err(
                    ConnectError::fatal(format!("{place}: the tables cannot be listed")).caused_by(error)
                );
            }
            Ok(Err(error)) => {
                tracing::warn!(connector = context.connector(), "no tables yet: {}", with_causes(&error));
            }
            Err(_) => tracing::warn!(connector = context.connector(), "no tables yet: the database is slow"),
        }
        let task = tokio::spawn(watch_tables(settings, context, Arc::clone(&self.found), stop));
        self.monitor = Some((sender, task));
        Ok(())
    }
}

impl Connector for JdbcSourceConnector {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(self.begin(config, context))
    }

    fn task_configs(&mut self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        if self.query {
            return Ok(vec![self.config.clone()]);
        }
        let found = self.found.lock().clone();
        let known = found.is_some();
        let found = found.unwrap_or_default();
        let task = |group: &[TableId]| {
            let mut config = self.config.clone();
            let names: Vec<String> = group.iter().map(TableId::quoted).collect();
            config.insert(TABLES.to_owned(), names.join(","));
            config.insert(TABLES_FETCHED.to_owned(), known.to_string());
            config
        };
        Ok(tables::groups(&found, max_tasks).into_iter().map(task).collect())
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        if let Some((stop, monitor)) = self.monitor.take() {
            let _ = stop.send(true);
            monitor.abort();
        }
        Box::pin(std::future::ready(()))
    }

    fn alter_offsets<'a>(
        &'a mut self,
        _config: &'a ConfigMap,
        offsets: &'a [(OffsetMap, Option<OffsetMap>)],
    ) -> BoxFuture<'a, Result<AlterOffsets, ConnectError>> {
        let known = |(partition, offset): &(OffsetMap, Option<OffsetMap>)| {
            offset.is_none() || partition.contains_key("table") || partition.contains_key("query")
        };
        let checked = if offsets.iter().all(known) {
            Ok(AlterOffsets::Done)
        } else {
            Err(ConnectError::fatal("Partition objects should contain the key 'table' or 'query'"))
        };
        Box::pin(std::future::ready(checked))
    }

    /// Where every row moves the offset, what was sent is never read again.
    fn exactly_once_support(&self, config: &ConfigMap) -> ExactlyOnceSupport {
        match config::settings(config) {
            Ok(settings) if settings.mode.incrementing => ExactlyOnceSupport::Supported,
            _ => ExactlyOnceSupport::Unsupported,
        }
    }
}
