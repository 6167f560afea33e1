//! `jdbc:postgresql:` URLs, as pgjdbc reads them.

use std::path::PathBuf;
use std::time::Duration;

use crate::postgres::{ConnectionSettings, KeyNames, SslMode, SslSettings};

/// What the parts of a URL are called in errors.
static NAMES: KeyNames = KeyNames {
    host: "host and port of connection.url",
    login: "connection.user and the database of connection.url",
    password: "connection.password",
    ssl_mode: "sslmode in connection.url",
    root_cert: "sslrootcert in connection.url",
    cert: "sslcert in connection.url",
    key: "sslkey in connection.url",
};

const PREFIX: &str = "jdbc:postgresql:";
const DEFAULT_PORT: u16 = 5432;
/// pgjdbc's `connectTimeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Hosts of one URL.
const MAX_HOSTS: usize = 64;

/// What is wrong with a URL. No variant holds the URL: it may have a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// Another database, or no JDBC URL at all.
    #[error("connection.url begins with {0:?}; only jdbc:postgresql://host:port/database is supported")]
    OtherDatabase(String),
    /// Host or port.
    #[error("connection.url: {0:?} is no host:port; write jdbc:postgresql://host:port/database")]
    Host(String),
    /// More hosts than are tried.
    #[error("connection.url: more than {MAX_HOSTS} hosts")]
    TooManyHosts,
    /// A percent sign without two digits, or no UTF-8.
    #[error("connection.url: {0} has a bad percent escape; write % itself as %25")]
    Escape(String),
    /// A parameter's value.
    #[error("{name}={value}: {allowed}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value: no secret's.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Nobody to log in as.
    #[error("connection.user is not set, and connection.url has no user")]
    NoUser,
}

/// Which of several servers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerKind {
    Any,
    Primary,
    Secondary,
    PreferPrimary,
    PreferSecondary,
}

/// A URL with all that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct JdbcUrl {
    /// One per host, in the order of the URL.
    pub(crate) servers: Vec<ConnectionSettings>,
    pub(crate) target: ServerKind,
    /// Hosts are tried in random order.
    pub(crate) balance: bool,
}

/// Parameters in their order; later ones of a name win.
#[derive(Default)]
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.is_empty() || value.eq_ignore_ascii_case("true"))
    }

    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, UrlError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text.parse().map_err(|_| UrlError::Parameter {
            name,
            value: text.to_owned(),
            allowed: "a number of seconds",
        })?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    }
}

