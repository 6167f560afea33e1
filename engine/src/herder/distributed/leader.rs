//! The leader's part of a rebalance: reads what the members tell, and makes everybody's assignment.

use std::collections::HashMap;
use std::sync::Arc;

use aqueduct_protocol::client::group::{Election, MemberMetadata};
use bytes::Bytes;

use super::assignor::{IncrementalAssignor, Member, Plan, eager_plan};
use super::protocol::{
    Assignment, CONFIG_MISMATCH, CONNECTOR_TASK, ConnectProtocol, Items, NO_ERROR, WorkerState,
};
use crate::store::ClusterConfig;

/// Who runs what, by REST URL.
#[derive(Debug, Default)]
pub(super) struct Owners {
    urls: HashMap<Arc<str>, HashMap<i32, Arc<str>>>,
}

impl Owners {
    /// The URL of the worker that runs a task, or a connector's own instance ([`CONNECTOR_TASK`]).
    pub(super) fn url(&self, connector: &str, task: i32) -> Option<&Arc<str>> {
        self.urls.get(connector)?.get(&task)
    }
}

/// The members of an election as they told of themselves. A member whose metadata cannot be read holds nothing.
pub(super) struct Round {
    ids: Vec<String>,
    states: Vec<WorkerState>,
    leader: String,
    protocol: ConnectProtocol,
    generation: i32,
}

impl Round {
    /// Reads the members' metadata.
    pub(super) fn read(election: &Election) -> Option<Round> {
        let protocol = ConnectProtocol::from_wire_name(&election.protocol)?;
        let state = |member: &MemberMetadata| {
            WorkerState::decode(member.metadata.clone()).unwrap_or_else(|error| {
                tracing::error!(member = member.member_id, "the member's metadata cannot be read: {error}");
                WorkerState::default()
            })
        };
        Some(Round {
            ids: election.members.iter().map(|member| member.member_id.clone()).collect(),
            states: election.members.iter().map(state).collect(),
            leader: election.member_id.clone(),
            protocol,
            generation: election.generation,
        })
    }

    /// How far the most advanced member has read the config topic.
    pub(super) fn max_offset(&self) -> i64 {
        self.states.iter().map(|state| state.offset).max().unwrap_or(-1)
    }

    fn encode(&self, error: i16, offset: i64, plan: &Plan) -> Vec<(String, Bytes)> {
        let leader_url = self.ids.iter().zip(&self.states).find(|(id, _)| **id == self.leader);
        let leader_url = leader_url.map(|(_, state)| state.url.clone()).unwrap_or_default();
        let at = |items: &[Items], place: usize| items.get(place).cloned().unwrap_or_default();
        let assignment = |(place, id): (usize, &String)| {
            let assignment = Assignment {
                version: self.protocol.version(),
                error,
                leader: self.leader.clone(),
                leader_url: leader_url.clone(),
                offset,
                assigned: at(&plan.assigned, place),
                revoked: at(&plan.revoked, place),
                delay_ms: i32::try_from(plan.delay_ms).unwrap_or(i32::MAX),
            };
            (id.clone(), assignment.encode())
        };
        self.ids.iter().enumerate().map(assignment).collect()
    }

    /// Nobody gets anything: the leader has not read as far as another member, everybody reads on and joins again.
    pub(super) fn mismatch(&self) -> Vec<(String, Bytes)> {
        self.encode(CONFIG_MISMATCH, self.max_offset(), &Plan::default())
    }

    /// Everybody's assignment by this configuration, and who runs what after it.
    pub(super) fn assign(
        &self,
        assignor: &mut IncrementalAssignor,
        now_ms: u64,
        last_completed: i32,
        config: &ClusterConfig,
    ) -> (Vec<(String, Bytes)>, Owners) {
        let member = |(id, state): (&String, &WorkerState)| Member {
            id: id.clone(),
            holds: state.allocation.as_ref().map(|held| held.assigned.clone()).unwrap_or_default(),
        };
        let members: Vec<Member> = self.ids.iter().zip(&self.states).map(member).collect();
        let configured = configured(config);
        let plan = match self.protocol {
            ConnectProtocol::Eager => eager_plan(&members, &configured),
            _ => assignor.plan(now_ms, self.generation, last_completed, &members, &configured),
        };
        let mut owners = Owners::default();
        for (state, running) in self.states.iter().zip(&plan.running) {
            let url: Arc<str> = state.url.as_str().into();
            for (connector, task) in running.iter() {
                owners.urls.entry(Arc::clone(connector)).or_default().insert(task, Arc::clone(&url));
            }
        }
        (self.encode(NO_ERROR, config.offset, &plan), owners)
    }
}

/// Every connector and its tasks in force.
fn configured(config: &ClusterConfig) -> Items {
    let tasks = |count: usize| std::iter::once(CONNECTOR_TASK).chain(0..count as i32).collect();
    let connectors = config.connectors.iter();
    Items(connectors.map(|(name, connector)| (Arc::clone(name), tasks(connector.tasks.len()))).collect())
}
