//! TLS by rustls.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedCipherSuite,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{config_error, stores};
use crate::client::config::{Values, invalid};
use crate::{Error, ErrorKind, Result};

const IDENTIFICATION: &str = "ssl.endpoint.identification.algorithm";

/// TLS settings made ready.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads `ssl.*`.
    pub(crate) fn read(values: &Values<'_>) -> Result<Self> {
        let provider = provider(values)?;
        let trusted = stores::trusted(values)?;
        let roots = Arc::new(roots(trusted.as_deref())?);
        // An empty value switches host names off; https is the default.
        let verifies_name = match values.given(IDENTIFICATION) {
            None => true,
            Some("") => false,
            Some(text) if text.eq_ignore_ascii_case("https") => true,
            Some(other) => {
                return Err(invalid(IDENTIFICATION, other, "https, or empty to accept any host name"));
            }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| {
                config_error("ssl.truststore.location", format!("no certificate to trust: {error}"))
            })?;
        let verifier =
            Arc::new(Verifier { inner: verifier, trusted: trusted.unwrap_or_default(), verifies_name });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(values)?)
            .map_err(|error| config_error("ssl.enabled.protocols", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match stores::identity(values)? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                config_error(
                    "ssl.keystore.location",
                    format!("certificate and key do not belong together: {error}"),
                )
            })?,
        };
        Ok(Self { config: Arc::new(config) })
    }

    pub(crate) fn into_config(self) -> Arc<ClientConfig> {
        self.config
    }

    /// The handshake on a fresh socket.
    pub(crate) async fn connect(
        &self,
        host: &str,
        port: u16,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                format!("{host} is neither a host name nor an address that TLS can verify"),
            )
        })?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await.map_err(|error| {
            let (kind, remedy) = remedy(&error);
            Error::new(kind, format!("TLS with {host}:{port} failed: {error}{remedy}")).with_source(error)
        })
    }
}

/// The server's side: certificate and key of `ssl.keystore.*`; `ssl.client.auth` (none, requested, required) by the certificates
/// of `ssl.truststore.*`.
pub(super) fn server_config(values: &Values<'_>) -> Result<Arc<rustls::ServerConfig>> {
    const KEY: &str = "ssl.client.auth";
    let provider = provider(values)?;
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(values)?)
        .map_err(|error| config_error("ssl.enabled.protocols", error))?;
    let auth = values.text(KEY).unwrap_or("none");
    let builder = if auth.eq_ignore_ascii_case("none") {
        builder.with_no_client_auth()
    } else {
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(stores::trusted(values)?.as_deref())?),
            provider,
        );
        let verifier = match auth.to_ascii_lowercase().as_str() {
            "required" => verifier.build(),
            "requested" => verifier.allow_unauthenticated().build(),
            _ => return Err(invalid(KEY, auth, "one of none, requested, required")),
        };
        builder.with_client_cert_verifier(
            verifier.map_err(|error| config_error("ssl.truststore.location", error))?,
        )
    };
    let Some((chain, key)) = stores::identity(values)? else {
        return Err(config_error("ssl.keystore.location", "an https listener needs certificate and key"));
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        config_error("ssl.keystore.location", format!("certificate and key do not belong together: {error}"))
    })?;
    Ok(Arc::new(config))
}

/// What TLS says in an I/O error, with the remedy. With TLS 1.3 a broker refuses a client's certificate after the handshake, in
/// the middle of whatever comes next.
pub(crate) fn refusal(error: &std::io::Error, peer: &str) -> Option<Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>())?;
    let (kind, remedy) = remedy(error);
    Some(Error::new(kind, format!("TLS with {peer} failed: {error}{remedy}")))
}

/// What to do about a handshake that failed.
fn remedy(error: &std::io::Error) -> (ErrorKind, &'static str) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let certificate = |text| (ErrorKind::Authentication, text);
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            certificate("; name the broker's CA in ssl.truststore.location or ssl.truststore.certificates")
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => certificate("; the broker's certificate has expired and has to be renewed"),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => certificate(
            "; use a host name of the certificate, or set ssl.endpoint.identification.algorithm to nothing to accept any",
        ),
        Some(rustls::Error::InvalidCertificate(_)) => certificate("; the broker's certificate is not valid"),
        Some(rustls::Error::AlertReceived(alert)) => refused(*alert),
        Some(rustls::Error::InvalidMessage(_)) => (
            ErrorKind::Protocol,
            "; this listener does not seem to speak TLS: check port and security.protocol",
        ),
        Some(rustls::Error::PeerIncompatible(_)) => certificate(
            "; broker and client share no protocol: see ssl.enabled.protocols and ssl.cipher.suites",
        ),
        _ => (ErrorKind::Network, ""),
    }
}

