//! Offsets in the JVM standalone worker's own file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::offset_table::{OffsetTable, encode_value};
use super::{OffsetStore, StoreError, java_map};
use crate::connector::{BoxFuture, OffsetMap};

#[derive(Default)]
struct State {
    entries: OffsetTable,
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
        let mut entries = OffsetTable::default();
        if !bytes.is_empty() {
            let read = java_map::read(&bytes)
                .map_err(|source| StoreError::Format { path: path.display().to_string(), source })?;
            // equal keys are possible in Java, where arrays are compared by identity: the last wins
            for (key, value) in read {
                key.map(|key| entries.insert(key, value));
            }
        }
        Ok(FileOffsetStore {
            inner: Arc::new(Inner {
                path,
                state: Mutex::new(State { entries, dirty: false }),
                writing: tokio::sync::Mutex::new(()),
            }),
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
                let key = entries.key(connector, &partition);
                if entries.value(connector, &key) != Some(&value) {
                    entries.insert(key, value);
                    state.dirty = true;
                }
            }
            if !std::mem::take(&mut state.dirty) {
                return Ok(());
            }
            let all: Vec<_> = entries.entries().map(|(key, value)| (Some(key), value)).collect();
            java_map::write(all.into_iter())
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
            Ok(partitions.iter().map(|partition| entries.offset(connector, partition)).collect())
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
        Box::pin(async move { Ok(self.inner.state.lock().entries.list(connector)) })
    }
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
