//! Settings of the framework that the worker itself reads from a connector's configuration.

use std::sync::Arc;

use super::framework;
use crate::config::ConfigError;
use crate::connector::{ConfigMap, ConnectError, ConnectorPlugin, Registry};

const DEFAULT_TASKS_MAX: usize = 1;

/// `tasks.max` of a configuration that has been checked.
pub(crate) fn tasks_max(config: &ConfigMap) -> usize {
    config.get("tasks.max").and_then(|value| value.trim().parse().ok()).unwrap_or(DEFAULT_TASKS_MAX).max(1)
}

/// Whether more tasks than `tasks.max` are an error.
pub(crate) fn tasks_max_enforced(config: &ConfigMap) -> bool {
    config.get("tasks.max.enforce").is_none_or(|value| !value.trim().eq_ignore_ascii_case("false"))
}

/// Checks the keys that every connector has, but for its name and class.
pub(crate) fn check_common(config: &ConfigMap) -> Result<(), ConfigError> {
    let error = framework::COMMON
        .validate(config)
        .into_iter()
        .find(|error| config.contains_key(&error.key) || !matches!(&*error.key, "name" | "connector.class"));
    error.map_or(Ok(()), Err)
}

/// The error of a connector whose class this worker does not have.
pub(crate) fn unknown_class(registry: &Registry, config: &ConfigMap) -> ConnectError {
    let class = config.get("connector.class").map(|class| class.trim()).unwrap_or_default();
    ConnectError::fatal(format!(
        "Failed to find any class that implements Connector and which name matches {class}, available connectors are: {}",
        available(registry)
    ))
}

fn available(registry: &Registry) -> String {
    let describe = |plugin: &Arc<dyn ConnectorPlugin>| {
        format!(
            "PluginDesc{{name='{}', version='{}', type={}}}",
            plugin.class(),
            plugin.version(),
            plugin.kind().as_str()
        )
    };
    registry.plugins().iter().map(describe).collect::<Vec<_>>().join(", ")
}
