//! Coming in: startup message and authentication (PostgreSQL protocol 3.0; SCRAM-SHA-256, MD5, clear text).

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::wire::Wire;
use super::{ConnectionSettings, PgError};

/// The session's settings: the text forms that the decoders expect.
const SESSION: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

fn unreadable(error: std::io::Error) -> PgError {
    PgError::Protocol(error.to_string())
}

/// Sends the startup message, proves who we are, and waits until the server is ready.
pub(super) async fn log_in(
    wire: &mut Wire,
    settings: &ConnectionSettings,
    replication: bool,
) -> Result<(), PgError> {
    let mut parameters = vec![
        ("user", settings.user.as_str()),
        ("database", &settings.database),
        ("application_name", &settings.application_name),
    ];
    parameters.extend_from_slice(SESSION);
    parameters.extend(settings.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if replication {
        parameters.push(("replication", "database"));
    }
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out)
        .map_err(|error| PgError::Setup(format!("{}: {error}", settings.names.login)))?;
    wire.write(&out).await?;
    let mut scram: Option<sasl::ScramSha256> = None;
    loop {
        let mut out = BytesMut::new();
        match wire.message().await? {
            Message::AuthenticationOk => break,
            Message::AuthenticationCleartextPassword => {
                frontend::password_message(password(settings)?.as_bytes(), &mut out).map_err(unreadable)?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(settings.user.as_bytes(), password(settings)?.as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), &mut out).map_err(unreadable)?;
            }
            Message::AuthenticationSasl(body) => {
                let offered: Vec<String> =
                    body.mechanisms().map(|name| Ok(name.to_owned())).collect().map_err(unreadable)?;
                if !offered.iter().any(|name| name == sasl::SCRAM_SHA_256) {
                    return Err(PgError::Setup(format!(
                        "the server offers only {} for SASL; SCRAM-SHA-256 is needed",
                        offered.join(", ")
                    )));
                }
                let exchange = scram.insert(sasl::ScramSha256::new(
                    password(settings)?.as_bytes(),
                    sasl::ChannelBinding::unsupported(),
                ));
                frontend::sasl_initial_response(sasl::SCRAM_SHA_256, exchange.message(), &mut out)
                    .map_err(unreadable)?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let exchange =
                    scram.as_mut().ok_or_else(|| PgError::Protocol("SASL without its start".to_owned()))?;
                exchange.update(body.data()).map_err(unreadable)?;
                frontend::sasl_response(exchange.message(), &mut out).map_err(unreadable)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let exchange =
                    scram.as_mut().ok_or_else(|| PgError::Protocol("SASL without its start".to_owned()))?;
                exchange.finish(body.data()).map_err(|_| {
                    PgError::Setup(format!("{settings}: the server does not know the password it asked for: not the server that was meant"))
                })?;
            }
            _ => {
                return Err(PgError::Setup(format!(
                    "{settings}: the server asks for a kind of authentication that is not supported (SCRAM-SHA-256, MD5 and password are); change pg_hba.conf"
                )));
            }
        }
        wire.write(&out).await?;
    }
    // an error here ends the connection: the database is not there, or too many are connected
    while !matches!(wire.message().await?, Message::ReadyForQuery(_)) {}
    Ok(())
}

fn password(settings: &ConnectionSettings) -> Result<&str, PgError> {
    settings.password.as_deref().ok_or_else(|| {
        PgError::Setup(format!("{settings}: the server asks for a password; set {}", settings.names.password))
    })
}
