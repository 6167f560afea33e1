//! What went wrong with one record.

use std::fmt;

/// Where on its way a record failed; the names are Connect's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// `KEY_CONVERTER`.
    KeyConverter,
    /// `VALUE_CONVERTER`.
    ValueConverter,
    /// `HEADER_CONVERTER`.
    HeaderConverter,
    /// `TRANSFORMATION`.
    Transformation,
    /// `KAFKA_PRODUCE`.
    KafkaProduce,
    /// `TASK_PUT`.
    TaskPut,
}

impl Stage {
    /// Connect's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyConverter => "KEY_CONVERTER",
            Self::ValueConverter => "VALUE_CONVERTER",
            Self::HeaderConverter => "HEADER_CONVERTER",
            Self::Transformation => "TRANSFORMATION",
            Self::KafkaProduce => "KAFKA_PRODUCE",
            Self::TaskPut => "TASK_PUT",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The failure of one record; the rest of its batch goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Where.
    pub stage: Stage,
    /// The exception class that JVM Connect would name.
    pub java_class: &'static str,
    /// What was wrong. Never holds the record's content.
    pub message: String,
}

impl RecordError {
    /// `org.apache.kafka.connect.errors.DataException`.
    #[must_use]
    pub fn data(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, java_class: "org.apache.kafka.connect.errors.DataException", message: message.into() }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (stage {})", self.java_class, self.message, self.stage)
    }
}
