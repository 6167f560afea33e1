//! The records of the config topic: keys are UTF-8, values JSON without an envelope, as the JVM's converter writes them.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::connector::ConfigMap;
use crate::herder::TargetState;

const CONNECTOR: &str = "connector-";
const TASK: &str = "task-";
const COMMIT: &str = "commit-";
const TARGET_STATE: &str = "target-state-";
const SESSION_KEY: &str = "session-key";
const RESTART: &str = "restart-connector-";
const FENCING: &str = "tasks-fencing-";
const LOGGER: &str = "logger-cluster-";

/// A request that every worker restarts its instances of a connector (KIP-745).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestartRequest {
    pub(crate) connector: Arc<str>,
    pub(crate) include_tasks: bool,
    pub(crate) only_failed: bool,
}

/// The key that internal requests are signed with (KIP-507). It does not print.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionKey {
    pub(crate) key: Arc<[u8]>,
    /// Java's name of the algorithm that it was made for, such as `HmacSHA256`.
    pub(crate) algorithm: Arc<str>,
    /// Milliseconds since 1970.
    pub(crate) created_ms: i64,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKey").field("created_ms", &self.created_ms).finish_non_exhaustive()
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ConfigRecord {
    /// A connector's configuration; none when it was deleted.
    Connector { name: Arc<str>, config: Option<ConfigMap> },
    /// A task's configuration, in force from the next commit on.
    Task { connector: Arc<str>, task: u32, config: ConfigMap },
    /// The task configurations before it are in force.
    Commit { connector: Arc<str>, tasks: usize },
    /// What the user wants of a connector; none with its deletion.
    Target { connector: Arc<str>, state: Option<TargetState> },
    /// The key of the session.
    SessionKey(SessionKey),
    /// A restart.
    Restart(RestartRequest),
    /// How many tasks were fenced off at last (KIP-618).
    Fencing { connector: Arc<str>, tasks: usize },
    /// A level of a logger for all running workers (KIP-976).
    Logger { logger: String, level: String },
}

/// A record that is none of the config topic's, or not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRecord {
    /// The value is no JSON at all. JVM workers do not count such a record as read.
    #[error("{0}")]
    NotJson(String),
    /// Anything else.
    #[error("{0}")]
    Foreign(String),
}

impl ConfigRecord {
    /// The record as bytes of key and value.
    pub(crate) fn encode(&self) -> (String, Option<Vec<u8>>) {
        let (key, value) = match self {
            ConfigRecord::Connector { name, config } => {
                (format!("{CONNECTOR}{name}"), config.as_ref().map(|config| json!({"properties": config})))
            }
            ConfigRecord::Task { connector, task, config } => {
                (format!("{TASK}{connector}-{task}"), Some(json!({"properties": config})))
            }
            ConfigRecord::Commit { connector, tasks } => {
                (format!("{COMMIT}{connector}"), Some(json!({"tasks": tasks})))
            }
            ConfigRecord::Target { connector, state } => {
                (format!("{TARGET_STATE}{connector}"), state.map(target_value))
            }
            ConfigRecord::SessionKey(key) => {
                let text = BASE64_STANDARD.encode(&key.key);
                let value =
                    json!({"key": text, "algorithm": &*key.algorithm, "creation-timestamp": key.created_ms});
                (SESSION_KEY.to_owned(), Some(value))
            }
            ConfigRecord::Restart(request) => (
                format!("{RESTART}{}", request.connector),
                Some(json!({"include-tasks": request.include_tasks, "only-failed": request.only_failed})),
            ),
            ConfigRecord::Fencing { connector, tasks } => {
                (format!("{FENCING}{connector}"), Some(json!({"task-count": tasks})))
            }
            ConfigRecord::Logger { logger, level } => {
                (format!("{LOGGER}{logger}"), Some(json!({"level": level})))
            }
        };
        (key, value.map(|value| value.to_string().into_bytes()))
    }

