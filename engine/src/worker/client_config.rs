//! The configurations of the clients that a task gets: fixed defaults, then the worker's `producer.*`, `consumer.*` or
//! `admin.*`, then the connector's `producer.override.*`, `consumer.override.*` or `admin.override.*`.

use indexmap::IndexMap;

use crate::connector::ConfigMap;

/// Which client of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskClient {
    /// A source's producer.
    Producer,
    /// A sink's consumer.
    Consumer,
    /// The admin client that creates topics.
    Admin,
    /// The producer of a sink's dead letter queue.
    DlqProducer,
    /// The admin client that creates the dead letter queue's topic.
    DlqAdmin,
}

impl TaskClient {
    /// Prefix of the worker's keys for this client.
    fn prefix(self) -> &'static str {
        match self {
            TaskClient::Producer | TaskClient::DlqProducer => "producer.",
            TaskClient::Consumer => "consumer.",
            TaskClient::Admin | TaskClient::DlqAdmin => "admin.",
        }
    }

    /// Prefix of the connector's keys for this client.
    pub(super) fn override_prefix(self) -> &'static str {
        match self {
            TaskClient::Producer | TaskClient::DlqProducer => "producer.override.",
            TaskClient::Consumer => "consumer.override.",
            TaskClient::Admin | TaskClient::DlqAdmin => "admin.override.",
        }
    }

    fn client_id(self, connector: &str, task: usize) -> String {
        let role = match self {
            TaskClient::Producer => "producer",
            TaskClient::Consumer => "consumer",
            TaskClient::Admin => "adminclient",
            TaskClient::DlqProducer => "dlq-producer",
            TaskClient::DlqAdmin => "dlq-adminclient",
        };
        format!("connector-{role}-{connector}-{task}")
    }

    /// What the worker sets before anybody overrides it. Order and safety of a source rest on the producer's.
    fn defaults(self, connector: &str) -> Vec<(&'static str, String)> {
        match self {
            TaskClient::Producer | TaskClient::DlqProducer => vec![
                ("acks", "all".to_owned()),
                ("enable.idempotence", "false".to_owned()),
                ("max.in.flight.requests.per.connection", "1".to_owned()),
                ("max.block.ms", i64::MAX.to_string()),
                ("delivery.timeout.ms", i32::MAX.to_string()),
            ],
            TaskClient::Consumer => vec![
                ("group.id", format!("connect-{connector}")),
                ("enable.auto.commit", "false".to_owned()),
                ("auto.offset.reset", "earliest".to_owned()),
            ],
            TaskClient::Admin | TaskClient::DlqAdmin => Vec::new(),
        }
    }
}

/// Keys that name Java classes and mean nothing here; Connect sets or users copy them.
const JAVA_ONLY: [&str; 4] = ["key.serializer", "value.serializer", "key.deserializer", "value.deserializer"];

/// Which keys connectors may override (`connector.client.config.override.policy`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverridePolicy {
    /// Every key (the default).
    All,
    /// No key.
    None,
    /// `sasl.jaas.config`, `sasl.mechanism` and `security.protocol`.
    Principal,
    /// The keys of `connector.client.config.override.allowlist`.
    Allowlist(Vec<String>),
}

impl OverridePolicy {
    /// Reads the policy by its short or full class name.
    pub fn parse(policy: &str, allowlist: &str) -> Option<OverridePolicy> {
        let simple = policy.rsplit('.').next().unwrap_or(policy);
        match simple.strip_suffix("ConnectorClientConfigOverridePolicy").unwrap_or(simple) {
            "All" => Some(OverridePolicy::All),
            "None" => Some(OverridePolicy::None),
            "Principal" => Some(OverridePolicy::Principal),
            "Allowlist" => {
                let keys = allowlist.split(',').map(str::trim).filter(|key| !key.is_empty());
                Some(OverridePolicy::Allowlist(keys.map(str::to_owned).collect()))
            }
            _ => None,
        }
    }

    fn allows(&self, key: &str) -> bool {
        match self {
            OverridePolicy::All => true,
            OverridePolicy::None => false,
            OverridePolicy::Principal => {
                ["sasl.jaas.config", "sasl.mechanism", "security.protocol"].contains(&key)
            }
            OverridePolicy::Allowlist(keys) => keys.iter().any(|allowed| allowed == key),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            OverridePolicy::All => "All",
            OverridePolicy::None => "None",
            OverridePolicy::Principal => "Principal",
            OverridePolicy::Allowlist(_) => "Allowlist",
        }
    }

    /// Why a connector may not override this key, if it may not.
    pub fn refusal(&self, key: &str) -> Option<String> {
        let name = self.name();
        (!self.allows(key)).then(|| {
            format!(
                "The '{name}' policy does not allow '{key}' to be overridden in the connector configuration."
            )
        })
    }
}

