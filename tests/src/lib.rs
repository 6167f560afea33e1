//! Tests that cross crates and meet real servers; `tests/run` is the one command.
//!
//! Here is what those tests share. A missing service is a panic that says so, never a test that is passed over.

mod broker;
mod cluster;
mod group;
mod http;
mod postgres;
mod process;
mod worker;

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use broker::OwnBroker;
pub use cluster::OwnCluster;
pub use group::{Group, GroupWorker};
pub use http::{HttpAnswer, http};
pub use postgres::{Database, OwnPostgres};
pub use process::{Aqueduct, create_topic, kcat, run, tool};
pub use worker::{Worker, records, topics};

/// A variable that `tests/run` sets.
#[track_caller]
pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the tests with tests/run"))
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// A name that no other test and no other run has, for topics and groups.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}-{}-{count}", now.as_millis(), std::process::id())
}

/// A port of loopback that nobody listens on.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` neighbouring ports that nobody listens on.
pub fn free_ports(count: u16) -> u16 {
    // below the range from which Linux takes the ports of outgoing connections
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const RANGE: u32 = 9_000;
    let start = std::process::id() * 17;
    loop {
        let step = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let port = u16::try_from(FIRST + (start + step) % RANGE).unwrap_or(u16::MAX);
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (port..port + count).all(free) {
            return port;
        }
    }
}

/// Looks every 25 ms whether something is so; panics with its name after `limit`.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}
