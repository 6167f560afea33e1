//! What the config topic says so far: the state machine that every worker runs over the same records.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::record::{ConfigRecord, RestartRequest, SessionKey};
use crate::connector::ConfigMap;
use crate::herder::TargetState;

/// The offset of a state before any record.
const NOTHING_READ: i64 = -1;

/// One connector.
#[derive(Debug, Clone)]
pub(crate) struct ConnectorConfig {
    /// Its configuration as stored: references of config providers are not resolved.
    pub(crate) config: Arc<ConfigMap>,
    /// The configuration that its tasks were made of.
    pub(crate) applied: Option<Arc<ConfigMap>>,
    /// What the user wants.
    pub(crate) target: TargetState,
    /// The configurations of its tasks in force.
    pub(crate) tasks: Arc<[ConfigMap]>,
    /// Whether a commit has come whose task configurations are not complete: it has no tasks until new ones come.
    pub(crate) inconsistent: bool,
    /// Grows with every commit of task configurations, so that a start can tell whether it is still wanted.
    pub(crate) generation: u64,
}

/// The state at one offset of the topic.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    /// The offset after the last record read, -1 when nothing was read. Members of the group compare it, so it is counted
    /// as JVM workers do: records that are no JSON and control records at the end are not in it.
    pub(crate) offset: i64,
    /// The key of the session.
    pub(crate) session_key: Option<SessionKey>,
    /// The connectors that exist.
    pub(crate) connectors: BTreeMap<Arc<str>, Arc<ConnectorConfig>>,
    /// How many tasks of a connector were fenced off at last.
    pub(crate) fenced: HashMap<Arc<str>, usize>,
    /// Connectors whose task configurations are newer than their fencing.
    pub(crate) pending_fencing: HashSet<Arc<str>>,
}

impl Default for ClusterConfig {
    fn default() -> ClusterConfig {
        ClusterConfig {
            offset: NOTHING_READ,
            session_key: None,
            connectors: BTreeMap::new(),
            fenced: HashMap::new(),
            pending_fencing: HashSet::new(),
        }
    }
}

impl ClusterConfig {
    /// A connector.
    pub(crate) fn connector(&self, name: &str) -> Option<&Arc<ConnectorConfig>> {
        self.connectors.get(name)
    }
}

/// What a record has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigChange {
    /// A connector is new or has a new configuration.
    Connector(Arc<str>),
    /// A connector was deleted.
    Removed(Arc<str>),
    /// A connector has new task configurations.
    Tasks(Arc<str>),
    /// A connector's target state is another.
    Target(Arc<str>),
    /// The session has a new key.
    SessionKey,
    /// A restart is asked for.
    Restart(RestartRequest),
    /// A logger has a new level.
    Logger {
        /// Its name.
        logger: String,
        /// As sent.
        level: String,
    },
}

/// The state machine.
#[derive(Debug, Default)]
pub(crate) struct ConfigState {
    /// Shared with readers: copied when it changes while one holds it.
    current: Arc<ClusterConfig>,
    /// Task configurations that wait for their commit.
    deferred: HashMap<Arc<str>, BTreeMap<u32, ConfigMap>>,
    /// Target states of connectors that do not exist: an initial state comes before its connector.
    early_targets: HashMap<Arc<str>, TargetState>,
    generations: u64,
}

impl ConfigState {
    /// The state as it is now.
    pub(crate) fn snapshot(&self) -> Arc<ClusterConfig> {
        Arc::clone(&self.current)
    }

    /// The topic was read up to this offset.
    pub(crate) fn read_to(&mut self, offset: i64) {
        if offset > self.current.offset {
            Arc::make_mut(&mut self.current).offset = offset;
        }
    }

