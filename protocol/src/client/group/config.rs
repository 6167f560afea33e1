//! What a member needs to know.

use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// The settings of a member, under other names than Kafka's keys only where a consumer and a worker differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: String,
    /// `consumer`, `connect`, …: members of different types cannot share a group.
    pub protocol_type: String,
    /// `group.instance.id`: a static member keeps its place over a restart (KIP-345).
    pub instance_id: Option<String>,
    /// `session.timeout.ms`: without a heartbeat for so long a member is out. Within the broker's
    /// `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `rebalance.timeout.ms`, a consumer's `max.poll.interval.ms`: how long members have to join again.
    pub rebalance_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// The first heartbeat of a generation comes after this time, the following ones each after twice the time before, up to
    /// `heartbeat_interval`: where one rebalance brings the next, it is learned sooner. None: `heartbeat_interval` at once.
    pub early_heartbeat: Option<Duration>,
    /// The owner must show up ([`super::GroupMember::attend`]) within this time, or the member leaves; none: it need not.
    pub idle_limit: Option<Duration>,
}

impl GroupConfig {
    /// A dynamic member with Kafka's defaults for consumers: 45 s, 300 s and 3 s, and no `idle_limit`.
    pub fn new(group_id: impl Into<String>, protocol_type: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            protocol_type: protocol_type.into(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(3),
            early_heartbeat: None,
            idle_limit: None,
        }
    }

    /// Refuses what cannot work, naming Kafka's key.
    pub(super) fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::new(ErrorKind::Config, text));
        if self.group_id.is_empty() {
            return refuse("group.id is empty: name the group".to_owned());
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.session_timeout {
            return refuse(format!(
                "Invalid value {} for configuration heartbeat.interval.ms: must be more than 0 and less than session.timeout.ms={}, as a rule a third of it",
                self.heartbeat_interval.as_millis(),
                self.session_timeout.as_millis()
            ));
        }
        Ok(())
    }
}

/// Milliseconds as the protocol wants them.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
