//! A record on its way in: one line of JSON, or what a consumer gave.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;
use thiserror::Error;

use crate::data::{RecordError, Stage, TimestampType};

/// A message as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Key, `None` for null.
    pub key: Option<Vec<u8>>,
    /// Value, `None` for null.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A line that is no message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// It is not JSON.
    #[error("not a line of JSON")]
    Json(#[from] serde_json::Error),
    /// A member is not what it has to be.
    #[error("member {name}: {what}")]
    Member {
        /// Its name.
        name: &'static str,
        /// What it has to be.
        what: &'static str,
    },
}

impl Message {
    /// From `{"topic":…,"partition":…,"offset":…,"timestamp":…,"timestampType":…,"key":BASE64|null,"value":BASE64|null,
    /// "headers":[{"key":…,"value":BASE64|null}]}`. What is missing is `t`, 0, 0, none, `CreateTime`, null, null, none.
    ///
    /// # Errors
    /// Names the member that is wrong.
    pub fn from_json(line: &str) -> Result<Self, MessageError> {
        let json: Json = serde_json::from_str(line)?;
        let timestamp_type = match json.get("timestampType").and_then(Json::as_str) {
            None | Some("CreateTime") => TimestampType::CreateTime,
            Some("LogAppendTime") => TimestampType::LogAppendTime,
            Some("NoTimestampType") => TimestampType::None,
            Some(_) => {
                let what = "it is CreateTime, LogAppendTime or NoTimestampType";
                return Err(MessageError::Member { name: "timestampType", what });
            }
        };
        let mut headers = Vec::new();
        for header in json.get("headers").and_then(Json::as_array).into_iter().flatten() {
            let key = header.get("key").and_then(Json::as_str);
            let key = key.ok_or(MessageError::Member { name: "headers", what: "a header has no key" })?;
            headers.push((key.to_owned(), bytes(header.get("value"), "headers")?));
        }
        let partition = number(json.get("partition"), "partition", 0)?;
        let partition = i32::try_from(partition)
            .map_err(|_| MessageError::Member { name: "partition", what: "it has 32 bits" })?;
        Ok(Self {
            topic: json.get("topic").and_then(Json::as_str).unwrap_or("t").to_owned(),
            partition,
            offset: number(json.get("offset"), "offset", 0)?,
            timestamp: number(json.get("timestamp"), "timestamp", -1)?,
            timestamp_type,
            key: bytes(json.get("key"), "key")?,
            value: bytes(json.get("value"), "value")?,
            headers,
        })
    }

    /// Why no record can have this timestamp.
    pub(super) fn timestamp_error(&self) -> Option<RecordError> {
        (self.timestamp < -1).then(|| RecordError {
            stage: Stage::HeaderConverter,
            java_class: "org.apache.kafka.common.InvalidRecordException",
            message: format!("Invalid record timestamp {}", self.timestamp),
        })
    }
}

fn number(json: Option<&Json>, name: &'static str, missing: i64) -> Result<i64, MessageError> {
    match json {
        None | Some(Json::Null) => Ok(missing),
        Some(json) => json.as_i64().ok_or(MessageError::Member { name, what: "it is a whole number" }),
    }
}

fn bytes(json: Option<&Json>, name: &'static str) -> Result<Option<Vec<u8>>, MessageError> {
    let wrong = || MessageError::Member { name, what: "it is null or base64" };
    match json {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => BASE64_STANDARD.decode(text).map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}