/// Reads a URL. `given` are driver properties from the connector's own keys (`user`, `password`, and what stands behind
/// `connection.`); as in pgjdbc the URL wins over them.
pub(crate) fn parse<'a>(
    url: &str,
    given: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<JdbcUrl, UrlError> {
    let Some(rest) = url.trim().strip_prefix(PREFIX) else {
        // the scheme alone: whatever follows may be a password
        let mut parts = url.trim().split(['/', '@', '?', ':']);
        let scheme = match (parts.next().unwrap_or_default(), parts.next()) {
            ("jdbc", Some(database)) => format!("jdbc:{database}:"),
            (other, _) => other.to_owned(),
        };
        return Err(UrlError::OtherDatabase(scheme.chars().take(40).collect()));
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parameters = Parameters(given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.0.push((name.to_owned(), decoded(value, name)?));
    }
    let (hosts, database) = match place.strip_prefix("//") {
        Some(place) => {
            let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
            (self::hosts(hosts)?, decoded(database, "the database")?)
        }
        None => (
            vec![("localhost".to_owned(), DEFAULT_PORT)],
            decoded(place.trim_start_matches('/'), "the database")?,
        ),
    };
    settings(hosts, &database, &parameters)
}

fn settings(hosts: Vec<(String, u16)>, database: &str, parameters: &Parameters) -> Result<JdbcUrl, UrlError> {
    let user = parameters.get("user").filter(|user| !user.is_empty()).ok_or(UrlError::NoUser)?;
    let ssl = ssl(parameters)?;
    let timeout = match parameters.seconds("loginTimeout")? {
        Some(login) => Some(login),
        None => parameters.seconds("connectTimeout")?,
    };
    let one = |(host, port)| ConnectionSettings {
        host,
        port,
        user: user.to_owned(),
        password: parameters.get("password").map(str::to_owned),
        database: if database.is_empty() { user } else { database }.to_owned(),
        ssl: ssl.clone(),
        connect_timeout: timeout.unwrap_or(CONNECT_TIMEOUT),
        application_name: parameters.get("ApplicationName").unwrap_or("Aqueduct").to_owned(),
        parameters: session(parameters),
        names: &NAMES,
    };
    Ok(JdbcUrl {
        servers: hosts.into_iter().map(one).collect(),
        target: target(parameters)?,
        balance: parameters.flag("loadBalanceHosts"),
    })
}

/// Parameters that the server itself gets.
fn session(parameters: &Parameters) -> Vec<(String, String)> {
    let mut session = vec![("client_min_messages".to_owned(), "warning".to_owned())];
    if let Some(schemas) = parameters.get("currentSchema").filter(|schemas| !schemas.is_empty()) {
        session.push(("search_path".to_owned(), schemas.to_owned()));
    }
    if let Some(options) = parameters.get("options").filter(|options| !options.is_empty()) {
        session.push(("options".to_owned(), options.to_owned()));
    }
    if parameters.flag("readOnly") {
        session.push(("default_transaction_read_only".to_owned(), "on".to_owned()));
    }
    session
}

fn ssl(parameters: &Parameters) -> Result<SslSettings, UrlError> {
    let mode = match parameters.get("sslmode").filter(|mode| !mode.is_empty()) {
        Some(mode) => SslMode::parse(mode).ok_or_else(|| UrlError::Parameter {
            name: "sslmode",
            value: mode.to_owned(),
            allowed: "one of disable, allow, prefer, require, verify-ca, verify-full",
        })?,
        None if parameters.flag("ssl") => SslMode::VerifyFull,
        None => SslMode::Prefer,
    };
    // pgjdbc's way to say that the certificate does not matter
    let trusting = parameters.get("sslfactory").is_some_and(|class| class.ends_with("NonValidatingFactory"));
    let mode = if trusting && mode != SslMode::Disable { SslMode::Require } else { mode };
    let file = |name: &str| parameters.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(SslSettings {
        mode,
        root_cert: if trusting { None } else { file("sslrootcert") },
        cert: file("sslcert"),
        key: file("sslkey"),
    })
}

fn target(parameters: &Parameters) -> Result<ServerKind, UrlError> {
    let Some(text) = parameters.get("targetServerType") else { return Ok(ServerKind::Any) };
    Ok(match text.to_ascii_lowercase().as_str() {
        "any" | "" => ServerKind::Any,
        "primary" | "master" => ServerKind::Primary,
        "secondary" | "slave" => ServerKind::Secondary,
        "preferprimary" => ServerKind::PreferPrimary,
        "prefersecondary" | "preferslave" => ServerKind::PreferSecondary,
        _ => {
            return Err(UrlError::Parameter {
                name: "targetServerType",
                value: text.to_owned(),
                allowed: "one of any, primary, secondary, preferPrimary, preferSecondary",
            });
        }
    })
}

fn hosts(text: &str) -> Result<Vec<(String, u16)>, UrlError> {
    let mut hosts = Vec::new();
    for part in text.split(',') {
        if hosts.len() == MAX_HOSTS {
            return Err(UrlError::TooManyHosts);
        }
        // whoever puts user:password@ before the host must not see it in a log
        let bad = || UrlError::Host(part.rsplit('@').next().unwrap_or_default().to_owned());
        if part.contains('@') {
            return Err(bad());
        }
        let (host, port) = match part.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(bad)?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or_else(bad)?)
            }
            None => part.rsplit_once(':').unwrap_or((part, "")),
        };
        let port = if port.is_empty() { DEFAULT_PORT } else { port.parse().map_err(|_| bad())? };
        if port == 0 || host.contains(['/', ' ']) || (host.contains(':') && !part.starts_with('[')) {
            return Err(bad());
        }
        hosts.push((if host.is_empty() { "localhost" } else { host }.to_owned(), port));
    }
    Ok(hosts)
}

