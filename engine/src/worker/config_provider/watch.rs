//! Values of servers that change: they are read again when their time is over, and whoever runs with another value learns it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{ConfigProviders, Provider};
use crate::connector::ConfigMap;

/// How often it is looked whether something has to be read again.
const LOOK: Duration = Duration::from_millis(250);

/// Tells of changes.
#[derive(Debug)]
pub(super) struct Changes {
    /// Counts them.
    count: watch::Sender<u64>,
    /// Whether somebody reads again what is over.
    refreshing: AtomicBool,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes { count: watch::channel(0).0, refreshing: AtomicBool::new(false) }
    }
}

impl ConfigProviders {
    /// A watcher over configurations that run with these values now. None if no server gives any of them, or if the
    /// connector does not want to be restarted (`config.action.reload=none`).
    pub(in crate::worker) fn watch(
        self: &Arc<Self>,
        running: Vec<(Arc<ConfigMap>, ConfigMap)>,
    ) -> Option<Watcher> {
        let of_server = |(raw, _): &(Arc<ConfigMap>, ConfigMap)| {
            raw.values().any(|value| self.http_references(value).next().is_some())
        };
        let none = |(_, known): &(Arc<ConfigMap>, ConfigMap)| {
            known.get("config.action.reload").is_some_and(|action| action.trim().eq_ignore_ascii_case("none"))
        };
        if !running.iter().any(of_server) || running.iter().any(none) {
            return None;
        }
        if !self.changes.refreshing.swap(true, Ordering::AcqRel) {
            tokio::spawn(refresh(Arc::downgrade(self)));
        }
        Some(Watcher { providers: Arc::clone(self), changes: self.changes.count.subscribe(), running })
    }
}

/// What somebody runs with.
pub(in crate::worker) struct Watcher {
    providers: Arc<ConfigProviders>,
    changes: watch::Receiver<u64>,
    running: Vec<(Arc<ConfigMap>, ConfigMap)>,
}

impl Watcher {
    /// Resolves when a value is another than the one that runs. Cancel safe.
    pub(in crate::worker) async fn changed(&mut self) {
        loop {
            let same = |(raw, known): &(Arc<ConfigMap>, ConfigMap)| {
                self.providers.resolve_known(raw).is_ok_and(|now| now == *known)
            };
            if !self.running.iter().all(same) || self.changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Reads again what is over, as long as the providers are in use.
async fn refresh(providers: Weak<ConfigProviders>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(providers) = providers.upgrade() else { return };
        let mut changed = false;
        for provider in providers.providers.values() {
            let Provider::Http(provider) = provider else { continue };
            if provider.next_expiry().is_some_and(|expiry| expiry <= Instant::now()) {
                changed |= provider.refresh_expired().await;
            }
        }
        if changed {
            providers.changes.count.send_modify(|count| *count += 1);
        }
    }
}
