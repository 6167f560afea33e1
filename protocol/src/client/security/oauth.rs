//! OAUTHBEARER tokens: unsecured ones for tests, as the JVM's own unsecured login makes them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Secret;

/// An unsecured JWS (RFC 7515, `alg` none) for `subject`, valid from `now_s` for an hour.
pub(super) fn unsecured(subject: &str, scope: Option<&str>, now_s: u64) -> Secret {
    let mut claims = serde_json::json!({ "sub": subject, "iat": now_s, "exp": now_s + 3600 });
    if let Some(scope) = scope {
        claims["scope"] = scope.into();
    }
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    Secret::new(format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims.to_string())))
}
