//! `FileStreamSource`: every line of a file, or of standard input, becomes a record.

use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, OffsetMap, SourceTask, SourceTaskContext,
};
use aqueduct_engine::data::{Batch, Record, Schema, SchemaRef, SourcePosition, Span, Value};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::cached;
use super::lines::{LineBuffer, LineSpan};

/// Bytes asked of the file at once.
const READ_BYTES: usize = 256 * 1024;
/// How long a poll waits at the end of the file, or for a file that is not there.
const TAIL_WAIT: Duration = Duration::from_secs(1);
/// The member of a source partition that names the file.
pub(super) const FILENAME: &str = "filename";
/// The member of a source offset: bytes of the file that have been given out.
pub(super) const POSITION: &str = "position";

/// The task: one per connector.
#[derive(Default)]
pub(super) struct FileStreamSourceTask {
    running: Option<Running>,
}

struct Running {
    context: SourceTaskContext,
    settings: Settings,
    input: Input,
    buffer: LineBuffer,
    lines: Vec<LineSpan>,
    schema: SchemaRef,
    partition: Option<Arc<OffsetMap>>,
}

struct Settings {
    /// None: standard input.
    file: Option<String>,
    topic: Arc<str>,
    batch_lines: usize,
    max_line_bytes: usize,
}

enum Input {
    Stdin(tokio::io::Stdin),
    /// Not there yet.
    Missing,
    Open(File),
}

/// What a read came to.
enum Step {
    Read,
    End,
}

impl Settings {
    fn of(config: &ConfigMap) -> Result<Settings, ConnectError> {
        let text = |key: &str| config.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let number = |key: &str, default: usize| match text(key) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|error| {
                ConnectError::fatal(format!("{key}={value}: not a number")).caused_by(error)
            }),
        };
        let topic = text(super::TOPIC)
            .ok_or_else(|| ConnectError::fatal("topic: not set; name the topic to write to"))?;
        Ok(Settings {
            file: text(super::FILE).map(str::to_owned),
            topic: Arc::from(topic),
            batch_lines: number(super::BATCH_SIZE, super::BATCH_SIZE_DEFAULT)?.max(1),
            max_line_bytes: number(super::MAX_LINE_BYTES, super::MAX_LINE_BYTES_DEFAULT)?,
        })
    }
}

impl Running {
    async fn start(config: &ConfigMap, context: SourceTaskContext) -> Result<Running, ConnectError> {
        let settings = Settings::of(config)?;
        let mut running = Running {
            context,
            input: Input::Missing,
            buffer: LineBuffer::at(0),
            lines: Vec::with_capacity(settings.batch_lines.min(1 << 16)),
            schema: Schema::string(),
            partition: None,
            settings,
        };
        match &running.settings.file {
            None => running.input = Input::Stdin(tokio::io::stdin()),
            Some(file) => {
                let mut partition = OffsetMap::new();
                partition.insert(FILENAME.to_owned(), file.as_str().into());
                let offset = running.context.offsets.offset(&partition).await?;
                running.buffer = LineBuffer::at(position_of(offset.as_ref())?);
                running.partition = Some(Arc::new(partition));
            }
        }
        Ok(running)
    }

    async fn poll(&mut self, batch: &mut Batch) -> Result<(), ConnectError> {
        loop {
            if let Some(bytes) = self.next_lines()? {
                self.append(batch, bytes);
                return Ok(());
            }
            if self.context.stop.is_stopped() {
                return Ok(());
            }
            match self.read().await? {
                Step::Read => {}
                Step::End => {
                    self.context.stop.sleep(TAIL_WAIT).await;
                    return Ok(());
                }
            }
        }
    }

