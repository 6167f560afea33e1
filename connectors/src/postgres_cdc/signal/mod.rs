//! Signals: what a running connector is asked to do, through a table of the database, a Kafka topic or a file.

mod channel;

pub(super) use channel::{ChannelSettings, Channels, KafkaChannel};

use serde_json::Value as Json;

/// A signal as a channel delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawSignal {
    pub(super) id: String,
    pub(super) kind: String,
    /// JSON.
    pub(super) data: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// Say something.
    Log(String),
    /// Read tables while changes go on.
    Incremental(Request),
    /// Read tables while changes wait.
    Blocking(Request),
    /// Leave tables out of the incremental snapshot; all without names.
    Stop(Vec<String>),
    Pause,
    Resume,
}

/// Which tables to read.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Request {
    pub(super) id: String,
    /// Regular expressions of `schema.table`.
    pub(super) collections: Vec<String>,
    pub(super) conditions: Vec<Condition>,
    /// Column to read by, instead of the key.
    pub(super) surrogate_key: Option<String>,
}

/// Which rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Condition {
    /// Regular expression of `schema.table`.
    pub(super) collection: String,
    /// What stands behind WHERE, or a whole SELECT.
    pub(super) filter: String,
}

/// A signal that asks for nothing that can be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignalError {
    #[error("its data is not a JSON object: {0}")]
    NoJson(String),
    #[error(
        "type {0} is unknown: log, execute-snapshot, stop-snapshot, pause-snapshot and resume-snapshot are known"
    )]
    Unknown(String),
    #[error("data-collections: a list of schema.table, or of regular expressions of that, is expected")]
    NoCollections,
    #[error("its data has type {0}: incremental and blocking are known")]
    NoSnapshot(String),
}

/// Types that Debezium's own windows write to the signal table.
const WINDOWS: [&str; 2] = ["snapshot-window-open", "snapshot-window-close"];

impl RawSignal {
    /// What it asks for; nothing, if it is one of the marks that Debezium itself writes.
    pub(super) fn parse(&self) -> Result<Option<Signal>, SignalError> {
        let kind = &*self.kind;
        if WINDOWS.contains(&kind) {
            return Ok(None);
        }
        let text = if self.data.trim().is_empty() { "{}" } else { &self.data };
        let data: Json =
            serde_json::from_str(text).map_err(|error| SignalError::NoJson(error.to_string()))?;
        if !data.is_object() {
            return Err(SignalError::NoJson("it is of another kind".to_owned()));
        }
        let member = |name: &str| data.get(name).and_then(Json::as_str).map(str::trim);
        let snapshot = member("type").unwrap_or("incremental").to_ascii_lowercase();
        Ok(Some(match (kind, &*snapshot) {
            ("log", _) => Signal::Log(
                member("message").unwrap_or_default().replace("{}", &format!("(signal {})", self.id)),
            ),
            ("execute-snapshot", "incremental") => Signal::Incremental(self.request(&data)?),
            ("execute-snapshot", "blocking") => Signal::Blocking(self.request(&data)?),
            ("stop-snapshot", "incremental") => Signal::Stop(collections(&data)),
            ("pause-snapshot", "incremental") => Signal::Pause,
            ("resume-snapshot", "incremental") => Signal::Resume,
            ("execute-snapshot" | "stop-snapshot" | "pause-snapshot" | "resume-snapshot", other) => {
                return Err(SignalError::NoSnapshot(other.to_owned()));
            }
            (other, _) => return Err(SignalError::Unknown(other.to_owned())),
        }))
    }

    fn request(&self, data: &Json) -> Result<Request, SignalError> {
        let collections = collections(data);
        if collections.is_empty() {
            return Err(SignalError::NoCollections);
        }
        let text = |of: &Json, name: &str| {
            of.get(name)
                .and_then(Json::as_str)
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let listed = data.get("additional-conditions").and_then(Json::as_array).into_iter().flatten();
        let mut conditions: Vec<Condition> = listed
            .filter_map(|one| {
                Some(Condition { collection: text(one, "data-collection")?, filter: text(one, "filter")? })
            })
            .collect();
        // one for all tables, as before Debezium 2.3
        if let Some(filter) = text(data, "additional-condition") {
            conditions.push(Condition { collection: ".*".to_owned(), filter });
        }
        Ok(Request {
            id: self.id.clone(),
            collections,
            conditions,
            surrogate_key: text(data, "surrogate-key"),
        })
    }
}

/// Names may be quoted: `"public"."t"`.
fn collections(data: &Json) -> Vec<String> {
    let listed = data.get("data-collections").and_then(Json::as_array).into_iter().flatten();
    listed
        .filter_map(Json::as_str)
        .map(|name| name.trim().replace('"', ""))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, data: &str) -> Result<Option<Signal>, SignalError> {
        RawSignal { id: "7".to_owned(), kind: kind.to_owned(), data: data.to_owned() }.parse()
    }

    #[test]
    fn what_is_asked_for() {
        let Ok(Some(Signal::Incremental(request))) = parse(
            "execute-snapshot",
            r#"{"data-collections": ["\"public\".\"t\"", "s.x.*"], "type": "INCREMENTAL", "surrogate-key": "v",
                "additional-conditions": [{"data-collection": "public.t", "filter": "id < 5"}, {"filter": "no table"}]}"#,
        ) else {
            panic!()
        };
        assert_eq!(request.collections, ["public.t", "s.x.*"]);
        let condition = Condition { collection: "public.t".to_owned(), filter: "id < 5".to_owned() };
        assert_eq!(request.conditions, [condition]);
        assert_eq!((request.id.as_str(), request.surrogate_key.as_deref()), ("7", Some("v")));
        let one_for_all = r#"{"data-collections": ["a.b"], "type": "blocking", "additional-condition": "x"}"#;
        let Ok(Some(Signal::Blocking(request))) = parse("execute-snapshot", one_for_all) else { panic!() };
        assert_eq!(request.conditions[0].collection, ".*");
        assert_eq!(parse("stop-snapshot", r#"{"type": "incremental"}"#), Ok(Some(Signal::Stop(Vec::new()))));
        assert_eq!(parse("pause-snapshot", ""), Ok(Some(Signal::Pause)));
        assert_eq!(parse("resume-snapshot", "{}"), Ok(Some(Signal::Resume)));
        let said = Some(Signal::Log("at (signal 7)".to_owned()));
        assert_eq!(parse("log", r#"{"message": "at {}"}"#), Ok(said));
        assert_eq!(parse("snapshot-window-open", "whatever"), Ok(None));
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        assert!(matches!(parse("execute-snapshot", "no json"), Err(SignalError::NoJson(_))));
        assert!(matches!(parse("execute-snapshot", "[]"), Err(SignalError::NoJson(_))));
        assert_eq!(parse("execute-snapshot", "{}"), Err(SignalError::NoCollections));
        assert_eq!(parse("refresh", "{}"), Err(SignalError::Unknown("refresh".to_owned())));
        let of_another = r#"{"data-collections": ["a.b"], "type": "initial"}"#;
        assert_eq!(parse("execute-snapshot", of_another), Err(SignalError::NoSnapshot("initial".to_owned())));
    }
}
