//! The status topic: what every worker knows of all connectors and tasks of the group, and of the topics they use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::worker::State;

const CONNECTOR: &str = "status-connector-";
const TASK: &str = "status-task-";
const TOPIC: &str = "status-topic-";
/// Between topic and connector in a topic's key; a topic's name has no colon.
const TOPIC_OF: &str = ":connector-";

/// A status as a worker of the group wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerStatus {
    /// The state.
    pub(crate) state: State,
    /// The whole cause chain of a failure.
    pub(crate) trace: Option<String>,
    /// `host:port` of the worker that wrote it.
    pub(crate) worker_id: String,
    /// The group's generation in which it was written.
    pub(crate) generation: i32,
    /// The plugin's version; workers before 4.1 write none.
    pub(crate) version: Option<String>,
}

impl WorkerStatus {
    fn to_json(&self) -> Value {
        json!({
            "state": self.state.as_str(),
            "trace": self.trace,
            "worker_id": self.worker_id,
            "generation": self.generation,
            "version": self.version,
        })
    }

    fn from_json(value: &Value) -> Option<WorkerStatus> {
        let text = |member: &str| value.get(member).and_then(Value::as_str).map(str::to_owned);
        Some(WorkerStatus {
            state: state_of(value.get("state")?.as_str()?)?,
            trace: text("trace"),
            worker_id: text("worker_id")?,
            generation: i32::try_from(value.get("generation")?.as_i64()?).ok()?,
            version: text("version"),
        })
    }
}

fn state_of(word: &str) -> Option<State> {
    const ALL: [State; 6] =
        [State::Unassigned, State::Running, State::Paused, State::Stopped, State::Failed, State::Restarting];
    ALL.into_iter().find(|state| state.as_str() == word)
}

/// A record of the status topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatusRecord {
    /// Of a connector's own instance; none when it is gone.
    Connector { connector: Arc<str>, status: Option<WorkerStatus> },
    /// Of a task; none when it is gone.
    Task { connector: Arc<str>, task: u32, status: Option<WorkerStatus> },
    /// A connector uses a topic; none when that is forgotten.
    Topic { connector: Arc<str>, topic: String, seen: Option<TopicSeen> },
}

/// Who was the first to use a topic for its connector, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicSeen {
    /// The task's number.
    pub(crate) task: u32,
    /// Milliseconds since 1970.
    pub(crate) at_ms: i64,
}

impl StatusRecord {
    /// The record as bytes of key and value.
    pub(crate) fn encode(&self) -> (String, Option<Vec<u8>>) {
        let (key, value) = match self {
            StatusRecord::Connector { connector, status } => {
                (format!("{CONNECTOR}{connector}"), status.as_ref().map(WorkerStatus::to_json))
            }
            StatusRecord::Task { connector, task, status } => {
                (format!("{TASK}{connector}-{task}"), status.as_ref().map(WorkerStatus::to_json))
            }
            StatusRecord::Topic { connector, topic, seen } => {
                let value = |seen: &TopicSeen| {
                    json!({"topic": {
                        "name": topic,
                        "connector": &**connector,
                        "task": seen.task,
                        "discoverTimestamp": seen.at_ms,
                    }})
                };
                (format!("{TOPIC}{topic}{TOPIC_OF}{connector}"), seen.as_ref().map(value))
            }
        };
        (key, value.map(|value| value.to_string().into_bytes()))
    }

    /// Reads a record of anybody's; none where it is not one.
    pub(crate) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<StatusRecord> {
        let key = std::str::from_utf8(key?).ok()?;
        let value: Option<Value> = match value {
            Some(bytes) => Some(serde_json::from_slice(bytes).ok()?),
            None => None,
        };
        let status = || match &value {
            Some(value) => WorkerStatus::from_json(value).map(Some),
            None => Some(None),
        };
        if let Some(connector) = key.strip_prefix(CONNECTOR) {
            Some(StatusRecord::Connector { connector: connector.into(), status: status()? })
        } else if let Some(rest) = key.strip_prefix(TASK) {
            let (connector, task) = rest.rsplit_once('-')?;
            Some(StatusRecord::Task {
                connector: connector.into(),
                task: task.parse().ok()?,
                status: status()?,
            })
        } else {
            let (topic, connector) = key.strip_prefix(TOPIC)?.split_once(':')?;
            let connector = connector.strip_prefix(&TOPIC_OF[1..])?;
            let seen = |value: &Value| {
                let topic = value.get("topic")?;
                let task = u32::try_from(topic.get("task")?.as_u64()?).ok()?;
                Some(TopicSeen { task, at_ms: topic.get("discoverTimestamp")?.as_i64()? })
            };
            let seen = match &value {
                Some(value) => Some(seen(value)?),
                None => None,
            };
            Some(StatusRecord::Topic { connector: connector.into(), topic: topic.to_owned(), seen })
        }
    }
}

/// What is known of one connector.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownStatus {
    /// Its own instance's.
    pub(crate) connector: Option<WorkerStatus>,
    /// Its tasks'.
    pub(crate) tasks: BTreeMap<u32, WorkerStatus>,
    /// The topics it uses.
    pub(crate) topics: BTreeSet<String>,
}

/// The state machine over the topic's records. A record costs one look-up.
#[derive(Debug, Default)]
pub(crate) struct StatusCache {
    connectors: HashMap<Arc<str>, KnownStatus>,
}

