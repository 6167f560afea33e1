//! Membership in a group by the classic protocol, for any protocol type: consumers (`consumer`) and Connect workers
//! (`connect`) are users of the same [`GroupMember`].
//!
//! # How a member lives
//! [`GroupMember::start`] makes a member that does nothing yet. [`GroupMember::join`] hands in the protocols that it offers,
//! by name, each with metadata that only the group's leader reads; from then on a task of its own joins, syncs and sends
//! heartbeats while the owner goes on with its work. What happens comes out of [`GroupMember::event`]:
//!
//! | event | what the owner does |
//! |---|---|
//! | [`GroupEvent::Elected`] | it leads this generation: computes everybody's assignment and calls [`GroupMember::assign`] |
//! | [`GroupEvent::Joined`] | it is a member of this generation and has its own assignment: works by it |
//! | [`GroupEvent::Rebalance`] | the group forms anew: gives up what its protocol demands, then calls `join` again, within `rebalance_timeout`. It is still a member and may go on serving and committing until then |
//! | [`GroupEvent::Lost`] | it is not a member any more and what it had may be somebody else's: drops all, then calls `join` |
//! | [`GroupEvent::Unreachable`] | nobody has answered a heartbeat for `session_timeout`: the group has probably gone on. Attempts continue; `Joined`'s assignment is not safe to work by for owners that must not overlap |
//! | [`GroupEvent::Failed`] | joining again by itself would not help (no permission, other protocols, a fenced instance): tells its user. `join` tries again, except after a fenced instance |
//!
//! ```no_run
//! # use aqueduct_protocol::client::{Client, ClientConfig, Properties};
//! # use aqueduct_protocol::client::group::{GroupConfig, GroupEvent, GroupMember, GroupProtocol};
//! # async fn f(client: Client) -> aqueduct_protocol::Result<()> {
//! let member = GroupMember::start(client, GroupConfig::new("workers", "connect"))?;
//! let offer = || vec![GroupProtocol::new("sessioned", "my metadata"), GroupProtocol::new("default", "my metadata")];
//! member.join(offer());
//! loop {
//!     match member.event().await {
//!         GroupEvent::Elected(round) => {
//!             let everybody = round.members.iter().map(|of| (of.member_id.clone(), "its share".into()));
//!             member.assign(round.generation, everybody.collect());
//!         }
//!         GroupEvent::Joined(joined) => println!("generation {}: {:?}", joined.generation, joined.assignment),
//!         GroupEvent::Rebalance { .. } | GroupEvent::Lost { .. } => member.join(offer()),
//!         GroupEvent::Unreachable { .. } => println!("stopping what must not run twice"),
//!         GroupEvent::Failed(error) => return Err(error),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! * `event` is cancel safe: it belongs in a `select!` with the owner's other work. [`GroupMember::try_event`] does not wait.
//! * A join waits at the coordinator, and heartbeats wait behind it: members of different groups want a [`Client`] each.
//! * A static member that comes back while its place is kept may get the assignment of before, without a new generation and
//!   without anybody reading its metadata: if that has changed, it calls `join` once more.
//! * A rebalance is learned with the next heartbeat, i.e. within `heartbeat_interval` while the coordinator answers.
//! * `join` may be called at any time, also when nothing has happened: the member joins again with the new metadata and the
//!   group forms a new generation. A join that is under way is repeated with the newest metadata.
//! * Commits and other requests that are fenced by the generation take [`GroupMember::identity`].
//! * With `idle_limit` set (the consumer's `max.poll.interval.ms`), an owner that does not call [`GroupMember::attend`] for so
//!   long has left the group. A static member does not leave: its place is kept for `session_timeout`.
//! * [`GroupMember::leave`] leaves at once; a static member (`instance_id`, KIP-345) only stops. Dropping the member stops it
//!   without a word, and the coordinator notices after `session_timeout`.
//! * Events that a later one makes void are taken back, so no more than a handful wait, however slow the owner is.
//!
//! The rules are a state machine without I/O and without a clock (`machine.rs`); `driver.rs` runs it.

mod config;
mod driver;
mod machine;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Client;
use crate::{Error, Result};
use driver::Shared;

pub use config::GroupConfig;

/// A protocol that a member offers: the group takes one that all its members offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProtocol {
    /// Name, e.g. `range` or `sessioned`.
    pub name: String,
    /// What the leader gets to read.
    pub metadata: Bytes,
}

