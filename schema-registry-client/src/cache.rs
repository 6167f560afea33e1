//! What has been learnt, with one request for all who ask for the same at once.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};

/// What was answered, and until when it holds.
#[derive(Debug)]
struct Learnt<V> {
    answer: Result<V, Error>,
    until: Option<Instant>,
}

type Cell<V> = Arc<OnceCell<Learnt<V>>>;

/// Bounded; what was asked for longest ago goes first.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    cells: Mutex<IndexMap<K, Cell<V>>>,
    capacity: usize,
    missing_ttl: Duration,
    ttl: Option<Duration>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(capacity: usize, missing_ttl: Duration, ttl: Option<Duration>) -> Self {
        Self { cells: Mutex::default(), capacity: capacity.max(1), missing_ttl, ttl }
    }

    fn cell(&self, key: &K) -> Cell<V> {
        let mut cells = self.cells.lock();
        // taken out and put in again: the order is that of use
        let cell = cells.shift_remove(key).filter(|cell| {
            let expired =
                cell.get().and_then(|learnt| learnt.until).is_some_and(|until| Instant::now() >= until);
            !expired
        });
        let cell = cell.unwrap_or_default();
        cells.insert(key.clone(), Arc::clone(&cell));
        if cells.len() > self.capacity {
            cells.shift_remove_index(0);
        }
        cell
    }

    /// The value, by `ask` if nobody has asked yet. "There is none" is remembered for a short while, other failures are not.
    pub(crate) async fn get(&self, key: &K, ask: impl Future<Output = Result<V, Error>>) -> Result<V, Error> {
        let cell = self.cell(key);
        let learnt = cell
            .get_or_try_init(|| async move {
                match ask.await {
                    Ok(value) => {
                        Ok(Learnt { answer: Ok(value), until: self.ttl.map(|ttl| Instant::now() + ttl) })
                    }
                    Err(error) if error.kind == ErrorKind::NotFound => {
                        Ok(Learnt { answer: Err(error), until: Some(Instant::now() + self.missing_ttl) })
                    }
                    Err(error) => Err(error),
                }
            })
            .await?;
        learnt.answer.clone()
    }

    /// Puts what was learnt in another way.
    pub(crate) fn put(&self, key: &K, value: V) {
        let until = self.ttl.map(|ttl| Instant::now() + ttl);
        let cell = Arc::new(OnceCell::new_with(Some(Learnt { answer: Ok(value), until })));
        let mut cells = self.cells.lock();
        cells.shift_remove(key);
        cells.insert(key.clone(), cell);
        if cells.len() > self.capacity {
            cells.shift_remove_index(0);
        }
    }

    /// Forgets what fits.
    pub(crate) fn forget(&self, fits: impl Fn(&K) -> bool) {
        self.cells.lock().retain(|key, _| !fits(key));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_request_for_all_who_ask_at_once() {
        let cache = Cache::<i32, i32>::new(10, Duration::from_secs(5), None);
        let asked = AtomicUsize::new(0);
        let ask = || {
            cache.get(&1, async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(7)
            })
        };
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (7, 7, 7));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn absence_is_remembered_for_a_while_and_trouble_is_not() {
        let cache = Cache::<i32, i32>::new(10, Duration::from_secs(5), None);
        let missing = async { Err(Error::new(ErrorKind::NotFound, "none")) };
        assert_eq!(cache.get(&1, missing).await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(cache.get(&1, async { Ok(1) }).await.unwrap_err().kind, ErrorKind::NotFound);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(cache.get(&1, async { Ok(1) }).await.unwrap(), 1);
        let down = async { Err(Error::new(ErrorKind::Network, "down")) };
        assert_eq!(cache.get(&2, down).await.unwrap_err().kind, ErrorKind::Network);
        assert_eq!(cache.get(&2, async { Ok(2) }).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn the_longest_unused_goes_first() {
        let cache = Cache::<i32, i32>::new(2, Duration::from_secs(5), None);
        for key in [1, 2, 1, 3] {
            cache.get(&key, async { Ok(key) }).await.unwrap();
        }
        assert_eq!(cache.get(&1, async { Ok(-1) }).await.unwrap(), 1);
        assert_eq!(cache.get(&2, async { Ok(-2) }).await.unwrap(), -2);
    }
}
