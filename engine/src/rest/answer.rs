//! Bodies in and out.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::connector::ConfigMap;
use crate::herder::HerderError;

/// An answer or an error in Connect's form.
pub(super) type Answer = Result<Response, HerderError>;

/// Compact JSON with its content type.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl IntoResponse for HerderError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json_answer(status, &json!({"error_code": status.as_u16(), "message": self.message}))
    }
}

/// The JSON of a request body. What is not JSON is an internal error (500), as in the JVM; another content type is 415.
pub(super) fn body(headers: &HeaderMap, bytes: &Bytes) -> Result<Value, HerderError> {
    let is_json = |value: &str| {
        value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    };
    if !headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json) {
        return Err(HerderError::new(415, "HTTP 415 Unsupported Media Type"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| HerderError::new(500, format!("The request body is not JSON: {error}")))
}

/// A configuration: a flat object whose scalars become strings.
pub(super) fn config_of(value: &Value) -> Result<ConfigMap, HerderError> {
    let Value::Object(members) = value else {
        return Err(HerderError::new(500, "The connector configuration has to be a JSON object of strings"));
    };
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Number(number) => Ok((key.clone(), number.to_string())),
        Value::Bool(boolean) => Ok((key.clone(), boolean.to_string())),
        Value::Null => Err(HerderError::invalid_config(&[
            "Null value can not be supplied as the configuration value.".to_owned(),
        ])),
        Value::Array(_) | Value::Object(_) => Err(HerderError::new(
            500,
            format!("The value of {key} has to be a string, not an array or an object"),
        )),
    };
    members.iter().map(text).collect()
}
