//! Java's own key stores (`JKS`): trusted certificates, and keys under Sun's key protector.

use rustls_pki_types::CertificateDer;
use sha1::{Digest, Sha1};

/// What such a file begins with.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// The whole is signed with the password and this.
const SIGNATURE: &[u8] = b"Mighty Aphrodite";
/// Of a SHA-1.
const DIGEST: usize = 20;
/// Entries and certificates of a chain: more is no key store.
const MAX_ENTRIES: u32 = 100_000;
/// DER of the object identifier of Sun's key protector, 1.3.6.1.4.1.42.2.17.1.1.
const KEY_PROTECTOR: &[u8] = &[0x2b, 6, 1, 4, 1, 42, 2, 17, 1, 1];

/// Why a store cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JksError {
    #[error("it is cut short or malformed")]
    Malformed,
    #[error("version {0} of the format is not known")]
    Version(u32),
    #[error("the password is wrong, or the file was changed")]
    Password,
    #[error("the key of {0} cannot be opened")]
    KeyPassword(String),
    #[error("the key of {0} is protected in an unknown way")]
    Protection(String),
}

/// A private key that is still protected, with its certificates.
pub(super) struct KeyEntry {
    alias: String,
    protected: Vec<u8>,
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// What a store holds, in its order.
#[derive(Default)]
pub(super) struct Jks {
    pub(super) trusted: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<KeyEntry>,
}

impl Jks {
    /// Reads a store. Without a password it is read as it stands, as Java does.
    pub(super) fn read(bytes: &[u8], password: &str) -> Result<Jks, JksError> {
        let (content, signature) = bytes.split_last_chunk::<DIGEST>().ok_or(JksError::Malformed)?;
        let mut reader = Reader(content);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(JksError::Malformed);
        }
        if !password.is_empty() {
            let digest = Sha1::new().chain_update(utf16(password)).chain_update(SIGNATURE);
            if digest.chain_update(content).finalize().as_slice() != signature {
                return Err(JksError::Password);
            }
        }
        let version = reader.number()?;
        if !(1..=2).contains(&version) {
            return Err(JksError::Version(version));
        }
        let mut store = Jks::default();
        for _ in 0..reader.count()? {
            let tag = reader.number()?;
            let alias = reader.text()?;
            reader.take(size_of::<u64>())?;
            match tag {
                1 => {
                    let protected = reader.bytes()?.to_vec();
                    let count = reader.count()?;
                    let chain = (0..count).map(|_| reader.certificate(version)).collect::<Result<_, _>>()?;
                    store.keys.push(KeyEntry { alias, protected, chain });
                }
                2 => store.trusted.push(reader.certificate(version)?),
                _ => return Err(JksError::Malformed),
            }
        }
        if reader.0.is_empty() { Ok(store) } else { Err(JksError::Malformed) }
    }
}

impl KeyEntry {
    /// The key in PKCS#8.
    pub(super) fn open(&self, password: &str) -> Result<Vec<u8>, JksError> {
        let protection = || JksError::Protection(self.alias.clone());
        let data = protected_data(&self.protected).ok_or_else(protection)?;
        let (salt, rest) = data.split_first_chunk::<DIGEST>().ok_or_else(protection)?;
        let (cipher, check) = rest.split_last_chunk::<DIGEST>().ok_or_else(protection)?;
        let password = utf16(password);
        let mut stream = salt.to_vec();
        let mut key = Vec::with_capacity(cipher.len());
        for part in cipher.chunks(DIGEST) {
            stream = Sha1::new().chain_update(&password).chain_update(&stream).finalize().to_vec();
            key.extend(part.iter().zip(&stream).map(|(byte, mask)| byte ^ mask));
        }
        let digest = Sha1::new().chain_update(&password).chain_update(&key).finalize();
        if digest.as_slice() == check { Ok(key) } else { Err(JksError::KeyPassword(self.alias.clone())) }
    }
}

/// What an `EncryptedPrivateKeyInfo` under Sun's key protector wraps.
fn protected_data(der: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(der, 0x30)?;
    let (algorithm, rest) = element(info, 0x30)?;
    let (oid, _) = element(algorithm, 6)?;
    let (data, _) = element(rest, 4)?;
    (oid == KEY_PROTECTOR).then_some(data)
}

/// Content of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A password as Java hashes it.
fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], JksError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(JksError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, JksError> {
        let (number, rest) = self.0.split_first_chunk().ok_or(JksError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn count(&mut self) -> Result<u32, JksError> {
        self.number().and_then(|count| if count > MAX_ENTRIES { Err(JksError::Malformed) } else { Ok(count) })
    }

    fn bytes(&mut self) -> Result<&'a [u8], JksError> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, JksError> {
        let length = self.take(2)?.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        self.take(length).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn certificate(&mut self, version: u32) -> Result<CertificateDer<'static>, JksError> {
        if version == 2 {
            self.text()?;
        }
        self.bytes().map(|der| der.to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `keytool -genkeypair -storetype JKS` with the passwords "store-pw" and "key-pw", and a certificate imported.
    const STORE: &[u8] = include_bytes!("../../../tests/golden/client.jks");

    #[test]
    fn a_store_of_keytool() {
        let store = Jks::read(STORE, "store-pw").unwrap();
        assert_eq!((store.trusted.len(), store.keys.len()), (1, 1));
        let key = store.keys[0].open("key-pw").unwrap();
        assert_eq!(key[0], 0x30);
        assert_eq!(store.keys[0].open("store-pw"), Err(JksError::KeyPassword("mine".into())));
        assert_eq!(Jks::read(STORE, "wrong").err(), Some(JksError::Password));
        assert!(Jks::read(STORE, "").is_ok());
    }

    #[test]
    fn whatever_is_damaged_is_an_error() {
        for cut in 0..STORE.len() {
            assert!(Jks::read(&STORE[..cut], "").is_err(), "cut at {cut}");
        }
        for place in 0..STORE.len() {
            let mut bytes = STORE.to_vec();
            bytes[place] ^= 0xff;
            assert!(Jks::read(&bytes, "store-pw").is_err(), "byte {place}");
            // without a password nothing is signed; what is left must not panic
            for key in Jks::read(&bytes, "").unwrap_or_default().keys {
                let _ = key.open("key-pw");
            }
        }
    }
}
