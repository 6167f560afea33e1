//! Requests that another worker has to answer: the leader of the group, or the owner of a connector or task.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

use super::Api;
use super::answer::{Answer, json_answer};
use super::patience::is_over;
use crate::herder::{ForwardAnswer, ForwardRequest, HerderError};

/// A request with its whole body, as it has to be passed on.
pub(super) struct Incoming {
    method: Method,
    uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Incoming {
    type Rejection = HerderError;

    async fn from_request(request: Request, state: &S) -> Result<Incoming, HerderError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await.map_err(|rejected| {
            let status = if is_over(&rejected) { StatusCode::REQUEST_TIMEOUT } else { rejected.status() };
            HerderError::new(status.as_u16(), format!("The request body: {rejected}"))
        })?;
        Ok(Incoming { method, uri, headers, body })
    }
}

/// How often a request may still be passed on: a client's twice, to the leader and from there to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forwarding {
    /// From a client.
    First,
    /// Passed on once.
    Second,
    /// Not any more.
    Never,
}

impl Incoming {
    /// Values of a query parameter, percent-decoded, in order.
    pub(super) fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        parameters(self.uri.query().unwrap_or_default(), name)
    }

    /// Whether a parameter is `true`; anything else is false, as in the JVM.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameters(name).next().is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn forwarding(&self) -> Forwarding {
        match self.parameters("forward").next() {
            None => Forwarding::First,
            Some(value) if value.eq_ignore_ascii_case("true") => Forwarding::Second,
            Some(_) => Forwarding::Never,
        }
    }

    /// The answer, or that of the worker which the error names.
    pub(super) async fn answer<T>(
        &self,
        api: &Api,
        result: Result<T, HerderError>,
        local: impl FnOnce(T) -> Response,
    ) -> Answer {
        let error = match result {
            Ok(value) => return Ok(local(value)),
            Err(error) => error,
        };
        let (Some(url), forwarding) = (&error.forward, self.forwarding()) else { return Err(error) };
        if forwarding == Forwarding::Never {
            return Err(error);
        }
        tracing::debug!(url, path = self.uri.path(), "the request is passed on");
        let request = ForwardRequest {
            url: url.clone(),
            method: self.method.to_string(),
            path: self.forwarded_path(forwarding == Forwarding::First),
            body: self.body.clone(),
            authorization: header_text(&self.headers, &header::AUTHORIZATION),
        };
        self.passed_on(api, api.herder.forward(request).await?)
    }

    /// The path with its query, and `forward` as the other worker shall see it.
    fn forwarded_path(&self, forward: bool) -> String {
        let query = self.uri.query().unwrap_or_default().split('&');
        let mut path = format!("{}?forward={forward}", self.uri.path().trim_start_matches('/'));
        for pair in query.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("forward")) {
            path.push('&');
            path.push_str(pair);
        }
        path
    }

    fn passed_on(&self, api: &Api, answer: ForwardAnswer) -> Answer {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if answer.body.is_empty() {
            return Ok(status.into_response());
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| HerderError::new(500, format!("The other worker's answer: {error}")))?;
        let mut response = json_answer(status, &body);
        if status == StatusCode::CREATED
            && let Some(name) = body["name"].as_str()
        {
            self.set_location(api, &mut response, name);
        }
        Ok(response)
    }

    /// Where a new connector is found, by the URL that the client used.
    pub(super) fn set_location(&self, api: &Api, response: &mut Response, name: &str) {
        let host = header_text(&self.headers, &header::HOST).unwrap_or_else(|| api.worker_id.to_string());
        let scheme = if api.secure { "https" } else { "http" };
        if let Ok(location) = format!("{scheme}://{host}/connectors/{}", percent_encode(name)).parse() {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
}

fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn parameters<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(key) == name).then(|| percent_decode(value))
    })
}

/// Text of a query: `+` is a blank, `%XX` a byte.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        (rest, _) = match (byte, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or_default() * 16 + hex(*low).unwrap_or_default();
                (after, bytes.push(value as u8))
            }
            (b'+', after) => (after, bytes.push(b' ')),
            (byte, after) => (after, bytes.push(byte)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A segment of a path.
pub(crate) fn percent_encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let values = |query, name| parameters(query, name).collect::<Vec<_>>();
        assert_eq!(values("expand=info&x&expand=st%61tus", "expand"), ["info", "status"]);
        assert_eq!(values("a=1%2", "a"), ["1%2"]);
        assert_eq!(values("a=x+y&b=", "b"), [""]);
        assert_eq!(percent_encode("a b/ä"), "a%20b%2F%C3%A4");
    }

    #[test]
    fn a_request_is_passed_on_twice_at_most() {
        let incoming = |uri: &str| Incoming {
            method: Method::POST,
            uri: uri.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let first = incoming("/connectors/a/restart?includeTasks=true");
        assert_eq!(first.forwarding(), Forwarding::First);
        assert_eq!(first.forwarded_path(true), "connectors/a/restart?forward=true&includeTasks=true");
        let second = incoming("/connectors?forward=true");
        assert_eq!(second.forwarding(), Forwarding::Second);
        assert_eq!(second.forwarded_path(false), "connectors?forward=false");
        assert_eq!(incoming("/connectors?forward=false").forwarding(), Forwarding::Never);
    }
}
