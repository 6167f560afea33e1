//! `FileStreamSource` and `FileStreamSink`: lines of a file to records, and back.

mod cached;
mod lines;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use aqueduct_engine::config::{ConfigDef, ConfigKey, ConfigType, Importance, Validator};
use aqueduct_engine::connector::{
    AlterOffsets, BoxFuture, ConfigMap, ConnectError, Connector, ConnectorContext, ConnectorKind,
    ConnectorPlugin, ExactlyOnceSupport, OffsetMap, Task,
};

/// The version of Kafka whose connectors these are.
const VERSION: &str = "4.3.1";

/// The file; standard input or output without it.
const FILE: &str = "file";
/// The source's topic.
const TOPIC: &str = "topic";
/// Most lines of one batch.
const BATCH_SIZE: &str = "batch.size";
const BATCH_SIZE_DEFAULT: usize = 2000;
/// Longest line; our own key, which the JVM's connector ignores.
const MAX_LINE_BYTES: &str = "max.line.bytes";
const MAX_LINE_BYTES_DEFAULT: usize = 16 * 1024 * 1024;

static SOURCE_CONFIG: ConfigDef = ConfigDef {
    keys: &[
        ConfigKey::nullable(FILE, ConfigType::String, Importance::High, "Source filename. If not specified, the standard input will be used"),
        ConfigKey::required(TOPIC, ConfigType::String, Importance::High, "The topic to publish data to").valid(Validator::NonEmpty),
        ConfigKey::with_default(
            BATCH_SIZE,
            ConfigType::Int,
            "2000",
            Importance::Low,
            "The maximum number of records the source task can read from the file each time it is polled",
        ),
        ConfigKey::with_default(
            MAX_LINE_BYTES,
            ConfigType::Int,
            "16777216",
            Importance::Low,
            "The longest line in bytes; a longer one fails the task, so that a file without line ends cannot take all memory",
        )
        .valid(Validator::AtLeast(1)),
    ],
};

static SINK_CONFIG: ConfigDef = ConfigDef {
    keys: &[ConfigKey::nullable(
        FILE,
        ConfigType::String,
        Importance::High,
        "Destination filename. If not specified, the standard output will be used",
    )],
};

/// `org.apache.kafka.connect.file.FileStreamSourceConnector`.
pub(crate) struct FileStreamSource;

impl ConnectorPlugin for FileStreamSource {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.file.FileStreamSourceConnector"
    }

    fn task_class(&self) -> &'static str {
        "org.apache.kafka.connect.file.FileStreamSourceTask"
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> &'static ConfigDef {
        &SOURCE_CONFIG
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::new(FileStreamConnector { kind: ConnectorKind::Source, config: ConfigMap::new() })
    }

    fn task(&self) -> Task {
        Task::Source(Box::<source::FileStreamSourceTask>::default())
    }
}

/// `org.apache.kafka.connect.file.FileStreamSinkConnector`.
pub(crate) struct FileStreamSink;

impl ConnectorPlugin for FileStreamSink {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.file.FileStreamSinkConnector"
    }

    fn task_class(&self) -> &'static str {
        "org.apache.kafka.connect.file.FileStreamSinkTask"
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn config_def(&self) -> &'static ConfigDef {
        &SINK_CONFIG
    }

    fn connector(&self) -> Box<dyn Connector> {
        Box::new(FileStreamConnector { kind: ConnectorKind::Sink, config: ConfigMap::new() })
    }

    fn task(&self) -> Task {
        Task::Sink(Box::<sink::FileStreamSinkTask>::default())
    }
}

/// Both connectors hand their configuration to their tasks: the source to one, as a file has one reader.
struct FileStreamConnector {
    kind: ConnectorKind,
    config: ConfigMap,
}

impl Connector for FileStreamConnector {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        _context: ConnectorContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        self.config = config.clone();
        Box::pin(std::future::ready(Ok(())))
    }

    fn task_configs(&mut self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        let tasks = if self.kind == ConnectorKind::Source { 1 } else { max_tasks };
        Ok(vec![self.config.clone(); tasks])
    }

    fn alter_offsets<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        offsets: &'a [(OffsetMap, Option<OffsetMap>)],
    ) -> BoxFuture<'a, Result<AlterOffsets, ConnectError>> {
        let checked = match self.kind {
            ConnectorKind::Sink => Ok(()),
            ConnectorKind::Source => check_offsets(config, offsets),
        };
        Box::pin(std::future::ready(checked.map(|()| AlterOffsets::Done)))
    }

    fn exactly_once_support(&self, config: &ConfigMap) -> ExactlyOnceSupport {
        // what comes from standard input cannot be read again
        match config.get(FILE) {
            Some(file) if self.kind == ConnectorKind::Source && !file.trim().is_empty() => {
                ExactlyOnceSupport::Supported
            }
            _ => ExactlyOnceSupport::Unsupported,
        }
    }
}

/// Whether a user's offsets can be those of a file; the texts are JVM Connect's.
fn check_offsets(config: &ConfigMap, offsets: &[(OffsetMap, Option<OffsetMap>)]) -> Result<(), ConnectError> {
    let refuse = |text: &str| Err(ConnectError::fatal(text));
    if config.get(FILE).is_none_or(|file| file.trim().is_empty()) {
        return refuse(
            "Offsets cannot be modified if the 'file' configuration is unspecified. This is because stdin is used for input and offsets are not tracked.",
        );
    }
    for (partition, offset) in offsets {
        // taking away an offset that nobody could have written is allowed: it cleans up
        let Some(offset) = offset else { continue };
        let Some(position) = offset.get(source::POSITION) else {
            return refuse("Offset objects should either be null or contain the key 'position'");
        };
        match position.as_i64() {
            None => {
                return refuse(
                    "The value for the 'position' key in the offset is expected to be a Long value",
                );
            }
            Some(position) if position < 0 => {
                return refuse(
                    "The value for the 'position' key in the offset should be a non-negative value",
                );
            }
            Some(_) => {}
        }
        if !partition.contains_key(source::FILENAME) {
            return refuse("Partition objects should contain the key 'filename'");
        }
    }
    Ok(())
}
