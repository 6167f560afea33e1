//! The SCRAM exchange (RFC 5802, RFC 7677) as Kafka uses it: no channel binding, user names and passwords as UTF-8
//! without further preparation, delegation tokens by the extension `tokenauth` (KIP-48).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use thiserror::Error;

/// Fewest iterations that either side accepts, as in the JVM.
pub const MIN_ITERATIONS: u32 = 4096;
/// Most iterations that a client does for a server, which could otherwise keep it busy for hours.
pub const MAX_ITERATIONS: u32 = 1 << 20;
/// Longest message that is looked at.
const MAX_MESSAGE: usize = 16 * 1024;
const GS2_HEADER: &str = "n,,";

/// A SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// The mechanism of this SASL name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "SCRAM-SHA-256" => Some(Self::Sha256),
            "SCRAM-SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its SASL name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            // HMAC takes keys of any length, so there is always a MAC.
            let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key, data),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, data),
        }
    }

    fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, iterations).to_vec()
            }
            Self::Sha512 => {
                pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.as_bytes(), salt, iterations).to_vec()
            }
        }
    }
}

impl std::fmt::Display for ScramMechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an exchange failed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScramError {
    /// The other side's message isn't a SCRAM message.
    #[error("malformed SCRAM {0}")]
    Malformed(&'static str),
    /// The nonce isn't an extension of ours: somebody is in between.
    #[error("the server's SCRAM nonce doesn't continue the client's")]
    Nonce,
    /// Too few iterations to be safe, or too many to be meant.
    #[error("the server asks for {0} SCRAM iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are accepted")]
    Iterations(u32),
    /// The server refuses.
    #[error("the server refuses the SCRAM authentication: {0}")]
    Refused(String),
    /// The server doesn't know the password either: it isn't the one it claims to be.
    #[error("the server's SCRAM signature is wrong: it doesn't hold this user's credentials")]
    ServerSignature,
    /// The client's proof is wrong (server side).
    #[error("wrong user name or password")]
    Proof,
    /// Messages came out of order.
    #[error("SCRAM messages out of order")]
    Order,
}

/// The client's side: [`first`](Self::first), then [`respond`](Self::respond) to the server's first message, then
/// [`verify`](Self::verify) its last.
pub struct ScramClient {
    mechanism: ScramMechanism,
    password: String,
    nonce: String,
    first_bare: String,
    server_signature: Option<Vec<u8>>,
}

impl std::fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramClient").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl ScramClient {
    /// An exchange with a nonce that is fresh and can't be guessed; commas in it are left out. With `token_auth` the
    /// user is a delegation token.
    #[must_use]
    pub fn new(mechanism: ScramMechanism, user: &str, password: &str, nonce: &str, token_auth: bool) -> Self {
        let nonce: String = nonce.chars().filter(|of| of.is_ascii_graphic() && *of != ',').collect();
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let extension = if token_auth { ",tokenauth=true" } else { "" };
        let first_bare = format!("n={user},r={nonce}{extension}");
        Self { mechanism, password: password.to_owned(), nonce, first_bare, server_signature: None }
    }

    /// The client's first message.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        format!("{GS2_HEADER}{}", self.first_bare).into_bytes()
    }

    /// The client's final message, in answer to the server's first.
    ///
    /// # Errors
    /// If the message is malformed, refuses, doesn't continue our nonce, or asks for unacceptable iterations.
    pub fn respond(&mut self, server_first: &[u8]) -> Result<Vec<u8>, ScramError> {
        const WHAT: &str = "server-first message";
        let text = text(server_first, WHAT)?;
        if let Some(error) = attribute(text, 'e') {
            return Err(ScramError::Refused(error.to_owned()));
        }
        let nonce = attribute(text, 'r').ok_or(ScramError::Malformed(WHAT))?;
        let salt = attribute(text, 's').ok_or(ScramError::Malformed(WHAT))?;
        let salt = BASE64.decode(salt).map_err(|_| ScramError::Malformed(WHAT))?;
        let iterations = attribute(text, 'i').ok_or(ScramError::Malformed(WHAT))?;
        let iterations: u32 = iterations.parse().map_err(|_| ScramError::Malformed(WHAT))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        let mechanism = self.mechanism;
        let salted = mechanism.salted_password(&self.password, &salt, iterations);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        let stored_key = mechanism.hash(&client_key);
        let server_key = mechanism.hmac(&salted, b"Server Key");
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let message = format!("{},{text},{without_proof}", self.first_bare);
        let proof = xor(client_key, &mechanism.hmac(&stored_key, message.as_bytes()));
        self.server_signature = Some(mechanism.hmac(&server_key, message.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes())
    }

    /// Checks the server's final message: that it accepts, and that it knows the password too.
    ///
    /// # Errors
    /// [`ScramError::Refused`] with the server's word, or [`ScramError::ServerSignature`].
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        const WHAT: &str = "server-final message";
        let expected = self.server_signature.as_ref().ok_or(ScramError::Order)?;
        let text = text(server_final, WHAT)?;
        if let Some(error) = attribute(text, 'e') {
            return Err(ScramError::Refused(error.to_owned()));
        }
        let signature = attribute(text, 'v').ok_or(ScramError::Malformed(WHAT))?;
        let signature = BASE64.decode(signature).map_err(|_| ScramError::Malformed(WHAT))?;
        if equal(&signature, expected) { Ok(()) } else { Err(ScramError::ServerSignature) }
    }
}

