//! The consumer's own settings, under Kafka's names.

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::duration;
use crate::client::Properties;
use crate::client::config::invalid;
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

impl Reset {
    fn parse(text: Option<&str>) -> Result<Self> {
        const KEY: &str = "auto.offset.reset";
        let lower = text.map(str::to_ascii_lowercase);
        match lower.as_deref() {
            None | Some("latest") => Ok(Self::Latest),
            Some("earliest") => Ok(Self::Earliest),
            Some("none") => Ok(Self::None),
            Some(other) => {
                let duration = other.strip_prefix("by_duration:").and_then(duration::parse);
                duration.map(Self::ByDuration).ok_or_else(|| {
                    let allowed = "earliest, latest, none, or by_duration: with an ISO 8601 duration such as by_duration:PT1H";
                    invalid(KEY, other, allowed)
                })
            }
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
    pub(super) fn from_properties(properties: &Properties) -> Result<Settings> {
        let text = |key: &str| properties.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
        let number = |key: &str, default: i64, least: i64| match text(key) {
            None => Ok(default),
            Some(value) => {
                let parsed =
                    value.parse::<i64>().ok().filter(|number| (least..=i64::from(i32::MAX)).contains(number));
                parsed.ok_or_else(|| invalid(key, value, &format!("a number from {least} to {}", i32::MAX)))
            }
        };
        let millis =
            |key: &str, default: i64| number(key, default, 0).map(|ms| Duration::from_millis(ms as u64));
        let boolean = |key: &str, default: bool| match text(key) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(invalid(key, value, "true or false")),
        };
        let reset = Reset::parse(text("auto.offset.reset"))?;
        let read_committed = match text("isolation.level") {
            None | Some("read_uncommitted") => false,
            Some("read_committed") => true,
            Some(other) => {
                return Err(invalid("isolation.level", other, "read_uncommitted or read_committed"));
            }
        };
        let protocol = group_protocol(text)?;
        let group = text("group.id").map(|id| StrBytes::from_string(id.to_owned()));
        let auto_commit = boolean("enable.auto.commit", group.is_some())?;
        if auto_commit && group.is_none() {
            return Err(invalid("enable.auto.commit", "true", "false where group.id is not set"));
        }
        let interval = millis("auto.commit.interval.ms", 5_000)?;
        Ok(Settings {
            group,
            instance: text("group.instance.id").map(|id| StrBytes::from_string(id.to_owned())),
            session_timeout: millis("session.timeout.ms", 45_000)?,
            heartbeat_interval: millis("heartbeat.interval.ms", 3_000)?,
            max_poll_interval: millis("max.poll.interval.ms", 300_000)?,
            max_poll_records: number("max.poll.records", 500, 1)? as usize,
            fetch_min_bytes: number("fetch.min.bytes", 1, 0)? as i32,
            fetch_max_bytes: number("fetch.max.bytes", 52_428_800, 0)? as i32,
            fetch_max_wait: millis("fetch.max.wait.ms", 500)?,
            partition_fetch_bytes: number("max.partition.fetch.bytes", 1_048_576, 0)? as i32,
            read_committed,
            reset,
            check_crcs: boolean("check.crcs", true)?,
            assignors: assignors(text("partition.assignment.strategy"))?,
            protocol,
            remote_assignor: text("group.remote.assignor").map(|name| StrBytes::from_string(name.to_owned())),
            auto_commit: auto_commit.then_some(interval),
            exclude_internal: boolean("exclude.internal.topics", true)?,
        })
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
fn group_protocol<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Result<GroupProtocol> {
    const CLASSIC_ONLY: [&str; 3] =
        ["partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms"];
    let (protocol, forbidden, allowed) = match text("group.protocol").map(str::to_ascii_lowercase).as_deref()
    {
        None | Some("classic") => (GroupProtocol::Classic, &["group.remote.assignor"][..], "consumer"),
        Some("consumer") => (GroupProtocol::Consumer, &CLASSIC_ONLY[..], "classic"),
        Some(other) => return Err(invalid("group.protocol", other, "classic or consumer")),
    };
    match forbidden.iter().find(|key| text(key).is_some()) {
        None => Ok(protocol),
        Some(key) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "{key} can only be set with group.protocol={allowed}: remove it or change group.protocol"
            ),
        )),
    }
}

fn assignors(list: Option<&str>) -> Result<Vec<Assignor>> {
    const KEY: &str = "partition.assignment.strategy";
    let Some(list) = list else { return Ok(vec![Assignor::Range, Assignor::CooperativeSticky]) };
    let of = |class: &str| {
        let known = Assignor::from_class(class).or_else(|| Assignor::from_name(class));
        known.ok_or_else(|| {
            invalid(
                KEY,
                class,
                "of RangeAssignor, RoundRobinAssignor, StickyAssignor, CooperativeStickyAssignor",
            )
        })
    };
    list.split(',').map(str::trim).filter(|class| !class.is_empty()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Settings::from_properties(&pairs.collect())
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
