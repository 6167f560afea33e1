//! The sinks: Confluent's and Debezium's keys on one engine.
//!
//! A batch is sorted into runs of rows of one shape, only the last row of each key in a run; a run is one binary COPY (plain
//! inserts) or statements with one array per column, encoded straight from the batch. All of it and the commit leave in one
//! write. TYPES.md has the types.

mod config;
mod confluent;
mod ddl;
mod debezium;
mod encode;
mod fields;
mod group;
mod numeric;
mod offsets;
mod plan;
mod plans;
mod session;
mod table;
mod task;
mod trouble;
mod types;
mod writer;

use aqueduct_engine::config::{ConfigDef, ConfigError};
use aqueduct_engine::connector::{
    AlterOffsets, BoxFuture, ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorKind,
    ConnectorPlugin, OffsetMap, Task,
};

use config::Settings;
pub(super) use table::TableId;

type Read = fn(&ConfigMap) -> Result<Settings, ConfigError>;

/// `io.confluent.connect.jdbc.JdbcSinkConnector`.
pub(crate) struct JdbcSink;

/// `io.debezium.connector.jdbc.JdbcSinkConnector`.
pub(crate) struct DebeziumJdbcSink;

impl ConnectorPlugin for JdbcSink {
    fn class(&self) -> &'static str {
        "io.confluent.connect.jdbc.JdbcSinkConnector"
    }

    fn task_class(&self) -> &'static str {
        "io.confluent.connect.jdbc.sink.JdbcSinkTask"
    }

    fn version(&self) -> &'static str {
        super::CONFLUENT_VERSION
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn config_def(&self) -> &'static ConfigDef {
        &confluent::CONFIG
    }

    fn validate(&self, config: &ConfigMap) -> Vec<ConfigError> {
        confluent::settings(config).err().into_iter().collect()
    }

    fn check_connection<'a>(&'a self, config: &'a ConfigMap) -> BoxFuture<'a, Result<(), ConfigError>> {
        Box::pin(async move { confluent::settings(config)?.connections.try_out().await })
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::new(SinkConnector { read: confluent::settings, config: ConfigMap::new() })
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(task::JdbcSinkTask::new(confluent::settings)))
    }
}

impl ConnectorPlugin for DebeziumJdbcSink {
    fn class(&self) -> &'static str {
        "io.debezium.connector.jdbc.JdbcSinkConnector"
    }

    fn task_class(&self) -> &'static str {
        "io.debezium.connector.jdbc.JdbcSinkConnectorTask"
    }

    fn version(&self) -> &'static str {
        "3.6.0.Final"
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn config_def(&self) -> &'static ConfigDef {
        &debezium::CONFIG
    }

    fn validate(&self, config: &ConfigMap) -> Vec<ConfigError> {
        debezium::settings(config).err().into_iter().collect()
    }

    fn check_connection<'a>(&'a self, config: &'a ConfigMap) -> BoxFuture<'a, Result<(), ConfigError>> {
        Box::pin(async move { debezium::settings(config)?.connections.try_out().await })
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::new(SinkConnector { read: debezium::settings, config: ConfigMap::new() })
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(task::JdbcSinkTask::new(debezium::settings)))
    }
}

/// Hands its configuration to every task.
struct SinkConnector {
    read: Read,
    config: ConfigMap,
}

impl Connector for SinkConnector {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        _context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        self.config = config.clone();
        let checked = (self.read)(config).map(drop);
        Box::pin(std::future::ready(checked.map_err(|error| ConnectError::fatal(error.message))))
    }

    fn task_configs(&mut self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn alter_offsets<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        _offsets: &'a [(OffsetMap, Option<OffsetMap>)],
    ) -> BoxFuture<'a, Result<AlterOffsets, ConnectError>> {
        // offsets in the database win over those of the group: they are the user's to change
        let stored = (self.read)(config).map(|settings| match settings.offsets_table {
            Some(_) => AlterOffsets::WorkerOnly,
            None => AlterOffsets::Done,
        });
        Box::pin(std::future::ready(stored.map_err(|error| ConnectError::fatal(error.message))))
    }
}
