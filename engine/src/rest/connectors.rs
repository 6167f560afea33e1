//! `/connectors` and what lies below it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Map, Value, json};

use super::answer::{Answer, body, config_of, json_answer};
use super::{Api, both};
use crate::herder::{ConnectorView, HerderError, PutResult, RestartScope, TargetState};
use crate::worker::Status;

pub(super) fn routes(router: Router<Api>) -> Router<Api> {
    let router = both(router, "/connectors", get(list).post(create));
    let router = both(router, "/connectors/{name}", get(info).delete(delete));
    let router = both(router, "/connectors/{name}/config", get(config).put(put_config).patch(patch_config));
    let router = both(router, "/connectors/{name}/status", get(status));
    let router = both(router, "/connectors/{name}/tasks", get(tasks));
    let router = both(router, "/connectors/{name}/tasks/{task}/status", get(task_status));
    let router = both(router, "/connectors/{name}/tasks/{task}/restart", post(restart_task));
    let router = both(router, "/connectors/{name}/restart", post(restart));
    let router = both(router, "/connectors/{name}/pause", put(pause));
    let router = both(router, "/connectors/{name}/resume", put(resume));
    both(router, "/connectors/{name}/stop", put(stop))
}

/// Values of a query parameter, in order.
fn parameters<'a>(query: &'a Option<String>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.as_deref().unwrap_or_default().split('&');
    pairs.filter_map(move |pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let expand: Vec<&str> = parameters(&query, "expand").collect();
    if expand.is_empty() {
        return Ok(json_answer(StatusCode::OK, &json!(api.herder.names())));
    }
    let mut all = Map::new();
    for name in api.herder.names() {
        let Some(view) = api.herder.view(&name) else { continue };
        let mut entry = Map::new();
        for what in &expand {
            match *what {
                "status" => drop(entry.insert("status".to_owned(), status_json(&api, &name)?)),
                "info" => {
                    drop(entry.insert("info".to_owned(), info_json(&name, &view, view.task_configs.len())))
                }
                _ => {}
            }
        }
        all.insert(name, Value::Object(entry));
    }
    Ok(json_answer(StatusCode::OK, &Value::Object(all)))
}

async fn create(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Answer {
    let Value::Object(request) = body(&headers, &bytes)? else {
        return Err(HerderError::new(500, "The request body has to be a JSON object with name and config"));
    };
    const KNOWN: [&str; 3] = ["name", "config", "initial_state"];
    if let Some(unknown) = request.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(HerderError::new(
            500,
            format!(
                "Unrecognized field \"{unknown}\" (3 known properties: \"name\", \"config\", \"initial_state\")"
            ),
        ));
    }
    let name = match request.get("name") {
        Some(Value::String(name)) => name.trim().to_owned(),
        _ => String::new(),
    };
    let initial = match request.get("initial_state") {
        None | Some(Value::Null) => None,
        Some(state) => {
            let parsed = state.as_str().and_then(TargetState::parse_initial);
            Some(parsed.ok_or_else(|| {
                HerderError::new(
                    500,
                    format!("initial_state {state}: allowed are RUNNING, PAUSED and STOPPED"),
                )
            })?)
        }
    };
    let config = config_of(request.get("config").unwrap_or(&Value::Null))?;
    let result = api.herder.create(name.clone(), config, initial).await?;
    Ok(put_answer(&headers, &name, &result))
}

async fn info(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let view = view_of(&api, &name)?;
    Ok(json_answer(StatusCode::OK, &info_json(&name, &view, view.task_configs.len())))
}

async fn config(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &json!(*view_of(&api, &name)?.config)))
}

async fn put_config(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let config = config_of(&body(&headers, &bytes)?)?;
    let result = api.herder.put(name.clone(), config).await?;
    Ok(put_answer(&headers, &name, &result))
}

/// Merges members into the configuration; null removes one (KIP-477).
async fn patch_config(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let Value::Object(patch) = body(&headers, &bytes)? else {
        return Err(HerderError::new(500, "The patch has to be a JSON object"));
    };
    let mut config = (*view_of(&api, &name)?.config).clone();
    let (removed, changed): (Map<String, Value>, Map<String, Value>) =
        patch.into_iter().partition(|(_, value)| value.is_null());
    config.retain(|key, _| !removed.contains_key(key));
    config.extend(config_of(&Value::Object(changed))?);
    let result = api.herder.put(name.clone(), config).await?;
    Ok(put_answer(&headers, &name, &result))
}

async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    api.herder.delete(name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn status(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &status_json(&api, &name)?))
}

async fn tasks(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let view = view_of(&api, &name)?;
    let task = |(number, config)| json!({"id": {"connector": name, "task": number}, "config": config});
    let tasks: Vec<Value> = view.task_configs.iter().enumerate().map(task).collect();
    Ok(json_answer(StatusCode::OK, &Value::Array(tasks)))
}

