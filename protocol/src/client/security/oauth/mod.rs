//! OAUTHBEARER tokens: from a token end point by client credentials, from a file, or unsecured ones for tests.

mod endpoint;

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::jaas::Jaas;
use super::{Secret, config_error};
use crate::client::config::Values;
use crate::{Error, ErrorKind, Result};
use endpoint::Endpoint;

const URL: &str = "sasl.oauthbearer.token.endpoint.url";
/// Options of the login module with this prefix go to the broker as SASL extensions (KIP-342).
const EXTENSION: &str = "extension_";
/// Largest token file.
const MAX_TOKEN: u64 = 1 << 20;
/// Life of an unsecured token.
const UNSECURED_LIFE: Duration = Duration::from_secs(3600);

/// Where tokens come from.
#[derive(Debug)]
enum Source {
    Unsecured { subject: String, scope: Option<String> },
    File(String),
    Endpoint(Box<Endpoint>),
}

/// When a token is replaced: `sasl.login.refresh.*`.
#[derive(Debug, Clone, Copy)]
struct Refresh {
    window_factor: f64,
    window_jitter: f64,
    min_period: Duration,
    buffer: Duration,
}

impl Refresh {
    /// How long a token that lives for `life` is used before a new one is asked for.
    fn after(&self, life: Duration, random: f64) -> Duration {
        let share = life.mul_f64((self.window_factor + self.window_jitter * random).clamp(0.0, 1.0));
        // as the JVM: where life is too short for the margins, they are not heeded
        if life <= self.min_period + self.buffer {
            return share;
        }
        share.min(life - self.buffer).max(self.min_period)
    }
}

/// A token with its times.
struct Held {
    token: Secret,
    refresh_at: Instant,
    expires: Instant,
}

/// The tokens of one client: one is kept until shortly before its end.
pub(crate) struct Tokens {
    source: Source,
    refresh: Refresh,
    extensions: String,
    /// Locked while a token is fetched: one request for all who wait.
    held: Mutex<Option<Held>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The settings that make one login.
type Login = Vec<(String, String)>;

/// Logins in use: clients that are configured alike share their token, as those of the JVM do.
static LOGINS: parking_lot::Mutex<Vec<(Login, Weak<Tokens>)>> = parking_lot::Mutex::new(Vec::new());

impl Tokens {
    /// The tokens of a login that some other client has too, or new ones.
    pub(super) fn shared(values: &Values<'_>, jaas: &Jaas) -> Result<Arc<Self>> {
        let families = [super::jaas::KEY, "sasl.oauthbearer.", "sasl.login."];
        let given = families.iter().flat_map(|family| values.family(family));
        let login: Login = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut logins = LOGINS.lock();
        logins.retain(|(_, tokens)| tokens.strong_count() > 0);
        let known = logins.iter().find(|(known, _)| *known == login);
        if let Some(tokens) = known.and_then(|(_, tokens)| tokens.upgrade()) {
            return Ok(tokens);
        }
        let tokens = Arc::new(Self::read(values, jaas)?);
        logins.push((login, Arc::downgrade(&tokens)));
        Ok(tokens)
    }

    /// Reads `sasl.oauthbearer.*`, `sasl.login.*` and the login module's options.
    fn read(values: &Values<'_>, jaas: &Jaas) -> Result<Self> {
        let source = match values.text(URL) {
            None => Source::Unsecured {
                subject: jaas
                    .required("unsecuredLoginStringClaim_sub")
                    .map_err(|error| {
                        error.context(format_args!("{URL} is not set, so tokens are unsecured"))
                    })?
                    .to_owned(),
                scope: jaas.option("unsecuredLoginStringClaim_scope").map(str::to_owned),
            },
            Some(url) => match url.strip_prefix("file:") {
                Some(path) => Source::File(path.trim_start_matches("//").to_owned()),
                None => Source::Endpoint(Box::new(Endpoint::read(values, jaas, url)?)),
            },
        };
        let seconds =
            |key: &str| values.number(key).map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        let refresh = Refresh {
            window_factor: values.fraction("sasl.login.refresh.window.factor")?,
            window_jitter: values.fraction("sasl.login.refresh.window.jitter")?,
            min_period: seconds("sasl.login.refresh.min.period.seconds")?,
            buffer: seconds("sasl.login.refresh.buffer.seconds")?,
        };
        let mut extensions = String::new();
        for (name, value) in jaas.options_after(EXTENSION) {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            if !is_name || name == "auth" || value.contains('\x01') {
                let what = format!("{EXTENSION}{name}: names of extensions are letters, and not auth");
                return Err(config_error(super::jaas::KEY, what));
            }
            extensions.push_str(&format!("{name}={value}\x01"));
        }
        Ok(Self { source, refresh, extensions, held: Mutex::default() })
    }

