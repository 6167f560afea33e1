//! TLS as libpq's `sslmode` means it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{KeyNames, PgError, SslMode, SslSettings};

/// The client's side of TLS; `None` for `disable`.
pub(super) fn client_config(ssl: &SslSettings, names: &KeyNames) -> Result<Option<ClientConfig>, PgError> {
    if ssl.mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| PgError::Setup(format!("TLS cannot be set up: {error}")))?;
    // as in libpq, require looks at the certificate only if a root certificate is given
    let checks = match ssl.mode {
        SslMode::VerifyFull => Checks::ChainAndName,
        SslMode::VerifyCa => Checks::Chain,
        SslMode::Require if ssl.root_cert.is_some() => Checks::Chain,
        _ => Checks::Nothing,
    };
    let verifier: Arc<dyn ServerCertVerifier> = match checks {
        Checks::Nothing => Arc::new(Verifier { chain: None, provider }),
        Checks::Chain => Arc::new(Verifier { chain: Some(chain_verifier(ssl, names, &provider)?), provider }),
        Checks::ChainAndName => chain_verifier(ssl, names, &provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match (&ssl.cert, &ssl.key) {
        (Some(cert), Some(key)) => {
            let refused =
                |error| PgError::Setup(format!("{}={}: not usable: {error}", names.cert, cert.display()));
            builder
                .with_client_auth_cert(certificates(cert, names.cert)?, private_key(key, names.key)?)
                .map_err(refused)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Some(config))
}

enum Checks {
    Nothing,
    Chain,
    ChainAndName,
}

fn chain_verifier(
    ssl: &SslSettings,
    names: &KeyNames,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, PgError> {
    let mut roots = RootCertStore::empty();
    match &ssl.root_cert {
        Some(path) => {
            for certificate in certificates(path, names.root_cert)? {
                roots.add(certificate).map_err(|error| {
                    PgError::Setup(format!("{}={}: {error}", names.root_cert, path.display()))
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().map_err(
        |error| {
            PgError::Setup(format!(
                "{}: no authority to trust ({error}); give a PEM file of the server's authority",
                names.root_cert
            ))
        },
    )
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, PgError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        PgError::Setup(format!("{key}={}: cannot be read as PEM certificates: {error}", path.display()))
    };
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?.collect();
    let read = read.map_err(|error| unreadable(&error))?;
    if read.is_empty() {
        return Err(unreadable(&"no certificate in it"));
    }
    Ok(read)
}

fn private_key(path: &Path, name: &str) -> Result<PrivateKeyDer<'static>, PgError> {
    if let Ok(key) = PrivateKeyDer::from_pem_file(path) {
        return Ok(key);
    }
    let bytes =
        std::fs::read(path).map_err(|error| PgError::Setup(format!("{name}={}: {error}", path.display())))?;
    PrivateKeyDer::try_from(bytes).map_err(|error| {
        PgError::Setup(format!("{name}={}: neither a PEM nor a DER key: {error}", path.display()))
    })
}

/// Checks the chain but not the name, or nothing; the handshake's signatures are always checked.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
