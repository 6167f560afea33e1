//! The one interface between REST and a herder.

use std::net::SocketAddr;

use super::{
    ConfigPatch, ConnectorView, Health, HerderError, OffsetEntry, PutMode, PutResult, RestartPlan,
    RestartScope, TargetState,
};
use crate::connector::{BoxFuture, ConfigMap};
use crate::worker::{ConnectorStatus, Worker};

/// The answer to a request.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, HerderError>>;

/// A request to pass on to another worker.
#[derive(Debug, Clone)]
pub struct ForwardRequest {
    /// The other worker, as [`HerderError::forward`] names it: `http://host:port/`.
    pub url: String,
    /// GET, POST, …
    pub method: String,
    /// Path and query, without the leading slash and with the `forward` parameter in it.
    pub path: String,
    /// The body as it came.
    pub body: bytes::Bytes,
    /// The Authorization header as it came.
    pub authorization: Option<String>,
}

/// The answer of the other worker.
#[derive(Debug, Clone)]
pub struct ForwardAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: bytes::Bytes,
}

/// A request of one worker to another, with what proves where it comes from.
#[derive(Debug, Clone)]
pub struct InternalRequest {
    /// The body as it came: what is signed.
    pub body: bytes::Bytes,
    /// `X-Connect-Authorization`.
    pub signature: Option<String>,
    /// `X-Connect-Request-Signature-Algorithm`.
    pub algorithm: Option<String>,
}

/// Keeps the connectors' configurations and target states, and has the worker run what they ask for.
///
/// What reads does so from a local view, at once. What changes something resolves when the change is made; a herder that may
/// not do it says who can, by [`HerderError::ask_other`].
pub trait Herder: Send + Sync {
    /// The worker that runs connectors and tasks.
    fn worker(&self) -> &Worker;

    /// The connectors' names, in a stable order.
    fn names(&self) -> Vec<String>;

    /// What is known of a connector.
    fn view(&self, name: &str) -> Option<ConnectorView>;

    /// The status of a connector and its tasks, wherever they run.
    fn status(&self, name: &str) -> Option<ConnectorStatus>;

    /// The topics that the connector has used since its creation or the last reset.
    fn active_topics(&self, name: &str) -> Vec<String>;

    /// Forgets which topics the connector has used.
    fn reset_active_topics<'a>(&'a self, name: &'a str) -> Reply<'a, ()>;

    /// Stores a configuration. It has been validated when this resolves, and its tasks have not started yet.
    fn put<'a>(&'a self, name: &'a str, config: ConfigMap, mode: PutMode) -> Reply<'a, PutResult>;

    /// Merges changes into the configuration of a connector that exists.
    fn patch<'a>(&'a self, name: &'a str, patch: ConfigPatch) -> Reply<'a, PutResult>;

    /// Stops and forgets a connector.
    fn delete<'a>(&'a self, name: &'a str) -> Reply<'a, ()>;

    /// Starts, pauses or stops a connector.
    fn set_target<'a>(&'a self, name: &'a str, target: TargetState) -> Reply<'a, ()>;

    /// Restarts the connector's own instance only, and resolves when it runs again.
    fn restart_connector<'a>(&'a self, name: &'a str) -> Reply<'a, ()>;

    /// Plans a restart of instances and begins it.
    fn restart<'a>(&'a self, name: &'a str, scope: RestartScope) -> Reply<'a, RestartPlan>;

    /// Restarts one task.
    fn restart_task<'a>(&'a self, name: &'a str, task: usize) -> Reply<'a, ()>;

    /// The offsets of a connector: what a source has stored, or what the group of a sink has committed.
    fn offsets<'a>(&'a self, name: &'a str) -> Reply<'a, Vec<OffsetEntry>>;

    /// Changes offsets of a stopped connector, or takes all of them away if none are given. The text tells what was done.
    fn alter_offsets<'a>(&'a self, name: &'a str, offsets: Option<Vec<OffsetEntry>>) -> Reply<'a, String>;

    /// Has every worker of the cluster set the level of a logger.
    fn set_cluster_logger<'a>(&'a self, logger: &'a str, level: &'a str) -> Reply<'a, ()>;

    /// Takes new task configurations from the worker that runs the connector.
    fn put_task_configs<'a>(&'a self, name: &'a str, request: InternalRequest) -> Reply<'a, ()>;

    /// Fences off former producers of an exactly-once source, for the worker that is going to start its tasks.
    fn fence<'a>(&'a self, name: &'a str, request: InternalRequest) -> Reply<'a, ()>;

    /// Passes a request on to another worker. Only the herder of a group is ever asked to.
    fn forward(&self, request: ForwardRequest) -> Reply<'_, ForwardAnswer>;

    /// Resolves when the herder has taken all that was asked before: it is alive.
    fn health(&self) -> Reply<'_, Health>;

    /// REST listens here: the first address tells the port of `listeners=http://host:0`.
    fn listening(&self, _addresses: &[SocketAddr]) {}

    /// Stops every connector and task in order, within the worker's graceful time.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}
