//! `buffer.memory`: how many bytes the batches of a producer may hold, and the pool of their buffers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::wire::records::{BatchBuilder, BatchOptions};

/// Most builders kept for reuse, whatever `buffer.memory` allows: beyond this many batches on their way at once, making
/// a new buffer isn't what costs.
const MAX_POOLED: usize = 256;

/// One who waited for memory goes on when this part of all of it is free, so that it is woken once for many batches.
const RESUME_PART: usize = 8;

/// Longest wait for that part; then what is needed is enough.
const RESUME_WITHIN: Duration = Duration::from_millis(20);

/// The memory of a producer.
#[derive(Debug)]
pub(super) struct BufferMemory {
    limit: usize,
    options: BatchOptions,
    used: AtomicUsize,
    waiting: AtomicUsize,
    /// Those who wait are woken when no more than this is in use.
    resume_at: AtomicUsize,
    freed: Notify,
    pool: Mutex<Vec<BatchBuilder>>,
}

impl BufferMemory {
    pub(super) fn new(limit: usize, options: BatchOptions) -> Self {
        Self {
            limit,
            options,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            resume_at: AtomicUsize::new(limit),
            freed: Notify::new(),
            pool: Mutex::default(),
        }
    }

    /// `buffer.memory`.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) const fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, unless that would be more than the limit.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .is_ok()
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, bytes: usize) {
        if bytes > 0 {
            let used = self.used.fetch_sub(bytes, Ordering::AcqRel) - bytes;
            if self.is_exhausted() && used <= self.resume_at.load(Ordering::Acquire) {
                self.freed.notify_waiters();
            }
        }
    }

    /// Whether somebody waits for memory: then no batch should linger.
    pub(super) fn is_exhausted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Waits until `bytes` could be reserved. `pressed` is called once it is known that there is something to wait for.
    pub(super) async fn wait_for(&self, bytes: usize, pressed: impl Fn()) {
        let _waiting = Waiting::new(self);
        let resume_at = self.limit.saturating_sub(bytes.max(self.limit / RESUME_PART));
        self.resume_at.fetch_min(resume_at, Ordering::AcqRel);
        let mut enough = resume_at;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.used() <= enough {
                return;
            }
            pressed();
            if tokio::time::timeout(RESUME_WITHIN, freed).await.is_err() {
                enough = self.limit.saturating_sub(bytes);
            }
        }
    }

    /// An empty builder, with memory if there is some in the pool.
    pub(super) fn builder(&self) -> BatchBuilder {
        let mut builder = self.pool.lock().pop().unwrap_or_else(|| BatchBuilder::new(self.options));
        builder.reserve();
        builder
    }

    /// Takes back a builder.
    pub(super) fn recycle(&self, mut builder: BatchBuilder) {
        builder.clear();
        // A buffer that one big record made would pin its size for good.
        if builder.capacity() == 0 || builder.capacity() > self.options.batch_size.saturating_mul(2) + 4096 {
            return;
        }
        let mut pool = self.pool.lock();
        if pool.len() < MAX_POOLED && (pool.len() + 1) * builder.capacity() <= self.limit {
            pool.push(builder);
        }
    }
}

/// Counts one who waits, also if its future is dropped.
struct Waiting<'a>(&'a BufferMemory);

impl<'a> Waiting<'a> {
    fn new(memory: &'a BufferMemory) -> Self {
        memory.waiting.fetch_add(1, Ordering::AcqRel);
        Self(memory)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            // One who began to wait just now is woken late at worst: it looks again by itself.
            self.0.resume_at.store(self.0.limit, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds() {
        let memory = BufferMemory::new(100, BatchOptions::default());
        assert!(memory.reserve(60));
        assert!(!memory.reserve(41));
        assert!(memory.reserve(40));
        memory.release(60);
        assert!(memory.reserve(60));
        assert!(!memory.reserve(usize::MAX));
        assert_eq!(memory.used(), 100);
    }

    #[tokio::test]
    async fn a_waiter_is_woken() {
        let memory = std::sync::Arc::new(BufferMemory::new(100, BatchOptions::default()));
        assert!(memory.reserve(100));
        let waiter = tokio::spawn({
            let memory = std::sync::Arc::clone(&memory);
            async move { memory.wait_for(50, || ()).await }
        });
        while !memory.is_exhausted() {
            tokio::task::yield_now().await;
        }
        memory.release(30);
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        memory.release(30);
        waiter.await.unwrap();
        assert!(!memory.is_exhausted());
    }

    #[test]
    fn buffers_come_back() {
        let memory = BufferMemory::new(1 << 20, BatchOptions::default());
        let builder = memory.builder();
        let capacity = builder.capacity();
        assert!(capacity >= memory.options().batch_size);
        memory.recycle(builder);
        assert_eq!(memory.pool.lock().len(), 1);
        assert_eq!(memory.builder().capacity(), capacity);
        assert!(memory.pool.lock().is_empty());
    }
}
