//! The consumer's own settings, under Kafka's names.

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

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
        let reset = match text("auto.offset.reset").map(str::to_ascii_lowercase).as_deref() {
            None | Some("latest") => Reset::Latest,
            Some("earliest") => Reset::Earliest,
            Some("none") => Reset::None,
            Some(other) => return Err(invalid("auto.offset.reset", other, "earliest, latest or none")),
        };
        let read_committed = match text("isolation.level") {
            None | Some("read_uncommitted") => false,
            Some("read_committed") => true,
            Some(other) => {
                return Err(invalid("isolation.level", other, "read_uncommitted or read_committed"));
            }
        };
        if text("group.protocol").is_some_and(|protocol| !protocol.eq_ignore_ascii_case("classic")) {
            let message = "group.protocol: only classic is supported by this client";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Settings {
            group: text("group.id").map(|id| StrBytes::from_string(id.to_owned())),
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
            check_crcs: text("check.crcs") != Some("false"),
            assignors: assignors(text("partition.assignment.strategy"))?,
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
