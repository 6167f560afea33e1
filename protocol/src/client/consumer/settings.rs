//! The consumer's own settings, under Kafka's names.

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::duration;
use crate::client::config::{Values, invalid};
use crate::wire::assignor::Assignor;
use crate::{Error, ErrorKind, Result};

/// What to do where there is no committed offset, or it is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    Earliest,
    Latest,
    None,
    /// The first record that is not older (KIP-1106).
    ByDuration(Duration),
}

const RESET: &str = "auto.offset.reset";

/// Whether `auto.offset.reset` may be this.
pub(in crate::client) fn is_offset_reset(text: &str) -> bool {
    Reset::parse(text).is_some()
}

impl Reset {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "latest" => Some(Self::Latest),
            "earliest" => Some(Self::Earliest),
            "none" => Some(Self::None),
            other => other.strip_prefix("by_duration:").and_then(duration::parse).map(Self::ByDuration),
        }
    }
}

/// `group.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupProtocol {
    /// Members assign.
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
}

/// See Kafka's documentation of each key.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `group.id`, as the wire wants it.
    pub(super) group: Option<StrBytes>,
    pub(super) instance: Option<StrBytes>,
    pub(super) session_timeout: Duration,
    pub(super) heartbeat_interval: Duration,
    pub(super) max_poll_interval: Duration,
    pub(super) max_poll_records: usize,
    pub(super) fetch_min_bytes: i32,
    pub(super) fetch_max_bytes: i32,
    pub(super) fetch_max_wait: Duration,
    pub(super) partition_fetch_bytes: i32,
    pub(super) read_committed: bool,
    pub(super) reset: Reset,
    pub(super) check_crcs: bool,
    pub(super) assignors: Vec<Assignor>,
    pub(super) protocol: GroupProtocol,
    /// `group.remote.assignor`.
    pub(super) remote_assignor: Option<StrBytes>,
    /// `enable.auto.commit` and `auto.commit.interval.ms`; none without a group.
    pub(super) auto_commit: Option<Duration>,
    /// `exclude.internal.topics`: patterns do not match Kafka's own topics.
    pub(super) exclude_internal: bool,
}

impl Settings {
    pub(super) fn read(values: &Values<'_>) -> Result<Settings> {
        let name = |key: &str| values.text(key).map(|name| StrBytes::from_string(name.to_owned()));
        let bytes = |key: &str| values.number(key).map(|bytes| bytes as i32);
        let reset = values.text(RESET).unwrap_or("latest");
        let reset = Reset::parse(reset).ok_or_else(|| invalid(RESET, reset, "earliest, latest or none"))?;
        let group = name("group.id");
        let auto_commit = match values.given("enable.auto.commit") {
            None => group.is_some(),
            Some(_) => values.boolean("enable.auto.commit")?,
        };
        if auto_commit && group.is_none() {
            return Err(invalid("enable.auto.commit", "true", "false where group.id is not set"));
        }
        let interval = values.millis("auto.commit.interval.ms")?;
        let settings = Settings {
            group,
            instance: name("group.instance.id"),
            session_timeout: values.millis("session.timeout.ms")?,
            heartbeat_interval: values.millis("heartbeat.interval.ms")?,
            max_poll_interval: values.millis("max.poll.interval.ms")?,
            max_poll_records: values.number("max.poll.records")? as usize,
            fetch_min_bytes: bytes("fetch.min.bytes")?,
            fetch_max_bytes: bytes("fetch.max.bytes")?,
            fetch_max_wait: values.millis("fetch.max.wait.ms")?,
            partition_fetch_bytes: bytes("max.partition.fetch.bytes")?,
            read_committed: values.text("isolation.level") == Some("read_committed"),
            reset,
            check_crcs: values.boolean("check.crcs")?,
            assignors: assignors(values)?,
            protocol: group_protocol(values)?,
            remote_assignor: name("group.remote.assignor"),
            auto_commit: auto_commit.then_some(interval),
            exclude_internal: values.boolean("exclude.internal.topics")?,
        };
        if settings.protocol == GroupProtocol::Classic
            && settings.heartbeat_interval >= settings.session_timeout
        {
            let given = settings.heartbeat_interval.as_millis().to_string();
            let allowed = format!("less than session.timeout.ms={}", settings.session_timeout.as_millis());
            return Err(invalid("heartbeat.interval.ms", &given, &allowed));
        }
        Ok(settings)
    }