/// The configuration of one client of a task.
pub fn task_client(
    client: TaskClient,
    worker: &ConfigMap,
    connector_config: &ConfigMap,
    connector: &str,
    task: usize,
) -> IndexMap<String, String> {
    let mut config = IndexMap::new();
    if client.prefix() == "admin." {
        // unprefixed settings of the worker that admin clients know
        config.extend(
            worker
                .iter()
                .filter(|(key, _)| is_connection_key(key))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
    }
    if let Some(bootstrap) = worker.get("bootstrap.servers") {
        config.insert("bootstrap.servers".to_owned(), bootstrap.clone());
    }
    config.insert("client.id".to_owned(), client.client_id(connector, task));
    config.extend(client.defaults(connector).into_iter().map(|(key, value)| (key.to_owned(), value)));
    for (from, prefix) in [(worker, client.prefix()), (connector_config, client.override_prefix())] {
        let keys = from.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
        config.extend(keys.map(|(key, value)| (key.to_owned(), value.clone())));
    }
    config.retain(|key, _| !JAVA_ONLY.contains(&key.as_str()) && !key.starts_with("override."));
    config
}

/// The settings of the worker's own clients: its unprefixed keys that concern connections.
pub fn worker_client(worker: &ConfigMap, client_id: &str) -> IndexMap<String, String> {
    let mut config: IndexMap<String, String> = worker
        .iter()
        .filter(|(key, _)| is_connection_key(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    config.insert("client.id".to_owned(), client_id.to_owned());
    config
}

pub(super) fn is_connection_key(key: &str) -> bool {
    const EXACT: [&str; 10] = [
        "bootstrap.servers",
        "security.protocol",
        "client.dns.lookup",
        "request.timeout.ms",
        "connections.max.idle.ms",
        "metadata.max.age.ms",
        "send.buffer.bytes",
        "receive.buffer.bytes",
        "metadata.recovery.strategy",
        "metadata.recovery.rebootstrap.trigger.ms",
    ];
    const FAMILIES: [&str; 5] =
        ["ssl.", "sasl.", "reconnect.backoff.", "retry.backoff.", "socket.connection.setup."];
    // of listeners, not of clients
    if key == "ssl.client.auth" {
        return false;
    }
    EXACT.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> ConfigMap {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn later_layers_win() {
        let worker = map(&[
            ("bootstrap.servers", "b:1"),
            ("security.protocol", "SSL"),
            ("producer.acks", "1"),
            ("producer.linger.ms", "5"),
            ("producer.key.serializer", "x"),
            ("consumer.group.id", "g"),
        ]);
        let connector = map(&[("producer.override.linger.ms", "7"), ("consumer.override.group.id", "h")]);
        let producer = task_client(TaskClient::Producer, &worker, &connector, "c", 3);
        assert_eq!(producer["linger.ms"], "7");
        assert_eq!(producer["acks"], "1");
        assert_eq!(producer["enable.idempotence"], "false");
        assert_eq!(producer["client.id"], "connector-producer-c-3");
        assert_eq!(producer["bootstrap.servers"], "b:1");
        assert!(!producer.contains_key("security.protocol"), "security is not inherited without the prefix");
        assert!(!producer.contains_key("key.serializer"));
        assert_eq!(task_client(TaskClient::Consumer, &worker, &connector, "c", 0)["group.id"], "h");
        assert_eq!(task_client(TaskClient::Consumer, &worker, &map(&[]), "c", 0)["group.id"], "g");
        assert_eq!(task_client(TaskClient::Admin, &worker, &connector, "c", 0)["security.protocol"], "SSL");
    }

    #[test]
    fn the_workers_own_clients_get_what_concerns_connections() {
        let worker = map(&[
            ("group.id", "g"),
            ("ssl.truststore.location", "t"),
            ("ssl.client.auth", "required"),
            ("metadata.recovery.rebootstrap.trigger.ms", "5"),
        ]);
        let keys: Vec<String> = worker_client(&worker, "c").into_keys().collect();
        assert_eq!(
            keys,
            ["ssl.truststore.location", "metadata.recovery.rebootstrap.trigger.ms", "client.id"]
        );
    }

    #[test]
    fn policies() {
        let refusal = |policy, list| OverridePolicy::parse(policy, list).unwrap().refusal("acks");
        assert_eq!(refusal("All", ""), None);
        assert_eq!(
            refusal("None", "").unwrap(),
            "The 'None' policy does not allow 'acks' to be overridden in the connector configuration."
        );
        assert!(refusal("Principal", "").is_some());
        assert_eq!(refusal("Allowlist", "linger.ms, acks"), None);
        let full = "org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy";
        assert_eq!(OverridePolicy::parse(full, ""), Some(OverridePolicy::None));
        assert_eq!(OverridePolicy::parse("Mine", ""), None);
    }
}
