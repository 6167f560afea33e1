//! What the broker is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one embedded broker. `BrokerConfig::default()` listens on a free loopback port and keeps everything in memory.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Address to listen on; port 0 takes a free one (see `BrokerHandle::addr`).
    pub listen: SocketAddr,
    /// Host name told to clients; `None` means the listen address, or `127.0.0.1` when that is unspecified.
    pub advertised_host: Option<String>,
    /// Folder for segments and state; `None` keeps everything in memory and forgets it at shutdown.
    pub data_dir: Option<PathBuf>,
    /// Whether Metadata and Produce may create topics that do not exist (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a count (`num.partitions`), at least 1.
    pub default_partitions: i32,
    /// Wait before the first rebalance of a new group (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// Smallest session timeout a group member may ask for (`group.min.session.timeout.ms`).
    pub group_min_session_timeout: Duration,
    /// Heartbeat interval given to members of the new group protocol (`group.consumer.heartbeat.interval.ms`).
    pub consumer_heartbeat_interval: Duration,
    /// Session timeout of members of the new group protocol (`group.consumer.session.timeout.ms`).
    pub consumer_session_timeout: Duration,
    /// Largest transaction timeout a producer may ask for (`transaction.max.timeout.ms`).
    pub transaction_max_timeout: Duration,
    /// Highest transaction protocol offered to clients (feature `transaction.version`): 1 is KIP-98, 2 adds KIP-890.
    pub transaction_version: i16,
    /// How often retention and compaction run (`log.retention.check.interval.ms`).
    pub cleanup_interval: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertised_host: None,
            data_dir: None,
            auto_create_topics: true,
            default_partitions: 1,
            initial_rebalance_delay: Duration::ZERO,
            group_min_session_timeout: Duration::from_secs(6),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_session_timeout: Duration::from_secs(45),
            transaction_max_timeout: Duration::from_secs(15 * 60),
            transaction_version: 2,
            cleanup_interval: Duration::from_secs(15),
        }
    }
}
