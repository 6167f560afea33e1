//! `ElasticsearchSinkConnector` and `OpenSearchSinkConnector`: topics to indexes and data streams.
//!
//! Records become operations whose documents are places in the fetched buffers where nothing changed them; bulks of them go out
//! as bodies that are gathered while they are sent. What the cluster says about an item is that record's outcome. External
//! versions from offsets make replays harmless; where there are none, a document's operations wait for each other.

mod backoff;
mod body;
mod bulk;
mod connect;
mod delivery;
mod document;
mod http;
mod keys;
mod mapping;
mod metrics;
mod names;
mod nodes;
mod outcome;
mod pace;
mod plan;
mod resources;
mod response;
mod rules;
mod sender;
mod settings;
mod task;
#[cfg(test)]
mod tests;
mod tracker;
mod url;

use aqueduct_engine::config::{ConfigDef, ConfigError};
use aqueduct_engine::connector::{
    AlterOffsets, BoxFuture, ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorKind,
    ConnectorPlugin, OffsetMap, Task,
};

use settings::{Flavor, Settings};

/// A sink under one of its class names.
pub(crate) struct SearchSink {
    class: &'static str,
    task_class: &'static str,
    flavor: Flavor,
}

/// Confluent's.
pub(crate) const ELASTICSEARCH: SearchSink = SearchSink {
    class: "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector",
    task_class: "io.confluent.connect.elasticsearch.ElasticsearchSinkTask",
    flavor: Flavor::Elasticsearch,
};

/// Aiven's, and the name that it had first.
pub(crate) const OPENSEARCH: [SearchSink; 2] = [
    SearchSink {
        class: "io.aiven.kafka.connect.opensearch.OpenSearchSinkConnector",
        task_class: "io.aiven.kafka.connect.opensearch.OpenSearchSinkTask",
        flavor: Flavor::OpenSearch,
    },
    SearchSink {
        class: "io.aiven.kafka.connect.opensearch.OpensearchSinkConnector",
        task_class: "io.aiven.kafka.connect.opensearch.OpensearchSinkTask",
        flavor: Flavor::OpenSearch,
    },
];

impl ConnectorPlugin for SearchSink {
    fn class(&self) -> &'static str {
        self.class
    }

    fn task_class(&self) -> &'static str {
        self.task_class
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn config_def(&self) -> &'static ConfigDef {
        self.flavor.config_def()
    }

    fn validate(&self, config: &ConfigMap) -> Vec<ConfigError> {
        match self.config_def().parse(config) {
            Ok(parsed) => rules::check(self.flavor, config, &parsed),
            Err(error) => vec![error],
        }
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::new(SearchConnector { flavor: self.flavor, config: ConfigMap::new() })
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(task::SearchTask::new(self.flavor)))
    }
}

struct SearchConnector {
    flavor: Flavor,
    config: ConfigMap,
}

impl Connector for SearchConnector {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        _context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        self.config = config.clone();
        let checked = Settings::new(self.flavor, config)
            .map(drop)
            .map_err(|error| ConnectError::fatal("the connector's configuration is wrong").caused_by(error));
        Box::pin(std::future::ready(checked))
    }

    fn task_configs(&mut self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn alter_offsets<'a>(
        &'a mut self,
        _config: &'a ConfigMap,
        _offsets: &'a [(OffsetMap, Option<OffsetMap>)],
    ) -> BoxFuture<'a, Result<AlterOffsets, ConnectError>> {
        Box::pin(std::future::ready(Ok(AlterOffsets::Done)))
    }
}
