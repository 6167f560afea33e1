//! PEM, as Kafka takes it: in files or within a setting, where line breaks may be missing.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

/// Rounds of key derivation that a file may ask for.
const MAX_ROUNDS: u32 = 20_000_000;
/// Blocks of 128 bytes that scrypt may ask for: 128 MiB, four times what OpenSSL grants.
const MAX_SCRYPT_BLOCKS: u64 = 1 << 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why there is no certificate or key to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    #[error("there is no {0} block in it")]
    Missing(&'static str),
    #[error("a {0} block has no end, or is not base64")]
    Malformed(String),
    #[error("the private key is encrypted, and {0} is not set")]
    NoPassword(&'static str),
    #[error("the private key cannot be decrypted ({0}); is {1} right?")]
    WrongPassword(String, &'static str),
    #[error(
        "the private key is encrypted in a way that is not supported ({0}): encrypt it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc`"
    )]
    Encryption(String),
}

/// A block: its label and its bytes.
struct Block<'a> {
    label: &'a str,
    bytes: Vec<u8>,
}

/// The blocks of a text, whatever stands between them.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, PemError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let malformed = |label: &str| PemError::Malformed(label.to_owned());
        let (label, after) = after.split_once("-----").ok_or_else(|| malformed("BEGIN"))?;
        let (body, after) = after.split_once("-----END ").ok_or_else(|| malformed(label))?;
        if body.contains("Proc-Type:") {
            return Err(PemError::Encryption("OpenSSL's old format".to_owned()));
        }
        let body: String = body.split_whitespace().collect();
        let bytes = BASE64.decode(body).map_err(|_| malformed(label))?;
        blocks.push(Block { label, bytes });
        rest = after;
    }
    Ok(blocks)
}

/// Whether a store is PEM.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"-----BEGIN ").is_some()
}

/// Every certificate, at least one.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = blocks(text)?.into_iter().filter(|block| block.label == "CERTIFICATE");
    let certificates: Vec<_> = certificates.map(|block| block.bytes.into()).collect();
    if certificates.is_empty() { Err(PemError::Missing("CERTIFICATE")) } else { Ok(certificates) }
}

/// The private key. `password` is the value of `password_key`.
pub(super) fn private_key(
    text: &str,
    password: Option<&str>,
    password_key: &'static str,
) -> Result<PrivateKeyDer<'static>, PemError> {
    let key = blocks(text)?.into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
    let key = key.ok_or(PemError::Missing("PRIVATE KEY"))?;
    match key.label {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(key.bytes).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(key.bytes).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(key.bytes).into()),
        "ENCRYPTED PRIVATE KEY" => {
            decrypt(&key.bytes, password.ok_or(PemError::NoPassword(password_key))?, password_key)
        }
        other => Err(PemError::Malformed(other.to_owned())),
    }
}

/// Opens a PKCS#8 `EncryptedPrivateKeyInfo` (PBES2).
fn decrypt(
    der: &[u8],
    password: &str,
    password_key: &'static str,
) -> Result<PrivateKeyDer<'static>, PemError> {
    let info =
        EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| PemError::Encryption(error.to_string()))?;
    let Some(parameters) = info.encryption_algorithm.pbes2() else {
        return Err(PemError::Encryption("PBES1".to_owned()));
    };
    if let Some(pbkdf2) = parameters.kdf.pbkdf2()
        && pbkdf2.iteration_count > MAX_ROUNDS
    {
        return Err(PemError::Encryption("it would take too long".to_owned()));
    }
    if let Some(scrypt) = parameters.kdf.scrypt() {
        // the decoder takes any cost and relies on its being a power of two
        let (size, width) = (u64::from(scrypt.block_size), u64::from(scrypt.parallelization));
        if !scrypt.cost_parameter.is_power_of_two() || size == 0 || width == 0 {
            return Err(PemError::Encryption("scrypt with parameters that it cannot have".to_owned()));
        }
        if scrypt.cost_parameter.saturating_mul(size).saturating_mul(width) > MAX_SCRYPT_BLOCKS {
            return Err(PemError::Encryption("it would take too long".to_owned()));
        }
    }
    let key =
        info.decrypt(password).map_err(|error| PemError::WrongPassword(error.to_string(), password_key))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_files_and_of_single_lines() {
        let text = "Bag Attributes\n-----BEGIN CERTIFICATE-----\nAQID\nBA==\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(text).unwrap(), [CertificateDer::from(vec![1, 2, 3, 4])]);
        let line = "-----BEGIN CERTIFICATE----- AQID BA== -----END CERTIFICATE----- -----BEGIN CERTIFICATE-----BQ==-----END CERTIFICATE-----";
        assert_eq!(certificates(line).unwrap().len(), 2);
        for bad in [
            "",
            "-----BEGIN ",
            "-----BEGIN CERTIFICATE-----AQID",
            "-----BEGIN CERTIFICATE-----?-----END CERTIFICATE-----",
        ] {
            assert!(certificates(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_that_cannot_be_opened() {
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END RSA PRIVATE KEY-----";
        let error = private_key(old, Some("p"), "ssl.key.password").unwrap_err().to_string();
        assert!(error.contains("openssl pkcs8"), "{error}");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----AQID-----END ENCRYPTED PRIVATE KEY-----";
        let error = private_key(encrypted, None, "ssl.key.password").unwrap_err().to_string();
        assert!(error.contains("ssl.key.password"), "{error}");
        assert!(private_key(encrypted, Some("p"), "ssl.key.password").is_err());
    }
}