/// As Java's `URLDecoder`: `+` is a blank.
fn decoded(text: &str, name: &str) -> Result<String, UrlError> {
    let bad = || UrlError::Escape(name.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = digit().zip(digit()).ok_or_else(bad)?;
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<JdbcUrl, UrlError> {
        parse(url, [("user", "u"), ("password", "given")].into_iter())
    }

    #[test]
    fn every_form_of_pgjdbc() {
        let places = [
            ("jdbc:postgresql://db:6000/app", vec!["db:6000/app as u"]),
            ("jdbc:postgresql://db/app", vec!["db:5432/app as u"]),
            ("jdbc:postgresql://db", vec!["db:5432/u as u"]),
            ("jdbc:postgresql:app", vec!["localhost:5432/app as u"]),
            ("jdbc:postgresql:/", vec!["localhost:5432/u as u"]),
            ("jdbc:postgresql:///app", vec!["localhost:5432/app as u"]),
            (
                "jdbc:postgresql://a:1,b,[::1]:3/x%20y",
                vec!["a:1/x y as u", "b:5432/x y as u", "::1:3/x y as u"],
            ),
            ("jdbc:postgresql://a/b?user=other", vec!["a:5432/b as other"]),
        ];
        for (url, expected) in places {
            let found: Vec<String> = read(url).unwrap().servers.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn parameters() {
        let url = read("jdbc:postgresql://a/b?password=p%26q&sslmode=verify-ca&sslrootcert=/ca.pem&currentSchema=one,two&connectTimeout=3&ApplicationName=me&targetServerType=preferSecondary&loadBalanceHosts=true").unwrap();
        let server = &url.servers[0];
        assert_eq!(server.password.as_deref(), Some("p&q"));
        assert_eq!(
            (server.ssl.mode, server.ssl.root_cert.clone()),
            (SslMode::VerifyCa, Some("/ca.pem".into()))
        );
        assert!(server.parameters.contains(&("search_path".to_owned(), "one,two".to_owned())));
        assert_eq!((server.connect_timeout.as_secs(), server.application_name.as_str()), (3, "me"));
        assert_eq!((url.target, url.balance), (ServerKind::PreferSecondary, true));
        assert_eq!(read("jdbc:postgresql://a/b?ssl=true").unwrap().servers[0].ssl.mode, SslMode::VerifyFull);
        assert_eq!(read("jdbc:postgresql://a/b").unwrap().servers[0].password.as_deref(), Some("given"));
        assert!(matches!(parse("jdbc:postgresql://a/b", std::iter::empty()), Err(UrlError::NoUser)));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (url, expected) in [
            ("jdbc:mysql://u:secret@a/b", "begins with \"jdbc:mysql:\""),
            ("postgres://u:secret@a/b", "begins with \"postgres\""),
            ("jdbc:postgresql://u:secret@a:1/b", "\"a:1\" is no host:port"),
            ("jdbc:postgresql://a:99999/b", "\"a:99999\""),
            ("jdbc:postgresql://a:x/b?password=secret", "\"a:x\""),
            ("jdbc:postgresql://a/b?password=secret%2", "password has a bad percent escape"),
            ("jdbc:postgresql://a/b?password=secret&sslmode=maybe", "sslmode=maybe: one of disable"),
            ("jdbc:postgresql://a/b?connectTimeout=soon", "connectTimeout=soon: a number of seconds"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(!format!("{:?}", read("jdbc:postgresql://a/b?password=secret").unwrap()).contains("secret"));
    }
}