/// What a server keeps of a user: enough to check a proof, not enough to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Salt of the password.
    pub salt: Vec<u8>,
    /// Iterations of the password's hash.
    pub iterations: u32,
    /// Hash of the client's key.
    pub stored_key: Vec<u8>,
    /// The server's key.
    pub server_key: Vec<u8>,
}

impl ScramCredential {
    /// The credential of a password.
    #[must_use]
    pub fn new(mechanism: ScramMechanism, password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = mechanism.salted_password(password, salt, iterations);
        Self::from_salted(mechanism, &salted, salt, iterations)
    }

    /// The credential of a password that the client has salted, as AlterUserScramCredentials sends it.
    #[must_use]
    pub fn from_salted(mechanism: ScramMechanism, salted: &[u8], salt: &[u8], iterations: u32) -> Self {
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: mechanism.hash(&mechanism.hmac(salted, b"Client Key")),
            server_key: mechanism.hmac(salted, b"Server Key"),
        }
    }
}

/// A client's first message, as a server reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who wants to log in.
    pub user: String,
    /// Whether the user is a delegation token.
    pub token_auth: bool,
    nonce: String,
    bare: String,
}

impl ClientFirst {
    /// Reads the message.
    ///
    /// # Errors
    /// [`ScramError::Malformed`].
    pub fn parse(message: &[u8]) -> Result<Self, ScramError> {
        const WHAT: &str = "client-first message";
        let text = text(message, WHAT)?;
        // Kafka has no channel binding: n or y, and maybe an authorization id.
        let rest = text.strip_prefix("n,").or_else(|| text.strip_prefix("y,"));
        let (_, bare) = rest.and_then(|rest| rest.split_once(',')).ok_or(ScramError::Malformed(WHAT))?;
        let user = attribute(bare, 'n').ok_or(ScramError::Malformed(WHAT))?;
        let nonce = attribute(bare, 'r').ok_or(ScramError::Malformed(WHAT))?;
        let token_auth = bare.split(',').any(|part| part.eq_ignore_ascii_case("tokenauth=true"));
        let (user, nonce) = (user.replace("=2C", ",").replace("=3D", "="), nonce.to_owned());
        Ok(Self { user, token_auth, nonce, bare: bare.to_owned() })
    }
}

/// The server's side, once the user's credential is found.
#[derive(Debug)]
pub struct ScramServer {
    mechanism: ScramMechanism,
    credential: ScramCredential,
    nonce: String,
    client_first_bare: String,
    first: String,
}

impl ScramServer {
    /// An exchange with the client of `first`; `nonce` is the server's part of it.
    #[must_use]
    pub fn new(
        mechanism: ScramMechanism,
        credential: ScramCredential,
        client: &ClientFirst,
        nonce: &str,
    ) -> Self {
        let nonce = format!("{}{nonce}", client.nonce);
        let salt = BASE64.encode(&credential.salt);
        let first = format!("r={nonce},s={salt},i={}", credential.iterations);
        Self { mechanism, credential, nonce, client_first_bare: client.bare.clone(), first }
    }

