//! `/connectors` and what lies below it.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Map, Value, json};

use super::answer::{Answer, body, config_of, json_answer, patch_of};
use super::forward::Incoming;
use super::{Api, both};
use crate::herder::{
    ConnectorView, HerderError, InternalRequest, PutMode, PutResult, RestartScope, TargetState,
};
use crate::worker::{ConnectorStatus, StatusEntry};

pub(super) fn routes(router: Router<Api>) -> Router<Api> {
    let router = both(router, "/connectors", get(list).post(create));
    let router = both(router, "/connectors/{name}", get(info).delete(delete));
    let router = both(router, "/connectors/{name}/config", get(config).put(put_config).patch(patch_config));
    let router = both(router, "/connectors/{name}/status", get(status));
    let router = both(router, "/connectors/{name}/tasks", get(tasks).post(put_tasks));
    let router = both(router, "/connectors/{name}/tasks/{task}/status", get(task_status));
    let router = both(router, "/connectors/{name}/tasks/{task}/restart", post(restart_task));
    let router = both(router, "/connectors/{name}/restart", post(restart));
    let router = both(router, "/connectors/{name}/pause", put(pause));
    let router = both(router, "/connectors/{name}/resume", put(resume));
    let router = both(router, "/connectors/{name}/stop", put(stop));
    both(router, "/connectors/{name}/fence", put(fence))
}

async fn list(State(api): State<Api>, incoming: Incoming) -> Answer {
    let expand: Vec<String> = incoming.parameters("expand").collect();
    if expand.is_empty() {
        return Ok(json_answer(StatusCode::OK, &json!(api.herder.names())));
    }
    let mut all = Map::new();
    for name in api.herder.names() {
        let Some(view) = api.herder.view(&name) else { continue };
        let mut entry = Map::new();
        for what in &expand {
            match what.as_str() {
                "status" => {
                    let Some(status) = api.herder.status(&name) else { continue };
                    entry.insert("status".to_owned(), status_json(&name, Some(&view), &status));
                }
                "info" => drop(entry.insert("info".to_owned(), info_json(&name, &view))),
                _ => {}
            }
        }
        all.insert(name, Value::Object(entry));
    }
    Ok(json_answer(StatusCode::OK, &Value::Object(all)))
}

async fn create(State(api): State<Api>, incoming: Incoming) -> Answer {
    let Value::Object(request) = body(&incoming)? else {
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
        None | Some(Value::Null) => String::new(),
        Some(Value::String(name)) => name.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(boolean)) => boolean.to_string(),
        Some(_) => return Err(HerderError::new(500, "The connector's name has to be a string")),
    };
    let initial = match request.get("initial_state") {
        None | Some(Value::Null) => None,
        Some(state) => {
            let parsed = state.as_str().and_then(TargetState::parse_initial);
            let bad = format!("initial_state {state}: allowed are RUNNING, PAUSED and STOPPED");
            Some(parsed.ok_or_else(|| HerderError::new(500, bad))?)
        }
    };
    let config = config_of(request.get("config").unwrap_or(&Value::Null))?;
    let created = api.herder.put(&name, config, PutMode::Create(initial)).await;
    put_answer(&api, &incoming, &name, created).await
}

async fn info(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &info_json(&name, &view_of(&api, &name)?)))
}

async fn config(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &json!(*view_of(&api, &name)?.config)))
}

async fn put_config(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let config = config_of(&body(&incoming)?)?;
    let result = api.herder.put(&name, config, PutMode::Replace).await;
    put_answer(&api, &incoming, &name, result).await
}

/// Merges members into the configuration; null removes one (KIP-477).
async fn patch_config(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let patch = patch_of(&body(&incoming)?)?;
    let result = api.herder.patch(&name, patch).await;
    put_answer(&api, &incoming, &name, result).await
}

async fn delete(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    incoming.answer(&api, api.herder.delete(&name).await, no_content).await
}

async fn status(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let missing = || HerderError::new(404, format!("No status found for connector {name}"));
    let status = api.herder.status(&name).ok_or_else(missing)?;
    let view = api.herder.view(&name);
    Ok(json_answer(StatusCode::OK, &status_json(&name, view.as_ref(), &status)))
}

async fn tasks(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let view = view_of(&api, &name)?;
    let task = |(number, config)| json!({"id": {"connector": name, "task": number}, "config": config});
    let tasks: Vec<Value> = view.task_configs.iter().enumerate().map(task).collect();
    Ok(json_answer(StatusCode::OK, &Value::Array(tasks)))
}

