//! Small things that many messages have.

use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::{Error, ErrorCode, Result};

/// An error code of an answer, in the context of what was asked.
pub(super) fn check(code: i16, what: impl FnOnce() -> String) -> Result<()> {
    match ErrorCode::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(Error::broker(code, what())),
    }
}

/// The same with what the broker says about it.
pub(super) fn check_said(code: i16, said: Option<&str>, what: impl FnOnce() -> String) -> Result<()> {
    check(code, || match said.filter(|said| !said.is_empty()) {
        Some(said) => format!("{}: {said}", what()),
        None => what(),
    })
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic_name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

pub(super) fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}