    /// The server's first message.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        self.first.clone().into_bytes()
    }

    /// Checks the client's proof and gives the server's final message.
    ///
    /// # Errors
    /// [`ScramError::Proof`] for a wrong password, others for a message that isn't one.
    pub fn finish(&self, client_final: &[u8]) -> Result<Vec<u8>, ScramError> {
        const WHAT: &str = "client-final message";
        let text = text(client_final, WHAT)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed(WHAT))?;
        let proof = BASE64.decode(proof).map_err(|_| ScramError::Malformed(WHAT))?;
        if attribute(without_proof, 'r') != Some(&self.nonce) {
            return Err(ScramError::Nonce);
        }
        let message = format!("{},{},{without_proof}", self.client_first_bare, self.first);
        let signature = self.mechanism.hmac(&self.credential.stored_key, message.as_bytes());
        if proof.len() != signature.len() {
            return Err(ScramError::Proof);
        }
        let client_key = xor(proof, &signature);
        if !equal(&self.mechanism.hash(&client_key), &self.credential.stored_key) {
            return Err(ScramError::Proof);
        }
        let signature = self.mechanism.hmac(&self.credential.server_key, message.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

fn text<'a>(message: &'a [u8], what: &'static str) -> Result<&'a str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::Malformed(what));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed(what))
}

/// The value of the attribute with this letter.
fn attribute(text: &str, letter: char) -> Option<&str> {
    text.split(',').find_map(|part| part.strip_prefix(letter)?.strip_prefix('='))
}

fn xor(mut left: Vec<u8>, right: &[u8]) -> Vec<u8> {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
    left
}

/// Compares without telling by its time where the difference is.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn example_of_the_rfc() {
        let mut client =
            ScramClient::new(ScramMechanism::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO", false);
        assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server_first =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = client.respond(server_first).unwrap();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        client.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        assert_eq!(
            client.verify(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Err(ScramError::ServerSignature)
        );
        assert_eq!(client.verify(b"e=invalid-proof"), Err(ScramError::Refused("invalid-proof".to_owned())));
    }

    fn exchange(
        mechanism: ScramMechanism,
        user: &str,
        password: &str,
        known: &str,
    ) -> Result<(), ScramError> {
        let mut client = ScramClient::new(mechanism, user, password, "abc,def", true);
        let first = ClientFirst::parse(&client.first())?;
        assert_eq!((first.user.as_str(), first.token_auth), (user, true));
        let credential = ScramCredential::new(mechanism, known, b"salt", MIN_ITERATIONS);
        let server = ScramServer::new(mechanism, credential, &first, "xyz");
        let answer = client.respond(&server.first())?;
        client.verify(&server.finish(&answer)?)
    }

    #[test]
    fn both_sides_agree() {
        for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
            exchange(mechanism, "a,b=c=2C", "pass,word=ü", "pass,word=ü").unwrap();
            assert_eq!(exchange(mechanism, "u", "wrong", "right"), Err(ScramError::Proof));
            assert_eq!(ScramMechanism::from_name(mechanism.name()), Some(mechanism));
        }
    }

    #[test]
    fn what_a_client_refuses() {
        let client = || ScramClient::new(ScramMechanism::Sha512, "u", "p", "mine", false);
        let respond = |message: &str| client().respond(message.as_bytes()).unwrap_err();
        assert_eq!(respond("r=yours,s=AAAA,i=4096"), ScramError::Nonce);
        assert_eq!(respond("r=mine,s=AAAA,i=4096"), ScramError::Nonce);
        assert_eq!(respond("r=mine2,s=AAAA,i=4095"), ScramError::Iterations(4095));
        assert_eq!(respond("r=mine2,s=AAAA,i=4294967295"), ScramError::Iterations(u32::MAX));
        assert_eq!(respond("e=unknown-user"), ScramError::Refused("unknown-user".to_owned()));
        for bad in ["", "r=mine2", "r=mine2,s=!,i=4096", "r=mine2,s=AAAA,i=x", "s=AAAA,i=4096"] {
            assert!(matches!(respond(bad), ScramError::Malformed(_)), "{bad}");
        }
        assert!(matches!(client().respond(&[0xff]), Err(ScramError::Malformed(_))));
        assert_eq!(client().verify(b"v=AAAA"), Err(ScramError::Order));
    }
}