async fn task_status(State(api): State<Api>, Path((name, task)): Path<(String, String)>) -> Answer {
    let number = task_number(&task)?;
    let status = api.herder.status(&name);
    let Some(status) = status.as_ref().and_then(|status| status.tasks.get(&number)) else {
        return Err(HerderError::new(404, format!("No status found for task {name}-{number}")));
    };
    Ok(json_answer(StatusCode::OK, &state_json(Some(number), status)))
}

async fn pause(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let paused = api.herder.set_target(&name, TargetState::Paused).await;
    incoming.answer(&api, paused, accepted).await
}

async fn resume(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let resumed = api.herder.set_target(&name, TargetState::Started).await;
    incoming.answer(&api, resumed, accepted).await
}

async fn stop(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let stopped = api.herder.set_target(&name, TargetState::Stopped).await;
    incoming.answer(&api, stopped, no_content).await
}

async fn restart(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let scope = RestartScope {
        include_tasks: incoming.flag("includeTasks"),
        only_failed: incoming.flag("onlyFailed"),
    };
    if scope == RestartScope::default() {
        return incoming.answer(&api, api.herder.restart_connector(&name).await, no_content).await;
    }
    let plan = api.herder.restart(&name, scope).await;
    let view = api.herder.view(&name);
    let shown = |plan: crate::herder::RestartPlan| {
        json_answer(StatusCode::ACCEPTED, &status_json(&name, view.as_ref(), &plan.shown))
    };
    incoming.answer(&api, plan, shown).await
}

async fn restart_task(
    State(api): State<Api>,
    Path((name, task)): Path<(String, String)>,
    incoming: Incoming,
) -> Answer {
    let restarted = api.herder.restart_task(&name, task_number(&task)?).await;
    incoming.answer(&api, restarted, no_content).await
}

/// From another worker: new task configurations of a connector that it runs.
async fn put_tasks(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let taken = api.herder.put_task_configs(&name, internal(&incoming)).await;
    incoming.answer(&api, taken, no_content).await
}

/// From another worker: it is going to start tasks of an exactly-once source.
async fn fence(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let fenced = api.herder.fence(&name, internal(&incoming)).await;
    incoming.answer(&api, fenced, no_content).await
}

fn internal(incoming: &Incoming) -> InternalRequest {
    let text =
        |name: &str| incoming.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    InternalRequest {
        body: incoming.body.clone(),
        signature: text("X-Connect-Authorization"),
        algorithm: text("X-Connect-Request-Signature-Algorithm"),
    }
}

fn no_content((): ()) -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn accepted((): ()) -> Response {
    StatusCode::ACCEPTED.into_response()
}

fn task_number(text: &str) -> Result<usize, HerderError> {
    text.parse().map_err(|_| HerderError::new(404, "HTTP 404 Not Found"))
}

fn view_of(api: &Api, name: &str) -> Result<ConnectorView, HerderError> {
    api.herder.view(name).ok_or_else(|| HerderError::not_found(name))
}

fn info_json(name: &str, view: &ConnectorView) -> Value {
    let tasks: Vec<Value> =
        (0..view.task_configs.len()).map(|task| json!({"connector": name, "task": task})).collect();
    json!({"name": name, "config": *view.config, "tasks": tasks, "type": view.type_name()})
}

/// 201 with the place of a new connector, 200 for a changed one.
async fn put_answer(
    api: &Api,
    incoming: &Incoming,
    name: &str,
    result: Result<PutResult, HerderError>,
) -> Answer {
    let local = |result: PutResult| {
        let body = info_json(name, &result.view);
        if !result.created {
            return json_answer(StatusCode::OK, &body);
        }
        let mut response = json_answer(StatusCode::CREATED, &body);
        incoming.set_location(api, &mut response, name);
        response
    };
    incoming.answer(api, result, local).await
}

fn status_json(name: &str, view: Option<&ConnectorView>, status: &ConnectorStatus) -> Value {
    let tasks: Vec<Value> =
        status.tasks.iter().map(|(task, status)| state_json(Some(*task), status)).collect();
    let kind = view.map_or("unknown", ConnectorView::type_name);
    json!({"name": name, "connector": state_json(None, &status.connector), "tasks": tasks, "type": kind})
}

fn state_json(task: Option<usize>, status: &StatusEntry) -> Value {
    let mut state = Map::new();
    if let Some(task) = task {
        state.insert("id".to_owned(), json!(task));
    }
    state.insert("state".to_owned(), json!(status.state.as_str()));
    state.insert("worker_id".to_owned(), json!(status.worker_id));
    state.insert("version".to_owned(), json!(status.version));
    if let Some(trace) = status.trace.as_ref().filter(|trace| !trace.is_empty()) {
        state.insert("trace".to_owned(), json!(trace));
    }
    Value::Object(state)
}
