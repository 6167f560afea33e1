//! Requests to other workers of the group.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use tokio_rustls::rustls::ClientConfig;

use crate::herder::{ForwardAnswer, ForwardRequest, HerderError};
use crate::https::{self, HttpClient};

/// Longest time that another worker may take; REST itself gives up after as long.
const LIMIT: Duration = Duration::from_secs(90);
/// Largest answer taken.
const MAX_ANSWER: usize = 16 << 20;
/// The JVM's workers say this of themselves.
const USER_AGENT: &str = "kafka-connect";
const SIGNATURE: &str = "X-Connect-Authorization";
const SIGNATURE_ALGORITHM: &str = "X-Connect-Request-Signature-Algorithm";

/// The client; clones share its connections.
#[derive(Clone)]
pub(super) struct Peers {
    client: HttpClient,
}

/// What proves that a request comes from a worker of the group.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) text: String,
    pub(super) algorithm: &'static str,
}

impl Peers {
    /// Speaks to https listeners with this certificate and trust: those of the worker's own listener.
    pub(super) fn new(tls: &Arc<ClientConfig>) -> Peers {
        Peers { client: https::client(tls) }
    }

    /// Passes a user's request on.
    pub(super) async fn forward(&self, request: ForwardRequest) -> Result<ForwardAnswer, HerderError> {
        self.send(&request, None).await
    }

    /// Sends one of our own; an answer that is an error is one.
    pub(super) async fn ask(
        &self,
        method: &str,
        url: &str,
        path: String,
        body: Bytes,
        signature: Option<Signature>,
    ) -> Result<(), HerderError> {
        let request = ForwardRequest {
            url: url.to_owned(),
            method: method.to_owned(),
            path,
            body,
            authorization: None,
        };
        let answer = self.send(&request, signature.as_ref()).await?;
        if answer.status < 400 {
            return Ok(());
        }
        let error: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        let message = error.as_ref().and_then(|error| error["message"].as_str());
        Err(HerderError::new(answer.status, message.unwrap_or("the other worker gave no reason")))
    }

    async fn send(
        &self,
        request: &ForwardRequest,
        signature: Option<&Signature>,
    ) -> Result<ForwardAnswer, HerderError> {
        let failed = |cause: String| {
            HerderError::new(500, format!("IO Error trying to forward REST request: {cause}"))
        };
        let url = format!("{}/{}", request.url.trim_end_matches('/'), request.path);
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let mut builder = Request::builder()
            .method(method)
            .uri(&url)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json");
        if !request.body.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &request.authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if let Some(signature) = signature {
            builder =
                builder.header(SIGNATURE, &signature.text).header(SIGNATURE_ALGORITHM, signature.algorithm);
        }
        let outgoing =
            builder.body(Full::new(request.body.clone())).map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let answer =
                self.client.request(outgoing).await.map_err(|error| failed(crate::store::chain(&error)))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            Ok(ForwardAnswer { status, body })
        };
        let answered = tokio::time::timeout(LIMIT, exchange).await;
        answered.unwrap_or_else(|_| Err(failed(format!("{url}: no answer within {LIMIT:?}"))))
    }
}
