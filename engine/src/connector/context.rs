//! What a connector may use of its worker.

use std::fmt;
use std::sync::Arc;

use super::ConnectError;

/// What a running connector tells its worker.
#[derive(Debug)]
pub enum ConnectorEvent {
    /// What it would answer to `task_configs` has changed: tables have come or gone, for instance.
    Reconfigure,
    /// It cannot go on: it is shown as FAILED.
    Failed(ConnectError),
    /// Values that its configuration refers to have changed: it is started anew. The worker tells this itself.
    Reload,
}

/// What a connector may use of its worker; clones are the same.
#[derive(Clone)]
pub struct ConnectorContext {
    connector: Arc<str>,
    tell: Arc<dyn Fn(ConnectorEvent) + Send + Sync>,
}

impl ConnectorContext {
    /// A context whose events go to `tell`, which must not wait.
    pub fn new(connector: &str, tell: impl Fn(ConnectorEvent) + Send + Sync + 'static) -> ConnectorContext {
        ConnectorContext { connector: connector.into(), tell: Arc::new(tell) }
    }

    /// The connector's name.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// Asks for a call of `task_configs`; tasks are restarted only if it gives other configurations than before.
    pub fn request_task_reconfiguration(&self) {
        (self.tell)(ConnectorEvent::Reconfigure);
    }

    /// Values of config providers have changed.
    pub(crate) fn reload(&self) {
        (self.tell)(ConnectorEvent::Reload);
    }

    /// Tells that the connector cannot go on.
    pub fn raise_error(&self, error: ConnectError) {
        (self.tell)(ConnectorEvent::Failed(error));
    }
}

impl fmt::Debug for ConnectorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorContext").field("connector", &self.connector).finish_non_exhaustive()
    }
}
