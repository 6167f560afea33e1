//! `/connectors/NAME/offsets` (KIP-875) and `/connectors/NAME/topics` (KIP-558).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use serde_json::{Map, Value, json};

use super::answer::{Answer, body, json_answer};
use super::forward::Incoming;
use super::{Api, both};
use crate::connector::OffsetMap;
use crate::herder::{HerderError, OffsetEntry};

pub(super) fn routes(router: Router<Api>) -> Router<Api> {
    let router = both(router, "/connectors/{name}/offsets", get(offsets).patch(alter).delete(reset));
    let router = both(router, "/connectors/{name}/topics", get(topics));
    both(router, "/connectors/{name}/topics/reset", put(reset_topics))
}

async fn offsets(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let offsets = api.herder.offsets(&name).await?;
    let entry = |(partition, offset): OffsetEntry| json!({"partition": partition, "offset": offset});
    let entries: Vec<Value> = offsets.into_iter().filter(|(_, offset)| offset.is_some()).map(entry).collect();
    Ok(json_answer(StatusCode::OK, &json!({"offsets": entries})))
}

async fn alter(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let entries = entries_of(&body(&incoming)?)?;
    let altered = api.herder.alter_offsets(&name, Some(entries)).await;
    incoming.answer(&api, altered, message).await
}

async fn reset(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let reset = api.herder.alter_offsets(&name, None).await;
    incoming.answer(&api, reset, message).await
}

fn message(text: String) -> axum::response::Response {
    json_answer(StatusCode::OK, &json!({"message": text}))
}

/// `{"offsets":[{"partition":{…},"offset":{…}|null},…]}`
fn entries_of(body: &Value) -> Result<Vec<OffsetEntry>, HerderError> {
    let internal = |text: &str| HerderError::new(500, text);
    let Value::Object(members) = body else {
        return Err(internal("The request body has to be a JSON object"));
    };
    if let Some(unknown) = members.keys().find(|key| *key != "offsets") {
        let text = format!("Unrecognized field \"{unknown}\" (one known property: \"offsets\")");
        return Err(HerderError::new(500, text));
    }
    let entries = match members.get("offsets") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        None | Some(Value::Null | Value::Array(_)) => {
            let text = "Partitions / offsets need to be provided for an alter offsets request";
            return Err(HerderError::new(400, text));
        }
        Some(_) => return Err(internal("offsets has to be an array")),
    };
    entries.iter().map(entry_of).collect()
}

fn entry_of(entry: &Value) -> Result<OffsetEntry, HerderError> {
    let internal = |text: &str| HerderError::new(500, text);
    let Value::Object(members) = entry else {
        return Err(internal("An entry of offsets has to be an object"));
    };
    if let Some(unknown) = members.keys().find(|key| *key != "partition" && *key != "offset") {
        let text =
            format!("Unrecognized field \"{unknown}\" (2 known properties: \"partition\", \"offset\")");
        return Err(HerderError::new(500, text));
    }
    let map = |key: &str| match members.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map.clone())),
        Some(_) => Err(HerderError::new(500, format!("{key} has to be an object"))),
    };
    let partition: Option<OffsetMap> = map("partition")?;
    let partition = partition.ok_or_else(|| internal("Partition objects cannot be null"))?;
    Ok((partition, map("offset")?))
}

async fn topics(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    tracking(&api)?;
    let mut all = Map::new();
    let topics = api.herder.active_topics(&name);
    all.insert(name, json!({"topics": topics}));
    Ok(json_answer(StatusCode::OK, &Value::Object(all)))
}

async fn reset_topics(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    tracking(&api)?;
    if !api.herder.worker().config().topic_tracking_reset {
        return Err(HerderError::new(403, "Topic tracking reset is disabled."));
    }
    api.herder.reset_active_topics(&name).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn tracking(api: &Api) -> Result<(), HerderError> {
    match api.herder.worker().config().topic_tracking {
        true => Ok(()),
        false => Err(HerderError::new(403, "Topic tracking is disabled.")),
    }
}
