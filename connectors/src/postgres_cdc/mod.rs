//! `io.debezium.connector.postgresql.PostgresConnector`: PostgreSQL's changes as Debezium's events.
//!
//! A snapshot by binary COPY, then logical replication (`pgoutput`, binary) on a connection of our own. Values point into the
//! buffers that the network filled; schemas and decoders are planned once per version of a table. What is confirmed to the
//! slot is never past what the worker has stored.

mod catalog;
mod config;
mod event;
mod feed;
mod filter;
mod incremental;
mod metrics;
mod naming;
mod notification;
mod offset;
mod pgoutput;
mod progress;
mod row;
mod setup;
mod signal;
mod snapshot;
mod spill;
mod stream;
mod streamed;
mod table;
mod task;
mod transaction;
mod types;

use aqueduct_engine::config::{ConfigDef, ConfigError};
use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorKind, ConnectorPlugin,
    ConnectorTransactionBoundaries, ExactlyOnceSupport, Task,
};

/// The plugin.
pub(crate) struct PostgresCdc;

impl ConnectorPlugin for PostgresCdc {
    fn class(&self) -> &'static str {
        "io.debezium.connector.postgresql.PostgresConnector"
    }

    fn task_class(&self) -> &'static str {
        "io.debezium.connector.postgresql.PostgresConnectorTask"
    }

    fn version(&self) -> &'static str {
        event::DEBEZIUM_VERSION
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> &'static ConfigDef {
        &config::CONFIG
    }

    fn check_connection<'a>(&'a self, config: &'a ConfigMap) -> BoxFuture<'a, Result<(), ConfigError>> {
        Box::pin(async move {
            let failed = |error: String| ConfigError::new("database.hostname", error);
            let settings = config::Settings::new(config).map_err(|error| failed(error.to_string()))?;
            let connected =
                catalog::Catalog::connect(&settings.connection, &settings.initial_statements).await;
            let catalog = connected.map_err(|error| failed(format!("{}: {error}", settings.connection)))?;
            catalog.close().await;
            Ok(())
        })
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::new(PostgresConnector { config: ConfigMap::new() })
    }

    fn task(&self) -> Task {
        Task::Source(Box::<task::PostgresTask>::default())
    }
}

struct PostgresConnector {
    config: ConfigMap,
}

impl Connector for PostgresConnector {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        _context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        self.config = config.clone();
        // everything that can be known without the server is checked here
        Box::pin(std::future::ready(config::Settings::new(config).map(drop)))
    }

    /// A slot has one reader: always one task.
    fn task_configs(&mut self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn exactly_once_support(&self, _config: &ConfigMap) -> ExactlyOnceSupport {
        ExactlyOnceSupport::Supported
    }

    /// No transaction of the database is in two of Kafka.
    fn transaction_boundaries(&self, _config: &ConfigMap) -> ConnectorTransactionBoundaries {
        ConnectorTransactionBoundaries::Supported
    }
}
