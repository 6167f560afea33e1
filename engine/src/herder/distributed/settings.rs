//! The settings that only a distributed worker has.

use std::time::Duration;

use aqueduct_protocol::client::group::GroupConfig;

use super::protocol::ConnectProtocol;
use super::session::{Algorithm, KeySettings};
use crate::connector::ConfigMap;
use crate::store::{Storage, StorageTopic};
use crate::worker::WorkerConfigError;

/// One rebalance brings the next: what a round revokes the next one assigns.
const EARLY_HEARTBEAT: Duration = Duration::from_millis(100);

/// `exactly.once.source.support` (KIP-618). A group goes from one to the next worker by worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceSupport {
    /// Sources deliver at least once.
    Disabled,
    /// The same; but a leader writes in transactions already.
    Preparing,
    /// Sources deliver exactly once.
    Enabled,
}

/// Settings of a member of a group of workers.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: GroupConfig,
    /// `connect.protocol`.
    pub(super) protocol: ConnectProtocol,
    /// `scheduled.rebalance.max.delay.ms`.
    pub(super) max_delay: Duration,
    /// `worker.sync.timeout.ms`: how long reading the config topic to its end may take.
    pub(super) sync_timeout: Duration,
    /// `worker.unsync.backoff.ms`: how long a worker stays out of the group that cannot read the config topic.
    pub(super) unsync_backoff: Duration,
    /// `inter.worker.*`.
    pub(super) keys: KeySettings,
    pub(super) exactly_once: SourceSupport,
    /// `topic.tracking.enable`.
    pub(super) topic_tracking: bool,
    pub(super) config_topic: StorageTopic,
    pub(super) offset_topic: StorageTopic,
    pub(super) status_topic: StorageTopic,
}

impl Settings {
    /// Reads the worker's properties.
    pub(super) fn from_properties(properties: &ConfigMap) -> Result<Settings, WorkerConfigError> {
        let text =
            |key: &str| properties.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let group_id = text("group.id").ok_or(WorkerConfigError::Missing {
            key: "group.id",
            remedy: "name the group of workers; it must not be the group of any consumer",
        })?;
        let millis = |key: &str, default: u64| match text(key) {
            None => Ok(Duration::from_millis(default)),
            // the int of the JVM's setting; beyond that a timer is for ever anyway
            Some(value) => value
                .parse::<u32>()
                .map(|ms| Duration::from_millis(ms.into()))
                .map_err(|_| invalid(key, value, "milliseconds, 0 or more")),
        };
        let mut group = GroupConfig::new(group_id, "connect");
        group.session_timeout = millis("session.timeout.ms", 10_000)?;
        group.rebalance_timeout = millis("rebalance.timeout.ms", 60_000)?;
        group.heartbeat_interval = millis("heartbeat.interval.ms", 3_000)?;
        group.early_heartbeat = Some(EARLY_HEARTBEAT);
        let protocol = text("connect.protocol").unwrap_or("sessioned");
        let protocol = ConnectProtocol::parse(protocol)
            .ok_or_else(|| invalid("connect.protocol", protocol, "one of eager, compatible, sessioned"))?;
        const SUPPORT: &str = "exactly.once.source.support";
        let exactly_once = match text(SUPPORT).unwrap_or("disabled") {
            value if value.eq_ignore_ascii_case("disabled") => SourceSupport::Disabled,
            value if value.eq_ignore_ascii_case("preparing") => SourceSupport::Preparing,
            value if value.eq_ignore_ascii_case("enabled") => SourceSupport::Enabled,
            value => return Err(invalid(SUPPORT, value, "one of disabled, preparing, enabled")),
        };
        Ok(Settings {
            group,
            protocol,
            max_delay: millis("scheduled.rebalance.max.delay.ms", 300_000)?,
            sync_timeout: millis("worker.sync.timeout.ms", 3_000)?,
            unsync_backoff: millis("worker.unsync.backoff.ms", 300_000)?,
            keys: key_settings(properties, millis("inter.worker.key.ttl.ms", 3_600_000)?)?,
            exactly_once,
            topic_tracking: text("topic.tracking.enable")
                .is_none_or(|value| !value.eq_ignore_ascii_case("false")),
            config_topic: StorageTopic::from_properties(Storage::Config, properties)?,
            offset_topic: StorageTopic::from_properties(Storage::Offset, properties)?,
            status_topic: StorageTopic::from_properties(Storage::Status, properties)?,
        })
    }
}