    fn next_lines(&mut self) -> Result<Option<Bytes>, ConnectError> {
        let Settings { batch_lines, max_line_bytes, .. } = self.settings;
        self.buffer.take_lines(batch_lines, max_line_bytes, &mut self.lines).map_err(|long| {
            ConnectError::fatal(format!(
                "file={}: the line at byte {} is longer than {}={max_line_bytes}; raise the bound (and max.request.size of the producer), or mend the file",
                self.name(),
                long.position,
                super::MAX_LINE_BYTES,
            ))
        })
    }

    fn append(&self, batch: &mut Batch, bytes: Bytes) {
        let topic = batch.intern_topic(&self.settings.topic);
        let schema = batch.intern_schema(&self.schema);
        let timestamp = now_ms();
        let position = batch.positions.len() as u32;
        if let Some(partition) = &self.partition {
            let mut offset = OffsetMap::new();
            offset.insert(POSITION.to_owned(), self.buffer.position().into());
            batch
                .positions
                .push(SourcePosition { partition: Arc::clone(partition), offset: Arc::new(offset) });
        }
        // one look at all of it; only a chunk that holds something else is looked at line by line
        let all_utf8 = std::str::from_utf8(&bytes).is_ok();
        let segment = batch.add_segment(bytes.clone());
        batch.records.reserve(self.lines.len());
        for line in &self.lines {
            let span = Span { segment, offset: line.start, len: line.len };
            let span = if all_utf8 { span } else { replace_malformed(batch, &bytes, span) };
            let record = Record {
                topic,
                timestamp,
                value_schema: schema,
                value: Value::String(span),
                position,
                ..Record::default()
            };
            batch.records.push(record);
        }
    }

    /// Brings more bytes into the buffer.
    async fn read(&mut self) -> Result<Step, ConnectError> {
        match &mut self.input {
            Input::Stdin(stdin) => {
                self.buffer.bytes.reserve(READ_BYTES);
                let read = tokio::select! {
                    read = stdin.read_buf(&mut self.buffer.bytes) => read,
                    () = self.context.stop.stopped() => return Ok(Step::End),
                };
                let read =
                    read.map_err(|error| ConnectError::fatal("cannot read standard input").caused_by(error))?;
                Ok(if read == 0 { Step::End } else { Step::Read })
            }
            Input::Missing => self.open().await,
            Input::Open(_) => self.read_file().await,
        }
    }

    async fn read_file(&mut self) -> Result<Step, ConnectError> {
        let Input::Open(mut file) = std::mem::replace(&mut self.input, Input::Missing) else {
            return Ok(Step::End);
        };
        let mut bytes = std::mem::take(&mut self.buffer.bytes);
        let held = bytes.len();
        bytes.resize(held + READ_BYTES, 0);
        if let Some(read) = cached::read(&file, &mut bytes[held..]) {
            bytes.truncate(held + read);
            (self.input, self.buffer.bytes) = (Input::Open(file), bytes);
            return Ok(Step::Read);
        }
        let path = self.name().to_owned();
        let work = move || {
            let read = read_retrying(&mut file, &mut bytes[held..]);
            bytes.truncate(held + *read.as_ref().unwrap_or(&0));
            let change = if matches!(read, Ok(0)) { Change::of(&file, &path) } else { Change::None };
            (file, bytes, read, change)
        };
        let (file, bytes, read, change) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| ConnectError::fatal("reading was cut off").caused_by(error))?;
        self.buffer.bytes = bytes;
        let read = read.map_err(|error| {
            ConnectError::fatal(format!(
                "file={}: cannot read at byte {}",
                self.name(),
                self.buffer.position()
            ))
            .caused_by(error)
        })?;
        match change {
            Change::None => self.input = Input::Open(file),
            Change::Replaced | Change::Truncated => {
                tracing::warn!(
                    connector = &*self.context.connector,
                    task = self.context.task,
                    file = self.name(),
                    position = self.buffer.position(),
                    unfinished_bytes = self.buffer.bytes.len(),
                    "the file was {}: reading it from the start",
                    if matches!(change, Change::Replaced) { "replaced by another" } else { "truncated" },
                );
                self.buffer = LineBuffer::at(0);
                return Ok(Step::Read); // open it at once
            }
        }
        Ok(if read == 0 { Step::End } else { Step::Read })
    }

    async fn open(&mut self) -> Result<Step, ConnectError> {
        let (path, position) = (self.name().to_owned(), self.buffer.position());
        let opened = tokio::task::spawn_blocking(move || open_at(&path, position)).await;
        match opened.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
            Ok((file, at)) => {
                if at != position {
                    tracing::warn!(
                        connector = &*self.context.connector,
                        task = self.context.task,
                        file = self.name(),
                        position,
                        "the file is shorter than the committed position: it was truncated or replaced; reading it from the start",
                    );
                    self.buffer = LineBuffer::at(at);
                }
                self.input = Input::Open(file);
                Ok(Step::Read)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(
                    connector = &*self.context.connector,
                    task = self.context.task,
                    "Couldn't find file {} for FileStreamSourceTask, sleeping to wait for it to be created",
                    self.name(),
                );
                Ok(Step::End)
            }
            Err(error) => {
                let message = format!(
                    "file={}: cannot open it for reading; check its permissions, then restart the task",
                    self.name()
                );
                Err(ConnectError::fatal(message).caused_by(error))
            }
        }
    }

    fn name(&self) -> &str {
        self.settings.file.as_deref().unwrap_or("stdin")
    }
}