    /// Reads a record of anybody's.
    pub(crate) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<ConfigRecord, BadRecord> {
        let key = key.ok_or_else(|| BadRecord::Foreign("it has no key".to_owned()))?;
        let key =
            std::str::from_utf8(key).map_err(|_| BadRecord::Foreign("its key is not UTF-8".to_owned()))?;
        let bad = |what: &str| BadRecord::Foreign(format!("{key}: {what}"));
        let value: Option<Value> = match value {
            Some(bytes) => {
                let parsed = serde_json::from_slice(bytes);
                parsed
                    .map_err(|error| BadRecord::NotJson(format!("{key}: the value is not JSON: {error}")))?
            }
            None => None,
        };
        let object = || match &value {
            Some(Value::Object(members)) => Ok(members),
            Some(_) => Err(bad("the value is not a JSON object")),
            None => Err(bad("the value is null")),
        };
        // the longer prefixes first, where one begins like another
        if key == SESSION_KEY {
            session_key(object()?).map(ConfigRecord::SessionKey).map_err(bad)
        } else if let Some(name) = key.strip_prefix(RESTART) {
            let members = object()?;
            let flag = |member: &str| members.get(member).and_then(Value::as_bool).unwrap_or(false);
            let (include_tasks, only_failed) = (flag("include-tasks"), flag("only-failed"));
            Ok(ConfigRecord::Restart(RestartRequest { connector: name.into(), include_tasks, only_failed }))
        } else if let Some(connector) = key.strip_prefix(TARGET_STATE) {
            let state = match &value {
                None => None,
                Some(_) => Some(target_state(object()?).map_err(|what| bad(&what))?),
            };
            Ok(ConfigRecord::Target { connector: connector.into(), state })
        } else if let Some(connector) = key.strip_prefix(FENCING) {
            let tasks = count(object()?, "task-count").map_err(bad)?;
            Ok(ConfigRecord::Fencing { connector: connector.into(), tasks })
        } else if let Some(logger) = key.strip_prefix(LOGGER) {
            let level = object()?.get("level").and_then(Value::as_str);
            let level = level.ok_or_else(|| bad("level is not a string"))?.to_owned();
            Ok(ConfigRecord::Logger { logger: logger.to_owned(), level })
        } else if let Some(name) = key.strip_prefix(CONNECTOR) {
            let config = match &value {
                None => None,
                Some(_) => Some(properties(object()?).map_err(|what| bad(&what))?),
            };
            Ok(ConfigRecord::Connector { name: name.into(), config })
        } else if let Some(rest) = key.strip_prefix(TASK) {
            let id = rest.rsplit_once('-').and_then(|(name, task)| Some((name, task.parse::<u32>().ok()?)));
            let (connector, task) = id.ok_or_else(|| bad("the key does not end in a task's number"))?;
            let config = properties(object()?).map_err(|what| bad(&what))?;
            Ok(ConfigRecord::Task { connector: connector.into(), task, config })
        } else if let Some(connector) = key.strip_prefix(COMMIT) {
            let tasks = count(object()?, "tasks").map_err(bad)?;
            Ok(ConfigRecord::Commit { connector: connector.into(), tasks })
        } else {
            Err(bad("no such key belongs into a config topic"))
        }
    }
}

/// STOPPED is PAUSED for workers that do not know it.
fn target_value(state: TargetState) -> Value {
    let (old, new) = match state {
        TargetState::Started => ("STARTED", "STARTED"),
        TargetState::Paused => ("PAUSED", "PAUSED"),
        TargetState::Stopped => ("PAUSED", "STOPPED"),
    };
    json!({"state": old, "state.v2": new})
}

fn target_state(members: &Map<String, Value>) -> Result<TargetState, String> {
    let text = members.get("state.v2").filter(|value| !value.is_null()).or_else(|| members.get("state"));
    match text.and_then(Value::as_str) {
        Some("STARTED") => Ok(TargetState::Started),
        Some("PAUSED") => Ok(TargetState::Paused),
        Some("STOPPED") => Ok(TargetState::Stopped),
        Some(other) => Err(format!("{other} is no target state")),
        None => Err("state is not a string".to_owned()),
    }
}

fn session_key(members: &Map<String, Value>) -> Result<SessionKey, &'static str> {
    let text = |member: &str| members.get(member).and_then(Value::as_str);
    let key = text("key").and_then(|key| BASE64_STANDARD.decode(key).ok()).ok_or("key is not base64")?;
    let algorithm = text("algorithm").ok_or("algorithm is not a string")?;
    let created_ms = members.get("creation-timestamp").and_then(Value::as_i64);
    let created_ms = created_ms.ok_or("creation-timestamp is not a number")?;
    Ok(SessionKey { key: key.into(), algorithm: algorithm.into(), created_ms })
}

fn count(members: &Map<String, Value>, member: &str) -> Result<usize, &'static str> {
    let number = members.get(member).and_then(Value::as_u64);
    number.and_then(|number| u32::try_from(number).ok()).map(|number| number as usize).ok_or(match member {
        "tasks" => "tasks is not a count",
        _ => "task-count is not a count",
    })
}

