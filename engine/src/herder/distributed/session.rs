//! Signed requests between workers (KIP-507): the leader makes a key, all read it from the config topic.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::herder::{HerderError, InternalRequest};
use crate::store::SessionKey;

/// An algorithm by which requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// By Java's name, in any case.
    pub(super) fn parse(name: &str) -> Option<Algorithm> {
        const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
        ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Java's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "HmacSHA256",
            Algorithm::Sha384 => "HmacSHA384",
            Algorithm::Sha512 => "HmacSHA512",
        }
    }

    /// What Java's key generators take where no size is asked for.
    pub(super) fn default_key_bits(self) -> usize {
        match self {
            Algorithm::Sha256 => 256,
            Algorithm::Sha384 => 384,
            Algorithm::Sha512 => 512,
        }
    }

    fn sign(self, key: &[u8], body: &[u8]) -> Vec<u8> {
        fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], body: &[u8]) -> Vec<u8> {
            let Ok(mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
            mac.chain_update(body).finalize().into_bytes().to_vec()
        }
        match self {
            Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, body),
            Algorithm::Sha384 => mac::<Hmac<Sha384>>(key, body),
            Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, body),
        }
    }

    /// Compares in constant time.
    fn verify(self, key: &[u8], body: &[u8], signature: &[u8]) -> bool {
        fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], body: &[u8], signature: &[u8]) -> bool {
            let mac = <M as Mac>::new_from_slice(key);
            mac.is_ok_and(|mac| mac.chain_update(body).verify_slice(signature).is_ok())
        }
        match self {
            Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, body, signature),
            Algorithm::Sha384 => mac::<Hmac<Sha384>>(key, body, signature),
            Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, body, signature),
        }
    }
}

/// `inter.worker.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeySettings {
    /// `inter.worker.key.ttl.ms`.
    pub(super) ttl: Duration,
    /// `inter.worker.key.generation.algorithm`.
    pub(super) generation: Algorithm,
    /// `inter.worker.key.size`, in bytes.
    pub(super) size_bytes: usize,
    /// `inter.worker.signature.algorithm`.
    pub(super) signature: Algorithm,
    /// `inter.worker.verification.algorithms`.
    pub(super) accepted: Vec<Algorithm>,
}

impl KeySettings {
    /// How long the key may be used on: none if it has to be replaced now. Times are in milliseconds since 1970.
    pub(super) fn usable_for(&self, key: Option<&SessionKey>, now_ms: i64) -> Option<Duration> {
        let key = key?;
        let fits =
            key.algorithm.eq_ignore_ascii_case(self.generation.name()) && key.key.len() == self.size_bytes;
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        let left = key.created_ms.saturating_add(ttl).saturating_sub(now_ms);
        // a clock that was ahead of ours does not keep a key for ever
        (fits && left > 0).then(|| Duration::from_millis(left.min(ttl).unsigned_abs()))
    }

    /// A new key.
    pub(super) fn generate(&self, now_ms: i64) -> SessionKey {
        let mut key = Vec::with_capacity(self.size_bytes + Sha256::output_size());
        while key.len() < self.size_bytes {
            // 244 bits from the operating system for each 256 bits of key
            let mut hash = Sha256::new();
            hash.update(uuid::Uuid::new_v4().as_bytes());
            hash.update(uuid::Uuid::new_v4().as_bytes());
            key.extend_from_slice(&hash.finalize());
        }
        key.truncate(self.size_bytes);
        SessionKey { key: key.into(), algorithm: self.generation.name().into(), created_ms: now_ms }
    }

    /// Signature of a body, and the name of its algorithm.
    pub(super) fn sign(&self, key: &SessionKey, body: &[u8]) -> (String, &'static str) {
        (BASE64_STANDARD.encode(self.signature.sign(&key.key, body)), self.signature.name())
    }

    /// Refuses a request that no worker of the group has sent.
    pub(super) fn verify(
        &self,
        key: Option<&SessionKey>,
        request: &InternalRequest,
    ) -> Result<(), HerderError> {
        let Some(signature) = &request.signature else {
            return Err(HerderError::new(400, "Internal request missing required signature"));
        };
        let name = request.algorithm.as_deref().unwrap_or_default();
        let algorithm = Algorithm::parse(name).filter(|algorithm| self.accepted.contains(algorithm));
        let Some(algorithm) = algorithm else {
            let allowed: Vec<&str> = self.accepted.iter().map(|algorithm| algorithm.name()).collect();
            return Err(HerderError::new(
                400,
                format!(
                    "This worker does not support the '{name}' key signing algorithm used by other workers. This worker is currently configured to use: {}. Check that all workers' configuration files permit the same set of signature algorithms, and correct any misconfigured worker and restart it.",
                    allowed.join(", ")
                ),
            ));
        };
        let Some(key) = key else {
            return Err(HerderError::new(
                503,
                "This worker is still starting up and has not been able to read a session key from the config topic yet",
            ));
        };
        let given = BASE64_STANDARD.decode(signature).unwrap_or_default();
        if algorithm.verify(&key.key, &request.body, &given) {
            return Ok(());
        }
        Err(HerderError::new(403, "Internal request contained invalid signature."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KeySettings {
        KeySettings {
            ttl: Duration::from_secs(60),
            generation: Algorithm::Sha256,
            size_bytes: 32,
            signature: Algorithm::Sha256,
            accepted: vec![Algorithm::Sha256, Algorithm::Sha512],
        }
    }

    #[test]
    fn signatures_are_javas() {
        // RFC 4231, test case 2
        let key =
            SessionKey { key: b"Jefe".as_slice().into(), algorithm: "HmacSHA256".into(), created_ms: 0 };
        let (signature, name) = settings().sign(&key, b"what do ya want for nothing?");
        assert_eq!(signature, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
        assert_eq!(name, "HmacSHA256");
    }

    #[test]
    fn only_signed_requests_pass() {
        let (settings, now) = (settings(), 1_000_000);
        let key = settings.generate(now);
        let request = |signature: Option<&str>, algorithm: &str| InternalRequest {
            body: bytes::Bytes::from_static(b"[]"),
            signature: signature.map(str::to_owned),
            algorithm: Some(algorithm.to_owned()),
        };
        let status = |request| settings.verify(Some(&key), &request).err().map_or(200, |error| error.status);
        let (signature, name) = settings.sign(&key, b"[]");
        assert_eq!(status(request(Some(&signature), name)), 200);
        assert_eq!(status(request(None, name)), 400);
        assert_eq!(status(request(Some(&signature), "HmacMD5")), 400);
        assert_eq!(status(request(Some(&signature), "HmacSHA512")), 403);
        assert_eq!(status(request(Some("AAAA"), name)), 403);
        assert_eq!(settings.verify(None, &request(Some(&signature), name)).unwrap_err().status, 503);
    }

    #[test]
    fn keys_age() {
        let (settings, now) = (settings(), 1_000_000);
        let key = settings.generate(now);
        assert_ne!(key.key, settings.generate(now).key);
        assert_eq!(settings.usable_for(Some(&key), now + 1_000), Some(Duration::from_secs(59)));
        assert_eq!(settings.usable_for(Some(&key), now + 60_000), None);
        assert_eq!(settings.usable_for(Some(&key), now - 3_600_000), Some(Duration::from_secs(60)));
        assert_eq!(settings.usable_for(None, now), None);
        let short = SessionKey { key: [1].into(), ..key };
        assert_eq!(settings.usable_for(Some(&short), now), None);
    }
}
