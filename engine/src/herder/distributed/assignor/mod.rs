//! What the leader of the group does: who shall run what. Pure: members, configuration and time come in as arguments.

mod eager;
mod ids;
mod incremental;
#[cfg(test)]
mod simulation;

pub(super) use eager::plan as eager_plan;
pub(super) use incremental::IncrementalAssignor;

use super::protocol::Items;

/// A member of the group, as it told at its join.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member {
    /// Its member id.
    pub(crate) id: String,
    /// What it runs while it joins.
    pub(crate) holds: Items,
}

/// A plan, by the members' places in the list that was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// What each starts; in the eager protocol everything it has.
    pub(crate) assigned: Vec<Items>,
    /// What each stops.
    pub(crate) revoked: Vec<Items>,
    /// What each runs after both.
    pub(crate) running: Vec<Items>,
    /// After how many milliseconds all join again, 0 for not.
    pub(crate) delay_ms: u64,
}
