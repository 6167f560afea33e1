//! Which tables an incremental snapshot has still to read, and from where: it goes into the offsets, so that a restart goes on.

use std::collections::VecDeque;

use aqueduct_engine::data::OffsetMap;
use serde_json::{Value as Json, json};

/// Debezium's: the tables as a JSON text.
const COLLECTIONS: &str = "incremental_snapshot_collections";
/// Debezium's: the signal.
const CORRELATION: &str = "incremental_snapshot_correlation_id";
/// Ours, since Debezium's keys are objects of Java.
const LAST_KEY: &str = "aqueduct_incremental_snapshot_last_key";
const MAXIMUM_KEY: &str = "aqueduct_incremental_snapshot_maximum_key";

/// A table to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::postgres_cdc) struct Collection {
    /// `schema.table`.
    pub(in crate::postgres_cdc) table: String,
    /// What stands behind WHERE; empty for all rows.
    pub(in crate::postgres_cdc) condition: String,
    /// Column to read by; empty for the key.
    pub(in crate::postgres_cdc) surrogate_key: String,
}

/// A key as texts of its columns.
pub(in crate::postgres_cdc) type KeyTexts = Vec<String>;

/// The state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::postgres_cdc) struct State {
    /// Id of the signal that asked for it.
    pub(in crate::postgres_cdc) correlation: String,
    /// The first of them is being read.
    pub(in crate::postgres_cdc) collections: VecDeque<Collection>,
    /// Up to which key it has been read.
    pub(in crate::postgres_cdc) last: Option<KeyTexts>,
    /// The largest key when reading began; what comes behind it is in the stream.
    pub(in crate::postgres_cdc) maximum: Option<KeyTexts>,
}

impl State {
    /// The first table is done with.
    pub(in crate::postgres_cdc) fn next(&mut self) -> Option<Collection> {
        self.last = None;
        self.maximum = None;
        self.collections.pop_front()
    }

    /// Writes it beside what the offset holds; nothing once nothing is to be read.
    pub(in crate::postgres_cdc) fn store(&self, offset: &mut OffsetMap) {
        if self.collections.is_empty() {
            return;
        }
        let collections: Vec<Json> = self
            .collections
            .iter()
            .map(|of| {
                json!({
                    "incremental_snapshot_collections_id": of.table,
                    "incremental_snapshot_collections_additional_condition": of.condition,
                    "incremental_snapshot_collections_surrogate_key": of.surrogate_key,
                })
            })
            .collect();
        offset.insert(COLLECTIONS.to_owned(), Json::Array(collections).to_string().into());
        offset.insert(CORRELATION.to_owned(), self.correlation.clone().into());
        for (name, key) in [(LAST_KEY, &self.last), (MAXIMUM_KEY, &self.maximum)] {
            if let Some(key) = key {
                offset.insert(name.to_owned(), json!(key).to_string().into());
            }
        }
    }

    /// Reads it from a stored offset, Debezium's or ours. Of Debezium's the table that was being read begins anew.
    pub(in crate::postgres_cdc) fn of(offset: &OffsetMap) -> State {
        let text = |name: &str| offset.get(name).and_then(Json::as_str);
        let listed: Vec<Json> =
            text(COLLECTIONS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let key = |name: &str| text(name).and_then(|text| serde_json::from_str(text).ok());
        let collection = |of: &Json| {
            let member = |name: &str| {
                let name = format!("incremental_snapshot_collections_{name}");
                of.get(&name).and_then(Json::as_str).unwrap_or_default().to_owned()
            };
            Collection {
                table: member("id").replace('"', ""),
                condition: member("additional_condition"),
                surrogate_key: member("surrogate_key"),
            }
        };
        State {
            correlation: text(CORRELATION).unwrap_or_default().to_owned(),
            collections: listed.iter().map(collection).filter(|of| !of.table.is_empty()).collect(),
            last: key(LAST_KEY),
            maximum: key(MAXIMUM_KEY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_keep_it() {
        let mut offset = OffsetMap::new();
        State::default().store(&mut offset);
        assert!(offset.is_empty());
        assert_eq!(State::of(&offset), State::default());
        let of = |table: &str| Collection { table: table.to_owned(), ..Collection::default() };
        let mut state = State {
            correlation: "7".to_owned(),
            collections: [Collection { condition: "id > 3".to_owned(), ..of("public.a") }, of("public.b")]
                .into(),
            last: Some(vec!["5".to_owned(), "x\"y".to_owned()]),
            maximum: Some(vec!["9".to_owned(), "z".to_owned()]),
        };
        state.store(&mut offset);
        assert!(offset.values().all(Json::is_string), "values of offsets are primitives");
        assert_eq!(State::of(&offset), state);
        assert_eq!(state.next().unwrap().table, "public.a");
        assert_eq!((state.last.clone(), state.maximum.clone()), (None, None));
        state.next();
        assert_eq!(state.next(), None);
    }

    #[test]
    fn debezium_s_begins_the_table_anew() {
        let text = r#"{"incremental_snapshot_collections":"[{\"incremental_snapshot_collections_id\":\"\\\"public\\\".\\\"t\\\"\",\"incremental_snapshot_collections_additional_condition\":null,\"incremental_snapshot_collections_surrogate_key\":\"\"}]","incremental_snapshot_primary_key":"aced0005757200135b4c6a","incremental_snapshot_correlation_id":"one"}"#;
        let state = State::of(&serde_json::from_str(text).unwrap());
        assert_eq!(
            state.collections[0],
            Collection { table: "public.t".to_owned(), ..Collection::default() }
        );
        assert_eq!((state.last, state.correlation.as_str()), (None, "one"));
    }
}