/// What became of the file whose end was met.
#[derive(Clone, Copy)]
enum Change {
    None,
    /// The path names another file now (log rotation).
    Replaced,
    /// The file is shorter than what was read of it.
    Truncated,
}

impl Change {
    fn of(file: &File, path: &str) -> Change {
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let (Ok(open), mut reader) = (file.metadata(), file) else { return Change::None };
        if let Ok(named) = std::fs::metadata(path)
            && identity(&named) != identity(&open)
        {
            return Change::Replaced;
        }
        match reader.stream_position() {
            Ok(position) if open.is_file() && position > open.len() => Change::Truncated,
            _ => Change::None,
        }
    }
}

fn read_retrying(file: &mut File, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match file.read(into) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Opens the file at the position, or at its start if it is shorter than that.
fn open_at(path: &str, position: u64) -> std::io::Result<(File, u64)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory));
    }
    let position = if metadata.is_file() && position > metadata.len() { 0 } else { position };
    if position > 0 {
        file.seek(SeekFrom::Start(position))?;
    }
    Ok((file, position))
}

fn position_of(offset: Option<&OffsetMap>) -> Result<u64, ConnectError> {
    match offset.and_then(|offset| offset.get(POSITION)) {
        None => Ok(0),
        Some(position) => position.as_u64().ok_or_else(|| {
            ConnectError::fatal(format!("Offset position is the incorrect type: {POSITION}={position} is not a non-negative integer; reset the connector's offsets"))
        }),
    }
}

/// The line with U+FFFD for what is not UTF-8, as the JVM's decoder does.
fn replace_malformed(batch: &mut Batch, bytes: &Bytes, span: Span) -> Span {
    let line = &bytes[span.offset as usize..(span.offset + span.len) as usize];
    match String::from_utf8_lossy(line) {
        std::borrow::Cow::Borrowed(_) => span,
        std::borrow::Cow::Owned(text) => batch.put_str(&text),
    }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

impl SourceTask for FileStreamSourceTask {
    fn start<'a>(
        &'a mut self,
        config: &'a ConfigMap,
        context: SourceTaskContext,
    ) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            self.running = Some(Running::start(config, context).await?);
            Ok(())
        })
    }

    fn poll<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ConnectError>> {
        Box::pin(async move {
            match &mut self.running {
                Some(running) => running.poll(batch).await,
                None => Err(ConnectError::fatal("the task was not started")),
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.running = None;
        Box::pin(std::future::ready(()))
    }
}
