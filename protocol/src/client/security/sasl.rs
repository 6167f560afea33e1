//! SASL: PLAIN, SCRAM-SHA-256 and -512, and OAUTHBEARER.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::jaas::{self, Jaas};
use super::oauth::Tokens;
use super::{Secret, config_error};
use crate::client::config::{Values, invalid};
use crate::client::connection::Connection;
use crate::guard::decode_response;
use crate::wire::scram::{ScramClient, ScramMechanism};
use crate::{Error, ErrorCode, ErrorKind, Result};

const MECHANISM: &str = "sasl.mechanism";

/// How we say who we are.
#[derive(Debug, Clone)]
pub(crate) enum Sasl {
    Plain { user: String, password: Secret },
    Scram { mechanism: ScramMechanism, user: String, password: Secret, token_auth: bool },
    OAuth(Arc<Tokens>),
}

impl Sasl {
    /// Reads `sasl.mechanism` and `sasl.jaas.config`.
    pub(crate) fn read(values: &Values<'_>) -> Result<Self> {
        let mechanism = values.text(MECHANISM).unwrap_or("GSSAPI");
        const KNOWN: &str =
            "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (GSSAPI, the default, is not supported)";
        let scram = ScramMechanism::from_name(mechanism);
        if scram.is_none() && !["PLAIN", "OAUTHBEARER"].contains(&mechanism) {
            return Err(invalid(MECHANISM, mechanism, KNOWN));
        }
        let jaas = values.text(jaas::KEY).ok_or_else(|| {
            config_error(jaas::KEY, format!("needed for {MECHANISM}={mechanism}, and not set"))
        })?;
        let jaas = Jaas::parse(jaas)?;
        let expect = |module: &str| {
            if jaas.module.rsplit('.').next() == Some(module) {
                return Ok(());
            }
            Err(config_error(
                jaas::KEY,
                format!("{MECHANISM}={mechanism} goes with {module}, not {}", jaas.module),
            ))
        };
        if mechanism == "OAUTHBEARER" {
            expect("OAuthBearerLoginModule")?;
            return Tokens::shared(values, &jaas).map(Self::OAuth);
        }
        expect(if scram.is_some() { "ScramLoginModule" } else { "PlainLoginModule" })?;
        let user = jaas.required("username")?.to_owned();
        let password = Secret::new(jaas.required("password")?);
        Ok(match scram {
            None => Self::Plain { user, password },
            Some(mechanism) => {
                let token_auth =
                    jaas.option("tokenauth").is_some_and(|text| text.eq_ignore_ascii_case("true"));
                Self::Scram { mechanism, user, password, token_auth }
            }
        })
    }

    const fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "PLAIN",
            Self::Scram { mechanism, .. } => mechanism.name(),
            Self::OAuth(_) => "OAUTHBEARER",
        }
    }
}

/// Says who we are on a fresh connection. Gives the milliseconds after which it has to be said again (KIP-368), 0 for
/// never.
pub(crate) async fn authenticate(connection: &Connection, sasl: &Sasl, peer: &str) -> Result<i64> {
    let handshake =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(sasl.mechanism()));
    let answer: SaslHandshakeResponse = exchange(connection, ApiKey::SaslHandshake, 1, &handshake).await?;
    if let Some(code) = ErrorCode::try_from_code(answer.error_code) {
        let offered: Vec<String> = answer.mechanisms.iter().map(ToString::to_string).collect();
        let message = format!(
            "{peer} does not take {MECHANISM}={}; it offers {}",
            sasl.mechanism(),
            offered.join(", ")
        );
        return Err(Error::new(ErrorKind::Authentication, message).with_source(code));
    }
    match sasl {
        Sasl::Plain { user, password } => {
            let token = format!("\0{user}\0{}", password.reveal());
            Ok(step(connection, peer, token.into()).await?.1)
        }
        Sasl::OAuth(tokens) => {
            let message = tokens.message().await?;
            let (refusal, lifetime) = step(connection, peer, message.reveal().to_owned().into()).await?;
            if refusal.is_empty() {
                return Ok(lifetime);
            }
            // a broker says why it does not like a token, and ends when it is told that this was read (RFC 7628)
            let _ = step(connection, peer, Bytes::from_static(b"\x01")).await;
            let reason = String::from_utf8_lossy(&refusal);
            let message = format!("{peer} refused the token: {reason}; check sasl.oauthbearer.*");
            Err(Error::new(ErrorKind::Authentication, message))
        }
        Sasl::Scram { mechanism, user, password, token_auth } => {
            let failed = |error: crate::wire::scram::ScramError| {
                Error::new(ErrorKind::Authentication, format!("{peer}: {error}")).with_source(error)
            };
            // 24 characters of a version 4 UUID's alphabet: no comma, as RFC 5802 asks.
            let nonce = uuid::Uuid::new_v4().simple().to_string();
            let mut client = ScramClient::new(*mechanism, user, password.reveal(), &nonce, *token_auth);
            let (first, _) = step(connection, peer, client.first().into()).await?;
            let answer = client.respond(&first).map_err(failed)?;
            let (last, lifetime) = step(connection, peer, answer.into()).await?;
            client.verify(&last).map_err(failed)?;
            Ok(lifetime)
        }
    }
}

/// One exchange of tokens; the peer's token and the session's lifetime in milliseconds.
async fn step(connection: &Connection, peer: &str, token: Bytes) -> Result<(Bytes, i64)> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(token);
    let answer: SaslAuthenticateResponse =
        exchange(connection, ApiKey::SaslAuthenticate, 1, &request).await?;
    if let Some(code) = ErrorCode::try_from_code(answer.error_code) {
        let reason =
            answer.error_message.map(|message| message.to_string()).unwrap_or_else(|| code.to_string());
        let message =
            format!("{peer} refused the login: {reason}; check user and password in sasl.jaas.config");
        return Err(Error::new(ErrorKind::Authentication, message).with_source(code));
    }
    Ok((answer.auth_bytes, answer.session_lifetime_ms))
}

async fn exchange<A: Decodable>(
    connection: &Connection,
    api: ApiKey,
    version: i16,
    request: &impl Encodable,
) -> Result<A> {
    let malformed = |error| Error::new(ErrorKind::Protocol, format!("{api:?} cannot be read: {error}"));
    let mut body = BytesMut::new();
    request.encode(&mut body, version).map_err(malformed)?;
    let mut answer = connection.enqueue(api, version, vec![body.freeze()], true)?.await?;
    decode_response(api, version, &mut answer).map_err(|error| {
        Error::new(ErrorKind::Protocol, format!("the answer to {api:?} is malformed: {error}"))
    })
}