    /// Applies a record, and tells what it has changed.
    pub(crate) fn apply(&mut self, record: ConfigRecord) -> Option<ConfigChange> {
        match record {
            ConfigRecord::Connector { name, config: Some(config) } => Some(self.put_connector(name, config)),
            ConfigRecord::Connector { name, config: None } => {
                self.remove(&name).then_some(ConfigChange::Removed(name))
            }
            ConfigRecord::Task { connector, task, config } => {
                self.deferred.entry(connector).or_default().insert(task, config);
                None
            }
            ConfigRecord::Commit { connector, tasks } => self.commit(connector, tasks),
            ConfigRecord::Target { connector, state } => self.set_target(connector, state),
            ConfigRecord::SessionKey(key) => {
                Arc::make_mut(&mut self.current).session_key = Some(key);
                Some(ConfigChange::SessionKey)
            }
            ConfigRecord::Restart(request) => Some(ConfigChange::Restart(request)),
            ConfigRecord::Fencing { connector, tasks } => {
                let current = Arc::make_mut(&mut self.current);
                current.pending_fencing.remove(&connector);
                current.fenced.insert(connector, tasks);
                None
            }
            ConfigRecord::Logger { logger, level } => Some(ConfigChange::Logger { logger, level }),
        }
    }

    fn put_connector(&mut self, name: Arc<str>, config: ConfigMap) -> ConfigChange {
        let connectors = &mut Arc::make_mut(&mut self.current).connectors;
        match connectors.get_mut(&name) {
            Some(entry) => Arc::make_mut(entry).config = Arc::new(config),
            None => {
                let target = self.early_targets.remove(&name).unwrap_or(TargetState::Started);
                let entry = ConnectorConfig {
                    config: Arc::new(config),
                    applied: None,
                    target,
                    tasks: Arc::new([]),
                    inconsistent: false,
                    generation: 0,
                };
                connectors.insert(Arc::clone(&name), Arc::new(entry));
            }
        }
        ConfigChange::Connector(name)
    }

    fn remove(&mut self, name: &str) -> bool {
        self.deferred.remove(name);
        let known = self.current.connectors.contains_key(name);
        if known {
            Arc::make_mut(&mut self.current).connectors.remove(name);
        }
        known
    }

    /// Compaction may have eaten task configurations, or the connector itself: only whole sets come into force.
    fn commit(&mut self, name: Arc<str>, count: usize) -> Option<ConfigChange> {
        let deferred = self.deferred.remove(&name).unwrap_or_default();
        let current = Arc::make_mut(&mut self.current);
        let entry = Arc::make_mut(current.connectors.get_mut(&name)?);
        let numbers: BTreeSet<usize> = deferred.keys().map(|task| *task as usize).collect();
        if numbers.into_iter().eq(0..count) {
            self.generations += 1;
            entry.generation = self.generations;
            entry.applied = Some(Arc::clone(&entry.config));
            entry.tasks = deferred.into_values().collect();
            entry.inconsistent = false;
        } else {
            tracing::debug!(
                connector = &*name,
                "the task configurations of this commit are not complete, probably by compaction: the connector has no tasks until it is reconfigured"
            );
            entry.tasks = Arc::new([]);
            entry.inconsistent = true;
        }
        current.pending_fencing.insert(Arc::clone(&name));
        Some(ConfigChange::Tasks(name))
    }

