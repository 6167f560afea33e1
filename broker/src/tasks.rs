//! What happens by the clock: timeouts of groups and transactions, retention and compaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::state::{Shared, now_ms};

/// How exact timeouts are.
const TICK: Duration = Duration::from_millis(50);

/// Producers that are silent for so long are forgotten (`producer.id.expiration.ms`).
const PRODUCER_EXPIRATION_MS: i64 = 24 * 60 * 60 * 1000;

/// Runs until `shutdown` changes.
pub(crate) async fn run(shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_cleanup = Instant::now() + shared.config.cleanup_interval;
    loop {
        tokio::select! {
            _ = shutdown.changed() => return,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        shared.groups.tick(now);
        shared.txns.tick(&shared);
        if now >= next_cleanup {
            let work = Arc::clone(&shared);
            if let Err(error) = tokio::task::spawn_blocking(move || clean(&work)).await {
                tracing::error!(%error, "cleaning the logs ended badly");
            }
            next_cleanup = Instant::now() + shared.config.cleanup_interval;
        }
    }
}

/// Retention and compaction over all partitions.
fn clean(shared: &Shared) {
    shared.tidy_journal();
    for topic in shared.topics.read().all() {
        let config = topic.config.read().clone();
        for (index, partition) in (0..).zip(topic.partitions.read().iter()) {
            let mut log = partition.log.lock();
            log.expire_producers(now_ms() - PRODUCER_EXPIRATION_MS);
            match log.compact(&config.log, config.min_dirty_ratio, now_ms()) {
                Ok(true) => {
                    tracing::info!(topic = %topic.name, partition = index, size = log.size(), "compacted")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(topic = %topic.name, partition = index, %error, "compaction failed")
                }
            }
            let moved = log.apply_retention(&config.log, now_ms());
            let start = log.start_offset();
            drop(log);
            match moved {
                Ok(true) => {
                    tracing::info!(topic = %topic.name, partition = index, start, "old segments deleted");
                    // Not vital: the segments that are there tell the start as well.
                    let _ = shared.record_log_start(&topic.name, index, start);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(topic = %topic.name, partition = index, %error, "retention failed");
                }
            }
        }
    }
}
