//! Connections as `connection.*` says.

use std::time::Duration;

use aqueduct_engine::config::{ConfigError, ParsedConfig};
use aqueduct_engine::connector::{ConfigMap, StopSignal};

use super::url::{self, JdbcUrl, ServerKind, UrlError};
use crate::postgres::{PgError, Session, Wire};

/// `connection.url`.
pub(super) const URL: &str = "connection.url";
/// `connection.user`.
pub(super) const USER: &str = "connection.user";
/// `connection.password`.
pub(super) const PASSWORD: &str = "connection.password";
/// `connection.attempts`.
pub(super) const ATTEMPTS: &str = "connection.attempts";
/// `connection.backoff.ms`.
pub(super) const BACKOFF: &str = "connection.backoff.ms";
/// What the driver gets as a property of its own.
const PASSED_ON: &str = "connection.";

/// How to get a connection.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    url: JdbcUrl,
    attempts: i64,
    backoff: Duration,
}

impl Connections {
    /// From the keys of Confluent's connectors; `connection.ANYTHING` that is no key is a property of the driver.
    pub(super) fn new(parsed: &ParsedConfig, config: &ConfigMap) -> Result<Connections, ConfigError> {
        let own = [URL, USER, PASSWORD, ATTEMPTS, BACKOFF];
        let passed = config
            .iter()
            .filter(|(key, _)| !own.contains(&key.as_str()))
            .filter_map(|(key, value)| Some((key.strip_prefix(PASSED_ON)?, value.as_str())));
        let login = [("user", USER), ("password", PASSWORD)];
        let login = login.into_iter().filter_map(|(name, key)| Some((name, parsed.string(key)?)));
        let url = url::parse(parsed.string(URL).unwrap_or_default(), passed.chain(login))
            .map_err(|error| url_error(&error))?;
        let backoff = Duration::from_millis(u64::try_from(parsed.long(BACKOFF)).unwrap_or(0));
        Ok(Connections { url, attempts: parsed.long(ATTEMPTS).max(1), backoff })
    }

    /// With a URL and a login, tried once.
    pub(super) fn of_url(url: &str, user: Option<&str>, password: Option<&str>) -> Result<Self, ConfigError> {
        let login = [("user", user), ("password", password)];
        let login = login.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let url = url::parse(url, login).map_err(|error| url_error(&error))?;
        Ok(Connections { url, attempts: 1, backoff: Duration::ZERO })
    }

    /// The database, without secrets.
    pub(super) fn place(&self) -> String {
        self.url.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Connects: every server in turn, so many times as is configured. Ends early when the task is to stop.
    pub(super) async fn connect(&self, stop: &mut StopSignal) -> Result<Wire, PgError> {
        let mut attempt = 1;
        loop {
            match self.connect_once().await {
                Err(error) if error.is_retriable() && attempt < self.attempts => {
                    tracing::warn!(
                        "no connection (attempt {attempt} of {}): {}",
                        self.attempts,
                        with_causes(&error)
                    );
                    attempt += 1;
                    if !stop.sleep(self.backoff).await {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    /// One attempt, for a validation.
    pub(super) async fn try_out(&self) -> Result<(), ConfigError> {
        match self.connect_once().await {
            Ok(wire) => {
                wire.close().await;
                Ok(())
            }
            Err(error) => Err(ConfigError::new(URL, format!("{}: {}", self.place(), with_causes(&error)))),
        }
    }

    async fn connect_once(&self) -> Result<Wire, PgError> {
        let mut order: Vec<usize> = (0..self.url.servers.len()).collect();
        if self.url.balance && order.len() > 1 {
            let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let first = seed.subsec_micros() as usize % order.len();
            order.rotate_left(first);
        }
        let mut refused = None;
        // what is only preferred gets a second round in which anything will do
        let rounds: &[Option<bool>] = match self.url.target {
            ServerKind::Any => &[None],
            ServerKind::Primary => &[Some(false)],
            ServerKind::Secondary => &[Some(true)],
            ServerKind::PreferPrimary => &[Some(false), None],
            ServerKind::PreferSecondary => &[Some(true), None],
        };
        for wanted in rounds {
            for place in &order {
                let server = &self.url.servers[*place];
                match Wire::connect(server, Session::Plain).await {
                    Ok(mut wire) => match wanted {
                        None => return Ok(wire),
                        Some(standby) if *standby == is_standby(&mut wire).await? => return Ok(wire),
                        Some(_) => {
                            refused.get_or_insert(PgError::Io {
                                what: format!(
                                    "{server}: not the kind of server that targetServerType asks for"
                                ),
                                source: std::io::ErrorKind::NotFound.into(),
                            });
                        }
                    },
                    Err(error) => {
                        refused.get_or_insert(error);
                    }
                }
            }
        }
        Err(refused.unwrap_or_else(|| PgError::Setup("connection.url names no host".to_owned())))
    }
}

async fn is_standby(wire: &mut Wire) -> Result<bool, PgError> {
    let rows = wire.query("SELECT pg_catalog.pg_is_in_recovery()").await?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
}

fn url_error(error: &UrlError) -> ConfigError {
    let key = if matches!(error, UrlError::NoUser) { USER } else { URL };
    ConfigError::new(key, error.to_string())
}

/// An error with what is behind it, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
