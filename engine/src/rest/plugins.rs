//! `/connector-plugins`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::answer::{Answer, json_answer};
use super::{Api, both};

pub(super) fn routes(router: Router<Api>) -> Router<Api> {
    both(router, "/connector-plugins", get(list))
}

async fn list(State(api): State<Api>) -> Answer {
    let plugins = api.herder.worker().registry().plugins().iter();
    let entry = |plugin: &std::sync::Arc<dyn crate::connector::ConnectorPlugin>| json!({"class": plugin.class(), "type": plugin.kind().as_str(), "version": plugin.version()});
    Ok(json_answer(StatusCode::OK, &Value::Array(plugins.map(entry).collect())))
}
