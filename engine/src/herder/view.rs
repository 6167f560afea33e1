//! What readers see of connectors, and what requests ask for.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::connector::{ConfigMap, ConnectorKind, OffsetMap};
use crate::worker::{ConnectorStatus, State};

/// What the user wants of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Work.
    Started,
    /// Keep the tasks, but move nothing.
    Paused,
    /// Keep the configuration only.
    Stopped,
}

impl TargetState {
    /// Reads `initial_state` of a request: RUNNING, PAUSED or STOPPED in any case.
    pub fn parse_initial(text: &str) -> Option<TargetState> {
        match text.to_ascii_uppercase().as_str() {
            "RUNNING" => Some(TargetState::Started),
            "PAUSED" => Some(TargetState::Paused),
            "STOPPED" => Some(TargetState::Stopped),
            _ => None,
        }
    }
}

/// What is known of a connector, as readers see it.
#[derive(Debug, Clone)]
pub struct ConnectorView {
    /// The raw configuration, with `name`; references to config providers as written.
    pub config: Arc<ConfigMap>,
    /// The raw configurations of its tasks; none when stopped.
    pub task_configs: Arc<[ConfigMap]>,
    /// What the user wants.
    pub target: TargetState,
    /// Source or sink; none for a class that this worker does not have.
    pub kind: Option<ConnectorKind>,
}

impl ConnectorView {
    /// `source`, `sink` or `unknown`.
    pub fn type_name(&self) -> &'static str {
        self.kind.map_or("unknown", ConnectorKind::as_str)
    }
}

/// How a configuration is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// No connector of the name may exist; it begins in this state.
    Create(Option<TargetState>),
    /// A connector of the name gets a new configuration, or is created.
    Replace,
}

/// What a put of a configuration came to.
#[derive(Debug, Clone)]
pub struct PutResult {
    /// The connector did not exist before.
    pub created: bool,
    /// The configuration as stored.
    pub view: ConnectorView,
}

/// Changes of a configuration: a key without a value is removed (KIP-477).
pub type ConfigPatch = IndexMap<String, Option<String>>;

/// Which instances of a connector to restart (KIP-745).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestartScope {
    /// The tasks as well.
    pub include_tasks: bool,
    /// Only what has failed.
    pub only_failed: bool,
}

/// What a restart is going to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPlan {
    /// The connector's own instance is restarted.
    pub connector: bool,
    /// The tasks that are restarted, in order.
    pub tasks: Vec<usize>,
    /// The status with what was chosen shown as RESTARTING: the answer to the request.
    pub shown: ConnectorStatus,
}

impl RestartPlan {
    /// Chooses by scope and status; cost O(tasks).
    pub fn new(scope: RestartScope, status: &ConnectorStatus) -> RestartPlan {
        let mut shown = status.clone();
        let chosen = |state: State| !scope.only_failed || state == State::Failed;
        let connector = chosen(shown.connector.state);
        if connector {
            shown.connector.restarting();
        }
        let mut tasks = Vec::new();
        for (task, status) in &mut shown.tasks {
            if scope.include_tasks && chosen(status.state) {
                status.restarting();
                tasks.push(*task);
            }
        }
        RestartPlan { connector, tasks, shown }
    }
}

/// Source partition or Kafka partition, and where it stands; `None` takes the offset away. In the form of the REST API.
pub type OffsetEntry = (OffsetMap, Option<OffsetMap>);

/// Whether requests can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The worker has started and its herder answers.
    Healthy,
    /// It has not finished starting.
    Starting,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::StatusEntry;

    fn entry(state: State) -> StatusEntry {
        StatusEntry { state, trace: None, worker_id: "w:1".to_owned(), version: None }
    }

    #[test]
    fn the_scope_chooses() {
        let tasks = [(0, entry(State::Running)), (1, entry(State::Failed))].into_iter().collect();
        let status = ConnectorStatus { connector: entry(State::Running), tasks };
        let plan = |include_tasks, only_failed| {
            let plan = RestartPlan::new(RestartScope { include_tasks, only_failed }, &status);
            (plan.connector, plan.tasks)
        };
        assert_eq!(plan(false, false), (true, vec![]));
        assert_eq!(plan(true, false), (true, vec![0, 1]));
        assert_eq!(plan(true, true), (false, vec![1]));
        assert_eq!(plan(false, true), (false, vec![]));
    }
}