/// Values of null, which the JVM allows in task configurations, are left out.
fn properties(members: &Map<String, Value>) -> Result<ConfigMap, String> {
    let Some(Value::Object(properties)) = members.get("properties") else {
        return Err("properties is not an object".to_owned());
    };
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Some(Ok((key.clone(), text.clone()))),
        Value::Null => None,
        _ => Some(Err(format!("the property {key} is not a string"))),
    };
    properties.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Records as JVM workers wrote them.
    fn recorded() -> Vec<(ConfigRecord, &'static str, Option<&'static str>)> {
        let name = || Arc::from("my-src");
        let target = |state| ConfigRecord::Target { connector: name(), state };
        let key = SessionKey {
            key: [0, 1, 2].into(),
            algorithm: "HmacSHA256".into(),
            created_ms: 1_795_398_160_037,
        };
        vec![
            (
                ConfigRecord::Connector { name: name(), config: Some(config(&[("tasks.max", "1")])) },
                "connector-my-src",
                Some(r#"{"properties":{"tasks.max":"1"}}"#),
            ),
            (ConfigRecord::Connector { name: name(), config: None }, "connector-my-src", None),
            (
                ConfigRecord::Task { connector: name(), task: 3, config: config(&[("file", "é")]) },
                "task-my-src-3",
                Some(r#"{"properties":{"file":"é"}}"#),
            ),
            (ConfigRecord::Commit { connector: name(), tasks: 2 }, "commit-my-src", Some(r#"{"tasks":2}"#)),
            (
                target(Some(TargetState::Stopped)),
                "target-state-my-src",
                Some(r#"{"state":"PAUSED","state.v2":"STOPPED"}"#),
            ),
            (target(None), "target-state-my-src", None),
            (
                ConfigRecord::SessionKey(key),
                "session-key",
                Some(r#"{"key":"AAEC","algorithm":"HmacSHA256","creation-timestamp":1795398160037}"#),
            ),
            (
                ConfigRecord::Restart(RestartRequest {
                    connector: name(),
                    include_tasks: true,
                    only_failed: false,
                }),
                "restart-connector-my-src",
                Some(r#"{"include-tasks":true,"only-failed":false}"#),
            ),
            (
                ConfigRecord::Fencing { connector: name(), tasks: 1 },
                "tasks-fencing-my-src",
                Some(r#"{"task-count":1}"#),
            ),
            (
                ConfigRecord::Logger { logger: "a.B".into(), level: "WARN".into() },
                "logger-cluster-a.B",
                Some(r#"{"level":"WARN"}"#),
            ),
        ]
    }

    proptest::proptest! {
        /// Whatever is in the topic: an error, or a record that is written as the same.
        #[test]
        fn any_record(
            key in "(connector-|task-|commit-|target-state-|session-key|restart-connector-|tasks-fencing-|logger-cluster-)[a-z0-9-]{0,6}",
            value in proptest::option::of("(\\{\"(properties|tasks|task-count|state|level|key)\":(\\{\\}|[0-9-]{1,3}|\"[A-Z]{0,7}\"|null)\\}|.{0,20})"),
        ) {
            if let Ok(record) = ConfigRecord::decode(Some(key.as_bytes()), value.as_deref().map(str::as_bytes)) {
                let (key, value) = record.encode();
                let again = ConfigRecord::decode(Some(key.as_bytes()), value.as_deref());
                proptest::prop_assert_eq!(again, Ok(record));
            }
        }
    }

    #[test]
    fn both_ways_to_the_byte() {
        for (record, key, value) in recorded() {
            let (encoded_key, encoded_value) = record.encode();
            assert_eq!(encoded_key, key);
            assert_eq!(encoded_value.as_deref().map(|value| std::str::from_utf8(value).unwrap()), value);
            let decoded = ConfigRecord::decode(Some(key.as_bytes()), value.map(str::as_bytes));
            assert_eq!(decoded.unwrap(), record);
        }
    }

    #[test]
    fn foreign_and_corrupt_records_are_errors() {
        for (key, value) in [
            ("something", "{}"),
            ("connector-c", "not json"),
            ("connector-c", r#"{"properties":{"a":1}}"#),
            ("connector-c", "[]"),
            ("task-c", r#"{"properties":{}}"#),
            ("task-c-x", r#"{"properties":{}}"#),
            ("commit-c", r#"{"tasks":-1}"#),
            ("target-state-c", r#"{"state":"RUNNING"}"#),
            ("target-state-c", r#"{"state":7}"#),
            ("session-key", r#"{"key":"*","algorithm":"a","creation-timestamp":1}"#),
            ("logger-cluster-x", "{}"),
        ] {
            let decoded = ConfigRecord::decode(Some(key.as_bytes()), Some(value.as_bytes()));
            assert!(decoded.is_err(), "{key}: {decoded:?}");
        }
        assert!(ConfigRecord::decode(None, None).is_err());
        assert!(ConfigRecord::decode(Some(&[0xff]), None).is_err());
        assert!(ConfigRecord::decode(Some(b"commit-c"), None).is_err());
        // what older workers wrote
        let old = ConfigRecord::decode(Some(b"target-state-c"), Some(br#"{"state":"PAUSED"}"#)).unwrap();
        assert_eq!(old, ConfigRecord::Target { connector: "c".into(), state: Some(TargetState::Paused) });
    }
}