/// What an alert of the broker means.
fn refused(alert: AlertDescription) -> (ErrorKind, &'static str) {
    use AlertDescription as Alert;
    let text = match alert {
        Alert::CertificateRequired => {
            "; the broker wants a client certificate: set ssl.keystore.location (or ssl.keystore.key)"
        }
        Alert::CertificateExpired => "; the client's certificate in ssl.keystore.location has expired",
        Alert::BadCertificate
        | Alert::UnknownCA
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate => {
            "; the broker does not take the client's certificate: check ssl.keystore.location (is it there, in date, and signed by a CA that the broker trusts?)"
        }
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "; broker and client share no protocol, or it wants a client certificate: see ssl.enabled.protocols, ssl.cipher.suites, ssl.keystore.location"
        }
        _ => "; the broker refused: it may want a client certificate (ssl.keystore.location)",
    };
    (ErrorKind::Authentication, text)
}

/// These certificates, or else those of the system.
fn roots(trusted: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match trusted {
        Some(certificates) => {
            for certificate in certificates {
                roots.add(certificate.clone()).map_err(|error| {
                    config_error("ssl.truststore.location", format!("a certificate is malformed: {error}"))
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    Ok(roots)
}

/// `ssl.enabled.protocols`, none newer than `ssl.protocol`.
fn versions(values: &Values<'_>) -> Result<Vec<&'static rustls::SupportedProtocolVersion>> {
    const KEY: &str = "ssl.enabled.protocols";
    const NEWEST: &str = "ssl.protocol";
    let newest = values.text(NEWEST).unwrap_or("TLSv1.3");
    let takes_1_3 = match newest {
        "TLS" | "TLSv1.3" => true,
        "TLSv1.2" => false,
        other => return Err(invalid(NEWEST, other, "one of TLSv1.3, TLSv1.2, TLS")),
    };
    let mut versions = Vec::new();
    for name in values.list(KEY) {
        match name {
            "TLSv1.2" => versions.push(&rustls::version::TLS12),
            "TLSv1.3" if takes_1_3 => versions.push(&rustls::version::TLS13),
            // what the JVM would take too is left out: it is not safe any more
            "TLSv1.3" | "TLSv1.1" | "TLSv1" => {}
            other => return Err(invalid(KEY, other, "a list of TLSv1.2, TLSv1.3")),
        }
    }
    if versions.is_empty() {
        let allowed = format!("a list with TLSv1.2 or TLSv1.3, and none newer than {NEWEST}={newest}");
        return Err(invalid(KEY, values.text(KEY).unwrap_or_default(), &allowed));
    }
    Ok(versions)
}

/// The cryptography with the suites of `ssl.cipher.suites`, where that is set. Suites that are not known are passed over, as
/// long as one is left.
fn provider(values: &Values<'_>) -> Result<Arc<CryptoProvider>> {
    const KEY: &str = "ssl.cipher.suites";
    let mut provider = rustls::crypto::ring::default_provider();
    let wanted: Vec<&str> = values.list(KEY).collect();
    if wanted.is_empty() {
        return Ok(Arc::new(provider));
    }
    let java_name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    let known: Vec<String> = provider.cipher_suites.iter().map(java_name).collect();
    provider.cipher_suites.retain(|suite| wanted.contains(&java_name(suite).as_str()));
    if provider.cipher_suites.is_empty() {
        let given = values.text(KEY).unwrap_or_default();
        return Err(invalid(KEY, given, &format!("a list with some of {}", known.join(", "))));
    }
    Ok(Arc::new(provider))
}

/// The usual verification, without the host name where that is asked. As for the JVM, a certificate that the trust store itself
/// holds needs no issuer.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    verifies_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is verified last: everything else was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.verifies_name => Ok(ServerCertVerified::assertion()),
            // a certificate of a CA does not pass for that of a server otherwise
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.trusted.iter().any(|trusted| trusted == end_entity) =>
            {
                if self.verifies_name {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
