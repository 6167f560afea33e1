//! TLS by rustls.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(values)?);
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
        let verifier = Arc::new(Verifier { inner: verifier, verifies_name });
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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(values)?)
        .map_err(|error| config_error("ssl.enabled.protocols", error))?;
    let auth = values.text(KEY).unwrap_or("none");
    let builder = if auth.eq_ignore_ascii_case("none") {
        builder.with_no_client_auth()
    } else {
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots(values)?), provider);
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
        Some(rustls::Error::AlertReceived(_)) => {
            certificate("; the broker refused: it may want a client certificate (ssl.keystore.location)")
        }
        Some(rustls::Error::InvalidMessage(_)) => (
            ErrorKind::Protocol,
            "; this listener does not seem to speak TLS: check port and security.protocol",
        ),
        _ => (ErrorKind::Network, ""),
    }
}

fn roots(values: &Values<'_>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match stores::trusted(values)? {
        Some(certificates) => {
            for certificate in certificates {
                roots.add(certificate).map_err(|error| {
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

/// `ssl.enabled.protocols`.
fn versions(values: &Values<'_>) -> Result<Vec<&'static rustls::SupportedProtocolVersion>> {
    const KEY: &str = "ssl.enabled.protocols";
    let list = values.text(KEY).unwrap_or("TLSv1.2,TLSv1.3");
    let version = |name: &str| match name.trim() {
        "TLSv1.2" => Ok(&rustls::version::TLS12),
        "TLSv1.3" => Ok(&rustls::version::TLS13),
        other => Err(invalid(KEY, other, "a list of TLSv1.2, TLSv1.3")),
    };
    list.split(',').map(version).collect()
}

/// The usual verification, without the host name where that is asked.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
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
