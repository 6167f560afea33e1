//! Administration of a cluster: topics, configs, records, groups, producers.

mod cluster;
mod configs;
mod group_offsets;
mod groups;
mod logs;
mod topics;
mod transactions;

use std::ops::RangeInclusive;
use std::time::Duration;

use kafka_protocol::protocol::Request;
use tokio::time::Instant;

use super::{Client, CoordinatorKind, NodeTarget};
use crate::{Error, ErrorCode, ErrorKind, Result};

pub use cluster::Cluster;
pub use configs::{ConfigChange, ConfigEntry, ConfigResource};
pub use groups::{GroupDescription, GroupListing, GroupMemberDescription};
pub use logs::{ListedOffset, OffsetSpec};
pub use topics::NewTopic;

/// Administration of a cluster.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Uses the client's connections.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The controller may have moved: it is asked again where that helps, within `default.api.timeout.ms`.
    async fn ask_controller<R>(&self, request: R, versions: RangeInclusive<i16>) -> Result<R::Response>
    where
        R: Request + Clone,
    {
        let mut retries = Retries::new(&self.client);
        loop {
            let (request, versions) = (request.clone(), versions.clone());
            match self.client.send_versioned(NodeTarget::Controller, request, versions, None).await {
                Err(error) if error.is_retriable() && error.kind() != ErrorKind::Timeout => {
                    self.client.request_metadata_update();
                    retries.after(error).await?;
                }
                answer => return answer,
            }
        }
    }

    /// The coordinator may have moved: it is looked for anew where that helps, within `default.api.timeout.ms`.
    async fn ask_coordinator<T, F>(
        &self,
        kind: CoordinatorKind,
        key: &str,
        ask: impl Fn(i32) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut retries = Retries::new(&self.client);
        loop {
            let answer = match self.client.coordinator(kind, key).await {
                Ok(node) => ask(node).await,
                Err(error) => Err(error),
            };
            match answer {
                // a transaction that is being ended is over soon
                Err(error)
                    if error.is_retriable() || error.code() == Some(ErrorCode::ConcurrentTransactions) =>
                {
                    self.client.forget_coordinator(kind, key);
                    retries.after(error).await?;
                }
                answer => return answer,
            }
        }
    }
}

/// Pauses between attempts, as many as fit into `default.api.timeout.ms`.
struct Retries {
    deadline: Instant,
    pause: Duration,
    longest: Duration,
}

impl Retries {
    fn new(client: &Client) -> Self {
        let config = client.config();
        let (pause, longest) = config.retry_backoff;
        Self { deadline: Instant::now() + config.api_timeout, pause, longest }
    }

    /// Waits for the next attempt, or gives `error` back when there is no time for one.
    async fn after(&mut self, error: Error) -> Result<()> {
        if Instant::now() + self.pause > self.deadline {
            return Err(error);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(self.longest);
        Ok(())
    }
}

/// The error for an answer that says nothing of what was asked.
fn unanswered(what: std::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Protocol, format!("{what}: the broker's answer does not mention it"))
}
