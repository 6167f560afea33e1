//! Where REST listens.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use aqueduct_engine::herder::Herder;
use aqueduct_engine::rest::{self, Api};
use aqueduct_engine::worker::WorkerConfig;
use tokio::net::{TcpListener, lookup_host};

use crate::Failure;
use crate::signals::Shutdown;

/// Bound listeners; requests wait in them until they are served.
pub(crate) struct Listeners(Vec<TcpListener>);

/// Where REST answers.
pub(crate) struct Addresses(pub(crate) Vec<SocketAddr>);

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.0.iter().map(|address| format!("http://{address}")).collect();
        f.write_str(&urls.join(", "))
    }
}

impl Listeners {
    /// Binds what `listeners` says; port 0 becomes a free one, and is advertised.
    pub(crate) async fn bind(config: &mut WorkerConfig) -> Result<Listeners, Failure> {
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(bind(listener).await?);
        }
        if let Some(listener) = listeners.first().filter(|_| config.advertised.ends_with(":0")) {
            let port = listener.local_addr()?.port();
            config.advertised = format!("{}:{port}", config.advertised.trim_end_matches(":0"));
        }
        Ok(Listeners(listeners))
    }

    /// Serves the herder from now on, until `shutdown`.
    pub(crate) fn serve(
        self,
        herder: &Arc<dyn Herder>,
        worker_id: &Arc<str>,
        shutdown: &Shutdown,
    ) -> Addresses {
        let addresses = self.0.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        for listener in self.0 {
            let api = Api { herder: Arc::clone(herder), worker_id: Arc::clone(worker_id), secure: false };
            let mut shutdown = shutdown.clone();
            tokio::spawn(async move {
                if let Err(error) =
                    rest::serve(listener, api, async move { shutdown.requested().await }).await
                {
                    tracing::error!("REST has ended: {error}");
                }
            });
        }
        Addresses(addresses)
    }
}

async fn bind(listener: &str) -> Result<TcpListener, Failure> {
    let address = if listener.starts_with(':') { format!("[::]{listener}") } else { listener.to_owned() };
    let failed = |error: std::io::Error| {
        format!(
            "listeners=http://{listener}: cannot listen there: {error}; choose another port, or stop what uses it"
        )
    };
    let bound = match lookup_host(&address).await.map_err(failed)?.next() {
        Some(address) => TcpListener::bind(address).await,
        None => return Err(format!("listeners=http://{listener}: no such host").into()),
    };
    match bound {
        // no IPv6 on this machine
        Err(error) if listener.starts_with(':') && error.kind() != std::io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(format!("0.0.0.0{listener}")).await.map_err(failed)?)
        }
        bound => Ok(bound.map_err(failed)?),
    }
}
