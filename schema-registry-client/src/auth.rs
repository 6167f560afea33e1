//! Tokens by client credentials (RFC 6749, 4.4), kept until shortly before their end.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value as Json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::{OAuth, Secret};
use crate::error::{Error, ErrorKind};
use crate::http::{HttpPool, exchange};
use crate::request::encode;

/// Life of a token whose answer does not tell it.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// The token, and when it is to be renewed. The lock is held while one is fetched: one request for all.
    current: Mutex<Option<(Secret, Instant)>>,
}

impl Tokens {
    pub(crate) async fn forget(&self) {
        *self.current.lock().await = None;
    }

    pub(crate) async fn get(
        &self,
        pool: &HttpPool,
        oauth: &OAuth,
        timeout: Duration,
    ) -> Result<Secret, Error> {
        let mut current = self.current.lock().await;
        if let Some((token, renew_at)) = &*current
            && Instant::now() < *renew_at
        {
            return Ok(token.clone());
        }
        let (token, life) = fetch(pool, oauth, timeout).await?;
        // of a short life half is used
        let renew_in = life.saturating_sub(oauth.renew_before).max(life / 2);
        *current = Some((token.clone(), Instant::now() + renew_in));
        Ok(token)
    }
}

async fn fetch(pool: &HttpPool, oauth: &OAuth, timeout: Duration) -> Result<(Secret, Duration), Error> {
    let url = &oauth.endpoint;
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scope) = &oauth.scope {
        form.push_str("&scope=");
        encode(scope, &mut form);
    }
    let credentials = format!("{}:{}", oauth.client_id, oauth.client_secret.reveal());
    let message = hyper::Request::post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(credentials)))
        .body(Full::new(Bytes::from(form)))
        .map_err(|error| {
            let what = format!("bearer.auth.issuer.endpoint.url: {url} is no URL");
            Error::new(ErrorKind::Config, what).caused_by(error)
        })?;
    let (status, _, bytes) = exchange(pool, message, url, timeout).await?;
    let answer: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    if !status.is_success() {
        let kind = if status.is_server_error() { ErrorKind::Unavailable } else { ErrorKind::Authentication };
        let why = answer.get("error").and_then(Json::as_str).unwrap_or("no reason is given");
        let what = format!("{url} gives no token: {status}, {why}; see bearer.auth.client.id and .secret");
        return Err(Error::new(kind, what));
    }
    let token = answer.get("access_token").and_then(Json::as_str).ok_or_else(|| {
        Error::new(ErrorKind::Authentication, format!("{url}: the answer has no access_token"))
    })?;
    let life = answer.get("expires_in").and_then(Json::as_u64).map_or(DEFAULT_LIFE, Duration::from_secs);
    Ok((Secret::new(token), life))
}
