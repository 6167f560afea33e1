//! Bodies in and out.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::forward::Incoming;
use crate::connector::ConfigMap;
use crate::herder::{ConfigPatch, HerderError};

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
pub(super) fn body(incoming: &Incoming) -> Result<Value, HerderError> {
    let is_json = |value: &str| {
        value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    };
    let content_type = incoming.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // a request without a body has no type of it either
    if incoming.body.is_empty() && content_type.is_none() {
        return Ok(Value::Null);
    }
    if !content_type.is_some_and(is_json) {
        return Err(HerderError::new(415, "HTTP 415 Unsupported Media Type"));
    }
    serde_json::from_slice(&incoming.body)
        .map_err(|error| HerderError::new(500, format!("The request body is not JSON: {error}")))
}

/// A configuration: a flat object whose scalars become strings.
pub(super) fn config_of(value: &Value) -> Result<ConfigMap, HerderError> {
    let null = || {
        let text = "Null value can not be supplied as the configuration value.";
        HerderError::invalid_config(&[text.to_owned()])
    };
    patch_of(value)?.into_iter().map(|(key, value)| Ok((key, value.ok_or_else(null)?))).collect()
}

/// Changes of a configuration: a flat object whose scalars become strings; null removes a key.
pub(super) fn patch_of(value: &Value) -> Result<ConfigPatch, HerderError> {
    let Value::Object(members) = value else {
        return Err(HerderError::new(500, "The connector configuration has to be a JSON object of strings"));
    };
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), Some(text.clone()))),
        Value::Number(number) => Ok((key.clone(), Some(number.to_string()))),
        Value::Bool(boolean) => Ok((key.clone(), Some(boolean.to_string()))),
        Value::Null => Ok((key.clone(), None)),
        Value::Array(_) | Value::Object(_) => Err(HerderError::new(
            500,
            format!("The value of {key} has to be a string, not an array or an object"),
        )),
    };
    members.iter().map(text).collect()
}
