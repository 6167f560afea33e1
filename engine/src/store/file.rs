//! Offsets in the JVM standalone worker's own file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::Value;

use super::{OffsetStore, StoreError, java_map};
use crate::connector::{BoxFuture, OffsetMap};

/// Entries of the file, in its order: key bytes → value bytes; `None` is a tombstone, which the JVM keeps as well.
type Entries = IndexMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Default)]
struct State {
    entries: Entries,
    /// Whether the entries differ from the file: also after a write that failed.
    dirty: bool,
}

/// Offsets in `offset.storage.file.filename`: the whole file is rewritten at each commit, into a temporary file beside it
/// that is synced and renamed, so that a crash leaves either the old or the new offsets.
///
/// Cost of a write: O(entries of the file). What other connectors wrote, and what is not understood, is kept.
#[derive(Clone)]
pub struct FileOffsetStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    /// One writer at a time; `state` is never held across an await.
    writing: tokio::sync::Mutex<()>,
}

impl FileOffsetStore {
    /// Reads the file; a missing or empty one means no offsets.
    pub fn open(path: impl Into<PathBuf>) -> Result<FileOffsetStore, StoreError> {
        let path = path.into();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(StoreError::Io { path: path.display().to_string(), action: "read", source });
            }
        };
        let mut entries = Entries::new();
        if !bytes.is_empty() {
            let read = java_map::read(&bytes)
                .map_err(|source| StoreError::Format { path: path.display().to_string(), source })?;
            // equal keys are possible in Java, where arrays are compared by identity: the last wins
            entries.extend(read.into_iter().filter_map(|(key, value)| Some((key?, value))));
        }
        Ok(FileOffsetStore {
            inner: Arc::new(Inner {
                path,
                state: Mutex::new(State { entries, dirty: false }),
                writing: tokio::sync::Mutex::new(()),
            }),
        })
    }

    fn find(entries: &Entries, connector: &str, partition: &OffsetMap) -> Option<usize> {
        let key = encode_key(connector, partition);
        entries.get_index_of(&key).or_else(|| {
            entries.keys().position(|key| {
                decode_key(key).is_some_and(|(name, found)| name == connector && found == *partition)
            })
        })
    }

    async fn save(
        &self,
        connector: &str,
        offsets: Vec<(Arc<OffsetMap>, Option<OffsetMap>)>,
    ) -> Result<(), StoreError> {
        let _one_writer = self.inner.writing.lock().await;
        let bytes = {
            let state = &mut *self.inner.state.lock();
            let entries = &mut state.entries;
            for (partition, offset) in offsets {
                let value = match &offset {
                    Some(offset) => Some(encode_value(connector, offset)?),
                    None => None,
                };
                match FileOffsetStore::find(entries, connector, &partition) {
                    Some(at) if entries[at] == value => {}
                    Some(at) => (entries[at], state.dirty) = (value, true),
                    None => {
                        entries.insert(encode_key(connector, &partition), value);
                        state.dirty = true;
                    }
                }
            }
            if !std::mem::take(&mut state.dirty) {
                return Ok(());
            }
            java_map::write(entries.iter().map(|(key, value)| (Some(key.as_slice()), value.as_deref())))
        };
        let path = self.inner.path.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, &bytes)).await;
        written.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(|source| {
            self.inner.state.lock().dirty = true;
            StoreError::Io { path: self.inner.path.display().to_string(), action: "write", source }
        })
    }
}

impl OffsetStore for FileOffsetStore {
    fn read<'a>(
        &'a self,
        connector: &'a str,
        partitions: &'a [OffsetMap],
    ) -> BoxFuture<'a, Result<Vec<Option<OffsetMap>>, StoreError>> {
        Box::pin(async move {
            let entries = &self.inner.state.lock().entries;
            let offset_of = |partition| {
                let at = FileOffsetStore::find(entries, connector, partition)?;
                serde_json::from_slice(entries[at].as_deref()?).ok()
            };
            Ok(partitions.iter().map(offset_of).collect())
        })
    }

    fn write<'a>(
        &'a self,
        connector: &'a str,
        offsets: Vec<(Arc<OffsetMap>, Option<OffsetMap>)>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.save(connector, offsets))
    }

    fn list<'a>(
        &'a self,
        connector: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(OffsetMap, OffsetMap)>, StoreError>> {
        Box::pin(async move {
            let entries = &self.inner.state.lock().entries;
            let of_connector = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
                let (name, partition) = decode_key(key)?;
                let offset = serde_json::from_slice(value.as_deref()?).ok()?;
                (name == connector).then_some((partition, offset))
            };
            Ok(entries.iter().filter_map(of_connector).collect())
        })
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

fn encode_value(connector: &str, offset: &OffsetMap) -> Result<Vec<u8>, StoreError> {
    if let Some((field, _)) = offset.iter().find(|(_, value)| value.is_array() || value.is_object()) {
        return Err(StoreError::NotPrimitive { connector: connector.to_owned(), field: field.clone() });
    }
    Ok(Value::Object(offset.clone()).to_string().into_bytes())
}

/// Writes `bytes` beside `path`, syncs, and renames over it; the folder is synced so that the new name survives as well.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> OffsetMap {
        serde_json::from_str(json).unwrap()
    }

    #[tokio::test]
    async fn offsets_survive_and_others_entries_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        let store = FileOffsetStore::open(&path).unwrap();
        let (a, b) = (map(r#"{"filename":"/a"}"#), map(r#"{"protocol":"1","table":"t"}"#));
        store.write("x", vec![(Arc::new(a.clone()), Some(map(r#"{"position":3}"#)))]).await.unwrap();
        store.write("y", vec![(Arc::new(b.clone()), Some(map(r#"{"n":1}"#)))]).await.unwrap();
        store.write("x", vec![(Arc::new(a.clone()), Some(map(r#"{"position":4}"#)))]).await.unwrap();

        let store = FileOffsetStore::open(&path).unwrap();
        let reordered = map(r#"{"table":"t","protocol":"1"}"#);
        assert_eq!(
            store.read("x", std::slice::from_ref(&a)).await.unwrap(),
            [Some(map(r#"{"position":4}"#))]
        );
        assert_eq!(store.read("y", &[reordered, a.clone()]).await.unwrap(), [Some(map(r#"{"n":1}"#)), None]);
        store.write("x", vec![(Arc::new(a.clone()), None)]).await.unwrap();
        assert_eq!(store.read("x", &[a]).await.unwrap(), [None]);
        assert_eq!(store.list("x").await.unwrap(), []);
        assert_eq!(store.list("y").await.unwrap(), [(b, map(r#"{"n":1}"#))]);
    }

    #[tokio::test]
    async fn nested_offsets_are_refused_and_a_foreign_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        let store = FileOffsetStore::open(&path).unwrap();
        let refused = store.write("x", vec![(Arc::new(map("{}")), Some(map(r#"{"a":[1]}"#)))]).await;
        assert!(matches!(refused, Err(StoreError::NotPrimitive { field, .. }) if field == "a"));
        std::fs::write(&path, "something else").unwrap();
        let error = FileOffsetStore::open(&path).err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
