//! One client of a registry for all tasks of the process that are configured alike: they share its connections and what it
//! has learnt.

use std::sync::{Arc, Weak};

use aqueduct_schema_registry::{Client, Config};
use parking_lot::Mutex;

use crate::config::{ConfigError, ConfigMap};

/// Settings in a fixed order. They hold secrets and are never printed.
type Settings = Vec<(String, String)>;

static CLIENTS: Mutex<Vec<(Settings, Weak<Client>)>> = Mutex::new(Vec::new());

/// Settings of a converter that its client does not look at.
const OWN: [&str; 6] = [
    "auto.register.schemas",
    "use.latest.version",
    "use.schema.id",
    "normalize.schemas",
    "key.subject.name.strategy",
    "value.subject.name.strategy",
];

/// The client for these settings; a new one if there is none alive.
pub(super) fn client(config: &ConfigMap, settings: Config) -> Result<Arc<Client>, ConfigError> {
    let mut wanted: Settings = config
        .iter()
        .filter(|(key, _)| !OWN.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    wanted.sort_unstable();
    let mut clients = CLIENTS.lock();
    clients.retain(|(_, client)| client.strong_count() > 0);
    let known = clients.iter().find(|(settings, _)| *settings == wanted);
    if let Some(client) = known.and_then(|(_, client)| client.upgrade()) {
        return Ok(client);
    }
    let client =
        Client::new(settings).map_err(|error| ConfigError::new("schema.registry.url", error.to_string()))?;
    let client = Arc::new(client);
    clients.push((wanted, Arc::downgrade(&client)));
    Ok(client)
}
