//! `/connector-plugins`: what there is, what it takes, and whether a configuration is right.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::routing::{get, put};
use serde_json::{Map, Value, json};

use super::answer::{Answer, body, json_answer, patch_of};
use super::forward::Incoming;
use super::{Api, CONNECT_VERSION, both};
use crate::herder::HerderError;
use crate::worker::{ConfigInfo, ConfigReport, Definition};

/// Most warnings that an answer's headers carry.
const MAX_WARNINGS: usize = 20;

pub(super) fn routes(router: Router<Api>) -> Router<Api> {
    let router = both(router, "/connector-plugins", get(list));
    let router = both(router, "/connector-plugins/{name}/config", get(config));
    both(router, "/connector-plugins/{name}/config/validate", put(validate))
}

/// Sinks, sources, and on request what goes with them.
async fn list(State(api): State<Api>, incoming: Incoming) -> Answer {
    let worker = api.herder.worker();
    let mut plugins: Vec<Value> = worker
        .registry()
        .plugins()
        .iter()
        .map(|plugin| json!({"class": plugin.class(), "type": plugin.kind().as_str(), "version": plugin.version()}))
        .collect();
    let all =
        incoming.parameters("connectorsOnly").next().is_some_and(|value| !value.eq_ignore_ascii_case("true"));
    if all {
        let component =
            |(class, kind): (String, &str)| json!({"class": class, "type": kind, "version": CONNECT_VERSION});
        plugins.extend(worker.components().into_iter().map(component));
    }
    Ok(json_answer(StatusCode::OK, &Value::Array(plugins)))
}

async fn config(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let unknown = || HerderError::new(404, format!("Unknown plugin {name}."));
    let definitions = api.herder.worker().plugin_definitions(&name).ok_or_else(unknown)?;
    let version = incoming.parameters("version").next().unwrap_or_default();
    let known = api.herder.worker().registry().find(&name).map_or(CONNECT_VERSION, |plugin| plugin.version());
    if !matches_version(&version, known) {
        return Err(HerderError::new(
            400,
            format!(
                "Plugin {name} not found that matches the version range {version}, available versions: [{known}]"
            ),
        ));
    }
    let definitions: Vec<Value> = definitions.iter().map(definition_json).collect();
    Ok(json_answer(StatusCode::OK, &Value::Array(definitions)))
}

/// `latest`, the version itself, or a range that has it at an end; there is one version of each plugin.
fn matches_version(wanted: &str, known: &str) -> bool {
    let wanted = wanted.trim();
    if wanted.is_empty() || wanted == "latest" || wanted == known {
        return true;
    }
    let Some(range) = wanted.strip_prefix(['[', '(']).and_then(|rest| rest.strip_suffix([']', ')'])) else {
        return false;
    };
    let (low, high) = range.split_once(',').unwrap_or((range, range));
    let order =
        |text: &str| -> Vec<u64> { text.trim().split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let above = low.trim().is_empty()
        || order(low) < order(known)
        || (wanted.starts_with('[') && order(low) == order(known));
    let below = high.trim().is_empty()
        || order(high) > order(known)
        || (wanted.ends_with(']') && order(high) == order(known));
    above && below
}

async fn validate(State(api): State<Api>, Path(name): Path<String>, incoming: Incoming) -> Answer {
    let config = patch_of(&body(&incoming)?)?;
    if let Some(Some(class)) = config.get("connector.class")
        && !fits(&name, class)
    {
        return Err(HerderError::new(
            400,
            format!("Included connector type {class} does not match request type {name}"),
        ));
    }
    // what other requests answer with 400 arrives here wrapped, as in the JVM
    let wrap = |error: HerderError| match error.status {
        400 => HerderError::new(
            500,
            format!("org.apache.kafka.connect.runtime.rest.errors.BadRequestException: {error}"),
        ),
        _ => error,
    };
    // ours: the connections are tried, too
    let report = match incoming.flag("connect") {
        true => api.herder.worker().report_connected(&config).await,
        false => api.herder.worker().report(&config).await,
    };
    let report = report.map_err(wrap)?;
    let mut response = json_answer(StatusCode::OK, &report_json(&report));
    for warning in report.warnings.iter().take(MAX_WARNINGS) {
        // the body has JVM Connect's shape; what we have to say beside it goes into a header
        let text: String =
            warning.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{}\"", text.replace(['"', '\\'], "'"))) {
            response.headers_mut().append(axum::http::header::WARNING, value);
        }
    }
    Ok(response)
}

/// The plugin of the path has to be the end of the class, after `Connector` is taken off both.
fn fits(plugin: &str, class: &str) -> bool {
    let short = |name: &str| name.strip_suffix("Connector").unwrap_or(name).to_owned();
    short(class).ends_with(&short(plugin))
}

fn report_json(report: &ConfigReport) -> Value {
    let configs: Vec<Value> = report.configs.iter().map(info_json).collect();
    json!({"name": report.name, "error_count": report.errors().len(), "groups": report.groups, "configs": configs})
}

fn info_json(info: &ConfigInfo) -> Value {
    json!({
        "definition": info.definition.as_ref().map(definition_json),
        "value": {
            "name": info.name,
            "value": info.value,
            "recommended_values": info.recommended,
            "errors": info.errors,
            "visible": true,
        },
    })
}

fn definition_json(definition: &Definition) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    put("name", json!(definition.name));
    put("type", json!(definition.kind.name()));
    put("required", json!(definition.required));
    put("default_value", json!(definition.default));
    put("importance", json!(definition.importance.name()));
    put("documentation", json!(definition.doc));
    put("group", json!(definition.group));
    put("order_in_group", json!(definition.order));
    put("width", json!(definition.width.name()));
    put("display_name", json!(definition.display_name));
    put("dependents", json!([]));
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        assert!(fits("Source", "FileStreamSource"));
        assert!(fits("FileStreamSourceConnector", "org.apache.kafka.connect.file.FileStreamSourceConnector"));
        assert!(!fits("FileStreamSink", "FileStreamSource"));
        for (wanted, fits) in [
            ("", true),
            ("latest", true),
            ("4.3.1", true),
            ("9", false),
            ("[9,9]", false),
            ("[4.0,5)", true),
            ("(,4.3.1)", false),
        ] {
            assert_eq!(matches_version(wanted, "4.3.1"), fits, "{wanted}");
        }
    }
}
