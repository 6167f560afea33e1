//! `/admin/loggers` (KIP-495, KIP-976).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::answer::{Answer, body, json_answer};
use super::forward::Incoming;
use super::{Api, both};
use crate::herder::HerderError;
use crate::loggers::LoggerLevel;

pub(super) fn routes(router: Router<Api>) -> Router<Api> {
    let router = both(router, "/admin/loggers", get(list));
    both(router, "/admin/loggers/{name}", get(one).put(set))
}

fn level_json(level: LoggerLevel) -> Value {
    json!({"level": level.level.as_str(), "last_modified": level.last_modified})
}

async fn list(State(api): State<Api>) -> Answer {
    let all = api.herder.worker().loggers().all();
    let all: Map<String, Value> = all.into_iter().map(|(name, level)| (name, level_json(level))).collect();
    Ok(json_answer(StatusCode::OK, &Value::Object(all)))
}

async fn one(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let level = api.herder.worker().loggers().get(&name);
    let level = level.ok_or_else(|| HerderError::new(404, format!("Logger {name} not found.")))?;
    Ok(json_answer(StatusCode::OK, &level_json(level)))
}

async fn set(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let Value::Object(request) = body(&incoming)? else {
        return Err(HerderError::new(500, "The request body has to be a JSON object with level"));
    };
    let level = match request.get("level") {
        Some(Value::String(level)) => level.clone(),
        None | Some(Value::Null) => {
            return Err(HerderError::new(400, "Desired 'level' parameter was not specified in request."));
        }
        Some(other) => other.to_string(),
    };
    let cluster =
        incoming.parameters("scope").next().is_some_and(|scope| scope.eq_ignore_ascii_case("cluster"));
    if cluster {
        api.herder.set_cluster_logger(&name, &level).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let affected = api.herder.worker().loggers().set(&name, &level)?;
    Ok(json_answer(StatusCode::OK, &json!(affected)))
}