impl StatusCache {
    /// Takes a record in.
    pub(crate) fn apply(&mut self, record: StatusRecord) {
        let connector = match &record {
            StatusRecord::Connector { connector, .. }
            | StatusRecord::Task { connector, .. }
            | StatusRecord::Topic { connector, .. } => Arc::clone(connector),
        };
        let known = self.connectors.entry(Arc::clone(&connector)).or_default();
        match record {
            StatusRecord::Connector { status, .. } => {
                if !is_stale(known.connector.as_ref(), status.as_ref()) {
                    known.connector = status;
                }
            }
            StatusRecord::Task { task, status: Some(status), .. } => {
                if !is_stale(known.tasks.get(&task), Some(&status)) {
                    known.tasks.insert(task, status);
                }
            }
            StatusRecord::Task { task, status: None, .. } => drop(known.tasks.remove(&task)),
            StatusRecord::Topic { topic, seen: Some(_), .. } => drop(known.topics.insert(topic)),
            StatusRecord::Topic { topic, seen: None, .. } => drop(known.topics.remove(&topic)),
        }
        if known.connector.is_none() && known.tasks.is_empty() && known.topics.is_empty() {
            self.connectors.remove(&connector);
        }
    }

    /// What is known of a connector.
    pub(crate) fn get(&self, connector: &str) -> Option<&KnownStatus> {
        self.connectors.get(connector)
    }

    /// Every connector that something is known of.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &KnownStatus)> {
        self.connectors.iter()
    }
}

/// In a quick row of rebalances the UNASSIGNED of an earlier owner may come after the RUNNING of a later one.
fn is_stale(known: Option<&WorkerStatus>, new: Option<&WorkerStatus>) -> bool {
    let (Some(known), Some(new)) = (known, new) else { return false };
    new.state == State::Unassigned && known.state == State::Running && known.generation >= new.generation
}

/// Whether a worker may write a status that only counts while nobody newer has written one (UNASSIGNED at its end, FAILED).
pub(crate) fn may_write_safely(known: Option<&WorkerStatus>, worker_id: &str, generation: i32) -> bool {
    known.is_none_or(|known| known.worker_id == worker_id || known.generation <= generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State, worker_id: &str, generation: i32) -> WorkerStatus {
        WorkerStatus { state, trace: None, worker_id: worker_id.to_owned(), generation, version: None }
    }

    fn task(task: u32, status: Option<WorkerStatus>) -> StatusRecord {
        StatusRecord::Task { connector: "a-b".into(), task, status }
    }

    #[test]
    fn recorded_records_both_ways() {
        let running = WorkerStatus {
            version: Some("4.3.1".to_owned()),
            ..status(State::Running, "127.0.0.1:39083", 3)
        };
        let seen = TopicSeen { task: 0, at_ms: 1_795_398_192_834 };
        let recorded = [
            (
                StatusRecord::Connector { connector: "src".into(), status: Some(running) },
                "status-connector-src",
                Some(
                    r#"{"state":"RUNNING","trace":null,"worker_id":"127.0.0.1:39083","generation":3,"version":"4.3.1"}"#,
                ),
            ),
            (task(12, None), "status-task-a-b-12", None),
            (
                StatusRecord::Topic { connector: "src".into(), topic: "t1".into(), seen: Some(seen) },
                "status-topic-t1:connector-src",
                Some(
                    r#"{"topic":{"name":"t1","connector":"src","task":0,"discoverTimestamp":1795398192834}}"#,
                ),
            ),
        ];
        for (record, key, value) in recorded {
            let (encoded_key, encoded_value) = record.encode();
            assert_eq!(encoded_key, key);
            assert_eq!(encoded_value.as_deref().map(|value| std::str::from_utf8(value).unwrap()), value);
            let decoded = StatusRecord::decode(Some(key.as_bytes()), value.map(str::as_bytes));
            assert_eq!(decoded, Some(record));
        }
        let old = br#"{"state":"FAILED","trace":"x","worker_id":"w","generation":1}"#;
        assert!(StatusRecord::decode(Some(b"status-task-c-0"), Some(old)).is_some());
        for (key, value) in [
            ("status-task-c", "{}"),
            ("status-task-c-0", r#"{"state":"SOMETHING","worker_id":"w","generation":1}"#),
            ("status-topic-t", "{}"),
            ("status-topic-t:c", "null"),
            ("other", "{}"),
        ] {
            assert_eq!(StatusRecord::decode(Some(key.as_bytes()), Some(value.as_bytes())), None, "{key}");
        }
    }

    #[test]
    fn a_late_unassigned_is_passed_over_and_tombstones_forget() {
        let mut cache = StatusCache::default();
        let state = |cache: &StatusCache| cache.get("a-b").map(|known| known.tasks[&0].state);
        cache.apply(task(0, Some(status(State::Running, "w2", 5))));
        cache.apply(task(0, Some(status(State::Unassigned, "w1", 5))));
        assert_eq!(state(&cache), Some(State::Running));
        cache.apply(task(0, Some(status(State::Unassigned, "w2", 6))));
        assert_eq!(state(&cache), Some(State::Unassigned));
        cache.apply(task(0, None));
        assert!(cache.get("a-b").is_none());
    }

    #[test]
    fn safe_writes_give_way_to_newer_generations_of_others() {
        let known = status(State::Running, "w2", 5);
        assert!(!may_write_safely(Some(&known), "w1", 4));
        assert!(may_write_safely(Some(&known), "w1", 5));
        assert!(may_write_safely(Some(&known), "w2", 4));
        assert!(may_write_safely(None, "w1", 0));
    }
}