    /// The group's id, or the error of a call that needs one.
    pub(super) fn group(&self) -> Result<&StrBytes> {
        self.group.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "group.id is not set: name the consumer group to subscribe or commit",
            )
        })
    }
}

/// `group.protocol`, and that no key of the other one is set, for it would be without effect.
fn group_protocol(values: &Values<'_>) -> Result<GroupProtocol> {
    const CLASSIC_ONLY: [&str; 3] =
        ["partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms"];
    let is_new = values.text("group.protocol").is_some_and(|of| of.eq_ignore_ascii_case("consumer"));
    let (protocol, forbidden, allowed) = if is_new {
        (GroupProtocol::Consumer, &CLASSIC_ONLY[..], "classic")
    } else {
        (GroupProtocol::Classic, &["group.remote.assignor"][..], "consumer")
    };
    match forbidden.iter().find(|key| values.given(key).is_some_and(|text| !text.is_empty())) {
        None => Ok(protocol),
        Some(key) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "{key} can only be set with group.protocol={allowed}: remove it or change group.protocol"
            ),
        )),
    }
}

fn assignors(values: &Values<'_>) -> Result<Vec<Assignor>> {
    const KEY: &str = "partition.assignment.strategy";
    let of = |class: &str| {
        // the default is written as Java prints classes
        let class = class.strip_prefix("class ").unwrap_or(class);
        let known = Assignor::from_class(class).or_else(|| Assignor::from_name(class));
        known.ok_or_else(|| {
            invalid(
                KEY,
                class,
                "of RangeAssignor, RoundRobinAssignor, StickyAssignor, CooperativeStickyAssignor",
            )
        })
    };
    values.list(KEY).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientRole;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let values = Values::new(ClientRole::Consumer, &pairs);
        values.check()?;
        Settings::read(&values)
    }

    #[test]
    fn defaults_are_kafkas() {
        let of = settings(&[("group.id", "g")]).unwrap();
        assert_eq!((of.reset, of.protocol), (Reset::Latest, GroupProtocol::Classic));
        assert_eq!(of.auto_commit, Some(Duration::from_secs(5)));
        assert_eq!(of.assignors, [Assignor::Range, Assignor::CooperativeSticky]);
        assert!(of.check_crcs && of.exclude_internal && !of.read_committed);
        assert_eq!(settings(&[]).unwrap().auto_commit, None);
    }

    #[test]
    fn a_bad_value_is_named() {
        for (key, value) in [
            ("check.crcs", "yes"),
            ("auto.offset.reset", "by_duration:-PT1S"),
            ("auto.offset.reset", "newest"),
            ("isolation.level", "committed"),
            ("group.protocol", "new"),
            ("enable.auto.commit", "true"),
            ("max.poll.records", "0"),
            ("partition.assignment.strategy", "MyAssignor"),
            ("group.remote.assignor", "uniform"),
            ("heartbeat.interval.ms", "45000"),
        ] {
            let error = settings(&[(key, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(key), "{error}");
        }
        let error = settings(&[("group.protocol", "consumer"), ("session.timeout.ms", "6000")]).unwrap_err();
        assert!(error.to_string().contains("session.timeout.ms"), "{error}");
    }

    #[test]
    fn a_reset_by_duration() {
        let of = settings(&[("auto.offset.reset", "by_duration:PT1H")]).unwrap();
        assert_eq!(of.reset, Reset::ByDuration(Duration::from_secs(3600)));
    }
}
