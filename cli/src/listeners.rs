//! Where REST listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_engine::herder::Herder;
use aqueduct_engine::rest::{self, Api, Guard, Listener, Scope};
use aqueduct_engine::worker::{ListenerAddress, WorkerConfig};
use tokio::net::{TcpListener, lookup_host};

use crate::Failure;
use crate::signals::Shutdown;

/// Bound listeners; requests wait in them until they are served.
pub(crate) struct Listeners {
    listeners: Vec<Listener>,
    guard: Arc<Guard>,
}

/// Where REST answers.
pub(crate) struct Addresses(pub(crate) Vec<(SocketAddr, bool)>);

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = |tls: bool| if tls { "https" } else { "http" };
        let urls: Vec<String> =
            self.0.iter().map(|(address, tls)| format!("{}://{address}", scheme(*tls))).collect();
        f.write_str(&urls.join(", "))
    }
}

impl Listeners {
    /// Binds what `listeners` and `admin.listeners` say; port 0 becomes a free one, and is advertised.
    pub(crate) async fn bind(config: &mut WorkerConfig) -> Result<Listeners, Failure> {
        let guard = Guard::from_properties(&config.properties, jaas_file().as_deref())?;
        let main = if config.admin_listeners.is_some() { Scope::Public } else { Scope::All };
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(bind("listeners", listener, main, config).await?);
        }
        if let Some(listener) = listeners.first().filter(|_| config.advertised.ends_with(":0")) {
            let port = listener.socket.local_addr()?.port();
            config.advertised = format!("{}:{port}", config.advertised.trim_end_matches(":0"));
        }
        for listener in config.admin_listeners.iter().flatten() {
            listeners.push(bind("admin.listeners", listener, Scope::Admin, config).await?);
        }
        Ok(Listeners { listeners, guard: Arc::new(guard) })
    }

    /// Serves the herder from now on, until `shutdown`.
    pub(crate) fn serve(
        self,
        herder: &Arc<dyn Herder>,
        worker_id: &Arc<str>,
        shutdown: &Shutdown,
    ) -> Addresses {
        let address =
            |listener: &Listener| Some((listener.socket.local_addr().ok()?, listener.tls.is_some()));
        let public = self.listeners.iter().filter(|listener| listener.scope != Scope::Admin);
        let addresses = public.filter_map(address).collect();
        for listener in self.listeners {
            let api = Api {
                herder: Arc::clone(herder),
                worker_id: Arc::clone(worker_id),
                secure: listener.tls.is_some(),
                guard: Arc::clone(&self.guard),
            };
            let mut shutdown = shutdown.clone();
            tokio::spawn(async move {
                rest::serve(listener, api, async move { shutdown.requested().await }).await;
            });
        }
        Addresses(addresses)
    }
}

/// The JAAS file, named as for the JVM's scripts: `-Djava.security.auth.login.config=FILE` in `KAFKA_OPTS`.
fn jaas_file() -> Option<PathBuf> {
    let options = std::env::var("KAFKA_OPTS").ok()?;
    let file =
        options.split_whitespace().find_map(|word| word.strip_prefix("-Djava.security.auth.login.config="));
    file.map(PathBuf::from)
}

async fn bind(
    key: &str,
    listener: &ListenerAddress,
    scope: Scope,
    config: &WorkerConfig,
) -> Result<Listener, Failure> {
    let tls = match listener.tls {
        true => Some(aqueduct_protocol::client::tls_server_config(&config.https_settings())?),
        false => None,
    };
    Ok(Listener { socket: bind_socket(key, &listener.address).await?, tls, scope })
}

async fn bind_socket(key: &str, listener: &str) -> Result<TcpListener, Failure> {
    let address = if listener.starts_with(':') { format!("[::]{listener}") } else { listener.to_owned() };
    let failed = |error: std::io::Error| {
        format!("{key}={listener}: cannot listen there: {error}; choose another port, or stop what uses it")
    };
    let bound = match lookup_host(&address).await.map_err(failed)?.next() {
        Some(address) => TcpListener::bind(address).await,
        None => return Err(format!("{key}={listener}: no such host").into()),
    };
    match bound {
        // no IPv6 on this machine
        Err(error) if listener.starts_with(':') && error.kind() != std::io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(format!("0.0.0.0{listener}")).await.map_err(failed)?)
        }
        bound => Ok(bound.map_err(failed)?),
    }
}
