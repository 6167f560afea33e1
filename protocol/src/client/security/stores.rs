//! Certificates and keys under the JVM's keys: PEM inline, and files that are PEM, PKCS#12 or JKS.

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::jks::{self, Jks};
use super::{config_error, pem};
use crate::Result;
use crate::client::config::{Values, invalid};

/// Our own certificate with the chain above it, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Largest store that is read.
const MAX_STORE: u64 = 16 * 1024 * 1024;
/// The password of keys.
const KEY_PASSWORD: &str = "ssl.key.password";
/// What Java's `JCEKS` stores begin with.
const JCEKS: [u8; 4] = [0xce; 4];

/// The settings of one store.
struct Store {
    location: &'static str,
    kind: &'static str,
    password: &'static str,
}

const TRUST: Store = Store {
    location: "ssl.truststore.location",
    kind: "ssl.truststore.type",
    password: "ssl.truststore.password",
};
const OWN: Store =
    Store { location: "ssl.keystore.location", kind: "ssl.keystore.type", password: "ssl.keystore.password" };

/// A store's content.
enum Content {
    Pem(String),
    Pkcs12(KeyStore),
    Jks(Jks),
}

impl Store {
    /// Reads the store, if one is named. As in the JVM, `JKS` and `PKCS12` each open the other one too.
    fn read<'a>(&self, values: &Values<'a>) -> Result<Option<(&'a str, Content)>> {
        let Some(path) = values.text(self.location) else { return Ok(None) };
        let kind = values.text(self.kind).map(str::to_ascii_uppercase);
        let may_be_pem = match kind.as_deref() {
            Some("PEM") => Some(true),
            // JKS is the default: whoever did not say it may mean anything
            Some("JKS") if values.given(self.kind).is_none() => None,
            Some("JKS" | "PKCS12") => Some(false),
            other => return Err(invalid(self.kind, other.unwrap_or_default(), "one of JKS, PKCS12, PEM")),
        };
        let bytes = read(self.location, path)?;
        if may_be_pem.unwrap_or_else(|| pem::is_pem(&bytes)) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Ok(Some((path, Content::Pem(text))));
        }
        let password = values.text(self.password).unwrap_or_default();
        if bytes.starts_with(&jks::MAGIC) {
            let store = Jks::read(&bytes, password).map_err(|error| {
                self.error(format!("{path} cannot be opened as JKS: {error}; is {} right?", self.password))
            })?;
            return Ok(Some((path, Content::Jks(store))));
        }
        if bytes.starts_with(&JCEKS) || pem::is_pem(&bytes) {
            let remedy = if bytes.starts_with(&JCEKS) {
                "is a JCEKS store, which is not supported: convert it with `keytool -importkeystore -deststoretype PKCS12`".to_owned()
            } else {
                format!("is PEM: set {}=PEM", self.kind)
            };
            return Err(self.error(format!("{path} {remedy}")));
        }
        let store =
            KeyStore::from_pkcs12(&bytes, password, Pkcs12ImportPolicy::Relaxed).map_err(|error| {
                self.error(format!("{path} cannot be opened as PKCS12: {error}; is {} right?", self.password))
            })?;
        Ok(Some((path, Content::Pkcs12(store))))
    }

    fn error(&self, what: impl std::fmt::Display) -> crate::Error {
        config_error(self.location, what)
    }
}

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

/// Certificates that are trusted; `None`: those of the system.
pub(super) fn trusted(values: &Values<'_>) -> Result<Option<Vec<CertificateDer<'static>>>> {
    const INLINE: &str = "ssl.truststore.certificates";
    if let Some(text) = values.text(INLINE) {
        return pem::certificates(text).map(Some).map_err(|error| config_error(INLINE, error));
    }
    let Some((path, content)) = TRUST.read(values)? else { return Ok(None) };
    let mut found = Vec::new();
    match content {
        Content::Pem(text) => {
            found = pem::certificates(&text).map_err(|error| TRUST.error(format!("{path}: {error}")))?;
        }
        Content::Jks(store) => {
            found.extend(store.trusted);
            found.extend(store.keys.into_iter().flat_map(|key| key.chain));
        }
        Content::Pkcs12(store) => {
            for (_, entry) in store.entries() {
                match entry {
                    KeyStoreEntry::Certificate(certificate) => {
                        found.push(certificate.as_der().to_vec().into());
                    }
                    KeyStoreEntry::PrivateKeyChain(chain) => {
                        found.extend(chain.certs().iter().map(|of| of.as_der().to_vec().into()));
                    }
                    KeyStoreEntry::Secret(_) => {}
                }
            }
        }
    }
    if found.is_empty() { Err(TRUST.error(format!("{path} holds no certificate"))) } else { Ok(Some(found)) }
}

/// Our own certificate, if there is one.
pub(super) fn identity(values: &Values<'_>) -> Result<Option<Identity>> {
    const CHAIN: &str = "ssl.keystore.certificate.chain";
    const KEY: &str = "ssl.keystore.key";
    let key_password = values.text(KEY_PASSWORD);
    match (values.text(KEY), values.text(CHAIN)) {
        (Some(key), Some(chain)) => {
            let chain = pem::certificates(chain).map_err(|error| config_error(CHAIN, error))?;
            let key = pem::private_key(key, key_password, KEY_PASSWORD);
            return Ok(Some((chain, key.map_err(|error| config_error(KEY, error))?)));
        }
        (Some(_), None) => return Err(config_error(CHAIN, format!("needed beside {KEY}"))),
        (None, Some(_)) => return Err(config_error(KEY, format!("needed beside {CHAIN}"))),
        (None, None) => {}
    }
    let Some((path, content)) = OWN.read(values)? else { return Ok(None) };
    let no_key = || OWN.error(format!("{path} holds no private key"));
    let (chain, key) = match content {
        Content::Pem(text) => {
            let failed = |error| OWN.error(format!("{path}: {error}"));
            let key = pem::private_key(&text, key_password, KEY_PASSWORD).map_err(failed)?;
            return Ok(Some((pem::certificates(&text).map_err(failed)?, key)));
        }
        Content::Jks(store) => {
            let entry = store.keys.into_iter().next().ok_or_else(no_key)?;
            let password = key_password.or_else(|| values.text(OWN.password)).unwrap_or_default();
            let key = entry.open(password).map_err(|error| {
                let keys = format!("{KEY_PASSWORD} (or {}, where that is not set)", OWN.password);
                OWN.error(format!("{path}: {error}; is {keys} right?"))
            })?;
            (entry.chain, key)
        }
        Content::Pkcs12(store) => {
            let (_, entry) = store.private_key_chain().ok_or_else(no_key)?;
            let chain = entry.certs().iter().map(|certificate| certificate.as_der().to_vec().into());
            (chain.collect(), entry.key().as_der().to_vec())
        }
    };
    let key = PrivateKeyDer::try_from(key)
        .map_err(|error| OWN.error(format!("{path}: the private key is of no known kind: {error}")))?;
    Ok(Some((chain, key)))
}
