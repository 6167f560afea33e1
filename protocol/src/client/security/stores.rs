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

/// Encrypted parts of a PKCS12 store. Each may ask for a million rounds of key derivation, as the reader allows them.
const MAX_ENCRYPTED: usize = 256;
/// DER of the object identifiers under which they are: PBES2, and what all kinds of PKCS12's own begin with.
const ENCRYPTIONS: [&[u8]; 2] =
    [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 5, 13], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 12, 1]];

/// DER of scrypt's object identifier, 1.3.6.1.4.1.11591.4.11: as little known to Java's stores.
const SCRYPT: &[u8] = &[0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];

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
        let password = values.text(self.password).unwrap_or_default();
        self.open(path, &bytes, may_be_pem, password).map(|content| Some((path, content)))
    }

    /// The content of a store. Nothing in it is believed: counts are backed by bytes, and rounds of key derivation bounded.
    fn open(&self, path: &str, bytes: &[u8], may_be_pem: Option<bool>, password: &str) -> Result<Content> {
        if may_be_pem.unwrap_or_else(|| pem::is_pem(bytes)) {
            return Ok(Content::Pem(String::from_utf8_lossy(bytes).into_owned()));
        }
        if bytes.starts_with(&jks::MAGIC) {
            return Jks::read(bytes, password).map(Content::Jks).map_err(|error| {
                self.error(format!("{path} cannot be opened as JKS: {error}; is {} right?", self.password))
            });
        }
        if bytes.starts_with(&JCEKS) || pem::is_pem(bytes) {
            let remedy = if bytes.starts_with(&JCEKS) {
                "is a JCEKS store, which is not supported: convert it with `keytool -importkeystore -deststoretype PKCS12`".to_owned()
            } else {
                format!("is PEM: set {}=PEM", self.kind)
            };
            return Err(self.error(format!("{path} {remedy}")));
        }
        let encrypted: usize =
            ENCRYPTIONS.iter().map(|oid| memchr::memmem::find_iter(bytes, oid).count()).sum();
        if encrypted > MAX_ENCRYPTED {
            return Err(self.error(format!(
                "{path} has {encrypted} encrypted parts, more than a PKCS12 store may have ({MAX_ENCRYPTED})"
            )));
        }
        if memchr::memmem::find(bytes, SCRYPT).is_some() {
            return Err(self.error(format!("{path} is encrypted by scrypt, which PKCS12 stores cannot be")));
        }
        // the reader has not been written with hostile stores in mind
        let opened =
            std::panic::catch_unwind(|| KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Relaxed));
        let refused = |error: &dyn std::fmt::Display| {
            self.error(format!("{path} cannot be opened as PKCS12: {error}; is {} right?", self.password))
        };
        match opened {
            Ok(opened) => opened.map(Content::Pkcs12).map_err(|error| refused(&error)),
            Err(_) => Err(refused(&"it is malformed")),
        }
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
    let found = certificates_of(&content).map_err(|error| TRUST.error(format!("{path}: {error}")))?;
    if found.is_empty() { Err(TRUST.error(format!("{path} holds no certificate"))) } else { Ok(Some(found)) }
}

