//! `TimestampRouter`: another topic by the record's timestamp.

use super::field_plan::each_row;
use super::java_date::DateFormat;
use super::{Transform, data_error};
use crate::config::{ConfigDef, ConfigError, ConfigKey, ConfigType, Importance, ParsedConfig};
use crate::data::{Batch, RecordError, Side};

pub(super) static DEF: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::with_default(
            "topic.format",
            ConfigType::String,
            "${topic}-${timestamp}",
            Importance::High,
            "Format string which can contain ${topic} and ${timestamp} as placeholders.",
        ),
        ConfigKey::with_default(
            "timestamp.format",
            ConfigType::String,
            "yyyyMMdd",
            Importance::High,
            "A SimpleDateFormat pattern of the timestamp, in UTC.",
        ),
    ],
};

pub(super) fn make(config: &ParsedConfig, _: Side) -> Result<Box<dyn Transform>, ConfigError> {
    Ok(Box::new(TimestampRouter {
        topic: config.string("topic.format").unwrap_or_default().to_owned(),
        // The JVM finds a bad pattern with the first record.
        format: DateFormat::new(config.string("timestamp.format").unwrap_or_default()),
        text: String::new(),
    }))
}

struct TimestampRouter {
    topic: String,
    format: Result<DateFormat, String>,
    text: String,
}

impl Transform for TimestampRouter {
    fn apply(&mut self, batch: &mut Batch, rows: &[u32]) {
        each_row(batch, rows, |batch, index| {
            let record = batch.records[index];
            if record.timestamp < 0 {
                let topic = batch.topic(record.topic);
                let (partition, offset) = (record.origin.partition, record.origin.offset);
                return Err(data_error(format!(
                    "Timestamp missing on record: {topic}, partition {partition}, offset {offset}"
                )));
            }
            let format = self.format.as_ref().map_err(|message| RecordError {
                java_class: "java.lang.IllegalArgumentException",
                ..data_error(message.clone())
            })?;
            self.text.clear();
            format.print(record.timestamp, &mut self.text);
            let topic = self.topic.replace("${topic}", batch.topic(record.topic));
            let topic = topic.replace("${timestamp}", &self.text);
            batch.records[index].topic = batch.intern_topic(&topic);
            Ok(())
        });
    }
}