    /// The client's first message (RFC 7628).
    pub(super) async fn message(&self) -> Result<Secret> {
        let token = self.token().await?;
        Ok(Secret::new(format!("n,,\x01auth=Bearer {}\x01{}\x01", token.reveal(), self.extensions)))
    }

    /// The token in use, or a new one where that is about to end.
    async fn token(&self) -> Result<Secret> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some(held) = held.as_ref().filter(|held| now < held.refresh_at) {
            return Ok(held.token.clone());
        }
        match self.fetch().await {
            Ok((token, life)) => {
                let refresh_at = now + self.refresh.after(life, fastrand::f64());
                *held = Some(Held { token: token.clone(), refresh_at, expires: now + life });
                Ok(token)
            }
            Err(error) => match held.as_mut().filter(|held| now < held.expires) {
                Some(held) => {
                    tracing::warn!(%error, "the token could not be renewed; the old one is still good");
                    Ok(held.token.clone())
                }
                None => Err(error),
            },
        }
    }

    /// A new token, and how long it lives.
    async fn fetch(&self) -> Result<(Secret, Duration)> {
        match &self.source {
            Source::Unsecured { subject, scope } => {
                Ok((unsecured(subject, scope.as_deref(), since_epoch().as_secs()), UNSECURED_LIFE))
            }
            Source::File(path) => {
                let failed = |error: std::io::Error| {
                    config_error(URL, format!("{path} cannot be read: {error}")).with_source(error)
                };
                let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
                if size > MAX_TOKEN {
                    return Err(config_error(URL, format!("{path} has {size} bytes: that is no token")));
                }
                let token = tokio::fs::read_to_string(path).await.map_err(failed)?;
                checked(token.trim(), None).map_err(|what| config_error(URL, format!("{path}: {what}")))
            }
            Source::Endpoint(endpoint) => endpoint.fetch().await,
        }
    }
}

/// A token that can be sent, with its life: that of its claim `exp`, or else what came with it.
fn checked(token: &str, expires_in: Option<Duration>) -> Result<(Secret, Duration), &'static str> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("there is no token in it");
    }
    let ends = claim(token, "exp").map(|exp| exp.saturating_sub(since_epoch()));
    match ends.or(expires_in) {
        Some(life) if life.is_zero() => Err("the token has expired already: are the clocks right?"),
        // whatever is not said to end is asked for anew with the next connection
        life => Ok((Secret::new(token), life.unwrap_or_default())),
    }
}

/// A time in the claims of a JWT.
fn claim(token: &str, name: &str) -> Option<Duration> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Duration::try_from_secs_f64(claims.get(name)?.as_f64()?).ok()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// An unsecured JWS (RFC 7515, `alg` none) for `subject`, valid from `now_s` for an hour.
fn unsecured(subject: &str, scope: Option<&str>, now_s: u64) -> Secret {
    let end = now_s + UNSECURED_LIFE.as_secs();
    let mut claims = serde_json::json!({ "sub": subject, "iat": now_s, "exp": end });
    if let Some(scope) = scope {
        claims["scope"] = scope.into();
    }
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    Secret::new(format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims.to_string())))
}

/// An error of logging in that is worth another try where `retriable`.
fn login_error(retriable: bool, what: impl std::fmt::Display) -> Error {
    let kind = if retriable { ErrorKind::Network } else { ErrorKind::Authentication };
    Error::new(kind, format!("{URL}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_token_is_its_claim() {
        let now = since_epoch().as_secs();
        let (_, life) = checked(unsecured("me", Some("read"), now).reveal(), None).unwrap();
        assert!((3590..=3600).contains(&life.as_secs()), "{life:?}");
        assert!(checked(unsecured("me", None, now - 4000).reveal(), None).is_err());
        let minute = Duration::from_secs(60);
        assert_eq!(checked("opaque", Some(minute)).unwrap().1, minute);
        assert_eq!(checked("opaque", None).unwrap().1, Duration::ZERO);
        for bad in ["", "two words", "line\nbreak", "\x01"] {
            assert!(checked(bad, None).is_err(), "{bad}");
        }
        for odd in ["a.!!.c", "a.e30.c", "..", "a.bnVsbA.c"] {
            assert_eq!(checked(odd, Some(minute)).unwrap().1, minute, "{odd}");
        }
    }

    #[test]
    fn tokens_are_renewed_before_they_end() {
        let seconds = Duration::from_secs;
        let refresh = Refresh {
            window_factor: 0.8,
            window_jitter: 0.05,
            min_period: seconds(60),
            buffer: seconds(300),
        };
        assert_eq!(refresh.after(seconds(3600), 0.0), seconds(2880));
        assert_eq!(refresh.after(seconds(3600), 1.0), seconds(3060));
        assert_eq!(refresh.after(seconds(1000), 0.0), seconds(700), "the buffer counts");
        assert_eq!(refresh.after(seconds(361), 0.0), seconds(61), "and the least period");
        assert_eq!(refresh.after(seconds(100), 0.0), seconds(80), "unless life is too short for both");
    }
}
