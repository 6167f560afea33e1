//! Topics and their partitions.

pub(crate) mod admin;
pub(crate) mod config;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use kafka_protocol::protocol::StrBytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::log::Log;
use config::TopicConfig;

/// Longest topic name, as Kafka's: it becomes a folder name.
const MAX_NAME: usize = 249;

/// One partition: its log, and the fetches that wait for it to grow.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) log: Mutex<Log>,
    waiters: Mutex<Vec<Weak<Notify>>>,
}

impl Partition {
    pub(crate) fn new(log: Log) -> Partition {
        Partition { log: Mutex::new(log), waiters: Mutex::new(Vec::new()) }
    }

    /// Lets a fetch be woken once by the next growth.
    pub(crate) fn register(&self, waiter: &Arc<Notify>) {
        let mut waiters = self.waiters.lock();
        waiters.retain(|w| w.strong_count() > 0);
        waiters.push(Arc::downgrade(waiter));
    }

    /// Wakes the waiting fetches: the log or its last stable offset moved.
    pub(crate) fn wake(&self) {
        for waiter in self.waiters.lock().drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
}

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: StrBytes,
    pub(crate) id: Uuid,
    pub(crate) config: RwLock<TopicConfig>,
    pub(crate) partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.read().get(usize::try_from(index).ok()?).cloned()
    }

    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.read().len()).unwrap_or(i32::MAX)
    }
}

/// All topics, by name and by id.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: HashMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.get(name).cloned()
    }

    pub(crate) fn get_by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.by_id.get(id).cloned()
    }

    /// Every topic, ordered by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.by_name.values().cloned().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    pub(crate) fn insert(&mut self, topic: Arc<Topic>) {
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_name.insert(topic.name.to_string(), topic);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(name)?;
        self.by_id.remove(&topic.id);
        Some(topic)
    }
}

/// Folder of a partition's segments.
pub(crate) fn partition_dir(logs: &Path, topic: &str, index: i32) -> PathBuf {
    logs.join(format!("{topic}-{index}"))
}

/// Kafka's rule for topic names; the message says what is wrong.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(format!("topic name '{name}' is not allowed"));
    }
    if name.len() > MAX_NAME {
        return Err(format!("topic name is {} characters long, at most {MAX_NAME} are allowed", name.len()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(format!(
            "topic name '{name}' has characters other than ASCII letters, digits, '.', '_' and '-'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["a", "__x", "a.b-c_D9", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
    }
}