impl GroupProtocol {
    /// A protocol of this name.
    pub fn new(name: impl Into<String>, metadata: impl Into<Bytes>) -> Self {
        Self { name: name.into(), metadata: metadata.into() }
    }
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberMetadata {
    /// Its member id.
    pub member_id: String,
    /// Its `group.instance.id`, if it is a static member.
    pub instance_id: Option<String>,
    /// Its metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// A generation whose leader this member is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Election {
    /// The generation.
    pub generation: i32,
    /// This member's id.
    pub member_id: String,
    /// The protocol that was chosen.
    pub protocol: String,
    /// All members, this one among them.
    pub members: Arc<[MemberMetadata]>,
}

/// A generation that this member is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// This member's id.
    pub member_id: String,
    /// The leader's member id.
    pub leader: String,
    /// The protocol that was chosen.
    pub protocol: String,
    /// All members if this one leads, else nobody.
    pub members: Arc<[MemberMetadata]>,
    /// What the leader has assigned to this member; may be empty.
    pub assignment: Bytes,
}

impl Joined {
    /// Whether this member leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader == self.member_id
    }
}

/// What happens to a member; see the module's table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GroupEvent {
    /// This member leads: [`GroupMember::assign`] is due.
    Elected(Election),
    /// A member with an assignment.
    Joined(Joined),
    /// The group forms anew: [`GroupMember::join`] is due.
    Rebalance {
        /// The generation that ends.
        generation: i32,
    },
    /// Not a member any more.
    Lost {
        /// The generation that was lost; -1 if there was none.
        generation: i32,
        /// Why, in one line.
        reason: Error,
    },
    /// No heartbeat was answered for this long.
    Unreachable {
        /// Time since the last answer.
        silent_for: Duration,
    },
    /// Joining is refused.
    Failed(Error),
}

/// Who a member is, for requests that the generation fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupIdentity {
    /// Member id; empty while it has none.
    pub member_id: String,
    /// Generation; -1 while it is in none.
    pub generation: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
}

/// One member of one group; see the module's text.
pub struct GroupMember {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl std::fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMember").field("identity", &self.identity()).finish_non_exhaustive()
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GroupMember {
    /// A member that waits for [`Self::join`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] if `config` cannot be right.
    pub fn start(client: Client, config: GroupConfig) -> Result<Self> {
        config.validate()?;
        let shared = Arc::new(Shared::new(&client, config));
        let task = tokio::spawn(driver::run(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, task })
    }

    /// Joins, or joins again, with these protocols, the preferred one first.
    pub fn join(&self, protocols: Vec<GroupProtocol>) {
        self.shared.change(|machine| machine.join(protocols, Instant::now()));
    }

    /// The leader's answer to [`GroupEvent::Elected`]: what each member gets. Ignored if `generation` has passed.
    pub fn assign(&self, generation: i32, assignments: Vec<(String, Bytes)>) {
        self.shared.change(|machine| machine.assign(generation, assignments));
    }

    /// The next event, waiting for one. Cancel safe.
    pub async fn event(&self) -> GroupEvent {
        loop {
            if let Some(event) = self.try_event() {
                return event;
            }
            self.shared.news.notified().await;
        }
    }

    /// Waits until there is an event, and leaves it where it is. Cancel safe.
    pub async fn ready(&self) {
        while !self.shared.machine.lock().has_events() {
            self.shared.news.notified().await;
        }
    }

    /// The next event, if there is one.
    #[must_use]
    pub fn try_event(&self) -> Option<GroupEvent> {
        self.shared.machine.lock().take_event()
    }

    /// Tells that the owner is alive; see [`GroupConfig::idle_limit`].
    pub fn attend(&self) {
        self.shared.machine.lock().attend(Instant::now());
    }

    /// Who this member is now.
    #[must_use]
    pub fn identity(&self) -> GroupIdentity {
        self.shared.identity()
    }

    /// Leaves the group and waits for the answer; a static member only stops. [`Self::join`] comes back.
    pub async fn leave(&self, reason: &'static str) {
        let left = self.shared.change(|machine| machine.leave());
        if let Some(member_id) = left {
            self.shared.send_leave(member_id, reason).await;
        }
    }
}