async fn task_status(State(api): State<Api>, Path((name, task)): Path<(String, String)>) -> Answer {
    let number = task_number(&task)?;
    let found = api.herder.status(&name).and_then(|status| status.tasks.get(number).cloned());
    let Some(status) = found else {
        return Err(HerderError::new(404, format!("No status found for task {name}-{number}")));
    };
    let version = view_of(&api, &name)?.plugin.version();
    Ok(json_answer(StatusCode::OK, &state_json(&api, Some(number), &status, version)))
}

async fn pause(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    api.herder.set_target(name, TargetState::Paused).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn resume(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    api.herder.set_target(name, TargetState::Started).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn stop(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    api.herder.set_target(name, TargetState::Stopped).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn restart(State(api): State<Api>, Path(name): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let flag = |key| parameters(&query, key).next().is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let scope = RestartScope { include_tasks: flag("includeTasks"), only_failed: flag("onlyFailed") };
    let before = api.herder.status(&name);
    api.herder.restart(name.clone(), scope).await?;
    if scope == RestartScope::default() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(json_answer(StatusCode::ACCEPTED, &restarting_json(&api, &name, scope, before)?))
}

/// The status with everything that the request has chosen shown as restarting.
fn restarting_json(
    api: &Api,
    name: &str,
    scope: RestartScope,
    before: Option<crate::worker::ConnectorStatus>,
) -> Result<Value, HerderError> {
    let mut shown = status_json(api, name)?;
    let Some(before) = before else { return Ok(shown) };
    let chosen = |status: &Status| !scope.only_failed || status.state == crate::worker::State::Failed;
    if chosen(&before.connector) {
        shown["connector"]["state"] = json!("RESTARTING");
    }
    if let Some(tasks) = shown["tasks"].as_array_mut() {
        for (task, status) in tasks.iter_mut().zip(&before.tasks) {
            if scope.include_tasks && chosen(status) {
                task["state"] = json!("RESTARTING");
            }
        }
    }
    Ok(shown)
}

async fn restart_task(State(api): State<Api>, Path((name, task)): Path<(String, String)>) -> Answer {
    api.herder.restart_task(name, task_number(&task)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn task_number(text: &str) -> Result<usize, HerderError> {
    text.parse().map_err(|_| HerderError::new(404, "HTTP 404 Not Found"))
}

fn view_of(api: &Api, name: &str) -> Result<ConnectorView, HerderError> {
    api.herder.view(name).ok_or_else(|| HerderError::new(404, format!("Connector {name} not found")))
}

fn info_json(name: &str, view: &ConnectorView, task_count: usize) -> Value {
    let tasks: Vec<Value> = (0..task_count).map(|task| json!({"connector": name, "task": task})).collect();
    json!({"name": name, "config": *view.config, "tasks": tasks, "type": view.kind().as_str()})
}

/// 201 with the place of a new connector, 200 for a changed one.
fn put_answer(headers: &HeaderMap, name: &str, result: &PutResult) -> Response {
    let body = info_json(name, &result.view, result.view.task_configs.len());
    if !result.created {
        return json_answer(StatusCode::OK, &body);
    }
    let mut response = json_answer(StatusCode::CREATED, &body);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    if let Ok(location) = format!("http://{host}/connectors/{}", percent_encode(name)).parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn percent_encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn status_json(api: &Api, name: &str) -> Result<Value, HerderError> {
    let missing = || HerderError::new(404, format!("No status found for connector {name}"));
    let status = api.herder.status(name).ok_or_else(missing)?;
    let view = api.herder.view(name).ok_or_else(missing)?;
    let version = view.plugin.version();
    let tasks: Vec<Value> = status
        .tasks
        .iter()
        .enumerate()
        .map(|(task, status)| state_json(api, Some(task), status, version))
        .collect();
    let connector = state_json(api, None, &status.connector, version);
    Ok(json!({"name": name, "connector": connector, "tasks": tasks, "type": view.kind().as_str()}))
}

fn state_json(api: &Api, task: Option<usize>, status: &Status, version: &str) -> Value {
    let mut state = Map::new();
    if let Some(task) = task {
        state.insert("id".to_owned(), json!(task));
    }
    state.insert("state".to_owned(), json!(status.state.as_str()));
    state.insert("worker_id".to_owned(), json!(&*api.worker_id));
    state.insert("version".to_owned(), json!(version));
    if let Some(trace) = status.trace.as_ref().filter(|trace| !trace.is_empty()) {
        state.insert("trace".to_owned(), json!(trace));
    }
    Value::Object(state)
}
