//! An embedded single-node Kafka broker for development, quickstarts and tests. Not for production: one node, no
//! replication, no security, no fsync of what it acknowledges.
//!
//! ```no_run
//! # async fn example() -> Result<(), aqueduct_broker::BrokerError> {
//! let broker = aqueduct_broker::Broker::start(aqueduct_broker::BrokerConfig::default()).await?;
//! println!("bootstrap.servers={}", broker.addr());
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod cli;
mod config;
mod dispatch;
mod error;
mod groups;
mod journal;
mod log;
mod server;
mod state;
mod tasks;
mod topics;
mod txn;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use cli::{USAGE, run};
pub use config::BrokerConfig;
pub use error::BrokerError;
use state::Shared;

/// The embedded broker.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Opens the data folder, listens, and serves on the current tokio runtime until the handle is shut down or dropped.
    ///
    /// # Errors
    /// When the address is taken or the data folder cannot be used.
    pub async fn start(config: BrokerConfig) -> Result<BrokerHandle, BrokerError> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| BrokerError::Listen { addr: listen.to_string(), source })?;
        let addr = listener
            .local_addr()
            .map_err(|source| BrokerError::Listen { addr: listen.to_string(), source })?;
        let shared = Arc::new(Shared::open(config)?);
        shared.set_address(addr);
        let (stop, stopped) = watch::channel(false);
        tracing::warn!(
            %addr,
            data = ?shared.config.data_dir,
            "embedded broker started: for development only (one node, no replication, no security)"
        );
        let tasks = tokio::spawn(tasks::run(Arc::clone(&shared), stopped.clone()));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared), stopped));
        Ok(BrokerHandle { addr, stop, server, tasks, shared })
    }
}

/// A running broker. Dropping it stops the broker without waiting.
#[derive(Debug)]
pub struct BrokerHandle {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    tasks: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl BrokerHandle {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections, syncs the logs and returns when that is done.
    pub async fn shutdown(self) {
        let BrokerHandle { stop, server, tasks, shared, .. } = self;
        let _ = stop.send(true);
        for task in [server, tasks] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the broker ended badly");
            }
        }
        shared.close();
    }
}
