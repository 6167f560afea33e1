//! The herder: keeps the connectors' configurations and target states, and has the worker run what they ask for.
//!
//! REST knows the trait [`Herder`] and nothing else. [`StandaloneHerder`] keeps configurations in memory; the one of a group of
//! workers keeps them in Kafka. What a second implementation has to bring:
//! * local views for `names`, `view`, `status` and `active_topics`: REST calls them without waiting for anything;
//! * [`HerderError::ask_other`] where another worker has to do it, and `forward`, which sends the request there. REST decides
//!   by the `forward` parameter whether it may;
//! * a [`crate::worker::StatusListener`] for its worker, which puts states where the group reads them;
//! * the order of checks of a put: name, validation ([`check_config`]), leadership, existence.
//!
//! The worker is driven per connector and per task: [`Worker::start_connector`](crate::worker::Worker::start_connector) gives a
//! handle that generates task configurations, [`Worker::start_task`](crate::worker::Worker::start_task) needs no connector of the
//! same worker, and a task follows its target state by `TaskHandle::set_paused`. Offsets are read and changed by
//! [`Worker::offsets`](crate::worker::Worker::offsets) and `alter_offsets`, whichever herder asks.

mod api;
mod connector_file;
mod distributed;
mod error;
mod standalone;
mod view;

use crate::connector::{ConfigMap, ConnectorPlugin};
use crate::worker::Worker;

pub use api::{ForwardAnswer, ForwardRequest, Herder, InternalRequest, Reply};
pub use connector_file::{ConnectorFile, FileError, read_connector, read_properties};
pub use distributed::{DistributedHerder, StartError};
pub use error::HerderError;
pub use standalone::StandaloneHerder;
pub use view::{
    ConfigPatch, ConnectorView, Health, OffsetEntry, PutMode, PutResult, RestartPlan, RestartScope,
    TargetState,
};

/// What herders say when a connector has to start anew because of its config providers.
const RELOADED: &str = "values of a config provider have changed";

/// Checks a configuration that is to be stored under this name, and adds the name to it.
pub async fn check_config(
    worker: &Worker,
    name: &str,
    config: &mut ConfigMap,
) -> Result<std::sync::Arc<dyn ConnectorPlugin>, HerderError> {
    match config.get("name") {
        Some(other) if other != name => {
            return Err(HerderError::new(
                400,
                format!(
                    "Connector name configuration ({other}) doesn't match connector name in the URL ({name})"
                ),
            ));
        }
        Some(_) => {}
        None => drop(config.insert("name".to_owned(), name.to_owned())),
    }
    worker.validate(config).await
}

/// A configuration with the changes in it.
pub fn merge(config: &ConfigMap, patch: ConfigPatch) -> ConfigMap {
    let mut merged = config.clone();
    for (key, value) in patch {
        match value {
            Some(value) => drop(merged.insert(key, value)),
            None => drop(merged.shift_remove(&key)),
        }
    }
    merged
}
