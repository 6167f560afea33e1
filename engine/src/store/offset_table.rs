//! Source offsets by connector and partition, as every offset store keeps them in memory.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::StoreError;
use crate::connector::OffsetMap;

/// Key bytes → value bytes, by connector; `None` is a tombstone. A look-up by bytes costs one hash, one by content
/// O(partitions of the connector).
#[derive(Debug, Default)]
pub(super) struct OffsetTable {
    connectors: HashMap<String, IndexMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Entries that are no offsets of Connect's.
    foreign: IndexMap<Vec<u8>, Option<Vec<u8>>>,
}

impl OffsetTable {
    /// Takes an entry in; whether it is Connect's.
    pub(super) fn insert(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> bool {
        match decode_key(&key) {
            Some((connector, _)) => {
                self.connectors.entry(connector).or_default().insert(key, value);
                true
            }
            None => {
                self.foreign.insert(key, value);
                false
            }
        }
    }

    /// All entries, what is foreign last.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let all = self.connectors.values().flatten().chain(&self.foreign);
        all.map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// The entry of a partition: by its bytes, or else by content, for others order the members in other ways.
    fn find(&self, connector: &str, partition: &OffsetMap) -> Option<(&Vec<u8>, &Option<Vec<u8>>)> {
        let entries = self.connectors.get(connector)?;
        let key = encode_key(connector, partition);
        entries.get_key_value(&key).or_else(|| {
            entries.iter().find(|(key, _)| decode_key(key).is_some_and(|(_, found)| found == *partition))
        })
    }

    /// The offset of a partition.
    pub(super) fn offset(&self, connector: &str, partition: &OffsetMap) -> Option<OffsetMap> {
        serde_json::from_slice(self.find(connector, partition)?.1.as_deref()?).ok()
    }

    /// The bytes to write for a partition: the key that is there already, if one is.
    pub(super) fn key(&self, connector: &str, partition: &OffsetMap) -> Vec<u8> {
        self.find(connector, partition)
            .map_or_else(|| encode_key(connector, partition), |(key, _)| key.clone())
    }

    /// The value bytes of a key.
    pub(super) fn value(&self, connector: &str, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.connectors.get(connector)?.get(key)
    }

    /// Every partition of the connector that has an offset.
    pub(super) fn list(&self, connector: &str) -> Vec<(OffsetMap, OffsetMap)> {
        let pair = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            let offset = serde_json::from_slice(value.as_deref()?).ok()?;
            Some((decode_key(key)?.1, offset))
        };
        self.connectors.get(connector).into_iter().flatten().filter_map(pair).collect()
    }
}

/// `["connector",{partition}]` without spaces.
fn encode_key(connector: &str, partition: &OffsetMap) -> Vec<u8> {
    let key = Value::Array(vec![Value::from(connector), Value::Object(partition.clone())]);
    key.to_string().into_bytes()
}

fn decode_key(key: &[u8]) -> Option<(String, OffsetMap)> {
    serde_json::from_slice(key).ok()
}

/// The bytes of an offset, which may hold primitives only.
pub(super) fn encode_value(connector: &str, offset: &OffsetMap) -> Result<Vec<u8>, StoreError> {
    if let Some((field, _)) = offset.iter().find(|(_, value)| value.is_array() || value.is_object()) {
        return Err(StoreError::NotPrimitive { connector: connector.to_owned(), field: field.clone() });
    }
    Ok(Value::Object(offset.clone()).to_string().into_bytes())
}