    fn set_target(&mut self, name: Arc<str>, state: Option<TargetState>) -> Option<ConfigChange> {
        if !self.current.connectors.contains_key(&name) {
            match state {
                Some(state) => drop(self.early_targets.insert(name, state)),
                None => drop(self.early_targets.remove(&name)),
            }
            return None;
        }
        let entry = Arc::make_mut(&mut self.current).connectors.get_mut(&name)?;
        // a connector always has a target state
        let target = state.unwrap_or(TargetState::Started);
        if entry.target == target {
            return None;
        }
        Arc::make_mut(entry).target = target;
        state.is_some().then_some(ConfigChange::Target(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(state: &mut ConfigState, key: &str, value: &str) -> Option<ConfigChange> {
        let value = (!value.is_empty()).then_some(value.as_bytes());
        state.apply(ConfigRecord::decode(Some(key.as_bytes()), value).unwrap())
    }

    fn tasks(state: &ConfigState, name: &str) -> Vec<String> {
        let snapshot = state.snapshot();
        snapshot.connector(name).unwrap().tasks.iter().map(|task| task["n"].clone()).collect()
    }

    #[test]
    fn tasks_come_into_force_with_their_commit() {
        let mut state = ConfigState::default();
        let connector = r#"{"properties":{"a":"1"}}"#;
        assert_eq!(apply(&mut state, "connector-c", connector), Some(ConfigChange::Connector("c".into())));
        apply(&mut state, "task-c-1", r#"{"properties":{"n":"one"}}"#);
        assert_eq!(apply(&mut state, "task-c-0", r#"{"properties":{"n":"zero"}}"#), None);
        let before = state.snapshot();
        assert_eq!(apply(&mut state, "commit-c", r#"{"tasks":2}"#), Some(ConfigChange::Tasks("c".into())));
        assert_eq!(tasks(&state, "c"), ["zero", "one"]);
        assert!(before.connector("c").unwrap().tasks.is_empty(), "a snapshot has changed");
        let generation = state.snapshot().connector("c").unwrap().generation;

        apply(&mut state, "task-c-0", r#"{"properties":{"n":"new"}}"#);
        assert_eq!(tasks(&state, "c"), ["zero", "one"]);
        apply(&mut state, "commit-c", r#"{"tasks":1}"#);
        assert_eq!(tasks(&state, "c"), ["new"]);
        assert!(state.snapshot().connector("c").unwrap().generation > generation);
        apply(&mut state, "commit-c", r#"{"tasks":0}"#);
        assert!(tasks(&state, "c").is_empty());
    }

    #[test]
    fn compaction_may_have_eaten_anything() {
        let mut state = ConfigState::default();
        apply(&mut state, "connector-c", r#"{"properties":{}}"#);
        apply(&mut state, "task-c-1", r#"{"properties":{"n":"one"}}"#);
        apply(&mut state, "commit-c", r#"{"tasks":2}"#);
        assert!(state.snapshot().connector("c").unwrap().inconsistent);
        assert!(tasks(&state, "c").is_empty());
        // what was left over is not part of the next set
        apply(&mut state, "task-c-0", r#"{"properties":{"n":"zero"}}"#);
        apply(&mut state, "commit-c", r#"{"tasks":1}"#);
        assert!(!state.snapshot().connector("c").unwrap().inconsistent);
        assert_eq!(tasks(&state, "c"), ["zero"]);
        // tasks of a connector whose record is gone
        apply(&mut state, "task-gone-0", r#"{"properties":{"n":"zero"}}"#);
        assert_eq!(apply(&mut state, "commit-gone", r#"{"tasks":1}"#), None);
        assert_eq!(state.snapshot().connectors.len(), 1);
        assert_eq!(apply(&mut state, "connector-gone", ""), None);
    }

    #[test]
    fn target_states() {
        let mut state = ConfigState::default();
        let target = |state: &ConfigState| state.snapshot().connector("c").map(|entry| entry.target);
        let paused = r#"{"state":"PAUSED","state.v2":"PAUSED"}"#;
        assert_eq!(apply(&mut state, "target-state-c", paused), None);
        apply(&mut state, "connector-c", r#"{"properties":{}}"#);
        assert_eq!(target(&state), Some(TargetState::Paused));
        assert_eq!(apply(&mut state, "target-state-c", paused), None, "nothing has changed");
        let started = r#"{"state":"STARTED"}"#;
        assert_eq!(apply(&mut state, "target-state-c", started), Some(ConfigChange::Target("c".into())));
        apply(&mut state, "target-state-c", paused);
        assert_eq!(apply(&mut state, "target-state-c", ""), None);
        assert_eq!(target(&state), Some(TargetState::Started));
        apply(&mut state, "target-state-c", paused);
        assert_eq!(apply(&mut state, "connector-c", ""), Some(ConfigChange::Removed("c".into())));
        apply(&mut state, "target-state-c", "");
        apply(&mut state, "connector-c", r#"{"properties":{}}"#);
        assert_eq!(target(&state), Some(TargetState::Started));
    }

    #[test]
    fn fencing_follows_commits() {
        let mut state = ConfigState::default();
        apply(&mut state, "connector-c", r#"{"properties":{}}"#);
        apply(&mut state, "commit-c", r#"{"tasks":0}"#);
        assert!(state.snapshot().pending_fencing.contains("c"));
        apply(&mut state, "tasks-fencing-c", r#"{"task-count":2}"#);
        assert!(!state.snapshot().pending_fencing.contains("c"));
        assert_eq!(state.snapshot().fenced["c"], 2);
        state.read_to(9);
        state.read_to(4);
        assert_eq!(state.snapshot().offset, 9);
    }
}