impl Settings {
    /// The id by which leaders shut each other out.
    pub(super) fn leader_transactional_id(&self) -> String {
        format!("connect-cluster-{}", self.group.group_id)
    }

    /// The id of a task's producer.
    pub(super) fn task_transactional_id(&self, connector: &str, task: usize) -> String {
        format!("{}-{connector}-{task}", self.group.group_id)
    }
}

fn key_settings(properties: &ConfigMap, ttl: Duration) -> Result<KeySettings, WorkerConfigError> {
    const KNOWN: &str = "one of HmacSHA256, HmacSHA384, HmacSHA512";
    const DEFAULT: &str = "HmacSHA256";
    let algorithm =
        |key: &str, value: &str| Algorithm::parse(value).ok_or_else(|| invalid(key, value, KNOWN));
    let one = |key: &str| algorithm(key, properties.get(key).map_or(DEFAULT, |value| value.trim()));
    let key = "inter.worker.verification.algorithms";
    let accepted = properties.get(key).map_or(DEFAULT, |value| value.trim());
    let accepted =
        accepted.split(',').map(|value| algorithm(key, value.trim())).collect::<Result<Vec<_>, _>>()?;
    let signature = one("inter.worker.signature.algorithm")?;
    if !accepted.contains(&signature) {
        return Err(invalid(
            key,
            properties.get(key).map_or(DEFAULT, String::as_str),
            "inter.worker.signature.algorithm has to be among them",
        ));
    }
    let size_key = "inter.worker.key.size";
    let generation = one("inter.worker.key.generation.algorithm")?;
    let size = match properties.get(size_key).map(|value| value.trim()).filter(|value| !value.is_empty()) {
        None => generation.default_key_bits(),
        Some(value) => {
            let bits = value.parse::<usize>().ok().filter(|bits| (40..=4096).contains(bits));
            bits.ok_or_else(|| invalid(size_key, value, "bits, from 40 to 4096"))?
        }
    };
    Ok(KeySettings { ttl, generation, size_bytes: size.div_ceil(8), signature, accepted })
}

fn invalid(key: &str, value: &str, allowed: &'static str) -> WorkerConfigError {
    WorkerConfigError::Invalid { key: key.to_owned(), value: value.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &[(&str, &str)]) -> Result<Settings, WorkerConfigError> {
        let base = [
            ("group.id", "g"),
            ("config.storage.topic", "c"),
            ("offset.storage.topic", "o"),
            ("status.storage.topic", "s"),
        ];
        let all = base.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Settings::from_properties(&all.collect())
    }

    #[test]
    fn defaults_are_the_jvms() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.protocol, ConnectProtocol::Sessioned);
        assert_eq!(settings.group.session_timeout, Duration::from_secs(10));
        assert_eq!(settings.group.rebalance_timeout, Duration::from_secs(60));
        assert_eq!(settings.max_delay, Duration::from_secs(300));
        assert_eq!((settings.keys.size_bytes, settings.keys.ttl), (32, Duration::from_secs(3600)));
        assert!(settings.topic_tracking);
        assert_eq!(settings.exactly_once, SourceSupport::Disabled);
        let enabled = read(&[("exactly.once.source.support", "Enabled")]).unwrap();
        assert_eq!(enabled.exactly_once, SourceSupport::Enabled);
    }

    #[test]
    fn bad_values_name_their_key() {
        for (key, value) in [
            ("connect.protocol", "incremental"),
            ("session.timeout.ms", "-1"),
            ("exactly.once.source.support", "true"),
            ("inter.worker.signature.algorithm", "HmacMD5"),
            ("inter.worker.verification.algorithms", "HmacSHA512"),
            ("inter.worker.key.size", "8"),
        ] {
            let error = read(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
        assert!(read(&[("group.id", " ")]).unwrap_err().to_string().contains("group.id"));
    }
}