fn certificates_of(content: &Content) -> std::result::Result<Vec<CertificateDer<'static>>, pem::PemError> {
    let mut found = Vec::new();
    match content {
        Content::Pem(text) => found = pem::certificates(text)?,
        Content::Jks(store) => {
            found.extend(store.trusted.iter().cloned());
            found.extend(store.keys.iter().flat_map(|key| key.chain.iter().cloned()));
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
    Ok(found)
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
    identity_of(path, content, key_password, values.text(OWN.password)).map(Some)
}

fn identity_of(
    path: &str,
    content: Content,
    key_password: Option<&str>,
    store_password: Option<&str>,
) -> Result<Identity> {
    let no_key = || OWN.error(format!("{path} holds no private key"));
    let (chain, key) = match content {
        Content::Pem(text) => {
            let failed = |error| OWN.error(format!("{path}: {error}"));
            let key = pem::private_key(&text, key_password, KEY_PASSWORD).map_err(failed)?;
            return Ok((pem::certificates(&text).map_err(failed)?, key));
        }
        Content::Jks(store) => {
            let entry = store.keys.into_iter().next().ok_or_else(no_key)?;
            let password = key_password.or(store_password).unwrap_or_default();
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
    Ok((chain, key))
}

/// What a key store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreContent {
    /// Certificates, those of chains above keys included.
    pub certificates: usize,
    /// Whether there is a private key that the password opens.
    pub private_key: bool,
}

/// Opens a key store of any kind (PEM, PKCS12, JKS) as `ssl.keystore.location` and `ssl.truststore.location` do; the password is that
/// of the store and of its key.
///
/// # Errors
/// [`crate::ErrorKind::Config`]: why it cannot be opened.
pub fn inspect_store(bytes: &[u8], password: &str) -> Result<StoreContent> {
    let content = OWN.open("the store", bytes, None, password)?;
    let certificates = match certificates_of(&content) {
        Ok(certificates) => certificates.len(),
        Err(pem::PemError::Missing(_)) => 0,
        Err(error) => return Err(OWN.error(error)),
    };
    let private_key = identity_of("the store", content, Some(password), None).is_ok();
    Ok(StoreContent { certificates, private_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        inspect_store(bytes, "password").unwrap_err().to_string()
    }

    /// Each asks for one round more than is granted.
    #[test]
    fn rounds_of_key_derivation_are_bounded() {
        let mac = refusal(include_bytes!("../../../tests/golden/stores/slow.p12"));
        let content = refusal(include_bytes!("../../../tests/golden/stores/slow-no-mac.p12"));
        assert!(
            mac.contains("Invalid parameters") && content.contains("Invalid parameters"),
            "{mac}; {content}"
        );
        let pem = String::from_utf8_lossy(include_bytes!("../../../tests/golden/stores/slow.pem"));
        let error = pem::private_key(&pem, Some("password"), KEY_PASSWORD).unwrap_err().to_string();
        assert!(error.contains("it would take too long"), "{error}");
        let many = ENCRYPTIONS[0].repeat(MAX_ENCRYPTED + 1);
        assert!(refusal(&many).contains("257 encrypted parts"), "{}", refusal(&many));
    }

    #[test]
    fn scrypt_with_a_cost_that_it_cannot_have() {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let text = String::from_utf8_lossy(include_bytes!("../../../tests/golden/stores/scrypt.pem"));
        let (_, key) = text.split_once("KEY-----").unwrap();
        let key = key.split_once("-----END").unwrap().0.replace('\n', "");
        let mut der = base64.decode(key).unwrap();
        let at = memchr::memmem::find(&der, &[2, 1, 2, 2, 1, 1, 2, 1, 1]).unwrap();
        for (place, value) in [(2, 0), (2, 3), (5, 0), (8, 0)] {
            let before = std::mem::replace(&mut der[at + place], value);
            let body = base64.encode(&der);
            let pem =
                format!("-----BEGIN ENCRYPTED PRIVATE KEY-----{body}-----END ENCRYPTED PRIVATE KEY-----");
            let error = pem::private_key(&pem, Some("password"), KEY_PASSWORD).unwrap_err().to_string();
            assert!(error.contains("cannot have"), "{error}");
            der[at + place] = before;
        }
    }

    #[test]
    fn what_is_no_store() {
        for bytes in [&b""[..], b"PK\x03\x04", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30; 10_000]] {
            assert!(refusal(bytes).contains("cannot be opened as PKCS12"));
        }
        assert!(refusal(&JCEKS).contains("JCEKS"));
        assert!(refusal(b"-----BEGIN CERTIFICATE-----").contains("has no end"));
        let empty = inspect_store(b"-----BEGIN X-----AAAA-----END X-----", "").unwrap();
        assert_eq!(empty, StoreContent { certificates: 0, private_key: false });
    }
}
