//! Certificates and keys under the JVM's keys: PEM inline, PEM files, PKCS#12 files.

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::config_error;
use crate::client::config::{Values, invalid};
use crate::{Error, Result};

/// Our own certificate with the chain above it, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Largest store that is read.
const MAX_STORE: u64 = 16 * 1024 * 1024;

fn read(key: &str, path: &str) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        config_error(key, format!("{path} cannot be read: {error}")).with_source(error)
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_STORE {
        return Err(config_error(
            key,
            format!("{path} has {size} bytes, more than a store may have ({MAX_STORE})"),
        ));
    }
    std::fs::read(path).map_err(failed)
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let list: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(config_error(key, "there is no CERTIFICATE block in it")),
        Err(error) => Err(config_error(key, format!("not PEM: {error}"))),
    }
}

fn private_key(key: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    if pem.windows(21).any(|window| window == b"BEGIN ENCRYPTED PRIVA") {
        let what =
            "encrypted PEM keys are not supported: decrypt it with `openssl pkcs8`, or use a PKCS12 store";
        return Err(config_error(key, what));
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| config_error(key, format!("no private key in PEM: {error}")))
}

fn pkcs12(location: &str, password_key: &str, path: &str, password: &str) -> Result<KeyStore> {
    let bytes = read(location, path)?;
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        let what = format!(
            "{path} is a JKS store, which is not supported: convert it with `keytool -importkeystore -srckeystore {path} \
             -destkeystore store.p12 -deststoretype PKCS12`"
        );
        return Err(config_error(location, what));
    }
    KeyStore::from_pkcs12(&bytes, password, Pkcs12ImportPolicy::Relaxed).map_err(|error| {
        config_error(
            location,
            format!("{path} cannot be opened as PKCS12: {error}; is {password_key} right?"),
        )
    })
}

/// The type of a store: as said, else by the file's name.
fn is_pem(values: &Values<'_>, type_key: &str, path: &str) -> Result<bool> {
    match values.text(type_key).map(str::to_ascii_uppercase).as_deref() {
        Some("PEM") => Ok(true),
        Some("PKCS12") => Ok(false),
        // The JVM's default is JKS, and its JKS loader opens PKCS12 files too.
        Some("JKS") | None => Ok(path.ends_with(".pem") || path.ends_with(".crt")),
        Some(other) => Err(invalid(type_key, other, "one of PEM, PKCS12, JKS")),
    }
}

/// Certificates that are trusted; `None`: those of the system.
pub(super) fn trusted(values: &Values<'_>) -> Result<Option<Vec<CertificateDer<'static>>>> {
    const INLINE: &str = "ssl.truststore.certificates";
    const LOCATION: &str = "ssl.truststore.location";
    const PASSWORD: &str = "ssl.truststore.password";
    if let Some(pem) = values.text(INLINE) {
        return certificates(INLINE, pem.as_bytes()).map(Some);
    }
    let Some(path) = values.text(LOCATION) else { return Ok(None) };
    if is_pem(values, "ssl.truststore.type", path)? {
        return certificates(LOCATION, &read(LOCATION, path)?).map(Some);
    }
    let store = pkcs12(LOCATION, PASSWORD, path, values.text(PASSWORD).unwrap_or_default())?;
    let mut found = Vec::new();
    for (_, entry) in store.entries() {
        match entry {
            KeyStoreEntry::Certificate(certificate) => found.push(certificate.as_der().to_vec().into()),
            KeyStoreEntry::PrivateKeyChain(chain) => {
                found.extend(chain.certs().iter().map(|certificate| certificate.as_der().to_vec().into()));
            }
            KeyStoreEntry::Secret(_) => {}
        }
    }
    if found.is_empty() {
        Err(config_error(LOCATION, format!("{path} holds no certificate")))
    } else {
        Ok(Some(found))
    }
}

/// Our own certificate, if there is one.
pub(super) fn identity(values: &Values<'_>) -> Result<Option<Identity>> {
    const CHAIN: &str = "ssl.keystore.certificate.chain";
    const KEY: &str = "ssl.keystore.key";
    const LOCATION: &str = "ssl.keystore.location";
    const PASSWORD: &str = "ssl.keystore.password";
    if let Some(key) = values.text(KEY) {
        let chain = values.text(CHAIN).ok_or_else(|| config_error(CHAIN, format!("needed beside {KEY}")))?;
        return Ok(Some((certificates(CHAIN, chain.as_bytes())?, private_key(KEY, key.as_bytes())?)));
    }
    let Some(path) = values.text(LOCATION) else { return Ok(None) };
    if is_pem(values, "ssl.keystore.type", path)? {
        let pem = read(LOCATION, path)?;
        return Ok(Some((certificates(LOCATION, &pem)?, private_key(LOCATION, &pem)?)));
    }
    let store = pkcs12(LOCATION, PASSWORD, path, values.text(PASSWORD).unwrap_or_default())?;
    let chain = store.private_key_chain();
    let (_, chain) =
        chain.ok_or_else(|| -> Error { config_error(LOCATION, format!("{path} holds no private key")) })?;
    let certificates = chain.certs().iter().map(|certificate| certificate.as_der().to_vec().into()).collect();
    let key = PrivateKeyDer::try_from(chain.key().as_der().to_vec()).map_err(|error| {
        config_error(LOCATION, format!("{path}: the private key is of no known kind: {error}"))
    })?;
    Ok(Some((certificates, key)))
}
